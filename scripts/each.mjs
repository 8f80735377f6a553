// Runs each .mjs file of a folder by itself, one after the other, over the release bundle: `make soak`, `make bench`.
//   node scripts/each.mjs FOLDER [PART OF A NAME ...]      NAMES="part of a name ..." does the same
import { existsSync, readdirSync } from "node:fs";
import { build } from "./build.mjs";
import { at, fail, node, seconds } from "./lib/project.mjs";
import { run } from "./lib/run.mjs";
import { setup } from "./setup.mjs";

const [folder, ...given] = process.argv.slice(2);
const parts = [...given, ...(process.env.NAMES ?? "").split(" ").filter(Boolean)];
const files = (existsSync(at(folder)) ? readdirSync(at(folder)) : [])
  .filter((file) => file.endsWith(".mjs") && (!parts.length || parts.some((part) => file.includes(part))))
  .sort();
if (!files.length) {
  console.log(`${folder} has nothing to run${parts.length ? ` whose name has '${parts.join("' or '")}'` : " yet"}.`);
  process.exit(parts.length ? 1 : 0);
}
await setup().then(() => build("release")).catch((error) => fail(error.message));
let failed = 0;
for (const file of files) {
  const start = performance.now();
  console.log(`== ${folder}/${file}`);
  const { code } = await run(node, [at(folder, file)]);
  if (code) failed += 1;
  console.log(`== ${folder}/${file}: ${code ? `failed with ${code}` : "done"} after ${seconds(start)}`);
}
process.exit(failed ? 1 : 0);
