// 24 beds at 1 Hz for ten minutes (SECONDS): every reading is delivered once and in order to who listens, what each costs in
// rows, how long it takes from the monitor to the screen, and what the server weighs at the start and at the end.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { gateway } from "../../scripts/monitor.mjs";
import { follow, PASSWORD } from "../support/client.mjs";
import { assertInOrder, beds, monitoredWard } from "../support/ward.mjs";

const seconds = Number(process.env.SECONDS ?? 600);
const percentile = (sorted, part) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))];
const weight = (pid) => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024;

test(`${beds} beds at 1 Hz for ${seconds} s`, { timeout: (seconds + 120) * 1000 }, async (t) => {
  const { server, admin, nurse, patients } = await monitoredWard(t, { entry: "tests/workerd/counting.js" });
  const arrivals = [];
  const follower = follow(t, server.url, nurse.token, "ward/w");
  await follower.until(({ frames }) => frames.length > 0, "hello");
  const warm = 15;
  const expected = (seconds + warm) * beds;
  let taken = 0;
  const everything = follower.until(
    () => {
      const now = Date.now();
      for (const { events = [] } of follower.frames.slice(taken)) {
        const of = events.filter(({ kind }) => kind === "telemetry").flatMap(({ data }) => data.readings);
        arrivals.push(...of.map(({ patient, at }) => [patient, at, now - Date.parse(at)]));
      }
      taken = follower.frames.length;
      return arrivals.length >= expected;
    },
    "all of it",
    (seconds + 100) * 1000,
  );
  const options = { url: server.url, username: "monitors", password: PASSWORD, beds };
  // First come the tables of the topics and a score each.
  await gateway({ ...options, seconds: warm });
  const [before, start] = [(await admin.get("/rows")).body, process.platform === "linux" ? weight(server.pid) : 0];
  const result = await gateway({ ...options, seconds });
  const [after, end] = [(await admin.get("/rows")).body, process.platform === "linux" ? weight(server.pid) : 0];
  await everything;
  assert.deepEqual([result.posted, result.acknowledged], [seconds * beds, seconds * beds]);
  assert.equal(arrivals.length / expected, 1);
  assertInOrder(arrivals, patients, seconds + warm);
  const sum = (counts) => Object.values(counts).reduce((total, one) => total + one, 0);
  const rows = (sum(after.rows) + sum(after.alarms) - sum(before.rows) - sum(before.alarms)) / result.posted;
  const sorted = arrivals.slice(warm * beds).map(([, , ms]) => ms).sort((a, b) => a - b);
  console.log(`delivered / expected ${arrivals.length / expected}; ${rows.toFixed(2)} rows a reading`);
  console.log(`monitor to screen p50 ${percentile(sorted, 0.5)} ms, p99 ${percentile(sorted, 0.99)} ms; acknowledged p50 ${result.p50} ms, p99 ${result.p99} ms`);
  console.log(`memory ${start.toFixed(0)} MB at the start, ${end.toFixed(0)} MB at the end`);
  assert.ok(rows <= 1.5, `${rows} rows a reading`);
});
