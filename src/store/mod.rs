//! The store port: small values by key, atomically within one shard, with a condition on each write.
//!
//! Invariant: one batch on one shard takes effect whole or not at all, and its reads see the state that its conditions
//! were held against. A version is never given twice for a key, also not after it was deleted and made again, so that a
//! writer that slept cannot mistake a new value for the one it read.

use std::future::{Future, poll_fn};
use std::task::Poll;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::Result;
use crate::time::UnixMillis;

pub mod agenda;
pub mod bytes;
#[cfg(test)]
pub(crate) mod conformance;
#[cfg(test)]
mod faults;
pub mod kv;
#[cfg(test)]
pub mod memory;
pub mod redis;
pub mod restored;
pub mod sql;
pub mod sql_store;
#[cfg(test)]
pub mod sqlite;

/// The number of shards, fixed for ever: a key's shard follows from its owner alone, and no setting moves it.
pub const SHARDS: u16 = 1_024;

/// Where a key lives. Everything that must change together shares an owner, hence a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shard(u16);

impl Shard {
    /// The shard of `owner`: the first ten bits of its SHA-256.
    pub fn of(owner: &str) -> Shard {
        let digest = Sha256::digest(owner.as_bytes());
        let first = digest.iter().take(2).fold(0_u16, |sum, byte| (sum << 8) | u16::from(*byte));
        Shard(first >> 6)
    }

    /// The name of the object that keeps this shard: `shard-0000` to `shard-1023`.
    pub fn name(self) -> String {
        format!("shard-{:04}", self.0)
    }
}

/// What must hold of a key for a batch to take effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Condition {
    /// Nothing.
    Always,
    /// There is no such key, or it has expired.
    Absent,
    /// The key is there and was last written as this version.
    Version(u64),
}

/// One step of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// Reads a key.
    Get {
        /// The key.
        key: String,
    },
    /// Holds a condition against a key without touching it.
    Check {
        /// The key.
        key: String,
        /// The condition.
        condition: Condition,
    },
    /// Writes a key, value and expiry.
    Put {
        /// The key.
        key: String,
        /// The new value.
        value: Vec<u8>,
        /// The condition.
        condition: Condition,
        /// The first instant at which the key is no longer there; `None` keeps it.
        expires: Option<UnixMillis>,
    },
    /// Removes a key; removing what is not there is no error.
    Delete {
        /// The key.
        key: String,
        /// The condition.
        condition: Condition,
    },
}

impl Op {
    /// Reads `key`.
    pub fn get(key: impl Into<String>) -> Op {
        Op::Get { key: key.into() }
    }

    /// Whether it may change something.
    pub fn is_change(&self) -> bool {
        matches!(self, Op::Put { .. } | Op::Delete { .. })
    }

    /// The step's key and condition.
    pub fn condition(&self) -> (&str, Condition) {
        match self {
            Op::Get { key } => (key, Condition::Always),
            Op::Check { key, condition } | Op::Put { key, condition, .. } | Op::Delete { key, condition } => {
                (key, *condition)
            }
        }
    }
}

/// A value that was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The version to name in [`Condition::Version`].
    pub version: u64,
    /// The value as written.
    pub value: Vec<u8>,
    /// When it expires, if ever.
    pub expires: Option<UnixMillis>,
}

/// What one step gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OpReply {
    /// Of a get: the value, or that there is none.
    Got(Option<Entry>),
    /// Of a put: the version it was written as.
    Wrote(u64),
    /// Of a check or a delete.
    Done,
}

/// What became of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Applied {
    /// All of it took effect; one reply a step, in order.
    Done(Vec<OpReply>),
    /// None of it took effect: the condition of this step did not hold.
    Refused {
        /// The step's position in the batch, from 0.
        step: usize,
    },
}

impl Applied {
    /// The values of the batch's gets, in order; empty where the batch was refused.
    pub fn entries(self) -> impl Iterator<Item = Option<Entry>> {
        let replies = match self {
            Applied::Done(replies) => replies,
            Applied::Refused { .. } => Vec::new(),
        };
        replies.into_iter().filter_map(|reply| match reply {
            OpReply::Got(entry) => Some(entry),
            OpReply::Wrote(_) | OpReply::Done => None,
        })
    }
}

/// A store. Reads that are asked for in the same turn (under one `join!`) may go out as one request; where they cross a
/// network they do. An outage is [`crate::error::Kind::Unavailable`]; a write whose fate is not known is
/// [`crate::error::Kind::OutcomeUnknown`]; a condition that did not hold is no error but [`Applied::Refused`].
pub trait Store {
    /// Runs `batch` in order on `shard`, all or nothing.
    fn apply(&self, shard: Shard, batch: Vec<Op>) -> impl Future<Output = Result<Applied>>;
}

/// Lets everything that can run now run first.
async fn turn() {
    let mut over = false;
    poll_fn(|context| {
        if std::mem::replace(&mut over, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stored data is found by these names; if this test fails the data of every deployment is lost from sight.
    #[test]
    fn shards_are_pinned() {
        assert_eq!(Shard::of("").name(), "shard-0910");
        assert_eq!(Shard::of("0d9a8e6c-6c3c-4c9b-8d7e-2f1a0b9c8d7e").name(), "shard-0601");
    }
}
