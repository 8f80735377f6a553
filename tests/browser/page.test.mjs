// The page in a real browser against a real server: what a nurse sees, and what is left when they have gone.
//   BUILD  the folder of the bundle, if not the release
import assert from "node:assert/strict";
import { after, before, beforeEach, afterEach, test } from "node:test";
import { poll } from "../support/server.mjs";
import { clinic, launch, password, secret, signInOnPage } from "./scene.mjs";

let browser;
let scene;
let context;
/** Console errors and violations of the content policy that no test has said it expects. */
let complaints;
/** What a test expects in the console: a pattern, or undefined. */
let expected;

before(async () => {
  [browser, scene] = await Promise.all([launch(), clinic()]);
});
after(async () => {
  await browser?.close();
  await scene?.stop();
});

beforeEach(async () => {
  complaints = [];
  // Everybody begins signed out, and asking who one is then is a 401.
  expected = /status of 401/;
  context = await browser.newContext();
  context.setDefaultTimeout(20_000);
  await context.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) => {
      console.error(`content policy: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`);
    });
  });
  context.on("weberror", (error) => complaints.push(error.error().stack ?? String(error.error())));
  context.on("console", (message) => {
    if (message.type() === "error" && !expected?.test(message.text())) complaints.push(message.text());
  });
});
afterEach(async () => {
  await context.close();
  assert.deepEqual(complaints, [], "nothing unexpected in the console");
});

async function newPage() {
  const page = await context.newPage();
  await page.goto(scene.server.url);
  return page;
}

const serverAway = /ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE|WebSocket connection|status of 401/;
const rate = (page) => page.locator(".rate-number");
const status = (page) => page.locator(".strip [role=status]");
const saying = (locator, text, within = 20_000) => locator.filter({ hasText: text }).waitFor({ timeout: within });

async function openPatient(page) {
  await page.getByRole("button", { name: secret.family }).click();
  await page.getByRole("heading", { name: secret.family, level: 1 }).waitFor();
  await saying(status(page), /^Live$/);
}

/** Everything the browser keeps of the page: what is shown, stored, and in its history, titles included. */
async function traces(page) {
  const session = await context.newCDPSession(page);
  const { entries } = await session.send("Page.getNavigationHistory");
  await session.detach();
  const inPage = await page.evaluate(async () => ({
    html: document.documentElement.outerHTML,
    fields: [...document.querySelectorAll("input")].map((input) => input.value),
    local: JSON.stringify(localStorage),
    session: JSON.stringify(sessionStorage),
    state: JSON.stringify(history.state),
    databases: JSON.stringify(await indexedDB.databases()),
    caches: JSON.stringify(await caches.keys()),
    cookies: document.cookie,
  }));
  return JSON.stringify({ entries, inPage });
}

async function assertNothingLeft(page) {
  const left = await traces(page);
  for (const part of [secret.family, secret.given, secret.number, scene.patient.id, "1951"]) {
    assert.ok(!left.includes(part), `'${part}' is left in ${left}`);
  }
}

test("a wrong password is told and nothing else", async () => {
  const page = await newPage();
  await signInOnPage(page, "nora", "not the password");
  const problem = page.getByRole("alert");
  await saying(problem, /user name or password is wrong/i);
  assert.equal(await page.getByLabel("User name").inputValue(), "nora");
  assert.equal(await page.getByLabel("Password", { exact: true }).inputValue(), "");
  assert.equal(await page.evaluate(() => document.activeElement.id), "password");
  await page.getByRole("button", { name: "Sign in" }).click();
  await saying(problem, /enter your user name and your password/i);
});

