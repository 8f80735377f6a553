// A report or document in full. Text and pictures are shown; of anything else the page gives the file, and only when it is
// asked to, because a file stays on the device.
import { html, nothing } from "lit-html";
import { dialog } from "../dialog.mjs";
import { bytes as sized } from "../format.mjs";
import { t } from "../i18n.mjs";
import { attachmentsOf, documentsOf } from "../model/record.mjs";

const pictures = ["image/png", "image/jpeg", "image/gif", "image/webp"];
const endings = { "application/pdf": "pdf", "text/html": "html", "application/xml": "xml", "application/json": "json" };

const decoded = (data) => Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));

/** Its name says nothing of anybody. */
function save({ type, data }) {
  const url = URL.createObjectURL(new Blob([decoded(data)], { type }));
  const link = Object.assign(document.createElement("a"), { href: url, download: `document.${endings[type] ?? "bin"}` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

function part(one, title) {
  if (!one.data) return html`<p class="muted">${t("document.elsewhere", { url: one.url })}</p>`;
  if (one.type === "text/plain") return html`<div class="document-text">${new TextDecoder().decode(decoded(one.data))}</div>`;
  if (pictures.includes(one.type)) return html`<img class="document-picture" src=${`data:${one.type};base64,${one.data}`} alt=${one.title ?? title} />`;
  return html`
    <div class="actions"><button type="button" class="secondary" @click=${() => save(one)}>${t("document.save", { type: one.type, size: sized(one.bytes) })}</button></div>
    <p class="muted">${t("document.stays")}</p>
  `;
}

export function documentDialog({ update }) {
  let shown;
  const close = () => {
    shown = undefined;
    update();
  };
  return {
    open(resource) {
      shown = resource;
      update();
    },
    template() {
      if (!shown) return nothing;
      const [{ title, conclusion }] = documentsOf([shown]);
      return dialog(
        { name: "document-title", onClose: close, kind: "wide" },
        html`
          <h2 id="document-title" tabindex="-1" autofocus>${title}</h2>
          ${conclusion ? html`<p class="conclusion">${conclusion}</p>` : nothing} ${attachmentsOf(shown).map((one) => part(one, title))}
          <div class="actions"><button type="button" class="secondary" @click=${close}>${t("app.close")}</button></div>
        `,
      );
    },
  };
}
