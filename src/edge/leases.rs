//! The object of one shard of leases: their rows, whoever waits for one, and the alarm that ends them. Where leases are kept
//! in Redis, it is where they are waited for, and one such object looks after those that end by themselves.
//!
//! Invariant: a call that waits is woken in the turn in which its lease was passed to it. The alarm is set in the turn that
//! commits a lease, so that a death between the two leaves both or neither; what holders have to be told is committed with
//! the loss and brought until their topics have it.

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{Either, select};
use serde::{Deserialize, Serialize};
use wasm_bindgen::prelude::{JsValue, wasm_bindgen};
use worker::worker_sys::DurableObjectState;
use worker::{Delay, Env, State, console_error};

use super::keep::{LeaseBackend, Objects};
use super::outgoing::Outgoing;
use super::platform::Edge;
use super::sql::ObjectSql;
use super::{call, task};
use crate::clinic::courier::Outside;
use crate::clinic::notices;
use crate::error::Result;
use crate::lease::hub::Hub;
use crate::lease::redis::RedisLeases;
use crate::lease::sql::{self, Asked};
use crate::lease::{Answer, Ask, LONGEST_CALL, Lease, LeaseName, Loss, Ticket, Told, Turn, several};
use crate::time::{Clock, Ttl, UnixMillis};

/// When to try again to bring what was not taken.
const AGAIN: Ttl = Ttl(1_500);
/// Leases that end in one turn, and losses that are brought at once.
const AT_ONCE: u64 = 64;

/// The object that watches over the leases in Redis.
pub const WATCH: &str = "watch";
/// How often it looks, while there is a lease that could end, and so often more: where leases come and go, not each grant has
/// to ask for it anew.
const LOOK: Ttl = Ttl::from_secs(1);
const MORE: u64 = 60;

/// What the object is asked.
#[derive(Serialize, Deserialize)]
pub enum LeaseCall {
    /// One transition of a lease that is kept here.
    Ask {
        /// Of which name.
        name: LeaseName,
        /// What.
        ask: Ask,
    },
    /// Waits until a lease in Redis has passed to `ticket`.
    Sleep {
        /// Which lease.
        name: LeaseName,
        /// Who waits.
        ticket: Ticket,
        /// At most for so long.
        ttl: Ttl,
    },
    /// A lease in Redis has passed on.
    Wake {
        /// Which lease.
        name: LeaseName,
        /// To whom.
        turn: Turn,
    },
    /// Watches over the leases in Redis from now on.
    Watch,
}

impl LeaseCall {
    /// Whether it may be kept open.
    pub fn waits(&self) -> bool {
        matches!(self, LeaseCall::Ask { ask: Ask::Grant { wait: Some(_), .. }, .. } | LeaseCall::Sleep { .. })
    }

    /// Whether a lost answer leaves it open what happened.
    pub fn is_change(&self) -> bool {
        matches!(self, LeaseCall::Ask { ask, .. } if ask.is_change())
    }
}

/// What the object answers.
#[derive(Serialize, Deserialize)]
pub enum LeaseReply {
    /// Of an ask.
    Answer(Answer),
    /// The lease that passed to whoever slept.
    Woken(Lease),
    /// Of everything else.
    Done,
}

/// One shard of leases.
#[wasm_bindgen]
pub struct Leases {
    inner: Rc<Inner>,
}

struct Inner {
    state: State,
    sql: ObjectSql,
    edge: Edge,
    hub: Hub,
    prepared: Cell<bool>,
    /// For when the alarm is known to be set.
    armed: Cell<Option<UnixMillis>>,
    /// How often it was asked to watch.
    watched: Cell<u64>,
    /// How often in a row it has looked and found nothing.
    idle: Cell<u64>,
}

impl Inner {
    fn prepare(&self) -> Result<()> {
        if !self.prepared.get() {
            sql::prepare(&self.sql)?;
            if let Some(restored) = self.edge.restored() {
                sql::catch_up(&self.sql, restored)?;
            }
            self.prepared.set(true);
        }
        Ok(())
    }

