// The little medicine that the demonstration knows: problems, what they do to vital signs and blood, what is given for
// them. Codes are ICD-10, ATC, LOINC and UCUM; plausible to a clinician's first look and for no other use.

/**
 * Why somebody is on the ward. `ill` is how ill that makes them, from 0 to 1; `shift` is what it does to their vital signs
 * at 1; `without` are other problems and `avoid` medicines that do not go with it.
 */
export const reasons = [
  { icd: "J18.9", text: "Pneumonia", ill: [0.4, 0.9], shift: { hr: 30, rr: 12, spo2: -8, sys: -18, temp: 2.2 }, give: ["J01DD04", "N02BE01"], labs: ["crp", "leukocytes"] },
  { icd: "J44.1", text: "Acute exacerbation of COPD", ill: [0.35, 0.8], shift: { hr: 24, rr: 12, spo2: -9, sys: 12, temp: 0.6 }, give: ["H02AB06", "R03AC02"], labs: ["crp", "hemoglobin"] },
  { icd: "I50.9", text: "Heart failure", ill: [0.3, 0.75], shift: { hr: 22, rr: 9, spo2: -7, sys: -16, temp: 0 }, give: ["C03CA01", "C07AB07"], labs: ["bnp", "potassium", "creatinine"] },
  { icd: "I48.9", text: "Atrial fibrillation", ill: [0.2, 0.6], shift: { hr: 62, rr: 5, spo2: -2, sys: -14, temp: 0 }, give: ["B01AF02", "C07AB07"], labs: ["potassium", "hemoglobin"], avoid: ["B01AC06"] },
  { icd: "I21.9", text: "Acute myocardial infarction", ill: [0.3, 0.7], shift: { hr: 20, rr: 6, spo2: -4, sys: -24, temp: 0.5 }, give: ["B01AC06", "C07AB07"], labs: ["potassium", "hemoglobin"] },
  { icd: "I64", text: "Stroke", ill: [0.2, 0.6], shift: { hr: 12, rr: 4, spo2: -3, sys: 44, temp: 0.6 }, give: ["B01AC06", "C10AA05"], labs: ["glucose", "hemoglobin"], without: ["E78.5"] },
  { icd: "A41.9", text: "Sepsis", ill: [0.65, 1], shift: { hr: 46, rr: 13, spo2: -6, sys: -38, temp: 2.6 }, give: ["J01CR05", "N02BE01"], labs: ["crp", "lactate", "creatinine"], avoid: ["C08CA01", "A10BA02"] },
  { icd: "N10", text: "Acute pyelonephritis", ill: [0.25, 0.65], shift: { hr: 28, rr: 5, spo2: -1, sys: -12, temp: 2.4 }, give: ["J01DD04", "N02BE01"], labs: ["crp", "creatinine"] },
  { icd: "S72.0", text: "Fracture of neck of femur", ill: [0.1, 0.4], shift: { hr: 18, rr: 4, spo2: -2, sys: 10, temp: 0.5 }, give: ["N02AA01", "B01AB05"], labs: ["hemoglobin", "sodium"] },
  { icd: "I26.9", text: "Pulmonary embolism", ill: [0.4, 0.85], shift: { hr: 40, rr: 12, spo2: -8, sys: -22, temp: 0.4 }, give: ["B01AF02", "N02BE01"], labs: ["hemoglobin", "creatinine"], avoid: ["B01AC06"] },
  { icd: "L03.1", text: "Cellulitis of the leg", ill: [0.1, 0.45], shift: { hr: 22, rr: 3, spo2: 0, sys: -6, temp: 1.9 }, give: ["J01CR02", "N02BE01"], labs: ["crp", "leukocytes"] },
  { icd: "N17.9", text: "Acute kidney failure", ill: [0.3, 0.7], shift: { hr: 16, rr: 7, spo2: -2, sys: -10, temp: 0.2 }, give: ["C03CA01"], labs: ["creatinine", "potassium"], avoid: ["A10BA02"], without: ["N18.9"] },
  { icd: "K92.2", text: "Gastrointestinal haemorrhage", ill: [0.3, 0.75], shift: { hr: 38, rr: 5, spo2: -1, sys: -30, temp: 0 }, give: ["A02BC01"], labs: ["hemoglobin", "sodium"], avoid: ["B01AC06"], without: ["K21.9"] },
  { icd: "E10.1", text: "Type 1 diabetes with ketoacidosis", ill: [0.3, 0.7], shift: { hr: 30, rr: 12, spo2: 0, sys: -16, temp: 0.3 }, give: ["A10AE04"], labs: ["glucose", "potassium"], without: ["E11.9"] },
];

/** What people have besides; `give` is what they take for it at home and go on taking here. */
export const besides = [
  { icd: "I10", text: "Hypertension", give: "C08CA01" },
  { icd: "E11.9", text: "Type 2 diabetes", give: "A10BA02" },
  { icd: "E78.5", text: "Hyperlipidaemia", give: "C10AA05" },
  { icd: "E03.9", text: "Hypothyroidism", give: "H03AA01" },
  { icd: "K21.9", text: "Gastro-oesophageal reflux", give: "A02BC01" },
  { icd: "N18.9", text: "Chronic kidney disease" },
  { icd: "M19.9", text: "Arthrosis", give: "N02BE01" },
  { icd: "F32.9", text: "Depression", give: "N06AB06" },
  { icd: "I25.1", text: "Coronary heart disease", give: "B01AC06" },
];

