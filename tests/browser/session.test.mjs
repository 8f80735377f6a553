// Signing in and out in a real browser against a real server, and what is left when somebody has gone.
//   BUILD  the folder of the bundle, if not the release
import assert from "node:assert/strict";
import { test } from "node:test";
import { poll } from "../support/server.mjs";
import { assertNothingLeft, password, saying, secret, serverAway, signInOnPage, stage, traces } from "./scene.mjs";

const it = stage();
const signedOut = (page) => page.getByRole("heading", { name: "Sign in" }).waitFor();
const nothingLeft = (page) => assertNothingLeft(page, it.scene);

async function openPatient(page) {
  await page.getByRole("button", { name: "Patients" }).click();
  await page.getByRole("button", { name: secret.family }).click();
  await page.getByRole("heading", { name: secret.family, level: 1 }).waitFor();
  await page.locator("[data-state=live]").waitFor();
}
async function signOut(page) {
  await page.locator(".who").click();
  await page.getByRole("button", { name: "Sign out" }).click();
}

test("a wrong password is told and nothing else", async () => {
  const page = await it.page();
  await signInOnPage(page, "nora", "not the password");
  const problem = page.getByRole("alert");
  await saying(problem, /user name or password is wrong/i);
  assert.equal(await page.getByLabel("User name").inputValue(), "nora");
  assert.equal(await page.getByLabel("Password", { exact: true }).inputValue(), "");
  await poll("the password to be asked for", () => page.evaluate(() => document.activeElement.id === "password"));
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
  await saying(problem, /enter your user name and your password/i);
});

test("signing out leaves nothing of the patient", async () => {
  const page = await it.page();
  await signInOnPage(page);
  await openPatient(page);
  assert.ok((await traces(page)).includes(secret.family), "the search finds what is there");
  assert.ok(!page.url().includes(it.scene.patient.id) && !(await page.title()).includes(secret.family), "neither address nor title names a patient");
  await signOut(page);
  await signedOut(page);
  await nothingLeft(page);
  // The session is over at the server, too.
  await poll("the cookie to be gone", async () => !(await it.context.cookies()).some(({ name }) => name === "__Host-session"));
  assert.equal(await page.evaluate(async () => (await fetch("/session")).status), 401);
  for (const move of ["goBack", "goForward", "reload"]) {
    await page[move]();
    await signedOut(page);
    await nothingLeft(page);
  }
});

test("signing out in one tab signs out the others, by either way that tabs have to tell each other", async () => {
  const [one, other, deaf] = [await it.page(), await it.page(), await it.context.newPage()];
  // One tab has no channel and hears only of what is stored.
  await deaf.addInitScript(() => {
    globalThis.BroadcastChannel = class { postMessage() {} };
  });
  await deaf.goto(it.scene.server.url);
  await signInOnPage(one);
  await openPatient(one);
  // The other tabs were at their sign-in; they follow.
  await openPatient(other);
  await openPatient(deaf);
  await signOut(other);
  for (const page of [one, deaf]) {
    await saying(page.locator(".notice"), /signed out in another window/);
    await nothingLeft(page);
  }
});

test("signing out while the server is away empties the page all the same, and says what is left to do", async () => {
  const page = await it.page();
  await signInOnPage(page);
  await openPatient(page);
  it.expects(serverAway);
  await it.scene.server.kill("SIGKILL");
  await signOut(page);
  await saying(page.locator(".notice"), /could not be told/);
  await nothingLeft(page);
  await it.scene.server.restart();
  await page.getByRole("button", { name: "Sign out again" }).click();
  await poll("the cookie to be gone", async () => !(await it.context.cookies()).some(({ name }) => name === "__Host-session"));
  await page.locator(".notice").waitFor({ state: "detached" });
});

test("a minute before the end the page says so; staying is one key, and who does nothing is signed out", async () => {
  const page = await it.page();
  await page.clock.install();
  await signInOnPage(page);
  await openPatient(page);
  const warning = page.getByRole("alertdialog", { name: "about to be signed out" });
  // The page's clock runs ahead of the server's: what the server says is left is told by the page's own.
  await page.clock.runFor(13.5 * 60_000);
  assert.equal(await warning.count(), 0);
  const together = async (route) => {
    // The server's clock goes with the page's.
    const now = await page.evaluate(() => Date.now());
    const reply = await route.fetch();
    const headers = { ...reply.headers(), date: new Date(now).toUTCString() };
    await route.fulfill({ response: reply, headers });
  };
  await page.route("**/session", together);
  await page.clock.runFor(45_000);
  await warning.waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.textContent.trim()), "Stay signed in");
  await page.unroute("**/session");
  await page.keyboard.press("Enter");
  await warning.waitFor({ state: "detached" });
  await page.locator("[data-state=live]").waitFor();
  await page.route("**/session", together);
  await page.clock.runFor(15.5 * 60_000);
  await saying(page.locator(".notice"), /session has ended/);
  await nothingLeft(page);
});