    /// Sets the alarm if it is not set for as early. It has to be called in the turn of the commit: what is written and set
    /// without a wait in between is kept together.
    async fn arm(&self, due: Option<UnixMillis>) {
        let Some(due) = due.filter(|due| self.armed.get().is_none_or(|armed| *due < armed)) else { return };
        self.armed.set(Some(due));
        let after = Duration::from_millis(self.edge.now().until(due).0);
        if let Err(error) = self.state.storage().set_alarm(after).await {
            self.armed.set(None);
            console_error!("the alarm of the leases could not be set: {error}");
        }
    }

    /// One transition, and its wake-ups.
    async fn step(self: &Rc<Self>, name: &LeaseName, ask: &Ask) -> Result<Answer> {
        let Asked { answer, turns, due, owes } = sql::ask(&self.sql, self.edge.now(), name, ask)?;
        for turn in turns {
            self.pass_on(name, turn);
        }
        if owes {
            let inner = Rc::clone(self);
            self.state.wait_until(async move {
                inner.bring().await;
            });
        }
        self.arm(if owes { Some(self.edge.now().plus(AGAIN)) } else { due }).await;
        Ok(answer)
    }

    async fn handle(self: &Rc<Self>, call: LeaseCall) -> Result<LeaseReply> {
        match call {
            LeaseCall::Ask { name, ask } => return self.ask(name, ask).await.map(LeaseReply::Answer),
            LeaseCall::Sleep { name, ticket, ttl } => {
                let asleep = pin!(self.hub.sleep(&name, &ticket));
                if let Either::Left((lease, _)) = select(asleep, Delay::from(Duration::from_millis(ttl.0))).await {
                    return Ok(LeaseReply::Woken(lease));
                }
            }
            LeaseCall::Wake { name, turn } => self.pass_on(&name, turn),
            LeaseCall::Watch => {
                self.watched.set(self.watched.get().saturating_add(1));
                self.arm(Some(self.edge.now().plus(LOOK))).await;
            }
        }
        Ok(LeaseReply::Done)
    }

    async fn ask(self: &Rc<Self>, name: LeaseName, mut ask: Ask) -> Result<Answer> {
        self.prepare()?;
        let mut answer = self.step(&name, &ask).await?;
        let Ask::Grant { asker, request_id, wait: Some(wait), .. } = &ask else { return Ok(answer) };
        let ticket = Ticket { user: asker.user.clone(), request_id: request_id.clone() };
        let mut left = (*wait).min(LONGEST_CALL);
        while let Told::Held { lease, .. } = &answer.told
            && left.0 > 0
        {
            // A lease that ends by itself is passed on by whoever looks first.
            let nap = left.min(Ttl(answer.at.until(lease.expires).0.saturating_add(1)));
            let asleep = pin!(self.hub.sleep(&name, &ticket));
            match select(asleep, Delay::from(Duration::from_millis(nap.0))).await {
                // What has passed to it since it last looked is what another look would find.
                Either::Left((passed, _)) if passed.fence > lease.fence && passed.expires > self.edge.now() => {
                    let at = passed.granted;
                    return Ok(Answer { told: Told::Granted { lease: passed, again: true }, at });
                }
                Either::Left(_) => {}
                Either::Right(_) => {
                    left = Ttl(left.0.saturating_sub(nap.0));
                    ask.waited(nap);
                }
            }
            answer = self.step(&name, &ask).await?;
        }
        Ok(answer)
    }

    /// Wakes the call of whoever's turn it is, or tells it on its channel. The lease is held out to it for a second, so that
    /// there is nothing to be brought later.
    fn pass_on(self: &Rc<Self>, name: &LeaseName, turn: Turn) {
        if !turn.pushed {
            return self.hub.wake(name, turn);
        }
        let (inner, name) = (Rc::clone(self), name.clone());
        self.state.wait_until(async move {
            if let Err(error) = notices::lease_granted(&inner.edge, &name, &turn.lease).await {
                console_error!("a turn could not be told of: {error}");
            }
        });
    }

    /// Tells the holders, and releases what was abandoned.
    async fn tell(&self, losses: Vec<Loss>) -> Result<()> {
        for loss in &losses {
            if let Some(group) = several::abandoned(loss) {
                several::release(self.edge.leases(), group).await?;
            }
            notices::lease_lost(&self.edge, loss).await?;
        }
        Ok(())
    }

