//! Leases: named locks that expire, each grant with a fence, and a queue in order of arrival.
//!
//! Invariant: a name has at most one live lease, and its fence is the highest that was ever given for the name. The
//! highest fence is kept apart from the lease and outlives it, so that neither expiry nor revocation brings one back: who
//! checks the fence where it writes is safe from a holder that slept past its lease. Whether a lease is live is the
//! backend's word alone, by the backend's clock, so that no two callers can differ over it. All rules are in [`rules`], as
//! one transition; a backend runs it atomically, and nothing else decides.

pub mod hub;
mod input;
pub mod redis;
pub mod rules;
pub mod several;
pub mod sql;

use std::future::Future;

use serde::{Deserialize, Serialize};

pub use self::input::{LONGEST, LeaseName, RequestId, SHORTEST, USUAL, ttl, wait};
use crate::access::Principal;
use crate::error::{Error, Result};
use crate::time::{Ttl, UnixMillis};

/// The longest time for which one ask is kept open for its turn: well under the deadline of a call.
pub const LONGEST_CALL: Ttl = Ttl::from_secs(3);

/// Who asks for a lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asker {
    /// The id of the account.
    pub user: String,
    /// The name to show to others.
    pub name: String,
}

impl From<&Principal> for Asker {
    fn from(principal: &Principal) -> Asker {
        Asker { user: principal.user.clone(), name: principal.name.clone() }
    }
}

/// A lease as granted or last renewed, and its row. Field names are stored: they may be added to, with a default, and not
/// renamed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The id of the holder's account.
    pub user: String,
    /// The holder's name, to show to others, as it was at the grant.
    pub holder: String,
    /// What the holder calls the request that it was granted to.
    pub request_id: RequestId,
    /// Higher than that of every lease of this name before.
    pub fence: u64,
    /// When it was granted.
    pub granted: UnixMillis,
    /// The first instant at which it is free again.
    pub expires: UnixMillis,
    /// How long it lives after its grant, and after a renewal that does not say.
    pub ttl: Ttl,
    /// False while it is only held out, for a moment: to whoever waited for it and has not claimed it by a renewal, or as
    /// one of several that are not all granted yet.
    pub sure: bool,
    /// The leases that were asked for together with it. (It is written even where there are none: the same type goes to the
    /// object and back in a format that leaves no field out.)
    #[serde(default)]
    pub group: Option<Group>,
}

/// Leases that are granted together, all or none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// One attempt at it; a retry is another one.
    pub attempt: String,
    /// All of their names.
    pub names: Vec<LeaseName>,
}

/// Who waits: a request of an account.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Ticket {
    /// The id of the account.
    pub user: String,
    /// Its request.
    pub request_id: RequestId,
}

/// What can be asked of a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// Grants the lease if it is free. The same account with the same `request_id` gets the same grant while it is live, so
    /// that a retry after a lost reply finds what is its own.
    Grant {
        /// Who asks.
        asker: Asker,
        /// The request.
        request_id: RequestId,
        /// How long it is to live.
        ttl: Ttl,
        /// Where it is held: for how long the request waits for its turn, with a place in the queue. The backend may keep the
        /// call open for that, up to [`LONGEST_CALL`]. `None` gives up a place that the request has.
        wait: Option<Ttl>,
    },
    /// Grants the lease if it is free, as [`Ask::Grant`] does, or keeps a place in the queue for `wait` without a call that
    /// waits: when the request's turn comes, its account is told on its channel.
    Queue {
        /// Who asks.
        asker: Asker,
        /// The request.
        request_id: RequestId,
        /// How long it is to live.
        ttl: Ttl,
        /// How long the place is kept.
        wait: Ttl,
    },
    /// Takes one of several for a moment, as [`Ask::Grant`] does; [`Ask::Confirm`] makes it sure.
    Reserve {
        /// Who asks.
        asker: Asker,
        /// The request.
        request_id: RequestId,
        /// How long it is to live once it is sure.
        ttl: Ttl,
        /// What it belongs to.
        group: Group,
    },
    /// Lets the lease that was reserved by `attempt` live for its `ttl` from now.
    Confirm {
        /// The attempt.
        attempt: String,
    },
    /// Frees the lease if it belongs to `attempt`.
    Release {
        /// The attempt.
        attempt: String,
    },
    /// Lets the lease that `user` holds by `fence` live for `ttl` from now; without a `ttl` as long as it was given before.
    Renew {
        /// The account.
        user: String,
        /// The fence.
        fence: u64,
        /// How long.
        ttl: Option<Ttl>,
    },
    /// Frees the lease that `user` holds by `fence`. A repetition finds it lost, as it is.
    Revoke {
        /// The account.
        user: String,
        /// The fence.
        fence: u64,
    },
    /// Takes the lease of this fence from whoever holds it.
    Break {
        /// The fence.
        fence: u64,
        /// The name of who breaks it, to show to the holder.
        by: String,
        /// Why.
        reason: String,
    },
    /// Looks.
    LookUp,
}

