//! Vital signs in an Observation: which LOINC and SNOMED CT codes are followed, and what they say.
//!
//! Invariant: an Observation of now with a code that is followed is understood whole or refused with the element at fault.
//! One that is older than [`COUNTS`] cannot count any more and is taken as it is: history is stored as it was written.

use serde::{Deserialize, Serialize};

use super::{COUNTS, Consciousness, Milli, Parameter, Reading, units};
use crate::error::{Error, Kind, Result};
use crate::fhir::{Json, Resource, ResourceType, relative};
use crate::time::UnixMillis;

const LOINC: &str = "http://loinc.org";
const SNOMED: &str = "http://snomed.info/sct";
const UCUM: &str = "http://unitsofmeasure.org";

/// What a code asks for.
#[derive(Clone, Copy)]
enum Asked {
    Measured(Parameter),
    /// Flow or concentration of inhaled oxygen, or whether there is any.
    Oxygen,
    Consciousness,
}

fn asked(system: &str, code: &str) -> Option<Asked> {
    Some(match (system, code) {
        (LOINC, "9279-1") => Asked::Measured(Parameter::RespiratoryRate),
        (LOINC, "2708-6" | "59408-5") => Asked::Measured(Parameter::OxygenSaturation),
        (LOINC, "8480-6") => Asked::Measured(Parameter::SystolicPressure),
        (LOINC, "8462-4") => Asked::Measured(Parameter::DiastolicPressure),
        (LOINC, "8867-4") => Asked::Measured(Parameter::HeartRate),
        (LOINC, "8310-5") => Asked::Measured(Parameter::Temperature),
        // Flow and concentration (also as components of a saturation), and "patient on oxygen".
        (LOINC, "3151-8" | "3150-6") | (SNOMED, "371825009") => Asked::Oxygen,
        (LOINC, "67775-7" | "80288-4") => Asked::Consciousness,
        _ => return None,
    })
}

/// Whether an Observation or a component with this code is a vital sign that is followed.
pub fn is_followed(system: &str, code: &str) -> bool {
    asked(system, code).is_some()
}

/// ACVPU as SNOMED CT findings and as LOINC answers.
fn level(system: &str, code: &str) -> Option<Consciousness> {
    Some(match (system, code) {
        (SNOMED, "248234008") | (LOINC, "LA9340-6") => Consciousness::Alert,
        (SNOMED, "130987000") | (LOINC, "LA6560-2") => Consciousness::Confused,
        (SNOMED, "300202002") | (LOINC, "LA17108-4") => Consciousness::Voice,
        (SNOMED, "450847001") | (LOINC, "LA17107-6") => Consciousness::Pain,
        (SNOMED, "422768004") | (LOINC, "LA9343-0") => Consciousness::Unresponsive,
        _ => return None,
    })
}

/// "Breathing room air" and "no"; "patient on oxygen" and "yes".
fn given(system: &str, code: &str) -> Option<bool> {
    match (system, code) {
        (SNOMED, "722742002" | "373067005") => Some(false),
        (SNOMED, "371825009" | "373066001") => Some(true),
        _ => None,
    }
}

/// What an Observation says of a patient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charted {
    /// The Patient's id.
    pub patient: String,
    /// When it was measured; `None` where it does not say.
    pub at: Option<UnixMillis>,
    /// What was measured, each parameter once.
    pub readings: Vec<Reading>,
}

/// What `resource` says at `now`: `None` where it is no Observation of a patient with a code that is followed, or where it
/// is only planned, was cancelled or entered in error. 422 with the element at fault where it cannot be understood.
pub fn read(resource: &Resource, now: UnixMillis) -> Result<Option<Charted>> {
    let counts = matches!(resource.str_at(&["status"]), Some("preliminary" | "final" | "amended" | "corrected"));
    if resource.kind() != ResourceType::Observation || !counts {
        return Ok(None);
    }
    let subject = resource.str_at(&["subject", "reference"]).and_then(relative);
    let Some(patient) = subject.filter(|to| to.kind == ResourceType::Patient) else { return Ok(None) };
    let at = measured(resource);
    let is_history = at.is_some_and(|at| at.plus(COUNTS) < now);
    let mut readings: Vec<Reading> = Vec::new();
    let mut take = |part: Part<'_>, path: &str| match reading(part, path) {
        Ok(Some(reading)) => {
            // The first one of a parameter counts: the value itself goes before the components.
            if readings.iter().all(|other| other.parameter != reading.parameter) {
                readings.push(reading);
            }
            Ok(())
        }
        Err(_) if is_history => Ok(()),
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    take(&|name| resource.values_at(&[name]).next(), "Observation")?;
    for (index, component) in resource.values_at(&["component"]).enumerate() {
        take(&|name| component.get(name), &format!("Observation.component[{index}]"))?;
    }
    Ok((!readings.is_empty()).then(|| Charted { patient: patient.id.to_owned(), at, readings }))
}

