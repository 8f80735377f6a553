//! `POST /fhir/Appointment/$book`: books free Slots, all or nothing, by IHE Scheduling.
//!
//! Invariant: the batch that writes the Appointment also turns each Slot from free to busy under the version that was read,
//! so that of any number of callers one books; a fence that is shown is checked in that same transaction.

use super::reply::Response;
use super::{Context, Incoming, Platform, fhir, input};
use crate::chart::fences::Fence;
use crate::chart::records::{Answer, Batch, Change, Committed, Found, Guard, Query, Refusal, Write};
use crate::error::{Error, Kind, Result};
use crate::fhir::{Issue, OperationOutcome, Resource, ResourceType, Severity, relative};

/// Slots of one appointment, at most.
const MOST_SLOTS: usize = 16;

/// What a booking asks for.
struct Booking {
    appointment: Resource,
    slots: Vec<String>,
    fence: Option<u64>,
}

fn wrong(field: &str, message: &'static str) -> Error {
    Error::new(Kind::Unprocessable, message).at(field)
}

impl Booking {
    /// Reads the Parameters: `appt-resource`, an Appointment with its Slots, and `fence`, the fence of the lease
    /// `slot:{id of the first Slot}` where the caller holds it.
    fn read(parameters: &Resource) -> Result<Booking> {
        let mut appointment = None;
        let mut fence = None;
        for part in parameters.values_at(&["parameter"]) {
            match part.get("name").and_then(|name| name.as_str()) {
                Some("appt-resource") => {
                    let found =
                        part.get("resource").cloned().map(Resource::from_json).and_then(std::result::Result::ok);
                    appointment = found.filter(|found| found.kind() == ResourceType::Appointment);
                }
                Some("fence") => {
                    let number = part.get("valuePositiveInt").or_else(|| part.get("valueInteger"));
                    let number = number.and_then(|number| number.as_number()).and_then(|text| text.parse().ok());
                    let message = "this must be a valuePositiveInt";
                    fence = Some(number.ok_or_else(|| wrong("Parameters.parameter.where(name='fence')", message))?);
                }
                _ => return Err(wrong("Parameters.parameter.name", "only appt-resource and fence are known here")),
            }
        }
        let place = "Parameters.parameter.where(name='appt-resource')";
        let appointment = appointment.ok_or_else(|| wrong(place, "this must be an Appointment"))?;
        let slots = appointment.strs_at(&["slot", "reference"]).map(|text| {
            let to = relative(text).filter(|to| to.kind == ResourceType::Slot);
            to.map(|to| to.id.to_owned())
                .ok_or_else(|| wrong("Appointment.slot", "each must refer to a Slot that is here"))
        });
        let mut slots = slots.collect::<Result<Vec<_>>>()?;
        let first = slots
            .first()
            .cloned()
            .ok_or_else(|| wrong("Appointment.slot", "an Appointment that is booked has Slots"))?;
        slots.sort();
        slots.dedup();
        if slots.len() > MOST_SLOTS {
            return Err(wrong("Appointment.slot", "these are too many Slots for one Appointment"));
        }
        // The lease is named by the Slot that the caller names first.
        slots.sort_by_key(|slot| *slot != first);
        Ok(Booking { appointment, slots, fence })
    }
}

/// The answer where a Slot is not, or no longer, free: severity fatal, code not-found (IHE Scheduling).
fn unavailable() -> Response {
    let issue = Issue {
        severity: Severity::Fatal,
        expression: Some("Appointment.slot".to_owned()),
        ..Issue::error("not-found", "the slot is not free: choose another one")
    };
    Response::fhir(409, OperationOutcome { issues: vec![issue] }.to_json())
}

