// SIGKILL in the middle of publishing, on bare workerd and under wrangler dev: nothing that was acknowledged is lost, and
// listeners come back by themselves and have the whole sequence. At full length in tests/soak.
import { test } from "node:test";
import { killedWhilePublishing } from "../support/kill.mjs";
import { startWorkerd, startWranglerDev } from "../support/server.mjs";

for (const [name, start] of [["workerd", startWorkerd], ["wrangler dev", startWranglerDev]]) {
  test(`killed twice during 500 publications a second, ${name}`, async (t) => {
    const server = await start();
    t.after(() => server.stop());
    const result = await killedWhilePublishing(t, server, { rate: 500, kills: 2, between: 300 });
    t.diagnostic(JSON.stringify(result));
  });
}
