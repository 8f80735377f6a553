//! What native tests share: a clock that is driven, randomness that is repeatable, and a way to run a future to its end.

mod cipher;
mod local;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

pub use self::cipher::SoftCipher;
pub use self::local::Local;
use crate::time::{Clock, Entropy, UnixMillis};

/// A clock that stands where it is put.
pub struct DrivenClock(pub Cell<u64>);

impl Clock for DrivenClock {
    fn now(&self) -> UnixMillis {
        UnixMillis(self.0.get())
    }
}

/// SplitMix64: small, good enough for tests, the same for the same seed.
pub struct Seeded(RefCell<u64>);

impl Seeded {
    pub fn new(seed: u64) -> Seeded {
        Seeded(RefCell::new(seed))
    }

    pub fn next(&self) -> u64 {
        let mut state = self.0.borrow_mut();
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    pub fn below(&self, bound: u64) -> u64 {
        self.next() % bound
    }
}

impl Entropy for Seeded {
    fn fill(&self, buffer: &mut [u8]) {
        for byte in buffer {
            *byte = self.next().to_be_bytes()[0];
        }
    }
}

/// What happened, by name, and how often.
#[derive(Default)]
pub struct Counts(pub RefCell<BTreeMap<&'static str, u64>>);

impl Counts {
    pub fn add(&self, what: &'static str) {
        *self.0.borrow_mut().entry(what).or_default() += 1;
    }

    pub fn of(&self, what: &str) -> u64 {
        self.0.borrow().get(what).copied().unwrap_or_default()
    }
}

/// Runs a future that never truly waits, as all do over local ports.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
    }
}
