// A session that nobody uses any more ends by itself: its owner is warned, and its sockets are closed.
import assert from "node:assert/strict";
import { test } from "node:test";
import { signIn } from "../support/client.mjs";
import { PROMISED_MS, TRIALS, backends, ready } from "../support/listening.mjs";
import { spread } from "../support/socket.mjs";

for (const [backend, settings] of backends)
  test(`${backend}: sockets on two topics are closed by idle expiry, after one warning each`, async (t) => {
  const { server, user, listen } = await ready(t, { ...(await settings(t)), SESSION_IDLE_MINUTES: "1" });
  const id = await user("nora");
  const trials = [];
  for (let trial = 0; trial < TRIALS; trial++) {
    const { token, get } = await signIn(server.url, "nora");
    const { body } = await get("/session");
    const { sockets, ended } = await listen(token, id);
    trials.push({ session: body.id, ends: Date.parse(body.idle_expires_at), sockets, ended });
  }
  // One who is active stays.
  const active = await signIn(server.url, "nora");
  const kept = await listen(active.token, id);
  const stays = setInterval(() => active.put("/session").catch(() => clearInterval(stays)), 10_000);
  t.after(() => clearInterval(stays));

  const late = [];
  for (const { ends, ended } of trials) late.push((await ended()) - ends);
  const { max, text } = spread(late);
  t.diagnostic(`${backend}: sockets on two topics closed after the end of an idle session, ${text}`);
  assert.ok(Math.min(...late) >= 0, "none was closed before its time");
  assert.ok(max < PROMISED_MS, text);

  // The channel of the user has every session's warning, once. Whoever stayed has seen all that came since they listen.
  const { body } = await active.get(`/channels/user/${id}?limit=1000`);
  for (const { session, ends } of trials) {
    const warnings = body.events.filter(({ kind, data }) => kind === "session" && data.session === session);
    assert.equal(warnings.length, 1);
    const { at, data } = warnings[0];
    assert.deepEqual([Date.parse(data.ends_at), data.reason], [ends, "idle"]);
    assert.ok(Date.parse(at) >= ends - 30_000 && Date.parse(at) < ends - 29_000, "half of so short an idle time before");
  }
  const own = (await active.get("/session")).body.id;
  assert.ok(!body.events.some(({ data }) => data.session === own), "nobody who is active is warned");
  assert.ok(kept.sockets.every(({ isOpen }) => isOpen));
});
