//! The one alarm of an object, set for whatever on its agenda is due first.

use std::cell::Cell;

use wasm_bindgen::prelude::JsValue;
use worker::{ScheduledTime, State, console_error, js_sys};

use crate::error::{Error, Result};
use crate::store::agenda;
use crate::store::sql::Sql;
use crate::time::{Ttl, UnixMillis};

/// The alarm of one object, in its memory.
#[derive(Default)]
pub struct Alarm {
    /// For when it is known to be set.
    set: Cell<Option<UnixMillis>>,
}

impl Alarm {
    /// Has the alarm ring when the earliest on the agenda is due. Await this before committing what depends on it.
    pub async fn keep(&self, state: &State, sql: &impl Sql) -> Result<()> {
        let Some(at) = agenda::next(sql)? else { return Ok(()) };
        if self.set.get().is_some_and(|set| set <= at) {
            return Ok(());
        }
        self.set.set(Some(at));
        #[allow(clippy::cast_precision_loss, reason = "instants are below 2^53")]
        let date = js_sys::Date::new(&JsValue::from_f64(at.0 as f64));
        state.storage().set_alarm(ScheduledTime::new(date)).await.map_err(|error| {
            self.set.set(None);
            console_error!("the alarm could not be set: {error}");
            Error::unavailable("nothing was written, because its delivery could not be made sure of; try again")
        })
    }

    /// Call it first when the alarm rings, then [`Alarm::keep`]: gives what is due at `now`. Each will be due again after
    /// `retry` unless it is put elsewhere on the agenda, or cleared, once it is done: the platform repeats an alarm that
    /// fails only a few times.
    pub fn rang(&self, sql: &impl Sql, now: UnixMillis, retry: Ttl) -> Result<Vec<String>> {
        self.set.set(None);
        agenda::take(sql, now, retry)
    }
}