test("a session that the server has ended empties the page", async () => {
  const account = { username: "tess", name: "Tess Temp", role: "nurse", password, wards: [it.scene.ward.id] };
  const { id } = await it.scene.call("admin", "POST", "/users", account);
  const page = await it.page();
  const disable = (disabled) => it.scene.call("admin", "PUT", `/users/${id}`, { disabled });
  await signInOnPage(page, "tess");
  await openPatient(page);
  await disable(true);
  // Either the socket's end tells, or the next thing that is asked of the server.
  await page.evaluate(() => document.querySelector(".back")?.click());
  await saying(page.locator(".notice"), /session has ended/);
  await nothingLeft(page);
  await signInOnPage(page, "tess");
  await saying(page.getByRole("alert"), /wrong, or the account is closed/);
});

test("one sees where one is signed in, and ends it there", async () => {
  const [one, context] = [await it.page(), await it.profile()];
  const other = await it.page(context);
  await signInOnPage(one);
  await signInOnPage(other);
  await openPatient(other);
  await one.locator(".who").click();
  await one.getByRole("button", { name: "My sessions" }).click();
  await one.getByRole("heading", { name: "My sessions" }).waitFor();
  await saying(one.locator(".session-row", { hasText: "this one" }), /Chrome.*signed in/s);
  await one.getByRole("button", { name: "End all others" }).click();
  await saying(other.locator(".notice"), /session has ended/);
  await nothingLeft(other);
  await poll("one row to be left", async () => (await one.locator(".session-row").count()) === 1);
  await signInOnPage(other);
  await one.reload();
  await one.getByRole("button", { name: /^End the session on/ }).click();
  await saying(other.locator(".notice"), /session has ended/);
  await poll("one row to be left", async () => (await one.locator(".session-row").count()) === 1);
});

test("a shared workstation changes hands in two keystrokes, and knows the names of staff only", async () => {
  await it.scene.call("admin", "POST", "/users", { username: "zita", name: "Zita Patient", role: "patient", password, patient: it.scene.patient.id });
  const page = await it.page();
  await page.getByLabel("shared workstation").check();
  await signInOnPage(page);
  await openPatient(page);
  await page.keyboard.press("F8");
  await page.keyboard.press("1");
  await nothingLeft(page);
  assert.equal(await page.getByLabel("User name").inputValue(), "nora");
  assert.equal(await page.evaluate(() => document.activeElement.id), "password");
  await signInOnPage(page, "zita");
  await page.getByRole("heading", { name: secret.family, level: 1 }).waitFor();
  await page.keyboard.press("F8");
  await signedOut(page);
  await nothingLeft(page);
  assert.ok(!(await traces(page)).includes("zita"));
  await page.getByLabel("shared workstation").uncheck();
  assert.ok(!(await traces(page)).includes("nora"), "forgotten when it is no longer shared");
});

test("whoever signs in while the one before is still being signed out stays signed in", async () => {
  const page = await it.page();
  await signInOnPage(page);
  await openPatient(page);
  // The sign-out is under way until the next sign-in has been answered, or waits for it.
  const answered = new Promise((resolve) => {
    page.on("response", (response) => response.request().method() === "POST" && response.url().endsWith("/session") && resolve(true));
  });
  const waiting = () => page.evaluate(async () => (await navigator.locks.query()).pending.length === 1);
  await page.route("**/session", async (route) => {
    if (route.request().method() === "DELETE") await Promise.race([answered, poll("the sign-in to wait", waiting)]);
    await route.continue();
  });
  await page.keyboard.press("F8");
  await signInOnPage(page);
  await openPatient(page);
});

test("a nurse without a ward sees nobody and is told what to do", async () => {
  const page = await it.page();
  await signInOnPage(page, "otto");
  await page.getByRole("button", { name: "Patients" }).click();
  await saying(page.getByRole("status"), /There are no patients in your wards.*ask an administrator/);
});

test("works with the keyboard alone, and on a narrow phone nothing is cut off", async () => {
  await it.scene.heartRate(70);
  const page = await it.page();
  await page.setViewportSize({ width: 360, height: 740 });
  await poll("the user name to be asked for", () => page.evaluate(() => document.activeElement.id === "username"));
  await page.keyboard.type("nora");
  await page.keyboard.press("Tab");
  await page.keyboard.type(password);
  await page.keyboard.press("Enter");
  await page.getByRole("button", { name: "Patients" }).focus();
  await page.keyboard.press("Enter");
  await page.getByRole("button", { name: secret.family }).waitFor();
  await page.keyboard.press("Tab"); // From the heading to the search, from there to the first row.
  await page.keyboard.type(secret.given.toLowerCase());
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await page.locator("[data-state=live]").waitFor();
  await page.locator(".latest").waitFor();
  const wide = await page.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(wide <= 360, `the page is ${wide} px wide`);
});

test("speaks Chinese where that is preferred or chosen, and goes dark where one wants it", async () => {
  const context = await it.profile({ locale: "zh-CN" });
  const page = await it.page(context);
  await page.getByRole("heading", { name: "登录" }).waitFor();
  assert.equal(await page.evaluate(() => document.documentElement.lang), "zh-CN");
  await page.getByLabel("语言").selectOption("en");
  await page.getByRole("heading", { name: "Sign in" }).waitFor();
  assert.equal(await page.evaluate(() => document.documentElement.lang), "en-GB");
  const ground = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
  const light = await ground();
  await page.getByLabel("Colours").selectOption("Dark");
  assert.notEqual(await ground(), light);
  await page.reload();
  await page.getByRole("heading", { name: "Sign in" }).waitFor();
  assert.notEqual(await ground(), light, "it is remembered");
});
