//! The world of the model: records, heads, a cache, clocks that differ and step, and faults between all of them.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use super::Task;
use super::node::Node;
use crate::access::Scope;
use crate::channel::outbox;
use crate::chart::cache::Whose;
use crate::chart::cache::fills::Fills;
use crate::chart::cache::split::Origin;
use crate::chart::cache::window::{Grants, longest};
use crate::chart::head::{self, Head};
use crate::chart::records::{Answer, Query};
use crate::config::stores::Redis as Access;
use crate::error::{Error, Result};
use crate::store::conformance::outside::{Front, Wire, wait};
use crate::store::memory::Memory;
use crate::store::redis::{Judge, Redis};
use crate::store::sqlite::{Sqlite, SqliteStore};
use crate::store::{Applied, Op, Shard, Store};
use crate::testing::{Counts, DrivenClock, Seeded};
use crate::time::{Clock, Ttl, UnixMillis};

/// Patients; what they share is kept behind them.
pub const PATIENTS: usize = 2;

/// Which store the heads are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    Memory,
    Sql,
    /// A real one, over HTTP; tests/store/charts.test.mjs starts it.
    Redis,
}

/// Where heads are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// On a store of their own.
    Apart(Backend),
    /// In the object of the records.
    Together,
}

impl Kind {
    pub fn is_apart(self) -> bool {
        matches!(self, Kind::Apart(_))
    }
}

/// What is broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// A fill is kept at the generation found when the origin has answered.
    FillUnchecked,
    /// A write does not mark.
    NoMark,
    /// A commit may come after the deadline of its mark.
    NoDeadline,
    /// What the cache has is used whatever its generation.
    GenerationIgnored,
    /// A write does not wait for leases.
    NoLeaseWait,
}

/// What clocks differ by at most from the true time, in ms.
const SKEW: u64 = 400;

/// A write that landed and that everybody must see from an instant on, whatever became of its writer.
pub struct Landed {
    place: usize,
    value: u64,
    seen_from: u64,
}

pub struct World {
    pub kind: Kind,
    pub mutant: Option<Mutant>,
    pub lease: Ttl,
    pub dice: Seeded,
    pub time: Rc<DrivenClock>,
    pub store: Inner,
    pub cache: Memory<DrivenClock>,
    pub sql: Sqlite,
    pub fills: RefCell<Fills>,
    pub grants: RefCell<Grants>,
    /// The newest values, of the patients and of what they share, and the number of the state.
    pub values: RefCell<[u64; PATIENTS + 1]>,
    pub order: Cell<u64>,
    pub acknowledged: RefCell<[u64; PATIENTS + 1]>,
    pub landed: RefCell<Vec<Landed>>,
    pub skews: RefCell<Vec<i64>>,
    pub spawned: RefCell<Vec<Task>>,
    pub counts: Counts,
    pub violation: Cell<Option<String>>,
}

pub enum Inner {
    Memory(Memory<DrivenClock>),
    Sql(SqliteStore<DrivenClock>),
    Redis(Redis<Wire>),
}

impl Store for Inner {
    async fn apply(&self, shard: Shard, batch: Vec<Op>) -> Result<Applied> {
        match self {
            Inner::Memory(store) => store.apply(shard, batch).await,
            Inner::Sql(store) => store.apply(shard, batch).await,
            // To its end, so that the scheduler alone decides what comes between.
            Inner::Redis(store) => wait(store.apply(shard, batch)),
        }
    }
}

/// The Redis that the variable BEDSIDE_LAWS names, judged by the driven clock.
fn redis(time: &Rc<DrivenClock>) -> Redis<Wire> {
    let front: Front = serde_json::from_str(&std::env::var("BEDSIDE_LAWS").expect("where the Redis is")).unwrap();
    let access = Access { url: front.url, token: front.token };
    Redis::new(Wire::new(time), Rc::new(access), Rc::default(), Judge::Caller)
}

