// A Condition or DiagnosticReport between its record and the form in which it is edited. Pure.

const settledReports = ["final", "amended", "corrected", "appended"];
const coded = (system, code) => ({ coding: [{ system: `http://terminology.hl7.org/CodeSystem/${system}`, code }] });
const codeOf = (concept) => concept?.coding?.[0]?.code;

/** What can be chosen for a Condition while its diagnosis is open, and once it is settled. */
export const verifications = { open: ["unconfirmed", "provisional", "differential", "refuted"], settled: ["confirmed", "refuted"] };
export const clinicals = ["active", "recurrence", "relapse", "inactive", "remission", "resolved"];

/** The lease under which a record is edited. */
export const leaseOf = ({ resourceType, id }) => `${resourceType}:${id}`;

/** Whether a diagnosis is settled: a report that is final or was changed after that, a Condition that is confirmed or refuted. */
export const isSettled = (resource) =>
  resource.resourceType === "DiagnosticReport"
    ? settledReports.includes(resource.status)
    : ["confirmed", "refuted"].includes(codeOf(resource.verificationStatus));

/** The form's fields: { text, clinical?, verification? }. */
export function fieldsOf(resource) {
  if (resource.resourceType === "DiagnosticReport") return { text: resource.conclusion ?? "" };
  return {
    text: resource.note?.[0]?.text ?? "",
    clinical: codeOf(resource.clinicalStatus) ?? "active",
    verification: codeOf(resource.verificationStatus) ?? "unconfirmed",
  };
}

/** The record with what was entered. `finalise` settles the diagnosis; a settled report that is changed is amended. */
export function edited(resource, { text, clinical, verification }, { finalise, at }) {
  const made = structuredClone(resource);
  const said = text.trim();
  if (resource.resourceType === "DiagnosticReport") {
    if (said) made.conclusion = said;
    else delete made.conclusion;
    made.status = isSettled(resource) ? "amended" : finalise ? "final" : "preliminary";
    made.issued = new Date(at).toISOString();
    return made;
  }
  const [first, ...others] = made.note ?? [];
  const notes = said ? [{ ...first, text: said }, ...others] : others;
  if (notes.length) made.note = notes;
  else delete made.note;
  made.clinicalStatus = coded("condition-clinical", clinical);
  made.verificationStatus = coded("condition-ver-status", finalise ? "confirmed" : verification);
  return made;
}
