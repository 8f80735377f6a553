// Booking in a real browser: a hold that others see as it happens, one slot for one person, booked, moved, cancelled.
import assert from "node:assert/strict";
import { test } from "node:test";
import { poll } from "../support/server.mjs";
import { password, saying, secret, signInOnPage, stage } from "./scene.mjs";

const services = "urn:example:services";

async function fill(scene) {
  const create = (resource) => scene.call("admin", "POST", `/fhir/${resource.resourceType}`, resource);
  const practitioner = await create({ resourceType: "Practitioner", name: [{ family: "Ibarra", given: ["Ines"] }] });
  const other = await create({ resourceType: "Practitioner", name: [{ family: "Quist", given: ["Rolf"] }] });
  const schedule = ({ id }, code, text) =>
    create({ resourceType: "Schedule", active: true, actor: [{ reference: `Practitioner/${id}` }], serviceType: [{ coding: [{ system: services, code }], text }] });
  const [one, two] = [await schedule(practitioner, "heart", "Heart clinic"), await schedule(other, "skin", "Skin clinic")];
  // The day after tomorrow, so that no time of it is past whenever this runs.
  const day = new Date();
  day.setDate(day.getDate() + 2);
  day.setHours(9, 0, 0, 0);
  const slot = ({ id }, index) =>
    create({
      resourceType: "Slot",
      schedule: { reference: `Schedule/${id}` },
      status: "free",
      start: new Date(day.getTime() + index * 1_800_000).toISOString(),
      end: new Date(day.getTime() + (index + 1) * 1_800_000).toISOString(),
    });
  for (let index = 0; index < 8; index += 1) await slot(one, index);
  await slot(two, 0);
  // More diaries of one service than are shown at once; the one time is in one that is not among them.
  for (let index = 0; index < 9; index += 1) await schedule(other, "foot", "Foot clinic");
  const { entry } = await scene.call("admin", "GET", "/fhir/Schedule?_count=200");
  await slot(entry.map(({ resource }) => resource).filter(({ serviceType }) => serviceType[0].text === "Foot clinic").at(-1), 0);
  const user = (username, name, role, more) => scene.call("admin", "POST", "/users", { username, name, role, password, ...more });
  await user("dora", "Dora Doctor", "practitioner", { wards: [scene.ward.id] });
  await user("max", "Max Abendroth", "patient", { patient: scene.patients[1].id });
}

const it = stage({ fill, patients: [{ name: [{ family: "Abendroth", given: ["Max"] }], birthDate: "1938-11-02" }] });

const time = (page, text) => page.locator(".slot", { hasText: text });
const state = (page, text, wanted) => page.locator(`.slot[data-state=${wanted}]`, { hasText: text }).waitFor();

/** Opens the times of the heart clinic on the first day that has any. */
async function openBooking(page, username, family) {
  await signInOnPage(page, username);
  await page.locator(".way[data-way=booking]").click();
  if (family) await page.getByRole("button", { name: family }).click();
  await page.getByLabel("Service").selectOption({ label: "Heart clinic" });
  await page.getByRole("button", { name: "First free time" }).click();
  await time(page, "09:00").waitFor();
  await page.locator(".strip[data-phase=live]").waitFor();
}

