// `make import` against the real thing: once, again, interrupted by SIGKILL of both sides, with broken files between good
// ones, and with every kind of answer after which a request is sent again.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer, request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { at, node } from "../../scripts/lib/project.mjs";
import { run } from "../../scripts/lib/run.mjs";
import { PASSWORD, administrator } from "../support/client.mjs";
import { startWorkerd } from "../support/server.mjs";

const FILES = 12;
const RESOURCES = 20;
const synthea = at("../shared/data/synthea");

const entry = (id, resource) => ({
  fullUrl: `urn:uuid:${id}`,
  resource,
  request: { method: "POST", url: resource.resourceType },
});
const uuid = (file, index) => `00000000-0000-4000-8000-${`${file * 100 + index}`.padStart(12, "0")}`;

/** A patient's stay with `RESOURCES` resources; the practitioner is the same in every file. */
function stay(file) {
  const [doctor, who, encounter] = [0, 1, 2].map((index) => uuid(file, index));
  const subject = { reference: `urn:uuid:${who}` };
  const identifier = [{ system: "http://hospital.example/staff", value: "77" }];
  const act = "http://terminology.hl7.org/CodeSystem/v3-ActCode";
  const entries = [
    entry(doctor, { resourceType: "Practitioner", identifier, name: [{ family: "Grey" }] }),
    entry(who, { resourceType: "Patient", name: [{ family: `Doe${file}` }] }),
    entry(encounter, {
      resourceType: "Encounter",
      status: "finished",
      class: { system: act, code: "AMB" },
      subject,
      participant: [{ individual: { reference: `urn:uuid:${doctor}` } }],
    }),
  ];
  for (let index = entries.length; index < RESOURCES; index += 1) {
    entries.push(
      entry(uuid(file, index), {
        resourceType: "Observation",
        status: "final",
        code: { coding: [{ system: "http://loinc.org", code: "8867-4" }] },
        subject,
        encounter: { reference: `urn:uuid:${encounter}` },
        valueQuantity: { value: 60 + index, unit: "/min", system: "http://unitsofmeasure.org", code: "/min" },
      }),
    );
  }
  return { resourceType: "Bundle", type: "transaction", entry: entries };
}

