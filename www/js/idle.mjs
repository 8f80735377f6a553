// When a session that nobody uses is over, and when to say so beforehand. Pure: times in ms come in, by this device's clock.
//
// Invariant: without a person's action the page is told `over` at the latest when the server would end the session; and
// while the server cannot be asked, when this device has seen no action for as long as the server would allow.

/** So long before the end a person is warned. */
export const warning = 60_000;

/** The session's times after an answer of the server. `before` are those of before, if any. */
export function timesOf({ expires_at, idle_expires_at }, { now, skew = 0, acted, before }) {
  // What the server says is by its own clock; `skew` is how far that is ahead of ours.
  const local = (text) => (text ? Date.parse(text) - skew : Infinity);
  const idleAt = local(idle_expires_at);
  // Only after an action is the whole idle time left; of a session that was found half used, what is left is all we know.
  const left = idleAt - now;
  return {
    endAt: local(expires_at),
    idleAt,
    idleFor: acted || !before ? left : Math.max(before.idleFor, left),
    actedAt: acted || !before ? now : before.actedAt,
    takenAt: now,
    reachable: true,
  };
}

/** `times` after a person did something at `now`. */
export const act = (times, now) => ({ ...times, actedAt: now });

/** `times` after the server could not be asked. */
export const alone = (times) => ({ ...times, reachable: false });

/** { phase: "fine" | "warning" | "over", left } at `now`. */
export function judge(times, now) {
  const idleEnd = times.reachable ? times.idleAt : Math.max(times.idleAt, times.actedAt + times.idleFor);
  const left = Math.min(idleEnd, times.endAt) - now;
  return { phase: left <= 0 ? "over" : left <= warning ? "warning" : "fine", left, absolute: times.endAt <= idleEnd };
}
