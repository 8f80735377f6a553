// One patient: who it is, the heart rate as it comes, the other vital signs.
import { api, page } from "../api.mjs";
import { follow } from "../channel.mjs";
import { el, setText } from "../dom.mjs";
import { birthOf, identifiersOf, nameOf } from "../people.mjs";
import { sparkline } from "../sparkline.mjs";
import { Vitals, ofEvent, ofResource } from "../vitals.mjs";
import { words } from "../words.mjs";

/** A heart rate older than this looks old. */
const stale = 60_000;
/** At most so many pages of records are read to find the newest values. */
const mostPages = 5;

const textOf = (reading) => reading.values.map((value) => (value === undefined ? "–" : words.number(value))).join("/");

function ageOf(at, now) {
  // Clocks of devices differ by seconds; more than that is worth saying.
  return at - now > 30_000 ? words.ahead : words.age(now - at);
}

/** `patient` is the resource as the list has it; it is read again here. */
export function patientView({ patient, onBack, signal }) {
  const say = words.patient;
  const vitals = new Vitals();
  const topic = `patient/${patient.id}`;
  const paths = [`/fhir/Patient/${patient.id}`, `/fhir/Observation?patient=${patient.id}`];
  let connection;
  /** When the newest of the events read at first was committed. */
  let newestPast;

  // Who.
  const name = el("h1", { tabindex: "-1" });
  const facts = el("dl", { class: "facts" });
  function showWho() {
    setText(name, nameOf(patient));
    const fact = (label, value) => value && el("div", {}, el("dt", {}, label), el("dd", {}, value));
    const ids = identifiersOf(patient);
    facts.replaceChildren(
      ...[
        fact(say.born, birthOf(patient, Date.now())),
        fact(say.sex, say.gender(patient.gender)),
        ...(ids.length ? ids.map(({ label, value }) => fact(label, value)) : [fact(say.identifier, say.noIdentifier)]),
        fact(say.deceased, patient.deceasedDateTime && words.date(patient.deceasedDateTime.slice(0, 10))),
      ].filter(Boolean),
    );
  }

  // The connection, in words.
  const status = el("p", { class: "status", role: "status" });
  const lastEvent = el("p", { class: "muted last-event" });
  const tryNow = el("button", { type: "button", class: "quiet", hidden: true, onclick: () => channel.retry() }, words.tryNow);
  const strip = el("div", { class: "strip", "data-phase": "connecting" }, status, lastEvent, tryNow);
  const gap = el("div", { class: "notice", role: "status", hidden: true });

  function showConnection(state) {
    connection = state;
    const now = Date.now();
    strip.dataset.phase = state.phase;
    setText(status, words.connection(state, now));
    const last = state.lastEvent ?? newestPast;
    setText(lastEvent, last ? words.lastEvent(last, now) : "");
    tryNow.hidden = state.phase !== "waiting";
    gap.hidden = !state.gap;
    if (state.gap) {
      const doing = state.reread?.why === "gap" ? say.rereading : say.reread;
      setText(gap, `${say.gap(state.gap.after, state.gap.at, now)} ${doing}`);
    }
    incomplete.hidden = state.complete;
    card.classList.toggle("not-live", state.phase !== "live");
  }

  // The heart rate.
  const rate = el("span", { class: "rate-number" }, "–");
  const rateTime = el("span", { class: "rate-time" });
  const rateAge = el("span", { class: "rate-age" });
  const warning = el("p", { class: "rate-warning", hidden: true });
  const none = el("p", { class: "muted rate-none" }, words.loading);
  const trend = sparkline();
  const trendText = el("p", { class: "muted trend-text", "aria-hidden": "true" });
  const unit = el("span", { class: "rate-unit" }, say.perMinute);
  const figure = el("p", { class: "rate", hidden: true }, rate, " ", unit);
  const when = el("p", { class: "rate-when", hidden: true }, rateTime, " ", rateAge);
  const card = el(
    "section",
    { class: "card heart", "aria-labelledby": "heart-heading" },
    el("h2", { id: "heart-heading" }, say.heartRate),
    figure,
    when,
    warning,
    none,
    el("div", { class: "trend", hidden: true }, trend.element, trendText),
  );

  // The others.
  const rows = el("dl", { class: "vitals" });
  const noVitals = el("p", { class: "muted" }, words.loading);
  const incomplete = el("p", { class: "muted", hidden: true }, say.incomplete);

  const read = { first: false };
  function showVitals() {
    const now = Date.now();
    const beats = vitals.series("heart-rate");
    const latest = beats.at(-1);
    for (const part of [figure, when]) part.hidden = !latest;
    none.hidden = Boolean(latest);
    if (latest) {
      setText(rate, textOf(latest));
      const shown = trend.show(beats);
      const values = shown.map((reading) => reading.values[0]);
      const [low, high] = [Math.min(...values), Math.max(...values)].map(words.number);
      const [from, to] = [shown[0].at, shown.at(-1).at].map((at) => words.exactTime(at, now));
      trend.element.parentNode.hidden = shown.length < 2;
      trend.element.setAttribute("aria-label", say.trend(from, to, low, high, shown.length));
      setText(trendText, `${from} – ${to} · ${say.range(low, high)}`);
    } else if (read.first) setText(none, say.noHeartRate);

    const others = vitals.latest().filter((reading) => reading.sign.key !== "heart-rate");
    rows.replaceChildren(
      ...others.map((reading) =>
        el(
          "div",
          {},
          el("dt", {}, reading.sign.label),
          el("dd", { class: "value" }, textOf(reading), " ", el("span", { class: "unit" }, reading.unit)),
          el(
            "dd",
            { class: "when" },
            el("span", {}, words.exactTime(reading.at, now)),
            " ",
            el("span", { class: "muted", "data-at": reading.at }, ageOf(reading.at, now)),
          ),
        ),
      ),
    );
    rows.hidden = !others.length;
    noVitals.hidden = others.length > 0;
    if (read.first) setText(noVitals, say.noVitals);
    showAges();
  }

  function showAges() {
    const now = Date.now();
    const latest = vitals.series("heart-rate").at(-1);
    if (latest) {
      const old = now - latest.at > stale;
      setText(rateTime, words.exactTime(latest.at, now));
      setText(rateAge, ageOf(latest.at, now));
      card.classList.toggle("stale", old);
      warning.hidden = !old;
      setText(warning, old ? say.stale(words.duration(now - latest.at)) : "");
    }
    for (const age of rows.querySelectorAll("[data-at]")) setText(age, ageOf(Number(age.dataset.at), now));
  }

  /** The present state by HTTP, and with it the events of the last minutes for the trend. Says if it covers all. */
  async function reread({ paths, history }) {
    const options = { background: true, signal };
    const events = async () => {
      if (!history) return;
      const { after, limit } = history;
      const past = await api.get(`/channels/${topic}?after=${after}&limit=${limit}`, options);
      newestPast = past.events.at(-1)?.at;
      takeEvents(past.events);
    };
    const records = async (path) => {
      if (!path.includes("?")) {
        patient = await api.get(path, options);
        showWho();
        return true;
      }
      let next = `${path}&_count=200`;
      for (let pages = 0; next && pages < mostPages; pages += 1) {
        const found = await page(next, options);
        found.resources.filter((resource) => resource.resourceType === "Observation").forEach((one) => vitals.take(ofResource(one)));
        next = found.next;
        showVitals();
      }
      return !next;
    };
    const [, ...covered] = await Promise.all([events(), ...paths.map(records)]);
    read.first = true;
    showVitals();
    return covered.every(Boolean);
  }

  function takeEvents(events) {
    for (const event of events) {
      if (event.kind === "observation") vitals.take(ofEvent(event));
    }
    showVitals();
  }

  showWho();
  showVitals();
  const ticking = setInterval(() => {
    showAges();
    if (connection && connection.phase !== "live") showConnection(connection); // Past midnight a time gets its day.
  }, 1_000);
  const channel = follow(topic, { paths, onEvents: takeEvents, onState: showConnection, reread, signal });
  signal.addEventListener("abort", () => clearInterval(ticking));

  return el(
    "article",
    { class: "patient" },
    el("button", { type: "button", class: "quiet back", onclick: onBack }, el("span", { "aria-hidden": "true" }, "← "), say.back),
    el("header", { class: "patient-head" }, name, facts),
    strip,
    gap,
    el(
      "div",
      { class: "columns" },
      card,
      el("section", { class: "card", "aria-labelledby": "vitals-heading" }, el("h2", { id: "vitals-heading" }, say.vitals), rows, noVitals, incomplete),
    ),
  );
}