/// `POST /fhir/Appointment/$book`
pub async fn book<P: Platform, R: Incoming>(context: &Context<'_, P, R>) -> Result<Response> {
    input::accepts_json(context.request, fhir::FHIR_JSON)?;
    let (scope, actor) = fhir::writer(context, ResourceType::Appointment, true).await?;
    let parameters = match fhir::sent(context, ResourceType::Parameters).await? {
        Ok(parameters) => parameters,
        Err(response) => return Ok(response),
    };
    let Booking { mut appointment, slots, fence } = Booking::read(&parameters)?;

    let mut changes = Vec::new();
    for slot in &slots {
        let query = Query::Read { kind: ResourceType::Slot, id: slot.clone(), version: None };
        let Answer::Found(Found { record, .. }) = context.platform.query(scope.clone(), query).await? else {
            return Ok(unavailable());
        };
        let read = record.body.as_deref().map(|body| Resource::parse(body.as_bytes()));
        let Some(Ok(mut resource)) = read else { return Ok(unavailable()) };
        if resource.str_at(&["status"]) != Some("free") {
            return Ok(unavailable());
        }
        resource.set_text("status", "busy");
        changes.push(Change {
            kind: ResourceType::Slot,
            id: slot.clone(),
            guard: Guard::Version(record.version),
            write: Write::put(&mut resource, context.platform.now())?,
        });
    }
    let id = context.platform.uuid();
    if !appointment.set_id(&id) {
        return Err(Error::internal("a new id was not a valid one"));
    }
    appointment.set_text("status", "booked");
    let write = Write::put(&mut appointment, context.platform.now())?;
    let booked = Change { kind: ResourceType::Appointment, id, guard: Guard::Absent, write };
    changes.push(booked.clone());

    let fences = fence.zip(slots.first()).map(|(fence, slot)| Fence { name: format!("slot:{slot}"), fence });
    let batch = Batch { fences: fences.into_iter().collect(), ..Batch::new(scope, actor, changes) };
    match context.platform.commit(batch).await? {
        Committed::All(stamps) => {
            let unexpected = || Error::internal("the clinic's object answered something else than was asked");
            let stamp = stamps.into_iter().next_back().ok_or_else(unexpected)?;
            Ok(fhir::written(context, &booked, stamp))
        }
        Committed::Refused { why: Refusal::Changed, .. } => Ok(unavailable()),
        Committed::Refused { why, .. } => Err(fhir::explain(why)),
        Committed::Again => Err(Error::internal("a booking has no name to be known by")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Here, Sent, ask, get, patient, put, ready, sign_in, text, user, value};
    use super::*;

    fn slot(app: &Here, token: &str, id: &str, status: &str) {
        let body = format!(
            r#"{{"resourceType":"Slot","id":"{id}","schedule":{{"reference":"Schedule/s"}},"status":"{status}",
                "start":"2025-11-25T09:00:00Z","end":"2025-11-25T09:20:00Z"}}"#
        );
        assert!(put(app, token, &format!("/fhir/Slot/{id}"), &body).status < 300);
    }

    fn book(app: &Here, token: &str, slots: &[&str], fence: Option<u64>) -> Response {
        let slots: Vec<_> = slots.iter().map(|id| format!(r#"{{"reference":"Slot/{id}"}}"#)).collect();
        let fence = fence.map(|fence| format!(r#",{{"name":"fence","valuePositiveInt":{fence}}}"#)).unwrap_or_default();
        let body = format!(
            r#"{{"resourceType":"Parameters","parameter":[{{"name":"appt-resource","resource":{{
                "resourceType":"Appointment","status":"proposed","slot":[{}],"participant":[
                {{"actor":{{"reference":"Patient/p"}},"status":"accepted"}}]}}}}{fence}]}}"#,
            slots.join(",")
        );
        ask(app, &Sent::new("POST", "/fhir/Appointment/$book").json(&body).by(token))
    }

    fn world() -> (Here, String) {
        let (app, admin) = ready();
        patient(&app, &admin, "p");
        user(&app, &admin, "nora", r#""role":"nurse""#);
        for id in ["a", "b", "c"] {
            slot(&app, &admin, id, "free");
        }
        let nora = sign_in(&app, "nora");
        (app, nora)
    }

    fn status(app: &Here, token: &str, id: &str) -> String {
        text(&value(&get(app, token, &format!("/fhir/Slot/{id}"))), "/status")
    }

    #[test]
    fn a_free_slot_is_booked_once() {
        let (app, nora) = world();
        let made = book(&app, &nora, &["a"], None);
        assert_eq!(made.status, 201, "{made:?}");
        assert_eq!(text(&value(&made), "/status"), "booked");
        assert_eq!(status(&app, &nora, "a"), "busy");
        let again = book(&app, &nora, &["a"], None);
        assert_eq!((again.status, text(&value(&again), "/issue/0/severity").as_str()), (409, "fatal"));
        assert_eq!(text(&value(&again), "/issue/0/code"), "not-found");
        assert_eq!(value(&get(&app, &nora, "/fhir/Appointment?patient=p"))["entry"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn several_slots_are_booked_all_or_none() {
        let (app, nora) = world();
        assert_eq!(book(&app, &nora, &["b"], None).status, 201);
        assert_eq!(book(&app, &nora, &["a", "b"], None).status, 409);
        assert_eq!(status(&app, &nora, "a"), "free");
        assert_eq!(book(&app, &nora, &["a", "c", "a"], None).status, 201);
        assert_eq!((status(&app, &nora, "a"), status(&app, &nora, "c")), ("busy".into(), "busy".into()));
    }

    #[test]
    fn a_stale_fence_books_nothing() {
        let (app, nora) = world();
        assert_eq!(book(&app, &nora, &["a"], Some(7)).status, 201);
        slot(&app, &nora, "a", "free");
        let stale = book(&app, &nora, &["a"], Some(6));
        assert_eq!((stale.status, status(&app, &nora, "a").as_str()), (409, "free"), "{stale:?}");
        assert!(stale.body.contains("lease"));
        assert_eq!(book(&app, &nora, &["a"], Some(7)).status, 201);
    }

    #[test]
    fn what_is_no_booking_is_refused() {
        let (app, nora) = world();
        assert_eq!(book(&app, &nora, &[], None).status, 400, "R4 has no empty arrays");
        assert_eq!(book(&app, &nora, &["none"], None).status, 409);
        let sent = |body: &str| ask(&app, &Sent::new("POST", "/fhir/Appointment/$book").json(body).by(&nora)).status;
        assert_eq!(sent(r#"{"resourceType":"Parameters"}"#), 422);
        assert_eq!(sent(r#"{"resourceType":"Patient"}"#), 400);
        assert_eq!(sent(r#"{"resourceType":"Parameters","parameter":[{"name":"x","valueString":"y"}]}"#), 422);
    }
}
