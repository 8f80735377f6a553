// Many clients book and cancel the Slots of one clinic under leases, sleep past them, die; the server is killed, the Redis
// that keeps the leases is emptied. Then what is stored is compared with what was acknowledged.
import assert from "node:assert/strict";
import { setTimeout as pause } from "node:timers/promises";
import { startRedis } from "../../scripts/lib/redis.mjs";
import { PASSWORD, administrator, patient, signIn } from "./client.mjs";
import { poll, startWorkerd } from "./server.mjs";

const LEASE_MS = 1_000;
/** Accounts and patients; the clients share them. */
const ACCOUNTS = 10;
const id = (kind, number) => `${kind}${number}`;
const oneIn = (number) => Math.random() * number < 1;

/** What `$book` is sent for `slot` and a patient; with the fence of the slot's lease, where there is one. */
export const booking = (slot, patientId, fence) => ({
  resourceType: "Parameters",
  parameter: [
    {
      name: "appt-resource",
      resource: {
        resourceType: "Appointment",
        status: "proposed",
        slot: [{ reference: `Slot/${slot}` }],
        participant: [{ actor: { reference: `Patient/${patientId}` }, status: "accepted" }],
      },
    },
    // An integer of FHIR ends before the fences of a Redis that has forgotten everything once.
    ...(fence ? [{ name: "fence", ...(fence < 2 ** 31 ? { valuePositiveInt: fence } : { valueDecimal: fence }) }] : []),
  ],
});

/** A clinic with `slots` free Slots on leases of `backend`, "objects" or "Redis". */
async function clinic(t, backend, slots) {
  const redis = backend === "Redis" ? await startRedis() : undefined;
  if (redis) t.after(() => redis.stop());
  const vars = redis ? { REDIS_URL: redis.vars.REDIS_URL, REDIS_TOKEN: redis.vars.REDIS_TOKEN, LEASES_ON: "redis" } : {};
  const server = await startWorkerd({ vars });
  t.after(() => server.stop());
  const admin = await administrator(server);
  const people = [];
  for (let number = 0; number < ACCOUNTS; number += 1) {
    const username = id("nurse", number);
    assert.equal((await admin.post("/users", { username, name: username, role: "nurse", password: PASSWORD })).status, 201);
    people.push(await signIn(server.url, username));
    assert.equal((await admin.put(`/fhir/Patient/${id("p", number)}`, patient(id("p", number)))).status, 201);
  }
  for (let from = 0; from < slots; from += 100) {
    const entry = Array.from({ length: Math.min(100, slots - from) }, (_, at) => {
      const start = Date.UTC(2030, 0, 1) + (from + at) * 600_000;
      const times = { start: new Date(start).toISOString(), end: new Date(start + 600_000).toISOString() };
      const resource = { resourceType: "Slot", id: id("s", from + at), status: "free", schedule: { reference: "Schedule/s" }, ...times };
      return { resource, request: { method: "PUT", url: `Slot/${resource.id}` } };
    });
    const made = await admin.post("/fhir", { resourceType: "Bundle", type: "transaction", entry });
    assert.equal(made.status, 200, made.text.slice(0, 500));
  }
  return { redis, server, admin, people };
}

/** Every event of a patient's channel, from the first. */
async function eventsOf(admin, patientId) {
  const events = [];
  for (let after = ""; ; ) {
    const page = (await admin.get(`/channels/patient/${patientId}?limit=500${after && `&after=${after}`}`)).body;
    events.push(...page.events);
    if (!page.events.length || page.cursor === after) return events;
    after = page.cursor;
  }
}

/** Every Appointment of a patient. */
async function appointmentsOf(admin, patientId) {
  const found = [];
  for (let path = `/fhir/Appointment?patient=${patientId}&_count=200`; path; ) {
    const { body } = await admin.get(path);
    found.push(...(body.entry ?? []).map(({ resource }) => resource));
    const next = body.link?.find(({ relation }) => relation === "next")?.url;
    path = next && new URL(next, "http://any").pathname + new URL(next, "http://any").search;
  }
  return found;
}

/**
 * `clients` make `attempts` in all at `slots` Slots, while the server is killed `kills` times and, on Redis, all is flushed
 * `flushes` times, evenly spread. Prints how often everything occurred; nothing is zero.
 */
