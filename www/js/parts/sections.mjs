// The lists of a chart.
import { html, nothing } from "lit-html";
import { age, clock, dateOf, number, time, weekday } from "../format.mjs";
import { known, t } from "../i18n.mjs";
import { isEditable, leaseOf } from "../model/diagnosis.mjs";
import { appointmentsOf, attachmentsOf, cacheOf, documentsOf, medicationOf, problemsOf, resultsOf } from "../model/record.mjs";

/** What stands where there is nothing to list: that it is loading, that it failed, or that there is none. */
const empty = (progress, none) =>
  html`<p class="muted">${progress?.known ? t(none) : t(progress?.failed ? "section.failed" : "app.loading")}</p>`;

const section = (name, kind, content, tool = nothing) => html`
  <section class=${`card ${kind}`} aria-labelledby=${`${kind}-title`}>
    <div class="card-head"><h2 id=${`${kind}-title`}>${t(name)}</h2>${tool}</div>
    ${content}
  </section>
`;

/** A list whose later part is folded away. */
const folded = (list, label) => (list.length ? html`<details><summary>${t(label, { n: list.length })}</summary><ul class="rows" role="list">${list}</ul></details>` : nothing);

const editable = (resource, edit) => edit && isEditable(resource);

/** The button that begins the editing of a record. `edit` is { open(resource), of(name) }; without it one only reads. */
const editButton = (resource, title, edit) =>
  editable(resource, edit)
    ? html`<button type="button" class="tool edit" aria-label=${t("diagnosis.editOf", { title: title ?? "" })} @click=${() => edit.open(resource)}>${t("diagnosis.edit")}</button>`
    : nothing;

/** Who is editing a record, and since when. */
function editing(resource, edit) {
  const editor = editable(resource, edit) && edit.of(leaseOf(resource));
  return editor ? html`<p class="editing" role="status">${t("diagnosis.editing", { name: editor.holder, time: time(editor.since) })}</p>` : nothing;
}

const problemRow = (edit) => ({ text, status, verification, diagnosis, at, resource }) => html`
  <li data-record=${leaseOf(resource)}>
    ${editButton(resource, text, edit)}
    <span class="row-title">${text}</span>
    ${diagnosis ? html`<span class="tag">${t("problem.diagnosis")}</span>` : nothing}
    ${verification && verification !== "confirmed" ? html`<span class="tag">${known(`verification.${verification}`, verification)}</span>` : nothing}
    <span class="row-more">${known(`clinical.${status}`, status)}${at ? t("list.since", { date: dateOf(at) }) : ""}</span>
    ${editing(resource, edit)}
  </li>
`;

export function problems(resources, progress, edit) {
  const all = problemsOf(resources);
  const open = all.filter((one) => one.open);
  const past = all.filter((one) => !one.open);
  return section("problems.title", "problems", html`
    ${open.length ? html`<ul class="rows" role="list">${open.map(problemRow(edit))}</ul>` : empty(progress, "problems.none")}
    ${folded(past.map(problemRow(edit)), "problems.past")}
  `);
}

const medicationRow = ({ text, dose, needed, status, at }) => html`
  <li>
    <span class="row-title">${text}</span>
    ${needed ? html`<span class="tag">${t("medication.needed")}</span>` : nothing}
    ${status === "active" ? nothing : html`<span class="tag">${known(`order.${status}`, status)}</span>`}
    <span class="row-more">${dose ?? ""}${at ? t("list.since", { date: dateOf(at) }) : ""}</span>
  </li>
`;

export function medication(resources, progress) {
  const all = medicationOf(resources);
  const current = all.filter((one) => one.current);
  const past = all.filter((one) => !one.current);
  return section("medication.title", "medication", html`
    ${current.length ? html`<ul class="rows" role="list">${current.map(medicationRow)}</ul>` : empty(progress, "medication.none")}
    ${folded(past.map(medicationRow), "medication.past")}
  `);
}

const range = ({ low, high, text } = {}) => {
  if (low !== undefined && high !== undefined) return `${number(low)}–${number(high)}`;
  if (high !== undefined) return `< ${number(high)}`;
  if (low !== undefined) return `> ${number(low)}`;
  return text ?? "";
};
const valueText = ({ value, text }) => (value === undefined ? text : number(value));

