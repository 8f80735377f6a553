// The demonstration ward: all of it is accepted, loading it again changes nothing, and its accounts reach what they should
// and no more.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { DEMO_PASSWORD, demonstration, heartRate, loadWard, marker, send, signIn, ward } from "../../scripts/demo.mjs";
import { admin } from "../../scripts/demo/accounts.mjs";
import { diaries } from "../../scripts/demo/diary.mjs";
import { at, node } from "../../scripts/lib/project.mjs";
import { run } from "../../scripts/lib/run.mjs";
import { startWorkerd } from "../support/server.mjs";

let server;
let loaded;
before(async () => {
  server = await startWorkerd();
  loaded = await loadWard(server.url, server.vars.SETUP_TOKEN);
});
after(() => server?.stop());

const as = async (username) => {
  const { token } = await signIn(server.url, username, DEMO_PASSWORD);
  return (path, options) => send(server.url, path, { token, ...options });
};
const post = (resource) => ({ method: "POST", body: resource, type: "application/fhir+json" });

/** All resources of a type that a caller reaches, by pages. */
async function all(get, kind) {
  const found = [];
  for (let path = `/fhir/${kind}?_count=200`; path; ) {
    const { status, body } = await get(path);
    assert.equal(status, 200);
    found.push(...(body.entry ?? []).map(({ resource }) => resource));
    const next = body.link.find(({ relation }) => relation === "next");
    path = next && next.url.slice(server.url.length);
  }
  return found;
}

test("every resource of the demonstration is there in its first version", async () => {
  assert.equal(loaded.state, "loaded");
  const wanted = [...demonstration().flat(), marker];
  assert.equal(loaded.written, wanted.length);
  const get = await as("admin");
  for (const kind of new Set(wanted.map(({ resourceType }) => resourceType))) {
    const ids = wanted.filter(({ resourceType }) => resourceType === kind).map(({ id }) => id);
    const found = await all(get, kind);
    assert.deepEqual(found.map(({ id }) => id).sort(), ids.sort(), kind);
    assert.deepEqual([...new Set(found.map(({ meta }) => meta.versionId))], ["1"], kind);
  }
  const { body } = await get("/users?limit=100");
  assert.deepEqual(
    body.users.map(({ username }) => username),
    [admin, ...loaded.accounts.map(({ account }) => account)].map(({ username }) => username).sort(),
  );
});

test("loading it again writes nothing", async () => {
  const again = await loadWard(server.url, server.vars.SETUP_TOKEN);
  assert.deepEqual([again.state, again.written], ["there already", 0]);
  const get = await as("admin");
  const versions = (await all(get, "Observation")).map(({ meta }) => meta.versionId);
  assert.deepEqual([...new Set(versions)], ["1"]);
});

test("a nurse of ward 7 sees its 24 patients and none of ward 8", async () => {
  const get = await as("nurse.ada");
  const { body } = await get("/fhir/Patient?_count=100");
  const ids = Array.from({ length: 24 }, (_, index) => `demo-patient-${String(index + 1).padStart(2, "0")}`);
  assert.deepEqual(body.entry.map(({ resource }) => resource.id), ids);
  assert.equal((await get("/fhir/Patient/demo-patient-25")).status, 403);
  assert.equal((await get("/fhir/Encounter/demo-encounter-25")).status, 403);
  assert.equal((await (await as("dr.okafor"))("/fhir/Patient/demo-patient-25")).status, 200);
});

test("a patient reads only themself", async () => {
  const get = await as("patient.01");
  assert.equal((await get("/fhir/Patient/demo-patient-01")).status, 200);
  assert.equal((await get("/fhir/Condition/demo-condition-01-1")).status, 200);
  for (const path of ["Patient/demo-patient-02", "Patient/demo-patient-25", "Condition/demo-condition-02-1"]) {
    assert.equal((await get(`/fhir/${path}`)).status, 403, path);
  }
  assert.deepEqual((await all(get, "Patient")).map(({ id }) => id), ["demo-patient-01"]);
  assert.equal((await get("/fhir/Observation", post(heartRate("demo-patient-01", 80)))).status, 403);
});

test("the monitors post for ward 7 and do nothing else", async () => {
  const get = await as("monitor.7");
  assert.equal((await get("/fhir/Observation", post(heartRate("demo-patient-24", 99)))).status, 201);
  assert.equal((await get("/fhir/Observation", post(heartRate("demo-patient-25", 99)))).status, 403);
  for (const path of ["/fhir/Patient/demo-patient-01", "/fhir/Observation", "/channels/patient/demo-patient-01", "/users"]) {
    assert.equal((await get(path)).status, 403, path);
  }
});

test("the board follows ward 7 and reads no record", async () => {
  const get = await as("board.7");
  assert.equal((await get("/channels/ward/ward-7?limit=1")).status, 200);
  for (const path of ["/channels/ward/ward-8", "/channels/patient/demo-patient-01", "/fhir/Patient/demo-patient-01"]) {
    assert.equal((await get(path)).status, 403, path);
  }
});

