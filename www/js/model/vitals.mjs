// Vital signs out of FHIR Observations. Pure. Invariant: of each sign the newest values are kept, at most so many, and of
// each record only its newest version; what was deleted or entered in error is no value.

const loinc = "http://loinc.org";
/** The signs in the order of the NEWS2 chart. `digits` after the point; `span` is the least height of an axis. */
export const signs = [
  { key: "respiratory-rate", parameters: ["respiratory_rate"], codes: ["9279-1"], digits: 0, unit: "/min", span: [8, 30] },
  { key: "oxygen-saturation", parameters: ["oxygen_saturation"], codes: ["59408-5", "2708-6"], digits: 0, unit: "%", span: [88, 100] },
  { key: "blood-pressure", parameters: ["systolic_pressure", "diastolic_pressure"], codes: ["85354-9", "55284-4"], digits: 0, unit: "mmHg", span: [60, 160] },
  { key: "heart-rate", parameters: ["heart_rate"], codes: ["8867-4"], digits: 0, unit: "/min", span: [50, 120] },
  { key: "temperature", parameters: ["temperature"], codes: ["8310-5"], digits: 1, unit: "°C", span: [35.5, 39] },
];
const byCode = new Map(signs.flatMap((sign) => sign.codes.map((code) => [code, sign])));
/** Of what monitors say so much is kept of each sign, an hour at one a second; records are not pushed out by it. */
const keptTelemetry = 3_600;
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

/** When an Observation was made, in ms; undefined if it does not say. */
export const timeOf = (observation) => {
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

/** Without an interval to go by, a value is expected again within this. */
const usualInterval = 8 * 3_600_000;
const shortestInterval = 5_000;

/** Whether the newest of a series is older than three of the intervals at which its values were coming. */
export function isOverdue(series, now) {
  const last = series.slice(-7);
  if (!last.length) return false;
  const steps = last.slice(1).map(({ at }, index) => at - last[index].at).sort((a, b) => a - b);
  const interval = steps.length ? Math.max(shortestInterval, steps[steps.length >> 1]) : usualInterval;
  return now - last.at(-1).at > 3 * interval;
}

/** The vital signs of one patient. */
export class Vitals {
  #readings = new Map(signs.map((sign) => [sign.key, []])); // Each oldest first.
  #known = new Map(); // reference -> reading
  #telemetry = new Map(signs.map((sign) => [sign.key, []])); // Those of the readings that are no records, as they came.
  #gone = new Map(); // reference -> version
  #keep;

  /** `keep` is how many values of a sign are kept. */
  constructor({ keep = 20_000 } = {}) {
    this.#keep = keep;
  }

  /** Takes a version of an Observation; `resource` is null for a deletion. Returns whether anything changed. */
  take({ reference, version, resource }) {
    const before = this.#known.get(reference);
    if (before?.version >= version || this.#gone.get(reference) >= version) return false;
    const reading = resource ? readingOf(resource) : undefined;
    if (before) this.#remove(before);
    if (!reading) {
      // Nothing to show of this version, and nothing of an earlier one that comes late.
      this.#gone.set(reference, version);
      if (this.#gone.size > tombstones) this.#gone.delete(this.#gone.keys().next().value);
      return before !== undefined;
    }
    this.#insert({ ...reading, reference, version });
    return true;
  }

  /** Takes what monitors have said of this patient: readings that are no records. Returns whether anything changed. */
  takeTelemetry(event, patient) {
    const byTime = new Map();
    for (const one of readingsOf(event)) {
      if (one.patient !== patient) continue;
      const sign = signs.find(({ parameters }) => parameters.includes(one.parameter));
      if (!sign || !isNumber(one.value)) continue;
      const key = `${sign.key} ${one.at}`;
      if (!byTime.has(key)) byTime.set(key, { sign, at: one.at, unit: sign.unit, values: sign.parameters.map(() => undefined) });
      byTime.get(key).values[sign.parameters.indexOf(one.parameter)] = one.value;
    }
    for (const reading of byTime.values()) {
      this.#insert(reading);
      const list = this.#telemetry.get(reading.sign.key);
      list.push(reading);
      if (list.length > keptTelemetry) this.#remove(list.shift());
    }
    return byTime.size > 0;
  }

  #insert(reading) {
    const list = this.#readings.get(reading.sign.key);
    let [low, high] = [0, list.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (list[middle].at <= reading.at) low = middle + 1;
      else high = middle;
    }
    list.splice(low, 0, reading);
    if (reading.reference) this.#known.set(reading.reference, reading);
    if (list.length > this.#keep) this.#remove(list[0]);
  }

  #remove(reading) {
    const list = this.#readings.get(reading.sign.key);
    const place = list.indexOf(reading);
    if (place >= 0) list.splice(place, 1);
    if (reading.reference) this.#known.delete(reading.reference);
  }

  /** All that is kept of a sign, oldest first. */
  series(key) {
    return this.#readings.get(key);
  }

  /** The newest reading of each sign that has one, in the order of `signs`. */
  latest() {
    return signs.map(({ key }) => this.#readings.get(key).at(-1)).filter(Boolean);
  }
}

/** [{ patient, parameter, value, at }] of an event of kind `observation` or `telemetry`, by the server's names of parameters. */
export function readingsOf({ data }) {
  if (data.readings) {
    return data.readings.flatMap(({ patient, at, values }) =>
      Object.entries(values).map(([parameter, value]) => ({ patient, parameter, value, at: Date.parse(at) })),
    );
  }
  const { resource } = data;
  const reading = resource && readingOf(resource);
  const patient = resource?.subject?.reference?.replace(/^Patient\//, "");
  if (!reading || !patient) return [];
  const names = reading.sign.parameters;
  return names
    .map((parameter, index) => ({ patient, parameter, value: reading.values[index], at: reading.at }))
    .filter(({ value }) => value !== undefined);
}

/** What `take` wants, of an event of kind `observation`. */
export const ofEvent = ({ data }) => ({ reference: data.reference, version: data.version, resource: data.deleted ? null : data.resource });

/** What `take` wants, of a resource that was read. */
export const ofResource = (resource) => ({
  reference: `${resource.resourceType}/${resource.id}`,
  version: Number(resource.meta?.versionId ?? 0),
  resource,
});
