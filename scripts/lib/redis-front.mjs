// Redis over HTTP for development and tests: @humanwhocodes/upstash-redis-server in front of a redis-server, as a process of
// its own. Settings come in the environment, since a command line shows them to everybody on the machine:
//   FRONT_TOKEN   the bearer token       FRONT_REDIS  the redis-server's socket       FRONT_PORT  0 for any
// Says on channel 3 which port it listens on.
import { writeSync } from "node:fs";
import { serve } from "@hono/node-server";
import { createApp } from "@humanwhocodes/upstash-redis-server";

const { FRONT_TOKEN: token, FRONT_REDIS: redisUrl, FRONT_PORT: port } = process.env;
// It prints every lost connection; the tests make many.
console.error = () => {};
const server = serve({ fetch: createApp({ token, redisUrl }).fetch, port: Number(port), hostname: "127.0.0.1" });
server.on("listening", () => writeSync(3, `${JSON.stringify({ port: server.address().port })}\n`));
