// The ward board left open: 24 beds at one reading a second each. The page's main thread is busy for less than a tenth of
// the time, and after the first minute its heap does not grow. Of the heap that is everything but what the engine compiles:
// it goes on turning functions that are called often into machine code for some minutes, which is told apart.
//   MINUTES  10        BUILD  the folder of the bundle, if not the release
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { DEMO_PASSWORD, send, signIn } from "../../scripts/demo.mjs";
import { demonstrationClinic } from "../browser/demonstration.mjs";

const minutes = Number(process.env.MINUTES || 10);
const second = 1_000;
/** The first minute warms up; from then on the heap is looked at so often, after a collection. */
const look = Math.min(20, (minutes * 60 - 60) / 12) * second;
/** A line of the heart rate has at most so many points so far apart. They are there from the start, as on any board that is opened
 * in a ward that has been measured for a while: what the page keeps is as much as it will ever keep, and may not grow. */
const [points, apart] = [90, 5 * second];
const allowed = { busy: 0.1, growth: 64 << 10 };

let clinic;
before(async () => {
  clinic = await demonstrationClinic();
});
after(() => clinic?.stop());

/** Walks a little from reading to reading. */
function* walk(from, step, low, high) {
  for (let value = from; ; value = Math.min(high, Math.max(low, value + (Math.random() - 0.5) * step))) yield Math.round(value * 10) / 10;
}

test(`${minutes} min of 24 beds at 1 Hz`, { timeout: (minutes + 5) * 60_000 }, async (t) => {
  const { token } = await signIn(clinic.url, "monitor.7", DEMO_PASSWORD);
  const beds = Array.from({ length: 24 }, (_, index) => ({
    patient: `demo-patient-${String(index + 1).padStart(2, "0")}`,
    // Every fourth has an alert from the start; nobody's score changes band, because one more alert is more to keep.
    heart_rate: index % 4 ? walk(60 + index, 4, 52, 89) : walk(140, 4, 132, 150),
    oxygen_saturation: walk(98, 1, 96, 100),
    respiratory_rate: walk(16, 1, 13, 19),
  }));
  let posted = 0;
  let missed = 0;
  const post = async (instant = Date.now()) => {
    const at = new Date(instant).toISOString();
    const readings = beds.map(({ patient, ...signs }) => ({
      patient,
      at,
      values: Object.fromEntries(Object.entries(signs).map(([name, values]) => [name, Math.round(values.next().value)])),
    }));
    const { status } = await send(clinic.url, "/telemetry", { method: "POST", token, body: { readings } });
    if (status === 200) posted += 1;
    else missed += 1;
  };

  const start = Date.now();
  for (let count = points; count > 0; count -= 1) await post(start - count * apart);
  assert.deepEqual([posted, missed], [points, 0]);
  [posted, missed] = [0, 0];

  const context = await clinic.profile({ viewport: { width: 1366, height: 768 } });
  const page = await context.newPage();
  await page.goto(clinic.url);
  await clinic.signIn(page, "nurse.ada");
  await page.locator(".board[data-state=live][aria-busy=false]").waitFor();
  const steps = () => page.locator(".tile .spark path").evaluateAll((paths) => paths.map((path) => path.getAttribute("d").split(/[ML]/).length - 1));
  assert.deepEqual(await steps(), Array(24).fill(points), "every line is full");
  const session = await context.newCDPSession(page);
  await session.send("Performance.enable");
  const measure = async () => {
    await session.send("HeapProfiler.collectGarbage");
    const { metrics } = await session.send("Performance.getMetrics");
    const of = (name) => metrics.find((metric) => metric.name === name).value;
    return { at: performance.now() / 1000, busy: of("TaskDuration"), heap: of("JSHeapUsedSize"), nodes: of("Nodes") };
  };
  /** Bytes of a snapshot of the heap, after a collection, of what the engine has compiled and of everything else. */
  const snapshot = async () => {
    const chunks = [];
    const take = ({ chunk }) => chunks.push(chunk);
    session.on("HeapProfiler.addHeapSnapshotChunk", take);
    await session.send("HeapProfiler.takeHeapSnapshot", { reportProgress: false });
    session.off("HeapProfiler.addHeapSnapshotChunk", take);
    const { snapshot: { meta }, nodes } = JSON.parse(chunks.join(""));
    const [type, size] = ["type", "self_size"].map((name) => meta.node_fields.indexOf(name));
    const code = meta.node_types[type].indexOf("code");
    const bytes = { code: 0, kept: 0 };
    for (let at = 0; at < nodes.length; at += meta.node_fields.length) bytes[nodes[at + type] === code ? "code" : "kept"] += nodes[at + size];
    return bytes;
  };
  const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

  const posting = setInterval(() => post().catch(() => (missed += 1)), second);
  t.after(() => clearInterval(posting));
  // Somebody is there: a board that nobody touches is signed out.
  const touching = setInterval(() => page.mouse.click(700, 90).catch(() => {}), 5 * 60 * second);
  t.after(() => clearInterval(touching));
  await pause(Math.min(60, minutes * 20) * second);
  const alerts = () => page.locator(".alert").count();
  const waiting = await alerts();
  assert.ok(waiting >= 6, `${waiting} alerts`);
  const before = await snapshot();
  const samples = [await measure()];
  const end = performance.now() + minutes * 60 * second - 60 * second;
  while (performance.now() < end) {
    await pause(look);
    samples.push(await measure());
  }
  const afterwards = await snapshot();
  const [first, last] = [samples[0], samples.at(-1)];
  const busy = (last.busy - first.busy) / (last.at - first.at);
  const growth = afterwards.kept - before.kept;
  // All of it levels off. Of medians, because a collection may leave something for the next.
  const third = Math.floor(samples.length / 3);
  const median = (list) => list.map(({ heap }) => heap).toSorted((a, b) => a - b)[list.length >> 1];
  const late = median(samples.slice(-third)) - median(samples.slice(third, -third));
  const mebibytes = (bytes) => `${(bytes / 2 ** 20).toFixed(2)} MiB`;
  t.diagnostic(`${posted} times 24 readings posted, ${missed} not taken`);
  t.diagnostic(`main thread busy ${(busy * 100).toFixed(1)} % of ${Math.round(last.at - first.at)} s`);
  t.diagnostic(`heap ${samples.map(({ heap }) => mebibytes(heap)).join(", ")}; ${first.nodes} nodes, then ${last.nodes}`);
  const kibibytes = (bytes) => `${Math.round(bytes / 1024)} KiB`;
  t.diagnostic(`in ${Math.round(last.at - first.at)} s what the page keeps grew by ${kibibytes(growth)} of ${kibibytes(before.kept)}, compiled code by ${kibibytes(afterwards.code - before.code)}; from the second third to the last all of it by ${kibibytes(late)}`);
  await page.locator(".board[data-state=live]").waitFor();
  assert.ok(posted > minutes * 60 * 0.8, "the ward was measured");
  const ages = await page.locator(".tile-age").allInnerTexts();
  assert.equal(ages.filter((text) => /just now|^\d s ago/.test(text.trim())).length, 24, `every bed is of now: ${ages.join("; ")}`);
  assert.equal(await alerts(), waiting, "no alert came in addition");
  assert.ok(busy < allowed.busy, `busy ${busy}`);
  assert.deepEqual(await steps(), Array(24).fill(points), "every line is as full as it was");
  assert.ok(growth < allowed.growth, `what the page keeps grew by ${growth} bytes`);
  assert.ok(late < allowed.growth, `the heap goes on growing, by ${late} bytes`);
});
