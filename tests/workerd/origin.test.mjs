// Records kept at an outside FHIR server, here a second Bedside: paged searches, reads, conditional writes, a booking, an outage,
// a change behind our back. tests/soak/origin.mjs has it hang for OUTAGE_MS.
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { follow, signIn, weight } from "../support/client.mjs";
import { startInFront } from "../support/origin.mjs";
import { poll } from "../support/server.mjs";

const status = ({ headers }) => headers.get("cache-status");
const parameters = (...list) => ({
  resourceType: "Parameters",
  parameter: list.map(([name, id]) => ({ name, valueReference: { reference: id } })),
});

test("an outside FHIR server is the origin", { timeout: 170_000 }, async (t) => {
  const { outside, ehr, front, admin, nurse, key, secret, granted, stay } = await startInFront(t, {
    vars: { CACHE_STALE_SECONDS: "600", CACHE_STALE_FOR: "demographics" },
  });
  const seen = [];
  const secrets = [outside.directUrl, new URL(outside.directUrl).host, granted.url, granted.session.token, key, secret];
  const get = async (who, path, headers) => {
    const reply = await who.get(path, headers);
    seen.push(reply.text, JSON.stringify([...reply.headers]));
    return reply;
  };

  await t.test("reads go through the cache, under the rules of our own records", async () => {
    const first = await get(nurse, "/fhir/Patient/p1");
    assert.equal(first.status, 200, first.text);
    assert.equal(first.body.name[0].family, "p1");
    assert.match(status(first), /fwd=uri-miss; stored/);
    assert.match(status(await get(nurse, "/fhir/Patient/p1")), /; hit;/);
    assert.equal((await get(nurse, "/fhir/Patient/p1", { "if-none-match": first.headers.get("etag") })).status, 304);
    // In another ward, an outpatient, nobody, and what is somebody's by its id.
    assert.equal((await get(nurse, "/fhir/Patient/p2")).status, 403);
    assert.equal((await get(nurse, "/fhir/Patient/out")).status, 200);
    assert.equal((await get(nurse, "/fhir/Patient/nobody")).status, 404);
    assert.equal((await get(nurse, "/fhir/Observation/o1")).status, 200);
    assert.equal((await get(nurse, "/fhir/Observation/other")).status, 403);
    assert.equal((await get(nurse, "/fhir/Observation?patient=p2")).body.entry, undefined, "nothing of theirs is found");
    assert.equal((await get(nurse, "/fhir/Location/w1")).status, 200);
    const listed = (await get(nurse, "/fhir/Patient")).body.entry.map(({ resource }) => resource.id);
    assert.deepEqual(listed.sort(), ["out", "p1"]);
    for (const path of ["/fhir/Patient/p1/$everything", "/fhir/Patient/p1/_history", "/fhir/Patient/p1/_history/1", "/fhir/Patient/_history", "/fhir/$bulk-publish", "/fhir/$bulk-publish/Slot.ndjson", "/wards/w1/board"]) {
      const refused = await get(nurse, path);
      assert.equal(refused.status, 501, `${path}: ${refused.text}`);
    }
  });

  await t.test("a token is had anew when it is refused, and before it ends", async () => {
    const read = async () => assert.equal((await get(nurse, "/fhir/Observation/o1")).status, 200);
    assert.equal(granted.given, 1, "one for everything so far");
    const before = granted.session;
    Object.assign(granted, { session: await signIn(outside.directUrl, "admin"), lives: 31 });
    secrets.push(granted.session.token);
    assert.equal((await before.del("/session")).status, 204);
    await read();
    const given = granted.given;
    assert.ok(given > 1, "it was refused");
    granted.lives = 3600;
    // It is not used for the last 30 s of its time.
    await poll("the next token", async () => (await read(), granted.given > given || undefined), { within: 30_000 });
    await read();
    assert.equal(granted.given, given + 1);
  });

  await t.test("a search is paged by links of our own, which nobody can change", async () => {
    const found = [];
    const pages = [];
    for (let path = "/fhir/Observation?patient=p1&_count=3"; path; ) {
      const page = await get(nurse, path);
      assert.equal(page.status, 200, page.text);
      found.push(...page.body.entry.map(({ resource }) => resource.id));
      const next = page.body.link.find(({ relation }) => relation === "next")?.url;
      assert.ok(!next || next.startsWith(front.directUrl), next);
      path = next?.slice(front.directUrl.length);
      pages.push(path);
    }
    assert.equal(pages.length, 3);
    assert.deepEqual(found.sort(), ["o0", "o1", "o2", "o3", "o4", "o5", "o6"]);
    assert.match(status(await get(nurse, "/fhir/Observation?patient=p1&_count=3")), /; hit;/);
    // A link of one search is no link of another.
    const elsewhere = pages[0].replace("patient=p1", "patient=out");
    assert.equal((await get(nurse, elsewhere)).status, 400);
  });

  await t.test("a write is held to the version that was read, and the next read has it", async () => {
    const before = await get(nurse, "/fhir/Patient/p1");
    const change = { ...before.body, active: false };
    const put = (etag) => nurse.put("/fhir/Patient/p1", change, { "if-match": etag });
    const written = await put(before.headers.get("etag"));
    assert.equal(written.status, 200, written.text);
    assert.notEqual(written.headers.get("etag"), before.headers.get("etag"));
    assert.equal((await put(before.headers.get("etag"))).status, 412);
    const after = await get(nurse, "/fhir/Patient/p1");
    assert.equal(after.body.active, false);
    assert.equal(after.headers.get("etag"), written.headers.get("etag"));
    assert.match(status(after), /detail=changed/);
    assert.equal((await ehr.get("/fhir/Patient/p1")).body.active, false);
    assert.equal((await nurse.put("/fhir/Patient/p2", { resourceType: "Patient", id: "p2" })).status, 403);
    assert.equal((await ehr.get("/fhir/Patient/p2")).body.active, true);
    // What is created is told of, and a search that was kept is not used again.
    const events = follow(t, front.directUrl, nurse.token, "patient/p1");
    await events.until(({ frames }) => frames.length, "the channel");
    const made = await nurse.post("/fhir/Observation", weight("p1", 70));
    assert.equal(made.status, 201, made.text);
    await events.until((all) => all.events.some(({ id }) => id === `Observation/${made.body.id}/_history/1`), "the event");
    const found = (await get(nurse, "/fhir/Observation?patient=p1")).body.entry.map(({ resource }) => resource.id);
    assert.ok(found.includes(made.body.id));
    // What the origin refuses is told in its own words.
    const refused = await admin.del("/fhir/Patient/p1");
    assert.equal(refused.status, 409);
    assert.match(refused.body.issue[0].diagnostics, /other resources are in the compartment/);
    seen.push(refused.text);
  });

  await t.test("whoever moves to another ward is out of reach with the write", async () => {
    assert.equal((await get(nurse, "/fhir/Encounter/e1")).status, 200);
    const move = (ward) => admin.put("/fhir/Encounter/e1", { ...encounter, location: [{ location: { reference: `Location/${ward}` } }] });
    const encounter = (await admin.get("/fhir/Encounter/e1")).body;
    assert.equal((await move("w2")).status, 200);
    assert.equal((await get(nurse, "/fhir/Patient/p1")).status, 403);
    assert.equal((await move("bed")).status, 200);
    assert.equal((await get(nurse, "/fhir/Patient/p1")).status, 200);
  });

  await t.test("of several who book one slot one has it", async () => {
    const book = () => nurse.post("/fhir/Appointment/$book", parameters(["appointment-reference", "Appointment/slot1"], ["patient-reference", "Patient/p1"]));
    const replies = await Promise.all([book(), book(), book()]);
    assert.deepEqual(replies.map(({ status }) => status).sort(), [201, 409, 409], replies.map(({ text }) => text).join("\n"));
    const booked = replies.find(({ status }) => status === 201).body.entry[0].resource;
    assert.equal((await ehr.get(`/fhir/Appointment/${booked.id}`)).body.status, "booked");
    assert.equal((await ehr.get("/fhir/Slot/slot1")).body.status, "busy");
    const found = await nurse.get("/fhir/Appointment/$find?start=2035-01-02T00:00:00Z&end=2035-01-03T00:00:00Z");
    assert.deepEqual(found.body.entry?.map(({ resource }) => resource.id), ["slot2"], found.text);
    const hold = await nurse.post("/fhir/Appointment/$hold", parameters(["appointment-reference", "Appointment/slot2"], ["patient-reference", "Patient/p1"]));
    assert.equal(hold.status, 501, hold.text);
  });

  await t.test("a change behind our back is known through the hook", async () => {
    const family = async () => (await get(nurse, "/fhir/Patient/out")).body.name[0].family;
    const rename = (name) => ehr.put("/fhir/Patient/out", { resourceType: "Patient", id: "out", name: [{ family: name }] });
    const hook = async (path, body, token = key, method = "POST") => {
      const init = { method, headers: { authorization: `Bearer ${token}`, "content-type": "application/fhir+json" }, body };
      return (await fetch(`${front.directUrl}/hooks/changed${path}`, init)).status;
    };
    assert.equal(await family(), "out");
    await rename("one");
    assert.equal(await family(), "out", "nobody has said so yet");
    assert.equal(await hook("", "", "x".repeat(32)), 401);
    assert.equal(await family(), "out");
    assert.equal(await hook("", JSON.stringify({ patients: ["out"] })), 204);
    assert.equal(await family(), "one");
    await rename("two");
    assert.equal(await hook("/Patient/out", (await ehr.get("/fhir/Patient/out")).text, key, "PUT"), 204);
    assert.equal(await family(), "two");
    await rename("three");
    assert.equal(await hook("", ""), 204);
    assert.equal(await family(), "three");
    // Also where they are.
    assert.equal((await get(nurse, "/fhir/Patient/p1")).status, 200);
    await stay("e1", "p1", "w2");
    assert.equal((await get(nurse, "/fhir/Patient/p1")).status, 200);
    assert.equal(await hook("", ""), 204);
    assert.equal((await get(nurse, "/fhir/Patient/p1")).status, 403);
    await stay("e1", "p1", "bed");
    assert.equal(await hook("", ""), 204);
  });

  await t.test("what both do is in the CapabilityStatement", async () => {
    const { rest } = (await get(admin, "/fhir/metadata")).body;
    const patient = rest[0].resource.find(({ type }) => type === "Patient");
    assert.deepEqual(patient.interaction.map(({ code }) => code), ["read", "search-type", "update", "delete", "create"]);
    assert.ok(patient.searchParam.length > 10);
  });

  await t.test("while it is away everybody is told so at once, and it is found when it is back", async () => {
    assert.match(status(await get(nurse, "/fhir/Patient/p1")), /stored/);
    // One that hangs costs each of the first requests its time; one that is gone is found out at once.
    const hangs = Boolean(process.env.OUTAGE_MS);
    if (hangs) process.kill(outside.pid, "SIGSTOP");
    else await outside.kill();
    const times = [];
    const ask = async () => {
      const from = performance.now();
      const reply = await get(nurse, "/fhir/Observation/o1");
      times.push(performance.now() - from);
      return reply;
    };
    await poll("the breaker", async () => ((await ask()).status === 503 && times.at(-1) < 1_000 ? true : undefined), { within: 60_000 });
    assert.ok(Math.max(...times) < 7_500, `${times}`);
    const until = performance.now() + Number(process.env.OUTAGE_MS ?? 0);
    while (performance.now() < until) {
      assert.equal((await ask()).status, 503);
      await pause(20);
    }
    const told = await ask();
    assert.ok(told.headers.get("retry-after"));
    const kept = await get(nurse, "/fhir/Patient/p1");
    assert.match(status(kept), /; hit;/, "what is kept is used");
    const unknown = await nurse.put("/fhir/Patient/p1", { ...kept.body, active: true });
    assert.equal(unknown.status, 503, "nothing was sent");
    if (hangs) process.kill(outside.pid, "SIGCONT");
    else await outside.restart();
    await poll("the probe", async () => ((await ask()).status === 200 ? true : undefined), { within: 30_000 });
    assert.equal((await nurse.put("/fhir/Patient/p1", { ...kept.body, active: true })).status, 200);
    t.diagnostic(`${times.length} requests while it was away, the slowest ${Math.max(...times).toFixed(0)} ms`);
  });

  // Nothing shows where it is or how we sign in there.
  for (const text of [...seen, front.logs()]) for (const secret of secrets) assert.ok(!text.includes(secret), text.slice(0, 500));
});

