//! The object of one topic as a transition: a request and its log give an answer and the frames for everybody who listens.
//!
//! Invariant: what is to be said to the listeners is in the log when this returns it. No I/O is here: the shell sends, and
//! has its alarm ring for what is on the [`agenda`].

use serde::{Deserialize, Serialize};

use super::cursor::{Cursor, Position};
use super::frame::{self, Close, Frame};
use super::history::{self, Page};
use super::log::{self, Logged};
use super::outbox::{Delivery, Event};
use super::subscription::hook;
use super::telemetry::{self, Memory, Reading};
use super::{EventKind, Topic};
use crate::access::bar::{self, Bar, Barred};
use crate::config::Retention;
use crate::error::Result;
use crate::store::agenda;
use crate::store::restored;
use crate::store::sql::Sql;
use crate::time::{Entropy, UnixMillis};

/// On the agenda: the oldest events are past their time, though nothing new has come that would push them out.
const EXPIRE: &str = "expire";

/// What a topic's object can be asked, besides a subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TopicRequest {
    /// Takes events out of the outbox.
    Deliver {
        /// The topic, which the object cannot tell from its own name.
        topic: Topic,
        /// What is not acknowledged yet, from its oldest on.
        delivery: Delivery,
    },
    /// Takes an event that is about no record.
    Publish {
        /// The topic.
        topic: Topic,
        /// The key under which it is taken once; `None` takes it as often as it is sent.
        key: Option<String>,
        /// Its kind.
        kind: EventKind,
        /// JSON.
        data: String,
    },
    /// Takes readings of monitors.
    Telemetry {
        /// The topic.
        topic: Topic,
        /// The readings.
        readings: Vec<Reading>,
    },
    /// Reads history.
    Page {
        /// The topic.
        topic: Topic,
        /// Where to go on; `None` begins at the oldest event kept.
        after: Option<Position>,
        /// At most this many events.
        limit: u64,
    },
    /// Reads history by offset, for those who count events.
    Range {
        /// The topic.
        topic: Topic,
        /// The first event.
        since: u64,
        /// The last event.
        until: u64,
        /// At most this many.
        limit: u64,
    },
    /// Some who listen must do so no more, or ask again.
    Bar(Vec<Bar>),
}

impl TopicRequest {
    /// Whether repeating it after a lost answer could do something twice.
    pub fn is_change(&self) -> bool {
        !matches!(self, TopicRequest::Page { .. } | TopicRequest::Range { .. })
    }
}

/// What a topic's object answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TopicReply {
    /// Every event up to this sequence number is in the log.
    Applied {
        /// The sequence number.
        seq: u64,
        /// The epoch of the log.
        epoch: String,
    },
    /// Of a publication: the event is in the log.
    Published {
        /// The position after it.
        cursor: Cursor,
        /// Whether it is new, and was not published before under the same key.
        fresh: bool,
    },
    /// A page of history.
    Page(Page),
    /// The log does not have everything yet that the reader's snapshot has: it is on its way.
    Behind,
    /// The bars are up.
    Barred,
}

/// An answer, and what everybody who listens is to be sent.
#[derive(Debug)]
pub struct Done {
    /// The answer.
    pub reply: TopicReply,
    /// What is to be sent, if anything.
    pub round: Option<Round>,
    /// Whether something was put on the agenda.
    pub put_down: bool,
    /// Who is to be sent away, each with what [`parting`] says.
    pub barred: Vec<Barred>,
}

/// Why those are sent away whom `barred` is about.
pub fn parting(barred: &Barred) -> Close {
    match barred {
        Barred::Session(_) => Close::Ended,
        Barred::Before(..) | Barred::Moved(_) => Close::AskAgain,
    }
}

/// Something that everybody who listens is to be sent.
#[derive(Debug, PartialEq, Eq)]
pub struct Round {
    /// The text of a frame that goes first.
    pub announcement: Option<String>,
    /// The texts of events, with commas between: what stands in their frame. Empty for none.
    pub events: String,
    /// The offset of the newest event before.
    pub before: u64,
    /// The offset of the newest event now.
    pub newest: u64,
}

impl Round {
    /// The round of `fresh` events, after an announcement if there is one.
    fn of(announcement: Option<String>, epoch: &str, fresh: &[Logged]) -> Result<Option<Round>> {
        let (Some(first), Some(last)) = (fresh.first(), fresh.last()) else {
            let alone = |text| Round { announcement: Some(text), events: String::new(), before: 0, newest: 0 };
            return Ok(announcement.map(alone));
        };
        Ok(Some(Round {
            announcement,
            events: frame::event_texts(epoch, fresh)?,
            before: first.offset.saturating_sub(1),
            newest: last.offset,
        }))
    }

    /// The bytes that it has, more or less.
    pub fn bytes(&self) -> usize {
        self.events.len().saturating_add(self.announcement.as_ref().map_or(0, String::len))
    }
}

/// Makes the tables where they are not there yet.
pub fn prepare(sql: &impl Sql, entropy: &impl Entropy, now: UnixMillis) -> Result<()> {
    agenda::prepare(sql)?;
    bar::prepare(sql)?;
    hook::prepare(sql)?;
    log::prepare(sql, entropy, now)
}

/// Brings the topic to the restore of `restored`, before anything else is asked.
pub fn catch_up(sql: &impl Sql, entropy: &impl Entropy, restored: UnixMillis) -> Result<()> {
    restored::catch_up(sql, restored, || {
        log::begin_anew(sql, entropy, restored)?;
        hook::begin_anew(sql, log::extent(sql)?.newest)
    })
}

