// A clinic for tests in a browser: a server with a ward, its people and their passwords, and Chromium to look at it.
import assert from "node:assert/strict";
import { resolve } from "node:path";
import { after, afterEach, before, beforeEach } from "node:test";
import { chromium } from "playwright-core";
import { need } from "../../scripts/need.mjs";
import { startWorkerd } from "../support/server.mjs";

const args = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
];
/** What is waited for may take so long: a page on a busy machine is slow, and only a wrong one never gets there. */
export const patience = 60_000;
export const password = "Seven quiet herons 4";
/** Part of everything that says who the first patient is; none of it may stay behind. */
export const secret = { family: "Zwingli", given: "Wilhelmina", number: "MRN-550173" };

const loinc = (code, display) => ({ coding: [{ system: "http://loinc.org", code, display }] });
const quantity = (value, unit, code = unit) => ({ value, unit, system: "http://unitsofmeasure.org", code });

export const launch = async () => chromium.launch({ executablePath: await need("chromium"), headless: true, args });

/** Resolves with { server, patient, patients, ward, call, quantity, observe, heartRate, bloodPressure, stop }; `patients` are more of them. BUILD names a bundle. */
export async function clinic({ patients = [] } = {}) {
  const build = process.env.BUILD && resolve(process.env.BUILD);
  const server = await startWorkerd({ build: build || undefined });
  try {
    return await fill(server, patients);
  } catch (error) {
    await server.stop();
    throw error;
  }
}

async function fill(server, patients) {
  const tokens = {};
  /** Sends a request as one of the users; resolves with the JSON of the reply, rejects with all that was said. */
  const call = async (as, method, path, body, more) => {
    const headers = { "Content-Type": "application/json", ...more };
    if (as === "setup") headers.Authorization = `Setup ${server.vars.SETUP_TOKEN}`;
    else if (as) headers.Authorization = `Bearer ${tokens[as]}`;
    const reply = await fetch(server.url + path, { method, headers, body: body && JSON.stringify(body) });
    const text = await reply.text();
    if (!reply.ok) throw new Error(`${method} ${path} as ${as}: ${reply.status} ${text}`);
    return text ? JSON.parse(text) : undefined;
  };
  const user = (as, username, name, role, more) => call(as, "POST", "/users", { username, name, role, password, ...more });
  const signIn = async (username) => {
    tokens[username] = (await call(undefined, "POST", "/session", { username, password, transport: "bearer" })).token;
  };
  const create = (resource) => call("admin", "POST", `/fhir/${resource.resourceType}`, resource);
  const place = (name, code, partOf) =>
    create({
      resourceType: "Location",
      name,
      physicalType: { coding: [{ system: "http://terminology.hl7.org/CodeSystem/location-physical-type", code }] },
      partOf: partOf && { reference: `Location/${partOf.id}` },
    });

  await user("setup", "admin", "Ada Admin", "admin");
  await signIn("admin");
  const ward = await place("Ward 3", "wa");
  const admit = async (person, number) => {
    const admitted = await create({ resourceType: "Patient", ...person });
    const bed = await place(`3-${number}`, "bd", ward);
    await create({
      resourceType: "Encounter",
      status: "in-progress",
      class: { system: "http://terminology.hl7.org/CodeSystem/v3-ActCode", code: "IMP" },
      subject: { reference: `Patient/${admitted.id}` },
      location: [{ location: { reference: `Location/${bed.id}` }, status: "active" }],
    });
    return admitted;
  };
  const medicalRecordNumber = { coding: [{ system: "http://terminology.hl7.org/CodeSystem/v2-0203", code: "MR" }], text: "MRN" };
  const everybody = [
    {
      name: [{ use: "official", family: secret.family, given: [secret.given] }],
      birthDate: "1951-03-14",
      gender: "female",
      identifier: [{ type: medicalRecordNumber, system: "urn:example:mrn", value: secret.number }],
    },
    ...patients,
  ];
  const admitted = [];
  for (const [index, person] of everybody.entries()) admitted.push(await admit(person, index + 1));
  const patient = admitted[0];
  await user("admin", "nora", "Nora Nurse", "nurse", { wards: [ward.id] });
  await user("admin", "wall", "Wall", "display", { wards: [ward.id] });
  await user("admin", "otto", "Otto Other", "nurse", { wards: [] });
  await user("admin", "monitor-1", "Monitor 1", "device", { patients: admitted.map(({ id }) => id) });
  await signIn("monitor-1");
  await signIn("nora");

  /** Posts an Observation of the first patient as the device. */
  const observe = (code, more, at = Date.now()) =>
    call("monitor-1", "POST", "/fhir/Observation", {
      resourceType: "Observation",
      status: "final",
      code: loinc(code),
      subject: { reference: `Patient/${patient.id}` },
      effectiveDateTime: new Date(at).toISOString(),
      ...more,
    });
  return {
    server,
    patient,
    patients: admitted,
    ward,
    call,
    observe,
    quantity,
    heartRate: (value, at) => observe("8867-4", { valueQuantity: quantity(value, "beats/minute", "/min") }, at),
    bloodPressure: (systolic, diastolic, at) =>
      observe(
        "85354-9",
        {
          component: [
            { code: loinc("8480-6"), valueQuantity: quantity(systolic, "mmHg", "mm[Hg]") },
            { code: loinc("8462-4"), valueQuantity: quantity(diastolic, "mmHg", "mm[Hg]") },
          ],
        },
        at,
      ),
    stop: () => server.stop(),
  };
}

