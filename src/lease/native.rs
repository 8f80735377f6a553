//! Leases on SQLite in memory: what native tests put in the place of the objects, with faults on demand.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::{Answer, Ask, LONGEST_CALL, LeaseName, Leases, Told, sql};
use crate::error::{Error, Result};
use crate::store::memory::Fault;
use crate::store::sqlite::Sqlite;
use crate::time::{Clock, UnixMillis};

/// Leases on one database, on a driven clock.
pub struct Native<C> {
    pub sql: Sqlite,
    pub clock: Rc<C>,
    /// Which ask is to fail, counted from 0, and how.
    fault: Cell<Option<(u32, Fault)>>,
    /// Every ask, in the order in which they took effect.
    pub asked: RefCell<Vec<(LeaseName, Ask)>>,
    /// Passes time while a call waits for its turn.
    pub sleep: Cell<fn(&C, UnixMillis)>,
}

impl<C: Clock> Native<C> {
    pub fn open(clock: Rc<C>) -> Self {
        let sql = Sqlite::open();
        sql::prepare(&sql).unwrap();
        Native { sql, clock, fault: Cell::new(None), asked: RefCell::default(), sleep: Cell::new(|_, _| {}) }
    }

    /// Lets the next ask fail in this way.
    pub fn fail_next(&self, fault: Fault) {
        self.fail_later(0, fault);
    }

    /// Lets the ask after `asks` others fail in this way.
    pub fn fail_later(&self, asks: u32, fault: Fault) {
        self.fault.set(Some((asks, fault)));
    }

    /// One ask, without faults.
    pub fn now(&self, name: &LeaseName, ask: &Ask) -> Result<Answer> {
        self.asked.borrow_mut().push((name.clone(), ask.clone()));
        // As it would come to the object, and its answer back.
        let ask: Ask = postcard::from_bytes(&postcard::to_allocvec(ask).unwrap()).unwrap();
        let answer = sql::ask(&self.sql, self.clock.now(), name, &ask)?.answer;
        Ok(postcard::from_bytes(&postcard::to_allocvec(&answer).unwrap()).unwrap())
    }
}

impl<C: Clock> Leases for Native<C> {
    async fn ask(&self, name: &LeaseName, mut ask: Ask) -> Result<Answer> {
        let fault = match self.fault.take() {
            Some((0, fault)) => Some(fault),
            later => {
                self.fault.set(later.map(|(asks, fault)| (asks - 1, fault)));
                None
            }
        };
        if fault == Some(Fault::Before) {
            return Err(Error::unavailable("the leases' object does not answer"));
        }
        let mut answer = self.now(name, &ask)?;
        if let (Ask::Grant { wait: Some(wait), .. }, Told::Held { lease, .. }) = (&ask, &answer.told) {
            (self.sleep.get())(&self.clock, answer.at.plus((*wait).min(LONGEST_CALL)).min(lease.expires));
            ask.waited(answer.at.until(self.clock.now()));
            answer = self.now(name, &ask)?;
        }
        if fault == Some(Fault::After) { Err(Error::outcome_unknown()) } else { Ok(answer) }
    }
}
