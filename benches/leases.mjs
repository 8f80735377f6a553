// Leases beside @upstash/lock, on the same Redis behind the same front, each on bare workerd, by turns in one run; and
// leases on objects. The load generator, Redis and its front (Node) share the machine. Medians of the rounds.
//   uncontended   every connection grants and revokes a lease of its own, over and over: pairs/s, p50 and p99 of a pair
//   hand-over     16 wait for one lease; from the holder's revocation, as it is sent, to the arrival of the next one's grant
//   ROUNDS (7), SECONDS a turn (2), CONNECTIONS (8), HANDOVERS a turn (64)
// Every request to Bedside carries a session, which is checked; "leased" are those with READ_LEASE_MS = 300, by which most
// checks need no call of their own. @upstash/lock asks nobody. Its row "session" looks one up in
// the same Redis before, as an application would; its row "one request" acquires and releases without going back to the
// caller, which no other side can be asked for.
import { startRedis } from "../scripts/lib/redis.mjs";
import { upstash } from "../tests/support/upstash.mjs";
import { connection, quantile, table } from "./lib/load.mjs";
import { bedside, lock } from "./leases/sides.mjs";

const rounds = Number(process.env.ROUNDS ?? 7);
const seconds = Number(process.env.SECONDS ?? 2);
const connections = Number(process.env.CONNECTIONS ?? 8);
const handovers = Number(process.env.HANDOVERS ?? 64);
const WAITERS = 16;
const LEASED = { READ_LEASE_MS: "300" };

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const must = ({ status, body }, expected) => {
  if (status !== expected) throw new Error(`a reply was ${status}: ${body.toString().slice(0, 300)}`);
  return body.length ? JSON.parse(body.toString()) : undefined;
};

/** Pairs of grant and revocation on `connections` leases at once; in one request where `together`. */
async function pairs(side, together) {
  const sockets = Array.from({ length: connections }, () => connection(side.port));
  const times = [];
  const begin = performance.now() + 300;
  const end = begin + seconds * 1000;
  const one = async (socket, at) => {
    for (let now = performance.now(); now < end; ) {
      if (together) must(await socket.ask(side.pair(`pair${at}`)), 204);
      else {
        const granted = must(await socket.ask(side.grant(`pair${at}`)), 201);
        must(await socket.ask(side.revoke(`pair${at}`, granted)), 204);
      }
      const after = performance.now();
      if (now >= begin) times.push(after - now);
      now = after;
    }
  };
  try {
    await Promise.all(sockets.map(one));
  } finally {
    for (const socket of sockets) socket.close();
  }
  return { perSecond: times.length / ((performance.now() - begin) / 1000), p50: quantile(times, 0.5), p99: quantile(times, 0.99) };
}

/** WAITERS wait for one lease; whoever has had it for 20 to 120 ms and given it up waits again once the next one has it. */
async function handOver(side) {
  const sockets = Array.from({ length: WAITERS + 1 }, () => connection(side.port, { within: 90_000 }));
  const times = [];
  const waits = [];
  let freed;
  let next = () => {};
  const turn = async (socket) => {
    // Nobody comes at the same moment as another: those who look every 100 ms look at all times.
    await pause(Math.random() * 100);
    while (times.length < handovers) {
      const asked = performance.now();
      const granted = must(await socket.ask(side.grant("contended", 60)), 201);
      const now = performance.now();
      if (freed !== undefined && times.length < handovers) {
        times.push(now - freed);
        waits.push(now - asked);
      }
      next();
      await pause(20 + Math.random() * 100);
      const taken = new Promise((resolve) => (next = resolve));
      freed = performance.now();
      must(await socket.ask(side.revoke("contended", granted)), 204);
      if (times.length < handovers) await taken;
    }
  };
  try {
    await Promise.all(sockets.map(turn));
  } finally {
    for (const socket of sockets) socket.close();
  }
  return { p50: quantile(times, 0.5), p99: quantile(times, 0.99), longest: Math.max(...waits) };
}

const started = [];
const start = async (what) => {
  started.push(await what);
  return started.at(-1);
};
const on = ({ vars: { REDIS_URL, REDIS_TOKEN } }, more) => ({ REDIS_URL, REDIS_TOKEN, ...more });

try {
  const slow = await start(startRedis());
  const lean = await start(startRedis({ front: upstash }));
  for (const { client } of [slow, lean]) await client.set("session", "somebody");
  const fronts = [["upstash-redis-server", slow], ["the tests' own", lean]];
  const sides = [];
  for (const [front, redis] of fronts) {
    const ours = await start(bedside(`Bedside on Redis, ${front}`, on(redis, { LEASES_ON: "redis" })));
    const leased = await start(bedside(`Bedside on Redis, leased, ${front}`, on(redis, { LEASES_ON: "redis", ...LEASED })));
    const theirs = await start(lock(`@upstash/lock, ${front}`, redis.vars));
    const asking = await start(lock(`@upstash/lock with a session, ${front}`, redis.vars, { session: true }));
    sides.push({ ...theirs, of: theirs.name }, { ...asking, of: theirs.name }, { ...theirs, name: `@upstash/lock in one request, ${front}`, together: true, of: theirs.name });
    sides.push({ ...ours, of: theirs.name }, { ...leased, of: theirs.name });
  }
  const { of } = sides.at(-1);
  sides.push({ ...(await start(bedside("Bedside on objects", {}))), of });
  sides.push({ ...(await start(bedside("Bedside on objects, leased", LEASED))), of });

  const measured = sides.map(() => ({ pairs: [], turns: [] }));
  for (let round = 0; round < rounds; round += 1) {
    for (let step = 0; step < sides.length; step += 1) {
      const at = (step + round) % sides.length;
      measured[at].pairs.push(await pairs(sides[at], sides[at].together));
      if (!sides[at].together) measured[at].turns.push(await handOver(sides[at]));
    }
  }
  const middle = (list) => quantile(list, 0.5);
  const median = (at, kind, what) => middle(measured[at][kind].map((result) => result[what]));
  const ratio = (at, kind, what) => {
    const other = sides.findIndex(({ name }) => name === sides[at].of);
    return middle(measured[at][kind].map((result, round) => result[what] / measured[other][kind][round][what]));
  };
  console.log(`uncontended, ${connections} connections; "of lock": of @upstash/lock on the same front, for objects the tests' own`);
  table(
    ["", "pairs/s", "p50 ms", "p99 ms", "of lock"],
    sides.map(({ name }, at) => [
      name,
      Math.round(median(at, "pairs", "perSecond")),
      median(at, "pairs", "p50").toFixed(2),
      median(at, "pairs", "p99").toFixed(2),
      ratio(at, "pairs", "perSecond").toFixed(2),
    ]),
  );
  console.log(`\nhand-over among ${WAITERS} waiters, ms; "times faster" by the median; "longest" is the longest that anybody waited`);
  table(
    ["", "p50", "p99", "longest", "times faster"],
    sides.flatMap(({ name, together }, at) =>
      together
        ? []
        : [[name, ...["p50", "p99", "longest"].map((what) => median(at, "turns", what).toFixed(1)), (1 / ratio(at, "turns", "p50")).toFixed(1)]],
    ),
  );
} finally {
  await Promise.all(started.map((one) => one.stop()));
}
