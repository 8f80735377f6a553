// Searches against what this script computes from the files, by its own reading of FHIR: every type and kind of parameter, read
// to the last page. Synthea has no Schedules, Slots and Appointments; a few are made up beside it.
import assert from "node:assert/strict";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";
import { at } from "../../scripts/lib/project.mjs";
import { administrator } from "../support/client.mjs";
import { startWorkerd } from "../support/server.mjs";

const folder = at("../shared/data/synthea");
const files = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith(".json")) : [];
const skip = files.length === 0 && "no bundles beside the project";

const loinc = "http://loinc.org";
const snomed = "http://snomed.info/sct";

/** An outpatient clinic's week, as a transaction. */
function week() {
  const url = (n) => `urn:uuid:00000000-0000-4000-8000-${`${n}`.padStart(12, "0")}`;
  const entries = [];
  const add = (n, resource) => entries.push({ fullUrl: url(n), resource, request: { method: "POST", url: resource.resourceType } });
  add(1, { resourceType: "Patient", name: [{ family: "Ägidius-Núñez", given: ["Zoë", "Marie"] }], birthDate: "1970" });
  for (const [n, active] of [[10, true], [20, false]]) {
    add(n, {
      resourceType: "Schedule",
      active,
      serviceType: [{ coding: [{ system: snomed, code: n === 10 ? "394579002" : "394585009" }] }],
      actor: [{ reference: url(n + 1) }],
      planningHorizon: { start: "2030-01-07", end: n === 10 ? "2030-01-11T18:00:00Z" : "2030-06-30" },
    });
    add(n + 1, { resourceType: "Practitioner", identifier: [{ system: "http://clinic.example/staff", value: `${n}` }], name: [{ family: `Doctor${n}` }] });
    for (let slot = 0; slot < 30; slot += 1) {
      const start = new Date(Date.UTC(2030, 0, 7 + Math.floor(slot / 6), 9 + (slot % 6)));
      const end = new Date(start.getTime() + 3_600_000);
      const id = n * 100 + slot;
      const times = { start: start.toISOString(), end: end.toISOString().replace("Z", "+00:00") };
      add(id, { resourceType: "Slot", schedule: { reference: url(n) }, status: slot % 4 === 0 ? "busy" : "free", ...times });
      if (slot % 4) continue;
      add(id + 5000, {
        resourceType: "Appointment",
        status: slot % 8 ? "booked" : "cancelled",
        slot: [{ reference: url(id) }],
        ...times,
        participant: [
          { actor: { reference: url(1) }, status: "accepted" },
          { actor: { reference: url(n + 1) }, status: slot % 8 ? "accepted" : "declined" },
        ],
      });
    }
  }
  return { resourceType: "Bundle", type: "transaction", entry: entries };
}

// --- FHIR as this script reads it ---

const list = (value) => (value === undefined ? [] : Array.isArray(value) ? value : [value]);
const codings = (value) => list(value).flatMap((each) => each.coding ?? [each]);
const hasCode = (value, code, system) => codings(value).some((each) => each.code === code && (!system || each.system === system));
/** [first, last] millisecond of a date or time. */
function span(text) {
  if (/^\d{4}$/.test(text)) return [Date.UTC(+text, 0), Date.UTC(+text + 1, 0) - 1];
  const month = text.match(/^(\d{4})-(\d\d)$/);
  if (month) return [Date.UTC(+month[1], month[2] - 1), Date.UTC(+month[1], +month[2]) - 1];
  if (text.length === 10) return [Date.parse(text), Date.parse(text) + 86_399_999];
  return [Date.parse(text), Date.parse(text) + (text.includes(".") ? 0 : 999)];
}
const period = (value) =>
  typeof value === "string" ? span(value) : value && [value.start ? span(value.start)[0] : -Infinity, value.end ? span(value.end)[1] : Infinity];
const on = (value, test) => value !== undefined && test(...period(value));
const plain = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();
const begins = (texts, prefix) => list(texts).some((text) => text && plain(text).startsWith(plain(prefix)));
const names = (resource) => list(resource.name).flatMap((name) => [name.text, name.family, ...list(name.given), ...list(name.prefix), ...list(name.suffix)]);
const addresses = (resource) => list(resource.address).flatMap((it) => [it.text, ...list(it.line), it.city, it.district, it.state, it.postalCode, it.country]);
const midnight = (text) => Date.parse(text);

