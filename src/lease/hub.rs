//! Where calls wait for their turn, in the memory of one object.
//!
//! Invariant: nothing is decided here. A call that is woken asks again, and whoever frees a lease wakes only the one that it
//! passed to; a wake-up that is lost costs time and nothing else. One that comes before its sleeper is kept for it, for a
//! while, so that none falls between asking and going to sleep.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::task::{Poll, Waker};

use super::{Lease, LeaseName, Ticket, Turn};
use crate::sorted::BTreeMap;

/// Wake-ups that nobody has come for are kept up to this many; then they are all forgotten.
const MOST_KEPT: usize = 1_024;

type Place = (LeaseName, Ticket);

enum Sleeper {
    Asleep(Waker),
    Woken(Lease),
}

/// The calls that wait.
#[derive(Default)]
pub struct Hub {
    sleepers: RefCell<BTreeMap<Place, Sleeper>>,
}

impl Hub {
    /// Wakes the call whose turn it is, or keeps the wake-up for it.
    pub fn wake(&self, name: &LeaseName, turn: Turn) {
        let mut sleepers = self.sleepers.borrow_mut();
        if sleepers.len() >= MOST_KEPT {
            sleepers.retain(|_, sleeper| matches!(sleeper, Sleeper::Asleep(_)));
        }
        if let Some(Sleeper::Asleep(waker)) = sleepers.insert((name.clone(), turn.ticket), Sleeper::Woken(turn.lease)) {
            drop(sleepers);
            waker.wake();
        }
    }

    /// Ends when [`Hub::wake`] is called for `ticket`, or was called since the last sleep, and gives the lease that passed to
    /// it then. Of two sleeps of one ticket the later one is woken.
    pub fn sleep(&self, name: &LeaseName, ticket: &Ticket) -> impl Future<Output = Lease> + '_ {
        let place = (name.clone(), ticket.clone());
        let bed = Bed { hub: self, place };
        poll_fn(move |context| {
            let mut sleepers = bed.hub.sleepers.borrow_mut();
            if let Some(Sleeper::Woken(lease)) = sleepers.remove(&bed.place) {
                return Poll::Ready(lease);
            }
            sleepers.insert(bed.place.clone(), Sleeper::Asleep(context.waker().clone()));
            Poll::Pending
        })
    }
}

/// Leaves nothing behind when a sleep is given up.
struct Bed<'a> {
    hub: &'a Hub,
    place: Place,
}

impl Drop for Bed<'_> {
    fn drop(&mut self) {
        let mut sleepers = self.hub.sleepers.borrow_mut();
        if matches!(sleepers.get(&self.place), Some(Sleeper::Asleep(_))) {
            sleepers.remove(&self.place);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Context;

    use super::*;
    use crate::lease::{RequestId, USUAL};
    use crate::time::UnixMillis;

    fn ticket(user: &str) -> Ticket {
        Ticket { user: user.into(), request_id: RequestId::parse("r").unwrap() }
    }

    fn turn(user: &str) -> Turn {
        let (ticket, granted) = (ticket(user), UnixMillis(1));
        let (holder, request_id) = (user.to_owned(), ticket.request_id.clone());
        let expires = granted.plus(USUAL);
        let user = user.to_owned();
        let lease =
            Lease { user, holder, request_id, fence: 7, granted, expires, ttl: USUAL, sure: false, group: None };
        Turn { ticket, lease, pushed: false }
    }

    #[test]
    fn a_wake_up_reaches_its_sleeper_before_and_after() {
        let (hub, name) = (Hub::default(), LeaseName::parse("n").unwrap());
        let mut context = Context::from_waker(Waker::noop());
        {
            let mut asleep = pin!(hub.sleep(&name, &ticket("a")));
            assert!(asleep.as_mut().poll(&mut context).is_pending());
            hub.wake(&name, turn("b"));
            assert!(asleep.as_mut().poll(&mut context).is_pending(), "another's");
            hub.wake(&name, turn("a"));
            assert_eq!(asleep.as_mut().poll(&mut context), Poll::Ready(turn("a").lease));
        }
        let mut early = pin!(hub.sleep(&name, &ticket("b")));
        assert!(early.as_mut().poll(&mut context).is_ready(), "it was woken before it slept");
        {
            let mut given_up = pin!(hub.sleep(&name, &ticket("b")));
            assert!(given_up.as_mut().poll(&mut context).is_pending());
        }
        assert!(hub.sleepers.borrow().is_empty());
    }
}
