//! Booking by IHE Scheduling (ITI-115 to ITI-117): `Appointment/$find`, `$hold`, `$book`, and beside them `$cancel` and
//! `$reschedule`.
//!
//! Invariant: each operation is one guarded batch over the Appointment, its Slots under the versions that were read, and its
//! hold, so that of any number of callers one succeeds; a fence that is shown is of a lease that the caller holds, and is
//! checked again in that same transaction. Nobody's booking is displaced: an override takes holds and blocked Slots, never
//! a busy one.

mod find;
mod operations;
mod proposal;
mod wanted;

use serde_json::Value;

use super::caller::Caller;
use super::reply::{Body, Response};
use super::{Context, Incoming, Platform, audit, fhir, input, views};
use crate::access::{Action, Scope, refused};
use crate::chart::fences::Fence;
use crate::chart::holds::Hold;
use crate::chart::records::{Answer, Batch, Change, Committed, Found, Guard, Query, Refusal, Stamp, Write};
use crate::clinic::unexpected;
use crate::error::{Error, Result};
use crate::fhir::{
    Issue, OperationOutcome, Resource, ResourceType, SearchEntry, SearchMode, Severity, relative, searchset,
};
use crate::time::{Ttl, UnixMillis};

/// Slots of one appointment, at most.
const MOST_SLOTS: usize = 16;

/// What is done with Appointments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `/fhir/Appointment/$find`
    Find,
    /// `/fhir/Appointment/$hold`
    Hold,
    /// `/fhir/Appointment/$book`
    Book,
    /// `/fhir/Appointment/{id}/$cancel`
    Cancel(String),
    /// `/fhir/Appointment/{id}/$reschedule`
    Reschedule(String),
}

/// A record as it was read.
struct Stored {
    id: String,
    version: u64,
    resource: Resource,
    held_until: Option<UnixMillis>,
    held_by: Option<String>,
}

impl Stored {
    fn status(&self) -> &str {
        self.resource.str_at(&["status"]).unwrap_or_default()
    }

    /// The write of it with another status, if it is still as it was read.
    fn turned(&self, status: &str, now: UnixMillis) -> Result<Change> {
        let mut resource = self.resource.clone();
        resource.set_text("status", status);
        self.changed(resource, now)
    }

    fn changed(&self, mut resource: Resource, now: UnixMillis) -> Result<Change> {
        Ok(Change {
            kind: resource.kind(),
            id: self.id.clone(),
            guard: Guard::Version(self.version),
            write: Write::put(&mut resource, now)?,
        })
    }
}

/// A caller at work on Appointments.
struct Desk<'a, P, R> {
    context: &'a Context<'a, P, R>,
    caller: Caller,
    scope: Scope,
}

/// What is to be committed; the Appointment comes last.
#[derive(Default)]
struct Plan {
    changes: Vec<Change>,
    holds: Vec<Hold>,
    fences: Vec<Fence>,
    reason: Option<String>,
    /// How long the Appointment is held from now on.
    held: Option<Ttl>,
}

/// Answers an operation.
pub async fn handle<P: Platform, R: Incoming>(context: &Context<'_, P, R>, operation: Operation) -> Result<Response> {
    input::accepts_json(context.request, fhir::FHIR_JSON)?;
    let caller = context.caller().await?;
    let scope = caller.may(Action::Book)?;
    let desk = Desk { context, caller, scope };
    if operation == Operation::Find {
        return desk.find().await;
    }
    let parameters = match fhir::sent(context, ResourceType::Parameters).await? {
        Ok(parameters) => parameters,
        Err(response) => return Ok(response),
    };
    let done = match operation {
        Operation::Hold => desk.hold(&parameters).await,
        Operation::Book => desk.book(&parameters).await,
        Operation::Cancel(id) => desk.cancel(&id, &parameters).await,
        Operation::Reschedule(id) => desk.reschedule(&id, &parameters).await,
        Operation::Find => Err(views::missing()),
    };
    Ok(done?.unwrap_or_else(unavailable))
}

/// The answer where a Slot is not, or no longer, free: severity fatal, code not-found (IHE Scheduling, ITI-116).
fn unavailable() -> Response {
    let issue = Issue {
        severity: Severity::Fatal,
        expression: Some("Appointment.slot".to_owned()),
        ..Issue::error("not-found", "the slot is not free: choose another one")
    };
    Response::fhir(409, OperationOutcome { issues: vec![issue] }.to_json())
}

/// A reply, or that what was wanted is not to be had.
type Done = Result<Option<Response>>;

