//! A listener by one of the four ways: it reads the very texts that go over the wire, and holds what it is told against
//! what has happened.

use std::collections::{BTreeMap, VecDeque};

use serde_json::Value;

use super::super::cursor::{Position, Snapshot};
use super::super::history::SKEW;
use super::super::sse::{self, Said};
use super::super::{TopicReply, frame, poll};
use super::{Mutant, Topic, Truth};

/// How a listener listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    Socket,
    Stream,
    Poll,
    Pages,
}

/// What a listener was told.
#[derive(Debug)]
pub enum Told {
    Hello(String),
    Gap(String),
    Event { cursor: String, data: String },
    Bye,
}

/// A connection: what is on its way to the listener, and what it has acknowledged.
pub struct Connection {
    /// Each text with the instant at which it was said, in steps of the model.
    pub inbox: VecDeque<(u64, String)>,
    pub acknowledged: u64,
    /// Nothing more comes after what is in the inbox.
    pub closing: bool,
}

pub struct Listener {
    pub way: Way,
    /// What it would come back with.
    pub position: Option<String>,
    pub connection: Option<Connection>,
    /// Everything up to this serial is accounted for.
    last: usize,
    last_record: u64,
    /// What it began with: the snapshot, and how many events there were when it was taken.
    snapshot: Option<(Snapshot, usize)>,
    after_gap: bool,
    /// When it was last told of a gap: what was lost until then is accounted for.
    told: u64,
    /// The instant of what it reads.
    reading: u64,
    /// The epoch of the last event or gap.
    epoch: Option<String>,
    epoch_changed: bool,
}

impl Listener {
    pub fn new(way: Way) -> Listener {
        Listener {
            way,
            position: None,
            connection: None,
            last: 0,
            last_record: 0,
            snapshot: None,
            after_gap: true,
            told: 0,
            reading: 0,
            epoch: None,
            epoch_changed: false,
        }
    }

    pub fn after(&self) -> Option<Position> {
        self.position.as_ref().map(|text| Position::parse(text).unwrap())
    }

    /// Begins anew with the state that `snapshot` is the position of.
    pub fn load(&mut self, snapshot: Snapshot, truth: &[Truth]) {
        let since = snapshot.at.0.saturating_sub(SKEW.0);
        let last = truth.partition_point(|event| event.received <= since);
        let before = Listener::new(self.way);
        let epoch = snapshot.epoch.clone();
        *self = Listener {
            position: Some(snapshot.to_string()),
            last,
            last_record: snapshot.seq,
            snapshot: Some((snapshot, truth.len())),
            after_gap: false,
            epoch,
            ..before
        };
    }

    /// Reads the next text of its connection.
    pub fn read(&mut self, mutant: Mutant) -> Vec<Told> {
        let Some(connection) = &mut self.connection else { return Vec::new() };
        let Some((said, text)) = connection.inbox.pop_front() else {
            if connection.closing {
                self.connection = None;
            }
            return Vec::new();
        };
        self.reading = said;
        let told = match self.way {
            Way::Socket => self::frame(&text),
            Way::Stream => match sse::translate(&text).unwrap() {
                Said::Nothing => Vec::new(),
                Said::Text { text, .. } => self::stream(&text, mutant),
                Said::End => vec![Told::Bye],
            },
            Way::Poll => match poll::translate(&text).unwrap() {
                Some(page) => {
                    self.connection = None;
                    self.page(&page)
                }
                None if text.contains(r#""type":"bye""#) => {
                    self.connection = None;
                    let nothing = poll::nothing(&self.after().unwrap()).unwrap();
                    self.page(&nothing)
                }
                None => Vec::new(),
            },
            Way::Pages => Vec::new(),
        };
        if told.iter().any(|told| matches!(told, Told::Bye)) {
            self.connection = None;
        }
        told
    }

    /// Reads an answer to a request for a page; whether it said anything.
    pub fn answered(&mut self, now: u64, topic: &Topic, reply: TopicReply) -> Vec<Told> {
        self.reading = now;
        let TopicReply::Page(page) = reply else { return Vec::new() };
        let text = frame::page(topic, &page).unwrap();
        self.page(&text)
    }

