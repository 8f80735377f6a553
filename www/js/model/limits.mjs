// The limits beyond which a patient's readings alert, between a form and the server. Pure.

/** What a limit can be set for, in the order of the form. */
export const limited = ["respiratory_rate", "oxygen_saturation", "systolic_pressure", "heart_rate", "temperature"];

/** The form's fields, all text: { spo2_scale, monitoring, "heart_rate.low", ... }. */
export function fieldsOf({ spo2_scale, monitoring, limits }) {
  const fields = { spo2_scale: String(spo2_scale), monitoring };
  for (const parameter of limited) {
    for (const bound of ["low", "high"]) fields[`${parameter}.${bound}`] = limits?.[parameter]?.[bound]?.toString() ?? "";
  }
  return fields;
}

/** What is sent, of the fields and of what the server had; `wrong` is the name of the first field that is no number or contradicts. */
export function bodyOf(fields, { interval_seconds }) {
  const limits = {};
  for (const parameter of limited) {
    const ends = {};
    for (const bound of ["low", "high"]) {
      const name = `${parameter}.${bound}`;
      const text = fields[name].trim().replace(",", ".");
      if (!text) continue;
      if (!/^\d{1,3}(\.\d)?$/.test(text)) return { wrong: name };
      ends[bound] = Number(text);
    }
    if (ends.low >= ends.high) return { wrong: `${parameter}.high` };
    if (Object.keys(ends).length) limits[parameter] = ends;
  }
  const interval = interval_seconds === null || interval_seconds === undefined ? {} : { interval_seconds };
  return { body: { spo2_scale: Number(fields.spo2_scale), monitoring: fields.monitoring, ...interval, limits } };
}
