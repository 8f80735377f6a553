// Booking: times by practitioner, service and day, as they are taken; a hold with its countdown; book, move, cancel.
import { html, nothing } from "lit-html";
import { api, pages, request } from "../api.mjs";
import { book, cancel, hold, holdLonger, holdOf, move } from "../bookings.mjs";
import { follow } from "../channel.mjs";
import { dialog } from "../dialog.mjs";
import { clock, weekday } from "../format.mjs";
import { t } from "../i18n.mjs";
import { Chart } from "../model/chart.mjs";
import { Diary, choicesOf, dayOf, dayText, matching, shownOf, slotsOf } from "../model/diary.mjs";
import { birthOf, identifiersOf, nameOf } from "../model/people.mjs";
import { appointmentsOf } from "../model/record.mjs";
import { ofEvent, ofResource } from "../model/vitals.mjs";
import { connection } from "../parts/connection.mjs";
import { column, held, own } from "../parts/diary.mjs";
import { problem } from "../parts/problem.mjs";
import patientsView from "./patients.mjs";

const day = 86_400_000;
/** The first free time is looked for within so many days. */
const ahead = 90 * day;

/** That somebody else has the Slot: IHE Scheduling's answer to that (ITI-116). */
const isTaken = ({ status, body }) => status === 409 && body?.issue?.some(({ code }) => code === "not-found");

