// The model of the cache (src/chart/cache/model) with its heads and fill tokens on a real Redis over HTTP: readers, writers
// and fillers with faults, at least 10,000 steps without read leases and 10,000 with.
import assert from "node:assert/strict";
import { test } from "node:test";
import { startRedis } from "../../scripts/lib/redis.mjs";
import { run } from "../../scripts/lib/run.mjs";
import { upstash } from "../support/upstash.mjs";

test("no read is older than the last acknowledged write, with heads on a real Redis", { timeout: 600_000 }, async (t) => {
  const redis = await startRedis({ front: upstash });
  t.after(() => redis.stop());
  const env = { BEDSIDE_LAWS: JSON.stringify({ name: "Redis", url: redis.url, token: redis.token }), RUST_BACKTRACE: "0" };
  const args = ["test", "--locked", "--lib", "chart::cache::model::heads_on_a_real_redis", "--", "--ignored", "--nocapture"];
  const { code, output } = await run("cargo", args, { env, capture: true });
  const counts = [...output.matchAll(/^heads apart, Redis.*$/gm)].map(([line]) => line);
  for (const line of counts) t.diagnostic(line);
  assert.equal(code, 0, output.slice(-3000));
  assert.ok(counts.length >= 2);
});
