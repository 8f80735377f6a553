use std::collections::BTreeMap;

use super::parameters::{number, parameter};
use super::*;
use crate::error::{Kind, Result};
use crate::fhir::structure::{Shape, table};
use crate::fhir::{Resource, is_shared};
use crate::time::UnixMillis;

const NOW: UnixMillis = UnixMillis(1_764_000_000_000);
const BASE: &str = "https://a.example/fhir";

fn ask(kind: ResourceType, query: &[(&str, &str)]) -> Result<Asked> {
    let query: Vec<_> = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    parse(kind, &query, true, BASE, NOW)
}

/// Whether the criteria of a query find the resource.
fn finds(json: &str, query: &[(&str, &str)]) -> bool {
    let resource = Resource::parse(json.as_bytes()).unwrap_or_else(|why| panic!("{why:?} {json}"));
    let lists = terms(&resource).stamped(NOW);
    let rows: Vec<[serde_json::Value; 3]> =
        lists.iter().flat_map(|list| serde_json::from_str::<Vec<_>>(list).unwrap()).collect();
    let key = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => Key::Text(text.clone()),
        value => Key::Number(value.as_u64().unwrap()),
    };
    let matches = |piece: &Piece| {
        rows.iter().any(|[parameter, first, more]| {
            let (first, more) = (key(first), key(more));
            parameter.as_u64() == Some(u64::from(piece.parameter))
                && piece.from <= first
                && first < piece.to
                && piece.tests.iter().all(|test| match (test, &more, &first) {
                    (Test::Is(text), Key::Text(more), _) => text == more,
                    (Test::Between(low, high), Key::Number(more), _) => low <= more && more <= high,
                    (Test::Holds(text), Key::Text(more), _) => more.contains(text),
                    (Test::KeyHolds(text), _, Key::Text(first)) => first.contains(text),
                    _ => false,
                })
        })
    };
    let asked = ask(resource.kind(), query).unwrap_or_else(|why| panic!("{why} {query:?}"));
    asked.search.criteria.iter().all(|criterion| match criterion {
        Criterion::Any(pieces) => pieces.iter().any(matches),
        Criterion::None(pieces) => !pieces.iter().any(matches),
    })
}

#[test]
fn every_path_leads_to_an_element_and_no_two_numbers_are_alike() {
    let mut seen: BTreeMap<u32, String> = BTreeMap::new();
    let mut take = |kind: ResourceType, code: &str| {
        let name = format!("{kind}.{code}");
        let before = seen.insert(number(kind, code), name.clone());
        assert!(before.is_none(), "{name} {before:?}");
    };
    let table = table();
    for kind in ResourceType::all() {
        for code in ["", "_lastUpdated", "_lastUpdated~"] {
            take(kind, code);
        }
        for known in parameters_of(kind) {
            take(kind, known.code);
            if known.kind == ParameterKind::Date {
                take(kind, &format!("{}~", known.code));
            }
            assert!(!known.numbers(kind).is_empty(), "{kind} {}", known.code);
            assert!(
                known.others.iter().all(|other| parameter(kind, other).is_some_and(|other| other.kind == known.kind))
            );
            for path in &known.paths {
                let mut at = table.find(kind.as_str()).unwrap();
                let names: Vec<&str> = path.split('.').collect();
                for (index, name) in names.iter().enumerate() {
                    let found = table.lookup(table.fields(at), name);
                    let (_, _, shape) = found.unwrap_or_else(|| panic!("{kind} {} {path}", known.code));
                    match shape {
                        Shape::Complex(next) => at = next,
                        _ => assert_eq!(index + 1, names.len(), "{kind} {} {path}", known.code),
                    }
                }
            }
        }
    }
    println!("{} numbers", seen.len());
}

#[test]
fn the_parameters_that_everybody_uses_are_there() {
    let table = [
        (
            ResourceType::Patient,
            "identifier name family given birthdate gender address-city telecom active organization",
        ),
        (ResourceType::Practitioner, "identifier name family active"),
        (ResourceType::Organization, "identifier name type address"),
        (
            ResourceType::Encounter,
            "patient subject date status class type location participant practitioner identifier",
        ),
        (ResourceType::Observation, "patient subject code category date status value-quantity encounter combo-code"),
        (ResourceType::Condition, "patient code clinical-status onset-date category encounter recorded-date"),
        (ResourceType::DiagnosticReport, "patient code date status category result issued"),
        (ResourceType::MedicationRequest, "patient code status intent authoredon medication requester"),
        (ResourceType::AllergyIntolerance, "patient code clinical-status criticality type"),
        (ResourceType::Procedure, "patient code date status performer"),
        (ResourceType::Immunization, "patient vaccine-code date status lot-number"),
        (ResourceType::CarePlan, "patient date status category intent condition"),
        (ResourceType::Schedule, "actor date active service-type identifier"),
        (ResourceType::Slot, "schedule start status service-type"),
        (ResourceType::Appointment, "patient practitioner actor date status slot location identifier"),
        (ResourceType::Claim, "patient identifier status encounter _tag _profile"),
    ];
    for (kind, codes) in table {
        for code in codes.split(' ') {
            assert!(parameter(kind, code).is_some(), "{kind} {code}");
        }
    }
}

