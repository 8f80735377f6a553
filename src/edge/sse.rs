//! A channel as an event stream: the Worker holds a socket to the topic's object, which may sleep, and writes what comes
//! over it to the client. An event stream served by the object would keep it awake.
//!
//! Invariant: the socket is closed whenever the stream is no longer read, whoever ended it. Whatever does not fit ends the
//! stream after what came before it, never in between: the client comes back with its last event id.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::future::{Either, select};
use futures_util::stream;
use wasm_bindgen::JsCast;
use wasm_bindgen::prelude::{Closure, JsValue};
use worker::js_sys::Function;
use worker::web_sys::MessageEvent;
use worker::{Delay, Response, Result, WebSocket, console_error};

use crate::channel::cursor::Cursor;
use crate::channel::sse::{self, Said};

/// Quiet for this long, a stream says that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// The most bytes of frames that wait for a client that reads slowly: the queue of a socket itself has no bound.
const MOST_WAITING: usize = 4 << 20;
/// The most bytes that one stream sends, well before the limit on the CPU time of a request.
const MOST_SENT: usize = 16 << 20;

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
            // Closed, or too much is waiting: from here on nothing is taken, so that what was taken has no hole.
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

type Listener = (&'static str, Closure<dyn FnMut(JsValue)>);

struct Bridge {
    socket: WebSocket,
    inbox: Rc<Inbox>,
    listeners: Vec<Listener>,
    after: Option<Cursor>,
    sent: usize,
}

impl Bridge {
    fn open(socket: WebSocket, after: Option<Cursor>) -> Result<Bridge> {
        let mut bridge = Bridge { socket, inbox: Rc::default(), listeners: Vec::new(), after, sent: 0 };
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

    /// What is sent next; `None` ends the stream.
    async fn next(&mut self) -> Option<String> {
        if self.sent == 0 {
            return Some(sse::OPENING.to_owned());
        }
        if self.sent >= MOST_SENT {
            return None;
        }
        loop {
            // A delay wakes the task that first waited for it, and every read is a task of its own: hence a new one.
            let frame = pin!(poll_fn(|context| self.inbox.poll(context)));
            let frame = match select(frame, Delay::from(HEARTBEAT)).await {
                Either::Left((frame, _)) => frame?,
                Either::Right(_) => return Some(sse::HEARTBEAT.to_owned()),
            };
            match sse::translate(self.after.as_ref(), &frame) {
                Ok(Said::Text(text)) if text.is_empty() => {}
                Ok(Said::Text(text)) => return Some(text),
                Ok(Said::End) => return None,
                Err(error) => {
                    console_error!("an event stream: {error}");
                    return None;
                }
            }
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

/// The event stream of what comes over `socket`, for a client that came with `after`.
pub fn respond(socket: WebSocket, after: Option<Cursor>) -> Result<Response> {
    let bridge = Bridge::open(socket, after)?;
    Response::from_stream(stream::unfold(bridge, |mut bridge| async move {
        let text = bridge.next().await?;
        bridge.sent = bridge.sent.saturating_add(text.len());
        Some((Ok::<_, worker::Error>(text), bridge))
    }))
}
