use serde_json::json;

use super::notification::{About, Told, Type, bundle, status, topic};
use super::*;
use crate::error::Error;
use crate::fhir::{Resource, ResourceType};

const BACKPORT: &str = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition";

fn resource(change: impl FnOnce(&mut Value)) -> Result<Settings, Error> {
    let mut json = json!({
        "resourceType": "Subscription",
        "status": "requested",
        "reason": "the ward's board",
        "criteria": Subject::VitalSigns.url(),
        "_criteria": { "extension": [
            { "url": format!("{BACKPORT}/backport-filter-criteria"), "valueString": "Observation?patient=Patient/p&code=http://loinc.org|8867-4,9279-1" },
        ] },
        "channel": {
            "type": "websocket",
            "extension": [
                { "url": format!("{BACKPORT}/backport-heartbeat-period"), "valueUnsignedInt": 30 },
                { "url": format!("{BACKPORT}/backport-max-count"), "valuePositiveInt": 5 },
            ],
            "payload": "application/fhir+json",
            "_payload": { "extension": [{ "url": format!("{BACKPORT}/backport-payload-content"), "valueCode": "id-only" }] },
        },
    });
    change(&mut json);
    Settings::of(&Resource::parse(json.to_string().as_bytes()).unwrap_or_else(|error| panic!("{error:?} in {json}")))
}

#[test]
fn a_subscription_is_read_as_the_backport_has_it() {
    let settings = resource(|_| {}).unwrap();
    assert_eq!(
        (settings.subject, settings.channel, settings.content),
        (Subject::VitalSigns, Channel::WebSocket, Content::IdOnly)
    );
    assert_eq!((settings.heartbeat, settings.timeout, settings.most), (Some(Ttl::from_secs(30)), None, Some(5)));
    let filters = [
        Filter { parameter: Parameter::Patient, values: vec!["p".into()] },
        Filter { parameter: Parameter::Code, values: vec!["http://loinc.org|8867-4".into(), "9279-1".into()] },
    ];
    assert_eq!(settings.filters, filters);
    let hook = resource(|json| {
        json["channel"]["type"] = "rest-hook".into();
        json["channel"]["endpoint"] = "https://hooks.example/a".into();
        json["channel"]["header"] = json!(["Authorization: Bearer x:y"]);
        json["end"] = "2030-01-01T00:00:00Z".into();
    });
    let hook = hook.unwrap();
    let headers = vec![("authorization".to_owned(), "Bearer x:y".to_owned())];
    assert_eq!(hook.channel, Channel::RestHook { endpoint: "https://hooks.example/a".into(), headers });
    assert!(hook.end.is_some());
}

#[test]
fn what_is_not_understood_is_refused_by_its_element() {
    type Change = fn(&mut Value);
    let filter = |json: &mut Value, text: &str| json["_criteria"]["extension"][0]["valueString"] = text.into();
    let cases: [(Change, &str); 10] = [
        (|json| json["criteria"] = "Observation?code=1".into(), "Subscription.criteria"),
        (|json| json["channel"]["type"] = "email".into(), "Subscription.channel.type"),
        (|json| json["channel"]["type"] = "rest-hook".into(), "Subscription.channel.endpoint"),
        (|json| json["channel"]["endpoint"] = "https://a.example".into(), "Subscription.channel.endpoint"),
        (|json| json["channel"]["payload"] = "application/fhir+xml".into(), "Subscription.channel.payload"),
        (
            |json| json["channel"]["_payload"]["extension"][0]["valueCode"] = "all".into(),
            "Subscription.channel.payload.extension",
        ),
        (|json| json["channel"]["extension"][0]["valueUnsignedInt"] = 0.into(), "Subscription.channel.extension"),
        (
            |json| {
                json["channel"]["type"] = "rest-hook".into();
                json["channel"]["endpoint"] = "https://a.example".into();
                json["channel"]["header"] = json!(["Host: b.example"]);
            },
            "Subscription.channel.header",
        ),
        (|json| json["end"] = "1960-01-01T00:00:00Z".into(), "Subscription.end"),
        (|json| json["channel"]["extension"][1]["valuePositiveInt"] = 100_000.into(), "Subscription.channel.extension"),
    ];
    for (change, field) in cases {
        let error = resource(change).unwrap_err();
        assert_eq!((error.status(), error.field.as_deref()), (422, Some(field)));
    }
    for text in [
        "Patient?patient=p",
        "name=x",
        "patient",
        "patient=",
        "patient=a b",
        "Observation?patient=p&subject:missing=true",
        "code=a%20b",
    ] {
        let error = resource(|json| filter(json, text)).unwrap_err();
        assert_eq!(error.field.as_deref(), Some("Subscription.criteria.extension"), "{text}");
    }
}

