//! A topic's log in its object's SQLite: events by offset, each once, trimmed by age and number.
//!
//! Invariant: offsets are given without a hole. Events of records come in the order in which their outbox rows were
//! committed (`applied` is the last sequence number taken, and only its successor is taken next); other events are put
//! between them as they come. A delivery that begins after `applied + 1` shows that this log lost what it had acknowledged;
//! then the epoch changes and every cursor of before meets a gap. Every row says what was applied when it was written, so
//! that an event costs one row.

use serde::{Deserialize, Serialize};

use super::EventKind;
use super::cursor::{Cursor, Extent};
use super::outbox::{Delivery, Event};
use crate::config::Retention;
use crate::error::{Error, Kind, Result};
use crate::store::sql::{Row, Sql};
use crate::time::{Entropy, Ttl, UnixMillis};

/// An event with its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logged {
    /// Its place in the log.
    pub offset: u64,
    /// Up to which sequence number of the outbox its reader has what comes later: see [`Cursor::seen`].
    pub seen: u64,
    /// The event.
    pub event: Event,
}

/// Where an event came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// The outbox: it is about a record.
    Outbox = 0,
    /// Published without a key: it is never sent again.
    Published = 1,
    /// Published under a key of the publisher's, which finds it again.
    Keyed = 2,
}

/// Makes the tables and the first epoch where they are not there yet.
pub fn prepare(sql: &impl Sql, entropy: &impl Entropy, now: UnixMillis) -> Result<()> {
    for statement in [
        "CREATE TABLE IF NOT EXISTS events (offset INTEGER PRIMARY KEY, applied INTEGER NOT NULL, \
         source INTEGER NOT NULL, id TEXT NOT NULL, kind TEXT NOT NULL, at INTEGER NOT NULL, received INTEGER NOT NULL, \
         data TEXT NOT NULL)",
        "CREATE UNIQUE INDEX IF NOT EXISTS events_by_key ON events (id) WHERE source = 2",
        // `newest`, `applied` and `received` are those of the newest event where no event is kept.
        "CREATE TABLE IF NOT EXISTS log (id INTEGER PRIMARY KEY CHECK (id = 1), epoch TEXT NOT NULL, \
         begun INTEGER NOT NULL, newest INTEGER NOT NULL, applied INTEGER NOT NULL, received INTEGER NOT NULL, \
         lost INTEGER NOT NULL, lost_seq INTEGER NOT NULL, lost_at INTEGER NOT NULL, brief INTEGER NOT NULL)",
    ] {
        sql.exec(statement, &[])?;
    }
    sql.exec(
        "INSERT INTO log VALUES (1, ?1, ?2, 0, 0, 0, 0, 0, 0, 0) ON CONFLICT DO NOTHING",
        &[new_epoch(entropy).into(), now.into()],
    )?;
    Ok(())
}

/// Eight letters and digits, the first a letter, so that none is taken for a number.
fn new_epoch(entropy: &impl Entropy) -> String {
    std::iter::once('e').chain(entropy.uuid().chars().filter(char::is_ascii_hexdigit).take(7)).collect()
}

/// What is known of a log besides its events.
pub(super) struct State {
    pub(super) epoch: String,
    /// When the epoch began.
    pub(super) begun: UnixMillis,
    pub(super) newest: u64,
    /// The last sequence number of the outbox that was taken.
    pub(super) applied: u64,
    /// When the newest event came: never less than for those before.
    received: UnixMillis,
    pub(super) lost: u64,
    /// The last sequence number of the outbox whose event is no longer here.
    pub(super) lost_seq: u64,
    /// When the newest event that is no longer here came.
    pub(super) lost_at: UnixMillis,
    /// Up to this offset the kinds that are kept briefly have been looked at.
    brief: u64,
    /// The offset of the oldest event that is kept.
    oldest: Option<u64>,
}

pub(super) fn state(sql: &impl Sql) -> Result<State> {
    let mut row = sql
        .first(
            "SELECT epoch, begun, lost, lost_seq, lost_at, brief, max(newest, coalesce(e.offset, 0)), \
             max(log.applied, coalesce(e.applied, 0)), max(log.received, coalesce(e.received, 0)), \
             (SELECT min(offset) FROM events) FROM log LEFT JOIN \
             (SELECT offset, applied, received FROM events ORDER BY offset DESC LIMIT 1) e WHERE id = 1",
            &[],
        )?
        .ok_or_else(|| Error::internal("the topic was not prepared"))?;
    Ok(State {
        epoch: row.text()?,
        begun: row.instant()?,
        lost: row.number()?,
        lost_seq: row.number()?,
        lost_at: row.instant()?,
        brief: row.number()?,
        newest: row.number()?,
        applied: row.number()?,
        received: row.instant()?,
        oldest: row.maybe_number()?,
    })
}