/**
 * A clinic and a browser for the tests of one file, and a fresh context for each test, which fails on anything unexpected
 * in a console and on any breach of the content policy. `fill(scene)` adds to the clinic first. `expects(pattern)` says what is expected there.
 */
export function stage({ fill, ...options } = {}) {
  const self = { browser: undefined, scene: undefined, context: undefined, expects: (pattern) => (expected = pattern) };
  let complaints;
  let expected;
  before(async () => {
    [self.browser, self.scene] = await Promise.all([launch(), clinic(options)]);
    await fill?.(self.scene);
  });
  after(async () => {
    await self.browser?.close();
    await self.scene?.stop();
  });
  /** Another browser profile, watched like the first. */
  self.profile = async (more) => {
    const context = await self.browser.newContext({ locale: "en-GB", ...more });
    context.setDefaultTimeout(patience);
    await context.addInitScript(() => {
      document.addEventListener("securitypolicyviolation", (event) => {
        console.error(`content policy: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`);
      });
    });
    context.on("weberror", (error) => complaints.push(error.error().stack ?? String(error.error())));
    context.on("console", (message) => {
      if (message.type() === "error" && !expected?.test(message.text())) complaints.push(message.text());
    });
    return context;
  };
  beforeEach(async () => {
    complaints = [];
    // Everybody begins signed out, and asking who one is then is a 401.
    expected = /status of 401/;
    self.context = await self.profile();
  });
  afterEach(async () => {
    await Promise.all(self.browser.contexts().map((context) => context.close()));
    assert.deepEqual(complaints, [], "nothing unexpected in the console");
  });
  self.page = async (context = self.context) => {
    const page = await context.newPage();
    await page.goto(self.scene.server.url);
    return page;
  };
  return self;
}

/** What the console says while the server is away. */
export const serverAway = /ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE|ERR_INTERNET_DISCONNECTED|WebSocket connection|status of 401/;

/** Waits until what is found says this. */
export const saying = (locator, text, within = patience) => locator.filter({ hasText: text }).first().waitFor({ timeout: within });

/** Everything the browser keeps of the page: what is shown, stored, and in its history, titles included. */
export async function traces(page) {
  const session = await page.context().newCDPSession(page);
  const { entries } = await session.send("Page.getNavigationHistory");
  await session.detach();
  const inPage = await page.evaluate(async () => ({
    html: document.documentElement.outerHTML,
    fields: [...document.querySelectorAll("input, textarea, select")].map((input) => input.value),
    local: JSON.stringify(localStorage),
    session: JSON.stringify(sessionStorage),
    state: JSON.stringify(history.state),
    databases: JSON.stringify(await indexedDB.databases()),
    caches: JSON.stringify(await caches.keys()),
    cookies: document.cookie,
    selection: String(getSelection()),
  }));
  return JSON.stringify({ entries, inPage });
}

export async function assertNothingLeft(page, { patient }) {
  const left = await traces(page);
  for (const part of [secret.family, secret.given, secret.number, patient.id, "1951"]) {
    assert.ok(!left.includes(part), `'${part}' is left in ${left}`);
  }
}

/** Fills in the sign-in form and sends it. */
export async function signInOnPage(page, username = "nora", word = password) {
  await page.getByLabel("User name").fill(username);
  await page.getByLabel("Password", { exact: true }).fill(word);
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
}
