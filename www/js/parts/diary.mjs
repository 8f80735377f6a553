// The parts of booking: the times of one Schedule, what is held, and the appointments that there are.
import { html, nothing } from "lit-html";
import { repeat } from "lit-html/directives/repeat.js";
import { clock, countdown, weekday } from "../format.mjs";
import { known as knownWord, t } from "../i18n.mjs";

/** One time. Who cannot have it is told why, by a word and not by colour alone; it can be focused all the same. */
function time(slot, { mine, asked, chosen, busy, choose }) {
  const state = mine ? "mine" : asked ? "asked" : chosen ? "chosen" : slot.state;
  const free = slot.state === "free" && !mine;
  return html`
    <li>
      <button type="button" class=${`slot ${state}`} data-slot=${slot.id} data-state=${state} aria-pressed=${String(state !== slot.state)}
        aria-disabled=${String(!free || busy)} @click=${() => free && !busy && choose(slot)}>
        <span class="slot-time">${clock(slot.start)}</span> <span class="slot-state">${t(`slot.${state}`)}</span>
      </button>
    </li>
  `;
}

/** The day of one Schedule. */
export const column = ({ schedule, slots, read }, { ours, asking, target, busy, choose }) => html`
  <section class="card diary" data-schedule=${schedule.id} aria-labelledby=${`schedule-${schedule.id}`}>
    <h3 id=${`schedule-${schedule.id}`}>${schedule.who.map(({ name }) => name).join(" · ")}</h3>
    ${schedule.services.length ? html`<p class="row-more">${schedule.services.map(({ text }) => text).join(" · ")}</p>` : nothing}
    ${slots.length
      ? html`<ul class="slots" role="list">
          ${repeat(slots, ({ id }) => id, (slot) => time(slot, { mine: ours.has(slot.id), asked: asking?.id === slot.id, chosen: target?.id === slot.id, busy, choose }))}
        </ul>`
      : html`<p class="muted">${t(read ? "booking.noTimes" : "app.loading")}</p>`}
  </section>
`;

/** What is held and for how long; or where an appointment is to be moved to, or what is to be booked without having been held. */
export function held({ pending, moving, target, proposed, renewed, holds, busy, words }, actions) {
  if (moving) {
    return html`
      <section class="card held-bar" aria-labelledby="moving-title">
        <div class="held-what">
          <h2 id="moving-title">${t("booking.moving", { when: words(moving) })}</h2>
          <p>${target ? t("booking.moveTo", { when: words(target) }) : t("booking.chooseNew")}</p>
        </div>
        <div class="actions">
          ${target ? html`<button type="button" class="primary" ?disabled=${busy} @click=${actions.confirmMove}>${t("booking.move")}</button>` : nothing}
          <button type="button" class="secondary" @click=${actions.stopMoving}>${t("booking.keep")}</button>
        </div>
      </section>
    `;
  }
  if (proposed) {
    return html`
      <section class="card held-bar" aria-labelledby="proposed-title">
        <div class="held-what">
          <h2 id="proposed-title">${t("booking.bookNow", { when: words(proposed) })}</h2>
          <p>${t("booking.noHold")}</p>
        </div>
        <div class="actions">
          <button type="button" class="primary" ?disabled=${busy} @click=${actions.bookNow}>${t("booking.book")}</button>
          <button type="button" class="secondary" @click=${actions.stopBooking}>${t("app.cancel")}</button>
        </div>
      </section>
    `;
  }
  return pending.map((one) => {
    const left = holds.get(one.id).until - Date.now();
    return html`
      <section class="card held-bar" data-hold=${one.id} aria-labelledby=${`held-${one.id}`}>
        <div class="held-what">
          <h2 id=${`held-${one.id}`}>${t("booking.held", { when: words(one) })}</h2>
          <p class="muted">${[one.title, ...one.who].filter(Boolean).join(" · ")}</p>
        </div>
        <p class="held-left"><span role="timer" class="countdown">${countdown(left)}</span> ${t("booking.left")}</p>
        <div class="actions">
          <button type="button" class="primary" ?disabled=${busy} @click=${() => actions.book(one)}>${t("booking.book")}</button>
          ${renewed.has(one.id) ? nothing : html`<button type="button" class="secondary" ?disabled=${busy} @click=${() => actions.longer(one)}>${t("booking.longer")}</button>`}
          <button type="button" class="secondary" ?disabled=${busy} @click=${() => actions.giveUp(one)}>${t("booking.giveUp")}</button>
        </div>
      </section>
    `;
  });
}

const row = (one, { moving, busy }, actions) => {
  const when = `${weekday(one.start)}, ${clock(one.start)}–${clock(one.end)}`;
  const open = !one.over && one.status === "booked";
  const button = (kind, word, action) => html`
    <button type="button" class=${kind} ?disabled=${busy || moving} aria-label=${t("booking.ofOne", { action: t(word), when })} @click=${() => action(one)}>${t(word)}</button>
  `;
  return html`
    <li data-appointment=${one.id} data-status=${one.status}>
      <span class="row-title">${when}</span> <span class="tag">${knownWord(`appointment.${one.status}`, one.status)}</span>
      <span class="row-more">${[one.title, ...one.who].filter(Boolean).join(" · ")}</span>
      ${open ? html`<div class="actions">${button("secondary", "booking.move", actions.move)} ${button("danger", "booking.cancel", actions.cancel)}</div>` : nothing}
    </li>
  `;
};

/** The appointments that there are, those to come first. */
export function own({ all, known, moving, busy }, actions) {
  const coming = all.filter(({ over }) => !over);
  const past = all.filter(({ over }) => over);
  const rows = (list) => html`<ul class="rows" role="list">${repeat(list, ({ id }) => id, (one) => row(one, { moving: Boolean(moving), busy }, actions))}</ul>`;
  return html`
    <section class="card appointments" aria-labelledby="appointments-title" aria-busy=${String(!known)}>
      <h2 id="appointments-title">${t("appointments.title")}</h2>
      ${coming.length ? rows(coming) : html`<p class="muted">${t(known ? "appointments.none" : "app.loading")}</p>`}
      ${past.length ? html`<details><summary>${t("appointments.past", { n: past.length })}</summary>${rows(past)}</details>` : nothing}
    </section>
  `;
}
