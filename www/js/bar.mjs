// The bar above every view: where one is, where one can go, who one is.
import { html } from "lit-html";
import { t } from "./i18n.mjs";
import { choices } from "./parts/choices.mjs";
import { homeOf, ways } from "./views.mjs";

const closeMenu = () => document.getElementById("menu")?.hidePopover();

export function bar({ clinic, user, view, go, switchUser, signOut, settings }) {
  const open = (name) => () => {
    const [home, params] = homeOf(user);
    go(name, name === home ? params : undefined);
  };
  const chosen = (action) => () => {
    closeMenu();
    action();
  };
  return html`
    <header class="bar">
      <p class="brand"><img src="/icon.svg" alt="" width="28" height="28" /><span>${clinic ?? t("app.product")}</span></p>
      <nav class="ways" aria-label=${t("app.ways")}>
        ${ways(user).map(
          (name) => html`
            <button type="button" class="way" data-way=${name} aria-current=${name === view ? "page" : "false"} @click=${open(name)}>
              ${t(`title.${name}`)}
            </button>
          `,
        )}
      </nav>
      <button type="button" class="who" popovertarget="menu" aria-haspopup="true">
        <span class="unseen">${t("app.menu")}</span>
        <span class="who-name">${user.name}</span>
        <span class="who-role">${t(`role.${user.role}`)}</span>
      </button>
      <div id="menu" class="menu" popover role="group" aria-label=${t("app.menu")}>
        <p class="menu-who">${t("app.signedInAs", { name: user.name, role: t(`role.${user.role}`) })}</p>
        <button type="button" class="item" @click=${chosen(() => go("sessions"))}>${t("title.sessions")}</button>
        <button type="button" class="item" aria-keyshortcuts="F8" @click=${chosen(switchUser)}>
          ${t("app.switchUser")} <kbd>F8</kbd>
        </button>
        ${choices(settings, "menu")}
        <button type="button" class="item" @click=${chosen(signOut)}>${t("app.signOut")}</button>
      </div>
    </header>
  `;
}
