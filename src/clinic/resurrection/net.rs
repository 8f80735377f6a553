//! The parts of the model that are not the product: a network that loses, delays and doubles what goes to the store and to
//! the clinic's object, and what is counted.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::*;
use crate::channel::{Topic, TopicReply, TopicRequest};
use crate::clinic::courier::Outside;
use crate::lease::{Answer, Ask, LeaseName, Leases};
use crate::store::memory::{Kept, Memory};
use crate::store::sqlite::{Sqlite, SqliteStore};
use crate::store::{Applied, Condition, Op, Shard, Store};
use crate::testing::{DrivenClock, Seeded};
use crate::time::Clock;
use crate::vitals::watch::Watch;

/// A fault seeded into the parts between the real ones, which the model must notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mutant {
    None,
    /// An ended session's row is deleted, and no tombstone put in its place.
    LeavesNoTombstone,
    /// The idle clock is written whatever is there.
    TouchesWhateverIsThere,
    /// The store gives versions again that it gave before it lost everything.
    CountsFromZeroAgain,
    /// A token is handed out although the clinic's object did not count the sign-in.
    HandsOutUncounted,
    /// An end is acknowledged before the store has it.
    AcknowledgesTooEarly,
    /// What a store says that has gone back is not confirmed by the clinic's object.
    TakesTheStoreAtItsWord,
}

/// What a store does that breaks its promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// It loses everything.
    All,
    /// It is again as it was earlier.
    Recent,
}

/// What a store in the model can do beside being one.
pub(super) trait Losing: Store {
    /// Forgets everything but, unless it is a mutant, which versions it has given. `false` where it cannot.
    fn lose(&self, mutant: Mutant) -> bool;
    /// What it keeps.
    fn kept(&self) -> Kept {
        Kept::new()
    }
    /// Keeps that again. `false` where it cannot.
    fn go_back(&self, _: Kept) -> bool {
        false
    }
}

impl Losing for Memory<DrivenClock> {
    fn lose(&self, mutant: Mutant) -> bool {
        self.wipe();
        if mutant == Mutant::CountsFromZeroAgain {
            self.count_from_zero();
        }
        true
    }

    fn kept(&self) -> Kept {
        Memory::kept(self)
    }

    fn go_back(&self, kept: Kept) -> bool {
        Memory::go_back(self, kept);
        true
    }
}

impl Losing for SqliteStore<DrivenClock> {
    fn lose(&self, _: Mutant) -> bool {
        false
    }
}

pub(super) struct Model<S> {
    pub(super) mutant: Mutant,
    pub(super) loss: Loss,
    pub(super) random: Seeded,
    pub(super) clock: Rc<DrivenClock>,
    pub(super) sql: Sqlite,
    pub(super) watch: Watch,
    pub(super) store: S,
    pub(super) faults: Cell<bool>,
    pub(super) late: RefCell<Vec<(Shard, Vec<Op>)>>,
    /// Counts what happens, in order.
    pub(super) step: Cell<u64>,
    pub(super) counts: RefCell<BTreeMap<&'static str, u64>>,
    pub(super) violations: RefCell<Vec<String>>,
}

impl<S: Losing> Model<S> {
    pub(super) fn new(seed: u64, mutant: Mutant, loss: Loss, store: S, clock: Rc<DrivenClock>) -> Model<S> {
        let sql = Sqlite::open();
        prepare(&sql).unwrap();
        Model {
            mutant,
            loss,
            random: Seeded::new(seed),
            clock,
            sql,
            watch: Watch::new(crate::config::alerts::Rules::default()),
            store,
            faults: Cell::new(true),
            late: RefCell::default(),
            step: Cell::new(0),
            counts: RefCell::default(),
            violations: RefCell::default(),
        }
    }

    pub(super) fn count(&self, what: &'static str) {
        *self.counts.borrow_mut().entry(what).or_default() += 1;
    }

    pub(super) fn chance(&self, percent: u64) -> bool {
        self.random.below(100) < percent
    }

