//! Vital signs: what was measured, how it scores, and who must be told.
//!
//! Invariant: what a patient's score and alerts say follows from the readings that are kept here, and those from the
//! Observations that are kept as records and from what monitors say; all of it changes in the transaction that writes the
//! record. A reading that is not the latest of its parameter changes nothing but history.

pub mod alert;
pub mod alerts_sql;
pub mod codes;
pub mod display;
pub mod evaluate;
pub mod monitor;
pub mod news2;
pub mod readings;
pub mod thresholds;
pub mod units;
pub mod watch;

use serde::{Deserialize, Serialize};

use crate::access::Owner;
use crate::channel::outbox::Event;
use crate::error::Result;
use crate::store::sql::Sql;
use crate::time::{Ttl, UnixMillis};

/// A parameter that is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Parameter {
    /// Breaths per minute.
    RespiratoryRate,
    /// Per cent of haemoglobin that carries oxygen.
    OxygenSaturation,
    /// 0 on air, 1 on oxygen.
    SupplementalOxygen,
    /// `mm[Hg]`
    SystolicPressure,
    /// `mm[Hg]`
    DiastolicPressure,
    /// Beats per minute.
    HeartRate,
    /// A level of [`Consciousness`].
    Consciousness,
    /// Degrees Celsius.
    Temperature,
}

impl Parameter {
    /// All of them, in the order in which NEWS2's chart lists its own.
    pub const ALL: [Parameter; 8] = [
        Parameter::RespiratoryRate,
        Parameter::OxygenSaturation,
        Parameter::SupplementalOxygen,
        Parameter::SystolicPressure,
        Parameter::DiastolicPressure,
        Parameter::HeartRate,
        Parameter::Consciousness,
        Parameter::Temperature,
    ];

    /// The word on the wire and in the tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Parameter::RespiratoryRate => "respiratory_rate",
            Parameter::OxygenSaturation => "oxygen_saturation",
            Parameter::SupplementalOxygen => "supplemental_oxygen",
            Parameter::SystolicPressure => "systolic_pressure",
            Parameter::DiastolicPressure => "diastolic_pressure",
            Parameter::HeartRate => "heart_rate",
            Parameter::Consciousness => "consciousness",
            Parameter::Temperature => "temperature",
        }
    }

    /// The parameter of this word.
    pub fn parse(word: &str) -> Option<Parameter> {
        Parameter::ALL.into_iter().find(|parameter| parameter.as_str() == word)
    }

    /// What a living patient or a working sensor can show: outside of it a value is a sensor's sentinel or a slip.
    pub fn possible(self) -> std::ops::RangeInclusive<Milli> {
        let (low, high) = match self {
            Parameter::RespiratoryRate => (0, 150),
            Parameter::OxygenSaturation => (0, 100),
            Parameter::SupplementalOxygen => (0, 1),
            Parameter::SystolicPressure | Parameter::DiastolicPressure | Parameter::HeartRate => (0, 400),
            Parameter::Consciousness => (0, 4),
            Parameter::Temperature => (10, 50),
        };
        Milli::whole(low)..=Milli::whole(high)
    }
}

/// A value in thousandths of its parameter's unit, so that stored values are whole numbers and compare exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Milli(pub i64);

impl Milli {
    /// A whole number of units.
    pub const fn whole(number: i64) -> Milli {
        Milli(number.saturating_mul(1_000))
    }

    /// The nearest value; saturates, and what is no number is 0.
    pub fn from_f64(value: f64) -> Milli {
        Milli((value * 1_000.0).round() as i64)
    }

    /// Rounded to the nearest whole unit, halves upwards.
    pub fn rounded(self) -> i64 {
        self.0.saturating_add(500).div_euclid(1_000)
    }

    /// Rounded to the nearest tenth of a unit, halves upwards, in tenths.
    pub fn tenths(self) -> i64 {
        self.0.saturating_add(50).div_euclid(100)
    }

    /// As JSON has it: a number, for consciousness its letter, for supplemental oxygen whether there is any.
    pub fn to_json(self, parameter: Parameter) -> serde_json::Value {
        match parameter {
            Parameter::Consciousness => Consciousness::of(self).as_str().into(),
            Parameter::SupplementalOxygen => (self.0 > 0).into(),
            _ if self.0.rem_euclid(1_000) == 0 => self.0.div_euclid(1_000).into(),
            _ => (self.0 as f64 / 1_000.0).into(),
        }
    }
}

/// How awake somebody is, ACVPU, each worse than the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consciousness {
    /// A
    Alert,
    /// C: newly confused.
    Confused,
    /// V: responds to voice.
    Voice,
    /// P: responds to pain.
    Pain,
    /// U
    Unresponsive,
}

impl Consciousness {
    const ALL: [Consciousness; 5] = [
        Consciousness::Alert,
        Consciousness::Confused,
        Consciousness::Voice,
        Consciousness::Pain,
        Consciousness::Unresponsive,
    ];

    /// The letter.
    pub fn as_str(self) -> &'static str {
        match self {
            Consciousness::Alert => "A",
            Consciousness::Confused => "C",
            Consciousness::Voice => "V",
            Consciousness::Pain => "P",
            Consciousness::Unresponsive => "U",
        }
    }

    /// The level of this letter.
    pub fn parse(letter: &str) -> Option<Consciousness> {
        Consciousness::ALL.into_iter().find(|level| level.as_str() == letter)
    }

    /// As a value of its parameter.
    pub fn value(self) -> Milli {
        Milli::whole(match self {
            Consciousness::Alert => 0,
            Consciousness::Confused => 1,
            Consciousness::Voice => 2,
            Consciousness::Pain => 3,
            Consciousness::Unresponsive => 4,
        })
    }

    /// The level of a value; the worst where there is none such.
    fn of(value: Milli) -> Consciousness {
        Consciousness::ALL.into_iter().find(|level| level.value() == value).unwrap_or(Consciousness::Unresponsive)
    }
}

/// One parameter as it was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// Which.
    pub parameter: Parameter,
    /// In the parameter's unit.
    pub value: Milli,
}

/// The latest reading of a parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Latest {
    /// What was measured.
    pub reading: Reading,
    /// When.
    pub at: UnixMillis,
    /// The id of the Observation, or [`TELEMETRY`].
    pub source: String,
}

/// Readings older than this do not count in a score: the longest interval between two sets that the Royal College of
/// Physicians allows (score 0: at least every 12 hours).
pub const COUNTS: Ttl = Ttl::from_mins(12 * 60);
/// Readings that are older than this when they arrive raise no alert: nobody can act on them as if they were new.
pub const FRESH: Ttl = Ttl::from_mins(60);

/// The source of readings that are no records.
pub const TELEMETRY: &str = "telemetry";

/// Who is where: what of the clinic's other roles is needed here.
pub trait Census {
    /// The wards that a patient is in now.
    fn wards(&self, patient: &str) -> Result<Vec<String>>;
    /// The accounts of the practitioners to whom an alert of a patient in these wards is escalated.
    fn practitioners(&self, wards: &[String]) -> Result<Vec<String>>;
    /// An event about a patient in these wards was committed: whoever has subscribed to such is told.
    fn told(&self, owner: &Owner, event: &Event) -> Result<()>;
}

/// Makes the tables where they are not there yet.
pub fn prepare(sql: &impl Sql) -> Result<()> {
    readings::prepare(sql)?;
    thresholds::prepare(sql)?;
    monitor::prepare(sql)?;
    alerts_sql::prepare(sql)
}

#[cfg(test)]
mod model_tests;
