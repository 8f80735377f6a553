//! The outbox: events that were committed with the record that caused them and are on their way to their topics.
//!
//! Invariant: the sequence numbers of a topic follow the order of commits without a hole. A delivery always begins with
//! the oldest row that is not acknowledged, so that whatever order deliveries arrive in, a topic can take none too early.
//! A row leaves only when its topic has said that it is in the log.

use serde::{Deserialize, Serialize};

use super::Topic;
use super::cursor::Snapshot;
use crate::access::Owner;
use crate::error::{Error, Result};
use crate::sorted::BTreeSet;
use crate::store::sql::Sql;
use crate::time::UnixMillis;

/// One event as it was committed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Unique within its topic: the reference and version of the record, `Observation/1/_history/2`.
    pub id: String,
    /// A word of [`super::EventKind`].
    pub kind: String,
    /// When it was committed.
    pub at: UnixMillis,
    /// JSON.
    pub data: String,
}

/// What one topic is owed: consecutive events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// The sequence number of the first event; everything before it was acknowledged.
    pub first: u64,
    /// The events, in order.
    pub events: Vec<Event>,
    /// Something about the topic itself is to be looked at, as of this version.
    pub note: Option<u64>,
}

/// At most this many events go in one delivery.
pub const MOST_EVENTS: u64 = 100;
/// At most about this many bytes go in one delivery; one event always goes.
const MOST_BYTES: usize = 512 * 1_024;

/// Makes the tables where they are not there yet.
pub fn prepare(sql: &impl Sql) -> Result<()> {
    for statement in [
        "CREATE TABLE IF NOT EXISTS outbox (topic TEXT NOT NULL, seq INTEGER NOT NULL, id TEXT NOT NULL, \
         kind TEXT NOT NULL, at INTEGER NOT NULL, data TEXT NOT NULL, PRIMARY KEY (topic, seq)) WITHOUT ROWID",
        "CREATE TABLE IF NOT EXISTS outbox_topics (topic TEXT PRIMARY KEY, newest INTEGER NOT NULL, epoch TEXT) \
         WITHOUT ROWID",
        "CREATE TABLE IF NOT EXISTS outbox_notes (topic TEXT PRIMARY KEY, version INTEGER NOT NULL) WITHOUT ROWID",
    ] {
        sql.exec(statement, &[])?;
    }
    Ok(())
}

/// In place of a topic: where those begin that nothing was added to yet.
const NEW: &str = "";

/// Has every topic go on above `seq`, and forgets what is on its way. Call it inside the transaction of a restore; each topic
/// does its half by [`super::log::begin_anew`].
pub fn begin_anew(sql: &impl Sql, seq: u64) -> Result<()> {
    sql.exec("DELETE FROM outbox", &[])?;
    sql.exec("INSERT INTO outbox_topics (topic, newest) VALUES (?1, 0) ON CONFLICT DO NOTHING", &[NEW.into()])?;
    sql.exec("UPDATE outbox_topics SET newest = max(newest, ?1), epoch = NULL", &[seq.into()])?;
    Ok(())
}

/// Adds an event for `topic`. Call it inside the transaction of the record that caused it.
pub fn add(sql: &impl Sql, topic: &Topic, event: &Event) -> Result<()> {
    let topic = topic.to_string();
    let counted = sql.first(
        "INSERT INTO outbox_topics (topic, newest) \
         VALUES (?1, 1 + coalesce((SELECT newest FROM outbox_topics WHERE topic = ?2), 0)) \
         ON CONFLICT (topic) DO UPDATE SET newest = newest + 1 RETURNING newest",
        &[topic.as_str().into(), NEW.into()],
    )?;
    let seq = counted.ok_or_else(|| Error::internal("the outbox gave no sequence number"))?.number()?;
    sql.exec(
        "INSERT INTO outbox (topic, seq, id, kind, at, data) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        &[
            topic.into(),
            seq.into(),
            event.id.as_str().into(),
            event.kind.as_str().into(),
            event.at.into(),
            event.data.as_str().into(),
        ],
    )?;
    Ok(())
}

/// Adds an event about the patients `owners` for whoever follows one of them or a ward that one of them is in.
pub fn announce(sql: &impl Sql, owners: &[Owner], event: &Event) -> Result<()> {
    let wards = owners.iter().flat_map(|owner| &owner.wards).cloned().map(Topic::Ward);
    let patients = owners.iter().map(|owner| Topic::Patient(owner.patient.clone()));
    let topics: BTreeSet<Topic> = patients.chain(wards).collect();
    topics.iter().try_for_each(|topic| add(sql, topic, event))
}