test("a nurse signs in, opens a patient and sees the heart rate move", async () => {
  await scene.heartRate(71, Date.now() - 10_000);
  await scene.bloodPressure(128, 82);
  const page = await newPage();
  await page.getByRole("heading", { name: "Sign in" }).waitFor();
  await signInOnPage(page);
  await page.getByRole("heading", { name: "Patients" }).waitFor();
  await saying(page.locator(".who"), "Nora Nurse");
  const row = page.getByRole("button", { name: secret.family });
  await saying(row, /Born 14 Mar 1951.*Bed 3-1/);
  await openPatient(page);
  assert.equal(await page.evaluate(() => document.activeElement.tagName), "H1");
  await saying(page.locator(".facts"), /14 Mar 1951.*MRN-550173/);
  await saying(rate(page), /^71$/);
  await saying(page.locator(".vitals"), /Blood pressure.*128\/82 mmHg/);
  for (const value of [74, 77]) {
    await scene.heartRate(value);
    await saying(rate(page), new RegExp(`^${value}$`));
  }
  await saying(page.locator(".rate-age"), /just now|\d+ s ago/);
  await saying(page.locator(".last-event"), /^Last event \d\d:\d\d:\d\d$/);
  assert.match(await page.locator(".spark").getAttribute("aria-label"), /3 values between 71 and 77/);
  assert.equal(new URL(page.url()).pathname + new URL(page.url()).search + new URL(page.url()).hash, "/");
  assert.equal(await page.title(), "Patient – Bedside");
  // Back is a way back, and Forward is none to a patient.
  await page.goBack();
  await page.getByRole("heading", { name: "Patients" }).waitFor();
  await page.goForward();
  await page.getByRole("heading", { name: "Patients" }).waitFor();
});

test("a value that is old looks old", async () => {
  const page = await newPage();
  await page.clock.install();
  await signInOnPage(page);
  await openPatient(page);
  await scene.heartRate(79);
  await saying(rate(page), /^79$/);
  assert.equal(await page.locator(".heart.stale").count(), 0);
  await page.clock.runFor(62_000);
  await saying(page.locator(".heart.stale .rate-warning"), /nothing new for 1 min/);
});

test("the server is killed and comes back: the page says so and catches up by itself", async () => {
  const page = await newPage();
  await page.clock.install();
  await signInOnPage(page);
  await openPatient(page);
  await scene.heartRate(80);
  await saying(rate(page), /^80$/);
  expected = serverAway;
  const trend = async () => (await page.locator(".spark").getAttribute("aria-label")).match(/(\d+) values/)[1];
  const drawn = Number(await trend());
  // The page's timers stand still while the server is away, so that values are certainly posted before it tries again.
  await page.clock.pauseAt(Date.now() + 1_000);
  await scene.server.kill("SIGKILL");
  await saying(status(page), /^Connection lost at \d\d:\d\d, trying again$/);
  assert.equal(await page.locator(".heart.not-live").count(), 1);
  await scene.server.restart();
  for (const value of [91, 92, 93]) await scene.heartRate(value);
  await saying(rate(page), /^80$/);
  await page.clock.resume();
  await saying(rate(page), /^93$/);
  await saying(status(page), /^Live$/);
  assert.equal(Number(await trend()), drawn + 3, "each value once");
  assert.equal(await page.locator(".notice:visible").count(), 0, "nothing was missed");
});

test("what the server no longer has is said to be missed, and the present values are read again", async () => {
  const page = await newPage();
  await page.clock.install();
  await signInOnPage(page);
  await openPatient(page);
  expected = serverAway;
  await page.clock.pauseAt(Date.now() + 1_000);
  await scene.server.kill("SIGKILL");
  await saying(status(page), /trying again/);
  await scene.server.restart({ vars: { EVENT_RETENTION_COUNT: "100" } });
  await scene.bloodPressure(141, 95);
  for (let count = 0; count < 100; count += 1) await scene.heartRate(60 + (count % 7));
  await scene.heartRate(111);
  await page.clock.resume();
  await saying(rate(page), /^111$/);
  await saying(page.locator(".notice"), /were missed.*have been read again/);
  await saying(page.locator(".vitals"), "141/95"); // Its event is gone, the record is not.
});

