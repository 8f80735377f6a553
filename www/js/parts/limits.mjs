// The limits of one patient, in a dialog.
import { html, nothing } from "lit-html";
import { api } from "../api.mjs";
import { dialog } from "../dialog.mjs";
import { t } from "../i18n.mjs";
import { bodyOf, fieldsOf, limited } from "../model/limits.mjs";
import { problem } from "./problem.mjs";

/** { open(), template() } of the dialog. */
export function limitsDialog(patient, { signal, update, announce }) {
  const path = `/patients/${encodeURIComponent(patient)}/thresholds`;
  let open = false;
  let known;
  let fields;
  let failure;
  let wrong;
  let busy = false;

  async function load() {
    failure = undefined;
    try {
      known = await api.get(path, { signal });
      fields = fieldsOf(known);
    } catch (error) {
      failure = error;
    }
    update();
  }

  async function save(event) {
    event.preventDefault();
    const { body, wrong: field } = bodyOf(fields, known);
    wrong = field;
    failure = undefined;
    if (wrong) {
      update();
      document.getElementById(`limit-${wrong}`)?.focus();
      return;
    }
    busy = true;
    update();
    try {
      await api.put(path, body, { headers: { "If-Match": `W/"${known.version}"` }, signal });
      open = false;
      announce(t("limits.saved"));
    } catch (error) {
      failure = error;
    }
    busy = false;
    update();
  }

  const close = () => {
    open = false;
    update();
  };
  const set = ({ target }) => {
    fields[target.name] = target.value;
  };
  const number = (parameter, bound) => {
    const name = `${parameter}.${bound}`;
    return html`<td><input id=${`limit-${name}`} name=${name} inputmode="decimal" autocomplete="off" .value=${fields[name]} @input=${set}
      aria-label=${t(bound === "low" ? "limits.lowOf" : "limits.highOf", { sign: t(`parameter.${parameter}`) })}
      aria-invalid=${wrong === name ? "true" : "false"} aria-describedby=${wrong === name ? "limits-wrong" : nothing} /></td>`;
  };

  const form = () => html`
    <form @submit=${save} novalidate>
      <table class="limits">
        <thead><tr><th scope="col">${t("plot.sign")}</th><th scope="col">${t("limits.low")}</th><th scope="col">${t("limits.high")}</th></tr></thead>
        <tbody>${limited.map((parameter) => html`<tr><th scope="row">${t(`parameter.${parameter}`)}</th>${number(parameter, "low")}${number(parameter, "high")}</tr>`)}</tbody>
      </table>
      ${wrong ? html`<p class="problem" id="limits-wrong" role="alert">${t("limits.wrong")}</p>` : nothing}
      <div class="field">
        <label for="spo2_scale">${t("limits.scale")}</label>
        <select id="spo2_scale" name="spo2_scale" @change=${set}>
          ${["1", "2"].map((scale) => html`<option value=${scale} ?selected=${fields.spo2_scale === scale}>${t(`scale.${scale}`)}</option>`)}
        </select>
      </div>
      <div class="field">
        <label for="monitoring">${t("limits.monitoring")}</label>
        <select id="monitoring" name="monitoring" @change=${set}>
          ${["auto", "on", "off"].map((mode) => html`<option value=${mode} ?selected=${fields.monitoring === mode}>${t(`monitoring.${mode}`)}</option>`)}
        </select>
      </div>
      <div class="actions">
        <button class="primary" ?disabled=${busy}>${t("app.save")}</button>
        <button type="button" class="secondary" @click=${close}>${t("app.cancel")}</button>
      </div>
    </form>
  `;

  return {
    open() {
      [open, fields, wrong] = [true, undefined, undefined];
      update();
      load();
    },
    template: () =>
      open
        ? dialog(
            { name: "limits-title", onClose: close },
            html`
              <h2 id="limits-title" tabindex="-1" autofocus>${t("limits.title")}</h2>
              <p class="muted">${t("limits.help")}</p>
              ${failure ? problem(failure, fields ? undefined : load) : nothing}
              ${fields
                ? form()
                : html`${failure ? nothing : html`<p class="muted">${t("app.loading")}</p>`}
                    <div class="actions"><button type="button" class="secondary" @click=${close}>${t("app.cancel")}</button></div>`}
            `,
          )
        : nothing,
  };
}
