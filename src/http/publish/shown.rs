//! What of a record is published.
//!
//! Invariant: an element that is not named here is not published: neither comments, notes and identifiers nor what others
//! have added. Of references only those to a Location and to a Schedule are.

use serde_json::{Map, Value, json};

use crate::fhir::{ResourceType, at, relative};

const LOCATION: [&str; 9] =
    ["resourceType", "id", "status", "name", "alias", "description", "telecom", "address", "position"];
const SCHEDULE: [&str; 7] =
    ["resourceType", "id", "active", "serviceCategory", "serviceType", "specialty", "planningHorizon"];
const SLOT: [&str; 9] = [
    "resourceType",
    "id",
    "serviceCategory",
    "serviceType",
    "specialty",
    "appointmentType",
    "start",
    "end",
    "overbooked",
];
/// Extensions of a Slot that the specification has, and the element of each.
const EXTENSIONS: [(&str, &str); 2] = [
    ("http://fhir-registry.smarthealthit.org/StructureDefinition/booking-deep-link", "valueUrl"),
    ("http://fhir-registry.smarthealthit.org/StructureDefinition/slot-capacity", "valueInteger"),
];

/// `value` without extensions and what stands beside primitive values, at any depth.
fn plain(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let is_plain = |name: &str| !name.starts_with('_') && name != "extension" && name != "modifierExtension";
            let kept = members.iter().filter(|(name, _)| is_plain(name));
            kept.map(|(name, value)| (name.clone(), plain(value))).collect::<Map<_, _>>().into()
        }
        Value::Array(values) => values.iter().map(plain).collect(),
        other => other.clone(),
    }
}

fn kept(record: &Value, elements: &[&str]) -> Map<String, Value> {
    let found = elements.iter().filter_map(|name| Some(((*name).to_owned(), plain(record.get(name)?))));
    found.collect()
}

fn refers(reference: &Value, kind: ResourceType) -> Option<String> {
    let to = relative(at(reference, "/reference").as_str()?).filter(|to| to.kind == kind)?;
    Some(to.id.to_owned())
}

/// The ids of the Locations at which a Schedule is.
pub fn locations(schedule: &Value) -> Vec<String> {
    let actors = at(schedule, "/actor").as_array().into_iter().flatten();
    actors.filter_map(|actor| refers(actor, ResourceType::Location)).collect()
}

/// The id of the Schedule of a Slot.
pub fn schedule_of(slot: &Value) -> Option<String> {
    refers(at(slot, "/schedule"), ResourceType::Schedule)
}

/// A Location as it is published.
pub fn location(record: &Value) -> Value {
    kept(record, &LOCATION).into()
}

/// A Schedule as it is published: of its actors the Locations.
pub fn schedule(record: &Value) -> Value {
    let mut shown = kept(record, &SCHEDULE);
    let actors = locations(record).into_iter().map(|id| json!({ "reference": format!("Location/{id}") }));
    shown.insert("actor".to_owned(), actors.collect());
    shown.into()
}

/// A Slot of a Schedule as it is published: `free`, or `busy` where it cannot be had for whatever reason.
pub fn slot(record: &Value, schedule: &str, is_open: bool) -> Value {
    let mut shown = kept(record, &SLOT);
    let is_free = is_open && at(record, "/status") == "free";
    shown.insert("status".to_owned(), if is_free { "free" } else { "busy" }.into());
    shown.insert("schedule".to_owned(), json!({ "reference": format!("Schedule/{schedule}") }));
    let extensions = at(record, "/extension").as_array().into_iter().flatten();
    let known = extensions.filter_map(|extension| {
        let url = at(extension, "/url");
        let (_, element) = EXTENSIONS.iter().find(|(known, _)| url == known)?;
        Some(json!({ "url": url, *element: extension.get(*element)? }))
    });
    let known: Vec<Value> = known.collect();
    if !known.is_empty() {
        shown.insert("extension".to_owned(), known.into());
    }
    shown.into()
}
