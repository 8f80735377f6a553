// A small line of recent values.
import { html } from "lit-html";

const [width, height] = [200, 32];
/** A line is not drawn over a pause longer than this. */
const longestPause = 60_000;

/** The path of [{ at, value }] in a box of 200 by 32; never less than `span` from bottom to top, so that little looks little. */
export function sparkPath(list, span = 30) {
  if (!list.length) return "";
  let [low, high] = [Infinity, -Infinity];
  for (const { value } of list) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  const [middle, whole] = [(low + high) / 2, Math.max(high - low, span)];
  const [first, last] = [list[0].at, list.at(-1).at];
  const x = (at) => (last > first ? 2 + ((at - first) / (last - first)) * (width - 4) : width - 2);
  const y = (value) => height / 2 - ((value - middle) / whole) * (height - 4);
  let path = "";
  list.forEach(({ at, value }, index) => {
    const joined = index > 0 && at - list[index - 1].at <= longestPause;
    path += `${joined ? "L" : "M"}${x(at).toFixed(1)} ${y(value).toFixed(1)}${joined ? "" : "l0 0"}`;
  });
  return path;
}

/** Whether there is a line to draw, and not only points far apart. */
export const hasLine = (list) => list.some(({ at }, index) => index > 0 && at - list[index - 1].at <= longestPause);

/** `label` says what is seen. */
export const spark = (list, label) => html`
  <svg class="spark" viewBox=${`0 0 ${width} ${height}`} preserveAspectRatio="none" role="img" aria-label=${label}>
    <path d=${sparkPath(list)} />
  </svg>
`;
