// How a Patient resource is shown: name, birth date, identifiers.
import { ageOf, date } from "../format.mjs";
import { known, t } from "../i18n.mjs";

const nameUses = ["official", "usual", undefined, "temp", "nickname", "anonymous", "maiden", "old"];

/** "Keller, Anna Maria": family name first, as on a ward list. */
export function nameOf(patient) {
  const names = [...(patient.name ?? [])].sort((a, b) => nameUses.indexOf(a.use) - nameUses.indexOf(b.use));
  const best = names.find((name) => name.family || name.given?.length || name.text);
  if (!best) return t("patient.unnamed");
  const given = (best.given ?? []).join(" ");
  return [best.family, given].filter(Boolean).join(", ") || best.text;
}

/** "4 Jan 1957 (69 y)"; without the age where the patient has died. */
export function birthOf(patient, now) {
  if (!patient.birthDate) return t("patient.bornUnknown");
  const dead = patient.deceasedBoolean || patient.deceasedDateTime;
  return dead ? date(patient.birthDate) : t("patient.birth", { date: date(patient.birthDate), age: ageOf(patient.birthDate, now) });
}

/** Male, female, …; undefined where it is not recorded or says nothing. */
export const genderOf = (patient) => (patient.gender ? known(`gender.${patient.gender}`) : undefined);

const hidden = ["SS", "DL", "PPN", "SB"]; // Numbers that say who somebody is outside the clinic are not for a screen.

/** [{ label, value }], the clinic's own number first. */
export function identifiersOf(patient) {
  const found = (patient.identifier ?? []).filter((identifier) => identifier.value && identifier.use !== "old");
  const code = (identifier) => identifier.type?.coding?.[0]?.code;
  const label = ({ type }) => known(`identifier.${type?.coding?.[0]?.code}`) ?? type?.text ?? type?.coding?.[0]?.display ?? t("patient.identifier");
  return found
    .filter((identifier) => !hidden.includes(code(identifier)))
    .sort((a, b) => Number(code(b) === "MR") - Number(code(a) === "MR"))
    .slice(0, 2)
    .map((identifier) => ({ label: label(identifier), value: identifier.value }));
}
