// One patient's chart: who it is, vital signs as they come and over time, problems, results, medication, documents.
import { html, nothing } from "lit-html";
import { ref } from "lit-html/directives/ref.js";
import { api, pages, request } from "../api.mjs";
import { follow } from "../channel.mjs";
import { age, exactTime, fixed } from "../format.mjs";
import { t } from "../i18n.mjs";
import { editors } from "../editors.mjs";
import { Chart, types } from "../model/chart.mjs";
import { isSettled, leaseOf } from "../model/diagnosis.mjs";
import { allergiesOf, bedsOf } from "../model/record.mjs";
import { isOverdue, ofEvent } from "../model/vitals.mjs";
import { alertLine } from "../parts/alerts.mjs";
import { badge, scoreWords } from "../parts/badge.mjs";
import { connection } from "../parts/connection.mjs";
import { diagnosisDialog } from "../parts/diagnosis.mjs";
import { documentDialog } from "../parts/document.mjs";
import { limitsDialog } from "../parts/limits.mjs";
import { VitalsPlot, presets } from "../parts/plot.mjs";
import { problem } from "../parts/problem.mjs";
import { appointments, documents, foot, medication, problems, results } from "../parts/sections.mjs";
import { who } from "../parts/who.mjs";

/** At most so many pages of records are read of each type. */
const mostPages = 50;
const [, defaultSpan] = presets[1];