    /// Brings what holders have to be told.
    async fn bring(&self) {
        let brought = async {
            loop {
                let losses = sql::losses(&self.sql, AT_ONCE)?;
                let Some(last) = losses.last().map(|(last, _)| *last) else { return Ok(()) };
                self.tell(losses.into_iter().map(|(_, loss)| loss).collect()).await?;
                sql::told(&self.sql, last)?;
            }
        };
        let brought: Result<()> = brought.await;
        let _ = brought.inspect_err(|error| console_error!("a lost lease could not be told of: {error}"));
    }

    /// Looks after the leases in Redis; gives when to look again, if ever.
    async fn look(&self, redis: &RedisLeases<Outgoing, Objects, Objects>) -> Result<Option<Ttl>> {
        let mut told = Vec::new();
        let is_last = self.idle.get() >= MORE;
        loop {
            let (losses, next) = redis.sweep(AT_ONCE, std::mem::take(&mut told), is_last).await?;
            if losses.is_empty() {
                self.idle.set(if next.is_some() || is_last { 0 } else { self.idle.get().saturating_add(1) });
                return Ok(next.or(Some(LOOK).filter(|_| !is_last)).map(|next| next.min(LOOK)));
            }
            let (texts, losses) = losses.into_iter().unzip();
            self.tell(losses).await?;
            told = texts;
        }
    }

    /// Does what is due.
    async fn wake(self: &Rc<Self>) -> Result<()> {
        self.armed.set(None);
        self.prepare()?;
        if let LeaseBackend::Redis(redis) = self.edge.leases() {
            // Set again before it is done: the platform repeats an alarm that fails only a few times.
            self.arm(Some(self.edge.now().plus(AGAIN))).await;
            let watched = self.watched.get();
            return match self.look(redis).await {
                // Asked meanwhile, it looks once more.
                Ok(None) if self.watched.get() != watched => Ok(()),
                Ok(None) => {
                    self.armed.set(None);
                    let off = self.state.storage().delete_alarm().await;
                    off.map_err(|error| super::platform_fault("an alarm could not be cleared", error))
                }
                Ok(Some(after)) => {
                    self.arm(Some(self.edge.now().plus(after))).await;
                    Ok(())
                }
                Err(error) => {
                    console_error!("the leases in Redis could not be looked after: {error}");
                    Ok(())
                }
            };
        }
        for (name, turn) in sql::sweep(&self.sql, self.edge.now(), AT_ONCE)? {
            self.pass_on(&name, turn);
        }
        let owes = !sql::losses(&self.sql, 1)?.is_empty();
        let next = sql::next_due(&self.sql)?;
        self.arm(if owes { Some(self.edge.now().plus(AGAIN)) } else { next }).await;
        self.bring().await;
        Ok(())
    }
}

#[wasm_bindgen]
impl Leases {
    /// The shard with this state.
    #[wasm_bindgen(constructor)]
    pub fn new(state: DurableObjectState, env: Env) -> Leases {
        let state = State::from(state);
        let inner = Inner {
            sql: ObjectSql::of(&state),
            edge: Edge::of_object(env),
            state,
            hub: Hub::default(),
            prepared: Cell::new(false),
            armed: Cell::new(None),
            watched: Cell::new(0),
            idle: Cell::new(0),
        };
        Leases { inner: Rc::new(inner) }
    }

    /// Answers a message: at once, or by a promise where it has to wait for something.
    pub fn handle(&self, message: &[u8]) -> std::result::Result<JsValue, JsValue> {
        let (inner, asked) = (Rc::clone(&self.inner), call::question::<LeaseCall>(message));
        task::answer(async move {
            let answered = async { inner.handle(asked?).await };
            call::answer(&answered.await)
        })
    }

    /// Does what is due.
    pub fn alarm(&self) -> std::result::Result<JsValue, JsValue> {
        let inner = Rc::clone(&self.inner);
        task::alarm(async move { inner.wake().await })
    }
}
