// What whoever runs the cache can see: bundles are imported, every chart is read through the cache, and what is then in Redis, in
// Workers KV and in the cache tables of the objects holds nothing of any patient, in any encoding. The entries open with the
// keys that the README says they are sealed with, and so are what they should be. BUNDLES of them (3); tests/soak/sealed.mjs
// takes all sixteen.
import assert from "node:assert/strict";
import { createDecipheriv, hkdfSync } from "node:crypto";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { at } from "../../scripts/lib/project.mjs";
import { startRedis } from "../../scripts/lib/redis.mjs";
import { administrator } from "../support/client.mjs";
import { forms, inRedis, scan } from "../support/scan.mjs";
import { startWorkerd, startWranglerDev } from "../support/server.mjs";

const folder = at("../shared/data/synthea");
const bundles = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith(".json")).slice(0, Number(process.env.BUNDLES ?? 3)) : [];
const skip = bundles.length === 0 && "no bundles beside the project";

/** What names a patient: { what: text }. Words of less than eight characters turn up by chance; their name as a whole does not. */
function identifying(person, id) {
  const name = person.name[0];
  const address = person.address?.[0] ?? {};
  const texts = {
    id,
    family: name.family,
    given: name.given?.join(" "),
    name: `"family":"${name.family}","given":["${name.given?.[0]}`,
    born: person.birthDate,
    line: address.line?.[0],
    city: address.city,
    phone: person.telecom?.[0]?.value,
    ...Object.fromEntries((person.identifier ?? []).map(({ value }, n) => [`identifier ${n}`, value])),
  };
  const kept = Object.entries(texts).filter(([, text]) => text?.length >= 8);
  return Object.fromEntries(kept.map(([what, text]) => [`${what} of ${id}`, text]));
}

/** Imports every bundle and reads each chart to its end, twice; gives what identifies the patients. */
async function readAll(server) {
  const admin = await administrator(server);
  let secrets = {};
  let hits = 0;
  for (const name of bundles) {
    const reply = await admin.post("/fhir", readFileSync(join(folder, name), "utf8"));
    assert.equal(reply.status, 200, reply.text.slice(0, 300));
    const located = reply.body.entry.find(({ response }) => response.location.startsWith("Patient/"));
    const id = located.response.location.split("/")[1];
    const { body: person } = await admin.get(`/fhir/Patient/${id}`);
    secrets = { ...secrets, ...identifying(person, id) };
    for (let turn = 0; turn < 2; turn += 1) {
      let next = `/fhir/Patient/${id}/$everything?_count=100`;
      while (next) {
        const page = await admin.get(next);
        if (/; hit/.test(page.headers.get("cache-status"))) hits += 1;
        next = page.body.link.find(({ relation }) => relation === "next")?.url.slice(server.url.length);
      }
      await admin.get(`/fhir/Observation?patient=${id}`);
    }
  }
  assert.ok(hits > bundles.length, `${hits} hits`);
  return secrets;
}

/** Finds a canary in each encoding, then nothing of any patient. `where` of a view has its name in it. */
function judge(t, places, secrets, where) {
  const canary = "Quillfeather-Abernathy 1957-03-02";
  for (const [form, bytes] of Object.entries(forms(canary))) {
    const planted = [...places.slice(0, 3), { where: "planted", bytes: Buffer.concat([Buffer.alloc(7), bytes]) }];
    assert.deepEqual(scan(planted, { canary }).filter((found) => found.form === form).map((found) => found.where), ["planted"], form);
  }
  const bytes = places.reduce((sum, place) => sum + place.bytes.length, 0);
  const views = new Set(places.flatMap((place) => place.bytes.latin1Slice().match(/chart\/[\w-]{43}/g) ?? [])).size;
  t.diagnostic(`${where}: ${places.length} places, ${views} views, ${bytes} bytes, ${Object.keys(secrets).length} texts of ${bundles.length} patients`);
  assert.ok(views >= 4 * bundles.length && Object.keys(secrets).length >= 6 * bundles.length);
  assert.deepEqual(scan(places, secrets), []);
}