#[test]
fn tokens() {
    let patient = r#"{"resourceType":"Patient","active":true,"gender":"female","deceasedDateTime":"2024-01-01",
        "identifier":[{"system":"urn:mrn","value":"7|8"},{"value":"9"}],"telecom":[{"system":"phone","value":"1"},{"system":"email","value":"a@b"}]}"#;
    for (name, value, found) in [
        ("identifier", r"urn:mrn|7\|8", true),
        ("identifier", r"7\|8", true),
        ("identifier", "urn:mrn|7|8", true),
        ("identifier", "urn:mrn|", true),
        ("identifier", "urn:other|", false),
        ("identifier", "|9", true),
        ("identifier", r"|7\|8", false),
        ("identifier", "1,2,9", true),
        ("identifier:not", "9", false),
        ("identifier:not", "10", true),
        ("gender", "female", true),
        ("gender", "Female", false),
        ("gender", "http://hl7.org/fhir/administrative-gender|female", true),
        ("gender", "http://other|female", false),
        ("gender", "|female", true),
        ("active", "true", true),
        ("deceased", "true", true),
        ("phone", "1", true),
        ("email", "1", false),
        ("telecom", "email|a@b", true),
        ("language:missing", "true", true),
        ("gender:missing", "false", true),
        ("email:missing", "true", false),
    ] {
        assert_eq!(finds(patient, &[(name, value)]), found, "{name}={value}");
    }
    let alive = r#"{"resourceType":"Patient","deceasedBoolean":false}"#;
    assert!(finds(alive, &[("deceased", "false")]) && finds(r#"{"resourceType":"Patient"}"#, &[("deceased", "false")]));
}

#[test]
fn strings() {
    let patient = r#"{"resourceType":"Patient","name":[{"family":"Müller-Lüdenscheidt","given":["José  Ángel"]}],
        "address":[{"city":"Łódź","line":["12 Main St"]}]}"#;
    for (name, value, found) in [
        ("family", "muller", true),
        ("family", "MÜLLER-lud", true),
        ("family", "ller", false),
        ("family:contains", "LUDEN", true),
        ("family:exact", "Müller-Lüdenscheidt", true),
        ("family:exact", "müller-lüdenscheidt", false),
        ("name", "jose angel", true),
        ("name", "other,jose", true),
        ("given:exact", "José  Ángel", true),
        ("address", "12 main", true),
        ("address", "łodz", true),
        ("address-country:missing", "true", true),
        ("given:missing", "true", false),
    ] {
        assert_eq!(finds(patient, &[(name, value)]), found, "{name}={value}");
    }
}

#[test]
fn references() {
    let observation = r##"{"resourceType":"Observation","status":"final","code":{"text":"x"},
        "subject":{"reference":"Patient/a/_history/3"},"performer":[{"reference":"Practitioner/b"},{"reference":"https://other.example/Practitioner/c"},{"reference":"#d"}]}"##;
    for (name, value, found) in [
        ("subject", "a", true),
        ("subject", "Patient/a", true),
        ("subject", "Group/a", false),
        ("subject:Patient", "a", true),
        ("subject:Group", "a", false),
        ("patient", "a", true),
        ("patient", "Patient/a", true),
        ("patient", "https://a.example/fhir/Patient/a", true),
        ("patient", "https://other.example/fhir/Patient/a", false),
        ("performer", "Patient/b,Practitioner/b", true),
        ("performer", "https://other.example/Practitioner/c", true),
        ("performer", "d", false),
        ("encounter:missing", "true", true),
    ] {
        assert_eq!(finds(observation, &[(name, value)]), found, "{name}={value}");
    }
}

