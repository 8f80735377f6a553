//! Telemetry: readings of monitors that are events and no records, many of them in one event.
//!
//! Invariant: a reading is in the log of a topic once, if it comes again within [`REMEMBERED`], and is acknowledged only when
//! it is. Readings that come together share an event, hence a row: what each costs the database is its share of it.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::EventKind;
use super::cursor::Cursor;
use super::log::{self, Logged};
use super::outbox::Event;
use crate::config::Retention;
use crate::error::{Error, Result};
use crate::store::sql::Sql;
use crate::time::{Entropy, Ttl, UnixMillis};

/// What comes while this has not passed since the last commit waits for the next one. A reading waits no longer than this,
/// and one that comes alone not at all.
pub const WINDOW: Ttl = Ttl(200);
/// A reading that comes again within this is known.
pub const REMEMBERED: Ttl = Ttl::from_mins(10);
/// The most readings in one event.
const MOST: usize = 128;

/// What a monitor says of a patient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// The Patient's id.
    pub patient: String,
    /// By what it is known when it comes again: unique for the patient.
    pub id: String,
    /// When it was measured.
    pub at: UnixMillis,
    /// JSON: values by parameter.
    pub values: String,
}

impl Reading {
    fn key(&self) -> String {
        format!("{}/{}", self.patient, self.id)
    }
}

#[derive(Serialize, Deserialize)]
struct Wire<'a> {
    patient: std::borrow::Cow<'a, str>,
    id: std::borrow::Cow<'a, str>,
    at: String,
    #[serde(borrow)]
    values: &'a RawValue,
}

#[derive(Serialize, Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    readings: Vec<Wire<'a>>,
}

/// Which readings are in the log of late, in the memory of a topic's object. Lost with it, it is read back from the log.
#[derive(Debug, Default)]
pub struct Memory {
    loaded: Cell<bool>,
    keys: RefCell<BTreeSet<String>>,
    order: RefCell<VecDeque<(UnixMillis, String)>>,
}

impl Memory {
    /// Reads it back from the log, where that was not done yet.
    fn load(&self, sql: &impl Sql, now: UnixMillis) -> Result<()> {
        /// Rows looked at in one statement, from the newest back.
        const CHUNK: u64 = 256;
        if self.loaded.get() {
            return Ok(());
        }
        let since = now.0.saturating_sub(REMEMBERED.0);
        let mut found = Vec::new();
        let mut below = crate::time::MAX_SAFE;
        loop {
            let rows = sql.exec(
                "SELECT offset, received, kind, data FROM events WHERE offset < ?1 ORDER BY offset DESC LIMIT ?2",
                &[below.into(), CHUNK.into()],
            )?;
            let mut last = u64::try_from(rows.len()).unwrap_or(u64::MAX) < CHUNK;
            for mut row in rows {
                below = row.number()?;
                let received = row.instant()?;
                last |= received.0 <= since;
                if row.text()? == EventKind::Telemetry.as_str() && received.0 > since {
                    let text = row.text()?;
                    let data: Data<'_> =
                        serde_json::from_str(&text).map_err(|_| Error::internal("telemetry is not of its shape"))?;
                    let keys = data.readings.iter().map(|reading| format!("{}/{}", reading.patient, reading.id));
                    found.extend(keys.map(|key| (received, key)));
                }
            }
            if last {
                break;
            }
        }
        for (received, key) in found.into_iter().rev() {
            self.remember(received, key);
        }
        self.loaded.set(true);
        Ok(())
    }

    fn remember(&self, now: UnixMillis, key: String) {
        self.order.borrow_mut().push_back((now, key.clone()));
        self.keys.borrow_mut().insert(key);
    }

    fn forget(&self, now: UnixMillis) {
        let (mut order, mut keys) = (self.order.borrow_mut(), self.keys.borrow_mut());
        while order.front().is_some_and(|(received, _)| received.plus(REMEMBERED) <= now) {
            if let Some((_, key)) = order.pop_front() {
                keys.remove(&key);
            }
        }
    }
}

/// What a commit did.
#[derive(Debug)]
pub struct Taken {
    /// The position after everything that was asked for.
    pub cursor: Cursor,
    /// The events that are new, to be sent to everybody who listens.
    pub fresh: Vec<Logged>,
    /// Whether there was no event before them.
    pub first: bool,
}

