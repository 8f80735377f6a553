// Many WebSocket listeners in one process, as cheap as they can be: node listeners.mjs '{"port","path","headers","count","every"}'.
// Each counts events by their `"t":NANOSECONDS`, the time at which they were published (the machine's monotonic clock), and
// acknowledges after `every` events. With `readings` it counts those of telemetry, and the first ten listeners say how old
// each was. Prints {"ready":N} when all are open; for each line of its input, what came since the
// last: {"delivered","fewest","most","p50","p99","last"}. Ends with its parent.
import { randomBytes } from "node:crypto";
import { connect } from "node:net";

const { port, path, headers = {}, count, every = Infinity, readings = false } = JSON.parse(process.argv[2]);
const now = () => Number(process.hrtime.bigint());
const mark = Buffer.from(readings ? '"values":' : '"t":');
const position = Buffer.from('"cursor":"');
const latencies = [];
const delivered = new Uint32Array(count);
let last = 0;
let open = 0;
let closed = 0;

/** The text as a frame of a client (RFC 6455 section 5.2), masked with zeros. */
function frame(text) {
  const payload = Buffer.from(text);
  return Buffer.concat([Buffer.from([0x81, 0x80 | payload.length, 0, 0, 0, 0]), payload]);
}

function take(payload, index, at) {
  let events = 0;
  if (readings) {
    for (let from = 0; (from = payload.indexOf(mark, from)) >= 0; from += mark.length) events += 1;
    delivered[index] += events;
    if (!events || index >= 10) return events;
    const arrived = Date.now();
    for (const { kind, data } of JSON.parse(payload.toString()).events) {
      if (kind === "telemetry") for (const reading of data.readings) latencies.push((arrived - Date.parse(reading.at)) * 1e6);
    }
    return events;
  }
  for (let from = 0; (from = payload.indexOf(mark, from)) >= 0; events += 1) {
    from += mark.length;
    let sent = 0;
    for (let digit; (digit = payload[from] - 48) >= 0 && digit <= 9; from += 1) sent = sent * 10 + digit;
    latencies.push(at - sent);
  }
  delivered[index] += events;
  if (events) last = at;
  return events;
}

function listen(index) {
  const socket = connect({ port, host: "127.0.0.1", noDelay: true });
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.write(
    `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n` +
      `Sec-WebSocket-Key: ${randomBytes(16).toString("base64")}\r\n${lines.join("")}\r\n`,
  );
  let rest = Buffer.alloc(0);
  let upgraded = false;
  let unacknowledged = 0;
  socket.on("data", (chunk) => {
    const at = now();
    let data = rest.length ? Buffer.concat([rest, chunk]) : chunk;
    if (!upgraded) {
      const end = data.indexOf("\r\n\r\n");
      if (end < 0) return void (rest = data);
      if (!data.subarray(0, 12).equals(Buffer.from("HTTP/1.1 101"))) throw new Error(data.toString());
      upgraded = true;
      data = data.subarray(end + 4);
      if ((open += 1) === count) console.log(JSON.stringify({ ready: count }));
    }
    for (;;) {
      if (data.length < 2) break;
      let length = data[1] & 127;
      let begin = 2;
      if (length === 126) [length, begin] = data.length < 4 ? [Infinity, 4] : [data.readUInt16BE(2), 4];
      else if (length === 127) [length, begin] = data.length < 10 ? [Infinity, 10] : [Number(data.readBigUInt64BE(2)), 10];
      if (data.length < begin + length) break;
      const payload = data.subarray(begin, begin + length);
      data = data.subarray(begin + length);
      unacknowledged += take(payload, index, at);
      if (unacknowledged < every) continue;
      unacknowledged = 0;
      const from = payload.lastIndexOf(position) + position.length;
      socket.write(frame(JSON.stringify({ type: "ack", cursor: payload.subarray(from, payload.indexOf(34, from)).toString() })));
    }
    rest = data.length ? Buffer.from(data) : Buffer.alloc(0);
  });
  socket.on("close", () => (closed += 1));
  socket.on("error", () => {});
}

for (let index = 0; index < count; index += 1) listen(index);
let asked = "";
process.stdin.on("data", (chunk) => {
  asked += chunk;
  const lines = asked.split("\n");
  asked = lines.pop();
  for (const _ of lines) {
    const sorted = Float64Array.from(latencies).sort();
    const at = (part) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] / 1e6;
    const [fewest, most] = [Math.min(...delivered), Math.max(...delivered)];
    const all = delivered.reduce((sum, one) => sum + one, 0);
    console.log(JSON.stringify({ delivered: all, fewest, most, closed, p50: at(0.5), p99: at(0.99), last }));
    latencies.length = 0;
    delivered.fill(0);
  }
});
process.stdin.on("end", () => process.exit());
