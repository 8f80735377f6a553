// Follows a channel and prints each frame on a line: node follow.mjs URL TOKEN TOPIC [CURSOR]. Ends with its parent.
const [url, token, topic, after] = process.argv.slice(2);
const query = after ? `?after=${encodeURIComponent(after)}` : "";
const socket = new WebSocket(`${url.replace("http", "ws")}/channels/${topic}${query}`, {
  protocols: "bedside.v1",
  headers: { authorization: `Bearer ${token}` },
});
const print = (frame) => process.stdout.write(`${JSON.stringify(frame)}\n`);
socket.onmessage = ({ data }) => process.stdout.write(`${data}\n`);
socket.onclose = ({ code, reason }) => print({ type: "closed", code, reason });
process.stdin.resume().on("end", () => process.exit());
