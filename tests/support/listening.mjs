// A server with a user whose sockets are opened on two topics: for tests of how they end.
import assert from "node:assert/strict";
import { startRedis } from "../../scripts/lib/redis.mjs";
import { PASSWORD, administrator, patient } from "./client.mjs";
import { startWorkerd } from "./server.mjs";
import { connect, within } from "./socket.mjs";

/** TRIALS=20 is enough to see that it works. */
export const TRIALS = Number(process.env.TRIALS ?? 100);
/** What the product promises. */
export const PROMISED_MS = 1_000;
/** The close code of a session that has ended. */
export const ENDED = 4100;

const all = {
  objects: async () => ({}),
  redis: async (t) => {
    const redis = await startRedis();
    t.after(() => redis.stop());
    return redis.vars;
  },
};
/** Where sessions are kept, [name, settings(t)] each; what they need ends with the test. BACKENDS=redis,objects chooses. */
export const backends = Object.entries(all).filter(([name]) => (process.env.BACKENDS ?? "objects").split(",").includes(name));

/** { server, admin, user(), listen(), open() } on a fresh server that ends with the test. */
export async function ready(t, vars) {
  const server = await startWorkerd({ entry: "tests/workerd/faulty.js", vars });
  t.after(() => server.stop());
  const admin = await administrator(server);
  assert.equal((await admin.put("/fhir/Patient/p", patient("p"))).status, 201);
  const user = async (username, more = {}) => {
    const made = await admin.post("/users", { username, name: "N", role: "nurse", password: PASSWORD, ...more });
    assert.equal(made.status, 201, made.text);
    return made.body.id;
  };
  /** Sockets on two topics, open: { sockets, ended }; `ended()` resolves with when the last of them was closed. */
  const listen = async (token, id) => {
    const sockets = ["patient/p", `user/${id}`].map((topic) => connect(t, server.url, token, topic));
    for (const { hello } of sockets) assert.ok(await within(20_000, hello, "hello"));
    const ended = async () => {
      const all = await within(120_000, Promise.all(sockets.map(({ ended }) => ended)), "the end");
      for (const [index, { code }] of all.entries()) {
        assert.equal(code, ENDED);
        assert.deepEqual(sockets[index].frames.at(-1), { type: "bye", code: ENDED, resume: false });
      }
      return Math.max(...all.map(({ at }) => at));
    };
    return { sockets, ended };
  };
  const open = async (topic) => (await admin.get(`/sockets/${topic}`)).body;
  return { server, admin, user, listen, open };
}
