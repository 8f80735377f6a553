//! Telemetry as the clinic's object watches it: in memory, second by second, and into the database only what changes
//! something.
//!
//! Invariant: one outlier changes nothing, and neither does what flickers at the edge of a band: a parameter is judged by
//! the medians of the last minute's windows of ten seconds, by the worst of them. So a rise takes effect within two
//! windows, a fall after a minute, and a patient costs the database nothing as long as nothing changes.

use std::cell::RefCell;
use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::monitor::KEPT_EVERY;
use super::{Latest, Milli, Parameter, Reading, TELEMETRY};
use crate::config::alerts::Rules;
use crate::sorted::BTreeMap;
use crate::time::{Ttl, UnixMillis};

/// Readings of so long are judged as one, by their median.
const WINDOW: Ttl = Ttl::from_secs(10);
/// So many windows are looked at.
const WINDOWS: usize = 6;
/// What was measured longer ago than this when it arrives is history: it is delivered and not watched.
const LIVE: Ttl = Ttl::from_secs(30);

/// What a monitor or gateway says of a patient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// The Patient's id.
    pub patient: String,
    /// When it was measured.
    pub at: UnixMillis,
    /// What was measured, each parameter once.
    pub readings: Vec<Reading>,
}

/// What is known of one patient.
#[derive(Debug)]
struct Live {
    /// When something last came.
    seen: UnixMillis,
    /// When that was last kept.
    kept: Option<UnixMillis>,
    /// The newest reading of each parameter, and when it was taken.
    newest: BTreeMap<Parameter, (UnixMillis, Milli)>,
    /// When the present window began.
    opened: UnixMillis,
    window: BTreeMap<Parameter, Vec<Milli>>,
    /// The medians of the windows before, the oldest first.
    medians: VecDeque<BTreeMap<Parameter, Milli>>,
}

/// The watch over all patients, in the memory of the clinic's object.
#[derive(Debug)]
pub struct Watch {
    /// How alerts are pushed and escalated, and how often telemetry is expected.
    pub rules: Rules,
    live: RefCell<BTreeMap<String, Live>>,
}

/// What the last minute of a patient comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Minute {
    /// When the newest of it was taken.
    pub at: UnixMillis,
    /// The medians of its windows, the oldest first.
    pub medians: BTreeMap<Parameter, Vec<Milli>>,
}

impl Watch {
    /// A watch by these rules.
    pub fn new(rules: Rules) -> Watch {
        Watch { rules, live: RefCell::default() }
    }

    /// When something last came of `patient`, as far as is remembered.
    pub fn seen(&self, patient: &str) -> Option<UnixMillis> {
        self.live.borrow().get(patient).map(|live| live.seen)
    }

    /// Something came of `patient` that was not telemetry, and it was kept.
    pub fn heard(&self, patient: &str, now: UnixMillis) {
        if let Some(live) = self.live.borrow_mut().get_mut(patient) {
            (live.seen, live.kept) = (now, Some(now));
        }
    }

    /// Forgets what is known of `patient`.
    pub fn forget(&self, patient: &str) {
        self.live.borrow_mut().remove(patient);
    }

    /// Whether at `now` a sample of `patient` would have something written.
    pub fn is_due(&self, now: UnixMillis, patient: &str) -> bool {
        self.is_to_be_kept(now, patient) || self.is_full(now, patient)
    }

    /// Whether that something came of `patient` is to be kept.
    pub fn is_to_be_kept(&self, now: UnixMillis, patient: &str) -> bool {
        let live = self.live.borrow();
        live.get(patient).and_then(|live| live.kept).is_none_or(|kept| now >= kept.plus(KEPT_EVERY))
    }

    fn is_full(&self, now: UnixMillis, patient: &str) -> bool {
        self.live.borrow().get(patient).is_some_and(|live| now >= live.opened.plus(WINDOW))
    }

    /// Takes what came at `now`. What was measured long ago says nothing of now.
    pub fn take(&self, now: UnixMillis, sample: &Sample) {
        let at = sample.at.min(now);
        if at.plus(LIVE) < now {
            return;
        }
        let mut all = self.live.borrow_mut();
        let live = all.entry(sample.patient.clone()).or_insert_with(|| Live {
            seen: now,
            kept: None,
            newest: BTreeMap::new(),
            opened: now,
            window: BTreeMap::new(),
            medians: VecDeque::new(),
        });
        live.seen = now;
        for Reading { parameter, value } in &sample.readings {
            let newest = live.newest.entry(*parameter).or_insert((at, *value));
            if at >= newest.0 {
                *newest = (at, *value);
            }
            live.window.entry(*parameter).or_default().push(*value);
        }
    }

    /// What came of `patient` was kept.
    pub fn kept(&self, patient: &str, now: UnixMillis) {
        if let Some(live) = self.live.borrow_mut().get_mut(patient) {
            live.kept = Some(now);
        }
    }

    /// Closes the window of `patient` if it is full, and gives what the last minute comes to.
    pub fn close(&self, now: UnixMillis, patient: &str) -> Option<Minute> {
        if !self.is_full(now, patient) {
            return None;
        }
        let mut all = self.live.borrow_mut();
        let live = all.get_mut(patient)?;
        live.opened = now;
        let closed = std::mem::take(&mut live.window);
        live.medians.push_back(closed.into_iter().filter_map(|(of, values)| Some((of, median(values)?))).collect());
        while live.medians.len() > WINDOWS {
            live.medians.pop_front();
        }
        let mut medians: BTreeMap<Parameter, Vec<Milli>> = BTreeMap::new();
        for (parameter, value) in live.medians.iter().flatten() {
            medians.entry(*parameter).or_default().push(*value);
        }
        let at = live.newest.values().map(|(at, _)| *at).max()?;
        Some(Minute { at, medians })
    }

    /// The newest readings of `patient`.
    pub fn newest(&self, patient: &str) -> Vec<Latest> {
        let live = self.live.borrow();
        let newest = live.get(patient).map(|live| &live.newest);
        let latest = |(parameter, (at, value)): (&Parameter, &(UnixMillis, Milli))| Latest {
            reading: Reading { parameter: *parameter, value: *value },
            at: *at,
            source: TELEMETRY.to_owned(),
        };
        newest.into_iter().flatten().map(latest).collect()
    }
}

/// The lower one of the two in the middle, where there are two.
fn median(mut values: Vec<Milli>) -> Option<Milli> {
    values.sort_unstable();
    values.get(values.len().saturating_sub(1) / 2).copied()
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