/** Medicines by ATC code: name, dose and unit, times a day, route; `needed` where it is given only then. */
export const medicines = {
  A02BC01: { text: "Omeprazole", dose: 20, unit: "mg", daily: 1, route: "by mouth" },
  A10AE04: { text: "Insulin glargine", dose: 16, unit: "[iU]", daily: 1, route: "under the skin" },
  A10BA02: { text: "Metformin", dose: 500, unit: "mg", daily: 2, route: "by mouth" },
  B01AB05: { text: "Enoxaparin", dose: 40, unit: "mg", daily: 1, route: "under the skin" },
  B01AC06: { text: "Acetylsalicylic acid", dose: 75, unit: "mg", daily: 1, route: "by mouth" },
  B01AF02: { text: "Apixaban", dose: 5, unit: "mg", daily: 2, route: "by mouth" },
  C03CA01: { text: "Furosemide", dose: 40, unit: "mg", daily: 2, route: "into a vein" },
  C07AB07: { text: "Bisoprolol", dose: 2.5, unit: "mg", daily: 1, route: "by mouth" },
  C08CA01: { text: "Amlodipine", dose: 5, unit: "mg", daily: 1, route: "by mouth" },
  C10AA05: { text: "Atorvastatin", dose: 40, unit: "mg", daily: 1, route: "by mouth" },
  H02AB06: { text: "Prednisolone", dose: 30, unit: "mg", daily: 1, route: "by mouth" },
  H03AA01: { text: "Levothyroxine", dose: 75, unit: "ug", daily: 1, route: "by mouth" },
  J01CR02: { text: "Amoxicillin and clavulanic acid", dose: 625, unit: "mg", daily: 3, route: "by mouth" },
  J01CR05: { text: "Piperacillin and tazobactam", dose: 4.5, unit: "g", daily: 3, route: "into a vein" },
  J01DD04: { text: "Ceftriaxone", dose: 2, unit: "g", daily: 1, route: "into a vein" },
  N02AA01: { text: "Morphine", dose: 5, unit: "mg", daily: 4, route: "by mouth", needed: true },
  N02BE01: { text: "Paracetamol", dose: 1, unit: "g", daily: 4, route: "by mouth", needed: true },
  N06AB06: { text: "Sertraline", dose: 50, unit: "mg", daily: 1, route: "by mouth" },
  R03AC02: { text: "Salbutamol", dose: 2.5, unit: "mg", daily: 4, route: "inhaled" },
};

/** What people do not tolerate; `never` are medicines that nobody with it is given. */
export const allergens = [
  { text: "Penicillins", category: "medication", reaction: "Rash", never: ["J01CR02", "J01CR05", "J01DD04"] },
  { text: "Sulfonamides", category: "medication", reaction: "Hives", never: ["C03CA01"] },
  { text: "Acetylsalicylic acid", category: "medication", reaction: "Wheezing", never: ["B01AC06"] },
  { text: "Morphine", category: "medication", reaction: "Itching", never: ["N02AA01"] },
  { text: "Peanut", category: "food", reaction: "Swelling of the lips", high: true, never: [] },
  { text: "Shellfish", category: "food", reaction: "Hives", never: [] },
  { text: "Natural rubber latex", category: "environment", reaction: "Contact dermatitis", never: [] },
  { text: "Bee venom", category: "environment", reaction: "Anaphylaxis", high: true, never: [] },
];

/** Laboratory tests: LOINC, unit, reference range, the value of the well and of the most ill. */
export const tests = {
  bnp: { loinc: "30934-4", text: "Natriuretic peptide B", unit: "pg/mL", high: 100, well: 45, worst: 2400 },
  creatinine: { loinc: "14682-9", text: "Creatinine", unit: "umol/L", low: 49, high: 104, well: 78, worst: 420 },
  crp: { loinc: "1988-5", text: "C reactive protein", unit: "mg/L", high: 5, well: 3, worst: 290 },
  glucose: { loinc: "15074-8", text: "Glucose", unit: "mmol/L", low: 3.9, high: 7.8, well: 5.6, worst: 27, digits: 1 },
  hemoglobin: { loinc: "718-7", text: "Haemoglobin", unit: "g/dL", low: 12, high: 17.5, well: 14, worst: 7.1, digits: 1 },
  lactate: { loinc: "2524-7", text: "Lactate", unit: "mmol/L", low: 0.5, high: 2.2, well: 1.1, worst: 5.8, digits: 1 },
  leukocytes: { loinc: "6690-2", text: "Leukocytes", unit: "10*3/uL", low: 4, high: 11, well: 7, worst: 23, digits: 1 },
  potassium: { loinc: "2823-3", text: "Potassium", unit: "mmol/L", low: 3.5, high: 5.1, well: 4.2, worst: 6.1, digits: 1 },
  sodium: { loinc: "2951-2", text: "Sodium", unit: "mmol/L", low: 136, high: 145, well: 140, worst: 127 },
};
