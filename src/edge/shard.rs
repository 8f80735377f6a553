//! The object of one shard of the store.

use worker::{DurableObject, Env, Request, Response, Result, State, durable_object};

use super::call;
use super::platform::Edge;
use super::sql::ObjectSql;
use crate::store::sql_store;
use crate::time::Clock;

/// One shard: sessions, standings, leases and cached views of the owners that fall on it.
#[durable_object]
pub struct Shard {
    sql: ObjectSql,
    edge: Edge,
}

impl DurableObject for Shard {
    fn new(state: State, env: Env) -> Self {
        Shard { sql: ObjectSql::of(&state), edge: Edge::new(env) }
    }

    async fn fetch(&self, mut request: Request) -> Result<Response> {
        let batch = call::question::<Vec<_>>(&mut request).await;
        let answer = batch.and_then(|batch| {
            sql_store::prepare(&self.sql)?;
            sql_store::apply(&self.sql, self.edge.now(), &batch)
        });
        call::answer(&answer)
    }
}
