// The patients one can reach.
import { page } from "../api.mjs";
import { beds } from "../beds.mjs";
import { el, setText } from "../dom.mjs";
import { birthOf, nameOf } from "../people.mjs";
import { words } from "../words.mjs";

const first = "/fhir/Patient?_count=100";

/** `onOpen(patient)` is called with the Patient resource that was chosen. */
export function patientsView({ onOpen, signal }) {
  const say = words.patients;
  const patients = [];
  let next = first;
  let bedOf = new Map();

  const list = el("ul", { class: "patients", role: "list" });
  const count = el("p", { class: "muted", role: "status" }, words.loading);
  const problem = el("div", { class: "problem-box", hidden: true });
  const more = el("button", { type: "button", class: "secondary", hidden: true, onclick: () => load() }, say.more);
  const search = el("input", { type: "search", id: "search", autocomplete: "off", spellcheck: "false", oninput: () => render() });

  const row = (patient) => {
    const bed = bedOf.get(patient.id);
    return el(
      "li",
      {},
      el(
        "button",
        { type: "button", class: "patient-row", onclick: () => onOpen(patient) },
        el("span", { class: "row-name" }, nameOf(patient)),
        " ",
        el("span", { class: "row-born" }, el("span", { class: "row-label" }, `${say.born} `), birthOf(patient, Date.now())),
        " ",
        bed && el("span", { class: "row-bed" }, el("span", { class: "row-label" }, `${say.bed} `), bed),
      ),
    );
  };

  function render() {
    const wanted = search.value.trim().toLowerCase();
    const matches = (patient) => `${nameOf(patient)} ${birthOf(patient, Date.now())} ${patient.birthDate}`.toLowerCase().includes(wanted);
    const found = wanted ? patients.filter(matches) : patients;
    // Whoever is being looked at with the keyboard stays so, wherever the row goes.
    const focused = [...list.children].findIndex((item) => item.contains(document.activeElement));
    list.replaceChildren(...found.map(row));
    if (focused >= 0) list.children[Math.min(focused, found.length - 1)]?.firstChild.focus();
    more.hidden = !next;
    const none = patients.length ? say.noMatch : say.none;
    setText(count, found.length ? say.count(found.length, Boolean(next) && !wanted) : none);
  }

  async function load() {
    problem.hidden = true;
    more.disabled = true;
    try {
      const { resources, next: following } = await page(next, { signal });
      next = following;
      patients.push(...resources);
      patients.sort((a, b) => words.compare(nameOf(a), nameOf(b)));
      render();
    } catch (error) {
      if (signal.aborted) return;
      if (!patients.length) setText(count, "");
      problem.replaceChildren(
        el("p", { class: "problem", role: "alert" }, error.message),
        el("button", { type: "button", class: "secondary", onclick: () => load() }, words.retry),
      );
      problem.hidden = false;
    } finally {
      more.disabled = false;
    }
  }

  load();
  beds(signal).then(
    (found) => {
      bedOf = found;
      if (patients.length && found.size) render();
    },
    () => {}, // The list is as good without.
  );

  return el(
    "section",
    { class: "list" },
    el(
      "div",
      { class: "list-head" },
      el("div", {}, el("h1", { tabindex: "-1" }, say.heading), count),
      el("div", { class: "field search" }, el("label", { for: "search" }, say.search), search),
    ),
    problem,
    list,
    more,
  );
}
