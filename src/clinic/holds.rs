//! The end of a hold: its Appointment is cancelled and its Slots are free again, with their events, in one write like any
//! other.
//!
//! Invariant: a hold past its end is booked and renewed by nobody, from that instant on; the object's alarm, which is set in
//! the transaction that begins it, frees what it held.

use std::future::Future;

use super::{ClinicReply, ClinicRequest, unexpected};
use crate::access::audit::Actor;
use crate::access::{Action, Principal, Role, Scope, decide};
use crate::chart;
use crate::chart::holds::{self, Hold, HoldChange};
use crate::chart::records::{Answer, Batch, Change, Committed, Found, Guard, Query, Write};
use crate::error::{Error, Result};
use crate::fhir::{Resource, ResourceType, relative};
use crate::store::sql::Sql;
use crate::time::{Clock, UnixMillis};

/// Who ends a hold whose time is over, to the audit trail.
const ACTOR: &str = "bedside";
/// How often it is tried again where somebody else wrote at the same time.
const TRIES: usize = 4;

/// Ends what is over, each by a request to `commit`.
pub async fn wake<F>(sql: &impl Sql, clock: &impl Clock, commit: impl Fn(ClinicRequest) -> F) -> Result<()>
where
    F: Future<Output = Result<ClinicReply>>,
{
    let mut tries = TRIES;
    while let Some(appointment) = holds::over(sql, clock.now())? {
        let batch = ending(sql, clock.now(), appointment)?;
        match commit(ClinicRequest::Commit(batch)).await? {
            ClinicReply::Committed(Committed::All(_)) => tries = TRIES,
            ClinicReply::Committed(_) if tries > 0 => tries = tries.saturating_sub(1),
            ClinicReply::Committed(_) => return Err(Error::internal("a hold could not be ended")),
            _ => return Err(unexpected()),
        }
    }
    holds::note(sql)
}

fn everything() -> Result<Scope> {
    let keeper = Principal {
        user: ACTOR.to_owned(),
        name: ACTOR.to_owned(),
        role: Role::Admin,
        patient: None,
        wards: Vec::new(),
        patients: Vec::new(),
    };
    decide(&keeper, Action::ReadEverything)
}

/// What ends the hold of `appointment`.
fn ending(sql: &impl Sql, now: UnixMillis, appointment: String) -> Result<Batch> {
    let scope = everything()?;
    let read = |kind, id: &str| -> Result<Option<(u64, Resource)>> {
        let query = Query::Read { kind, id: id.to_owned(), version: None };
        let Answer::Found(Found { record, .. }) = chart::run(sql, &scope, &query)? else { return Ok(None) };
        let Some(body) = record.body else { return Ok(None) };
        let resource = Resource::parse(body.as_bytes()).map_err(crate::fhir::Invalid::into_error)?;
        Ok(Some((record.version, resource)))
    };
    let put = |id: &str, (version, mut resource): (u64, Resource), status: &str| -> Result<Change> {
        resource.set_text("status", status);
        let (kind, write) = (resource.kind(), Write::put(&mut resource, now)?);
        Ok(Change { kind, id: id.to_owned(), guard: Guard::Version(version), write })
    };
    let mut changes = Vec::new();
    if let Some(found) = read(ResourceType::Appointment, &appointment)? {
        let is_pending = found.1.str_at(&["status"]) == Some("pending");
        let slots = found.1.strs_at(&["slot", "reference"]).filter_map(relative);
        let slots: Vec<String> = slots.filter(|to| to.kind == ResourceType::Slot).map(|to| to.id.to_owned()).collect();
        for slot in slots {
            // What has meanwhile been written as booked, or cancelled, has its Slots, or none, whichever way it was written.
            let is_over = holds::occupant(sql, &slot)?.is_none_or(|other| other == appointment && is_pending);
            let found = read(ResourceType::Slot, &slot)?.filter(|_| is_over);
            let tentative = found.filter(|(_, slot)| slot.str_at(&["status"]) == Some("busy-tentative"));
            if let Some(found) = tentative {
                changes.push(put(&slot, found, "free")?);
            }
        }
        if is_pending {
            changes.push(put(&appointment, found, "cancelled")?);
        }
    }
    let actor = Actor { user: ACTOR.to_owned(), request: String::new() };
    let hold = Hold { appointment, what: HoldChange::Override };
    Ok(Batch { holds: vec![hold], ..Batch::new(scope, actor, changes) })
}