test("two people on one slot: each sees the other's hold as it happens, and one of them gets it", async (t) => {
  const [one, other] = [await it.page(), await it.page(await it.profile())];
  await openBooking(one, "nora", secret.family);
  await openBooking(other, "dora", "Abendroth");
  await saying(one.getByRole("heading", { level: 1 }), `Booking for ${secret.family}, ${secret.given}`);
  assert.equal(await one.locator(".slot").count(), 8, "the skin clinic is not shown");
  await saying(one.locator(".diary h3"), "Ibarra, Ines");

  await time(one, "09:00").click();
  await state(one, "09:00", "mine");
  await saying(one.locator(".held-bar [role=timer]"), /^[45]:\d\d$/);
  await state(other, "09:00", "held");
  assert.equal(await time(other, "09:00").getAttribute("aria-disabled"), "true");

  // Both at once, again and again: of each time one of them gets hold, and the other is told.
  const won = { one: 0, other: 0 };
  it.expects(/status of 409|status of 401/);
  for (const text of ["09:30", "10:00", "10:30"]) {
    await Promise.all([state(one, text, "free"), state(other, text, "free")]);
    // A click, not a wait until it can be had: the other may have it by the time the mouse is down.
    await Promise.all([one, other].map((page) => time(page, text).click({ force: true })));
    await Promise.race([state(one, text, "mine"), state(other, text, "mine")]);
    const oneHas = (await time(one, text).getAttribute("data-state")) === "mine";
    const [winner, loser] = oneHas ? [one, other] : [other, one];
    await state(winner, text, "mine");
    await state(loser, text, "held");
    won[oneHas ? "one" : "other"] += 1;
  }
  t.diagnostic(`of three races ${won.one} were won by one window, ${won.other} by the other`);
  // What the winner held before is given up by now.
  for (const page of [one, other]) await poll("one hold at most", async () => (await page.locator(".held-bar").count()) <= 1);
  const holder = (await time(one, "10:30").getAttribute("data-state")) === "mine" ? one : other;
  const watcher = holder === one ? other : one;
  await holder.getByRole("button", { name: "Book", exact: true }).click();
  await saying(holder.locator(".unseen[role=status]"), /^Booked: .*10:30/);
  await state(watcher, "10:30", "taken");
  await holder.locator("[data-appointment][data-status=booked]", { hasText: "10:30" }).waitFor();
  await holder.locator(".held-bar").waitFor({ state: "detached" });

  // What was booked is moved, then cancelled, and the other window sees each.
  await holder.getByRole("button", { name: /^Move:/ }).click();
  const free = holder.locator(".slot[data-state=free]").first();
  const to = (await free.locator(".slot-time").innerText()).trim();
  await free.click();
  await saying(holder.locator(".held-bar"), new RegExp(`New time: .*${to}`));
  await holder.getByRole("button", { name: "Move", exact: true }).click();
  await state(watcher, to, "taken");
  await state(watcher, "10:30", "free");
  await holder.locator("[data-appointment][data-status=booked]", { hasText: to }).waitFor();
  await holder.getByRole("button", { name: /^Cancel appointment:/ }).click();
  await holder.getByLabel("Why").fill("Feels better");
  await holder.getByRole("button", { name: "Cancel appointment", exact: true }).click();
  await state(watcher, to, "free");
  await saying(holder.locator(".appointments"), "No appointments are to come");
  // Where the other window won a race before the last one it still holds that time.
  if (await watcher.locator(".held-bar").count()) {
    await watcher.getByRole("button", { name: "Give it up" }).click();
    await watcher.locator(".held-bar").waitFor({ state: "detached" });
  }
});

test("whatever a hold comes to, the next time can be chosen: refused, lost before or behind the server, or overtaken", async () => {
  const [one, other] = [await it.page(), await it.page(await it.profile())];
  await openBooking(one, "nora", secret.family);
  await openBooking(other, "dora", "Abendroth");
  it.expects(/status of 409|status of 401|ERR_FAILED|ERR_CONNECTION_FAILED/);
  /** What becomes of each $hold of the first window, in their order. */
  const fates = [];
  await one.route(/\$hold$/, async (route) => (fates.shift() ?? ((route) => route.continue()))(route));

  // Its request is on its way while another window takes that time, and the person another time.
  let onItsWay;
  let goOn;
  const sent = new Promise((resolve) => (onItsWay = resolve));
  fates.push(async (route) => {
    onItsWay();
    await new Promise((resolve) => (goOn = resolve));
    await route.continue();
  });
  await time(one, "11:00").click();
  await state(one, "11:00", "asked");
  await sent;
  await time(other, "11:00").click();
  await state(other, "11:00", "mine");
  await time(one, "11:30").click();
  await state(one, "11:30", "asked");
  await state(one, "11:00", "held");
  goOn();
  await state(one, "11:30", "mine");
  await state(other, "11:30", "held");
  assert.equal(await one.locator(".problem").count(), 0, "what was refused is not wanted any more");

  // Refused, and nothing else is wanted: that is said, and what was held stays held.
  fates.push(async (route) => {
    await time(other, "12:00").click();
    await state(other, "12:00", "mine");
    await route.continue();
  });
  await time(one, "12:00").click();
  await saying(one.locator(".problem"), "Somebody else has this time");
  await state(one, "12:00", "held");
  await state(one, "11:30", "mine");

  // Lost on the way there, then on the way back: what the server made of it is seen all the same.
  fates.push((route) => route.abort());
  await time(one, "12:30").click();
  await saying(one.locator(".problem"), "The server cannot be reached");
  await state(one, "12:30", "free");
  fates.push(async (route) => {
    await route.fetch();
    await route.abort();
  });
  await time(one, "12:30").click();
  await state(one, "12:30", "mine");
  await saying(one.locator(".problem"), "The server cannot be reached");
  const named = one.locator(".held-bar h2");
  await named.nth(1).waitFor();
  assert.equal(new Set(await named.evaluateAll((titles) => titles.map(({ id }) => id))).size, 2, "each is named by a title of its own");
  const positions = await one.locator(".held-bar").evaluateAll((bars) => bars.map((bar) => getComputedStyle(bar).position));
  assert.deepEqual(positions, ["static", "sticky"], "none is under another");
  await time(one, "11:00").click();
  await state(one, "11:00", "mine");
  await Promise.all(["11:30", "12:30"].map((text) => state(one, text, "free")));
  assert.equal(fates.length, 0);
  assert.equal(await one.locator(".problem").count(), 0);
  assert.equal(await one.locator(".held-bar").count(), 1, "one is held at a time");
  for (const page of [one, other]) {
    await page.getByRole("button", { name: "Give it up" }).click();
    await page.locator(".held-bar").waitFor({ state: "detached" });
  }
});

