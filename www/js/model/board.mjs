// A ward as its board shows it: beds, latest values, scores, open alerts; changed by snapshots and by events. Pure: times
// come in. Invariants: a value never gives way to an older one, an alert never to an earlier version of itself, so that an
// event may come twice; a snapshot replaces everything, so that what it does not name is gone.
import { readingsOf } from "./vitals.mjs";

const timed = (readings) => Object.fromEntries(Object.entries(readings ?? {}).map(([name, { value, at }]) => [name, { value, at: Date.parse(at) }]));

/** What `takeSnapshot` wants, of the answer of `/wards/{id}/board`. Beds are named without the ward, and go by their numbers. */
export function ofBoard({ ward, patients }) {
  const bedName = ({ name, id } = {}) => (name ?? id ?? "").replace(`${ward.name}, `, "");
  const beds = patients
    .map((one) => ({
      patient: one.id,
      name: one.name ?? "",
      bed: bedName(one.bed),
      born: one.birth_date,
      readings: timed(one.latest),
      score: one.news2,
      interval: one.monitor ? one.monitor.interval_seconds * 1000 : undefined,
      silent: one.monitor?.silent ?? false,
    }))
    .sort((a, b) => a.bed.localeCompare(b.bed, "en", { numeric: true }))
    .map((bed, order) => ({ ...bed, order }));
  return { name: ward.name ?? ward.id, beds, alerts: patients.flatMap(({ alerts }) => alerts) };
}

/** So many values of the heart rate make a sparkline, and no two of them closer than this. */
const sparkLength = 90;
const sparkStep = 5_000;
/** After a pause as long as a whole line it begins anew: what was charted hours ago would leave no room for now. */
const sparkPause = sparkLength * sparkStep;
/** That an alert has ended is known for so long, so that what comes late of it does not open it again. */
const remembered = 30 * 60_000;

/** The parameters in the order of NEWS2's chart. */
export const parameters = [
  "respiratory_rate", "oxygen_saturation", "supplemental_oxygen", "systolic_pressure", "diastolic_pressure", "heart_rate",
  "consciousness", "temperature",
];

const rank = { high: 3, medium: 2, "low-medium": 1 };
const open = (alert) => !alert.ended;

/** What decides who stands first: an alert nobody has seen, by urgency; then the score; then the bed. */
export function needOf(tile) {
  const waiting = tile.alerts.filter((alert) => open(alert) && !alert.acknowledged);
  const alert = Math.max(0, ...waiting.map(({ severity, level }) => rank[severity] * 2 + (level === "escalated" ? 1 : 0)));
  const total = tile.score?.total ?? -1;
  return alert * 100 + (total + 1) * 2 + (tile.score?.risk === "low-medium" ? 1 : 0);
}

export class Board {
  #tiles = new Map(); // patient -> tile
  #alerts = new Map(); // id -> alert
  #sparks = new Map(); // patient -> [{ at, value }]
  /** When the newest of what is known was measured. */
  newest = null;

