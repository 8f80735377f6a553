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
  { language: "en", scheme: "dark", theme: "night", viewport: { width: 1366, height: 768 } },
];
let clinic;
before(async () => {
  clinic = await demonstrationClinic();
});
after(() => clinic?.stop());

/** Runs axe over the page; over the debugger, because the page itself lets no foreign script in. */
async function violations(page) {
  const session = await page.context().newCDPSession(page);
  const evaluate = async (expression, more) => {
    const { result, exceptionDetails } = await session.send("Runtime.evaluate", { expression, returnByValue: true, ...more });
    assert.equal(exceptionDetails, undefined, exceptionDetails?.exception?.description);
    return result.value;
  };
  await evaluate(`${axe}; 0`);
  const found = await evaluate(`axe.run(document, ${JSON.stringify({ runOnly: tags })})`, { awaitPromise: true });
  await session.detach();
  return found;
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

for (const look of looks) {
  const { language, scheme, theme, viewport } = look;
  test(`no violation in ${language}, ${theme ?? scheme}, ${viewport.width} px`, async (t) => {
    const context = await clinic.profile(look);
    t.after(() => context.close());
    let checked = 0;
    const wrong = [];
    await tour(clinic, context, {
      async visit(name, page) {
        const { violations: found, passes } = await violations(page);
        assert.ok(passes.some(({ id }) => id === "color-contrast"), `${name}: contrast was looked at`);
        checked += passes.length;
        for (const { id, help, nodes } of found) {
          wrong.push(`${name}: ${id}: ${help}\n${nodes.slice(0, 5).map(({ html, failureSummary }) => `    ${html}\n    ${failureSummary}`).join("\n")}`);
        }
      },
    });
    assert.deepEqual(wrong, [], wrong.join("\n"));
    t.diagnostic(`${checked} rules passed`);
  });
}
