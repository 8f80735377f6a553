// What wrangler.toml and .dev.vars say, for everything that is not wrangler: one place for variables, objects and paths.
import { randomBytes } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { parse } from "smol-toml";
import { at } from "./project.mjs";

/** wrangler.toml as an object. */
export const wranglerToml = () => parse(readFileSync(at("wrangler.toml"), "utf8"));

/** Fresh values for the two secrets of wrangler.toml. */
export const newSecrets = () => ({
  SESSION_KEY: randomBytes(32).toString("base64url"),
  SETUP_TOKEN: randomBytes(24).toString("base64url"),
});

/** Settings that wrangler.toml cannot list, because they are secret or have no default: from the environment or .dev.vars. */
export const unlisted = [
  "CACHE_KEYS", "REDIS_URL", "REDIS_TOKEN", "UPSTASH_REDIS_REST_URL", "UPSTASH_REDIS_REST_TOKEN", "ORIGIN_URL",
  "ORIGIN_TOKEN", "ORIGIN_BASIC", "ORIGIN_CLIENT_ID", "ORIGIN_CLIENT_SECRET", "ORIGIN_TOKEN_URL", "ORIGIN_SCOPE",
  "ORIGIN_HOOK_KEY",
];

/** The lines NAME=value or NAME="value" of a file such as .dev.vars; an empty object if there is no such file. */
export function readVars(file) {
  if (!existsSync(file)) return {};
  const line = /^\s*(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^#\r\n]*?))\s*(?:#.*)?$/gm;
  const pairs = [...readFileSync(file, "utf8").matchAll(line)].map((found) => [found[1], found[2] ?? found[3] ?? found[4]]);
  return Object.fromEntries(pairs);
}

/** The local secrets, made on first use in a file that only its owner reads and git ignores. */
export function localSecrets() {
  const file = at(".dev.vars");
  if (!existsSync(file)) {
    const lines = Object.entries(newSecrets()).map(([name, value]) => `${name}=${value}\n`);
    writeFileSync(file, `# Secrets of this machine's own Bedside; made by make, never committed.\n${lines.join("")}`, {
      mode: 0o600,
    });
    console.log("secrets: new ones in .dev.vars");
  }
  return readVars(file);
}
