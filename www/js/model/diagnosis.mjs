// A Condition or DiagnosticReport between its record and the form in which it is edited. Pure.

const settledReports = ["final", "amended", "corrected", "appended"];
const coded = (system, code) => ({ coding: [{ system: `http://terminology.hl7.org/CodeSystem/${system}`, code }] });
const codeOf = (concept) => concept?.coding?.[0]?.code;

const clinicals = ["active", "recurrence", "relapse", "inactive", "remission", "resolved"];
const opens = ["unconfirmed", "provisional", "differential", "refuted"];
const settledVerifications = ["confirmed", "refuted"];

/** The lease under which a record is edited. */
export const leaseOf = ({ resourceType, id }) => `${resourceType}:${id}`;

/** Whether a diagnosis is settled: a report that is final or was changed after that, a Condition that is confirmed or refuted. */
export const isSettled = (resource) =>
  resource.resourceType === "DiagnosticReport"
    ? settledReports.includes(resource.status)
    : settledVerifications.includes(codeOf(resource.verificationStatus));

/** Whether it may be edited at all: not what was cancelled, or entered in error. */
export const isEditable = ({ resourceType, status, verificationStatus }) =>
  resourceType === "DiagnosticReport"
    ? !["cancelled", "entered-in-error"].includes(status)
    : resourceType === "Condition" && codeOf(verificationStatus) !== "entered-in-error";

/** The form's fields: { text, clinical?, verification? }; a status that the record does not say is "". */
export function fieldsOf(resource) {
  if (resource.resourceType === "DiagnosticReport") return { text: resource.conclusion ?? "" };
  return {
    text: resource.note?.[0]?.text ?? "",
    clinical: codeOf(resource.clinicalStatus) ?? "",
    verification: codeOf(resource.verificationStatus) ?? "",
  };
}

/** What can be chosen for a Condition, { clinical, verification } of codes: those that we know, and what it says, whatever that is. */
export function offered(resource) {
  const { clinical, verification } = fieldsOf(resource);
  const beside = (codes, said) => (codes.includes(said) ? codes : [said, ...codes]);
  return { clinical: beside(clinicals, clinical), verification: beside(isSettled(resource) ? settledVerifications : opens, verification) };
}

/**
 * The fields for `resource` as it has become: what was entered since they were `filled` stays as far as it can still be chosen,
 * all else is what the record says by now.
 */
export function refilled(resource, fields, filled) {
  const choices = resource.resourceType === "DiagnosticReport" ? {} : offered(resource);
  const stays = (name) => fields[name] !== filled[name] && (choices[name]?.includes(fields[name]) ?? true);
  return Object.fromEntries(Object.entries(fieldsOf(resource)).map(([name, says]) => [name, stays(name) ? fields[name] : says]));
}

/**
 * The record with what was entered. `finalise` settles the diagnosis, as confirmed where nothing else that settles it was chosen;
 * a settled report that is changed is amended. A status that was not changed stays as it is written, or unwritten.
 */
export function edited(resource, { text, clinical, verification }, { finalise, at }) {
  const made = structuredClone(resource);
  const said = text.trim();
  if (resource.resourceType === "DiagnosticReport") {
    if (said) made.conclusion = said;
    else delete made.conclusion;
    // As a draft it is no less than it was: one that is partial stays so.
    if (isSettled(resource)) made.status = "amended";
    else if (finalise) made.status = "final";
    else if (made.status === "registered") made.status = "preliminary";
    made.issued = new Date(at).toISOString();
    return made;
  }
  const [first, ...others] = made.note ?? [];
  const notes = said ? [{ ...first, text: said }, ...others] : others;
  if (notes.length) made.note = notes;
  else delete made.note;
  const had = fieldsOf(resource);
  if (clinical !== had.clinical) made.clinicalStatus = coded("condition-clinical", clinical);
  const verified = finalise && !settledVerifications.includes(verification) ? "confirmed" : verification;
  if (verified !== had.verification) made.verificationStatus = coded("condition-ver-status", verified);
  return made;
}
