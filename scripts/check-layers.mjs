// Checks the dependency rule: which folder of src/ may name which, and which outside crates only src/edge/ may name.
//   node scripts/check-layers.mjs [FOLDER]   FOLDER instead of src
// Prints each breach with its file and line and exits with 1 if there is one. Comments and strings do not count.
import { readFileSync, readdirSync } from "node:fs";
import { join, relative } from "node:path";
import { at } from "./lib/project.mjs";

const base = ["error", "time", "config", "outgoing", "sorted"];
const roles = ["session", "access", "chart", "lease", "channel", "vitals", "clinic"];
const below = ["fhir", "store", ...base];

/**
 * What each module at the top of src/ may name, itself aside; `testing` (tests only) is open to all. Between roles only
 * what this table says: whoever asks is everybody's word (`access`), a record commits with its event (`channel`), and a
 * write of a record says what it holds of vital signs (`vitals`).
 */
const allowed = {
  time: [],
  sorted: [],
  outgoing: ["time"],
  error: ["time"],
  config: ["error", "outgoing", "time"],
  store: base,
  fhir: base,
  access: below,
  session: [...below, "access"],
  channel: [...below, "access"],
  lease: [...below, "access"],
  vitals: [...below, "access", "channel"],
  chart: [...below, "access", "channel", "vitals"],
  // The clinic's object is where the roles meet: it holds records, heads, fences, outbox and audit in one transaction.
  clinic: [...roles, ...below],
  http: [...roles, ...below],
  edge: ["http", ...roles, ...below],
};
/** Only src/edge/ names these crates. */
const outside = ["worker", "wasm_bindgen", "wasm_bindgen_futures", "js_sys", "web_sys"];

const folder = process.argv[2] ?? at("src");
const breaches = [];

/** The text with comments and the insides of strings blanked, lines kept. */
function bare(text) {
  const tokens = /\/\/[^\n]*|\/\*[\s\S]*?\*\/|b?r(#*)"[\s\S]*?"\1|b?"(?:\\[\s\S]|[^"\\])*"|b?'(?:\\[^\n]+?|[^'\\\n])'/g;
  return text.replace(tokens, (found) => found.replace(/[^\n]/g, " "));
}

/** The first names after `crate::`, and after a chain of `super::` as far as it may lead to the top: [name, index]. */
function* named(code) {
  for (const found of code.matchAll(/(?<![\w:$])(?:crate|super(?:\s*::\s*super)+)\s*::\s*(\{|\w+)/g)) {
    const inCrate = found[0].startsWith("crate");
    if (found[1] !== "{") {
      yield [found[1], found.index, inCrate];
      continue;
    }
    // A group: the first name of each of its parts, whatever is nested inside.
    let depth = 1;
    let part = true;
    const inside = /[{},]|\w+/g;
    inside.lastIndex = found.index + found[0].length;
    for (let token; depth > 0 && (token = inside.exec(code)); ) {
      if (token[0] === "{") depth += 1;
      else if (token[0] === "}") depth -= 1;
      else if (token[0] === ",") part ||= depth === 1;
      else if (part && depth === 1) {
        part = false;
        yield [token[0], token.index, inCrate];
      }
    }
  }
}

const files = readdirSync(folder, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile() && entry.name.endsWith(".rs"))
  .map((entry) => relative(folder, join(entry.parentPath ?? entry.path, entry.name)))
  .sort();
for (const file of files) {
  const own = file.split("/")[0].replace(/\.rs$/, "");
  const code = bare(readFileSync(join(folder, file), "utf8"));
  const breach = (index, text) => breaches.push(`src/${file}:${code.slice(0, index).split("\n").length}: ${text}`);
  const special = own === "lib" || own === "testing";
  if (!special && !allowed[own]) breach(0, `scripts/check-layers.mjs does not say what '${own}' may name`);
  for (const [name, index, inCrate] of named(code)) {
    if (name === own || name === "testing" || own === "lib") continue;
    if (name === "edge" && own !== "edge") breach(index, "nothing outside edge names edge");
    else if (special) continue;
    else if (allowed[name] && !allowed[own]?.includes(name)) breach(index, `${own} may not name ${name}`);
    else if (!allowed[name] && inCrate) breach(index, `crate::${name} is no module of the table in scripts/check-layers.mjs`);
  }
  if (own === "edge") continue;
  for (const found of code.matchAll(new RegExp(`(?<![\\w:.])(?:(${outside.join("|")})\\s*::|(?:use|extern crate)\\s+(${outside.join("|")})\\b)`, "g"))) {
    breach(found.index, `only edge names the crate ${found[1] ?? found[2]}`);
  }
}
if (!files.length) breaches.push(`no Rust file in ${folder}`);
for (const line of breaches) console.log(line);
console.log(`layers: ${files.length} files, ${breaches.length} breaches`);
process.exit(breaches.length ? 1 : 0);
