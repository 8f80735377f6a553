// Loading FHIR Bundles from files of this device. Each file is one request under a key that is its own SHA-256, so that a
// file sent again, here or by `make import`, doubles nothing.
import { html, nothing } from "lit-html";
import { ApiError, request } from "../api.mjs";
import { number } from "../format.mjs";
import { t } from "../i18n.mjs";

/** The most that the server takes in one request. */
const limit = 1 << 20;
const tries = 4;

const hex = (bytes) => [...new Uint8Array(bytes)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Reads a file and sends it: { entries, made }; rejects with an Error that says what is wrong with it. */
async function load(file, signal) {
  if (file.size > limit) throw new Error(t("import.tooLarge"));
  const bytes = await file.arrayBuffer();
  let bundle;
  try {
    bundle = JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    throw new Error(t("import.noJson"));
  }
  if (bundle?.resourceType !== "Bundle" || !["transaction", "batch"].includes(bundle.type)) throw new Error(t("import.noBundle"));
  // A batch that creates would double when it is sent again.
  if (bundle.type === "batch" && bundle.entry?.some((entry) => entry?.request?.method === "POST")) throw new Error(t("import.batch"));
  const key = hex(await crypto.subtle.digest("SHA-256", bytes));
  const options = { body: bundle, headers: { "Content-Type": "application/fhir+json", "Idempotency-Key": key }, signal };
  for (let attempt = 1; ; attempt += 1) {
    try {
      const { body } = await request("POST", "/fhir", options);
      const statuses = (body.entry ?? []).map(({ response }) => response?.status ?? "");
      const refused = statuses.filter((status) => status >= "4").length;
      if (refused) throw new Error(t("import.refused", { n: refused }));
      return { entries: statuses.length, made: statuses.filter((status) => status.startsWith("201")).length };
    } catch (error) {
      // Under its key it may be sent again whatever became of it.
      const passing = error instanceof ApiError && [0, 429, 503, 504].includes(error.status);
      if (!passing || attempt === tries) throw error;
      await pause(error.retryAfter ?? 1_000 * 2 ** attempt);
      signal.throwIfAborted();
    }
  }
}

export default function importView({ signal, update, announce }) {
  /** [{ name, state: "waiting" | "sending" | "done" | "failed", entries, made, error }] */
  let files = [];
  let running = false;

  async function send(chosen) {
    files = chosen.map((file) => ({ name: file.name, state: "waiting", file }));
    running = true;
    update();
    for (const one of files) {
      one.state = "sending";
      update();
      try {
        Object.assign(one, await load(one.file, signal), { state: "done" });
      } catch (error) {
        if (signal.aborted) return;
        Object.assign(one, { state: "failed", error });
      }
      one.file = undefined;
      update();
    }
    running = false;
    announce(t("import.over", { n: count("done"), failed: count("failed") }));
  }

  const count = (state) => files.filter((one) => one.state === state).length;

  const outcome = ({ state, entries, made, error }) => {
    if (state === "done") return t("import.done", { n: entries, made: number(made) });
    if (state === "failed") return html`${error.message} ${error.said ? html`<span class="said" lang="en">${error.said}</span>` : nothing}`;
    return t(state === "sending" ? "import.sending" : "import.waiting");
  };

  return () => html`
    <section class="list import" aria-busy=${String(running)}>
      <h1 tabindex="-1">${t("title.import")}</h1>
      <p class="muted">${t("import.help")}</p>
      <div class="field">
        <label for="files">${t("import.files")}</label>
        <input id="files" type="file" multiple accept=".json,application/json,application/fhir+json" ?disabled=${running}
          @change=${({ target }) => target.files.length && send([...target.files])} />
      </div>
      ${files.length
        ? html`
            <p class="progress">
              <label>${t("import.progress", { n: count("done") + count("failed"), all: files.length })}
                <progress max=${files.length} value=${count("done") + count("failed")}></progress></label>
            </p>
            <ul class="rows card" role="list">
              ${files.map((one) => html`<li class=${one.state === "failed" ? "failed" : ""}><span class="row-title">${one.name}</span> <span class="row-more">${outcome(one)}</span></li>`)}
            </ul>
          `
        : nothing}
    </section>
  `;
}
