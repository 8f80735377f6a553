//! Leases in one object's SQLite: [`super::rules`] in one transaction over the rows of one name.
//!
//! Invariant: `lease_fences` only grows, and a row is never deleted. What a holder has to be told is committed with the
//! transition that took the lease from it, and leaves when it has been brought.

use super::rules::{self, Done, State};
use super::{Answer, Ask, LeaseName, Loss, Turn};
use crate::error::{Error, Result};
use crate::store::restored;
use crate::store::sql::{Sql, Value};
use crate::time::UnixMillis;

/// Makes the tables where they are not there yet.
pub fn prepare(sql: &impl Sql) -> Result<()> {
    for statement in [
        // `due`: when the lease ends, or when whoever waits would be passed over.
        "CREATE TABLE IF NOT EXISTS leases (name TEXT PRIMARY KEY, state TEXT NOT NULL, due INTEGER) WITHOUT ROWID",
        "CREATE INDEX IF NOT EXISTS leases_due ON leases (due)",
        "CREATE TABLE IF NOT EXISTS lease_fences (name TEXT PRIMARY KEY, highest INTEGER NOT NULL) WITHOUT ROWID",
        "CREATE TABLE IF NOT EXISTS lease_losses (id INTEGER PRIMARY KEY AUTOINCREMENT, loss TEXT NOT NULL)",
    ] {
        sql.exec(statement, &[])?;
    }
    Ok(())
}

/// In place of a name: above which fence all names go on.
const ALL: &str = "";

/// Brings the leases to the restore of `restored`, before anything else is asked: all end, and fences go on above every one
/// that was ever given.
pub fn catch_up(sql: &impl Sql, restored: UnixMillis) -> Result<()> {
    restored::catch_up(sql, restored, || {
        sql.exec("DELETE FROM leases", &[])?;
        sql.exec("DELETE FROM lease_losses", &[])?;
        sql.exec(
            "INSERT INTO lease_fences (name, highest) VALUES (?1, ?2) \
             ON CONFLICT (name) DO UPDATE SET highest = max(highest, excluded.highest)",
            &[ALL.into(), restored::fence(restored).into()],
        )?;
        Ok(())
    })
}

fn unreadable(_: serde_json::Error) -> Error {
    Error::internal("a lease's row is not of the shape this version writes")
}

/// What an ask left behind.
pub struct Asked {
    /// The answer.
    pub answer: Answer,
    /// Whose turn came.
    pub turns: Vec<Turn>,
    /// When the lease ends unless it is renewed.
    pub due: Option<UnixMillis>,
    /// Whether somebody has to be told of a loss.
    pub owes: bool,
}

/// Asks `name` at `now`.
pub fn ask(sql: &impl Sql, now: UnixMillis, name: &LeaseName, ask: &Ask) -> Result<Asked> {
    sql.transaction(|| {
        let (Done { told, turns, losses }, due) = run(sql, now, name, ask)?;
        Ok(Asked { answer: Answer { told, at: now }, turns, due, owes: !losses.is_empty() })
    })
}

fn run(sql: &impl Sql, now: UnixMillis, name: &LeaseName, ask: &Ask) -> Result<(Done, Option<UnixMillis>)> {
    let key = || Value::from(name.as_str());
    let found = sql.first(
        "SELECT (SELECT state FROM leases WHERE name = ?1), (SELECT max(highest) FROM lease_fences WHERE name IN (?1, ?2))",
        &[key(), ALL.into()],
    )?;
    let mut found = found.ok_or_else(|| Error::internal("the database gave no row"))?;
    let before: State = match found.maybe_text()? {
        Some(text) => serde_json::from_str(&text).map_err(unreadable)?,
        None => State::default(),
    };
    let given = found.maybe_number()?.unwrap_or_default();
    let (mut after, mut highest) = (before.clone(), given);
    let done = rules::step(name, &mut after, &mut highest, now, ask)?;
    let due = after.lease.as_ref().map(|lease| lease.expires);
    if after != before {
        if after.is_empty() {
            sql.exec("DELETE FROM leases WHERE name = ?1", &[key()])?;
        } else {
            let text = serde_json::to_string(&after).map_err(unreadable)?;
            sql.exec(
                "INSERT INTO leases (name, state, due) VALUES (?1, ?2, ?3) \
                 ON CONFLICT (name) DO UPDATE SET state = excluded.state, due = excluded.due",
                &[key(), text.into(), due.into()],
            )?;
        }
    }
    if highest != given {
        sql.exec(
            "INSERT INTO lease_fences (name, highest) VALUES (?1, ?2) \
             ON CONFLICT (name) DO UPDATE SET highest = excluded.highest",
            &[key(), highest.into()],
        )?;
    }
    for loss in &done.losses {
        let text = serde_json::to_string(loss).map_err(unreadable)?;
        sql.exec("INSERT INTO lease_losses (loss) VALUES (?1)", &[text.into()])?;
    }
    Ok((done, due))
}

/// Ends what is over at `now`, of at most `limit` names, and gives whose turns came.
pub fn sweep(sql: &impl Sql, now: UnixMillis, limit: u64) -> Result<Vec<(LeaseName, Turn)>> {
    sql.transaction(|| {
        let rows =
            sql.exec("SELECT name FROM leases WHERE due <= ?1 ORDER BY due LIMIT ?2", &[now.into(), limit.into()])?;
        let mut turns = Vec::new();
        for mut row in rows {
            let name = row.text()?;
            let name = LeaseName::parse(&name)
                .ok_or_else(|| Error::internal("a lease is stored under a name that is none"))?;
            let (done, _) = run(sql, now, &name, &Ask::LookUp)?;
            turns.extend(done.turns.into_iter().map(|turn| (name.clone(), turn)));
        }
        Ok(turns)
    })
}

/// When the next lease ends unless it is renewed.
pub fn next_due(sql: &impl Sql) -> Result<Option<UnixMillis>> {
    let found = sql.first("SELECT min(due) FROM leases", &[])?;
    Ok(found.map(|mut row| row.maybe_number()).transpose()?.flatten().map(UnixMillis))
}

/// At most `limit` losses that nobody has been told of, oldest first, each with its number.
pub fn losses(sql: &impl Sql, limit: u64) -> Result<Vec<(u64, Loss)>> {
    let rows = sql.exec("SELECT id, loss FROM lease_losses ORDER BY id LIMIT ?1", &[limit.into()])?;
    rows.into_iter()
        .map(|mut row| Ok((row.number()?, serde_json::from_str(&row.text()?).map_err(unreadable)?)))
        .collect()
}

/// Forgets the losses up to number `last`: they have been told.
pub fn told(sql: &impl Sql, last: u64) -> Result<()> {
    sql.exec("DELETE FROM lease_losses WHERE id <= ?1", &[last.into()])?;
    Ok(())
}
