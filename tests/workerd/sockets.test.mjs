// Sockets end with their session: signed out, disabled, whether or not their topics can be reached.
import assert from "node:assert/strict";
import { test } from "node:test";
import { signIn } from "../support/client.mjs";
import { ENDED, PROMISED_MS, TRIALS, backends, ready } from "../support/listening.mjs";
import { poll } from "../support/server.mjs";
import { connect, spread, within } from "../support/socket.mjs";
import { readStream } from "../support/sse.mjs";

for (const [backend, settings] of backends) {
  test(`${backend}: sockets on two topics are closed by sign-out and by disabling the account`, async (t) => {
    const { server, admin, user, listen, open } = await ready(t, await settings(t));
    const id = await user("nora");
    const bystander = connect(t, server.url, admin.token, "patient/p");
    await within(20_000, bystander.hello, "hello");

    const signOut = [];
    for (let trial = 0; trial < TRIALS; trial++) {
      const nora = await signIn(server.url, "nora");
      const { ended } = await listen(nora.token, id);
      const from = Date.now();
      assert.equal((await nora.del("/session")).status, 204);
      signOut.push((await ended()) - from);
    }
    const disable = [];
    for (let trial = 0; trial < TRIALS; trial++) {
      const nora = await signIn(server.url, "nora");
      const { ended } = await listen(nora.token, id);
      const from = Date.now();
      assert.equal((await admin.put(`/users/${id}`, { disabled: true })).status, 200);
      disable.push((await ended()) - from);
      assert.equal((await admin.put(`/users/${id}`, { disabled: false })).status, 200);
    }
    for (const [what, list] of [["sign-out", signOut], ["disabling the account", disable]]) {
      const { max, text } = spread(list);
      t.diagnostic(`${backend}: sockets on two topics closed after ${what}, ${text}`);
      assert.ok(max < PROMISED_MS, text);
    }
    assert.equal(await open("patient/p"), 1, "the socket of another session stays");
  });
}

test("a topic that could not be reached closes its sockets within a second of its return", async (t) => {
  const { server, admin, user, listen } = await ready(t);
  const id = await user("nora");
  const late = [];
  for (const fault of ["drop", "hang", "drop", "hang"]) {
    const nora = await signIn(server.url, "nora");
    const { sockets, ended } = await listen(nora.token, id);
    await admin.post("/faults", { [fault]: true });
    assert.equal((await nora.del("/session")).status, 204, "the end is acknowledged");
    assert.equal((await nora.get("/session")).status, 401);
    const until = Date.now() + 2_500;
    await poll("some vain tries", () => Date.now() > until);
    assert.ok(sockets.every(({ isOpen }) => isOpen));
    const from = Date.now();
    await admin.post("/faults", { [fault]: false });
    late.push((await ended()) - from);
  }
  const { max, text } = spread(late);
  t.diagnostic(`sockets closed after the return of their topic, ${text}`);
  assert.ok(max < PROMISED_MS, text);
});

test("a subscribe that races an end loses", async (t) => {
  const { server, admin, user, open } = await ready(t);
  const id = await user("nora");
  const outcomes = { "let in, then closed": 0, "refused": 0 };
  for (let trial = 0; trial < TRIALS; trial++) {
    const nora = await signIn(server.url, "nora");
    const pause = () => new Promise((resolve) => setTimeout(resolve, trial % 20));
    const end = trial % 2 ? nora.del("/session") : pause().then(() => nora.del("/session"));
    if (trial % 4 === 3) await pause();
    const sockets = ["patient/p", `user/${id}`].map((topic) => connect(t, server.url, nora.token, topic));
    assert.equal((await end).status, 204);
    for (const { ended } of sockets) {
      const { code, status } = await within(20_000, ended, "a socket of an ended session to be closed");
      assert.ok(code === ENDED || status === 401, `${code} ${status}`);
      outcomes[code ? "let in, then closed" : "refused"] += 1;
    }
  }
  t.diagnostic(Object.entries(outcomes).map(([what, count]) => `${what} ${count}`).join(", "));
  for (const count of Object.values(outcomes)) assert.ok(count > 0, "the race was not one");
  await admin.get("/session");
  assert.deepEqual([await open("patient/p"), await open(`user/${id}`)], [0, 0]);
});

test("an event stream ends with its session, and its client is told not to come back", async (t) => {
  const { server, user, open } = await ready(t);
  await user("nora");
  const nora = await signIn(server.url, "nora");
  const stream = await readStream(t, `${server.url}/channels/patient/p`, nora.token);
  await stream.until((self) => self.lastId, "a cursor");
  assert.equal((await nora.del("/session")).status, 204);
  await within(PROMISED_MS, stream.ended, "the stream to end");
  const again = await readStream(t, `${server.url}/channels/patient/p`, nora.token, { last: stream.lastId });
  assert.equal(again.status, 401, "no success: an EventSource gives up");
  await again.ended;
  await poll("its socket to be gone", async () => (await open("patient/p")) === 0);
});

test("whose wards change is asked again: what is theirs goes on where it was, what is not is refused", async (t) => {
  const { server, admin, user } = await ready(t);
  const id = await user("nora", { wards: ["w1"] });
  const nora = await signIn(server.url, "nora");
  const [ward, person] = ["ward/w1", "patient/p"].map((topic) => connect(t, server.url, nora.token, topic));
  for (const { hello } of [ward, person]) assert.ok(await within(20_000, hello, "hello"));
  assert.equal((await admin.put(`/users/${id}/wards`, { wards: ["w2"] })).status, 200);
  for (const { ended, frames } of [ward, person]) {
    assert.equal((await within(PROMISED_MS, ended, "the end")).code, 4001);
    assert.deepEqual(frames.at(-1), { type: "bye", code: 4001, resume: true });
  }
  const back = connect(t, server.url, nora.token, "patient/p", person.frames[0].cursor);
  assert.ok(await within(20_000, back.hello, "hello"));
  const refused = connect(t, server.url, nora.token, "ward/w1");
  assert.equal((await within(20_000, refused.ended, "an answer")).status, 403);
  assert.equal((await nora.get("/session")).status, 200, "the session goes on");
});
