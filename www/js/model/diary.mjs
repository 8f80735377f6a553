// The diary of a day as it is shown for booking: Schedules, their Slots and what becomes of them. Pure: times come in.
// Invariant: a version of a Slot never takes the place of a later one, so that an event may come twice.
import { textOf } from "./record.mjs";
import { ofEvent, ofResource } from "./vitals.mjs";

/** So many Schedules are shown and followed at once. */
const mostShown = 8;

const states = { free: "free", "busy-tentative": "held", busy: "taken" };
const codesOf = (concepts) => (concepts ?? []).map((concept) => concept.coding?.[0]?.code ?? textOf(concept)).filter(Boolean);

/**
 * What can be chosen of active Schedules: { schedules: [{ id, who: [{ reference, name }], services: [{ code, text }] }],
 * practitioners: [{ id, name }], services: [{ code, text }] }. `names` is a map from a reference to a name.
 */
export function choicesOf(resources, names = new Map()) {
  const schedules = resources
    .filter(({ active }) => active !== false)
    .map(({ id, actor, serviceType }) => ({
      id,
      who: (actor ?? []).map(({ reference, display }) => ({ reference, name: display ?? names.get(reference) ?? reference })),
      services: (serviceType ?? []).map((concept) => ({ code: codesOf([concept])[0], text: textOf(concept) })),
    }));
  const people = schedules.flatMap(({ who }) => who).filter(({ reference }) => reference?.startsWith("Practitioner/"));
  const once = (list, key) => [...new Map(list.map((one) => [one[key], one])).values()];
  return {
    schedules,
    practitioners: once(people.map(({ reference, name }) => ({ id: reference, name })), "id"),
    services: once(schedules.flatMap(({ services }) => services), "code"),
  };
}

/** The Schedules of a practitioner and a service; an empty text is any. */
export const matching = (schedules, { practitioner, service }) =>
  schedules.filter(
    ({ who, services }) =>
      (!practitioner || who.some(({ reference }) => reference === practitioner)) && (!service || !services.length || services.some(({ code }) => code === service)),
  );

/** So many of `matching` as are shown; the Schedule `first` before the others, if it is one of them. */
export function shownOf(schedules, wanted) {
  const all = matching(schedules, wanted);
  return [...all.filter(({ id }) => id === wanted.first), ...all.filter(({ id }) => id !== wanted.first)].slice(0, mostShown);
}

/** [from, to) of the day `text` (YYYY-MM-DD) as this device's clock has it. */
export function dayOf(text) {
  const [year, month, day] = text.split("-").map(Number);
  return [new Date(year, month - 1, day).getTime(), new Date(year, month - 1, day + 1).getTime()];
}

/** The day of a time as YYYY-MM-DD, by this device's clock. */
export function dayText(at) {
  const date = new Date(at);
  return [String(date.getFullYear()).padStart(4, "0"), ...[date.getMonth() + 1, date.getDate()].map((part) => String(part).padStart(2, "0"))].join("-");
}

export class Diary {
  #slots = new Map(); // reference -> { version, resource }

  /** Takes a Slot's event, as channels have them. */
  takeEvent(event) {
    if (event.data?.reference?.startsWith("Slot/")) this.#take(ofEvent(event));
  }

  takeResource(resource) {
    this.#take(ofResource(resource));
  }

  #take({ reference, version, resource }) {
    const known = this.#slots.get(reference);
    if (!known || known.version < version) this.#slots.set(reference, { version, resource });
  }

  /**
   * [{ id, start, end, state: "free" | "held" | "taken" | "past" }] of a Schedule between two times, in their order. `service`
   * leaves out those that say they are for others.
   */
  slots(schedule, { from, to, service, now }) {
    return [...this.#slots.values()]
      .map(({ resource }) => resource)
      .filter((slot) => slot?.schedule?.reference === `Schedule/${schedule}` && slot.status !== "entered-in-error")
      .filter(({ serviceType }) => !service || !serviceType?.length || codesOf(serviceType).includes(service))
      .map(({ id, start, end, status }) => ({ id, start: Date.parse(start), end: Date.parse(end), state: states[status] ?? "taken" }))
      .filter(({ start }) => start >= from && start < to)
      .map((slot) => (slot.start < now ? { ...slot, state: "past" } : slot))
      .sort((a, b) => a.start - b.start);
  }
}

/** The ids of an Appointment's Slots. */
export const slotsOf = (appointment) => (appointment.slot ?? []).map(({ reference }) => reference?.replace(/^Slot\//, "")).filter(Boolean);
