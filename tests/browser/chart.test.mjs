// The chart in a real browser: values as they come, losses said, what was missed caught up with.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { poll } from "../support/server.mjs";
import { saying, secret, serverAway, signInOnPage, stage } from "./scene.mjs";

const it = stage();
const rate = (page) => page.locator("[data-sign=heart-rate] .value");
const showsRate = (page, value) => saying(rate(page), new RegExp(`^\\s*${value}\\s*/min\\s*$`));
const status = (page) => page.locator(".strip [role=status]");
const live = (page) => saying(status(page), /^Live$/);
/** How many heart rates the table of the plot has, of which `value` is one. */
async function rows(page, value) {
  const table = page.getByRole("region", { name: "Table" });
  if (!(await table.count())) await page.getByRole("button", { name: "Table" }).click();
  const rates = table.locator("tr", { hasText: "Heart rate" });
  await saying(rates, new RegExp(`\\b${value}\\b`));
  return rates.count();
}

async function openChart(page) {
  await signInOnPage(page);
  await page.getByRole("button", { name: "Patients" }).click();
  await page.getByRole("button", { name: secret.family }).click();
  await page.getByRole("heading", { name: secret.family, level: 1 }).waitFor();
  await live(page);
  await page.locator(".chart[aria-busy=false]").waitFor();
}

test("who it is, what must not be given, and the heart rate as it moves", async () => {
  const { scene } = it;
  const subject = { reference: `Patient/${scene.patient.id}` };
  await scene.heartRate(71, Date.now() - 10_000);
  await scene.bloodPressure(128, 82);
  const create = (resource) => scene.call("admin", "POST", `/fhir/${resource.resourceType}`, resource);
  await create({ resourceType: "AllergyIntolerance", patient: subject, code: { text: "Penicillins" }, criticality: "high", reaction: [{ manifestation: [{ text: "Rash" }] }] });
  await create({ resourceType: "Condition", subject, code: { text: "Pneumonia" }, clinicalStatus: { coding: [{ system: "http://terminology.hl7.org/CodeSystem/condition-clinical", code: "active" }] } });
  await create({ resourceType: "MedicationRequest", status: "active", intent: "order", subject, medicationCodeableConcept: { text: "Paracetamol" }, dosageInstruction: [{ text: "1 g by mouth" }] });
  await create({ resourceType: "Observation", status: "final", subject, code: { text: "Potassium" }, effectiveDateTime: new Date().toISOString(), valueQuantity: { value: 6.1, unit: "mmol/L" }, referenceRange: [{ high: { value: 5.1 } }] });
  const base64 = (text) => Buffer.from(text).toString("base64");
  const text = { contentType: "text/plain; charset=UTF-8", data: base64("Röntgen: 左肺\nShadow on the left") };
  await create({ resourceType: "DiagnosticReport", status: "final", subject, code: { text: "Chest X-ray" }, conclusion: "Shadow on the left", presentedForm: [text] });
  const letter = { contentType: "application/pdf", data: base64("%PDF-1.7 letter") };
  await create({ resourceType: "DocumentReference", status: "current", subject, type: { text: "Letter" }, content: [{ attachment: letter }] });
  const page = await it.page();
  await openChart(page);
  assert.equal(await page.evaluate(() => document.activeElement.tagName), "H1");
  await saying(page.locator(".facts"), /14 Mar 1951.*MRN-550173/s);
  await saying(page.locator(".allergies"), /Penicillins\s*Rash\s*severe/);
  await saying(page.getByRole("region", { name: "Problems" }), "Pneumonia");
  await saying(page.getByRole("region", { name: "Medication" }), /Paracetamol.*1 g by mouth/s);
  await saying(page.getByRole("region", { name: "Results" }), /Potassium\s*6.1\s*mmol\/L\s*▲\s*high\s*< 5.1/);
  await saying(page.getByRole("region", { name: "Reports" }), /Chest X-ray.*final.*Shadow on the left/s);
  const dialog = page.getByRole("dialog");
  await page.getByRole("button", { name: "Read: Chest X-ray" }).click();
  await saying(dialog.locator(".document-text"), "Röntgen: 左肺");
  await dialog.getByRole("button", { name: "Close" }).click();
  await page.getByRole("button", { name: "Read: Letter" }).click();
  const [file] = await Promise.all([page.waitForEvent("download"), dialog.getByRole("button", { name: "Save the file (application/pdf, 15 B)" }).click()]);
  assert.equal(file.suggestedFilename(), "document.pdf");
  assert.equal(readFileSync(await file.path(), "utf8"), "%PDF-1.7 letter");
  await page.keyboard.press("Escape");
  await dialog.waitFor({ state: "detached" });
  await showsRate(page, 71);
  await saying(page.locator("[data-sign=blood-pressure]"), /Blood pressure\s*128\/82\s*mmHg/);
  for (const value of [74, 77]) {
    await scene.heartRate(value);
    await showsRate(page, value);
  }
  await saying(page.locator("[data-sign=heart-rate] .when"), /just now|\d+ s ago/);
  await saying(page.locator(".last-event"), /^Last event \d\d:\d\d:\d\d$/);
  await saying(page.locator(".chart-foot"), /Patient read .* version 1.*(cache|record).*events up to \w+:\d+/s);
  assert.equal(await rows(page, 71), 3);
  // Back is a way back, and so is Forward, as long as one is signed in; a reload knows no patient any more.
  await page.goBack();
  await page.getByRole("heading", { name: "Patients" }).waitFor();
  await page.goForward();
  await page.getByRole("heading", { name: secret.family, level: 1 }).waitFor();
  await page.reload();
  await page.locator("h1").waitFor();
  assert.equal(await page.getByRole("heading", { name: secret.family, level: 1 }).count(), 0);
});

