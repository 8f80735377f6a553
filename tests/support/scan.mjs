// A search for secrets in everything that was kept or printed: Redis (every value and the whole append-only file), the
// SQLite files of the objects (every value of every row, and the raw pages with what was deleted), and logs. Each secret is
// looked for as it is, in capitals and small letters, in hex, in base64 of both alphabets at all three alignments,
// percent-encoded, and in UTF-16. What it finds a planted canary in, it was able to read.
import { copyFileSync, mkdirSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { join, relative } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { temporary } from "../../scripts/lib/temporary.mjs";

/** The shortest piece of a secret that is looked for: 8 characters turn up by chance in no file of a test. */
const SHORTEST = 8;

const utf16be = (text) => Buffer.from(text, "utf16le").swap16();

/** The forms of a secret, bytes or text: { name of the form: bytes }. */
export function forms(secret) {
  const bytes = Buffer.from(secret);
  const isText = typeof secret === "string";
  const hex = bytes.toString("hex");
  const percent = [...bytes].map((byte) => `%${byte.toString(16).padStart(2, "0")}`).join("");
  const texts = { "hex, small": hex, "hex, capitals": hex.toUpperCase() };
  texts["percent, every byte, small"] = percent;
  texts["percent, every byte, capitals"] = percent.toUpperCase();
  // The characters of base64 that depend on what stands before and after are left out.
  for (const shift of [0, 1, 2]) {
    const padded = Buffer.concat([Buffer.alloc(shift), bytes]);
    const whole = padded.subarray(0, padded.length - (padded.length % 3)).toString("base64");
    const piece = whole.slice(shift ? 4 : 0);
    texts[`base64, alignment ${shift}`] = piece;
    texts[`base64url, alignment ${shift}`] = piece.replaceAll("+", "-").replaceAll("/", "_");
  }
  if (isText) {
    texts["small"] = secret.toLowerCase();
    texts["capitals"] = secret.toUpperCase();
    texts["percent"] = encodeURIComponent(secret);
    texts["as in a form"] = encodeURIComponent(secret).replaceAll("%20", "+");
    texts["in JSON"] = JSON.stringify(secret).slice(1, -1);
    texts["UTF-16"] = secret;
    texts["UTF-16 of hex"] = hex;
    for (const shift of [0, 1, 2]) texts[`UTF-16 of base64, alignment ${shift}`] = texts[`base64, alignment ${shift}`];
  }
  const found = { "as it is": bytes };
  for (const [name, text] of Object.entries(texts)) {
    if (name.startsWith("UTF-16")) {
      found[`${name}, little endian`] = Buffer.from(text, "utf16le");
      found[`${name}, big endian`] = utf16be(text);
    } else found[name] = Buffer.from(text);
  }
  for (const [name, form] of Object.entries(found)) {
    if (form.length < SHORTEST) throw new Error(`a secret is too short to be looked for (${name}: ${form.length} bytes)`);
  }
  return found;
}

/** All files below `folder`, as { where, bytes }. */
function* files(folder, what) {
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath ?? entry.path, entry.name);
    yield { where: `${what} ${relative(folder, path)}`, path, bytes: readFileSync(path) };
  }
}

