// Fifty callers want one Slot: one gets it, forty-nine are told so; with leases, without them, and by a holder that slept.
import assert from "node:assert/strict";
import { test } from "node:test";
import { PASSWORD, administrator, patient, signIn } from "../support/client.mjs";
import { startWorkerd } from "../support/server.mjs";

const CALLERS = 50;

const booking = (slot, fence) => ({
  resourceType: "Parameters",
  parameter: [
    {
      name: "appt-resource",
      resource: {
        resourceType: "Appointment",
        status: "proposed",
        slot: [{ reference: `Slot/${slot}` }],
        participant: [{ actor: { reference: "Patient/p" }, status: "accepted" }],
      },
    },
    ...(fence ? [{ name: "fence", valuePositiveInt: fence }] : []),
  ],
});

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
  const replies = await Promise.all(Array.from({ length: CALLERS }, () => admin.post("/fhir/Appointment/$book", booking("a"))));
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
      return admin.post("/fhir/Appointment/$book", booking("a", lease.body.fence));
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
  assert.equal((await nora.post("/fhir/Appointment/$book", booking("a", next))).status, 201);
  // The slot is given back, so that only the fence stands between the sleeper and a second booking.
  await free("a");
  const late = await admin.post("/fhir/Appointment/$book", booking("a", slept));
  assert.equal(late.status, 409);
  assert.match(late.body.issue[0].diagnostics, /lease/);
  assert.equal((await appointments()).length, 1);
});
