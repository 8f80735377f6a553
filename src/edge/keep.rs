//! What keeps sessions, leases and cached views, as the settings say.

use std::rc::Rc;

use worker::Env;

use super::boundary::Keeper;
use super::call;
use super::kv::CacheNamespace;
use super::outgoing::Outgoing;
use crate::config::Config;
use crate::config::stores::{CacheOn, On};
use crate::error::{Error, Kind, Result};
use crate::store::bytes::{Bytes, Cached, Name};
use crate::store::kv::Kv;
use crate::store::redis::{Judge, Link, Redis};
use crate::store::{Applied, Op, Shard, Store};

thread_local! {
    /// What this isolate knows of the Redis: numbers and a text, which may outlive a request.
    static LINK: Rc<Link> = Rc::default();
}

/// The objects of the shards.
#[derive(Clone)]
pub struct Objects {
    env: Rc<Env>,
    keeper: Keeper,
}

impl Store for Objects {
    async fn apply(&self, shard: Shard, batch: Vec<Op>) -> Result<Applied> {
        let is_change = batch.iter().any(Op::is_change);
        call::ask(&self.env, ("SHARDS", &shard.name()), self.keeper, &batch, is_change).await
    }
}

/// A store, whichever it is.
#[derive(Clone)]
pub enum Backend {
    /// The objects of this Worker.
    Objects(Objects),
    /// Redis over HTTP.
    Redis(Redis<Outgoing>),
    /// None, because the settings are wrong. Alarms go off also then: what they would bring to the wrong store stays.
    Unset,
}

impl Store for Backend {
    async fn apply(&self, shard: Shard, batch: Vec<Op>) -> Result<Applied> {
        match self {
            Backend::Objects(objects) => objects.apply(shard, batch).await,
            Backend::Redis(redis) => redis.apply(shard, batch).await,
            Backend::Unset => Err(Error::new(Kind::Misconfigured, "the settings do not say where this is kept")),
        }
    }
}

/// A cache, whichever it is.
#[derive(Clone)]
pub enum Cache {
    /// A store.
    Store(Backend),
    /// Workers KV.
    Kv(Kv<CacheNamespace>),
}

impl Bytes for Cache {
    async fn read(&self, names: &[Name]) -> Result<Vec<Option<Cached>>> {
        match self {
            Cache::Store(store) => store.read(names).await,
            Cache::Kv(kv) => kv.read(names).await,
        }
    }

    async fn write(&self, values: Vec<(Name, Cached)>) -> Result<()> {
        match self {
            Cache::Store(store) => store.write(values).await,
            Cache::Kv(kv) => kv.write(values).await,
        }
    }

    async fn delete(&self, names: &[Name]) -> Result<()> {
        match self {
            Cache::Store(store) => store.delete(names).await,
            Cache::Kv(kv) => kv.delete(names).await,
        }
    }
}

/// What keeps what.
#[derive(Clone)]
pub struct Keepers {
    /// Sessions and standings.
    pub sessions: Backend,
    /// Leases and fences.
    pub leases: Backend,
    /// Cached views.
    pub cache: Cache,
}

impl Keepers {
    /// The backends that the settings name.
    pub fn new(env: &Rc<Env>, keeper: Keeper, config: Option<&Config>) -> Keepers {
        let Some(stores) = config.map(|config| &config.stores) else {
            return Keepers { sessions: Backend::Unset, leases: Backend::Unset, cache: Cache::Store(Backend::Unset) };
        };
        // One for all: what they read in the same turn goes out as one request.
        let redis = stores
            .redis
            .as_ref()
            .map(|access| Backend::Redis(Redis::new(Outgoing, Rc::clone(access), LINK.with(Rc::clone), Judge::Redis)));
        let on = |on: On| match on {
            On::Objects => Backend::Objects(Objects { env: Rc::clone(env), keeper }),
            On::Redis => redis.clone().unwrap_or(Backend::Unset),
        };
        let cache = match stores.cache {
            CacheOn::Store(store) => Cache::Store(on(store)),
            CacheOn::Kv => Cache::Kv(Kv(CacheNamespace::new(env))),
        };
        Keepers { sessions: on(stores.sessions), leases: on(stores.leases), cache }
    }
}
