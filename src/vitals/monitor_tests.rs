use std::cell::Cell;

use super::super::alert::Cause;
use super::super::watch::Sample;
use super::*;
use crate::channel::outbox;
use crate::config::alerts::Rules;
use crate::store::sqlite::Sqlite;
use crate::testing::Seeded;
use crate::vitals::{Milli, Parameter, Reading};

const RULES: Rules = Rules { repeat: Ttl::from_secs(60), escalate: Ttl::from_secs(180), interval: Ttl::from_secs(5) };

struct Bed(Cell<bool>);

impl Census for Bed {
    fn told(&self, _owner: &crate::access::Owner, _event: &crate::channel::outbox::Event) -> crate::error::Result<()> {
        Ok(())
    }
    fn wards(&self, _patient: &str) -> Result<Vec<String>> {
        Ok(if self.0.get() { vec!["w".into()] } else { Vec::new() })
    }

    fn practitioners(&self, _wards: &[String]) -> Result<Vec<String>> {
        Ok(Vec::new())
    }
}

struct World {
    sql: Sqlite,
    bed: Bed,
    random: Seeded,
    watch: Watch,
}

fn at(millis: u64) -> UnixMillis {
    UnixMillis(1_000_000_000 + millis)
}

impl World {
    fn new() -> World {
        let sql = Sqlite::open();
        crate::vitals::prepare(&sql).unwrap();
        outbox::prepare(&sql).unwrap();
        World { sql, bed: Bed(Cell::new(true)), random: Seeded::new(9), watch: Watch::new(RULES) }
    }

    /// Telemetry as the clinic's object takes it.
    fn telemetry(&self, millis: u64) {
        let reading = Reading { parameter: Parameter::HeartRate, value: Milli::whole(80) };
        self.watch.take(at(millis), &Sample { patient: "p".into(), at: at(millis), readings: vec![reading] });
        if self.watch.is_to_be_kept(at(millis), "p") {
            heard(&self.sql, &self.bed, &self.watch, at(millis), "p", true).unwrap();
            self.watch.kept("p", at(millis));
        }
    }

    /// The alarm rings whenever something is due until `millis`, `late` after it was; gives when there was an alert.
    fn ring_until(&self, millis: u64, late: u64) -> Option<u64> {
        while let Some(due) = next_due(&self.sql).unwrap().filter(|due| due.plus(Ttl(late)) <= at(millis)) {
            let now = due.plus(Ttl(late));
            judge(&self.sql, &self.bed, &self.random, &self.watch, now).unwrap();
            if self.alert() {
                return Some(now.0 - at(0).0);
            }
        }
        None
    }

    fn alert(&self) -> bool {
        alerts_sql::of_cause(&self.sql, "p", Cause::Silence).unwrap().is_some()
    }

    fn set(&self, millis: u64, monitoring: Monitoring, seconds: Option<u32>) {
        let set = Thresholds { monitoring, interval_seconds: seconds, ..Thresholds::default() };
        let set_now = thresholds::put(&self.sql, at(millis), "p", &set, None).unwrap();
        super::set(&self.sql, &self.bed, &self.watch, at(millis), "p", &set_now).unwrap();
    }
}

#[test]
fn three_intervals_after_the_last_reading_there_is_an_alert_and_with_the_next_one_there_is_none() {
    let world = World::new();
    for second in 0..=33 {
        world.telemetry(second * 1_000);
        assert_eq!(world.ring_until(second * 1_000, 0), None);
    }
    assert_eq!(world.ring_until(1_000_000, 0), Some(33_000 + 15_000), "not later, although what is kept is older");
    assert_eq!(world.ring_until(1_000_000, 0), None, "there is one alert, and nothing more to judge");
    world.telemetry(200_000);
    assert!(!world.alert());
    assert_eq!(world.ring_until(1_000_000, 0), Some(215_000));
}

#[test]
fn an_object_that_lost_its_memory_waits_for_what_may_have_been_in_it() {
    let mut world = World::new();
    for second in 0..=38 {
        world.telemetry(second * 1_000);
        world.ring_until(second * 1_000, 0);
    }
    // What is kept is of second 30.
    world.watch = Watch::new(RULES);
    assert_eq!(world.ring_until(1_000_000, 0), Some(30_000 + 15_000 + 10_000));
}

#[test]
fn who_could_not_have_been_heard_is_given_more_time_once() {
    let mut world = World::new();
    world.telemetry(0);
    world.watch = Watch::new(RULES);
    // The object was down for a minute: its alarm is late, and the monitor comes back with it.
    judge(&world.sql, &world.bed, &world.random, &world.watch, at(85_000)).unwrap();
    assert!(!world.alert());
    assert_eq!(next_due(&world.sql).unwrap(), Some(at(100_000)));
    world.telemetry(86_000);
    assert_eq!(world.ring_until(90_000, 0), None);
    assert_eq!(world.ring_until(1_000_000, 0), Some(101_000));
    // An alarm that is always late does not excuse for ever.
    let world = World::new();
    world.telemetry(0);
    assert_eq!(world.ring_until(1_000_000, 3_000), Some(15_000 + 3_000 + 15_000 + 3_000));
}

#[test]
fn monitoring_is_begun_by_telemetry_or_by_decision_and_ended_by_decision_or_discharge() {
    // Charted readings alone begin nothing.
    let world = World::new();
    heard(&world.sql, &world.bed, &world.watch, at(0), "p", false).unwrap();
    assert_eq!(next_due(&world.sql).unwrap(), None);
    // By decision, with an interval of one's own; what is charted counts then.
    world.set(0, Monitoring::On, Some(60));
    heard(&world.sql, &world.bed, &world.watch, at(50_000), "p", false).unwrap();
    assert_eq!(world.ring_until(10_000_000, 0), Some(50_000 + 180_000));
    world.set(300_000, Monitoring::Off, None);
    assert!(!world.alert());
    world.telemetry(301_000);
    assert_eq!(next_due(&world.sql).unwrap(), None);

    let world = World::new();
    world.telemetry(0);
    world.bed.0.set(false);
    assert_eq!(world.ring_until(1_000_000, 0), None, "discharged");
    assert_eq!(next_due(&world.sql).unwrap(), None);
    // Somebody who never was in a ward is expected to go on.
    world.telemetry(100_000);
    assert_eq!(world.ring_until(1_000_000, 0), Some(115_000));

    let world = World::new();
    world.telemetry(0);
    world.set(10_000, Monitoring::Auto, Some(30));
    assert_eq!(world.ring_until(1_000_000, 0), Some(10_000 + 90_000));
}
