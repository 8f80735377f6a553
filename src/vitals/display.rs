//! What a display is told that everybody sees: the events of its ward with no more of a person than its board shows.
//!
//! Invariant: the same events at the same positions in the same order. Of each only what is named here is left: whatever
//! kind or element comes to be later is withheld until it is named, too.

use serde_json::{Map, Value, json};

use super::codes;
use crate::channel::EventKind;
use crate::channel::frame::{AROUND_EVENTS, WireEvent};
use crate::channel::history::Page;
use crate::error::{Error, Result};
use crate::sorted::object;

/// The kinds that say nothing but what a board says.
const AS_THEY_ARE: [EventKind; 4] = [EventKind::Telemetry, EventKind::Score, EventKind::Alert, EventKind::Session];

/// What is left of the `data` of an event of this kind.
fn data(kind: &str, data: &str) -> String {
    if AS_THEY_ARE.iter().any(|known| known.as_str() == kind) {
        return data.to_owned();
    }
    let whole = if kind == EventKind::Observation.as_str() { serde_json::from_str(data).ok() } else { None };
    whole
        .map_or(Value::Null, |event: Value| {
            json!({
                "reference": event.get("reference"),
                "version": event.get("version"),
                "deleted": event.get("deleted"),
                "resource": event.get("resource").and_then(vital_signs),
            })
        })
        .to_string()
}

/// The vital signs in an Observation, of whom and when; `None` where there are none.
fn vital_signs(observation: &Value) -> Option<Value> {
    let own = sign(observation);
    let components = observation.get("component").and_then(Value::as_array).into_iter().flatten();
    let components: Vec<Value> = components.filter_map(sign).map(Value::Object).collect();
    if own.is_none() && components.is_empty() {
        return None;
    }
    // A panel has no value of its own and is known by what is in it.
    let mut left = own.unwrap_or_else(|| Map::from_iter([("code".into(), codings(observation.get("code")))]));
    for name in ["resourceType", "status", "effectiveDateTime", "effectiveInstant", "effectivePeriod", "issued"] {
        left.extend(observation.get(name).map(|value| (name.to_owned(), value.clone())));
    }
    let subject = observation.pointer("/subject/reference");
    left.insert("subject".into(), json!({ "reference": subject }));
    if !components.is_empty() {
        left.insert("component".into(), components.into());
    }
    Some(left.into())
}