/**
 * Queries: [type, query, what of the type it finds, and for some the key of the order and whether it falls]. The functions are
 * given a resource of the files and `to`, the server's Type/id of a reference.
 */
function queries({ ids, newest }) {
  const { patient, other, doctor, requester, organization, encounter, condition, schedule, slot, visitor } = ids;
  const systolic = (it) => it.component?.find((part) => hasCode(part.code, "8480-6"))?.valueQuantity?.value;
  return [
    ["Patient", "", () => true],
    ["Patient", "gender=female", (it) => it.gender === "female"],
    ["Patient", "gender=http://hl7.org/fhir/administrative-gender|male&birthdate=ge1960", (it) => it.gender === "male" && span(it.birthDate)[1] >= Date.UTC(1960, 0)],
    ["Patient", "birthdate=lt1950-06&_sort=birthdate", (it) => span(it.birthDate)[0] < Date.UTC(1950, 5), (it) => span(it.birthDate)[0]],
    ["Patient", "birthdate=ap1970", (it) => { const reach = (newest - Date.UTC(1970, 0)) / 10; const [a, b] = span(it.birthDate); return b >= Date.UTC(1970, 0) - reach && a < Date.UTC(1971, 0) + reach; }],
    ["Patient", "name=zo", (it) => begins(names(it), "zo")],
    ["Patient", "name=NUNEZ,agidius,m", (it) => ["nunez", "agidius", "m"].some((prefix) => begins(names(it), prefix))],
    ["Patient", "family:contains=ER&_sort=-family", (it) => it.name.some((name) => plain(name.family).includes("er")), (it) => plain(it.name.map((name) => name.family).sort().at(-1)), true],
    ["Patient", "given:exact=Zoë", (it) => it.name.some((name) => name.given.includes("Zoë"))],
    ["Patient", "given:exact=zoe", () => false],
    ["Patient", "address=bo&address-state:missing=false", (it) => begins(addresses(it), "bo") && addresses(it).length > 0 && it.address.some((each) => each.state)],
    ["Patient", "address-city:missing=true", (it) => !list(it.address).some((each) => each.city)],
    ["Patient", "deceased=true", (it) => it.deceasedDateTime !== undefined || it.deceasedBoolean === true],
    ["Patient", "death-date=ge2000&_sort=-death-date", (it) => on(it.deceasedDateTime, (_, end) => end >= Date.UTC(2000, 0)), (it) => span(it.deceasedDateTime)[0], true],
    ["Patient", "language=en-US,es", (it) => list(it.communication).some((each) => hasCode(each.language, "en-US") || hasCode(each.language, "es"))],
    ["Patient", "identifier=http://hl7.org/fhir/sid/us-ssn|", (it) => list(it.identifier).some((each) => each.system === "http://hl7.org/fhir/sid/us-ssn")],
    ["Patient", `_id=${patient},${other},nobody`, (_, __, id) => id === patient || id === other],
    ["Patient", "_tag=https://smarthealthit.org/tags|synthea-5-2019", (it) => it.meta?.tag?.[0].code === "synthea-5-2019"],
    ["Practitioner", "identifier=http://hl7.org/fhir/sid/us-npi|150,http://clinic.example/staff|10", (it) => it.identifier.some((each) => each.value === "150" || (each.value === "10" && each.system.includes("clinic")))],
    ["Practitioner", "name=doctor", (it) => begins(names(it), "doctor")],
    ["Practitioner", "active=true&address-postalcode=0", (it) => it.active === true && begins(list(it.address).map((each) => each.postalCode), "0")],
    ["Organization", "name:contains=hospital", (it) => plain(it.name).includes("hospital")],
    ["Organization", "type=prov&address-city=b", (it) => hasCode(it.type, "prov") && begins(list(it.address).map((each) => each.city), "b")],
    ["Encounter", `patient=${patient}&_sort=-date`, (it, to) => to(it.subject) === `Patient/${patient}`, (it) => period(it.period)[0], true],
    ["Encounter", `subject=Patient/${patient}&date=ge2014&date=lt2019`, (it, to) => to(it.subject) === `Patient/${patient}` && on(it.period, (a, b) => a < Date.UTC(2019, 0) && b >= Date.UTC(2014, 0))],
    ["Encounter", "class=AMB&status=finished&date=2015", (it) => it.class.code === "AMB" && on(it.period, (a, b) => a >= Date.UTC(2015, 0) && b < Date.UTC(2016, 0))],
    ["Encounter", "class:not=AMB", (it) => it.class.code !== "AMB"],
    ["Encounter", `participant=Practitioner/${doctor}&service-provider=${organization}`, (it, to) => list(it.participant).some((each) => to(each.individual) === `Practitioner/${doctor}`) && to(it.serviceProvider) === `Organization/${organization}`],
    ["Encounter", `type=${snomed}|185349003,162673000&date=sa2012-06-15`, (it) => (hasCode(it.type, "185349003", snomed) || hasCode(it.type, "162673000")) && on(it.period, (a) => a >= midnight("2012-06-16"))],
    ["Encounter", "reason-code:missing=false", (it) => codings(list(it.reasonCode)).some((each) => each.code)],
    ["Observation", `patient=${patient}&date=ge2015-01-01&_sort=date`, (it, to) => to(it.subject) === `Patient/${patient}` && on(it.effectiveDateTime, (_, b) => b >= midnight("2015-01-01")), (it) => span(it.effectiveDateTime)[0]],
    ["Observation", `patient=${patient}&code=${loinc}|8302-2&_sort=-date`, (it, to) => to(it.subject) === `Patient/${patient}` && hasCode(it.code, "8302-2", loinc), (it) => span(it.effectiveDateTime)[0], true],
    ["Observation", "code=8302-2&value-quantity=gt170", (it) => hasCode(it.code, "8302-2") && it.valueQuantity.value > 170],
    ["Observation", `code=29463-7&value-quantity=ge60.5|http://unitsofmeasure.org|kg&value-quantity=lt80||kg`, (it) => hasCode(it.code, "29463-7") && it.valueQuantity.code === "kg" && it.valueQuantity.value >= 60.5 && it.valueQuantity.value < 80],
    ["Observation", "value-quantity=25", (it) => it.valueQuantity && it.valueQuantity.value >= 24.5 && it.valueQuantity.value < 25.5],
    ["Observation", "component-code=8480-6&component-value-quantity=gt135", (it) => systolic(it) !== undefined && it.component.some((part) => part.valueQuantity?.value > 135)],
    ["Observation", "combo-code=8462-4,8302-2&category=vital-signs", (it) => hasCode(it.category, "vital-signs") && [it.code, ...list(it.component).map((part) => part.code)].some((code) => hasCode(code, "8462-4") || hasCode(code, "8302-2"))],
    ["Observation", "value-concept:missing=false&status=final", (it) => codings(it.valueCodeableConcept ?? []).some((each) => each.code) && it.status === "final"],
    ["Observation", "value-string:contains=never", (it) => [it.valueString, it.valueCodeableConcept?.text].some((text) => text && plain(text).includes("never"))],
    ["Observation", `encounter=Encounter/${encounter}`, (it, to) => to(it.encounter) === `Encounter/${encounter}`],
    ["Observation", "date=eb1990,gt2019-03", (it) => on(it.effectiveDateTime, (a, b) => b < Date.UTC(1990, 0) || b >= Date.UTC(2019, 3))],
    ["Observation", "date=ne2014&category=laboratory", (it) => hasCode(it.category, "laboratory") && on(it.effectiveDateTime, (a) => new Date(a).getUTCFullYear() !== 2014)],
    ["Condition", `patient=${patient}&clinical-status=active`, (it, to) => to(it.subject) === `Patient/${patient}` && hasCode(it.clinicalStatus, "active")],
    ["Condition", "onset-date=le2005-06&_sort=onset-date", (it) => on(it.onsetDateTime, (a, b) => a < Date.UTC(2005, 5) || b < Date.UTC(2005, 6)), (it) => span(it.onsetDateTime)[0]],
    ["Condition", "abatement-date:missing=true&verification-status=confirmed", (it) => it.abatementDateTime === undefined && hasCode(it.verificationStatus, "confirmed")],
    ["Condition", `code=${snomed}|38341003`, (it) => hasCode(it.code, "38341003", snomed)],
    ["DiagnosticReport", `patient=${patient}&_sort=-issued`, (it, to) => to(it.subject) === `Patient/${patient}`, (it) => span(it.issued)[0], true],
    ["DiagnosticReport", "code=57698-3&date=ge2016", (it) => hasCode(it.code, "57698-3") && on(it.effectiveDateTime, (_, b) => b >= Date.UTC(2016, 0))],
    ["MedicationRequest", `patient=${patient}&status=active`, (it, to) => to(it.subject) === `Patient/${patient}` && it.status === "active"],
    ["MedicationRequest", `requester=${requester}`, (it, to) => to(it.requester) === `Practitioner/${requester}`],
    ["MedicationRequest", "authoredon=2010,2016&intent=order", (it) => it.intent === "order" && [2010, 2016].includes(new Date(it.authoredOn).getUTCFullYear())],
    ["AllergyIntolerance", "category=food&criticality=low", (it) => it.category?.includes("food") && it.criticality === "low"],
    ["AllergyIntolerance", "date=lt1970&verification-status=confirmed", (it) => on(it.recordedDate, (a) => a < Date.UTC(1970, 0)) && hasCode(it.verificationStatus, "confirmed")],
    ["Procedure", `patient=${patient}&date=ge2010`, (it, to) => to(it.subject) === `Patient/${patient}` && on(it.performedPeriod ?? it.performedDateTime, (_, b) => b >= Date.UTC(2010, 0))],
    ["Procedure", "reason-reference:missing=false&status=completed", (it) => list(it.reasonReference).length > 0 && it.status === "completed"],
    ["Procedure", `reason-reference=Condition/${condition}`, (it, to) => list(it.reasonReference).some((each) => to(each) === `Condition/${condition}`)],
    ["Immunization", "vaccine-code=http://hl7.org/fhir/sid/cvx|140&date=2014-08", (it) => hasCode(it.vaccineCode, "140") && on(it.occurrenceDateTime, (a) => new Date(a).toISOString().startsWith("2014-08"))],
    ["Immunization", `patient=${patient}&status:not=not-done&_sort=date,vaccine-code`, (it, to) => to(it.patient) === `Patient/${patient}`, (it) => span(it.occurrenceDateTime)[0]],
    ["CarePlan", "date=ap2014&intent=order", (it) => { const reach = (newest - Date.UTC(2014, 0)) / 10; return it.intent === "order" && on(it.period, (a, b) => b >= Date.UTC(2014, 0) - reach && a < Date.UTC(2015, 0) + reach); }],
    ["CarePlan", "status=active&activity-code=60112009,183063000", (it) => it.status === "active" && list(it.activity).some((each) => hasCode(each.detail?.code, "60112009") || hasCode(each.detail?.code, "183063000"))],
    ["CarePlan", "condition:missing=false&date=gt2018", (it) => list(it.addresses).length > 0 && on(it.period, (_, b) => b >= Date.UTC(2019, 0))],
    ["Schedule", "active=true", (it) => it.active],
    ["Schedule", "date=ge2030-02&service-type=394585009", (it) => hasCode(it.serviceType, "394585009") && on(it.planningHorizon, (_, b) => b >= Date.UTC(2030, 1))],
    ["Slot", `schedule=${schedule}&status=free&start=ge2030-01-08&start=lt2030-01-10&_sort=start`, (it, to) => to(it.schedule) === `Schedule/${schedule}` && it.status === "free" && Date.parse(it.start) >= midnight("2030-01-08") && Date.parse(it.start) < midnight("2030-01-10"), (it) => Date.parse(it.start)],
    ["Slot", "start=2030-01-09", (it) => it.start.startsWith("2030-01-09")],
    ["Appointment", "date=2030-01-09&status=booked", (it) => it.status === "booked" && it.start.startsWith("2030-01-09")],
    ["Appointment", `patient=${visitor}&part-status=declined&_sort=-date`, (it) => it.participant.some((each) => each.status === "declined"), (it) => Date.parse(it.start), true],
    ["Appointment", `slot=Slot/${slot}`, (it, to) => list(it.slot).some((each) => to(each) === `Slot/${slot}`)],
  ];
}

