// Publishing, and the long poll: the same events and cursors as on every other way to listen.
import assert from "node:assert/strict";
import { test } from "node:test";
import { PASSWORD, administrator, follow, heartRate, patient, signIn } from "../support/client.mjs";
import { poll, startWorkerd } from "../support/server.mjs";
import { readStream } from "../support/sse.mjs";

async function ready(t) {
  const server = await startWorkerd({ entry: "tests/workerd/faulty.js" });
  t.after(() => server.stop());
  const admin = await administrator(server);
  assert.equal((await admin.put("/fhir/Patient/p", patient("p"))).status, 201);
  const sockets = async (topic) => (await admin.get(`/sockets/${topic}`)).body;
  return { server, admin, sockets };
}

async function account(admin, username, role, more = {}) {
  const made = await admin.post("/users", { username, name: username, role, password: PASSWORD, ...more });
  assert.equal(made.status, 201, made.text);
  return signIn(admin.url, username);
}

test("a notice is published once under its id, and by those alone who may", async (t) => {
  const { admin } = await ready(t);
  const path = "/channels/patient/p";
  const notice = { id: "n-1", kind: "notice", data: { text: "to theatre at 10", at: [1.50, null] } };
  const first = await admin.post(path, notice);
  assert.equal(first.status, 201, first.text);
  const again = await admin.post(path, notice);
  assert.deepEqual([again.status, again.body], [200, first.body]);
  const other = await admin.post(path, { ...notice, data: {} });
  assert.deepEqual([other.status, other.body.field], [409, "id"]);
  const { events } = (await admin.get(path)).body;
  assert.equal(events.length, 1);
  assert.deepEqual(events[0], { cursor: first.body.cursor, id: "n-1", kind: "notice", at: events[0].at, data: notice.data });
  const [one, two] = [await admin.post(path, { kind: "notice", data: 1 }), await admin.post(path, { kind: "notice", data: 1 })];
  assert.deepEqual([one.status, two.status], [201, 201]);
  assert.notEqual(one.body.cursor, two.body.cursor);

  for (const [body, status, field] of [
    [{ kind: "observation", data: {} }, 422, "kind"],
    [{ kind: "telemetry", data: {} }, 422, "data"],
    [{ kind: "nonsense", data: {} }, 400, "kind"],
    [{ kind: "notice" }, 400, "data"],
    [{ kind: "notice", data: {}, id: "a b" }, 400, "id"],
    [{ kind: "notice", data: {}, to: "x" }, 400, "to"],
  ]) {
    const refused = await admin.post(path, body);
    assert.deepEqual([refused.status, refused.body.field], [status, field], refused.text);
  }
  const nurse = await account(admin, "nora", "nurse", { wards: ["w1"] });
  const device = await account(admin, "monitor", "device", { patients: ["p"] });
  const self = await account(admin, "pat", "patient", { patient: "p" });
  const send = async (who, topic) => (await who.post(`/channels/${topic}`, { kind: "notice", data: {} })).status;
  const { id } = (await nurse.get("/session")).body.user;
  assert.deepEqual(
    await Promise.all([
      send(nurse, "ward/w1"), send(nurse, "patient/p"), send(nurse, "ward/w2"), send(nurse, `user/${id}`),
      send(admin, `user/${id}`), send(device, "patient/p"), send(self, "patient/p"), send(admin, "patient/q"),
    ]),
    [201, 201, 403, 403, 201, 403, 403, 404],
  );
});