/// Puts `readings` into the log, those that are not in it yet.
pub fn take(
    sql: &impl Sql,
    entropy: &impl Entropy,
    memory: &Memory,
    now: UnixMillis,
    retention: Retention,
    readings: &[Reading],
) -> Result<Taken> {
    memory.load(sql, now)?;
    memory.forget(now);
    let mut seen = BTreeSet::new();
    let known = memory.keys.borrow();
    let new: Vec<&Reading> =
        readings.iter().filter(|reading| !known.contains(&reading.key()) && seen.insert(reading.key())).collect();
    drop(known);
    let mut fresh = Vec::new();
    let (mut cursor, mut first) = (None, false);
    for some in new.chunks(MOST) {
        let event = Event {
            id: format!("telemetry/{}", entropy.uuid()),
            kind: EventKind::Telemetry.as_str().to_owned(),
            at: now,
            data: data(some)?,
        };
        let published = log::publish(sql, now, retention, &event, false)?;
        some.iter().for_each(|reading| memory.remember(now, reading.key()));
        first |= published.first;
        cursor = Some(published.cursor);
        fresh.extend(published.fresh);
    }
    let cursor = match cursor {
        Some(cursor) => cursor,
        None => {
            let extent = log::extent(sql)?;
            extent.at(extent.newest)
        }
    };
    Ok(Taken { cursor, fresh, first })
}

fn data(readings: &[&Reading]) -> Result<String> {
    let unreadable = |_| Error::internal("telemetry could not be written");
    let readings = readings.iter().map(|reading| {
        Ok(Wire {
            patient: reading.patient.as_str().into(),
            id: reading.id.as_str().into(),
            at: reading.at.to_rfc3339(),
            values: serde_json::from_str(&reading.values).map_err(unreadable)?,
        })
    });
    serde_json::to_string(&Data { readings: readings.collect::<Result<_>>()? }).map_err(unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::history;
    use crate::store::sqlite::Sqlite;
    use crate::testing::Seeded;

    const RETENTION: Retention = Retention { age: Ttl::from_mins(600), brief: Ttl::from_mins(60), count: 1_000 };

    fn reading(patient: &str, second: u64) -> Reading {
        let at = UnixMillis(second * 1_000);
        Reading { patient: patient.into(), id: second.to_string(), at, values: r#"{"heart_rate":71}"#.into() }
    }

    #[test]
    fn each_reading_once_also_by_an_object_that_lost_its_memory() {
        let (sql, random) = (Sqlite::open(), Seeded::new(4));
        log::prepare(&sql, &random, UnixMillis(0)).unwrap();
        let mut memory = Memory::default();
        let mut told = 0;
        for second in 1..=900_u64 {
            let now = UnixMillis(second * 1_000);
            // Each second is sent with the one before once more, and one of its own twice.
            let mut sent = vec![reading("p", second), reading("q", second), reading("p", second)];
            sent.extend((second > 1).then(|| reading("q", second - 1)));
            let taken = take(&sql, &random, &memory, now, RETENTION, &sent).unwrap();
            told += taken.fresh.iter().map(|logged| logged.event.data.matches("\"id\"").count()).sum::<usize>();
            if second % 300 == 0 {
                let before = taken.cursor;
                memory = Memory::default();
                let again = take(&sql, &random, &memory, now, RETENTION, &sent).unwrap();
                assert_eq!((again.cursor, again.fresh.len()), (before, 0));
            }
        }
        assert_eq!(told, 2 * 900);
        // One row a window, however many readings it has; and nothing is remembered for ever.
        let extent = log::extent(&sql).unwrap();
        assert_eq!(extent.newest, 900);
        assert!(memory.order.borrow().len() <= 1_200, "{}", memory.order.borrow().len());
        assert_eq!(memory.order.borrow().len(), memory.keys.borrow().len());
        let again = take(&sql, &random, &memory, UnixMillis(900_000), RETENTION, &[reading("p", 10)]).unwrap();
        assert_eq!(again.fresh.len(), 1, "so long ago that it is not known any more");
    }

    /// Clients in the field read this.
    #[test]
    fn the_shape_is_pinned() {
        let (sql, random) = (Sqlite::open(), Seeded::new(4));
        log::prepare(&sql, &random, UnixMillis(0)).unwrap();
        let sent = [reading("p", 1), reading("q", 2)];
        take(&sql, &random, &Memory::default(), UnixMillis(2_000), RETENTION, &sent).unwrap();
        let page = history::page(&sql, None, 10).unwrap().unwrap();
        let one = |patient: &str, second: u64| {
            let at = UnixMillis(second * 1_000).to_rfc3339();
            format!(r#"{{"patient":"{patient}","id":"{second}","at":"{at}","values":{{"heart_rate":71}}}}"#)
        };
        let event = &page.events[0].event;
        assert_eq!(event.data, format!(r#"{{"readings":[{},{}]}}"#, one("p", 1), one("q", 2)));
        assert_eq!(event.kind, "telemetry");
    }

    #[test]
    fn more_than_fit_in_one_event_are_several() {
        let (sql, random) = (Sqlite::open(), Seeded::new(4));
        log::prepare(&sql, &random, UnixMillis(0)).unwrap();
        let sent: Vec<Reading> = (0..300).map(|second| reading("p", second)).collect();
        let taken = take(&sql, &random, &Memory::default(), UnixMillis(0), RETENTION, &sent).unwrap();
        assert_eq!((taken.fresh.len(), taken.cursor.offset), (3, 3));
    }
}
