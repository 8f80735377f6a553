//! The store on Redis over HTTP, in the Upstash REST protocol.
//!
//! Invariant: every batch is one script call, judged by Redis's clock, so that Workers whose clocks differ never differ over
//! what has expired. A write is sent again only where it is certain that it was not carried out; where that cannot be said
//! it is `OutcomeUnknown`. No call outlives [`BUDGET`], retries and pauses included. An error never holds a command, a key or
//! a value.
//!
//! Reads that are asked for in the same turn (under one `join!`) go out as one request: whoever asks first takes the others
//! along. A request that needs a session, a head and an entry costs one round trip.
//!
//! What is asked of the Redis: one primary that answers every command, writes that stay once acknowledged, `noeviction`,
//! version 5 or later, and a clock that is kept in time.

pub mod protocol;
pub mod script;

use std::cell::RefCell;
use std::rc::Rc;

use futures_util::FutureExt;
use futures_util::future::{LocalBoxFuture, Shared};

use self::protocol::{Fate, Form, Refusal};
use self::script::{Call, Command};
use super::{Applied, Op, Shard, Store, turn};
use crate::config::stores::Redis as Access;
use crate::error::{Error, Kind, Result};
use crate::outgoing::breaker::{Breaker, Gate};
use crate::outgoing::{Http, Request, backoff};
use crate::time::Ttl;

/// The longest that a call takes, retries and pauses included.
pub const BUDGET: Ttl = Ttl::from_secs(3);
/// The longest that one try of a read takes. A write has one try and all the budget.
const TRY: Ttl = Ttl(1_400);
/// So often a call is tried, where it may be.
const TRIES: u32 = 3;
/// The pause before the second try is up to this, before the third up to twice this.
const PAUSE: Ttl = Ttl(50);
/// What names the state of the server that a reply was made from, so that the next request finds none older.
const SYNC_TOKEN: &str = "upstash-sync-token";

/// Who says what has expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judge {
    /// Redis, by its own clock.
    Redis,
    /// The caller's clock, sent along: for tests that drive it.
    Caller,
}

/// What the calls of one isolate know of the Redis. Outlives requests.
#[derive(Debug, Default)]
pub struct Link {
    breaker: Breaker,
    sync_token: RefCell<Option<String>>,
}

/// The store.
#[derive(Clone)]
pub struct Redis<H> {
    inner: Rc<Inner<H>>,
}

struct Inner<H> {
    http: H,
    access: Rc<Access>,
    link: Rc<Link>,
    judge: Judge,
    /// The reads of this turn.
    gathering: RefCell<Option<Gathering>>,
}

/// The outcome of each call, until its caller has taken it.
type Outcomes = Rc<RefCell<Vec<Option<Result<Applied>>>>>;

struct Gathering {
    calls: Rc<RefCell<Vec<Call>>>,
    run: Shared<LocalBoxFuture<'static, Outcomes>>,
}

fn away(after: Option<Ttl>) -> Error {
    Error::unavailable("the store does not answer; try again").retry_after(after.unwrap_or(Ttl::from_secs(1)))
}

/// The error of a call that is given up with this fate.
fn given_up(fate: &Fate, is_change: bool) -> Error {
    match fate {
        Fate::Answered(_) | Fate::Unknown if is_change => Error::outcome_unknown(),
        Fate::Answered(_) | Fate::Unknown => away(None),
        Fate::Refused(Refusal::Later(after)) => away(*after),
        Fate::Refused(Refusal::Denied) => {
            Error::new(Kind::Misconfigured, "the store refuses the token that it is asked with")
        }
        Fate::Refused(Refusal::NoScript | Refusal::Unfit) => Error::internal("the store takes no such command"),
    }
}

impl<H: Http + 'static> Redis<H> {
    /// The Redis that `access` leads to.
    pub fn new(http: H, access: Rc<Access>, link: Rc<Link>, judge: Judge) -> Redis<H> {
        Redis { inner: Rc::new(Inner { http, access, link, judge, gathering: RefCell::new(None) }) }
    }

    /// The way to it.
    pub fn http(&self) -> &H {
        &self.inner.http
    }

    /// Runs one call of a script by itself. `is_change` says that it may be sent again only where it is certain that it was not
    /// carried out.
    pub async fn call<C: Command>(&self, call: C, is_change: bool) -> Result<C::Answer> {
        let outcome = self.inner.run(vec![call], is_change).await.pop();
        outcome.unwrap_or_else(|| Err(Error::internal("a call was lost on its way")))
    }

    /// Puts a read among those of this turn.
    async fn read(&self, call: Call) -> Result<Applied> {
        let (position, run) = self.gather(call);
        turn().await;
        let outcomes = run.await;
        let outcome = outcomes.borrow_mut().get_mut(position).and_then(Option::take);
        outcome.unwrap_or_else(|| Err(Error::internal("a read was lost on its way")))
    }

    fn gather(&self, call: Call) -> (usize, Shared<LocalBoxFuture<'static, Outcomes>>) {
        let mut gathering = self.inner.gathering.borrow_mut();
        let gathering = gathering.get_or_insert_with(|| {
            let calls: Rc<RefCell<Vec<Call>>> = Rc::default();
            let (gathered, inner) = (Rc::clone(&calls), Rc::clone(&self.inner));
            let run = async move {
                inner.gathering.replace(None);
                let calls = gathered.take();
                Rc::new(RefCell::new(inner.run(calls, false).await.into_iter().map(Some).collect()))
            };
            Gathering { calls, run: run.boxed_local().shared() }
        });
        let mut calls = gathering.calls.borrow_mut();
        calls.push(call);
        (calls.len().saturating_sub(1), gathering.run.clone())
    }
}

