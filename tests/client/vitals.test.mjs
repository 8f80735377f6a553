// What the page makes of resources: vital signs, people, times.
import assert from "node:assert/strict";
import { test } from "node:test";
import { birthOf, identifiersOf, nameOf } from "../../www/js/people.mjs";
import { Vitals, ofEvent, ofResource, readingOf } from "../../www/js/vitals.mjs";
import { words } from "../../www/js/words.mjs";

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
  const vitals = new Vitals();
  for (let index = 0; index < 1500; index += 1) vitals.take(ofResource(heartRate(`o${index}`, 70, index)));
  assert.equal(vitals.series("heart-rate").length, 600);
  assert.equal(vitals.series("heart-rate")[0].reference, "Observation/o900");
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
  assert.equal(nameOf({}), words.patient.unnamed);
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

test("ages and states in words", () => {
  assert.deepEqual([0, 12_900, 61_000, 7_300_000, 90_000_000].map(words.age), ["just now", "12 s ago", "1 min ago", "2 h ago", "1 d ago"]);
  const now = new Date(2026, 0, 5, 10, 45).getTime();
  const lostAt = new Date(2026, 0, 5, 10, 42).getTime();
  const say = (state) => words.connection({ lostAt: null, attempt: 0, ended: null, ...state }, now);
  assert.equal(say({ phase: "live" }), "Live");
  assert.equal(say({ phase: "connecting" }), "Connecting …");
  assert.equal(say({ phase: "waiting", attempt: 1 }), "No connection yet, trying again");
  for (const phase of ["waiting", "connecting"]) assert.equal(say({ phase, lostAt }), "Connection lost at 10:42, trying again");
  assert.match(say({ phase: "offline", lostAt }), /10:42.*offline/);
  assert.equal(say({ phase: "ended", ended: { message: "Not allowed." } }), "Not allowed.");
});
