// The laws of the store port on every backend: memory, SQL and Workers KV in one process, the object inside workerd, and a
// real Redis behind two fronts over HTTP. The laws are in src/store/conformance.rs; this starts the servers, runs them and
// prints the table of law by backend.
import assert from "node:assert/strict";
import { test } from "node:test";
import { startRedis } from "../../scripts/lib/redis.mjs";
import { run } from "../../scripts/lib/run.mjs";
import { startWorkerd } from "../support/server.mjs";
import { upstash } from "../support/upstash.mjs";

/** Every backend, and the laws that it is not asked for. */
const backends = ["memory", "SQL", "KV", "object", "Redis", "Redis, Upstash"];
const bytes = "bytes_come_in_the_order_of_their_names_until_they_expire";
const ofRedis = ["numbers_go_on_after_a_wipe", "the_servers_clock_judges"];

test("every law on every backend", { timeout: 900_000 }, async (t) => {
  const fronts = await Promise.all([startRedis(), startRedis({ front: upstash })]);
  for (const front of fronts) t.after(() => front.stop());
  const server = await startWorkerd({ entry: "tests/store/laws.js" });
  t.after(() => server.stop());
  const redis = fronts.map(({ url, token }, at) => ({ name: backends[4 + at], url, token }));
  const env = { BEDSIDE_LAWS: JSON.stringify({ object: server.directUrl, redis }), RUST_BACKTRACE: "0" };
  const args = ["test", "--locked", "--lib", "store::conformance::outside::table", "--", "--ignored", "--nocapture"];
  const { code, output } = await run("cargo", args, { env, capture: true });
  const held = [...output.matchAll(/^@law (.*)$/gm)].map((found) => JSON.parse(found[1]));

  const laws = [...new Set(held.map(({ law }) => law))];
  const width = Math.max(...laws.map((law) => law.length));
  const cell = (law, backend) => {
    const found = held.find((row) => row.law === law && row.backend === backend);
    return found ? (found.held ? "holds" : "BROKEN") : "-";
  };
  const row = (name, cells) => `${name.padEnd(width)}  ${cells.map((text, at) => text.padEnd(backends[at].length + 1)).join(" ")}`.trimEnd();
  t.diagnostic(row("law", backends));
  for (const law of laws) t.diagnostic(row(law.replaceAll("_", " "), backends.map((backend) => cell(law, backend))));

  assert.equal(code, 0, output.slice(-4000));
  assert.ok(laws.length >= 15, `${laws.length} laws`);
  for (const law of laws) {
    for (const backend of backends) {
      const asked = backend === "KV" ? law === bytes : backend.startsWith("Redis") || !ofRedis.includes(law);
      assert.equal(cell(law, backend), asked ? "holds" : "-", `${law} on ${backend}`);
    }
  }
});
