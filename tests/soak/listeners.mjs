// 24 beds at 1 Hz for ten minutes (SECONDS), followed by a thousand WebSockets on the topic of their ward (LISTENERS): each is
// delivered every reading once, how long that takes from the monitor, what it costs in rows and what the server weighs.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { listeners } from "../../benches/push/load.mjs";
import { gateway } from "../../scripts/monitor.mjs";
import { PASSWORD } from "../support/client.mjs";
import { poll } from "../support/server.mjs";
import { beds, monitoredWard } from "../support/ward.mjs";

const seconds = Number(process.env.SECONDS ?? 600);
const count = Number(process.env.LISTENERS ?? 1_000);
const weight = (pid) => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024;

test(`${count} listeners, ${beds} beds, ${seconds} s`, { timeout: (seconds + 300) * 1000 }, async (t) => {
  const { server, admin, nurse } = await monitoredWard(t, { entry: "tests/workerd/counting.js" });
  const headers = { Authorization: `Bearer ${nurse.token}`, "Sec-WebSocket-Protocol": "bedside.v1" };
  const group = await listeners({ port: server.port, path: "/channels/ward/w", headers, count, every: 256, readings: true });
  const options = { url: server.url, username: "monitors", password: PASSWORD, beds };
  const warm = 15;
  await gateway({ ...options, seconds: warm });
  let got = 0;
  let fewest = 0;
  let last;
  const everything = async (expected) => {
    await poll("all of it", async () => {
      const report = await group.report();
      got += report.delivered;
      fewest += report.fewest;
      // What came while it was published; the rest is what was under way.
      if (report.delivered >= (last?.delivered ?? 0)) last = report;
      return got >= expected;
    }, { within: 120_000, every: 1_000 });
  };
  await everything(warm * beds * count);
  [got, fewest, last] = [0, 0, undefined];
  const [before, start] = [(await admin.get("/rows")).body, weight(server.pid)];
  const result = await gateway({ ...options, seconds });
  const [after, end] = [(await admin.get("/rows")).body, weight(server.pid)];
  assert.deepEqual([result.posted, result.acknowledged], [seconds * beds, seconds * beds]);
  await everything(seconds * beds * count);
  assert.deepEqual([got, fewest, last.closed], [seconds * beds * count, seconds * beds, 0]);
  const sum = (counts) => Object.values(counts).reduce((total, one) => total + one, 0);
  const rows = (sum(after.rows) + sum(after.alarms) - sum(before.rows) - sum(before.alarms)) / result.posted;
  console.log(`delivered / expected ${got / (seconds * beds * count)}; ${rows.toFixed(2)} rows a reading`);
  console.log(`monitor to screen p50 ${last.p50} ms, p99 ${last.p99} ms; acknowledged p50 ${result.p50} ms, p99 ${result.p99} ms`);
  console.log(`memory ${start.toFixed(0)} MB at the start, ${end.toFixed(0)} MB at the end`);
  await group.stop();
});
