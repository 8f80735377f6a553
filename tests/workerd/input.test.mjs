// Bad input against the real thing: limits that hold while a body is being read, depths that would break a stack, settings
// that are missing, and sign-ins that fail alike and in the same time.
import assert from "node:assert/strict";
import { request } from "node:http";
import { test } from "node:test";
import { PASSWORD, administrator, client, patient } from "../support/client.mjs";
import { startWorkerd } from "../support/server.mjs";

async function ready(t, options) {
  const server = await startWorkerd(options);
  t.after(() => server.stop());
  return server;
}

const problem = (reply, status) => {
  assert.equal(reply.status, status, reply.text);
  assert.match(reply.headers.get("content-type"), /^application\/(problem|fhir)\+json/);
  return reply.body;
};

/**
 * Posts 64 KiB after 64 KiB until an answer comes, 64 MiB at most. Undefined where the connection was closed before the answer
 * was read, as TCP has it when something is still being sent to whoever has answered and closed.
 */
const endless = (url, token) =>
  new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${token}`, "content-type": "application/fhir+json" };
    const sending = request(url, { method: "POST", headers });
    const chunk = Buffer.alloc(65_536, " ");
    let sent = 0;
    const more = () => {
      if (sent >= 64 << 20) return reject(new Error("64 MiB were taken without an answer"));
      sent += chunk.length;
      if (sending.write(chunk)) setImmediate(more);
      else sending.once("drain", more);
    };
    sending.on("response", async (reply) => {
      const text = await reply.toArray().then((chunks) => Buffer.concat(chunks).toString(), () => undefined);
      if (text === undefined) return resolve(undefined);
      resolve({ status: reply.statusCode, text, sent });
      sending.destroy();
    });
    sending.on("error", ({ code }) => (["EPIPE", "ECONNRESET"].includes(code) ? resolve(undefined) : reject(new Error(code))));
    more();
  });

test("a body over 1 MiB is refused while it is being read", async (t) => {
  const server = await ready(t);
  const admin = await administrator(server);
  // Without a length announced, and without an end: whoever buffers it first never answers.
  let answer;
  for (let attempt = 0; !answer && attempt < 20; attempt += 1) answer = await endless(`${server.url}/fhir/Observation`, admin.token);
  const { status, text, sent } = answer ?? assert.fail("nobody could read the answer");
  assert.equal(status, 413);
  assert.deepEqual(JSON.parse(text).issue[0].expression, ["http.body"]);
  t.diagnostic(`refused after ${(sent / 1_048_576).toFixed(1)} MiB were sent`);
  const announced = await admin.post("/fhir/Observation", "x".repeat(1_048_577));
  problem(announced, 413);
});

test("depth, duplicates and rubbish break nothing", async (t) => {
  const server = await ready(t);
  const admin = await administrator(server);
  await admin.put("/fhir/Patient/p", patient("p"));
  const deep = (open, close, times) => open.repeat(times) + close.repeat(times);
  const bodies = [
    deep("[", "]", 500_000),
    deep('{"a":', "}", 150_000),
    `{"resourceType":"Patient","contained":${deep('[{"resourceType":"Patient","contained":', "}]", 20_000)}}`,
    `{"resourceType":"Patient","extension":${deep('[{"url":"u","extension":', "}]", 30_000)}}`,
    '{"resourceType":"Patient","id":"a","id":"b"}',
    '{"resourceType":"Patient","birthDate":"2024-02-30"}',
    "\u0000",
    "",
  ];
  for (const body of bodies) {
    const reply = await admin.post("/fhir/Patient", body);
    assert.ok([400, 422].includes(reply.status), `${reply.status} for ${body.slice(0, 60)}`);
    assert.equal(reply.body.resourceType, "OperationOutcome");
    assert.ok(!reply.text.includes("2024-02-30"));
  }
  assert.equal((await admin.get("/fhir/Patient/p")).status, 200);
  assert.equal((await admin.get("/fhir/Patient")).body.entry.length, 1);
  assert.doesNotMatch(server.logs(), /RuntimeError|Critical/);
});

test("a missing secret or a contradiction stops the Worker from serving, with the sentence in the log and in /healthz", async (t) => {
  for (const [vars, word] of [
    [{ SESSION_KEY: null }, "SESSION_KEY"],
    [{ SESSION_IDLE_MINUTES: "800" }, "SESSION_IDLE_MINUTES"],
    [{ CACHE_TTL_SECONDS: "soon" }, "CACHE_TTL_SECONDS"],
  ]) {
    const server = await startWorkerd({ vars });
    try {
      const { status, body: health } = await client(server.url).get("/healthz");
      assert.equal(status, 503);
      assert.equal(health.problems.length, 1);
      assert.ok(health.problems[0].includes(word));
      problem(await client(server.url).get("/session"), 503);
      problem(await client(server.url).get("/fhir/metadata"), 503);
      assert.ok(server.logs().includes(health.problems[0]));
    } finally {
      await server.stop();
    }
  }
});

test("wrong password, unknown user and disabled account answer alike and take the same time", async (t) => {
  const server = await ready(t);
  const admin = await administrator(server);
  for (const username of ["open", "disabled"]) {
    const made = await admin.post("/users", { username, name: "N", role: "nurse", password: PASSWORD });
    assert.equal(made.status, 201, made.text);
    if (username === "disabled") await admin.put(`/users/${made.body.id}`, { disabled: true });
  }
  const guest = client(server.url);
  const attempt = async (username, password) => {
    const start = performance.now();
    const reply = await guest.post("/session", { username, password });
    return { ms: performance.now() - start, status: reply.status, text: reply.text, headers: reply.headers };
  };
  const kinds = {
    "wrong password": () => attempt("open", "wrong wrong wrong"),
    "unknown user": () => attempt("nobody", PASSWORD),
    "disabled account": () => attempt("disabled", PASSWORD),
  };
  const times = {};
  const texts = new Set();
  for (let round = 0; round < 10; round++) {
    for (const [kind, run] of Object.entries(kinds)) {
      const { ms, status, text } = await run();
      assert.equal(status, 401);
      texts.add(text);
      (times[kind] ??= []).push(ms);
    }
  }
  assert.equal(texts.size, 1);
  const median = (list) => list.sort((a, b) => a - b)[list.length >> 1];
  const medians = Object.entries(times).map(([kind, list]) => [kind, median(list)]);
  t.diagnostic(medians.map(([kind, ms]) => `${kind} ${ms.toFixed(0)} ms`).join(", "));
  const all = medians.map(([, ms]) => ms);
  assert.ok(Math.max(...all) < 1.5 * Math.min(...all), "the medians differ by more than the noise of a machine");

  // From here on all three have to wait, also with the right password, and are told so alike.
  const waits = new Set();
  for (const username of ["open", "nobody", "disabled"]) {
    const { status, text, headers } = await attempt(username, PASSWORD);
    assert.equal(status, 429);
    assert.ok(Number(headers.get("retry-after")) > 0);
    waits.add(text);
  }
  assert.equal(waits.size, 1);
});
