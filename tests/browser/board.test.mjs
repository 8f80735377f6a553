// The ward board in a real browser: values as they move, alerts until somebody has seen them, losses said, paper.
import assert from "node:assert/strict";
import { test } from "node:test";
import { poll } from "../support/server.mjs";
import { saying, secret, serverAway, signInOnPage, stage } from "./scene.mjs";

const it = stage({ patients: [{ name: [{ family: "Abendroth", given: ["Max"] }], birthDate: "1938-11-02" }] });
const tile = (page, family) => page.locator(".tile", { hasText: family });
const value = (page, family, parameter) => tile(page, family).locator(`[data-parameter=${parameter}] .cell-value`);
const status = (page) => page.locator(".strip [role=status]");
const names = (page) => page.locator(".tile-name").allInnerTexts();

/** Telemetry of the patient of number `index`. */
async function telemetry(values, index = 0) {
  const readings = [{ patient: it.scene.patients[index].id, at: new Date().toISOString(), values }];
  const { results } = await it.scene.call("monitor-1", "POST", "/telemetry", { readings });
  assert.ok(results[0].cursor, JSON.stringify(results));
}

async function openBoard(page, username) {
  await signInOnPage(page, username);
  await page.locator(".board[data-state=live][aria-busy=false]").waitFor();
}

test("the board is live: values, score as number, shape and words, age, and a line of the heart rate", async () => {
  const page = await it.page();
  await openBoard(page);
  await saying(page.getByRole("heading", { level: 1 }), "Ward 3");
  for (const rate of [71, 74]) {
    await telemetry({ heart_rate: rate, oxygen_saturation: 97 });
    await saying(value(page, secret.family, "heart_rate"), new RegExp(`^${rate}$`));
  }
  await saying(value(page, secret.family, "oxygen_saturation"), /^97$/);
  await saying(tile(page, secret.family).locator(".tile-age"), /just now|\d s ago/);
  await tile(page, secret.family).getByRole("img", { name: /Heart rate of the last 1 min, from 71 to 74/ }).waitFor();
  await it.scene.observe("9279-1", { valueQuantity: it.scene.quantity(22, "breaths/minute", "/min") });
  await tile(page, secret.family).getByRole("img", { name: "NEWS2 at least 2, low risk; some values are missing" }).waitFor();
  await saying(value(page, secret.family, "respiratory_rate"), /^22$/);
  await tile(page, secret.family).getByRole("button").first().click();
  await page.getByRole("heading", { name: secret.family, level: 1 }).waitFor();
  await page.getByRole("button", { name: "Ward board" }).first().click();
  await tile(page, secret.family).waitFor();
});

test("an alert that is seen in one window is seen in the other, and who is in need stands first", async () => {
  const context = await it.profile();
  const [one, other] = [await it.page(), await it.page(context)];
  await openBoard(one);
  await openBoard(other);
  const breaths = (rate) => it.scene.observe("9279-1", { valueQuantity: it.scene.quantity(rate, "breaths/minute", "/min") });
  await breaths(27);
  for (const page of [one, other]) {
    await saying(tile(page, secret.family).locator(".alert"), /NEWS2 3, 3 in one sign/);
    await saying(page.locator(".board-count"), "1 alert waiting");
    assert.ok((await names(page))[0].includes(secret.family));
    await saying(page.locator(".unseen[role=status]"), /Alert: 3-1 .*NEWS2 3/);
  }
  await tile(one, secret.family).getByRole("button", { name: /^Seen/ }).click();
  for (const page of [one, other]) {
    await saying(page.locator(".board-count"), "0 alerts waiting");
    await saying(tile(page, secret.family).locator(".alert"), /Seen by Nora Nurse, \d\d:\d\d/);
    assert.equal(await page.getByRole("button", { name: /^Seen/ }).count(), 0);
  }
  await breaths(16);
  for (const page of [one, other]) await page.locator(".alert").waitFor({ state: "detached" });
});

test("a lost connection is said with the last known time, the list can be printed, and what was missed comes", async () => {
  const page = await it.page();
  await page.addInitScript(() => {
    globalThis.print = () => {
      globalThis.printed = document.querySelector(".ward-list").innerText;
    };
  });
  await page.reload();
  await openBoard(page);
  await telemetry({ heart_rate: 81 });
  await saying(value(page, secret.family, "heart_rate"), /^81$/);
  it.expects(serverAway);
  await it.context.setOffline(true);
  await saying(status(page), /^Connection lost at \d\d:\d\d: this device is offline$/);
  await saying(page.locator(".last-event"), /^Last event \d\d:\d\d:\d\d$/);
  await saying(page.locator(".downtime"), /last known at \d\d:\d\d .* print the list/);
  await page.getByRole("button", { name: "Print" }).click();
  const printed = await poll("the list to be printed", () => page.evaluate(() => globalThis.printed));
  assert.match(printed, /Ward 3, as of \d+ \w+ \d{4}, \d\d:\d\d:\d\d\.\s+Newest value/);
  assert.ok(printed.includes(secret.family) && printed.includes("14 Mar 1951") && printed.includes("81"), printed);
  assert.equal(await page.evaluate(() => localStorage.length + sessionStorage.length), 0, "nothing of it is kept on the device");
  await page.locator(".tiles").waitFor();
  await telemetry({ heart_rate: 84 });
  await it.context.setOffline(false);
  await saying(value(page, secret.family, "heart_rate"), /^84$/);
  await saying(status(page), /^Live$/);
  await page.locator(".downtime").waitFor({ state: "detached" });
});

test("a monitor that falls silent looks so", async () => {
  const page = await it.page();
  const [, other] = it.scene.patients;
  await it.scene.call("nora", "PUT", `/patients/${other.id}/thresholds`, { spo2_scale: 1, monitoring: "on", interval_seconds: 1 });
  await openBoard(page);
  await telemetry({ heart_rate: 66 }, 1);
  await saying(value(page, "Abendroth", "heart_rate"), /^66$/);
  await page.locator(".tile.stale", { hasText: "Abendroth" }).waitFor();
  await saying(tile(page, "Abendroth").locator(".alert"), /No readings/);
  // Again and again: three seconds after the last of them it is silent once more.
  await poll("the readings to be back", async () => {
    await telemetry({ heart_rate: 67 }, 1);
    return (await page.locator(".tile:not(.stale)", { hasText: "Abendroth" }).count()) > 0;
  });
  await it.scene.call("nora", "PUT", `/patients/${other.id}/thresholds`, { spo2_scale: 1, monitoring: "off" });
});

test("a wall display shows initials and lets nobody go further", async () => {
  const page = await it.page();
  await signInOnPage(page, "wall");
  await page.locator(".wall[data-state=live][aria-busy=false]").waitFor();
  await telemetry({ heart_rate: 88 });
  await saying(page.locator(".wall-tile", { hasText: "W. Z." }), /88/);
  const text = await page.locator("body").innerText();
  for (const part of [secret.family, secret.given, secret.number, "1951"]) assert.ok(!text.includes(part), part);
  assert.equal(await page.locator("nav").count(), 0);
});
