//! Slots and who has them: one live Appointment each, and holds that end by themselves.
//!
//! Invariant: a Slot is in at most one live Appointment (pending, booked, arrived, checked in or fulfilled), whatever was
//! written, by whom and in which way: `occupied` has the Slot as its key and changes in the transaction of the Appointment.
//! A hold belongs to a pending Appointment; it is renewed once, and whoever made it alone turns it into a booking, before its
//! end.

use serde::{Deserialize, Serialize};

use super::records::{Batch, Change, Refusal, Write};
use crate::error::{Error, Result};
use crate::fhir::{Resource, ResourceType, relative};
use crate::store::agenda;
use crate::store::sql::Sql;
use crate::time::{Ttl, UnixMillis};

/// The statuses of an Appointment that has its Slots.
const LIVE: [&str; 5] = ["pending", "booked", "arrived", "checked-in", "fulfilled"];

/// Holds of one account at a time: more would keep others from Slots that nobody comes to.
const MOST_HOLDS: u64 = 16;

/// What a batch does to the hold of an Appointment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// The Appointment's id.
    pub appointment: String,
    /// What.
    pub what: HoldChange,
}

/// What is done to a hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HoldChange {
    /// It begins.
    Begin(Ttl),
    /// It is renewed, from now on.
    Renew(Ttl),
    /// It ends, because its Appointment is booked or given up by whoever made it.
    End,
    /// It ends, whoever made it.
    Override,
}

/// Makes the tables where they are not there yet.
pub fn prepare(sql: &impl Sql) -> Result<()> {
    for statement in [
        "CREATE TABLE IF NOT EXISTS occupied (slot TEXT PRIMARY KEY, appointment TEXT NOT NULL) WITHOUT ROWID",
        "CREATE INDEX IF NOT EXISTS occupied_by_appointment ON occupied (appointment)",
        "CREATE TABLE IF NOT EXISTS holds (appointment TEXT PRIMARY KEY, user TEXT NOT NULL, until INTEGER NOT NULL, \
         renewed INTEGER NOT NULL) WITHOUT ROWID",
        "CREATE INDEX IF NOT EXISTS holds_by_end ON holds (until)",
        "CREATE INDEX IF NOT EXISTS holds_by_user ON holds (user)",
    ] {
        sql.exec(statement, &[])?;
    }
    Ok(())
}

/// The Slots that `resource` has, if it is an Appointment that has any.
pub fn occupies(resource: &Resource) -> Vec<String> {
    if resource.kind() != ResourceType::Appointment
        || !resource.str_at(&["status"]).is_some_and(|status| LIVE.contains(&status))
    {
        return Vec::new();
    }
    let slots = resource.strs_at(&["slot", "reference"]).filter_map(relative);
    slots.filter(|to| to.kind == ResourceType::Slot).map(|to| to.id.to_owned()).collect()
}

fn taken_by(change: &Change) -> &[String] {
    match &change.write {
        Write::Put { occupies, .. } => occupies,
        Write::Delete => &[],
    }
}

/// The live Appointment that has `slot`.
pub fn occupant(sql: &impl Sql, slot: &str) -> Result<Option<String>> {
    let found = sql.first("SELECT appointment FROM occupied WHERE slot = ?1", &[slot.into()])?;
    found.map(|mut row| row.text()).transpose()
}

