//! A socket from the Worker to a topic's object, which may sleep, for clients that have no socket of their own: event
//! streams and long polls. Served by the object, they would keep it awake.
//!
//! Invariant: the socket is closed whenever the bridge is dropped, whoever ended it. What was taken from it has no hole:
//! from the first frame that does not fit on, nothing is taken. The object is told how far the client has read, so that
//! its window stays open for as long as the client reads.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::future::{Either, select};
use wasm_bindgen::JsCast;
use wasm_bindgen::prelude::{Closure, JsValue};
use worker::js_sys::Function;
use worker::web_sys::MessageEvent;
use worker::{Delay, Result, WebSocket};

use crate::channel::frame;

/// The most bytes of frames that wait for a client that reads slowly: the queue of a socket itself has no bound.
const MOST_WAITING: usize = 4 << 20;
/// After so many frames that the client has read, the object is told.
const ACKNOWLEDGED_AFTER: u32 = 64;

/// What came over the socket and was not read yet.
#[derive(Default)]
struct Inbox {
    frames: RefCell<VecDeque<String>>,
    waiting: Cell<usize>,
    closed: Cell<bool>,
    reader: RefCell<Option<Waker>>,
}

impl Inbox {
    fn take(&self, frame: Option<String>) {
        match frame {
            _ if self.closed.get() => return,
            Some(frame) if self.waiting.get() < MOST_WAITING => {
                self.waiting.set(self.waiting.get().saturating_add(frame.len()));
                self.frames.borrow_mut().push_back(frame);
            }
            _ => self.closed.set(true),
        }
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    /// The next frame; `None` after the last.
    fn poll(&self, context: &Context<'_>) -> Poll<Option<String>> {
        match self.frames.borrow_mut().pop_front() {
            Some(frame) => {
                self.waiting.set(self.waiting.get().saturating_sub(frame.len()));
                Poll::Ready(Some(frame))
            }
            None if self.closed.get() => Poll::Ready(None),
            None => {
                self.reader.replace(Some(context.waker().clone()));
                Poll::Pending
            }
        }
    }
}

/// What the bridge has next.
pub enum Next {
    /// A frame.
    Frame(String),
    /// Nothing came for as long as was waited.
    Quiet,
    /// Nothing comes any more.
    End,
}

type Listener = (&'static str, Closure<dyn FnMut(JsValue)>);

/// The bridge.
pub struct Bridge {
    socket: WebSocket,
    inbox: Rc<Inbox>,
    listeners: Vec<Listener>,
    unacknowledged: u32,
}

impl Bridge {
    /// Reads what comes over `socket`.
    pub fn open(socket: WebSocket) -> Result<Bridge> {
        let mut bridge = Bridge { socket, inbox: Rc::default(), listeners: Vec::new(), unacknowledged: 0 };
        for kind in ["message", "close", "error"] {
            let inbox = Rc::clone(&bridge.inbox);
            let listener = Closure::<dyn FnMut(JsValue)>::new(move |event: JsValue| {
                inbox.take(event.dyn_into::<MessageEvent>().ok().and_then(|message| message.data().as_string()));
            });
            let socket = bridge.socket.as_ref();
            socket.add_event_listener_with_callback(kind, function(&listener)).map_err(worker::Error::from)?;
            bridge.listeners.push((kind, listener));
        }
        bridge.socket.accept()?;
        Ok(bridge)
    }

    /// What is next, waiting for it at most for `longest`.
    pub async fn next(&mut self, longest: Duration) -> Next {
        // A delay wakes the task that first waited for it, and every read is a task of its own: hence a new one.
        let frame = pin!(poll_fn(|context| self.inbox.poll(context)));
        match select(frame, Delay::from(longest)).await {
            Either::Left((Some(frame), _)) => Next::Frame(frame),
            Either::Left((None, _)) => Next::End,
            Either::Right(_) => Next::Quiet,
        }
    }

    /// The client has read everything up to `cursor`.
    pub fn read(&mut self, cursor: &str) {
        self.unacknowledged = self.unacknowledged.saturating_add(1);
        if self.unacknowledged >= ACKNOWLEDGED_AFTER
            && let Ok(acknowledgement) = frame::acknowledgement(cursor)
            && self.socket.send_with_str(acknowledgement).is_ok()
        {
            self.unacknowledged = 0;
        }
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        for (kind, listener) in &self.listeners {
            // This and the closing fail where the request is over already, and then its socket is, too.
            let _ = self.socket.as_ref().remove_event_listener_with_callback(kind, function(listener));
        }
        let _ = self.socket.close(Some(1_000), Some("the stream ended"));
    }
}

fn function(listener: &Closure<dyn FnMut(JsValue)>) -> &Function {
    listener.as_ref().unchecked_ref()
}
