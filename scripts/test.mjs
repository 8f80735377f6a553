// `make test`: sets up what is missing, runs every check and test, and ends with the one line `N passed, N failed`; exits
// with 1 if anything failed or nothing was tested. A failure does not stop the rest. Each check counts as one, each test as
// one. Servers are started by the tests themselves, on free ports, and end with them.
//   ONLY=checks,native,node   only some parts: formatting, lints, docs and layers; Rust tests; tests/**/*.test.mjs
//   TESTS="part of a path"    only those of tests/**/*.test.mjs
// Two chains run beside each other, because each alone leaves a core idle now and then; nothing runs beside a test.
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { join, relative } from "node:path";
import { gzipSync } from "node:zlib";
import { build, bundle } from "./build.mjs";
import { at, node, root, seconds } from "./lib/project.mjs";
import { run } from "./lib/run.mjs";
import { need } from "./need.mjs";
import { setup, wasmTarget } from "./setup.mjs";
import { siteSizes } from "./site.mjs";

const budget = { gzip: 1_000_000, siteGzip: 120_000, nativeSeconds: 60 };
/** So many lines of a failed step's output are shown. */
const longest = 150;
const start = performance.now();
const only = (process.env.ONLY || "checks,native,node").split(",");
const wants = (part) => only.includes(part);
const total = { passed: 0, failed: 0, tests: 0 };
const failures = [];

/**
 * Runs one step and prints its outcome. `action` resolves with undefined or { note, passed, failed } and rejects, or
 * returns an `output` with failures, to fail. Resolves with whether it passed.
 */
async function step(name, action) {
  const from = performance.now();
  const result = await Promise.resolve()
    .then(action)
    .catch((error) => ({ passed: 0, failed: 1, output: error.message }));
  const { passed = 1, failed = 0, note, output } = result ?? {};
  total.passed += passed;
  total.failed += failed;
  console.log(`${failed ? "FAIL" : "ok  "} ${name} (${seconds(from)})${note ? `: ${note}` : ""}`);
  if (failed) {
    failures.push(name);
    const lines = (output ?? "").trimEnd().split("\n");
    if (lines.length > longest) lines.splice(0, lines.length - longest, `... the last ${longest} lines of ${lines.length}:`);
    console.log(lines.map((line) => `     ${line}`).join("\n"));
  }
  return !failed;
}

/** Runs a program; rejects with what it printed if it fails. */
async function must(command, args, options) {
  const { code, output } = await run(command, args, { capture: true, ...options });
  if (code) throw new Error(`${[command, ...args].join(" ")}: exit code ${code}\n${output}`);
  return output;
}
const cargo = (...args) => must("cargo", args);

/** Runs `cargo test` and counts what libtest says. */
async function libtest(args) {
  const { code, output } = await run("cargo", ["test", "--locked", "--no-fail-fast", ...args], {
    capture: true,
    timeout: 600_000,
  });
  const sums = { passed: 0, failed: 0, ignored: 0, output };
  for (const found of output.matchAll(/^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored/gm)) {
    sums.passed += Number(found[1]);
    sums.failed += Number(found[2]);
    sums.ignored += Number(found[3]);
  }
  if (code && !sums.failed) sums.failed = 1; // A test binary that did not live to report.
  total.tests += sums.passed + sums.failed;
  return { ...sums, note: `${sums.passed} passed, ${sums.failed} failed, ${sums.ignored} ignored` };
}

const nodeTests = (existsSync(at("tests")) ? readdirSync(at("tests"), { recursive: true, withFileTypes: true }) : [])
  .filter((entry) => entry.isFile() && entry.name.endsWith(".test.mjs"))
  .map((entry) => relative(root, join(entry.parentPath ?? entry.path, entry.name)))
  .filter((file) => !file.startsWith("tests/soak/") && file.includes(process.env.TESTS ?? ""))
  .sort();

async function runNodeTests() {
  const tap = at(".data/test.tap");
  mkdirSync(at(".data"), { recursive: true });
  rmSync(tap, { force: true });
  const reporters = ["--test-reporter=spec", "--test-reporter-destination=stdout"];
  reporters.push("--test-reporter=tap", `--test-reporter-destination=${tap}`);
  const limits = ["--test-concurrency=3", "--test-timeout=600000"];
  const { code } = await run(node, ["--test", ...limits, ...reporters, ...nodeTests], { timeout: 1_200_000 });
  const text = existsSync(tap) ? readFileSync(tap, "utf8") : "";
  const count = (what) => Number([...text.matchAll(new RegExp(`^# ${what} (\\d+)$`, "gm"))].pop()?.[1] ?? 0);
  const [passed, skipped] = [count("pass"), count("skipped")];
  const failed = Math.max(count("fail") + count("cancelled"), code ? 1 : 0);
  total.tests += passed + failed;
  return { passed, failed, note: `${passed} passed, ${failed} failed${skipped ? `, ${skipped} skipped` : ""}` };
}