/// Whether a Slot of `change` is in another live Appointment, as it is when the whole batch is done.
pub fn is_taken(sql: &impl Sql, batch: &Batch, change: &Change) -> Result<bool> {
    for slot in taken_by(change) {
        let others = batch.changes.iter().filter(|other| other.kind == change.kind && other.id != change.id);
        if others.clone().any(|other| taken_by(other).contains(slot)) {
            return Ok(true);
        }
        if let Some(other) = occupant(sql, slot)?
            && other != change.id
            && !others.clone().any(|change| change.id == other)
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Keeps which Slots an Appointment has. Call it inside the transaction of the write.
pub fn keep(sql: &impl Sql, change: &Change) -> Result<()> {
    if change.kind != ResourceType::Appointment {
        return Ok(());
    }
    sql.exec("DELETE FROM occupied WHERE appointment = ?1", &[change.id.as_str().into()])?;
    for slot in taken_by(change) {
        sql.exec(
            "INSERT INTO occupied (slot, appointment) VALUES (?1, ?2) \
             ON CONFLICT (slot) DO UPDATE SET appointment = excluded.appointment",
            &[slot.as_str().into(), change.id.as_str().into()],
        )?;
    }
    Ok(())
}

/// Why `hold` cannot be changed so by `user`, if it cannot.
pub fn refusal(sql: &impl Sql, now: UnixMillis, user: &str, hold: &Hold) -> Result<Option<Refusal>> {
    let found = sql
        .first("SELECT user, renewed, until FROM holds WHERE appointment = ?1", &[hold.appointment.as_str().into()])?;
    let found = found.map(|mut row| Ok::<_, Error>((row.text()?, row.truth()?, row.instant()?))).transpose()?;
    if matches!(hold.what, HoldChange::Begin(_)) {
        let held = sql.first("SELECT count(*) FROM holds WHERE user = ?1", &[user.into()])?;
        if held.map(|mut row| row.number()).transpose()?.is_some_and(|many| many >= MOST_HOLDS) {
            return Ok(Some(Refusal::TooManyHolds));
        }
    }
    Ok(match (&hold.what, found) {
        (HoldChange::Begin(_), None) | (HoldChange::Override, _) => None,
        (HoldChange::Begin(_), Some(_)) | (HoldChange::Renew(_) | HoldChange::End, None) => Some(Refusal::Changed),
        (_, Some((_, _, until))) if until <= now => Some(Refusal::Changed),
        (_, Some((by, ..))) if by != user => Some(Refusal::HeldByAnother),
        (HoldChange::Renew(_), Some((_, true, _))) => Some(Refusal::RenewedAlready),
        _ => None,
    })
}

/// On the agenda: a hold ends.
pub const HOLDS: &str = "holds";

/// Changes `hold`, and has the agenda say when the next one ends. Call it inside the transaction of the batch.
pub fn apply(sql: &impl Sql, now: UnixMillis, user: &str, hold: &Hold) -> Result<()> {
    let (appointment, until) = (hold.appointment.as_str(), |ttl: Ttl| now.plus(ttl));
    match hold.what {
        HoldChange::Begin(ttl) => sql.exec(
            "INSERT INTO holds (appointment, user, until, renewed) VALUES (?1, ?2, ?3, 0)",
            &[appointment.into(), user.into(), until(ttl).into()],
        )?,
        HoldChange::Renew(ttl) => sql.exec(
            "UPDATE holds SET until = ?2, renewed = 1 WHERE appointment = ?1",
            &[appointment.into(), until(ttl).into()],
        )?,
        HoldChange::End | HoldChange::Override => {
            sql.exec("DELETE FROM holds WHERE appointment = ?1", &[appointment.into()])?
        }
    };
    note(sql)
}

/// Has the agenda say when the next hold ends.
pub fn note(sql: &impl Sql) -> Result<()> {
    let found = sql.first("SELECT min(until) FROM holds", &[])?;
    let next = found.map(|mut row| row.maybe_number()).transpose()?.flatten();
    agenda::set(sql, HOLDS, next.map(UnixMillis))
}

/// Whose the hold of an Appointment is and when it ends, if it has one.
pub fn of(sql: &impl Sql, appointment: &str) -> Result<Option<(String, UnixMillis)>> {
    let found = sql.first("SELECT user, until FROM holds WHERE appointment = ?1", &[appointment.into()])?;
    found.map(|mut row| Ok((row.text()?, row.instant()?))).transpose()
}

/// An Appointment whose hold is over at `now`, the longest overdue first.
pub fn over(sql: &impl Sql, now: UnixMillis) -> Result<Option<String>> {
    let found = sql.first("SELECT appointment FROM holds WHERE until <= ?1 ORDER BY until LIMIT 1", &[now.into()])?;
    found.map(|mut row| row.text()).transpose()
}
