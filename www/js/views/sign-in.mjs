// Sign in.
import { el, setText } from "../dom.mjs";
import { words } from "../words.mjs";

/**
 *   message, again  why one is here, and what can be done about it: { label, action }
 *   signIn          (username, password, signal) -> promise
 */
export function signInView({ message, again, signIn, onDone, signal }) {
  const say = words.signIn;
  const username = el("input", {
    id: "username", name: "username", autocomplete: "username", autocapitalize: "none", spellcheck: "false",
    required: true, autofocus: true,
  });
  const password = el("input", {
    id: "password", name: "password", type: "password", autocomplete: "current-password", required: true,
  });
  const reveal = el(
    "button",
    {
      type: "button", class: "reveal", "aria-pressed": "false", "aria-label": say.showPassword,
      onclick() {
        const visible = password.type === "text";
        password.type = visible ? "password" : "text";
        reveal.setAttribute("aria-pressed", String(!visible));
        setText(reveal, visible ? say.show : say.hide);
      },
    },
    say.show,
  );
  const submit = el("button", { class: "primary" }, say.submit);
  const problem = el("p", { id: "problem", class: "problem", role: "alert" });

  const wrong = (text, field) => {
    setText(problem, text);
    for (const input of [username, password]) {
      input.setAttribute("aria-invalid", "true");
      input.setAttribute("aria-describedby", "problem");
    }
    field.focus();
  };

  async function send(event) {
    event.preventDefault();
    if (submit.getAttribute("aria-disabled") === "true") return;
    setText(problem, "");
    if (!username.value.trim() || !password.value) {
      return wrong(say.missing, username.value.trim() ? password : username);
    }
    submit.setAttribute("aria-disabled", "true");
    setText(submit, say.busy);
    try {
      await signIn(username.value.trim(), password.value, signal);
      password.value = "";
      onDone();
    } catch (error) {
      if (signal.aborted) return;
      if (error.status === 401) {
        password.value = "";
        wrong(say.wrong(error.said), password);
      } else setText(problem, error.message ?? String(error));
    } finally {
      submit.removeAttribute("aria-disabled");
      setText(submit, say.submit);
    }
  }

  return el(
    "section",
    { class: "sign-in card" },
    el("h1", { tabindex: "-1" }, say.heading),
    message &&
      el(
        "div",
        { class: "notice", role: "status" },
        el("p", {}, message),
        again && el("button", { type: "button", class: "quiet", onclick: again.action }, again.label),
      ),
    // method and action only so that nothing typed could land in an address if the script fails.
    el(
      "form",
      { method: "post", action: "/session", novalidate: true, onsubmit: send },
      el("div", { class: "field" }, el("label", { for: "username" }, say.username), username),
      el(
        "div",
        { class: "field" },
        el("label", { for: "password" }, say.password),
        el("div", { class: "with-button" }, password, reveal),
      ),
      problem,
      submit,
    ),
  );
}
