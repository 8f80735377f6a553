// The accounts of the demonstration. Their one password is printed for everybody to see: never make them anywhere else.
import { staff } from "./people.mjs";

export const DEMO_PASSWORD = "bedside-demo-ward-seven";

/** The first account, made with the setup token. */
export const admin = { username: "admin", name: "Demo Administrator", role: "admin" };

/** All others, made by it; `about` is for the console only. */
export function accounts(patientsOfWard7) {
  const [first] = patientsOfWard7;
  const patients = patientsOfWard7.map(({ id }) => id);
  const wards = (list) => list.map((id) => id.replace("-", " ")).join(" and ");
  return [
    ...staff.map(({ username, name, role, wards: own, shift, id: practitioner }) => ({
      account: { username, name, role, wards: own, practitioner },
      about: `${wards(own)}${shift === "night" ? ", night" : ""}`,
    })),
    {
      account: { username: "patient.01", name: first.name[0].text, role: "patient", patient: first.id },
      about: `is Patient/${first.id}`,
    },
    {
      account: { username: "monitor.7", name: "Monitors of ward 7", role: "device", patients },
      about: `posts for the ${patients.length} patients of ward 7`,
    },
    {
      account: { username: "board.7", name: "Board of ward 7", role: "display", wards: ["ward-7"] },
      about: "shows ward 7",
    },
  ];
}
