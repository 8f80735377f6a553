// A redis-server behind a front that speaks HTTP, for `make dev-redis` and the tests. Neither outlives this process.
import { randomBytes } from "node:crypto";
import { mkdirSync, rmSync } from "node:fs";
import { Redis } from "ioredis";
import { need } from "../need.mjs";
import { poll } from "./poll.mjs";
import { at, node } from "./project.mjs";
import { supervised } from "./supervised.mjs";
import { temporary } from "./temporary.mjs";

/**
 * Starts both and resolves when a command goes through:
 *   data     the folder of Redis's data, kept; else one that goes with stop()
 *   inMemory whether those that go are kept in memory
 *   front    the module of the front's process
 *   token    the front's bearer token; else a fresh one
 * Returns
 *   url, token        where the front is        socket, data   where Redis itself is, and its files
 *   vars              the settings that put sessions, leases and cache there
 *   client            a connection to Redis itself (ioredis)
 *   redis, front      { kill(signal), start(), stop() } of each process; a Redis that is started again has its data
 *   stop()            ends both
 */
export async function startRedis({ data, inMemory, front: module = at("scripts/lib/redis-front.mjs"), token, env = {} } = {}) {
  const program = await need("redis-server");
  token ??= randomBytes(24).toString("base64url");
  // A socket's path must be short.
  const folder = temporary("redis", { inMemory });
  const socket = `${folder}/redis.sock`;
  const kept = data ?? `${folder}/data`;
  mkdirSync(kept, { recursive: true, mode: 0o700 });
  const remove = [folder];
  let output = "";
  const onOutput = (chunk) => (output += chunk);
  const client = new Redis(socket, { lazyConnect: true, maxRetriesPerRequest: null, retryStrategy: () => 50 });
  client.on("error", () => {});

  const part = (launch) => {
    let child;
    return {
      kill: (signal) => child.kill(signal),
      stop: () => child?.running && child.stop(),
      pid: () => child.pid(),
      async start() {
        child = await launch();
      },
    };
  };
  // Acknowledged is written: what README.md asks of the Redis.
  const durable = ["--appendonly", "yes", "--appendfsync", "always", "--save", ""];
  const redis = part(async () => {
    const args = ["--port", "0", "--unixsocket", socket, "--dir", kept, "--maxmemory-policy", "noeviction", ...durable];
    const child = supervised(program, args, { remove, onOutput });
    await poll("redis-server", async () => child.running && (await client.ping().catch(() => undefined)) === "PONG");
    return child;
  });
  let port = 0;
  const front = part(async () => {
    const settings = { FRONT_TOKEN: token, FRONT_REDIS: socket, FRONT_PORT: `${port}`, ...env };
    const child = supervised(node, [module], { env: settings, remove, onOutput });
    [{ port }] = await child.control(1);
    return child;
  });
  const stop = async () => {
    client.disconnect();
    await Promise.all([redis.stop(), front.stop()]);
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  };
  try {
    await Promise.all([redis.start(), front.start()]);
  } catch (error) {
    await stop();
    throw new Error(`${error.message}\n${output}`);
  }
  const url = `http://127.0.0.1:${port}`;
  const on = Object.fromEntries(["SESSIONS_ON", "LEASES_ON", "CACHE_ON"].map((name) => [name, "redis"]));
  return { url, token, socket, data: kept, vars: { REDIS_URL: url, REDIS_TOKEN: token, ...on }, client, redis, front, logs: () => output, stop };
}
