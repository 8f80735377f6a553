//! Bytes on Workers KV. Never a store: KV is eventually consistent (a minute or more, also for what is not there) and has no
//! compare-and-swap.
//!
//! Invariant: a value's own expiry stands before it and is judged where it is read, to the millisecond; KV's own, which
//! knows whole seconds from sixty on, only sweeps.
//!
//! Leases on KV do not compile:
//!
//! ```compile_fail,E0277
//! use bedside::store::{Store, kv::{Kv, Namespace}};
//! use bedside::time::Clock;
//! fn leases(_: &impl Store) {}
//! fn kv_will_not_do<N: Namespace + Clock>(kv: &Kv<N>) {
//!     leases(kv)
//! }
//! ```

use std::future::Future;

use super::bytes::{Bytes, Cached, Name};
use crate::error::Result;
use crate::outgoing::join_all;
use crate::time::{Clock, Ttl, UnixMillis};

/// The shortest time that KV keeps something for.
const SHORTEST: Ttl = Ttl::from_secs(60);

/// One namespace of Workers KV.
pub trait Namespace {
    /// The value under `name`.
    fn get(&self, name: &str) -> impl Future<Output = Result<Option<Vec<u8>>>>;
    /// Writes a value that may be swept after `ttl`, at least 60 s.
    fn put(&self, name: &str, value: &[u8], ttl: Ttl) -> impl Future<Output = Result<()>>;
    /// Removes what is under `name`.
    fn delete(&self, name: &str) -> impl Future<Output = Result<()>>;
}

/// Bytes in one namespace.
#[derive(Clone, Debug)]
pub struct Kv<N>(pub N);

fn full(name: &Name) -> String {
    format!("{}/{}", name.shard.name(), name.key)
}

/// The value as it is kept: its expiry in eight bytes, then itself.
fn seal(cached: &Cached) -> Vec<u8> {
    [&cached.expires.0.to_be_bytes(), cached.value.as_slice()].concat()
}

fn open(kept: &[u8]) -> Option<Cached> {
    let (expires, value) = kept.split_first_chunk::<8>()?;
    Some(Cached { value: value.to_vec(), expires: UnixMillis(u64::from_be_bytes(*expires)) })
}

impl<N: Namespace + Clock> Bytes for Kv<N> {
    async fn read(&self, names: &[Name]) -> Result<Vec<Option<Cached>>> {
        let found = join_all(names.iter().map(|name| async move { self.0.get(&full(name)).await })).await;
        let found = found.into_iter().collect::<Result<Vec<_>>>()?;
        let now = self.0.now();
        let live = |kept: Option<Vec<u8>>| open(&kept?).filter(|cached| now < cached.expires);
        Ok(found.into_iter().map(live).collect())
    }

    async fn write(&self, values: Vec<(Name, Cached)>) -> Result<()> {
        let now = self.0.now();
        let put = |(name, cached): (Name, Cached)| async move {
            self.0.put(&full(&name), &seal(&cached), now.until(cached.expires).max(SHORTEST)).await
        };
        join_all(values.into_iter().map(put)).await.into_iter().collect()
    }

    async fn delete(&self, names: &[Name]) -> Result<()> {
        let deleted = join_all(names.iter().map(|name| async move { self.0.delete(&full(name)).await })).await;
        deleted.into_iter().collect()
    }
}
