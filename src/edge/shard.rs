//! The object of one shard of the store: sessions, standings, leases and cached views of the owners that fall on it.

use wasm_bindgen::prelude::wasm_bindgen;
use worker::worker_sys::DurableObjectState;
use worker::{Env, State};

use super::call;
use super::platform::Edge;
use super::sql::ObjectSql;
use crate::error::Error;
use crate::store::sql_store;
use crate::time::Clock;

/// One shard. It answers within the turn in which it is asked, so that nothing can be under way in it.
#[wasm_bindgen]
pub struct Shard {
    sql: ObjectSql,
    edge: Edge,
    prepared: Result<(), Error>,
}

#[wasm_bindgen]
impl Shard {
    /// The shard with this state.
    #[wasm_bindgen(constructor)]
    pub fn new(state: DurableObjectState, env: Env) -> Shard {
        let sql = ObjectSql::of(&State::from(state));
        Shard { prepared: sql_store::prepare(&sql), sql, edge: Edge::of_object(env) }
    }

    /// Answers a message.
    pub fn handle(&self, message: &[u8]) -> Vec<u8> {
        let batch = self.prepared.clone().and_then(|()| call::question::<Vec<_>>(message));
        call::answer(&batch.and_then(|batch| sql_store::apply(&self.sql, self.edge.now(), &batch)))
    }
}
