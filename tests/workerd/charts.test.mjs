// The cache on the built thing: how many calls a read costs, how many origin reads a hundred readers cause, and that nobody
// reads what was before a write, wherever heads and views are kept.
import assert from "node:assert/strict";
import { Agent, request } from "node:http";
import { test } from "node:test";
import { poll } from "../../scripts/lib/poll.mjs";
import { startRedis } from "../../scripts/lib/redis.mjs";
import { administrator, client, heartRate, patient, signIn } from "../support/client.mjs";
import { startWorkerd } from "../support/server.mjs";
import { control, upstash } from "../support/upstash.mjs";

const ALL_ON_REDIS = { SESSIONS_ON: "redis", LEASES_ON: "redis", HEADS_ON: "redis", CACHE_ON: "redis" };
const entry = new URL("shared-clinic.js", import.meta.url).pathname;

/** A server behind a fresh Redis, everything on it that can be. */
async function onRedis(t, options) {
  const redis = await startRedis({ front: upstash });
  t.after(() => redis.stop());
  const server = await startWorkerd({ ...options, vars: { ...redis.vars, ...ALL_ON_REDIS, ...options?.vars } });
  t.after(() => server.stop());
  return { redis, server };
}

const status = ({ headers }) => headers.get("cache-status");

/** A chart of some 600 KB on one page. */
function chart(id) {
  const note = (n) => `${id} ${n} ${"was seen and is well. ".repeat(120)}`;
  const entries = Array.from({ length: 199 }, (_, n) => ({
    resource: { ...heartRate(id, 60 + (n % 60)), note: [{ text: note(n) }] },
    request: { method: "POST", url: "Observation" },
  }));
  const person = { resource: patient(id), request: { method: "PUT", url: `Patient/${id}` } };
  return { resourceType: "Bundle", type: "transaction", entry: [person, ...entries] };
}

test("on Redis a read of a patient's view is one request, and one by its id alone two", async (t) => {
  const { redis, server } = await onRedis(t);
  const admin = await administrator(server);
  assert.equal((await admin.put("/fhir/Patient/p", patient("p"))).status, 201);
  const made = await admin.post("/fhir/Observation", heartRate("p", 80));
  const { counts, faults } = control(redis.url);
  const views = ["/fhir/Patient/p", "/fhir/Patient/p/$everything", "/fhir/Observation?patient=p", `/fhir/Observation/${made.body.id}`];
  for (const path of views) assert.match(status(await admin.get(path)), /fwd=uri-miss; stored/, path);
  // Without the isolate's memory, which would make it cheaper.
  await server.restart();
  for (const path of views) {
    await faults([]);
    assert.match(status(await admin.get(path)), /; hit/, path);
    const { requests, pipeline } = await counts();
    // The object says whose the record is, then comes the one wave.
    const waves = path.includes("Observation/") ? 2 : 1;
    assert.deepEqual([requests, pipeline], [waves, 1], path);
  }
  for (const path of views) {
    await faults([]);
    const { headers } = await admin.get(path);
    assert.match(headers.get("cache-status"), /; hit/);
    const known = await admin.get(path, { "if-none-match": headers.get("etag") });
    assert.equal(known.status, 304, path);
  }
  // Whoever reads is in the trail before, from the cache too, and not each time.
  const { rows } = (await admin.get("/audit?entity=Patient/p")).body;
  assert.deepEqual(rows.map(({ action }) => action).sort(), ["C", "R", "R"], "once for each server that served them");
  // A page load of twenty views: each costs one wave, and all run beside each other.
  await faults([]);
  await Promise.all(Array.from({ length: 20 }, (_, n) => admin.get(views[n % 3])));
  assert.equal((await counts()).requests, 20);
});

for (const [where, start] of [
  ["objects", async (t) => {
    const server = await startWorkerd();
    t.after(() => server.stop());
    return server;
  }],
  ["Redis", async (t) => (await onRedis(t)).server],
]) {
  test(`a write ends what was read before, with heads on ${where}`, async (t) => {
    const server = await start(t);
    const admin = await administrator(server);
    const family = async () => {
      const { body } = await admin.get("/fhir/Patient/p");
      return body.name[0].family;
    };
    for (let n = 0; n < 12; n += 1) {
      const named = { ...patient("p"), name: [{ family: `Doe-${n}` }] };
      assert.ok([200, 201].includes((await admin.put("/fhir/Patient/p", named)).status));
      const seen = await Promise.all([family(), family(), family()]);
      assert.deepEqual(seen, [`Doe-${n}`, `Doe-${n}`, `Doe-${n}`]);
      assert.match(status(await admin.get("/fhir/Patient/p")), /; hit/);
    }
    // Wards are in the head: who leaves them is refused at once.
    assert.equal((await admin.put("/fhir/Location/w", { resourceType: "Location", id: "w", physicalType: { coding: [{ code: "wa" }] } })).status, 201);
    const stay = (ward) => ({ resourceType: "Encounter", id: "e", status: "in-progress", class: { code: "IMP" }, subject: { reference: "Patient/p" }, location: [{ location: { reference: `Location/${ward}` } }] });
    assert.equal((await admin.put("/fhir/Encounter/e", stay("w"))).status, 201);
    const account = (username, wards) => admin.post("/users", { username, name: username, role: "nurse", password: "a long enough pass", wards });
    await account("ada", ["w"]);
    await account("bea", ["x"]);
    const [ada, bea] = [await signIn(server.url, "ada"), await signIn(server.url, "bea")];
    const both = async () => [(await ada.get("/fhir/Patient/p")).status, (await bea.get("/fhir/Patient/p")).status];
    assert.deepEqual(await both(), [200, 403]);
    // A write to the ward moves the patient although nothing in their own chart is written.
    await admin.put("/fhir/Location/w", { resourceType: "Location", id: "w", partOf: { reference: "Location/x" } });
    await admin.put("/fhir/Location/x", { resourceType: "Location", id: "x", physicalType: { coding: [{ code: "wa" }] } });
    assert.deepEqual(await both(), [403, 200]);
  });
}

