// One patient's chart as FHIR R4 resources, from a number and a source of chance: why they are here, what they take, how
// their vital signs went over the last day, what the laboratory found. The more ill, the further from the norm.
import { allergens, besides, medicines, reasons, tests } from "./medicine.mjs";
import { person } from "./people.mjs";

export const terminology = (name) => `http://terminology.hl7.org/CodeSystem/${name}`;
export const coded = (system, code, text) => ({ coding: [{ system, code, display: text }], text });
const [icd, atc, loinc] = ["http://hl7.org/fhir/sid/icd-10", "http://www.whocc.no/atc", "http://loinc.org"];
const snomed = "http://snomed.info/sct";
const quantity = (value, code, unit = code) => ({ value, unit, system: "http://unitsofmeasure.org", code });
const rounded = (value, digits = 0) => Number(value.toFixed(digits));
const pressure = (value) => quantity(rounded(value), "mm[Hg]", "mmHg");
const limited = (value, low, high) => Math.min(Math.max(value, low), high);
const minute = 60_000;
const hour = 60 * minute;

/** A unit of UCUM as people write it. */
const written = (unit) => unit.replace("10*3", "10³").replace(/u(?=L|mol)/, "µ");

/** What the laboratory sends along for people to read: a line for each result. */
const printed = (results) =>
  results
    .map(({ code, valueQuantity: { value, unit }, interpretation }) => `${code.text.padEnd(16)} ${String(value).padStart(5)} ${unit.padEnd(7)} ${interpretation[0].text}`)
    .join("\n");

/** Hours before now at which a nurse measured: the more ill, the more often. */
const roundsOf = (ill) => (ill > 0.55 ? [20, 14, 8, 3, 0.5] : [16, 8, 0.5]);

/** The vital signs by the word in their ids. */
const vitals = {
  "heart-rate": ({ hr }) => [coded(loinc, "8867-4", "Heart rate"), { valueQuantity: quantity(rounded(hr), "/min") }],
  "respiratory-rate": ({ rr }) => [
    coded(loinc, "9279-1", "Respiratory rate"),
    { valueQuantity: quantity(rounded(rr), "/min") },
  ],
  // R4's vital signs profile wants 2708-6; pulse oximetry, which it was, is 59408-5.
  "oxygen-saturation": ({ spo2 }) => [
    {
      coding: [
        { system: loinc, code: "59408-5", display: "Oxygen saturation in Arterial blood by Pulse oximetry" },
        { system: loinc, code: "2708-6", display: "Oxygen saturation in Arterial blood" },
      ],
      text: "Oxygen saturation",
    },
    { valueQuantity: quantity(rounded(limited(spo2, 78, 100)), "%") },
  ],
  "blood-pressure": ({ sys, dia }) => [
    coded(loinc, "85354-9", "Blood pressure panel with all children optional"),
    {
      component: [
        { code: coded(loinc, "8480-6", "Systolic blood pressure"), valueQuantity: pressure(sys) },
        { code: coded(loinc, "8462-4", "Diastolic blood pressure"), valueQuantity: pressure(dia) },
      ],
    },
  ],
  temperature: ({ temp }) => [
    coded(loinc, "8310-5", "Body temperature"),
    { valueQuantity: quantity(rounded(temp, 1), "Cel", "°C") },
  ],
  "inhaled-oxygen": ({ flow }) => [
    coded(loinc, "3151-8", "Inhaled oxygen flow rate"),
    { valueQuantity: quantity(flow, "L/min") },
  ],
  consciousness: ({ confused }) => [
    coded(loinc, "80288-4", "Level of consciousness"),
    {
      valueCodeableConcept: confused
        ? coded(snomed, "130987000", "Acute confusion")
        : coded(snomed, "248234008", "Mentally alert"),
    },
  ],
};

/**
 * The chart in four parts, each of which refers only to what is in the parts before it: [patient], [encounter],
 * what hangs on them, [report].
 *   prefix, number, label   of the ids: `${prefix}-patient-${label}`
 *   bed, hospital           references to where the patient lies and who runs it
 *   doctors, nurses         Practitioners: { id, name, shift }
 *   now                     milliseconds; `dice` a source of chance
 */
