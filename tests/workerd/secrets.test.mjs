// No token and no password is in anything that is stored or logged, in any encoding.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { test } from "node:test";
import { startRedis } from "../../scripts/lib/redis.mjs";
import { PASSWORD, administrator, client, follow, heartRate, patient, signIn } from "../support/client.mjs";
import { files, forms, redisKeys, scan } from "../support/scan.mjs";
import { startWorkerd } from "../support/server.mjs";

const CANARY = "canary bird: ü/+?&=% 37";

/** Everything that handles a token or a password; gives all of them. */
async function fullRun(t, server) {
  const secrets = { PASSWORD, SETUP_TOKEN: server.vars.SETUP_TOKEN, SESSION_KEY: server.vars.SESSION_KEY };
  const admin = await administrator(server);
  const made = await admin.post("/users", { username: "nora", name: "N", role: "nurse", password: "her first password, long" });
  const anonymous = client(server.url);
  const wrong = await anonymous.post("/session", { username: "nora", password: "a wrong password it is" });
  assert.equal(wrong.status, 401);
  const cookie = await anonymous.post("/session", { username: "nora", password: "her first password, long" });
  assert.equal(cookie.status, 201);
  const nora = await signIn(server.url, "nora", "her first password, long");
  await admin.put("/fhir/Patient/p", patient("p"));
  for (let read = 0; read < 2; read++) assert.equal((await nora.get("/fhir/Patient/p")).status, 200);
  await nora.post("/leases/bed-1", { request_id: "r" });
  const follower = follow(t, server.url, nora.token, "patient/p");
  await follower.until((self) => self.frames.length > 0, "hello");
  await admin.post("/fhir/Observation", heartRate("p", 80));
  await follower.until((self) => self.events.length > 0, "an event");
  const changed = await nora.put(`/users/${made.body.id}/password`, { password: "her second password, long", current: "her first password, long" });
  assert.equal(changed.status, 200, changed.text);
  const other = await signIn(server.url, "nora", "her second password, long");
  assert.equal((await other.get("/sessions")).body.sessions.length, 2);
  assert.equal((await other.del("/session")).status, 204);
  // Where a token has no business: in a path, a query and a header that is none of ours.
  await nora.get(`/channels/user/${nora.token}`);
  await nora.get(`/fhir/Patient?name=${nora.token}`);
  await nora.get("/session", { "user-agent": nora.token, "x-request-id": nora.token });
  const cookies = cookie.headers.getSetCookie().map((one) => one.split(";")[0].split("=")[1]);
  assert.equal(cookies.length, 2);
  const tokens = [admin.token, nora.token, changed.body.session.token, other.token, cookies[0]];
  // The part of a token that nobody can guess; its beginning names the account.
  tokens.forEach((token, at) => (secrets[`token ${at}`] = token.split(".").at(-1)));
  secrets["device cookie"] = cookies[1];
  return Object.assign(secrets, { first: "her first password, long", second: "her second password, long", wrong: "a wrong password it is" });
}

for (const backend of ["objects", "redis"]) {
  test(`${backend}: a scan of everything stored and logged after a full run finds no token and no password`, async (t) => {
    const redis = backend === "redis" ? await startRedis() : undefined;
    if (redis) t.after(() => redis.stop());
    const server = await startWorkerd({ vars: redis?.vars });
    t.after(() => server.stop());
    const secrets = await fullRun(t, server);
    await server.kill("SIGTERM");
    const places = async () => [
      ...files(`${server.folder}/data`),
      { where: "the log", bytes: Buffer.from(server.logs()) },
      ...(redis ? [...(await redisKeys(redis.client)), { where: "the log of Redis", bytes: Buffer.from(redis.logs()) }] : []),
    ];

    // The scanner finds what is there, in each encoding and in each kind of place.
    const planted = Object.entries(forms(CANARY)).flatMap(([form, texts]) => texts.map((text, at) => ({ form, text, at })));
    for (const { form, text, at } of planted) {
      const name = `canary-${form}-${at}`;
      writeFileSync(`${server.folder}/data/${name}`, `\0\u0001${text}\0`);
      if (redis) await redis.client.set(name, `before ${text} after`);
    }
    const seen = scan(await places(), { CANARY });
    for (const form of Object.keys(forms(CANARY))) {
      assert.ok(seen.some((one) => one.form === form && one.where.includes(`/data/canary-${form}`)), `${form} in a file`);
      if (redis) assert.ok(seen.some((one) => one.form === form && one.where.startsWith("redis canary")), `${form} in Redis`);
    }
    assert.deepEqual(scan([{ where: "a log", bytes: Buffer.from(`x${encodeURIComponent(CANARY)}x`) }], { CANARY })[0].form, "percent-encoded");

    const all = await places();
    const bytes = all.reduce((sum, place) => sum + place.bytes.length, 0);
    const found = scan(all, secrets);
    t.diagnostic(`${backend}: ${Object.keys(secrets).length} secrets in ${all.length} places, ${bytes} bytes: ${found.length} found; the canary ${seen.length} times`);
    assert.deepEqual(found, []);
    assert.ok(all.some((place) => place.where.endsWith(".sqlite") && place.bytes.includes("nora")), "the databases were looked at");
  });
}