/** A folder, with a space in its name, of such files; gone with the test. */
function folderOf(t, bundles) {
  const folder = mkdtempSync(join(tmpdir(), "bedside import-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  for (const [name, content] of Object.entries(bundles)) {
    writeFileSync(join(folder, name), typeof content === "string" ? content : JSON.stringify(content));
  }
  return folder;
}

const name = (file) => `stay-${`${file}`.padStart(2, "0")}.json`;
const stays = () => Object.fromEntries(Array.from({ length: FILES }, (_, file) => [name(file), stay(file)]));
const env = { USERNAME: "admin", PASSWORD };
const make = (url, files) =>
  run("make", ["import", `FILES=${files}`, `URL=${url}`], { capture: true, env, timeout: 120_000 });
/** Without make, which has an exit code of its own. */
const script = (url, files, more) =>
  run(node, [at("scripts/import.mjs"), ...files], { capture: true, env: { ...env, URL: url, ...more } });

/** Every resource of the types of a stay, `Type/id` with its version. */
async function everything(admin, types = ["Practitioner", "Patient", "Encounter", "Observation"]) {
  const found = [];
  for (const type of types) {
    let path = `/fhir/${type}?_count=100`;
    while (path) {
      const page = await admin.get(path);
      assert.equal(page.status, 200, page.text.slice(0, 500));
      found.push(...(page.body.entry ?? []).map(({ resource }) => `${type}/${resource.id} ${resource.meta.versionId}`));
      const next = page.body.link?.find(({ relation }) => relation === "next")?.url;
      path = next && new URL(next).pathname + new URL(next).search;
    }
  }
  return found.sort();
}
const counts = (found) => {
  const sums = {};
  for (const one of found) sums[one.split("/")[0]] = (sums[one.split("/")[0]] ?? 0) + 1;
  return sums;
};
const once = { Practitioner: 1, Patient: FILES, Encounter: FILES, Observation: FILES * (RESOURCES - 3) };

/**
 * Stands between the command and a server. `answer(n, reply, forward)` decides about the n-th Bundle, from 1 on:
 * `forward()` resolves with the server's { status, headers, body }.
 */
async function between(t, server, answer) {
  let bundles = 0;
  const ask = (incoming, body) =>
    new Promise((resolve, reject) => {
      const { method, url, headers } = incoming;
      const to = new URL(url, server.url);
      const out = request(to, { method, headers: { ...headers, host: to.host } }, (reply) => {
        const chunks = [];
        reply.on("data", (chunk) => chunks.push(chunk)).on("error", reject);
        reply.on("end", () => resolve({ status: reply.statusCode, headers: reply.headers, body: Buffer.concat(chunks) }));
      });
      out.on("error", reject).end(body);
    });
  const proxy = createServer((incoming, reply) => {
    const chunks = [];
    incoming.on("data", (chunk) => chunks.push(chunk));
    incoming.on("end", async () => {
      const forward = () => ask(incoming, Buffer.concat(chunks));
      const isBundle = incoming.method === "POST" && incoming.url === "/fhir";
      try {
        const made = isBundle ? await answer((bundles += 1), reply, forward) : await forward();
        if (made) reply.writeHead(made.status, made.headers).end(made.body);
      } catch {
        reply.destroy();
      }
    });
  });
  await new Promise((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    proxy.closeAllConnections();
    proxy.close();
  });
  return `http://127.0.0.1:${proxy.address().port}`;
}

const outcome = (status, headers = {}) => ({
  status,
  headers: { "content-type": "application/fhir+json", ...headers },
  body: JSON.stringify({
    resourceType: "OperationOutcome",
    issue: [{ severity: "error", code: "transient", diagnostics: "made up" }],
  }),
});

test("files import once, and again changes nothing", async (t) => {
  const server = await startWorkerd();
  t.after(() => server.stop());
  const admin = await administrator(server);
  const folder = folderOf(t, stays());

  const first = await make(server.url, `'${folder}'/*.json`);
  assert.equal(first.code, 0, first.output);
  assert.match(first.output, /12 files in .*: 12 new, 0 there already, 0 failed; 240 resources, 229 of them new/);
  for (let file = 0; file < FILES; file += 1) assert.ok(first.output.includes(`${name(file)}: 20 resources, `), first.output);
  const found = await everything(admin);
  assert.deepEqual(counts(found), once);

  // The same as a folder, and with one of its files named besides.
  const second = await make(server.url, `'${folder}' "${folder}/${name(3)}"`);
  assert.equal(second.code, 0, second.output);
  assert.match(second.output, /12 files in .*: 0 new, 12 there already, 0 failed; 240 resources, 0 of them new/);
  assert.deepEqual(await everything(admin), found);
});

test("SIGKILL of the import and of the server: the same command ends what was begun", async (t) => {
  const server = await startWorkerd();
  t.after(() => server.stop());
  const admin = await administrator(server);
  const folder = folderOf(t, stays());

  // The fourth file takes effect and nobody hears of it; then both sides are killed.
  let held;
  const reached = new Promise((resolve) => (held = resolve));
  const url = await between(t, server, async (n, reply, forward) => {
    const made = await forward();
    if (n < 4) return made;
    return held();
  });
  const child = spawn(node, [at("scripts/import.mjs"), folder], { env: { ...process.env, ...env, URL: url }, stdio: "ignore" });
  t.after(() => child.kill("SIGKILL"));
  const closed = new Promise((resolve) => child.once("close", (_, signal) => resolve(signal)));
  assert.equal(await Promise.race([reached.then(() => "held"), closed]), "held");
  child.kill("SIGKILL");
  await server.kill("SIGKILL");
  assert.equal(await closed, "SIGKILL");
  await server.restart();
  assert.deepEqual(counts(await everything(admin)), { ...once, Patient: 4, Encounter: 4, Observation: 4 * (RESOURCES - 3) });

  const again = await make(server.url, `'${folder}'`);
  assert.equal(again.code, 0, again.output);
  assert.match(again.output, /: 8 new, 4 there already, 0 failed; 240 resources, 152 of them new/);
  const found = await everything(admin);
  assert.deepEqual(counts(found), once);
  assert.ok(found.every((one) => one.endsWith(" 1")), "something was written twice");
});

test("broken files are named and the others load", async (t) => {
  const server = await startWorkerd();
  t.after(() => server.stop());
  const admin = await administrator(server);
  const wrong = stay(1);
  wrong.entry.at(-1).resource.status = 7;
  const dangling = stay(2);
  dangling.entry[2].resource.subject.reference = "urn:uuid:00000000-0000-4000-8000-999999999999";
  const folder = folderOf(t, {
    "a-good.json": stay(0),
    "b-wrong.json": wrong,
    "c-dangling.json": dangling,
    "d-torn.json": JSON.stringify(stay(3)).slice(0, 1000),
    "e-collection.json": { ...stay(4), type: "collection" },
    "f-large.json": JSON.stringify(stay(5)) + " ".repeat(1 << 20),
    "g-patient.json": { resourceType: "Patient" },
    "h-batch.json": { resourceType: "Bundle", type: "batch", entry: stay(6).entry.slice(1) },
    "i-put.json": {
      resourceType: "Bundle",
      type: "batch",
      entry: [
        { resource: { resourceType: "Patient", id: "put-1" }, request: { method: "PUT", url: "Patient/put-1" } },
        { request: { method: "GET", url: "Patient/nobody" } },
      ],
    },
    "z-good.json": stay(7),
  });
  mkdirSync(join(folder, "empty"));
  const { code, output } = await make(server.url, `'${folder}/*.json' '${folder}/empty' '${folder}/missing.json'`);
  assert.notEqual(code, 0);
  const failed = output.split("Failed:")[1] ?? "";
  const said = (file) => failed.split("\n").find((line) => line.includes(file)) ?? "";
  for (const [file, what] of [
    ["b-wrong.json", /400 .*Bundle\.entry\[19\].*status/],
    ["c-dangling.json", /422 .*Bundle\.entry\[2\]/],
    ["d-torn.json", /400 .*line 1/],
    ["e-collection.json", /of type collection does not say what to do/],
    ["f-large.json", /413 .* at most 1 MiB/],
    ["g-patient.json", /no Bundle/],
    ["h-batch.json", /Bundle\.entry\[1\]: 422 .*cannot refer to another/],
    ["i-put.json", /Bundle\.entry\[1\]: 404/],
    ["empty", /holds no \.json file/],
    ["missing.json", /no such file/],
  ]) {
    assert.match(said(file), what, output);
  }
  assert.ok(!failed.includes("good.json"), output);
  assert.match(output, /12 files in .*: 2 new, 0 there already, 10 failed/);
  assert.deepEqual(counts(await everything(admin)), { Practitioner: 1, Patient: 4, Encounter: 2, Observation: 34 });

  const direct = await script(server.url, [join(folder, "b-wrong.json")]);
  assert.equal(direct.code, 1, direct.output);
  const stranger = await script(server.url, [folder], { PASSWORD: "another" });
  assert.equal(stranger.code, 1);
  assert.match(stranger.output, /signing in as admin: 401 .*USERNAME and PASSWORD/);
});

test("what may be sent again is sent again, and nothing else", async (t) => {
  const server = await startWorkerd();
  t.after(() => server.stop());
  const admin = await administrator(server);
  const folder = folderOf(t, Object.fromEntries(Object.entries(stays()).slice(0, 4)));
  const answers = {
    1: () => outcome(503, { "retry-after": "0" }),
    2: async (_, forward) => (await forward()) && outcome(504), // It took effect.
    3: (reply) => reply.destroy(),
    // 4: the first file, there already
    5: () => outcome(401),
    // 6: the second file, after a new session
    7: () => outcome(503), // No Retry-After: not for us to repeat.
    8: () => outcome(500),
  };
  const sent = [];
  const url = await between(t, server, async (n, reply, forward) => {
    sent.push(n);
    return answers[n] ? answers[n](reply, forward) : forward();
  });
  const { code, output } = await make(url, `'${folder}'`);
  assert.notEqual(code, 0);
  assert.equal(sent.length, 8, output);
  assert.match(output, /: 1 new, 1 there already, 2 failed/);
  assert.match(output, /stay-02\.json: 503 made up\n.*stay-03\.json: 500 made up/);
  assert.equal(counts(await everything(admin)).Patient, 2);
});

test("the sixteen of Synthea", { skip: !existsSync(synthea) && "no bundles beside the project" }, async (t) => {
  const files = readdirSync(synthea).filter((file) => file.endsWith(".json"));
  const server = await startWorkerd();
  t.after(() => server.stop());
  const admin = await administrator(server);
  const first = await make(server.url, "../shared/data/synthea/*.json");
  assert.equal(first.code, 0, first.output);
  assert.ok(first.output.includes(`: ${files.length} new, 0 there already, 0 failed; `), first.output);
  const shared = await everything(admin, ["Patient", "Practitioner", "Organization", "Encounter"]);
  assert.equal(counts(shared).Patient, files.length);
  const second = await make(server.url, "../shared/data/synthea");
  assert.equal(second.code, 0, second.output);
  assert.ok(second.output.includes(`: 0 new, ${files.length} there already, 0 failed; `), second.output);
  assert.deepEqual(await everything(admin, ["Patient", "Practitioner", "Organization", "Encounter"]), shared);
  t.diagnostic(first.output.trim().split("\n").at(-1));
});
