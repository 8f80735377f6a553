// A Condition or DiagnosticReport in a dialog, edited under its lease: one person at a time, and the others see who.
import { html, nothing } from "lit-html";
import { api, request } from "../api.mjs";
import { dialog } from "../dialog.mjs";
import { tellEditing } from "../editors.mjs";
import { time } from "../format.mjs";
import { known, t } from "../i18n.mjs";
import { takeLease } from "../lease.mjs";
import { edited, fieldsOf, isEditable, isSettled, leaseOf, offered, refilled } from "../model/diagnosis.mjs";
import { textOf } from "../model/record.mjs";
import { problem } from "./problem.mjs";

/** { open(resource), template() } of the dialog, in the chart of `patient`. */
export function diagnosisDialog(patient, { signal, update, announce, editors }) {
  /**
   * What is edited: { resource, name, taking, lease, fields, filled, theirs, held, lost, failure, busy }; undefined while nothing
   * is. `filled` is what the fields were filled with.
   */
  let now;
  /** Lease -> the request by which it was asked for and that was not granted, as far as is known: its reply may be lost. */
  const requests = new Map();
  /** What was asked for and given back before: one asks only once it is known what came of that. */
  let before = Promise.resolve();

  function ask(mine) {
    const asked = before.then(() => (now === mine ? grant(mine) : undefined));
    before = asked.then((lease) => (now === mine ? undefined : lease?.release()), () => {});
    return asked;
  }

  function giveBack(lease, name) {
    before = before.then(() => lease.release()).then(() => {
      tellEditing(patient, name);
    });
  }

  async function grant(mine) {
    const { name } = mine;
    if (!requests.has(name)) requests.set(name, crypto.randomUUID());
    const lease = await takeLease(name, {
      requestId: requests.get(name),
      signal,
      onLost() {
        mine.lost = true;
        mine.lease = undefined;
        update();
      },
    });
    requests.delete(name);
    return lease;
  }

  async function take() {
    const mine = now;
    if (mine.taking) return;
    mine.taking = true;
    mine.failure = mine.held = undefined;
    update();
    try {
      const lease = mine.lease ?? (await ask(mine));
      if (now !== mine) return;
      mine.lease = lease;
      mine.lost = false;
      tellEditing(patient, mine.name);
      // As it is now: nobody else changes it from here on.
      const fresh = await api.get(`/fhir/${mine.resource.resourceType}/${mine.resource.id}`, { signal });
      const changed = fresh.meta?.versionId !== mine.resource.meta?.versionId;
      mine.resource = fresh;
      if (!isEditable(fresh)) {
        mine.lease = undefined;
        giveBack(lease, mine.name);
        throw new Error(t("diagnosis.closed"));
      }
      const says = fieldsOf(fresh);
      // What was entered before the lease was lost stays; what the text says by now stands beside it.
      mine.theirs = mine.fields && changed ? says.text : undefined;
      mine.fields = mine.fields ? refilled(fresh, mine.fields, mine.filled) : { ...says };
      mine.filled = says;
    } catch (error) {
      if (signal.aborted) return;
      if (error.status === 409 && error.body?.holder) mine.held = error.body;
      else mine.failure = error;
    } finally {
      mine.taking = false;
    }
    update();
  }

  function close() {
    const { lease, name } = now;
    now = undefined;
    update();
    if (lease) giveBack(lease, name);
  }

  function done(resource, finalise) {
    if (!finalise) return t("diagnosis.saved");
    if (resource.resourceType === "DiagnosticReport") return t("diagnosis.finalised");
    return t(fieldsOf(resource).verification === "refuted" ? "diagnosis.refuted" : "diagnosis.confirmed");
  }

  const save = (finalise) => async (event) => {
    event.preventDefault();
    if (now.busy || !now.lease) return;
    const mine = now;
    const { resource, name, fields, lease } = mine;
    [mine.busy, mine.failure] = [true, undefined];
    update();
    try {
      const body = edited(resource, fields, { finalise, at: Date.now() });
      await request("PUT", `/fhir/${resource.resourceType}/${resource.id}`, {
        body,
        headers: { "Content-Type": "application/fhir+json", "If-Match": `W/"${resource.meta.versionId}"`, "Bedside-Fence": `${name}=${lease.fence}` },
        signal,
      });
      announce(done(body, finalise));
      mine.busy = false;
      if (now === mine) close();
      return;
    } catch (error) {
      if (signal.aborted) return;
      mine.busy = false;
      // It has another version by now: ours, if only its reply was lost. What it says stands beside what is written here.
      if (error.status === 412 && now === mine) return take();
      mine.failure = error;
    }
    update();
  };

  const set = ({ target }) => {
    now.fields[target.name] = target.value;
  };
  const select = (name) => html`
    <div class="field">
      <label for=${`diagnosis-${name}`}>${t(`diagnosis.${name}`)}</label>
      <select id=${`diagnosis-${name}`} name=${name} @change=${set}>
        ${offered(now.resource)[name].map((code) => html`<option value=${code} ?selected=${now.fields[name] === code}>${code ? known(`${name}.${code}`, code) : t("diagnosis.unsaid")}</option>`)}
      </select>
    </div>
  `;

  function form() {
    const { resource, fields, lease, busy } = now;
    const settled = isSettled(resource);
    const report = resource.resourceType === "DiagnosticReport";
    return html`
      <form @submit=${save(false)}>
        ${report ? nothing : html`${select("clinical")} ${select("verification")}`}
        <div class="field">
          <label for="diagnosis-text">${t(report ? "diagnosis.conclusion" : "diagnosis.note")}</label>
          <textarea id="diagnosis-text" name="text" rows="6" maxlength="20000" .value=${fields.text} @input=${set}></textarea>
        </div>
        ${settled ? nothing : html`<p class="muted">${t(report ? "diagnosis.help" : "diagnosis.helpCondition")}</p>`}
        <div class="actions">
          ${settled ? nothing : html`<button type="button" class="primary" ?disabled=${busy || !lease} @click=${save(true)}>${t("diagnosis.finalise")}</button>`}
          <button class="secondary" ?disabled=${busy || !lease}>${t(!settled ? "diagnosis.save" : report ? "diagnosis.amend" : "app.save")}</button>
          <button type="button" class="secondary" @click=${close}>${t("app.cancel")}</button>
        </div>
      </form>
    `;
  }

  /** Somebody else is at it: as their lease says, or that it has ended since. */
  function heldBy({ holder, since }) {
    const free = !editors.of(now.name);
    return html`
      <p class="notice" role="status">${t(free ? "diagnosis.freeNow" : "diagnosis.heldBy", { name: holder, time: time(Date.parse(since)) })}</p>
      <div class="actions">
        <button type="button" class="primary" @click=${take}>${t(free ? "diagnosis.edit" : "app.retry")}</button>
        <button type="button" class="secondary" @click=${close}>${t("app.cancel")}</button>
      </div>
    `;
  }

  return {
    open(resource) {
      now = { resource, name: leaseOf(resource) };
      take();
    },
    template() {
      if (!now) return nothing;
      const { resource, held, lost, failure, fields } = now;
      return dialog(
        { name: "diagnosis-title", onClose: close },
        html`
          <h2 id="diagnosis-title" tabindex="-1" autofocus>${textOf(resource.code) ?? resource.resourceType}</h2>
          ${failure ? problem(failure, fields ? undefined : take) : nothing}
          ${lost
            ? html`<div class="notice" role="alert">${t("diagnosis.lost")}
                <button type="button" class="secondary" @click=${take}>${t("diagnosis.again")}</button></div>`
            : nothing}
          ${now.theirs === undefined ? nothing : html`<p class="notice theirs" role="status">${t("diagnosis.theirs", { text: now.theirs })}</p>`}
          ${held ? heldBy(held) : fields ? form() : html`${failure ? nothing : html`<p class="muted">${t("app.loading")}</p>`}
            <div class="actions"><button type="button" class="secondary" @click=${close}>${t("app.cancel")}</button></div>`}
        `,
      );
    },
  };
}
