// A gateway as a hospital would run one: it posts what the monitors of the demonstration ward say, once a second and all beds
// in one request, until each reading is acknowledged. It survives restarts of the server: what was not acknowledged is sent
// again, under the same id, in order.
//   make monitor BEDS=24     URL  http://127.0.0.1:8787      SECONDS  ends after so many
//   USERNAME, PASSWORD       the monitors' account, assigned to demo-patient-01 and so on
import { setTimeout as pause } from "node:timers/promises";
import { DEMO_PASSWORD } from "./demo/accounts.mjs";
import { Unexpected, send, signIn } from "./demo/client.mjs";
import { demonstration } from "./demo/ward.mjs";
import { fail, isMain } from "./lib/project.mjs";
import { patient } from "./monitor/signs.mjs";

/** Readings in one request, at most. */
const most = 100;
/** Readings that wait for a server that does not answer, at most: older ones are given up, and counted. */
const longest = 24 * 600;

const percentile = (sorted, part) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0;

/**
 * Runs until `seconds` have passed (for ever without) or `signal` aborts, then until what is left is acknowledged, at most
 * `patience` ms. Gives { posted, acknowledged, refused, dropped, p50, p99 }, times in ms from a reading to its
 * acknowledgement. `line` is called each second with a line to print; `charted` has the values to begin with, by patient.
 */
export async function gateway({
  url,
  username = "monitor.7",
  password = DEMO_PASSWORD,
  beds = 24,
  seconds = Infinity,
  seed,
  charted = {},
  signal,
  patience = 30_000,
  line = () => {},
}) {
  const label = (number) => String(number).padStart(Math.max(2, String(beds).length), "0");
  const monitors = Array.from({ length: beds }, (_, index) => ({
    id: `demo-patient-${label(index + 1)}`,
    read: patient(index + 1, { seed, around: charted[`demo-patient-${label(index + 1)}`] }),
  }));
  const waiting = [];
  const total = { posted: 0, acknowledged: 0, refused: 0, dropped: 0 };
  const taken = [];
  let recent = [];
  let trouble = "";
  let token;
  let done = false;

  /** Sends what has waited longest; gives whether the server answered. */
  async function flush() {
    token ??= (await signIn(url, username, password)).token;
    const some = waiting.slice(0, most);
    const readings = some.map(({ patient: id, at, values }) => ({ patient: id, at: new Date(at).toISOString(), values }));
    const answer = await send(url, "/telemetry", { method: "POST", token, body: { readings } });
    if (answer.status === 401) token = undefined;
    if (answer.status !== 200) throw new Unexpected("posting", answer);
    const again = [];
    answer.body.results.forEach((result, index) => {
      if (result.cursor !== undefined) {
        total.acknowledged += 1;
        const ms = Date.now() - some[index].at;
        recent.push(ms);
        taken.push(ms);
      } else if (result.error.retry === "never") total.refused += 1;
      else again.push(some[index]);
    });
    waiting.splice(0, some.length, ...again);
    trouble = again.length ? `${again.length} not acknowledged` : "";
    if (again.length) throw new Error(trouble);
  }

  const sender = (async () => {
    for (let tries = 0; ; ) {
      if (!waiting.length) {
        if (done) return;
        await pause(5);
        continue;
      }
      try {
        await flush();
        tries = 0;
      } catch (error) {
        trouble = error.message;
        if (error instanceof Unexpected && error.answer.status < 500 && error.answer.status !== 401) throw error;
        tries += 1;
        if (done && performance.now() > done) return;
        await pause(Math.min(100 * 2 ** tries, 2_000) * (0.5 + Math.random() / 2));
      }
    }
  })();

  const began = Date.now();
  const clock = (async () => {
    for (let second = 0; second < seconds && !signal?.aborted; second += 1) {
      const due = began + second * 1000;
      if (due > Date.now()) await pause(due - Date.now(), undefined, { signal }).catch(() => {});
      if (signal?.aborted) break;
      if (second) {
        const sorted = recent.sort((a, b) => a - b);
        const words = [`posted ${total.posted}`, `acknowledged ${total.acknowledged}`, `waiting ${waiting.length}`];
        line(`${words.join("  ")}  p50 ${percentile(sorted, 0.5)} ms${trouble && `  (${trouble})`}`);
        recent = [];
      }
      for (const { id, read } of monitors) waiting.push({ patient: id, at: due, values: read(due) });
      total.posted += monitors.length;
      if (waiting.length > longest) total.dropped += waiting.splice(0, waiting.length - longest).length;
    }
    done = performance.now() + patience;
  })();
  await Promise.race([sender, clock.then(() => sender)]);
  const sorted = taken.sort((a, b) => a - b);
  return { ...total, p50: percentile(sorted, 0.5), p99: percentile(sorted, 0.99) };
}

/** What was charted last of each patient of the demonstration ward, so that who is ill there is ill here. */
export function lastCharted() {
  const names = { "8867-4": "heart_rate", "9279-1": "respiratory_rate", "2708-6": "oxygen_saturation", "8310-5": "temperature" };
  Object.assign(names, { "8480-6": "systolic_pressure", "8462-4": "diastolic_pressure" });
  const charted = {};
  const byTime = (a, b) => a.effectiveDateTime.localeCompare(b.effectiveDateTime);
  const observations = demonstration().flat().filter(({ resourceType }) => resourceType === "Observation");
  for (const { subject, component, ...own } of observations.sort(byTime)) {
    const values = (charted[subject.reference.split("/")[1]] ??= {});
    for (const { code, valueQuantity } of [own, ...(component ?? [])]) {
      const name = code.coding.map((coding) => names[coding.code]).find(Boolean);
      if (name && valueQuantity) values[name] = valueQuantity.value;
    }
  }
  return charted;
}

async function main() {
  const { URL: url = "http://127.0.0.1:8787", BEDS = "24", SECONDS, USERNAME, PASSWORD } = process.env;
  const beds = Number(BEDS);
  if (!(beds >= 1 && beds <= 1000)) fail("BEDS is a number from 1 to 1000");
  const stop = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"]) process.once(name, () => stop.abort());
  const result = await gateway({
    url: url.replace(/\/+$/, ""),
    // A desktop sets USERNAME to whoever is at it: without a password it is nobody here.
    ...(PASSWORD && { username: USERNAME || undefined, password: PASSWORD }),
    beds,
    charted: lastCharted(),
    seconds: SECONDS ? Number(SECONDS) : undefined,
    signal: stop.signal,
    line: (text) => console.log(`${new Date().toISOString().slice(11, 19)}  ${text}`),
  }).catch((error) => fail(`the gateway ended: ${error.message}`));
  const { posted, acknowledged, refused, dropped, p50, p99 } = result;
  console.log(`posted ${posted}, acknowledged ${acknowledged}, refused ${refused}, given up ${dropped}; p50 ${p50} ms, p99 ${p99} ms`);
  if (acknowledged !== posted) process.exit(1);
}

if (isMain(import.meta.url)) await main();
