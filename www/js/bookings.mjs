// The operations on Appointments (IHE Scheduling, ITI-116 and ITI-117, and beside them $cancel and $reschedule).
import { request } from "./api.mjs";

const operation = async (path, parameter, signal) => {
  const asked = Date.now();
  // FHIR knows no empty array.
  const body = { resourceType: "Parameters", ...(parameter.length && { parameter }) };
  const { body: bundle, headers } = await request("POST", `/fhir/Appointment/${path}`, { body, headers: { "Content-Type": "application/fhir+json" }, signal });
  return { appointment: bundle.entry[0].resource, hold: holdOf(headers, asked) };
};

/** { until, own } of an Appointment's hold, by this device's clock: counted from before it was asked; `own` is this account's. */
export function holdOf(headers, asked) {
  const seconds = Number(headers.get("Bedside-Hold-Seconds"));
  return seconds ? { until: asked + seconds * 1000, own: headers.get("Bedside-Hold-Own") === "?1" } : undefined;
}

const reference = (name, to) => ({ name, valueReference: { reference: to } });
const because = (reason) => (reason ? [{ name: "reason", valueString: reason }] : []);

/** Each resolves with { appointment, hold }. A proposal has the id of its Slot. */
export const hold = (slot, patient, signal) =>
  operation("$hold", [reference("appointment-reference", `Appointment/${slot}`), reference("patient-reference", `Patient/${patient}`)], signal);
/** Once for each hold. */
export const holdLonger = (appointment, signal) => operation("$hold", [reference("appointment-reference", `Appointment/${appointment}`)], signal);
/** What is held, or for `patient` a proposal. */
export const book = (appointment, signal, patient) =>
  operation("$book", [reference("appointment-reference", `Appointment/${appointment}`), ...(patient ? [reference("patient-reference", `Patient/${patient}`)] : [])], signal);
export const cancel = (appointment, reason, signal) => operation(`${appointment}/$cancel`, because(reason), signal);
export const move = (appointment, slot, signal) => operation(`${appointment}/$reschedule`, [reference("appointment-reference", `Appointment/${slot}`)], signal);