/** The files below `folder`. */
const filesOf = (folder) =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));

/** The rows that `query` gives in each SQLite database below `folder` that has `table`. */
function inTables(folder, table, query) {
  const found = [];
  for (const path of filesOf(folder).filter((file) => file.endsWith(".sqlite"))) {
    const database = new DatabaseSync(path, { readOnly: true });
    try {
      const has = database.prepare("SELECT 1 FROM sqlite_master WHERE name = ?").get(table);
      if (has) found.push(...database.prepare(query).all());
    } finally {
      database.close();
    }
  }
  return found;
}

/** Opens one entry as src/chart/cache/seal.rs says it is sealed; undefined where the salt is another's. */
function open(entry, key, master, salt) {
  const header = entry.readUInt16BE(1);
  const before = entry.subarray(0, 3 + header);
  const id = entry[3];
  const nonce = entry.subarray(4 + id, 16 + id);
  const sealed = entry.subarray(3 + header);
  const derived = Buffer.from(hkdfSync("sha256", master, salt, "bedside cache entry 1", 32));
  const cipher = createDecipheriv("aes-256-gcm", derived, nonce);
  cipher.setAAD(Buffer.concat([before, Buffer.from(key)])).setAuthTag(sealed.subarray(-16));
  try {
    return Buffer.concat([cipher.update(sealed.subarray(0, -16)), cipher.final()]);
  } catch {
    return undefined;
  }
}

test("the objects' cache tables show nothing, and open with the key and the patient's salt", { skip, timeout: 300_000 }, async (t) => {
  const master = Buffer.alloc(32, 5);
  const server = await startWorkerd({ vars: { CACHE_KEYS: `test:${master.toString("base64url")}` } });
  t.after(() => server.stop());
  const secrets = await readAll(server);
  await server.kill("SIGTERM");
  const data = `${server.folder}/data`;
  const rows = inTables(data, "entries", "SELECT key, value FROM entries WHERE key LIKE 'chart/%'");
  const entries = rows.map(({ key, value }) => ({ key, value: Buffer.from(value) }));
  judge(t, entries.map(({ key, value }) => ({ where: key, bytes: Buffer.concat([Buffer.from(key), value]) })), secrets, "objects");
  const salts = [...new Set(inTables(data, "heads", "SELECT salt FROM heads").map(({ salt }) => salt))];
  assert.equal(salts.length, bundles.length);
  for (const { key, value } of entries.slice(0, 40)) {
    assert.equal(salts.filter((salt) => open(value, key, master, salt)).length, 1, "one patient's salt opens it");
    assert.equal(open(value, key, Buffer.alloc(32, 6), salts[0]), undefined);
  }
});

test("Redis shows nothing: heads, views, sessions and leases", { skip, timeout: 300_000 }, async (t) => {
  const redis = await startRedis();
  t.after(() => redis.stop());
  const server = await startWorkerd({ vars: { ...redis.vars, HEADS_ON: "redis" } });
  t.after(() => server.stop());
  const secrets = await readAll(server);
  judge(t, await inRedis(redis.client, redis.data), secrets, "Redis");
});

test("Workers KV shows nothing, under wrangler dev", { skip, timeout: 300_000 }, async (t) => {
  const server = await startWranglerDev({ vars: { CACHE_ON: "kv" }, more: { kv_namespaces: [{ binding: "CACHE_KV", id: "cache" }] } });
  t.after(() => server.stop());
  const secrets = await readAll(server);
  await server.kill("SIGTERM");
  const kv = filesOf(`${server.folder}/data`).filter((path) => path.includes("/kv/"));
  const files = kv.map((path) => ({ where: path.slice(server.folder.length), bytes: readFileSync(path) }));
  judge(t, files, secrets, "KV");
});
