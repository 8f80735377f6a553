// What is measured: { name, port, grant(lease, wait), revoke(lease, granted), pair(lease), stop() }, each request as bytes.
import { writeFileSync } from "node:fs";
import { at, esbuild, workerd } from "../../scripts/lib/project.mjs";
import { run } from "../../scripts/lib/run.mjs";
import { supervised } from "../../scripts/lib/supervised.mjs";
import { temporary } from "../../scripts/lib/temporary.mjs";
import { administrator } from "../../tests/support/client.mjs";
import { startWorkerd } from "../../tests/support/server.mjs";
import { request } from "../lib/load.mjs";

const flags = ["--max-semi-space-size=1"];
let requests = 0;

/** Bedside, with leases where `vars` say. */
export async function bedside(name, vars) {
  const server = await startWorkerd({ vars, flags });
  const admin = await administrator(server, server.directUrl);
  const headers = { authorization: `Bearer ${admin.token}`, "content-type": "application/json" };
  return {
    name,
    port: Number(new URL(server.directUrl).port),
    grant: (lease, wait = 0) => {
      requests += 1;
      return request("POST", `/leases/${lease}`, headers, `{"request_id":"r${requests}","ttl_seconds":30,"wait_seconds":${wait}}`);
    },
    revoke: (lease, { fence }) => request("DELETE", `/leases/${lease}?fence=${fence}`, headers),
    stop: () => server.stop(),
  };
}

/** @upstash/lock in a Worker of its own on the Redis of `vars`. `session`: it looks one up before. */
export async function lock(name, { REDIS_URL, REDIS_TOKEN }, { session = false } = {}) {
  const folder = temporary("bench");
  const bundle = [at("benches/leases/lock.js"), "--bundle", "--format=esm", "--platform=browser", `--outfile=${folder}/lock.js`];
  const { code, output } = await run(esbuild, bundle, { capture: true });
  if (code) throw new Error(output);
  writeFileSync(
    `${folder}/config.capnp`,
    `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [ (name = "lock", worker = .lock), (name = "internet", network = (allow = ["public", "private"])) ],
  sockets = [ (name = "http", address = "127.0.0.1:0", http = (), service = "lock") ],
  v8Flags = [${flags.map((flag) => `"${flag}"`).join(", ")}],
);
const lock :Workerd.Worker = (
  compatibilityDate = "2026-10-01",
  modules = [ (name = "lock.js", esModule = embed "lock.js") ],
  bindings = [ (name = "REDIS_URL", fromEnvironment = "REDIS_URL"), (name = "REDIS_TOKEN", fromEnvironment = "REDIS_TOKEN") ],
);
`,
  );
  const env = { REDIS_URL, REDIS_TOKEN };
  const child = supervised(workerd, ["serve", "--control-fd=3", `${folder}/config.capnp`, "config"], { env, remove: [folder] });
  const [{ port }] = await child.control(1);
  const more = session ? "&session" : "";
  return {
    name,
    port,
    // As often as it takes for `wait` seconds.
    grant: (lease, wait = 0) => request("POST", `/${lease}?attempts=${wait ? wait * 10 : 1}${more}`),
    revoke: (lease, { uuid }) => request("DELETE", `/${lease}?uuid=${uuid}${more}`),
    pair: (lease) => request("POST", `/${lease}?pair${more}`),
    stop: () => child.stop(),
  };
}
