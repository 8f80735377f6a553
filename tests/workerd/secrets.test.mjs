// After a full run of the product nothing that was kept or printed holds a token, a password or a key, in any encoding. The
// scanner first finds a canary in each of them.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { startRedis } from "../../scripts/lib/redis.mjs";
import { PASSWORD, administrator, client, follow, heartRate, patient, signIn } from "../support/client.mjs";
import { forms, inObjects, inRedis, plantInObjects, plantInRedis, scan } from "../support/scan.mjs";
import { poll, startWorkerd } from "../support/server.mjs";
import { subscription } from "../support/subscription.mjs";

/** A token, whole, and the random part of it as text and as bytes. */
const tokenForms = (name, token) => {
  const secret = token.split(".").at(-1);
  return { [`${name}, whole`]: token, [name]: secret, [`${name}, bytes`]: Buffer.from(secret, "base64url") };
};

/** Whatever has a secret pass by: signing in and out, changing passwords, failing, and secrets where they have no business. */
async function fullRun(t, server) {
  const secrets = { "first password": PASSWORD };
  const admin = await administrator(server);
  Object.assign(secrets, tokenForms("administrator's token", admin.token));
  const secret = (name) => (secrets[name] = `Kept/secret ${randomBytes(9).toString("base64")} ÄÖ+%&`);
  assert.equal((await admin.put("/fhir/Patient/p", patient("p"))).status, 201);
  let nurse;
  for (const [username, role] of [["nora", "nurse"], ["dev", "device"], ["pat", "patient"]]) {
    const account = { username, name: username, role, password: secret(`password of ${username}`) };
    const made = await admin.post("/users", { ...account, ...(role === "patient" && { patient: "p" }) });
    assert.equal(made.status, 201, made.text);
    const person = await signIn(server.url, username, account.password);
    Object.assign(secrets, tokenForms(`token of ${username}`, person.token));
    assert.equal((await person.get("/session")).status, 200);
    if (role !== "nurse") continue;
    const password = secret("changed password");
    const changed = await person.put(`/users/${made.body.id}/password`, { password, current: account.password });
    assert.equal(changed.status, 200, changed.text);
    Object.assign(secrets, tokenForms("token given at the change", changed.body.session.token));
    nurse = await signIn(server.url, username, password);
    Object.assign(secrets, tokenForms("token after the change", nurse.token));
  }
  // A browser's cookies; a wrong password; a password where the name belongs; a token that never was.
  const anonymous = client(server.url);
  const browser = await anonymous.post("/session", { username: "admin", password: PASSWORD });
  const cookies = browser.headers.getSetCookie().map((one) => one.split(";")[0]);
  assert.equal(cookies.length, 2);
  for (const [at, cookie] of cookies.entries()) Object.assign(secrets, tokenForms(`cookie ${at}`, cookie.slice(cookie.indexOf("=") + 1)));
  assert.equal((await anonymous.post("/session", { username: "nora", password: secret("wrong password") })).status, 401);
  assert.equal((await anonymous.post("/session", { username: secret("password as a name"), password: "x" })).status, 401);
  const never = `bs1.${randomBytes(16).toString("hex")}.${randomBytes(32).toString("base64url")}`;
  Object.assign(secrets, tokenForms("token that never was", never));
  assert.equal((await client(server.url, never).get("/session")).status, 401);
  assert.equal((await client(server.url, `${never}.more`).get("/fhir/Patient/p")).status, 401);

  for (const _ of [1, 2]) assert.equal((await nurse.get("/fhir/Patient/p")).status, 200);
  const lease = await nurse.post("/leases/bed-7", { request_id: "r1" });
  assert.equal(lease.status, 201, lease.text);
  const follower = follow(t, server.url, nurse.token, "patient/p");
  await follower.until((self) => self.frames.length > 0, "hello");
  assert.equal((await admin.post("/fhir/Observation", heartRate("p", 80))).status, 201);
  await follower.until((self) => self.events.length > 0, "an event");
  await follower.kill();
  // Tokens that bind a subscription: one that is used, one that is not; and a session's token in their place.
  const made = await nurse.post("/fhir/Subscription", subscription("alerts"), { "content-type": "application/fhir+json" });
  assert.equal(made.status, 201, made.text);
  const binding = async () => {
    const { parameter } = (await nurse.get("/fhir/Subscription/$get-ws-binding-token")).body;
    return parameter.find(({ name }) => name === "token").valueString;
  };
  const [used, unused] = [await binding(), await binding()];
  Object.assign(secrets, tokenForms("binding token", used), tokenForms("binding token that is not used", unused));
  const socket = new WebSocket(`${server.url.replace("http", "ws")}/fhir/websocket`);
  t.after(() => socket.close());
  const said = [];
  socket.onmessage = ({ data }) => said.push(JSON.parse(data).resourceType);
  await new Promise((resolve) => (socket.onopen = resolve));
  for (const token of [used, used, nurse.token]) socket.send(`bind-with-token ${token}`);
  await poll("its answers", () => said.length === 3);
  assert.deepEqual(said.sort(), ["Bundle", "OperationOutcome", "OperationOutcome"]);
  // The server is to be stopped in good order.
  socket.close();
  // Where a token has no business: in a body, a path, a query and a header that is none of ours.
  assert.equal((await admin.put("/fhir/Patient/p", { ...patient("p"), [never]: 1 })).status, 400);
  await nurse.get(`/channels/user/${nurse.token}`);
  await nurse.get(`/fhir/Patient?name=${nurse.token}`);
  await nurse.get("/session", { "user-agent": nurse.token, "x-request-id": nurse.token });
  const out = await anonymous.del("/session", undefined, { cookie: cookies.join("; ") });
  assert.equal(out.status, 204, out.text);
  const last = await signIn(server.url, "admin");
  Object.assign(secrets, tokenForms("token that was signed out", last.token));
  assert.equal((await last.del("/session")).status, 204);
  const { SESSION_KEY, SETUP_TOKEN, HOOK_KEY } = server.vars;
  Object.assign(secrets, { SESSION_KEY, SETUP_TOKEN, HOOK_KEY });
  secrets["SESSION_KEY, bytes"] = Buffer.from(server.vars.SESSION_KEY, "base64url");
  return secrets;
}

