// What the page makes of resources: vital signs, people, times.
import assert from "node:assert/strict";
import { test } from "node:test";
import { age } from "../../www/js/format.mjs";
import { speak, t } from "../../www/js/i18n.mjs";
import { Chart } from "../../www/js/model/chart.mjs";
import { alone, columns } from "../../www/js/model/lines.mjs";
import { bodyOf, fieldsOf } from "../../www/js/model/limits.mjs";
import { bandsOf, levelOf } from "../../www/js/model/news.mjs";
import { birthOf, identifiersOf, nameOf } from "../../www/js/model/people.mjs";
import { allergiesOf, appointmentsOf, attachmentsOf, bedsOf, cacheOf, decoded, documentsOf, medicationOf, problemsOf, resultsOf } from "../../www/js/model/record.mjs";
import { Vitals, isOverdue, ofEvent, ofResource, readingOf, signs } from "../../www/js/model/vitals.mjs";

await speak("en");

const loinc = (code) => ({ coding: [{ system: "http://loinc.org", code }] });
const quantity = (value, unit) => ({ value, unit, system: "http://unitsofmeasure.org", code: unit });
const at = (seconds) => new Date(Date.UTC(2026, 0, 5, 10, 0, seconds)).toISOString();
const heartRate = (id, value, seconds, more) => ({
  resourceType: "Observation",
  id,
  meta: { versionId: "1" },
  status: "final",
  code: loinc("8867-4"),
  effectiveDateTime: at(seconds),
  valueQuantity: quantity(value, "/min"),
  ...more,
});

test("the newest value by its own time is the latest, whatever comes last", () => {
  const vitals = new Vitals();
  for (const [id, value, seconds] of [["a", 70, 10], ["b", 72, 30], ["c", 71, 20]]) {
    assert.equal(vitals.take(ofResource(heartRate(id, value, seconds))), true);
  }
  assert.deepEqual(vitals.series("heart-rate").map((reading) => reading.values[0]), [70, 71, 72]);
  assert.equal(vitals.take(ofResource(heartRate("b", 99, 30))), false, "the same version again");
});

test("a newer version takes the place of the older, a deletion takes it away, and neither comes back", () => {
  const vitals = new Vitals();
  const event = (version, value) => ({
    data: { reference: "Observation/a", version, deleted: value === undefined, resource: value === undefined ? null : heartRate("a", value, 10) },
  });
  const shown = () => vitals.latest().map((reading) => reading.values[0]);
  vitals.take(ofEvent(event(1, 70)));
  vitals.take(ofEvent(event(2, 75)));
  vitals.take(ofEvent(event(1, 70)));
  assert.deepEqual(shown(), [75]);
  vitals.take(ofEvent(event(3)));
  vitals.take(ofEvent(event(2, 75)));
  assert.deepEqual(shown(), []);
  vitals.take(ofEvent(event(4, 80)));
  assert.deepEqual(shown(), [80]);
  vitals.take({ reference: "Observation/a", version: 5, resource: heartRate("a", 80, 10, { status: "entered-in-error" }) });
  assert.deepEqual(shown(), []);
});

test("only so many values are kept", () => {
  const vitals = new Vitals({ keep: 600 });
  for (let index = 0; index < 1500; index += 1) vitals.take(ofResource(heartRate(`o${index}`, 70, index)));
  assert.equal(vitals.series("heart-rate").length, 600);
  assert.equal(vitals.series("heart-rate")[0].reference, "Observation/o900");
});