export default function bookingView(context) {
  const { params, signal, update, announce, go, user } = context;
  const staff = user.role !== "patient";
  const id = staff ? params?.id : user.patient;
  if (!id) return patientsView({ ...context, title: "patients.choose", choose: (patient) => go("booking", { id: patient.id, patient }) });

  const diary = new Diary();
  const records = new Chart();
  /** `first` is the Schedule that has the time that was found. */
  const wanted = { practitioner: "", service: "", day: dayText(Date.now()), first: "" };
  /** Appointment -> { version, until, own } of its hold, as it was with that version. */
  const holds = new Map();
  /** Appointments that were held and that this page has asked to be given up. */
  const givenUp = new Set();
  /** "schedule day" of what was read. */
  const read = new Set();
  const renewed = new Set();
  let { patient } = params ?? {};
  let choices;
  let failure;
  let busy = false;
  let states = new Map();
  let channels = [];
  let following;
  let known = false;
  /** The free time that is asked for now; one that is chosen meanwhile takes its place. */
  let asking;
  /** Whether times cannot be held here, which is so where records are kept elsewhere; and the one to be booked without that. */
  let holdless = false;
  let proposed;
  /** The appointment that is to be moved, and the Slot it is to be moved to; the one that is to be cancelled, and why. */
  let moving;
  let target;
  let cancelling;

  const shown = () => shownOf(choices?.schedules ?? [], wanted);
  const appointments = () => appointmentsOf(records.all("Appointment"), Date.now());
  /** What this account holds as far as the server has said; what others hold of the same patient is theirs. */
  const heldHere = () => appointments().filter(({ id, status }) => status === "pending" && holds.get(id)?.own);
  /** The same without what is over by this device's clock, which may be a little earlier. */
  const pending = () => heldHere().filter(({ id }) => holds.get(id).until > Date.now());
  const slotsById = () => new Map(records.all("Appointment").map((one) => [one.id, slotsOf(one)]));

  /** Without a `hold` nobody is said to hold it; if it was held, that goes on until it is told to have ended. */
  function keepHold(appointment, version, hold = holds.get(appointment) ?? { until: 0, own: false }) {
    if (!(holds.get(appointment)?.version > version)) holds.set(appointment, { ...hold, version });
  }

  /** Reads how long an Appointment that is only held is held, and whether by this account. */
  async function lookAtHold(appointment, version) {
    const isKnown = () => holds.get(appointment)?.version >= version;
    if (isKnown()) return;
    const asked = Date.now();
    const { headers } = await request("GET", `/fhir/Appointment/${encodeURIComponent(appointment)}`, { background: true, signal });
    if (!isKnown()) keepHold(appointment, version, holdOf(headers, asked));
    update();
  }

  function takeAppointments(taken) {
    const held = new Set(heldHere().map(({ id }) => id));
    for (const one of taken) records.take(one);
    // Not by anybody here: its time is over, or somebody overrode it.
    const ended = taken.some(({ resource }) => resource?.status === "cancelled" && held.has(resource.id) && !givenUp.has(resource.id));
    if (ended) failure = new Error(t("booking.ranOut"));
    for (const resource of records.all("Appointment")) if (resource.status === "pending") lookAtHold(resource.id, ofResource(resource).version).catch(() => {});
    update();
  }

  follow(`patient/${id}`, {
    paths: [`/fhir/Appointment?patient=${id}`],
    onEvents: (events) => takeAppointments(events.filter(({ kind }) => kind === "appointment").map(ofEvent)),
    onState() {},
    async reread() {
      const { resources, complete } = await pages(`/fhir/Appointment?patient=${encodeURIComponent(id)}&_count=100`, { background: true, signal });
      takeAppointments(resources.map(ofResource));
      known = true;
      update();
      return complete;
    },
    signal,
  });

  /** Reads and follows what is shown now. */
  function followShown() {
    following?.abort();
    following = new AbortController();
    const within = AbortSignal.any([signal, following.signal]);
    const [from, to] = dayOf(wanted.day);
    const date = wanted.day;
    states = new Map();
    channels = shown().map(({ id: schedule }) => {
      const path = `/fhir/Slot?schedule=Schedule/${schedule}&start=ge${new Date(from).toISOString()}&start=lt${new Date(to).toISOString()}&_sort=start&_count=200`;
      return follow(`schedule/${schedule}`, {
        paths: [path],
        onEvents(events) {
          events.forEach((event) => diary.takeEvent(event));
          update();
        },
        onState(state) {
          states.set(schedule, state);
          update();
        },
        async reread() {
          const { resources, complete } = await pages(path, { background: true, signal: within });
          resources.forEach((slot) => diary.takeResource(slot));
          read.add(`${schedule} ${date}`);
          update();
          return complete;
        },
        signal: within,
      });
    });
    update();
  }

  async function begin() {
    failure = undefined;
    const options = { background: true, signal };
    try {
      const [schedules, practitioners, found] = await Promise.all([
        pages("/fhir/Schedule?_count=200", options),
        pages("/fhir/Practitioner?_count=200", options),
        patient ?? api.get(`/fhir/Patient/${encodeURIComponent(id)}`, options),
      ]);
      patient = found;
      choices = choicesOf(schedules.resources, new Map(practitioners.resources.map((one) => [`Practitioner/${one.id}`, nameOf(one)])));
      followShown();
    } catch (error) {
      failure = error;
    }
    update();
  }
  begin();

  /** Does what a person asked for; one thing at a time, and whatever comes of it the next one may be asked for. `taken` is what is said where the time is not to be had. */
  async function act(action, said, taken = "booking.gone") {
    if (busy) return;
    [busy, failure] = [true, undefined];
    update();
    try {
      const done = await action();
      if (said) announce(said(done));
    } catch (error) {
      failure = isTaken(error) ? new Error(t(taken)) : error;
    } finally {
      busy = false;
      asking = undefined;
      update();
    }
  }

  const take = ({ appointment, hold }) => {
    const taken = ofResource(appointment);
    keepHold(appointment.id, taken.version, hold);
    takeAppointments([taken]);
  };
  async function giveUp({ id }) {
    givenUp.add(id);
    take(await cancel(id, undefined, signal));
  }
  const words = ({ start }) => t("booking.when", { day: weekday(start), time: clock(start) });

  /**
   * Holds the time that is asked for; if that changes before the answer has come, whatever it is, the one chosen last. Resolves
   * with it, or with undefined where times cannot be held.
   */
  async function holdAsked() {
    let held;
    while (held !== asking) {
      held = asking;
      const before = pending();
      try {
        take(await hold(held.id, id, signal));
      } catch (error) {
        if (error.status === 501) {
          [holdless, proposed] = [true, asking];
          return undefined;
        }
        if (held === asking || signal.aborted) throw error;
        continue;
      }
      // One is held at a time; what was held before is given up only now.
      for (const one of before) await giveUp(one);
    }
    return held;
  }

  function choose(slot) {
    if (moving) {
      target = slot;
      return update();
    }
    if (busy && !asking) return;
    if (holdless) {
      proposed = slot;
      return update();
    }
    asking = slot;
    update();
    act(holdAsked, (slot) => (slot ? t("booking.holding", { when: words(slot) }) : t("booking.noHold")));
  }

  const stopMoving = () => {
    moving = target = undefined;
    update();
  };

  const stopBooking = () => {
    proposed = undefined;
    update();
  };

  const actions = {
    book: (one) => act(async () => take(await book(one.id, signal)), () => t("booking.done", { when: words(one) }), "booking.ranOut"),
    giveUp: (one) => act(() => giveUp(one), () => t("booking.givenUp")),
    longer: (one) =>
      act(async () => {
        try {
          take(await holdLonger(one.id, signal));
          renewed.add(one.id);
        } catch (error) {
          if (error.status === 409) renewed.add(one.id);
          throw error;
        }
      }, undefined, "booking.ranOut"),
    bookNow() {
      const slot = proposed;
      proposed = undefined;
      return act(async () => take(await book(slot.id, signal, id)), () => t("booking.done", { when: words(slot) }));
    },
    stopBooking,
    move(one) {
      [moving, target, proposed] = [one, undefined, undefined];
      update();
    },
    cancel(one) {
      cancelling = { one, reason: "" };
      update();
    },
    confirmMove: () =>
      act(async () => {
        take(await move(moving.id, target.id, signal));
        stopMoving();
      }, () => t("booking.moved")),
    stopMoving,
  };

  async function confirmCancel(event) {
    event.preventDefault();
    const { one, reason } = cancelling;
    cancelling = undefined;
    await act(async () => take(await cancel(one.id, reason.trim(), signal)), () => t("booking.cancelled"));
  }

  async function firstFree() {
    await act(async () => {
      const from = Date.now();
      const asked = new URLSearchParams({ start: new Date(from).toISOString(), end: new Date(from + ahead).toISOString(), _count: "1" });
      if (wanted.practitioner) asked.set("practitioner", wanted.practitioner);
      if (wanted.service) asked.set("visit-type", wanted.service);
      const { resources } = await pages(`/fhir/Appointment/$find?${asked}`, { signal });
      if (!resources.length) throw new Error(t("booking.noneFree"));
      const [found] = resources;
      // Among more than are shown, whose time it is comes first.
      if (matching(choices.schedules, wanted).length > shown().length) {
        const slot = await api.get(`/fhir/Slot/${encodeURIComponent(found.id)}`, { signal });
        wanted.first = slot.schedule.reference.replace(/^Schedule\//, "");
      }
      setDay(dayText(Date.parse(found.start)));
    });
  }

  function setDay(text) {
    if (!/^\d{4}-\d\d-\d\d$/.test(text)) return;
    wanted.day = text;
    followShown();
  }
  const step = (days) => () => {
    const [from] = dayOf(wanted.day);
    setDay(dayText(from + days * day + day / 2));
  };
  const set = (name) => ({ target }) => {
    wanted[name] = target.value;
    wanted.first = "";
    followShown();
  };

  const select = (name, list, key) => html`
    <div class="field">
      <label for=${`booking-${name}`}>${t(`booking.${name}`)}</label>
      <select id=${`booking-${name}`} @change=${set(name)}>
        <option value="" ?selected=${!wanted[name]}>${t("booking.any")}</option>
        ${list.map((one) => html`<option value=${one[key]} ?selected=${wanted[name] === one[key]}>${one.name ?? one.text}</option>`)}
      </select>
    </div>
  `;

  const controls = () => html`
    <div class="booking-controls" role="search" aria-label=${t("booking.find")}>
      ${select("practitioner", choices.practitioners, "id")} ${select("service", choices.services, "code")}
      <div class="field">
        <label for="booking-day">${t("booking.day")}</label>
        <div class="day">
          <button type="button" class="tool" aria-label=${t("booking.dayBefore")} ?disabled=${wanted.day <= dayText(Date.now())} @click=${step(-1)}>◀</button>
          <input id="booking-day" type="date" .value=${wanted.day} min=${dayText(Date.now())} @change=${({ target }) => setDay(target.value)} />
          <button type="button" class="tool" aria-label=${t("booking.dayAfter")} @click=${step(1)}>▶</button>
        </div>
      </div>
      <button type="button" class="secondary first-free" ?disabled=${busy} @click=${firstFree}>${t("booking.firstFree")}</button>
    </div>
  `;

  function times() {
    const now = Date.now();
    const [from, to] = dayOf(wanted.day);
    const all = matching(choices.schedules, wanted);
    const ours = new Set(heldHere().flatMap((one) => slotsById().get(one.id)));
    const columns = shown().map((schedule) => ({
      schedule,
      slots: diary.slots(schedule.id, { from, to, now, service: wanted.service }),
      read: read.has(`${schedule.id} ${wanted.day}`),
    }));
    const worst = [...states.values()].find(({ phase }) => phase !== "live") ?? [...states.values()][0];
    return html`
      <h2 class="day-title">${weekday(from)}</h2>
      ${worst ? html`<div>${connection(worst, { retry: () => channels.forEach((channel) => channel.retry()) })}</div>` : nothing}
      ${!columns.length ? html`<p class="muted">${t("booking.noSchedule")}</p>` : nothing}
      ${columns.map((one) => column(one, { ours, target: target ?? proposed, asking, busy: busy && !asking, choose }))}
      ${all.length > columns.length ? html`<p class="muted">${t("booking.more", { n: columns.length, all: all.length })}</p>` : nothing}
    `;
  }

  const cancelDialog = () =>
    dialog(
      { name: "cancel-title", onClose: () => { cancelling = undefined; update(); } },
      html`
        <form @submit=${confirmCancel}>
          <h2 id="cancel-title" tabindex="-1" autofocus>${t("booking.cancelTitle")}</h2>
          <p>${words(cancelling.one)}</p>
          <div class="field">
            <label for="cancel-reason">${t("booking.reason")}</label>
            <input id="cancel-reason" maxlength="120" autocomplete="off" @input=${({ target }) => (cancelling.reason = target.value)} />
          </div>
          <div class="actions">
            <button class="danger">${t("booking.cancel")}</button>
            <button type="button" class="secondary" @click=${() => { cancelling = undefined; update(); }}>${t("booking.keep")}</button>
          </div>
        </form>
      `,
    );

  return () => html`
    <section class="booking" aria-busy=${String(!choices && !failure)}>
      ${staff
        ? html`<button type="button" class="quiet back" @click=${() => go("chart", { id, patient })}><span aria-hidden="true">←</span> ${t("title.chart")}</button>`
        : nothing}
      <div class="list-head">
        <div>
          <h1 tabindex="-1">${staff && patient ? t("booking.for", { name: nameOf(patient) }) : t("title.booking")}</h1>
          ${staff && patient ? html`<p class="muted">${[birthOf(patient), ...identifiersOf(patient).map(({ value }) => value)].join(" · ")}</p>` : nothing}
        </div>
      </div>
      ${failure ? problem(failure, choices ? undefined : begin) : nothing}
      <div class="booking-grid">
        <div class="booking-main">
          ${choices ? html`${controls()} ${times()}` : failure ? nothing : html`<p class="loading">${t("app.loading")}</p>`}
          ${held({ pending: pending(), moving, target, proposed, renewed, holds, busy, words }, actions)}
        </div>
        ${own({ all: appointments().filter(({ id, status }) => status !== "pending" || holds.has(id)), known, moving, busy }, actions)}
      </div>
      ${cancelling ? cancelDialog() : nothing}
    </section>
  `;
}
