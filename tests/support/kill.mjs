// The server killed in the middle of publishing, and what everybody has afterwards.
import assert from "node:assert/strict";
import { administrator } from "./client.mjs";
import { keepListening, keepPublishing } from "./push.mjs";
import { poll } from "./server.mjs";

/**
 * Publishes at `rate` to `server` (port 0 of it taken from its URL), kills it `kills` times, each after so many more
 * acknowledgements, and holds what the listeners and the pages have against what was acknowledged.
 */
export async function killedWhilePublishing(t, server, { rate, kills, between, listeners = 3 }) {
  const admin = await administrator(server);
  const topic = "ward/w";
  const start = (await admin.get(`/channels/${topic}`)).body.cursor;
  const all = Array.from({ length: listeners }, () => keepListening({ url: server.url, topic, token: admin.token, after: start }));
  t.after(() => all.forEach((one) => one.stop()));
  await poll("the listeners", () => all.every((one) => one.connections > 0), { within: 60_000 });
  const begun = performance.now();
  const publishing = keepPublishing({ port: server.port, path: `/channels/${topic}`, token: admin.token, rate });
  let away = 0;
  for (let kill = 1; kill <= kills; kill += 1) {
    const before = publishing.acknowledged.size;
    await poll("acknowledgements", () => publishing.acknowledged.size >= before + between, { within: 180_000 });
    const killed = performance.now();
    await server.restart({ signal: "SIGKILL" });
    away += performance.now() - killed;
  }
  const before = publishing.acknowledged.size;
  await poll("acknowledgements after the last", () => publishing.acknowledged.size >= before + between, { within: 180_000 });
  await publishing.stop();
  const total = publishing.acknowledged.size;
  const seconds = (performance.now() - begun) / 1000;
  const [perSecond, whileUp] = [seconds, seconds - away / 1000].map((time) => Math.round(total / time));
  await poll("the listeners to have everything", () => all.every((one) => one.events.length >= total), { within: 180_000 });

  const pages = [];
  for (let after = start; ; ) {
    const page = (await admin.get(`/channels/${topic}?after=${after}&limit=1000`)).body;
    assert.equal(page.gap, null);
    if (!page.events.length) break;
    pages.push(...page.events);
    after = page.cursor;
  }
  // Everything that was acknowledged is there once, where it was said to be, and nothing else is.
  assert.deepEqual(new Map(pages.map((event) => [event.data.n, event.cursor])), publishing.acknowledged);
  assert.equal(pages.length, total);
  pages.forEach((event, index) => assert.equal(Number(event.cursor.split(":")[1]), index + 1));
  for (const one of all) {
    assert.deepEqual(one.events, pages);
    assert.equal(one.gaps, 0);
    assert.ok(one.connections > kills, `${one.connections} connections`);
  }
  return { total, perSecond, whileUp, ...publishing.counts, connections: all.map((one) => one.connections) };
}
