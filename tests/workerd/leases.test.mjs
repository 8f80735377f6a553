// Fifty people wait for one lease, ten of them die; a holder hears that its lease is gone; the queue outlives the server.
import assert from "node:assert/strict";
import { test } from "node:test";
import { startRedis } from "../../scripts/lib/redis.mjs";
import { PASSWORD, administrator, follow, signIn } from "../support/client.mjs";
import { poll, startWorkerd } from "../support/server.mjs";

const WAITERS = 50;
/** These close their connection while they wait; those never answer their turn, as a frozen process would not. */
const gone = [4, 5, 17, 30, 49];
const frozen = [2, 11, 12, 25, 40];
const CLAIM_MS = 1_000;

/** The product with leases on objects, or on a Redis of its own; with its data in memory where it is the disk that may take a second. */
async function ready(t, backend, { inMemory } = {}) {
  const redis = backend === "Redis" && (await startRedis({ inMemory }));
  if (redis) t.after(() => redis.stop());
  const vars = redis && { REDIS_URL: redis.vars.REDIS_URL, REDIS_TOKEN: redis.vars.REDIS_TOKEN, LEASES_ON: "redis" };
  const server = await startWorkerd({ vars: vars || {}, inMemory });
  t.after(() => server.stop());
  const admin = await administrator(server);
  await admin.post("/users", { username: "nora", name: "Nora", role: "nurse", password: PASSWORD });
  return { redis, server, admin, nora: await signIn(server.url, "nora") };
}

const waiting = async (who, name, count) =>
  poll(`${count} to wait`, async () => (await who.get(`/leases/${name}`)).body.waiting === count, { every: 5 });

