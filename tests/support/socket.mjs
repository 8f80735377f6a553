// One WebSocket to a channel, frame by frame (RFC 6455): for tests that time when it is closed. Node's own says so only once
// the connection is gone, which on bare workerd is up to 10 s after the closing handshake, and not at all after a 401.
import { request } from "node:http";

/** A frame from a client: masked, by a mask of zeros. */
const masked = (opcode, body) => Buffer.concat([Buffer.from([0x80 | opcode, 0x80 | body.length, 0, 0, 0, 0]), body]);

/** Takes the first frame off `bytes`: { opcode, body, rest }, or undefined while it is not whole. */
function take(bytes) {
  if (bytes.length < 2) return undefined;
  const short = bytes[1] & 0x7f;
  const [from, length] =
    short < 126 ? [2, short]
    : short === 126 ? [4, bytes.length < 4 ? Infinity : bytes.readUInt16BE(2)]
    : [10, bytes.length < 10 ? Infinity : Number(bytes.readBigUInt64BE(2))];
  if (bytes.length < from + length) return undefined;
  return { opcode: bytes[0] & 0x0f, body: bytes.subarray(from, from + length), rest: bytes.subarray(from + length) };
}

/**
 * Connects to `topic` as the holder of `token`; ends with the test `t` at the latest. Returns { frames, hello, ended, isOpen }:
 * `hello` resolves with whether the server let it in, `ended` with { at, code } when the server's close frame has come, after
 * which nothing passes, or { at, status } where it refused.
 */
export function connect(t, url, token, topic, after) {
  const hello = Promise.withResolvers();
  const ended = Promise.withResolvers();
  const self = { frames: [], hello: hello.promise, ended: ended.promise, isOpen: false };
  const end = (what) => {
    self.isOpen = false;
    hello.resolve(self.frames.length > 0);
    ended.resolve({ at: Date.now(), ...what });
  };
  const query = after ? `?after=${encodeURIComponent(after)}` : "";
  const asked = request(`${url}/channels/${topic}${query}`, {
    headers: {
      authorization: `Bearer ${token}`,
      connection: "Upgrade",
      upgrade: "websocket",
      "sec-websocket-version": "13",
      "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
      "sec-websocket-protocol": "bedside.v1",
    },
  });
  t.after(() => asked.destroy());
  asked.on("error", (error) => end({ error }));
  asked.on("response", (response) => {
    response.resume();
    end({ status: response.statusCode });
  });
  asked.on("upgrade", (_, socket, head) => {
    t.after(() => socket.destroy());
    self.isOpen = true;
    let bytes = head;
    const read = (more) => {
      bytes = Buffer.concat([bytes, more]);
      for (let frame; (frame = take(bytes)); bytes = frame.rest) {
        if (frame.opcode === 1) self.frames.push(JSON.parse(frame.body.toString()));
        if (frame.opcode === 9) socket.write(masked(10, frame.body));
        if (frame.opcode === 8) {
          end({ code: frame.body.readUInt16BE(0) });
          socket.write(masked(8, frame.body.subarray(0, 2)));
        }
        if (self.frames.length) hello.resolve(true);
      }
    };
    socket.on("data", read);
    socket.on("error", () => {});
    socket.on("close", () => end({}));
    read(Buffer.alloc(0));
  });
  asked.end();
  return self;
}

/** Resolves as `promise` does; rejects after `ms`. */
export function within(ms, promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${ms} ms in vain for ${what}`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** The median and the largest of some milliseconds, as text and as numbers. */
export function spread(list) {
  const sorted = [...list].sort((a, b) => a - b);
  const [p50, max] = [sorted[sorted.length >> 1], sorted.at(-1)];
  return { p50, max, text: `${sorted.length} trials: p50 ${p50.toFixed(0)} ms, max ${max.toFixed(0)} ms` };
}
