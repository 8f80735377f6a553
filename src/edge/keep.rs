//! What keeps sessions, leases and cached views.

use std::rc::Rc;

use worker::Env;

use super::boundary::Keeper;
use super::call;
use crate::config::stores::{CacheOn, On};
use crate::config::{Config, Problem};
use crate::error::Result;
use crate::store::{Applied, Op, Shard, Store};

/// The objects of the shards.
#[derive(Clone)]
pub struct Objects {
    env: Rc<Env>,
    keeper: Keeper,
}

impl Objects {
    /// The objects behind these bindings.
    pub fn new(env: &Rc<Env>, keeper: Keeper) -> Objects {
        Objects { env: Rc::clone(env), keeper }
    }
}

impl Store for Objects {
    async fn apply(&self, shard: Shard, batch: Vec<Op>) -> Result<Applied> {
        let is_change = batch.iter().any(|op| matches!(op, Op::Put { .. } | Op::Delete { .. }));
        call::ask(&self.env, ("SHARDS", &shard.name()), self.keeper, &batch, is_change).await
    }
}

/// Refuses the settings that name a backend which this version does not have.
pub fn refuse_unbuilt(config: Config) -> std::result::Result<Config, Vec<Problem>> {
    let stores = &config.stores;
    let elsewhere = [
        ("SESSIONS_ON", stores.sessions != On::Objects),
        ("LEASES_ON", stores.leases != On::Objects),
        ("CACHE_ON", stores.cache != CacheOn::Store(On::Objects)),
    ];
    let refused = elsewhere.into_iter().filter(|(_, elsewhere)| *elsewhere).map(|(setting, _)| Problem {
        setting,
        sentence: format!("{setting} must be objects: no other backend is built yet"),
    });
    let problems: Vec<_> = refused.collect();
    if problems.is_empty() { Ok(config) } else { Err(problems) }
}
