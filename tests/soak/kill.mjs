// The server killed ten times during 500 publications a second for a minute, on bare workerd and under wrangler dev.
import { after, test } from "node:test";
import { killedWhilePublishing } from "../support/kill.mjs";
import { startWorkerd, startWranglerDev } from "../support/server.mjs";

for (const [name, start] of [["workerd", startWorkerd], ["wrangler dev", startWranglerDev]]) {
  test(`killed ten times during 500 publications a second, ${name}`, { timeout: 1_800_000 }, async (t) => {
    const server = await start();
    after(() => server.stop());
    const result = await killedWhilePublishing(t, server, { rate: 500, kills: 10, between: 3_000, listeners: 20 });
    console.log(name, JSON.stringify(result));
  });
}
