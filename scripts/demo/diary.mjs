// The diaries of the demonstration: what each doctor offers on the next working days, half an hour each.
import { coded } from "./chart.mjs";
import { staff } from "./people.mjs";

const services = "https://hospital.example/services";
const offered = [["follow-up", "Follow-up"], ["pre-admission", "Pre-admission clinic"]];
const days = 5;
const half = 30 * 60_000;

/** [Schedules, Slots] of the doctors on the `days` working days after `now`. */
export function diaries({ now }) {
  const doctors = staff.filter(({ role }) => role === "practitioner");
  const schedules = doctors.map(({ id, name }, index) => ({
    resourceType: "Schedule",
    id: `${id}-clinic`,
    active: true,
    serviceType: offered.slice(0, index + 1).map(([code, text]) => coded(services, code, text)),
    actor: [{ reference: `Practitioner/${id}`, display: name }],
  }));
  const slots = [];
  const day = new Date(now);
  for (let found = 0; found < days; ) {
    day.setUTCDate(day.getUTCDate() + 1);
    if ([0, 6].includes(day.getUTCDay())) continue;
    found += 1;
    const date = day.toISOString().slice(0, 10);
    for (const schedule of schedules) {
      for (let index = 0; index < 6; index += 1) {
        const start = Date.parse(`${date}T09:00:00Z`) + index * half;
        slots.push({
          resourceType: "Slot",
          id: `${schedule.id}-${date}-${index + 1}`,
          schedule: { reference: `Schedule/${schedule.id}` },
          status: "free",
          start: new Date(start).toISOString(),
          end: new Date(start + half).toISOString(),
        });
      }
    }
  }
  return [schedules, slots];
}
