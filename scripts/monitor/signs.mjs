// Vital signs of an invented patient, second by second: they drift, follow the time of day, and now and then get worse for
// some minutes. No waveform, and nothing to learn medicine from.
import { chance, seedOf } from "../demo/random.mjs";

const limited = (value, low, high) => Math.min(Math.max(value, low), high);

/** How each sign moves: where it lies, how far it drifts, what getting worse does to it, and its limits. */
const signs = {
  heart_rate: { around: [64, 82], drift: 5, noise: 1.5, worse: 52, low: 35, high: 190, digits: 0 },
  respiratory_rate: { around: [13, 17], drift: 1.2, noise: 0.6, worse: 13, low: 6, high: 45, digits: 0 },
  oxygen_saturation: { around: [96, 98], drift: 0.7, noise: 0.4, worse: -9, low: 70, high: 100, digits: 0 },
  systolic_pressure: { around: [112, 138], drift: 6, noise: 2, worse: -34, low: 60, high: 220, digits: 0, every: 300 },
  diastolic_pressure: { around: [66, 82], drift: 4, noise: 2, worse: -18, low: 30, high: 130, digits: 0, every: 300 },
  temperature: { around: [36.4, 37], drift: 0.2, noise: 0.05, worse: 1.8, low: 34, high: 41, digits: 1, every: 60 },
};
/** Mean seconds between two times that one patient gets worse: with 24 beds somebody does every three minutes. */
const calm = 4320;
/** Seconds that it takes to get worse, and as long again to get better. */
const worsening = [90, 300];

/**
 * A patient: call it with the time, once a second, for the values that its monitor has now. They lie around those in `around`,
 * or around what is usual.
 */
export function patient(number, { seed = 7, around: given = {} } = {}) {
  const dice = chance(seedOf("monitor", seed, number));
  const state = Object.entries(signs).map(([name, sign]) => ({ name, sign, around: given[name] ?? dice.between(...sign.around), drift: 0, due: 0 }));
  const night = dice.between(0.02, 0.06);
  let episode;
  return (now) => {
    const second = Math.floor(now / 1000);
    if (!episode && dice.between(0, calm) < 1) episode = { began: second, takes: dice.whole(...worsening), far: dice.between(0.5, 1) };
    const passed = episode ? (second - episode.began) / episode.takes : 0;
    if (passed >= 2) episode = undefined;
    const ill = episode ? episode.far * Math.sin((Math.PI / 2) * Math.min(passed, 2 - passed)) : 0;
    // Lowest at four in the morning.
    const hour = (now / 3_600_000) % 24;
    const circadian = 1 - night * Math.cos(((hour - 4) / 24) * 2 * Math.PI);
    const values = {};
    for (const one of state) {
      const { name, sign, around } = one;
      one.drift = one.drift * 0.98 + dice.noise() * sign.drift * 0.2;
      const daily = name === "heart_rate" || name === "systolic_pressure" ? circadian : 1;
      const value = around * daily + one.drift + sign.noise * dice.noise() + sign.worse * ill;
      if (second < one.due) continue;
      one.due = second + (sign.every ?? 1);
      values[name] = Number(limited(value, sign.low, sign.high).toFixed(sign.digits));
    }
    return values;
  };
}
