//! The object of the clinic.
//!
//! Invariant: the alarm is set before anything is committed that has to be brought elsewhere, so that a death between the
//! two leaves an alarm and not a loss.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use worker::{DurableObject, Env, Request, Response, Result, State, console_error, durable_object};

use super::call;
use super::platform::Edge;
use super::sql::ObjectSql;
use crate::clinic::courier::{self, Courier};
use crate::clinic::{self, ClinicRequest};
use crate::error::Error;
use crate::time::Clock;

/// How long after a commit the alarm looks whether all of it arrived.
const SWEEP: Duration = Duration::from_millis(1_500);
/// After a vain sweep the next one comes twice as late, at most 2^5 times as late as the first.
const DOUBLINGS: u32 = 5;

/// The clinic: records, heads, accounts, outbox, audit trail.
#[durable_object]
pub struct Clinic {
    inner: Rc<Inner>,
}

struct Inner {
    state: State,
    sql: ObjectSql,
    edge: Edge,
    courier: Courier,
    prepared: Cell<bool>,
    /// Whether an alarm is known to be set.
    armed: Cell<bool>,
    /// Sweeps in a row after which something was still owed.
    vain: Cell<u32>,
}

impl Inner {
    fn prepare(&self) -> crate::error::Result<()> {
        if !self.prepared.get() {
            clinic::prepare(&self.sql)?;
            self.prepared.set(true);
        }
        Ok(())
    }

    async fn arm(&self, after: Duration) -> crate::error::Result<()> {
        if self.armed.replace(true) {
            return Ok(());
        }
        let set = self.state.storage().set_alarm(after).await;
        set.map_err(|error| {
            self.armed.set(false);
            console_error!("the alarm could not be set: {error}");
            Error::unavailable("nothing was written, because its delivery could not be made sure of; try again")
        })
    }

    async fn bring(&self) -> bool {
        match self.courier.run(&self.sql, &self.edge).await {
            Ok(nothing_owed) => nothing_owed,
            Err(error) => {
                console_error!("the courier failed: {error}");
                false
            }
        }
    }
}

impl DurableObject for Clinic {
    fn new(state: State, env: Env) -> Self {
        let inner = Inner {
            sql: ObjectSql::of(&state),
            edge: Edge::new(env),
            state,
            courier: Courier::default(),
            prepared: Cell::new(false),
            armed: Cell::new(false),
            vain: Cell::new(0),
        };
        Clinic { inner: Rc::new(inner) }
    }

    async fn fetch(&self, mut request: Request) -> Result<Response> {
        let inner = &self.inner;
        let asked: crate::error::Result<ClinicRequest> = call::question(&mut request).await;
        let owes = asked.as_ref().is_ok_and(ClinicRequest::may_owe);
        let armed = if owes { inner.arm(SWEEP).await } else { Ok(()) };
        let answer = armed
            .and_then(|()| inner.prepare())
            .and(asked)
            .and_then(|asked| clinic::handle(&inner.sql, &inner.edge, inner.edge.now(), &asked));
        if owes && answer.is_ok() {
            let inner = Rc::clone(inner);
            self.inner.state.wait_until(async move {
                inner.bring().await;
            });
        }
        call::answer(&answer)
    }

    async fn alarm(&self) -> Result<Response> {
        let inner = &self.inner;
        inner.armed.set(false);
        let failed = |error: Error| worker::Error::RustError(error.to_string());
        inner.prepare().map_err(failed)?;
        if !courier::owes(&inner.sql).map_err(failed)? {
            inner.vain.set(0);
            return Response::empty();
        }
        // The next alarm is set before this one tries: the platform repeats an alarm that fails only a few times.
        let vain = inner.vain.get();
        inner.vain.set(vain.saturating_add(1).min(DOUBLINGS));
        inner.arm(SWEEP.saturating_mul(2_u32.saturating_pow(vain))).await.map_err(failed)?;
        if inner.bring().await {
            inner.vain.set(0);
        }
        Response::empty()
    }
}
