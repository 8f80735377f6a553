// The page: which view is shown, and that nothing of a patient outlives a session.
//
// Invariant: what is known of a patient is held by the view that shows it, under an AbortSignal. Ending a session aborts
// the view and empties the page. Neither the address nor the title nor the history ever names a patient.
import { api, onSignedOut } from "./api.mjs";
import { el } from "./dom.mjs";
import { sessions } from "./session.mjs";
import { patientView } from "./views/patient.mjs";
import { patientsView } from "./views/patients.mjs";
import { signInView } from "./views/sign-in.mjs";
import { words } from "./words.mjs";

const bar = document.getElementById("bar");
const main = document.getElementById("main");
let clinic = words.product;
let shown;

const session = sessions({
  onEnd: (why) => toSignIn(why === "elsewhere" ? words.endedElsewhere : words.ended),
  onOther: () => begin(),
});
onSignedOut(() => session.end());

/** Shows a view in the place of the one before: `view({ signal, ... })` returns its element. */
function show(title, view, context = {}) {
  shown?.abort();
  shown = new AbortController();
  document.title = title;
  const element = view({ ...context, signal: shown.signal });
  main.replaceChildren(element);
  window.scrollTo(0, 0);
  (element.querySelector("[autofocus]") ?? element.querySelector("h1"))?.focus();
}

function showBar() {
  const brand = el("span", { class: "brand" }, el("img", { src: "/icon.svg", alt: "", width: 28, height: 28 }), el("span", {}, clinic));
  const user = session.current?.user;
  if (!user) return bar.replaceChildren(brand);
  const leave = el("button", { type: "button", class: "quiet", onclick: signOut }, words.signOut);
  bar.replaceChildren(
    brand,
    el(
      "p",
      { class: "who" },
      el("span", { class: "unseen" }, `${words.signedInAs} `),
      el("span", { class: "who-name" }, user.name),
      " ",
      el("span", { class: "who-role" }, words.role(user.role)),
    ),
    leave,
  );
}

function toSignIn(message, again) {
  // An entry made for an open patient is left behind; it holds no more than the word "patient", and that goes too.
  history.replaceState(null, "");
  show(words.titles.signIn, signInView, {
    clinic,
    message,
    again,
    signIn: session.signIn,
    onDone: () => {
      showBar();
      toPatients();
    },
  });
  showBar();
}

function toPatients() {
  show(words.titles.patients, patientsView, { onOpen: toPatient });
}

function toPatient(patient) {
  history.pushState({ view: "patient" }, "");
  show(words.titles.patient, patientView, { patient, onBack: () => history.back() });
}

addEventListener("popstate", () => {
  if (!session.current) return;
  if (history.state) history.replaceState(null, ""); // Forward to a patient: who it was is not known any more.
  toPatients();
});

function signOut() {
  const told = session.signOut();
  toSignIn();
  told.catch(() => toSignIn(words.signOutFailed, { label: words.signOutAgain, action: signOut }));
}

/** From nothing: asks who is signed in. */
async function begin() {
  shown?.abort();
  main.replaceChildren();
  try {
    await session.resume();
  } catch (error) {
    return toSignIn(error.message, { label: words.retry, action: begin });
  }
  if (!session.current) return toSignIn();
  history.replaceState(null, "");
  showBar();
  toPatients();
}

// A page out of the back-forward cache may be of a session that has ended.
addEventListener("pageshow", ({ persisted }) => persisted && begin());

showBar();
await begin();
api.get("/fhir/metadata", { background: true, signingIn: true }).then(
  ({ publisher }) => {
    if (!publisher) return;
    clinic = publisher;
    showBar();
  },
  () => {},
);
