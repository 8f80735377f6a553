//! Reading a topic's log from a position: the one way in which every listener is given what it missed.
//!
//! Invariant: whoever goes on from the cursor of each page sees every later event once and in order, or is told of a gap
//! first. One who began with a snapshot of records is given no event of a record that the snapshot has, whatever has come
//! between, and every other event that came after the snapshot was taken.

use serde::{Deserialize, Serialize};

use super::cursor::{Cursor, Extent, Position, Snapshot, Verdict, recover};
use super::log::{self, Logged, State};
use super::outbox::Event;
use crate::error::Result;
use crate::store::sql::{Row, Sql};
use crate::time::{Ttl, UnixMillis};

/// The clocks of the clinic's object and of a topic's are taken to differ by less than this. An event that is about no
/// record and came so shortly before a snapshot may be given after it: nothing else has it.
pub const SKEW: Ttl = Ttl::from_secs(5);

/// A page of history, or what a subscriber is given first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// The events, in order.
    pub events: Vec<Logged>,
    /// The position after the last of them: where the next page goes on.
    pub cursor: Cursor,
    /// If events were lost to the reader: the position before the event that is kept and comes next.
    pub gap: Option<Cursor>,
    /// Whether there is more after `cursor`.
    pub more: bool,
}

/// Where a reader stands in the log as it is.
struct Place {
    /// Events after this offset.
    after: u64,
    /// Of those, no record's up to this offset.
    records_after: u64,
    /// And no other's up to this one.
    others_after: u64,
    /// What stands in the cursors up to `records_after`.
    seen: u64,
    /// Whether events were lost.
    gap: bool,
}

fn last_offset(sql: &impl Sql, condition: &str, bound: u64) -> Result<u64> {
    let statement = format!("SELECT offset FROM events WHERE {condition} <= ?1 ORDER BY offset DESC LIMIT 1");
    Ok(sql.first(&statement, &[bound.into()])?.map(|mut row| row.number()).transpose()?.unwrap_or(0))
}

/// `None` where the log does not have everything yet that the reader's snapshot has.
fn place(sql: &impl Sql, position: Option<&Position>, state: &State, extent: &Extent) -> Result<Option<Place>> {
    let before_oldest = extent.oldest.saturating_sub(1);
    let plain = |after, gap| Place { after, records_after: after, others_after: after, seen: 0, gap };
    let place = match position {
        None => plain(before_oldest, false),
        Some(Position::Cursor(cursor)) => {
            if cursor.seen > state.applied && cursor.epoch == state.epoch {
                return Ok(None);
            }
            let (after, gap) = match recover(cursor, extent) {
                Verdict::Replay { after } => (after, false),
                Verdict::Gap { after } => (after, true),
            };
            if cursor.seen == 0 || cursor.epoch != state.epoch {
                plain(after, gap)
            } else {
                let records_after = last_offset(sql, "applied", cursor.seen)?.max(after);
                Place { records_after, seen: cursor.seen, ..plain(after, gap) }
            }
        }
        Some(Position::Snapshot(snapshot)) => {
            // A log of another epoch has lost what it lacks; one of the same is going to get it.
            let same = snapshot.epoch.as_ref().is_none_or(|epoch| *epoch == state.epoch);
            if snapshot.seq > state.applied && same {
                return Ok(None);
            }
            let since = UnixMillis(snapshot.at.0.saturating_sub(SKEW.0));
            let records_after = last_offset(sql, "applied", snapshot.seq)?.max(before_oldest);
            let others_after = last_offset(sql, "received", since.0)?.max(before_oldest);
            Place {
                after: records_after.min(others_after),
                records_after,
                others_after,
                seen: snapshot.seq,
                gap: is_broken(snapshot, since, state),
            }
        }
    };
    Ok(Some(place))
}

/// Whether something that came after the snapshot is lost.
fn is_broken(snapshot: &Snapshot, since: UnixMillis, state: &State) -> bool {
    let restarted = match &snapshot.epoch {
        Some(epoch) => *epoch != state.epoch,
        // A log that the clinic has not heard of and that is younger may have had another before it.
        None => state.begun > since,
    };
    restarted || snapshot.seq < state.lost_seq || state.lost_at > since
}

/// The events after `position` (from the oldest kept where `None`), at most `limit`. `None` while the log lacks something
/// that the reader's snapshot has: it is on its way.
pub fn page(sql: &impl Sql, position: Option<&Position>, limit: u64) -> Result<Option<Page>> {
    let state = log::state(sql)?;
    let extent = state.extent();
    let Some(place) = place(sql, position, &state, &extent)? else { return Ok(None) };
    let mut events = sql
        .exec(
            "SELECT offset, id, kind, at, data FROM events WHERE offset > ?1 \
             AND (source <> 0 OR offset > ?2) AND (source = 0 OR offset > ?3) ORDER BY offset LIMIT ?4",
            &[
                place.after.into(),
                place.records_after.into(),
                place.others_after.into(),
                limit.saturating_add(1).into(),
            ],
        )?
        .into_iter()
        .map(logged)
        .collect::<Result<Vec<_>>>()?;
    for event in &mut events {
        event.seen = if event.offset < place.records_after { place.seen } else { 0 };
    }
    let next = events.first().map_or(extent.newest, |first| first.offset.saturating_sub(1));
    let more = u64::try_from(events.len()).unwrap_or(u64::MAX) > limit;
    events.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let cursor = match events.last().filter(|_| more) {
        Some(last) => Cursor { seen: last.seen, ..extent.at(last.offset) },
        None => extent.at(extent.newest),
    };
    let seen = if next < place.records_after { place.seen } else { 0 };
    let gap = place.gap.then(|| Cursor { seen, ..extent.at(next) });
    Ok(Some(Page { events, cursor, gap, more }))
}

/// The events from offset `since` to `until`, both included, at most `limit`; the gap says that the first of them are not
/// kept any more.
pub fn range(sql: &impl Sql, since: u64, until: u64, limit: u64) -> Result<Page> {
    let extent = log::extent(sql)?;
    let mut events = sql
        .exec(
            "SELECT offset, id, kind, at, data FROM events WHERE offset >= ?1 AND offset <= ?2 ORDER BY offset LIMIT ?3",
            &[since.into(), until.into(), limit.saturating_add(1).into()],
        )?
        .into_iter()
        .map(logged)
        .collect::<Result<Vec<_>>>()?;
    let first = events.first().map_or(extent.newest.min(until), |first| first.offset.saturating_sub(1));
    let more = u64::try_from(events.len()).unwrap_or(u64::MAX) > limit;
    events.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let last = events.last().map_or(extent.newest, |last| last.offset);
    let gap = (first >= since && since <= extent.lost).then(|| extent.at(first));
    Ok(Page { cursor: extent.at(last), gap, more, events })
}

fn logged(mut row: Row) -> Result<Logged> {
    Ok(Logged {
        offset: row.number()?,
        seen: 0,
        event: Event { id: row.text()?, kind: row.text()?, at: row.instant()?, data: row.text()? },
    })
}