test("the command says who can sign in, and the line it prints posts a heart rate", async () => {
  const { code, output } = await run(node, [at("scripts/demo.mjs"), "--url", server.url], { capture: true });
  assert.equal(code, 0, output);
  for (const word of [DEMO_PASSWORD, "admin", "nurse.ada", "monitor.7", "board.7"]) assert.ok(output.includes(word), word);
  const posted = await run("bash", ["-c", output.split("\n").find((line) => line.startsWith("curl "))], { capture: true });
  assert.ok(posted.output.includes('"value":118'), posted.output);
});

test("the doctors' diaries reach six weeks ahead, go on where they ended, and what is taken stays so", async () => {
  const get = await as("nurse.ada");
  const day = 24 * 60 * 60_000;
  const at = (days) => new Date(Date.now() + days * day).toISOString();
  const proposed = async (from, to) => {
    const { status, body } = await get(`/fhir/Appointment/$find?start=${at(from)}&end=${at(to)}&practitioner=demo-dr-chen&_count=200`);
    assert.equal(status, 200);
    return (body.entry ?? []).map(({ resource }) => resource);
  };
  const all = async () => [...(await proposed(0, 21)), ...(await proposed(21, 60))];
  const before = await all();
  assert.equal(before.length, 6 * 5 * 6, "six half hours on each of thirty working days");
  assert.ok(Date.parse(before.at(-1).start) > Date.now() + 38 * day, before.at(-1).start);
  const taken = { ...(await get(`/fhir/Slot/${before.at(-1).id}`)).body, status: "busy" };
  const put = { method: "PUT", type: "application/fhir+json", body: taken };
  assert.equal((await get(`/fhir/Slot/${taken.id}`, put)).status, 200);

  const later = await loadWard(server.url, server.vars.SETUP_TOKEN, { now: Date.now() + 7 * day });
  assert.deepEqual([later.state, later.written], ["there already", 2 * 5 * 6], "a week of both doctors");
  assert.equal((await all()).length, before.length - 1 + 5 * 6);
  assert.equal((await get(`/fhir/Slot/${taken.id}`)).body.meta.versionId, "2");

  const published = await get("/fhir/$bulk-publish/Slot.ndjson");
  const lines = published.body.trim().split("\n").map((line) => JSON.parse(line));
  assert.equal(lines.length, 2 * 7 * 5 * 6);
  assert.deepEqual(lines.filter(({ status }) => status === "busy").map(({ id }) => id), [taken.id]);
  assert.equal((await get("/fhir/$bulk-publish/Location.ndjson")).body.trim().split("\n").length, 1);
});

test("the diaries keep to the clinic's clock where that is put forward", () => {
  const [, slots] = diaries({ now: Date.UTC(2026, 2, 10, 23, 30), zone: "Europe/London" });
  const first = slots.filter(({ id }) => /chen.*-1$/.test(id)).map(({ start }) => start);
  assert.equal(first[0], "2026-03-11T09:00:00+00:00");
  assert.equal(first.at(-1), "2026-04-21T09:00:00+01:00");
  assert.deepEqual(diaries({ now: Date.UTC(2026, 2, 10, 13), zone: "Pacific/Auckland" })[1][0].start, "2026-03-12T09:00:00+13:00");
});

test("a Bedside with accounts of its own is left alone, and that is no failure", async () => {
  const other = await startWorkerd();
  try {
    const first = { ...admin, password: "somebody else's own password" };
    const headers = { authorization: `Setup ${other.vars.SETUP_TOKEN}` };
    assert.equal((await send(other.url, "/users", { method: "POST", headers, body: first })).status, 201);
    const env = { SETUP_TOKEN: other.vars.SETUP_TOKEN };
    const { code, output } = await run(node, [at("scripts/demo.mjs"), "--url", other.url], { env, capture: true });
    assert.equal(code, 0, output);
    assert.match(output, /^The demonstration ward is not loaded: .*\n$/);
  } finally {
    await other.stop();
  }
});

test("the same seed gives the same charts, whatever the size of the ward, and another seed gives others", () => {
  const now = Date.UTC(2026, 0, 15, 12);
  const charts = (options) => ward({ now, ...options }).slice(1).flat();
  assert.deepEqual(charts({ patients: 3 }), charts({ patients: 3 }));
  const [, three] = ward({ now, patients: 3 });
  const [, nine] = ward({ now, patients: 9 });
  assert.deepEqual(nine.slice(0, three.length), three);
  assert.notDeepEqual(charts({ patients: 3, seed: 8 }), charts({ patients: 3 }));
  const many = ward({ now, patients: 200, prefix: "bench" }).flat();
  assert.equal(new Set(many.map(({ resourceType, id }) => `${resourceType}/${id}`)).size, many.length);
});
