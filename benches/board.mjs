// How soon the ward board is there, by the browser's own paint timing, on the demonstration ward of 24 beds; and how large
// the page is. Warm: files from the browser's cache after revalidation, as on every load but the first.
//   RUNS  5
import { demonstrationClinic } from "../tests/browser/demonstration.mjs";
import { siteSizes } from "../scripts/site.mjs";

const runs = Number(process.env.RUNS || 5);
const clinic = await demonstrationClinic();

/** Milliseconds from the start of the navigation to the first paint with content, and to the first with a bed in it. */
async function load(page) {
  return page.evaluate(
    () =>
      new Promise((resolve) => {
        new PerformanceObserver((list, observer) => {
          observer.disconnect();
          const [first] = performance.getEntriesByName("first-contentful-paint");
          resolve({ first: first.startTime, board: list.getEntries()[0].renderTime });
        }).observe({ type: "element", buffered: true });
      }),
  );
}

const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];
try {
  const context = await clinic.profile({ viewport: { width: 1366, height: 768 } });
  const page = await context.newPage();
  await page.goto(clinic.url);
  await clinic.signIn(page, "nurse.ada");
  const cold = await load(page);
  const warm = [];
  for (let run = 0; run < runs; run += 1) {
    await page.reload();
    warm.push(await load(page));
  }
  console.log(`| load | first paint ms | board ms |\n|---|---|---|`);
  console.log(`| after sign-in (from navigation) | ${Math.round(cold.first)} | ${Math.round(cold.board)} |`);
  console.log(`| warm, median of ${runs} | ${Math.round(median(warm.map(({ first }) => first)))} | ${Math.round(median(warm.map(({ board }) => board)))} |`);
  console.log(`| warm, slowest | ${Math.round(Math.max(...warm.map(({ first }) => first)))} | ${Math.round(Math.max(...warm.map(({ board }) => board)))} |`);
  const sizes = siteSizes();
  const sum = (list, key) => list.reduce((all, one) => all + one[key], 0);
  const scripts = sizes.filter(({ file }) => file.endsWith(".js"));
  console.log(`\nscripts ${sum(scripts, "bytes")} bytes, ${sum(scripts, "gzip")} compressed; everything ${sum(sizes, "gzip")} compressed`);
} finally {
  await clinic.stop();
}