test("a Redis that loses everything costs hits and nothing else", async (t) => {
  const { redis, server } = await onRedis(t, { vars: { SESSIONS_ON: "objects" } });
  const admin = await administrator(server);
  await admin.put("/fhir/Patient/p", patient("p"));
  await admin.get("/fhir/Patient/p");
  await redis.client.flushall();
  await server.restart();
  assert.match(status(await admin.get("/fhir/Patient/p")), /fwd=uri-miss; stored/);
  assert.match(status(await admin.get("/fhir/Patient/p")), /; hit/);
});

/** One hundred reads of `path` at once, all as one site, over `sockets` connections to each of `urls`. */
async function hundred(urls, token, path, sockets) {
  const agents = urls.map(() => new Agent({ keepAlive: true, maxSockets: sockets }));
  const read = (n) =>
    new Promise((resolve, reject) => {
      const url = new URL(path, urls[n % urls.length]);
      const sent = request(url, { agent: agents[n % urls.length], headers: { host: "clinic.example", authorization: `Bearer ${token}` } }, (reply) => {
        const chunks = [];
        reply.on("data", (chunk) => chunks.push(chunk)).on("end", () =>
          resolve({ status: reply.statusCode, cache: reply.headers["cache-status"], body: Buffer.concat(chunks).toString() }));
      });
      sent.on("error", reject).end();
    });
  const replies = await Promise.all(Array.from({ length: 100 }, (_, n) => read(n)));
  for (const agent of agents) agent.destroy();
  return replies;
}

function judge(t, replies, charts) {
  const [first] = replies;
  assert.ok(first.body.length > 500_000, first.body.slice(0, 500));
  for (const { status: code, body } of replies) assert.ok(code === 200 && body === first.body);
  const count = (pattern) => replies.filter(({ cache }) => pattern.test(cache)).length;
  t.diagnostic(`${charts} read of the origin; ${count(/collapsed/)} waited for it, ${count(/; hit/)} came to find it, of ${replies.length}`);
  assert.equal(charts, 1);
  assert.ok(count(/collapsed/) > 0, "nobody waited");
}

const counted = async (url) => (await fetch(`${url}/counts`)).json();

test("a hundred cold reads of one chart through sixteen sockets on objects: one read of the origin", async (t) => {
  const server = await startWorkerd({ entry });
  t.after(() => server.stop());
  const admin = await administrator(server);
  assert.equal((await admin.post("/fhir", chart("p"))).status, 200);
  const before = await counted(server.directUrl);
  const replies = await hundred([server.directUrl], admin.token, "/fhir/Patient/p/$everything?_count=200", 16);
  judge(t, replies, (await counted(server.directUrl)).charts - before.charts);
});

test("while the origin is down, views of the classes that a setting names live longer, and say so", async (t) => {
  const { server } = await onRedis(t, { entry });
  const admin = await administrator(server, server.directUrl);
  await admin.put("/fhir/Patient/p", patient("p"));
  const vars = { ...server.vars, CLINIC_AT: server.directUrl, CACHE_TTL_SECONDS: "1", CACHE_STALE_SECONDS: "600", CACHE_STALE_FOR: "demographics" };
  const other = await startWorkerd({ entry, vars });
  t.after(() => other.stop());
  const away = client(other.directUrl, admin.token);
  for (const path of ["/fhir/Patient/p", "/fhir/Observation?patient=p"]) assert.match(status(await away.get(path)), /stored/, path);
  await server.kill("SIGKILL");
  let late;
  await poll("the end of its lifetime", async () => /origin-down/.test(status((late = await away.get("/fhir/Patient/p")))));
  assert.match(status(late), /^Bedside; hit; ttl=-\d+; detail=origin-down; key="Patient"$/);
  assert.ok(late.status === 200 && Number(late.headers.get("age")) >= 1, late.text);
  await poll("the end of what may never be stale", async () => (await away.get("/fhir/Observation?patient=p")).status === 503);
});

test("a hundred cold reads of one chart through four Worker processes on one Redis: one read of the origin", async (t) => {
  for (const heads of ["objects", "redis"]) {
    const { redis, server } = await onRedis(t, { entry, vars: { HEADS_ON: heads } });
    const admin = await administrator(server, server.directUrl);
    assert.equal((await admin.post("/fhir", chart("p"))).status, 200);
    const others = [];
    for (let n = 0; n < 3; n += 1) {
      const other = await startWorkerd({ entry, vars: { ...server.vars, CLINIC_AT: server.directUrl } });
      t.after(() => other.stop());
      others.push(other);
    }
    const before = await counted(server.directUrl);
    const urls = [server, ...others].map(({ directUrl }) => directUrl);
    const replies = await hundred(urls, admin.token, "/fhir/Patient/p/$everything?_count=200", 16);
    t.diagnostic(`heads on ${heads}`);
    judge(t, replies, (await counted(server.directUrl)).charts - before.charts);
    await redis.stop();
  }
});