#[test]
fn dates_by_prefix() {
    let at = |when: &str| {
        format!(
            r#"{{"resourceType":"Encounter","status":"finished","class":{{"code":"AMB"}},"subject":{{"reference":"Patient/a"}},"period":{{{when}}}}}"#
        )
    };
    let short = at(r#""start":"2024-05-10T10:00:00Z","end":"2024-05-10T11:00:00Z""#);
    let long = at(r#""start":"2024-05-01","end":"2024-05-20""#);
    let open = at(r#""start":"2024-05-10T10:00:00Z""#);
    for (value, of_short, of_long, of_open) in [
        ("2024-05-10", true, false, false),
        ("eq2024-05", true, true, false),
        ("ne2024-05-10", false, true, true),
        ("gt2024-05-10", false, true, true),
        ("ge2024-05-10", true, true, true),
        ("ge2024-05-10T10:30:00Z", true, true, true),
        ("gt2024-05-11", false, true, true),
        ("ge2024-05-21", false, false, true),
        ("lt2024-05-10", false, true, false),
        ("le2024-05-10", true, true, false),
        ("lt2024-05-10T10:30Z", true, true, true),
        ("sa2024-05-09", true, false, true),
        ("sa2024-05-10", false, false, false),
        ("eb2024-05-11", true, false, false),
        ("eb2024-05-21", true, true, false),
        ("ap2024-05-15", true, true, true),
        ("ap1990", false, false, false),
        ("2023,2024-05-10", true, false, false),
        ("2024-05-10T12:00:00+02:00", false, false, false),
    ] {
        let found = [&short, &long, &open].map(|json| finds(json, &[("date", value)]));
        assert_eq!(found, [of_short, of_long, of_open], "{value}");
    }
    for (from, to, found) in [("ge2024-05-10", "lt2024-05-11", true), ("ge2024-05-11", "lt2024-05-12", false)] {
        assert_eq!(finds(&short, &[("date", from), ("date", to)]), found);
    }
    let interval = ask(ResourceType::Slot, &[("start", "ge2024-05-10"), ("start", "lt2024-05-11")]).unwrap().search;
    let [Criterion::Any(pieces)] = interval.criteria.as_slice() else { panic!("{interval:?}") };
    let [.., last] = pieces.as_slice() else { panic!("{pieces:?}") };
    let (Key::Number(from), Key::Number(to)) = (&last.from, &last.to) else { panic!("{last:?}") };
    assert_eq!(to - from, date::DAY, "both bounds are one range");
    let born = r#"{"resourceType":"Patient","birthDate":"1943-05"}"#;
    for (value, found) in
        [("1943", true), ("1943-05-02", false), ("ge1943-05-02", true), ("lt1943-05-02", true), ("le1942", false)]
    {
        assert_eq!(finds(born, &[("birthdate", value)]), found, "{value}");
    }
}

#[test]
fn spans_of_time() {
    let span = |text: &str| date::Span::parse(text).map(|span| span.high - span.low);
    for (text, width) in [
        ("2024", 366 * date::DAY - 1),
        ("2024-02", 29 * date::DAY - 1),
        ("2024-02-29", date::DAY - 1),
        ("2024-02-29T10:00", 59_999),
        ("2024-02-29T10:00:00Z", 999),
        ("2024-02-29T10:00:60Z", 999),
        ("2024-02-29T10:00:00.5+01:00", 0),
        ("9999", 365 * date::DAY - 1),
    ] {
        assert_eq!(span(text), Some(width), "{text}");
    }
    for bad in [
        "",
        "24",
        "2024-13",
        "2024-02-30",
        "2024-02-29T",
        "2024-02-29T25:00Z",
        "2024-02-29T10:00:00.Z",
        "x2024",
        "20240229",
    ] {
        assert_eq!(span(bad), None, "{bad}");
    }
    assert_eq!(date::Span::parse("1970-01-01T00:00:00Z").map(|span| span.low), Some(date::instant(UnixMillis(0))));
    assert_eq!(date::Span::parse("2024-01-01T02:00:00+02:00"), date::Span::parse("2024-01-01T00:00:00Z"));
    assert_eq!(date::Span::parse("0001-01-01T00:00:00+14:00").map(|span| span.low), Some(1));
}

#[test]
fn quantities() {
    let observation = |value: &str| {
        format!(
            r#"{{"resourceType":"Observation","status":"final","code":{{"text":"x"}},"subject":{{"reference":"Patient/a"}},
                "valueQuantity":{{"value":{value},"unit":"mg","system":"http://unitsofmeasure.org","code":"mg"}}}}"#
        )
    };
    for (of, value, found) in [
        ("5.4", "5.4", true),
        ("5.4", "5.40", true),
        ("5.44", "5.4", true),
        ("5.45", "5.4", false),
        ("5.35", "5.4", true),
        ("5.34", "5.4", false),
        ("104", "100", false),
        ("104", "1e2", true),
        ("5.4", "ne5.4", false),
        ("5.4", "gt5.4", false),
        ("5.4", "ge5.4", true),
        ("5.4", "lt5.40001", true),
        ("-5.4", "lt-5", true),
        ("-5.4", "gt-6", true),
        ("0", "le-0.0", true),
        ("95", "ap100", true),
        ("89", "ap100", false),
        ("5.4", "5.4|http://unitsofmeasure.org|mg", true),
        ("5.4", "5.4||mg", true),
        ("5.4", "5.4||g", false),
        ("5.4", "5.4|http://other|mg", false),
    ] {
        assert_eq!(finds(&observation(of), &[("value-quantity", value)]), found, "{of} {value}");
    }
    assert!(finds(&observation("5"), &[("combo-value-quantity", "5"), ("value-quantity", "gt4")]));
}

#[test]
fn what_confines_a_search_to_a_patient() {
    use ResourceType::*;
    for (kind, name, value, patient) in [
        (Observation, "patient", "a", Some("a")),
        (Observation, "subject", "Patient/a", Some("a")),
        (Observation, "subject:Patient", "a", Some("a")),
        (Observation, "subject", "a", None),
        (Observation, "subject", "Group/a", None),
        (Observation, "patient", "a,b", None),
        (Observation, "performer", "Patient/a", Some("a")),
        (Observation, "focus", "Patient/a", None),
        (Appointment, "patient", "a", Some("a")),
        (Encounter, "practitioner", "a", None),
        (Claim, "patient", "https://a.example/fhir/Patient/a", Some("a")),
        (Patient, "link", "Patient/a", None),
        (Patient, "general-practitioner", "Practitioner/a", None),
    ] {
        assert_eq!(ask(kind, &[(name, value)]).unwrap().search.confined.as_deref(), patient, "{kind} {name}={value}");
    }
}

#[test]
fn what_is_not_understood_is_refused_by_its_name() {
    for (name, value, field) in [
        ("nam", "x", "nam"),
        ("na<m", "x", "query"),
        ("subject.name", "x", "subject.name"),
        ("_has:Observation:patient:code", "x", "_has:Observation:patient:code"),
        ("code:text", "x", "code"),
        ("code:in", "x", "code"),
        ("patient:identifier", "x|y", "patient"),
        ("subject:Foo", "x", "subject"),
        ("subject", "a b", "subject"),
        ("date", "yesterday", "date"),
        ("date", "xx2024", "date"),
        ("date:exact", "2024", "date"),
        ("value-quantity", "five", "value-quantity"),
        ("value-quantity", "sa5", "value-quantity"),
        ("value-quantity", "5|mg", "value-quantity"),
        ("value-string:text", "x", "value-string"),
        ("value-string", "", "value-string"),
        ("code", "a,,b", "code"),
        ("code:missing", "yes", "code"),
        ("code-value-quantity", "x$5", "code-value-quantity"),
        ("_sort", "nothing", "_sort"),
        ("_sort", "date,code,status,_id", "_sort"),
        ("_count", "many", "_count"),
        ("_total", "some", "_total"),
        ("_summary", "true", "_summary"),
        ("_include", "Observation:patient", "_include"),
        ("_id", "a/b", "_id"),
    ] {
        let error = ask(ResourceType::Observation, &[(name, value)]).unwrap_err();
        assert_eq!((error.kind, error.field.as_deref()), (Kind::Invalid, Some(field)), "{name}={value}");
        assert!(value.len() < 3 || value == "true" || !error.message.contains(value), "{error}");
    }
    let many = vec!["a"; 41].join(",");
    assert_eq!(ask(ResourceType::Observation, &[("code", &many)]).unwrap_err().field.as_deref(), Some("query"));
    let lenient =
        parse(ResourceType::Patient, &[("nam".into(), "x".into()), ("name".into(), "y".into())], false, BASE, NOW)
            .unwrap();
    assert_eq!((lenient.ignored, lenient.used), (vec!["nam".to_owned()], vec![("name".to_owned(), "y".to_owned())]));
}

#[test]
fn a_place_reads_back_and_nothing_else_does() {
    let place = Place { keys: vec![Key::Text("a\"é".into()), Key::Number(7)], record: 12 };
    assert_eq!(Place::parse(&place.to_text(), 2), Some(place.clone()));
    assert_eq!(Place::parse(&place.to_text(), 1), None);
    for bad in ["", "x", "_w", "!!", "AAAA"] {
        assert_eq!(Place::parse(bad, 1), None, "{bad}");
    }
}

/// However long the values of a resource are, no list of its terms is longer than a statement's parameter may be.
#[test]
fn lists_of_terms_stay_short() {
    let given: Vec<String> = (0..20_000).map(|number| format!("\"Given name of many letters {number}\"")).collect();
    let json = format!(
        r#"{{"resourceType":"Patient","name":[{{"given":[{}]}}],"identifier":[{{"value":"{}"}}]}}"#,
        given.join(","),
        "x".repeat(300_000)
    );
    let lists = terms(&Resource::parse(json.as_bytes()).unwrap()).stamped(NOW);
    assert!(lists.len() > 4 && lists.iter().all(|list| list.len() < 1_000_000));
    let rows: usize =
        lists.iter().map(|list| serde_json::from_str::<Vec<serde_json::Value>>(list).unwrap().len()).sum();
    assert!(rows > 40_000);
    assert!(!is_shared(ResourceType::Patient));
}
