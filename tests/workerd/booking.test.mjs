// Fifty callers want one Slot: one gets it, forty-nine are told so; with leases, without them, and by a holder that slept.
import assert from "node:assert/strict";
import { test } from "node:test";
import { PASSWORD, administrator, follow, patient, signIn } from "../support/client.mjs";
import { booking } from "../support/bookings.mjs";
import { startWorkerd } from "../support/server.mjs";

const CALLERS = 50;

async function ready(t) {
  const server = await startWorkerd();
  t.after(() => server.stop());
  const admin = await administrator(server);
  await admin.put("/fhir/Patient/p", patient("p"));
  const free = async (id) => {
    const slot = { resourceType: "Slot", id, status: "free", schedule: { reference: "Schedule/s" } };
    const times = { start: "2026-12-01T09:00:00Z", end: "2026-12-01T09:20:00Z" };
    assert.ok((await admin.put(`/fhir/Slot/${id}`, { ...slot, ...times })).status < 300);
  };
  const appointments = async () => {
    const found = (await admin.get("/fhir/Appointment?patient=p&_count=200")).body.entry ?? [];
    return found.map(({ resource }) => resource.slot[0].reference);
  };
  return { server, admin, free, appointments };
}

const tally = (replies) => Object.fromEntries(Object.entries(Object.groupBy(replies, ({ status }) => status)).map(([status, list]) => [status, list.length]));

test("fifty book one slot at once without any lease: one appointment, forty-nine clear refusals", async (t) => {
  const { admin, free, appointments } = await ready(t);
  await free("a");
  const replies = await Promise.all(Array.from({ length: CALLERS }, () => admin.post("/fhir/Appointment/$book", booking("a", "p"))));
  t.diagnostic(JSON.stringify(tally(replies)));
  assert.deepEqual(tally(replies), { 201: 1, 409: CALLERS - 1 });
  for (const { status, body } of replies) {
    if (status === 409) assert.deepEqual([body.issue[0].severity, body.issue[0].code], ["fatal", "not-found"]);
  }
  assert.deepEqual(await appointments(), ["Slot/a"]);
});

test("fifty take the lease of one slot at once: its one holder books by its fence", async (t) => {
  const { admin, free, appointments } = await ready(t);
  await free("a");
  const replies = await Promise.all(
    Array.from({ length: CALLERS }, async (_, index) => {
      const lease = await admin.post("/leases/slot:a", { request_id: `r${index}`, ttl_seconds: 30 });
      if (lease.status !== 201) return lease;
      return admin.post("/fhir/Appointment/$book", booking("a", "p", lease.body.fence));
    }),
  );
  t.diagnostic(JSON.stringify(tally(replies)));
  assert.deepEqual(tally(replies), { 201: 1, 409: CALLERS - 1 });
  assert.deepEqual(await appointments(), ["Slot/a"]);
});

test("a holder that slept past its lease books nothing once its successor has", async (t) => {
  const { server, admin, free, appointments } = await ready(t);
  await admin.post("/users", { username: "nora", name: "Nora", role: "nurse", password: PASSWORD });
  const nora = await signIn(server.url, "nora");
  await free("a");
  const slept = (await admin.post("/leases/slot:a", { request_id: "first" })).body.fence;
  assert.equal((await nora.post("/leases/slot:a", { request_id: "x" })).status, 409);
  assert.equal((await admin.del(`/leases/slot:a?fence=${slept}`)).status, 204);
  const next = (await nora.post("/leases/slot:a", { request_id: "second" })).body.fence;
  assert.ok(next > slept);
  assert.equal((await nora.post("/fhir/Appointment/$book", booking("a", "p", next))).status, 201);
  // The slot is given back, so that only the fence stands between the sleeper and a second booking.
  await free("a");
  const late = await admin.post("/fhir/Appointment/$book", booking("a", "p", slept));
  assert.equal(late.status, 409);
  assert.match(late.body.issue[0].diagnostics, /lease/);
  assert.equal((await appointments()).length, 1);
});

