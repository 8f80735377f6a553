//! A topic's log in its object's SQLite: events by offset, each once, trimmed by age and number.
//!
//! Invariant: offsets are given without a hole, in the order in which outbox rows were committed (`applied` is the last
//! sequence number taken, and only its successor is taken next). A delivery that begins after `applied + 1` shows that
//! this log lost what it had acknowledged; then the epoch changes and every old cursor meets a gap.

use serde::{Deserialize, Serialize};

use super::cursor::{Cursor, Extent, Verdict, recover};
use super::outbox::{Delivery, Event};
use crate::config::Retention;
use crate::error::{Error, Result};
use crate::store::sql::{Row, Sql};
use crate::time::{Entropy, UnixMillis};

/// An event with its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logged {
    /// Its place in the log.
    pub offset: u64,
    /// The event.
    pub event: Event,
}

/// A page of history, or what a subscriber is given first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// The events, in order.
    pub events: Vec<Logged>,
    /// The position after the last of them: where the next page goes on.
    pub cursor: Cursor,
    /// The position before the oldest event kept, if events were lost to the reader.
    pub gap: Option<Cursor>,
    /// Whether there is more after `cursor`.
    pub more: bool,
}

/// Makes the tables and the first epoch where they are not there yet.
pub fn prepare(sql: &impl Sql, entropy: &impl Entropy) -> Result<()> {
    for statement in [
        "CREATE TABLE IF NOT EXISTS log (offset INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, \
         at INTEGER NOT NULL, received INTEGER NOT NULL, data TEXT NOT NULL)",
        "CREATE TABLE IF NOT EXISTS state (id INTEGER PRIMARY KEY CHECK (id = 1), epoch TEXT NOT NULL, \
         newest INTEGER NOT NULL, applied INTEGER NOT NULL)",
    ] {
        sql.exec(statement, &[])?;
    }
    sql.exec(
        "INSERT INTO state (id, epoch, newest, applied) VALUES (1, ?1, 0, 0) ON CONFLICT DO NOTHING",
        &[new_epoch(entropy).into()],
    )?;
    Ok(())
}

fn new_epoch(entropy: &impl Entropy) -> String {
    entropy.uuid().chars().filter(char::is_ascii_hexdigit).take(8).collect()
}

struct State {
    epoch: String,
    newest: u64,
    applied: u64,
}

fn state(sql: &impl Sql) -> Result<State> {
    let mut row = sql
        .first("SELECT epoch, newest, applied FROM state WHERE id = 1", &[])?
        .ok_or_else(|| Error::internal("the topic was not prepared"))?;
    Ok(State { epoch: row.text()?, newest: row.number()?, applied: row.number()? })
}

/// What the log holds.
pub fn extent(sql: &impl Sql) -> Result<Extent> {
    let state = state(sql)?;
    let oldest =
        sql.first("SELECT min(offset) FROM log", &[])?.map(|mut row| row.maybe_number()).transpose()?.flatten();
    Ok(Extent {
        epoch: state.epoch,
        oldest: oldest.unwrap_or_else(|| state.newest.saturating_add(1)),
        newest: state.newest,
    })
}

/// What a delivery did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// The last sequence number that is in the log: what to acknowledge.
    pub applied: u64,
    /// The events that are new, to be sent to everybody who listens.
    pub fresh: Vec<Logged>,
    /// Whether the epoch changed: everybody who listens must be told of a gap first.
    pub broken: bool,
}

