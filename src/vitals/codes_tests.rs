use super::*;
use crate::vitals::Parameter::*;

/// 2025-11-24T16:00:00Z
const NOW: UnixMillis = UnixMillis(1_764_000_000_000);
const TODAY: &str = "2025-11-24T15:30:00Z";

fn observation(code: &str, more: &str) -> String {
    format!(
        r#"{{"resourceType":"Observation","status":"final","subject":{{"reference":"Patient/p"}},
            "code":{{"coding":[{{"system":"urn:local","code":"x"}},{code}]}},"effectiveDateTime":"{TODAY}"{more}}}"#
    )
}

fn loinc(code: &str) -> String {
    format!(r#"{{"system":"http://loinc.org","code":"{code}"}}"#)
}

fn snomed(code: &str) -> String {
    format!(r#"{{"system":"http://snomed.info/sct","code":"{code}"}}"#)
}

fn quantity(value: &str, code: &str) -> String {
    format!(r#","valueQuantity":{{"value":{value},"system":"http://unitsofmeasure.org","code":"{code}"}}"#)
}

fn concept(coding: &str) -> String {
    format!(r#","valueCodeableConcept":{{"coding":[{coding}]}}"#)
}

fn component(code: &str, value: &str) -> String {
    format!(r#"{{"code":{{"coding":[{}]}}{value}}}"#, loinc(code))
}

fn read_json(json: &str) -> Result<Option<Charted>> {
    read(&Resource::parse(json.as_bytes()).unwrap(), NOW)
}

fn readings(json: &str) -> Vec<(Parameter, i64)> {
    let charted = read_json(json).unwrap();
    charted.map_or(Vec::new(), |charted| {
        charted.readings.iter().map(|reading| (reading.parameter, reading.value.0)).collect()
    })
}

#[test]
fn every_code_that_is_followed() {
    let pressure = format!(
        r#","component":[{},{}]"#,
        component("8480-6", &quantity("128", "mm[Hg]")),
        component("8462-4", &quantity("77.5", "mm[Hg]"))
    );
    let oximetry = format!(r#"{},"component":[{}]"#, quantity("95", "%"), component("3151-8", &quantity("2", "L/min")));
    let table = [
        (loinc("9279-1"), quantity("18", "/min"), vec![(RespiratoryRate, 18_000)]),
        (loinc("2708-6"), quantity("97", "%"), vec![(OxygenSaturation, 97_000)]),
        (loinc("59408-5"), oximetry, vec![(OxygenSaturation, 95_000), (SupplementalOxygen, 1_000)]),
        (loinc("8480-6"), quantity("120", "mm[Hg]"), vec![(SystolicPressure, 120_000)]),
        (loinc("8462-4"), quantity("80", "mm[Hg]"), vec![(DiastolicPressure, 80_000)]),
        (loinc("85354-9"), pressure.clone(), vec![(SystolicPressure, 128_000), (DiastolicPressure, 77_500)]),
        (loinc("85353-1"), pressure, vec![(SystolicPressure, 128_000), (DiastolicPressure, 77_500)]),
        (loinc("8867-4"), quantity("71.50", "/min"), vec![(HeartRate, 71_500)]),
        (loinc("8310-5"), quantity("99.5", "[degF]"), vec![(Temperature, 37_500)]),
        (loinc("3151-8"), quantity("0", "L/min"), vec![(SupplementalOxygen, 0)]),
        (loinc("3150-6"), quantity("28", "%"), vec![(SupplementalOxygen, 1_000)]),
        (snomed("371825009"), concept(&snomed("373067005")), vec![(SupplementalOxygen, 0)]),
        (snomed("371825009"), concept(&snomed("371825009")), vec![(SupplementalOxygen, 1_000)]),
        (snomed("371825009"), r#","valueBoolean":true"#.into(), vec![(SupplementalOxygen, 1_000)]),
        (loinc("67775-7"), concept(&loinc("LA9340-6")), vec![(super::Parameter::Consciousness, 0)]),
        (loinc("80288-4"), concept(&snomed("130987000")), vec![(super::Parameter::Consciousness, 1_000)]),
        (loinc("80288-4"), concept(&snomed("422768004")), vec![(super::Parameter::Consciousness, 4_000)]),
        // Not followed, and without a value.
        (loinc("29463-7"), quantity("70", "kg"), vec![]),
        (loinc("8867-4"), r#","dataAbsentReason":{"text":"lead off"}"#.into(), vec![]),
    ];
    for (code, more, expected) in table {
        assert_eq!(readings(&observation(&code, &more)), expected, "{code}{more}");
    }
}

#[test]
fn what_cannot_be_understood_is_refused_with_its_element_unless_it_is_history() {
    let rate = loinc("8867-4");
    let other_system = r#","valueQuantity":{"value":70,"system":"urn:iso:std:iso:11073:10101","code":"264864"}"#;
    let panel = format!(r#","component":[{}]"#, component("8480-6", &quantity("120", "bar")));
    let table = [
        (&rate, quantity("70", "bpm"), "Observation.valueQuantity.code"),
        (&rate, r#","valueQuantity":{"value":70}"#.to_owned(), "Observation.valueQuantity.code"),
        (&rate, other_system.to_owned(), "Observation.valueQuantity.system"),
        (&rate, quantity("9999", "/min"), "Observation.valueQuantity.value"),
        (&rate, quantity("-1", "/min"), "Observation.valueQuantity.value"),
        (&rate, r#","valueString":"seventy""#.to_owned(), "Observation.valueString"),
        (&rate, r#","valueBoolean":true"#.to_owned(), "Observation.value"),
        (&loinc("85354-9"), panel, "Observation.component[0].valueQuantity.code"),
        (&loinc("80288-4"), concept(&snomed("248220008")), "Observation.valueCodeableConcept.coding"),
        (&loinc("3151-8"), quantity("2", "L"), "Observation.valueQuantity.code"),
    ];
    for (code, more, field) in table {
        let json = observation(code, &more);
        let error = read_json(&json).unwrap_err();
        assert_eq!((error.status(), error.field.as_deref()), (422, Some(field)), "{more}");
        let history = json.replace(TODAY, "2012-03-04T05:06:07+01:00");
        assert_eq!(readings(&history), vec![], "{more}");
        // What is entered in error says nothing, whatever it says.
        assert_eq!(read_json(&json.replace("\"final\"", "\"entered-in-error\"")).unwrap(), None);
    }
}

#[test]
fn who_and_when() {
    let json = observation(&loinc("8867-4"), &quantity("70", "/min"));
    let charted = read_json(&json).unwrap().unwrap();
    assert_eq!((charted.patient.as_str(), charted.at), ("p", UnixMillis::parse_rfc3339(TODAY)));
    let at = |effective: &str| {
        let json = json.replace(&format!(r#""effectiveDateTime":"{TODAY}""#), effective);
        read_json(&json).unwrap().unwrap().at.map(UnixMillis::to_rfc3339)
    };
    let period = r#""effectivePeriod":{"start":"2025-11-24T15:00:00Z","end":"2025-11-24T15:10:00Z"}"#;
    assert_eq!(at(period).as_deref(), Some("2025-11-24T15:10:00.000Z"));
    assert_eq!(at(r#""effectiveDateTime":"2025-11-24""#).as_deref(), Some("2025-11-24T00:00:00.000Z"));
    assert_eq!(at(r#""effectiveDateTime":"2025""#).as_deref(), Some("2025-01-01T00:00:00.000Z"));
    assert_eq!(at(r#""language":"en""#), None);

    for other in ["Group/p", "#p", "https://other.example/Patient/p"] {
        assert_eq!(read_json(&json.replace("Patient/p", other)).unwrap(), None, "{other}");
    }
    for status in ["registered", "cancelled", "unknown"] {
        assert_eq!(read_json(&json.replace("\"final\"", &format!("\"{status}\""))).unwrap(), None, "{status}");
    }
}
