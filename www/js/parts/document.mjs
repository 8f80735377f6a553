// A report or document in full. Text and pictures are shown; of anything else the page gives the file, and only when it is
// asked to, because a file stays on the device.
import { html, nothing } from "lit-html";
import { dialog } from "../dialog.mjs";
import { bytes as sized } from "../format.mjs";
import { t } from "../i18n.mjs";
import { attachmentsOf, decoded, documentsOf } from "../model/record.mjs";

const pictures = ["image/png", "image/jpeg", "image/gif", "image/webp"];
const endings = { "application/pdf": "pdf", "text/html": "html", "application/xml": "xml", "application/json": "json" };

/** Its name says nothing of anybody. */
function save({ type, bytes }) {
  const url = URL.createObjectURL(new Blob([bytes], { type }));
  const link = Object.assign(document.createElement("a"), { href: url, download: `document.${endings[type] ?? "bin"}` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

function part(one, title) {
  if (!one.data) return html`<p class="muted">${t("document.elsewhere", { url: one.url })}</p>`;
  if (!one.bytes) return html`<p class="muted">${t("document.broken")}</p>`;
  if (one.text !== undefined) return html`<div class="document-text">${one.text}</div>`;
  if (pictures.includes(one.type)) return html`<img class="document-picture" src=${`data:${one.type};base64,${one.data}`} alt=${one.title ?? title} />`;
  return html`
    <div class="actions"><button type="button" class="secondary" @click=${() => save(one)}>${t("document.save", { type: one.type, size: sized(one.bytes.length) })}</button></div>
    <p class="muted">${t("document.stays")}</p>
  `;
}

export function documentDialog({ update }) {
  /** What is read: { title, conclusion, attachments }, decoded once and not at each drawing. */
  let shown;
  const close = () => {
    shown = undefined;
    update();
  };
  return {
    open(resource) {
      const [{ title, conclusion }] = documentsOf([resource]);
      shown = { title, conclusion, attachments: attachmentsOf(resource).map(decoded) };
      update();
    },
    template() {
      if (!shown) return nothing;
      const { title, conclusion, attachments } = shown;
      return dialog(
        { name: "document-title", onClose: close, kind: "wide" },
        html`
          <h2 id="document-title" tabindex="-1" autofocus>${title}</h2>
          ${conclusion ? html`<p class="conclusion">${conclusion}</p>` : nothing} ${attachments.map((one) => part(one, title))}
          <div class="actions"><button type="button" class="secondary" @click=${close}>${t("app.close")}</button></div>
        `,
      );
    },
  };
}
