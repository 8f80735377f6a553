// Choosing language and colours.
import { html } from "lit-html";
import { language, languages, t } from "../i18n.mjs";
import { theme, themes } from "../settings.mjs";

export const choices = (settings, id) => html`
  <div class="choices">
    <label for=${`${id}-language`}>${t("choices.language")}</label>
    <select id=${`${id}-language`} @change=${({ target }) => settings.language(target.value)}>
      ${languages.map(
        ({ tag, name, locale }) => html`<option value=${tag} lang=${locale} ?selected=${tag === language().tag}>${name}</option>`,
      )}
    </select>
    <label for=${`${id}-theme`}>${t("choices.theme")}</label>
    <select id=${`${id}-theme`} @change=${({ target }) => settings.theme(target.value)}>
      ${themes.map((name) => html`<option value=${name} ?selected=${name === theme()}>${t(`theme.${name}`)}</option>`)}
    </select>
  </div>
`;