    /// Lets others go first, up to `most` times.
    pub(super) async fn pause(&self, most: u64) {
        let mut left = self.random.below(most + 1);
        poll_fn(|context: &mut Context<'_>| {
            if left == 0 {
                return Poll::Ready(());
            }
            left -= 1;
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    fn mutate(&self, batch: Vec<Op>) -> Vec<Op> {
        let change = |op| match (self.mutant, op) {
            (Mutant::LeavesNoTombstone, Op::Put { key, condition: Condition::Always, .. }) => {
                Op::Delete { key, condition: Condition::Always }
            }
            (Mutant::TouchesWhateverIsThere, Op::Put { key, value, condition: Condition::Version(_), expires })
                if key.starts_with("session/") =>
            {
                Op::Put { key, value, condition: Condition::Always, expires }
            }
            (_, op) => op,
        };
        batch.into_iter().map(change).collect()
    }

    /// Lands a message that was delayed or doubled.
    pub(super) async fn land(&self) {
        let found = {
            let mut late = self.late.borrow_mut();
            let many = late.len() as u64;
            (many > 0).then(|| late.swap_remove(self.random.below(many) as usize))
        };
        if let Some((shard, batch)) = found {
            let applied = self.store.apply(shard, batch).await;
            self.count(if matches!(applied, Ok(Applied::Done(_))) { "late, took effect" } else { "late, refused" });
        }
    }
}

impl<S: Losing> Store for Model<S> {
    async fn apply(&self, shard: Shard, batch: Vec<Op>) -> Result<Applied> {
        self.pause(3).await;
        let batch = self.mutate(batch);
        let writes = batch.iter().any(|op| matches!(op, Op::Put { .. } | Op::Delete { .. }));
        let lost = || if writes { Error::outcome_unknown() } else { Error::unavailable("lost") };
        let creates = |op: &Op| matches!(op, Op::Put { condition: Condition::Absent, .. });
        let fate = match self.faults.get() {
            false => 100,
            // What makes something out of nothing comes twice more often.
            true if batch.iter().any(creates) && self.chance(50) => 10,
            true => self.random.below(100),
        };
        match fate {
            0..4 => {
                self.count("lost");
                return Err(lost());
            }
            4..10 if writes => {
                self.count("delayed");
                self.late.borrow_mut().push((shard, batch));
                return Err(lost());
            }
            10..22 if writes => {
                self.count("doubled");
                self.late.borrow_mut().push((shard, batch.clone()));
            }
            _ => {}
        }
        let reply = self.store.apply(shard, batch).await;
        self.pause(3).await;
        if (22..27).contains(&fate) {
            self.count("reply lost");
            return Err(lost());
        }
        reply
    }
}

impl<S: Losing> Clock for Model<S> {
    fn now(&self) -> UnixMillis {
        self.clock.now()
    }
}

/// Nothing in this model asks for one.
impl<S: Losing> Leases for Model<S> {
    async fn ask(&self, _: &LeaseName, _: Ask) -> Result<Answer> {
        Err(Error::unavailable("the model has no leases"))
    }
}

impl<S: Losing> Outside for Model<S> {
    type Sessions = Self;
    type Leases = Self;

    fn sessions(&self) -> &Self {
        self
    }

    fn leases(&self) -> &Self {
        self
    }

    async fn topic(&self, _: &Topic, _: TopicRequest) -> Result<TopicReply> {
        Ok(TopicReply::Barred)
    }
}

impl<S: Losing> Clinic for Model<S> {
    async fn ask(&self, request: ClinicRequest) -> Result<ClinicReply> {
        self.pause(3).await;
        if self.faults.get() && self.chance(8) {
            self.count("clinic not reached");
            return Err(Error::unavailable("lost"));
        }
        let reply = handle(&self.sql, &Desk::new(Ttl(0), self.now()), &self.random, &self.watch, self.now(), &request)
            .map(|handled| handled.reply);
        self.pause(3).await;
        if self.faults.get() && self.chance(8) {
            self.count("clinic's reply lost");
            return Err(Error::outcome_unknown());
        }
        reply
    }
}
