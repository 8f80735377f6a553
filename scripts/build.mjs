// Builds the bundle that Cloudflare, wrangler and workerd run: main.js, index.js and index_bg.wasm; and with it the browser
// client, build/www (site.mjs), which is the same in every mode.
//   node scripts/build.mjs [release]  into build/release, small and fast: for serving, testing, measuring and deploying
//   node scripts/build.mjs dev        into build/dev, quickly rebuilt after an edit
// BEDSIDE_BUILD says the mode where no argument does. Does nothing when no input has changed and the output is untouched.
// Downloads nothing: worker-build is given the tools that `setup` installed.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { relative } from "node:path";
import { at, esbuild, fail, isMain, node, root, seconds, wasmOpt } from "./lib/project.mjs";
import { run } from "./lib/run.mjs";
import { site } from "./site.mjs";

/** The bundle's files, the main module first. */
export const bundle = ["main.js", "index.js", "index_bg.wasm"];
/** Modules of ours that are no input of the compiler. */
const modules = ["src/edge/main.js", "src/edge/assets.js"];
const flags = { release: ["--release"], dev: ["--profile", "edge-dev", "--no-opt"] };

const hashOf = (files) => {
  const hash = createHash("sha256");
  for (const file of files) hash.update(`${relative(root, file)}\n`).update(existsSync(file) ? readFileSync(file) : "none");
  return hash.digest("hex");
};

const inputs = () =>
  readdirSync(at("src"), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(root, `${entry.parentPath ?? entry.path}/${entry.name}`))
    .filter((file) => !modules.includes(file))
    .concat("Cargo.toml", "Cargo.lock", "build.rs", ".cargo/config.toml", "package-lock.json", "scripts/build.mjs")
    .sort()
    .map((file) => at(file));

/**
 * Takes out the names of functions, a twelfth of the compressed module, which worker-build always asks wasm-opt to keep; smaller
 * once more. What gzip finds alike has to be near: functions in the order of their names, many of which are one for several
 * types, are 2 % less.
 */
async function strip(module) {
  const args = [wasmOpt, module, "--all-features", "-Os", "--reorder-functions-by-name", "--strip-debug", "--strip-producers"];
  args.push("-o", module);
  const { code, output } = await run(node, args, { capture: true });
  if (code) throw new Error(`the names could not be taken out of the module:\n${output}`);
}

/** Builds one mode and resolves with the folder of the bundle; rejects with what the compiler said. */
export async function build(mode = "release") {
  if (!flags[mode]) throw new Error(`there is no build mode '${mode}': release or dev`);
  const out = at("build", mode);
  const stamp = `${out}/.stamp`;
  const compiled = bundle.slice(1).map((file) => `${out}/${file}`);
  const before = hashOf(inputs());
  if (!existsSync(stamp) || readFileSync(stamp, "utf8") !== `${before} ${hashOf(compiled)}`) {
    const start = performance.now();
    console.log(`build: ${mode} ...`);
    mkdirSync(out, { recursive: true });
    rmSync(stamp, { force: true });
    const env = { RUST_BACKTRACE: "0", WASM_BINDGEN_BIN: at(".tools/bin/wasm-bindgen"), WASM_OPT_BIN: wasmOpt, ESBUILD_BIN: esbuild };
    const args = [...flags[mode], "--out-dir", relative(root, out)];
    const { code, output } = await run(at(".tools/bin/worker-build"), args, { env, capture: true });
    if (code) throw new Error(`the ${mode} build failed:\n${output.replace(/^.*\[INFO\].*\n/gm, "")}`);
    if (mode === "release") await strip(`${out}/index_bg.wasm`);
    for (const extra of ["worker", "package.json", ".gitignore"]) rmSync(`${out}/${extra}`, { recursive: true, force: true });
    writeFileSync(stamp, `${before} ${hashOf(compiled)}`);
    console.log(`build: ${mode} (${seconds(start)})`);
  }
  const main = readFileSync(at("src/edge/main.js"));
  if (!existsSync(`${out}/main.js`) || !readFileSync(`${out}/main.js`).equals(main)) writeFileSync(`${out}/main.js`, main);
  await site();
  return out;
}

if (isMain(import.meta.url)) {
  const mode = process.argv[2] ?? process.env.BEDSIDE_BUILD;
  await build(mode).catch((error) => {
    // `wrangler dev` answers nothing at all after a failed build; let it go on with the one before.
    if (process.env.WRANGLER_COMMAND !== "dev" || !existsSync(at("build", mode ?? "release", "main.js"))) fail(error.message);
    console.error(`${error.message}\nThe build before this edit is still served.`);
  });
}
