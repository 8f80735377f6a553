// Installs what the project needs, pinned, into folders of the project that git ignores; does nothing when all is there.
//   node scripts/setup.mjs           everything
//   node scripts/setup.mjs packages  only the npm packages (Node 22, wrangler, workerd, wasm-opt, esbuild)
//   node scripts/setup.mjs tools     only the cargo tools (wasm-bindgen, worker-build) and the wasm target
// Needs node 20 or later, npm, rustup and a C compiler on the machine, and nothing of their configuration in the project.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { at, fail, isMain, lockedVersion, node, seconds } from "./lib/project.mjs";
import { run } from "./lib/run.mjs";

const stamp = at("node_modules/.bedside-installed");

const wanted = () => {
  const hash = createHash("sha256").update(`${process.platform} ${process.arch}`);
  for (const file of ["package.json", "package-lock.json", ".npmrc"]) hash.update(readFileSync(at(file)));
  return hash.digest("hex");
};

/** node_modules is exactly what package-lock.json says, and .tools/bin/node is Node 22 or later. */
export async function packages() {
  if (!existsSync(stamp) || readFileSync(stamp, "utf8") !== wanted()) {
    const start = performance.now();
    console.log("setup: npm packages ...");
    const { code, output } = await run("npm", ["ci", "--loglevel=error"], { capture: true });
    if (code) throw new Error(`npm ci failed:\n${output}`);
    writeFileSync(stamp, wanted());
    console.log(`setup: npm packages (${seconds(start)})`);
  }
  if (existsSync(node)) return;
  const own = at("node_modules/.bin/node");
  if (!existsSync(own) && Number(process.versions.node.split(".")[0]) < 22) {
    fail(`Bedside's tools need Node 22 or later and npm carries none for ${process.platform}-${process.arch}: install it.`);
  }
  mkdirSync(at(".tools/bin"), { recursive: true });
  rmSync(node, { force: true });
  symlinkSync(existsSync(own) ? own : process.execPath, node);
}

/** The standard library for wasm32. */
export async function wasmTarget() {
  const sysroot = await run("rustc", ["--print", "sysroot"], { capture: true });
  if (sysroot.code) throw new Error(`Bedside needs Rust: install rustup (${sysroot.output.trim()})`);
  if (!existsSync(`${sysroot.output.trim()}/lib/rustlib/wasm32-unknown-unknown`)) {
    const { code, output } = await run("rustup", ["target", "add", "wasm32-unknown-unknown"], { capture: true });
    if (code) throw new Error(`rustup target add wasm32-unknown-unknown failed:\n${output}`);
  }
}

/** wasm-bindgen and worker-build in the versions that Cargo.lock asks for. */
export async function tools() {
  const missing = [];
  for (const [crate, binary, version] of [
    ["wasm-bindgen-cli", "wasm-bindgen", lockedVersion("wasm-bindgen")],
    ["worker-build", "worker-build", lockedVersion("worker")],
  ]) {
    const path = at(".tools/bin", binary);
    const have = existsSync(path) && (await run(path, ["--version"], { capture: true })).output.trim().split(" ").pop();
    if (have !== version) missing.push({ crate, binary, version });
  }
  if (!missing.length) return;
  // Both share their build folder and are compiled quickly rather than well: building them takes minutes, running them
  // seconds.
  const env = {
    CARGO_TARGET_DIR: at(".tools/target"),
    CARGO_PROFILE_RELEASE_LTO: "off",
    CARGO_PROFILE_RELEASE_OPT_LEVEL: "0",
    CARGO_PROFILE_RELEASE_CODEGEN_UNITS: "16",
    CARGO_PROFILE_RELEASE_DEBUG: "0",
    RUSTFLAGS: undefined,
    CARGO_ENCODED_RUSTFLAGS: undefined,
    CARGO_BUILD_TARGET: undefined,
    RUSTC_WRAPPER: undefined,
  };
  for (const { crate, binary, version } of missing) {
    const start = performance.now();
    console.log(`setup: ${crate} ${version}, once ...`);
    const args = ["install", "--locked", "--force", "--root", at(".tools"), "--bin", binary, `${crate}@${version}`];
    const { code, output } = await run("cargo", args, { env, capture: true });
    if (code) throw new Error(`cargo install ${crate} failed:\n${output}`);
    console.log(`setup: ${crate} ${version} (${seconds(start)})`);
  }
  rmSync(at(".tools/target"), { recursive: true, force: true });
}

/** All of it at the same time: one waits for the network, the other for the processor. */
export const setup = () => Promise.all([packages(), wasmTarget().then(tools)]);

if (isMain(import.meta.url)) {
  const part = { packages, tools: () => wasmTarget().then(tools), undefined: setup }[process.argv[2]];
  if (!part) fail(`setup: what is '${process.argv[2]}'? (packages, tools or nothing)`);
  await part().catch((error) => fail(error.message));
}
