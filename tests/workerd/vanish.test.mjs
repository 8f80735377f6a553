// A hundred clients of event streams that vanish without closing: their network is gone, nothing says so.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { test } from "node:test";
import { node } from "../../scripts/lib/project.mjs";
import { administrator, patient } from "../support/client.mjs";
import { poll, startWorkerd } from "../support/server.mjs";

test("a hundred event streams whose clients vanish leave no socket in the object after a heartbeat", async (t) => {
  const server = await startWorkerd({ entry: "tests/workerd/faulty.js" });
  t.after(() => server.stop());
  const admin = await administrator(server);
  assert.equal((await admin.put("/fhir/Patient/p", patient("p"))).status, 201);
  const sockets = async () => (await admin.get("/sockets/patient/p")).body;
  // Each reads what comes until it is killed; a killed process sends no closing handshake and ends no request.
  const script = `
    import { connect } from "node:net";
    const { port } = new URL(process.argv[1]);
    for (let i = 0; i < 100; i++) {
      connect({ port, host: "127.0.0.1" }).on("data", () => {}).on("error", () => {})
        .write("GET /channels/patient/p HTTP/1.1\\r\\nHost: 127.0.0.1\\r\\nAccept: text/event-stream\\r\\nAuthorization: " + process.argv[2] + "\\r\\n\\r\\n");
    }`;
  const child = spawn(node, ["--input-type=module", "-e", script, server.url, `Bearer ${admin.token}`], { stdio: "ignore" });
  t.after(() => child.kill("SIGKILL"));
  await poll("their sockets", async () => (await sockets()) === 100, { within: 60_000 });
  child.kill("SIGKILL");
  const since = performance.now();
  // A heartbeat is sent every 15 s, and the platform notices when it cannot be.
  await poll("their sockets to be gone", async () => (await sockets()) === 0, { within: 40_000 });
  t.diagnostic(`gone after ${((performance.now() - since) / 1000).toFixed(1)} s`);
  assert.equal((await admin.post("/channels/patient/p", { kind: "notice", data: {} })).status, 201);
});
