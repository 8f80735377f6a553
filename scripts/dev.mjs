// `make dev`: sets up what is missing, serves the development build with `wrangler dev`, loads the demonstration ward and
// says what to open. Needs no account, no terminal and no network but the package registries of the set-up.
//   PORT  8787        HOST  127.0.0.1        DATA  .data/dev, where the databases live        DEMO=0  loads no ward
// `make dev-redis` (the argument `redis`) keeps sessions, leases and cached views in a redis-server of its own behind an
// HTTP front, with DATA .data/dev-redis.
// An edit under src/ is rebuilt and served by itself. SIGINT and SIGTERM end it; nothing is left running however it ends.
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { build } from "./build.mjs";
import { firstAnswer } from "./lib/poll.mjs";
import { at, fail, node, seconds, wrangler } from "./lib/project.mjs";
import { run } from "./lib/run.mjs";
import { setup } from "./setup.mjs";

const start = performance.now();
await setup().catch((error) => fail(error.message));
const { localSecrets } = await import("./lib/settings.mjs");
const { supervised } = await import("./lib/supervised.mjs");
const { startRedis } = await import("./lib/redis.mjs");

const port = process.env.PORT || "8787";
const host = process.env.HOST || "127.0.0.1";
const onRedis = process.argv[2] === "redis";
const data = resolve(process.env.DATA || at(onRedis ? ".data/dev-redis" : ".data/dev"));
const url = `http://${host.replace("0.0.0.0", "127.0.0.1")}:${port}`;
const secrets = localSecrets();
const built = await build("dev").catch((error) => fail(error.message));

const redis = onRedis && (await startRedis({ data: `${data}/redis` }).catch((error) => fail(error.message)));
const args = ["dev", `${built}/main.js`, "--ip", host, "--port", port, "--inspector-port", "0", "--persist-to", data];
for (const [name, value] of Object.entries(redis ? redis.vars : {})) args.push("--var", `${name}:${value}`);
const server = supervised(node, [wrangler, ...args, "--show-interactive-dev-session=false"], {
  env: { BEDSIDE_BUILD: "dev", WRANGLER_LOG_PATH: `${data}/logs`, WRANGLER_REGISTRY_PATH: `${data}/registry` },
});
let stopping = false;
const stop = () => {
  stopping = true;
  server.stop();
  if (redis) redis.stop();
};
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, stop);
// make does not pass SIGINT on when only it is sent one, and may be killed: end with it.
const parent = process.ppid;
setInterval(() => process.ppid !== parent && !stopping && stop(), 500).unref();

const ended = server.exited;
try {
  const answer = await firstAnswer(`${url}/healthz`, { alive: () => server.running, within: 120_000 });
  const took = seconds(start);
  if (answer.status >= 500) console.error(`Bedside does not serve: ${(await answer.text()).slice(0, 1000)}`);
  else await answer.arrayBuffer();
  const demo = at("scripts/demo.mjs");
  if (process.env.DEMO !== "0" && existsSync(demo)) await run(node, [demo, "--url", url], { env: secrets });
  if (redis) console.log(`\nSessions, leases and cached views are in Redis: redis-cli -s ${redis.socket}`);
  console.log(`\nBedside answers after ${took}. Open ${url} in a browser; Ctrl-C ends it.\n`);
} catch (error) {
  if (!stopping) console.error(error.message);
  if (server.running) await server.stop();
}
const { code, signal } = await ended;
if (!stopping) fail(`wrangler dev ended by itself (${signal ?? `code ${code}`})`);
process.exit(0);
