// What every script knows of the project: where things are, the pinned tools and the environment of the programs it
// starts. Needs nothing but Node 20 itself, so that it works before anything is installed.
import { readFileSync, realpathSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = join(dirname(fileURLToPath(import.meta.url)), "../..");
export const at = (...parts) => join(root, ...parts);

/** The Node every program of the project runs on: 22, whatever the machine has. Made by `setup`. */
export const node = at(".tools/bin/node");
export const wrangler = at("node_modules/wrangler/bin/wrangler.js");
export const wasmOpt = at("node_modules/binaryen/bin/wasm-opt");
export const esbuild = at(`node_modules/@esbuild/${process.platform}-${process.arch}/bin/esbuild`);
/** workerd itself; the `workerd` of node_modules/.bin is a wrapper in JavaScript. */
export const workerd = at(
  `node_modules/@cloudflare/workerd-${process.platform}-${{ x64: "64", arm64: "arm64" }[process.arch]}/bin/workerd`,
);

/** The environment for a program of the project: its own tools first, no questions, no reports, no look-ups. */
export function environment(extra = {}) {
  return {
    ...process.env,
    PATH: `${at(".tools/bin")}:${at("node_modules/.bin")}:${process.env.PATH}`,
    WRANGLER_SEND_METRICS: "false",
    WRANGLER_SEND_ERROR_REPORTS: "false",
    WRANGLER_HIDE_BANNER: "true",
    WRANGLER_NO_SKILLS_UPDATE_PROMPTS: "true",
    CLOUDFLARE_CF_FETCH_ENABLED: "false",
    ...extra,
  };
}

/** The version of a crate in Cargo.lock, so that a tool and its library can never differ. */
export function lockedVersion(crate) {
  const found = readFileSync(at("Cargo.lock"), "utf8").match(
    new RegExp(`\\[\\[package\\]\\]\\nname = "${crate}"\\nversion = "([^"]+)"`),
  );
  if (!found) throw new Error(`Cargo.lock names no ${crate}`);
  return found[1];
}

/** "3.2 s", for people. */
export const seconds = (since) => `${((performance.now() - since) / 1000).toFixed(1)} s`;

/** Ends the script with one sentence instead of a stack. */
export function fail(sentence) {
  console.error(sentence);
  process.exit(1);
}

/** Whether the module with this `import.meta.url` is the script that was started, not one it imports. */
export const isMain = (url) => realpathSync(process.argv[1]) === fileURLToPath(url);
