//! An Appointment out of Slots: what `$find` proposes, and what `$hold` and `$book` make of a proposal.

use serde_json::{Map, Value, json};

use super::wanted::wrong;
use crate::error::{Error, Result};
use crate::fhir::{Resource, ResourceType, at};
use crate::time::UnixMillis;

/// Elements that a Slot or its Schedule says of the Appointments in it.
const SAID: [&str; 4] = ["serviceCategory", "serviceType", "specialty", "appointmentType"];

/// A resource as JSON.
pub fn value(resource: &Resource) -> Result<Value> {
    serde_json::from_str(&resource.to_json()).map_err(|_| Error::internal("a stored record could not be read"))
}

fn instant(slot: &Value, path: &str) -> UnixMillis {
    at(slot, path).as_str().and_then(UnixMillis::parse_rfc3339).unwrap_or(UnixMillis(0))
}

/// From when to when `slots` are, as they say it themselves.
pub fn times(slots: &[Value]) -> [(&'static str, Value); 2] {
    let first = slots.iter().min_by_key(|slot| instant(slot, "/start"));
    let last = slots.iter().max_by_key(|slot| instant(slot, "/end"));
    let of = |slot: Option<&Value>, path: &str| slot.map_or(Value::Null, |slot| at(slot, path).clone());
    [("start", of(first, "/start")), ("end", of(last, "/end"))]
}

/// References to the Slots of these ids.
pub fn references(slots: &[String]) -> Value {
    slots.iter().map(|id| json!({ "reference": format!("Slot/{id}") })).collect()
}

/// The participants that a Schedule brings.
pub fn actors(schedule: &Value) -> Vec<Value> {
    let actors = at(schedule, "/actor").as_array();
    actors.into_iter().flatten().map(|actor| json!({ "actor": actor, "status": "accepted" })).collect()
}

/// Who takes part in an Appointment.
pub fn participants(appointment: &Value) -> Vec<Value> {
    at(appointment, "/participant").as_array().cloned().unwrap_or_default()
}

/// Whom a participant is.
pub fn reference(participant: &Value) -> &Value {
    at(participant, "/actor/reference")
}

/// The participant that is a patient.
pub fn patient(id: &str) -> Value {
    json!({ "actor": { "reference": format!("Patient/{id}") }, "status": "accepted" })
}

/// Whether a participant is a Patient.
pub fn is_patient(participant: &Value) -> bool {
    reference(participant).as_str().is_some_and(|text| text.starts_with("Patient/"))
}

/// The Appointment in `slots` (their ids and what they say) of `schedule`, without a patient; its status is `proposed`.
pub fn appointment(ids: &[String], slots: &[Value], schedule: &Value) -> Map<String, Value> {
    let mut made = Map::new();
    let mut set = |name: &str, value: Value| made.insert(name.to_owned(), value);
    set("resourceType", "Appointment".into());
    set("status", "proposed".into());
    for name in SAID {
        let mut said = slots.iter().chain([schedule]).filter_map(|one| one.get(name));
        if let Some(said) = said.next() {
            set(name, said.clone());
        }
    }
    for (name, value) in times(slots) {
        set(name, value);
    }
    set("slot", references(ids));
    set("participant", actors(schedule).into());
    made
}

/// As a resource of ours.
pub fn resource(made: Map<String, Value>) -> Result<Resource> {
    let read = Resource::parse(Value::Object(made).to_string().as_bytes());
    let read = read.ok().filter(|resource| resource.kind() == ResourceType::Appointment);
    read.ok_or_else(|| wrong("Appointment", "the Slots and their Schedule do not make an Appointment"))
}
