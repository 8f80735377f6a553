//! The store in memory: the shortest program that obeys the port's laws, and the place where tests inject faults.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

pub use super::faults::{Fault, Faults};
use super::{Applied, Condition, Entry, Op, OpReply, Shard, Store, turn};
use crate::error::{Error, Result};
use crate::time::{Clock, UnixMillis};

/// What a [`Memory`] keeps at one time.
pub type Kept = BTreeMap<(Shard, String), Entry>;

/// A store in memory on a driven clock.
pub struct Memory<C> {
    clock: Rc<C>,
    entries: RefCell<Kept>,
    counter: Cell<u64>,
    /// What batches meet on their way.
    pub faults: Faults,
    /// Batches so far.
    pub batches: Cell<u32>,
    /// Batches that take effect after so many others.
    under_way: RefCell<Vec<(u32, Shard, Vec<Op>)>>,
}

impl<C: Clock> Memory<C> {
    pub fn new(clock: Rc<C>) -> Self {
        Memory {
            clock,
            entries: RefCell::default(),
            counter: Cell::new(0),
            faults: Faults::default(),
            batches: Cell::new(0),
            under_way: RefCell::default(),
        }
    }

    /// Lets the next batch meet `fault`.
    pub fn fail_next(&self, fault: Fault) {
        self.faults.at(1, fault);
    }

    /// Lets the `nth` batch from now meet `fault`, the next one being the first.
    pub fn fail_at(&self, nth: u32, fault: Fault) {
        self.faults.at(nth, fault);
    }

    /// Takes back all faults that have not been met yet.
    pub fn heal(&self) {
        self.faults.heal();
    }

    /// Forgets everything, as a Redis that was flushed: its numbers go on.
    pub fn wipe(&self) {
        self.entries.borrow_mut().clear();
    }

    /// What is kept now, for [`Memory::go_back`].
    pub fn kept(&self) -> Kept {
        self.entries.borrow().clone()
    }

    /// Keeps again what was kept, as a Redis that was restored from a snapshot: its numbers go on.
    pub fn go_back(&self, kept: Kept) {
        *self.entries.borrow_mut() = kept;
    }

    /// Lets the numbers begin again, against the law: for models that must notice it.
    pub fn count_from_zero(&self) {
        self.counter.set(0);
    }

    fn current(&self, shard: Shard, key: &str, now: UnixMillis) -> Option<Entry> {
        let entry = self.entries.borrow().get(&(shard, key.to_owned())).cloned()?;
        entry.expires.is_none_or(|at| at > now).then_some(entry)
    }

    fn run(&self, shard: Shard, batch: Vec<Op>) -> Applied {
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
                return Applied::Refused { step };
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
        Applied::Done(batch.into_iter().map(run).collect())
    }

    /// Lets what is under way arrive where its time has come: what was sent last, first.
    fn arrive(&self) {
        let mut under_way = self.under_way.borrow_mut();
        under_way.iter_mut().for_each(|(after, ..)| *after -= 1);
        for (_, shard, batch) in
            under_way.extract_if(.., |(after, ..)| *after == 0).collect::<Vec<_>>().into_iter().rev()
        {
            self.run(shard, batch);
        }
    }
}

impl<C: Clock> Store for Memory<C> {
    async fn apply(&self, shard: Shard, batch: Vec<Op>) -> Result<Applied> {
        self.batches.set(self.batches.get() + 1);
        let unknown = if batch.iter().any(Op::is_change) {
            Error::outcome_unknown()
        } else {
            Error::unavailable("the store does not answer")
        };
        let later = |after, batch| self.under_way.borrow_mut().push((after, shard, batch));
        let answer = match self.faults.draw() {
            None => Ok(self.run(shard, batch)),
            Some(Fault::Before) => Err(Error::unavailable("the store does not answer")),
            Some(Fault::Lost) => Err(unknown),
            Some(Fault::After) => {
                self.run(shard, batch);
                Err(Error::outcome_unknown())
            }
            Some(Fault::Slow(turns)) => {
                for _ in 0..turns {
                    turn().await;
                }
                Ok(self.run(shard, batch))
            }
            Some(Fault::Twice(after)) => {
                let answer = self.run(shard, batch.clone());
                later(after + 1, batch);
                Ok(answer)
            }
            Some(Fault::Late(after)) => {
                later(after + 1, batch);
                Err(unknown)
            }
        };
        self.arrive();
        answer
    }
}
