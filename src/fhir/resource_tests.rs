//! Tests of resource.rs.

use super::*;

fn read(json: &str) -> Resource {
    Resource::parse(json.as_bytes()).unwrap_or_else(|invalid| panic!("{invalid:?} {json}"))
}

#[test]
fn order_and_decimals_are_kept() {
    let json = r#"{"status":"final","resourceType":"Observation","valueQuantity":{"value":1.50,"unit":"\u00b5g"},"code":{"text":"x"},"component":[{"code":{"text":"a"},"valueQuantity":{"value":1e2}},{"valueQuantity":{"value":1.0},"code":{"text":"b"}}]}"#;
    assert_eq!(read(json).to_json(), json.replace("\\u00b5", "µ"));
}

#[test]
fn setters_place_id_and_meta_first_and_keep_the_rest() {
    let mut patient = read(
        r#"{"active":true,"meta":{"profile":["http://a.example/p"],"versionId":"x","_versionId":{"id":"y"},"tag":[{"code":"t"}]},"resourceType":"Patient","gender":"male"}"#,
    );
    assert_eq!((patient.kind(), patient.id(), patient.version()), (ResourceType::Patient, None, Some("x")));
    assert!(patient.set_id("a.b-1"));
    for wrong in ["", "a b", "a_b", &"a".repeat(65)] {
        assert!(!patient.set_id(wrong));
    }
    patient.set_meta(7, UnixMillis(1_764_000_000_125));
    let json = r#"{"resourceType":"Patient","id":"a.b-1","meta":{"versionId":"7","lastUpdated":"2025-11-24T16:00:00.125Z","profile":["http://a.example/p"],"tag":[{"code":"t"}]},"active":true,"gender":"male"}"#;
    assert_eq!(patient.to_json(), json);
    assert_eq!(read(json), patient);
    assert_eq!((patient.id(), patient.version()), (Some("a.b-1"), Some("7")));
}

#[test]
fn paths_go_through_lists() {
    let patient = read(
        r#"{"resourceType":"Patient","name":[{"family":"A"},{"given":["b","c"]},{"given":["d"]}],"multipleBirthInteger":2}"#,
    );
    assert_eq!(patient.strs_at(&["name", "given"]).collect::<Vec<_>>(), ["b", "c", "d"]);
    assert_eq!(patient.str_at(&["name", "given"]), Some("b"));
    assert_eq!(patient.str_at(&["name"]), None);
    assert_eq!(patient.str_at(&["nothing"]), None);
    assert_eq!(patient.str_at(&[]), None);
    assert_eq!(patient.number_at(&["multipleBirthInteger"]), Some("2"));
    assert_eq!(patient.values_at(&["name"]).count(), 3);
}

#[test]
fn references_are_mapped_everywhere() {
    let mut list = read(
        r#"{"resourceType":"List","status":"current","mode":"working","subject":{"reference":"urn:uuid:a"},"entry":[{"item":{"reference":"urn:uuid:b"}}],"contained":[{"resourceType":"Basic","code":{"text":"x"},"subject":{"reference":"urn:uuid:a","display":"urn:uuid:a"}}]}"#,
    );
    list.map_references(&mut |text| match text {
        "urn:uuid:a" => Some("Patient/1".into()),
        _ => Some("not a reference".into()),
    });
    assert_eq!(list.str_at(&["subject", "reference"]), Some("Patient/1"));
    assert_eq!(list.str_at(&["contained", "subject", "reference"]), Some("Patient/1"));
    assert_eq!(list.str_at(&["contained", "subject", "display"]), Some("urn:uuid:a"));
    assert_eq!(list.str_at(&["entry", "item", "reference"]), Some("urn:uuid:b"));
}

#[test]
fn what_is_called_reference_and_is_a_uri_is_left_alone() {
    let mut issue = read(
        r#"{"resourceType":"DetectedIssue","status":"final","reference":"urn:uuid:a","patient":{"reference":"urn:uuid:a"},"_reference":{"extension":[{"url":"u","valueReference":{"reference":"urn:uuid:a"}},{"url":"v","valueExpression":{"language":"text/cql","reference":"urn:uuid:a"}}]}}"#,
    );
    issue.map_references(&mut |_| Some("Patient/1".into()));
    assert_eq!(issue.str_at(&["reference"]), Some("urn:uuid:a"));
    assert_eq!(issue.str_at(&["patient", "reference"]), Some("Patient/1"));
    assert_eq!(issue.str_at(&["_reference", "extension", "valueReference", "reference"]), Some("Patient/1"));
    assert_eq!(issue.str_at(&["_reference", "extension", "valueExpression", "reference"]), Some("urn:uuid:a"));
}

#[test]
fn debug_shows_no_content() {
    let patient = read(r#"{"resourceType":"Patient","id":"secret","name":[{"family":"Secret"}]}"#);
    assert!(
        !format!("{patient:?} {:?}", patient.values_at(&["name"]).collect::<Vec<_>>())
            .to_lowercase()
            .contains("secret")
    );
}