export async function bookings(t, { backend, slots, clients, attempts, kills, flushes = 0 }) {
  const { redis, server, admin, people } = await clinic(t, backend, slots);
  const outcomes = ["lease granted", "lease held", "lease unknown", "slept past the lease", "client died", "booked", "refused"];
  outcomes.push("booking unknown", "cancelled", "cancellation unknown");
  const met = Object.fromEntries(["attempts", ...outcomes].map((what) => [what, 0]));
  const count = (what) => (met[what] += 1);
  /** The highest fence that was told of each Slot. */
  const highest = new Map();
  /** Appointments that were acknowledged, and whether their cancellation was asked for. */
  const acknowledged = new Map();
  const known = (reply) => reply && ![500, 502, 503, 504].includes(reply.status);

  async function cancel(who, appointment) {
    acknowledged.get(appointment).cancel = true;
    const reply = await who.post(`/fhir/Appointment/${appointment}/$cancel`, { resourceType: "Parameters" }).catch(() => undefined);
    if (!known(reply)) return count("cancellation unknown");
    assert.equal(reply.status, 200, reply.text);
    return count("cancelled");
  }

  async function attempt(who, number) {
    const slot = id("s", Math.floor(Math.random() * slots));
    const before = highest.get(slot) ?? 0;
    const lease = await who.post(`/leases/slot:${slot}`, { request_id: `r${number}`, ttl_seconds: LEASE_MS / 1_000 }).catch(() => undefined);
    if (!known(lease)) return count("lease unknown");
    if (lease.status === 409) return count("lease held");
    assert.equal(lease.status, 201, lease.text);
    count("lease granted");
    const { fence } = lease.body;
    assert.ok(fence > before, `fence ${fence} of ${slot} after ${before}`);
    highest.set(slot, Math.max(fence, highest.get(slot) ?? 0));
    if (oneIn(12)) {
      count("slept past the lease");
      await pause(LEASE_MS + Math.random() * 500);
    } else await pause(Math.random() * 20);
    const dies = oneIn(15);
    const controller = new AbortController();
    if (dies) setTimeout(() => controller.abort(), Math.random() * 8);
    const forPatient = id("p", Math.floor(Math.random() * ACCOUNTS));
    const reply = await who.post("/fhir/Appointment/$book", booking(slot, forPatient, fence), {}, controller.signal).catch(() => undefined);
    if (!reply && dies) return count("client died");
    if (!known(reply)) return count("booking unknown");
    if (reply.status === 409) {
      count("refused");
    } else {
      assert.equal(reply.status, 201, reply.text);
      count("booked");
      const appointment = reply.body.entry[0].resource.id;
      acknowledged.set(appointment, { slot, cancel: false });
      if (!oneIn(5)) await cancel(who, appointment);
    }
    await who.del(`/leases/slot:${slot}?fence=${fence}`).catch(() => undefined);
  }

  const begin = performance.now();
  const loop = async (number) => {
    const who = people[number % people.length];
    while (met.attempts < attempts) {
      count("attempts");
      await attempt(who, met.attempts);
      await pause(Math.random() * 30);
    }
  };
  const trouble = async () => {
    // Flushes among the kills.
    const all = [...Array(kills).fill("kill")];
    for (let flush = 1; flush <= flushes; flush += 1) all.splice(Math.round((kills * flush) / (flushes + 1)) + flush - 1, 0, "flush");
    for (const [at, what] of all.entries()) {
      const due = (attempts * (at + 1)) / (all.length + 1);
      await poll("its moment", () => met.attempts >= due, { within: 1_800_000, every: 20 });
      if (what === "kill") await server.restart();
      else await redis.client.flushall();
    }
  };
  await Promise.all([trouble(), ...Array.from({ length: clients }, (_, number) => loop(number))]);
  const took = (performance.now() - begin) / 1_000;

  const stored = (await Promise.all(Array.from({ length: ACCOUNTS }, (_, number) => appointmentsOf(admin, id("p", number))))).flat();
  const live = stored.filter(({ status }) => !["cancelled", "noshow", "entered-in-error"].includes(status));
  const bySlot = Object.groupBy(live, ({ slot }) => slot[0].reference.split("/")[1]);
  for (const [slot, of] of Object.entries(bySlot)) assert.equal(of.length, 1, `${slot} is in ${of.length} live Appointments`);
  const byId = new Map(stored.map((resource) => [resource.id, resource]));
  let kept = 0;
  for (const [appointment, { slot, cancel: asked }] of acknowledged) {
    const found = byId.get(appointment);
    assert.ok(found, `${appointment} was acknowledged and is gone`);
    assert.equal(found.slot[0].reference, `Slot/${slot}`);
    if (asked) continue;
    kept += 1;
    assert.equal(found.status, "booked", `${appointment} was acknowledged, nobody cancelled it, and it is ${found.status}`);
  }
  // Each with its event: that it was booked, and that it was cancelled where it was.
  met.events = 0;
  for (let number = 0; number < ACCOUNTS; number += 1) {
    const own = `Patient/${id("p", number)}`;
    const mine = stored.filter(({ participant }) => participant.some(({ actor }) => actor?.reference === own));
    const versions = ({ id: of, meta }) => Array.from({ length: Number(meta.versionId) }, (_, at) => `Appointment/${of}/_history/${at + 1}`);
    const expected = mine.flatMap(versions);
    await poll(`the ${expected.length} events of ${own}`, async () => {
      const told = new Set((await eventsOf(admin, id("p", number))).filter(({ kind }) => kind === "appointment").map((event) => event.id));
      return expected.every((one) => told.has(one));
    }, { within: 60_000 });
    met.events += expected.length;
  }
  met["live at the end"] = live.length;
  met["acknowledged and kept"] = kept;
  met["server killed"] = kills;
  if (redis) met["Redis flushed"] = flushes;
  t.diagnostic(`${slots} Slots, ${clients} clients, leases on ${backend}: ${took.toFixed(0)} s, ${(attempts / took).toFixed(0)} attempts/s`);
  t.diagnostic(Object.entries(met).map(([what, times]) => `${what} ${times}`).join(", "));
  return met;
}