/// Has `topic` look at something about itself, as of `version`. Call it inside the transaction of what has changed.
pub fn note(sql: &impl Sql, topic: &Topic, version: u64) -> Result<()> {
    sql.exec(
        "INSERT INTO outbox_notes (topic, version) VALUES (?1, ?2) \
         ON CONFLICT (topic) DO UPDATE SET version = max(version, excluded.version)",
        &[topic.to_string().into(), version.into()],
    )?;
    Ok(())
}

/// At most `limit` topics that are owed something.
pub fn owed(sql: &impl Sql, limit: u64) -> Result<Vec<Topic>> {
    let rows = sql.exec("SELECT topic FROM outbox UNION SELECT topic FROM outbox_notes LIMIT ?1", &[limit.into()])?;
    let topics = rows.into_iter().map(|mut row| {
        Topic::parse(&row.text()?).ok_or_else(|| Error::internal("the outbox names a topic that is none"))
    });
    topics.collect()
}

/// What `topic` is owed of what was committed before `bar`, from its oldest row on; `None` where nothing is.
pub fn next(sql: &impl Sql, topic: &Topic, bar: UnixMillis) -> Result<Option<Delivery>> {
    let rows = sql.exec(
        "SELECT seq, id, kind, at, data FROM outbox WHERE topic = ?1 ORDER BY seq LIMIT ?2",
        &[topic.to_string().into(), MOST_EVENTS.into()],
    )?;
    let note = sql.first("SELECT version FROM outbox_notes WHERE topic = ?1", &[topic.to_string().into()])?;
    let note = note.map(|mut row| row.number()).transpose()?;
    let mut delivery: Option<Delivery> = None;
    let mut bytes = 0_usize;
    for mut row in rows {
        let seq = row.number()?;
        let event = Event { id: row.text()?, kind: row.text()?, at: row.instant()?, data: row.text()? };
        if event.at >= bar {
            // Nor may a note go before what is held.
            return Ok(delivery);
        }
        bytes = bytes.saturating_add(event.data.len());
        match &mut delivery {
            None => delivery = Some(Delivery { first: seq, events: vec![event], note }),
            Some(_) if bytes > MOST_BYTES => break,
            Some(delivery) => delivery.events.push(event),
        }
    }
    if delivery.is_none() && note.is_some() {
        let newest = sql.first("SELECT newest FROM outbox_topics WHERE topic = ?1", &[topic.to_string().into()])?;
        let newest = newest.map(|mut row| row.number()).transpose()?.unwrap_or(0);
        delivery = Some(Delivery { first: newest.saturating_add(1), events: Vec::new(), note });
    }
    Ok(delivery)
}

/// Forgets that `topic` has to look at something, which it has as of `version`.
pub fn noted(sql: &impl Sql, topic: &Topic, version: u64) -> Result<()> {
    sql.exec(
        "DELETE FROM outbox_notes WHERE topic = ?1 AND version <= ?2",
        &[topic.to_string().into(), version.into()],
    )?;
    Ok(())
}

/// Forgets everything of `topic`, which nothing is added to any more.
pub fn forget(sql: &impl Sql, topic: &Topic) -> Result<()> {
    for table in ["outbox", "outbox_notes", "outbox_topics"] {
        sql.exec(&format!("DELETE FROM {table} WHERE topic = ?1"), &[topic.to_string().into()])?;
    }
    Ok(())
}

/// Forgets what `topic` has up to and including `applied`, and keeps in mind the epoch that its log is in.
pub fn acknowledge(sql: &impl Sql, topic: &Topic, applied: u64, epoch: &str) -> Result<()> {
    let topic = topic.to_string();
    sql.exec("DELETE FROM outbox WHERE topic = ?1 AND seq <= ?2", &[topic.as_str().into(), applied.into()])?;
    sql.exec(
        "UPDATE outbox_topics SET epoch = ?2 WHERE topic = ?1 AND epoch IS NOT ?2",
        &[topic.into(), epoch.into()],
    )?;
    Ok(())
}

/// The position in `topic` of whatever is read of the records at this instant, `now`.
pub fn snapshot(sql: &impl Sql, topic: &Topic, now: UnixMillis) -> Result<Snapshot> {
    let known = sql.first(
        "SELECT newest, epoch FROM outbox_topics WHERE topic IN (?1, ?2) ORDER BY topic DESC LIMIT 1",
        &[topic.to_string().into(), NEW.into()],
    )?;
    let (seq, epoch) = match known {
        Some(mut row) => (row.number()?, row.maybe_text()?),
        None => (0, None),
    };
    Ok(Snapshot { epoch, seq, at: now })
}