/// When it was measured: the end of a period, the beginning of a day, month or year that has no time.
fn measured(resource: &Resource) -> Option<UnixMillis> {
    let paths: [&[&str]; 4] =
        [&["effectiveDateTime"], &["effectiveInstant"], &["effectivePeriod", "end"], &["effectivePeriod", "start"]];
    let text = paths.into_iter().find_map(|path| resource.str_at(path))?;
    let whole = match text.len() {
        4 => format!("{text}-01-01T00:00:00Z"),
        7 => format!("{text}-01T00:00:00Z"),
        10 => format!("{text}T00:00:00Z"),
        _ => text.to_owned(),
    };
    // What is before 1970 is history like everything else that is long ago.
    Some(UnixMillis::parse_rfc3339(&whole).unwrap_or(UnixMillis(0)))
}

fn refuse(path: &str, element: &str, why: &'static str) -> Error {
    Error::new(Kind::Unprocessable, why).at(format!("{path}.{element}"))
}

fn codings(concept: &Json) -> impl Iterator<Item = (&str, &str)> {
    let codings = concept.get("coding").map(Json::items).unwrap_or_default();
    codings.iter().filter_map(|coding| Some((coding.get("system")?.as_str()?, coding.get("code")?.as_str()?)))
}

/// A way to the elements of an Observation or of one of its components.
type Part<'a> = &'a dyn Fn(&str) -> Option<&'a Json>;

/// What an Observation or a component of it says.
fn reading(part: Part<'_>, path: &str) -> Result<Option<Reading>> {
    let Some(code) = part("code") else { return Ok(None) };
    let Some(asked) = codings(code).find_map(|(system, code)| asked(system, code)) else { return Ok(None) };
    let quantity = part("valueQuantity");
    let concept = part("valueCodeableConcept");
    let boolean = part("valueBoolean");
    let others = ["String", "Integer", "Range", "Ratio", "SampledData", "Time", "DateTime", "Period"];
    if quantity.is_none() && concept.is_none() && boolean.is_none() {
        return match others.into_iter().find(|kind| part(&format!("value{kind}")).is_some()) {
            // Panels have no value of their own, and a sign that was not measured has none either.
            None => Ok(None),
            Some(kind) => Err(refuse(path, &format!("value{kind}"), "a vital sign is a Quantity with a UCUM unit")),
        };
    }
    let (parameter, value) = match asked {
        Asked::Measured(parameter) => {
            let Some(quantity) = quantity else {
                return Err(refuse(path, "value", "a vital sign is a Quantity with a UCUM unit"));
            };
            let Some((value, unit)) = number(quantity, path)? else { return Ok(None) };
            let converted = units::convert(parameter, value, &unit);
            (parameter, converted.ok_or_else(|| refuse(path, "valueQuantity.code", UNIT))?)
        }
        Asked::Oxygen => {
            let any = match (quantity, concept, boolean) {
                (Some(quantity), ..) => {
                    let Some((value, unit)) = number(quantity, path)? else { return Ok(None) };
                    units::on_oxygen(value, &unit).ok_or_else(|| refuse(path, "valueQuantity.code", UNIT))?
                }
                (_, Some(concept), _) => {
                    let any = codings(concept).find_map(|(system, code)| given(system, code));
                    let why = "on oxygen is SNOMED CT 371825009 or 373066001, on air 722742002 or 373067005";
                    any.ok_or_else(|| refuse(path, "valueCodeableConcept.coding", why))?
                }
                (.., truth) => matches!(truth, Some(Json::Bool(true))),
            };
            (Parameter::SupplementalOxygen, Milli::whole(i64::from(any)))
        }
        Asked::Consciousness => {
            let level = concept.into_iter().flat_map(codings).find_map(|(system, code)| level(system, code));
            let why = "consciousness is one of ACVPU: SNOMED CT 248234008, 130987000, 300202002, 450847001, 422768004";
            (Parameter::Consciousness, level.ok_or_else(|| refuse(path, "valueCodeableConcept.coding", why))?.value())
        }
    };
    if !parameter.possible().contains(&value) {
        let why = "this is outside of what the sign can be in a patient; a reading that failed has a dataAbsentReason";
        return Err(refuse(path, "valueQuantity.value", why));
    }
    Ok(Some(Reading { parameter, value }))
}

const UNIT: &str =
    "this is no UCUM unit that the sign can be converted from: /min, %, mm[Hg], kPa, Cel, [degF], K, L/min";

/// Value and UCUM unit of a Quantity; `None` where it has no value. A unit without a code is taken for one if it reads as
/// one.
fn number(quantity: &Json, path: &str) -> Result<Option<(f64, String)>> {
    let Some(value) = quantity.get("value").and_then(Json::as_number) else { return Ok(None) };
    let value: f64 = value.parse().map_err(|_| refuse(path, "valueQuantity.value", "this is no number"))?;
    let text = |name| quantity.get(name).and_then(Json::as_str);
    if text("system").is_some_and(|system| system != UCUM) {
        return Err(refuse(path, "valueQuantity.system", "the units of a vital sign are those of UCUM"));
    }
    Ok(Some((value, text("code").or(text("unit")).unwrap_or_default().to_owned())))
}

#[cfg(test)]
#[path = "codes_tests.rs"]
mod tests;
