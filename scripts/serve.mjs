// `make serve`: the release bundle on bare workerd, one process, data on the local disk; for a hospital's own machine.
//   PORT  8787       HOST  127.0.0.1, or the address to listen on
//   DATA  .data/serve, where the databases live        DEMO=1  loads the demonstration ward
//   DIRECT_PORT  opens a second port to the Worker alone, without the files of www/: for measurements
// Settings come from [vars] of wrangler.toml, over them .dev.vars (made with fresh secrets if there is none), over them
// the environment. SIGINT and SIGTERM end it; nothing is left running however it ends.
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { build } from "./build.mjs";
import { firstAnswer } from "./lib/poll.mjs";
import { at, fail, node, workerd } from "./lib/project.mjs";
import { run } from "./lib/run.mjs";
import { noted } from "./restore.mjs";
import { setup } from "./setup.mjs";

await setup().catch((error) => fail(error.message));
const { localSecrets, unlisted, wranglerToml } = await import("./lib/settings.mjs");
const { writeConfig } = await import("./lib/workerd.mjs");
const { supervised } = await import("./lib/supervised.mjs");

const port = process.env.PORT || "8787";
const host = process.env.HOST || "127.0.0.1";
const data = resolve(process.env.DATA || at(".data/serve"));
// Nothing stands in front of workerd that would overwrite the header of a client: none is trusted unless it is said.
const vars = { ...wranglerToml().vars, CLIENT_ADDRESS_HEADER: "", ...localSecrets() };
for (const name of [...Object.keys(vars), ...unlisted]) if (process.env[name] !== undefined) vars[name] = process.env[name];

if (process.env.RESTORED_AT === undefined && existsSync(noted(data))) vars.RESTORED_AT = readFileSync(noted(data), "utf8").trim();

const built = await build("release").catch((error) => fail(error.message));
mkdirSync(`${data}/objects`, { recursive: true, mode: 0o700 });
const sockets = { http: `${host}:${port}` };
if (process.env.DIRECT_PORT) sockets.direct = `${host}:${process.env.DIRECT_PORT}`;
const config = writeConfig(`${data}/run`, {
  bundle: built,
  data: `${data}/objects`,
  sockets,
  vars: Object.keys(vars),
  flags: ["--max-semi-space-size=1"],
});

const server = supervised(workerd, ["serve", config, "config"], { env: vars });
let stopping = false;
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
  process.on(signal, () => {
    stopping = true;
    server.stop();
  });
}
const ended = server.exited;
const url = `http://${host.includes(":") ? `[${host}]` : host.replace("0.0.0.0", "127.0.0.1")}:${port}`;
try {
  const answer = await firstAnswer(`${url}/healthz`, { alive: () => server.running });
  if (answer.status >= 500) console.error(`Bedside does not serve: ${(await answer.text()).slice(0, 1000)}`);
  const demo = at("scripts/demo.mjs");
  if (process.env.DEMO === "1" && existsSync(demo)) await run(node, [demo, "--url", url], { env: vars });
  console.log(`Bedside serves ${url} from ${data}; Ctrl-C ends it.`);
} catch (error) {
  if (!stopping) console.error(error.message);
  if (server.running) await server.stop();
}
const { code, signal } = await ended;
if (!stopping) fail(`workerd ended by itself (${signal ?? `code ${code}`})`);
process.exit(0);
