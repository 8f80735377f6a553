// A ward with 24 monitored beds, for tests of telemetry.
import assert from "node:assert/strict";
import { administrator, patient, PASSWORD, signIn } from "./client.mjs";
import { startWorkerd } from "./server.mjs";

export const beds = 24;
/** The Patient in a bed, from 1. */
export const bed = (number) => `demo-patient-${String(number).padStart(2, "0")}`;

/** A server with a ward `w`, its 24 patients, a nurse, and the account `monitors` of its monitors. */
export async function monitoredWard(t, options) {
  const server = await startWorkerd(options);
  t.after(() => server.stop());
  const admin = await administrator(server);
  const patients = Array.from({ length: beds }, (_, index) => bed(index + 1));
  const stay = (id) => ({
    resourceType: "Encounter",
    id: `stay-${id}`,
    status: "in-progress",
    class: { code: "IMP" },
    subject: { reference: `Patient/${id}` },
    location: [{ location: { reference: "Location/w" } }],
  });
  const resources = [
    { resourceType: "Location", id: "w", name: "Ward", physicalType: { coding: [{ code: "wa" }] } },
    ...patients.map(patient),
    ...patients.map(stay),
  ];
  const entry = resources.map((resource) => ({
    resource,
    request: { method: "PUT", url: `${resource.resourceType}/${resource.id}` },
  }));
  const written = await admin.post("/fhir", { resourceType: "Bundle", type: "transaction", entry });
  assert.equal(written.status, 200, written.text);
  const user = async (body) => {
    const made = await admin.post("/users", { name: "N", password: PASSWORD, ...body });
    assert.equal(made.status, 201, made.text);
  };
  await user({ username: "nurse", role: "nurse", wards: ["w"] });
  await user({ username: "monitors", role: "device", patients });
  return { server, admin, nurse: await signIn(server.url, "nurse"), patients };
}

/** All readings that a topic keeps, in order: [patient, instant]. */
export async function readings(caller, topic) {
  const found = [];
  for (let after = ""; ; ) {
    const { body } = await caller.get(`/channels/${topic}?limit=1000${after}`);
    assert.equal(body.gap, null);
    const events = body.events.filter(({ kind }) => kind === "telemetry");
    found.push(...events.flatMap(({ data }) => data.readings).map(({ patient: id, at }) => [id, at]));
    if (body.events.length < 1000) return found;
    after = `&after=${body.cursor}`;
  }
}

/** Nothing twice, and each patient's in the order in which they were measured. */
export function assertInOrder(found, patients, each) {
  for (const id of patients) {
    const own = found.filter(([of]) => of === id).map(([, at]) => at);
    assert.equal(own.length, each, id);
    assert.deepEqual(own, [...new Set(own)].sort(), id);
  }
}