/// An Observation or a component of one as code and value, where it is of a code that is followed.
fn sign(part: &Value) -> Option<Map<String, Value>> {
    let code = codings(part.get("code"));
    let followed = |coding: &Value| codes::is_followed(text(coding, "system"), text(coding, "code"));
    code.get("coding")?.as_array()?.iter().any(followed).then(|| {
        let quantity = part.get("valueQuantity").map(|quantity| {
            let of = |name: &str| Some((name.to_owned(), quantity.get(name)?.clone()));
            object(&mut ["value", "unit", "system", "code"].into_iter().filter_map(of)).into()
        });
        let concept = part.get("valueCodeableConcept").map(|concept| codings(Some(concept)));
        let values = [("valueQuantity", quantity), ("valueCodeableConcept", concept)];
        let values = values.into_iter().chain([("valueBoolean", part.get("valueBoolean").cloned())]);
        let values = values.filter_map(|(name, value)| Some((name.to_owned(), value?)));
        object(&mut std::iter::once(("code".to_owned(), code)).chain(values))
    })
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// A CodeableConcept without the words in it.
fn codings(concept: Option<&Value>) -> Value {
    let all = concept.and_then(|concept| concept.get("coding")).and_then(Value::as_array).into_iter().flatten();
    let bare = all.map(|coding| json!({ "system": text(coding, "system"), "code": text(coding, "code") }));
    json!({ "coding": bare.collect::<Vec<_>>() })
}

/// Reduces the texts of events with commas between, as they stand in a frame.
pub fn texts(events: &str) -> Result<String> {
    let broken = |_| Error::internal("a frame of a topic could not be read");
    let list = ["[", events, "]"].concat();
    let events: Vec<WireEvent<'_>> = serde_json::from_str(&list).map_err(broken)?;
    let mut all = Vec::new();
    for event in events {
        let left = data(&event.kind, event.data.get());
        let event = WireEvent { data: serde_json::from_str(&left).map_err(broken)?, ..event };
        all.push(serde_json::to_string(&event).map_err(broken)?);
    }
    Ok(all.join(","))
}

/// Reduces the text of a frame.
pub fn frame(frame: String) -> Result<String> {
    let (open, close) = AROUND_EVENTS;
    match frame.strip_prefix(open).and_then(|rest| rest.strip_suffix(close)) {
        Some(events) => Ok([open, &texts(events)?, close].concat()),
        None => Ok(frame),
    }
}

/// Reduces a page of history.
pub fn page(page: &mut Page) {
    for logged in &mut page.events {
        logged.event.data = data(&logged.event.kind, &logged.event.data);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reduced(kind: &str, whole: &Value) -> Value {
        let event = json!({ "cursor": "e:1", "id": "i", "kind": kind, "at": "t", "data": whole }).to_string();
        let text = frame([AROUND_EVENTS.0, &event, ",", &event, AROUND_EVENTS.1].concat()).unwrap();
        let mut frame: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(frame["events"][0], frame["events"][1]);
        assert_eq!(frame["events"][0]["cursor"], "e:1");
        frame["events"][0]["data"].take()
    }

    #[test]
    fn of_an_observation_the_vital_signs_are_left() {
        let coding = |system: &str, code: &str| json!([{ "system": system, "code": code, "display": "SECRET" }]);
        let loinc = "http://loinc.org";
        let quantity =
            json!({ "value": 71.5, "unit": "/min", "code": "/min", "extension": [{ "valueString": "SECRET" }] });
        let whole = |code: &str, more: Value| {
            let mut resource = json!({
                "resourceType": "Observation", "id": "SECRET", "status": "final", "issued": "2026-01-01T00:00:00Z",
                "text": { "div": "SECRET" }, "note": [{ "text": "SECRET" }], "identifier": [{ "value": "SECRET" }],
                "code": { "text": "SECRET", "coding": coding(loinc, code) },
                "subject": { "reference": "Patient/p", "display": "SECRET" },
                "performer": [{ "display": "SECRET" }],
            });
            resource.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!({ "reference": "Observation/o", "version": 1, "deleted": false, "resource": resource })
        };
        let rate = reduced("observation", &whole("8867-4", json!({ "valueQuantity": quantity })));
        assert!(!rate.to_string().contains("SECRET"), "{rate}");
        assert_eq!((&rate["reference"], &rate["version"]), (&json!("Observation/o"), &json!(1)));
        assert_eq!(rate["resource"]["valueQuantity"], json!({ "value": 71.5, "unit": "/min", "code": "/min" }));
        assert_eq!(rate["resource"]["code"], json!({ "coding": [{ "system": loinc, "code": "8867-4" }] }));
        assert_eq!(rate["resource"]["subject"], json!({ "reference": "Patient/p" }));

        let part = |code: &str| json!({ "code": { "coding": coding(loinc, code) }, "valueQuantity": quantity });
        let parts = json!({ "component": [part("8480-6"), part("8462-4"), part("20570-8")] });
        let panel = reduced("observation", &whole("85354-9", parts));
        assert!(!panel.to_string().contains("SECRET"), "{panel}");
        assert_eq!(panel["resource"]["component"].as_array().unwrap().len(), 2);

        // What is measured in a laboratory is on no wall, and free text nowhere.
        let laboratory = reduced("observation", &whole("20570-8", json!({ "valueQuantity": quantity })));
        assert_eq!(laboratory["resource"], Value::Null);
        assert!(!laboratory.to_string().contains("20570"));
        let words = reduced("observation", &whole("8867-4", json!({ "valueString": "SECRET" })));
        assert!(!words.to_string().contains("SECRET"));
        let gone = json!({ "reference": "Observation/o", "version": 2, "deleted": true });
        assert_eq!(reduced("observation", &gone)["deleted"], true);
    }

    #[test]
    fn other_kinds_are_passed_on_or_withheld_whole() {
        for kind in ["telemetry", "score", "alert", "session"] {
            assert_eq!(reduced(kind, &json!({ "a": 1 })), json!({ "a": 1 }));
        }
        for kind in ["diagnosis", "appointment", "notice", "lease", "a later one"] {
            assert_eq!(reduced(kind, &json!({ "name": "SECRET" })), Value::Null);
        }
        let gap = r#"{"type":"gap","oldest":"e:1","reread":[]}"#;
        assert_eq!(frame(gap.into()).unwrap(), gap);
        assert!(texts("rubbish").is_err());
    }
}
