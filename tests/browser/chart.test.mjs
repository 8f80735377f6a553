// The chart in a real browser: values as they come, losses said, what was missed caught up with.
import assert from "node:assert/strict";
import { test } from "node:test";
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
  await create({ resourceType: "DiagnosticReport", status: "final", subject, code: { text: "Chest X-ray" }, conclusion: "Shadow on the left" });
  const page = await it.page();
  await openChart(page);
  assert.equal(await page.evaluate(() => document.activeElement.tagName), "H1");
  await saying(page.locator(".facts"), /14 Mar 1951.*MRN-550173/s);
  await saying(page.locator(".allergies"), /Penicillins\s*Rash\s*severe/);
  await saying(page.getByRole("region", { name: "Problems" }), "Pneumonia");
  await saying(page.getByRole("region", { name: "Medication" }), /Paracetamol.*1 g by mouth/s);
  await saying(page.getByRole("region", { name: "Results" }), /Potassium\s*6.1\s*mmol\/L\s*▲\s*high\s*< 5.1/);
  await saying(page.getByRole("region", { name: "Reports" }), /Chest X-ray.*final.*Shadow on the left/s);
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

test("the plot pans and zooms by buttons, keys and fingers, and comes back to the present", async () => {
  const { scene } = it;
  await scene.heartRate(66, Date.now() - 30 * 3_600_000);
  const page = await it.page();
  await openChart(page);
  await scene.heartRate(70);
  await showsRate(page, 70);
  const now = page.getByRole("button", { name: "Now" });
  const isLive = async () => (await now.getAttribute("aria-pressed")) === "true";
  assert.ok(await isLive());
  const day = await rows(page, 70);
  await page.getByRole("button", { name: "3 d" }).click();
  assert.equal(await rows(page, 66), day + 1, "three days have what one has not");
  await page.locator(".plot").focus();
  for (let count = 0; count < 6; count += 1) await page.keyboard.press("ArrowLeft");
  assert.ok(!(await isLive()), "one is in the past");
  await page.keyboard.press("End");
  assert.ok(await isLive());
  await page.keyboard.press("+");
  assert.ok(await isLive(), "zooming keeps to the present");
  const box = await page.locator(".plot").boundingBox();
  await page.mouse.move(box.x + box.width / 2, box.y + 60);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width - 20, box.y + 60, { steps: 4 });
  await page.mouse.up();
  assert.ok(!(await isLive()), "dragged to the past");
  await now.click();
  assert.ok(await isLive());
});

test("a value that is overdue looks so", async () => {
  const { scene } = it;
  const minute = 60_000;
  for (const ago of [34, 33, 32, 31]) {
    await scene.observe("9279-1", { valueQuantity: scene.quantity(16, "breaths/minute", "/min") }, Date.now() - ago * minute);
  }
  await scene.heartRate(79);
  const page = await it.page();
  await openChart(page);
  await saying(page.locator("[data-sign=respiratory-rate].old"), /31 min ago\s*overdue/);
  await scene.observe("9279-1", { valueQuantity: scene.quantity(17, "breaths/minute", "/min") });
  await page.locator("[data-sign=respiratory-rate]:not(.old)").waitFor();
});

test("the server is killed and comes back: the page says so and catches up by itself", async () => {
  const page = await it.page();
  await page.clock.install();
  await openChart(page);
  await it.scene.heartRate(80);
  await showsRate(page, 80);
  const before = await rows(page, 80);
  it.expects(serverAway);
  // The page's timers stand still while the server is away, so that values are certainly posted before it tries again.
  await page.clock.pauseAt(Date.now() + 1_000);
  await it.scene.server.kill("SIGKILL");
  await page.clock.runFor(50); // A frame, to draw what the socket's end has told.
  await saying(status(page), /^Connection lost at \d\d:\d\d, trying again$/);
  await it.scene.server.restart();
  for (const value of [91, 92, 93]) await it.scene.heartRate(value);
  await showsRate(page, 80);
  await page.clock.resume();
  await showsRate(page, 93);
  await live(page);
  assert.equal(await rows(page, 92), before + 3, "each value once");
  assert.equal(await page.locator(".notice:visible").count(), 0, "nothing was missed");
});

test("what the server no longer has is said to be missed, and the present values are read again", async () => {
  const page = await it.page();
  await page.clock.install();
  await openChart(page);
  it.expects(serverAway);
  await page.clock.pauseAt(Date.now() + 1_000);
  await it.scene.server.kill("SIGKILL");
  await page.clock.runFor(50);
  await saying(status(page), /trying again/);
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
