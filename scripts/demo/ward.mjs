// Wards full of invented patients as FHIR R4 resources with ids of their own, for the demonstration, tests and benchmarks.
// The same options give the same wards, except for the dates, which are relative to `now`, and who was on shift at them.
import { chart, coded, terminology } from "./chart.mjs";
import { clinic, diaries } from "./diary.mjs";
import { staff } from "./people.mjs";
import { chance, seedOf } from "./random.mjs";

export const hospital = {
  resourceType: "Organization",
  id: "demo-hospital",
  active: true,
  type: [coded(terminology("organization-type"), "prov", "Healthcare Provider")],
  name: "Harrowmere General Hospital",
};
const ofHospital = { reference: `Organization/${hospital.id}`, display: hospital.name };

const practitioners = staff.map(({ id, given, family, prefix, name }) => ({
  resourceType: "Practitioner",
  id,
  active: true,
  name: [{ use: "official", text: name, family, given: [given], ...(prefix && { prefix: [prefix] }) }],
  identifier: [{ system: "https://hospital.example/staff", value: id }],
}));

const location = (id, name, [code, text], partOf) => ({
  resourceType: "Location",
  id,
  status: "active",
  name,
  mode: "instance",
  physicalType: coded(terminology("location-physical-type"), code, text),
  managingOrganization: ofHospital,
  ...(partOf && { partOf }),
});

/**
 * One ward: `patients` of them, each in a bed. Gives a list of waves, lists of resources that refer only to resources of
 * the waves before, so that each wave may be written in any order: place and staff, beds and patients, stays, charts,
 * reports.
 *   id, name   of the ward's Location; beds are `${id}-bed-01` and so on
 *   patients   how many
 *   first      number of the first: ids are `${prefix}-patient-01` and so on, in as many digits as the last needs
 *   prefix     of all ids of charts
 *   seed       another one gives other charts
 *   now        milliseconds
 */
export function ward({ id = "ward-7", name = "Ward 7 North", patients = 24, first = 1, prefix = "demo", seed = 7, now }) {
  const label = (number, last) => String(number).padStart(Math.max(2, String(last).length), "0");
  const place = location(id, name, ["wa", "Ward"]);
  const inWard = { reference: `Location/${id}`, display: name };
  const waves = [[hospital, place, ...practitioners], [], [], [], []];
  for (let index = 0; index < patients; index += 1) {
    const number = first + index;
    const bedLabel = label(index + 1, patients);
    const bed = location(`${id}-bed-${bedLabel}`, `${name}, bed ${bedLabel}`, ["bd", "Bed"], inWard);
    const parts = chart({
      prefix,
      number,
      label: label(number, first + patients - 1),
      bed: { reference: `Location/${bed.id}`, display: bed.name },
      hospital: ofHospital,
      doctors: staff.filter(({ role }) => role === "practitioner"),
      nurses: staff.filter(({ role }) => role === "nurse"),
      now: now ?? Date.now(),
      dice: chance(seedOf(seed, prefix, number)),
    });
    waves[1].push(bed);
    parts.forEach((part, wave) => waves[wave + 1].push(...part));
  }
  return waves;
}

/** The demonstration: ward 7 with 24 patients, ward 8 with one whom nobody of ward 7 alone reaches. As `ward`. */
export function demonstration({ now = Date.now() } = {}) {
  const north = ward({ now });
  const south = ward({ id: "ward-8", name: "Ward 8 South", patients: 1, first: 25, now });
  // The hospital and its staff are in both.
  const seen = new Set();
  const fresh = ({ resourceType, id }) => !seen.has(`${resourceType}/${id}`) && seen.add(`${resourceType}/${id}`);
  const waves = north.map((wave, index) => [...wave, ...south[index]].filter(fresh));
  const [schedules, slots] = diaries({ now });
  waves[0].push(clinic);
  waves[1].push(...schedules);
  waves[2].push(...slots);
  return waves;
}

/** Written last of all: where it is, the demonstration is complete. */
export const marker = {
  resourceType: "Organization",
  id: "demo-ward",
  active: true,
  type: [coded(terminology("organization-type"), "dept", "Hospital Department")],
  name: "Ward 7 North",
  partOf: ofHospital,
};
