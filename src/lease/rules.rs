//! What a lease does: one transition, of the state of one name, by one request, at one instant.
//!
//! Invariant: a fence is given once and above every one before. While anybody waits the lease is never free: it passes from
//! one to the next in order of arrival, within the transition that frees it. Whoever waited is held it out for [`CLAIM`] and
//! has it once it has renewed it, so that a dead waiter delays the next by that and no more.

use serde::{Deserialize, Serialize};

use super::{Ask, Asker, Cause, Group, Lease, LeaseName, Loss, RequestId, Ticket, Told, Turn};
use crate::error::{Error, Kind, Result};
use crate::time::{MAX_SAFE, Ttl, UnixMillis};

/// So long a lease is held out to whoever waited for it.
pub const CLAIM: Ttl = Ttl::from_secs(1);
/// So long one of several leases is held while the others are asked for.
pub const RESERVED: Ttl = Ttl::from_secs(5);
/// A place in the queue outlives the time that its request said it waits by this, so that the last call finds it.
pub(super) const GRACE: Ttl = Ttl::from_secs(2);
/// So many wait for one lease at most.
pub(super) const MOST_WAITING: usize = 256;

/// A request in the queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiter {
    asker: Asker,
    request_id: RequestId,
    ttl: Ttl,
    /// Passed over from this instant on, unless it has asked again.
    until: UnixMillis,
    /// Whether it keeps no call open.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pushed: bool,
}

impl Waiter {
    /// A request of `asker` that is passed over from `until` on.
    pub(super) fn new(asker: &Asker, request_id: &RequestId, ttl: Ttl, until: UnixMillis, pushed: bool) -> Waiter {
        Waiter { asker: asker.clone(), request_id: request_id.clone(), ttl, until, pushed }
    }

    fn is(&self, asker: &Asker, request_id: &RequestId) -> bool {
        self.asker.user == asker.user && self.request_id == *request_id
    }
}

/// The state of one name, besides its highest fence. Field names are stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The lease, live or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Lease>,
    /// Who waits, in order of arrival.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub queue: Vec<Waiter>,
}

impl State {
    /// Whether there is nothing to keep.
    pub fn is_empty(&self) -> bool {
        self.lease.is_none() && self.queue.is_empty()
    }
}

/// What a transition gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// What became of the request.
    pub told: Told,
    /// Whose turn came.
    pub turns: Vec<Turn>,
    /// Who lost the lease without having freed it.
    pub losses: Vec<Loss>,
}

/// Everything of one name while a transition runs.
struct Name<'a> {
    name: &'a LeaseName,
    state: &'a mut State,
    highest: &'a mut u64,
    now: UnixMillis,
    turns: Vec<Turn>,
    losses: Vec<Loss>,
}

/// Runs `ask` on `name` at `now`, on its state and the highest fence that it was ever given.
pub fn step(name: &LeaseName, state: &mut State, highest: &mut u64, now: UnixMillis, ask: &Ask) -> Result<Done> {
    let mut name = Name { name, state, highest, now, turns: Vec::new(), losses: Vec::new() };
    name.settle()?;
    let told = name.answer(ask)?;
    Ok(Done { told, turns: name.turns, losses: name.losses })
}

/// Brings `name` to `now`: ends a lease whose time is over and passes it on.
pub fn settle(name: &LeaseName, state: &mut State, highest: &mut u64, now: UnixMillis) -> Result<Done> {
    step(name, state, highest, now, &Ask::LookUp)
}

