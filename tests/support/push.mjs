// Publishers and listeners that go on through whatever happens to the server, as clients in the field do.
import { publisher } from "../../benches/push/load.mjs";

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * Publishes notices { n: 1, 2, ... } at `rate` a second, each under an id of its own, and again under it until it is
 * acknowledged. acknowledged is a Map from n to cursor; stop() resolves when every one begun is.
 */
export function keepPublishing({ port, path, token, rate, workers = 16 }) {
  const target = { port, path, headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" } };
  const acknowledged = new Map();
  const [start, counts] = [performance.now(), { repeated: 0, failed: 0 }];
  let begun = 0;
  let over = false;
  const work = async () => {
    let connection = publisher(target);
    while (!over) {
      const n = (begun += 1);
      const wait = start + (n * 1000) / rate - performance.now();
      if (wait > 0) await pause(wait);
      const body = JSON.stringify({ id: `n-${n}`, kind: "notice", data: { n, t: Number(process.hrtime.bigint()) } });
      for (;;) {
        try {
          const reply = await connection.post(body);
          if (reply.status < 300) {
            counts.repeated += reply.status === 200;
            acknowledged.set(n, JSON.parse(reply.body).cursor);
            break;
          }
        } catch {
          // The server is gone, or was: it may have taken the notice.
        }
        counts.failed += 1;
        connection.close();
        await pause(50);
        connection = publisher(target);
      }
    }
    connection.close();
  };
  const all = Promise.all(Array.from({ length: workers }, work));
  return {
    acknowledged,
    counts,
    stop: () => {
      over = true;
      return all;
    },
  };
}

/**
 * Listens over WebSocket and comes back with its cursor whenever it is cut off: { events, gaps, connections, stop() }. It
 * acknowledges as it reads.
 */
export function keepListening({ url, topic, token, after }) {
  const self = { events: [], gaps: 0, connections: 0, cursor: after };
  let socket;
  let over = false;
  const connect = () => {
    if (over) return;
    const query = self.cursor ? `?after=${encodeURIComponent(self.cursor)}` : "";
    socket = new WebSocket(`${url.replace("http", "ws")}/channels/${topic}${query}`, {
      protocols: "bedside.v1",
      headers: { authorization: `Bearer ${token}` },
    });
    let since = 0;
    socket.onmessage = ({ data }) => {
      const frame = JSON.parse(data);
      if (frame.type === "hello") {
        self.connections += 1;
        self.cursor ??= frame.cursor;
      }
      if (frame.type === "gap") self.gaps += 1;
      if (frame.type !== "events") return;
      self.events.push(...frame.events);
      self.cursor = frame.events.at(-1).cursor;
      since += frame.events.length;
      if (since < 256) return;
      since = 0;
      socket.send(JSON.stringify({ type: "ack", cursor: self.cursor }));
    };
    // Where no connection is made there is an error and no close, and after an error of an open one both.
    let gone = false;
    socket.onerror = socket.onclose = () => {
      if (!gone) setTimeout(connect, 20 + Math.random() * 80);
      gone = true;
    };
  };
  connect();
  self.stop = () => {
    over = true;
    socket.close();
  };
  return self;
}