test("a long poll answers at once with what there is, else with what comes, else with nothing", async (t) => {
  const { admin, sockets } = await ready(t);
  const path = "/channels/patient/p";
  const publish = async (data) => (await admin.post(path, { kind: "notice", data })).body.cursor;
  const first = await publish(1);
  const there = await admin.get(`${path}?wait=30`);
  assert.deepEqual([there.body.events.length, there.body.cursor], [1, first]);

  const waiting = admin.get(`${path}?after=${first}&wait=30`);
  await poll("the poll to wait", async () => (await sockets("patient/p")) === 1);
  const second = await publish(2);
  const came = await waiting;
  assert.equal(came.status, 200);
  assert.equal(came.headers.get("content-type"), "application/json; charset=utf-8");
  assert.deepEqual([came.body.events.map((event) => event.data), came.body.cursor, came.body.gap], [[2], second, null]);
  const socket = follow(t, admin.url, admin.token, "patient/p", first);
  await socket.until((self) => self.events.length > 0, "the same event");
  assert.deepEqual(socket.events, came.body.events);
  await socket.kill();

  const nothing = await admin.get(`${path}?after=${second}&wait=1`);
  assert.deepEqual(nothing.body, { events: [], cursor: second, gap: null });
  const lost = await admin.get(`${path}?after=other:9&wait=30`);
  assert.equal(lost.body.gap.oldest, `${first.split(":")[0]}:0`);
  assert.equal(lost.body.events.length, 2);
  for (const wait of ["0", "x", "-1"]) assert.equal((await admin.get(`${path}?wait=${wait}`)).status, 400, wait);

  // A client that goes away while it waits leaves nothing behind for longer than it would have waited.
  const leave = new AbortController();
  const headers = { authorization: `Bearer ${admin.token}` };
  const left = fetch(`${admin.url}${path}?after=${second}&wait=5`, { headers, signal: leave.signal }).then((reply) => reply.text());
  await poll("the poll to wait", async () => (await sockets("patient/p")) === 1);
  leave.abort();
  await assert.rejects(left);
  await poll("its socket to be gone", async () => (await sockets("patient/p")) === 0, { within: 30_000 });
});

test("a listener that acknowledges nothing is sent away with its cursor when its window is used up, and misses nothing", async (t) => {
  const { admin, sockets } = await ready(t);
  const window = 1_024;
  const silent = follow(t, admin.url, admin.token, "patient/p");
  const good = follow(t, admin.url, admin.token, "patient/p", undefined, 256);
  for (const listener of [silent, good]) await listener.until((self) => self.frames.length > 0, "hello");
  const numbers = (from, to) => Array.from({ length: to - from }, (_, index) => from + index);
  const publish = async (from, to) => {
    const queue = numbers(from, to);
    const send = async () => {
      for (let data; (data = queue.shift()) !== undefined; ) {
        assert.equal((await admin.post("/channels/patient/p", { kind: "notice", data })).status, 201);
      }
    };
    await Promise.all([send(), send(), send(), send()]);
  };
  await publish(0, window + 100);
  const closed = ({ frames }) => frames.find((frame) => frame.type === "closed");
  await silent.until(closed, "the end");
  assert.equal(closed(silent).code, 4002);
  assert.deepEqual(silent.frames.at(-2), { type: "bye", code: 4002, resume: true });
  // So many that the window holds, and the round in which it was found to be used up is not sent.
  assert.ok(silent.events.length >= window && silent.events.length <= window + 1, `${silent.events.length}`);
  await poll("its socket to be gone", async () => (await sockets("patient/p")) === 1);
  const back = follow(t, admin.url, admin.token, "patient/p", silent.cursor);
  await back.until((self) => silent.events.length + self.events.length >= window + 100, "the rest");
  await good.until((self) => self.events.length >= window + 100, "everything");
  const offsets = (listener) => listener.map((event) => Number(event.cursor.split(":")[1]));
  const all = numbers(1, window + 101);
  assert.deepEqual(offsets([...silent.events, ...back.events]), all);
  assert.deepEqual(offsets(good.events), all);
  assert.ok(good.frames.every((frame) => ["hello", "events"].includes(frame.type)));
});

/** Two wards; gives what puts the patient into one. */
async function wards(admin) {
  for (const ward of ["w1", "w2"]) {
    const location = { resourceType: "Location", id: ward, physicalType: { coding: [{ code: "wa" }] } };
    assert.equal((await admin.put(`/fhir/Location/${ward}`, location)).status, 201);
  }
  return async (ward) => {
    const location = [{ location: { reference: `Location/${ward}` } }];
    const subject = { reference: "Patient/p" };
    const encounter = { resourceType: "Encounter", id: "e", status: "in-progress", class: { code: "IMP" }, subject, location };
    assert.ok((await admin.put("/fhir/Encounter/e", encounter)).status < 300);
  };
}