  /** `beds`: [{ patient, name, bed, born, order, readings: { parameter: { value, at } }, score, interval, silent }]. */
  takeSnapshot({ beds, alerts }) {
    this.#tiles = new Map(beds.map((bed) => [bed.patient, { ...bed, readings: { ...bed.readings } }]));
    this.#alerts = new Map(alerts.map((alert) => [alert.id, alert]));
    for (const patient of this.#sparks.keys()) if (!this.#tiles.has(patient)) this.#sparks.delete(patient);
    for (const { patient, readings } of beds) {
      const { heart_rate: rate } = readings;
      if (rate) this.#spark(patient, rate);
      for (const { at } of Object.values(readings)) this.#note(at);
    }
  }

  /** Takes events of before the snapshot: of them only the line of the heart rate is made. */
  takePast(events) {
    const since = this.#sparks;
    this.#sparks = new Map();
    for (const event of events) {
      if (event.kind !== "telemetry" && event.kind !== "observation") continue;
      for (const { patient, parameter, value, at } of readingsOf(event)) if (parameter === "heart_rate") this.#spark(patient, { value, at });
    }
    for (const [patient, list] of since) for (const reading of list) this.#spark(patient, reading);
  }

  /** Takes one event; returns whether it is about somebody who is not on the board: then the ward has changed. */
  takeEvent(event) {
    const { kind, data } = event;
    if (kind === "score") return !this.#score(data.patient, data.news2);
    if (kind === "alert") return !this.takeAlert(data.alert);
    if (kind !== "telemetry" && kind !== "observation") return false;
    // Each of them is taken, whatever became of the ones before.
    return readingsOf(event).filter(({ patient, parameter, value, at }) => !this.#reading(patient, parameter, { value, at })).length > 0;
  }

  /** Takes a version of an alert; returns whether its patient is on the board. */
  takeAlert(alert) {
    const before = this.#alerts.get(alert.id);
    const { id, patient, version, ended } = alert;
    // Of one that has ended that is all that counts: a board is left open for days.
    if (!before || before.version < version) this.#alerts.set(id, ended ? { id, patient, version, ended } : alert);
    return this.#tiles.has(alert.patient);
  }

  #note(at) {
    if (this.newest === null || at > this.newest) this.newest = at;
  }

  #reading(patient, parameter, reading) {
    const tile = this.#tiles.get(patient);
    if (!tile) return false;
    this.#note(reading.at);
    if (parameter === "heart_rate") this.#spark(patient, reading);
    if (tile.readings[parameter]?.at > reading.at) return true;
    tile.readings[parameter] = reading;
    tile.silent = false;
    return true;
  }

  #score(patient, score) {
    const tile = this.#tiles.get(patient);
    if (!tile) return false;
    // Nothing that was measured counts any more.
    if (!score) {
      tile.score = null;
      return true;
    }
    if (tile.score && Date.parse(tile.score.newest_at) > Date.parse(score.newest_at)) return true;
    tile.score = score;
    for (const [parameter, part] of Object.entries(score.parts)) {
      // What a monitor's readings score by is smoothed; what is shown is each reading as it was.
      if (part.source !== "telemetry") this.#reading(patient, parameter, { value: part.value, at: Date.parse(part.at) });
    }
    return true;
  }

  #spark(patient, { at, value }) {
    let list = this.#sparks.get(patient) ?? [];
    let last = list.at(-1);
    if (last && at <= last.at) return;
    if (last && at - last.at > sparkPause) [list, last] = [[], undefined];
    // The newest stands for its step, so that a line is made of steps and not of every beat.
    if (last && list.length > 1 && last.at - list.at(-2).at < sparkStep) list.pop();
    list.push({ at, value });
    if (list.length > sparkLength) list.shift();
    this.#sparks.set(patient, list);
  }

  /** The tiles, those in need first: { ...bed, alerts, spark, latestAt, silent }. */
  tiles(now) {
    const byPatient = new Map();
    for (const [id, alert] of this.#alerts) {
      if (alert.ended && now - Date.parse(alert.ended.at) > remembered) {
        this.#alerts.delete(id);
        continue;
      }
      byPatient.set(alert.patient, [...(byPatient.get(alert.patient) ?? []), alert]);
    }
    const tiles = [...this.#tiles.values()].map((tile) => {
      const alerts = (byPatient.get(tile.patient) ?? []).filter(open).sort((a, b) => rank[b.severity] - rank[a.severity]);
      const times = Object.values(tile.readings).map(({ at }) => at);
      return {
        ...tile,
        alerts,
        spark: this.#sparks.get(tile.patient) ?? [],
        latestAt: times.length ? Math.max(...times) : null,
        silent: tile.silent || alerts.some(({ cause }) => cause === "silence"),
      };
    });
    return tiles.sort((a, b) => needOf(b) - needOf(a) || (a.order ?? 0) - (b.order ?? 0));
  }
}
