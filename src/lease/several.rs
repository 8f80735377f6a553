//! Several leases at once, all or none.
//!
//! Invariant: nobody is told of a part. The leases are taken one after the other in the order of their names, each for a
//! moment only and without waiting, so that no two callers can stop each other for ever; then all are made sure. Where one is
//! taken the others are given back. Where the caller dies in between, those that are not sure end by themselves, and whoever
//! sees that releases the rest of the attempt ([`abandoned`]). A retry with the same request id finds what is its own.

use super::{Ask, Asker, Cause, Group, Lease, LeaseName, Leases, Loss, RequestId, Told};
use crate::error::{Error, Result};
use crate::outgoing::join_all;
use crate::sorted::sort;
use crate::time::{Ttl, UnixMillis};

/// So many leases are granted at once at most.
pub const MOST: usize = 16;

/// What became of a request for several leases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Several {
    /// All are the asker's, in the order of their names.
    Granted {
        /// The leases.
        leases: Vec<(LeaseName, Lease)>,
        /// The backend's clock at the last of them.
        at: UnixMillis,
        /// Whether all were granted to this very request before.
        again: bool,
    },
    /// One is taken, and none is the asker's.
    Held {
        /// Which.
        name: LeaseName,
        /// The live lease.
        lease: Lease,
        /// The backend's clock.
        at: UnixMillis,
    },
}

fn contended() -> Error {
    Error::unavailable("one of these leases was lost while the others were granted, and none is held; try again")
}

async fn ask_all(leases: &impl Leases, names: &[LeaseName], ask: &Ask) -> Vec<Result<super::Answer>> {
    join_all(names.iter().map(|name| leases.ask(name, ask.clone()))).await
}

/// Gives back what `attempt` has; what cannot be reached ends by itself.
async fn give_back(leases: &impl Leases, names: &[LeaseName], attempt: &str) {
    ask_all(leases, names, &Ask::Release { attempt: attempt.to_owned() }).await;
}

/// Grants all of `names` to `asker`, or none. `attempt` is new for each call.
pub async fn grant(
    leases: &impl Leases,
    attempt: String,
    mut names: Vec<LeaseName>,
    asker: &Asker,
    request_id: &RequestId,
    ttl: Ttl,
) -> Result<Several> {
    sort(&mut names);
    names.dedup();
    let group = Group { attempt: attempt.clone(), names: names.clone() };
    let (mut found, mut known, mut last) = (Vec::new(), true, UnixMillis(0));
    for name in &names {
        let ask = Ask::Reserve { asker: asker.clone(), request_id: request_id.clone(), ttl, group: group.clone() };
        let answer = match leases.ask(name, ask).await {
            Ok(answer) => answer,
            Err(error) => {
                give_back(leases, &names, &attempt).await;
                return Err(error);
            }
        };
        last = answer.at;
        match answer.told {
            Told::Granted { lease, again } => {
                known &= again && lease.sure;
                found.push((name.clone(), lease));
            }
            Told::Held { lease, .. } => {
                give_back(leases, &names, &attempt).await;
                return Ok(Several::Held { name: name.clone(), lease, at: last });
            }
            _ => return Err(super::unexpected()),
        }
    }
    if known {
        return Ok(Several::Granted { leases: found, at: last, again: true });
    }
    let mut sure = Vec::new();
    for (name, answer) in names.iter().zip(ask_all(leases, &names, &Ask::Confirm { attempt: attempt.clone() }).await) {
        // Where it is not known whether one is sure, the retry finds out.
        let answer = answer?;
        match answer.told {
            Told::Renewed(lease) => sure.push((name.clone(), lease)),
            _ => {
                give_back(leases, &names, &attempt).await;
                return Err(contended());
            }
        }
        last = answer.at;
    }
    Ok(Several::Granted { leases: sure, at: last, again: false })
}

/// What else has to be released when `loss` is seen: the rest of an attempt that was never made sure.
pub fn abandoned(loss: &Loss) -> Option<&Group> {
    (!loss.lease.sure && loss.cause == Cause::Expired).then_some(loss.lease.group.as_ref()).flatten()
}

/// Releases the rest of an attempt.
pub async fn release(leases: &impl Leases, group: &Group) -> Result<()> {
    let released = ask_all(leases, &group.names, &Ask::Release { attempt: group.attempt.clone() }).await;
    released.into_iter().try_for_each(|answer| answer.map(drop))
}
