// Chance that is the same on every machine and in every run: all of it follows from a seed.

/** A source of chance (mulberry32, 32 bits of state: enough for a demonstration, never for a secret). */
export function chance(seed) {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const between = (low, high) => low + (high - low) * next();
  const whole = (low, high) => Math.floor(between(low, high + 1));
  return {
    /** A number in [low, high). */
    between,
    /** A whole number in [low, high]. */
    whole,
    /** One of a list. */
    one: (list) => list[whole(0, list.length - 1)],
    /** `count` of a list, none twice, in no order. */
    some(list, count) {
      const left = [...list];
      return Array.from({ length: Math.min(count, left.length) }, () => left.splice(whole(0, left.length - 1), 1)[0]);
    },
    /** Around 0, rarely beyond 1 either way. */
    noise: () => next() + next() + next() - 1.5,
  };
}

/** A seed of several parts, so that what one patient gets does not depend on how many there are (FNV-1a). */
export function seedOf(...parts) {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(parts.join("/"))) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}
