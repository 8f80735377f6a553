//! The WebSocket of FHIR Subscriptions, held by the Worker: one socket of the client, on which it binds as many
//! subscriptions as it likes, and a socket to the object of each.
//!
//! Invariant: every socket is closed when this ends, whoever ended it. What an object says is told in its order; when an
//! object has no more to say, or so much was told that the client may not have read it, the client's socket ends and it
//! binds anew, with the numbers that it has.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use futures_util::future::{Either, select};
use wasm_bindgen::JsCast;
use wasm_bindgen::prelude::{Closure, JsValue};
use wasm_bindgen_futures::spawn_local;
use worker::js_sys::Function;
use worker::web_sys::MessageEvent;
use worker::{Delay, Response, WebSocket, WebSocketPair, console_error};

use super::platform::Edge;
use crate::channel::frame::{Close, acknowledgement};
use crate::channel::subscription::hook::TOGETHER;
use crate::channel::subscription::notification::{self, About, Told, Type};
use crate::channel::subscription::socket::{self, Heard, Said};
use crate::clinic::subscriptions::Stored;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::fhir::OperationOutcome;
use crate::http::{App, Bound, redeem};
use crate::time::{Clock, Entropy, Ttl, UnixMillis};

/// Subscriptions on one socket, at most.
const MOST: usize = 64;
/// The most bytes that one socket is told: the platform gives no sign of a slow reader.
const MOST_TOLD: usize = 16 << 20;
/// Nothing is bound within this, whatever else is said: the socket ends.
const PATIENCE: Ttl = Ttl::from_secs(60);
/// So many tokens that bind nothing end the socket.
const MOST_REFUSED: u32 = 8;
/// The most bytes that wait to be told or to be answered.
const MOST_WAITING: usize = 4 << 20;
/// RFC 6455, section 7.4.1: a policy is violated.
const POLICY: u16 = 1_008;

/// What came over one of the sockets: 0 is the client's, the others those of the subscriptions. `None` is its end.
type Input = (usize, Option<String>);

#[derive(Default)]
struct Inbox {
    inputs: RefCell<VecDeque<Input>>,
    waiting: Cell<usize>,
    reader: RefCell<Option<Waker>>,
}

fn weight((_, text): &Input) -> usize {
    // What is empty waits as well.
    text.as_ref().map_or(0, String::len).saturating_add(64)
}

