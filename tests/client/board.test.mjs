// The ward board as the page holds it: snapshots and events in, tiles in their order out; no clock but the one passed in.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Board, needOf, ofBoard } from "../../www/js/model/board.mjs";
import { isStale } from "../../www/js/parts/tile.mjs";
import { sparkPath } from "../../www/js/parts/spark.mjs";

const now = Date.UTC(2026, 0, 5, 10);
const iso = (seconds) => new Date(now + seconds * 1000).toISOString();
const score = (total, risk, seconds = 0, parts = {}) => ({ total, risk, partial: false, missing: [], newest_at: iso(seconds), parts });
const alert = (id, patient, version, more = {}) => ({
  id, version, patient, cause: "news2", severity: "medium", level: "ward", raised_at: iso(-60), acknowledged: null, ended: null, ...more,
});
const snapshot = (patients) => ofBoard({ ward: { id: "w", name: "Ward" }, at: iso(0), cursor: "e1~10~0", patients });
const one = (id, more = {}) => ({
  id, name: `Name ${id}`, bed: { id: `b${id}`, name: `Ward, bed ${id}` }, birth_date: "1950-01-01", latest: { heart_rate: { value: 70, at: iso(-10) } },
  news2: score(0, "none", -20), alerts: [], monitor: { interval_seconds: 10, silent: false }, ...more,
});
const telemetry = (...readings) => ({ kind: "telemetry", data: { readings: readings.map(([patient, seconds, values]) => ({ patient, id: `${seconds}`, at: iso(seconds), values })) } });
const boardOf = (...patients) => {
  const board = new Board();
  board.takeSnapshot(snapshot(patients));
  return board;
};
const tile = (board, patient, at = now) => board.tiles(at).find((found) => found.patient === patient);

test("beds go by their numbers and without the ward's name", () => {
  const { name, beds } = snapshot([one("10"), one("9")]);
  assert.equal(name, "Ward");
  assert.deepEqual(beds.map(({ bed, order }) => [bed, order]), [["bed 9", 0], ["bed 10", 1]]);
  assert.equal(beds[0].interval, 10_000);
  assert.equal(snapshot([one("1", { monitor: null, bed: { id: "b", name: null } })]).beds[0].bed, "b");
});

test("those in need stand first: an alert nobody has seen, then the score, then the bed", () => {
  const board = boardOf(
    one("1"), one("2", { news2: score(4, "low") }), one("3", { news2: score(3, "low-medium") }), one("4", { news2: null }),
    one("5", { news2: score(9, "high"), alerts: [alert("a", "5", 1, { severity: "high", acknowledged: { by: { id: "u", name: "U" }, at: iso(-1) } })] }),
    one("6", { news2: score(5, "medium"), alerts: [alert("b", "6", 1)] }),
    one("7", { news2: score(5, "medium"), alerts: [alert("c", "7", 1, { level: "escalated" })] }),
    one("8", { news2: score(7, "high"), alerts: [alert("d", "8", 1, { severity: "high" })] }),
  );
  assert.deepEqual(board.tiles(now).map(({ patient }) => patient), ["8", "7", "6", "5", "2", "3", "1", "4"]);
  assert.equal(needOf({ alerts: [], score: undefined }), 0);
});

test("a value never gives way to an older one, whatever comes late or twice", () => {
  const board = boardOf(one("1"));
  board.takeEvent(telemetry(["1", -5, { heart_rate: 75, oxygen_saturation: 97 }]));
  board.takeEvent(telemetry(["1", -8, { heart_rate: 99 }]));
  board.takeEvent(telemetry(["1", -5, { heart_rate: 75 }]));
  assert.deepEqual(tile(board, "1").readings.heart_rate, { value: 75, at: now - 5000 });
  assert.equal(tile(board, "1").latestAt, now - 5000);
  assert.equal(board.newest, now - 5000);
  board.takeEvent({ kind: "score", data: { patient: "1", news2: score(3, "low-medium", -2, { respiratory_rate: { value: 26, at: iso(-2), points: 3 } }) } });
  board.takeEvent({ kind: "score", data: { patient: "1", news2: score(9, "high", -4) } });
  assert.equal(tile(board, "1").score.total, 3);
  assert.equal(tile(board, "1").readings.respiratory_rate.value, 26);
  const smoothed = { heart_rate: { value: 71, at: iso(-1), points: 0, source: "telemetry" } };
  board.takeEvent({ kind: "score", data: { patient: "1", news2: score(3, "low-medium", -1, smoothed) } });
  board.takeEvent(telemetry(["1", -1, { heart_rate: 88 }]));
  assert.equal(tile(board, "1").readings.heart_rate.value, 88, "what is shown is not smoothed");
  board.takeEvent({ kind: "score", data: { patient: "1", news2: null } });
  assert.equal(tile(board, "1").score, null, "nothing counts any more");
});