/** Every value of every row of a SQLite file, which is copied with its log first: its owner may have it open. */
function* rows(path, what) {
  const folder = temporary("scan");
  try {
    for (const end of ["", "-wal"]) {
      try {
        copyFileSync(path + end, `${folder}/copy${end}`);
      } catch (error) {
        if (!end) throw error;
      }
    }
    const database = new DatabaseSync(`${folder}/copy`);
    try {
      const tables = database.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").all();
      for (const { name } of tables) {
        const all = database.prepare(`SELECT * FROM "${name.replaceAll('"', '""')}"`);
        all.setReadBigInts(true);
        for (const row of all.iterate()) {
          for (const value of Object.values(row)) {
            if (typeof value === "string") yield { where: `${what} table ${name}`, bytes: Buffer.from(value) };
            else if (value instanceof Uint8Array) yield { where: `${what} table ${name}`, bytes: Buffer.from(value) };
          }
        }
      }
    } finally {
      database.close();
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Everything in the SQLite files below `folder`. */
export function* inObjects(folder) {
  let databases = 0;
  for (const { where, path, bytes } of files(folder, "objects")) {
    yield { where, bytes };
    if (!bytes.subarray(0, 15).equals(Buffer.from("SQLite format 3"))) continue;
    databases += 1;
    yield* rows(path, where);
  }
  if (!databases) throw new Error(`no database below ${folder}`);
}

/** Everything in a Redis, by its connection, and in the files of its folder. */
export async function inRedis(client, folder) {
  const found = [];
  const add = (where, ...values) => {
    for (const bytes of values.flat(9)) if (Buffer.isBuffer(bytes)) found.push({ where: `Redis ${where}`, bytes });
  };
  const readers = {
    string: (key) => client.getBuffer(key),
    hash: async (key) => [await client.hkeysBuffer(key), await client.hvalsBuffer(key)],
    list: (key) => client.lrangeBuffer(key, 0, -1),
    set: (key) => client.smembersBuffer(key),
    zset: (key) => client.zrangeBuffer(key, 0, -1),
    stream: (key) => client.callBuffer("xrange", key, "-", "+"),
  };
  let cursor = "0";
  do {
    const [next, keys] = await client.scanBuffer(cursor);
    cursor = next.toString();
    for (const key of keys) {
      const type = await client.type(key);
      if (type === "none") continue;
      if (!readers[type]) throw new Error(`no reader for the type ${type} of Redis`);
      add("key", key);
      add(`value of type ${type}`, await readers[type](key));
    }
  } while (cursor !== "0");
  for (const { where, bytes } of files(folder, "Redis' files")) found.push({ where, bytes });
  return found;
}

/** Where any form of any secret stands: a list of { secret, form, where }, without repetitions. `secrets` is { name: secret }. */
export function scan(things, secrets) {
  const wanted = Object.entries(secrets).flatMap(([secret, value]) =>
    Object.entries(forms(value)).map(([form, bytes]) => ({ secret, form, bytes })),
  );
  const found = new Map();
  for (const { where, bytes: within } of things) {
    for (const { secret, form, bytes } of wanted) {
      if (within.includes(bytes)) found.set(`${secret} ${form} ${where}`, { secret, form, where });
    }
  }
  return [...found.values()];
}

/** Puts every form of `canary` into a Redis, inside other bytes. */
export async function plantInRedis(client, canary) {
  const all = Object.values(forms(canary)).map((form) => Buffer.concat([Buffer.from("before "), form, Buffer.from(" after")]));
  for (const [at, form] of all.entries()) await client.set(`canary:${at}`, form);
  await client.hset("canary:hash", "field", all[0]);
  await client.rpush("canary:list", ...all);
  await client.zadd("canary:zset", 1, all[0]);
  await client.set(all[0], "a key");
}

/** Puts every form of `canary` into a database of its own below `folder`: text, bytes, and a value over many pages. */
export function plantInObjects(folder, canary) {
  mkdirSync(folder, { recursive: true });
  const database = new DatabaseSync(`${folder}/canary.sqlite`);
  database.exec("PRAGMA journal_mode = WAL; CREATE TABLE canary (key TEXT PRIMARY KEY, value)");
  const put = database.prepare("INSERT INTO canary VALUES (?, ?)");
  for (const [name, form] of Object.entries(forms(canary))) {
    put.run(`bytes ${name}`, form);
    if (!name.startsWith("UTF-16")) put.run(`text ${name}`, form.toString());
    put.run(`large ${name}`, Buffer.concat([Buffer.alloc(50_000, 46), form, Buffer.alloc(50_000, 46)]));
  }
  database.close();
}
