//! A model of one clinic, one topic and listeners by every way over a network that loses, doubles, delays and swaps, with
//! connections that are cut, an object that dies, a topic that loses its disk, a log that is trimmed and clocks that
//! differ. What must hold: each listener sees what is committed in order and once, or is told of a gap; a gap has a cause;
//! one that begins with a snapshot is given nothing that the snapshot has and everything else; in the end everything still
//! kept was seen.

mod listener;
mod tests;

use std::collections::{BTreeMap, VecDeque};

use self::listener::{Connection, Listener, Way};
use super::cursor::{Cursor, Extent, Position};
use super::outbox::{self, Delivery, Event};
use super::replay::{Met, replay};
use super::window::Sent;
use super::*;
use crate::config::Retention;
use crate::store::sql::Sql;
use crate::store::sqlite::Sqlite;
use crate::testing::Seeded;
use crate::time::{Ttl, UnixMillis};

/// A fault seeded into the parts or between them, which the model must notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    None,
    AcknowledgesWhenSent,
    SkipsTheOldestRow,
    SwapsWithinADelivery,
    IgnoresTheEpoch,
    IgnoresTheTrim,
    TrimsBriefKindsInSilence,
    DropsFramesForSlowReaders,
    StreamPassesOverGaps,
    TakesThePositionTooLate,
    TakesThePositionTooEarly,
    ForgetsWhatTheSnapshotHas,
    RepeatsAPublication,
}

/// How far the topic's clock may be off the clinic's, either way.
const CLOCKS_DIFFER: u64 = 2_000;
const RETENTION: Retention = Retention { age: Ttl::from_mins(60), brief: Ttl::from_mins(20), count: 40 };
const WINDOW: u64 = 12;

/// What happened to the topic, by serial: 1 for the first.
pub struct Truth {
    /// The number of the commit; `None` for what is about no record.
    record: Option<u64>,
    number: u64,
    received: u64,
    /// When it ceased to be kept, in steps of the model.
    lost: Option<u64>,
}

