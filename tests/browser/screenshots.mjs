// Pictures of every view at phone, laptop and wall size, in both colour schemes, to look at.
//   node tests/browser/screenshots.mjs OUTDIR          BUILD=folder of the bundle (default build/release)
import { mkdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { fail } from "../../scripts/lib/project.mjs";
import { clinic, launch, secret, signInOnPage } from "./scene.mjs";

const out = resolve(process.argv[2] ?? fail("usage: node tests/browser/screenshots.mjs OUTDIR"));
mkdirSync(out, { recursive: true });

const sizes = { phone: [360, 740], laptop: [1366, 768], wall: [2560, 1440] };
const looks = [["phone", "light"], ["laptop", "light"], ["wall", "light"], ["phone", "dark"], ["laptop", "dark"]];
const person = (family, given, birthDate) => ({ name: [{ family, given: [given] }], birthDate });
const minute = 60_000;

const [browser, scene] = await Promise.all([
  launch(),
  clinic({
    patients: [
      person("Abendroth-Vandenberghe", "Maximiliane Friederike", "1938-11-02"),
      person("Keller", "Anna", "1984-07-19"),
      person("Li", "Wei", "2025-12-24"),
      person("Okonkwo", "Chidi", "1969"),
    ],
  }),
]);
try {
  const now = Date.now();
  for (let index = 0; index < 60; index += 1) {
    await scene.heartRate(Math.round(76 + 6 * Math.sin(index / 7) + (index % 5)), now - (60 - index) * 5_000);
  }
  const one = (value, unit, code) => ({ valueQuantity: scene.quantity(value, unit, code) });
  await scene.bloodPressure(128, 82, now - 14 * minute);
  await scene.observe("59408-5", one(97, "%"), now - minute);
  await scene.observe("9279-1", one(16, "breaths/minute", "/min"), now - 3 * minute);
  await scene.observe("8310-5", one(37.4, "C", "Cel"), now - 130 * minute);

  for (const [size, colorScheme] of looks) {
    const [width, height] = sizes[size];
    const context = await browser.newContext({ viewport: { width, height }, colorScheme });
    const page = await context.newPage();
    const picture = (name) => page.screenshot({ path: join(out, `${name}-${size}-${colorScheme}.png`) });
    const live = () => page.locator(".strip[data-phase=live]").waitFor();
    await page.goto(scene.server.url);
    await page.getByLabel("User name").waitFor();
    await picture("1-sign-in");
    await signInOnPage(page, "nora", "wrong");
    await page.getByText("password is wrong").waitFor();
    await picture("2-sign-in-wrong");
    await page.clock.install();
    await signInOnPage(page);
    await page.locator(".row-bed").first().waitFor();
    await picture("3-patients");
    await page.getByRole("button", { name: secret.family }).click();
    await live();
    await page.getByText("Temperature").waitFor();
    await scene.heartRate(81);
    await page.locator(".rate-number", { hasText: "81" }).waitFor();
    await page.locator(".vitals div").nth(3).waitFor();
    await picture("4-patient");
    await context.setOffline(true);
    await page.locator(".strip[data-phase=offline]").waitFor();
    await page.clock.runFor(75_000);
    await picture("5-patient-offline");
    await context.close();
  }
} finally {
  await browser.close();
  await scene.stop();
}
console.log(`pictures in ${out}`);
