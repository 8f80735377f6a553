//! UCUM units of vital signs, converted to the one that each parameter is kept in.
//!
//! Invariant: a value is converted exactly as its unit says or not at all; an unknown unit is never taken for the usual one.

use super::{Milli, Parameter};

/// The value of `parameter` that `value` of `unit` is; `None` where it cannot be converted. Annotations in braces say
/// nothing about the size of a unit (UCUM section 1.4) and are passed over: `{beats}/min` is `/min`.
pub fn convert(parameter: Parameter, value: f64, unit: &str) -> Option<Milli> {
    let unit = without_annotations(unit)?;
    let converted = match (parameter, unit.as_str()) {
        (Parameter::HeartRate | Parameter::RespiratoryRate, "/min" | "1/min" | "min-1") => value,
        (Parameter::HeartRate | Parameter::RespiratoryRate, "/s" | "1/s" | "s-1" | "Hz") => value * 60.0,
        (Parameter::OxygenSaturation, "%") => value,
        (Parameter::OxygenSaturation, "1") => value * 100.0,
        (Parameter::SystolicPressure | Parameter::DiastolicPressure, "mm[Hg]") => value,
        (Parameter::SystolicPressure | Parameter::DiastolicPressure, "kPa") => value / KPA_PER_MMHG,
        (Parameter::Temperature, "Cel") => value,
        (Parameter::Temperature, "[degF]") => (value - 32.0) / 1.8,
        (Parameter::Temperature, "K") => value - 273.15,
        _ => return None,
    };
    Some(Milli::from_f64(converted))
}

/// Kilopascals in a millimetre of mercury (UCUM: `m[Hg]` is 133.3220 kPa).
const KPA_PER_MMHG: f64 = 0.133_322;

/// Whether oxygen is given, by the flow (`L/min`, `mL/min`) or the concentration (`%`; air has 21) of what is inhaled.
pub fn on_oxygen(value: f64, unit: &str) -> Option<bool> {
    match without_annotations(unit)?.as_str() {
        "L/min" | "l/min" | "mL/min" | "ml/min" => Some(value > 0.0),
        "%" => Some(value > 21.0),
        _ => None,
    }
}

fn without_annotations(unit: &str) -> Option<String> {
    let mut bare = String::with_capacity(unit.len());
    let mut inside = false;
    for letter in unit.chars() {
        match (letter, inside) {
            ('{', false) => inside = true,
            ('}', true) => inside = false,
            ('{', true) | ('}', false) => return None,
            (_, true) => {}
            (letter, false) => bare.push(letter),
        }
    }
    (!inside).then_some(bare)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_converted_or_refused() {
        use Parameter::{
            DiastolicPressure, HeartRate, OxygenSaturation, RespiratoryRate, SystolicPressure, Temperature,
        };
        let table = [
            (HeartRate, 72.0, "/min", Some(72_000)),
            (HeartRate, 72.0, "{beats}/min", Some(72_000)),
            (HeartRate, 72.0, "{Beats}/min", Some(72_000)),
            (HeartRate, 1.2, "Hz", Some(72_000)),
            (HeartRate, 72.0, "bpm", None),
            (HeartRate, 72.0, "%", None),
            (HeartRate, 72.0, "", None),
            (HeartRate, 72.0, "{beats/min", None),
            (RespiratoryRate, 18.0, "{breaths}/min", Some(18_000)),
            (OxygenSaturation, 97.0, "%", Some(97_000)),
            (OxygenSaturation, 0.97, "1", Some(97_000)),
            (SystolicPressure, 120.0, "mm[Hg]", Some(120_000)),
            (SystolicPressure, 120.0, "mmHg", None),
            (SystolicPressure, 16.0, "kPa", Some(120_010)),
            (DiastolicPressure, 10.0, "kPa", Some(75_006)),
            (Temperature, 37.05, "Cel", Some(37_050)),
            (Temperature, 98.6, "[degF]", Some(37_000)),
            (Temperature, 100.4, "[degF]", Some(38_000)),
            (Temperature, 310.15, "K", Some(37_000)),
            (Temperature, 37.0, "degC", None),
        ];
        for (parameter, value, unit, milli) in table {
            assert_eq!(convert(parameter, value, unit), milli.map(Milli), "{parameter:?} {value} {unit}");
        }
    }

    #[test]
    fn oxygen_is_any_flow_and_more_than_air() {
        let table = [
            (0.0, "L/min", Some(false)),
            (2.0, "l/min", Some(true)),
            (500.0, "mL/min", Some(true)),
            (21.0, "%", Some(false)),
            (28.0, "%", Some(true)),
            (2.0, "L", None),
        ];
        for (value, unit, given) in table {
            assert_eq!(on_oxygen(value, unit), given, "{value} {unit}");
        }
    }
}