impl Truth {
    fn data(&self) -> String {
        let kind = if self.record.is_some() { "r" } else { "d" };
        format!(r#"{{"{kind}":{}}}"#, self.number)
    }
}

struct Model {
    mutant: Mutant,
    random: Seeded,
    steps: u64,
    now: u64,
    clinic: Sqlite,
    log: Sqlite,
    topic: Topic,
    committed: u64,
    published: u64,
    in_flight: Vec<Delivery>,
    acknowledgements: Vec<(u64, String)>,
    listeners: Vec<Listener>,
    sent: Sent,
    truth: Vec<Truth>,
    /// What each place of each epoch was, and which of them are kept.
    places: BTreeMap<(String, u64), usize>,
    kept: BTreeMap<u64, usize>,
    disks_lost: u64,
    counts: BTreeMap<&'static str, u64>,
}

impl Model {
    fn new(seed: u64, mutant: Mutant) -> Model {
        let (clinic, log, random) = (Sqlite::open(), Sqlite::open(), Seeded::new(seed));
        outbox::prepare(&clinic).unwrap();
        let now = 1_700_000_000_000;
        object::prepare(&log, &random, UnixMillis(now)).unwrap();
        let ways = [Way::Socket, Way::Stream, Way::Poll, Way::Pages, Way::Socket];
        Model {
            mutant,
            random,
            steps: 0,
            now,
            clinic,
            log,
            topic: Topic::Patient("p".into()),
            committed: 0,
            published: 0,
            in_flight: Vec::new(),
            acknowledgements: Vec::new(),
            listeners: ways.map(Listener::new).into(),
            sent: Sent::with(WINDOW, u64::MAX),
            truth: Vec::new(),
            places: BTreeMap::new(),
            kept: BTreeMap::new(),
            disks_lost: 0,
            counts: BTreeMap::new(),
        }
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn pick(&self, from: usize) -> Option<usize> {
        (from > 0).then(|| self.random.below(from as u64) as usize)
    }

    /// The topic's clock.
    fn there(&self) -> UnixMillis {
        UnixMillis(self.now + self.random.below(2 * CLOCKS_DIFFER) - CLOCKS_DIFFER)
    }

    fn commit(&mut self) {
        for _ in 0..=self.random.below(3) {
            self.committed += 1;
            let event = Event {
                id: format!("Observation/{}/_history/1", self.committed),
                kind: "observation".into(),
                at: UnixMillis(self.now),
                data: format!(r#"{{"r":{}}}"#, self.committed),
            };
            outbox::add(&self.clinic, &self.topic, &event).unwrap();
            self.count("commits");
        }
    }

    fn send(&mut self) {
        let Some(mut delivery) = outbox::next(&self.clinic, &self.topic, UnixMillis::MAX).unwrap() else {
            return;
        };
        match self.mutant {
            Mutant::SkipsTheOldestRow if delivery.events.len() > 1 => {
                delivery.events.remove(0);
                delivery.first += 1;
            }
            Mutant::SwapsWithinADelivery => delivery.events.reverse(),
            Mutant::AcknowledgesWhenSent => {
                let last = delivery.first + delivery.events.len() as u64 - 1;
                let epoch = log::extent(&self.log).unwrap().epoch;
                outbox::acknowledge(&self.clinic, &self.topic, last, &epoch).unwrap();
            }
            _ => {}
        }
        self.in_flight.push(delivery);
    }

    /// Asks the topic's object, as its shell does: what it says goes to whoever has a connection and room.
    fn ask(&mut self, request: &TopicRequest) -> Result<TopicReply, String> {
        if !request.is_change() {
            let done = object::handle(&self.log, &self.random, self.there(), RETENTION, request);
            return done.map(|done| done.reply).map_err(|e| e.to_string());
        }
        let before = log::extent(&self.log).unwrap();
        let done =
            object::handle(&self.log, &self.random, self.there(), RETENTION, request).map_err(|e| e.to_string())?;
        let after = log::extent(&self.log).unwrap();
        if after.epoch != before.epoch {
            self.count("epochs broken");
            if self.disks_lost == 0 {
                return Err("the epoch broke although nothing was lost".into());
            }
            let moved: Vec<(u64, usize)> = self.kept.iter().map(|(offset, serial)| (*offset, *serial)).collect();
            self.places.extend(moved.into_iter().map(|(offset, serial)| ((after.epoch.clone(), offset), serial)));
        }
        let (open, close) = frame::AROUND_EVENTS;
        let frames: Vec<String> = done
            .round
            .into_iter()
            .flat_map(|round| {
                let events = (!round.events.is_empty()).then(|| [open, &round.events, close].concat());
                round.announcement.into_iter().chain(events)
            })
            .collect();
        self.learn(&frames, &after)?;
        if frames.is_empty() {
            return Ok(done.reply);
        }
        let (mutant, steps, sent) = (self.mutant, self.steps, &mut self.sent);
        let mut slow = 0;
        for connection in self.listeners.iter_mut().filter_map(|listener| listener.connection.as_mut()) {
            if connection.closing {
                continue;
            }
            if sent.has_room(connection.acknowledged, before.newest) {
                connection.inbox.extend(frames.iter().map(|text| (steps, text.clone())));
            } else {
                slow += 1;
                if mutant != Mutant::DropsFramesForSlowReaders {
                    connection.inbox.push_back((steps, frame::bye(frame::Close::Slow).unwrap()));
                    connection.closing = true;
                }
            }
        }
        sent.round(after.newest, frames.iter().map(String::len).sum());
        *self.counts.entry("windows used up").or_default() += slow;
        Ok(done.reply)
    }

    /// Writes down what is new in the log, which everybody who listens is sent, and what is gone from it.
    fn learn(&mut self, frames: &[String], after: &Extent) -> Result<(), String> {
        let frames = frames.iter().map(|text| serde_json::from_str::<serde_json::Value>(text).unwrap());
        for event in frames.flat_map(|frame| frame["events"].as_array().cloned().unwrap_or_default()) {
            let offset = Cursor::parse(event["cursor"].as_str().unwrap()).unwrap().offset;
            let record = event["data"]["r"].as_u64();
            let number = record.unwrap_or_else(|| event["data"]["d"].as_u64().unwrap());
            if record.is_none() && self.truth.iter().any(|truth| truth.record.is_none() && truth.number == number) {
                return Err(format!("publication {number} is there twice"));
            }
            let row = self.log.first("SELECT received FROM events WHERE offset = ?1", &[offset.into()]).unwrap();
            // One that came in such a crowd that it is trimmed already was received now.
            let received = row.map_or(self.now, |mut row| row.number().unwrap());
            self.truth.push(Truth { record, number, received, lost: None });
            self.kept.insert(offset, self.truth.len());
            self.places.insert((after.epoch.clone(), offset), self.truth.len());
        }
        let number = self.log.first("SELECT count(*) FROM events", &[]).unwrap().unwrap().number().unwrap();
        if number < self.kept.len() as u64 {
            self.count("trims");
            let rows = self.log.exec("SELECT offset FROM events", &[]).unwrap();
            let there: Vec<u64> = rows.into_iter().map(|mut row| row.number().unwrap()).collect();
            let gone: Vec<u64> = self.kept.keys().filter(|offset| !there.contains(offset)).copied().collect();
            for offset in gone {
                let serial = self.kept.remove(&offset).unwrap();
                self.truth[serial - 1].lost = Some(self.steps);
                if self.kept.range(..offset).next().is_some() {
                    self.count("brief events trimmed before others");
                }
            }
            if self.mutant == Mutant::TrimsBriefKindsInSilence {
                let oldest = self.kept.keys().next().map_or(after.newest, |oldest| oldest - 1);
                self.log.exec("UPDATE log SET lost = ?1, lost_at = 0", &[oldest.into()]).unwrap();
            }
        }
        Ok(())
    }

    fn publish(&mut self) -> Result<(), String> {
        let doubled = self.published > 0 && self.random.below(4) == 0;
        self.published += u64::from(!doubled);
        let number = self.published;
        let telemetry = !number.is_multiple_of(3);
        let key = match self.mutant {
            Mutant::RepeatsAPublication => None,
            _ => (!telemetry).then(|| format!("key-{number}")),
        };
        if doubled && telemetry {
            return Ok(());
        }
        let kept = self.kept.values().any(|serial| {
            let event = &self.truth[serial - 1];
            event.record.is_none() && event.number == number
        });
        if doubled && !kept {
            return Ok(());
        }
        let kind = if telemetry { EventKind::Telemetry } else { EventKind::Notice };
        let data = format!(r#"{{"d":{number}}}"#);
        let request = TopicRequest::Publish { topic: self.topic.clone(), key, kind, data };
        match self.ask(&request)? {
            TopicReply::Published { fresh, .. } if fresh == doubled => Err("a repetition counted as fresh".into()),
            TopicReply::Published { fresh: false, .. } => {
                self.count("publications repeated");
                Ok(())
            }
            _ => {
                self.count("publications");
                Ok(())
            }
        }
    }

    fn arrive(&mut self) -> Result<(), String> {
        let Some(chosen) = self.pick(self.in_flight.len()) else { return Ok(()) };
        if chosen > 0 {
            self.count("deliveries swapped");
        }
        let delivery = match self.random.below(4) {
            0 => {
                self.count("deliveries doubled");
                self.in_flight[chosen].clone()
            }
            _ => self.in_flight.remove(chosen),
        };
        self.deliver(delivery)
    }

    fn deliver(&mut self, delivery: Delivery) -> Result<(), String> {
        let request = TopicRequest::Deliver { topic: self.topic.clone(), delivery };
        if let TopicReply::Applied { seq, epoch } = self.ask(&request)? {
            self.acknowledgements.push((seq, epoch));
        }
        Ok(())
    }

    fn acknowledge(&mut self) {
        let Some(chosen) = self.pick(self.acknowledgements.len()) else { return };
        let (applied, epoch) = self.acknowledgements.swap_remove(chosen);
        if self.random.below(5) == 0 {
            self.count("acknowledgements lost");
        } else {
            outbox::acknowledge(&self.clinic, &self.topic, applied, &epoch).unwrap();
        }
    }

    /// A listener reads what is on its way, or asks, or connects.
    fn listen(&mut self) -> Result<(), String> {
        let chosen = self.random.below(self.listeners.len() as u64) as usize;
        self.turn(chosen)
    }

    fn turn(&mut self, chosen: usize) -> Result<(), String> {
        let told = if self.listeners[chosen].connection.is_some() {
            let acknowledges = chosen != 4 && self.random.below(3) > 0;
            let listener = &mut self.listeners[chosen];
            let told = listener.read(self.mutant);
            if acknowledges
                && let (Some(connection), Some(Position::Cursor(cursor))) =
                    (&mut listener.connection, Position::parse(listener.position.as_deref().unwrap_or_default()))
            {
                connection.acknowledged = connection.acknowledged.max(cursor.offset);
            }
            told
        } else {
            self.begin(chosen)?
        };
        for told in told {
            self.listeners[chosen].take(told, &self.truth, &self.places, &mut self.counts)?;
        }
        Ok(())
    }

    fn begin(&mut self, chosen: usize) -> Result<Vec<listener::Told>, String> {
        let way = self.listeners[chosen].way;
        let after = self.mutated(self.listeners[chosen].after());
        if matches!(way, Way::Pages | Way::Poll) {
            let limit = 1 + self.random.below(30);
            let request = TopicRequest::Page { topic: self.topic.clone(), after: after.clone(), limit };
            let reply = self.ask(&request)?;
            if reply == TopicReply::Behind {
                self.count("snapshots ahead of the log");
            }
            let quiet = matches!(&reply, TopicReply::Page(page) if page.events.is_empty() && page.gap.is_none());
            let told = self.listeners[chosen].answered(self.steps, &self.topic, reply);
            if way == Way::Pages || !quiet || after.is_none() {
                return Ok(told);
            }
            self.count("polls that wait");
        }
        let (steps, mut inbox) = (self.steps, VecDeque::new());
        let mut send = |frame| {
            inbox.push_back((steps, frame));
            Ok(())
        };
        match replay(&self.log, &self.topic, after.as_ref(), &mut send).unwrap() {
            Met::Behind => self.count("snapshots ahead of the log"),
            met => {
                let acknowledged = log::extent(&self.log).unwrap().newest;
                let closing = met != Met::Joined;
                self.listeners[chosen].connection = Some(Connection { inbox, acknowledged, closing });
                self.count("connections");
            }
        }
        Ok(Vec::new())
    }

    fn mutated(&self, after: Option<Position>) -> Option<Position> {
        let extent = log::extent(&self.log).unwrap();
        match (self.mutant, after) {
            (Mutant::IgnoresTheEpoch, Some(Position::Cursor(cursor))) => {
                Some(Position::Cursor(Cursor { epoch: extent.epoch, ..cursor }))
            }
            (Mutant::IgnoresTheTrim, Some(Position::Cursor(cursor))) if cursor.epoch == extent.epoch => {
                let offset = cursor.offset.max(extent.lost);
                Some(Position::Cursor(Cursor { offset, ..cursor }))
            }
            (Mutant::ForgetsWhatTheSnapshotHas, Some(Position::Cursor(cursor))) => {
                Some(Position::Cursor(Cursor { seen: 0, ..cursor }))
            }
            (_, after) => after,
        }
    }

    /// A page loads the state of the records and will follow it from there.
    fn load(&mut self) {
        let chosen = self.random.below(self.listeners.len() as u64) as usize;
        let mut snapshot = outbox::snapshot(&self.clinic, &self.topic, UnixMillis(self.now)).unwrap();
        let state = snapshot.clone();
        match self.mutant {
            Mutant::TakesThePositionTooLate => snapshot.seq += 1,
            Mutant::TakesThePositionTooEarly => snapshot.seq = snapshot.seq.saturating_sub(1),
            _ => {}
        }
        self.count(if snapshot.epoch.is_some() { "snapshots" } else { "snapshots of an unheard epoch" });
        let listener = &mut self.listeners[chosen];
        listener.load(state, &self.truth);
        listener.position = Some(snapshot.to_string());
    }

    fn lose_the_disk(&mut self) {
        self.log = Sqlite::open();
        object::prepare(&self.log, &self.random, self.there()).unwrap();
        // Whatever was in flight to it is lost as well, or it would not be the same epoch.
        self.in_flight.clear();
        self.acknowledgements.clear();
        for serial in std::mem::take(&mut self.kept).into_values() {
            self.truth[serial - 1].lost = Some(self.steps);
        }
        self.disks_lost += 1;
        self.count("disks lost");
        self.restart();
    }

    /// The object's memory is lost, and every connection with it.
    fn restart(&mut self) {
        self.sent = Sent::with(WINDOW, u64::MAX);
        self.listeners.iter_mut().for_each(|listener| listener.connection = None);
        self.count("restarts");
    }

    fn step(&mut self) -> Result<(), String> {
        self.steps += 1;
        match self.random.below(1_000) {
            0..120 => self.commit(),
            120..220 => self.send(),
            220..330 => self.arrive()?,
            330..390 => self.acknowledge(),
            390..410 => {
                if let Some(chosen) = self.pick(self.in_flight.len()) {
                    self.in_flight.remove(chosen);
                    self.count("deliveries lost");
                }
            }
            410..500 => self.publish()?,
            500..950 => self.listen()?,
            950..965 => {
                let chosen = self.random.below(self.listeners.len() as u64) as usize;
                if self.listeners[chosen].connection.take().is_some() {
                    self.count("connections cut");
                }
            }
            965..980 => self.load(),
            980..990 => {
                self.now += self.random.below(RETENTION.brief.0);
                self.count("clock steps");
            }
            990..995 => {
                log::expire(&self.log, self.there(), RETENTION).unwrap();
                let after = log::extent(&self.log).unwrap();
                self.learn(&[], &after)?;
            }
            995..998 => self.restart(),
            _ if self.random.below(4) == 0 => self.lose_the_disk(),
            _ => {}
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<(), String> {
        while let Some(delivery) = outbox::next(&self.clinic, &self.topic, UnixMillis::MAX).unwrap() {
            self.deliver(delivery)?;
            let (applied, epoch) = self.acknowledgements.pop().unwrap();
            outbox::acknowledge(&self.clinic, &self.topic, applied, &epoch).unwrap();
        }
        for chosen in 0..self.listeners.len() {
            let end = log::extent(&self.log).unwrap();
            let mut rounds = 0;
            // Until there is nothing more to read: a page that is up to date, or a connection with nothing on its way.
            loop {
                self.turn(chosen)?;
                let listener = &self.listeners[chosen];
                let up_to_date = listener.position == Some(end.at(end.newest).to_string());
                let quiet = listener.connection.as_ref().is_some_and(|it| it.inbox.is_empty() && !it.closing);
                if if listener.way == Way::Pages { up_to_date } else { quiet } {
                    break;
                }
                rounds += 1;
                if rounds > 10_000 {
                    return Err(format!("listener {chosen} never gets to the end, from {:?}", listener.position));
                }
            }
            self.listeners[chosen].settled(&self.truth)?;
        }
        Ok(())
    }
}
