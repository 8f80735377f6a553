// The diaries of the demonstration: what each doctor offers on the working days of the next six weeks, half an hour each, by the
// clock of the clinic.
import { coded } from "./chart.mjs";
import { staff } from "./people.mjs";

const services = "https://hospital.example/services";
const offered = [["follow-up", "Follow-up"], ["pre-admission", "Pre-admission clinic"]];
const days = 6 * 7;
const day = 24 * 60 * 60_000;
const times = ["09:00", "09:30", "10:00", "10:30", "11:00", "11:30", "12:00"];

/** Where the doctors see outpatients. */
export const clinic = {
  resourceType: "Location",
  id: "demo-clinic",
  status: "active",
  name: "Outpatients, Harrowmere General Hospital",
  mode: "instance",
  telecom: [{ system: "phone", value: "+44 1632 960007" }],
  address: { line: ["1 Infirmary Road"], city: "Harrowmere", postalCode: "HM1 100", country: "GB" },
};

/** How far the clocks of `zone` are before UTC at `instant`: "+01:00". */
function offset(instant, zone) {
  const format = new Intl.DateTimeFormat("en", { timeZone: zone, timeZoneName: "longOffset" });
  const { value } = format.formatToParts(instant).find(({ type }) => type === "timeZoneName");
  return value.slice("GMT".length) || "+00:00";
}

/** The instant at which clocks in `zone` show this, with their offset. */
function shown(date, time, zone) {
  const text = `${date}T${time}:00`;
  const near = offset(Date.parse(`${text}Z`), zone);
  return text + offset(Date.parse(text + near), zone);
}

/**
 * [Schedules, Slots] of the doctors, on the working days after that of `now` in `zone`, of the clinic: of this machine where
 * nothing else is said. The same day and time has the same ids whenever it is asked for.
 */
export function diaries({ now, zone = Intl.DateTimeFormat().resolvedOptions().timeZone }) {
  const doctors = staff.filter(({ role }) => role === "practitioner");
  const schedules = doctors.map(({ id, name }, index) => ({
    resourceType: "Schedule",
    id: `${id}-clinic`,
    active: true,
    serviceType: offered.slice(0, index + 1).map(([code, text]) => coded(services, code, text)),
    actor: [
      { reference: `Practitioner/${id}`, display: name },
      { reference: `Location/${clinic.id}`, display: clinic.name },
    ],
  }));
  const slots = [];
  const today = Date.parse(new Intl.DateTimeFormat("sv", { timeZone: zone }).format(now));
  for (let ahead = 1; ahead <= days; ahead += 1) {
    const then = new Date(today + ahead * day);
    if ([0, 6].includes(then.getUTCDay())) continue;
    const date = then.toISOString().slice(0, 10);
    for (const schedule of schedules) {
      for (let index = 0; index + 1 < times.length; index += 1) {
        slots.push({
          resourceType: "Slot",
          id: `${schedule.id}-${date}-${index + 1}`,
          schedule: { reference: `Schedule/${schedule.id}` },
          status: "free",
          start: shown(date, times[index], zone),
          end: shown(date, times[index + 1], zone),
        });
      }
    }
  }
  return [schedules, slots];
}