impl Name<'_> {
    fn settle(&mut self) -> Result<()> {
        if let Some(lease) = self.state.lease.take_if(|lease| lease.expires <= self.now) {
            self.lose(lease, Cause::Expired);
        }
        if self.state.lease.is_some() || self.state.queue.is_empty() {
            return Ok(());
        }
        let now = self.now;
        self.state.queue.retain(|waiter| waiter.until > now);
        if self.state.queue.is_empty() {
            return Ok(());
        }
        let Waiter { asker, request_id, ttl, pushed, .. } = self.state.queue.remove(0);
        let lease = self.give(&asker, &request_id, ttl, Some(CLAIM), None)?;
        self.turns.push(Turn { ticket: Ticket { user: asker.user, request_id }, lease, pushed });
        Ok(())
    }

    fn lose(&mut self, lease: Lease, cause: Cause) {
        self.losses.push(Loss { name: self.name.clone(), lease, cause, at: self.now });
    }

    /// Grants the free lease; only held out, for `moment`, where that is given.
    fn give(
        &mut self,
        asker: &Asker,
        request_id: &RequestId,
        ttl: Ttl,
        moment: Option<Ttl>,
        group: Option<Group>,
    ) -> Result<Lease> {
        let fence = self.highest.checked_add(1).filter(|fence| *fence <= MAX_SAFE);
        let fence = fence.ok_or_else(|| Error::internal("a lease has run out of fences"))?;
        *self.highest = fence;
        let lease = Lease {
            user: asker.user.clone(),
            holder: asker.name.clone(),
            request_id: request_id.clone(),
            fence,
            granted: self.now,
            expires: self.now.plus(moment.unwrap_or(ttl)),
            ttl,
            sure: moment.is_none(),
            group,
        };
        self.state.lease = Some(lease.clone());
        Ok(lease)
    }

    /// Frees the lease, which passes to whoever waits.
    fn free(&mut self) -> Result<Told> {
        self.state.lease = None;
        self.settle()?;
        Ok(Told::Freed)
    }

    fn answer(&mut self, ask: &Ask) -> Result<Told> {
        let now = self.now;
        match ask {
            Ask::Grant { asker, request_id, ttl, wait } => self.grant(asker, request_id, *ttl, *wait, false),
            Ask::Queue { asker, request_id, ttl, wait } => self.grant(asker, request_id, *ttl, Some(*wait), true),
            Ask::Reserve { asker, request_id, ttl, group } => match self.taken(asker, request_id) {
                None => {
                    let lease = self.give(asker, request_id, *ttl, Some(RESERVED), Some(group.clone()))?;
                    Ok(Told::Granted { lease, again: false })
                }
                Some(Told::Granted { mut lease, again }) => {
                    lease.group = Some(group.clone());
                    lease.expires = lease.expires.max(now.plus(RESERVED));
                    self.state.lease = Some(lease.clone());
                    Ok(Told::Granted { lease, again })
                }
                Some(told) => Ok(told),
            },
            Ask::Confirm { attempt } => Ok(self.renew(|lease| lease.is_of(attempt), None)),
            Ask::Renew { user, fence, ttl } => {
                Ok(self.renew(|lease| lease.user == *user && lease.fence == *fence, *ttl))
            }
            Ask::Release { attempt } => match &self.state.lease {
                Some(lease) if lease.is_of(attempt) => self.free(),
                _ => Ok(Told::Lost),
            },
            Ask::Revoke { user, fence } => match &self.state.lease {
                Some(lease) if lease.user == *user && lease.fence == *fence => self.free(),
                _ => Ok(Told::Lost),
            },
            Ask::Break { fence, by, reason } => match self.state.lease.take_if(|lease| lease.fence == *fence) {
                Some(lease) => {
                    self.lose(lease.clone(), Cause::Broken { by: by.clone(), reason: reason.clone() });
                    self.free()?;
                    Ok(Told::Broken(lease))
                }
                None => Ok(Told::Lost),
            },
            Ask::LookUp => {
                let waiting = self.state.queue.iter().filter(|waiter| waiter.until > now).count();
                Ok(Told::Seen { lease: self.state.lease.clone(), waiting: place(waiting) })
            }
        }
    }

    /// Grants the lease if it is free; else the request has, keeps or gives up its place.
    fn grant(
        &mut self,
        asker: &Asker,
        request_id: &RequestId,
        ttl: Ttl,
        wait: Option<Ttl>,
        pushed: bool,
    ) -> Result<Told> {
        match self.taken(asker, request_id) {
            None => Ok(Told::Granted { lease: self.give(asker, request_id, ttl, None, None)?, again: false }),
            Some(Told::Held { lease, .. }) => {
                let position = self.queue(asker, request_id, ttl, wait, pushed)?;
                Ok(Told::Held { lease, position })
            }
            Some(told) => Ok(told),
        }
    }

    /// What a request finds where the lease is not free: its own grant, or another's.
    fn taken(&self, asker: &Asker, request_id: &RequestId) -> Option<Told> {
        let lease = self.state.lease.clone()?;
        Some(if lease.user == asker.user && lease.request_id == *request_id {
            Told::Granted { lease, again: true }
        } else {
            Told::Held { lease, position: 0 }
        })
    }

    /// The place of a request; it is kept for `wait`, or given up.
    fn queue(
        &mut self,
        asker: &Asker,
        request_id: &RequestId,
        ttl: Ttl,
        wait: Option<Ttl>,
        pushed: bool,
    ) -> Result<u64> {
        let now = self.now;
        let queue = &mut self.state.queue;
        // A place whose time is over is kept until the next turn, so that a clock that stepped costs nobody theirs.
        let before = queue.iter().take_while(|waiter| !waiter.is(asker, request_id));
        let position = place(before.filter(|waiter| waiter.until > now).count()).saturating_add(1);
        let Some(wait) = wait else {
            queue.retain(|waiter| !waiter.is(asker, request_id));
            return Ok(position);
        };
        let until = now.plus(wait).plus(GRACE);
        match queue.iter_mut().find(|waiter| waiter.is(asker, request_id)) {
            Some(waiter) => {
                waiter.ttl = ttl;
                waiter.pushed = pushed;
                // Not written again by every call: those who wait would get into each other's way.
                if waiter.until < now.plus(wait) {
                    waiter.until = until;
                }
            }
            None => {
                if queue.len() >= MOST_WAITING {
                    queue.retain(|waiter| waiter.until > now);
                }
                if queue.len() >= MOST_WAITING {
                    let full = Error::new(Kind::TooMany, "too many wait for this lease");
                    return Err(full.at("wait_seconds").retry_after(wait));
                }
                queue.push(Waiter::new(asker, request_id, ttl, until, pushed));
            }
        }
        Ok(position)
    }

    fn renew(&mut self, is_theirs: impl Fn(&Lease) -> bool, ttl: Option<Ttl>) -> Told {
        let now = self.now;
        match self.state.lease.as_mut().filter(|lease| is_theirs(lease)) {
            Some(lease) => {
                lease.ttl = ttl.unwrap_or(lease.ttl);
                lease.expires = now.plus(lease.ttl);
                lease.sure = true;
                Told::Renewed(lease.clone())
            }
            None => Told::Lost,
        }
    }
}

impl Lease {
    fn is_of(&self, attempt: &str) -> bool {
        self.group.as_ref().is_some_and(|group| group.attempt == attempt)
    }
}

fn place(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