test("a patient books for themself and for nobody else, and gives a hold up again", async () => {
  const page = await it.page();
  await openBooking(page, "max");
  await saying(page.getByRole("heading", { level: 1 }), "Booking");
  assert.equal(await page.getByRole("button", { name: secret.family }).count(), 0);
  await time(page, "09:30").click();
  await state(page, "09:30", "mine");
  await page.getByRole("button", { name: "Give it up" }).click();
  await state(page, "09:30", "free");
  await time(page, "10:00").click();
  await state(page, "10:00", "mine");
  const left = async () => {
    const [minutes, seconds] = (await page.locator(".held-bar [role=timer]").innerText()).split(":").map(Number);
    return minutes * 60 + seconds;
  };
  await page.getByRole("button", { name: "Hold longer" }).click();
  await page.getByRole("button", { name: "Hold longer" }).waitFor({ state: "detached" });
  assert.ok((await left()) > 270, "renewed, once");
  await page.getByRole("button", { name: "Book", exact: true }).click();
  await page.locator("[data-appointment][data-status=booked]", { hasText: "10:00" }).waitFor();
  await page.locator(".way[data-way=chart]").click();
  await saying(page.getByRole("region", { name: "Appointments" }), /10:00–10:30\s*booked/);
});

test("two people on one patient: each has their own hold, and neither is given up for the other's", async () => {
  const [max, nora] = [await it.page(), await it.page(await it.profile())];
  await openBooking(max, "max");
  await openBooking(nora, "nora", "Abendroth");
  const bar = (page) => page.locator(".held-bar");
  const pending = (page, id) => page.locator(`[data-appointment="${id}"][data-status=pending]`);
  const cancelled = (page, id) => page.locator(`[data-appointment="${id}"][data-status=cancelled]`);
  await time(max, "11:00").click();
  const ofMax = await bar(max).getAttribute("data-hold");
  await pending(nora, ofMax).waitFor();
  await state(nora, "11:00", "held");
  assert.equal(await bar(nora).count(), 0, "it is not hers to book");
  for (const text of ["11:30", "12:00"]) {
    await time(nora, text).click();
    await state(nora, text, "mine");
    await saying(bar(nora), text);
    const id = await bar(nora).filter({ hasText: text }).getAttribute("data-hold");
    await pending(max, id).waitFor();
    await state(max, text, "held");
  }
  await state(max, "11:30", "free");
  await state(max, "11:00", "mine");
  await bar(nora).getByRole("button", { name: "Book", exact: true }).and(nora.locator(":enabled")).waitFor();
  assert.deepEqual([await bar(max).count(), await bar(nora).count()], [1, 1]);
  // What somebody gives up has not run out for anybody.
  await max.getByRole("button", { name: "Give it up" }).click();
  await cancelled(nora, ofMax).waitFor({ state: "attached" });
  const ofNora = await bar(nora).getAttribute("data-hold");
  await nora.getByRole("button", { name: "Give it up" }).click();
  await cancelled(max, ofNora).waitFor({ state: "attached" });
  for (const page of [max, nora]) assert.equal(await page.locator(".problem").count(), 0);
});