pub fn patient(place: usize) -> String {
    format!("p{place}")
}

impl World {
    pub fn new(kind: Kind, mutant: Option<Mutant>, lease: u64, seed: u64) -> Rc<World> {
        let time = Rc::new(DrivenClock(Cell::new(1_000_000)));
        let store = match kind {
            Kind::Apart(Backend::Sql) => Inner::Sql(SqliteStore::open(Rc::clone(&time))),
            Kind::Apart(Backend::Redis) => Inner::Redis(redis(&time)),
            _ => Inner::Memory(Memory::new(Rc::clone(&time))),
        };
        let (sql, dice) = (Sqlite::open(), Seeded::new(seed));
        head::prepare(&sql).unwrap();
        outbox::prepare(&sql).unwrap();
        for place in 0..PATIENTS {
            head::raise(&sql, &dice, &patient(place)).unwrap();
        }
        let lease = Ttl(lease);
        Rc::new(World {
            kind,
            mutant,
            lease,
            store,
            cache: Memory::new(Rc::clone(&time)),
            sql,
            fills: RefCell::default(),
            grants: RefCell::new(Grants::new(lease, UnixMillis(time.0.get()))),
            values: RefCell::default(),
            order: Cell::new(1),
            acknowledged: RefCell::default(),
            landed: RefCell::default(),
            skews: RefCell::new(vec![0; 5]),
            spawned: RefCell::default(),
            counts: Counts::default(),
            violation: Cell::new(None),
            dice,
            time,
        })
    }

    pub fn now(&self) -> u64 {
        self.time.0.get()
    }

    /// The time as the node `number` has it; the last is the origin's.
    pub fn clock(&self, number: usize) -> UnixMillis {
        UnixMillis(self.now().saturating_add_signed(self.skews.borrow()[number]))
    }

    /// Lets time pass before a step.
    pub fn pass(&self, dice: &Seeded) {
        let by = match dice.below(2_000) {
            0 => 12_000,
            1..=5 => dice.below(1_500),
            _ => dice.below(4),
        };
        self.time.0.set(self.now() + by);
    }

    /// One that a node sees: it looks at its clock after each.
    pub fn step_clock(&self, node: &Node) {
        self.counts.add("clock step");
        node.window.borrow_mut().observe(node.now());
        let skew = i64::try_from(self.dice.below(2 * SKEW)).unwrap() - i64::try_from(SKEW).unwrap();
        self.skews.borrow_mut()[node.number] = skew;
        if node.window.borrow_mut().observe(node.now()) {
            self.counts.add("clock seen stepping back");
        }
    }

    pub async fn delay(&self) {
        let mut turns = self.dice.below(4);
        let until = if self.dice.below(60) == 0 {
            self.counts.add("slow");
            self.now() + self.dice.below(11_000)
        } else {
            0
        };
        poll_fn(|_| {
            if turns == 0 && self.now() >= until {
                return Poll::Ready(());
            }
            turns = turns.saturating_sub(1);
            Poll::Pending
        })
        .await;
    }

    /// Some commits come so late that their mark is near its deadline, or past it.
    pub async fn stall(&self) {
        if self.dice.below(8) == 0 {
            self.counts.add("stalled commit");
            let until = self.now() + 7_000 + self.dice.below(6_000);
            poll_fn(|_| if self.now() >= until { Poll::Ready(()) } else { Poll::Pending }).await;
        }
    }

