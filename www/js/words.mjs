// Everything the page says, and how it writes times and numbers: the one place to translate.
const locale = "en-GB";
const clock = new Intl.DateTimeFormat(locale, { hour: "2-digit", minute: "2-digit" });
const clockSeconds = new Intl.DateTimeFormat(locale, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const dayAndClock = new Intl.DateTimeFormat(locale, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat(locale, { day: "numeric", month: "short", year: "numeric" });
const number = new Intl.NumberFormat(locale, { maximumFractionDigits: 2 });
const dates = {
  4: new Intl.DateTimeFormat(locale, { year: "numeric", timeZone: "UTC" }),
  7: new Intl.DateTimeFormat(locale, { month: "short", year: "numeric", timeZone: "UTC" }),
  10: new Intl.DateTimeFormat(locale, { day: "numeric", month: "short", year: "numeric", timeZone: "UTC" }),
};

const sameDay = (a, b) => new Date(a).toDateString() === new Date(b).toDateString();
const sameYear = (a, b) => new Date(a).getFullYear() === new Date(b).getFullYear();
const other = (at, now) => (sameYear(at, now) ? dayAndClock : day).format(at);
/** A time today as time, one of this year with its day, an earlier one as day. */
const time = (at, now) => (sameDay(at, now) ? clock.format(at) : other(at, now));
const exactTime = (at, now) => (sameDay(at, now) ? clockSeconds.format(at) : other(at, now));
const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;

function duration(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h`;
  const days = Math.floor(seconds / 86_400);
  return days < 730 ? `${days} d` : `${Math.floor(days / 365.25)} y`;
}

const advice = (status) => {
  if (status === 401) return "Sign in again.";
  if (status === 403) return "Ask whoever runs Bedside here if you need it.";
  if (status === 404 || status === 410) return "Go back to the list and read it again.";
  if (status === 429) return "Wait a moment, then try again.";
  if (status >= 500) return "Try again in a moment; if it goes on, tell whoever runs Bedside here.";
  return "";
};

const roles = {
  admin: "Administrator",
  practitioner: "Practitioner",
  nurse: "Nurse",
  patient: "Patient",
  device: "Device",
  display: "Display",
};

const genders = { male: "male", female: "female", other: "other gender" };

/** The age in whole years (months below two) of somebody born on `birthDate`, as far as that date tells. */
function ageOf(birthDate, now) {
  const [year, month, day] = birthDate.split("-").map(Number);
  const today = new Date(now);
  if (!month || !day) return `about ${today.getFullYear() - year} y`;
  const begun = (today.getFullYear() - year) * 12 + today.getMonth() + 1 - month;
  const months = Math.max(0, begun - (today.getDate() < day ? 1 : 0));
  return months >= 24 ? `${Math.floor(months / 12)} y` : months === 1 ? "1 month" : `${months} months`;
}

export const words = {
  product: "Bedside",
  titles: { signIn: "Sign in – Bedside", patients: "Patients – Bedside", patient: "Patient – Bedside" },
  loading: "Loading …",
  retry: "Try again",

  unreachable: "The server cannot be reached. Check the network, then try again.",
  failure: (status, said) =>
    [said ? sentence(said) : `The server answered with an error (${status}).`, advice(status)].filter(Boolean).join(" "),

  signIn: {
    heading: "Sign in",
    username: "User name",
    password: "Password",
    show: "Show",
    hide: "Hide",
    showPassword: "Show password",
    submit: "Sign in",
    busy: "Signing in …",
    wrong: (said) =>
      `${sentence(said ?? "that did not work")} Check both and try again; after several wrong passwords an account is closed for some minutes.`,
    missing: "Enter your user name and your password.",
  },
  ended: "Your session has ended. Sign in again to go on.",
  endedElsewhere: "You have signed out in another window.",
  signOut: "Sign out",
  signOutFailed:
    "Nothing is shown any more, but the server could not be told that you signed out. Try again, or close the browser.",
  signOutAgain: "Sign out again",
  signedInAs: "Signed in as",
  role: (role) => roles[role] ?? role,

  patients: {
    heading: "Patients",
    none: "There are no patients in your wards. If that is wrong, ask an administrator to assign you to your ward.",
    count: (count, more) => (more ? `The first ${count}` : count === 1 ? "1 patient" : `${count} patients`),
    more: "Show more",
    loadingMore: "Loading …",
    born: "Born",
    bed: "Bed",
    search: "Find by name or birth date",
    noMatch: "Nobody in this list matches.",
  },

  patient: {
    back: "All patients",
    unnamed: "Name not recorded",
    born: "Born",
    bornUnknown: "not recorded",
    gender: (gender) => genders[gender] ?? "",
    sex: "Sex",
    identifier: "Identifier",
    noIdentifier: "none recorded",
    deceased: "Deceased",
    vitals: "Latest vital signs",
    noVitals: "No other vital signs have been recorded.",
    heartRate: "Heart rate",
    perMinute: "per minute",
    noHeartRate: "No heart rate has been recorded yet.",
    stale: (age) => `Old value: nothing new for ${age}`,
    trend: (from, to, low, high, count) =>
      `Heart rate from ${from} to ${to}: ${count} values between ${low} and ${high} per minute`,
    range: (low, high) => (low === high ? `${low}` : `${low} to ${high}`),
    incomplete: "There are more records than could be looked at; a newer value of a vital sign may be missing from this list.",
    gap: (after, at, now) =>
      after === null
        ? `Some events before ${time(at, now)} were missed.`
        : `Some events between ${time(Date.parse(after), now)} and ${time(at, now)} were missed.`,
    rereading: "The present values are being read again …",
    reread: "The present values have been read again; the trend may have a hole.",
  },

  connection(state, now) {
    const lost = state.lostAt === null ? undefined : `Connection lost at ${time(state.lostAt, now)}`;
    switch (state.phase) {
      case "live":
        return "Live";
      case "connecting":
      case "waiting":
        if (lost) return `${lost}, trying again`;
        return state.attempt ? "No connection yet, trying again" : "Connecting …";
      case "offline":
        return `${lost ?? "No connection"}: this device is offline`;
      case "ended":
        return state.ended?.message ?? "The server has ended this connection. Go back to the list and open the patient again.";
      default:
        return "";
    }
  },
  lastEvent: (at, now) => `Last event ${exactTime(Date.parse(at), now)}`,
  tryNow: "Try now",

  age: (ms) => (ms < 1000 ? "just now" : `${duration(ms)} ago`),
  ahead: "time is ahead of this device’s clock",
  duration,
  exactTime,
  time,
  number: (value) => number.format(value),
  date: (text) => dates[text.length]?.format(Date.parse(text)) ?? text,
  ageOf,
  compare: new Intl.Collator(locale, { sensitivity: "base", numeric: true }).compare,
};
