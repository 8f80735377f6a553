// The Synthea bundles against the real thing, where they are beside the project: as curl would send them, twice.
import assert from "node:assert/strict";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";
import { at } from "../../scripts/lib/project.mjs";
import { administrator } from "../support/client.mjs";
import { poll, startWorkerd } from "../support/server.mjs";

const folder = at("../shared/data/synthea");
const files = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith(".json")) : [];
/** Each bundle is taken within this on two cores. */
const LIMIT_MS = 5_000;

test("sixteen bundles import, each in time, and twice is once", { skip: files.length === 0 && "no bundles beside the project" }, async (t) => {
  const server = await startWorkerd();
  t.after(() => server.stop());
  const admin = await administrator(server);
  const patients = new Set();
  const times = [];
  let entries = 0;
  for (const round of [1, 2]) {
    for (const name of files) {
      const start = performance.now();
      const reply = await admin.post("/fhir", readFileSync(`${folder}/${name}`, "utf8"), { "idempotency-key": name });
      times.push(performance.now() - start);
      assert.equal(reply.status, 200, reply.text.slice(0, 500));
      const made = reply.body.entry.map(({ response }) => response);
      if (round === 1) entries += made.length;
      for (const { status, location } of made) {
        assert.ok(round === 1 ? ["200", "201"].includes(status) : status === "200", status);
        if (location.startsWith("Patient/")) patients.add(location.split("/")[1]);
      }
    }
  }
  assert.equal(patients.size, files.length);
  const listed = await admin.get("/fhir/Patient?_count=200");
  assert.equal(listed.body.entry.length, files.length);
  const first = times.slice(0, files.length).sort((a, b) => a - b);
  const slowest = Math.max(...times);
  t.diagnostic(`${files.length} bundles, ${entries} entries; a bundle ${first[first.length >> 1].toFixed(0)} ms, the slowest ${slowest.toFixed(0)} ms`);
  assert.ok(slowest < LIMIT_MS, `${slowest} ms`);
});

test("a transaction whose last entry fails leaves nothing of its first, and no event", async (t) => {
  const server = await startWorkerd();
  t.after(() => server.stop());
  const admin = await administrator(server);
  const put = (resource) => ({ resource, request: { method: "PUT", url: `${resource.resourceType}/${resource.id}` } });
  const patient = (id) => put({ resourceType: "Patient", id, name: [{ family: "Doe" }] });
  const observation = (id, who) =>
    put({ resourceType: "Observation", id, status: "final", code: { text: "x" }, subject: { reference: `Patient/${who}` } });
  const send = (...entry) => admin.post("/fhir", { resourceType: "Bundle", type: "transaction", entry });
  assert.equal((await send(patient("p"), observation("o", "p"))).status, 200);
  const state = async () => {
    const [searched, history, events] = await Promise.all(
      ["/fhir/Patient?name=doe&_total=accurate", "/fhir/_history?_count=200", "/channels/patient/p"].map((path) => admin.get(path)),
    );
    return [searched.body.total, history.body.entry.length, events.body.events.map(({ id }) => id)];
  };
  const before = await poll("the event of what was written", async () => {
    const now = await state();
    return now[2].length === 1 && now;
  });
  assert.deepEqual(before, [1, 2, ["Observation/o/_history/1"]]);
  const failed = await send(patient("q"), observation("o", "p"), observation("n", "p"), observation("m", "nobody"));
  assert.equal(failed.status, 422, failed.text);
  assert.deepEqual(failed.body.issue[0].expression, ["Bundle.entry[3]"]);
  assert.deepEqual(await Promise.all(["Patient/q", "Observation/n"].map(async (url) => (await admin.get(`/fhir/${url}`)).status)), [404, 404]);
  // What is written next is the next event: nothing was under way.
  assert.equal((await send(observation("o", "p"))).status, 200);
  const after = await poll("the event of what was written next", async () => {
    const now = await state();
    return now[2].length > 1 && now;
  });
  assert.deepEqual(after, [1, 3, ["Observation/o/_history/1", "Observation/o/_history/2"]]);
});