    /// What a page says; its cursor counts only after all of its events.
    fn page(&mut self, text: &str) -> Vec<Told> {
        let page: Value = serde_json::from_str(text).unwrap();
        let mut told = Vec::new();
        if let Some(oldest) = page["gap"]["oldest"].as_str() {
            told.push(Told::Gap(oldest.to_owned()));
        }
        told.extend(page["events"].as_array().unwrap().iter().map(event));
        told.push(Told::Hello(page["cursor"].as_str().unwrap().to_owned()));
        told
    }

    /// Takes what it was told; `Err` says what is wrong with it.
    pub fn take(
        &mut self,
        told: Told,
        truth: &[Truth],
        places: &BTreeMap<(String, u64), usize>,
        counts: &mut BTreeMap<&'static str, u64>,
    ) -> Result<(), String> {
        match told {
            Told::Bye => {
                *counts.entry("goodbyes").or_default() += 1;
                Ok(())
            }
            Told::Hello(cursor) => {
                if self.position.is_none() {
                    // It asked for what comes from now on. Before the first event of an epoch is no place to know.
                    let Some(Position::Cursor(place)) = Position::parse(&cursor) else { return Err(cursor) };
                    let serial = places.get(&(place.epoch, place.offset));
                    (self.last, self.after_gap) = (serial.copied().unwrap_or(0), serial.is_none());
                }
                self.position = Some(cursor);
                Ok(())
            }
            Told::Gap(oldest) => {
                *counts.entry(gap_of(self.way)).or_default() += 1;
                let epoch = oldest.split(':').next().unwrap().to_owned();
                let caused = self.gap_has_a_cause(&epoch, truth);
                if self.epoch.as_ref() != Some(&epoch) {
                    // A log that lost its disk is filled again from the oldest row not acknowledged, which may have been
                    // seen.
                    (self.epoch_changed, self.last_record) = (true, 0);
                }
                self.epoch = Some(epoch);
                (self.after_gap, self.told) = (true, self.reading);
                let before = self.position.replace(oldest);
                if caused { Ok(()) } else { Err(format!("a gap without a cause after {before:?}")) }
            }
            Told::Event { cursor, data } => {
                *counts.entry(event_of(self.way)).or_default() += 1;
                let Some(Position::Cursor(place)) = Position::parse(&cursor) else {
                    return Err(format!("an event at {cursor}"));
                };
                let serial =
                    *places.get(&(place.epoch.clone(), place.offset)).ok_or(format!("no event at {cursor}"))?;
                let event = &truth[serial - 1];
                if event.data() != data {
                    return Err(format!("{data} at {cursor} is {}", event.data()));
                }
                if self.epoch.as_ref().is_some_and(|epoch| *epoch != place.epoch) && !self.after_gap {
                    return Err(format!(
                        "{cursor} of another epoch than {:?} without a gap ({:?})",
                        self.epoch, self.way
                    ));
                }
                self.judge(serial, event, truth)?;
                self.last = serial;
                self.last_record = event.record.unwrap_or(self.last_record);
                self.epoch = Some(place.epoch);
                self.position = Some(cursor);
                (self.after_gap, self.epoch_changed) = (false, false);
                Ok(())
            }
        }
    }

    fn judge(&self, serial: usize, event: &Truth, truth: &[Truth]) -> Result<(), String> {
        if self.after_gap && self.epoch_changed {
            return Ok(());
        }
        let what = format!("{} (serial {serial}, {:?})", event.data(), self.way);
        if serial <= self.last {
            return Err(format!("saw {what} after serial {}", self.last));
        }
        if event.record.is_some_and(|record| record <= self.last_record) {
            return Err(format!("saw {what} after record {}", self.last_record));
        }
        match self.missed(self.last + 1..serial, truth) {
            Some(missed) if !self.after_gap => Err(format!("saw {what} and never {}", missed.data())),
            _ => Ok(()),
        }
    }