fn keep(sql: &impl Sql, state: &State) -> Result<()> {
    sql.exec(
        "UPDATE log SET epoch = ?1, begun = ?2, newest = ?3, applied = ?4, received = ?5, lost = ?6, lost_seq = ?7, \
         lost_at = ?8, brief = ?9 WHERE id = 1",
        &[
            state.epoch.as_str().into(),
            state.begun.into(),
            state.newest.into(),
            state.applied.into(),
            state.received.into(),
            state.lost.into(),
            state.lost_seq.into(),
            state.lost_at.into(),
            state.brief.into(),
        ],
    )?;
    Ok(())
}

impl State {
    pub(super) fn extent(&self) -> Extent {
        Extent {
            epoch: self.epoch.clone(),
            oldest: self.oldest.unwrap_or_else(|| self.newest.saturating_add(1)),
            newest: self.newest,
            lost: self.lost,
        }
    }
}

/// What the log holds.
pub fn extent(sql: &impl Sql) -> Result<Extent> {
    state(sql).map(|state| state.extent())
}

/// Begins another epoch after the restore of `restored`: what the log has may lack events, or tell of what never was, and its
/// next event from the outbox is the one after the number that is the restore's instant. Call it inside the transaction of
/// the restore; [`super::outbox::begin_anew`] is the other half.
pub fn begin_anew(sql: &impl Sql, entropy: &impl Entropy, restored: UnixMillis) -> Result<()> {
    let mut state = state(sql)?;
    state.epoch = new_epoch(entropy);
    state.applied = state.applied.max(restored.0);
    state.newest = state.newest.max(state.applied);
    // Whether a snapshot was taken before the restore is told by its sequence number, whenever that was.
    (state.lost, state.lost_seq, state.lost_at) = (state.newest, state.applied, UnixMillis(0));
    state.begun = UnixMillis(0);
    state.brief = state.newest;
    sql.exec("DELETE FROM events", &[])?;
    keep(sql, &state)
}

/// Puts `event` at the end: the next offset, at an instant that is not before that of any event.
fn append(sql: &impl Sql, state: &mut State, now: UnixMillis, source: Source, event: &Event) -> Result<Logged> {
    state.newest = state.newest.saturating_add(1);
    state.received = state.received.max(now);
    sql.exec(
        "INSERT INTO events (offset, applied, source, id, kind, at, received, data) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        &[
            state.newest.into(),
            state.applied.into(),
            (source as u64).into(),
            event.id.as_str().into(),
            event.kind.as_str().into(),
            event.at.into(),
            state.received.into(),
            event.data.as_str().into(),
        ],
    )?;
    Ok(Logged { offset: state.newest, seen: 0, event: event.clone() })
}

/// What a delivery did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// The last sequence number that is in the log: what to acknowledge.
    pub applied: u64,
    /// The epoch that it is in.
    pub epoch: String,
    /// The events that are new, to be sent to everybody who listens.
    pub fresh: Vec<Logged>,
    /// Whether there was no event before them: from here on there is something that will be too old one day.
    pub first: bool,
    /// If the epoch changed, the position from which its events go on: everybody who listens is told of a gap first.
    pub broken: Option<Cursor>,
}

/// Takes `delivery` at `now`: what is known already is passed over, what is new is appended. If it breaks off, what was
/// appended stands, and the next delivery goes on from there.
pub fn deliver(
    sql: &impl Sql,
    entropy: &impl Entropy,
    now: UnixMillis,
    retention: Retention,
    delivery: &Delivery,
) -> Result<Delivered> {
    let mut state = state(sql)?;
    let first = state.oldest.is_none();
    let mut broken = None;
    if delivery.first > state.applied.saturating_add(1) {
        state.epoch = new_epoch(entropy);
        state.begun = now;
        state.applied = delivery.first.saturating_sub(1);
        // Offsets are never less than sequence numbers: where nothing else is published the two are the same for good.
        state.newest = state.newest.max(state.applied);
        // What has come since the loss stays, and is given after the gap.
        (state.lost, state.lost_seq, state.lost_at) = (state.newest, state.applied, now);
        broken = Some(Cursor::at(&state.epoch, state.newest));
        keep(sql, &state)?;
    }
    let mut fresh = Vec::new();
    for (seq, event) in (delivery.first..).zip(&delivery.events) {
        if seq > state.applied {
            state.applied = seq;
            fresh.push(append(sql, &mut state, now, Source::Outbox, event)?);
        }
    }
    let (applied, epoch) = (state.applied, state.epoch.clone());
    trim_now_and_then(sql, now, retention, state, fresh.len())?;
    Ok(Delivered { applied, epoch, fresh, first, broken })
}

/// What a publication did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The position after the event.
    pub cursor: Cursor,
    /// The event, where it is new.
    pub fresh: Option<Logged>,
    /// Whether there was no event before it.
    pub first: bool,
}