    /// Has `operation` happen, or not, or twice, or later than its caller thinks.
    pub async fn faulty<T: 'static, F: Future<Output = Result<T>> + 'static>(
        self: &Rc<Self>,
        may_repeat: bool,
        operation: impl Fn() -> F + 'static,
    ) -> Result<T> {
        self.delay().await;
        // Commits meet faults more often than anything else.
        let done = match self.dice.below(if may_repeat { 400 } else { 100 }) {
            0 => {
                self.counts.add("failed before");
                return Err(Error::unavailable("a fault"));
            }
            1 => {
                self.counts.add("lost after landing");
                let _ = operation().await;
                Err(Error::outcome_unknown())
            }
            2 => {
                self.counts.add("delayed and reordered");
                let world = Rc::clone(self);
                self.spawned.borrow_mut().push(Box::pin(async move {
                    let until = world.now() + world.dice.below(25_000);
                    poll_fn(|_| if world.now() >= until { Poll::Ready(()) } else { Poll::Pending }).await;
                    drop(operation().await);
                }));
                Err(Error::outcome_unknown())
            }
            3 if may_repeat => {
                self.counts.add("duplicate");
                let done = operation().await;
                let world = Rc::clone(self);
                self.spawned.borrow_mut().push(Box::pin(async move {
                    world.delay().await;
                    drop(operation().await);
                }));
                done
            }
            _ => operation().await,
        };
        self.delay().await;
        done
    }

    /// What a read that begins now must at least show.
    pub fn floor(&self) -> [u64; PATIENTS + 1] {
        let mut acknowledged = self.acknowledged.borrow_mut();
        self.landed.borrow_mut().retain(|landed| {
            let is_due = landed.seen_from <= self.now();
            if is_due {
                acknowledged[landed.place] = acknowledged[landed.place].max(landed.value);
            }
            !is_due
        });
        *acknowledged
    }

    pub fn land(&self, place: usize, until: u64) -> u64 {
        let mut values = self.values.borrow_mut();
        values[place] += 1;
        self.order.set(self.order.get() + 1);
        // From when on whoever looks must see it: clocks differ, and leases run out.
        let seen_from = self.now().max(until + SKEW) + SKEW + longest(self.lease).0;
        self.landed.borrow_mut().push(Landed { place, value: values[place], seen_from });
        values[place]
    }

    pub fn answer(&self, query: &Query) -> Answer {
        let Query::History { id, count, .. } = query else { panic!("{query:?}") };
        let place: usize = id[1..].parse().unwrap();
        let values = self.values.borrow();
        Answer::Ids(vec![Some(if *count == 2 {
            format!("{} {}", values[place], values[PATIENTS])
        } else {
            values[place].to_string()
        })])
    }
}

/// A store that the world's faults stand before.
#[derive(Clone)]
pub struct Faulty {
    pub world: Rc<World>,
    pub is_cache: bool,
}

impl Store for Faulty {
    async fn apply(&self, shard: Shard, batch: Vec<Op>) -> Result<Applied> {
        let (world, is_cache) = (Rc::clone(&self.world), self.is_cache);
        let operation = move || {
            let (world, batch) = (Rc::clone(&world), batch.clone());
            async move {
                if is_cache { world.cache.apply(shard, batch).await } else { world.store.apply(shard, batch).await }
            }
        };
        self.world.faulty(true, operation).await
    }
}

/// The store of the heads, without faults: for the model's own eyes.
pub struct Bare(pub Rc<World>);

impl Store for Bare {
    async fn apply(&self, shard: Shard, batch: Vec<Op>) -> Result<Applied> {
        self.0.store.apply(shard, batch).await
    }
}

/// The records, apart.
#[derive(Clone)]
pub struct Records(pub Rc<World>);

impl Origin for Records {
    async fn ask(&self, _: Scope, query: Query) -> Result<Answer> {
        let world = Rc::clone(&self.0);
        let operation = move || {
            let (world, query) = (Rc::clone(&world), query.clone());
            async move { Ok(world.answer(&query)) }
        };
        self.0.faulty(false, operation).await
    }

    async fn heads(&self, whose: &Whose) -> Result<(Vec<Head>, u64)> {
        let Whose::Patient(patient) = whose else { panic!("{whose:?}") };
        self.0.delay().await;
        Ok((vec![Head::none(patient)], self.0.order.get()))
    }
}
