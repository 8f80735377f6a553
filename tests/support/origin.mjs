// A second Bedside as an outside FHIR server, and one in front of it.
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import { PASSWORD, administrator, signIn } from "./client.mjs";
import { startWorkerd } from "./server.mjs";

const reference = (to) => ({ reference: to });

const CLIENT = { id: "bedside & co", secret: randomBytes(24).toString("base64url") };

/** A token endpoint (RFC 6749 section 4.4): it gives the token of `session`, for `lives` seconds, and counts how often. */
async function tokens(t, session) {
  const endpoint = { session, lives: 3600, given: 0, url: "" };
  const http = createServer(async (request, response) => {
    const form = new URLSearchParams(Buffer.concat(await request.toArray()).toString());
    const isClient = form.get("client_id") === CLIENT.id && form.get("client_secret") === CLIENT.secret;
    const isFit = request.method === "POST" && form.get("grant_type") === "client_credentials" && form.get("scope") === "system/*.*";
    response.setHeader("content-type", "application/json");
    if (!isClient || !isFit) return response.writeHead(400).end(JSON.stringify({ error: "invalid_client" }));
    endpoint.given += 1;
    const { session, lives } = endpoint;
    response.end(JSON.stringify({ access_token: session.token, token_type: "bearer", expires_in: lives }));
  });
  http.listen(0, "127.0.0.1");
  await once(http, "listening");
  t.after(() => http.close());
  endpoint.url = `http://127.0.0.1:${http.address().port}/token`;
  return endpoint;
}

/**
 * Starts both. Returns { outside, ehr, front, admin, nurse, key, secret, granted, stay }: `ehr` is a caller of the outside server,
 * `admin` and `nurse` (of ward `w1`) of the one in front, `key` opens its hook, `granted` is the endpoint that gives it tokens for
 * `secret`, `stay(id, patient, location)` writes an Encounter outside.
 */
export async function startInFront(t, { vars } = {}) {
  const outside = await startWorkerd();
  t.after(() => outside.stop());
  const ehr = await administrator(outside, outside.directUrl);
  const key = randomBytes(24).toString("base64url");
  const put = async (resource) => {
    const reply = await ehr.put(`/fhir/${resource.resourceType}/${resource.id}`, resource);
    if (reply.status > 201) throw new Error(`${resource.resourceType}: ${reply.status} ${reply.text}`);
    return reply.body;
  };
  for (const ward of ["w1", "w2"]) await put({ resourceType: "Location", id: ward, physicalType: { coding: [{ code: "wa" }] } });
  await put({ resourceType: "Location", id: "bed", partOf: reference("Location/w1") });
  for (const id of ["p1", "p2", "out"]) await put({ resourceType: "Patient", id, active: true, name: [{ family: id }] });
  const stay = (id, patient, location) =>
    put({
      resourceType: "Encounter",
      id,
      status: "in-progress",
      class: { code: "IMP" },
      subject: reference(`Patient/${patient}`),
      location: [{ location: reference(`Location/${location}`) }],
    });
  await stay("e1", "p1", "bed");
  await stay("e2", "p2", "w2");
  for (let n = 0; n < 7; n += 1) {
    await put({ resourceType: "Observation", id: `o${n}`, status: "final", code: { text: "weight" }, subject: reference("Patient/p1") });
  }
  await put({ resourceType: "Observation", id: "other", status: "final", code: { text: "weight" }, subject: reference("Patient/p2") });
  await put({ resourceType: "Schedule", id: "s", active: true, actor: [reference("Practitioner/d")] });
  for (const id of ["slot1", "slot2"]) {
    const [start, end] = ["2035-01-02T09:00:00Z", "2035-01-02T09:30:00Z"];
    await put({ resourceType: "Slot", id, status: "free", schedule: reference("Schedule/s"), start, end });
  }
  const granted = await tokens(t, await signIn(outside.directUrl, "admin"));
  const front = await startWorkerd({
    vars: {
      ORIGIN_URL: `${outside.directUrl}/fhir`,
      ORIGIN_CLIENT_ID: CLIENT.id,
      ORIGIN_CLIENT_SECRET: CLIENT.secret,
      ORIGIN_TOKEN_URL: granted.url,
      ORIGIN_SCOPE: "system/*.*",
      ORIGIN_HOOK_KEY: key,
      ...vars,
    },
  });
  t.after(() => front.stop());
  const admin = await administrator(front, front.directUrl);
  const account = { username: "nora", name: "N", role: "nurse", wards: ["w1"], password: PASSWORD };
  const made = await admin.post("/users", account);
  if (made.status !== 201) throw new Error(made.text);
  const nurse = await signIn(front.directUrl, "nora");
  return { outside, ehr, front, admin, nurse, key, secret: CLIENT.secret, granted, stay };
}
