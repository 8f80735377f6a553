//! Faults on demand between a caller and the store in memory: named ones for tests of one case, seeded ones for models.
//!
//! Invariant: the same seed and the same batches meet the same faults. How often each was met is counted, so that a model
//! can show that none was left out.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use crate::testing::Seeded;

/// What a batch meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Nothing is done, and the caller is told so.
    Before,
    /// All is done, and the caller is told that it is not known.
    After,
    /// Nothing is done, and the caller is told that it is not known.
    Lost,
    /// It takes effect only after everybody else had so many turns.
    Slow(u32),
    /// It takes effect, and once more after so many other batches, as if something on the way had sent it twice.
    Twice(u32),
    /// The caller is told that it is not known, and it takes effect only after so many other batches.
    Late(u32),
}

impl Fault {
    fn name(self) -> &'static str {
        match self {
            Fault::Before => "before",
            Fault::After => "after",
            Fault::Lost => "lost",
            Fault::Slow(_) => "slow",
            Fault::Twice(_) => "twice",
            Fault::Late(_) => "late",
        }
    }
}

/// Who meets what.
#[derive(Default)]
pub struct Faults {
    /// A fault, and how many batches from now, counted from 1.
    next: Cell<Option<(u32, Fault)>>,
    /// Randomness, and how many batches of a thousand meet a fault.
    storm: RefCell<Option<(Seeded, u64)>>,
    met: RefCell<BTreeMap<&'static str, u32>>,
}

impl Faults {
    /// Lets the `nth` batch from now meet `fault`.
    pub fn at(&self, nth: u32, fault: Fault) {
        self.next.set(Some((nth, fault)));
    }

    /// From now on so many batches of a thousand meet one of all faults.
    pub fn storm(&self, seed: u64, permille: u64) {
        self.storm.replace(Some((Seeded::new(seed), permille)));
    }

    /// No faults from now on.
    pub fn heal(&self) {
        self.next.set(None);
        self.storm.replace(None);
    }

    /// How often each fault was met.
    pub fn met(&self) -> BTreeMap<&'static str, u32> {
        self.met.borrow().clone()
    }

    /// What this batch meets.
    pub fn draw(&self) -> Option<Fault> {
        let fault = self.named().or_else(|| self.seeded());
        if let Some(fault) = fault {
            *self.met.borrow_mut().entry(fault.name()).or_default() += 1;
        }
        fault
    }

    fn named(&self) -> Option<Fault> {
        let (nth, fault) = self.next.take()?;
        if nth <= 1 {
            return Some(fault);
        }
        self.next.set(Some((nth - 1, fault)));
        None
    }

    fn seeded(&self) -> Option<Fault> {
        let storm = self.storm.borrow();
        let (random, permille) = storm.as_ref()?;
        if random.below(1_000) >= *permille {
            return None;
        }
        let far = 1 + u32::try_from(random.below(8)).unwrap_or(0);
        Some(match random.below(6) {
            0 => Fault::Before,
            1 => Fault::After,
            2 => Fault::Lost,
            3 => Fault::Slow(far),
            4 => Fault::Twice(far),
            _ => Fault::Late(far),
        })
    }
}
