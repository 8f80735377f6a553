//! Leases: named locks that expire, each grant with a fence.
//!
//! Invariant: a name has at most one live lease, and its fence is the highest that was ever given for the name. The
//! highest fence is kept apart from the lease and outlives it, so that neither expiry nor revocation brings one back: who
//! checks the fence where it writes is safe from a holder that slept past its lease. Whether a lease is live is the
//! store's word alone, by the store's clock, so that no two callers can differ over it. Lease and fence share a shard and
//! change in one conditional batch.

mod input;

use serde::{Deserialize, Serialize};

pub use self::input::{LONGEST, LeaseName, RequestId, SHORTEST, USUAL, ttl};
use crate::access::Principal;
use crate::error::{Error, Result};
use crate::store::{Applied, Condition, Entry, Op, Shard, Store};
use crate::time::{MAX_SAFE, Ttl, UnixMillis};

/// How often a lost race is run again before the caller is asked to.
const TRIES: usize = 5;

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
}

/// What became of a request for a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Granted {
    /// It is the caller's from now on.
    New(Lease),
    /// It was granted to this very request before, and is live.
    Again(Lease),
    /// It is taken; also where the caller holds it by another request.
    Held {
        /// The holder's name, to show.
        holder: String,
        /// When it is free again unless it is renewed or revoked.
        expires: UnixMillis,
    },
}

/// The refusal of a renewal or revocation: the live lease, if there is one, is not by this holder and fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost;

fn lease_key(name: &LeaseName) -> String {
    format!("lease/{name}")
}

/// Never deleted, and without an expiry.
fn fence_key(name: &LeaseName) -> String {
    format!("fence/{name}")
}

fn shard_of(name: &LeaseName) -> Shard {
    Shard::of(&lease_key(name))
}

fn encode(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|_| Error::internal("a lease could not be written"))
}

fn decode<'a, T: Deserialize<'a>>(entry: &'a Entry) -> Result<T> {
    serde_json::from_slice(&entry.value)
        .map_err(|_| Error::internal("a lease's row is not of the shape this version writes"))
}

fn contended() -> Error {
    Error::unavailable("the lease is being changed; try again")
}

/// The write of a lease's row, which goes when the lease does.
fn put(name: &LeaseName, lease: &Lease, condition: Condition) -> Result<Op> {
    Ok(Op::Put { key: lease_key(name), value: encode(lease)?, condition, expires: Some(lease.expires) })
}

/// Grants the lease `name` to `holder` for `ttl` from `now`, if it is free. The same holder with the same `request_id` gets
/// the same grant while it is live, so that a retry after a lost reply finds what is its own. An outcome that is not known
/// is the caller's to know ([`crate::error::Kind::OutcomeUnknown`]) and is not tried again here.
pub async fn grant(
    store: &impl Store,
    now: UnixMillis,
    name: &LeaseName,
    holder: &Principal,
    request_id: &RequestId,
    ttl: Ttl,
) -> Result<Granted> {
    for _ in 0..TRIES {
        let batch = vec![Op::get(lease_key(name)), Op::get(fence_key(name))];
        let mut entries = store.apply(shard_of(name), batch).await?.entries();
        let (lease, highest) = (entries.next().flatten(), entries.next().flatten());
        if let Some(entry) = lease {
            let lease: Lease = decode(&entry)?;
            return Ok(if lease.user == holder.user && lease.request_id == *request_id {
                Granted::Again(lease)
            } else {
                Granted::Held { holder: lease.holder, expires: lease.expires }
            });
        }
        let (highest, unchanged) = match &highest {
            Some(entry) => (decode::<u64>(entry)?, Condition::Version(entry.version)),
            None => (0, Condition::Absent),
        };
        let fence = highest.checked_add(1).filter(|fence| *fence <= MAX_SAFE);
        let fence = fence.ok_or_else(|| Error::internal("a lease has run out of fences"))?;
        let lease = Lease {
            user: holder.user.clone(),
            holder: holder.name.clone(),
            request_id: request_id.clone(),
            fence,
            granted: now,
            expires: now.plus(ttl),
            ttl,
        };
        let raise = Op::Put { key: fence_key(name), value: encode(&fence)?, condition: unchanged, expires: None };
        let batch = vec![put(name, &lease, Condition::Absent)?, raise];
        if let Applied::Done(_) = store.apply(shard_of(name), batch).await? {
            return Ok(Granted::New(lease));
        }
    }
    Err(contended())
}

/// Lets the lease that `user` holds by `fence` live for `ttl` from `now`; without a `ttl` as long as it was given before.
pub async fn renew(
    store: &impl Store,
    now: UnixMillis,
    name: &LeaseName,
    user: &str,
    fence: u64,
    ttl: Option<Ttl>,
) -> Result<std::result::Result<Lease, Lost>> {
    for _ in 0..TRIES {
        let Some((lease, version)) = held_by(store, name, user, fence).await? else { return Ok(Err(Lost)) };
        let ttl = ttl.unwrap_or(lease.ttl);
        let lease = Lease { expires: now.plus(ttl), ttl, ..lease };
        if let Applied::Done(_) = store.apply(shard_of(name), vec![put(name, &lease, version)?]).await? {
            return Ok(Ok(lease));
        }
    }
    Err(contended())
}

/// Frees the lease that `user` holds by `fence`. A repetition finds it [`Lost`], as it is.
pub async fn revoke(
    store: &impl Store,
    name: &LeaseName,
    user: &str,
    fence: u64,
) -> Result<std::result::Result<(), Lost>> {
    for _ in 0..TRIES {
        let Some((_, condition)) = held_by(store, name, user, fence).await? else { return Ok(Err(Lost)) };
        let delete = Op::Delete { key: lease_key(name), condition };
        if let Applied::Done(_) = store.apply(shard_of(name), vec![delete]).await? {
            return Ok(Ok(()));
        }
    }
    Err(contended())
}

/// The live lease of `name`, if there is one.
pub async fn look_up(store: &impl Store, name: &LeaseName) -> Result<Option<Lease>> {
    Ok(read(store, name).await?.map(|(lease, _)| lease))
}

async fn read(store: &impl Store, name: &LeaseName) -> Result<Option<(Lease, Condition)>> {
    let entry = store.apply(shard_of(name), vec![Op::get(lease_key(name))]).await?.entries().next().flatten();
    entry.map(|entry| Ok((decode(&entry)?, Condition::Version(entry.version)))).transpose()
}

/// The live lease if it is by this holder and fence, with the condition that it still is when it is written.
async fn held_by(store: &impl Store, name: &LeaseName, user: &str, fence: u64) -> Result<Option<(Lease, Condition)>> {
    let found = read(store, name).await?;
    Ok(found.filter(|(lease, _)| lease.user == user && lease.fence == fence))
}

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;