test("signing out while the server is away empties the page all the same, and says what is left to do", async () => {
  const page = await newPage();
  await signInOnPage(page);
  await openPatient(page);
  expected = serverAway;
  await scene.server.kill("SIGKILL");
  await page.getByRole("button", { name: "Sign out" }).click();
  await saying(page.locator(".notice"), /could not be told/);
  await assertNothingLeft(page);
  await scene.server.restart();
  await page.getByRole("button", { name: "Sign out again" }).click();
  await poll("the cookie to be gone", async () => (await context.cookies()).length === 0);
  await page.locator(".notice").waitFor({ state: "detached" });
});

test("without a network the page says so, and goes on when it is back", async () => {
  const page = await newPage();
  await signInOnPage(page);
  await openPatient(page);
  expected = /ERR_INTERNET_DISCONNECTED|status of 401/;
  await context.setOffline(true);
  await saying(status(page), /^Connection lost at \d\d:\d\d: this device is offline$/);
  await scene.heartRate(84);
  await context.setOffline(false);
  await saying(rate(page), /^84$/);
  await saying(status(page), /^Live$/);
});

test("signing out leaves nothing of the patient", async () => {
  const page = await newPage();
  await signInOnPage(page);
  await openPatient(page);
  assert.ok((await traces(page)).includes(secret.family), "the search finds what is there");
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByRole("heading", { name: "Sign in" }).waitFor();
  await assertNothingLeft(page);
  // The session is over at the server, too.
  await poll("the cookie to be gone", async () => (await context.cookies()).length === 0);
  assert.equal(await page.evaluate(async () => (await fetch("/session")).status), 401);
  await page.goBack();
  await page.getByRole("heading", { name: "Sign in" }).waitFor();
  await assertNothingLeft(page);
  await page.reload();
  await page.getByRole("heading", { name: "Sign in" }).waitFor();
});

test("signing out in one tab signs out the others", async () => {
  const [one, other] = [await newPage(), await newPage()];
  await signInOnPage(one);
  await openPatient(one);
  // The other tab was at its sign-in; it follows.
  await other.getByRole("heading", { name: "Patients" }).waitFor();
  await other.getByRole("button", { name: "Sign out" }).click();
  await saying(one.locator(".notice"), /signed out in another window/);
  await assertNothingLeft(one);
});

test("a session that the server has ended empties the page, asked or not", async () => {
  const account = { username: "tess", name: "Tess Temp", role: "nurse", password, wards: [scene.ward.id] };
  const { id } = await scene.call("admin", "POST", "/users", account);
  const page = await newPage();
  await page.clock.install();
  const endSession = (disabled) => scene.call("admin", "PUT", `/users/${id}`, { disabled });
  // Without anybody doing anything: when the idle time is over, the page asks.
  await signInOnPage(page, "tess");
  await openPatient(page);
  await endSession(true);
  await page.clock.fastForward(16 * 60_000);
  await saying(page.locator(".notice"), /session has ended/);
  await assertNothingLeft(page);
  await signInOnPage(page, "tess");
  await saying(page.getByRole("alert"), /wrong, or the account is closed/);
  // When somebody does something.
  await endSession(false);
  await signInOnPage(page, "tess");
  await openPatient(page);
  await endSession(true);
  await page.getByRole("button", { name: "All patients" }).click();
  await saying(page.locator(".notice"), /session has ended/);
  await assertNothingLeft(page);
});

test("a nurse without a ward sees nobody and is told what to do", async () => {
  const page = await newPage();
  await signInOnPage(page, "otto");
  await saying(page.getByRole("status"), /There are no patients in your wards.*ask an administrator/);
});

test("works with the keyboard alone, and on a narrow phone nothing is cut off", async () => {
  const page = await newPage();
  await page.setViewportSize({ width: 360, height: 740 });
  await page.keyboard.type("nora");
  await page.keyboard.press("Tab");
  await page.keyboard.type(password);
  await page.keyboard.press("Enter");
  await page.getByRole("button", { name: secret.family }).waitFor();
  await page.keyboard.press("Tab"); // From the heading to the search, from there to the first row.
  await page.keyboard.type(secret.given.toLowerCase());
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await saying(status(page), /^Live$/);
  await page.locator(".vitals .when").first().waitFor();
  const wide = await page.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(wide <= 360, `the page is ${wide} px wide`);
});
