// The frame of the page: who is signed in, which view is shown, and that nothing of a patient outlives a session.
//
// Invariant: what is known of a patient is held by the view that shows it, under an AbortSignal. Ending a session aborts
// the view and empties the page. Neither the address nor the title nor the history ever names a patient: an entry of the
// history has a number, and what it stands for is kept here, in memory.
import { html, nothing, render } from "lit-html";
import { api, onSignedOut } from "./api.mjs";
import { bar } from "./bar.mjs";
import { dialog } from "./dialog.mjs";
import { countdown } from "./format.mjs";
import { language, languages, speak, t } from "./i18n.mjs";
import { inbox } from "./inbox.mjs";
import { newsLine, newsOf } from "./parts/news.mjs";
import { problem } from "./parts/problem.mjs";
import { sessions } from "./session.mjs";
import { keep, onSettings, rememberColleague, setting, showTheme } from "./settings.mjs";
import { homeOf, mayOpen, views } from "./views.mjs";

export function start(root) {
  let clinic;
  let shown;
  let entries = new Map();
  let nextEntry = 1;
  let asked = false;
  /** Until the present session ends; and who in the view wants to hear of events for this person. */
  let signedIn = new AbortController();
  const listeners = new Set();
  /** Results that this person asked for, by reference, until they are opened or dismissed. */
  let news = new Map();

  const session = sessions({
    onEnd: (why) => toSignIn({ message: t(why === "elsewhere" ? "session.elsewhere" : "session.ended") }),
    onOther: () => begin(),
    onChange: () => renderNow(),
  });
  onSignedOut(() => session.end());

  // Rendering: at most once a frame.
  const update = () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => asked && renderNow());
  };

  function renderNow() {
    asked = false;
    const user = session.current?.user;
    const bare = !user || shown?.name === "display";
    render(
      html`
        <a class="skip" href="#main" @click=${skip}>${t("app.skip")}</a>
        ${bare ? nothing : bar({ clinic, user, view: shown?.name, go, switchUser, signOut, settings })}
        ${bare ? nothing : [...news.values()].map(newsOne)}
        <main id="main" class=${`view-${shown?.name ?? "none"}`} tabindex="-1">${shown?.template() ?? nothing}</main>
        ${session.warning ? warningDialog(session.warning) : nothing}
        <div class="unseen" role="status">${shown?.news ?? ""}</div>
        <div class="unseen" role="alert">${shown?.urgent ?? ""}</div>
      `,
      root,
    );
  }

  function newsOne(one) {
    const dismiss = () => {
      news.delete(one.reference);
      renderNow();
      root.querySelector("main").focus();
    };
    const open = () => {
      news.delete(one.reference);
      go("chart", { id: one.patient });
    };
    return newsLine(one, { open, dismiss });
  }

  const skip = (event) => {
    event.preventDefault();
    root.querySelector("main").focus();
  };

  function warningDialog({ left, absolute }) {
    const name = "warning-title";
    return dialog(
      { name, onClose: absolute ? () => {} : session.stay, alert: true },
      html`
        <h2 id=${name}>${t("warning.title")}</h2>
        <p>${t(absolute ? "warning.absolute" : "warning.idle")}</p>
        <p class="countdown" role="timer">${countdown(left)}</p>
        <div class="actions">
          ${absolute ? nothing : html`<button type="button" class="primary" autofocus @click=${session.stay}>${t("warning.stay")}</button>`}
          <button type="button" class="secondary" @click=${signOut}>${t("app.signOut")}</button>
        </div>
      `,
    );
  }

  /** Shows a view in the place of the one before. `view(context)` gives the function that makes its template. */
  function show(name, view, params = {}) {
    shown?.leave.abort();
    const leave = new AbortController();
    const own = { name, leave, template: () => nothing, news: "", urgent: "" };
    shown = own;
    const context = {
      params,
      signal: leave.signal,
      user: session.current?.user,
      clinic: () => clinic,
      session,
      go,
      signOut,
      settings,
      /** Calls `listener(event)` for each event on this person's own channel, as long as the view is shown. */
      hear(listener) {
        listeners.add(listener);
        leave.signal.addEventListener("abort", () => listeners.delete(listener));
      },
      /** Says that something has changed. */
      update: () => !leave.signal.aborted && update(),
      /** Says something to those who hear the page. */
      announce(text, urgent = false) {
        own[urgent ? "urgent" : "news"] = text;
        if (!leave.signal.aborted) update();
      },
    };
    document.title = t("app.title", { page: t(`title.${name}`) });
    const failed = (error) => {
      if (leave.signal.aborted) return;
      console.error(error);
      own.template = () => problem(new Error(t("error.part")), () => location.reload());
      renderNow();
    };
    const made = (module) => {
      own.template = module(context);
      renderNow();
      window.scrollTo(0, 0);
      (root.querySelector("main [autofocus]") ?? root.querySelector("main h1"))?.focus();
    };
    if (view.now) return made(view.now);
    own.template = () => html`<p class="loading">${t("app.loading")}</p>`;
    renderNow();
    // A part that is not there any more: the server has another version than this page.
    view.load().then((loaded) => !leave.signal.aborted && made(loaded.default), failed);
  }

  /** Opens a view; `params` are kept in memory, under the number that the history's entry holds. */
  function go(name, params, { replace = false } = {}) {
    const entry = nextEntry++;
    entries.set(entry, params);
    history[replace ? "replaceState" : "pushState"]({ entry }, "", `#${name}`);
    show(name, views[name], params);
  }

  /** The view that the address names, or home. */
  function toAddress() {
    const { user } = session.current;
    const name = location.hash.slice(1);
    const params = entries.get(history.state?.entry);
    // A reload knows no patient any more: then home it is.
    if (Object.hasOwn(views, name) && mayOpen(name, user) && (params || !views[name].needs)) return show(name, views[name], params);
    go(...homeOf(user), { replace: true });
  }

  /** What goes on for as long as somebody is signed in. */
  function enter() {
    signedIn.abort();
    signedIn = new AbortController();
    news = new Map();
    const staff = session.current.user.role !== "patient";
    inbox(session.current.user, {
      signal: signedIn.signal,
      onEvent(event) {
        if (event.kind === "session") session.look();
        const result = staff && newsOf(event);
        if (result) news.set(result.reference, result);
        if (result) update();
        for (const listener of listeners) listener(event);
      },
    });
  }

  function toSignIn({ message, again, chosen } = {}) {
    signedIn.abort();
    news = new Map();
    entries = new Map();
    getSelection()?.removeAllRanges();
    history.replaceState(null, "", location.pathname);
    show("signIn", views.signIn, {
      message,
      again,
      chosen,
      async signIn(username, password, signal) {
        await session.signIn(username, password, signal);
        rememberColleague(username, session.current.user);
        enter();
        go(...homeOf(session.current.user), { replace: true });
      },
    });
  }

  function signOut() {
    // What the view holds, such as a lease, it gives back while it still may.
    shown?.leave.abort();
    const told = session.signOut();
    toSignIn();
    told.catch(() => toSignIn({ message: t("signOut.failed"), again: { label: t("signOut.again"), action: signOut } }));
  }

  /** For the next person at this workstation: everything of this one goes at once. */
  function switchUser() {
    if (session.current) signOut();
    else toSignIn();
  }

  async function turnTo(tag) {
    await speak(tag);
    document.documentElement.lang = language().locale;
    if (shown) document.title = t("app.title", { page: t(`title.${shown.name}`) });
    renderNow();
  }

  const settings = {
    language(tag) {
      keep("language", tag);
      return turnTo(tag);
    },
    theme(name) {
      keep("theme", name);
      showTheme();
      renderNow();
    },
  };

  /** From nothing: asks who is signed in. */
  async function begin() {
    signedIn.abort();
    shown?.leave.abort();
    shown = undefined;
    renderNow();
    try {
      await session.resume();
    } catch (error) {
      return toSignIn({ message: error.message, again: { label: t("app.retry"), action: begin } });
    }
    if (!session.current) return toSignIn();
    enter();
    toAddress();
  }

  // All languages, so that one can be chosen while the server is away as well.
  setTimeout(() => languages.forEach(({ load }) => load().catch(() => {})), 1_000);
  onSettings(() => {
    showTheme();
    turnTo(setting("language") ?? language().tag);
  });
  addEventListener("popstate", () => session.current && toAddress());
  addEventListener("keydown", (event) => {
    if (event.key !== "F8" || event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    switchUser();
  });
  // A page in the back-forward cache holds nothing, and asks again who is signed in when it comes back.
  addEventListener("pagehide", ({ persisted }) => {
    if (!persisted) return;
    signedIn.abort();
    shown?.leave.abort();
    shown = undefined;
    renderNow();
  });
  addEventListener("pageshow", ({ persisted }) => persisted && begin());
  // Ages go on by themselves.
  setInterval(() => !document.hidden && session.current && update(), 1_000);

  begin();
  api.get("/fhir/metadata", { background: true, signingIn: true }).then(
    ({ publisher }) => {
      clinic = publisher;
      update();
    },
    () => {},
  );
}
