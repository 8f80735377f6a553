// Vital signs over time: one plot a sign, all over the same span of time, with the bands of the early warning score behind.
// uPlot draws; this says what is seen, and moves it: drag or arrow keys pan, Ctrl and the wheel, two fingers or + and - zoom,
// End goes back to the present.
import uPlot from "uplot";
import { clock, fixed, number, shortDay } from "../format.mjs";
import { t } from "../i18n.mjs";
import { alone, columns } from "../model/lines.mjs";
import { bandsOf } from "../model/news.mjs";
import { signs } from "../model/vitals.mjs";

const minute = 60_000;
const hour = 60 * minute;
export const presets = [
  ["6h", 6 * hour],
  ["24h", 24 * hour],
  ["3d", 72 * hour],
  ["2w", 14 * 24 * hour],
  ["3mo", 91 * 24 * hour],
  ["2y", 731 * 24 * hour],
];
const shortest = 2 * minute;
const longest = 30 * 365 * 24 * hour;
/** In px of a page whose text is 16 px high; larger on a wall. */
const height = { plot: 80, times: 24 };
const scaled = (px) => (px * parseFloat(getComputedStyle(document.documentElement).fontSize)) / 16;

/** The colour that a custom property means in the present scheme; found out once for each look. */
const colours = new Map();
function colour(name) {
  if (!colours.has(name)) {
    const probe = document.createElement("i");
    probe.style.color = `var(${name})`;
    document.body.append(probe);
    colours.set(name, getComputedStyle(probe).color);
    probe.remove();
  }
  return colours.get(name);
}

/** Only the lowest plot says the times. */
const isLast = (sign) => sign === signs.at(-1);
const heightOf = (sign) => scaled(height.plot + (isLast(sign) ? height.times : 0));

/** The lowest and highest of what is seen, never less than the sign's own span. */
function extent(sign, series, from, to) {
  let [low, high] = sign.span;
  for (const { at, values } of series) {
    if (at < from || at > to) continue;
    for (const value of values) {
      if (value < low) low = value;
      if (value > high) high = value;
    }
  }
  const room = (high - low) * 0.06;
  return [low - room, high + room];
}

/**
 * Plots into `element` until `signal` aborts.
 *   seriesOf(key)     readings of a sign, oldest first
 *   onRange(range)    { from, to, live } after each move
 */
export class VitalsPlot {
  #plots = [];
  #range;
  #seriesOf;
  #onRange;
  #element;

