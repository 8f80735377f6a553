// A small line of one sign's recent values.
import { svg } from "./dom.mjs";

const [width, height, margin] = [600, 96, 6];
const most = 120;
/** A line is not drawn over a pause longer than this, nor over four usual intervals. */
const longestPause = 60_000;

/** { element, show(series) }; `show` returns the readings that are drawn. */
export function sparkline() {
  const line = svg("path", { class: "spark-line" });
  const dot = svg("path", { class: "spark-dot" });
  const element = svg(
    "svg",
    { class: "spark", viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "img", "aria-label": "" },
    line,
    dot,
  );
  return {
    element,
    show(series) {
      const shown = series.slice(-most);
      const values = shown.map((reading) => reading.values[0]);
      const [low, high] = [Math.min(...values), Math.max(...values)];
      const [first, last] = [shown[0]?.at, shown.at(-1)?.at];
      const x = (at) => (last > first ? margin + ((at - first) / (last - first)) * (width - 2 * margin) : width / 2);
      // Never less than 20 from bottom to top, so that small changes look small.
      const [middle, span] = [(low + high) / 2, Math.max(high - low, 20)];
      const y = (value) => height / 2 - ((value - middle) / span) * (height - 2 * margin);
      const steps = shown.slice(1).map((reading, index) => reading.at - shown[index].at).sort((a, b) => a - b);
      const pause = Math.max(longestPause, 4 * (steps[Math.floor(steps.length / 2)] ?? 0));
      const point = ({ at, values: [value] }) => `${x(at).toFixed(1)} ${y(value).toFixed(1)}`;
      const parts = shown.map((reading, index) => {
        const joined = index > 0 && reading.at - shown[index - 1].at <= pause;
        // A point of its own is a line of no length with round ends.
        return joined ? `L${point(reading)}` : `M${point(reading)}l0 0`;
      });
      line.setAttribute("d", parts.join(""));
      dot.setAttribute("d", shown.length ? `M${point(shown.at(-1))}l0 0` : "");
      return shown;
    },
  };
}
