// Histories of concurrent clients of a lease, judged by the checker in src/clinic/lease_history: on an object and on a real Redis,
// which the test kills and starts itself.
import assert from "node:assert/strict";
import { run } from "../../scripts/lib/run.mjs";
import { need } from "../../scripts/need.mjs";

/** Runs `count` histories on each backend that has `part` in its test's name, and the mutants; prints what they met. */
export async function histories(t, { count, part, timeout }) {
  const env = { REDIS_SERVER: await need("redis-server"), HISTORIES: `${count}`, RUST_BACKTRACE: "0" };
  const args = ["test", "--locked", "--lib", `clinic::lease_history::${part}`, "--", "--include-ignored", "--nocapture"];
  const { code, output } = await run("cargo", args, { env, capture: true, timeout });
  const said = (what) => [...output.matchAll(new RegExp(`^@${what} (.*)$`, "gm"))].map((found) => found[1]);
  for (const what of ["histories", "met", "mutant"]) for (const line of said(what)) t.diagnostic(line);
  assert.equal(code, 0, output.slice(-6000));
  assert.ok(said("histories").length >= 1 && said("histories").every((line) => line.startsWith(`${count} of `)), output.slice(-2000));
  assert.ok(said("met").length >= 25 && said("mutant").length >= 5, output.slice(-2000));
}
