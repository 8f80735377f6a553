// A caller of the API for tests: requests as one account, and followers of a channel in processes of their own.
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { node } from "../../scripts/lib/project.mjs";

export const PASSWORD = "a long enough pass";

/** Requests to `url` as the holder of `token`: { get, post, put, del }, each giving { status, headers, body }. */
export function client(url, token) {
  const ask = (method) => async (path, body, headers = {}, signal = undefined) => {
    const reply = await fetch(url + path, {
      method,
      signal,
      headers: {
        ...(token && { authorization: `Bearer ${token}` }),
        ...(body !== undefined && { "content-type": "application/json" }),
        ...headers,
      },
      body: body === undefined || typeof body === "string" ? body : JSON.stringify(body),
    });
    const text = await reply.text();
    return { status: reply.status, headers: reply.headers, text, body: text && JSON.parse(text) };
  };
  return { url, token, get: (path, headers) => ask("GET")(path, undefined, headers), post: ask("POST"), put: ask("PUT"), del: ask("DELETE") };
}

/** Signs in with a bearer token. */
export async function signIn(url, username, password = PASSWORD) {
  const reply = await client(url).post("/session", { username, password, transport: "bearer" });
  if (reply.status !== 201) throw new Error(`sign-in of ${username}: ${reply.status} ${reply.text}`);
  return client(url, reply.body.token);
}

/** Makes the first administrator of a fresh server and signs in. */
export async function administrator(server, url = server.url) {
  const account = { username: "admin", name: "Admin", role: "admin", password: PASSWORD };
  const made = await client(url).post("/users", account, { authorization: `Setup ${server.vars.SETUP_TOKEN}` });
  if (made.status !== 201) throw new Error(`the first account: ${made.status} ${made.text}`);
  return signIn(url, "admin");
}

export const patient = (id) => ({ resourceType: "Patient", id, name: [{ family: "Doe", given: ["Jo"] }] });

/** A body weight of `value` kg: an Observation from which nothing follows. */
export const weight = (id, value) => ({
  resourceType: "Observation",
  status: "final",
  code: { coding: [{ system: "http://loinc.org", code: "29463-7", display: "Body weight" }] },
  subject: { reference: `Patient/${id}` },
  valueQuantity: { value, unit: "kg", system: "http://unitsofmeasure.org", code: "kg" },
});

/** A heart rate of `value` per minute; it is scored, which is an event too. */
export const heartRate = (id, value) => ({
  resourceType: "Observation",
  status: "final",
  category: [{ coding: [{ system: "http://terminology.hl7.org/CodeSystem/observation-category", code: "vital-signs" }] }],
  code: { coding: [{ system: "http://loinc.org", code: "8867-4", display: "Heart rate" }] },
  subject: { reference: `Patient/${id}` },
  effectiveDateTime: new Date().toISOString(),
  valueQuantity: { value, unit: "/min", system: "http://unitsofmeasure.org", code: "/min" },
});

/**
 * Follows a channel over WebSocket in a process of its own: { frames, events, until(test), kill() }. `frames` are all that
 * came, `events` those of the events among them. It acknowledges after `every` events. It ends with the test `t` at the
 * latest.
 */
export function follow(t, url, token, topic, after, every = Infinity) {
  const script = fileURLToPath(new URL("follow.mjs", import.meta.url));
  const child = spawn(node, [script, url, token, topic, after ?? "", every], { stdio: ["pipe", "pipe", "inherit"] });
  const closed = new Promise((resolve) => child.once("close", resolve));
  t.after(() => child.kill("SIGKILL"));
  const frames = [];
  const waiting = new Set();
  let rest = "";
  const self = {
    frames,
    get events() {
      return frames.filter((frame) => frame.type === "events").flatMap((frame) => frame.events);
    },
    get cursor() {
      return self.events.at(-1)?.cursor ?? frames.find((frame) => frame.type === "hello")?.cursor;
    },
    /** Resolves as soon as `test(self)` holds; rejects after `within` ms. */
    until(test, what, within = 60_000) {
      return new Promise((resolve, reject) => {
        const check = () => {
          if (!test(self)) return;
          clearTimeout(timer);
          waiting.delete(check);
          resolve(self);
        };
        const timer = setTimeout(() => {
          waiting.delete(check);
          reject(new Error(`waited in vain for ${what}; got ${JSON.stringify(frames).slice(0, 2000)}`));
        }, within);
        waiting.add(check);
        check();
      });
    },
    /** SIGKILL, as a crash would. */
    kill: () => {
      child.kill("SIGKILL");
      return closed;
    },
  };
  child.stdout.on("data", (chunk) => {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop();
    frames.push(...lines.map((line) => JSON.parse(line)));
    for (const check of [...waiting]) check();
  });
  return self;
}
