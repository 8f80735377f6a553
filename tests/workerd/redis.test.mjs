// The product with sessions, leases and cached views on Redis over HTTP: over the public package and over a front that
// follows Upstash's documentation.
import assert from "node:assert/strict";
import { test } from "node:test";
import { startRedis } from "../../scripts/lib/redis.mjs";
import { administrator, client, patient, signIn } from "../support/client.mjs";
import { startWorkerd } from "../support/server.mjs";
import { control, upstash } from "../support/upstash.mjs";

/** The product on a Redis behind `front`; both end with the test. */
async function ready(t, options, vars) {
  const redis = await startRedis(options);
  t.after(() => redis.stop());
  const server = await startWorkerd({ vars: { ...redis.vars, ...vars } });
  t.after(() => server.stop());
  return { redis, server };
}

for (const [name, front] of [["the public front", undefined], ["a front by the documentation", upstash]]) {
  test(`sessions, leases and views on Redis behind ${name}`, async (t) => {
    const { redis, server } = await ready(t, { front });
    const admin = await administrator(server);
    const other = await signIn(server.url, "admin");
    assert.equal((await admin.put("/fhir/Patient/p", patient("p"))).status, 201);
    const status = async () => (await admin.get("/fhir/Patient/p")).headers.get("cache-status");
    assert.match(await status(), /uri-miss; stored/);
    assert.match(await status(), /; hit/);
    const lease = await admin.post("/leases/bed-7", { request_id: "r1" });
    assert.deepEqual([lease.status, lease.body.fence], [201, 1]);
    assert.equal((await admin.del("/leases/bed-7?fence=1")).status, 204);
    assert.equal((await admin.post("/leases/bed-7", { request_id: "r2" })).body.fence, 2);

    // A new isolate and a Redis that was killed find everything, and a Redis without the script gets it again.
    await redis.redis.kill("SIGKILL");
    await redis.redis.start();
    await server.restart();
    assert.equal((await admin.get("/session")).status, 200);
    assert.equal((await admin.get("/leases/bed-7")).body.fence, 2);

    assert.equal((await admin.del("/session")).status, 204);
    assert.equal((await admin.get("/session")).status, 401);
    assert.equal((await other.get("/session")).status, 200);
    const kept = (await redis.client.keys("*")).map((key) => key.replace(/^bedside:\{(shard-\d{4}|leases)\}/, ""));
    assert.deepEqual([...new Set(kept.map((key) => key.split("/")[1] ?? key))].sort(), ["#", "chart", "due", "fences", "lease", "session", "standing"]);
    // Every counter is above 2026 in microseconds and below 2^53.
    for (const key of await redis.client.keys("*#")) {
      const version = Number(await redis.client.get(key));
      assert.ok(version > 1.7e15 && Number.isSafeInteger(version), `${version}`);
    }
  });
}

test("what the documentation says and the public front lacks: token, encoding, sync token, limits, and lost replies", async (t) => {
  const { redis, server } = await ready(t, { front: upstash });
  const admin = await administrator(server);
  const { counts, faults } = control(redis.url);
  const script = async (...list) => faults(list);

  await script();
  assert.equal((await admin.get("/session")).status, 200);
  const one = await counts();
  assert.deepEqual([one.requests, one.commands], [1, { evalsha: 1 }]);
  assert.equal(one.synced, 1, "the sync token did not come back");

  await script({ status: 503 }, { lose: "after" });
  assert.equal((await admin.get("/session")).status, 200);
  assert.equal((await counts()).requests, 3);

  await script({ half: true });
  assert.equal((await admin.get("/session")).status, 200);

  await script({ status: 429, error: "Too Many Requests", retryAfter: 2 });
  const limited = await admin.get("/session");
  assert.equal(limited.status, 503);
  assert.ok([1, 2].includes(Number(limited.headers.get("retry-after"))));
  // Until then nobody asks again.
  assert.equal((await admin.get("/session")).status, 503);
  assert.equal((await counts()).requests, 1);
  await server.restart();

  // A grant whose reply is lost: unknown is said, and the same request finds its own.
  assert.equal((await admin.post("/leases/bed-8", { request_id: "r1" })).status, 201);
  await script({ pass: true }, { lose: "after" });
  const unknown = await admin.post("/leases/bed-9", { request_id: "r1" });
  assert.deepEqual([unknown.status, unknown.body.retry], [504, "after-looking"]);
  const again = await admin.post("/leases/bed-9", { request_id: "r1" });
  assert.deepEqual([again.status, again.body.fence], [200, 1]);
});

test("a wrong token is a setting to mend, and nothing of it is shown", async (t) => {
  const { redis, server } = await ready(t, { front: upstash }, { REDIS_TOKEN: "not-the-token" });
  const refused = await client(server.url, `${"A".repeat(43)}`).get("/session");
  assert.ok([401, 503].includes(refused.status), refused.text);
  const account = { username: "admin", name: "Admin", role: "admin", password: "a long enough pass" };
  assert.equal((await client(server.url).post("/users", account, { authorization: `Setup ${server.vars.SETUP_TOKEN}` })).status, 201);
  const reply = await client(server.url).post("/session", { username: "admin", password: account.password });
  assert.equal(reply.status, 503, reply.text);
  assert.ok((await control(redis.url).counts()).unauthorized > 0);
  assert.match(server.logs(), /Redis refuses the token in REDIS_TOKEN/);
  assert.doesNotMatch(server.logs() + reply.text, /not-the-token/);
});
