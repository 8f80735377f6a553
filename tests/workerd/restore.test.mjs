// The data folder is copied, written on, and the copy brought back as `make restore` does it: sessions have ended, caches are
// void, fences go on above the old maximum, cursors meet a gap.
import assert from "node:assert/strict";
import { cpSync } from "node:fs";
import { test } from "node:test";
import { bringBack } from "../../scripts/restore.mjs";
import { administrator, follow, patient, signIn, weight } from "../support/client.mjs";
import { startWorkerd } from "../support/server.mjs";

const city = (name) => ({ ...patient("p"), address: [{ city: name }] });

test("records are brought back from a backup", { timeout: 120_000 }, async (t) => {
  const server = await startWorkerd();
  t.after(() => server.stop());
  const [data, copy] = [`${server.folder}/data`, `${server.folder}/copy`];
  const lease = async (who, request) => {
    const { status, body } = await who.post("/leases/bed", { request_id: request, ttl_seconds: 3600 });
    assert.equal(status, 201);
    return body.fence;
  };
  const observe = async (who) => {
    const made = await who.post("/fhir/Observation", weight("p", 70));
    assert.equal(made.status, 201, made.text);
    return `Observation/${made.body.id}/_history/${made.body.meta.versionId}`;
  };
  const page = async (who, after) => (await who.get(`/channels/patient/p?after=${after}`)).body;
  const position = ({ headers }) => headers.get("bedside-cursor").split("=")[1];

  let admin = await administrator(server);
  await admin.put("/fhir/Patient/p", city("before"));
  const kept = await lease(admin, "kept");
  await admin.del(`/leases/bed?fence=${kept}`);
  const early = position(await admin.get("/fhir/Patient/p"));
  await server.kill();
  cpSync(data, copy, { recursive: true });
  await server.restart();
  assert.equal((await admin.get("/session")).status, 200, "a restart ends no session");

  for (const name of ["lost", "lost too"]) await admin.put("/fhir/Patient/p", city(name));
  assert.equal((await admin.get("/fhir/Patient/p")).body.address[0].city, "lost too");
  const highest = await lease(admin, "lost");
  const lost = follow(t, server.url, admin.token, "patient/p", early);
  for (let n = 0; n < 3; n += 1) await observe(admin);
  await lost.until(({ events }) => events.length === 3, "three events");
  const before = admin;
  const nurse = { username: "late", name: "N", role: "nurse", password: "a long enough pass" };
  assert.equal((await admin.post("/users", nurse)).status, 201);

  await server.kill();
  const restored = bringBack(copy, data);
  await server.restart({ vars: { RESTORED_AT: restored } });
  // Sessions end.
  assert.equal((await before.get("/session")).status, 401);
  await assert.rejects(signIn(server.url, "late"), /401/, "an account that the backup does not have");
  admin = await signIn(server.url, "admin");
  // Caches are void, and versions are not given again.
  const read = await admin.get("/fhir/Patient/p");
  assert.equal(read.body.address[0].city, "before");
  assert.match(read.headers.get("cache-status"), /fwd=/);
  const written = await admin.put("/fhir/Patient/p", city("after"));
  assert.ok(Number(written.body.meta.versionId) > 3, written.text);
  // Fences continue above the old maximum, though the lease is free.
  const fence = await lease(admin, "after");
  assert.ok(fence > highest, `${fence} after ${highest}`);
  // Cursors of before meet a gap, also once there are more events than they have seen; those of now meet none.
  const now = position(read);
  assert.equal((await page(admin, now)).gap, null);
  const made = [];
  for (let n = 0; n < 5; n += 1) made.push(await observe(admin));
  for (const cursor of [early, lost.cursor]) assert.ok((await page(admin, cursor)).gap, cursor);
  const again = follow(t, server.url, admin.token, "patient/p", now);
  await again.until(({ events }) => events.length === 5, "five events");
  assert.deepEqual(again.events.map(({ id }) => id), made);
  assert.ok(!again.frames.some(({ type }) => type === "gap"));

  // It is done once; and a setting that goes back is refused.
  await server.restart();
  assert.equal((await admin.get("/session")).status, 200);
  assert.equal((await page(admin, again.cursor)).gap, null);
  await server.restart({ vars: { RESTORED_AT: "" } });
  const refused = await signIn(server.url, "admin").catch((error) => error.message);
  assert.match(refused, /503.*RESTORED_AT/);
  t.diagnostic(`fence ${highest} before, ${fence} after`);
});
