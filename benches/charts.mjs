// A session check and a cached read on bare workerd, beside what a team writes by hand (Hono and @upstash/redis, two awaits or
// auto-pipelined) and a floor that makes one raw request; all on the same real Redis behind the same front, by turns in one
// run. The load generator, Redis and its front (Node) share the machine with the servers. Medians of the rounds; ratios are
// medians of the ratios within a round. CPU is that of workerd alone.
//   ROUNDS (5), SECONDS a turn (2), CONNECTIONS (16)
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { at, esbuild, workerd } from "../scripts/lib/project.mjs";
import { startRedis } from "../scripts/lib/redis.mjs";
import { run } from "../scripts/lib/run.mjs";
import { supervised } from "../scripts/lib/supervised.mjs";
import { temporary } from "../scripts/lib/temporary.mjs";
import { administrator, heartRate } from "../tests/support/client.mjs";
import { startWorkerd } from "../tests/support/server.mjs";
import { control, upstash } from "../tests/support/upstash.mjs";
import { connection, load, quantile, request, table } from "./lib/load.mjs";

const rounds = Number(process.env.ROUNDS ?? 5);
const seconds = Number(process.env.SECONDS ?? 2);
const connections = Number(process.env.CONNECTIONS ?? 16);
const build = process.env.BUNDLE ?? at("build/release");
const flags = ["--max-semi-space-size=1"];

const started = [];
const start = (what) => {
  started.push(what);
  return what;
};
const portOf = (url) => Number(new URL(url).port);

/** The hand-written Worker on bare workerd: { port, pid }. */
async function peer(vars) {
  const folder = temporary("bench");
  start({ stop: () => rmSync(folder, { recursive: true, force: true }) });
  const args = [at("benches/charts/peer.js"), "--bundle", "--minify", "--format=esm", "--conditions=workerd", `--outfile=${folder}/peer.js`];
  const { code, output } = await run(esbuild, args, { capture: true });
  if (code) throw new Error(output);
  const bindings = Object.keys(vars).map((name) => `(name = "${name}", fromEnvironment = "${name}")`);
  writeFileSync(
    `${folder}/config.capnp`,
    `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "peer", worker = .peer),
    (name = "internet", network = (allow = ["public", "private"])),
  ],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "peer")],
  v8Flags = [${flags.map((flag) => `"${flag}"`)}],
);
const peer :Workerd.Worker = (
  compatibilityDate = "2026-10-01",
  modules = [(name = "peer.js", esModule = embed "peer.js")],
  bindings = [${bindings}],
);
`,
  );
  const child = start(supervised(workerd, ["serve", "--control-fd=3", `${folder}/config.capnp`, "config"], { env: vars }));
  const [socket] = await child.control(1);
  return { port: socket.port, pid: await child.pid() };
}

/** A Patient of about 2 KB. */
const person = {
  resourceType: "Patient",
  id: "p",
  name: [{ family: "Quillfeather", given: ["Ada", "Maria"] }],
  birthDate: "1957-03-02",
  address: Array.from({ length: 5 }, (_, n) => ({ line: [`${n} Nether Harrowmere Lane`], city: "Harrowmere", postalCode: `HM${n} 4XQ`, country: "GB" })),
  telecom: Array.from({ length: 8 }, (_, n) => ({ system: "phone", value: `+44 20 7946 0${n}00`, use: "home", rank: n + 1 })),
  identifier: Array.from({ length: 5 }, (_, n) => ({ system: `https://clinic.example/registry/${n}`, value: `${n}-4711-0815-${n}` })),
};

/** A chart of about 600 KB on one page. */
const chart = {
  resourceType: "Bundle",
  type: "transaction",
  entry: Array.from({ length: 199 }, (_, n) => ({
    resource: { ...heartRate("p", 60 + (n % 60)), note: [{ text: `${n} ${"was seen and is well; to be looked at again. ".repeat(55)}` }] },
    request: { method: "POST", url: "Observation" },
  })),
};

const PATIENT = "/fhir/Patient/p";
const CHART = "/fhir/Patient/p/$everything?_count=200";

/** Bedside with `vars`, the patient and the chart in it: { port, pid, views, admin }. */
async function bedside(vars) {
  const server = start(await startWorkerd({ vars, build, flags }));
  const admin = await administrator(server, server.directUrl);
  const made = [await admin.put(PATIENT, person), await admin.post("/fhir", chart)];
  if (made.some(({ status }) => status > 201)) throw new Error(made.map(({ text }) => text.slice(0, 300)).join("\n"));
  const views = [(await admin.get(PATIENT)).text, (await admin.get(CHART)).text];
  const ask = (path) => request("GET", path, { authorization: `Bearer ${admin.token}`, accept: "application/fhir+json" });
  return { port: portOf(server.directUrl), pid: server.pid, views, requests: [[ask(PATIENT)], [ask(CHART)]], admin, ask };
}

const cpu = (pid) => {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1].split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
};
const memory = (pid) => Number(readFileSync(`/proc/${pid}/status`, "utf8").match(/VmRSS:\s+(\d+)/)[1]) / 1024;
const median = (list) => quantile(list, 0.5);

