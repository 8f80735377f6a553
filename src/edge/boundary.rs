//! The boundary between JavaScript and the program: strings and bytes, in as few crossings as can be.
//!
//! Invariant: a call that was given up is forgotten, and its answer, should it still come, wakes nobody. Calls made for a
//! request are given up by [`expire`] in that request's own turn, because a promise belongs to the request that made it.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use wasm_bindgen::prelude::{Closure, JsValue, wasm_bindgen};
use worker::js_sys::Uint8Array;

use crate::outgoing::Request;
use crate::sorted::BTreeMap;

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
        method: &str,
        url: &str,
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

/// Who sees to it that a call ends.
#[derive(Clone, Copy, Debug)]
pub enum Keeper {
    /// The request of this number, by [`expire`].
    Request(u32),
    /// A timer of the call's own.
    Timer(Duration),
}

enum Call {
    Waiting(u32, Option<Waker>),
    Settled(JsValue),
}

thread_local! {
    static CALLS: RefCell<BTreeMap<u32, Call>> = const { RefCell::new(BTreeMap::new()) };
    static LAST: Cell<u32> = const { Cell::new(0) };
    static SETTLE: Closure<dyn Fn(u32, JsValue)> = Closure::new(settle);
}

fn settle(ticket: u32, answer: JsValue) {
    let woken = CALLS.with_borrow_mut(|calls| match calls.get_mut(&ticket) {
        Some(call @ Call::Waiting(..)) => match std::mem::replace(call, Call::Settled(answer)) {
            Call::Waiting(_, waker) => waker,
            Call::Settled(_) => None,
        },
        _ => None,
    });
    if let Some(waker) = woken {
        waker.wake();
    }
}

/// Gives up every call that the request of this number waits for.
pub fn expire(request: u32) {
    let late =
        |(ticket, call): (&u32, &Call)| matches!(call, Call::Waiting(of, _) if *of == request).then_some(*ticket);
    let late: Vec<u32> = CALLS.with_borrow(|calls| calls.iter().filter_map(late).collect());
    late.into_iter().for_each(|ticket| settle(ticket, JsValue::UNDEFINED));
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
    /// Begins what `begin` begins; the request of this number, if any, sees to its end.
    fn begin(request: u32, begin: impl FnOnce(&Closure<dyn Fn(u32, JsValue)>, u32)) -> Asked {
        let ticket = LAST.get().wrapping_add(1);
        LAST.set(ticket);
        CALLS.with_borrow_mut(|calls| calls.insert(ticket, Call::Waiting(request, None)));
        SETTLE.with(|settle| begin(settle, ticket));
        Asked(ticket)
    }

    /// Asks the object `name` of `binding`.
    pub fn object(env: &JsValue, binding: &str, name: &str, message: &[u8], keeper: Keeper) -> Asked {
        let (request, milliseconds) = match keeper {
            Keeper::Request(request) => (request, 0),
            Keeper::Timer(after) => (0, u32::try_from(after.as_millis()).unwrap_or(u32::MAX)),
        };
        Asked::begin(request, |settle, ticket| ask(env, binding, name, message, milliseconds, settle, ticket))
    }

    /// Seals `data` by AES-256-GCM, or opens it.
    pub fn cipher(seal: bool, key: &[u8; 32], nonce: &[u8; 12], bound: &[u8], data: &[u8]) -> Asked {
        Asked::begin(0, |settle, ticket| cipher(seal, key, nonce, bound, data, settle, ticket))
    }

    /// Sends a request to outside, which is broken off after `milliseconds`. `head` has a line for the name of each header
    /// and one for its value, `wanted` a line for each header of the reply that is wanted. The answer is a line with the
    /// reply's status, one with the value of each wanted header, and its body.
    pub fn outside(request: &Request, head: &str, wanted: &str, milliseconds: u32) -> Asked {
        let Request { method, url, body, .. } = request;
        Asked::begin(0, |settle, ticket| send(method, url, head, body, wanted, milliseconds, settle, ticket))
    }

    /// Waits so many milliseconds, and is then late.
    pub fn pause(milliseconds: u32) -> Asked {
        Asked::begin(0, |settle, ticket| pause(milliseconds, settle, ticket))
    }
}

impl Future for Asked {
    type Output = Outcome;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        let settled = CALLS.with_borrow_mut(|calls| match calls.remove(&self.0) {
            Some(Call::Settled(answer)) => Some(answer),
            Some(Call::Waiting(request, _)) => {
                calls.insert(self.0, Call::Waiting(request, Some(context.waker().clone())));
                None
            }
            None => Some(JsValue::UNDEFINED),
        });
        let Some(answer) = settled else { return Poll::Pending };
        Poll::Ready(match answer.as_string() {
            Some(error) => Outcome::Failed(error),
            None if answer.is_undefined() => Outcome::Late,
            None => Outcome::Answer(Uint8Array::from(answer).to_vec()),
        })
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        CALLS.with_borrow_mut(|calls| calls.remove(&self.0));
    }
}