test("a display is told of its ward what its board shows, on every way to listen; others beside it are told everything", async (t) => {
  const { admin } = await ready(t);
  await (await wards(admin))("w1");
  const nurse = await account(admin, "nora", "nurse", { wards: ["w1"] });
  const display = await account(admin, "wall", "display", { wards: ["w1"] });
  const [hers, walls] = [nurse, display].map(({ token }) => follow(t, admin.url, token, "ward/w1"));
  const stream = await readStream(t, `${admin.url}/channels/ward/w1`, display.token);
  for (const one of [hers, walls]) await one.until((self) => self.frames.length > 0, "hello");
  await stream.until((self) => self.lastId, "its cursor");
  const start = walls.cursor;
  const polled = display.get(`/channels/ward/w1?after=${start}&wait=30`);
  const secret = (resource) => ({ ...resource, identifier: [{ value: "SECRET" }], subject: { reference: "Patient/p", display: "SECRET" } });
  const rate = secret(heartRate("p", 71));
  const report = secret({ resourceType: "DiagnosticReport", status: "final", code: { text: "SECRET" } });
  for (const resource of [rate, report]) assert.equal((await admin.post(`/fhir/${resource.resourceType}`, resource)).status, 201);
  assert.equal((await nurse.post("/channels/ward/w1", { kind: "notice", data: { text: "SECRET" } })).status, 201);
  const all = (self) => ["observation", "score", "diagnosis", "notice"].every((kind) => self.events.some((event) => event.kind === kind));
  for (const one of [hers, walls, stream]) await one.until(all, "all events");
  const later = follow(t, admin.url, display.token, "ward/w1", start);
  await later.until(all, "all events, replayed");
  const page = (await display.get(`/channels/ward/w1?after=${start}`)).body;
  for (const events of [walls.events, stream.events, later.events, page.events]) {
    assert.ok(!JSON.stringify(events).includes("SECRET"), JSON.stringify(events));
    assert.deepEqual(events.map(({ cursor, kind }) => [cursor, kind]), hers.events.map(({ cursor, kind }) => [cursor, kind]));
    assert.deepEqual(events.find(({ kind }) => kind === "observation").data.resource.valueQuantity.value, 71);
    assert.deepEqual(events.find(({ kind }) => kind === "score").data.news2.parts.heart_rate.value, 71);
  }
  assert.ok(!JSON.stringify((await polled).body).includes("SECRET") && (await polled).body.events.length > 0);
  assert.equal(JSON.stringify(hers.events).match(/SECRET/g).length, 6);
});

test("when a patient moves to another ward, who may follow is asked again: an open socket ends at once", async (t) => {
  const { admin } = await ready(t);
  const stay = await wards(admin);
  await stay("w1");
  const ada = await account(admin, "ada", "nurse", { wards: ["w1"] });
  const both = await account(admin, "cleo", "nurse", { wards: ["w1", "w2"] });
  const [losing, keeping] = [ada, both].map((nurse) => follow(t, admin.url, nurse.token, "patient/p"));
  for (const one of [losing, keeping]) await one.until((self) => self.frames.length > 0, "hello");
  const since = performance.now();
  await stay("w2");
  const bye = ({ frames }) => frames.find((frame) => frame.type === "bye");
  for (const one of [losing, keeping]) {
    await one.until(bye, "the end");
    assert.deepEqual(bye(one), { type: "bye", code: 4001, resume: true });
  }
  t.diagnostic(`sent away ${Math.round(performance.now() - since)} ms after the move was begun`);
  assert.equal((await ada.get("/channels/patient/p")).status, 403);
  const back = follow(t, admin.url, both.token, "patient/p", keeping.cursor);
  await back.until((self) => self.frames.length > 0, "hello");
  await admin.post("/channels/patient/p", { kind: "notice", data: 1 });
  await back.until((self) => self.events.length === 1, "an event");
  assert.equal(losing.events.length, 0);
});