test("searches find what the files hold", { skip }, async (t) => {
  const server = await startWorkerd();
  t.after(() => server.stop());
  const admin = await administrator(server);

  /** type -> id -> { resource, to }: as it was first sent. */
  const all = new Map();
  const bundles = [...files.map((name) => readFileSync(`${folder}/${name}`, "utf8")), JSON.stringify(week())];
  for (const text of bundles) {
    const { entry } = JSON.parse(text);
    const reply = await admin.post("/fhir", text);
    assert.equal(reply.status, 200, reply.text.slice(0, 500));
    const located = reply.body.entry.map(({ response }) => response.location.split("/").slice(0, 2).join("/"));
    const places = new Map(entry.map(({ fullUrl }, index) => [fullUrl, located[index]]));
    const to = (reference) => reference && (places.get(reference.reference) ?? reference.reference);
    for (const [index, { resource }] of entry.entries()) {
      const [type, id] = located[index].split("/");
      if (!all.has(type)) all.set(type, new Map());
      if (!all.get(type).has(id)) all.get(type).set(id, { resource, to });
    }
  }

  const idOf = (type, test) => [...all.get(type)].find(([id, { resource, to }]) => test(resource, to, id))[0];
  const observed = [...all.get("Observation").values()];
  /** Who is asked for: with most observations since 2014 of those who take something for something now. */
  const since = ({ resource, to }, id) => to(resource.subject) === `Patient/${id}` && resource.effectiveDateTime > "2014";
  const count = (id) => observed.filter((each) => since(each, id)).length;
  const active = (type, is) => new Set([...all.get(type).values()].filter(({ resource }) => is(resource)).map(({ resource, to }) => to(resource.subject)));
  const [takes, has] = [
    active("MedicationRequest", (it) => it.status === "active"),
    active("Condition", (it) => hasCode(it.clinicalStatus, "active")),
  ];
  const asked = (id) => takes.has(`Patient/${id}`) && has.has(`Patient/${id}`);
  const busiest = [...all.get("Patient").keys()].sort((a, b) => asked(b) - asked(a) || count(b) - count(a));
  const patient = busiest[0];
  const ofPatient = (it, to) => to(it.subject) === `Patient/${patient}`;
  const visit = [...all.get("Encounter")].find(([, { resource, to }]) => ofPatient(resource, to))[1];
  const ids = {
    patient,
    other: busiest[1],
    doctor: visit.to(visit.resource.participant[0].individual).split("/")[1],
    organization: visit.to(visit.resource.serviceProvider).split("/")[1],
    encounter: idOf("Encounter", (_, __, id) => observed.some(({ resource, to }) => to(resource.encounter) === `Encounter/${id}`)),
    condition: idOf("Condition", (_, __, id) => [...all.get("Procedure").values()].some(({ resource, to }) => list(resource.reasonReference).some((each) => to(each) === `Condition/${id}`))),
    requester: [...all.get("MedicationRequest").values()].map(({ resource, to }) => to(resource.requester))[0].split("/")[1],
    schedule: idOf("Schedule", (it) => it.active),
    slot: idOf("Slot", (it) => it.status === "busy"),
    visitor: idOf("Patient", (it) => it.birthDate === "1970"),
  };

  const table = queries({ ids, newest: Date.now() });
  const wrong = [];
  const nothing = [];
  let [pages, records] = [0, 0];
  for (const [index, [type, query, finds, key, falls]] of table.entries()) {
    const expected = [...all.get(type)].filter(([id, { resource, to }]) => finds(resource, to, id)).map(([id]) => id);
    const found = [];
    let total;
    let path = `/fhir/${type}?${new URLSearchParams(query)}&_total=accurate&_count=${[7, 23, 50, 200][index % 4]}`;
    while (path) {
      const page = await admin.get(path);
      assert.equal(page.status, 200, `${type}?${query}: ${page.text.slice(0, 500)}`);
      total ??= page.body.total;
      found.push(...(page.body.entry ?? []).map(({ resource }) => resource.id));
      path = page.body.link.find(({ relation }) => relation === "next")?.url.slice(server.url.length);
      pages += 1;
    }
    records += found.length;
    if (expected.length === 0) nothing.push(`${type}?${query}`);
    try {
      assert.deepEqual([...found].sort(), [...expected].sort());
      assert.equal(total, expected.length);
      if (key) {
        const keys = found.map((id) => key(all.get(type).get(id).resource));
        const inOrder = keys.every((each, at) => at === 0 || (falls ? keys[at - 1] >= each : keys[at - 1] <= each));
        assert.ok(inOrder, `not in order: ${keys}`);
      }
    } catch (error) {
      wrong.push(`${type}?${query}: ${found.length} (total ${total}) and not ${expected.length}\n${error.message}`);
    }
  }
  assert.deepEqual(wrong, []);
  assert.deepEqual(nothing, ["Patient?given:exact=zoe"], "of the others each finds something");
  t.diagnostic(`${table.length} searches, ${records} records on ${pages} pages, equal`);
});
