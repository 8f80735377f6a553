// Who the patient is: two identifiers, and the allergies always in sight.
import { html, nothing } from "lit-html";
import { dateOf } from "../format.mjs";
import { t } from "../i18n.mjs";
import { birthOf, genderOf, identifiersOf, nameOf } from "../model/people.mjs";

/** `kind` "more-of" is what a phone has no room for. */
const fact = (label, value, kind = "") => (value ? html`<div class=${kind}><dt>${label}</dt><dd>${value}</dd></div>` : nothing);

/** `allergies` is what record.mjs makes of them; undefined while they are not known. */
function allergyLine(allergies, failed) {
  if (failed) return html`<p class="allergies unknown">${t("allergies.failed")}</p>`;
  if (!allergies) return html`<p class="allergies unknown">${t("allergies.loading")}</p>`;
  if (!allergies.list.length) return html`<p class="allergies none">${t(allergies.none ? "allergies.none" : "allergies.unrecorded")}</p>`;
  return html`
    <div class="allergies some">
      <b class="allergies-label">${t("allergies.title")}</b>
      <ul role="list">
        ${allergies.list.map(
          ({ text, reactions, high }) => html`
            <li class=${high ? "high" : ""}>
              ${text}${reactions.length ? html` <span class="reaction">${reactions.join(", ")}</span>` : nothing}
              ${high ? html`<strong class="tag">${t("allergies.high")}</strong>` : nothing}
            </li>
          `,
        )}
      </ul>
    </div>
  `;
}

export const who = ({ patient, bed, allergies, failed, beside = nothing }) => html`
  <header class="who-card">
    <div class="who-main">
      <h1 tabindex="-1">${patient ? nameOf(patient) : t("app.loading")}</h1>
      ${patient
        ? html`<dl class="facts">
            ${fact(t("patients.born"), birthOf(patient))} ${fact(t("patient.sex"), genderOf(patient))}
            ${identifiersOf(patient).length
              ? identifiersOf(patient).map(({ label, value }, index) => fact(label, value, index ? "more-of" : ""))
              : fact(t("patient.identifier"), t("patient.noIdentifier"))}
            ${fact(t("patient.bed"), bed)} ${fact(t("patient.deceased"), patient.deceasedDateTime && dateOf(patient.deceasedDateTime))}
          </dl>`
        : nothing}
      ${beside}
    </div>
    ${allergyLine(allergies, failed)}
  </header>
`;
