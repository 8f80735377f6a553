// The ward as a list: dense on a screen, whole on paper. It says when it is of, because paper does not change.
import { html } from "lit-html";
import { date, duration, stamp, time } from "../format.mjs";
import { t } from "../i18n.mjs";
import { alertWords } from "./alerts.mjs";
import { badge } from "./badge.mjs";
import { cells, isStale } from "./tile.mjs";

/** By bed, as one goes round. */
const byBed = (tiles) => [...tiles].sort((a, b) => a.order - b.order);

export const wardList = ({ tiles, ward, now, newest, open }) => html`
  <div class="table-box ward-list" tabindex="0" role="group" aria-label=${t("list.title", { ward })}>
    <table>
      <caption>
        ${t("list.asOf", { ward, time: stamp(now) })}
        ${newest === null ? "" : t("list.newest", { time: stamp(newest) })}
      </caption>
      <thead>
        <tr>
          <th scope="col">${t("patient.bed")}</th>
          <th scope="col">${t("list.patient")}</th>
          <th scope="col">${t("patients.born")}</th>
          <th scope="col">${t("score.name")}</th>
          ${cells({}).map(([, name]) => html`<th scope="col">${t(name)}</th>`)}
          <th scope="col">${t("list.age")}</th>
          <th scope="col">${t("list.alerts")}</th>
        </tr>
      </thead>
      <tbody>
        ${byBed(tiles).map(
          (tile) => html`
            <tr class=${isStale(tile, now) ? "stale" : ""}>
              <td>${tile.bed}</td>
              <th scope="row"><button type="button" class="tile-open" @click=${() => open(tile)}>${tile.name}</button></th>
              <td>${tile.born ? date(tile.born) : ""}</td>
              <td>${badge(tile.score)}</td>
              ${cells(tile.readings).map(([, , text]) => html`<td class="number">${text}</td>`)}
              <td class="number">${tile.latestAt === null ? "–" : html`${time(tile.latestAt, now)} <span class="muted">(${duration(now - tile.latestAt)})</span>`}</td>
              <td>${tile.alerts.map((alert) => html`<div>${alertWords(alert)}</div>`)}</td>
            </tr>
          `,
        )}
      </tbody>
    </table>
  </div>
`;
