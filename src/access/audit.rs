//! The audit port: who did what to which record, one row in the same transaction as what it records.
//!
//! Invariant: a change that took effect has its row and a row of success has its change, because one transaction holds
//! both. A row names things by id; it holds no password, token, or content of a record. What an actor gave as a reason, in
//! free words, stands beside its row.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::store::sql::Sql;
use crate::time::{Ttl, UnixMillis};

/// Of one account and one thing that it reads there is a row at least this often, and not for each time.
pub const SPELL: Ttl = Ttl::from_mins(5);

/// Who acts, as the audit trail keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// The account's id; for a failed sign-in, where there is none, the empty text.
    pub user: String,
    /// The request's id, also in the reply's `X-Request-Id`.
    pub request: String,
}

/// What was done, by the codes of DICOM and HL7 `audit-event-action`: C, R, U, D, E.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Did {
    /// C
    Create,
    /// R
    Read,
    /// U
    Update,
    /// D
    Delete,
    /// E: sign-in, sign-out and other doings that are no change of a record.
    Execute,
}

/// Whether it took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It did.
    Success,
    /// It was refused.
    Refused,
    /// It may have.
    Unknown,
}

/// One row of the trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// Who.
    pub actor: &'a Actor,
    /// What.
    pub did: Did,
    /// To what: `Observation/123/_history/2`, `account/<id>`, `session`.
    pub entity: &'a str,
    /// Whether it took effect.
    pub outcome: Outcome,
}

/// Makes the table where it is not there yet.
pub fn prepare(sql: &impl Sql) -> Result<()> {
    sql.exec("CREATE TABLE IF NOT EXISTS audit_reasons (seq INTEGER PRIMARY KEY, reason TEXT NOT NULL)", &[])?;
    sql.exec(
        "CREATE TABLE IF NOT EXISTS audit (seq INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, \
         user TEXT NOT NULL, request TEXT NOT NULL, action TEXT NOT NULL, entity TEXT NOT NULL, \
         outcome TEXT NOT NULL)",
        &[],
    )?;
    Ok(())
}

/// Writes a row at `at`. Call it inside the transaction of what it records.
pub fn record(sql: &impl Sql, at: UnixMillis, event: &Event<'_>) -> Result<()> {
    let action = match event.did {
        Did::Create => "C",
        Did::Read => "R",
        Did::Update => "U",
        Did::Delete => "D",
        Did::Execute => "E",
    };
    let outcome = match event.outcome {
        Outcome::Success => "success",
        Outcome::Refused => "refused",
        Outcome::Unknown => "unknown",
    };
    sql.exec(
        "INSERT INTO audit (at, user, request, action, entity, outcome) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        &[
            at.into(),
            event.actor.user.as_str().into(),
            event.actor.request.as_str().into(),
            action.into(),
            event.entity.into(),
            outcome.into(),
        ],
    )?;
    Ok(())
}

/// Writes a row at `at` with the reason that the actor gave, in their words.
pub fn record_with_reason(sql: &impl Sql, at: UnixMillis, event: &Event<'_>, reason: &str) -> Result<()> {
    record(sql, at, event)?;
    sql.exec("INSERT INTO audit_reasons (seq, reason) VALUES (last_insert_rowid(), ?1)", &[reason.into()])?;
    Ok(())
}
