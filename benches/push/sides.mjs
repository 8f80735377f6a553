// The servers that are measured, each { name, target, listen, body, stop }: where to post, where to listen, and what
// an event is that was published at this nanosecond.
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { firstAnswer } from "../../scripts/lib/poll.mjs";
import { at, workerd } from "../../scripts/lib/project.mjs";
import { supervised } from "../../scripts/lib/supervised.mjs";
import { temporary } from "../../scripts/lib/temporary.mjs";
import { need } from "../../scripts/need.mjs";
import { administrator } from "../../tests/support/client.mjs";
import { startWorkerd } from "../../tests/support/server.mjs";

const flags = ["--max-semi-space-size=1"];
/** About as much as a reading of a monitor. */
const filling = `"patient":"p-000017","code":"8867-4","value":72,"unit":"/min","device":"monitor-12"`;

export const bedside = () => served("Bedside", {});
/** Sessions that were just looked up are relied on for as long. */
export const relying = () => served("with READ_LEASE_MS", { READ_LEASE_MS: "300" });

async function served(name, vars) {
  const server = await startWorkerd({ flags, vars });
  const admin = await administrator(server, server.directUrl);
  const headers = { Authorization: `Bearer ${admin.token}`, "Content-Type": "application/json" };
  const port = Number(new URL(server.directUrl).port);
  const path = "/channels/ward/w";
  return {
    name,
    target: { port, path, headers },
    listen: { port, path, headers: { ...headers, "Sec-WebSocket-Protocol": "bedside.v1" }, every: 256 },
    body: (t) => `{"kind":"notice","data":{"t":${t},${filling}}}`,
    pid: server.pid,
    stop: () => server.stop(),
  };
}

export async function room() {
  const folder = temporary("bench");
  mkdirSync(`${folder}/data`);
  writeFileSync(
    `${folder}/config.capnp`,
    `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [ (name = "room", worker = .room), (name = "data", disk = (path = "${folder}/data", writable = true)) ],
  sockets = [ (name = "http", address = "127.0.0.1:0", http = (), service = "room") ],
  v8Flags = [${flags.map((flag) => `"${flag}"`).join(", ")}],
);
const room :Workerd.Worker = (
  compatibilityDate = "2026-10-01",
  modules = [ (name = "room.js", esModule = embed "room.js") ],
  bindings = [ (name = "ROOMS", durableObjectNamespace = "Room") ],
  durableObjectNamespaces = [ (className = "Room", uniqueKey = "room", enableSql = true) ],
  durableObjectStorage = (localDisk = "data"),
);
`,
  );
  writeFileSync(`${folder}/room.js`, (await import("node:fs")).readFileSync(at("benches/push/room.js")));
  const child = supervised(workerd, ["serve", "--control-fd=3", `${folder}/config.capnp`, "config"], { remove: [folder] });
  const [{ port }] = await child.control(1);
  const target = { port, path: "/" };
  return {
    name: "plain room",
    target,
    listen: target,
    body: (t) => `{"t":${t},${filling}}`,
    pid: await child.pid(),
    stop: () => child.stop(),
  };
}

const freePort = () =>
  new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });

export async function nchan() {
  const nginx = await need("nginx-nchan");
  const folder = temporary("bench");
  const port = await freePort();
  writeFileSync(
    `${folder}/nginx.conf`,
    `load_module /usr/lib/nginx/modules/ngx_nchan_module.so;
daemon off; pid ${folder}/pid; error_log ${folder}/error.log; worker_processes 1;
events { worker_connections 8192; }
http {
  access_log off; client_body_temp_path ${folder}/body; proxy_temp_path ${folder}/proxy; fastcgi_temp_path ${folder}/fastcgi;
  uwsgi_temp_path ${folder}/uwsgi; scgi_temp_path ${folder}/scgi; keepalive_requests 10000000;
  nchan_shared_memory_size 256M;
  server {
    listen 127.0.0.1:${port};
    location = /publish { nchan_publisher; nchan_channel_id w; nchan_message_buffer_length 100000; nchan_message_timeout 1h; }
    location = /listen { nchan_subscriber websocket; nchan_channel_id w; nchan_subscriber_first_message newest; }
  }
}
`,
  );
  const child = supervised(nginx, ["-c", `${folder}/nginx.conf`, "-p", folder], { remove: [folder] });
  await firstAnswer(`http://127.0.0.1:${port}/`, { alive: () => child.running, within: 20_000 });
  return {
    name: "Nchan, memory",
    target: { port, path: "/publish", headers: { "Content-Type": "application/json" } },
    listen: { port, path: "/listen" },
    body: (t) => `{"t":${t},${filling}}`,
    pid: await child.pid(),
    stop: () => child.stop(),
  };
}

export const remove = (folder) => rmSync(folder, { recursive: true, force: true });
