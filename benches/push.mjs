// Push, one topic: Bedside beside Nchan (its message buffer on, in memory) and beside a plain room object, by turns on the
// same machine, with the publisher and all listeners on it as well. Latency is from the publisher's sending to the
// listener's receipt. Bedside signs its callers in, commits every event before it acknowledges or sends it, and keeps it for
// replay; with READ_LEASE_MS it relies for as long on having looked the session up. The plain room commits; Nchan keeps
// messages in memory.
//   ROUNDS (5), SECONDS of each measurement (8), SIDES (bedside,relying,room,nchan)
import { asFastAsItGoes, atRate, listeners } from "./push/load.mjs";
import * as sides from "./push/sides.mjs";

const rounds = Number(process.env.ROUNDS ?? 5);
const seconds = Number(process.env.SECONDS ?? 8);
const names = (process.env.SIDES ?? "bedside,relying,room,nchan").split(",");

const median = (numbers) => [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)];
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Waits until every listener has everything, and says what it took. */
async function complete(group, expected, within = 60_000) {
  const sums = { delivered: 0, p50: [], p99: [], last: 0 };
  for (const end = performance.now() + within; ; ) {
    const report = await group.report();
    sums.delivered += report.delivered;
    sums.closed = report.closed;
    sums.last = Math.max(sums.last, report.last);
    if (report.delivered) for (const part of ["p50", "p99"]) sums[part].push([report[part], report.delivered]);
    if (sums.delivered >= expected || performance.now() > end) break;
    await pause(50);
  }
  return sums;
}

const measurements = [
  { name: "100 listeners, 50/s", count: 100, rate: 50 },
  { name: "1,000 listeners, 10/s", count: 1_000, rate: 10 },
  { name: "100 listeners, as fast as it goes", count: 100, total: 4_000 },
  { name: "1,000 listeners, as fast as it goes", count: 1_000, total: 400 },
];

async function measure(side, { count, rate, total }) {
  const group = await listeners({ ...side.listen, count });
  const { target, body } = side;
  try {
    await atRate({ target, body, rate: 20, seconds: 1 });
    await complete(group, 20 * count);
    if (rate) {
      const published = await atRate({ target, body, rate, seconds });
      const { delivered, p50, p99, closed } = await complete(group, published * count);
      if (delivered !== published * count) throw new Error(`${side.name}: ${delivered} of ${published * count} delivered, ${closed} closed`);
      return { p50: p50.at(-1)[0], p99: p99.at(-1)[0] };
    }
    const start = Number(process.hrtime.bigint());
    await asFastAsItGoes({ target, body, total });
    const { delivered, last, closed } = await complete(group, total * count);
    if (delivered !== total * count) throw new Error(`${side.name}: ${delivered} of ${total * count} delivered, ${closed} closed`);
    return { perSecond: delivered / ((last - start) / 1e9) };
  } finally {
    await group.stop();
  }
}

const started = [];
try {
  for (const name of names) started.push(await sides[name]());
  for (const measurement of measurements) {
    const results = new Map(started.map((side) => [side.name, []]));
    for (let round = 0; round < rounds; round += 1) {
      for (const side of started) results.get(side.name).push(await measure(side, measurement));
    }
    console.log(`\n${measurement.name} (median of ${rounds})`);
    const [first] = results.values();
    for (const [name, all] of results) {
      const ratio = (part) => median(all.map((one, index) => first[index][part] / one[part]));
      const one = (part) => median(all.map((result) => result[part]));
      console.log(
        measurement.rate
          ? `  ${name.padEnd(18)} p50 ${one("p50").toFixed(2).padStart(8)} ms   p99 ${one("p99").toFixed(2).padStart(8)} ms   Bedside / this: ${ratio("p50").toFixed(2)}, ${ratio("p99").toFixed(2)}`
          : `  ${name.padEnd(18)} ${Math.round(one("perSecond")).toLocaleString("en").padStart(10)} delivered/s   Bedside / this: ${ratio("perSecond").toFixed(2)}`,
      );
    }
  }
} finally {
  await Promise.all(started.map((side) => side.stop()));
}
