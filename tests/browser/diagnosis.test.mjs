// Editing a diagnosis in a real browser: one person at a time, others see who, and what is final reaches whoever asked.
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { poll } from "../support/server.mjs";
import { password, saying, secret, signInOnPage, stage } from "./scene.mjs";

let report;
let condition;
let asked;

async function fill(scene) {
  const create = (resource) => scene.call("admin", "POST", `/fhir/${resource.resourceType}`, resource);
  asked = await create({ resourceType: "Practitioner", name: [{ family: "Ibarra", given: ["Ines"] }] });
  const user = (username, name, role, more) => scene.call("admin", "POST", "/users", { username, name, role, password, ...more });
  await user("dora", "Dora Doctor", "practitioner", { wards: [scene.ward.id] });
  await user("ines", "Ines Ibarra", "practitioner", { wards: [scene.ward.id], practitioner: asked.id });
  await user("zita", "Zita Zwingli", "patient", { patient: scene.patient.id });
}

const it = stage({ fill });
beforeEach(async () => {
  const { scene } = it;
  const subject = { reference: `Patient/${scene.patient.id}` };
  const create = (resource) => scene.call("admin", "POST", `/fhir/${resource.resourceType}`, resource);
  report = await create({
    resourceType: "DiagnosticReport",
    status: "preliminary",
    code: { text: "Chest X-ray" },
    subject,
    resultsInterpreter: [{ reference: `Practitioner/${asked.id}` }],
  });
  condition = await create({
    resourceType: "Condition",
    subject,
    code: { text: "Pneumonia" },
    clinicalStatus: { coding: [{ system: "http://terminology.hl7.org/CodeSystem/condition-clinical", code: "active" }] },
    verificationStatus: { coding: [{ system: "http://terminology.hl7.org/CodeSystem/condition-ver-status", code: "provisional" }] },
  });
});

const row = (page, { resourceType, id }) => page.locator(`[data-record="${resourceType}:${id}"]`);
const editButton = (page, record) => row(page, record).getByRole("button", { name: /^Edit/ });
const dialog = (page) => page.getByRole("dialog");

async function openChart(username) {
  const page = await it.page(await it.profile());
  await signInOnPage(page, username);
  await page.getByRole("button", { name: "Patients" }).click();
  await page.getByRole("button", { name: secret.family }).click();
  await page.locator(".chart[data-state=live][aria-busy=false]").waitFor();
  return page;
}

test("others see who is editing as it happens; what is finalised reaches the chart, the patient and whoever asked", async () => {
  it.expects(/status of 409|status of 401/);
  const [dora, nora] = [await openChart("dora"), await openChart("nora")];
  const ines = await it.page(await it.profile());
  await signInOnPage(ines, "ines");
  await ines.locator(".board[data-state=live]").waitFor();
  const zita = await it.page(await it.profile());
  await signInOnPage(zita, "zita");
  await zita.locator(".chart[data-state=live][aria-busy=false]").waitFor();
  assert.equal(await zita.getByRole("button", { name: /^Edit/ }).count(), 0, "a patient edits nothing");

  await editButton(dora, report).click();
  await dialog(dora).getByLabel("Conclusion").waitFor();
  await saying(row(nora, report).locator(".editing"), /^Dora Doctor has been editing this since \d\d:\d\d/);
  await editButton(nora, report).click();
  await saying(dialog(nora).locator(".notice"), /Dora Doctor has been editing this since .* when they are done/);
  assert.equal(await dialog(nora).locator("textarea").count(), 0);

  await dialog(dora).getByLabel("Conclusion").fill("Shadow on the left");
  await dialog(dora).getByRole("button", { name: "Finalise" }).click();
  await dialog(dora).waitFor({ state: "detached" });
  for (const page of [dora, nora, zita]) await saying(row(page, report), /Chest X-ray\s*final.*Shadow on the left/s);
  await saying(ines.locator(".news"), "Chest X-ray: final");
  await ines.getByRole("button", { name: "Open chart" }).click();
  await ines.getByRole("heading", { name: secret.family, level: 1 }).waitFor();
  await ines.locator(".news").waitFor({ state: "detached" });

  // Free again, for the one who waited; what is final is amended.
  await saying(dialog(nora).locator(".notice"), /can be edited now/);
  await row(nora, report).locator(".editing").waitFor({ state: "detached" });
  await dialog(nora).getByRole("button", { name: "Edit" }).click();
  await dialog(nora).getByLabel("Conclusion").fill("Shadow on the left, smaller");
  await saying(row(dora, report).locator(".editing"), /^Nora Nurse/);
  assert.equal(await dialog(nora).getByRole("button", { name: "Finalise" }).count(), 0);
  await dialog(nora).getByRole("button", { name: "Save as amended" }).click();
  await saying(row(dora, report), /amended.*smaller/s);
});

