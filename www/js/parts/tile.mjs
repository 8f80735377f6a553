// One bed of the board.
import { html, nothing } from "lit-html";
import { age, duration, fixed } from "../format.mjs";
import { t } from "../i18n.mjs";
import { alertLine } from "./alerts.mjs";
import { badge } from "./badge.mjs";
import { hasLine, spark } from "./spark.mjs";

/** A value much older than the newest of its bed says its own age. */
const apart = 2 * 60_000;

const digits = { temperature: 1 };

/** The value of a parameter as text; "–" where there is none. */
export function valueText(readings, parameter) {
  const value = readings[parameter]?.value;
  if (value === undefined || value === null) return "–";
  if (parameter === "consciousness") return t(`acvpu.${value}`);
  return fixed(value, digits[parameter] ?? 0);
}

const pressure = (readings) => `${valueText(readings, "systolic_pressure")}/${valueText(readings, "diastolic_pressure")}`;

/** What a tile shows: [parameter, its short name, its text]. Points of the score mark a value. */
export const cells = (readings) => [
  ["heart_rate", "short.heart_rate", valueText(readings, "heart_rate")],
  ["oxygen_saturation", "short.oxygen_saturation", valueText(readings, "oxygen_saturation")],
  ["respiratory_rate", "short.respiratory_rate", valueText(readings, "respiratory_rate")],
  ["systolic_pressure", "short.blood_pressure", pressure(readings)],
  ["temperature", "short.temperature", valueText(readings, "temperature")],
  ["consciousness", "short.consciousness", valueText(readings, "consciousness")],
];

function cell([parameter, name, text], { readings, score, latestAt }, now) {
  const points = score?.parts[parameter]?.points;
  const at = readings[parameter]?.at;
  const own = at !== undefined && latestAt - at > apart;
  const oxygen = parameter === "oxygen_saturation" && readings.supplemental_oxygen?.value === true;
  return html`
    <div class=${`cell points-${points ?? 0}`} data-parameter=${parameter}>
      <dt>${t(name)} ${own ? html`<span class="cell-age"><span aria-hidden="true">${duration(now - at, { narrow: true })}</span><span class="unseen">${duration(now - at)}</span></span>` : nothing}</dt>
      <dd>
        <span class="cell-value">${text}</span>
        ${points ? html`<span class="points" title=${t("score.points", { n: points })}><span class="unseen">${t("score.points", { n: points })}</span></span>` : nothing}
        ${oxygen ? html`<span class="oxygen">${t("short.supplemental_oxygen")}</span>` : nothing}
      </dd>
    </div>
  `;
}

/** Whether nothing has come of a bed for so long that what it shows is the past. */
export const isStale = (tile, now) => tile.silent || (tile.interval && tile.latestAt !== null && now - tile.latestAt > 3 * tile.interval);

const minutes = (list) => Math.max(1, Math.round((list.at(-1).at - list[0].at) / 60_000));

/** `open` opens the chart; without it the tile only shows. */
export function tile(one, { now, open, busy, acknowledge }) {
  const { patient, name, bed, readings, score, alerts, spark: line, latestAt } = one;
  const stale = isStale(one, now);
  const level = alerts.some((alert) => !alert.acknowledged) ? "waiting" : "";
  const head = html`<span class="tile-bed">${bed}</span> <span class="tile-name" elementtiming="board">${name}</span>`;
  return html`
    <li class=${`tile ${level} ${stale ? "stale" : ""}`} data-patient=${patient}>
      <div class="tile-head">
        <h2>${open ? html`<button type="button" class="tile-open" @click=${() => open(one)}>${head}</button>` : head}</h2>
        ${badge(score)}
      </div>
      <dl class="cells">${cells(readings).map((values) => cell(values, one, now))}</dl>
      <div class="tile-foot">
        ${hasLine(line) ? spark(line, t("tile.trend", { n: minutes(line), from: fixed(line[0].value, 0), to: fixed(line.at(-1).value, 0) })) : nothing}
        <span class="tile-age">
          ${stale ? html`<strong>${t("tile.stale")}</strong> ` : nothing}${latestAt === null ? t("tile.never") : age(latestAt, now)}
        </span>
      </div>
      ${alerts.map((alert) =>
        alertLine(alert, { name, busy: busy?.has(alert.id), acknowledge: acknowledge && (() => acknowledge(alert)) }),
      )}
    </li>
  `;
}
