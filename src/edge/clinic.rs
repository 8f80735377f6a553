//! The object of the clinic.
//!
//! Invariant: the alarm is set before anything is committed that has to be brought elsewhere, so that a death between the
//! two leaves an alarm and not a loss.

use std::cell::Cell;
use std::rc::Rc;

use wasm_bindgen::prelude::{JsValue, wasm_bindgen};
use worker::worker_sys::DurableObjectState;
use worker::{Env, State, console_error};

use super::alarm::Alarm;
use super::platform::{self, Edge};
use super::sql::ObjectSql;
use super::{call, settings, task};
use crate::chart::cache::read::Ports;
use crate::chart::holds::HOLDS;
use crate::clinic::courier::{self, Courier};
use crate::clinic::{self, Away, ClinicReply, ClinicRequest, Desk, Handled, watch};
use crate::config::alerts::Rules;
use crate::error::{Error, Result};
use crate::session::Lifetimes;
use crate::session::registry;
use crate::store::agenda;
use crate::time::{Clock, Ttl};
use crate::vitals::watch::Watch;

/// On the agenda: the courier looks whether all that is owed arrived.
const SWEEP: &str = "sweep";
/// How long after a commit the first sweep comes.
const SWEEP_AFTER: Ttl = Ttl(1_500);
/// After a vain sweep the next one comes twice as late, at most 2^5 times as late as the first.
const DOUBLINGS: u32 = 5;

/// The clinic: records, heads, accounts, outbox, audit trail.
#[wasm_bindgen]
pub struct Clinic {
    inner: Rc<Inner>,
}

struct Inner {
    state: State,
    sql: ObjectSql,
    edge: Edge,
    courier: Courier,
    desk: Desk,
    watch: Watch,
    prepared: Cell<bool>,
    alarm: Alarm,
    /// Sweeps in a row after which something was still owed.
    vain: Cell<u32>,
}

impl Inner {
    fn prepare(&self) -> Result<()> {
        if !self.prepared.get() {
            clinic::prepare(&self.sql)?;
            if let Some(restored) = self.edge.restored() {
                clinic::catch_up(&self.sql, &self.edge, self.edge.now(), restored)?;
            }
            self.prepared.set(true);
        }
        Ok(())
    }

    /// Makes sure of a sweep, before something is committed that has to be brought elsewhere.
    async fn arm(&self) -> Result<()> {
        self.prepare()?;
        agenda::by(&self.sql, SWEEP, self.edge.now().plus(SWEEP_AFTER))?;
        self.alarm.keep(&self.state, &self.sql).await
    }

    fn answer(&self, asked: &ClinicRequest) -> Result<Handled> {
        self.prepare()?;
        clinic::handle(&self.sql, &self.desk, &self.edge, &self.watch, self.edge.now(), asked)
    }

    /// Answers what may leave something to bring, and brings it once the answer is on its way.
    async fn change(self: Rc<Self>, asked: ClinicRequest) -> Result<ClinicReply> {
        self.arm().await?;
        let answer = match self.edge.heads() {
            Some(heads) => clinic::handle_apart(&self.sql, &self.desk, &self.watch, heads, &self.edge, &asked).await,
            None => self.answer(&asked),
        };
        let Handled { reply, wait } = answer?;
        // In the same turn as the commit, so that both are kept or neither is.
        self.alarm.keep(&self.state, &self.sql).await?;
        if wait > Ttl(0) {
            self.edge.pause(wait).await;
        }
        let inner = Rc::clone(&self);
        self.state.wait_until(async move {
            futures_util::join!(inner.tell(), inner.bring());
        });
        Ok(reply)
    }

    /// Tells whoever has yet to hear of an end.
    async fn tell(&self) {
        if let Err(error) = self.courier.tell(&self.sql, &self.edge).await {
            console_error!("the courier failed: {error}");
        }
    }

    async fn bring(&self) -> bool {
        match self.courier.run(&self.sql, &self.edge, self.desk.bar(self.edge.now())).await {
            Ok(nothing_owed) => nothing_owed,
            Err(error) => {
                console_error!("the courier failed: {error}");
                false
            }
        }
    }

