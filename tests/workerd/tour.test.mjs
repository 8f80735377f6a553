// The tour of the README works as printed: pasted line by line into one shell, every line succeeds and the output holds
// what the text shows; on bare workerd and under `wrangler dev`.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { DEMO_PASSWORD, demonstration, loadWard, send, signIn } from "../../scripts/demo.mjs";
import { at } from "../../scripts/lib/project.mjs";
import { run } from "../../scripts/lib/run.mjs";
import { poll, startWorkerd, startWranglerDev } from "../support/server.mjs";

const title = "A five-minute tour with curl";

/** The tour as [{ lines, shown }]: the lines of each ```sh block and those of the ```text block after it. */
function blocks(markdown) {
  const section = markdown.split(/^## /m).find((part) => part.startsWith(`${title}\n`));
  assert.ok(section, `the README has no section '${title}'`);
  const found = [];
  for (const [, kind, text] of section.matchAll(/^```(\w+)\n(.*?)^```$/gms)) {
    const lines = text.trimEnd().split("\n");
    if (kind === "sh") found.push({ lines, shown: [] });
    else if (kind === "text") found.at(-1).shown.push(...lines);
  }
  assert.ok(found.length > 5, "the tour has hardly any blocks");
  return found;
}

/**
 * Whether `output` has the parts of `line` around each `…`, in order and within one line. Case is passed over, because
 * servers spell the names of headers as they like.
 */
const shows = (output, line) =>
  output.toLowerCase().split("\n").some((printed) => {
    let from = 0;
    return line.toLowerCase().split("…").every((part) => {
      const found = printed.indexOf(part, from);
      from = found + part.length;
      return found >= 0;
    });
  });

/** Runs the tour against `url` and checks each block. */
async function take(tour, url) {
  const mark = "----- line ended with ";
  // As if pasted: one shell, and after each line its exit code.
  const pasted = tour.flatMap(({ lines }) => lines).map((line) => line.replace(/^BEDSIDE=\S+$/, `BEDSIDE=${url}`));
  assert.ok(pasted.includes(`BEDSIDE=${url}`), "no line of the tour says which server it is about");
  const script = pasted.map((line) => `${line}\nprintf '\\n${mark}%s\\n' "$?"\n`).join("");
  const { output } = await run("bash", ["--noprofile", "--norc", "-c", script], { capture: true, timeout: 60_000 });

  const printed = output.split(new RegExp(`^${mark}(\\d+)\\n`, "m"));
  let line = 0;
  for (const { lines, shown } of tour) {
    let whole = "";
    for (const one of lines) {
      const [text, code] = [printed[2 * line], printed[2 * line + 1]];
      assert.equal(code, "0", `'${one}' ended with ${code ?? "the shell"} and printed:\n${text}`);
      whole += text;
      line += 1;
    }
    const missing = (one) => `nothing like\n  ${one}\nin what\n  ${lines.join("\n  ")}\nprinted:\n${whole}`;
    for (const one of shown) assert.ok(shows(whole, one), missing(one));
  }
}

/** Resolves when the events of what was loaded have arrived, which may be later than its acknowledgement. */
async function settled(url) {
  const { token } = await signIn(url, "admin", DEMO_PASSWORD);
  const told = ({ resourceType, subject }) =>
    ["Observation", "DiagnosticReport"].includes(resourceType) && subject.reference === "Patient/demo-patient-01";
  const events = demonstration().flat().filter(told).length;
  await poll("the events of the ward", async () => {
    const page = await send(url, "/channels/patient/demo-patient-01?limit=1000", { token });
    const ofRecords = ({ kind }) => ["observation", "diagnosis"].includes(kind);
    return page.body.events?.filter(ofRecords).length === events;
  });
}

for (const [name, start] of [
  ["workerd", startWorkerd],
  ["wrangler dev", startWranglerDev],
]) {
  test(`the tour of the README works on ${name}`, async () => {
    const tour = blocks(readFileSync(at("README.md"), "utf8"));
    const server = await start();
    try {
      await loadWard(server.url, server.vars.SETUP_TOKEN);
      await settled(server.url);
      await take(tour, server.url);
    } finally {
      await server.stop();
    }
  });
}
