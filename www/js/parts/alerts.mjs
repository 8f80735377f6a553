// Alerts: what is wrong with whom since when, and who has seen it.
import { html, nothing } from "lit-html";
import { age, number, time } from "../format.mjs";
import { t } from "../i18n.mjs";

/** What an alert says, without the patient. */
export function alertWords({ cause, parameter, bound, detail, reading_at }) {
  if (cause === "news2") return t("alert.news2", { total: detail.total, level: t(`level.${{ "low-medium": "single" }[detail.risk] ?? detail.risk}`) });
  if (cause === "silence") return reading_at ? t("alert.silenceSince", { time: time(Date.parse(reading_at)) }) : t("alert.silence");
  return t(bound === "low" ? "alert.below" : "alert.above", {
    sign: t(`parameter.${parameter}`),
    value: number(detail.value),
    limit: number(detail.limit),
  });
}

const icon = { high: "⬣", medium: "◆", "low-medium": "▲" };

/** One alert. `acknowledge` is what the button does; without it there is none. `name` is whose alert it says that it marks. */
export const alertLine = (alert, { name = "", busy, acknowledge } = {}) => html`
  <div class=${`alert ${alert.severity} ${alert.acknowledged ? "seen" : ""}`} data-alert=${alert.id}>
    <p class="alert-text">
      <span class="alert-icon" aria-hidden="true">${icon[alert.severity]}</span>
      ${alertWords(alert)}
      ${alert.level === "escalated" && !alert.acknowledged ? html`<strong class="tag">${t("alert.escalated")}</strong>` : nothing}
      ${alert.cleared_at ? html`<span class="tag">${t("alert.cleared")}</span>` : nothing}
      <span class="alert-age">${age(Date.parse(alert.raised_at))}</span>
    </p>
    ${alert.acknowledged
      ? html`<p class="alert-seen">${t("alert.seen", { name: alert.acknowledged.by.name, time: time(Date.parse(alert.acknowledged.at)) })}</p>`
      : acknowledge
        ? html`<button type="button" class="acknowledge" ?disabled=${busy} aria-label=${t("alert.acknowledgeFor", { name, what: alertWords(alert) })} @click=${acknowledge}>
            ${t("alert.acknowledge")}
          </button>`
        : nothing}
  </div>
`;