test("a diagnosis is confirmed; an editor whose lease is broken is told, keeps the text and takes it again", async () => {
  it.expects(/status of (401|409|412)|ERR_FAILED/);
  const subject = { reference: `Patient/${it.scene.patient.id}` };
  const off = await it.scene.call("admin", "POST", "/fhir/DiagnosticReport", { resourceType: "DiagnosticReport", status: "cancelled", code: { text: "Skull X-ray" }, subject });
  const dora = await openChart("dora");
  await row(dora, off).waitFor();
  assert.equal(await editButton(dora, off).count(), 0, "what was cancelled is not edited");
  // The lease is granted and the reply is lost; opened again its reply is long in coming, and meanwhile it is closed and opened
  // once more: it is hers, and not held by somebody who is herself.
  let grants = 0;
  let goOn;
  const waits = new Promise((resolve) => (goOn = resolve));
  await dora.route(/\/leases\/[^/]*$/, async (route) => {
    if (route.request().method() !== "POST") return route.continue();
    grants += 1;
    if (grants > 2) return route.continue();
    const response = await route.fetch();
    if (grants === 1) return route.abort();
    await waits;
    await route.fulfill({ response });
  });
  const cancel = dialog(dora).getByRole("button", { name: "Cancel" });
  await editButton(dora, condition).click();
  await saying(dialog(dora).locator(".problem"), "The server cannot be reached");
  await cancel.click();
  await editButton(dora, condition).click();
  await poll("the second request", () => grants === 2);
  await cancel.click();
  await editButton(dora, condition).click();
  await saying(dialog(dora), "Loading");
  goOn();
  await saying(dialog(dora), "Finalising records the diagnosis as confirmed");
  await dialog(dora).getByLabel("Note").fill("Both sides");
  await it.scene.call("admin", "POST", `/leases/Condition:${condition.id}/break`, { reason: "left open" });
  await saying(dialog(dora).locator(".notice"), /no longer yours to edit/);
  assert.equal(await dialog(dora).getByLabel("Note").inputValue(), "Both sides");
  assert.ok(await dialog(dora).getByRole("button", { name: "Finalise" }).isDisabled());
  // Somebody else writes in between, by the interface of programs.
  const { fence } = await it.scene.call("nora", "POST", `/leases/Condition:${condition.id}`, { request_id: "between" });
  const clinicalStatus = { coding: [{ system: "http://terminology.hl7.org/CodeSystem/condition-clinical", code: "recurrence" }] };
  const written = { ...condition, clinicalStatus, note: [{ text: "Left side" }] };
  await it.scene.call("nora", "PUT", `/fhir/Condition/${condition.id}`, written, { "Bedside-Fence": `Condition:${condition.id}=${fence}` });
  await it.scene.call("nora", "DELETE", `/leases/Condition:${condition.id}?fence=${fence}`);
  await dialog(dora).getByRole("button", { name: "Take it again" }).evaluate((button) => [button, button].forEach((one) => one.click()));
  await saying(dialog(dora).locator(".theirs"), "It says now: Left side");
  assert.equal(grants, 4, "clicked twice, asked for once");
  await dialog(dora).getByLabel("Diagnosis").selectOption("differential");
  await dialog(dora).getByRole("button", { name: "Save as draft" }).click();
  await dialog(dora).waitFor({ state: "detached" });
  await saying(row(dora, condition), /differential/);
  await editButton(dora, condition).click();
  assert.equal(await dialog(dora).getByLabel("Note").inputValue(), "Both sides");
  // The reply is lost on its way: tried again, the page finds what it has written and goes on from there.
  let lost = 0;
  await dora.route(`**/fhir/Condition/${condition.id}`, async (route) => {
    if (route.request().method() !== "PUT" || (lost += 1) > 1) return route.continue();
    await route.fetch();
    await route.abort();
  });
  await dialog(dora).getByRole("button", { name: "Save as draft" }).click();
  await saying(dialog(dora).locator(".problem"), "The server cannot be reached");
  await dialog(dora).getByRole("button", { name: "Finalise" }).click();
  await saying(dialog(dora).locator(".theirs"), "It says now: Both sides");
  await dialog(dora).getByRole("button", { name: "Finalise" }).click();
  await dialog(dora).waitFor({ state: "detached" });
  const kept = await it.scene.call("admin", "GET", `/fhir/Condition/${condition.id}`);
  assert.equal(kept.verificationStatus.coding[0].code, "confirmed");
  assert.equal(kept.note[0].text, "Both sides");
  assert.equal(kept.clinicalStatus.coding[0].code, "recurrence", "what she did not touch is as it was written in between");
  await saying(dora.locator(".unseen[role=status]"), "Recorded as confirmed.");

  // Cancelled since the chart was read: it is given back at once.
  await dora.route(`**/fhir/DiagnosticReport/${report.id}`, (route) => route.fulfill({ json: { ...report, status: "cancelled" } }));
  await editButton(dora, report).click();
  await saying(dialog(dora).locator(".problem"), "cannot be edited any more");
  const lease = () => it.scene.call("admin", "GET", `/leases/DiagnosticReport:${report.id}`);
  await poll("its lease to be free", async () => !(await lease()).held);
});
