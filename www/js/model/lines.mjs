// Readings as lines: where one goes on, and where it begins anew. Pure.

/** A line is drawn over no pause that is longer than this and than four times the steps on both of its sides. */
const longestPause = 10 * 60_000;

/** [times in s, values...] with a hole where there was a pause. */
export function columns(series, parts) {
  const step = (index) => (index > 0 && index < series.length ? series[index].at - series[index - 1].at : 0);
  const data = Array.from({ length: parts + 1 }, () => []);
  series.forEach(({ at, values }, index) => {
    if (step(index) > Math.max(longestPause, 4 * step(index - 1), 4 * step(index + 1))) {
      data[0].push((series[index - 1].at + 1) / 1000);
      for (let part = 0; part < parts; part += 1) data[part + 1].push(null);
    }
    data[0].push(at / 1000);
    for (let part = 0; part < parts; part += 1) data[part + 1].push(values[part] ?? null);
  });
  return data;
}

/** The places of values that no line leads to: a line is all that is seen of the others where they are many. */
export function alone(values) {
  const none = (index) => values[index] === null || values[index] === undefined;
  return values.flatMap((_, index) => (!none(index) && none(index - 1) && none(index + 1) ? [index] : []));
}
