//! What goes on after the call that began it has returned: polled in the very turn in which what it waits for has come.
//!
//! Invariant: a task is polled only where something woke it, and in the turn of the request that it belongs to: promises and
//! timers wake it there. What a request that nobody waits for any more has left behind is dropped.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use wasm_bindgen::prelude::{Closure, JsValue, wasm_bindgen};
use worker::js_sys::Uint8Array;

use super::platform::now;
use crate::sorted::BTreeMap;
use crate::time::{Ttl, UnixMillis};

#[wasm_bindgen(module = "/src/edge/boundary.js")]
extern "C" {
    /// A promise of what this task gives.
    fn promised(ticket: u32) -> JsValue;
    /// Keeps the promise, or breaks it.
    fn kept(ticket: u32, kept: bool, value: JsValue);
    /// Nobody waits for this task any more.
    fn forgotten(ticket: u32);
    /// Calls `run` once this turn's microtasks come to it.
    fn soon(run: &Closure<dyn Fn()>);
}

/// Longer than anybody is kept waiting. When a client goes away, the platform wakes nobody any more for its request.
const LONGEST: Ttl = Ttl::from_mins(2);
/// After so many tasks it is looked for those left behind.
const LOOK_EVERY: u32 = 1_024;

type Given = Result<JsValue, JsValue>;

enum Task {
    Waiting { work: Pin<Box<dyn Future<Output = Given>>>, promised: bool },
    Over(Given),
}

thread_local! {
    static TASKS: RefCell<BTreeMap<u32, Task>> = const { RefCell::new(BTreeMap::new()) };
    static READY: RefCell<VecDeque<u32>> = const { RefCell::new(VecDeque::new()) };
    static LAST: Cell<u32> = const { Cell::new(0) };
    /// Which tasks there were at which time, when it was last looked for those left behind.
    static LOOKED: Cell<(u32, UnixMillis)> = const { Cell::new((0, UnixMillis(0))) };
    /// Whether the turn that is going on runs what is ready before it ends, or a later one has been asked for.
    static SEEN_TO: Cell<bool> = const { Cell::new(false) };
    static RUN: Closure<dyn Fn()> = Closure::new(|| turn(|| ()));
}

struct Ticket(u32);

impl Wake for Ticket {
    fn wake(self: Arc<Ticket>) {
        READY.with_borrow_mut(|ready| ready.push_back(self.0));
        if !SEEN_TO.replace(true) {
            RUN.with(soon);
        }
    }
}

/// Does `first`, which may wake tasks, and then runs those that are ready.
pub fn turn(first: impl FnOnce()) {
    SEEN_TO.set(true);
    first();
    while let Some(ticket) = READY.with_borrow_mut(VecDeque::pop_front) {
        poll(ticket);
    }
    SEEN_TO.set(false);
}

fn poll(ticket: u32) {
    // One that was woken twice may be over already.
    let is_waiting = |tasks: &BTreeMap<u32, Task>| matches!(tasks.get(&ticket), Some(Task::Waiting { .. }));
    let taken = TASKS.with_borrow_mut(|tasks| if is_waiting(tasks) { tasks.remove(&ticket) } else { None });
    let Some(Task::Waiting { mut work, promised }) = taken else { return };
    let waker = Waker::from(Arc::new(Ticket(ticket)));
    let task = match work.as_mut().poll(&mut Context::from_waker(&waker)) {
        Poll::Pending => Task::Waiting { work, promised },
        Poll::Ready(given) if promised => {
            let is_kept = given.is_ok();
            return kept(ticket, is_kept, given.unwrap_or_else(|error| error));
        }
        Poll::Ready(given) => Task::Over(given),
    };
    TASKS.with_borrow_mut(|tasks| tasks.insert(ticket, task));
}

/// Begins `work`. Gives what it gives, where that is there at once, and otherwise a promise of it.
pub fn start(work: impl Future<Output = Given> + 'static) -> Given {
    let ticket = LAST.get().wrapping_add(1);
    LAST.set(ticket);
    if ticket.is_multiple_of(LOOK_EVERY) {
        drop_left_behind(ticket);
    }
    TASKS.with_borrow_mut(|tasks| tasks.insert(ticket, Task::Waiting { work: Box::pin(work), promised: false }));
    turn(|| READY.with_borrow_mut(|ready| ready.push_back(ticket)));
    match TASKS.with_borrow_mut(|tasks| tasks.remove(&ticket)) {
        Some(Task::Over(given)) => given,
        Some(Task::Waiting { work, .. }) => {
            TASKS.with_borrow_mut(|tasks| tasks.insert(ticket, Task::Waiting { work, promised: true }));
            Ok(promised(ticket))
        }
        None => Err(JsValue::from("a task was lost")),
    }
}

/// The same for an object's answer.
pub fn answer(work: impl Future<Output = Vec<u8>> + 'static) -> Given {
    start(async move { Ok(written(&work.await)) })
}

/// The same for what gives nothing.
pub fn alarm(work: impl Future<Output = crate::error::Result<()>> + 'static) -> Given {
    start(async move { work.await.map(|()| JsValue::UNDEFINED).map_err(|error| JsValue::from(error.to_string())) })
}

/// An object's answer as JavaScript has it.
pub fn written(answer: &[u8]) -> JsValue {
    Uint8Array::from(answer).into()
}

fn drop_left_behind(ticket: u32) {
    let (before, at) = LOOKED.get();
    if at.plus(LONGEST) > now() {
        return;
    }
    LOOKED.set((ticket, now()));
    let left: Vec<u32> = TASKS.with_borrow(|tasks| tasks.keys().take_while(|task| **task < before).copied().collect());
    for ticket in left {
        // What it held may end other things as it goes, and those may look here.
        drop(TASKS.with_borrow_mut(|tasks| tasks.remove(&ticket)));
        forgotten(ticket);
    }
}
