//! What keeps sessions, leases and cached views, as the settings say.

use std::rc::Rc;

use worker::Env;

use super::boundary::Keeper;
use super::call;
use super::outgoing::Outgoing;
use crate::config::Config;
use crate::config::stores::On;
use crate::error::{Error, Kind, Result};
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

/// What keeps what.
#[derive(Clone)]
pub struct Keepers {
    /// Sessions and standings.
    pub sessions: Backend,
    /// Leases and fences.
    pub leases: Backend,
    /// Cached views.
    pub cache: Backend,
}

impl Keepers {
    /// The backends that the settings name.
    pub fn new(env: &Rc<Env>, keeper: Keeper, config: Option<&Config>) -> Keepers {
        let Some(stores) = config.map(|config| &config.stores) else {
            return Keepers { sessions: Backend::Unset, leases: Backend::Unset, cache: Backend::Unset };
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
        Keepers { sessions: on(stores.sessions), leases: on(stores.leases), cache: on(stores.cache) }
    }
}
