// Alerts on the real thing: raised by records and by nothing that is late, pushed again and escalated on time although
// nobody is connected, over for everybody once somebody has acknowledged them, and all of it across a SIGKILL.
import assert from "node:assert/strict";
import { test } from "node:test";
import { administrator, follow, heartRate, patient, PASSWORD, signIn } from "../support/client.mjs";
import { poll, startWorkerd } from "../support/server.mjs";

const repeat = 2;
const escalate = 5;
const vars = { ALERT_REPEAT_SECONDS: `${repeat}`, ALERT_ESCALATE_SECONDS: `${escalate}` };

/** A ward with one patient, a nurse and a doctor of it and a doctor of another one. */
async function ready(t) {
  const server = await startWorkerd({ vars });
  t.after(() => server.stop());
  const admin = await administrator(server);
  const put = async (path, body) => assert.equal((await admin.put(`/fhir/${path}`, body)).status, 201, path);
  await put("Location/w", { resourceType: "Location", id: "w", physicalType: { coding: [{ code: "wa" }] } });
  await put("Patient/p", patient("p"));
  await put("Encounter/e", {
    resourceType: "Encounter",
    id: "e",
    status: "in-progress",
    class: { code: "IMP" },
    subject: { reference: "Patient/p" },
    location: [{ location: { reference: "Location/w" } }],
  });
  const user = async (username, role, wards) => {
    const made = await admin.post("/users", { username, name: `The ${username}`, role, wards, password: PASSWORD });
    assert.equal(made.status, 201, made.text);
    return { ...(await signIn(server.url, username)), id: made.body.id };
  };
  const people = {
    nurse: await user("nurse", "nurse", ["w"]),
    doctor: await user("doctor", "practitioner", ["w"]),
    stranger: await user("stranger", "practitioner", ["v"]),
  };
  return { server, admin, ...people };
}

const post = async (admin, resource) => {
  const made = await admin.post("/fhir/Observation", resource);
  assert.equal(made.status, 201, made.text);
  return made.body;
};
const alertsOf = (events) => events.filter(({ kind }) => kind === "alert");
const history = async (caller, topic) => alertsOf((await caller.get(`/channels/${topic}?limit=1000`)).body.events);
const changes = (events) => events.map(({ data }) => data.change);

test("escalated on time although nobody is connected, also across a SIGKILL", async (t) => {
  const { server, admin, nurse, doctor, stranger } = await ready(t);
  await post(admin, heartRate("p", 140));
  const { body } = await nurse.get("/alerts");
  assert.deepEqual(body.alerts.map(({ cause, severity }) => [cause, severity]), [["news2", "low-medium"]]);
  const [alert] = body.alerts;
  assert.equal(alert.level, "ward");
  // Nobody listens; between the first push and the escalation the server dies and comes back.
  await poll("the first push", async () => (await nurse.get("/alerts")).body.alerts[0].pushes >= 1, { within: 20_000 });
  await server.restart({ signal: "SIGKILL" });
  const escalated = await poll(
    "the escalation",
    async () => (await history(doctor, `user/${doctor.id}`)).find(({ data }) => data.change === "escalated"),
    { within: 30_000 },
  );
  const late = Date.parse(escalated.at) - Date.parse(alert.escalates_at);
  console.log(`escalated ${late} ms after it was due`);
  assert.ok(late >= 0 && late < 10_000, `${late} ms late`);
  assert.equal(escalated.data.alert.id, alert.id);
  assert.deepEqual(await history(stranger, `user/${stranger.id}`), []);
  for (const topic of ["ward/w", "patient/p"]) {
    const told = changes(await history(nurse, topic));
    assert.equal(told[0], "raised", topic);
    assert.ok(told.indexOf("repeated") > 0 && told.indexOf("escalated") > told.indexOf("repeated"), `${topic}: ${told}`);
  }
});

test("acknowledged in one place it is over in all, and it is pushed no more", async (t) => {
  const { server, admin, nurse, doctor } = await ready(t);
  const followers = [follow(t, server.url, nurse.token, "ward/w"), follow(t, server.url, doctor.token, "patient/p")];
  for (const follower of followers) await follower.until(({ frames }) => frames.length > 0, "hello");
  await post(admin, heartRate("p", 140));
  for (const follower of followers) {
    await follower.until(({ events }) => changes(alertsOf(events)).includes("repeated"), "a repetition", 40_000);
  }
  const { id, version } = (await nurse.get("/alerts?ward=w")).body.alerts[0];
  const seen = await nurse.post(`/alerts/${id}/acknowledge`, { version });
  assert.equal(seen.status, 200, seen.text);
  assert.equal(seen.body.acknowledged.by.name, "The nurse");
  for (const follower of followers) {
    await follower.until(({ events }) => changes(alertsOf(events)).includes("acknowledged"), "the acknowledgement");
  }
  // Another alert is pushed twice meanwhile: had this one been due, it would have been too.
  const limits = { spo2_scale: 1, limits: { heart_rate: { high: 130 } } };
  assert.equal((await nurse.put("/patients/p/thresholds", limits)).status, 200);
  const pushes = ({ data }) => data.alert.cause === "threshold" && data.change === "repeated";
  await followers[0].until(({ events }) => alertsOf(events).filter(pushes).length >= 2, "another one's pushes", 40_000);
  for (const follower of followers) {
    const told = changes(alertsOf(follower.events).filter(({ data }) => data.alert.id === id));
    assert.equal(told.at(-1), "acknowledged", `${told}`);
  }
});

test("what is late raises nothing, and what was entered in error is withdrawn", async (t) => {
  const { admin, nurse } = await ready(t);
  const at = (minutes) => new Date(Date.now() - minutes * 60_000).toISOString();
  const measured = (value, minutes) => ({ ...heartRate("p", value), effectiveDateTime: at(minutes) });
  await post(admin, measured(70, 5));
  await post(admin, measured(150, 10));
  await post(admin, measured(150, 120));
  assert.deepEqual((await nurse.get("/alerts")).body.alerts, []);
  const wrong = await post(admin, measured(150, 0));
  assert.equal((await nurse.get("/alerts")).body.alerts.length, 1);
  const undone = await admin.put(`/fhir/Observation/${wrong.id}`, { ...wrong, status: "entered-in-error" });
  assert.equal(undone.status, 200, undone.text);
  assert.deepEqual((await nurse.get("/alerts")).body.alerts, []);
  await poll("the withdrawal to be told", async () => changes(await history(nurse, "ward/w")).includes("withdrawn"));
  const scores = (await nurse.get("/channels/ward/w?limit=1000")).body.events.filter(({ kind }) => kind === "score");
  assert.deepEqual(scores.map(({ data }) => data.news2.total), [0, 3, 0]);
});