try {
  const redis = start(await startRedis({ front: upstash }));
  const { counts, faults } = control(redis.url);
  const all = { ...redis.vars, HEADS_ON: "redis" };
  const own = await bedside({ ...all });
  const leased = await bedside({ ...all, READ_LEASE_MS: "300" });
  const objects = await bedside({});
  const objectsLeased = await bedside({ READ_LEASE_MS: "300" });
  const hand = await peer({ REDIS_URL: redis.url, REDIS_TOKEN: redis.token });
  const token = own.admin.token;
  await redis.client.set(`session:${token}`, JSON.stringify({ user: "u", role: "nurse", wards: ["w"], expires: Date.now() + 1e9 }));
  await redis.client.set("view:patient", own.views[0]);
  await redis.client.set("view:chart", own.views[1]);
  console.log(`the Patient has ${own.views[0].length} bytes, the chart ${own.views[1].length}`);
  const by = (path) => request("GET", path, { authorization: `Bearer ${token}` });
  const sides = [
    ["Hono, two awaits", hand, [[by("/two/patient")], [by("/two/chart")]]],
    ["Hono, auto-pipelined", hand, [[by("/auto/patient")], [by("/auto/chart")]]],
    ["floor: one raw /pipeline", hand, [[by("/floor/patient")], [by("/floor/chart")]]],
    ["Bedside, all on Redis", own, own.requests],
    ["Bedside, all on Redis, read leases", leased, leased.requests],
    ["Bedside, objects", objects, objects.requests],
    ["Bedside, objects, read leases", objectsLeased, objectsLeased.requests],
  ];
  for (const [view, name] of ["the Patient of 2 KB", "the chart of 600 KB"].entries()) {
    const results = sides.map(() => []);
    // Until V8 has compiled what is used often, WebAssembly and JavaScript alike.
    for (const [, { port }, requests] of sides) await load({ port, requests: requests[view], connections, seconds: 3 });
    for (let round = 0; round < rounds; round += 1) {
      for (let turn = 0; turn < sides.length; turn += 1) {
        const side = (turn + round) % sides.length;
        const [, { port, pid }, requests] = sides[side];
        await faults([]);
        const before = cpu(pid);
        const result = await load({ port, requests: requests[view], connections, seconds });
        const used = cpu(pid) - before;
        const total = result.replies * (1 + 0.3 / seconds);
        results[side].push({ ...result, cpu: (used / total) * 1000, calls: (await counts()).requests / total, memory: memory(pid) });
      }
    }
    const of = (side, what) => median(results[side].map((result) => result[what]));
    const ratio = (side, to) => median(results[side].map((result, round) => result.perSecond / results[to][round].perSecond)).toFixed(2);
    console.log(`\n${name}`);
    table(
      ["", "requests/s", "p50 ms", "p99 ms", "CPU s per 1,000", "MB", "Redis calls", "of two awaits", "of pipelined", "of the floor"],
      sides.map(([side], n) => [
        side,
        Math.round(of(n, "perSecond")),
        of(n, "p50").toFixed(2),
        of(n, "p99").toFixed(2),
        of(n, "cpu").toFixed(3),
        Math.round(of(n, "memory")),
        of(n, "calls").toFixed(2),
        ratio(n, 0),
        ratio(n, 1),
        ratio(n, 2),
      ]),
    );
  }

  // A page load: twenty views of one patient at once, each over a connection of its own.
  console.log("\na page load of twenty views of one patient, while nothing else happens");
  const page = [];
  for (const [name, { port, admin, ask }] of [["all on Redis", own], ["all on Redis, read leases", leased], ["objects", objects], ["objects, read leases", objectsLeased]]) {
    const paths = Array.from({ length: 20 }, (_, n) => (n === 0 ? PATIENT : `/fhir/Observation?patient=p&_count=${n}`));
    for (const path of paths) await admin.get(path);
    const sockets = paths.map(() => connection(port));
    const times = [];
    await faults([]);
    for (let n = 0; n < 30; n += 1) {
      const from = performance.now();
      await Promise.all(paths.map((path, view) => sockets[view].ask(ask(path))));
      times.push(performance.now() - from);
    }
    for (const socket of sockets) socket.close();
    page.push([name, median(times).toFixed(1), quantile(times, 0.99).toFixed(1), ((await counts()).requests / 30).toFixed(1)]);
  }
  table(["", "p50 ms", "p99 ms", "Redis calls of 20 views"], page);

  console.log("\na write to a patient whom somebody reads all the time");
  const writes = [];
  for (const [name, { port, admin, ask }] of [["all on Redis", own], ["all on Redis, read leases", leased], ["objects", objects], ["objects, read leases", objectsLeased]]) {
    const times = [];
    let reading = true;
    const reader = (async () => {
      const socket = connection(port);
      while (reading) await socket.ask(ask(PATIENT));
      socket.close();
    })();
    for (let n = 0; n < 30; n += 1) {
      const from = performance.now();
      const { status } = await admin.put(PATIENT, { ...person, birthDate: `1957-03-${10 + (n % 20)}` });
      if (status !== 200) throw new Error(`a write was ${status}`);
      times.push(performance.now() - from);
    }
    reading = false;
    await reader;
    writes.push([name, median(times).toFixed(1), quantile(times, 0.99).toFixed(1)]);
  }
  table(["", "p50 ms", "p99 ms"], writes);
} finally {
  for (const what of started.reverse()) await what.stop();
}
