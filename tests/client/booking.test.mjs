// What booking and diagnosis editing decide without a page.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Diary, choicesOf, dayOf, dayText, matching, shownOf, slotsOf } from "../../www/js/model/diary.mjs";
import { edited, fieldsOf, isEditable, isSettled, leaseOf, offered, refilled } from "../../www/js/model/diagnosis.mjs";

const minute = 60_000;
const day = Date.parse("2026-11-25T00:00:00Z");
const slot = (id, version, status, minutes, more) => ({
  resourceType: "Slot",
  id,
  meta: { versionId: String(version) },
  schedule: { reference: "Schedule/s" },
  status,
  start: new Date(day + minutes * minute).toISOString(),
  end: new Date(day + (minutes + 30) * minute).toISOString(),
  ...more,
});
const event = (resource) => ({ kind: "slot", data: { reference: `Slot/${resource.id}`, version: Number(resource.meta.versionId), resource } });
const range = { from: day, to: day + 1440 * minute, now: day };

test("times go by their start, and say whether they are free, held, taken or past", () => {
  const diary = new Diary();
  for (const one of [slot("b", 1, "busy-tentative", 570), slot("a", 1, "free", 540), slot("c", 1, "busy-unavailable", 600), slot("d", 1, "busy", 630), slot("e", 1, "entered-in-error", 660)]) diary.takeResource(one);
  assert.deepEqual(diary.slots("s", range).map(({ id, state }) => `${id} ${state}`), ["a free", "b held", "c taken", "d taken"]);
  assert.deepEqual(diary.slots("s", { ...range, now: day + 560 * minute }).map(({ state }) => state), ["past", "held", "taken", "taken"]);
  assert.deepEqual(diary.slots("other", range), []);
});

test("a time never goes back to an earlier version, whatever comes late or twice, and a deleted one stays away", () => {
  const diary = new Diary();
  diary.takeEvent(event(slot("a", 2, "busy-tentative", 540)));
  diary.takeResource(slot("a", 1, "free", 540));
  diary.takeEvent(event(slot("a", 2, "busy-tentative", 540)));
  assert.equal(diary.slots("s", range)[0].state, "held");
  diary.takeEvent(event(slot("a", 3, "busy", 540)));
  assert.equal(diary.slots("s", range)[0].state, "taken");
  diary.takeEvent({ kind: "slot", data: { reference: "Slot/a", version: 4, deleted: true } });
  diary.takeEvent(event(slot("a", 3, "busy", 540)));
  assert.deepEqual(diary.slots("s", range), []);
});

test("a service leaves out the times of others, and keeps those that say nothing", () => {
  const diary = new Diary();
  const of = (code) => ({ serviceType: [{ coding: [{ code }] }] });
  for (const one of [slot("a", 1, "free", 0, of("heart")), slot("b", 1, "free", 30, of("skin")), slot("c", 1, "free", 60)]) diary.takeResource(one);
  assert.deepEqual(diary.slots("s", { ...range, service: "heart" }).map(({ id }) => id), ["a", "c"]);
});

test("practitioners and services come once each, from active schedules only", () => {
  const schedule = (id, practitioner, code, more) => ({ id, actor: [{ reference: `Practitioner/${practitioner}` }], serviceType: [{ coding: [{ code }], text: code.toUpperCase() }], ...more });
  const { schedules, practitioners, services } = choicesOf(
    [schedule("1", "p", "heart"), schedule("2", "p", "skin"), schedule("3", "q", "skin"), schedule("4", "r", "eye", { active: false })],
    new Map([["Practitioner/p", "Ibarra, Ines"]]),
  );
  assert.deepEqual(practitioners, [{ id: "Practitioner/p", name: "Ibarra, Ines" }, { id: "Practitioner/q", name: "Practitioner/q" }]);
  assert.deepEqual(services, [{ code: "heart", text: "HEART" }, { code: "skin", text: "SKIN" }]);
  const ids = (wanted) => matching(schedules, { practitioner: "", service: "", ...wanted }).map(({ id }) => id);
  assert.deepEqual([ids({}), ids({ practitioner: "Practitioner/p" }), ids({ service: "skin" }), ids({ practitioner: "Practitioner/q", service: "heart" })], [["1", "2", "3"], ["1", "2"], ["2", "3"], []]);
});