for (const backend of ["objects", "Redis"]) {
  test(`fifty wait and ten of them die, on ${backend}: the living have it in order of arrival, each within a second of the one before`, async (t) => {
    const { admin, nora } = await ready(t, backend, { inMemory: true });
    const first = await admin.post("/leases/bed", { request_id: "first", ttl_seconds: 60 });
    const grants = [];
    const waiters = [];
    let givenUp;
    for (let number = 1; number <= WAITERS; number += 1) {
      const controller = new AbortController();
      const turn = async () => {
        const body = { request_id: `w${number}`, ttl_seconds: 30, wait_seconds: 60 };
        const reply = await nora.post("/leases/bed", body, {}, controller.signal);
        if (frozen.includes(number)) return;
        const at = performance.now();
        assert.equal(reply.status, 201, reply.text);
        assert.ok(reply.body.claim_within_ms > 0);
        const claimed = await nora.put("/leases/bed", { fence: reply.body.fence });
        assert.equal(claimed.status, 200, `waiter ${number} claimed ${performance.now() - at} ms after its turn: ${claimed.text}`);
        grants.push({ number, fence: reply.body.fence, after: at - givenUp });
        givenUp = performance.now();
        assert.equal((await nora.del(`/leases/bed?fence=${reply.body.fence}`)).status, 204);
      };
      waiters.push({ number, controller, done: turn().catch((error) => error) });
      await waiting(admin, "bed", number);
    }
    for (const number of gone) waiters[number - 1].controller.abort();
    givenUp = performance.now();
    assert.equal((await admin.del(`/leases/bed?fence=${first.body.fence}`)).status, 204);
    const outcomes = await Promise.all(waiters.map(({ done }) => done));

    const living = waiters.map(({ number }) => number).filter((number) => ![...gone, ...frozen].includes(number));
    assert.deepEqual(grants.map(({ number }) => number), living, String(outcomes.filter(Boolean)));
    let before = first.body.fence;
    let slowest = 0;
    for (const { fence, after } of grants) {
      // Those in between who were held it out and were dead.
      const dead = fence - before - 1;
      slowest = Math.max(slowest, after - dead * CLAIM_MS);
      assert.ok(after < (dead + 1) * CLAIM_MS, `${after} ms, ${dead} dead in between`);
      before = fence;
    }
    const alone = grants.map(({ after }) => after).sort((one, two) => one - two)[Math.floor(grants.length / 2)];
    t.diagnostic(`${grants.length} living of ${WAITERS}; median hand-over ${alone.toFixed(1)} ms; slowest ${slowest.toFixed(0)} ms beyond the seconds of the dead`);
  });

  test(`on ${backend} a holder is told when its lease ends without it and when it is broken; who waits has it when it ends`, async (t) => {
    const { server, admin, nora } = await ready(t, backend);
    const me = (await nora.get("/session")).body.user.id;
    const follower = follow(t, server.url, nora.token, `user/${me}`);
    await follower.until((self) => self.frames.length > 0, "hello");
    const lease = (await nora.post("/leases/bed", { request_id: "a", ttl_seconds: 1 })).body;
    const next = admin.post("/leases/bed", { request_id: "b", wait_seconds: 30 });
    const told = (count) => follower.until((self) => self.events.length === count, `${count} events`).then((self) => self.events.at(-1));
    const lost = await told(1);
    assert.deepEqual([lost.kind, lost.data], ["lease", { name: "bed", fence: lease.fence, request_id: "a", state: "lost" }]);
    assert.equal((await next).body.fence, lease.fence + 1);
    assert.equal((await admin.del(`/leases/bed?fence=${lease.fence + 1}`)).status, 204);

    const again = (await nora.post("/leases/bed", { request_id: "c" })).body;
    assert.equal((await admin.post("/leases/bed/break", { reason: "the ward moves" })).status, 200);
    const broken = await told(2);
    assert.deepEqual([broken.data.state, broken.data.fence, broken.data.reason], ["broken", again.fence, "the ward moves"]);
    assert.equal((await nora.put("/leases/bed", { fence: again.fence })).status, 409);

    // Whoever keeps no call open is told of its turn, in time to claim it.
    const held = (await admin.post("/leases/bed", { request_id: "e" })).body;
    const queued = await nora.post("/leases/bed", { request_id: "f", wait_seconds: 30, push: true });
    assert.deepEqual([queued.status, queued.body.position, queued.body.holder], [202, 1, "Admin"]);
    assert.equal((await admin.del(`/leases/bed?fence=${held.fence}`)).status, 204);
    const { data: turn } = await told(3);
    assert.deepEqual([turn.state, turn.request_id, turn.fence], ["granted", "f", held.fence + 1]);
    assert.equal((await nora.put("/leases/bed", { fence: turn.fence })).status, 200);
    assert.equal((await nora.del(`/leases/bed?fence=${turn.fence}`)).status, 204);

    // Nobody asks for this one, and the server dies before it ends: the alarm tells of it after the restart.
    const alone = (await nora.post("/leases/alone", { request_id: "d", ttl_seconds: 1 })).body;
    await follower.kill();
    await server.restart();
    const events = await poll("the event", async () => {
      const page = (await nora.get(`/channels/user/${me}`)).body;
      return page.events.length === 4 && page.events;
    });
    assert.deepEqual([events[3].data.name, events[3].data.fence, events[3].data.state], ["alone", alone.fence, "lost"]);
  });

  test(`on ${backend} a place in the queue and a request's grant outlive the server`, async (t) => {
    const { server, admin, nora } = await ready(t, backend);
    const held = (await admin.post("/leases/bed", { request_id: "a", ttl_seconds: 60 })).body;
    const ask = (id) => nora.post("/leases/bed", { request_id: id, wait_seconds: 60 }).catch(() => undefined);
    const first = ask("first");
    await waiting(admin, "bed", 1);
    const second = ask("second");
    await waiting(admin, "bed", 2);
    await server.restart();
    assert.deepEqual(await Promise.all([first, second]), [undefined, undefined]);
    // They come back in the other order, and have the places they had.
    const again = [ask("second"), ask("first")];
    await waiting(admin, "bed", 2);
    assert.equal((await admin.post("/leases/bed", { request_id: "a" })).body.fence, held.fence);
    assert.equal((await admin.del(`/leases/bed?fence=${held.fence}`)).status, 204);
    const turn = (await again[1]).body;
    assert.equal(turn.fence, held.fence + 1);
    assert.equal((await nora.del(`/leases/bed?fence=${turn.fence}`)).status, 204);
    assert.equal((await again[0]).body.fence, held.fence + 2);
  });
}
