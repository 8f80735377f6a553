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

/**
 * How urgent: "none" (0), "low" (1 to 4), "single" (1 to 4 with a 3 in one sign), "medium" (5 and 6), "high" (7 and more);
 * "unknown" without a score.
 */
export function levelOf(score) {
  if (!Number.isFinite(score?.total)) return "unknown";
  if (score.total >= 7) return "high";
  if (score.total >= 5) return "medium";
  if (score.single) return "single";
  return score.total > 0 ? "low" : "none";
}
