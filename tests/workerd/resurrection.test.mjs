// An ended session stays ended: two hundred requests under way while it ends, replies that are slow or lost, and a Redis that
// is flushed after it. Once the end is acknowledged, no request that begins after it succeeds, then or later; with a Redis that
// is brought back to what it was before the end, none that begins a tenth of the idle time after it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { startRedis } from "../../scripts/lib/redis.mjs";
import { PASSWORD, administrator, client, signIn } from "../support/client.mjs";
import { poll, startWorkerd } from "../support/server.mjs";
import { control, upstash } from "../support/upstash.mjs";

const AT_ONCE = 200;
/** Requests that begin after an acknowledgement. */
const AFTER = 400;

const backends = {
  async objects(t) {
    const server = await startWorkerd({ entry: "tests/workerd/faulty.js", vars: { SESSION_IDLE_MINUTES: "1" } });
    t.after(() => server.stop());
    const set = (faults) => fetch(`${server.url}/faults`, { method: "POST", body: JSON.stringify(faults) });
    return { server, trouble: () => set({ slow: 60, lose: 8 }), calm: () => set({ slow: 0, lose: 0 }) };
  },
  async redis(t) {
    const redis = await startRedis({ front: upstash });
    t.after(() => redis.stop());
    const server = await startWorkerd({ vars: { ...redis.vars, SESSION_IDLE_MINUTES: "1" } });
    t.after(() => server.stop());
    const { faults } = control(redis.url);
    const one = () => {
      const dice = Math.random() * 100;
      return dice < 4 ? { lose: "before" } : dice < 10 ? { lose: "after" } : { delay: Math.random() * 60 };
    };
    return {
      server,
      trouble: () => faults(Array.from({ length: 20_000 }, one)),
      calm: () => faults([]),
      flush: () => redis.client.flushall(),
    };
  },
};

for (const [name, start] of Object.entries(backends)) {
  test(`${name}: no request succeeds after an end is acknowledged`, async (t) => {
    const { server, trouble, calm, flush } = await start(t);
    let admin = await administrator(server);
    const made = await admin.post("/users", { username: "nora", name: "N", role: "nurse", password: PASSWORD });
    const id = made.body.id;
    const counts = {};
    const count = (what) => (counts[what] = (counts[what] ?? 0) + 1);
    const dead = [];

    /** Until it is acknowledged; a 401 is not, since another request of the same kind may have been before it. */
    const untilDone = async (ask, done) => {
      for (;;) {
        const { status } = await ask();
        if (done.includes(status)) return;
        count(`end answered ${status}, repeated`);
        if (status === 401) return;
      }
    };
    const ends = {
      "sign-out": (nora) => untilDone(() => nora.del("/session"), [204]),
      "an administrator": () => untilDone(() => admin.del(`/sessions?user=${id}`), [204]),
      "disabling": () => untilDone(() => admin.put(`/users/${id}`, { disabled: true }), [200]),
    };
    for (const [how, end] of Object.entries(ends)) {
      const nora = await signIn(server.url, "nora");
      dead.push(nora.token);
      await trouble();
      let acknowledged = Infinity;
      let after = 0;
      const ask = async () => {
        while (after < AFTER) {
          const from = performance.now();
          const late = from > acknowledged;
          // Half of them would move the idle clock.
          const { status } = await (Math.random() < 0.5 ? nora.get("/session") : nora.put("/session"));
          after += late;
          assert.ok(!late || status !== 200, `${how}: an ended session was let in`);
          count(`${late ? "after" : "before"} ${status}`);
        }
      };
      const asking = Array.from({ length: AT_ONCE }, ask);
      const before = counts["before 200"] ?? 0;
      await poll("requests to succeed", () => (counts["before 200"] ?? 0) >= before + AT_ONCE);
      await end(nora);
      acknowledged = performance.now();
      if (flush) await flush();
      await Promise.all(asking);
      await calm();
      if (flush) admin = await signIn(server.url, "admin");
      if (how === "disabling") {
        assert.equal((await client(server.url).post("/session", { username: "nora", password: PASSWORD })).status, 401);
        assert.equal((await admin.put(`/users/${id}`, { disabled: false })).status, 200);
      }
      // Later: with the account open again and somebody signed in to it, all tokens of before are as dead as they were.
      const again = await signIn(server.url, "nora");
      assert.equal((await again.get("/session")).status, 200);
      for (const token of dead) assert.equal((await client(server.url, token).get("/session")).status, 401);
    }
    t.diagnostic(`${name}: ${Object.entries(counts).sort().map(([what, many]) => `${what}: ${many}`).join(", ")}`);
    assert.ok(counts["before 200"] > 0 && counts["after 401"] >= AFTER, "nothing was under way");
  });
}

test("redis: brought back to what it was before, it lets nobody in for longer than a tenth of the idle time", async (t) => {
  const redis = await startRedis({ front: upstash });
  t.after(() => redis.stop());
  const server = await startWorkerd({ vars: { ...redis.vars, SESSION_IDLE_MINUTES: "1" } });
  t.after(() => server.stop());
  const admin = await administrator(server);
  const id = (await admin.post("/users", { username: "nora", name: "N", role: "nurse", password: PASSWORD })).body.id;
  const kept = async () => Promise.all((await redis.client.keys("*")).map(async (key) => [key, await redis.client.dumpBuffer(key)]));
  const goBack = async (rows) => {
    await redis.client.flushall();
    // Somebody may have been told again of an end meanwhile.
    for (const [key, row] of rows) await redis.client.restore(key, 0, row, "REPLACE");
  };
  const ends = {
    "sign-out": (nora) => nora.del("/session"),
    "disabling": () => admin.put(`/users/${id}`, { disabled: true }),
  };
  for (const [how, end] of Object.entries(ends)) {
    const nora = await signIn(server.url, "nora");
    const before = await kept();
    assert.ok((await end(nora)).status < 300);
    const ended = performance.now();
    assert.equal((await nora.get("/session")).status, 401);
    await goBack(before);
    let times = 0;
    let last = 0;
    await poll(`${how}: it is refused again`, async () => {
      const asked = performance.now() - ended;
      const { status } = await nora.get("/session");
      if (status === 200) [times, last] = [times + 1, asked];
      return status === 401;
    });
    assert.ok(times > 0, "Redis did not go back");
    assert.ok(last < 6_000, `${how}: let in after ${last} ms`);
    t.diagnostic(`${how}: let in ${times} times, the last ${Math.round(last)} ms after the end`);
  }
});