    /// The sweep that is due.
    async fn sweep(&self) -> Result<()> {
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

    fn lifetimes(&self) -> Result<Lifetimes> {
        match settings(self.edge.env()).as_ref() {
            Ok(config) => Ok(Lifetimes::of(config)),
            Err(_) => Err(Error::unavailable("the settings are incomplete")),
        }
    }

    /// Does what is due.
    async fn wake(self: &Rc<Self>) -> Result<()> {
        self.prepare()?;
        let due = self.alarm.rang(&self.sql, self.edge.now(), SWEEP_AFTER)?;
        self.alarm.keep(&self.state, &self.sql).await?;
        let mut owes = false;
        for what in due {
            match what.as_str() {
                SWEEP => self.sweep().await?,
                registry::WATCH => {
                    self.arm().await?;
                    watch::run(&self.sql, &self.edge, self.lifetimes()?).await?;
                    self.alarm.keep(&self.state, &self.sql).await?;
                    futures_util::join!(self.tell(), self.bring());
                }
                registry::TELL if registry::owes(&self.sql)? => {
                    let again = self.edge.now().plus(registry::TELL_AGAIN);
                    agenda::set(&self.sql, registry::TELL, Some(again))?;
                    self.alarm.keep(&self.state, &self.sql).await?;
                    // Not waited for: while one topic hangs, the others are told again in time.
                    let inner = Rc::clone(self);
                    self.state.wait_until(async move { inner.tell().await });
                }
                HOLDS => clinic::holds::wake(&self.sql, &self.edge, |asked| Rc::clone(self).change(asked)).await?,
                what => {
                    agenda::by(&self.sql, SWEEP, self.edge.now().plus(SWEEP_AFTER))?;
                    clinic::wake(&self.sql, &self.edge, &self.watch, self.edge.now(), what)?;
                    owes = true;
                }
            }
        }
        if owes {
            self.bring().await;
        }
        self.alarm.keep(&self.state, &self.sql).await
    }
}

#[wasm_bindgen]
impl Clinic {
    /// The clinic with this state.
    #[wasm_bindgen(constructor)]
    pub fn new(state: DurableObjectState, env: Env) -> Clinic {
        let state = State::from(state);
        // Without settings nothing is served, and no request comes here.
        let settings = settings(&env);
        let settings = settings.as_ref().as_ref();
        let rules = settings.map_or(Rules::default(), |config| config.alerts);
        let lease = settings.map_or(Ttl(0), |config| config.cache.lease);
        let away = settings.ok().filter(|config| config.origin.is_some());
        let away = away.map(|config| Away { fresh: config.cache.ttl, stale: config.cache.stale.longest });
        let inner = Inner {
            sql: ObjectSql::of(&state),
            watch: Watch::new(rules),
            edge: Edge::of_object(env),
            state,
            courier: Courier::default(),
            desk: Desk::new(lease, platform::now()).away(away),
            prepared: Cell::new(false),
            alarm: Alarm::default(),
            vain: Cell::new(0),
        };
        Clinic { inner: Rc::new(inner) }
    }

    /// Answers a message: at once, or by a promise where it has to wait for the alarm to be set.
    pub fn handle(&self, message: &[u8]) -> std::result::Result<JsValue, JsValue> {
        match call::question::<ClinicRequest>(message) {
            Ok(asked) if asked.may_owe(&self.inner.watch, self.inner.edge.now()) => {
                let inner = Rc::clone(&self.inner);
                task::answer(async move { call::answer(&inner.change(asked).await) })
            }
            asked => {
                let answered = asked.and_then(|asked| self.inner.answer(&asked)).map(|handled| handled.reply);
                Ok(task::written(&call::answer(&answered)))
            }
        }
    }

    /// Does what is due.
    pub fn alarm(&self) -> std::result::Result<JsValue, JsValue> {
        let inner = Rc::clone(&self.inner);
        task::alarm(async move { inner.wake().await })
    }
}
