// What went wrong, and what to do about it.
import { html, nothing } from "lit-html";
import { t } from "../i18n.mjs";

/** `again` is what "try again" does, if that may help. */
export const problem = (error, again) => html`
  <div class="problem" role="alert">
    <p>${error.message}</p>
    ${error.said ? html`<p class="said" lang="en">${error.said}</p>` : nothing}
    ${again ? html`<button type="button" class="secondary" @click=${again}>${t("app.retry")}</button>` : nothing}
  </div>
`;