export function chart({ prefix, number, label, bed, hospital, doctors, nurses, now, dice }) {
  const id = (what) => `${prefix}-${what}-${label}`;
  const time = (hoursAgo) => new Date(Math.floor((now - hoursAgo * hour) / minute) * minute).toISOString();
  const { name, gender, address } = person(number, dice);
  const doctor = dice.one(doctors);
  const refer = ({ id: practitioner, name: display }) => ({ reference: `Practitioner/${practitioner}`, display });
  const nurseAt = (at) => {
    const hourOfDay = new Date(at).getUTCHours();
    return dice.one(nurses.filter(({ shift }) => shift === (hourOfDay >= 7 && hourOfDay < 19 ? "day" : "night")));
  };

  const reason = dice.one(reasons);
  const ill = dice.between(...reason.ill);
  const age = reason.icd === "E10.1" ? dice.whole(19, 45) : dice.whole(34, 91);
  const others = dice.some(besides.filter((one) => !reason.without?.includes(one.icd)), dice.whole(0, 3));
  const usual = others.map((one) => one.give).filter((code) => code && !reason.avoid?.includes(code));
  const given = [...new Set([...reason.give, ...usual])].slice(0, 4);
  const tolerated = allergens.filter(({ never }) => !never.some((code) => given.includes(code)));
  const allergies = dice.some(tolerated, dice.one([0, 0, 0, 1, 1, 2]));
  const admitted = dice.between(26, 150);
  const trend = dice.one(["better", "better", "steady", "worse"]);

  const subject = { reference: `Patient/${id("patient")}` };
  const encounter = { reference: `Encounter/${id("encounter")}` };
  const born = new Date(now);
  born.setUTCFullYear(born.getUTCFullYear() - age, dice.whole(0, 11), dice.whole(1, 28));

  const patient = {
    resourceType: "Patient",
    id: id("patient"),
    identifier: [
      {
        use: "usual",
        type: coded(terminology("v2-0203"), "MR", "Medical record number"),
        system: "https://hospital.example/mrn",
        value: `${dice.whole(100_000, 999_999)}${label}`,
      },
      {
        use: "official",
        type: coded(terminology("v2-0203"), "NI", "National unique individual identifier"),
        system: "https://health.example/person",
        value: `${dice.whole(10_000, 99_999)}-${dice.whole(1_000, 9_999)}-${label}`,
      },
    ],
    active: true,
    name: [name],
    gender,
    birthDate: born.toISOString().slice(0, 10),
    address: [address],
    generalPractitioner: [refer(doctor)],
    managingOrganization: hospital,
  };

  const stay = {
    resourceType: "Encounter",
    id: id("encounter"),
    status: "in-progress",
    class: { system: terminology("v3-ActCode"), code: "IMP", display: "inpatient encounter" },
    subject,
    participant: [
      { type: [coded(terminology("v3-ParticipationType"), "ATND", "attender")], individual: refer(doctor) },
    ],
    period: { start: time(admitted) },
    reasonCode: [{ text: reason.text }],
    location: [{ location: bed, status: "active", period: { start: time(admitted) } }],
    serviceProvider: hospital,
  };

  const conditions = [reason, ...others].map((one, index) => ({
    resourceType: "Condition",
    id: `${id("condition")}-${index + 1}`,
    clinicalStatus: coded(terminology("condition-clinical"), "active", "Active"),
    verificationStatus: coded(terminology("condition-ver-status"), "confirmed", "Confirmed"),
    category: [
      one === reason
        ? coded(terminology("condition-category"), "encounter-diagnosis", "Encounter Diagnosis")
        : coded(terminology("condition-category"), "problem-list-item", "Problem List Item"),
    ],
    code: coded(icd, one.icd, one.text),
    subject,
    encounter,
    recordedDate: time(admitted - 1),
    recorder: refer(doctor),
  }));

  const intolerances = allergies.map((one, index) => ({
    resourceType: "AllergyIntolerance",
    id: `${id("allergy")}-${index + 1}`,
    clinicalStatus: coded(terminology("allergyintolerance-clinical"), "active", "Active"),
    verificationStatus: coded(terminology("allergyintolerance-verification"), "confirmed", "Confirmed"),
    type: "allergy",
    category: [one.category],
    criticality: one.high ? "high" : "low",
    code: { text: one.text },
    patient: subject,
    recordedDate: time(admitted - 1),
    reaction: [{ manifestation: [{ text: one.reaction }] }],
  }));

  const orders = given.map((code, index) => {
    const { text, dose, unit, daily, route, needed } = medicines[code];
    const shown = unit === "[iU]" ? "units" : unit;
    const often = needed ? `up to ${daily} times` : daily === 1 ? "once" : `${daily} times`;
    return {
      resourceType: "MedicationRequest",
      id: `${id("medication")}-${index + 1}`,
      status: "active",
      intent: "order",
      medicationCodeableConcept: coded(atc, code, text),
      subject,
      encounter,
      authoredOn: time(admitted - 1.5),
      requester: refer(doctor),
      dosageInstruction: [
        {
          text: `${dose} ${shown} ${route}, ${often} a day`,
          timing: { repeat: { frequency: daily, period: 1, periodUnit: "d" } },
          asNeededBoolean: needed === true,
          route: { text: route },
          doseAndRate: [{ doseQuantity: quantity(dose, unit, shown) }],
        },
      ],
    };
  });

  const usually = {
    hr: dice.between(62, 80),
    rr: dice.between(13, 16),
    spo2: 98,
    sys: dice.between(116, 138),
    temp: 36.7,
  };
  const readings = roundsOf(ill).flatMap((hoursAgo, round) => {
    const passed = (24 - hoursAgo) / 24;
    const course = { better: 1.15 - 0.35 * passed, steady: 1, worse: 0.8 + 0.35 * passed }[trend];
    const sign = (name, noise) => usually[name] + reason.shift[name] * ill * course + noise * dice.noise();
    const signs = {
      hr: sign("hr", 5),
      rr: sign("rr", 1),
      spo2: sign("spo2", 0.8),
      sys: sign("sys", 5),
      temp: sign("temp", 0.15),
    };
    signs.dia = signs.sys * 0.6 + 3 * dice.noise();
    signs.flow = signs.spo2 < 93 ? 2 : 0;
    signs.confused = ill * course > 0.8;
    const at = time(hoursAgo + dice.between(0, 0.4));
    const nurse = refer(nurseAt(at));
    return Object.entries(vitals).map(([word, express]) => {
      const [code, value] = express(signs);
      return {
        resourceType: "Observation",
        id: `${id("patient")}-${word}-${round + 1}`,
        status: "final",
        category: [coded(terminology("observation-category"), "vital-signs", "Vital Signs")],
        code,
        subject,
        encounter,
        effectiveDateTime: at,
        performer: [nurse],
        ...value,
      };
    });
  });

  const taken = dice.between(3, 12);
  const results = reason.labs.map((key) => {
    const { loinc: code, text, unit, low, high, well, worst, digits } = tests[key];
    const value = rounded(well + (worst - well) * ill * dice.between(0.75, 1.05), digits);
    const flag = value > high ? ["H", "High"] : low !== undefined && value < low ? ["L", "Low"] : ["N", "Normal"];
    return {
      resourceType: "Observation",
      id: `${id("patient")}-${key}`,
      status: "final",
      category: [coded(terminology("observation-category"), "laboratory", "Laboratory")],
      code: coded(loinc, code, text),
      subject,
      encounter,
      effectiveDateTime: time(taken),
      performer: [hospital],
      valueQuantity: quantity(value, unit, written(unit)),
      interpretation: [coded(terminology("v3-ObservationInterpretation"), ...flag)],
      referenceRange: [{ ...(low === undefined ? {} : { low: quantity(low, unit) }), high: quantity(high, unit) }],
    };
  });

  const noted = results
    .map(({ code, interpretation }) => [code.text, interpretation[0].text.toLowerCase()])
    .filter(([, flag]) => flag !== "normal");
  const order = {
    resourceType: "ServiceRequest",
    id: id("order"),
    status: "completed",
    intent: "order",
    category: [coded(snomed, "108252007", "Laboratory procedure")],
    code: coded(loinc, "11502-2", "Laboratory report"),
    subject,
    encounter,
    authoredOn: time(taken + 0.5),
    requester: refer(doctor),
  };
  const report = {
    resourceType: "DiagnosticReport",
    id: id("report"),
    basedOn: [{ reference: `ServiceRequest/${order.id}` }],
    status: "final",
    category: [coded(terminology("v2-0074"), "LAB", "Laboratory")],
    code: coded(loinc, "11502-2", "Laboratory report"),
    subject,
    encounter,
    effectiveDateTime: time(taken),
    issued: time(taken - 1.5),
    performer: [hospital],
    result: results.map((one) => ({ reference: `Observation/${one.id}`, display: one.code.text })),
    presentedForm: [{ contentType: "text/plain;charset=UTF-8", language: "en", data: Buffer.from(printed(results)).toString("base64") }],
    conclusion: noted.map((pair) => pair.join(" ")).join(", ") || "Within the reference ranges",
  };

  // Of every third somebody has still to say what the picture shows.
  const picture = number % 3
    ? []
    : [{
        resourceType: "DiagnosticReport",
        id: id("picture"),
        status: "preliminary",
        category: [coded(terminology("v2-0074"), "RAD", "Radiology")],
        code: coded(loinc, "36643-5", "Chest X-ray, two views"),
        subject,
        encounter,
        effectiveDateTime: time(taken),
        issued: time(taken - 0.5),
        resultsInterpreter: [refer(doctor)],
        conclusion: "Not read yet.",
      }];

  return [[patient], [stay], [...conditions, ...intolerances, ...orders, ...readings, ...results, order], [report, ...picture]];
}
