// The ward board: a tile a bed, those in need first, alerts until somebody has seen them, and the ward as a list for paper.
//
// Downtime: what was last known is in this page and nowhere else. A list for paper is printed from it also when the server
// or the network is away; it is never written to this device by the page.
import { html, nothing } from "lit-html";
import { repeat } from "lit-html/directives/repeat.js";
import { api } from "../api.mjs";
import { age, time } from "../format.mjs";
import { t } from "../i18n.mjs";
import { alertWords } from "../parts/alerts.mjs";
import { connection } from "../parts/connection.mjs";
import { problem } from "../parts/problem.mjs";
import { tile } from "../parts/tile.mjs";
import { wardList } from "../parts/ward-list.mjs";
import { followWard, readWards } from "../ward.mjs";

export default function boardView({ params, signal, update, go, announce, user }) {
  const busy = new Set();
  let wards = [];
  let chosen = params?.ward ?? user.wards?.[0];
  let failure;
  let asList = false;
  let asked = false;
  /** What followWard gives; undefined before there is a ward. */
  let ward;
  let following;

  /** Says a new alert to those who do not look. */
  function tell({ kind, data }) {
    if (kind !== "alert" || !["raised", "escalated"].includes(data.change)) return;
    const one = ward.board.tiles(Date.now()).find(({ patient }) => patient === data.alert.patient);
    if (one) announce(t("alert.told", { bed: one.bed, name: one.name, what: alertWords(data.alert) }), data.alert.severity === "high");
  }

  function choose(id) {
    following?.abort();
    following = new AbortController();
    chosen = id;
    ward = followWard(id, { signal: following.signal, update, onEvent: tell });
    update();
  }
  signal.addEventListener("abort", () => following?.abort());

  async function begin() {
    try {
      wards = await readWards(user, { background: true, signal });
      failure = undefined;
      if (wards.length) choose(wards.some(({ id }) => id === chosen) ? chosen : wards[0].id);
    } catch (error) {
      failure = error;
    }
    asked = true;
    update();
  }
  begin();

  async function acknowledge(alert) {
    busy.add(alert.id);
    failure = undefined;
    update();
    try {
      ward.board.takeAlert(await api.post(`/alerts/${alert.id}/acknowledge`, { version: alert.version }, { signal }));
      announce(t("alert.acknowledged"));
    } catch (error) {
      // It has risen or ended meanwhile: what it is now comes with its event, or with a look.
      if (!signal.aborted) failure = error;
    }
    busy.delete(alert.id);
    update();
  }

  const open = (one) => go("chart", { id: one.patient, ward: chosen });

  function head(waiting) {
    return html`
      <div class="board-head">
        <h1 tabindex="-1">${ward?.name || t("title.board")}</h1>
        ${wards.length > 1
          ? html`<label class="unseen" for="ward">${t("board.ward")}</label>
              <select id="ward" @change=${({ target }) => choose(target.value)}>
                ${wards.map(({ id, name }) => html`<option value=${id} ?selected=${id === chosen}>${name}</option>`)}
              </select>`
          : nothing}
        <div class="board-tools" role="group" aria-label=${t("board.tools")}>
          <button type="button" class="tool" aria-pressed=${String(asList)} @click=${() => { asList = !asList; update(); }}>${t("board.list")}</button>
          <button type="button" class="tool" @click=${print}>${t("board.print")}</button>
        </div>
        ${ward?.state ? connection(ward.state, { retry: ward.retry }) : nothing}
        <p class=${`board-count ${waiting.length ? "waiting" : ""}`}>${t("board.waiting", { n: waiting.length })}</p>
      </div>
    `;
  }

  /** Paper gets the list, whatever the screen shows. */
  function print() {
    const before = asList;
    asList = true;
    update();
    requestAnimationFrame(() => requestAnimationFrame(() => {
      globalThis.print();
      asList = before;
      update();
    }));
  }

  return () => {
    const now = Date.now();
    const { board, state, read, name } = ward ?? { read: asked };
    const tiles = board?.tiles(now) ?? [];
    const waiting = tiles.flatMap(({ alerts }) => alerts).filter((alert) => !alert.acknowledged);
    const lost = read && state && state.phase !== "live" && board.newest !== null;
    const wrong = failure ?? ward?.failure;
    return html`
      <section class="board" data-state=${state?.phase ?? "off"} aria-busy=${String(!read)}>
        ${head(waiting)}
        ${lost ? html`<p class="notice downtime">${t("board.downtime", { time: time(board.newest), age: age(board.newest) })}</p>` : nothing}
        ${wrong ? problem(wrong, ward ? undefined : begin) : nothing}
        ${!read ? html`<p class="loading">${t("app.loading")}</p>` : !tiles.length && !wrong ? html`<p class="loading">${t("board.empty")}</p>` : nothing}
        ${asList && read
          ? wardList({ tiles, ward: name, now, newest: board.newest, open })
          : html`<ul class="tiles" role="list">${repeat(tiles, ({ patient }) => patient, (one) => tile(one, { now, open, busy, acknowledge }))}</ul>`}
      </section>
    `;
  };
}