test("of many schedules eight are shown, and whose time was found is one of them", () => {
  const { schedules } = choicesOf(Array.from({ length: 10 }, (_, index) => ({ id: `s${index}`, serviceType: [{ coding: [{ code: index ? "skin" : "heart" }] }] })));
  const ids = (wanted) => shownOf(schedules, { practitioner: "", service: "", first: "", ...wanted }).map(({ id }) => id);
  assert.deepEqual(ids({}), ["s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7"]);
  assert.deepEqual(ids({ first: "s9" }), ["s9", "s0", "s1", "s2", "s3", "s4", "s5", "s6"]);
  assert.deepEqual(ids({ service: "heart", first: "s9" }), ["s0"], "not what is not wanted");
});

test("a day is from midnight to midnight by this device's clock", () => {
  for (const text of ["2026-03-29", "2026-10-25", "2026-12-31"]) {
    const [from, to] = dayOf(text);
    assert.equal(dayText(from), text);
    assert.equal(dayText(to - 1), text);
    assert.notEqual(dayText(to), text);
  }
});

test("the slots of an appointment", () => {
  assert.deepEqual(slotsOf({ slot: [{ reference: "Slot/a" }, {}] }), ["a"]);
  assert.deepEqual(slotsOf({}), []);
});

test("a report is a draft, then final, then amended, and keeps what is not edited", () => {
  const report = { resourceType: "DiagnosticReport", id: "r", status: "registered", code: { text: "X" }, conclusion: "old" };
  const at = Date.parse("2026-11-25T10:00:00Z");
  const draft = edited(report, { text: " new " }, { finalise: false, at });
  assert.deepEqual([draft.status, draft.conclusion, draft.code.text, isSettled(draft)], ["preliminary", "new", "X", false]);
  const final = edited(draft, fieldsOf(draft), { finalise: true, at });
  assert.deepEqual([final.status, final.issued, isSettled(final)], ["final", "2026-11-25T10:00:00.000Z", true]);
  const amended = edited(final, { text: "" }, { finalise: false, at });
  assert.deepEqual([amended.status, "conclusion" in amended], ["amended", false]);
  assert.equal(report.status, "registered", "what was read is not changed");
  assert.equal(leaseOf(report), "DiagnosticReport:r");
});

test("a condition keeps its other notes, and is settled once it is confirmed or refuted", () => {
  const condition = { resourceType: "Condition", id: "c", note: [{ text: "first", authorString: "A" }, { text: "second" }] };
  assert.deepEqual(fieldsOf(condition), { text: "first", clinical: "", verification: "" });
  const made = edited(condition, { text: "changed", clinical: "remission", verification: "differential" }, { finalise: false });
  assert.deepEqual(made.note, [{ text: "changed", authorString: "A" }, { text: "second" }]);
  assert.deepEqual(fieldsOf(made), { text: "changed", clinical: "remission", verification: "differential" });
  assert.ok(!isSettled(made));
  const confirmed = edited(made, fieldsOf(made), { finalise: true });
  assert.equal(fieldsOf(confirmed).verification, "confirmed");
  assert.ok(isSettled(confirmed));
  assert.equal(edited(condition, { text: "", clinical: "active", verification: "refuted" }, {}).note.length, 1);
});

