// What a request costs among 100 patients and among 20,000 on bare workerd: two servers side by side, asked by turns, so that
// both see the same machine. Each patient has an Encounter and five Observations, loaded as transactions of 50 patients.
//   SMALL, LARGE   how many patients (100 and 20000)
//   ROUNDS         how often each of 100 patients is asked for again, by each kind of request and on each side (10)
import { createHash } from "node:crypto";
import { administrator, signIn, PASSWORD } from "../tests/support/client.mjs";
import { startWorkerd } from "../tests/support/server.mjs";

const sizes = [Number(process.env.SMALL ?? 100), Number(process.env.LARGE ?? 20_000)];
const rounds = Number(process.env.ROUNDS ?? 10);
const sample = Math.min(100, ...sizes);
const together = 50;
const limit = 1.5;

const id = (kind, n) => {
  const hex = createHash("md5").update(`${kind}${n}`).digest("hex");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
};
/** A family name that no other begins like, of letters alone. */
const family = (n) => `Z${[...`${n}`.padStart(6, "0")].map((digit) => "aeiouylnrs"[digit]).join("")}`;
const day = (n) => `20${10 + (n % 15)}-${`${1 + (n % 12)}`.padStart(2, "0")}-${`${1 + (n % 28)}`.padStart(2, "0")}`;
const codes = ["8867-4", "8310-5", "9279-1", "59408-5", "8302-2"];

function chart(n) {
  const subject = { reference: `Patient/${id("p", n)}` };
  const put = (resource) => ({ resource, request: { method: "PUT", url: `${resource.resourceType}/${resource.id}` } });
  const observation = (code, index) => put({
    resourceType: "Observation",
    id: id("o", n * 5 + index),
    status: "final",
    category: [{ coding: [{ system: "http://terminology.hl7.org/CodeSystem/observation-category", code: "vital-signs" }] }],
    code: { coding: [{ system: "http://loinc.org", code }] },
    subject,
    encounter: { reference: `Encounter/${id("e", n)}` },
    effectiveDateTime: `${day(n + index)}T09:30:00Z`,
    valueQuantity: { value: 60 + ((n + index) % 40), unit: "/min", system: "http://unitsofmeasure.org", code: "/min" },
  });
  return [
    put({
      resourceType: "Patient",
      id: id("p", n),
      identifier: [{ system: "http://hospital.example/mrn", value: `${n}` }],
      active: true,
      name: [{ family: family(n), given: ["Ann"] }],
      gender: n % 2 ? "female" : "male",
      birthDate: `19${30 + (n % 70)}-0${1 + (n % 9)}-1${n % 10}`,
      address: [{ line: [`${n} Main Street`], city: "Harrowmere", postalCode: `${10_000 + (n % 9_000)}` }],
    }),
    put({
      resourceType: "Encounter",
      id: id("e", n),
      status: "finished",
      class: { system: "http://terminology.hl7.org/CodeSystem/v3-ActCode", code: "AMB" },
      subject,
      period: { start: `${day(n)}T09:00:00Z`, end: `${day(n)}T10:00:00Z` },
    }),
    ...codes.map(observation),
  ];
}

const clock = () => performance.now();

async function hospital(size) {
  const server = await startWorkerd();
  const admin = await administrator(server, server.directUrl);
  const start = clock();
  for (let from = 0; from < size; from += together) {
    const entry = Array.from({ length: Math.min(together, size - from) }, (_, index) => chart(from + index)).flat();
    const reply = await admin.post("/fhir", { resourceType: "Bundle", type: "transaction", entry });
    if (reply.status !== 200) throw new Error(`loading: ${reply.status} ${reply.text.slice(0, 500)}`);
  }
  const seconds = (clock() - start) / 1000;
  console.log(`${size} patients, ${size * 7} resources: loaded in ${seconds.toFixed(1)} s (${Math.round((size * 7) / seconds)} resources/s)`);
  const made = await admin.post("/users", { username: "nora", name: "Nora", role: "nurse", password: PASSWORD });
  if (made.status !== 201) throw new Error(made.text);
  return { server, size };
}

/** What is asked: [what, path for patient n, how many entries it gives]. */
const kinds = [
  ["read a patient", (n) => `/fhir/Patient/${id("p", n)}`],
  ["read an observation", (n) => `/fhir/Observation/${id("o", n * 5)}`],
  ["patient by identifier", (n) => `/fhir/Patient?identifier=http://hospital.example/mrn%7C${n}`, 1],
  ["patient by name", (n) => `/fhir/Patient?name=${family(n).toLowerCase()}`, 1],
  ["observations of a patient by date", (n) => `/fhir/Observation?patient=${id("p", n)}&date=ge2000&_sort=-date`, 5],
  ["the last of a code of a patient", (n) => `/fhir/Observation?patient=${id("p", n)}&code=http://loinc.org%7C8867-4&_sort=-date&_count=1`, 1],
  ["first page of all patients by name", () => "/fhir/Patient?_sort=family&_count=20", 20],
];

const sides = [];
const over = [];
try {
  for (const size of sizes) sides.push(await hospital(size));
  // Now, since loading takes longer than a session may be idle.
  for (const side of sides) side.nurse = await signIn(side.server.directUrl, "nora");
  /** As many patients on both sides, spread over all: what is kept of them in caches is alike. */
  const asked = (size, index) => Math.floor(((index % sample) * size) / sample);
  // [first time, again] of [kind][side]: a view of a patient comes from the records at first, and then from the cache.
  const times = [0, 1].map(() => kinds.map(() => sides.map(() => [])));
  for (let index = 0; index < sample * (1 + rounds); index += 1) {
    for (const [k, [what, path, entries]] of kinds.entries()) {
      for (const s of index % 2 ? [0, 1] : [1, 0]) {
        const { nurse, size } = sides[s];
        const start = clock();
        const reply = await nurse.get(path(asked(size, index * 37)));
        times[index < sample ? 0 : 1][k][s].push(clock() - start);
        if (reply.status !== 200) throw new Error(`${what}: ${reply.status} ${reply.text.slice(0, 300)}`);
        if (entries && reply.body.entry?.length !== entries) throw new Error(`${what}: ${reply.body.entry?.length} entries`);
      }
    }
  }
  const at = (list, part) => list.toSorted((a, b) => a - b)[Math.floor(list.length * part)];
  for (const [turn, when] of ["for the first time", "again"].entries()) {
    const head = [`${when}: p50 in ms (p99)`, ...sizes.map((size) => `${size} patients`), "ratio"];
    const rows = kinds.map(([what], k) => {
      const [small, large] = times[turn][k].map((list) => at(list, 0.5));
      const shown = times[turn][k].map((list) => `${at(list, 0.5).toFixed(2)} (${at(list, 0.99).toFixed(1)})`);
      if (large / small > limit) over.push(`${what}, ${when}: ${(large / small).toFixed(2)}`);
      return [what, ...shown, (large / small).toFixed(2)];
    });
    const widths = head.map((_, column) => Math.max(...[head, ...rows].map((row) => row[column].length)));
    for (const row of [head, ...rows]) console.log(row.map((cell, column) => cell.padEnd(widths[column])).join("  ").trimEnd());
  }
} finally {
  for (const { server } of sides) await server.stop();
}
if (over.length) {
  console.log(`over ${limit}: ${over.join("; ")}`);
  process.exit(1);
}
