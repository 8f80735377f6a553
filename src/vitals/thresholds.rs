//! What is set for one patient: the SpO2 scale, the limits beyond which there is an alert, and whether silence is one.
//!
//! Invariant: what is stored was checked; a patient for whom nothing was set has [`Thresholds::default`].

use serde::{Deserialize, Serialize};

use super::alert::Bound;
use super::news2::Scale;
use super::{Milli, Parameter};
use crate::error::{Error, Kind, Result};
use crate::sorted::{BTreeMap, object};
use crate::store::sql::Sql;
use crate::time::UnixMillis;

/// Beyond which values there is an alert; the limits themselves are within.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// Alert below this.
    pub low: Option<Milli>,
    /// Alert above this.
    pub high: Option<Milli>,
}

/// Whether it is an alert when no readings come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Monitoring {
    /// From the first telemetry on, for as long as the patient is in a ward.
    #[default]
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

/// What is set for one patient.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thresholds {
    /// The SpO2 scale.
    pub scale: Scale,
    /// Whether silence is an alert.
    pub monitoring: Monitoring,
    /// A reading is expected this often, in seconds; the deployment's setting where there is none.
    pub interval_seconds: Option<u32>,
    /// Limits by parameter.
    pub limits: BTreeMap<Parameter, Limit>,
    /// Grows with every change; 0 where nothing was set.
    pub version: u64,
}

/// The shape on the wire.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wire {
    spo2_scale: u8,
    #[serde(default)]
    monitoring: Monitoring,
    #[serde(default)]
    interval_seconds: Option<u32>,
    #[serde(default)]
    limits: BTreeMap<String, WireLimit>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireLimit {
    #[serde(default)]
    low: Option<f64>,
    #[serde(default)]
    high: Option<f64>,
}

/// The longest interval between readings.
const LONGEST: u32 = 24 * 60 * 60;

impl Thresholds {
    /// Checks what was sent.
    pub fn of(wire: &Wire) -> Result<Thresholds> {
        let wrong = |field: String, message: &'static str| Error::new(Kind::Unprocessable, message).at(field);
        let scale = match wire.spo2_scale {
            1 => Scale::One,
            2 => Scale::Two,
            _ => return Err(wrong("spo2_scale".into(), "this is 1 or 2")),
        };
        if wire.interval_seconds.is_some_and(|seconds| !(1..=LONGEST).contains(&seconds)) {
            return Err(wrong("interval_seconds".into(), "this is from 1 to 86400"));
        }
        if wire.monitoring == Monitoring::On && wire.interval_seconds.is_none() {
            return Err(wrong("interval_seconds".into(), "say how often a reading is expected"));
        }
        let mut limits = BTreeMap::new();
        for (word, limit) in &wire.limits {
            let parameter = Parameter::parse(word);
            let measured =
                parameter.filter(|one| !matches!(one, Parameter::Consciousness | Parameter::SupplementalOxygen));
            let unknown = || {
                wrong(
                    "limits".into(),
                    "limits are for respiratory_rate, oxygen_saturation, systolic_pressure, diastolic_pressure, heart_rate and temperature",
                )
            };
            let parameter = measured.ok_or_else(unknown)?;
            let field = |which: &str| format!("limits.{}.{which}", parameter.as_str());
            let bound = |which: &str, value: Option<f64>| {
                let value = value.map(Milli::from_f64);
                let possible = value.is_none_or(|value| parameter.possible().contains(&value));
                if possible { Ok(value) } else { Err(wrong(field(which), "no reading can be there")) }
            };
            let limit = Limit { low: bound("low", limit.low)?, high: bound("high", limit.high)? };
            match (limit.low, limit.high) {
                (Some(low), Some(high)) if low >= high => return Err(wrong(field("low"), "this must be below high")),
                (None, None) => {}
                _ => drop(limits.insert(parameter, limit)),
            }
        }
        let (monitoring, interval_seconds) = (wire.monitoring, wire.interval_seconds);
        Ok(Thresholds { scale, monitoring, interval_seconds, limits, version: 0 })
    }

    /// Which limit `value` is beyond, and how much that is.
    pub fn breach(&self, parameter: Parameter, value: Milli) -> Option<(Bound, Milli)> {
        let limit = self.limits.get(&parameter)?;
        match (limit.low, limit.high) {
            (Some(low), _) if value < low => Some((Bound::Low, low)),
            (_, Some(high)) if value > high => Some((Bound::High, high)),
            _ => None,
        }
    }

