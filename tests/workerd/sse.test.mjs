// Event streams: the same events, cursors and gaps as over a WebSocket and in pages, and nothing left behind.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { test } from "node:test";
import { node } from "../../scripts/lib/project.mjs";
import { administrator, follow, patient, weight } from "../support/client.mjs";
import { poll, startWorkerd } from "../support/server.mjs";
import { readStream } from "../support/sse.mjs";

async function ready(t) {
  const server = await startWorkerd({ entry: "tests/workerd/faulty.js" });
  t.after(() => server.stop());
  const admin = await administrator(server);
  assert.equal((await admin.put("/fhir/Patient/p", patient("p"))).status, 201);
  const post = async (value) => {
    const reply = await admin.post("/fhir/Observation", weight("p", value));
    assert.equal(reply.status, 201, reply.text);
    return `Observation/${reply.body.id}/_history/1`;
  };
  const listen = (options) => readStream(t, `${server.url}/channels/patient/p`, admin.token, options);
  const sockets = async () => (await admin.get("/sockets/patient/p")).body;
  return { server, admin, post, listen, sockets };
}

const ids = (events) => events.map((event) => event.id);

test("a stream begins with a cursor, gives events in order while they happen, and goes on where it was cut", async (t) => {
  const { admin, post, listen } = await ready(t);
  const first = await listen();
  assert.equal(first.status, 200);
  assert.equal(first.headers.get("content-type"), "text/event-stream; charset=utf-8");
  assert.equal(first.headers.get("cache-control"), "no-store");
  assert.equal(first.headers.get("x-request-id").length, 36);
  await first.until((self) => self.lastId, "a cursor before any event");
  assert.ok(first.text.startsWith(":"), first.text);
  assert.equal(first.events.length, 0);
  const start = first.lastId;

  const committed = [];
  for (let value = 1; value <= 20; value++) committed.push(await post(value));
  await first.until((self) => self.events.length >= 20, "twenty events");
  await first.cut();
  for (let value = 21; value <= 30; value++) committed.push(await post(value));
  const second = await listen({ last: first.lastId });
  await second.until((self) => self.events.length >= 10, "what was missed");
  committed.push(await post(31));
  await second.until((self) => self.events.length >= 11, "one more");
  const seen = [...first.events, ...second.events];
  assert.deepEqual(ids(seen), committed);
  assert.deepEqual(seen.map((event) => Number(event.cursor.split(":")[1])), seen.map((_, index) => index + 1));
  assert.ok(seen.every((event) => event.kind === "observation"));

  // The header goes before the parameter: what a browser does that comes back to the URL it began with.
  const third = await listen({ last: second.lastId, after: start });
  await third.until((self) => self.lastId === second.lastId, "the position");
  await post(32);
  await third.until((self) => self.events.length > 0, "the next event");
  assert.equal(third.events.length, 1);
  await Promise.all([second.cut(), third.cut()]);

  // The same events as in pages and over a WebSocket.
  const all = await listen({ after: start });
  const socket = follow(t, admin.url, admin.token, "patient/p", start);
  await all.until((self) => self.events.length >= 32, "all over again");
  await socket.until((self) => self.events.length >= 32, "all over the socket");
  const page = (await admin.get(`/channels/patient/p?after=${start}`)).body;
  assert.deepEqual(all.events, page.events);
  assert.deepEqual(socket.events, page.events);
  await socket.kill();
  await all.cut();
});

test("a gap is announced before anything else, with a position from which to go on", async (t) => {
  const { admin, post, listen } = await ready(t);
  const committed = [await post(61), await post(62)];
  const page = async (after) => (await admin.get(`/channels/patient/p?after=${after}`)).body;
  await poll("both events", async () => (await admin.get("/channels/patient/p")).body.events.length === 2);
  const stream = await listen({ last: "other:7" });
  await stream.until((self) => self.events.length >= 2, "both events");
  assert.deepEqual(stream.all.map((event) => event.kind), ["gap", "observation", "observation"]);
  const expected = (await page("other:7")).gap;
  assert.deepEqual(stream.all[0].data, expected);
  assert.equal(stream.all[0].cursor, expected.oldest);
  assert.deepEqual(ids(stream.events), committed);
  await stream.cut();
  const again = await listen({ last: stream.all[0].cursor });
  await again.until((self) => self.events.length >= 2, "both events again");
  assert.deepEqual(again.all.map((event) => event.kind), ["observation", "observation"]);
  await again.cut();
});

test("who may not listen or sends no cursor is told so, not given a stream", async (t) => {
  const { server, listen, sockets } = await ready(t);
  const refused = await listen({ last: "rubbish" });
  assert.equal(refused.status, 400);
  await refused.ended;
  assert.equal(JSON.parse(refused.text).field, "last-event-id");
  const unknown = await readStream(t, `${server.url}/channels/patient/p`, "none");
  assert.equal(unknown.status, 401);
  await unknown.ended;
  assert.equal(await sockets(), 0);
});

test("a client that is killed leaves no socket; a stream that is quiet says that it is alive", async (t) => {
  const { server, admin, post, listen, sockets } = await ready(t);
  const quiet = await listen();
  await post(70);
  await quiet.until((self) => self.events.length === 1, "an event");
  const script = `
    const reply = await fetch(process.argv[1], { headers: { accept: "text/event-stream", authorization: process.argv[2] } });
    for await (const _ of reply.body);`;
  const args = ["--input-type=module", "-e", script, `${server.url}/channels/patient/p`, `Bearer ${admin.token}`];
  const children = [1, 2, 3].map(() => spawn(node, args, { stdio: "ignore" }));
  t.after(() => children.forEach((child) => child.kill("SIGKILL")));
  await poll("their sockets", async () => (await sockets()) === 4);
  children.forEach((child) => child.kill("SIGKILL"));
  // workerd notices that a client is gone when it writes to it: at a heartbeat at the latest.
  await poll("their sockets to be gone", async () => (await sockets()) === 1, { within: 25_000 });
  await quiet.until((self) => /^: still here$/m.test(self.text), "a heartbeat");
  await post(71);
  await quiet.until((self) => self.events.length === 2, "an event after it");
  await quiet.cut();
});

test("a stream whose server is killed ends, and its client goes on after the restart", async (t) => {
  const { server, post, listen } = await ready(t);
  const stream = await listen();
  await stream.until((self) => self.lastId, "a cursor");
  const before = await post(72);
  await stream.until((self) => self.events.length === 1, "the first event");
  await server.kill("SIGKILL");
  await stream.ended;
  await server.restart();
  const missed = await post(73);
  const back = await listen({ last: stream.lastId });
  await back.until((self) => self.events.length >= 1, "the event of after the restart");
  assert.deepEqual([...ids(stream.events), ...ids(back.events)], [before, missed]);
  await back.cut();
});