function resultRow({ name, value, unit, text, at, flag, range: normal, before }) {
  return html`
    <tr class=${flag ? "flagged" : ""}>
      <th scope="row">${name}</th>
      <td class="number">
        ${valueText({ value, text })} <span class="unit">${value === undefined ? "" : known(`unit.${unit}`, unit)}</span>
        ${flag ? html`<strong class=${`flag ${flag}`}><span aria-hidden="true">${{ high: "▲", low: "▼", critical: "‼", abnormal: "!" }[flag]}</span> ${t(`flag.${flag}`)}</strong>` : nothing}
      </td>
      <td class="number muted">${range(normal)}</td>
      <td class="muted before">${before.slice(0, 3).map(valueText).join(" · ")}</td>
      <td class="muted"><time datetime=${at ? new Date(at).toISOString() : nothing}>${at ? time(at) : ""}</time></td>
    </tr>
  `;
}

export function results(resources, progress) {
  const all = resultsOf(resources);
  const shown = all.slice(0, 60);
  return section("results.title", "results", all.length
    ? html`
        <div class="table-box" tabindex="0" role="group" aria-label=${t("results.title")}>
          <table>
            <thead>
              <tr>
                <th scope="col">${t("results.test")}</th><th scope="col">${t("results.value")}</th><th scope="col">${t("results.range")}</th>
                <th scope="col" class="before">${t("results.before")}</th><th scope="col">${t("results.taken")}</th>
              </tr>
            </thead>
            <tbody>${shown.map(resultRow)}</tbody>
          </table>
        </div>
        ${all.length > shown.length ? html`<p class="muted">${t("results.some", { n: shown.length, all: all.length })}</p>` : nothing}
      `
    : empty(progress, "results.none"));
}

const documentRow = (edit, read) => ({ title, status, final, at, conclusion, author, resource }) => html`
  <li data-record=${leaseOf(resource)}>
    ${editButton(resource, title, edit)}
    <span class="row-title">${title}</span>
    <span class=${`tag ${final ? "" : "open"}`}>${known(`report.${status}`, status)}</span>
    <span class="row-more">${[at && dateOf(at), author].filter(Boolean).join(" · ")}</span>
    ${conclusion ? html`<p class="conclusion">${conclusion}</p>` : nothing}
    ${attachmentsOf(resource).length
      ? html`<button type="button" class="quiet read" aria-label=${t("document.readOf", { title: title ?? "" })} @click=${() => read(resource)}>${t("document.read")}</button>`
      : nothing}
    ${editing(resource, edit)}
  </li>
`;

/** `read` shows one in full. */
export function documents(resources, progress, edit, read) {
  const all = documentsOf(resources).map(documentRow(edit, read));
  return section("documents.title", "documents", html`
    ${all.length ? html`<ul class="rows" role="list">${all.slice(0, 12)}</ul>` : empty(progress, "documents.none")}
    ${folded(all.slice(12), "documents.more")}
  `);
}

const appointmentRow = ({ start, end, title, status, who }) => html`
  <li>
    <span class="row-title">${weekday(start)}, ${clock(start)}–${clock(end)}</span>
    <span class="tag">${known(`appointment.${status}`, status)}</span>
    <span class="row-more">${[title, ...who].filter(Boolean).join(" · ")}</span>
  </li>
`;

/** `book` opens the booking of another. */
export function appointments(resources, progress, book) {
  const all = appointmentsOf(resources, Date.now());
  const coming = all.filter(({ over }) => !over);
  return section("appointments.title", "appointments", html`
    ${coming.length ? html`<ul class="rows" role="list">${coming.map(appointmentRow)}</ul>` : empty(progress, "appointments.none")}
    ${folded(all.filter(({ over }) => over).map(appointmentRow), "appointments.past")}
  `, html`<button type="button" class="tool" @click=${book}>${t("appointments.book")}</button>`);
}

/** Where what is shown came from, for those who care. */
export function foot(read, state) {
  if (!read) return nothing;
  const cache = cacheOf(read.cache);
  const from = !cache ? "cache.unknown" : cache.hit ? "cache.hit" : cache.stored ? "cache.stored" : "cache.bypass";
  return html`
    <footer class="chart-foot">
      <span>${t("cache.read", { age: age(read.at), version: read.version ?? "–" })}</span>
      <span title=${read.cache ?? ""}>${t(from, { ttl: cache?.ttl ?? "–" })}</span>
      <span>${t("cache.cursor", { cursor: state?.cursor ?? "–" })}</span>
    </footer>
  `;
}
