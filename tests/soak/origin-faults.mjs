// The fault model of an outside FHIR server, src/clinic/origin/tests/faults.rs: forty seeds of 40,000 steps.
import assert from "node:assert/strict";
import { test } from "node:test";
import { run } from "../../scripts/lib/run.mjs";

test("nothing is lost or old whatever becomes of a write to an outside server", { timeout: 1_800_000 }, async (t) => {
  const args = ["test", "--locked", "--lib", "clinic::origin::tests::faults::nor_at_length", "--", "--ignored", "--nocapture"];
  const { code, output } = await run("cargo", args, { env: { RUST_BACKTRACE: "0" }, capture: true, timeout: 1_700_000 });
  const runs = [...output.matchAll(/^@run (.*)$/gm)].map(([, said]) => said);
  for (const said of runs) t.diagnostic(said);
  assert.equal(code, 0, output.slice(-6000));
  assert.equal(runs.length, 40, output.slice(-2000));
});