test("what a hold comes to is said: that it ran out, that it had ended when it was to be booked; and a lost request is tried again", async () => {
  it.expects(/status of (401|409)|ERR_FAILED/);
  const page = await it.page();
  await openBooking(page, "nora", secret.family);
  const cancel = (id) => it.scene.call("admin", "POST", `/fhir/Appointment/${id}/$cancel`, { resourceType: "Parameters" });
  const problem = page.locator(".problem");
  const held = async (text) => {
    await time(page, text).click();
    await state(page, text, "mine");
    await page.locator(".held-bar .primary:enabled").waitFor();
    return page.locator(".held-bar").getAttribute("data-hold");
  };
  // The page counts from before it asked, so that for it the hold is over before the server says so: its own it is until then.
  let first;
  await page.route(/\$hold$/, async (route) => {
    const response = await route.fetch();
    [{ resource: { id: first } }] = (await response.json()).entry;
    await route.fulfill({ response, headers: { ...response.headers(), "bedside-hold-seconds": "1" } });
  });
  await time(page, "11:00").click();
  await state(page, "11:00", "mine");
  await page.locator(".first-free:enabled").waitFor();
  await page.locator(".held-bar").waitFor({ state: "detached" });
  await page.unroute(/\$hold$/);
  await state(page, "11:00", "mine");
  assert.equal(await problem.count(), 0);
  await cancel(first);
  await saying(problem, "The hold has ended, and the time is not booked");

  const second = await held("11:30");
  assert.equal(await problem.count(), 0);
  const longer = page.getByRole("button", { name: "Hold longer" });
  await page.route(/\$hold$/, (route) => route.abort(), { times: 1 });
  await longer.click();
  await saying(problem, "The server cannot be reached");
  await longer.click();
  await longer.waitFor({ state: "detached" });
  assert.equal(await problem.count(), 0);

  await page.route(/\$book$/, async (route) => {
    await cancel(second);
    await route.continue();
  });
  const [reply] = await Promise.all([page.waitForResponse(/\$book$/), page.getByRole("button", { name: "Book", exact: true }).click()]);
  assert.equal(reply.status(), 409);
  await page.locator(".first-free:enabled").waitFor();
  assert.match(await problem.innerText(), /^The hold has ended, and the time is not booked/);
});

test("where times cannot be held one is asked, and it is booked at once", async () => {
  it.expects(/status of (401|501)/);
  const page = await it.page();
  await openBooking(page, "nora", secret.family);
  let asked = 0;
  await page.route(/\$hold$/, (route) => {
    asked += 1;
    return route.fulfill({ status: 501, json: { resourceType: "OperationOutcome", issue: [{ severity: "error", code: "not-supported" }] } });
  });
  const bar = page.locator(".held-bar");
  await time(page, "12:00").click();
  await saying(bar, /Book .*12:00 now\?\s*Times cannot be held here/);
  await state(page, "12:00", "chosen");
  await bar.getByRole("button", { name: "Cancel" }).click();
  await bar.waitFor({ state: "detached" });
  await state(page, "12:00", "free");
  await time(page, "12:30").click();
  await bar.getByRole("button", { name: "Book", exact: true }).click();
  await state(page, "12:30", "taken");
  await page.locator("[data-appointment][data-status=booked]", { hasText: "12:30" }).waitFor();
  assert.deepEqual([asked, await page.locator(".problem").count()], [1, 0]);
});

test("the first free time is shown, in whosever diary of many it is", async () => {
  const page = await it.page();
  await openBooking(page, "nora", secret.family);
  await page.getByLabel("Service").selectOption({ label: "Foot clinic" });
  await saying(page.locator(".booking-main"), "8 of 9 diaries are shown");
  assert.equal(await page.locator(".slot").count(), 0);
  await page.getByRole("button", { name: "First free time" }).click();
  await state(page, "09:00", "free");
  assert.equal(await page.locator(".diary").count(), 8);
});
