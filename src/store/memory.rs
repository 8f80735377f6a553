//! The store in memory: the shortest program that obeys the port's laws, and the place where tests inject faults.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use super::{Applied, Condition, Entry, Op, OpReply, Shard, Store};
use crate::error::{Error, Result};
use crate::time::{Clock, UnixMillis};

/// What the next batch meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is done, and the caller is told so.
    Before,
    /// All is done, and the caller is told that it is not known.
    After,
}

/// A store in memory on a driven clock.
pub struct Memory<C> {
    clock: Rc<C>,
    entries: RefCell<BTreeMap<(Shard, String), Entry>>,
    counter: Cell<u64>,
    /// What happens, and to which batch from now, counted from 1.
    fault: Cell<Option<(u32, Fault)>>,
}

impl<C: Clock> Memory<C> {
    pub fn new(clock: Rc<C>) -> Self {
        Memory { clock, entries: RefCell::default(), counter: Cell::new(0), fault: Cell::new(None) }
    }

    /// Lets the next batch fail in this way.
    pub fn fail_next(&self, fault: Fault) {
        self.fail_at(1, fault);
    }

    /// Lets the `nth` batch from now fail in this way, the next one being the first.
    pub fn fail_at(&self, nth: u32, fault: Fault) {
        self.fault.set(Some((nth, fault)));
    }

    /// Takes back a fault that has not been met yet.
    pub fn heal(&self) {
        self.fault.set(None);
    }

    fn fault(&self) -> Option<Fault> {
        let (nth, fault) = self.fault.take()?;
        if nth <= 1 {
            return Some(fault);
        }
        self.fault.set(Some((nth - 1, fault)));
        None
    }

    fn current(&self, shard: Shard, key: &str, now: UnixMillis) -> Option<Entry> {
        let entry = self.entries.borrow().get(&(shard, key.to_owned())).cloned()?;
        entry.expires.is_none_or(|at| at > now).then_some(entry)
    }
}

impl<C: Clock> Store for Memory<C> {
    async fn apply(&self, shard: Shard, batch: Vec<Op>) -> Result<Applied> {
        let fault = self.fault();
        if fault == Some(Fault::Before) {
            return Err(Error::unavailable("the store does not answer"));
        }
        let now = self.clock.now();
        for (step, op) in batch.iter().enumerate() {
            let (key, condition) = op.condition();
            let version = self.current(shard, key, now).map(|entry| entry.version);
            let holds = match condition {
                Condition::Always => true,
                Condition::Absent => version.is_none(),
                Condition::Version(wanted) => version == Some(wanted),
            };
            if !holds {
                return Ok(Applied::Refused { step });
            }
        }
        let run = |op| match op {
            Op::Get { key } => OpReply::Got(self.current(shard, &key, now)),
            Op::Check { .. } => OpReply::Done,
            Op::Put { key, value, expires, .. } => {
                self.counter.set(self.counter.get() + 1);
                let version = self.counter.get();
                self.entries.borrow_mut().insert((shard, key), Entry { version, value, expires });
                OpReply::Wrote(version)
            }
            Op::Delete { key, .. } => {
                self.entries.borrow_mut().remove(&(shard, key));
                OpReply::Done
            }
        };
        let replies = batch.into_iter().map(run).collect();
        if fault == Some(Fault::After) { Err(Error::outcome_unknown()) } else { Ok(Applied::Done(replies)) }
    }
}
