// The state of a live connection in words, with the time of the last event.
import { html, nothing } from "lit-html";
import { exactTime, time } from "../format.mjs";
import { t } from "../i18n.mjs";

function sentence(state) {
  const lost = state.lostAt === null ? undefined : time(state.lostAt);
  switch (state.phase) {
    case "live":
      return t("connection.live");
    case "connecting":
    case "waiting":
      if (lost) return t("connection.lost", { time: lost });
      return t(state.attempt ? "connection.notYet" : "connection.connecting");
    case "offline":
      return lost ? t("connection.lostOffline", { time: lost }) : t("connection.offline");
    case "ended":
      return state.ended?.message ?? t("connection.ended");
    default:
      return "";
  }
}

/** What was missed, and whether it has been read again; nothing where nothing was. */
function missed({ gap, reread }) {
  if (!gap) return nothing;
  const what = gap.after === null ? t("gap.before", { at: time(gap.at) }) : t("gap.between", { after: time(Date.parse(gap.after)), at: time(gap.at) });
  return html`<p class="notice">${what} ${t(reread?.why === "gap" ? "gap.rereading" : "gap.reread")}</p>`;
}

/** `state` is that of recovery.mjs; `lastEvent` a time known otherwise; `more` what stands beside it. */
export const connection = (state, { retry, lastEvent, more = nothing } = {}) => {
  const last = state.lastEvent ?? lastEvent;
  return html`
    <div class="strip" data-phase=${state.phase}>
      <p class="status" role="status">${sentence(state)}</p>
      ${last ? html`<p class="last-event">${t("connection.lastEvent", { time: exactTime(Date.parse(last)) })}</p>` : nothing}
      ${state.phase === "waiting" ? html`<button type="button" class="quiet" @click=${retry}>${t("connection.tryNow")}</button>` : nothing}
      ${more}
    </div>
    <div role="status">${missed(state)}</div>
  `;
};
