// `make import`: loads FHIR Bundles from files into a running Bedside, one request a file, in the order given.
//   FILES     files, folders (their *.json) and patterns (* ? [a-z] **), apart by spaces; 'quotes' keep a space together
//   URL       http://127.0.0.1:8787
//   USERNAME, PASSWORD   taken together; without PASSWORD the administrator of the demonstration
//   node scripts/import.mjs FILE...      names the files without FILES
// A file is sent byte for byte under an Idempotency-Key that is its SHA-256, so that it may be sent again whatever became
// of it before: after SIGKILL the same command ends what was begun. Exits with 1 if a file failed; the others are loaded.
import { createHash } from "node:crypto";
import { existsSync, readFileSync, readdirSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { DEMO_PASSWORD, admin } from "./demo/accounts.mjs";
import { Unexpected, complaint, send, signIn } from "./demo/client.mjs";
import { fail, isMain, seconds } from "./lib/project.mjs";

/** The most that the server takes in one request. */
const LIMIT = 1 << 20;
/** A request is tried so often; between two tries there is a random time of up to `base`, doubled each time up to `cap`. */
const retry = { tries: 8, base: 250, cap: 8_000 };
/** Whoever asks for a longer pause than this, in ms, is taken to refuse. */
const longestPause = 60_000;
/** Of one file so many complaints are shown. */
const shown = 3;

/** The words of a line: apart by white space, quotes and backslashes as a shell takes them. */
export function words(line) {
  const found = line.match(/(?:\\.|'[^']*'|"(?:\\.|[^"\\])*"|[^\s'"\\]|['"\\])+/gs) ?? [];
  const plain = (_, escaped, single, double) => escaped ?? single ?? double.replace(/\\(["\\$`])/g, "$1");
  return found.map((word) => word.replace(/\\(.)|'([^']*)'|"((?:\\.|[^"\\])*)"/gs, plain));
}

const special = /[*?[]/;

/** A part of a path as a regular expression. */
function expression(part) {
  const source = part.replace(/\*+|\?|\[[!^]?\]?[^\]]*\]|[\\^$.|+(){}[\]]/g, (found) => {
    if (found[0] === "*") return ".*";
    if (found === "?") return ".";
    if (found[0] !== "[" || found.length === 1) return `\\${found}`;
    const inverted = /[!^]/.test(found[1]);
    return `[${inverted ? "^" : ""}${found.slice(inverted ? 2 : 1, -1).replace(/[\\\][^]/g, "\\$&")}]`;
  });
  return new RegExp(`^${part.startsWith(".") ? "" : "(?!\\.)"}${source}$`, "su");
}

const list = (folder) => {
  try {
    return readdirSync(folder || ".", { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1));
  } catch {
    return [];
  }
};

/** The paths that a pattern means, in their order. */
function matching(pattern) {
  let found = [pattern.startsWith("/") ? "/" : ""];
  for (const part of pattern.split("/").filter(Boolean)) {
    if (part === "**") {
      const below = (folder) => [
        folder,
        ...list(folder)
          .filter((entry) => entry.isDirectory() && !entry.name.startsWith("."))
          .flatMap(({ name }) => below(join(folder, name))),
      ];
      found = found.flatMap(below);
    } else if (special.test(part)) {
      const fits = expression(part);
      const inside = (folder) => list(folder).filter(({ name }) => fits.test(name));
      found = found.flatMap((folder) => inside(folder).map(({ name }) => join(folder, name)));
    } else {
      found = found.map((folder) => join(folder, part)).filter((path) => existsSync(path));
    }
  }
  return found;
}

/** The files that the words mean, each once. A word that means nothing stays, to be reported. */
export function filesOf(given) {
  const isFolder = (path) => existsSync(path) && statSync(path).isDirectory();
  const inside = (path) => list(path).filter(({ name }) => name.endsWith(".json")).map(({ name }) => join(path, name));
  const expand = (word) => {
    if (isFolder(word)) return inside(word).length ? inside(word) : [word];
    if (existsSync(word) || !special.test(word)) return [word];
    const found = matching(word).filter((path) => !isFolder(path));
    return found.length ? found : [word];
  };
  const files = given.flatMap(expand);
  return [...new Map(files.map((file) => [resolve(file), file])).values()];
}

/** What can be said of a file before it is sent: { file, entries, problem? }. */
function inspect(file) {
  const no = (problem) => ({ file, entries: 0, problem });
  let text;
  try {
    const about = statSync(file);
    if (about.isDirectory()) return no("this folder holds no .json file");
    if (about.size > LIMIT) {
      return no(`413 this file has ${(about.size / LIMIT).toFixed(1)} MiB and one request at most 1 MiB: split it`);
    }
    text = readFileSync(file, "utf8");
  } catch (error) {
    return no(error.code === "ENOENT" ? "there is no such file" : `this file cannot be read (${error.code})`);
  }
  let bundle;
  try {
    bundle = JSON.parse(text);
  } catch {
    return { file, entries: 0 }; // The server says where it is broken, and without a word of what is in it.
  }
  if (bundle?.resourceType !== "Bundle") return no("this is no Bundle");
  const entries = Array.isArray(bundle.entry) ? bundle.entry : [];
  if (bundle.type !== "transaction" && bundle.type !== "batch") {
    const type = /^[a-z-]{1,30}$/.test(bundle.type) ? `of type ${bundle.type}` : "without a type";
    return no(`a Bundle ${type} does not say what to do with its resources: make it a transaction, each entry with a request`);
  }
  return { file, entries: entries.length };
}

/** How long to wait at least, in ms, before the same is asked again; undefined where that is not allowed. */
function repeatable({ answer, error }) {
  if (error) return error instanceof Unexpected ? repeatable(error) : 0;
  if (answer.status === 504) return 0;
  const after = answer.headers?.get("retry-after");
  if (![429, 503].includes(answer.status) || !/^\d+$/.test(after ?? "")) return undefined;
  return after * 1000 <= longestPause ? after * 1000 : undefined;
}

/** Asks until there is an answer that is not to be repeated, or the tries are over: the last answer, or its error. */
async function persist(ask, { tries = retry.tries, waiting = () => {} } = {}) {
  for (let attempt = 1; ; attempt += 1) {
    const found = await ask().then((answer) => ({ answer }), (error) => ({ error }));
    const least = repeatable(found);
    if (least === undefined || attempt === tries) {
      if (found.error) throw found.error;
      return found.answer;
    }
    waiting(attempt, found);
    await pause(least + Math.random() * Math.min(retry.cap, retry.base * 2 ** (attempt - 1)));
  }
}

/** Sends files as one account; signs in when it must. */
class Importer {
  #token;

  constructor(url, username, password) {
    Object.assign(this, { url, username, password });
  }

  async signIn(options) {
    this.#token = (await persist(() => signIn(this.url, this.username, this.password), options)).token;
  }

  async signOut() {
    await send(this.url, "/session", { method: "DELETE", token: this.#token }).catch(() => {});
  }

  alive() {
    return send(this.url, "/healthz").then(() => true, () => false);
  }

  /** Resolves with { state, made } or { state: "failed", problem }. Rejects where there is no answer. */
  async load(file, options) {
    const body = readFileSync(file);
    const headers = { "idempotency-key": createHash("sha256").update(body).digest("hex") };
    const request = { method: "POST", headers, body, type: "application/fhir+json" };
    const post = () => persist(() => send(this.url, "/fhir", { ...request, token: this.#token }), options);
    let answer = await post();
    if (answer.status === 401) {
      await this.signIn(options);
      answer = await post();
    }
    if (answer.status !== 200) return { state: "failed", problem: complaint(answer) };
    const responses = (answer.body?.entry ?? []).map(({ response }) => response);
    const status = (response) => Number(response?.status?.slice(0, 3));
    const made = responses.filter((response) => status(response) === 201).length;
    // Only a batch can answer so; what else is in it took effect.
    const refused = responses.flatMap((response, index) =>
      status(response) < 400
        ? []
        : [`Bundle.entry[${index}]: ${complaint({ status: response?.status, body: response?.outcome })}`],
    );
    if (refused.length) {
      const more = refused.length > shown ? `; and ${refused.length - shown} more` : "";
      return { state: "failed", made, problem: refused.slice(0, shown).join("; ") + more };
    }
    // Without an entity tag nothing was written: what is there from before is only named.
    const untouched = responses.every((response) => status(response) === 200 && !response.etag);
    return { state: made ? "new" : untouched ? "there already" : "updated", made };
  }
}

/** What is seen while it runs: a bar on a terminal, else a line for each file. */
class Progress {
  #start = performance.now();
  #tty = process.stdout.isTTY;
  done = { files: 0, entries: 0, failed: 0 };

  constructor(all) {
    this.all = all;
  }

  #line(text) {
    if (this.#tty) process.stdout.write(`\r\x1b[K${text.slice(0, (process.stdout.columns || 80) - 1)}`);
  }

  show(note = "") {
    const { files, entries, failed } = this.done;
    const width = 20;
    const full = Math.round((width * files) / (this.all.files || 1));
    const rate = Math.round(entries / ((performance.now() - this.#start) / 1000 || 1));
    const counts = `${files}/${this.all.files} files, ${entries}/${this.all.entries} resources, ${rate}/s`;
    const bar = `[${"#".repeat(full)}${".".repeat(width - full)}]`;
    this.#line(`${bar} ${counts}${failed ? `, ${failed} failed` : ""}${note && `; ${note}`}`);
  }

  waiting(attempt, { answer, error }) {
    const why = answer?.status ?? error?.answer?.status ?? "no answer";
    if (this.#tty) this.show(`${why}, trying again`);
    else console.log(`  ${why}: trying again (${attempt} of ${retry.tries - 1})`);
  }

  finished({ file, entries }, { state, made = 0 }, start) {
    this.done.files += 1;
    if (state === "failed") this.done.failed += 1;
    else this.done.entries += entries;
    if (this.#tty) return this.show();
    const news = `${entries} resources, ${state === "new" ? `${made} new` : state}`;
    return console.log(`${file}: ${state === "failed" ? state : news} (${seconds(start)})`);
  }

  clear() {
    this.#line("");
  }
}

const reason = (error) => `${error.message}${error.cause?.message ? ` (${error.cause.message})` : ""}`;

async function main() {
  const line = process.env.FILES ?? "";
  const given = process.argv.length > 2 ? process.argv.slice(2) : existsSync(line) ? [line] : words(line);
  if (!given.length) fail('usage: make import FILES="a.json b/*.json"');
  const url = (process.env.URL || "http://127.0.0.1:8787").replace(/\/+$/, "");
  if (!/^https?:\/\/[^/]/.test(url) || !URL.canParse(url)) fail("URL must be where a Bedside is, as in http://127.0.0.1:8787");
  // A desktop sets USERNAME to whoever is at it: without a password it is nobody here.
  const { PASSWORD: password = "" } = process.env;
  const username = password ? process.env.USERNAME || admin.username : admin.username;

  const start = performance.now();
  const files = filesOf(given).map(inspect);
  const importer = new Importer(url, username, password || DEMO_PASSWORD);
  await importer.signIn({ tries: 3 }).catch((error) => {
    if (!(error instanceof Unexpected)) fail(`No Bedside answers at ${url}: ${reason(error)}.`);
    const hint = error.answer.status === 401 ? " USERNAME and PASSWORD say who imports." : "";
    fail(`${error.message}.${hint}`);
  });

  const progress = new Progress({ files: files.length, entries: files.reduce((sum, { entries }) => sum + entries, 0) });
  const count = { new: 0, "there already": 0, updated: 0, failed: 0 };
  const failures = [];
  let made = 0;
  let left = 0;
  progress.show();
  for (const [index, one] of files.entries()) {
    const from = performance.now();
    let gone = false;
    const options = { waiting: (...what) => progress.waiting(...what) };
    const result = one.problem
      ? { state: "failed", problem: one.problem }
      : await importer.load(one.file, options).catch(async (error) => {
          gone = !(error instanceof Unexpected) && error.syscall === undefined && !(await importer.alive());
          return { state: "failed", problem: reason(error) };
        });
    count[result.state] += 1;
    made += result.made ?? 0;
    if (result.state === "failed") failures.push(`  ${one.file}: ${result.problem}`);
    progress.finished(one, result, from);
    if (gone) {
      left = files.length - index - 1;
      break;
    }
  }
  progress.clear();
  await importer.signOut();

  const updated = count.updated ? `, ${count.updated} updated` : "";
  const counts = `${count.new} new, ${count["there already"]} there already${updated}, ${count.failed} failed`;
  console.log(`${files.length} files in ${seconds(start)}: ${counts}; ${progress.done.entries} resources, ${made} of them new`);
  if (failures.length) console.error(`\nFailed:\n${failures.join("\n")}`);
  if (left) {
    console.error(`\nBedside at ${url} no longer answers: ${left} files were not sent. The same command goes on from here.`);
  }
  process.exitCode = failures.length ? 1 : 0;
}

if (isMain(import.meta.url)) await main();
