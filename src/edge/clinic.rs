//! The object of the clinic.
//!
//! Invariant: the alarm is set before anything is committed that has to be brought elsewhere, so that a death between the
//! two leaves an alarm and not a loss.

use std::cell::Cell;
use std::rc::Rc;

use worker::{DurableObject, Env, Request, Response, Result, State, console_error, durable_object};

use super::alarm::Alarm;
use super::call;
use super::platform::Edge;
use super::sql::ObjectSql;
use crate::clinic::courier::{self, Courier};
use crate::clinic::{self, ClinicRequest};
use crate::store::agenda;
use crate::time::{Clock, Ttl};

/// On the agenda: the courier looks whether all that is owed arrived.
const SWEEP: &str = "sweep";
/// How long after a commit the first sweep comes.
const SWEEP_AFTER: Ttl = Ttl(1_500);
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
    alarm: Alarm,
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

    /// Makes sure of a sweep, before something is committed that has to be brought elsewhere.
    async fn arm(&self) -> crate::error::Result<()> {
        self.prepare()?;
        agenda::by(&self.sql, SWEEP, self.edge.now().plus(SWEEP_AFTER))?;
        self.alarm.keep(&self.state, &self.sql).await
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

    /// The sweep that is due.
    async fn sweep(&self) -> crate::error::Result<()> {
        if !courier::owes(&self.sql)? {
            self.vain.set(0);
            return agenda::set(&self.sql, SWEEP, None);
        }
        // The next one is sure before this one tries, and what is committed meanwhile can bring it forward.
        let vain = self.vain.get();
        self.vain.set(vain.saturating_add(1).min(DOUBLINGS));
        let after = Ttl(SWEEP_AFTER.0.saturating_mul(2_u64.saturating_pow(vain)));
        agenda::set(&self.sql, SWEEP, Some(self.edge.now().plus(after)))?;
        self.alarm.keep(&self.state, &self.sql).await?;
        if self.bring().await {
            self.vain.set(0);
        }
        Ok(())
    }

    /// Does what is due.
    async fn wake(&self) -> crate::error::Result<()> {
        self.prepare()?;
        let due = self.alarm.rang(&self.sql, self.edge.now(), SWEEP_AFTER)?;
        self.alarm.keep(&self.state, &self.sql).await?;
        for what in due {
            match what.as_str() {
                SWEEP => self.sweep().await?,
                // Put there by a version of the program that knew more.
                _ => agenda::set(&self.sql, &what, None)?,
            }
        }
        self.alarm.keep(&self.state, &self.sql).await
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
            alarm: Alarm::default(),
            vain: Cell::new(0),
        };
        Clinic { inner: Rc::new(inner) }
    }

    async fn fetch(&self, mut request: Request) -> Result<Response> {
        let inner = &self.inner;
        let asked: crate::error::Result<ClinicRequest> = call::question(&mut request).await;
        let owes = asked.as_ref().is_ok_and(ClinicRequest::may_owe);
        let armed = if owes { inner.arm().await } else { Ok(()) };
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
        self.inner.wake().await.map_err(|error| worker::Error::RustError(error.to_string()))?;
        Response::empty()
    }
}