/** The tools, then the bundle they make. Resolves with whether it is there. */
async function bundleChain() {
  const browser = wants("node") && nodeTests.some((file) => file.startsWith("tests/browser/"));
  const [ready] = await Promise.all([
    step("set-up", () => setup().then(() => undefined)),
    browser && step("chromium", () => need("chromium").then(() => undefined)),
  ]);
  if (!ready || !wants("node")) return false;
  if (!(await step("release build", () => build("release").then(() => undefined)))) return false;
  await step("size of the bundle", () => {
    const bytes = gzipSync(Buffer.concat(bundle.map((file) => readFileSync(at("build/release", file)))), { level: 9 }).length;
    if (bytes >= budget.gzip) throw new Error(`gzip -9 gives ${bytes} bytes; the budget is ${budget.gzip}`);
    return { note: `${bytes} bytes under gzip -9, budget ${budget.gzip}` };
  });
  await step("size of the client", () => {
    const sizes = siteSizes();
    const sum = (list) => list.reduce((all, { gzip }) => all + gzip, 0);
    if (sum(sizes) >= budget.siteGzip) throw new Error(`gzip -9 gives ${sum(sizes)} bytes; the budget is ${budget.siteGzip}`);
    const scripts = sum(sizes.filter(({ file }) => file.endsWith(".js")));
    return { note: `${sum(sizes)} bytes under gzip -9, budget ${budget.siteGzip}; scripts ${scripts}` };
  });
  return true;
}

/** The checks, and the native tests as far as they are compiled. Resolves with whether these can run. */
async function nativeChain() {
  if (wants("checks")) {
    await step("formatting", () => cargo("fmt", "--check", "--", "--color=never", "--files-with-diff").then(() => undefined));
    await step("layers", () => must(process.execPath, [at("scripts/check-layers.mjs")]).then((text) => ({ note: text.trim() })));
    await step("no worker crate in the native build", async () => {
      const tree = await cargo("tree", "--locked", "--edges", "normal,build,dev", "--prefix", "none");
      const leaked = tree.match(/^(worker|wasm-bindgen|js-sys|web-sys)[\w-]* v\S+/m);
      if (leaked) throw new Error(`cargo tree has ${leaked[0]}`);
    });
    await step("clippy, native", () =>
      cargo("clippy", "--locked", "--all-targets", "--", "-D", "warnings").then(() => undefined),
    );
  }
  const built =
    wants("native") &&
    (await step("build of the native tests", () =>
      cargo("test", "--locked", "--no-run", "--lib", "--tests").then(() => undefined),
    ));
  if (wants("checks")) {
    const wasm = ["--locked", "--lib", "--target", "wasm32-unknown-unknown"];
    await step("clippy, wasm32", async () => {
      await wasmTarget();
      await cargo("clippy", ...wasm, "--", "-D", "warnings");
    });
    // For wasm32, because that has every module, and what clippy has compiled for it is used again.
    await step("documentation", () =>
      must("cargo", ["doc", ...wasm, "--no-deps", "--document-private-items"], {
        env: { RUSTDOCFLAGS: "-D warnings" },
      }).then(() => undefined),
    );
  }
  return built;
}

const [bundled, native] = await Promise.all([bundleChain(), nativeChain()]);
if (native) {
  const from = performance.now();
  await step("native tests", () => libtest(["--lib", "--tests"]));
  const took = (performance.now() - from) / 1000;
  await step("native tests within their time", () => {
    const note = `${took.toFixed(1)} s of ${budget.nativeSeconds} s`;
    if (took > budget.nativeSeconds) throw new Error(note);
    return { note };
  });
  await step("examples in the documentation", () => libtest(["--doc"]));
}
if (bundled && nodeTests.length) await step("tests of the running Worker", runNodeTests);
else if (wants("node") && !nodeTests.length) console.log(`     no file tests/**/*.test.mjs${process.env.TESTS ? ` has '${process.env.TESTS}' in its path` : ""}`);

const tested = total.tests > 0 || only.join() === "checks";
if (!tested) {
  console.log("FAIL nothing was tested");
  total.failed += 1;
}
if (failures.length) console.log(`failed: ${failures.join("; ")}`);
console.log(`total ${seconds(start)}`);
console.log(`${total.passed} passed, ${total.failed} failed`);
process.exitCode = total.failed ? 1 : 0;