/// Does what is due at `now`.
pub fn wake(sql: &impl Sql, now: UnixMillis, retention: Retention, what: &str) -> Result<()> {
    match what {
        EXPIRE => agenda::set(sql, EXPIRE, log::expire(sql, now, retention)?),
        // Put there by a version of the program that knew more.
        _ => agenda::set(sql, what, None),
    }
}

/// Answers `request` at `now`.
pub fn handle(
    sql: &impl Sql,
    entropy: &impl Entropy,
    now: UnixMillis,
    retention: Retention,
    request: &TopicRequest,
) -> Result<Done> {
    let (mut round, mut first, mut put_down) = (None, false, false);
    let mut barred = Vec::new();
    let reply = match request {
        TopicRequest::Deliver { topic, delivery } => {
            if let (Topic::Subscription(id), Some(version)) = (topic, delivery.note) {
                hook::want(sql, now, id, version)?;
                put_down = true;
            }
            let done = log::deliver(sql, entropy, now, retention, delivery)?;
            let gap = |oldest| frame::frame(&Frame::Gap(frame::gap(topic, oldest)));
            round = Round::of(done.broken.as_ref().map(gap).transpose()?, &done.epoch, &done.fresh)?;
            if matches!(topic, Topic::Subscription(_)) && !done.fresh.is_empty() && hook::get(sql)?.is_some() {
                agenda::by(sql, hook::DUE, now)?;
                put_down = true;
            }
            first = done.first && !done.fresh.is_empty();
            TopicReply::Applied { seq: done.applied, epoch: done.epoch }
        }
        TopicRequest::Publish { key, kind, data, .. } => {
            let id = key.clone().unwrap_or_else(|| entropy.uuid());
            let event = Event { id, kind: kind.as_str().to_owned(), at: now, data: data.clone() };
            let done = log::publish(sql, now, retention, &event, key.is_some())?;
            round = Round::of(None, &done.cursor.epoch, done.fresh.as_slice())?;
            first = done.first;
            TopicReply::Published { cursor: done.cursor, fresh: done.fresh.is_some() }
        }
        TopicRequest::Telemetry { readings, .. } => {
            return telemetry(sql, entropy, &Memory::default(), now, retention, readings);
        }
        TopicRequest::Page { after, limit, .. } => {
            history::page(sql, after.as_ref(), *limit)?.map_or(TopicReply::Behind, TopicReply::Page)
        }
        TopicRequest::Range { since, until, limit, .. } => {
            TopicReply::Page(history::range(sql, *since, *until, *limit)?)
        }
        TopicRequest::Bar(bars) => {
            sql.transaction(|| bar::put(sql, now, bars))?;
            barred = bars.iter().map(|bar| bar.who.clone()).collect();
            TopicReply::Barred
        }
    };
    if first {
        agenda::by(sql, EXPIRE, now.plus(retention.brief))?;
    }
    Ok(Done { reply, round, put_down: put_down || first, barred })
}

/// Takes readings of monitors with the memory of an object: without one, what is known is read back from the log each time.
pub fn telemetry(
    sql: &impl Sql,
    entropy: &impl Entropy,
    memory: &Memory,
    now: UnixMillis,
    retention: Retention,
    readings: &[Reading],
) -> Result<Done> {
    let done = telemetry::take(sql, entropy, memory, now, retention, readings)?;
    let put_down = done.first;
    if put_down {
        agenda::by(sql, EXPIRE, now.plus(retention.brief))?;
    }
    let round = Round::of(None, &done.cursor.epoch, &done.fresh)?;
    let reply = TopicReply::Published { fresh: !done.fresh.is_empty(), cursor: done.cursor };
    Ok(Done { reply, round, barred: Vec::new(), put_down })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::Sqlite;
    use crate::testing::Seeded;
    use crate::time::Ttl;

    #[test]
    fn a_quiet_topic_lets_go_of_what_is_too_old() {
        let (sql, random) = (Sqlite::open(), Seeded::new(3));
        prepare(&sql, &random, UnixMillis(0)).unwrap();
        let retention = Retention { age: Ttl(1_000), brief: Ttl(1_000), count: 100 };
        let topic = Topic::Patient("p".into());
        let deliver = |seq: u64, now: u64| {
            let event = Event { id: seq.to_string(), kind: "x".into(), at: UnixMillis(now), data: "1".into() };
            let delivery = Delivery { first: seq, events: vec![event], note: None };
            let request = TopicRequest::Deliver { topic: topic.clone(), delivery };
            handle(&sql, &random, UnixMillis(now), retention, &request).unwrap();
        };
        let kept = || history::page(&sql, None, 10).unwrap().unwrap().events.len();
        let wake = |now: u64| {
            wake(&sql, UnixMillis(now), retention, EXPIRE).unwrap();
            (kept(), agenda::next(&sql).unwrap())
        };
        deliver(1, 10_000);
        deliver(2, 10_400);
        assert_eq!(agenda::next(&sql).unwrap(), Some(UnixMillis(11_000)));
        assert_eq!(wake(10_999), (2, Some(UnixMillis(11_000))));
        assert_eq!(wake(11_000), (1, Some(UnixMillis(11_400))));
        assert_eq!(wake(11_400), (0, None));
        let extent = log::extent(&sql).unwrap();
        assert_eq!((extent.oldest, extent.newest, extent.lost), (3, 2, 2), "offsets go on where they were");
    }
}