test("an Observation's blood pressure is both of its values", () => {
  const board = boardOf(one("1"));
  const part = (code, value) => ({ code: { coding: [{ system: "http://loinc.org", code }] }, valueQuantity: { value, code: "mm[Hg]" } });
  const resource = {
    resourceType: "Observation", status: "final", subject: { reference: "Patient/1" }, effectiveDateTime: iso(-3),
    code: { coding: [{ system: "http://loinc.org", code: "85354-9" }] }, component: [part("8480-6", 120), part("8462-4", 80)],
  };
  assert.equal(board.takeEvent({ kind: "observation", data: { reference: "Observation/x", version: 1, deleted: false, resource } }), false);
  const { readings } = tile(board, "1");
  assert.deepEqual([readings.systolic_pressure.value, readings.diastolic_pressure.value], [120, 80]);
  assert.equal(board.takeEvent({ kind: "observation", data: { reference: "Observation/x", version: 2, deleted: true } }), false);
});

test("an alert never gives way to an earlier version, and is gone once it has ended", () => {
  const board = boardOf(one("1", { alerts: [alert("a", "1", 2)] }));
  const seen = alert("a", "1", 3, { acknowledged: { by: { id: "u", name: "U" }, at: iso(-1) } });
  board.takeAlert(seen);
  board.takeEvent({ kind: "alert", data: { change: "repeated", alert: alert("a", "1", 2) } });
  assert.equal(tile(board, "1").alerts[0].acknowledged.by.name, "U");
  board.takeEvent({ kind: "alert", data: { change: "resolved", alert: { ...seen, version: 4, ended: { at: iso(0), how: "resolved" } } } });
  assert.deepEqual(tile(board, "1").alerts, []);
  board.takeAlert(seen);
  assert.deepEqual(tile(board, "1").alerts, [], "it does not come back");
});

test("who is not on the board is noticed, and a snapshot takes the place of everything", () => {
  const board = boardOf(one("1"), one("2"));
  assert.equal(board.takeEvent(telemetry(["1", -1, { heart_rate: 71 }])), false);
  assert.equal(board.takeEvent(telemetry(["1", -1, { heart_rate: 71 }], ["9", -1, { heart_rate: 71 }])), true);
  assert.equal(board.takeEvent({ kind: "alert", data: { change: "raised", alert: alert("z", "9", 1) } }), true);
  assert.equal(board.takeEvent({ kind: "score", data: { patient: "9", news2: score(1, "low") } }), true);
  assert.equal(board.takeEvent({ kind: "notice", data: { text: "hello" } }), false);
  board.takeSnapshot(snapshot([one("2"), one("9", { alerts: [alert("z", "9", 1)] })]));
  assert.deepEqual(board.tiles(now).map(({ patient }) => patient), ["9", "2"]);
  assert.equal(tile(board, "9").alerts.length, 1);
});

test("a bed is stale after three intervals without readings, or when the server says so, until something comes", () => {
  const board = boardOf(one("1"), one("2", { monitor: { interval_seconds: 10, silent: true } }), one("3", { monitor: null, latest: {} }));
  assert.equal(isStale(tile(board, "1"), now + 20_000), false);
  assert.equal(isStale(tile(board, "1"), now + 20_001), true);
  assert.equal(isStale(tile(board, "2"), now), true);
  assert.ok(!isStale(tile(board, "3"), now), "nobody expects anything of it");
  assert.equal(tile(board, "3").latestAt, null);
  board.takeEvent(telemetry(["2", -1, { heart_rate: 60 }]));
  assert.equal(isStale(tile(board, "2"), now), false);
});

test("the line of the heart rate goes in steps, keeps so many and begins with what was before", () => {
  const board = boardOf(one("1"));
  for (let seconds = 1; seconds <= 1000; seconds += 1) board.takeEvent(telemetry(["1", seconds, { heart_rate: 60 + (seconds % 10) }]));
  const { spark } = tile(board, "1");
  assert.equal(spark.length, 90);
  assert.equal(spark.at(-1).at, now + 1000_000, "the newest is always there");
  assert.ok(spark.slice(1, -1).every(({ at }, index) => at - spark[index].at >= 5_000));
  const other = boardOf(one("1"));
  other.takeEvent(telemetry(["1", 5, { heart_rate: 80 }]));
  other.takePast([telemetry(["1", -60, { heart_rate: 50 }], ["1", -40, { heart_rate: 55 }]), { kind: "score", data: { patient: "1", news2: score(9, "high", 9) } }]);
  assert.deepEqual(tile(other, "1").spark.map(({ value }) => value), [50, 55, 70, 80]);
  assert.equal(tile(other, "1").score.total, 0, "of the past only the line is made");
  other.takeEvent(telemetry(["1", 3600, { heart_rate: 90 }], ["1", 3606, { heart_rate: 91 }]));
  assert.deepEqual(tile(other, "1").spark.map(({ value }) => value), [90, 91], "after a pause as long as itself it begins anew");
});

test("the path of a line has a hole where there was a pause", () => {
  assert.equal(sparkPath([]), "");
  const path = sparkPath([{ at: 0, value: 60 }, { at: 10_000, value: 62 }, { at: 100_000, value: 61 }]);
  assert.equal(path.match(/M/g).length, 2);
  assert.equal(path.match(/L/g).length, 1);
});
