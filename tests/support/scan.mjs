// Looks for secrets in whatever was stored or logged, in every encoding in which they could have got there.
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";

/** The three texts in base64 that stand for `bytes` in the midst of others, without what depends on the others. */
function base64s(bytes) {
  return [0, 1, 2].map((before) => {
    const text = Buffer.concat([Buffer.alloc(before), bytes]).toString("base64");
    const from = Math.ceil((before * 8) / 6);
    const until = Math.floor(((before + bytes.length) * 8) / 6);
    return text.slice(from, until);
  });
}

/** How `secret` could be written: { raw, hex, base64, "percent-encoded" }, each a list of texts. */
export function forms(secret) {
  const bytes = Buffer.from(secret);
  const hex = bytes.toString("hex");
  const inBase64 = base64s(bytes);
  const all = [...hex.matchAll(/../g)].map(([byte]) => `%${byte}`).join("");
  return {
    raw: [secret],
    hex: [hex, hex.toUpperCase()],
    base64: [...inBase64, ...inBase64.map((text) => text.replaceAll("+", "-").replaceAll("/", "_"))],
    "percent-encoded": [encodeURIComponent(secret), encodeURIComponent(secret).toLowerCase(), all, all.toUpperCase()],
  };
}

/** The files below `folder`, whole: [{ where, bytes }]. */
export function files(folder) {
  const found = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return found.map((entry) => {
    const where = join(entry.parentPath ?? entry.path, entry.name);
    return { where, bytes: readFileSync(where) };
  });
}

/** All that is under a key: a string, or the members of a sorted set, which is all that Bedside keeps. */
async function valueOf(client, key) {
  const type = await client.type(key);
  if (type === "zset") return Buffer.concat(await client.zrangeBuffer(key, 0, -1));
  return (await client.getBuffer(key)) ?? Buffer.alloc(0);
}

/** Every key and value of a Redis, by ioredis: [{ where, bytes }]. */
export async function redisKeys(client) {
  const keys = await client.keys("*");
  return Promise.all(
    keys.map(async (key) => ({ where: `redis ${key}`, bytes: Buffer.concat([Buffer.from(`${key}\n`), await valueOf(client, key)]) })),
  );
}

/** What of `secrets` ({ name: text }) is in `places`: [{ secret, form, where }]. */
export function scan(places, secrets) {
  const found = [];
  for (const [secret, text] of Object.entries(secrets)) {
    for (const [form, texts] of Object.entries(forms(text))) {
      for (const { where, bytes } of places) {
        if (texts.some((one) => bytes.includes(one))) found.push({ secret, form, where });
      }
    }
  }
  return found;
}
