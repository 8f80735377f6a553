// Redis over HTTP as the public documentation of Upstash's REST API describes it, over a real redis-server, with faults on
// demand: the other front of the tests, for what @humanwhocodes/upstash-redis-server lacks. A process of its own, started by
// startRedis({ front: upstash }) in scripts/lib/redis.mjs; settings as for scripts/lib/redis-front.mjs.
//   POST /            one command            POST /pipeline  several, each for itself        POST /multi-exec  a transaction
//   every path asks for the token (401); other methods are 405; an error of Redis is a 400, in a pipeline one of its replies
//   Upstash-Encoding: base64                 strings of the reply in base64, "OK" aside
//   upstash-sync-token                       in every reply; one that a request brings must be one that was given
// The tests' own, without a token: GET /control gives what was counted, POST /control sets `faults`, a list of what the next
// requests meet, one each: { status, error, retryAfter } instead of a reply, { delay } in ms before it is carried out,
// { lose: "before" | "after" } breaks the connection, { half: true } breaks off the body of the reply, { pass: true } nothing.
import { writeSync } from "node:fs";
import { createServer } from "node:http";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { isMain } from "../../scripts/lib/project.mjs";

/** For startRedis({ front }). */
export const upstash = fileURLToPath(import.meta.url);

/** Reads and sets the controls of such a front at `url`. */
export const control = (url) => ({
  counts: async () => (await fetch(`${url}/control`)).json(),
  faults: (faults) => fetch(`${url}/control`, { method: "POST", body: JSON.stringify({ faults }) }).then((reply) => reply.arrayBuffer()),
});

const decoder = new TextDecoder("utf-8", { fatal: false });

async function main() {
  const { Redis } = await import("ioredis");
  const { FRONT_TOKEN: token, FRONT_REDIS: socket, FRONT_PORT: port } = process.env;
  const redis = new Redis(socket, { retryStrategy: () => 50, maxRetriesPerRequest: 0, enableOfflineQueue: false });
  redis.on("error", () => {});

  const fresh = () => ({ requests: 0, single: 0, pipeline: 0, transaction: 0, commands: {}, unauthorized: 0, synced: 0 });
  let counts = fresh();
  let faults = [];
  let sync = 0;

  const reply = (value, base64) => {
    if (Buffer.isBuffer(value)) {
      const text = decoder.decode(value);
      return base64 && text !== "OK" ? value.toString("base64") : text;
    }
    return Array.isArray(value) ? value.map((part) => reply(part, base64)) : value;
  };
  // A server may say what it was sent.
  const failure = (error, command) => ({ error: `${error.message}, command was: ${JSON.stringify(command)}` });
  const run = async (command) => {
    const name = `${command[0]}`.toLowerCase();
    counts.commands[name] = (counts.commands[name] ?? 0) + 1;
    return redis.callBuffer(name, ...command.slice(1).map(String));
  };

  const handlers = {
    "/": async (body, base64) => {
      counts.single += 1;
      if (!Array.isArray(body) || !body.length) return [400, { error: "ERR empty command" }];
      return run(body).then(
        (value) => [200, { result: reply(value, base64) }],
        (error) => [error.name === "ReplyError" ? 400 : 500, failure(error, body)],
      );
    },
    "/pipeline": async (body, base64) => {
      counts.pipeline += 1;
      const one = (command) => run(command).then((value) => ({ result: reply(value, base64) }), (error) => failure(error, command));
      return [200, await Promise.all(body.map(one))];
    },
    "/multi-exec": async (body, base64) => {
      counts.transaction += 1;
      const multi = redis.multi();
      for (const command of body) multi.callBuffer(...command.map(String));
      try {
        const results = await multi.exec();
        return [200, results.map(([error, value], at) => (error ? failure(error, body[at]) : { result: reply(value, base64) }))];
      } catch (error) {
        return [400, failure(error, body)];
      }
    },
  };

  const server = createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const text = Buffer.concat(chunks).toString();
    const send = (status, value, headers = {}) => {
      const body = JSON.stringify(value);
      response.writeHead(status, { "content-type": "application/json", "content-length": Buffer.byteLength(body), ...headers });
      response.end(body);
    };
    if (request.url === "/control") {
      if (request.method === "POST") {
        faults = JSON.parse(text).faults;
        counts = fresh();
      }
      return send(200, { ...counts, faults: faults.length });
    }
    counts.requests += 1;
    const fault = faults.shift() ?? {};
    if (fault.lose === "before") return request.socket.destroy();
    if (fault.status) {
      return send(fault.status, { error: fault.error ?? "fault" }, fault.retryAfter && { "retry-after": `${fault.retryAfter}` });
    }
    if (fault.delay) await pause(fault.delay);
    if (request.headers.authorization !== `Bearer ${token}`) {
      counts.unauthorized += 1;
      return send(401, { error: "Unauthorized" });
    }
    if (request.method !== "POST") return send(405, { error: "Method Not Allowed" });
    const given = request.headers["upstash-sync-token"];
    if (given) {
      if (!(Number(given) >= 1 && Number(given) <= sync)) return send(400, { error: "ERR invalid sync token" });
      counts.synced += 1;
    }
    let body;
    try {
      body = JSON.parse(text);
    } catch {
      return send(400, { error: "ERR failed to parse the command" });
    }
    const handler = handlers[request.url];
    if (!handler) return send(404, { error: "Not Found" });
    const [status, value] = await handler(body, request.headers["upstash-encoding"] === "base64");
    if (fault.lose === "after") return request.socket.destroy();
    sync += 1;
    if (fault.half) {
      const whole = JSON.stringify(value);
      response.writeHead(status, { "content-type": "application/json", "content-length": Buffer.byteLength(whole) });
      response.write(whole.slice(0, whole.length / 2));
      return setTimeout(() => request.socket.destroy(), 20);
    }
    return send(status, value, { "upstash-sync-token": `${sync}` });
  });
  server.listen(Number(port), "127.0.0.1", () => writeSync(3, `${JSON.stringify({ port: server.address().port })}\n`));
}

if (process.env.FRONT_REDIS && isMain(import.meta.url)) await main();
