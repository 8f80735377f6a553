// When a session that nobody uses is over, by the page's own reckoning; no clock but the one that is passed in.
import assert from "node:assert/strict";
import { test } from "node:test";
import { act, alone, judge, timesOf, warning } from "../../www/js/idle.mjs";

const minute = 60_000;
const now = Date.UTC(2026, 0, 5, 10);
const answer = (idle, end) => ({ idle_expires_at: new Date(now + idle).toISOString(), expires_at: new Date(now + end).toISOString() });
const signedIn = (idle = 15 * minute, end = 720 * minute) => timesOf(answer(idle, end), { now, acted: true });

test("warns a minute before, and is over at the time itself", () => {
  const times = signedIn();
  assert.equal(judge(times, now).phase, "fine");
  assert.equal(judge(times, now + 14 * minute - 1).phase, "fine");
  assert.deepEqual(judge(times, now + 14 * minute), { phase: "warning", left: warning, absolute: false });
  assert.equal(judge(times, now + 15 * minute - 1).phase, "warning");
  assert.equal(judge(times, now + 15 * minute).phase, "over");
});

test("the longest time of a session ends it whatever is done", () => {
  const times = act(signedIn(15 * minute, 5 * minute), now + 4 * minute);
  assert.deepEqual(judge(times, now + 4 * minute), { phase: "warning", left: minute, absolute: true });
  assert.equal(judge(alone(times), now + 5 * minute).phase, "over");
});

test("a session without idle limit is not warned of one", () => {
  const { expires_at } = answer(0, 720 * minute);
  const times = timesOf({ expires_at }, { now, acted: true });
  assert.equal(judge(times, now + 600 * minute).phase, "fine");
});

test("while the server cannot be asked, what is done here counts", () => {
  const asked = signedIn();
  const working = act(alone(asked), now + 13 * minute);
  assert.equal(judge(working, now + 15 * minute).phase, "fine");
  assert.equal(judge(working, now + 27 * minute).phase, "warning");
  assert.equal(judge(working, now + 28 * minute).phase, "over");
  assert.equal(judge(act(asked, now + 13 * minute), now + 15 * minute).phase, "over", "while it can, only its word counts");
});

test("of a session found half used no more is assumed than what is left, until it says more", () => {
  const found = timesOf(answer(5 * minute, 700 * minute), { now });
  assert.equal(found.idleFor, 5 * minute);
  const later = timesOf(answer(15 * minute, 700 * minute), { now, before: found });
  assert.equal(later.idleFor, 15 * minute);
  const less = timesOf(answer(2 * minute, 700 * minute), { now, before: later });
  assert.equal(less.idleFor, 15 * minute, "an answer in between does not shorten it");
  assert.equal(judge(less, now + minute).phase, "warning");
});

test("a clock that is wrong by an hour changes nothing", () => {
  for (const skew of [-60 * minute, 60 * minute]) {
    const here = now - skew;
    const times = timesOf(answer(15 * minute, 720 * minute), { now: here, skew, acted: true });
    assert.equal(judge(times, here + 14 * minute - 1).phase, "fine");
    assert.equal(judge(times, here + 15 * minute).phase, "over");
  }
});
