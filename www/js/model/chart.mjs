// One patient's chart as the page holds it: the records by type, each in its newest version, and what is made of them.
// Pure. Invariant: a version never takes the place of a later one, whatever comes late; what was deleted stays so.
import { Vitals, ofResource } from "./vitals.mjs";

/** What a chart is made of, besides the Patient and the Observations. */
export const types = ["AllergyIntolerance", "Condition", "MedicationRequest", "DiagnosticReport", "DocumentReference", "Encounter", "Appointment"];

export class Chart {
  #records = new Map(); // "Type/id" -> { version, resource }
  #cache = new Map(); // type -> list, as long as nothing changed
  vitals = new Vitals();

  /** Takes a version; `resource` is null for a deletion. Returns whether anything changed. */
  take({ reference, version, resource }) {
    const known = this.#records.get(reference);
    if (known && known.version >= version) return false;
    this.#records.set(reference, { version, resource });
    this.#cache.delete(reference.split("/")[0]);
    if (reference.startsWith("Observation/")) this.vitals.take({ reference, version, resource });
    return true;
  }

  takeResource(resource) {
    return this.take(ofResource(resource));
  }

  /** The records of a type that there are. */
  all(type) {
    if (!this.#cache.has(type)) {
      const found = [...this.#records].filter(([reference, { resource }]) => resource && reference.startsWith(`${type}/`));
      this.#cache.set(type, found.map(([, { resource }]) => resource));
    }
    return this.#cache.get(type);
  }
}
