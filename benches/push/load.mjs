// Listeners in a process of their own, and publishers over plain sockets.
import { spawn } from "node:child_process";
import { connect } from "node:net";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { node } from "../../scripts/lib/project.mjs";

export const now = () => Number(process.hrtime.bigint());

/** Starts `count` listeners; resolves when all are open: { report(), stop(), pid }. */
export async function listeners(options) {
  const script = fileURLToPath(new URL("listeners.mjs", import.meta.url));
  const child = spawn(node, [script, JSON.stringify(options)], { stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async () => {
    const { value, done } = await lines.next();
    if (done) throw new Error("the listeners ended");
    return JSON.parse(value);
  };
  await next();
  return {
    pid: child.pid,
    report: () => {
      child.stdin.write("\n");
      return next();
    },
    stop: () => new Promise((resolve) => child.once("close", resolve) && child.stdin.end()),
  };
}

/** One connection that posts one body after the other; post(body) resolves with { status, body }. */
export function publisher({ port, path, headers = {} }) {
  const socket = connect({ port, host: "127.0.0.1", noDelay: true });
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`).join("");
  let rest = "";
  let settle;
  socket.setEncoding("latin1");
  socket.on("data", (chunk) => {
    rest += chunk;
    const end = rest.indexOf("\r\n\r\n");
    if (end < 0) return;
    const head = rest.slice(0, end);
    const length = Number(head.match(/^content-length: (\d+)/im)?.[1] ?? 0);
    const [from, to] = [end + 4, end + 4 + length];
    if (rest.length < to) return;
    const reply = { status: Number(head.slice(9, 12)), body: rest.slice(from, to) };
    rest = rest.slice(to);
    settle.resolve(reply);
  });
  const broken = (error) => settle?.reject(error ?? new Error("the connection was closed"));
  socket.on("error", broken).on("close", () => broken());
  return {
    post: (body) =>
      new Promise((resolve, reject) => {
        // It may have been closed since the last answer, when nobody waited for one.
        if (socket.destroyed) return reject(new Error("the connection was closed"));
        settle = { resolve, reject };
        const length = Buffer.byteLength(body);
        socket.write(`POST ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n${lines}Content-Length: ${length}\r\n\r\n${body}`);
      }),
    close: () => socket.destroy(),
  };
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Publishes `rate` a second for `seconds`, whatever the answers take; resolves with how many when all are answered. */
export async function atRate({ target, body, rate, seconds, connections = 8 }) {
  const free = Array.from({ length: connections }, () => publisher(target));
  const all = [...free];
  const total = rate * seconds;
  const start = performance.now();
  const under = [];
  for (let number = 0; number < total; number += 1) {
    const wait = start + (number * 1000) / rate - performance.now();
    if (wait > 0) await pause(wait);
    while (!free.length) await Promise.race(under);
    const one = free.pop();
    const posted = one.post(body(now())).then(({ status, body: text }) => {
      if (status >= 300) throw new Error(`${status} ${text}`);
      free.push(one);
      under.splice(under.indexOf(posted), 1);
    });
    under.push(posted);
  }
  await Promise.all(under);
  all.forEach((one) => one.close());
  return total;
}

/** Publishes `total` as fast as the answers come. */
export async function asFastAsItGoes({ target, body, total, connections = 16 }) {
  let left = total;
  const work = async () => {
    const one = publisher(target);
    while (left-- > 0) {
      const { status, body: text } = await one.post(body(now()));
      if (status >= 300) throw new Error(`${status} ${text}`);
    }
    one.close();
  };
  await Promise.all(Array.from({ length: connections }, work));
}
