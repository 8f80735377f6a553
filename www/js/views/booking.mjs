// Booking: times by practitioner, service and day, as they are taken; a hold with its countdown; book, move, cancel.
import { html, nothing } from "lit-html";
import { api, pages, request } from "../api.mjs";
import { book, cancel, heldUntil, hold, holdLonger, move } from "../bookings.mjs";
import { follow } from "../channel.mjs";
import { dialog } from "../dialog.mjs";
import { clock, weekday } from "../format.mjs";
import { t } from "../i18n.mjs";
import { Chart } from "../model/chart.mjs";
import { Diary, choicesOf, dayOf, dayText, matching, mostShown, slotsOf } from "../model/diary.mjs";
import { birthOf, identifiersOf, nameOf } from "../model/people.mjs";
import { appointmentsOf } from "../model/record.mjs";
import { ofEvent } from "../model/vitals.mjs";
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
  const wanted = { practitioner: "", service: "", day: dayText(Date.now()) };
  /** Appointment -> until when it is held. */
  const holds = new Map();
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
  /** The appointment that is to be moved, and the Slot it is to be moved to; the one that is to be cancelled, and why. */
  let moving;
  let target;
  let cancelling;

  const shown = () => matching(choices?.schedules ?? [], wanted).slice(0, mostShown);
  const appointments = () => appointmentsOf(records.all("Appointment"), Date.now());
  const pending = () => appointments().filter(({ id, status }) => status === "pending" && holds.get(id) > Date.now());
  const slotsById = () => new Map(records.all("Appointment").map((one) => [one.id, slotsOf(one)]));

  /** Reads how long an Appointment that is only held is held. */
  async function lookAtHold(appointment) {
    if (holds.has(appointment)) return;
    const asked = Date.now();
    const { headers } = await request("GET", `/fhir/Appointment/${encodeURIComponent(appointment)}`, { background: true, signal });
    const until = heldUntil(headers, asked);
    if (until) holds.set(appointment, until);
    update();
  }

  function takeAppointments(taken) {
    const held = new Set(pending().map(({ id }) => id));
    for (const one of taken) records.take(one);
    // Not by anybody here: its time is over, or somebody overrode it.
    const ended = !busy && taken.some(({ resource }) => resource?.status === "cancelled" && held.has(resource.id));
    if (ended) failure = new Error(t("booking.ranOut"));
    for (const { id, status } of appointments()) if (status === "pending") lookAtHold(id).catch(() => {});
    update();
  }

  const fromResource = (resource) => ({ reference: `Appointment/${resource.id}`, version: Number(resource.meta?.versionId ?? 0), resource });

  follow(`patient/${id}`, {
    paths: [`/fhir/Appointment?patient=${id}`],
    onEvents: (events) => takeAppointments(events.filter(({ kind }) => kind === "appointment").map(ofEvent)),
    onState() {},
    async reread() {
      const { resources, complete } = await pages(`/fhir/Appointment?patient=${encodeURIComponent(id)}&_count=100`, { background: true, signal });
      takeAppointments(resources.map(fromResource));
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

  /** Does what a person asked for; one thing at a time, and whatever comes of it the next one may be asked for. */
  async function act(action, said) {
    if (busy) return;
    [busy, failure] = [true, undefined];
    update();
    try {
      const done = await action();
      if (said) announce(said(done));
    } catch (error) {
      failure = isTaken(error) ? new Error(t("booking.gone")) : error;
    } finally {
      busy = false;
      asking = undefined;
      update();
    }
  }

  const take = ({ appointment, until }) => {
    if (until) holds.set(appointment.id, until);
    takeAppointments([fromResource(appointment)]);
  };
  const words = ({ start }) => t("booking.when", { day: weekday(start), time: clock(start) });

  /** Holds the time that is asked for; if that changes before the answer has come, whatever it is, the one chosen last. */
  async function holdAsked() {
    let held;
    while (held !== asking) {
      held = asking;
      const before = pending();
      try {
        take(await hold(held.id, id, signal));
      } catch (error) {
        if (held === asking || signal.aborted) throw error;
        continue;
      }
      // One is held at a time; what was held before is given up only now.
      for (const one of before) take(await cancel(one.id, undefined, signal));
    }
    return held;
  }

  function choose(slot) {
    if (moving) {
      target = slot;
      return update();
    }
    if (busy && !asking) return;
    asking = slot;
    update();
    act(holdAsked, (slot) => t("booking.holding", { when: words(slot) }));
  }

  const stopMoving = () => {
    moving = target = undefined;
    update();
  };

  const actions = {
    book: (one) => act(async () => take(await book(one.id, signal)), () => t("booking.done", { when: words(one) })),
    giveUp: (one) => act(async () => take(await cancel(one.id, undefined, signal)), () => t("booking.givenUp")),
    longer: (one) =>
      act(async () => {
        renewed.add(one.id);
        take(await holdLonger(one.id, signal));
      }),
    move(one) {
      [moving, target] = [one, undefined];
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
      setDay(dayText(Date.parse(resources[0].start)));
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
    const ours = new Set(pending().flatMap((one) => slotsById().get(one.id)));
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
      ${columns.map((one) => column(one, { ours, target, asking, busy: busy && !asking, choose }))}
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
          ${held({ pending: pending(), moving, target, renewed, holds, busy, words }, actions)}
        </div>
        ${own({ all: appointments().filter(({ id, status }) => status !== "pending" || holds.has(id)), known, moving, busy }, actions)}
      </div>
      ${cancelling ? cancelDialog() : nothing}
    </section>
  `;
}