test("an alert that one person has seen is seen in the other window, with who and when", async () => {
  const { scene } = it;
  const [one, context] = [await it.page(), await it.profile()];
  const other = await it.page(context);
  await openChart(one);
  await openChart(other);
  const rate = (value) => scene.observe("9279-1", { valueQuantity: scene.quantity(value, "breaths/minute", "/min") });
  await rate(26);
  await saying(one.locator(".who-score"), /at least 3, 3 in one sign/);
  const seen = /Seen by Nora Nurse, \d\d:\d\d/;
  for (const page of [one, other]) await saying(page.locator(".alert"), /NEWS2 3, 3 in one sign/);
  await one.getByRole("button", { name: "Seen" }).click();
  for (const page of [one, other]) await saying(page.locator(".alert"), seen);
  assert.equal(await other.getByRole("button", { name: "Seen" }).count(), 0);
  await rate(16);
  for (const page of [one, other]) await page.locator(".alert").waitFor({ state: "detached" });
  await saying(other.locator(".who-score"), /at least 0/);
});

test("limits of a patient are set, and a reading beyond one is an alert", async () => {
  const page = await it.page();
  await openChart(page);
  await page.getByRole("button", { name: "Limits" }).click();
  const dialog = page.getByRole("dialog", { name: "Limits" });
  await dialog.getByLabel("Temperature above").fill("hot");
  await dialog.getByRole("button", { name: "Save" }).click();
  await saying(dialog.getByRole("alert"), /no number/);
  await dialog.getByLabel("Temperature above").fill("37.5");
  await dialog.getByRole("button", { name: "Save" }).click();
  await dialog.waitFor({ state: "detached" });
  await it.scene.observe("8310-5", { valueQuantity: it.scene.quantity(37.9, "C", "Cel") });
  await saying(page.locator(".alert"), /Temperature 37.9, above 37.5/);
  await page.getByRole("button", { name: "Limits" }).click();
  await poll("the limit that was set", async () => (await dialog.getByLabel("Temperature above").inputValue()) === "37.5");
  await dialog.getByLabel("Temperature above").fill("");
  await page.keyboard.press("Escape");
  await dialog.waitFor({ state: "detached" });
});

