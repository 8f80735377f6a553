//! The network between clients and a backend, and both their clocks, driven by one seed: a future that crosses it waits at a
//! gate until the driver opens that, and learns whether its message arrived.
//!
//! Invariant: nothing moves but by the driver, so that a seed gives one history.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use crate::testing::{DrivenClock, Seeded};
use crate::time::{Clock, Ttl, UnixMillis};

/// Which way a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leg {
    Request,
    Reply,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Arrives,
    /// It arrives, and once more later on.
    Doubles,
    IsLost,
}

struct Gate {
    leg: Leg,
    operation: usize,
    fate: Option<Fate>,
}

/// The network.
pub struct Net {
    pub random: Seeded,
    /// The backend's clock, which may jump.
    pub clock: Rc<DrivenClock>,
    /// What has passed truly: timers run by it.
    pub passed: DrivenClock,
    /// The operation whose future is polled.
    pub current: Cell<usize>,
    gates: RefCell<BTreeMap<u64, Gate>>,
    made: Cell<u64>,
    /// How often what was in memory was lost.
    life: Cell<u64>,
    /// What arrives a second time, whenever.
    strays: RefCell<Vec<Box<dyn FnOnce()>>>,
    /// How often each outcome and fault occurred.
    pub met: RefCell<BTreeMap<&'static str, u64>>,
}

impl Net {
    pub fn new(seed: u64) -> Rc<Net> {
        Rc::new(Net {
            random: Seeded::new(seed),
            clock: Rc::new(DrivenClock(Cell::new(1_764_000_000_000))),
            passed: DrivenClock(Cell::new(1_764_000_000_000)),
            current: Cell::new(0),
            gates: RefCell::default(),
            made: Cell::new(0),
            life: Cell::new(0),
            strays: RefCell::default(),
            met: RefCell::default(),
        })
    }

    pub fn one_in(&self, number: u64) -> bool {
        self.random.below(number) == 0
    }

    pub fn meet(&self, what: &'static str) {
        *self.met.borrow_mut().entry(what).or_default() += 1;
    }

    /// Goes over the network.
    pub async fn cross(&self, leg: Leg) -> Fate {
        let number = self.made.get();
        self.made.set(number + 1);
        self.gates.borrow_mut().insert(number, Gate { leg, operation: self.current.get(), fate: None });
        poll_fn(|_| {
            let mut gates = self.gates.borrow_mut();
            match gates.get(&number).and_then(|gate| gate.fate) {
                Some(fate) => {
                    gates.remove(&number);
                    Poll::Ready(fate)
                }
                None => Poll::Pending,
            }
        })
        .await
    }

    /// Lets `ttl` pass; false where the memory that it slept in is lost meanwhile.
    pub async fn sleep(&self, ttl: Ttl) -> bool {
        let (until, life) = (self.passed.now().plus(ttl), self.life.get());
        poll_fn(|_| match self.life.get() == life {
            true if self.passed.now() < until => Poll::Pending,
            same => Poll::Ready(same),
        })
        .await
    }

    /// Opens a gate; gives the operation whose message arrives twice.
    pub fn open_one(&self) -> Option<usize> {
        let mut gates = self.gates.borrow_mut();
        let shut: Vec<u64> = gates.iter().filter(|(_, gate)| gate.fate.is_none()).map(|(number, _)| *number).collect();
        let oldest = *shut.first()?;
        let number = shut[usize::try_from(self.random.below(u64::try_from(shut.len()).unwrap())).unwrap()];
        if number != oldest {
            self.meet("delayed");
        }
        let gate = gates.get_mut(&number).unwrap();
        let fate = match gate.leg {
            Leg::Request if self.one_in(14) => Fate::IsLost,
            Leg::Request if self.one_in(12) => Fate::Doubles,
            Leg::Reply if self.one_in(10) => Fate::IsLost,
            _ => Fate::Arrives,
        };
        if fate == Fate::IsLost {
            self.meet(if gate.leg == Leg::Request { "request lost" } else { "reply lost" });
        }
        gate.fate = Some(fate);
        (fate == Fate::Doubles).then_some(gate.operation)
    }

    /// The backend dies: whatever is on its way to it or from it is lost, and whatever it had in memory.
    pub fn die(&self) {
        self.life.set(self.life.get() + 1);
        for gate in self.gates.borrow_mut().values_mut() {
            gate.fate = Some(Fate::IsLost);
        }
    }

    /// Keeps what arrives again.
    pub fn stray(&self, again: impl FnOnce() + 'static) {
        self.strays.borrow_mut().push(Box::new(again));
    }

    /// Lets one of the doubles arrive.
    pub fn deliver_stray(&self) {
        let mut strays = self.strays.borrow_mut();
        if strays.is_empty() {
            return;
        }
        let chosen = self.random.below(u64::try_from(strays.len()).unwrap());
        let stray = strays.remove(usize::try_from(chosen).unwrap());
        drop(strays);
        self.meet("delivered twice");
        stray();
    }

    /// The clock moves on.
    pub fn pass(&self, ttl: Ttl) {
        self.passed.0.set(self.passed.0.get() + ttl.0);
        self.clock.0.set(self.clock.0.get() + ttl.0);
    }

    /// What the backend's clock says.
    pub fn now(&self) -> UnixMillis {
        self.clock.now()
    }
}
