// axe-core finds no violation in any view, in both languages and both colour schemes, on a phone and on a laptop.
//   BUILD  the folder of the bundle, if not the release
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";
import { demonstrationClinic } from "./demonstration.mjs";
import { tour } from "./tour.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
const looks = [
  { language: "en", scheme: "light", viewport: { width: 1366, height: 768 } },
  { language: "en", scheme: "dark", viewport: { width: 390, height: 844 } },
  { language: "zh", scheme: "light", viewport: { width: 390, height: 844 } },
  { language: "zh", scheme: "dark", viewport: { width: 1366, height: 768 } },
  // At night nothing changes but colours.
  { language: "en", scheme: "dark", theme: "night", viewport: { width: 1366, height: 768 }, rules: ["color-contrast", "link-in-text-block"] },
];
let clinic;
before(async () => {
  clinic = await demonstrationClinic();
});
after(() => clinic?.stop());

/** Over the debugger, because the page itself lets no foreign script in. */
async function evaluate(page, expression, more) {
  const session = await page.context().newCDPSession(page);
  const { result, exceptionDetails } = await session.send("Runtime.evaluate", { expression, returnByValue: true, ...more });
  await session.detach();
  assert.equal(exceptionDetails, undefined, exceptionDetails?.exception?.description);
  return result.value;
}

/** What axe finds. Of what passes only the names of the rules are asked for: the nodes of those would be most of the work. */
async function violations(page, rules) {
  if (!(await evaluate(page, "'axe' in globalThis"))) await evaluate(page, `${axe}; 0`);
  const run = `axe.run(document, ${JSON.stringify({ runOnly: rules ?? tags, resultTypes: ["violations"] })})`;
  const short = `${run}.then(({ violations, passes }) => ({ violations, passes: passes.map(({ id }) => id) }))`;
  return evaluate(page, short, { awaitPromise: true });
}

/** Gives a page another look as another window of the same browser would, so that a view is opened once for all looks. */
async function dress(page, settings, { language, scheme, theme = "system", viewport }) {
  await page.setViewportSize(viewport);
  // Without motion, so that no colour is looked at half-way to another.
  await page.emulateMedia({ colorScheme: scheme, reducedMotion: "reduce" });
  await settings.evaluate((chosen) => localStorage.setItem("bedside.settings", JSON.stringify(chosen)), { language, theme });
  const lang = { en: "en-GB", zh: "zh-CN" }[language];
  await page.waitForFunction(
    ([lang, theme]) => document.documentElement.lang === lang && document.documentElement.dataset.theme === theme,
    [lang, theme],
  );
  await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
}

test("what axe finds is found here too", async (t) => {
  const context = await clinic.profile(looks[0]);
  t.after(() => context.close());
  const page = await context.newPage();
  await page.goto(clinic.url);
  await page.locator("#username").waitFor();
  await page.evaluate(() => document.querySelector("main").append(document.createElement("img"), document.createElement("button")));
  const { violations: found } = await violations(page);
  assert.deepEqual(found.map(({ id }) => id).sort(), ["button-name", "image-alt"]);
});

test("no violation in any view, in both languages, light, dark and at night, on a phone and on a laptop", async (t) => {
  const context = await clinic.profile(looks[0]);
  t.after(() => context.close());
  const settings = await context.newPage();
  await settings.goto(`${clinic.url}/icon.svg`);
  const checked = new Map();
  const wrong = [];
  let spent = 0;
  await tour(clinic, context, {
    async visit(name, page) {
      for (const look of looks) {
        const { language, scheme, theme, viewport, rules } = look;
        const called = `${name} in ${language}, ${theme ?? scheme}, ${viewport.width} px`;
        await dress(page, settings, look);
        const begun = performance.now();
        const { violations: found, passes } = await violations(page, rules);
        spent += performance.now() - begun;
        assert.ok(passes.includes("color-contrast"), `${called}: contrast was looked at`);
        checked.set(name, (checked.get(name) ?? 0) + passes.length);
        for (const { id, help, nodes } of found) {
          wrong.push(`${called}: ${id}: ${help}\n${nodes.slice(0, 5).map(({ html, failureSummary }) => `    ${html}\n    ${failureSummary}`).join("\n")}`);
        }
      }
    },
  });
  t.diagnostic(`rules passed in ${looks.length} looks: ${[...checked].map(([name, count]) => `${name} ${count}`).join(", ")}`);
  t.diagnostic(`${Math.round(spent)} ms in axe`);
  assert.deepEqual(wrong, [], wrong.join("\n"));
});
