//! The boundary between JavaScript and the program: strings and bytes, in as few crossings as can be.
//!
//! Invariant: a call that was given up is forgotten, and its answer, should it still come, wakes nobody. Calls made for a
//! request are given up by [`expire`] in that request's own turn, because a promise belongs to the request that made it;
//! a timer of its own for each call would cost as much as a good part of the call.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use wasm_bindgen::JsCast;
use wasm_bindgen::prelude::{Closure, JsValue, wasm_bindgen};
use worker::js_sys::Uint8Array;

use super::platform::now;
use super::task;
use crate::outgoing::Request;
use crate::sorted::BTreeMap;
use crate::time::{Ttl, UnixMillis};

#[wasm_bindgen(module = "/src/edge/boundary.js")]
extern "C" {
    fn ask(
        env: &JsValue,
        binding: &str,
        name: &str,
        message: &[u8],
        milliseconds: u32,
        settle: &Closure<dyn Fn(u32, JsValue)>,
        ticket: u32,
    );

    fn cipher(
        seal: bool,
        key: &[u8],
        nonce: &[u8],
        bound: &[u8],
        data: &[u8],
        settle: &Closure<dyn Fn(u32, JsValue)>,
        ticket: u32,
    );

    fn send(
        head: &str,
        body: &str,
        wanted: &str,
        milliseconds: u32,
        settle: &Closure<dyn Fn(u32, JsValue)>,
        ticket: u32,
    );

    fn pause(milliseconds: u32, settle: &Closure<dyn Fn(u32, JsValue)>, ticket: u32);

    /// A reply; `head` has a line for the name of each header and one for its value.
    pub fn reply(status: u16, head: &str, body: Option<&[u8]>) -> JsValue;
}

/// How often main.js calls [`expire`] for a request that is under way.
const TICK: Ttl = Ttl(250);

/// Who sees to it that a call ends.
#[derive(Clone, Copy, Debug)]
pub enum Keeper {
    /// The request of this number, by [`expire`]: at the last tick before the call's time is over.
    Request(u32),
    /// A timer of the call's own.
    Timer,
}

/// A call that was not settled yet.
struct Waiting {
    /// The request that sees to its end, and from when on; 0 where none does.
    of: u32,
    until: UnixMillis,
    waker: Option<Waker>,
}

enum Call {
    Waiting(Waiting),
    Settled(JsValue),
}

thread_local! {
    static CALLS: RefCell<BTreeMap<u32, Call>> = const { RefCell::new(BTreeMap::new()) };
    static LAST: Cell<u32> = const { Cell::new(0) };
    static SETTLE: Closure<dyn Fn(u32, JsValue)> = Closure::new(|ticket, answer| task::turn(|| settle(ticket, answer)));
}

fn settle(ticket: u32, answer: JsValue) {
    let woken = CALLS.with_borrow_mut(|calls| match calls.get_mut(&ticket) {
        Some(call @ Call::Waiting(_)) => match std::mem::replace(call, Call::Settled(answer)) {
            Call::Waiting(waiting) => waiting.waker,
            Call::Settled(_) => None,
        },
        _ => None,
    });
    if let Some(waker) = woken {
        waker.wake();
    }
}

/// Gives up the calls of this request whose time is over, or all of them.
pub fn expire(request: u32, all: bool) {
    let now = now();
    let late = |(ticket, call): (&u32, &Call)| match call {
        Call::Waiting(waiting) if waiting.of == request && (all || waiting.until <= now) => Some(*ticket),
        _ => None,
    };
    let late: Vec<u32> = CALLS.with_borrow(|calls| calls.iter().filter_map(late).collect());
    task::turn(|| late.into_iter().for_each(|ticket| settle(ticket, JsValue::UNDEFINED)));
}

/// What became of a call.
#[derive(Debug)]
pub enum Outcome {
    /// The answer.
    Answer(Vec<u8>),
    /// It failed; the text is for the log.
    Failed(String),
    /// No answer in time.
    Late,
}

/// A call that is under way.
pub struct Asked(u32);

impl Asked {
    /// Begins what `begin` begins: it is told who is to be called with the answer, and after how many milliseconds without
    /// one; 0 where the keeper sees to that.
    fn begin(keeper: Keeper, longest: Ttl, begin: impl FnOnce(&Closure<dyn Fn(u32, JsValue)>, u32, u32)) -> Asked {
        let ticket = LAST.get().wrapping_add(1);
        LAST.set(ticket);
        let (of, until, timer) = match keeper {
            Keeper::Request(request) if longest.0 > TICK.0 => {
                (request, now().plus(Ttl(longest.0.saturating_sub(TICK.0))), Ttl(0))
            }
            _ => (0, UnixMillis(0), longest),
        };
        CALLS.with_borrow_mut(|calls| calls.insert(ticket, Call::Waiting(Waiting { of, until, waker: None })));
        SETTLE.with(|settle| begin(settle, ticket, u32::try_from(timer.0).unwrap_or(u32::MAX)));
        Asked(ticket)
    }

    /// Asks the object `name` of `binding`.
    pub fn object(env: &JsValue, (binding, name): (&str, &str), message: &[u8], keeper: Keeper, longest: Ttl) -> Asked {
        Asked::begin(keeper, longest, |settle, ticket, timer| ask(env, binding, name, message, timer, settle, ticket))
    }

    /// Seals `data` by AES-256-GCM, or opens it.
    pub fn cipher(seal: bool, key: &[u8; 32], nonce: &[u8; 12], bound: &[u8], data: &[u8]) -> Asked {
        Asked::begin(Keeper::Timer, Ttl(0), |settle, ticket, _| cipher(seal, key, nonce, bound, data, settle, ticket))
    }

    /// Sends a request to outside, which is broken off after `longest`, or given up by its keeper. `head` has a line for the
    /// method, one for the URL, and one for the name of each header and one for its value; `wanted` has a line for each header
    /// of the reply that is wanted. The answer is a line with the reply's status, one with the value of each wanted header,
    /// and its body.
    pub fn outside(request: &Request, head: &str, wanted: &str, keeper: Keeper, longest: Ttl) -> Asked {
        let body = &request.body;
        Asked::begin(keeper, longest, |settle, ticket, timer| send(head, body, wanted, timer, settle, ticket))
    }

    /// Waits so long, and is then late.
    pub fn pause(longest: Ttl) -> Asked {
        Asked::begin(Keeper::Timer, longest, |settle, ticket, timer| pause(timer, settle, ticket))
    }
}

impl Future for Asked {
    type Output = Outcome;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        let settled = CALLS.with_borrow_mut(|calls| match calls.remove(&self.0) {
            Some(Call::Settled(answer)) => Some(answer),
            Some(Call::Waiting(waiting)) => {
                let waker = Some(context.waker().clone());
                calls.insert(self.0, Call::Waiting(Waiting { waker, ..waiting }));
                None
            }
            None => Some(JsValue::UNDEFINED),
        });
        let Some(answer) = settled else { return Poll::Pending };
        Poll::Ready(match answer.as_string() {
            Some(error) => Outcome::Failed(error),
            None if answer.is_undefined() => Outcome::Late,
            None => Outcome::Answer(answer.unchecked_into::<Uint8Array>().to_vec()),
        })
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        CALLS.with_borrow_mut(|calls| calls.remove(&self.0));
    }
}