impl<H: Http + 'static> Store for Redis<H> {
    async fn apply(&self, shard: Shard, batch: Vec<Op>) -> Result<Applied> {
        let now = (self.inner.judge == Judge::Caller).then(|| self.inner.http.now());
        let call = Call::new(shard, &batch, now);
        if batch.iter().any(Op::is_change) {
            return self.call(call, true).await;
        }
        self.read(call).await
    }
}

impl<H: Http> Inner<H> {
    /// Runs `calls` in one request, and again what may be repeated.
    async fn run<C: Command>(&self, calls: Vec<C>, is_change: bool) -> Vec<Result<C::Answer>> {
        let mut outcomes: Vec<Option<Result<C::Answer>>> = calls.iter().map(|_| None).collect();
        let mut settle = |position: usize, outcome| {
            if let Some(place) = outcomes.get_mut(position) {
                *place = Some(outcome);
            }
        };
        let mut pending: Vec<(usize, C)> = calls.into_iter().enumerate().collect();
        let end = self.http.now().plus(BUDGET);
        let mut tries = 0_u32;
        while !pending.is_empty() {
            let gate = self.link.breaker.ask(self.http.now());
            if let Gate::Shut(after) = gate {
                pending.drain(..).for_each(|(position, _)| settle(position, Err(away(Some(after)))));
                break;
            }
            let left = self.http.now().until(end);
            let fates = self.exchange(&pending, if is_change { left } else { left.min(TRY) }).await;
            self.judge(&fates);
            tries = tries.saturating_add(1);
            // Only where something is to be tried again is there a pause to draw.
            let is_done = fates.iter().all(|fate| matches!(fate, Fate::Answered(_)));
            let pause = if is_done { Ttl(0) } else { backoff(&self.http, tries, PAUSE, BUDGET) };
            let again = gate == Gate::Open && tries < TRIES && self.http.now().until(end) > pause;
            let mut at_once = false;
            let mut next = Vec::new();
            for ((position, mut call), fate) in pending.into_iter().zip(fates) {
                if let Fate::Answered(text) = &fate
                    && let Some(applied) = call.answer(text)
                {
                    settle(position, Ok(applied));
                    continue;
                }
                let may_repeat = match &fate {
                    Fate::Refused(Refusal::NoScript) if call.put_in_full() => {
                        at_once = true;
                        true
                    }
                    Fate::Refused(Refusal::Later(after)) => again && after.is_none_or(|after| after <= pause),
                    Fate::Answered(_) | Fate::Unknown => again && !is_change,
                    Fate::Refused(Refusal::NoScript | Refusal::Denied | Refusal::Unfit) => false,
                };
                if may_repeat {
                    next.push((position, call));
                } else {
                    settle(position, Err(given_up(&fate, is_change)));
                }
            }
            pending = next;
            if !pending.is_empty() && !at_once {
                self.http.pause(pause).await;
            }
        }
        let lost = || if is_change { Error::outcome_unknown() } else { away(None) };
        outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(|| Err(lost()))).collect()
    }

    /// Sends `calls` once. One fate a call, in order.
    async fn exchange<C: Command>(&self, calls: &[(usize, C)], within: Ttl) -> Vec<Fate> {
        let form = if calls.len() == 1 { Form::Single } else { Form::Pipeline };
        let commands: Vec<&C> = calls.iter().map(|(_, call)| call).collect();
        let Some(body) = protocol::encode(form, &commands) else {
            return calls.iter().map(|_| Fate::Refused(Refusal::Unfit)).collect();
        };
        let mut headers = vec![
            ("authorization", format!("Bearer {}", self.access.token)),
            ("content-type", "application/json".to_owned()),
            ("upstash-encoding", "base64".to_owned()),
        ];
        let sync_token = self.link.sync_token.borrow().clone();
        headers.extend(sync_token.map(|token| (SYNC_TOKEN, token)));
        let headers = headers.into_iter().map(|(name, value)| (name.into(), value)).collect();
        let url = format!("{}{}", self.access.url, form.path());
        let request = Request { method: "POST", url, headers, body, wanted: &[SYNC_TOKEN, "retry-after"] };
        match self.http.send(&request, within).await {
            Ok(response) => {
                if let Some(token) = response.header(SYNC_TOKEN) {
                    self.link.sync_token.replace(Some(token.to_owned()));
                }
                protocol::decode(form, calls.len(), &response)
            }
            Err(_) => calls.iter().map(|_| Fate::Unknown).collect(),
        }
    }

    /// Tells the breaker, and the operator where something changed.
    fn judge(&self, fates: &[Fate]) {
        let breaker = &self.link.breaker;
        if fates.iter().any(|fate| matches!(fate, Fate::Refused(Refusal::Denied))) {
            self.http.note("Redis refuses the token in REDIS_TOKEN, or what it allows");
        }
        if fates.iter().any(|fate| matches!(fate, Fate::Refused(Refusal::Unfit))) {
            self.http.note("Redis refuses a command, or there is no Redis over HTTP at REDIS_URL");
        }
        if !fates.iter().all(|fate| matches!(fate, Fate::Unknown | Fate::Refused(Refusal::Later(_)))) {
            if breaker.answered() {
                self.http.note("Redis answers again");
            }
            return;
        }
        let after = fates.iter().find_map(|fate| match fate {
            Fate::Refused(Refusal::Later(after)) => *after,
            _ => None,
        });
        if breaker.failed(self.http.now(), after) {
            self.http.note("Redis does not answer: requests that need it are refused until it does");
        }
    }
}

#[cfg(test)]
mod tests;
