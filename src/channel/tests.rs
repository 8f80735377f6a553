//! A model of one clinic, one topic and one subscriber over a network that loses, doubles, delays and swaps, with a topic
//! that loses its disk and a log that is trimmed. What must hold: the subscriber sees the commits in order and once; what
//! it does not see was announced as a gap; a gap has a cause; in the end everything still kept was seen.

use std::collections::BTreeMap;

use super::cursor::Cursor;
use super::log::{self, Page};
use super::outbox::{self, Delivery, Event};
use super::*;
use crate::config::Retention;
use crate::store::sqlite::Sqlite;
use crate::testing::Seeded;
use crate::time::{Ttl, UnixMillis};

/// A fault seeded into the parts between the real ones, which the model must notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mutant {
    None,
    AcknowledgesWhenSent,
    SkipsTheOldestRow,
    SwapsWithinADelivery,
    IgnoresTheEpoch,
    IgnoresTheTrim,
}

const RETENTION: Retention = Retention { age: Ttl::from_mins(60), count: 40 };

struct Model {
    seed: u64,
    mutant: Mutant,
    random: Seeded,
    now: u64,
    clinic: Sqlite,
    log: Sqlite,
    topic: Topic,
    committed: u64,
    in_flight: Vec<Delivery>,
    acknowledgements: Vec<u64>,
    cursor: Option<Cursor>,
    seen: u64,
    after_gap: bool,
    epoch_changed: bool,
    counts: BTreeMap<&'static str, u64>,
}

