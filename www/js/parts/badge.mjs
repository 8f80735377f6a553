// The early warning score: a number, a colour and a shape, so that none of the three has to be seen.
import { html, nothing, svg } from "lit-html";
import { t } from "../i18n.mjs";
import { levelOf } from "../model/news.mjs";

/** Round, square, square with a marked corner, lozenge, octagon: the more corners point out, the worse. */
const shapes = {
  none: svg`<circle cx="24" cy="24" r="19" />`,
  low: svg`<rect x="5" y="5" width="38" height="38" rx="7" />`,
  single: svg`<rect x="5" y="5" width="38" height="38" rx="7" /><path class="mark" d="M25 2h21v21z" />`,
  medium: svg`<path d="M24 1 47 24 24 47 1 24z" />`,
  high: svg`<path d="M15 2h18l13 13v18L33 46H15L2 33V15z" />`,
  unknown: svg`<circle cx="24" cy="24" r="19" />`,
};

/** What the score says, in words. */
export function scoreWords(score) {
  const level = levelOf(score);
  if (level === "unknown") return t("score.unknown");
  return t(score.partial ? "score.atLeast" : "score.is", { total: score.total, level: t(`level.${level}`) });
}

export function badge(score, { words = false } = {}) {
  const level = levelOf(score);
  return html`
    <span class=${`badge ${level} ${score?.partial ? "partial" : ""}`}>
      <svg viewBox="0 0 48 48" role="img" aria-label=${scoreWords(score)}>
        ${shapes[level]}
        <text x="24" y="25" text-anchor="middle" dominant-baseline="central">${level === "unknown" ? "–" : `${score.total}${score.partial ? "+" : ""}`}</text>
      </svg>
      ${words ? html`<span class="badge-words" aria-hidden="true">${t(`level.${level}`)}</span>` : nothing}
    </span>
  `;
}
