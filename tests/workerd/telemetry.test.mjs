// Telemetry on the real thing: every reading once and in order in the topics of its patient and ward, also across a SIGKILL;
// what it costs in rows; and a monitor that falls silent, although nobody is connected.
import assert from "node:assert/strict";
import { test } from "node:test";
import { gateway } from "../../scripts/monitor.mjs";
import { follow, PASSWORD, signIn } from "../support/client.mjs";
import { poll } from "../support/server.mjs";
import { assertInOrder, bed, beds, monitoredWard as ready, readings } from "../support/ward.mjs";

/** Rows written for one reading, all objects and indexes together, with 24 beds of one ward at 1 Hz. */
const budget = 1.5;

const run = (server, options) => gateway({ url: server.url, username: "monitors", password: PASSWORD, beds, ...options });

test("24 beds: every reading once, in order, in both topics, for at most so many rows", async (t) => {
  const { server, admin, nurse, patients: all } = await ready(t, { entry: "tests/workerd/counting.js" });
  const follower = follow(t, server.url, nurse.token, "ward/w");
  await follower.until(({ frames }) => frames.length > 0, "hello");
  // First come the tables of 25 topics, and 24 scores.
  const first = 14;
  await run(server, { seconds: first });
  const before = (await admin.get("/rows")).body;
  const counted = 20;
  const seconds = first + counted;
  const result = await run(server, { seconds: counted });
  const after = (await admin.get("/rows")).body;
  assert.deepEqual([result.posted, result.acknowledged], [counted * beds, counted * beds]);
  assertInOrder(await readings(nurse, "ward/w"), all, seconds);
  for (const id of [all[0], all.at(-1)]) assertInOrder(await readings(nurse, `patient/${id}`), [id], seconds);
  const live = () => follower.events.filter(({ kind }) => kind === "telemetry").flatMap(({ data }) => data.readings);
  await follower.until(() => live().length >= seconds * beds, "all of it live");
  assertInOrder(live().map(({ patient: id, at }) => [id, at]), all, seconds);

  const by = (name) => (after.rows[name] - before.rows[name] + after.alarms[name] - before.alarms[name]) / result.posted;
  const [topics, clinic] = [by("Topic"), by("Clinic")];
  const total = topics + clinic + by("Shard");
  t.diagnostic(`${total.toFixed(2)} rows a reading (topics ${topics.toFixed(2)}, clinic ${clinic.toFixed(2)}); p50 ${result.p50} ms, p99 ${result.p99} ms`);
  // A machine under load is late, and several readings of a patient share a row; none at all would be a wrong count.
  assert.ok(topics >= 0.3 && clinic > 0, "the count is wrong");
  assert.ok(total <= budget, `${total} rows a reading`);
});

test("devices that post each for themselves: what comes close together shares a row, and nobody waits for long", async (t) => {
  const { server, nurse, patients: all } = await ready(t);
  const device = await signIn(server.url, "monitors");
  const times = [];
  const rounds = 6;
  for (let round = 0; round < rounds; round += 1) {
    const at = new Date().toISOString();
    const body = { kind: "telemetry", data: { at, values: { heart_rate: 70 + round } } };
    await Promise.all(
      all.map(async (id) => {
        const start = performance.now();
        const reply = await device.post(`/channels/patient/${id}`, body);
        times.push(performance.now() - start);
        assert.equal(reply.status, 201, reply.text);
      }),
    );
  }
  assertInOrder(await readings(nurse, "ward/w"), all, rounds);
  const { events } = (await nurse.get("/channels/ward/w?limit=1000")).body;
  const shared = events.filter(({ kind }) => kind === "telemetry").length;
  t.diagnostic(`${rounds * beds} readings in ${shared} rows of the ward; slowest ${Math.max(...times).toFixed(0)} ms`);
  assert.ok(shared <= (rounds * beds) / 2, `${shared} rows`);
});

test("what was acknowledged before a SIGKILL is there after it, and nothing twice", async (t) => {
  const { server, nurse, patients: all } = await ready(t);
  const seconds = 12;
  const running = run(server, { seconds, patience: 60_000 });
  await poll("some telemetry", async () => (await readings(nurse, "ward/w").catch(() => [])).length >= 4 * beds);
  await server.restart({ signal: "SIGKILL" });
  const result = await running;
  assert.deepEqual([result.posted, result.acknowledged, result.dropped], [seconds * beds, seconds * beds, 0]);
  assertInOrder(await readings(nurse, "ward/w"), all, seconds);
  for (const id of all.slice(0, 3)) assertInOrder(await readings(nurse, `patient/${id}`), [id], seconds);
});

test("a silent monitor is an alert although nobody is connected, and its return ends it", async (t) => {
  const { server, nurse } = await ready(t, { vars: { MONITOR_INTERVAL_SECONDS: "2" } });
  await run(server, { seconds: 3, beds: 2 });
  const { body } = await nurse.get("/wards/w/board");
  const monitored = body.patients.filter(({ monitor }) => monitor);
  assert.deepEqual(monitored.map(({ id, monitor }) => [id, monitor]), [
    [bed(1), { interval_seconds: 2, silent: false }],
    [bed(2), { interval_seconds: 2, silent: false }],
  ]);
  const last = Date.parse(monitored[0].latest.heart_rate.at);
  const open = async () => (await nurse.get("/alerts?ward=w")).body.alerts.filter(({ cause }) => cause === "silence");
  const alerts = await poll("both alerts", async () => (await open()).length === 2 && open(), { within: 60_000 });
  for (const { raised_at, detail } of alerts) {
    const after = Date.parse(raised_at) - last;
    t.diagnostic(`silent ${after} ms after the last reading`);
    assert.ok(after >= 6_000 && after < 20_000, `${after} ms`);
    assert.equal(detail.interval_seconds, 2);
  }
  await run(server, { seconds: 1, beds: 1 });
  assert.deepEqual((await open()).map(({ patient: id }) => id), [bed(2)]);
  const told = (await nurse.get("/channels/ward/w?limit=1000")).body.events.filter(({ kind }) => kind === "alert");
  const changes = told.filter(({ data }) => data.alert.patient === bed(1)).map(({ data }) => data.change);
  assert.deepEqual(changes, ["raised", "resolved"]);
});
