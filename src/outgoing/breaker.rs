//! The breaker: while a server does not answer, everybody is told so at once, and one call at a time looks whether it is back.
//!
//! Invariant: after `FAILURES` failures without a success between them nothing is sent but one probe every `COOL`; the
//! first success lets everything through again.

use std::cell::Cell;

use crate::time::{Ttl, UnixMillis};

/// So many failures in a row open it.
const FAILURES: u32 = 3;
/// How long nothing is sent before the next probe.
const COOL: Ttl = Ttl(500);
/// A server that says for how long it will not answer is believed up to this.
const LONGEST: Ttl = Ttl::from_secs(5);

/// Whether a call may go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// It may.
    Open,
    /// It may, once, to see whether the server is back.
    Probe,
    /// It may not, for so long.
    Shut(Ttl),
}

/// The breaker of one isolate. Numbers only: it outlives the requests that share it.
#[derive(Debug, Default)]
pub struct Breaker {
    failures: Cell<u32>,
    shut_until: Cell<Option<UnixMillis>>,
}

impl Breaker {
    /// Asks to call at `now`.
    pub fn ask(&self, now: UnixMillis) -> Gate {
        match self.shut_until.get() {
            None => Gate::Open,
            // A clock that was set back does not keep it shut.
            Some(until) if now < until && now.plus(LONGEST) >= until => Gate::Shut(now.until(until)),
            Some(_) => {
                self.shut_until.set(Some(now.plus(COOL)));
                Gate::Probe
            }
        }
    }

    /// The server answered. Gives whether it had been away.
    pub fn answered(&self) -> bool {
        self.failures.set(0);
        self.shut_until.replace(None).is_some()
    }

    /// The server did not answer, or said that it cannot before `after`. Gives whether this is where the breaker opened.
    pub fn failed(&self, now: UnixMillis, after: Option<Ttl>) -> bool {
        let failures = self.failures.get().saturating_add(1);
        self.failures.set(failures);
        let was_shut = self.shut_until.get().is_some();
        if failures < FAILURES && after.is_none() && !was_shut {
            return false;
        }
        let after = after.unwrap_or(COOL).max(COOL).min(LONGEST);
        self.shut_until.set(Some(now.plus(after)));
        !was_shut
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_failures_shut_it_one_probe_goes_out_and_its_success_opens_it() {
        let breaker = Breaker::default();
        let at = UnixMillis(10_000);
        assert!(!breaker.failed(at, None) && !breaker.failed(at, None));
        assert_eq!(breaker.ask(at), Gate::Open);
        assert!(!breaker.answered());
        assert!(!breaker.failed(at, None) && !breaker.failed(at, None) && breaker.failed(at, None));
        assert_eq!(breaker.ask(at), Gate::Shut(COOL));
        let later = at.plus(COOL);
        assert_eq!((breaker.ask(later), breaker.ask(later)), (Gate::Probe, Gate::Shut(COOL)));
        assert!(!breaker.failed(later, None));
        assert_eq!(breaker.ask(later.plus(COOL)), Gate::Probe);
        assert!(breaker.answered());
        assert_eq!(breaker.ask(later.plus(COOL)), Gate::Open);
    }

    #[test]
    fn a_server_that_says_when_is_believed_within_reason() {
        let breaker = Breaker::default();
        assert!(breaker.failed(UnixMillis(0), Some(Ttl::from_secs(2))));
        assert_eq!(breaker.ask(UnixMillis(1_999)), Gate::Shut(Ttl(1)));
        assert_eq!(breaker.ask(UnixMillis(2_000)), Gate::Probe);
        breaker.failed(UnixMillis(2_000), Some(Ttl::from_mins(60)));
        assert_eq!(breaker.ask(UnixMillis(2_000)), Gate::Shut(LONGEST));
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_keep_it_shut() {
        let breaker = Breaker::default();
        breaker.failed(UnixMillis(1_000_000), Some(Ttl(500)));
        assert_eq!(breaker.ask(UnixMillis(1)), Gate::Probe);
    }
}