test("what monitors say joins the series, the last hour of it, and pushes out no record", () => {
  const vitals = new Vitals();
  vitals.take(ofResource(heartRate("old", 65, 0, { effectiveDateTime: "2025-01-01T00:00:00Z" })));
  const event = (from, values) => ({ kind: "telemetry", data: { readings: values.map((value, index) => ({ patient: index % 2 ? "q" : "p", id: "x", at: at(from + index), values: value })) } });
  vitals.takeTelemetry(event(10, [{ heart_rate: 70, systolic_pressure: 120, diastolic_pressure: 80, consciousness: "A" }, { heart_rate: 99 }]), "p");
  assert.deepEqual(vitals.series("blood-pressure")[0].values, [120, 80]);
  assert.deepEqual(vitals.series("heart-rate").map(({ values }) => values[0]), [65, 70], "of this patient only");
  for (let index = 0; index < 4000; index += 1) vitals.takeTelemetry(event(20 + index, [{ heart_rate: 71 }]), "p");
  const series = vitals.series("heart-rate");
  assert.equal(series.length, 3601);
  assert.equal(series[0].reference, "Observation/old");
});

test("a value is overdue after three of the intervals at which values came", () => {
  const series = (...times) => times.map((time) => ({ at: time * 1000 }));
  assert.equal(isOverdue([], 0), false);
  assert.equal(isOverdue(series(0, 10, 20), 50_000), false);
  assert.equal(isOverdue(series(0, 10, 20), 50_001), true);
  assert.equal(isOverdue(series(0, 1, 2, 3), 18_000), false, "a second is too short to judge by");
  assert.equal(isOverdue(series(0, 1, 2, 3), 18_001), true);
  assert.equal(isOverdue(series(0), 24 * 3_600_000), false);
  assert.equal(isOverdue(series(0), 24 * 3_600_000 + 1), true);
  assert.equal(isOverdue(series(0, 90_000, 90_001, 90_002, 90_003, 90_004, 90_005), 90_021_000), true, "an old pause does not count");
});

test("blood pressure is two numbers, or what there is of them", () => {
  const component = (code, value) => ({ code: loinc(code), valueQuantity: quantity(value, "mm[Hg]") });
  const pressure = (...components) =>
    readingOf({ status: "final", code: loinc("85354-9"), issued: at(0), component: components });
  assert.deepEqual(pressure(component("8462-4", 80), component("8480-6", 120)).values, [120, 80]);
  assert.equal(pressure(component("8480-6", 120)).unit, "mmHg");
  assert.deepEqual(pressure(component("8480-6", 120)).values, [120, undefined]);
  assert.equal(pressure(), undefined);
});

test("what is no value of a known vital sign is none", () => {
  for (const resource of [
    null,
    {},
    heartRate("a", 70, 0, { code: { text: "heart rate" } }),
    heartRate("a", 70, 0, { code: { coding: [{ system: "urn:other", code: "8867-4" }] } }),
    heartRate("a", 70, 0, { valueQuantity: undefined }),
    heartRate("a", "70", 0),
    heartRate("a", 70, 0, { effectiveDateTime: "soon" }),
  ]) {
    assert.equal(readingOf(resource), undefined);
  }
});

test("names, birth dates and identifiers", () => {
  const now = new Date(2026, 0, 5, 12).getTime();
  const names = [{ use: "maiden", family: "Meier" }, { use: "official", family: "Keller", given: ["Anna", "Maria"] }];
  assert.equal(nameOf({ name: names }), "Keller, Anna Maria");
  assert.equal(nameOf({ name: [{ text: "Cher" }] }), "Cher");
  assert.equal(nameOf({}), t("patient.unnamed"));
  assert.equal(birthOf({ birthDate: "1957-01-06" }, now), "6 Jan 1957 (68 y)");
  assert.equal(birthOf({ birthDate: "1957-01-05" }, now), "5 Jan 1957 (69 y)");
  assert.equal(birthOf({ birthDate: "1957" }, now), "1957 (about 69 y)");
  assert.equal(birthOf({ birthDate: "2025-11-06" }, now), "6 Nov 2025 (1 month)");
  assert.equal(birthOf({ birthDate: "2025-11-05" }, now), "5 Nov 2025 (2 months)");
  assert.equal(birthOf({ birthDate: "1957-01-05", deceasedBoolean: true }, now), "5 Jan 1957");
  const coded = (code, value) => ({ value, type: { coding: [{ code }], text: code } });
  const identifier = [coded("SS", "999"), { value: "7" }, coded("MR", "42")];
  assert.deepEqual(identifiersOf({ identifier }).map(({ value }) => value), ["42", "7"]);
});

