//! A bell in an object's memory: rung when something was appended, for the few who wait for it in the middle of a request.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::pin;
use std::task::{Poll, Waker};
use std::time::Duration;

use futures_util::future::select;
use worker::Delay;

use crate::time::Ttl;

/// The bell.
#[derive(Default)]
pub struct Bell {
    rung: Cell<u64>,
    waiting: RefCell<Vec<Waker>>,
}

impl Bell {
    /// Wakes everybody who waits.
    pub fn ring(&self) {
        self.rung.set(self.rung.get().wrapping_add(1));
        self.waiting.take().into_iter().for_each(Waker::wake);
    }

    /// Waits until the bell is rung, at most for `longest`.
    pub async fn wait(&self, longest: Ttl) {
        let before = self.rung.get();
        let ring = poll_fn(|context| {
            if self.rung.get() != before {
                return Poll::Ready(());
            }
            self.waiting.borrow_mut().push(context.waker().clone());
            Poll::Pending
        });
        select(pin!(ring), Delay::from(Duration::from_millis(longest.0))).await;
    }
}