impl Model {
    fn new(seed: u64, mutant: Mutant) -> Model {
        let (clinic, log, random) = (Sqlite::open(), Sqlite::open(), Seeded::new(seed));
        outbox::prepare(&clinic).unwrap();
        log::prepare(&log, &random).unwrap();
        Model {
            seed,
            mutant,
            random,
            now: 1_700_000_000_000,
            clinic,
            log,
            topic: Topic::Patient("p".into()),
            committed: 0,
            in_flight: Vec::new(),
            acknowledgements: Vec::new(),
            cursor: None,
            seen: 0,
            after_gap: true,
            epoch_changed: false,
            counts: BTreeMap::new(),
        }
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn commit(&mut self) {
        for _ in 0..=self.random.below(3) {
            self.committed += 1;
            let event = Event {
                id: format!("Observation/{}/_history/1", self.committed),
                kind: "observation".into(),
                at: UnixMillis(self.now),
                data: self.committed.to_string(),
            };
            outbox::add(&self.clinic, &self.topic, &event).unwrap();
            self.count("commits");
        }
    }

    fn send(&mut self) {
        let Some(mut delivery) = outbox::next(&self.clinic, &self.topic).unwrap() else { return };
        match self.mutant {
            Mutant::SkipsTheOldestRow if delivery.events.len() > 1 => {
                delivery.events.remove(0);
                delivery.first += 1;
            }
            Mutant::SwapsWithinADelivery => delivery.events.reverse(),
            Mutant::AcknowledgesWhenSent => {
                let last = delivery.first + delivery.events.len() as u64 - 1;
                outbox::acknowledge(&self.clinic, &self.topic, last).unwrap();
            }
            _ => {}
        }
        self.in_flight.push(delivery);
    }

    fn pick(&self, from: usize) -> Option<usize> {
        (from > 0).then(|| self.random.below(from as u64) as usize)
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
        let done = log::deliver(&self.log, &self.random, UnixMillis(self.now), RETENTION, &delivery)
            .map_err(|e| e.to_string())?;
        if done.broken {
            self.count("epochs broken");
            if !self.counts.contains_key("disks lost") {
                return Err("the epoch broke although nothing was lost".into());
            }
        }
        self.acknowledgements.push(done.applied);
        Ok(())
    }

    fn acknowledge(&mut self) {
        let Some(chosen) = self.pick(self.acknowledgements.len()) else { return };
        let applied = self.acknowledgements.swap_remove(chosen);
        if self.random.below(5) == 0 {
            self.count("acknowledgements lost");
        } else {
            outbox::acknowledge(&self.clinic, &self.topic, applied).unwrap();
        }
    }

    fn read(&mut self) -> Result<(), String> {
        let extent = log::extent(&self.log).unwrap();
        let mut cursor = self.cursor.clone();
        if let Some(cursor) = &mut cursor {
            match self.mutant {
                Mutant::IgnoresTheEpoch => cursor.epoch.clone_from(&extent.epoch),
                Mutant::IgnoresTheTrim if cursor.epoch == extent.epoch => {
                    cursor.offset = cursor.offset.max(extent.oldest - 1);
                }
                _ => {}
            }
        }
        let Page { events, cursor, gap, .. } =
            log::page(&self.log, cursor.as_ref(), 1 + self.random.below(30)).unwrap();
        if let Some(before) = &self.cursor {
            let trimmed = before.epoch == extent.epoch && before.offset + 1 < extent.oldest;
            let cause = trimmed || before.epoch != extent.epoch;
            if gap.is_some() != cause {
                return Err(format!("gap {gap:?} at {before} of {extent:?}"));
            }
        }
        match &gap {
            Some(_) => self.count("gaps announced"),
            None if events.is_empty() => self.count("reads of nothing"),
            None => self.count("reads of events"),
        }
        self.after_gap |= gap.is_some();
        self.epoch_changed |= self.cursor.as_ref().is_some_and(|before| before.epoch != cursor.epoch);
        for logged in events {
            let number: u64 = logged.event.data.parse().unwrap();
            // A log that lost its disk is filled again from the oldest row not acknowledged, which may have been seen.
            let right = match (self.after_gap, self.epoch_changed) {
                (false, _) => number == self.seen + 1,
                (true, false) => number > self.seen,
                (true, true) => true,
            };
            if !right {
                return Err(format!("saw {number} after {}", self.seen));
            }
            self.seen = number;
            (self.after_gap, self.epoch_changed) = (false, false);
        }
        self.cursor = Some(cursor);
        Ok(())
    }

    fn step(&mut self) -> Result<(), String> {
        match self.random.below(100) {
            0..22 => self.commit(),
            22..44 => self.send(),
            44..66 => self.arrive()?,
            66..76 => self.acknowledge(),
            76..80 => {
                if let Some(chosen) = self.pick(self.in_flight.len()) {
                    self.in_flight.remove(chosen);
                    self.count("deliveries lost");
                }
            }
            80..98 => self.read()?,
            98 => {
                self.now += RETENTION.age.0 / 4;
                self.count("clock steps");
            }
            _ => {
                if self.random.below(10) == 0 {
                    // A disk that is lost loses whatever was in flight to it as well, or it would not be the same epoch.
                    self.log = Sqlite::open();
                    log::prepare(&self.log, &self.random).unwrap();
                    self.in_flight.clear();
                    self.acknowledgements.clear();
                    self.count("disks lost");
                }
            }
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<(), String> {
        while let Some(delivery) = outbox::next(&self.clinic, &self.topic).unwrap() {
            let done = log::deliver(&self.log, &self.random, UnixMillis(self.now), RETENTION, &delivery).unwrap();
            outbox::acknowledge(&self.clinic, &self.topic, done.applied).unwrap();
        }
        let extent = log::extent(&self.log).unwrap();
        while self.cursor != Some(extent.at(extent.newest)) {
            self.read()?;
        }
        if extent.newest > 0 && self.seen != self.committed {
            return Err(format!("{} committed, seen up to {}", self.committed, self.seen));
        }
        Ok(())
    }
}

fn run(seed: u64, mutant: Mutant, steps: u64) -> Result<BTreeMap<&'static str, u64>, String> {
    let mut model = Model::new(seed, mutant);
    for step in 0..steps {
        model.step().map_err(|why| format!("seed {} step {step}: {why}", model.seed))?;
    }
    model.settle().map_err(|why| format!("seed {} at the end: {why}", model.seed))?;
    Ok(model.counts)
}

#[test]
fn every_event_once_in_order_or_an_announced_gap() {
    let mut total: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in 1..=10 {
        let counts = run(seed, Mutant::None, 2_000).unwrap();
        for (what, number) in counts {
            *total.entry(what).or_default() += number;
        }
    }
    println!("channel model, seeds 1 to 10, 20,000 steps: {total:?}");
    for what in [
        "commits",
        "deliveries swapped",
        "deliveries doubled",
        "deliveries lost",
        "acknowledgements lost",
        "disks lost",
        "epochs broken",
        "gaps announced",
        "reads of events",
        "reads of nothing",
        "clock steps",
    ] {
        assert!(total.get(what).is_some_and(|number| *number > 0), "{what} never occurred");
    }
}

#[test]
fn the_model_catches_seeded_mutants() {
    for mutant in [
        Mutant::AcknowledgesWhenSent,
        Mutant::SkipsTheOldestRow,
        Mutant::SwapsWithinADelivery,
        Mutant::IgnoresTheEpoch,
        Mutant::IgnoresTheTrim,
    ] {
        let caught = (1..=10).find_map(|seed| run(seed, mutant, 2_000).err());
        println!("{mutant:?}: {caught:?}");
        assert!(caught.is_some(), "{mutant:?} was not caught");
    }
}

#[test]
fn topics_read_back() {
    for text in ["patient/a-1.b", "ward/7", "user/0d9a8e6c-6c3c-4c9b-8d7e-2f1a0b9c8d7e"] {
        assert_eq!(Topic::parse(text).unwrap().to_string(), text);
    }
    for bad in ["", "patient", "patient/", "bed/1", "patient/a/b", "patient/a b", "patient/a%2f"] {
        assert_eq!(Topic::parse(bad), None, "{bad}");
    }
}