test("the plot pans and zooms by buttons, keys and fingers, and comes back to the present", async () => {
  const { scene } = it;
  await scene.heartRate(66, Date.now() - 30 * 3_600_000);
  const page = await it.page();
  await openChart(page);
  await scene.heartRate(70);
  await showsRate(page, 70);
  const now = page.getByRole("button", { name: "Now" });
  const isLive = (wanted = true) => poll(`"Now" to be ${wanted}`, async () => (await now.getAttribute("aria-pressed")) === String(wanted));
  await isLive();
  const day = await rows(page, 70);
  await page.getByRole("button", { name: "3 d" }).click();
  assert.equal(await rows(page, 66), day + 1, "three days have what one has not");
  await page.locator(".plot").focus();
  for (let count = 0; count < 6; count += 1) await page.keyboard.press("ArrowLeft");
  await isLive(false);
  await page.keyboard.press("End");
  await isLive();
  await page.keyboard.press("+");
  await isLive();
  const box = await page.locator(".plot").boundingBox();
  await page.mouse.move(box.x + box.width / 2, box.y + 60);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width - 20, box.y + 60, { steps: 4 });
  await page.mouse.up();
  await isLive(false);
  await now.click();
  await isLive();
});

test("a value that is overdue looks so", async () => {
  const { scene } = it;
  const minute = 60_000;
  for (const ago of [34, 33, 32, 31]) {
    await scene.observe("59408-5", { valueQuantity: scene.quantity(97, "%") }, Date.now() - ago * minute);
  }
  await scene.heartRate(79);
  const page = await it.page();
  await openChart(page);
  await saying(page.locator("[data-sign=oxygen-saturation].old"), /3\d min ago\s*overdue/);
  await scene.observe("59408-5", { valueQuantity: scene.quantity(98, "%") });
  await page.locator("[data-sign=oxygen-saturation]:not(.old)").waitFor();
});

/** The page's timers stand still while the server is away, so that values are certainly posted before it tries again. */
async function killWhileTimeStands(page) {
  await page.clock.pauseAt(Date.now() + 10_000);
  await it.scene.server.kill("SIGKILL");
  await poll("the loss to be told", async () => {
    await page.clock.runFor(20); // A frame.
    return /^Connection lost at \d\d:\d\d, trying again$/.test(await status(page).innerText());
  });
}

test("the server is killed and comes back: the page says so and catches up by itself", async () => {
  const page = await it.page();
  await page.clock.install();
  await openChart(page);
  await it.scene.heartRate(80);
  await showsRate(page, 80);
  const before = await rows(page, 80);
  it.expects(serverAway);
  await killWhileTimeStands(page);
  await it.scene.server.restart();
  for (const value of [91, 92, 93]) await it.scene.heartRate(value);
  await showsRate(page, 80);
  await page.clock.resume();
  await showsRate(page, 93);
  await live(page);
  assert.equal(await rows(page, 93), before + 3, "each value once");
  assert.equal(await page.locator(".notice:visible").count(), 0, "nothing was missed");
});

test("what the server no longer has is said to be missed, and the present values are read again", async () => {
  const page = await it.page();
  await page.clock.install();
  await openChart(page);
  it.expects(serverAway);
  await killWhileTimeStands(page);
  await it.scene.server.restart({ vars: { EVENT_RETENTION_COUNT: "100" } });
  await it.scene.bloodPressure(141, 95);
  for (let count = 0; count < 100; count += 1) await it.scene.heartRate(60 + (count % 7));
  await it.scene.heartRate(111);
  await page.clock.resume();
  await showsRate(page, 111);
  await saying(page.locator(".notice"), /were missed.*have been read again/);
  await saying(page.locator("[data-sign=blood-pressure]"), "141/95"); // Its event is gone, the record is not.
});

test("without a network the page says so, and goes on when it is back", async () => {
  const page = await it.page();
  await openChart(page);
  it.expects(serverAway);
  await it.context.setOffline(true);
  await saying(status(page), /^Connection lost at \d\d:\d\d: this device is offline$/);
  await it.scene.heartRate(84);
  await it.context.setOffline(false);
  await showsRate(page, 84);
  await live(page);
});
