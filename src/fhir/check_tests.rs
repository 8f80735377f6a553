//! Tests of check.rs: bad input by table, and mutated input that is never echoed.

use std::borrow::Cow;

use crate::fhir::{Invalid, Issue, Resource};

fn issues(json: &str) -> Vec<Issue> {
    match Resource::parse(json.as_bytes()) {
        Ok(_) => Vec::new(),
        Err(Invalid(issues)) => issues,
    }
}

/// Bodies with the code and the expression of their first issue.
const BAD: &[(&str, &str, Option<&str>)] = &[
    ("{", "structure", None),
    ("[]", "structure", None),
    ("{}", "structure", Some("resourceType")),
    (r#"{"resourceType":1}"#, "structure", Some("resourceType")),
    (r#"{"resourceType":"Secret"}"#, "structure", Some("resourceType")),
    (r#"{"resourceType":"DomainResource"}"#, "structure", Some("resourceType")),
    (r#"{"resourceType":"Patient","nickname":"x"}"#, "structure", Some("Patient.nickname")),
    (r#"{"resourceType":"Patient","Smith, J":"x"}"#, "structure", Some("Patient")),
    (r#"{"resourceType":"Patient","5551234":"x"}"#, "structure", Some("Patient")),
    (r#"{"resourceType":"Patient","name":[{"given":["A"],"x":1}]}"#, "structure", Some("Patient.name[0].x")),
    (r#"{"resourceType":"Patient","name":{"family":"A"}}"#, "structure", Some("Patient.name")),
    (r#"{"resourceType":"Patient","gender":["male"]}"#, "structure", Some("Patient.gender")),
    (r#"{"resourceType":"Patient","active":"true"}"#, "structure", Some("Patient.active")),
    (r#"{"resourceType":"Patient","active":null}"#, "structure", Some("Patient.active")),
    (r#"{"resourceType":"Patient","name":["A"]}"#, "structure", Some("Patient.name[0]")),
    (r#"{"resourceType":"Patient","name":[null]}"#, "structure", Some("Patient.name[0]")),
    (r#"{"resourceType":"Patient","name":[]}"#, "structure", Some("Patient.name")),
    (r#"{"resourceType":"Patient","name":[{}]}"#, "invariant", Some("Patient.name[0]")),
    (r#"{"resourceType":"Patient","name":[{"id":"a"}]}"#, "invariant", Some("Patient.name[0]")),
    (r#"{"resourceType":"Patient","name":[{"family":""}]}"#, "value", Some("Patient.name[0].family")),
    (r#"{"resourceType":"Patient","name":[{"given":[null]}]}"#, "structure", Some("Patient.name[0].given[0]")),
    (
        r#"{"resourceType":"Patient","name":[{"given":["A",null],"_given":[null]}]}"#,
        "structure",
        Some("Patient.name[0].given[1]"),
    ),
    (r#"{"resourceType":"Patient","_name":[{}]}"#, "structure", Some("Patient._name")),
    (r#"{"resourceType":"Patient","_birthDate":{}}"#, "invariant", Some("Patient.birthDate")),
    (
        r#"{"resourceType":"Patient","_birthDate":{"extension":[{"valueString":"x"}]}}"#,
        "required",
        Some("Patient.birthDate.extension[0].url"),
    ),
    (r#"{"resourceType":"Patient","_birthDate":"x"}"#, "structure", Some("Patient.birthDate")),
    (r#"{"resourceType":"Patient","id":"a b"}"#, "value", Some("Patient.id")),
    (r#"{"resourceType":"Patient","birthDate":"2024-02-30"}"#, "value", Some("Patient.birthDate")),
    (r#"{"resourceType":"Patient","birthDate":20240101}"#, "structure", Some("Patient.birthDate")),
    (r#"{"resourceType":"Patient","gender":"x"}"#, "code-invalid", Some("Patient.gender")),
    (
        r#"{"resourceType":"Patient","deceasedBoolean":true,"deceasedDateTime":"2024"}"#,
        "structure",
        Some("Patient.deceased"),
    ),
    (
        r#"{"resourceType":"Patient","deceasedBoolean":true,"_deceasedDateTime":{"extension":[{"url":"u"}]}}"#,
        "structure",
        Some("Patient.deceased"),
    ),
    (r#"{"resourceType":"Patient","deceased":true}"#, "structure", Some("Patient.deceased")),
    (r#"{"resourceType":"Patient","link":[{"type":"seealso"}]}"#, "required", Some("Patient.link[0].other")),
    (
        r#"{"resourceType":"Patient","generalPractitioner":[{"reference":"Dr X"}]}"#,
        "value",
        Some("Patient.generalPractitioner[0].reference"),
    ),
    (r#"{"resourceType":"Patient","extension":[{"valueInteger":1}]}"#, "required", Some("Patient.extension[0].url")),
    (
        r#"{"resourceType":"Patient","extension":[{"url":"u","valueInteger":1.0}]}"#,
        "value",
        Some("Patient.extension[0].value"),
    ),
    (
        r#"{"resourceType":"Patient","extension":[{"url":"u","valueNarrative":{}}]}"#,
        "structure",
        Some("Patient.extension[0].valueNarrative"),
    ),
    (r#"{"resourceType":"Patient","text":{"status":"generated","div":"<p>x</p>"}}"#, "value", Some("Patient.text.div")),
    (r#"{"resourceType":"Patient","text":{"div":"<div>x</div>"}}"#, "required", Some("Patient.text.status")),
    (r#"{"resourceType":"Patient","meta":{"lastUpdated":"2024-01-01"}}"#, "value", Some("Patient.meta.lastUpdated")),
    (r#"{"resourceType":"Patient","contained":[{}]}"#, "structure", Some("Patient.contained[0].resourceType")),
    (
        r#"{"resourceType":"Patient","contained":[{"resourceType":"Basic","code":{"text":"x"},"contained":[{"resourceType":"Patient"}]}]}"#,
        "invariant",
        Some("Patient.contained[0].contained"),
    ),
    (r#"{"resourceType":"Patient","photo":[{"data":"x"}]}"#, "value", Some("Patient.photo[0].data")),
    (r#"{"resourceType":"Observation","status":"final"}"#, "required", Some("Observation.code")),
    (
        r#"{"resourceType":"Observation","status":"done","code":{"text":"x"}}"#,
        "code-invalid",
        Some("Observation.status"),
    ),
    (
        r#"{"resourceType":"Observation","status":"final","code":{"text":"x"},"valueQuantity":{"value":"7"}}"#,
        "structure",
        Some("Observation.value.value"),
    ),
    (
        r#"{"resourceType":"Observation","status":"final","code":{"text":"x"},"component":[{"valueString":"x"}]}"#,
        "required",
        Some("Observation.component[0].code"),
    ),
    (
        r#"{"resourceType":"Observation","status":"final","code":{"text":"x"},"component":[{"code":{"text":"x"},"referenceRange":[{"low":1}]}]}"#,
        "structure",
        Some("Observation.component[0].referenceRange[0].low"),
    ),
    (
        r#"{"resourceType":"Observation","status":"final","code":{"text":"x"},"issued":"2024-01-01T00:00:00"}"#,
        "value",
        Some("Observation.issued"),
    ),
    (
        r#"{"resourceType":"Bundle","type":"batch","entry":[{"resource":{"resourceType":"Patient","x":1}}]}"#,
        "structure",
        Some("Bundle.entry[0].resource.x"),
    ),
    (
        r#"{"resourceType":"Bundle","type":"batch","entry":[{"resource":{"resourceType":"X"}}]}"#,
        "structure",
        Some("Bundle.entry[0].resource.resourceType"),
    ),
    (r#"{"resourceType":"Bundle","type":"batch","total":-1}"#, "value", Some("Bundle.total")),
    (
        r#"{"resourceType":"Bundle","entry":[{"request":{"method":"SEND","url":"x"}}]}"#,
        "code-invalid",
        Some("Bundle.entry[0].request.method"),
    ),
    (
        r#"{"resourceType":"Parameters","parameter":[{"name":"a","part":[{"valueId":"a"}]}]}"#,
        "required",
        Some("Parameters.parameter[0].part[0].name"),
    ),
    (
        r#"{"resourceType":"Slot","schedule":{"reference":"Schedule/1"},"status":"free","start":"2024-01-01T00:00:00Z"}"#,
        "required",
        Some("Slot.end"),
    ),
];

#[test]
fn bad_input() {
    for (json, code, expression) in BAD {
        let found = issues(json);
        let first = found.first().unwrap_or_else(|| panic!("accepted: {json}"));
        assert_eq!((first.code, first.expression.as_deref()), (*code, *expression), "{json} {found:?}");
        let status = if found.iter().any(|issue| issue.code == "structure") { 400 } else { 422 };
        assert_eq!(Invalid(found).status(), status);
    }
}

/// Bodies that are resources, each with something less usual.
const GOOD: &[&str] = &[
    r#"{"resourceType":"Patient"}"#,
    r#"{"id":"a","resourceType":"Patient"}"#,
    r#"{"resourceType":"Patient","name":[{"given":["A",null],"_given":[null,{"extension":[{"url":"u","valueCode":"x"}]}]}]}"#,
    r#"{"resourceType":"Patient","_birthDate":{"extension":[{"url":"u","valueDateTime":"2024"}]},"birthDate":"2024-02-29"}"#,
    r#"{"resourceType":"Patient","birthDate":"2024","_birthDate":{"id":"a"}}"#,
    r##"{"resourceType":"Patient","contained":[{"resourceType":"Organization","id":"o","name":"x"}],"managingOrganization":{"reference":"#o"}}"##,
    r#"{"resourceType":"Observation","_status":{"extension":[{"url":"u","valueCode":"unknown"}]},"code":{"text":"x"},"valueQuantity":{"value":1.50}}"#,
    r#"{"resourceType":"Observation","status":"final","code":{"text":"x"},"component":[{"code":{"text":"x"},"referenceRange":[{"low":{"value":1e2}}]}],"effectiveInstant":"2024-01-01T00:00:00.000+01:00"}"#,
    r#"{"resourceType":"Questionnaire","status":"draft","item":[{"linkId":"1","type":"group","item":[{"linkId":"1.1","type":"string","initial":[{"valueString":"x"}]}]}]}"#,
    r#"{"resourceType":"ExampleScenario","status":"draft","instance":[{"resourceId":"a","resourceType":"Patient"}]}"#,
    r#"{"resourceType":"Parameters","parameter":[{"name":"a","resource":{"resourceType":"Patient","active":true}},{"name":"b","valueMeta":{"versionId":"1"}}]}"#,
    r#"{"resourceType":"Binary","contentType":"text/plain","data":"aGk="}"#,
    r#"{"resourceType":"Patient","extension":[{"url":"a","extension":[{"url":"b","valueAge":{"value":3}}]}]}"#,
];

#[test]
fn good_input() {
    for json in GOOD {
        let resource = Resource::parse(json.as_bytes()).unwrap_or_else(|invalid| panic!("{invalid:?} {json}"));
        assert_eq!(resource.to_json(), *json);
    }
}

#[test]
fn issues_are_limited() {
    let many = vec![r#"{"family":""}"#; 1000].join(",");
    assert_eq!(issues(&format!(r#"{{"resourceType":"Patient","name":[{many}]}}"#)).len(), 20);
}

#[test]
fn deep_nesting_is_refused() {
    for (name, prefix, part) in [
        ("array", "", "["),
        ("extension", r#"{"resourceType":"Patient""#, r#","extension":[{"url":"u""#),
        ("contained", r#"{"resourceType":"Patient""#, r#","contained":[{"resourceType":"Patient""#),
        ("item", r#"{"resourceType":"Questionnaire","status":"draft""#, r#","item":[{"linkId":"1","type":"group""#),
        ("parameter", r#"{"resourceType":"Parameters","parameter":[{"name":"a""#, r#","part":[{"name":"a""#),
    ] {
        let body = format!("{prefix}{}", part.repeat((1 << 20) / part.len()));
        let found = issues(&body);
        assert!(found[0].diagnostics.contains("nested too deep"), "{name} {found:?}");
        assert_eq!(found[0].code, "structure");
    }
    let deep = |levels: usize| {
        let item = r#""item":[{"linkId":"1","type":"group","#.repeat(levels);
        let end = "}]".repeat(levels);
        issues(&format!(r#"{{"resourceType":"Questionnaire","status":"draft",{item}"text":"x"{end}}}"#))
    };
    assert_eq!(deep(31), []);
    assert_eq!(deep(32).len(), 1);
}

/// All that json.rs says.
const SENTENCES: &[&str] = &[
    "not UTF-8",
    "text after the end of the value",
    "not a JSON value",
    "nested too deep",
    "the text ends too early",
    "a comma or the end of the array is missing",
    "a comma or the end of the object is missing",
    "a member's name is missing",
    "a name stands twice in one object",
    "a colon is missing",
    "a digit is missing",
    "a control character in a string",
    "an unknown escape in a string",
    "half of a surrogate pair in a string",
    "four hexadecimal digits are missing",
];

#[test]
fn mutated_input_never_panics_and_is_never_echoed() {
    let seed = 0x5eed_0002_u64;
    println!("seed {seed:#x}");
    let mut state = seed;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let samples = [
        r#"{"resourceType":"Patient","id":"zq-17","name":[{"family":"Zqfamily","given":["Zqgiven","Zqother"],"_given":[null,{"id":"zq9"}]}],"gender":"male","birthDate":"1971-03-04","telecom":[{"system":"phone","value":"+49 zq 5551"}],"address":[{"line":["Zqstreet 5"],"city":"Zqtown"}],"text":{"status":"generated","div":"<div>Zqtext</div>"}}"#,
        r#"{"resourceType":"Observation","status":"final","code":{"coding":[{"system":"http://zq.example","code":"8867-4","display":"Zqrate"}]},"subject":{"reference":"Patient/zq-17"},"effectiveDateTime":"2031-05-06T07:08:09Z","valueQuantity":{"value":71.50,"unit":"zq/min"},"note":[{"text":"Zqnote"}]}"#,
        r#"{"resourceType":"Bundle","type":"batch","entry":[{"fullUrl":"urn:uuid:zq","resource":{"resourceType":"Basic","code":{"text":"Zqcode"},"contained":[{"resourceType":"Patient","id":"zqc","active":true}]},"request":{"method":"POST","url":"Basic/zq"}}]}"#,
    ];
    let alphabet = b"{}[]:,\"\\ue019.-+ntzqZQ _\n\x00\xc3\xa9";
    let names = ["valueString", "status", "extension", "contained", "resourceType", "id", "url", "zqName", "Zq Name"];
    let (mut refused, mut accepted) = (0, 0);
    for _ in 0..10_000 {
        let mut text = samples[random(samples.len())].as_bytes().to_vec();
        for _ in 0..=random(3) {
            let (at, with) = (random(text.len()), alphabet[random(alphabet.len())]);
            match random(5) {
                0 => text[at] = with,
                1 => text.insert(at, with),
                2 => drop(text.remove(at)),
                3 => {
                    let end = (at + random(12)).min(text.len());
                    text.drain(at..end);
                }
                _ => {
                    // A member's name or a whole string for another.
                    let quotes: Vec<usize> = (0..text.len()).filter(|i| text[*i] == b'"').collect();
                    if quotes.len() >= 2 {
                        let first = random(quotes.len() - 1);
                        let name = names[random(names.len())].bytes();
                        text.splice(quotes[first] + 1..quotes[first + 1], name);
                    }
                }
            }
        }
        match Resource::parse(&text) {
            Ok(resource) => {
                accepted += 1;
                assert_eq!(Resource::parse(resource.to_json().as_bytes()).unwrap(), resource);
                super::super::patients(&resource);
            }
            Err(Invalid(issues)) => {
                refused += 1;
                assert!((1..=20).contains(&issues.len()));
                for issue in &issues {
                    let expression = issue.expression.clone().unwrap_or_default();
                    // A sentence of the source as it stands, or one with a line and a column and no other digit.
                    if let Cow::Owned(text) = &issue.diagnostics {
                        let rest = text.strip_prefix("malformed JSON at line ").unwrap();
                        let (line, rest) = rest.split_once(", column ").unwrap();
                        let (column, what) = rest.split_once(": ").unwrap();
                        assert!(line.parse::<usize>().is_ok() && column.parse::<usize>().is_ok(), "{text}");
                        assert!(SENTENCES.contains(&what), "{text}");
                    }
                    // Every value of the samples that could be anybody's begins so; an unknown member's name may be told.
                    let told = issue.diagnostics == "unknown element";
                    assert!(told || !expression.to_lowercase().contains("zq"), "{issue:?}");
                    assert!(expression.bytes().all(|b| b.is_ascii_alphanumeric() || b"._[]".contains(&b)), "{issue:?}");
                }
            }
        }
    }
    println!("{refused} refused, {accepted} accepted");
    assert!(refused > 1000 && accepted > 100);
}
