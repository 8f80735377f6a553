// What this browser remembers of the people who use it: language, colours, and on a shared workstation the names under
// which staff sign in. Never anything of a patient: the name of a patient's own account is not kept either.
const key = "bedside.settings";
/** So many staff names fit under the digits of a keyboard. */
const mostNames = 9;

const read = () => {
  try {
    return JSON.parse(localStorage.getItem(key)) ?? {};
  } catch {
    return {}; // Storage may be closed to us; the page works without.
  }
};

export const setting = (name) => read()[name];

/** Calls `listener` when another window of this browser has changed a setting. */
export const onSettings = (listener) => addEventListener("storage", (event) => event.key === key && listener());

export function keep(name, value) {
  try {
    localStorage.setItem(key, JSON.stringify({ ...read(), [name]: value }));
  } catch {
    // As above.
  }
}

export const themes = ["system", "light", "dark", "night"];
export const theme = () => (themes.includes(setting("theme")) ? setting("theme") : "system");
export const showTheme = () => {
  document.documentElement.dataset.theme = theme();
};

/** The staff who signed in here last, the latest first: [{ username, name }]. */
export const colleagues = () => (setting("shared") && Array.isArray(setting("colleagues")) ? setting("colleagues") : []);

const staff = ["admin", "practitioner", "nurse"];
export function rememberColleague(username, { name, role }) {
  if (!setting("shared") || !staff.includes(role)) return;
  const others = colleagues().filter((one) => one.username !== username);
  keep("colleagues", [{ username, name }, ...others].slice(0, mostNames));
}
