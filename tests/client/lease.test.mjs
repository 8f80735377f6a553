// The lease of an editor: kept while it can be, and said to be lost when it cannot, by a clock that the test drives.
import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";
import { speak } from "../../www/js/i18n.mjs";
import { takeLease } from "../../www/js/lease.mjs";

await speak("en");
const life = 30_000;
let asked;
let sent;
let answer;
let lost;
let leave;

const reply = (status, body) => new Response(body === undefined ? null : JSON.stringify(body), { status, headers: { "Content-Type": "application/json" } });
const granted = () => reply(200, { name: "Condition:a", fence: 7, expires_in_ms: life });
const turns = async () => {
  for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
  await new Promise((resolve) => setImmediate(resolve));
};
/** Lets so much time pass, a second at a time, and whatever that sets going end. */
async function pass(ms) {
  for (let gone = 0; gone < ms; gone += 1_000) {
    mock.timers.tick(1_000);
    await turns();
  }
}

beforeEach(() => {
  mock.timers.enable({ apis: ["setInterval", "Date"], now: Date.parse("2026-11-25T10:00:00Z") });
  [asked, sent, answer, lost, leave] = [[], [], granted, 0, new AbortController()];
  mock.method(globalThis, "fetch", async (path, { method, body }) => {
    asked.push(`${method} ${path}`);
    sent.push(JSON.parse(body ?? "{}"));
    return answer(method);
  });
});
afterEach(() => {
  leave.abort();
  mock.restoreAll();
  mock.timers.reset();
});

const take = () => takeLease("Condition:a", { requestId: "opening-1", signal: leave.signal, onLost: () => (lost += 1) });
const count = (method) => asked.filter((line) => line.startsWith(method)).length;

test("it is renewed three times in its life, and given back once", async () => {
  const lease = await take();
  assert.equal(lease.fence, 7);
  await pass(10 * life);
  assert.deepEqual([count("POST"), count("PUT"), lost], [1, 30, 0]);
  await lease.release();
  await lease.release();
  assert.equal(asked.at(-1), "DELETE /leases/Condition%3Aa?fence=7");
  await pass(life);
  assert.deepEqual([count("DELETE"), count("PUT"), lost], [1, 30, 0]);
});

test("while the server is away it is ours until its time is up, and no longer", async () => {
  await take();
  answer = () => Promise.reject(new TypeError("no network"));
  await pass(life - 1_000);
  assert.equal(lost, 0);
  await pass(1_000);
  assert.equal(lost, 1);
  const tries = asked.length;
  await pass(2 * life);
  assert.deepEqual([lost, asked.length], [1, tries], "once, and nothing after that");
});

test("a pause of the server that is shorter than its life does no harm", async () => {
  await take();
  answer = () => reply(503, {});
  await pass(life - 5_000);
  answer = granted;
  await pass(4 * life);
  assert.equal(lost, 0);
});

test("a device that slept over its end does not take it for its own", async () => {
  await take();
  mock.timers.setTime(Date.now() + 10 * life);
  await pass(2_000);
  assert.deepEqual([lost, count("PUT")], [1, 0]);
});

test("one that the server gave to somebody else is lost at the next renewal", async () => {
  await take();
  answer = () => reply(409, { holder: "Nora" });
  await pass(10_000);
  assert.equal(lost, 1);
});

test("one that another holds is refused with who it is", async () => {
  answer = () => reply(409, { holder: "Nora", since: "2026-11-25T09:59:00Z" });
  await assert.rejects(take(), ({ status, body }) => status === 409 && body.holder === "Nora");
});

test("after a reply that was lost it is asked for once more by the same request", async () => {
  answer = () => Promise.reject(new TypeError("no network"));
  await assert.rejects(take(), ({ status }) => status === 0);
  answer = granted;
  await take();
  assert.deepEqual(sent.map(({ request_id }) => request_id), ["opening-1", "opening-1"]);
});

test("leaving the view gives it back", async () => {
  await take();
  leave.abort();
  await turns();
  assert.equal(count("DELETE"), 1);
});