impl Inbox {
    /// From the first input on for which there is no room, nothing is taken: the socket is about to end.
    fn push(&self, input: Input) {
        if self.is_full() {
            return;
        }
        self.waiting.set(self.waiting.get().saturating_add(weight(&input)));
        self.inputs.borrow_mut().push_back(input);
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    fn is_full(&self) -> bool {
        self.waiting.get() > MOST_WAITING
    }

    async fn next(&self, longest: Ttl) -> Option<Input> {
        let input = poll_fn(|context| match self.inputs.borrow_mut().pop_front() {
            Some(input) => {
                self.waiting.set(self.waiting.get().saturating_sub(weight(&input)));
                Poll::Ready(input)
            }
            None => {
                self.reader.replace(Some(context.waker().clone()));
                Poll::Pending
            }
        });
        match select(pin!(input), Delay::from(Duration::from_millis(longest.0))).await {
            Either::Left((input, _)) => Some(input),
            Either::Right(_) => None,
        }
    }
}

type Listener = (&'static str, Closure<dyn FnMut(JsValue)>);

/// A socket whose messages go into the inbox.
struct Line {
    socket: WebSocket,
    listeners: Vec<Listener>,
}

fn function(listener: &Closure<dyn FnMut(JsValue)>) -> &Function {
    listener.as_ref().unchecked_ref()
}

impl Line {
    fn open(socket: WebSocket, number: usize, inbox: &Rc<Inbox>) -> worker::Result<Line> {
        let mut line = Line { socket, listeners: Vec::new() };
        for kind in ["message", "close", "error"] {
            let inbox = Rc::clone(inbox);
            let listener = Closure::<dyn FnMut(JsValue)>::new(move |event: JsValue| {
                let text = event.dyn_into::<MessageEvent>().ok().and_then(|message| message.data().as_string());
                inbox.push((number, text));
            });
            let added = line.socket.as_ref().add_event_listener_with_callback(kind, function(&listener));
            added.map_err(worker::Error::from)?;
            line.listeners.push((kind, listener));
        }
        line.socket.accept()?;
        Ok(line)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        for (kind, listener) in &self.listeners {
            let _ = self.socket.as_ref().remove_event_listener_with_callback(kind, function(listener));
        }
        let _ = self.socket.close(Some(1_000), Some(""));
    }
}

/// A bound subscription.
struct Listening {
    number: usize,
    line: Line,
    stored: Stored,
    /// When it is told something next, if nothing happens.
    heartbeat: Option<UnixMillis>,
}

struct Subscriber {
    edge: Edge,
    config: Config,
    inbox: Rc<Inbox>,
    client: Line,
    bound: Vec<Listening>,
    last: usize,
    told: usize,
    refused: u32,
}

/// The socket on which a client binds.
pub fn respond(app: &App<Edge>) -> worker::Result<Response> {
    let Ok(config) = app.config.as_ref() else { return Err("the settings are incomplete".into()) };
    let pair = WebSocketPair::new()?;
    let inbox: Rc<Inbox> = Rc::default();
    let subscriber = Subscriber {
        edge: app.platform.outliving(),
        config: config.clone(),
        client: Line::open(pair.server, 0, &inbox)?,
        inbox,
        bound: Vec::new(),
        last: 0,
        told: 0,
        refused: 0,
    };
    spawn_local(subscriber.serve());
    Response::from_websocket(pair.client)
}

impl Subscriber {
    async fn serve(mut self) {
        let code = match self.run().await {
            Ok(code) => code,
            Err(error) => {
                console_error!("a socket of subscriptions: {error}");
                1_011
            }
        };
        let _ = self.client.socket.close(Some(code), Some(""));
    }

    /// Until it ends; gives the code with which it does.
    async fn run(&mut self) -> Result<u16> {
        let patience = self.edge.now().plus(PATIENCE);
        loop {
            let now = self.edge.now();
            if self.bound.is_empty() && now >= patience {
                return Ok(1_000);
            }
            if self.inbox.is_full() || self.told >= MOST_TOLD {
                return Ok(Close::Resume.code());
            }
            if self.refused >= MOST_REFUSED {
                return Ok(POLICY);
            }
            let heartbeats = self.bound.iter().filter_map(|one| one.heartbeat);
            let due = heartbeats.min().unwrap_or(if self.bound.is_empty() { patience } else { now.plus(PATIENCE) });
            let wait = now.until(due);
            match self.inbox.next(wait).await {
                Some((0, None)) => return Ok(1_000),
                Some((0, Some(text))) => match socket::read(&text) {
                    Said::Bind(token) => self.bind(&token).await?,
                    Said::Answer(answer) => self.send(answer)?,
                    Said::Nothing => {}
                },
                Some((number, text)) => {
                    if let Some(code) = self.heard(number, text)? {
                        return Ok(code);
                    }
                }
                None => self.beat()?,
            }
        }
    }

    fn send(&mut self, text: &str) -> Result<()> {
        self.told = self.told.saturating_add(text.len());
        let sent = self.client.socket.send_with_str(text);
        sent.map_err(|error| super::platform_fault("a subscriber's socket could not be written to", error))
    }

    /// Binds what `token` is good for; says so where it is good for nothing.
    async fn bind(&mut self, token: &str) -> Result<()> {
        let bound = match redeem(&self.edge, &self.config, token).await {
            Ok(bound) => bound,
            Err(error) => {
                self.refused = self.refused.saturating_add(1);
                return self.send(&OperationOutcome::from(&error).to_json());
            }
        };
        for Bound { subscription, stored } in bound {
            if self.bound.len() >= MOST {
                let full = Error::unavailable("this socket has as many subscriptions as it may have");
                return self.send(&OperationOutcome::from(&full).to_json());
            }
            match self.edge.listen(&subscription).await {
                Ok(socket) => {
                    self.last = self.last.saturating_add(1);
                    let line = Line::open(socket, self.last, &self.inbox);
                    let line =
                        line.map_err(|error| super::platform_fault("a subscription could not be heard", error))?;
                    // Bound again, it is told everything once all the same.
                    self.bound.retain(|other| other.stored.id != stored.id);
                    self.bound.push(Listening { number: self.last, line, stored, heartbeat: None });
                }
                Err(error) => self.send(&OperationOutcome::from(&error).to_json())?,
            }
        }
        Ok(())
    }

    fn tell(&mut self, at: usize, of: Type, events: &[Told<'_>]) -> Result<()> {
        let now = self.edge.now();
        let Some(one) = self.bound.get_mut(at) else { return Ok(()) };
        if let Some(last) = events.last() {
            one.stored.events = last.number;
        }
        one.heartbeat = one.stored.settings.heartbeat.map(|period| now.plus(period));
        let stored = &one.stored;
        let about = About {
            base: &stored.base,
            id: &stored.id,
            settings: &stored.settings,
            status: stored.status_at(now),
            events: stored.events,
            error: None,
        };
        let text = notification::bundle(&about, of, stored.settings.content, events, &self.edge.uuid(), now)?;
        self.send(&text)
    }

    /// What an object says; gives the code with which the client's socket ends, if it does.
    fn heard(&mut self, number: usize, text: Option<String>) -> Result<Option<u16>> {
        // One that was bound again since is not listened to any more.
        let Some(at) = self.bound.iter().position(|one| one.number == number) else { return Ok(None) };
        let Some(text) = text else { return Ok(Some(1_012)) };
        match socket::hear(&text)? {
            Heard::Connected(newest) => {
                if let Some(one) = self.bound.get_mut(at) {
                    one.stored.events = one.stored.events.max(newest);
                }
                self.tell(at, Type::Handshake, &[])?;
            }
            Heard::Events(events, cursor) => {
                let most = self.bound.get(at).and_then(|one| one.stored.settings.most).unwrap_or(TOGETHER);
                for several in events.chunks(usize::try_from(most.max(1)).unwrap_or(1)) {
                    self.tell(at, Type::EventNotification, several)?;
                }
                self.acknowledge(at, &cursor);
            }
            Heard::End(code) => return Ok(Some(code)),
            Heard::Nothing => {}
        }
        Ok(None)
    }

    /// The object's window is for what waits here, and that is nothing.
    fn acknowledge(&self, at: usize, cursor: &str) {
        if let (Some(one), Ok(text)) = (self.bound.get(at), acknowledgement(cursor)) {
            // One that cannot be written to is about to end.
            let _ = one.line.socket.send_with_str(text);
        }
    }

    fn beat(&mut self) -> Result<()> {
        let now = self.edge.now();
        for at in 0..self.bound.len() {
            if self.bound.get(at).and_then(|one| one.heartbeat).is_some_and(|due| due <= now) {
                self.tell(at, Type::Heartbeat, &[])?;
            }
        }
        Ok(())
    }
}