impl<P: Platform, R: Incoming> Desk<'_, P, R> {
    async fn read(&self, kind: ResourceType, id: &str) -> Result<Option<Stored>> {
        let query = Query::Read { kind, id: id.to_owned(), version: None };
        let Found { record, held_until, held_by, .. } =
            match self.context.platform.query(self.scope.clone(), query).await? {
                Answer::Found(found) => found,
                Answer::Missing => return Ok(None),
                Answer::OutOfReach => return Err(refused()),
                _ => return Err(unexpected()),
            };
        let Some(body) = record.body else { return Ok(None) };
        let unreadable = |_| Error::internal("a stored record could not be read");
        let resource = Resource::parse(body.as_bytes()).map_err(unreadable)?;
        Ok(Some(Stored { id: record.id, version: record.version, resource, held_until, held_by }))
    }

    /// The Slots of these ids; `None` where one of them is not there.
    async fn slots(&self, ids: &[String]) -> Result<Option<Vec<Stored>>> {
        let mut slots = Vec::new();
        for id in ids {
            let Some(slot) = self.read(ResourceType::Slot, id).await? else { return Ok(None) };
            slots.push(slot);
        }
        Ok(Some(slots))
    }

    fn now(&self) -> UnixMillis {
        self.context.platform.now()
    }

    /// The Schedule of the first Slot, as JSON.
    async fn schedule(&self, slots: &[Stored]) -> Result<Value> {
        let of = slots.first().and_then(|slot| slot.resource.str_at(&["schedule", "reference"]));
        let Some(to) = of.and_then(relative).filter(|to| to.kind == ResourceType::Schedule) else {
            return Ok(Value::Null);
        };
        let found = self.read(ResourceType::Schedule, to.id).await?;
        found.map_or(Ok(Value::Null), |found| proposal::value(&found.resource))
    }

    async fn commit(&self, plan: Plan) -> Done {
        let Plan { changes, holds, fences, reason, held } = plan;
        let appointment = changes.last().cloned().ok_or_else(unexpected)?;
        let actor = self.caller.actor(&self.context.id);
        let batch = Batch { holds, fences, reason, ..Batch::new(self.scope.clone(), actor, changes) };
        match self.context.platform.commit(batch).await? {
            Committed::All(stamps) => {
                let stamp = stamps.last().copied().ok_or_else(unexpected)?;
                Ok(Some(self.written(&appointment, stamp, held)))
            }
            Committed::Refused { why: Refusal::Changed | Refusal::SlotTaken, .. } => Ok(None),
            Committed::Refused { why, .. } => Err(fhir::explain(why)),
            Committed::Again => Err(unexpected()),
        }
    }

    fn written(&self, appointment: &Change, stamp: Stamp, held: Option<Ttl>) -> Response {
        let response = fhir::written(self.context, appointment, stamp);
        let body = match &appointment.write {
            Write::Put { draft, .. } if !response.body.is_empty() => {
                self.bundle(&appointment.id, &draft.stamped(stamp.version, stamp.at), held)
            }
            _ => return with_hold(response, held, true),
        };
        with_hold(Response { body: Body::Own(body), ..response }, held, true)
    }

    /// What is there already: nothing is written, so that it is a read.
    fn shown(&self, found: &Stored) -> Response {
        self.context.shows(&self.caller, audit::of_record(ResourceType::Appointment, &found.id, &[]));
        let left = found.held_until.map(|until| self.now().until(until));
        let response = Response::fhir(200, self.bundle(&found.id, &found.resource.to_json(), left));
        with_hold(response, left, self.caller.is(found.held_by.as_deref()))
    }

    /// The Appointment as IHE Scheduling answers it: a searchset, with how long it is held in an OperationOutcome beside it.
    fn bundle(&self, id: &str, appointment: &str, held: Option<Ttl>) -> String {
        let entry = SearchEntry {
            full_url: Some(format!("{}/Appointment/{id}", self.context.base()).into()),
            resource: appointment.into(),
            mode: SearchMode::Match,
        };
        let about = held.map(|held| {
            let outcome = OperationOutcome::success(format!("the hold ends in {} s", held.as_secs_up()));
            SearchEntry { full_url: None, resource: outcome.to_json().into(), mode: SearchMode::Outcome }
        });
        searchset([entry].into_iter().chain(about), &[], None)
    }
}

/// With how long the Appointment is held, and whether it is the caller's `own` hold.
pub fn with_hold(response: Response, left: Option<Ttl>, own: bool) -> Response {
    let Some(left) = left else { return response };
    let response = response.header("bedside-hold-seconds", left.as_secs_up().to_string());
    if own { response.header("bedside-hold-own", "?1") } else { response }
}

#[cfg(test)]
mod tests;