/// Appends `event`, which is about no record. Under a key (`keyed`) it is appended once: as long as it is kept, the same
/// event again is the same place, and another under its id is a 409.
pub fn publish(sql: &impl Sql, now: UnixMillis, retention: Retention, event: &Event, keyed: bool) -> Result<Published> {
    let mut state = state(sql)?;
    let known = match keyed {
        true => sql
            .first("SELECT offset, kind, data FROM events WHERE source = 2 AND id = ?1", &[event.id.as_str().into()])?,
        false => None,
    };
    if let Some(mut row) = known {
        let (offset, kind, data) = (row.number()?, row.text()?, row.text()?);
        if kind != event.kind || data != event.data {
            return Err(Error::new(Kind::Conflict, "another event was published under this id").at("id"));
        }
        return Ok(Published { cursor: Cursor::at(&state.epoch, offset), fresh: None, first: false });
    }
    let source = if keyed { Source::Keyed } else { Source::Published };
    let first = state.oldest.is_none();
    let logged = append(sql, &mut state, now, source, event)?;
    let cursor = Cursor::at(&state.epoch, logged.offset);
    trim_now_and_then(sql, now, retention, state, 1)?;
    Ok(Published { cursor, fresh: Some(logged), first })
}

/// Events between two looks at what is to be trimmed: so many more than [`Retention::count`] can be kept.
const TRIM_EVERY: u64 = 32;

fn trim_now_and_then(
    sql: &impl Sql,
    now: UnixMillis,
    retention: Retention,
    state: State,
    appended: usize,
) -> Result<()> {
    let before = state.newest.saturating_sub(u64::try_from(appended).unwrap_or(u64::MAX));
    if state.newest / TRIM_EVERY == before / TRIM_EVERY { Ok(()) } else { trim(sql, now, retention, state) }
}

/// Several statements: in one transaction, so that nothing is gone that is not counted as lost.
fn trim(sql: &impl Sql, now: UnixMillis, retention: Retention, state: State) -> Result<()> {
    sql.transaction(|| trim_all(sql, now, retention, state))
}

fn trim_all(sql: &impl Sql, now: UnixMillis, retention: Retention, mut state: State) -> Result<()> {
    // From `after` to the first row that is fresh enough, so that the cost is what is looked at for the first time.
    let stale_until = |after: u64, age: Ttl| -> Result<u64> {
        let fresh = sql.first(
            "SELECT offset FROM events WHERE offset > ?1 AND received > ?2 ORDER BY offset LIMIT 1",
            &[after.into(), now.0.saturating_sub(age.0).into()],
        )?;
        Ok(fresh.map(|mut row| row.number()).transpose()?.map_or(state.newest, |offset| offset.saturating_sub(1)))
    };
    let until = stale_until(0, retention.age)?.max(state.newest.saturating_sub(retention.count));
    let brief = stale_until(state.brief, retention.brief)?.max(state.brief);
    let doomed = "(offset <= ?1 OR (offset > ?2 AND offset <= ?3 AND kind = ?4))";
    let parameters = [until.into(), state.brief.into(), brief.into(), EventKind::Telemetry.as_str().into()];
    let last = |condition: &str| {
        sql.first(
            &format!(
                "SELECT offset, applied, received FROM events WHERE {doomed} AND {condition} ORDER BY offset DESC LIMIT 1"
            ),
            &parameters,
        )
    };
    let newest_doomed = last("1")?;
    if let Some(mut row) = last("offset <= ?1")? {
        let _offset = row.number()?;
        state.lost_seq = state.lost_seq.max(row.number()?);
    }
    if let Some(mut row) = last("source <> 0")? {
        let (_offset, _applied) = (row.number()?, row.number()?);
        state.lost_at = state.lost_at.max(row.instant()?);
    }
    let looked_at = brief.saturating_sub(state.brief);
    state.brief = brief;
    if let Some(mut row) = newest_doomed {
        state.lost = state.lost.max(row.number()?);
        sql.exec(&format!("DELETE FROM events WHERE {doomed}"), &parameters)?;
        keep(sql, &state)
    } else if looked_at >= LOOKED_AT {
        keep(sql, &state)
    } else {
        Ok(())
    }
}

/// So many rows are looked at again before it is noted that they are not of a kind that is kept briefly.
const LOOKED_AT: u64 = 256;

/// Trims what is too old at `now` though nothing new came. Gives when to look again: as soon as the oldest event is too old,
/// and before any of the kinds that are kept briefly is kept for twice as long.
pub fn expire(sql: &impl Sql, now: UnixMillis, retention: Retention) -> Result<Option<UnixMillis>> {
    trim(sql, now, retention, state(sql)?)?;
    let oldest = sql.first("SELECT received FROM events ORDER BY offset LIMIT 1", &[])?;
    let due = |mut row: Row| Ok(row.instant()?.plus(retention.age).min(now.plus(retention.brief)));
    oldest.map(due).transpose()
}
