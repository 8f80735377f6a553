// How times, dates, numbers and people's ages are written, in the language spoken. Times are milliseconds.
import { language, t } from "./i18n.mjs";

const styles = {
  clock: { hour: "2-digit", minute: "2-digit", hourCycle: "h23" },
  exactClock: { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" },
  dayAndClock: { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" },
  day: { day: "numeric", month: "short", year: "numeric" },
  shortDay: { day: "numeric", month: "short" },
  weekday: { weekday: "long", day: "numeric", month: "long" },
  stamp: { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" },
  4: { year: "numeric", timeZone: "UTC" },
  7: { month: "short", year: "numeric", timeZone: "UTC" },
  10: { day: "numeric", month: "short", year: "numeric", timeZone: "UTC" },
};
const made = new Map();

function formatter(kind, make) {
  const key = `${language().tag} ${kind}`;
  if (!made.has(key)) made.set(key, make(language().locale));
  return made.get(key);
}
const written = (style, at) => formatter(style, (locale) => new Intl.DateTimeFormat(locale, styles[style])).format(at);
const sameDay = (a, b) => new Date(a).toDateString() === new Date(b).toDateString();
const sameYear = (a, b) => new Date(a).getFullYear() === new Date(b).getFullYear();
const far = (at, now) => written(sameYear(at, now) ? "dayAndClock" : "day", at);

/** A time of today as its clock, one of this year with its day, an earlier one as its day. */
export const time = (at, now = Date.now()) => (sameDay(at, now) ? written("clock", at) : far(at, now));
/** The same with seconds where it is today. */
export const exactTime = (at, now = Date.now()) => (sameDay(at, now) ? written("exactClock", at) : far(at, now));
export const clock = (at) => written("clock", at);
export const day = (at) => written("day", at);
export const shortDay = (at) => written("shortDay", at);
export const weekday = (at) => written("weekday", at);
/** Day and time to the second, for what is kept. */
export const stamp = (at) => written("stamp", at);
/** A FHIR date as far as it goes: a year, a month, a day. */
export const date = (text) => (styles[text?.length] ? written(String(text.length), Date.parse(text)) : (text ?? ""));
/** A FHIR dateTime, whatever its precision. */
export const dateOf = (text, now = Date.now()) => (text?.length > 10 ? time(Date.parse(text), now) : date(text));

export const number = (value, digits = 2) =>
  formatter(`number ${digits}`, (locale) => new Intl.NumberFormat(locale, { maximumFractionDigits: digits })).format(value);
/** With exactly so many digits after the point. */
export const fixed = (value, digits) =>
  formatter(`fixed ${digits}`, (locale) => new Intl.NumberFormat(locale, { minimumFractionDigits: digits, maximumFractionDigits: digits })).format(value);
export const compare = (a, b) =>
  formatter("collator", (locale) => new Intl.Collator(locale, { sensitivity: "base", numeric: true })).compare(a, b);

/** "12 kB" of a number of bytes. */
export const bytes = (count) => (count < 1000 ? `${number(count)} B` : count < 1e6 ? `${number(count / 1e3, 0)} kB` : `${number(count / 1e6, 1)} MB`);

/** "3 min", or "3m" where it has to be `narrow`: the largest unit that fits, rounded down. */
export function duration(ms, { narrow = false } = {}) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const days = Math.floor(seconds / 86_400);
  const [unit, n] =
    seconds < 60 ? ["s", seconds]
    : seconds < 3600 ? ["min", Math.floor(seconds / 60)]
    : seconds < 86_400 ? ["h", Math.floor(seconds / 3600)]
    : days < 730 ? ["d", days]
    : ["y", Math.floor(days / 365.25)];
  return narrow ? t(`narrow.${unit}`, { n }) : t(`duration.${unit}`, { n });
}

/** "4:05" of a time that runs down. */
export function countdown(ms) {
  const seconds = Math.max(0, Math.ceil(ms / 1000));
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

/** How long ago; clocks of devices differ by seconds, more than that is worth saying. */
export function age(at, now = Date.now()) {
  const ms = now - at;
  if (ms < -30_000) return t("age.ahead");
  return ms < 1000 ? t("age.now") : t("age.ago", { duration: duration(ms) });
}

/** The age in whole years (months below two) of somebody born on `birthDate`, as far as that date tells. */
export function ageOf(birthDate, now = Date.now()) {
  const [year, month, day] = birthDate.split("-").map(Number);
  const today = new Date(now);
  if (!month || !day) return t("age.about", { n: today.getFullYear() - year });
  const begun = (today.getFullYear() - year) * 12 + today.getMonth() + 1 - month;
  const months = Math.max(0, begun - (today.getDate() < day ? 1 : 0));
  return months >= 24 ? t("age.years", { n: Math.floor(months / 12) }) : t("age.months", { n: months });
}
