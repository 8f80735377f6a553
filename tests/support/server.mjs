// Servers for tests, each on a free port of 127.0.0.1 with its own data and secrets. None outlives the test process, even
// if that is killed; its data goes with it.
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { firstAnswer, poll } from "../../scripts/lib/poll.mjs";
import { at, node, workerd, wrangler } from "../../scripts/lib/project.mjs";
import { newSecrets, wranglerToml } from "../../scripts/lib/settings.mjs";
import { supervised } from "../../scripts/lib/supervised.mjs";
import { temporary } from "../../scripts/lib/temporary.mjs";
import { writeConfig } from "../../scripts/lib/workerd.mjs";

export { poll };

/** [vars] of wrangler.toml, fresh secrets, and over both what a test says; null takes a variable away. */
function settings(vars = {}) {
  const all = { ...wranglerToml().vars, ...newSecrets(), ...vars };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== null && value !== undefined));
}

/** What both kinds of server have in common; `launch` starts a process and tells { child, url, more } when it listens. */
async function server(folder, vars, launch) {
  let output = "";
  let current;
  const onOutput = (chunk) => (output += chunk);
  const start = async (more) => {
    current = await launch({ onOutput, vars, ...more });
    await firstAnswer(`${current.url}/healthz`, { alive: () => current.child.running, within: 60_000 });
    Object.assign(self, { url: current.url, port: Number(new URL(current.url).port), pid: current.pid }, current.more);
  };
  const self = {
    vars,
    folder,
    /** All it has printed so far. */
    logs: () => output,
    /** Sends a signal and resolves when it has ended. Its data stay. */
    kill: (signal = "SIGKILL") => current.child.kill(signal),
    /** Kills it, then starts it again on the same port and data; `vars` may be changed. */
    async restart({ signal = "SIGKILL", vars: changed } = {}) {
      if (current.child.running) await current.child.kill(signal);
      vars = settings({ ...vars, ...changed });
      self.vars = vars;
      await start({ port: self.port });
      return self;
    },
    /** Ends it and removes its data. */
    async stop() {
      if (current?.child.running) await current.child.stop();
      rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
    },
  };
  try {
    await start({ port: 0 });
  } catch (error) {
    await self.stop();
    throw new Error(`${error.message}\n${output}`);
  }
  return self;
}

/**
 * The release bundle on bare workerd. Resolves when it answers /healthz, whatever the status.
 *   vars     variables over wrangler.toml's and the fresh secrets; null takes one away
 *   dataDir  where the databases live, kept; else a fresh folder that survives restart() and goes with stop()
 *   inMemory whether that fresh folder is in memory
 *   entry    path of a module to take main.js's place; it may import "./main.js" and "./index.js"
 *   modules  more modules for it, { name: path }
 *   build    the folder of the bundle
 *   flags    V8 flags
 * Returns { url, directUrl, port, pid, vars, folder, logs(), kill(signal), restart({ signal, vars }), stop() }: `url` has
 * pages and API, `directUrl` the Worker alone.
 */
export async function startWorkerd({
  vars,
  dataDir,
  inMemory,
  entry,
  modules,
  build = at("build/release"),
  flags = ["--max-semi-space-size=1"],
} = {}) {
  const folder = temporary("test", { inMemory });
  const data = dataDir ? resolve(dataDir) : `${folder}/data`;
  mkdirSync(data, { recursive: true });
  let directPort = 0;
  return server(folder, settings(vars), async ({ port, vars: values, onOutput }) => {
    const config = writeConfig(`${folder}/run`, {
      bundle: build,
      data,
      sockets: { http: `127.0.0.1:${port}`, direct: `127.0.0.1:${directPort}` },
      vars: Object.keys(values),
      entry,
      modules,
      flags,
    });
    const child = supervised(workerd, ["serve", "--control-fd=3", config, "config"], {
      env: values,
      onOutput,
      remove: [folder],
    });
    const sockets = await child.control(2);
    const portOf = (name) => sockets.find((line) => line.socket === name).port;
    directPort = portOf("direct");
    return {
      child,
      pid: await child.pid(),
      url: `http://127.0.0.1:${portOf("http")}`,
      more: { directUrl: `http://127.0.0.1:${directPort}` },
    };
  });
}

/**
 * The release bundle under `wrangler dev`; options and result as for startWorkerd, without entry and directUrl. `more` is
 * what the configuration has over wrangler.toml.
 */
export async function startWranglerDev({ vars, dataDir, more, build = at("build/release") } = {}) {
  const folder = temporary("test");
  return server(folder, settings(vars), async ({ port, vars: values, onOutput }) => {
    const { build: _, vars: __, assets, ...config } = wranglerToml();
    writeFileSync(
      `${folder}/wrangler.json`,
      JSON.stringify({ ...config, ...more, main: `${build}/main.js`, assets: { ...assets, directory: at(assets.directory) } }),
    );
    writeFileSync(
      `${folder}/.dev.vars`,
      Object.entries(values).map(([name, value]) => `${name}=${JSON.stringify(value)}\n`).join(""),
    );
    const data = dataDir ? resolve(dataDir) : `${folder}/data`;
    const args = ["dev", "--config", `${folder}/wrangler.json`, "--ip", "127.0.0.1", "--port", `${port}`];
    args.push("--inspector-port", "0", "--persist-to", data, "--show-interactive-dev-session=false");
    let printed = "";
    const child = supervised(node, [wrangler, ...args], {
      cwd: folder,
      env: { WRANGLER_LOG_PATH: `${folder}/logs`, WRANGLER_REGISTRY_PATH: `${folder}/registry`, CI: "true" },
      remove: [folder],
      onOutput: (chunk) => {
        printed += chunk;
        onOutput(chunk);
      },
    });
    const url = await poll(
      "wrangler dev to be ready",
      () => {
        if (!child.running) throw new Error("wrangler dev has ended");
        return printed.match(/Ready on (http:\/\/127\.0\.0\.1:\d+)/)?.[1];
      },
      { within: 60_000 },
    );
    return { child, pid: await child.pid(), url };
  });
}
