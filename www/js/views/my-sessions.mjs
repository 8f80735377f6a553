// Where one is signed in, and how to end it there.
import { html, nothing } from "lit-html";
import { api } from "../api.mjs";
import { age, time } from "../format.mjs";
import { t } from "../i18n.mjs";
import { problem } from "../parts/problem.mjs";

export default function sessionsView({ signal, update, announce, signOut }) {
  let sessions;
  let failure;
  let busy = false;

  async function load() {
    try {
      ({ sessions } = await api.get("/sessions", { signal }));
      failure = undefined;
    } catch (error) {
      failure = error;
    }
    update();
  }
  load();

  const end = (path, word) => async () => {
    busy = true;
    update();
    try {
      await api.delete(path, { signal });
      announce(t(word));
      await load();
    } catch (error) {
      failure = error;
    }
    busy = false;
    update();
  };

  const row = ({ id, device, first_seen, last_seen, current }) => html`
    <li class="session-row">
      <div>
        <p class="row-title">${device} ${current ? html`<span class="tag">${t("sessions.current")}</span>` : nothing}</p>
        <p class="row-more">
          ${t("sessions.since", { time: time(Date.parse(first_seen)) })} · ${t("sessions.used", { age: age(Date.parse(last_seen)) })}
        </p>
      </div>
      ${current
        ? html`<button type="button" class="secondary" @click=${signOut}>${t("app.signOut")}</button>`
        : html`<button type="button" class="danger" ?disabled=${busy} aria-label=${t("sessions.endOf", { device })} @click=${end(`/sessions/${id}`, "sessions.ended")}>
            ${t("sessions.end")}
          </button>`}
    </li>
  `;

  return () => html`
    <section class="list sessions" aria-busy=${String(!sessions && !failure)}>
      <div class="list-head">
        <div>
          <h1 tabindex="-1">${t("title.sessions")}</h1>
          <p class="muted">${t("sessions.help")}</p>
        </div>
        ${sessions?.length > 1
          ? html`<button type="button" class="danger" ?disabled=${busy} @click=${end("/sessions", "sessions.othersEnded")}>${t("sessions.endOthers")}</button>`
          : nothing}
      </div>
      ${failure ? problem(failure, load) : nothing}
      ${sessions ? html`<ul class="rows card" role="list">${sessions.map(row)}</ul>` : failure ? nothing : html`<p class="loading">${t("app.loading")}</p>`}
    </section>
  `;
}
