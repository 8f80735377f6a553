// Which bed each patient is in, as far as one page of open stays tells. A help in the list, never needed by it.
import { page } from "./api.mjs";

const open = ["arrived", "triaged", "in-progress", "onleave"];

/** Resolves with a Map from patient id to the name of the bed. */
export async function beds(signal) {
  const options = { background: true, signal };
  const [stays, places] = await Promise.all([
    page("/fhir/Encounter?_count=200", options),
    page("/fhir/Location?_count=200", options),
  ]);
  const names = new Map(places.resources.map((place) => [`Location/${place.id}`, place.name]));
  const found = new Map();
  for (const stay of stays.resources) {
    if (!open.includes(stay.status)) continue;
    const here = (stay.location ?? []).filter(({ status }) => status === undefined || status === "active").at(-1)?.location;
    const name = here && (here.display ?? names.get(here.reference));
    const patient = stay.subject?.reference?.replace(/^Patient\//, "");
    if (name && patient) found.set(patient, name);
  }
  return found;
}
