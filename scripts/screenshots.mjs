// `make screenshots`: pictures of every view at phone, laptop and wall size, light and dark, in both languages, to look at.
//   node scripts/screenshots.mjs [PART OF A NAME ...]      OUT  .data/screenshots      BUILD  a folder of the bundle
import { mkdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { build } from "./build.mjs";
import { at, fail } from "./lib/project.mjs";
import { setup } from "./setup.mjs";
import { site } from "./site.mjs";

// BUILD names a bundle that is there already; the client is built in any case.
await setup().then(() => (process.env.BUILD ? site() : build("release"))).catch((error) => fail(error.message));
const { demonstrationClinic } = await import("../tests/browser/demonstration.mjs");
const { tour } = await import("../tests/browser/tour.mjs");
const { gateway, lastCharted } = await import("./monitor.mjs");

const out = resolve(process.env.OUT || at(".data/screenshots"));
mkdirSync(out, { recursive: true });
const sizes = { phone: [390, 844], laptop: [1366, 768], wall: [2560, 1440] };
const looks = [
  { size: "phone", scheme: "light", language: "en" },
  { size: "phone", scheme: "dark", language: "zh" },
  { size: "laptop", scheme: "light", language: "en" },
  { size: "laptop", scheme: "dark", language: "zh" },
  { size: "wall", scheme: "light", language: "en" },
  { size: "wall", scheme: "dark", language: "zh" },
];
const parts = process.argv.slice(2);

const clinic = await demonstrationClinic();
let count = 0;
// The ward is measured all the while, and for a minute before, so that the lines of the heart rate are lines.
const monitors = new AbortController();
let measuring;
const measured = new Promise((resolve) => {
  let seconds = 0;
  measuring = gateway({ url: clinic.url, charted: lastCharted(), signal: monitors.signal, line: () => (seconds += 1) > 60 && resolve() });
});
try {
  await measured;
  for (const { size, scheme, language } of looks) {
    const [width, height] = sizes[size];
    const context = await clinic.profile({ viewport: { width, height }, scheme, language });
    await tour(clinic, context, {
      wants: (name) => !parts.length || parts.some((part) => name.includes(part)),
      async visit(name, page) {
        await page.screenshot({ path: join(out, `${name}-${size}-${scheme}-${language}.png`) });
        count += 1;
      },
    });
    await context.close();
  }
} finally {
  monitors.abort();
  await measuring;
  await clinic.stop();
}
console.log(`${count} pictures in ${out}`);