test("who watches a Schedule sees a hold as it happens, and the slot free again", async (t) => {
  const { server, admin, free } = await ready(t);
  const schedule = { resourceType: "Schedule", id: "s", active: true, actor: [{ reference: "Practitioner/d" }] };
  assert.equal((await admin.put("/fhir/Schedule/s", schedule)).status, 201);
  const [one, two] = await Promise.all(
    ["nora", "otto"].map(async (username) => {
      await admin.post("/users", { username, name: username, role: "nurse", password: PASSWORD });
      return signIn(server.url, username);
    }),
  );
  await free("a");
  const asked = "?start=2026-12-01&end=2026-12-02&practitioner=d";
  const found = await one.get(`/fhir/Appointment/$find${asked}`);
  assert.deepEqual(found.body.entry.map(({ resource }) => [resource.id, resource.status, resource.slot[0].reference]), [["a", "proposed", "Slot/a"]]);
  const many = [...Array.from({ length: 38 }, (_, index) => `Schedule/x${index}`), "Schedule/s"];
  const among = await one.get(`/fhir/Slot?schedule=${many}`);
  assert.deepEqual([among.status, among.body.entry?.map(({ resource }) => resource.id)], [200, ["a"]], "by as many values as a search has");
  const parts = (...parameter) => ({ resourceType: "Parameters", ...(parameter.length && { parameter }) });
  const reference = (id) => ({ name: "appointment-reference", valueReference: { reference: `Appointment/${id}` } });
  const forPatient = { name: "patient-reference", valueReference: { reference: "Patient/p" } };

  const socket = follow(t, server.url, two.token, "schedule/s");
  await socket.until(({ frames }) => frames.length > 0, "to be let in");
  const told = (status, times) =>
    socket.until((self) => self.events.filter(({ data }) => data.resource.status === status).length === times, `Slot ${status}`);
  const held = await one.post("/fhir/Appointment/$hold", parts(reference("a"), forPatient));
  assert.equal(held.status, 201, held.text);
  const left = Number(held.headers.get("bedside-hold-seconds"));
  assert.ok(left > 290 && left <= 300, `${left} s`);
  await told("busy-tentative", 1);
  assert.ok(!JSON.stringify(socket.events).includes("Patient/p"), "whom it is for is nobody's business");
  const refused = await two.post("/fhir/Appointment/$hold", parts(reference("a"), forPatient));
  assert.deepEqual([refused.status, refused.body.issue[0].severity, refused.body.issue[0].code], [409, "fatal", "not-found"]);
  assert.equal((await two.get(`/fhir/Appointment/$find${asked}`)).body.entry, undefined);

  const id = held.body.entry[0].resource.id;
  assert.equal((await one.post(`/fhir/Appointment/${id}/$cancel`, parts())).status, 200);
  await told("free", 1);
  const headers = { "idempotency-key": "book-1" };
  const booked = await two.post("/fhir/Appointment/$book", parts(reference("a"), forPatient), headers);
  const again = await two.post("/fhir/Appointment/$book", parts(reference("a"), forPatient), headers);
  assert.deepEqual([booked.status, again.status], [201, 200]);
  assert.equal(again.body.entry[0].resource.id, booked.body.entry[0].resource.id);
  await told("busy", 1);
});

