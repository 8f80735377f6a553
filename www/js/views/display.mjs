// A wall display: one ward, to be read from three metres, with no more of a name than the server gives a display.
import { html, nothing } from "lit-html";
import { repeat } from "lit-html/directives/repeat.js";
import { age, clock, day } from "../format.mjs";
import { t } from "../i18n.mjs";
import { alertWords } from "../parts/alerts.mjs";
import { badge } from "../parts/badge.mjs";
import { connection } from "../parts/connection.mjs";
import { problem } from "../parts/problem.mjs";
import { cells, isStale } from "../parts/tile.mjs";
import { followWard } from "../ward.mjs";

/** As many columns as make the tiles of a screen about as wide as they are high. */
const columnsFor = (count) => Math.min(8, Math.max(2, Math.ceil(Math.sqrt(count * (innerWidth / innerHeight) * 0.8))));

function bed(one, now) {
  const stale = isStale(one, now);
  const waiting = one.alerts.find((alert) => !alert.acknowledged);
  return html`
    <li class=${`wall-tile ${waiting ? "waiting" : ""} ${stale ? "stale" : ""}`} data-patient=${one.patient}>
      <div class="wall-inner">
        <div class="wall-head">
          <h2><span class="wall-bed">${one.bed}</span> <span class="wall-name">${one.name}</span></h2>
          ${badge(one.score)}
        </div>
        <dl class="wall-cells">
          ${cells(one.readings)
            .slice(0, 5)
            .map(([parameter, name, text]) => html`<div class=${`${parameter} points-${one.score?.parts[parameter]?.points ?? 0}`}><dt>${t(name)}</dt><dd>${text}</dd></div>`)}
        </dl>
        <p class="wall-foot">
          ${waiting ? html`<strong>${alertWords(waiting)}</strong>` : stale ? html`<strong>${t("tile.stale")}</strong>` : nothing}
          ${waiting ? nothing : html`<span>${one.latestAt === null ? t("tile.never") : age(one.latestAt, now)}</span>`}
        </p>
      </div>
    </li>
  `;
}

export default function displayView({ user, signal, update, clinic, signOut }) {
  const [own] = user.wards ?? [];
  if (!own) return () => html`<h1 class="loading" tabindex="-1">${t("board.empty")}</h1>`;
  const ward = followWard(own, { signal, update });

  return () => {
    const now = Date.now();
    const tiles = ward.board.tiles(now);
    return html`
      <section class="wall" data-state=${ward.state?.phase ?? "off"} aria-busy=${String(!ward.read)}>
        <header class="wall-bar">
          <h1 tabindex="-1">${ward.name || clinic() || t("app.product")}</h1>
          ${ward.state ? connection(ward.state, { retry: ward.retry }) : nothing}
          <p class="wall-clock"><span>${day(now)}</span> <b>${clock(now)}</b></p>
          <button type="button" class="quiet" @click=${signOut}>${t("app.signOut")}</button>
        </header>
        ${ward.failure ? problem(ward.failure, ward.retry) : nothing}
        <ul class=${`wall-tiles columns-${columnsFor(tiles.length)}`} role="list">${repeat(tiles, ({ patient }) => patient, (one) => bed(one, now))}</ul>
      </section>
    `;
  };
}
