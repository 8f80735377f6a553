//! What the clinic's object has in memory: fill tokens, read leases, which events have to wait for them, and which readers are
//! in the audit trail already.
//!
//! Invariant: losing it costs time and nothing else. An object that was just started does not know what it told before, so it
//! takes everybody for told.

use std::cell::RefCell;

use super::{ClinicReply, position};
use crate::access::audit::SPELL;
use crate::channel::Topic;
use crate::chart::cache::fills::Fills;
use crate::chart::cache::window::{self, Grants, Window};
use crate::chart::head::Touched;
use crate::error::Result;
use crate::store::sql::Sql;
use crate::time::{Ttl, UnixMillis};

/// The memory of the clinic's object.
#[derive(Debug)]
pub struct Desk {
    pub(super) fills: RefCell<Fills>,
    grants: RefCell<Grants>,
    /// What was committed at an instant is held back until another one.
    held: RefCell<Vec<(UnixMillis, UnixMillis)>>,
    lease: Ttl,
    /// What of the reads is in the audit trail.
    said: RefCell<Window<()>>,
    /// How what is known of patients ages, where records are kept elsewhere.
    pub(super) away: Option<Away>,
}

/// How what is known of patients ages.
#[derive(Clone, Copy, Debug)]
pub struct Away {
    /// After so long it is asked for again.
    pub fresh: Ttl,
    /// So much longer it will do where it cannot be had.
    pub stale: Ttl,
}

impl Desk {
    /// The desk of an object that was started at `now`, where readers may rely on a head for `lease`.
    pub fn new(lease: Ttl, now: UnixMillis) -> Desk {
        let held = RefCell::new(vec![(UnixMillis(0), now.plus(window::longest(lease)))]);
        Desk {
            fills: RefCell::default(),
            grants: RefCell::new(Grants::new(lease, now)),
            held,
            lease,
            said: RefCell::new(Window::new(SPELL)),
            away: None,
        }
    }

    /// The same where records are kept elsewhere.
    pub fn away(self, away: Option<Away>) -> Desk {
        Desk { away, ..self }
    }

    /// What of `what` the audit trail does not have yet of `user`.
    pub(super) fn unsaid<'a>(&self, now: UnixMillis, user: &str, what: &'a [String]) -> Vec<&'a str> {
        let mut said = self.said.borrow_mut();
        let new = |what: &&str| said.get(now, &window::of(user, what)).is_none();
        what.iter().map(String::as_str).filter(new).collect()
    }

    /// Notes that the audit trail has it now.
    pub(super) fn said(&self, now: UnixMillis, user: &str, what: &[&str]) {
        what.iter().for_each(|what| self.said.borrow_mut().put(now, now, &window::of(user, what), ()));
    }

    /// Notes that somebody was told of the head of `patient` at `now`.
    pub(super) fn told(&self, now: UnixMillis, patient: &str) {
        self.grants.borrow_mut().note(now, patient);
    }

    /// How long somebody may still rely on what they were told of whom a write touched.
    pub(super) fn left(&self, now: UnixMillis, touched: &Touched) -> Ttl {
        let whom = touched.patients.iter().map(String::as_str);
        self.grants.borrow().left(now, if touched.shared { None } else { Some(whom) })
    }

    /// How long anybody may rely on what they were just told.
    pub(super) fn longest(&self) -> Ttl {
        window::longest(self.lease)
    }

    /// Holds the events of what was committed at `now` back for `ttl`.
    pub(super) fn hold(&self, now: UnixMillis, ttl: Ttl) {
        if ttl > Ttl(0) {
            self.held.borrow_mut().push((now, now.plus(ttl)));
        }
    }

    /// Events of what was committed at this instant or later may not leave at `now`: somebody may still read what was before.
    pub fn bar(&self, now: UnixMillis) -> UnixMillis {
        let mut held = self.held.borrow_mut();
        // Nothing is held for longer than a window, whatever the clock has done since.
        held.retain(|(_, due)| now < *due && now.until(*due) <= self.longest());
        held.iter().map(|(at, _)| *at).min().unwrap_or(UnixMillis::MAX)
    }
}

/// An answer, and how long to keep it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handled {
    /// The answer.
    pub reply: ClinicReply,
    /// Nobody may hear of it before so long: till then somebody may read what was before.
    pub wait: Ttl,
}

impl Handled {
    /// With where in `topics` it was read.
    pub(super) fn at(self, sql: &impl Sql, now: UnixMillis, topics: &[Topic]) -> Result<Handled> {
        let reply = ClinicReply::At(Box::new(self.reply), position::read(sql, now, topics)?);
        Ok(Handled { reply, ..self })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_bars_what_came_later_until_it_is_due() {
        let desk = Desk::new(Ttl(320), UnixMillis(1_000));
        assert_eq!(desk.bar(UnixMillis(1_360)), UnixMillis(0), "it does not know what it told before");
        assert_eq!(desk.bar(UnixMillis(1_361)), UnixMillis::MAX);
        desk.hold(UnixMillis(2_000), Ttl(361));
        desk.hold(UnixMillis(2_100), Ttl(50));
        assert_eq!(desk.bar(UnixMillis(2_360)), UnixMillis(2_000));
        assert_eq!(desk.bar(UnixMillis(2_361)), UnixMillis::MAX);
        desk.hold(UnixMillis(9_000), Ttl(361));
        assert_eq!(desk.bar(UnixMillis(5_000)), UnixMillis::MAX, "the clock went back");
        let off = Desk::new(Ttl(0), UnixMillis(1_000));
        off.hold(UnixMillis(1_000), Ttl(0));
        assert_eq!(off.bar(UnixMillis(1_000)), UnixMillis::MAX);
    }
}