test("ages in words", async () => {
  const now = Date.UTC(2026, 0, 5, 10, 45);
  const ages = [0, 12_900, 61_000, 7_300_000, 90_000_000].map((ms) => age(now - ms, now));
  assert.deepEqual(ages, ["just now", "12 s ago", "1 min ago", "2 h ago", "1 d ago"]);
  assert.equal(age(now + 60_000, now), t("age.ahead"));
  await speak("zh");
  assert.equal(age(now - 61_000, now), "1 分钟前");
  await speak("en");
});

const concept = (code, text) => ({ coding: [{ code, display: text }], text });

test("allergies: the dangerous first, none known apart from none recorded, what is over or wrong left out", () => {
  const allergy = (id, text, more) => ({ id, code: { text }, clinicalStatus: concept("active"), ...more });
  const found = allergiesOf([
    allergy("a", "Penicillins", { reaction: [{ manifestation: [{ text: "Rash" }, { text: "Fever" }] }] }),
    allergy("b", "Peanut", { criticality: "high" }),
    allergy("c", "Latex", { clinicalStatus: concept("resolved") }),
    allergy("d", "Wool", { verificationStatus: concept("entered-in-error") }),
  ]);
  assert.deepEqual(found.list.map(({ text }) => text), ["Peanut", "Penicillins"]);
  assert.deepEqual(found.list[1].reactions, ["Rash", "Fever"]);
  assert.deepEqual(allergiesOf([]), { none: false, list: [] });
  assert.deepEqual(allergiesOf([allergy("n", "No known allergy", { code: concept("716186003") })]), { none: true, list: [] });
});

test("problems and medication: what is open first, the newest before the older", () => {
  const problem = (id, status, recordedDate) => ({ id, code: { text: id }, clinicalStatus: concept(status), recordedDate });
  const problems = problemsOf([problem("old", "resolved", "2026-01-01"), problem("a", "active", "2020-01-01"), problem("b", "active", "2025-01-01")]);
  assert.deepEqual(problems.map(({ id }) => id), ["b", "a", "old"]);
  const order = (id, status, authoredOn) => ({ id, status, authoredOn, medicationCodeableConcept: { text: id } });
  const orders = medicationOf([order("x", "stopped", "2026-02-01"), order("y", "active", "2026-01-01"), order("z", "entered-in-error")]);
  assert.deepEqual(orders.map(({ id, current }) => [id, current]), [["y", true], ["x", false]]);
});

test("results: one row a test, flagged by its interpretation or its range, vital signs left out", () => {
  const result = (id, code, value, seconds, more) => ({
    resourceType: "Observation", id, status: "final", code: concept(code, code), effectiveDateTime: at(seconds), valueQuantity: quantity(value, "mg/L"), ...more,
  });
  const range = [{ low: quantity(1, "mg/L"), high: quantity(5, "mg/L") }];
  const found = resultsOf([
    result("1", "crp", 90, 10, { interpretation: [concept("H")] }),
    result("2", "crp", 40, 20, { referenceRange: range }),
    result("3", "na", 140, 30, { interpretation: [concept("LL")] }),
    result("4", "hr", 70, 40, { category: [concept("vital-signs")] }),
    result("5", "k", 3, 5, { referenceRange: range }),
  ]);
  assert.deepEqual(found.map(({ name, value, flag, before }) => [name, value, flag, before.length]), [
    ["na", 140, "critical", 0], ["crp", 40, "high", 1], ["k", 3, undefined, 0],
  ]);
});