#[test]
fn filters_hold_or_they_do_not() {
    let observation = |code: &str, patient: &str, category: &str| {
        json!({ "resource": {
            "resourceType": "Observation",
            "status": "final",
            "category": [{ "coding": [{ "code": category }] }],
            "code": { "coding": [{ "system": "http://loinc.org", "code": code }] },
            "subject": { "reference": format!("Patient/{patient}") },
        } })
    };
    let settings = resource(|_| {}).unwrap();
    assert!(settings.matches(&observation("8867-4", "p", "vital-signs")));
    assert!(settings.matches(&observation("9279-1", "p", "vital-signs")));
    assert!(!settings.matches(&observation("8310-5", "p", "vital-signs")));
    assert!(!settings.matches(&observation("8867-4", "q", "vital-signs")));
    assert!(!settings.matches(&observation("8867-4", "p", "laboratory")));
    let with = |subject: Subject, filter: &str| {
        let settings = resource(|json| {
            json["criteria"] = subject.url().into();
            json["_criteria"]["extension"][0]["valueString"] = filter.into();
        });
        settings.unwrap()
    };
    let alert = json!({ "change": "raised", "alert": { "patient": "p" } });
    assert!(with(Subject::Alerts, "Patient?patient=p,q").matches(&alert));
    assert!(!with(Subject::Alerts, "patient=q").matches(&alert));
    let actor = json!({ "actor": { "reference": "Patient/p" } });
    let appointment =
        json!({ "resource": { "resourceType": "Appointment", "status": "booked", "participant": [actor] } });
    assert!(with(Subject::Appointments, "Appointment?patient=p&status=booked,arrived").matches(&appointment));
    assert!(!with(Subject::Appointments, "Appointment?patient=p&status=cancelled").matches(&appointment));
}

