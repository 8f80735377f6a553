// The views: what each needs, who may open it, and which is home for whom. Those that a ward needs at once are here, the
// others are loaded when they are asked for.
import board from "./views/board.mjs";
import signIn from "./views/sign-in.mjs";

const staff = ["admin", "practitioner", "nurse"];

/** `now` or `load` gives the view; `needs` says that it shows something that only a link can name. */
export const views = {
  signIn: { now: signIn, roles: [] },
  board: { now: board, roles: staff },
  display: { load: () => import("./views/display.mjs"), roles: ["display"] },
  patients: { load: () => import("./views/patients.mjs"), roles: staff },
  chart: { load: () => import("./views/chart.mjs"), roles: [...staff, "patient"], needs: true },
  booking: { load: () => import("./views/booking.mjs"), roles: [...staff, "patient"] },
  import: { load: () => import("./views/import.mjs"), roles: ["admin"] },
  sessions: { load: () => import("./views/my-sessions.mjs"), roles: [...staff, "patient"] },
};

export const mayOpen = (name, { role }) => views[name].roles.includes(role);

/** [view, params] that a person sees first. */
export function homeOf({ role, patient }) {
  if (role === "display") return ["display", undefined];
  if (role === "patient") return ["chart", { id: patient, own: true }];
  return ["board", undefined];
}

/** The views that the bar leads to. */
const leads = ["board", "patients", "booking", "import"];
export const ways = (user) => (user.role === "patient" ? ["chart", "booking"] : leads.filter((name) => mayOpen(name, user)));