test("documents, beds and the cache's own word", () => {
  const report = (id, status, issued) => ({ resourceType: "DiagnosticReport", id, status, issued, code: { text: id } });
  const found = documentsOf([report("a", "preliminary", "2026-01-02"), report("b", "final", "2026-01-03"), report("c", "entered-in-error")]);
  assert.deepEqual(found.map(({ id, final }) => [id, final]), [["b", true], ["a", false]]);
  const stay = (id, status, reference, display) => ({ status, subject: { reference: `Patient/${id}` }, location: [{ location: { reference, display } }] });
  const beds = bedsOf([stay("p", "in-progress", "Location/1"), stay("q", "finished", "Location/2"), stay("r", "arrived", "Location/2", "Bed 2")], [{ id: "1", name: "Bed 1" }]);
  assert.deepEqual([...beds], [["p", "Bed 1"], ["r", "Bed 2"]]);
  assert.deepEqual(cacheOf("Bedside; hit; ttl=3540"), { hit: true, ttl: 3540, stored: false, reason: undefined });
  assert.deepEqual(cacheOf("Bedside; fwd=miss; detail=changed; stored"), { hit: false, ttl: undefined, stored: true, reason: "changed" });
  assert.equal(cacheOf(null), undefined);
});

test("a chart keeps the newest version of each record, and what is deleted stays deleted", () => {
  const chart = new Chart();
  const condition = (version, text) => ({ resourceType: "Condition", id: "c", meta: { versionId: String(version) }, code: { text } });
  chart.takeResource(condition(2, "new"));
  assert.equal(chart.takeResource(condition(1, "old")), false);
  assert.deepEqual(chart.all("Condition").map(({ code }) => code.text), ["new"]);
  chart.take({ reference: "Condition/c", version: 3, resource: null });
  assert.equal(chart.takeResource(condition(2, "new")), false);
  assert.deepEqual(chart.all("Condition"), []);
  chart.takeResource(heartRate("h", 70, 1));
  assert.equal(chart.vitals.series("heart-rate").length, 1);
});

test("the bands of the early warning score leave no gap, and score as the chart says at every boundary", () => {
  // Royal College of Physicians, NEWS2, chart 1: the last value of each band and the first of the next.
  const boundaries = {
    "respiratory-rate": [[8, 3], [9, 1], [11, 1], [12, 0], [20, 0], [21, 2], [24, 2], [25, 3]],
    "oxygen-saturation": [[91, 3], [92, 2], [93, 2], [94, 1], [95, 1], [96, 0]],
    "blood-pressure": [[90, 3], [91, 2], [100, 2], [101, 1], [110, 1], [111, 0], [219, 0], [220, 3]],
    "heart-rate": [[40, 3], [41, 1], [50, 1], [51, 0], [90, 0], [91, 1], [110, 1], [111, 2], [130, 2], [131, 3]],
    temperature: [[35.0, 3], [35.1, 1], [36.0, 1], [36.1, 0], [38.0, 0], [38.1, 1], [39.0, 1], [39.1, 2]],
  };
  for (const { key } of signs) {
    const bands = bandsOf(key);
    for (const [value, score] of boundaries[key]) {
      assert.equal(bands.find(({ from, to }) => value >= from && value < to)?.score, score, `${key} ${value}`);
    }
    assert.ok(bands.every(({ from }, index) => index === 0 || from === bands[index - 1].to));
  }
});

test("how urgent a score is, by the risk the server tells", () => {
  const levels = ["none", "low", "low-medium", "medium", "high"].map((risk) => levelOf({ risk }));
  assert.deepEqual(levels, ["none", "low", "single", "medium", "high"]);
  assert.equal(levelOf(undefined), "unknown");
});

test("appointments: what is to come first, the nearest first in both", () => {
  const now = Date.UTC(2026, 0, 5, 10);
  const appointment = (id, hours, status = "booked") => ({
    id, status, start: new Date(now + hours * 3_600_000).toISOString(), end: new Date(now + (hours + 0.5) * 3_600_000).toISOString(),
    participant: [{ actor: { reference: "Patient/p", display: "Self" } }, { actor: { reference: "Practitioner/d", display: "Dr D" } }],
  });
  const found = appointmentsOf([appointment("past", -48), appointment("later", 48), appointment("soon", 1), appointment("gone", 2, "cancelled"), appointment("now", -0.25), { id: "none" }], now);
  assert.deepEqual(found.map(({ id }) => id), ["now", "soon", "later", "gone", "past"]);
  assert.deepEqual(found[0].who, ["Dr D"]);
});

