//! What keeps sessions, leases and cached views, as the settings say.

use std::rc::Rc;

use worker::Env;

use super::boundary::Keeper;
use super::call;
use super::kv::CacheNamespace;
use super::leases::{LeaseCall, LeaseReply, WATCH};
use super::outgoing::Outgoing;
use crate::chart::cache::apart::Heads;
use crate::config::Config;
use crate::config::stores::{CacheOn, On};
use crate::error::{Error, Kind, Result};
use crate::lease::redis::{RedisLeases, Room};
use crate::lease::{Answer, Ask, Lease, LeaseName, Leases, Ticket, Turn};
use crate::store::bytes::{Bytes, Cached, Name};
use crate::store::kv::Kv;
use crate::store::redis::{Judge, Link, Redis};
use crate::store::{Applied, Op, Shard, Store};
use crate::time::Ttl;

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

fn unexpected() -> Error {
    Error::internal("the leases' object answered something else than was asked")
}

impl Objects {
    async fn lease(&self, object: &str, call: &LeaseCall) -> Result<LeaseReply> {
        // What waits for a turn outlives the time that requests have for their calls.
        let keeper = if call.waits() { Keeper::Timer } else { self.keeper };
        call::ask(&self.env, ("LEASES", object), keeper, call, call.is_change()).await
    }
}

impl Leases for Objects {
    async fn ask(&self, name: &LeaseName, ask: Ask) -> Result<Answer> {
        let call = LeaseCall::Ask { name: name.clone(), ask };
        match self.lease(&Shard::of(name.as_str()).name(), &call).await? {
            LeaseReply::Answer(answer) => Ok(answer),
            LeaseReply::Woken(_) | LeaseReply::Done => Err(unexpected()),
        }
    }
}

impl Room for Objects {
    async fn sleep(&self, name: &LeaseName, ticket: &Ticket, ttl: Ttl) -> Result<Option<Lease>> {
        let call = LeaseCall::Sleep { name: name.clone(), ticket: ticket.clone(), ttl };
        match self.lease(&Shard::of(name.as_str()).name(), &call).await? {
            LeaseReply::Woken(lease) => Ok(Some(lease)),
            _ => Ok(None),
        }
    }

    async fn wake(&self, name: &LeaseName, turn: Turn) -> Result<()> {
        let call = LeaseCall::Wake { name: name.clone(), turn };
        self.lease(&Shard::of(name.as_str()).name(), &call).await.map(drop)
    }

    async fn watch(&self) -> Result<()> {
        self.lease(WATCH, &LeaseCall::Watch).await.map(drop)
    }
}

/// What keeps leases, whichever it is.
#[derive(Clone)]
pub enum LeaseBackend {
    /// The objects of this Worker.
    Objects(Objects),
    /// Redis over HTTP.
    Redis(RedisLeases<Outgoing, Objects, Objects>),
    /// None, because the settings are wrong.
    Unset,
}

impl Leases for LeaseBackend {
    async fn ask(&self, name: &LeaseName, ask: Ask) -> Result<Answer> {
        match self {
            LeaseBackend::Objects(objects) => objects.ask(name, ask).await,
            LeaseBackend::Redis(redis) => redis.ask(name, ask).await,
            LeaseBackend::Unset => Err(unset()),
        }
    }
}

fn unset() -> Error {
    Error::new(Kind::Misconfigured, "the settings do not say where this is kept")
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
            Backend::Unset => Err(unset()),
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
    pub leases: LeaseBackend,
    /// Cached views.
    pub cache: Cache,
    /// Patients' heads, where they are not kept with the records.
    pub heads: Option<Heads<Backend>>,
}

impl Keepers {
    /// The backends that the settings name.
    pub fn new(env: &Rc<Env>, keeper: Keeper, config: Option<&Config>) -> Keepers {
        let Some(config) = config else {
            let (sessions, leases) = (Backend::Unset, LeaseBackend::Unset);
            return Keepers { sessions, leases, cache: Cache::Store(Backend::Unset), heads: None };
        };
        let (stores, restored) = (&config.stores, config.restored);
        // One for all: what they read in the same turn goes out as one request.
        let redis = stores.redis.as_ref();
        let redis =
            redis.map(|access| Redis::new(Outgoing(keeper), Rc::clone(access), LINK.with(Rc::clone), Judge::Redis));
        let objects = Objects { env: Rc::clone(env), keeper };
        let on = |on: On| match on {
            On::Objects => Backend::Objects(objects.clone()),
            On::Redis => redis.clone().map_or(Backend::Unset, Backend::Redis),
        };
        let cache = match stores.cache {
            CacheOn::Store(store) => Cache::Store(on(store)),
            CacheOn::Kv => Cache::Kv(Kv(CacheNamespace::new(env))),
        };
        let leases = match (stores.leases, &redis) {
            (On::Objects, _) => LeaseBackend::Objects(objects.clone()),
            (On::Redis, Some(redis)) => {
                LeaseBackend::Redis(RedisLeases::new(redis.clone(), objects.clone(), objects.clone(), restored))
            }
            (On::Redis, None) => LeaseBackend::Unset,
        };
        let heads = (stores.heads == On::Redis).then(|| Heads::new(on(On::Redis), config.cache.names, restored));
        Keepers { sessions: on(stores.sessions), leases, cache, heads }
    }
}