export default function chartView({ params, signal, update, announce, go, user }) {
  const { id } = params;
  const topic = `patient/${id}`;
  const chart = new Chart();
  let { patient } = params;
  let state;
  let newestPast;
  let plot;
  let table = false;
  /** What has been read of each type: { done, count, failed, known: whether all of it was read once }, and when and how the Patient came. */
  const progress = new Map();
  let read;
  /** The newest score, and the open alerts by id; staff only. */
  let score;
  const alerts = new Map();
  const staff = user.role !== "patient";
  const limits = limitsDialog(id, { signal, update, announce });
  const editing = editors({ signal, update, onNotice: readOne });
  const diagnosis = diagnosisDialog(id, { signal, update, announce, editors: editing });
  const reading = documentDialog({ update });
  const edit = staff ? { open: diagnosis.open, of: editing.of } : undefined;
  let failed;

  const takeResources = (resources) => {
    for (const resource of resources) chart.takeResource(resource);
  };

  /** `past` events say nothing of who is editing now. */
  function takeEvents(events, past = false) {
    for (const event of events) {
      if (event.data?.reference && event.data.version) chart.take(ofEvent(event));
      if (event.kind === "telemetry") chart.vitals.takeTelemetry(event, id);
      if (event.kind === "score") score = event.data.news2;
      if (event.kind === "alert") takeAlert(event.data.alert);
      if (staff && !past) editing.hear(event);
      // To a patient a result is news; staff hear of it on the board.
      if (event.kind === "diagnosis" && !staff && read) announce(t("chart.newResult"));
    }
    changed();
  }

  function takeAlert(alert) {
    if (alerts.get(alert.id)?.version >= alert.version) return;
    alerts.set(alert.id, alert);
  }

  async function readAlerts() {
    if (!staff) return true;
    const found = await api.get(`/alerts?patient=${encodeURIComponent(id)}`, { background: true, signal });
    found.alerts.forEach(takeAlert);
    changed();
    return !found.more;
  }

  async function acknowledge(alert) {
    failed = undefined;
    try {
      takeAlert(await api.post(`/alerts/${alert.id}/acknowledge`, { version: alert.version }, { signal }));
      announce(t("alert.acknowledged"));
    } catch (error) {
      failed = error;
    }
    update();
  }

  const changed = () => {
    plot?.refresh();
    update();
  };

  /** Reads all records of a type; one that fails does not take the others with it. */
  async function readType(type) {
    const options = { background: true, signal, most: mostPages };
    // Of Observations the newest first: what counts is there before the years are.
    const order = type === "Observation" ? "&_sort=-date" : "";
    const path = `/fhir/${type}?patient=${encodeURIComponent(id)}${order}&_count=200`;
    const known = progress.get(type)?.known ?? false;
    progress.set(type, { done: false, count: 0, known });
    try {
      const { complete } = await pages(path, {
        ...options,
        onPage(resources) {
          takeResources(resources);
          progress.get(type).count += resources.length;
          changed();
        },
      });
      progress.set(type, { ...progress.get(type), done: true, known: true });
      if (staff && ["Condition", "DiagnosticReport"].includes(type)) editing.look(chart.all(type).filter((one) => !isSettled(one)).map(leaseOf));
      return complete;
    } catch (error) {
      signal.throwIfAborted();
      progress.set(type, { done: true, failed: error, known });
      throw error;
    } finally {
      changed();
    }
  }

  /** Reads one record anew: not every type has events of its own. What it was stays if that fails. */
  async function readOne(type, one) {
    const path = `/fhir/${type}/${encodeURIComponent(one)}`;
    const found = await api.get(path, { background: true, signal }).catch(() => undefined);
    if (found && chart.takeResource(found)) changed();
  }

  async function readPatient() {
    const { body, headers } = await request("GET", `/fhir/Patient/${encodeURIComponent(id)}`, { background: true, signal });
    patient = body;
    read = { at: Date.now(), cache: headers.get("Cache-Status"), version: body.meta?.versionId };
    changed();
    return true;
  }

  async function readPast(history) {
    if (!history) return true;
    const { after, limit } = history;
    const past = await api.get(`/channels/${topic}?after=${after}&limit=${limit}`, { background: true, signal });
    newestPast = past.events.at(-1)?.at;
    takeEvents(past.events, true);
    return true;
  }

  async function reread({ history }) {
    const jobs = [readPatient(), readPast(history), readAlerts(), ...[...types, "Observation"].map(readType)];
    const outcomes = await Promise.allSettled(jobs);
    const failed = outcomes.find(({ status }) => status === "rejected");
    if (failed) throw failed.reason;
    return outcomes.every(({ value }) => value);
  }

  const channel = follow(topic, {
    paths: [`/fhir/Patient/${id}`],
    onEvents: takeEvents,
    onState(next) {
      state = next;
      update();
    },
    reread,
    signal,
  });
  const ticking = setInterval(() => plot?.range.live && plot.refresh(), 5_000);
  signal.addEventListener("abort", () => clearInterval(ticking));

  const failure = () => failed ?? [...progress.values()].find(({ failed }) => failed)?.failed;
  const busy = () => !progress.size || [...progress.values()].some(({ done }) => !done);
  const failedType = (type) => progress.get(type)?.failed;

  const makePlot = (element) => {
    if (!element || plot) return;
    plot = new VitalsPlot(element, { seriesOf: (key) => chart.vitals.series(key), onRange: update, span: defaultSpan, signal });
  };

  function latest() {
    const now = Date.now();
    const readings = chart.vitals.latest();
    if (!readings.length) return html`<p class="muted">${t(busy() ? "app.loading" : "vitals.none")}</p>`;
    return html`
      <dl class="latest">
        ${readings.map(({ sign, values, at }) => {
          const old = isOverdue(chart.vitals.series(sign.key), now);
          return html`
            <div class=${old ? "old" : ""} data-sign=${sign.key}>
              <dt>${t(`sign.${sign.key}`)}</dt>
              <dd class="value">
                ${values.map((value) => (value === undefined ? "–" : fixed(value, sign.digits))).join("/")}
                <span class="unit">${t(`unit.${sign.unit}`)}</span>
              </dd>
              <dd class="when"><time datetime=${new Date(at).toISOString()} title=${exactTime(at, now)}>${age(at, now)}</time>
                ${old ? html`<span class="tag">${t("vitals.old")}</span>` : nothing}</dd>
            </div>
          `;
        })}
      </dl>
    `;
  }

  function tools() {
    const span = plot ? plot.range.to - plot.range.from : defaultSpan;
    const button = (label, action) => html`<button type="button" class="tool" aria-label=${t(label)} title=${t(label)} @click=${action}>${t(`${label}.sign`)}</button>`;
    return html`
      <div class="tools" role="toolbar" aria-label=${t("plot.tools")}>
        ${presets.map(
          ([name, ms]) => html`
            <button type="button" class="tool" aria-pressed=${String(Math.abs(span - ms) < ms / 100)} @click=${() => plot.last(ms)}>
              ${t(`span.${name}`)}
            </button>
          `,
        )}
        ${button("plot.earlier", () => plot.pan(-0.5))} ${button("plot.later", () => plot.pan(0.5))}
        ${button("plot.closer", () => plot.zoom(0.5))} ${button("plot.wider", () => plot.zoom(2))}
        <button type="button" class="tool" aria-pressed=${String(plot?.range.live ?? true)} @click=${() => plot.last(span)}>${t("plot.now")}</button>
        <button type="button" class="tool" aria-pressed=${String(table)} @click=${() => { table = !table; update(); }}>${t("plot.table")}</button>
      </div>
    `;
  }

  function readingsTable() {
    if (!table || !plot) return nothing;
    const { from, to } = plot.range;
    const rows = chart.vitals
      .latest()
      .flatMap(({ sign }) => chart.vitals.series(sign.key))
      .filter(({ at }) => at >= from && at <= to)
      .sort((a, b) => b.at - a.at);
    const shown = rows.slice(0, 500);
    return html`
      <div class="table-box" tabindex="0" role="region" aria-label=${t("plot.table")}>
        <table>
          <caption>${t(rows.length > shown.length ? "plot.someRows" : "plot.rows", { n: shown.length })}</caption>
          <thead><tr><th scope="col">${t("plot.time")}</th><th scope="col">${t("plot.sign")}</th><th scope="col">${t("plot.value")}</th></tr></thead>
          <tbody>
            ${shown.map(
              ({ sign, values, at }) => html`<tr>
                <td>${exactTime(at)}</td><td>${t(`sign.${sign.key}`)}</td>
                <td class="number">${values.map((value) => (value === undefined ? "–" : fixed(value, sign.digits))).join("/")} ${t(`unit.${sign.unit}`)}</td>
              </tr>`,
            )}
          </tbody>
        </table>
      </div>
    `;
  }

  function loading() {
    if (!busy()) return nothing;
    const all = progress.size;
    const done = [...progress.values()].filter((one) => one.done).length;
    const count = [...progress.values()].reduce((sum, one) => sum + (one.count ?? 0), 0);
    return html`
      <p class="progress"><label>${t("chart.loading", { n: count })} <progress max=${all} value=${done}></progress></label></p>
    `;
  }

  return () => {
    const bed = bedsOf(chart.all("Encounter"), []).get(id);
    const allergies = progress.get("AllergyIntolerance")?.known ? allergiesOf(chart.all("AllergyIntolerance")) : undefined;
    const wrong = failure();
    return html`
      <article class="chart" data-state=${state?.phase ?? "off"} aria-busy=${String(busy())}>
        ${!staff
          ? nothing
          : html`<button type="button" class="quiet back" @click=${() => (params.ward ? go("board", { ward: params.ward }) : go("patients"))}>
              <span aria-hidden="true">←</span> ${t(params.ward ? "title.board" : "chart.back")}
            </button>`}
        ${who({ patient, bed, allergies, failed: !allergies && failedType("AllergyIntolerance"), beside: score && staff ? html`<p class="who-score">${badge(score)} <span aria-hidden="true">${scoreWords(score)}</span></p>` : nothing })}
        ${state ? connection(state, { retry: channel.retry, lastEvent: newestPast, more: loading() }) : nothing}
        ${[...alerts.values()].filter(({ ended }) => !ended).map((alert) => alertLine(alert, { acknowledge: () => acknowledge(alert) }))}
        ${wrong ? problem(wrong, channel.retry) : nothing}
        <div class="chart-grid">
          <div class="chart-main">
            <section class="card vitals" aria-labelledby="vitals-title">
              <div class="card-head">
                <h2 id="vitals-title">${t("vitals.title")}</h2>
                ${staff ? html`<button type="button" class="tool" @click=${limits.open}>${t("limits.edit")}</button>` : nothing}
              </div>
              ${latest()} ${tools()}
              <div class="plot" tabindex="0" role="group" aria-label=${t("plot.label")} ${ref(makePlot)}></div>
              <p class="legend">
                <span class="band band-1">${t("plot.band", { n: 1 })}</span> <span class="band band-2">${t("plot.band", { n: 2 })}</span>
                <span class="band band-3">${t("plot.band", { n: 3 })}</span> <span class="muted">${t("plot.help")}</span>
              </p>
              ${readingsTable()}
            </section>
            ${results(chart.all("Observation"), progress.get("Observation"))}
          </div>
          <div class="chart-side">
            ${problems(chart.all("Condition"), progress.get("Condition"), edit)}
            ${medication(chart.all("MedicationRequest"), progress.get("MedicationRequest"))}
            ${documents([...chart.all("DiagnosticReport"), ...chart.all("DocumentReference")], progress.get("DiagnosticReport"), edit, reading.open)}
            ${appointments(chart.all("Appointment"), progress.get("Appointment"), () => go("booking", { id, patient }))}
          </div>
        </div>
        ${limits.template()} ${diagnosis.template()} ${reading.template()} ${foot(read, state)}
      </article>
    `;
  };
}