    /// The first of these that it should have been given.
    fn missed<'a>(&self, mut serials: std::ops::Range<usize>, truth: &'a [Truth]) -> Option<&'a Truth> {
        serials.find_map(|serial| {
            let event = &truth[serial - 1];
            let announced = event.lost.is_some_and(|lost| lost <= self.told);
            let known = announced
                || self.snapshot.as_ref().is_some_and(|(snapshot, before)| match event.record {
                    Some(record) => record <= snapshot.seq,
                    None => serial <= *before,
                });
            (!known).then_some(event)
        })
    }

    /// Nothing is outstanding any more: everything is accounted for.
    pub fn settled(&self, truth: &[Truth]) -> Result<(), String> {
        let kept = (self.last + 1..=truth.len()).filter(|serial| truth[serial - 1].lost.is_none());
        let mut missed = kept.filter_map(|serial| self.missed(serial..serial + 1, truth));
        match missed.next() {
            Some(event) => Err(format!("{:?} never saw {}, which is kept", self.way, event.data())),
            None if self.after_gap => Ok(()),
            None => match self.missed(self.last + 1..truth.len() + 1, truth) {
                Some(event) => Err(format!("{:?} was not told that {} is lost", self.way, event.data())),
                None => Ok(()),
            },
        }
    }

    fn gap_has_a_cause(&self, epoch: &str, truth: &[Truth]) -> bool {
        if self.epoch.as_ref() != Some(&epoch.to_owned()) {
            return true;
        }
        let fresh = |snapshot: &Snapshot, event: &Truth| {
            event.received > snapshot.at.0.saturating_sub(SKEW.0)
                || event.record.is_some_and(|record| record > snapshot.seq)
        };
        match (&self.snapshot, self.position.as_ref().is_some_and(|position| !position.contains(':'))) {
            (Some((snapshot, _)), true) => truth.iter().any(|event| event.lost.is_some() && fresh(snapshot, event)),
            _ => truth[self.last..].iter().any(|event| event.lost.is_some()),
        }
    }
}

fn gap_of(way: Way) -> &'static str {
    match way {
        Way::Socket => "gaps on sockets",
        Way::Stream => "gaps on streams",
        Way::Poll => "gaps on polls",
        Way::Pages => "gaps on pages",
    }
}

fn event_of(way: Way) -> &'static str {
    match way {
        Way::Socket => "events on sockets",
        Way::Stream => "events on streams",
        Way::Poll => "events on polls",
        Way::Pages => "events on pages",
    }
}

fn event(event: &Value) -> Told {
    Told::Event { cursor: event["cursor"].as_str().unwrap().to_owned(), data: event["data"].to_string() }
}

fn frame(text: &str) -> Vec<Told> {
    let frame: Value = serde_json::from_str(text).unwrap();
    let text = |name: &str| frame[name].as_str().unwrap().to_owned();
    match text("type").as_str() {
        "hello" => vec![Told::Hello(text("cursor"))],
        "gap" => vec![Told::Gap(text("oldest"))],
        "events" => frame["events"].as_array().unwrap().iter().map(event).collect(),
        "bye" => vec![Told::Bye],
        other => panic!("a frame of type {other}"),
    }
}

/// As an `EventSource` reads it (HTML, section 9.2.6).
fn stream(text: &str, mutant: Mutant) -> Vec<Told> {
    let mut told = Vec::new();
    for block in text.split("\n\n").filter(|block| !block.is_empty()) {
        let field = |name: &str| {
            let prefix = format!("{name}: ");
            block.lines().find_map(|line| line.strip_prefix(&prefix)).map(str::to_owned)
        };
        let id = field("id").unwrap();
        match (field("event").as_deref(), field("data")) {
            (Some("gap"), _) if mutant == Mutant::StreamPassesOverGaps => told.push(Told::Hello(id)),
            (Some("gap"), _) => told.push(Told::Gap(id)),
            (Some(_), Some(data)) => {
                let data: Value = serde_json::from_str(&data).unwrap();
                told.push(Told::Event { cursor: id, data: data["data"].to_string() });
            }
            _ => told.push(Told::Hello(id)),
        }
    }
    told
}
