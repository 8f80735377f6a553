// The session check alone, `GET /session` on bare workerd, with sessions on objects and on Redis, beside a JavaScript hello
// on the same workerd and one raw command to the same Redis front. All by turns in one run; the load generator, Redis and its
// front (Node) share the machine with the server. Medians of the rounds.
//   ROUNDS (7), SECONDS a turn (2), CONNECTIONS (16), SESSIONS that are checked by turns (64)
import { startRedis } from "../scripts/lib/redis.mjs";
import { administrator, signIn } from "../tests/support/client.mjs";
import { startWorkerd } from "../tests/support/server.mjs";
import { upstash } from "../tests/support/upstash.mjs";
import { load, quantile, request, table } from "./lib/load.mjs";

const rounds = Number(process.env.ROUNDS ?? 7);
const seconds = Number(process.env.SECONDS ?? 2);
const connections = Number(process.env.CONNECTIONS ?? 16);
const sessions = Number(process.env.SESSIONS ?? 64);

const started = [];
const start = async (what) => {
  started.push(what);
  return what;
};
const port = (url) => Number(new URL(url).port);

/** A server with people signed in: { port, requests }. */
async function product(vars) {
  const server = await start(await startWorkerd({ vars }));
  const admin = await administrator(server, server.directUrl);
  const people = await Promise.all(Array.from({ length: 8 }, async (_, index) => {
    const account = { username: `nurse${index}`, name: "N", role: "nurse", password: "a long enough pass" };
    const made = await admin.post("/users", account);
    if (made.status !== 201) throw new Error(made.text);
    return account.username;
  }));
  const requests = [];
  for (let index = 0; index < sessions; index += 1) {
    const { token } = await signIn(server.directUrl, people[index % people.length]);
    requests.push(request("GET", "/session", { authorization: `Bearer ${token}` }));
  }
  return { port: port(server.directUrl), requests };
}

try {
  const hello = await start(await startWorkerd({ entry: "benches/hello.js" }));
  const redis = await start(await startRedis());
  const lean = await start(await startRedis({ front: upstash }));
  const raw = ({ url, token }) => ({
    port: port(url),
    requests: [request("POST", "/", { authorization: `Bearer ${token}`, "content-type": "application/json" }, '["GET","nothing"]')],
  });
  const sides = [
    ["hello in JavaScript", { port: port(hello.directUrl), requests: [request("GET", "/")] }],
    ["session on objects", await product({})],
    ["session on Redis, front: upstash-redis-server", await product(redis.vars)],
    ["session on Redis, front: the tests' own", await product(lean.vars)],
    ["one GET to upstash-redis-server", raw(redis)],
    ["one GET to the tests' own front", raw(lean)],
  ];
  const results = sides.map(() => []);
  for (let round = 0; round < rounds; round += 1) {
    for (let turn = 0; turn < sides.length; turn += 1) {
      const at = (turn + round) % sides.length;
      results[at].push(await load({ ...sides[at][1], connections, seconds }));
    }
  }
  const median = (at, what) => quantile(results[at].map((result) => result[what]), 0.5);
  const ratio = (at) => quantile(results[at].map((result, round) => result.perSecond / results[0][round].perSecond), 0.5);
  table(
    ["", "requests/s", "p50 ms", "p99 ms", "of hello"],
    sides.map(([name], at) => [name, Math.round(median(at, "perSecond")), median(at, "p50").toFixed(2), median(at, "p99").toFixed(2), ratio(at).toFixed(2)]),
  );
} finally {
  await Promise.all(started.map((server) => server.stop()));
}
