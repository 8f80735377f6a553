// Follows a channel and prints each frame on a line: node follow.mjs URL TOKEN TOPIC [CURSOR [EVERY]]. It acknowledges
// after EVERY events, or never. Ends with its parent.
const [url, token, topic, after, every = Infinity] = process.argv.slice(2);
const query = after ? `?after=${encodeURIComponent(after)}` : "";
const socket = new WebSocket(`${url.replace("http", "ws")}/channels/${topic}${query}`, {
  protocols: "bedside.v1",
  headers: { authorization: `Bearer ${token}` },
});
const print = (frame) => process.stdout.write(`${JSON.stringify(frame)}\n`);
let unacknowledged = 0;
socket.onmessage = ({ data }) => {
  process.stdout.write(`${data}\n`);
  const { events } = every === Infinity ? {} : JSON.parse(data);
  if (!events || (unacknowledged += events.length) < every) return;
  unacknowledged = 0;
  socket.send(JSON.stringify({ type: "ack", cursor: events.at(-1).cursor }));
};
socket.onclose = ({ code, reason }) => print({ type: "closed", code, reason });
process.stdin.resume().on("end", () => process.exit());