/// Clients in the field read these.
#[test]
fn notifications_are_bundles_that_the_backport_describes_and_say_no_more_than_was_agreed() {
    let data = r#"{"reference":"Observation/o","version":1,"deleted":false,"resource":{"resourceType":"Observation","id":"o","status":"final","code":{"text":"x"},"valueQuantity":{"value":1.50}}}"#;
    let told = |number| Told { number, at: UnixMillis(0), data: Some(data) };
    let made = |content: Content, asked: Content, events: &[Told<'_>]| {
        let settings = Settings { content, ..resource(|_| {}).unwrap() };
        let about = About {
            base: "https://a.example/fhir",
            id: "s",
            settings: &settings,
            status: Status::Active,
            events: 7,
            error: None,
        };
        let text = bundle(&about, Type::EventNotification, asked, events, "u-u", UnixMillis(0)).unwrap();
        let parsed = Resource::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{error:?} in {text}"));
        assert_eq!(parsed.kind(), ResourceType::Bundle);
        (serde_json::from_str::<Value>(&text).unwrap(), text)
    };
    let (full, text) = made(Content::FullResource, Content::FullResource, &[told(6), told(7)]);
    assert!(text.contains("1.50"), "what was committed is passed on as it is");
    assert_eq!((full["type"].as_str(), full["entry"].as_array().unwrap().len()), (Some("history"), 3));
    let first = &full["entry"][0];
    assert_eq!(first["request"], json!({ "method": "GET", "url": "https://a.example/fhir/Subscription/s/$status" }));
    let parameter = |name: &str| {
        let all = first["resource"]["parameter"].as_array().unwrap();
        all.iter().filter(|one| one["name"] == name).cloned().collect::<Vec<_>>()
    };
    assert_eq!(parameter("subscription")[0]["valueReference"]["reference"], "https://a.example/fhir/Subscription/s");
    assert_eq!(parameter("topic")[0]["valueCanonical"], Subject::VitalSigns.url());
    assert_eq!(parameter("type")[0]["valueCode"], "event-notification");
    assert_eq!(parameter("events-since-subscription-start")[0]["valueString"], "7");
    let event = &parameter("notification-event")[0]["part"];
    assert_eq!(event[0], json!({ "name": "event-number", "valueString": "6" }));
    assert_eq!(event[1], json!({ "name": "timestamp", "valueInstant": "1970-01-01T00:00:00.000Z" }));
    assert_eq!(event[2]["valueReference"]["reference"], "https://a.example/fhir/Observation/o");
    assert_eq!(full["entry"][1]["fullUrl"], "https://a.example/fhir/Observation/o");
    assert_eq!(full["entry"][1]["request"], json!({ "method": "POST", "url": "Observation" }));
    assert_eq!(full["entry"][1]["resource"]["id"], "o");

    for (content, asked) in [(Content::IdOnly, Content::FullResource), (Content::FullResource, Content::IdOnly)] {
        let (_, text) = made(content, asked, &[told(7)]);
        assert!(text.contains("Observation/o") && !text.contains("valueQuantity"), "{text}");
    }
    let (_, text) = made(Content::Empty, Content::FullResource, &[told(7)]);
    assert!(
        !text.contains("Observation") && !text.contains("SubscriptionTopic") && text.contains("event-number"),
        "{text}"
    );
}

#[test]
fn alerts_are_told_as_flags() {
    let settings = Settings {
        subject: Subject::Alerts,
        filters: Vec::new(),
        content: Content::FullResource,
        ..resource(|_| {}).unwrap()
    };
    let about = About {
        base: "https://a.example/fhir",
        id: "s",
        settings: &settings,
        status: Status::Active,
        events: 1,
        error: Some("x"),
    };
    let alert = json!({ "id": "0d9a8e6c-6c3c-4c9b-8d7e-2f1a0b9c8d7e", "patient": "p", "severity": "high", "raised_at": "2026-01-01T00:00:00.000Z", "ended": null });
    let data = json!({ "change": "raised", "alert": alert }).to_string();
    let told = Told { number: 1, at: UnixMillis(0), data: Some(&data) };
    let text = bundle(&about, Type::QueryEvent, Content::FullResource, &[told], "u", UnixMillis(0)).unwrap();
    let parsed = Resource::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{error:?} in {text}"));
    let all: Vec<&str> = parsed.strs_at(&["entry", "resource", "resourceType"]).collect();
    assert_eq!(all, ["Parameters", "Flag"]);
    assert_eq!(parsed.str_at(&["entry", "resource", "subject", "reference"]), Some("Patient/p"));
    assert!(text.contains(r#""name":"error""#));
}

#[test]
fn status_and_topics_are_resources_of_r4() {
    let settings = resource(|_| {}).unwrap();
    let about = About {
        base: "https://a.example/fhir",
        id: "s",
        settings: &settings,
        status: Status::Error,
        events: 3,
        error: Some("it does not answer"),
    };
    let text = status(&about, Type::QueryStatus).to_string();
    assert_eq!(Resource::parse(text.as_bytes()).unwrap().kind(), ResourceType::Parameters);
    for subject in Subject::ALL {
        let text = topic(subject).to_string();
        let parsed = Resource::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{error:?} in {text}"));
        assert_eq!((parsed.kind(), parsed.id()), (ResourceType::Basic, Some(subject.name())));
        assert_eq!(Subject::parse(&subject.url()), Some(subject));
    }
}