test("limits go into a form and come back as they were; what is no limit is found", () => {
  const had = { spo2_scale: 2, monitoring: "auto", interval_seconds: 5, limits: { heart_rate: { low: 45, high: 130 }, temperature: { high: 38.5 } }, version: 3 };
  const fields = fieldsOf(had);
  assert.equal(fields["heart_rate.low"], "45");
  assert.equal(fields["respiratory_rate.low"], "");
  const { interval_seconds, limits, monitoring, spo2_scale } = had;
  assert.deepEqual(bodyOf(fields, had), { body: { spo2_scale, monitoring, interval_seconds, limits } });
  assert.deepEqual(bodyOf({ ...fields, "temperature.high": "38,7" }, had).body.limits.temperature, { high: 38.7 });
  assert.deepEqual(bodyOf({ ...fields, "temperature.high": " " }, { ...had, interval_seconds: null }).body, { spo2_scale, monitoring, limits: { heart_rate: limits.heart_rate } });
  for (const [name, text] of [["heart_rate.low", "fast"], ["heart_rate.low", "-1"], ["temperature.high", "38.55"], ["heart_rate.high", "45"]]) {
    assert.equal(bodyOf({ ...fields, [name]: text }, had).wrong, name, text);
  }
});

test("a line goes over pauses that are usual on one of their sides, and over no other", () => {
  const hour = 3_600_000;
  const series = (...times) => times.map((at) => ({ at, values: [at / 1000] }));
  // Charted every eight hours, then a monitor each second, silent for an hour.
  const monitor = (from) => [0, 1000, 2000].map((more) => from + more);
  const [times, values] = columns(series(0, 8 * hour, 16 * hour, ...monitor(17 * hour), ...monitor(18 * hour)), 1);
  assert.deepEqual(values.flatMap((value, index) => (value === null ? [times[index - 1] / 3600] : [])), [17 + 2 / 3600]);
  assert.deepEqual(columns(series(0, 60_000), 2), [[0, 60], [0, 60], [null, null]], "what a part lacks is a hole");
  // A single value long before a monitor is a point of its own.
  const lonely = columns(series(0, ...monitor(4 * hour)), 1)[1];
  assert.deepEqual(lonely.slice(0, 2), [0, null]);
  assert.deepEqual(alone(lonely), [0]);
  assert.deepEqual(alone([]), []);
});

test("what a report says in full is told by its type, with what it weighs", () => {
  const report = { presentedForm: [{ contentType: "Text/Plain; charset=UTF-8", data: "YWJjZA==" }, { title: "empty" }] };
  const [text] = attachmentsOf(report);
  assert.deepEqual(attachmentsOf(report), [{ type: "text/plain", charset: "utf-8", data: "YWJjZA==", url: undefined, title: undefined }]);
  assert.deepEqual([decoded(text).text, decoded(text).bytes.length], ["abcd", 4]);
  const [elsewhere] = attachmentsOf({ content: [{ attachment: { url: "https://archive.example/1" } }] });
  assert.deepEqual([elsewhere.type, decoded(elsewhere).bytes], ["application/octet-stream", undefined]);
  const read = (contentType, bytes) => decoded(attachmentsOf({ presentedForm: [{ contentType, data: Buffer.from(bytes).toString("base64") }] })[0]).text;
  assert.equal(read("text/plain; charset=ISO-8859-1", [0x52, 0xf6]), "Rö");
  assert.equal(read('text/plain;format=flowed;charset="GB18030"', [0xd7, 0xf3, 0xb7, 0xce]), "左肺");
  assert.equal(read("text/plain", Buffer.from("Rö")), "Rö");
  assert.equal(read("text/plain; charset=unheard-of", Buffer.from("Rö")), "Rö");
  assert.equal(read("application/pdf", [1, 2]), undefined);
  assert.deepEqual(decoded({ type: "text/plain", data: "!" }), { type: "text/plain", data: "!" }, "what is no base64");
  assert.deepEqual(attachmentsOf({}), []);
});
