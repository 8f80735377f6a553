//! The bytes port: values that anybody may lose at any time, such as cached views. Less than a [`Store`], so that what has
//! no conditions and no versions (Workers KV) can be it, and can never be taken for a store.
//!
//! Invariant: a value is never read at or after its expiry. What is read may be older than the last write, or missing:
//! whoever reads it judges it by something else.
//!
//! Every store keeps bytes. Bytes keep no leases:
//!
//! ```
//! use bedside::store::{Store, bytes::Bytes};
//! fn cache(_: &impl Bytes) {}
//! fn any_store_will_do(store: &impl Store) {
//!     cache(store)
//! }
//! ```
//! ```compile_fail,E0277
//! use bedside::store::{Store, bytes::Bytes};
//! fn leases(_: &impl Store) {}
//! fn bytes_will_not_do(bytes: &impl Bytes) {
//!     leases(bytes)
//! }
//! ```

use std::future::Future;

use super::{Applied, Condition, Op, OpReply, Shard, Store};
use crate::error::{Error, Result};
use crate::outgoing::join_all;
use crate::sorted::{BTreeMap, sort_by};
use crate::time::UnixMillis;

/// What a value is called.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// Where it lives in a store.
    pub shard: Shard,
    /// Its key there.
    pub key: String,
}

/// A value with its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cached {
    /// The value as written.
    pub value: Vec<u8>,
    /// The first instant at which it is no longer there.
    pub expires: UnixMillis,
}

/// A cache of bytes. An outage is [`crate::error::Kind::Unavailable`], and costs time and nothing else.
pub trait Bytes {
    /// The values under `names`, in their order.
    fn read(&self, names: &[Name]) -> impl Future<Output = Result<Vec<Option<Cached>>>>;
    /// Writes each value under its name. Not all or nothing.
    fn write(&self, values: Vec<(Name, Cached)>) -> impl Future<Output = Result<()>>;
    /// Removes what is under `names`. Not all or nothing.
    fn delete(&self, names: &[Name]) -> impl Future<Output = Result<()>>;
}

/// The steps of each shard, with the position that each has among all.
fn by_shard(ops: impl Iterator<Item = (Shard, Op)>) -> BTreeMap<Shard, (Vec<usize>, Vec<Op>)> {
    let mut batches: BTreeMap<Shard, (Vec<usize>, Vec<Op>)> = BTreeMap::new();
    for (position, (shard, op)) in ops.enumerate() {
        let (positions, batch) = batches.entry(shard).or_default();
        positions.push(position);
        batch.push(op);
    }
    batches
}

/// Runs one batch a shard, all at the same time, and gives the replies in the order of the steps.
async fn run(store: &impl Store, ops: impl Iterator<Item = (Shard, Op)>) -> Result<Vec<OpReply>> {
    let batches = by_shard(ops).into_iter().map(|(shard, (positions, batch))| async move {
        match store.apply(shard, batch).await? {
            Applied::Done(replies) => Ok(positions.into_iter().zip(replies)),
            Applied::Refused { .. } => Err(Error::internal("a store refused a batch without conditions")),
        }
    });
    let replies = join_all(batches).await.into_iter().collect::<Result<Vec<_>>>()?;
    let mut replies: Vec<_> = replies.into_iter().flatten().collect();
    sort_by(&mut replies, |(a, _), (b, _)| a.cmp(b));
    Ok(replies.into_iter().map(|(_, reply)| reply).collect())
}

impl<S: Store> Bytes for S {
    async fn read(&self, names: &[Name]) -> Result<Vec<Option<Cached>>> {
        let replies = run(self, names.iter().map(|name| (name.shard, Op::get(name.key.clone())))).await?;
        let cached = replies.into_iter().map(|reply| match reply {
            // Whatever has no end was not written through this port.
            OpReply::Got(entry) => entry.and_then(|entry| Some(Cached { value: entry.value, expires: entry.expires? })),
            OpReply::Wrote(_) | OpReply::Done => None,
        });
        Ok(cached.collect())
    }

    async fn write(&self, values: Vec<(Name, Cached)>) -> Result<()> {
        let ops = values.into_iter().map(|(Name { shard, key }, Cached { value, expires })| {
            (shard, Op::Put { key, value, condition: Condition::Always, expires: Some(expires) })
        });
        run(self, ops).await.map(|_| ())
    }

    async fn delete(&self, names: &[Name]) -> Result<()> {
        let delete = |name: &Name| (name.shard, Op::Delete { key: name.key.clone(), condition: Condition::Always });
        run(self, names.iter().map(delete)).await.map(|_| ())
    }
}
