// Vital signs out of FHIR Observations. Pure. Invariant: of each sign the newest values are kept, at most so many, and of
// each record only its newest version; what was deleted or entered in error is no value.

const loinc = "http://loinc.org";
const signs = [
  { key: "heart-rate", label: "Heart rate", codes: ["8867-4"], keep: 600 },
  { key: "blood-pressure", label: "Blood pressure", codes: ["85354-9"], keep: 20 },
  { key: "oxygen-saturation", label: "Oxygen saturation", codes: ["59408-5", "2708-6"], keep: 20 },
  { key: "respiratory-rate", label: "Respiratory rate", codes: ["9279-1"], keep: 20 },
  { key: "temperature", label: "Temperature", codes: ["8310-5"], keep: 20 },
];
const byCode = new Map(signs.flatMap((sign) => sign.codes.map((code) => [code, sign])));
/** So many deleted records are remembered, so that an answer under way does not bring them back. */
const tombstones = 500;

const units = {
  "/min": "/min",
  "{beats}/min": "/min",
  "{breaths}/min": "/min",
  "beats/minute": "/min",
  "breaths/minute": "/min",
  "mm[Hg]": "mmHg",
  Cel: "°C",
  "[degF]": "°F",
  "%": "%",
};
const unitOf = (quantity) => units[quantity.code] ?? units[quantity.unit] ?? quantity.unit ?? quantity.code ?? "";

const codesOf = (concept) => (concept?.coding ?? []).filter((coding) => coding.system === loinc).map((coding) => coding.code);

const timeOf = (observation) => {
  const { effectiveDateTime, effectiveInstant, effectivePeriod, issued, meta } = observation;
  const text = effectiveDateTime ?? effectiveInstant ?? effectivePeriod?.end ?? effectivePeriod?.start ?? issued;
  const at = Date.parse(text ?? meta?.lastUpdated);
  return Number.isNaN(at) ? undefined : at;
};

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

function valueOf(sign, observation) {
  if (sign.key !== "blood-pressure") {
    const quantity = observation.valueQuantity;
    return isNumber(quantity?.value) ? { values: [quantity.value], unit: unitOf(quantity) } : undefined;
  }
  const part = (code) => observation.component?.find((component) => codesOf(component.code).includes(code))?.valueQuantity;
  const parts = [part("8480-6"), part("8462-4")];
  if (!parts.some((quantity) => isNumber(quantity?.value))) return undefined;
  return { values: parts.map((quantity) => quantity?.value), unit: unitOf(parts.find(Boolean)) };
}

/** { sign, values, unit, at } of an Observation; undefined if it is no value of a vital sign known here. */
export function readingOf(observation) {
  if (["entered-in-error", "cancelled"].includes(observation?.status)) return undefined;
  const sign = codesOf(observation?.code).map((code) => byCode.get(code)).find(Boolean);
  const value = sign && valueOf(sign, observation);
  const at = value && timeOf(observation);
  return at === undefined ? undefined : { sign, at, ...value };
}

/** The vital signs of one patient. */
export class Vitals {
  #readings = new Map(signs.map((sign) => [sign.key, []])); // Each oldest first.
  #signOf = new Map(); // reference -> key
  #gone = new Map(); // reference -> version

  /** Takes a version of an Observation; `resource` is null for a deletion. Returns whether anything changed. */
  take({ reference, version, resource }) {
    const known = this.#readings.get(this.#signOf.get(reference))?.find((reading) => reading.reference === reference);
    if (known?.version >= version || this.#gone.get(reference) >= version) return false;
    const reading = resource ? readingOf(resource) : undefined;
    if (known) this.#remove(known);
    if (!reading) {
      // Nothing to show of this version, and nothing of an earlier one that comes late.
      this.#gone.set(reference, version);
      if (this.#gone.size > tombstones) this.#gone.delete(this.#gone.keys().next().value);
      return known !== undefined;
    }
    const list = this.#readings.get(reading.sign.key);
    let place = list.length;
    while (place > 0 && list[place - 1].at > reading.at) place -= 1;
    list.splice(place, 0, { ...reading, reference, version });
    this.#signOf.set(reference, reading.sign.key);
    while (list.length > reading.sign.keep) this.#remove(list[0]);
    return true;
  }

  #remove(reading) {
    const list = this.#readings.get(reading.sign.key);
    list.splice(list.indexOf(reading), 1);
    this.#signOf.delete(reading.reference);
  }

  /** All that is kept of a sign, oldest first. */
  series(key) {
    return this.#readings.get(key);
  }

  /** The newest reading of each sign that has one, in a fixed order. */
  latest() {
    return signs.map(({ key }) => this.#readings.get(key).at(-1)).filter(Boolean);
  }
}

/** What `take` wants, of an event of kind `observation`. */
export const ofEvent = ({ data }) => ({ reference: data.reference, version: data.version, resource: data.deleted ? null : data.resource });

/** What `take` wants, of a resource that was read. */
export const ofResource = (resource) => ({
  reference: `${resource.resourceType}/${resource.id}`,
  version: Number(resource.meta?.versionId ?? 0),
  resource,
});
