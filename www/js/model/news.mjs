// The National Early Warning Score 2 as it is shown: the bands of each sign on its chart, and how urgent a total is. The
// score itself is the server's. Royal College of Physicians, National Early Warning Score (NEWS) 2, 2017, charts 1 and 2.

/** For each sign its bands from below: [highest value of the band, score]. SpO2 on scale 1. */
const limits = {
  "respiratory-rate": [[8, 3], [11, 1], [20, 0], [24, 2], [Infinity, 3]],
  "oxygen-saturation": [[91, 3], [93, 2], [95, 1], [Infinity, 0]],
  "blood-pressure": [[90, 3], [100, 2], [110, 1], [219, 0], [Infinity, 3]],
  "heart-rate": [[40, 3], [50, 1], [90, 0], [110, 1], [130, 2], [Infinity, 3]],
  temperature: [[35.0, 3], [36.0, 1], [38.0, 0], [39.0, 1], [Infinity, 2]],
};
/** Half of the step in which a sign is measured: a band is drawn up to halfway to the next. */
const half = { temperature: 0.05 };

/** [{ from, to, score }] of a sign, without a gap between them; none for a sign without numbers. */
export function bandsOf(sign) {
  const step = half[sign] ?? 0.5;
  let from = -Infinity;
  return (limits[sign] ?? []).map(([highest, score]) => {
    const band = { from, to: highest + step, score };
    from = band.to;
    return band;
  });
}

const levels = { none: "none", low: "low", "low-medium": "single", medium: "medium", high: "high" };

/** How urgent a score of the server's is, by its `risk`: "none", "low", "single" (3 in one sign), "medium", "high"; "unknown" without one. */
export const levelOf = (score) => levels[score?.risk] ?? "unknown";
