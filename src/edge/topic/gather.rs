//! Gathers readings of monitors that come close together, so that they share a row of the log.
//!
//! Invariant: nobody is answered before the row that has their readings is written, and nobody waits longer than
//! [`WINDOW`] for it. Whoever comes alone does not wait.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use worker::Delay;

use super::bell::Bell;
use crate::channel::TopicReply;
use crate::channel::telemetry::{Memory, Reading, WINDOW};
use crate::error::{Error, Result};
use crate::time::{Clock, Ttl};

/// Longer than this nobody waits for somebody else's commit.
const PATIENCE: Ttl = Ttl::from_secs(3);

/// What is gathered, in the memory of a topic's object.
#[derive(Default)]
pub struct Gather {
    /// Which readings are in the log of late.
    pub memory: Memory,
    /// The batch that whoever comes now joins.
    open: RefCell<Option<Rc<Batch>>>,
    /// When the last one was written.
    written: Cell<Option<crate::time::UnixMillis>>,
}

#[derive(Default)]
struct Batch {
    readings: RefCell<Vec<Reading>>,
    outcome: RefCell<Option<Result<TopicReply>>>,
    bell: Bell,
}

impl Gather {
    /// Has `write` put `readings` into the log, together with what comes close to them, and gives what the
    /// topic answers.
    pub async fn put(
        &self,
        clock: &impl Clock,
        readings: Vec<Reading>,
        write: impl FnOnce(&[Reading]) -> Result<TopicReply>,
    ) -> Result<TopicReply> {
        let joined = self.open.borrow().clone();
        if let Some(batch) = joined {
            batch.readings.borrow_mut().extend(readings);
            if batch.outcome.borrow().is_none() {
                batch.bell.wait(PATIENCE).await;
            }
            let outcome = batch.outcome.borrow().clone();
            return outcome.unwrap_or_else(|| Err(Error::outcome_unknown()));
        }
        let now = clock.now();
        let wait = self.written.get().map_or(Ttl(0), |written| now.until(written.plus(WINDOW)));
        let batch = Rc::new(Batch { readings: RefCell::new(readings), ..Batch::default() });
        if wait > Ttl(0) {
            self.open.replace(Some(Rc::clone(&batch)));
            // A clock that was put back makes nobody wait longer.
            Delay::from(Duration::from_millis(wait.min(WINDOW).0)).await;
            self.open.take();
        }
        let outcome = write(&batch.readings.take());
        self.written.set(Some(clock.now()));
        batch.outcome.replace(Some(outcome.clone()));
        batch.bell.ring();
        outcome
    }
}