/// Takes `delivery` at `now`: what is known already is passed over, what is new is appended, all in one transaction.
pub fn deliver(
    sql: &impl Sql,
    entropy: &impl Entropy,
    now: UnixMillis,
    retention: Retention,
    delivery: &Delivery,
) -> Result<Delivered> {
    sql.transaction(|| {
        let State { mut newest, mut applied, .. } = state(sql)?;
        let before = applied;
        let broken = delivery.first > applied.saturating_add(1);
        if broken {
            sql.exec("DELETE FROM log", &[])?;
            sql.exec("UPDATE state SET epoch = ?1, newest = 0 WHERE id = 1", &[new_epoch(entropy).into()])?;
            applied = delivery.first.saturating_sub(1);
            newest = 0;
        }
        let mut fresh = Vec::new();
        for (seq, event) in (delivery.first..).zip(&delivery.events) {
            if seq <= applied {
                continue;
            }
            applied = seq;
            let offset = newest.saturating_add(1);
            let inserted = sql.first(
                "INSERT INTO log (offset, id, kind, at, received, data) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
                 ON CONFLICT (id) DO NOTHING RETURNING offset",
                &[
                    offset.into(),
                    event.id.as_str().into(),
                    event.kind.as_str().into(),
                    event.at.into(),
                    now.into(),
                    event.data.as_str().into(),
                ],
            )?;
            if inserted.is_none() {
                continue;
            }
            newest = offset;
            fresh.push(Logged { offset: newest, event: event.clone() });
        }
        if broken || applied != before {
            sql.exec("UPDATE state SET newest = ?1, applied = ?2 WHERE id = 1", &[newest.into(), applied.into()])?;
            trim(sql, now, retention, newest)?;
        }
        Ok(Delivered { applied, fresh, broken })
    })
}

fn trim(sql: &impl Sql, now: UnixMillis, retention: Retention, newest: u64) -> Result<()> {
    sql.exec("DELETE FROM log WHERE offset <= ?1", &[newest.saturating_sub(retention.count).into()])?;
    // The inner query walks from the oldest row to the first fresh one, so that its cost is what is trimmed.
    sql.exec(
        "DELETE FROM log WHERE offset < \
         coalesce((SELECT offset FROM log WHERE received > ?1 ORDER BY offset LIMIT 1), ?2)",
        &[now.0.saturating_sub(retention.age.0).into(), newest.saturating_add(1).into()],
    )?;
    Ok(())
}

/// Trims what is too old at `now` though nothing new came. Gives when the oldest event that is left will be.
pub fn expire(sql: &impl Sql, now: UnixMillis, retention: Retention) -> Result<Option<UnixMillis>> {
    let oldest = || -> Result<Option<UnixMillis>> {
        let row = sql.first("SELECT received FROM log ORDER BY offset LIMIT 1", &[])?;
        Ok(row.map(|mut row| row.instant()).transpose()?.map(|received| received.plus(retention.age)))
    };
    if oldest()?.is_some_and(|due| due <= now) {
        sql.transaction(|| trim(sql, now, retention, state(sql)?.newest))?;
    }
    oldest()
}

/// The events after `after` (from the oldest kept where `None`), at most `limit`.
pub fn page(sql: &impl Sql, after: Option<&Cursor>, limit: u64) -> Result<Page> {
    let extent = extent(sql)?;
    let (after, gap) = match after.map(|cursor| recover(cursor, &extent)) {
        None => (extent.oldest.saturating_sub(1), None),
        Some(Verdict::Replay { after }) => (after, None),
        Some(Verdict::Gap { after }) => (after, Some(extent.before_oldest())),
    };
    let events = sql
        .exec(
            "SELECT offset, id, kind, at, data FROM log WHERE offset > ?1 ORDER BY offset LIMIT ?2",
            &[after.into(), limit.into()],
        )?
        .into_iter()
        .map(logged)
        .collect::<Result<Vec<_>>>()?;
    let last = events.last().map_or(after, |logged| logged.offset);
    Ok(Page { cursor: extent.at(last), gap, more: last < extent.newest, events })
}

fn logged(mut row: Row) -> Result<Logged> {
    Ok(Logged {
        offset: row.number()?,
        event: Event { id: row.text()?, kind: row.text()?, at: row.instant()?, data: row.text()? },
    })
}