    /// The JSON on the wire.
    pub fn to_json(&self) -> serde_json::Value {
        let limits = object(&mut self.limits.iter().map(|(parameter, limit)| {
            let bound = |value: Option<Milli>| value.map(|value| value.to_json(*parameter));
            (parameter.as_str().to_owned(), serde_json::json!({ "low": bound(limit.low), "high": bound(limit.high) }))
        }));
        serde_json::json!({
            "spo2_scale": match self.scale { Scale::One => 1, Scale::Two => 2 },
            "monitoring": self.monitoring,
            "interval_seconds": self.interval_seconds,
            "limits": limits,
            "version": self.version,
        })
    }
}

/// Makes the table where it is not there yet.
pub fn prepare(sql: &impl Sql) -> Result<()> {
    sql.exec(
        "CREATE TABLE IF NOT EXISTS thresholds (patient TEXT PRIMARY KEY, updated INTEGER NOT NULL, \
         thresholds TEXT NOT NULL) WITHOUT ROWID",
        &[],
    )?;
    Ok(())
}

/// What is set for `patient`.
pub fn get(sql: &impl Sql, patient: &str) -> Result<Thresholds> {
    let row = sql.first("SELECT thresholds FROM thresholds WHERE patient = ?1", &[patient.into()])?;
    let Some(mut row) = row else { return Ok(Thresholds::default()) };
    serde_json::from_str(&row.text()?)
        .map_err(|_| Error::internal("thresholds are not of the shape this version writes"))
}

/// Sets them whole; gives them with their version. 412 where `expected` is another version than the present one.
pub fn put(
    sql: &impl Sql,
    now: UnixMillis,
    patient: &str,
    thresholds: &Thresholds,
    expected: Option<u64>,
) -> Result<Thresholds> {
    let before = get(sql, patient)?;
    if expected.is_some_and(|version| version != before.version) {
        return Err(Error::new(Kind::PreconditionFailed, "these were changed: read them again").at("if-match"));
    }
    let after = Thresholds { version: before.version.saturating_add(1), ..thresholds.clone() };
    let text = serde_json::to_string(&after).map_err(|_| Error::internal("thresholds could not be written"))?;
    sql.exec(
        "INSERT INTO thresholds (patient, updated, thresholds) VALUES (?1, ?2, ?3) \
         ON CONFLICT (patient) DO UPDATE SET updated = excluded.updated, thresholds = excluded.thresholds",
        &[patient.into(), now.into(), text.into()],
    )?;
    Ok(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Thresholds> {
        Thresholds::of(&serde_json::from_str(json).unwrap())
    }

    #[test]
    fn what_is_set_is_checked() {
        let json = r#"{"spo2_scale":2,"monitoring":"on","interval_seconds":60,
            "limits":{"heart_rate":{"low":45.5,"high":130},"temperature":{"high":39},"systolic_pressure":{}}}"#;
        let set = read(json).unwrap();
        assert_eq!(set.scale, Scale::Two);
        assert_eq!(set.limits.get(&Parameter::HeartRate).unwrap().low, Some(Milli(45_500)));
        assert_eq!(set.limits.len(), 2);
        let back = set.to_json();
        assert_eq!(back["limits"]["heart_rate"], serde_json::json!({ "low": 45.5, "high": 130 }));
        assert_eq!(back["limits"]["temperature"], serde_json::json!({ "low": null, "high": 39 }));

        for (json, field) in [
            (r#"{"spo2_scale":3}"#, "spo2_scale"),
            (r#"{"spo2_scale":1,"monitoring":"on"}"#, "interval_seconds"),
            (r#"{"spo2_scale":1,"interval_seconds":0}"#, "interval_seconds"),
            (r#"{"spo2_scale":1,"limits":{"weight":{"low":1}}}"#, "limits"),
            (r#"{"spo2_scale":1,"limits":{"consciousness":{"high":1}}}"#, "limits"),
            (r#"{"spo2_scale":1,"limits":{"heart_rate":{"low":100,"high":100}}}"#, "limits.heart_rate.low"),
            (r#"{"spo2_scale":1,"limits":{"heart_rate":{"high":900}}}"#, "limits.heart_rate.high"),
        ] {
            assert_eq!(read(json).unwrap_err().field.as_deref(), Some(field), "{json}");
        }
    }
}
