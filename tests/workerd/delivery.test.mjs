// Events reach their followers once and in order, whatever happens between a commit and its delivery.
import assert from "node:assert/strict";
import { test } from "node:test";
import { administrator, follow, patient, weight } from "../support/client.mjs";
import { poll, startWorkerd } from "../support/server.mjs";

const entry = "tests/workerd/faulty.js";

async function ready(t) {
  const server = await startWorkerd({ entry });
  t.after(() => server.stop());
  const admin = await administrator(server);
  assert.equal((await admin.put("/fhir/Patient/p", patient("p"))).status, 201);
  const post = async (value) => {
    const reply = await admin.post("/fhir/Observation", weight("p", value));
    assert.equal(reply.status, 201, reply.text);
    return `Observation/${reply.body.id}/_history/1`;
  };
  return { server, admin, post };
}

const ids = (events) => events.map((event) => event.id);

/** Offsets without a hole, beginning with 1. */
function assertOffsets(events) {
  const offsets = events.map((event) => Number(event.cursor.split(":")[1]));
  assert.deepEqual(offsets, offsets.map((_, index) => index + 1));
}

test("a follower killed in mid-stream and back with its cursor has every event once, in order", async (t) => {
  const { server, admin, post } = await ready(t);
  let follower = follow(t, server.url, admin.token, "patient/p");
  await follower.until((self) => self.frames.length > 0, "hello");
  const committed = [];
  const seen = [];
  const publishing = (async () => {
    for (let value = 1; value <= 150; value++) committed.push(await post(value));
  })();
  for (const many of [20, 30, 40]) {
    await follower.until((self) => self.events.length >= many, `${many} events`);
    await follower.kill();
    seen.push(...follower.events);
    follower = follow(t, server.url, admin.token, "patient/p", seen.at(-1).cursor);
  }
  await publishing;
  await follower.until((self) => seen.length + self.events.length >= 150, "all events");
  seen.push(...follower.events);
  await follower.kill();
  assert.deepEqual(ids(seen), committed);
  assertOffsets(seen);
  assert.ok(follower.frames.every((frame) => frame.type !== "gap"));
});

test("offsets follow the order of commits although two deliveries were delayed and swapped", async (t) => {
  const { server, admin, post } = await ready(t);
  const follower = follow(t, server.url, admin.token, "patient/p");
  await follower.until((self) => self.frames.length > 0, "hello");
  await admin.post("/faults", { capture: true });
  const committed = [await post(61)];
  const captured = async () => (await admin.get("/faults")).body.captured;
  await poll("the first delivery to be under way", async () => (await captured()) >= 1);
  committed.push(await post(62));
  await poll("the second delivery to be under way", async () => (await captured()) >= 2);
  await admin.post("/faults", { capture: false, release: true });
  committed.push(await post(63));
  await follower.until((self) => self.events.length >= 3, "three events");
  committed.push(await post(64));
  await follower.until((self) => self.events.length >= 4, "the fourth event");
  await follower.kill();
  assert.deepEqual(ids(follower.events), committed);
  assertOffsets(follower.events);
});

test("killed between a commit and its delivery: the event arrives after the restart, once", async (t) => {
  const { server, admin, post } = await ready(t);
  const before = follow(t, server.url, admin.token, "patient/p");
  await before.until((self) => self.frames.length > 0, "hello");
  const first = await post(70);
  await before.until((self) => self.events.length === 1, "the first event");
  const { cursor } = before;
  await before.kill();
  await admin.post("/faults", { drop: true });
  const second = await post(71);
  await server.kill("SIGKILL");
  await server.restart();
  // Nothing was delivered before the death: what arrives came out of the outbox, by the alarm.
  const after = follow(t, server.url, admin.token, "patient/p", cursor);
  await after.until((self) => self.events.length === 1, "the event of before the death");
  const third = await post(72);
  await after.until((self) => self.events.length >= 2, "an event of after the death");
  await after.kill();
  assert.deepEqual(ids(before.events), [first]);
  assert.deepEqual(ids(after.events), [second, third]);
  const page = await admin.get("/channels/patient/p");
  assert.deepEqual(ids(page.body.events), [first, second, third]);
});
