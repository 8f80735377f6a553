// What is read of a patient equals what was sent: $everything, to its last page, against the compartment that this script
// computes from the file. Values must be equal apart from ids, references and meta; numbers as they were written.
import assert from "node:assert/strict";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";
import { at } from "../../scripts/lib/project.mjs";
import { administrator } from "../support/client.mjs";
import { startWorkerd } from "../support/server.mjs";

const folder = at("../shared/data/synthea");
const files = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith(".json")) : [];
const skip = files.length === 0 && "no bundles beside the project";

/** JSON with each number as the text it was written as. */
const parse = (text) => JSON.parse(text, (_, value, { source }) => (typeof value === "number" ? { number: source } : value));

/** Calls `seen` with every Reference.reference in `json`. */
function references(json, seen) {
  if (Array.isArray(json)) for (const item of json) references(item, seen);
  else if (json && typeof json === "object") {
    for (const [name, value] of Object.entries(json)) {
      if (name === "reference" && typeof value === "string") seen(value);
      else references(value, seen);
    }
  }
}

/** The resource without what a server may choose: its id, its meta, and where its references lead. */
function bare({ id: _, meta: __, ...resource }) {
  const strip = (json) => {
    if (Array.isArray(json)) return json.map(strip);
    if (!json || typeof json !== "object") return json;
    const kept = Object.entries(json).filter(([name, value]) => !(name === "reference" && !String(value).startsWith("#")));
    return Object.fromEntries(kept.map(([name, value]) => [name, strip(value)]));
  };
  return JSON.stringify(strip(resource));
}

/** Of a transaction Bundle of one patient: what refers to that patient, the patient, and the shared that those refer to. */
function compartment({ entry }) {
  const byUrl = new Map(entry.map(({ fullUrl, resource }) => [fullUrl, resource]));
  const patient = entry.find(({ resource }) => resource.resourceType === "Patient");
  const own = entry.filter(({ resource }) => {
    let found = resource === patient.resource;
    references(resource, (to) => (found ||= to === patient.fullUrl));
    return found;
  });
  const shared = new Set();
  for (const { resource } of own) {
    references(resource, (to) => {
      const target = byUrl.get(to);
      if (["Practitioner", "Organization"].includes(target?.resourceType)) shared.add(target);
    });
  }
  return [...own.map(({ resource }) => resource), ...shared];
}

test("$everything gives back each patient's chart as it was sent", { skip }, async (t) => {
  const server = await startWorkerd();
  t.after(() => server.stop());
  const admin = await administrator(server);
  let resources = 0;
  let pages = 0;
  for (const name of files) {
    const text = readFileSync(`${folder}/${name}`, "utf8");
    const reply = await admin.post("/fhir", text, { "idempotency-key": name });
    assert.equal(reply.status, 200, reply.text.slice(0, 500));
    const located = reply.body.entry.find(({ response }) => response.location.startsWith("Patient/"));
    const [, id] = located.response.location.split("/");
    const found = [];
    let next = `${server.url}/fhir/Patient/${id}/$everything?_count=37`;
    while (next) {
      const page = await admin.get(next.slice(server.url.length));
      assert.equal(page.status, 200, page.text.slice(0, 500));
      found.push(...(parse(page.text).entry ?? []).map(({ resource }) => resource));
      next = page.body.link?.find(({ relation }) => relation === "next")?.url;
      pages += 1;
    }
    assert.equal(new Set(found.map(({ resourceType, id }) => `${resourceType}/${id}`)).size, found.length, "nothing twice");
    assert.deepEqual(found.map(bare).sort(), compartment(parse(text)).map(bare).sort(), name);
    resources += found.length;
  }
  t.diagnostic(`${files.length} patients, ${resources} resources on ${pages} pages, equal`);
});