test("what is not touched keeps what it says: a partial report, a condition that says no status, one with more than a code", () => {
  const report = { resourceType: "DiagnosticReport", id: "r", status: "partial", conclusion: "a" };
  const saved = (status, finalise) => edited({ ...report, status }, { text: "b" }, { finalise, at: 0 }).status;
  assert.deepEqual(["registered", "partial", "preliminary", "unknown", "corrected"].map((status) => saved(status, false)), ["preliminary", "partial", "preliminary", "unknown", "amended"]);
  assert.equal(saved("partial", true), "final");

  const bare = { resourceType: "Condition", id: "c" };
  const noted = edited(bare, { ...fieldsOf(bare), text: "note" }, { finalise: false });
  assert.deepEqual(noted, { ...bare, note: [{ text: "note" }] });
  const confirmed = edited(bare, fieldsOf(bare), { finalise: true });
  assert.deepEqual([confirmed.verificationStatus.coding[0].code, "clinicalStatus" in confirmed], ["confirmed", false]);
  assert.equal(edited(bare, { ...fieldsOf(bare), verification: "unconfirmed" }, {}).verificationStatus.coding[0].code, "unconfirmed", "chosen, it is written");
  const refuted = edited(bare, { ...fieldsOf(bare), verification: "refuted" }, { finalise: true });
  assert.equal(refuted.verificationStatus.coding[0].code, "refuted", "finalised as it was chosen");
  const clinicalStatus = { coding: [{ system: "x", code: "inactive", display: "Inactive" }], text: "asleep" };
  assert.deepEqual(edited({ ...bare, clinicalStatus }, { ...fieldsOf({ ...bare, clinicalStatus }), verification: "refuted" }, {}).clinicalStatus, clinicalStatus);
});

test("what a condition says can be chosen, whatever it is, and once it is settled it is not opened again", () => {
  const of = (code) => offered({ resourceType: "Condition", ...(code && { verificationStatus: { coding: [{ code }] } }) }).verification;
  const open = ["unconfirmed", "provisional", "differential", "refuted"];
  assert.deepEqual([of("provisional"), of(""), of("local-7"), of("confirmed")], [open, ["", ...open], ["local-7", ...open], ["confirmed", "refuted"]]);
});

test("what somebody else wrote meanwhile is taken over, but for what was entered here", () => {
  const of = (clinical, verification, text) => ({
    resourceType: "Condition",
    clinicalStatus: { coding: [{ code: clinical }] },
    verificationStatus: { coding: [{ code: verification }] },
    note: [{ text }],
  });
  const filled = fieldsOf(of("active", "provisional", "a"));
  const theirs = of("relapse", "differential", "b");
  assert.deepEqual(refilled(theirs, filled, filled), fieldsOf(theirs));
  assert.deepEqual(refilled(theirs, { ...filled, text: "mine", clinical: "resolved" }, filled), { text: "mine", clinical: "resolved", verification: "differential" });
  // What is settled by now is not opened again by what was chosen before.
  const chosen = { ...filled, verification: "unconfirmed" };
  assert.equal(refilled(of("active", "confirmed", "a"), chosen, filled).verification, "confirmed");
  const report = (conclusion) => ({ resourceType: "DiagnosticReport", conclusion });
  assert.deepEqual([refilled(report("b"), { text: "mine" }, { text: "a" }), refilled(report("b"), { text: "a" }, { text: "a" })], [{ text: "mine" }, { text: "b" }]);
});

test("what was cancelled or entered in error is not edited", () => {
  const report = (status) => isEditable({ resourceType: "DiagnosticReport", status });
  assert.deepEqual(["registered", "partial", "final", "cancelled", "entered-in-error"].map(report), [true, true, true, false, false]);
  const condition = (code) => isEditable({ resourceType: "Condition", verificationStatus: { coding: [{ code }] } });
  assert.deepEqual([condition("confirmed"), condition("entered-in-error"), isEditable({ resourceType: "Condition" })], [true, false, true]);
  assert.ok(!isEditable({ resourceType: "DocumentReference", status: "current" }));
});
