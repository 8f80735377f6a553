// Builds the browser client of www/ into build/www, the folder that Cloudflare, wrangler and workerd serve.
//   node scripts/site.mjs
// One bundle for every mode: js/main.js and app.css by name, what is loaded later under a name with a hash, so that a page of
// before an edit never mixes its parts with those of after. Files that have not changed are not written again.
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { gzipSync } from "node:zlib";
import { at, esbuild, fail, isMain, root } from "./lib/project.mjs";
import { run } from "./lib/run.mjs";

const from = at("www");
const out = at("build/www");
/** Files that are served as they are. */
const plain = ["index.html", "icon.svg", "_headers"];
/** What every page needs at once, in the languages there are; the rest is loaded when it is asked for. */
const options = ["--bundle", "--minify", "--charset=utf8", "--legal-comments=none", "--log-level=warning", "--target=chrome123,firefox121,safari17.5"];
const scripts = ["--format=esm", "--splitting", "--entry-names=js/[name]", "--chunk-names=js/[name]-[hash]"];

const filesOf = (folder) =>
  (existsSync(folder) ? readdirSync(folder, { recursive: true, withFileTypes: true }) : [])
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath ?? entry.path, entry.name)));

/** Builds and resolves with the folder; rejects with what esbuild said. */
export async function site() {
  mkdirSync(at("build"), { recursive: true });
  const fresh = mkdtempSync(at("build/.www-"));
  try {
    const jobs = [
      [`${from}/js/main.mjs`, ...options, ...scripts],
      [`--entry-names=app`, `${from}/css/app.css`, ...options],
    ];
    for (const args of jobs) {
      const { code, output } = await run(esbuild, [...args, `--outdir=${fresh}`], { capture: true });
      if (code) throw new Error(`the client does not build:\n${output}`);
    }
    for (const file of plain) writeFileSync(`${fresh}/${file}`, readFileSync(`${from}/${file}`));
    const built = new Set(filesOf(fresh));
    for (const file of built) {
      const [now, before] = [readFileSync(`${fresh}/${file}`), `${out}/${file}`];
      if (existsSync(before) && readFileSync(before).equals(now)) continue;
      mkdirSync(dirname(before), { recursive: true });
      writeFileSync(before, now);
    }
    for (const file of filesOf(out)) if (!built.has(file)) rmSync(`${out}/${file}`);
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
  return out;
}

/** [{ file, bytes, gzip }] of what is served, the largest first; each file compressed by itself, as it is sent. */
export const siteSizes = () =>
  filesOf(out)
    .filter((file) => file !== "_headers")
    .map((file) => ({ file, bytes: readFileSync(`${out}/${file}`) }))
    .map(({ file, bytes }) => ({ file, bytes: bytes.length, gzip: gzipSync(bytes, { level: 9 }).length }))
    .sort((a, b) => b.gzip - a.gzip);

if (isMain(import.meta.url)) {
  await site().catch((error) => fail(error.message));
  for (const { file, bytes, gzip } of siteSizes()) console.log(`${String(bytes).padStart(8)} ${String(gzip).padStart(7)}  ${file}`);
  console.log(`${relative(root, out)}: ${siteSizes().reduce((sum, { gzip }) => sum + gzip, 0)} bytes compressed`);
}