/** Every form of the canary is found where it was planted. */
function assertFound(found, canary, where) {
  const missing = Object.keys(forms(canary)).filter((form) => !found.some((one) => one.form === form && where.test(one.where)));
  assert.deepEqual(missing, [], `the scanner does not find these forms in ${where}`);
}

for (const backend of ["objects", "Redis"]) {
  test(`no secret is kept or printed with sessions, leases and views on ${backend}`, async (t) => {
    const redis = backend === "Redis" && (await startRedis());
    if (redis) t.after(() => redis.stop());
    const hooks = { HOOK_TARGETS: "https://hooks.example", HOOK_KEY: randomBytes(24).toString("hex") };
    const server = await startWorkerd({ vars: { ...hooks, ...(redis && redis.vars) } });
    t.after(() => server.stop());
    const secrets = await fullRun(t, server);
    if (redis) secrets.REDIS_TOKEN = redis.token;
    // Restarted, so that a start with all its settings is in the logs as well, and what was in memory on the disk.
    await server.restart({ signal: "SIGTERM" });

    const data = `${server.folder}/data`;
    const logs = () => [
      { where: "log of the server", bytes: Buffer.from(server.logs()) },
      ...(redis ? [{ where: "log of Redis and its front", bytes: Buffer.from(redis.logs()) }] : []),
    ];
    const everything = async () => [...inObjects(data), ...(redis ? await inRedis(redis.client, redis.data) : []), ...logs()];
    const things = await everything();
    const bytes = things.reduce((sum, thing) => sum + thing.bytes.length, 0);
    t.diagnostic(`${Object.keys(secrets).length} secrets in ${Object.keys(forms("a secret as text")).length} forms: searched ${things.length} things, ${bytes} bytes`);
    assert.deepEqual(scan(things, secrets), []);

    // It can read all of this: what was kept on purpose is there, and a canary is found in every form.
    const known = scan(things, { lease: '"request_id":"r1"' });
    assert.ok(known.some(({ where }) => where.startsWith(redis ? "Redis" : "objects")), JSON.stringify(known));
    const canary = `Canary ${randomBytes(12).toString("base64")} ÄÖ+%&`;
    plantInObjects(`${data}/canary`, canary);
    if (redis) await plantInRedis(redis.client, canary);
    const planted = [...(await everything()), ...Object.values(forms(canary)).map((form) => ({ where: "a log", bytes: Buffer.concat([Buffer.from("x "), form]) }))];
    const found = scan(planted, { canary });
    assertFound(found, canary, /^objects .*table canary/);
    assertFound(found, canary, /^objects canary\/canary\.sqlite(-wal)?$/);
    assertFound(found, canary, /^a log$/);
    if (redis) {
      assertFound(found, canary, /^Redis value of type string/);
      assertFound(found, canary, /^Redis value of type list/);
      assertFound(found, canary, /^Redis' files .*\.aof$/);
      for (const place of ["key", "value of type hash", "value of type zset"]) assert.ok(found.some(({ where }) => where === `Redis ${place}`), place);
    }
  });
}
