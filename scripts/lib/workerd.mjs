// Everything bare workerd needs to run the bundle, in one folder: the modules, the client's files and config.capnp.
// Used by `make serve` and by the tests, so that both run the same thing.
import { createHash } from "node:crypto";
import { copyFileSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { basename, extname } from "node:path";
import { bundle } from "../build.mjs";
import { at } from "./project.mjs";
import { wranglerToml } from "./settings.mjs";

const types = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".mjs": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".json": "application/json",
  ".webmanifest": "application/manifest+json",
  ".txt": "text/plain; charset=utf-8",
  ".svg": "image/svg+xml",
  ".png": "image/png",
  ".ico": "image/x-icon",
  ".woff2": "font/woff2",
  ".wasm": "application/wasm",
};

/** The rules of www/_headers: [{ pattern, headers }], in their order. A pattern is a path or ends with `*`. */
export function parseHeaders(text) {
  const rules = [];
  for (const raw of text.split("\n")) {
    const line = raw.trim();
    if (!line || line.startsWith("#")) continue;
    if (/^\S/.test(raw)) {
      if (!/^\/[^*:]*\*?$/.test(line)) throw new Error(`www/_headers: '${line}' is no path, with or without a final *`);
      rules.push({ pattern: line, headers: {} });
    } else {
      const [, name, value] = line.match(/^([\w-]+):\s*(.+)$/) ?? [];
      if (!name || !rules.length) throw new Error(`www/_headers: '${line}' is no header of a path`);
      rules.at(-1).headers[name] = value;
    }
  }
  return rules;
}

const matches = (pattern, path) =>
  pattern.endsWith("*") ? path.startsWith(pattern.slice(0, -1)) : path === pattern;

/** The files of a folder by the path they are served at, as Cloudflare's asset server does: `/` is index.html. */
function site(folder) {
  const rules = existsSync(`${folder}/_headers`) ? parseHeaders(readFileSync(`${folder}/_headers`, "utf8")) : [];
  const headersOf = (path) =>
    Object.assign({}, ...rules.filter(({ pattern }) => matches(pattern, path)).map(({ headers }) => headers));
  const entries = [];
  for (const found of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!found.isFile() || found.name.startsWith(".") || ["_headers", "_redirects"].includes(found.name)) continue;
    const source = `${found.parentPath ?? found.path}/${found.name}`;
    const path = source.slice(folder.length);
    const type = types[extname(path)];
    if (!type) throw new Error(`${source}: no content type is known for it; add one to scripts/lib/workerd.mjs`);
    const page = path.replace(/\/index\.html$/, "/").replace(/\.html$/, "");
    const etag = `"${createHash("sha256").update(readFileSync(source)).digest("hex").slice(0, 32)}"`;
    entries.push({ path: page, source, etag, headers: { ...headersOf(page), "Content-Type": type, ETag: etag } });
    if (page !== path) entries.push({ path, location: page, headers: headersOf(path) });
  }
  return entries;
}

const quote = (text) => `"${text.replace(/[\\"]/g, "\\$&").replace(/\n/g, "\\n")}"`;
const list = (items) => `[\n${items.map((item) => `    ${item},\n`).join("")}  ]`;

/**
 * Writes `folder` (emptied first) and returns the path of its config.capnp.
 *   bundle   where the built modules are
 *   data     the folder the objects' databases live in; it must exist
 *   sockets  { name: address }; `http` serves pages and API, `direct` only the Worker
 *   vars     names of the variables, whose values workerd takes from its environment
 *   entry    a module to take the place of main.js (it may import "./main.js"), or undefined
 *   modules  more modules for it, { name: path }: .js as code, anything else as bytes
 *   flags    flags for V8
 */
export function writeConfig(folder, { bundle: built, data, sockets, vars, entry, modules = {}, flags }) {
  const toml = wranglerToml();
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const embedded = [];
  const kindOf = (name) => ({ ".js": "esModule", ".mjs": "esModule", ".wasm": "wasm" })[extname(name)] ?? "data";
  const embed = (name, from) => {
    copyFileSync(from, `${folder}/${name}`);
    embedded.push([name, kindOf(name)]);
  };
  const generate = (name, text) => {
    writeFileSync(`${folder}/${name}`, text);
    embedded.push([name, kindOf(name)]);
  };

  embed("assets.js", at("src/edge/assets.js"));
  for (const name of bundle) embed(name, `${built}/${name}`);
  for (const [name, path] of Object.entries(modules)) embed(name, path);
  if (entry) embed(basename(entry), entry);
  const main = `"./${entry ? basename(entry) : "main.js"}"`;
  generate("worker.js", `export * from ${main};\nexport { default } from ${main};\n`);

  const imports = [];
  const files = {};
  const bodies = [];
  for (const { path, source, ...rest } of site(at(toml.assets.directory))) {
    files[path] = rest;
    if (!source) continue;
    embed(`site-${imports.length}${extname(source)}.data`, source);
    bodies.push(`files[${JSON.stringify(path)}].body = body${imports.length};`);
    imports.push(`import body${imports.length} from "./${embedded.at(-1)[0]}";`);
  }
  const [prefixes, exact] = [[], []];
  for (const path of toml.assets.run_worker_first) (path.endsWith("*") ? prefixes : exact).push(path.replace("*", ""));
  generate(
    "site.js",
    `${imports.join("\n")}
export const api = { prefixes: ${JSON.stringify(prefixes)}, exact: new Set(${JSON.stringify(exact)}) };
export const files = Object.assign(Object.create(null), ${JSON.stringify(files)});
${bodies.join("\n")}
`,
  );

  const objects = toml.durable_objects.bindings;
  const socketLines = Object.entries(sockets).map(([name, address]) => {
    const service = name === "direct" ? `(name = "bedside", entrypoint = "direct")` : `"bedside"`;
    return `(name = ${quote(name)}, address = ${quote(address)}, http = (), service = ${service})`;
  });
  const worker = {
    modules: list(embedded.map(([name, kind]) => `(name = ${quote(name)}, ${kind} = embed ${quote(name)})`)),
    bindings: list([
      ...vars.map((name) => `(name = ${quote(name)}, fromEnvironment = ${quote(name)})`),
      ...objects.map(({ name, class_name }) => `(name = ${quote(name)}, durableObjectNamespace = ${quote(class_name)})`),
    ]),
    namespaces: list(
      objects.map(
        ({ class_name }) =>
          `(className = ${quote(class_name)}, uniqueKey = ${quote(`${toml.name}-${class_name}`)}, enableSql = true)`,
      ),
    ),
  };
  writeFileSync(
    `${folder}/config.capnp`,
    `using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "bedside", worker = .bedside),
    (name = "data", disk = (path = ${quote(data)}, writable = true)),
    (name = "internet", network = (allow = ["public", "private"], tlsOptions = (trustBrowserCas = true))),
  ],
  sockets = ${list(socketLines)},
  v8Flags = [${flags.map(quote).join(", ")}],
);

const bedside :Workerd.Worker = (
  compatibilityDate = ${quote(toml.compatibility_date)},
  modules = ${worker.modules},
  bindings = ${worker.bindings},
  durableObjectNamespaces = ${worker.namespaces},
  durableObjectStorage = (localDisk = "data"),
);
`,
  );
  return `${folder}/config.capnp`;
}
