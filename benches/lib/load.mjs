// A load generator for benchmarks and tests: keep-alive sockets in HTTP/1.1, each with one request under way, requests made
// beforehand. It costs about 15 us of CPU a request, a tenth of what `fetch` does; it shares the machine with the server.
import { connect } from "node:net";

/** The bytes of a request; headers as an object, a body as text. */
export function request(method, path, headers = {}, body) {
  const lines = Object.entries({ host: "load", ...headers }).map(([name, value]) => `${name}: ${value}\r\n`);
  const length = body === undefined ? "" : `content-length: ${Buffer.byteLength(body)}\r\n`;
  return Buffer.from(`${method} ${path} HTTP/1.1\r\n${lines.join("")}${length}\r\n${body ?? ""}`);
}

const END = Buffer.from("\r\n\r\n");
const LAST_CHUNK = Buffer.from("\r\n0\r\n\r\n");

/** The first whole reply of `bytes`, { status, head, body, end }; undefined where it is not whole yet. */
function parse(bytes) {
  const split = bytes.indexOf(END);
  if (split < 0) return undefined;
  const head = bytes.latin1Slice(0, split);
  const status = Number(head.slice(9, 12));
  const length = head.match(/\r\ncontent-length: *(\d+)/i);
  let end = split + 4;
  if (length) end += Number(length[1]);
  else if (/\r\ntransfer-encoding: *chunked/i.test(head)) {
    // Our servers' bodies are small and hold no such line.
    const last = bytes.indexOf(LAST_CHUNK, split + 2);
    if (last < 0) return undefined;
    end = last + LAST_CHUNK.length;
  }
  return end <= bytes.length ? { status, head, body: bytes.subarray(split + 4, end), end } : undefined;
}

/** One connection: ask(bytes) resolves with its reply, or rejects when the connection is lost or `within` ms are over. */
export function connection(port, { within = 30_000 } = {}) {
  let socket;
  let waiting;
  let rest;
  const settle = (outcome, value) => {
    const { timer, resolve, reject } = waiting ?? {};
    waiting = undefined;
    clearTimeout(timer);
    if (outcome) resolve?.(value);
    else reject?.(value);
  };
  const open = () => {
    socket = connect({ port, host: "127.0.0.1", noDelay: true });
    rest = undefined;
    const lost = (error) => {
      socket = undefined;
      settle(false, error ?? new Error("the connection was closed"));
    };
    socket.on("error", lost).on("close", () => lost());
    socket.on("data", (chunk) => {
      rest = rest ? Buffer.concat([rest, chunk]) : chunk;
      const reply = parse(rest);
      if (!reply) return;
      rest = reply.end < rest.length ? rest.subarray(reply.end) : undefined;
      settle(true, reply);
    });
  };
  return {
    ask: (bytes) =>
      new Promise((resolve, reject) => {
        if (!socket) open();
        const timer = setTimeout(() => {
          socket?.removeAllListeners().on("error", () => {}).destroy();
          socket = undefined;
          settle(false, new Error(`no reply within ${within} ms`));
        }, within);
        waiting = { resolve, reject, timer };
        socket.write(bytes);
      }),
    close: () => socket?.removeAllListeners().on("error", () => {}).destroy(),
  };
}

/** The value below which this part of `list` is. */
export const quantile = (list, part) => list.toSorted((a, b) => a - b)[Math.min(list.length - 1, Math.floor(list.length * part))];

/**
 * Asks `requests` by turns over `connections` sockets of `port`, for `seconds` after `warm` more that do not count. A reply
 * that is not `status` ends it with an error. Resolves with { perSecond, p50, p99, max, replies }, times in ms.
 */
export async function load({ port, requests, connections = 16, seconds = 2, warm = 0.3, status = 200 }) {
  const sockets = Array.from({ length: connections }, () => connection(port));
  const times = [];
  const begin = performance.now() + warm * 1000;
  const end = begin + seconds * 1000;
  let next = 0;
  const run = async (socket) => {
    for (let now = performance.now(); now < end; ) {
      next = (next + 1) % requests.length;
      const reply = await socket.ask(requests[next]);
      const after = performance.now();
      if (reply.status !== status) throw new Error(`a reply was ${reply.status}: ${reply.body.toString().slice(0, 300)}`);
      if (now >= begin) times.push(after - now);
      now = after;
    }
  };
  try {
    await Promise.all(sockets.map(run));
  } finally {
    for (const socket of sockets) socket.close();
  }
  const took = (performance.now() - begin) / 1000;
  return { perSecond: times.length / took, p50: quantile(times, 0.5), p99: quantile(times, 0.99), max: Math.max(...times), replies: times.length };
}

/** Prints rows of cells under a head, in columns. */
export function table(head, rows) {
  const widths = head.map((_, column) => Math.max(...[head, ...rows].map((row) => `${row[column]}`.length)));
  for (const row of [head, ...rows]) console.log(row.map((cell, column) => `${cell}`.padEnd(widths[column])).join("  ").trimEnd());
}
