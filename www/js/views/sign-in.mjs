// Sign in; on a shared workstation with the names of those who work here, one key each.
import { html, nothing } from "lit-html";
import { live } from "lit-html/directives/live.js";
import { duration } from "../format.mjs";
import { t } from "../i18n.mjs";
import { choices } from "../parts/choices.mjs";
import { colleagues, keep, setting } from "../settings.mjs";

/**
 *   message, again  why one is here, and what can be done about it: { label, action }
 *   signIn          (username, password, signal) -> promise
 */
export default function signInView({ params, clinic, signal, settings, update }) {
  const { message, again, signIn } = params;
  let shared = Boolean(setting("shared"));
  let reveal = false;
  let busy = false;
  let problem = "";
  let said;
  const field = (name) => document.getElementById(name);

  const wrong = (text, focus, detail) => {
    [problem, said] = [text, detail];
    update();
    if (focus) requestAnimationFrame(() => field(focus)?.focus());
  };

  async function send(event) {
    event.preventDefault();
    if (busy) return;
    const username = field("username").value.trim();
    const password = field("password").value;
    if (!username || !password) return wrong(t("signIn.missing"), username ? "password" : "username");
    [busy, problem, said] = [true, "", undefined];
    update();
    try {
      await signIn(username, password, signal);
    } catch (error) {
      if (signal.aborted) return;
      busy = false;
      if (error.status === 401) {
        field("password").value = "";
        wrong(t("signIn.wrong"), "password");
      } else if (error.status === 429 && error.retryAfter) {
        wrong(t("signIn.wait", { duration: duration(error.retryAfter) }));
      } else wrong(error.message, undefined, error.said);
    }
  }

  const choose = (username) => {
    field("username").value = username;
    field("password").focus();
  };

  // A digit chooses a colleague, unless one is typing.
  addEventListener(
    "keydown",
    (event) => {
      const one = colleagues()[Number(event.key) - 1];
      if (!one || event.ctrlKey || event.altKey || event.metaKey || /^(INPUT|SELECT)$/.test(event.target.tagName)) return;
      event.preventDefault();
      choose(one.username);
    },
    { signal },
  );

  const share = ({ target }) => {
    shared = target.checked;
    keep("shared", shared);
    if (!shared) keep("colleagues", undefined);
    update();
  };

  const people = () => {
    const known = colleagues();
    if (!known.length) return nothing;
    return html`
      <div class="colleagues" role="group" aria-label=${t("signIn.colleagues")}>
        ${known.map(
          ({ username, name }, index) => html`
            <button type="button" class="secondary" aria-keyshortcuts=${index + 1} @click=${() => choose(username)}>
              <kbd>${index + 1}</kbd> ${name}
            </button>
          `,
        )}
      </div>
    `;
  };

  return () => html`
    <section class="sign-in card">
      <p class="sign-in-clinic"><img src="/icon.svg" alt="" width="40" height="40" /> ${clinic() ?? t("app.product")}</p>
      <h1 tabindex="-1">${t("title.signIn")}</h1>
      ${message
        ? html`<div class="notice" role="status">
            <p>${message}</p>
            ${again ? html`<button type="button" class="secondary" @click=${again.action}>${again.label}</button>` : nothing}
          </div>`
        : nothing}
      ${people()}
      <!-- method and action only so that nothing typed could land in an address if the script fails -->
      <form method="post" action="/session" novalidate @submit=${send}>
        <div class="field">
          <label for="username">${t("signIn.username")}</label>
          <input id="username" name="username" autocomplete=${shared ? "off" : "username"} autocapitalize="none" spellcheck="false"
            required ?autofocus=${!colleagues().length} aria-invalid=${problem ? "true" : "false"}
            aria-describedby=${problem ? "sign-in-problem" : nothing} />
        </div>
        <div class="field">
          <label for="password">${t("signIn.password")}</label>
          <div class="with-button">
            <input id="password" name="password" type=${reveal ? "text" : "password"} required
              autocomplete=${shared ? "off" : "current-password"} aria-invalid=${problem ? "true" : "false"}
              aria-describedby=${problem ? "sign-in-problem" : nothing} />
            <button type="button" class="reveal" aria-pressed=${String(reveal)} aria-label=${t("signIn.reveal")}
              @click=${() => { reveal = !reveal; update(); }}>
              ${t(reveal ? "signIn.hide" : "signIn.show")}
            </button>
          </div>
        </div>
        <div class="problem" id="sign-in-problem" role="alert" ?hidden=${!problem}>
          <p>${problem}</p>
          ${said ? html`<p class="said" lang="en">${said}</p>` : nothing}
        </div>
        <button class="primary wide" aria-disabled=${String(busy)}>${t(busy ? "signIn.busy" : "title.signIn")}</button>
        <label class="check"><input type="checkbox" .checked=${live(shared)} @change=${share} /> ${t("signIn.shared")}</label>
      </form>
    </section>
    ${choices(settings, "sign-in")}
  `;
}