test("what can be booked is published as files that are streamed, and under a tag until it changes", async (t) => {
  const { server, admin } = await ready(t);
  assert.equal((await admin.put("/fhir/Location/l", { resourceType: "Location", id: "l", name: "North" })).status, 201);
  const actor = [{ reference: "Location/l" }, { reference: "Practitioner/d" }];
  assert.equal((await admin.put("/fhir/Schedule/s", { resourceType: "Schedule", id: "s", active: true, comment: "Patient/p", actor })).status, 201);
  const first = Date.now() + 3_600_000;
  const slot = (index, status = "free") => {
    const [start, end] = [0, 1].map((more) => new Date(first + (index + more) * 600_000).toISOString());
    return { resourceType: "Slot", id: `m${index}`, schedule: { reference: "Schedule/s" }, status, start, end, comment: "Patient/p" };
  };
  const entry = Array.from({ length: 450 }, (_, index) => ({ resource: slot(index), request: { method: "PUT", url: `Slot/m${index}` } }));
  assert.equal((await admin.post("/fhir", { resourceType: "Bundle", type: "transaction", entry })).status, 200);

  const manifest = await admin.get("/fhir/$bulk-publish");
  assert.equal(manifest.body.request, `${server.url}/fhir/$bulk-publish`);
  const tag = manifest.headers.get("etag");
  const headers = { authorization: `Bearer ${admin.token}` };
  const file = async (url, more = {}) => {
    const reply = await fetch(url, { headers: { ...headers, ...more } });
    const text = await reply.text();
    return { status: reply.status, etag: reply.headers.get("etag"), text, lines: text.split("\n").filter(Boolean).map((line) => JSON.parse(line)) };
  };
  const [locations, schedules, slots] = await Promise.all(manifest.body.output.map(({ url }) => file(url)));
  assert.deepEqual([locations, schedules, slots].map(({ lines }) => lines.length), [1, 1, 450]);
  assert.deepEqual(schedules.lines[0].actor, [{ reference: "Location/l" }]);
  assert.deepEqual(slots.lines.map(({ id, status }) => `${id} ${status}`), entry.map(({ resource }) => `${resource.id} free`));
  for (const { text, etag } of [locations, schedules, slots]) assert.deepEqual([etag, text.includes("Patient")], [tag, false]);
  const head = await fetch(manifest.body.output[2].url, { method: "HEAD", headers });
  assert.deepEqual([head.status, head.headers.get("content-type"), await head.text()], [200, "application/fhir+ndjson", ""]);
  assert.equal((await file(manifest.body.output[2].url, { "if-none-match": tag })).status, 304);

  assert.equal((await admin.put("/fhir/Slot/m7", slot(7, "busy-tentative"))).status, 200);
  const later = await admin.get(`/fhir/$bulk-publish?_since=${manifest.body.transactionTime}`, { "if-none-match": tag });
  assert.equal(later.status, 200);
  const changed = (await file(later.body.output[2].url)).lines.find(({ id }) => id === "m7");
  assert.equal(changed.status, "busy");
  assert.deepEqual((await file(later.body.deleted[0].url)).lines, []);
});

test("a report is edited under a lease: others are told who, and what settles it needs the fence", async (t) => {
  const { server, admin } = await ready(t);
  await admin.post("/users", { username: "nora", name: "Nora Nurse", role: "nurse", password: PASSWORD });
  const nora = await signIn(server.url, "nora");
  const report = { resourceType: "DiagnosticReport", id: "r", status: "preliminary", code: { text: "x" }, subject: { reference: "Patient/p" } };
  const put = (who, status, fence) =>
    who.put("/fhir/DiagnosticReport/r", { ...report, status }, fence && { "bedside-fence": `DiagnosticReport:r=${fence}` });
  assert.equal((await put(admin, "preliminary")).status, 201);
  assert.equal((await put(admin, "final")).status, 409, "without a lease");
  const { body } = await nora.post("/leases/DiagnosticReport:r", { request_id: "edit" });
  const other = await put(admin, "preliminary");
  assert.equal(other.status, 409);
  assert.match(other.body.issue[0].diagnostics, /Nora Nurse/);
  assert.equal((await put(admin, "final", body.fence)).status, 409, "somebody else's fence");
  assert.equal((await put(nora, "final", body.fence + 1)).status, 409, "a fence that was never given");
  assert.equal((await put(nora, "preliminary", body.fence)).status, 200);
  assert.equal((await put(nora, "final", body.fence)).status, 200);
});
