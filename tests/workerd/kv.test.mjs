// Cached views on Workers KV, as `wrangler dev` has it: what is kept there, and what is refused.
import assert from "node:assert/strict";
import { test } from "node:test";
import { administrator, client, patient } from "../support/client.mjs";
import { startWranglerDev } from "../support/server.mjs";

const more = { kv_namespaces: [{ binding: "CACHE_KV", id: "cache" }] };

test("views are read from Workers KV, and a write is seen at once", async (t) => {
  const server = await startWranglerDev({ vars: { CACHE_ON: "kv" }, more });
  t.after(() => server.stop());
  const admin = await administrator(server);
  const read = async () => {
    const reply = await admin.get("/fhir/Patient/p");
    assert.equal(reply.status, 200, reply.text);
    return [reply.headers.get("cache-status"), reply.body.gender];
  };
  assert.equal((await admin.put("/fhir/Patient/p", patient("p"))).status, 201);
  assert.match((await read())[0], /uri-miss; stored/);
  assert.match((await read())[0], /hit; ttl=35\d\d/);
  assert.equal((await admin.put("/fhir/Patient/p", { ...patient("p"), gender: "other" })).status, 200);
  const [status, gender] = await read();
  assert.match(status, /detail=changed; stored/);
  assert.equal(gender, "other");
  assert.match((await read())[0], /hit/);
});

test("what KV cannot keep, and a KV that is not bound, is refused with the reason", async (t) => {
  const vars = { SESSIONS_ON: "kv", LEASES_ON: "kv", HEADS_ON: "kv", CACHE_ON: "kv" };
  const server = await startWranglerDev({ vars });
  t.after(() => server.stop());
  const health = await client(server.url).get("/healthz");
  assert.equal(health.status, 503);
  const { problems } = health.body;
  assert.equal(problems.length, 4, health.text);
  for (const setting of ["SESSIONS_ON", "LEASES_ON", "HEADS_ON"]) {
    assert.match(problems.find((problem) => problem.startsWith(setting)), /eventually consistent and has no compare-and-swap/);
  }
  assert.match(problems.find((problem) => problem.startsWith("CACHE_ON")), /no binding CACHE_KV/);
  assert.equal((await client(server.url).get("/session")).status, 503);
});
