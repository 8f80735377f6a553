// What a chart shows of FHIR resources besides vital signs: allergies, problems, medication, results, reports. Pure; words
// are left to the views.
import { timeOf } from "./vitals.mjs";

/** The text of a CodeableConcept. */
export const textOf = (concept) =>
  concept?.text ?? concept?.coding?.map(({ display }) => display).find(Boolean) ?? concept?.coding?.[0]?.code;
const codeOf = (concept) => concept?.coding?.[0]?.code;
const hasCode = (concept, code) => Boolean(concept?.coding?.some((coding) => coding.code === code));
const newestFirst = (a, b) => (b.at ?? "").localeCompare(a.at ?? "");
const wrong = (resource) => hasCode(resource.verificationStatus, "entered-in-error") || resource.status === "entered-in-error";

/** SNOMED CT: no known allergy, of any kind or of drugs, food, environment. */
const noneKnown = ["716186003", "409137002", "429625007", "428607008"];

/** { none: whether it is recorded that there are none, list: [{ id, text, reactions, high, at }] }, the dangerous first. */
export function allergiesOf(resources) {
  const active = resources.filter((one) => !wrong(one) && !hasCode(one.clinicalStatus, "inactive") && !hasCode(one.clinicalStatus, "resolved"));
  const none = active.filter((one) => noneKnown.some((code) => hasCode(one.code, code)));
  const list = active
    .filter((one) => !none.includes(one))
    .map((one) => ({
      id: one.id,
      text: textOf(one.code),
      reactions: (one.reaction ?? []).flatMap(({ manifestation }) => (manifestation ?? []).map(textOf)).filter(Boolean),
      high: one.criticality === "high" || (one.reaction ?? []).some(({ severity }) => severity === "severe"),
      at: one.recordedDate,
    }))
    .sort((a, b) => Number(b.high) - Number(a.high));
  return { none: none.length > 0, list };
}

const open = ["active", "recurrence", "relapse"];

/** [{ id, version, text, status, verification, diagnosis, since, recorder, open, resource }], the open and newest first. */
export const problemsOf = (resources) =>
  resources
    .filter((one) => !wrong(one))
    .map((one) => ({
      id: one.id,
      version: one.meta?.versionId,
      text: textOf(one.code),
      status: codeOf(one.clinicalStatus) ?? "active",
      verification: codeOf(one.verificationStatus),
      diagnosis: (one.category ?? []).some((category) => hasCode(category, "encounter-diagnosis")),
      at: one.onsetDateTime ?? one.recordedDate,
      recorder: one.recorder?.display,
      open: open.includes(codeOf(one.clinicalStatus) ?? "active"),
      resource: one,
    }))
    .sort((a, b) => Number(b.open) - Number(a.open) || newestFirst(a, b));

/** [{ id, text, dose, needed, status, current, at }], the current and newest first. */
export const medicationOf = (resources) =>
  resources
    .filter((one) => !wrong(one))
    .map((one) => ({
      id: one.id,
      text: textOf(one.medicationCodeableConcept) ?? one.medicationReference?.display,
      dose: one.dosageInstruction?.map(({ text }) => text).filter(Boolean).join("; "),
      needed: one.dosageInstruction?.some(({ asNeededBoolean }) => asNeededBoolean) ?? false,
      status: one.status,
      current: ["active", "on-hold"].includes(one.status),
      at: one.authoredOn,
    }))
    .sort((a, b) => Number(b.current) - Number(a.current) || newestFirst(a, b));

const inCategory = (one, code) => (one.category ?? []).some((category) => hasCode(category, code));
const isResult = (one) => !wrong(one) && !inCategory(one, "vital-signs") && !inCategory(one, "social-history") && !inCategory(one, "survey");

/** The highest flag of an interpretation: "high", "low", "critical", "abnormal", or undefined. */
function flagOf({ interpretation, valueQuantity, referenceRange }) {
  const codes = (interpretation ?? []).flatMap(({ coding }) => (coding ?? []).map(({ code }) => code));
  if (codes.some((code) => ["HH", "LL", "AA"].includes(code))) return "critical";
  if (codes.includes("H") || codes.includes("HU")) return "high";
  if (codes.includes("L") || codes.includes("LU")) return "low";
  if (codes.includes("A")) return "abnormal";
  const [range] = referenceRange ?? [];
  if (valueQuantity?.value > range?.high?.value) return "high";
  if (valueQuantity?.value < range?.low?.value) return "low";
}

const rangeOf = ([range] = []) => range && { low: range.low?.value, high: range.high?.value, text: range.text };

function resultOf(one) {
  const quantity = one.valueQuantity;
  const text = one.valueString ?? textOf(one.valueCodeableConcept) ?? textOf(one.dataAbsentReason);
  return {
    id: one.id,
    key: one.code?.coding?.map(({ system, code }) => `${system}|${code}`)[0] ?? textOf(one.code),
    name: textOf(one.code),
    value: quantity?.value,
    unit: quantity?.unit ?? quantity?.code,
    text,
    at: timeOf(one),
    flag: flagOf(one),
    range: rangeOf(one.referenceRange),
    status: one.status,
  };
}

