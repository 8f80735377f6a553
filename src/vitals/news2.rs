//! The National Early Warning Score 2 (Royal College of Physicians, 2017): points by parameter, their sum, and the risk.
//!
//! Invariant: the table is that of the published chart. A parameter without a reading adds nothing, so that a partial score
//! is a lower bound of the whole one and says what it lacks.

use serde::{Deserialize, Serialize};

use super::{Latest, Milli, Parameter};

/// Which scale SpO2 is scored on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scale {
    /// Everybody.
    #[default]
    One,
    /// Patients with hypercapnic respiratory failure, target 88 to 92 %: a clinician's decision, set per patient.
    Two,
}

/// The parameters that are scored.
pub const SCORED: [Parameter; 7] = [
    Parameter::RespiratoryRate,
    Parameter::OxygenSaturation,
    Parameter::SupplementalOxygen,
    Parameter::SystolicPressure,
    Parameter::HeartRate,
    Parameter::Consciousness,
    Parameter::Temperature,
];

/// Bands of the chart: up to and including this value, so many points. The first that fits counts.
type Bands = &'static [(i64, u8)];

const RESPIRATORY_RATE: Bands = &[(8, 3), (11, 1), (20, 0), (24, 2), (i64::MAX, 3)];
const SATURATION_1: Bands = &[(91, 3), (93, 2), (95, 1), (i64::MAX, 0)];
const SATURATION_2_AIR: Bands = &[(83, 3), (85, 2), (87, 1), (i64::MAX, 0)];
const SATURATION_2_OXYGEN: Bands = &[(83, 3), (85, 2), (87, 1), (92, 0), (94, 1), (96, 2), (i64::MAX, 3)];
const OXYGEN: Bands = &[(0, 0), (i64::MAX, 2)];
const SYSTOLIC: Bands = &[(90, 3), (100, 2), (110, 1), (219, 0), (i64::MAX, 3)];
const HEART_RATE: Bands = &[(40, 3), (50, 1), (90, 0), (110, 1), (130, 2), (i64::MAX, 3)];
const CONSCIOUSNESS: Bands = &[(0, 0), (i64::MAX, 3)];
/// In tenths of a degree.
const TEMPERATURE: Bands = &[(350, 3), (360, 1), (380, 0), (390, 1), (i64::MAX, 2)];

/// The points of one value. It is rounded to what the chart tells apart first: whole units, tenths of a degree.
/// `on_oxygen` matters to SpO2 on scale 2 alone; where it is not known the answer is that for air, the lower one.
pub fn points(parameter: Parameter, value: Milli, scale: Scale, on_oxygen: bool) -> u8 {
    let (bands, value) = match parameter {
        Parameter::RespiratoryRate => (RESPIRATORY_RATE, value.rounded()),
        Parameter::OxygenSaturation => {
            let bands = match (scale, on_oxygen) {
                (Scale::One, _) => SATURATION_1,
                (Scale::Two, false) => SATURATION_2_AIR,
                (Scale::Two, true) => SATURATION_2_OXYGEN,
            };
            (bands, value.rounded())
        }
        Parameter::SupplementalOxygen => (OXYGEN, value.rounded()),
        Parameter::SystolicPressure => (SYSTOLIC, value.rounded()),
        Parameter::HeartRate => (HEART_RATE, value.rounded()),
        Parameter::Consciousness => (CONSCIOUSNESS, value.rounded()),
        Parameter::Temperature => (TEMPERATURE, value.tenths()),
        Parameter::DiastolicPressure => return 0,
    };
    bands.iter().find(|(up_to, _)| value <= *up_to).map_or(0, |(_, points)| *points)
}

/// Clinical risk, by the thresholds and triggers of the chart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Risk {
    /// 0
    None,
    /// 1 to 4
    Low,
    /// 3 in any single parameter, the sum below 5: urgent ward-based response.
    LowMedium,
    /// 5 or 6: key threshold for urgent response.
    Medium,
    /// 7 or more: urgent or emergency response.
    High,
}

impl Risk {
    /// The risk of `total` with `worst` points in a single parameter.
    pub fn of(total: u8, worst: u8) -> Risk {
        match (total, worst) {
            (7.., _) => Risk::High,
            (5..=6, _) => Risk::Medium,
            (_, 3..) => Risk::LowMedium,
            (1..=4, _) => Risk::Low,
            (0, _) => Risk::None,
        }
    }
}

/// One parameter's part in a score.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The reading.
    pub latest: Latest,
    /// Its points.
    pub points: u8,
}

/// A score.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Score {
    /// The sum.
    pub total: u8,
    /// What it means.
    pub risk: Risk,
    /// What it is made of, in the chart's order.
    pub parts: Vec<Part>,
    /// The parameters without a reading that counts: where there are any, the sum is a lower bound.
    pub missing: Vec<Parameter>,
}

/// The score of these readings, at most one a parameter; `None` where none of them is scored.
pub fn score(latest: &[Latest], scale: Scale) -> Option<Score> {
    let find = |parameter| latest.iter().find(|one| one.reading.parameter == parameter);
    let on_oxygen = find(Parameter::SupplementalOxygen).is_some_and(|one| one.reading.value.0 > 0);
    let mut score = Score { total: 0, risk: Risk::None, parts: Vec::new(), missing: Vec::new() };
    for parameter in SCORED {
        match find(parameter) {
            None => score.missing.push(parameter),
            Some(latest) => {
                let points = points(parameter, latest.reading.value, scale, on_oxygen);
                score.total = score.total.saturating_add(points);
                score.parts.push(Part { latest: latest.clone(), points });
            }
        }
    }
    let worst = score.parts.iter().map(|part| part.points).max()?;
    score.risk = Risk::of(score.total, worst);
    Some(score)
}

#[cfg(test)]
#[path = "news2_tests.rs"]
mod tests;
