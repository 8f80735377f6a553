// The patients one can reach.
import { html, nothing } from "lit-html";
import { page, pages } from "../api.mjs";
import { compare } from "../format.mjs";
import { t } from "../i18n.mjs";
import { birthOf, identifiersOf, nameOf } from "../model/people.mjs";
import { bedsOf } from "../model/record.mjs";
import { problem } from "../parts/problem.mjs";

const first = "/fhir/Patient?_count=100";

/** `choose(patient)` is what a row does, if not open the chart. */
export default function patientsView({ go, signal, update, choose = (patient) => go("chart", { id: patient.id, patient }), title = "title.patients" }) {
  const patients = [];
  let next = first;
  let bedOf = new Map();
  let wanted = "";
  let failure;
  let loading = true;
  const options = { signal };

  async function load() {
    [loading, failure] = [true, undefined];
    update();
    try {
      const found = await page(next, options);
      next = found.next;
      patients.push(...found.resources);
      patients.sort((a, b) => compare(nameOf(a), nameOf(b)));
    } catch (error) {
      failure = error;
    }
    loading = false;
    update();
  }

  load();
  // A help in the list, never needed by it.
  Promise.all(
    ["Encounter", "Location"].map((type) => pages(`/fhir/${type}?_count=200`, { ...options, background: true, most: 5 })),
  ).then(
    ([encounters, locations]) => {
      bedOf = bedsOf(encounters.resources, locations.resources);
      update();
    },
    () => {},
  );

  const row = (patient) => html`
    <li>
      <button type="button" class="patient-row" @click=${() => choose(patient)}>
        <span class="row-name">${nameOf(patient)}</span>
        <span class="row-born"><span class="row-label">${t("patients.born")}</span> ${birthOf(patient)}</span>
        <span class="row-number">${identifiersOf(patient)[0]?.value ?? ""}</span>
        <span class="row-bed">${bedOf.get(patient.id) ?? ""}</span>
      </button>
    </li>
  `;

  function count(found) {
    if (loading && !patients.length) return t("app.loading");
    if (!patients.length) return failure ? "" : t("patients.none");
    if (!found.length) return t("patients.noMatch");
    return next && !wanted ? t("patients.first", { n: found.length }) : t("patients.count", { n: found.length });
  }

  return () => {
    const matches = (patient) =>
      [nameOf(patient), birthOf(patient), patient.birthDate, ...identifiersOf(patient).map(({ value }) => value), bedOf.get(patient.id)]
        .join(" ")
        .toLowerCase()
        .includes(wanted);
    const found = wanted ? patients.filter(matches) : patients;
    return html`
      <section class="list">
        <div class="list-head">
          <div>
            <h1 tabindex="-1">${t(title)}</h1>
            <p class="muted" role="status">${count(found)}</p>
          </div>
          <div class="field search">
            <label for="search">${t("patients.search")}</label>
            <input id="search" type="search" autocomplete="off" spellcheck="false"
              @input=${({ target }) => { wanted = target.value.trim().toLowerCase(); update(); }} />
          </div>
        </div>
        ${failure ? problem(failure, load) : nothing}
        ${found.length ? html`<ul class="patients" role="list">${found.map(row)}</ul>` : nothing}
        ${next && patients.length
          ? html`<button type="button" class="secondary more" ?disabled=${loading} @click=${load}>${t("patients.more")}</button>`
          : nothing}
      </section>
    `;
  };
}