impl Ask {
    /// Whether a lost answer leaves it open what happened.
    pub fn is_change(&self) -> bool {
        !matches!(self, Ask::LookUp)
    }

    /// So much of the time that it waits is over. (Asked again for all of it, its place would be written anew each time, and
    /// those who wait would get into each other's way.)
    pub fn waited(&mut self, time: Ttl) {
        if let Ask::Grant { wait: Some(wait), .. } = self {
            *wait = Ttl(wait.0.saturating_sub(time.0));
        }
    }
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Told {
    /// It is the asker's.
    Granted {
        /// The lease.
        lease: Lease,
        /// Whether it was granted to this very request before.
        again: bool,
    },
    /// It is taken; also where the asker holds it by another request.
    Held {
        /// The live lease; its fence is not for the asker.
        lease: Lease,
        /// The place in the queue that the request has, or would have: 1 is next.
        position: u64,
    },
    /// It was renewed or confirmed.
    Renewed(Lease),
    /// It was revoked, or released if it was there.
    Freed,
    /// It was taken from its holder.
    Broken(Lease),
    /// The live lease, if there is one, is not by this holder and fence.
    Lost,
    /// What a look found.
    Seen {
        /// The live lease.
        lease: Option<Lease>,
        /// How many wait for it.
        waiting: u64,
    },
}

/// That a lease has passed to whoever waited for it, who is held it out for a moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// Who waited.
    pub ticket: Ticket,
    /// The lease.
    pub lease: Lease,
    /// Whether whoever waited keeps no call open, and has to be told on its channel.
    pub pushed: bool,
}

/// What a backend answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// What became of it.
    pub told: Told,
    /// The backend's clock when it was decided.
    pub at: UnixMillis,
}

/// How a holder lost its lease without having freed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// It was not renewed in time.
    Expired,
    /// An administrator broke it.
    Broken {
        /// The name of who did.
        by: String,
        /// Why.
        reason: String,
    },
}

/// What a holder has to be told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// The lease's name.
    pub name: LeaseName,
    /// The lease as it was.
    pub lease: Lease,
    /// How it was lost.
    pub cause: Cause,
    /// When that was seen.
    pub at: UnixMillis,
}

/// What keeps leases. Each ask takes effect at one instant between its call and its answer, or not at all. An outage is
/// [`crate::error::Kind::Unavailable`]; an ask whose fate is not known is [`crate::error::Kind::OutcomeUnknown`], and it is
/// the caller's to ask again with the same request id.
pub trait Leases {
    /// Asks `name`.
    fn ask(&self, name: &LeaseName, ask: Ask) -> impl Future<Output = Result<Answer>>;
}

/// The fault of a backend that answers what nobody asked.
pub fn unexpected() -> Error {
    Error::internal("a lease's backend answered something else than was asked")
}

#[cfg(test)]
pub mod native;
#[cfg(test)]
mod tests;
