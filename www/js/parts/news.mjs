// Results that were asked for by whoever is signed in, above whatever view is shown, until they are opened or dismissed.
import { html } from "lit-html";
import { known, t } from "../i18n.mjs";
import { documentsOf } from "../model/record.mjs";

const subjectOf = ({ subject }) => subject?.reference?.replace(/^Patient\//, "");

/** What an event of kind `diagnosis` on one's own channel says: { reference, title, status, patient }; undefined if nothing. */
export function newsOf({ kind, data }) {
  const [found] = kind === "diagnosis" && data.resource ? documentsOf([data.resource]) : [];
  return found && { reference: data.reference, title: found.title, status: found.status, patient: subjectOf(found.resource) };
}

export const newsLine = ({ reference, title, status }, { open, dismiss }) => html`
  <div class="news" role="status" data-news=${reference}>
    <p>${t("news.result", { title, status: known(`report.${status}`, status) })}</p>
    <button type="button" class="secondary" @click=${open}>${t("news.open")}</button>
    <button type="button" class="quiet" @click=${dismiss}>${t("news.dismiss")}</button>
  </div>
`;