  constructor(element, { seriesOf, onRange, span, signal }) {
    this.#element = element;
    this.#seriesOf = seriesOf;
    this.#onRange = onRange;
    const now = Date.now();
    this.#range = { from: now - span, to: now, live: true };
    for (const sign of signs) this.#add(sign);
    this.#listen(signal);
    const fit = new ResizeObserver(() => {
      for (const { plot, sign } of this.#plots) plot.setSize({ width: this.#width, height: heightOf(sign) });
    });
    fit.observe(element);
    const redraw = () => {
      colours.clear();
      for (const { plot } of this.#plots) plot.redraw();
    };
    const looks = new MutationObserver(redraw);
    looks.observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme", "lang"] });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw, { signal });
    signal.addEventListener("abort", () => {
      fit.disconnect();
      looks.disconnect();
      for (const { plot } of this.#plots) plot.destroy();
      this.#plots = [];
    });
    this.refresh();
  }

  get #width() {
    return Math.max(200, this.#element.clientWidth);
  }

  #add(sign) {
    const holder = document.createElement("div");
    holder.className = "plot-sign";
    const label = document.createElement("p");
    label.className = "plot-label";
    const name = document.createElement("b");
    const shown = document.createElement("span");
    label.append(name, " ", shown);
    holder.append(label);
    this.#element.append(holder);
    const parts = sign.key === "blood-pressure" ? 2 : 1;
    const ink = () => colour("--ink");
    const line = { stroke: ink, width: 1.5, points: { size: 5, fill: ink, stroke: ink, filter: (plot, index, all) => (all ? null : alone(plot.data[index])) }, spanGaps: false };
    const axis = {
      stroke: () => colour("--soft"),
      grid: { stroke: () => colour("--line"), width: 1 },
      ticks: { show: false },
      font: `${scaled(12)}px system-ui, sans-serif`,
    };
    const times = (_, ticks, __, ___, step) => ticks.map((tick) => (step >= 86_400 ? shortDay(tick * 1000) : this.#tick(tick * 1000)));
    const options = {
      width: this.#width,
      height: heightOf(sign),
      padding: [6, 10, 4, 0],
      legend: { show: false },
      cursor: { drag: { setScale: false, x: false, y: false }, sync: { key: "vitals" }, points: { size: 7 } },
      scales: {
        x: { time: true, range: () => [this.#range.from / 1000, this.#range.to / 1000] },
        y: { range: () => extent(sign, this.#seriesOf(sign.key), this.#range.from, this.#range.to) },
      },
      axes: [
        { ...axis, size: isLast(sign) ? scaled(height.times) : 0, space: scaled(70), values: isLast(sign) ? times : (_, ticks) => ticks.map(() => "") },
        { ...axis, size: scaled(40), space: scaled(22), values: (_, ticks) => ticks.map((tick) => number(tick)) },
      ],
      series: [{}, ...Array.from({ length: parts }, () => line)],
      bands: parts === 2 ? [{ series: [1, 2], fill: () => colour("--plot-fill") }] : [],
      hooks: {
        drawClear: [(plot) => paintBands(plot, sign)],
        setCursor: [(plot) => this.#showValue(plot, sign, name, shown)],
      },
    };
    const plot = new uPlot(options, [[], ...Array.from({ length: parts }, () => [])], holder);
    this.#plots.push({ sign, plot, parts, name, shown });
  }

  #tick(at) {
    const midnight = new Date(at).getHours() === 0 && new Date(at).getMinutes() === 0;
    return midnight ? shortDay(at) : clock(at);
  }

  /** What is under the cursor, or the newest in sight. */
  #showValue(plot, sign, name, shown) {
    const series = this.#seriesOf(sign.key);
    name.textContent = t(`sign.${sign.key}`);
    const { idx } = plot.cursor;
    const at = idx === null || idx === undefined ? undefined : plot.data[0][idx];
    const values = at === undefined ? undefined : plot.data.slice(1).map((part) => part[idx]);
    const reading = values?.some((value) => value !== null) ? { at: at * 1000, values } : series.findLast((one) => one.at <= this.#range.to);
    shown.textContent = reading
      ? `${reading.values.map((value) => (value === null || value === undefined ? "–" : fixed(value, sign.digits))).join("/")} ${t(`unit.${sign.unit}`)} · ${clock(reading.at)}`
      : t("plot.none");
  }

  /** Draws what the series hold now. While live, the right edge is the present. */
  refresh() {
    if (this.#range.live) {
      const now = Date.now();
      this.#range = { from: now - (this.#range.to - this.#range.from), to: now, live: true };
    }
    for (const { plot, sign, parts, name, shown } of this.#plots) {
      plot.setData(columns(this.#seriesOf(sign.key), parts));
      this.#showValue(plot, sign, name, shown);
    }
  }

  get range() {
    return this.#range;
  }

  /** Shows the time from `from` to `to`, at most up to the present. */
  show(from, to) {
    const now = Date.now();
    const width = Math.min(longest, Math.max(shortest, to - from));
    const end = Math.min(to, now);
    this.#range = { from: end - width, to: end, live: now - end < 1_000 };
    this.refresh();
    this.#onRange(this.#range);
  }

  /** Moves by a part of what is seen. */
  pan(part) {
    const { from, to } = this.#range;
    const by = (to - from) * part;
    this.show(from + by, to + by);
  }

  /** Shows `factor` times as much, around `at` or, while live, up to the present. */
  zoom(factor, at) {
    const { from, to, live } = this.#range;
    if (live) return this.last((to - from) * factor);
    const still = at ?? (from + to) / 2;
    this.show(still - (still - from) * factor, still + (to - still) * factor);
  }

  last(span) {
    this.show(Date.now() - span, Date.now());
  }

  #listen(signal) {
    const element = this.#element;
    const fingers = new Map();
    const timeAt = (x) => {
      const box = element.querySelector(".u-over").getBoundingClientRect();
      const { from, to } = this.#range;
      return { at: from + ((x - box.left) / box.width) * (to - from), part: 1 / box.width };
    };
    const on = (name, handler, options) => element.addEventListener(name, handler, { signal, ...options });
    on("pointerdown", (event) => {
      if (event.button) return;
      fingers.set(event.pointerId, event.clientX);
    });
    on("pointermove", (event) => {
      if (!fingers.has(event.pointerId)) return;
      const before = fingers.get(event.pointerId);
      if (before === event.clientX) return;
      // Only now is it a drag: a tap stays a tap.
      if (!element.hasPointerCapture(event.pointerId)) element.setPointerCapture(event.pointerId);
      if (fingers.size === 1) this.pan((before - event.clientX) * timeAt(0).part);
      else {
        const other = [...fingers].find(([id]) => id !== event.pointerId)[1];
        const [was, is] = [Math.abs(before - other), Math.abs(event.clientX - other)];
        if (was > 10 && is > 10) this.zoom(was / is, timeAt(other).at);
      }
      fingers.set(event.pointerId, event.clientX);
    });
    for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) on(name, (event) => fingers.delete(event.pointerId));
    on(
      "wheel",
      (event) => {
        if (!event.ctrlKey && !event.metaKey) return;
        event.preventDefault();
        this.zoom(2 ** (Math.sign(event.deltaY) * 0.4), timeAt(event.clientX).at);
      },
      { passive: false },
    );
    on("keydown", (event) => {
      const moves = {
        ArrowLeft: () => this.pan(-0.2),
        ArrowRight: () => this.pan(0.2),
        "+": () => this.zoom(0.6),
        "=": () => this.zoom(0.6),
        "-": () => this.zoom(1 / 0.6),
        End: () => this.last(this.#range.to - this.#range.from),
      };
      if (!moves[event.key] || event.ctrlKey || event.altKey || event.metaKey) return;
      event.preventDefault();
      moves[event.key]();
    });
  }
}

/** The bands behind the line; of blood pressure only beside it, because they are those of the systolic value alone. */
function paintBands(plot, { key }) {
  const { ctx, bbox } = plot;
  const width = key === "blood-pressure" ? 8 * devicePixelRatio : bbox.width;
  const { min, max } = plot.scales.y;
  ctx.save();
  for (const { from, to, score } of bandsOf(key)) {
    if (score === 0 || to < min || from > max) continue;
    const top = plot.valToPos(Math.min(to, max), "y", true);
    const bottom = plot.valToPos(Math.max(from, min), "y", true);
    ctx.fillStyle = colour(`--band-${score}`);
    ctx.fillRect(bbox.left, top, width, bottom - top);
  }
  ctx.restore();
}