/** [{ ...the newest value of a test, before: [the earlier ones, newest first] }], the newest test first. */
export function resultsOf(resources) {
  const groups = new Map();
  for (const result of resources.filter(isResult).map(resultOf)) {
    if (result.value === undefined && result.text === undefined) continue;
    groups.set(result.key, [...(groups.get(result.key) ?? []), result]);
  }
  return [...groups.values()]
    .map((group) => group.sort((a, b) => (b.at ?? 0) - (a.at ?? 0)))
    .map(([newest, ...before]) => ({ ...newest, before }))
    .sort((a, b) => (b.at ?? 0) - (a.at ?? 0));
}

/** [{ id, type, version, title, status, final, at, conclusion, author, resource }], the newest first. */
export const documentsOf = (resources) =>
  resources
    .filter((one) => !wrong(one))
    .map((one) => ({
      id: one.id,
      type: one.resourceType,
      version: one.meta?.versionId,
      title: textOf(one.code) ?? textOf(one.type) ?? one.description,
      status: one.resourceType === "DocumentReference" ? (one.docStatus ?? "final") : one.status,
      final: ["final", "amended", "corrected", "appended"].includes(one.docStatus ?? one.status) || one.resourceType === "DocumentReference",
      at: one.issued ?? one.effectiveDateTime ?? one.effectivePeriod?.start ?? one.date,
      conclusion: one.conclusion ?? one.description,
      author: one.performer?.[0]?.display ?? one.author?.[0]?.display,
      resource: one,
    }))
    .sort(newestFirst);

/** What a report or document says in full: [{ type, charset, data (base64), url, title }]; `type` is a media type without parameters. */
export const attachmentsOf = ({ presentedForm, content }) =>
  [...(presentedForm ?? []), ...(content ?? []).map(({ attachment }) => attachment)].filter((one) => one?.data || one?.url).map(({ contentType, data, url, title }) => ({
    type: (contentType ?? "application/octet-stream").split(";")[0].trim().toLowerCase(),
    charset: /;\s*charset\s*=\s*"?([^\s";]+)/i.exec(contentType)?.[1].toLowerCase(),
    data,
    url,
    title,
  }));

/** An attachment with its `bytes`, and with its `text` where it is one; without them where it has none that can be read. */
export function decoded(attachment) {
  const { type, charset, data } = attachment;
  if (!data) return attachment;
  let bytes;
  try {
    bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  } catch {
    return attachment;
  }
  if (type !== "text/plain") return { ...attachment, bytes };
  let decoder = new TextDecoder();
  try {
    decoder = new TextDecoder(charset);
  } catch {
    // A charset that no browser knows.
  }
  return { ...attachment, bytes, text: decoder.decode(bytes) };
}

/** [{ id, start, end, title, status, who, over }], what is to come first, then what was, each nearest first. */
export const appointmentsOf = (resources, now) =>
  resources
    .filter((one) => !wrong(one) && one.start)
    .map((one) => ({
      id: one.id,
      start: Date.parse(one.start),
      end: Date.parse(one.end ?? one.start),
      title: textOf(one.appointmentType) ?? textOf(one.serviceType?.[0]) ?? one.description,
      status: one.status,
      who: (one.participant ?? []).map(({ actor }) => actor).filter((actor) => actor?.display && !actor.reference?.startsWith("Patient/")).map(({ display }) => display),
      over: Date.parse(one.end ?? one.start) < now || ["cancelled", "noshow"].includes(one.status),
    }))
    .sort((a, b) => Number(a.over) - Number(b.over) || (a.over ? b.start - a.start : a.start - b.start));

/** What Cache-Status (RFC 9211) says: { hit, ttl, stored, reason }; undefined where there is none. */
export function cacheOf(header) {
  if (!header) return undefined;
  const [, ...parts] = header.split(",")[0].split(";").map((part) => part.trim());
  const value = (name) => parts.find((part) => part.startsWith(`${name}=`))?.slice(name.length + 1);
  return { hit: parts.includes("hit"), ttl: Number(value("ttl")) || undefined, stored: parts.includes("stored"), reason: value("detail") ?? value("fwd") };
}

/** A map from patient id to the name of the bed, of open Encounters and the Locations they are at. */
export function bedsOf(encounters, locations) {
  const names = new Map(locations.map((place) => [`Location/${place.id}`, place.name]));
  const found = new Map();
  for (const stay of encounters) {
    if (!["arrived", "triaged", "in-progress", "onleave"].includes(stay.status)) continue;
    const here = (stay.location ?? []).filter(({ status }) => status === undefined || status === "active").at(-1)?.location;
    const name = here && (here.display ?? names.get(here.reference));
    const patient = stay.subject?.reference?.replace(/^Patient\//, "");
    if (name && patient) found.set(patient, name);
  }
  return found;
}
