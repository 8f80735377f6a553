//! The object of one topic: its log, and the sockets that follow it.
//!
//! Invariant: a socket is told what it missed and joined to the live events in one turn of the object, without a wait in
//! between, so that nothing falls between the two. In the same turn it is held against the bars, and bars against the
//! sockets that are there when they come: a session that has ended has no socket here, whichever came first.

mod bell;
mod gather;
mod hook;
mod readers;
mod sockets;

use std::cell::Cell;
use std::rc::Rc;

use wasm_bindgen::prelude::{JsValue, wasm_bindgen};
use worker::{
    DurableObject, Env, Headers, Request, Response, Result, State, WebSocket, WebSocketIncomingMessage, WebSocketPair,
    console_error, durable_object,
};

use self::bell::Bell;
use self::gather::Gather;
use self::readers::Readers;
use self::sockets::Attached;
use super::alarm::Alarm;
use super::platform::Edge;
use super::sql::ObjectSql;
use super::{SUBSCRIPTION, call, decode_subscription, settings, task};
use crate::access::bar;
use crate::channel::frame::{self, SUBPROTOCOL};
use crate::channel::object::Done;
use crate::channel::replay::{Met, replay};
use crate::channel::subscription::hook::DUE;
use crate::channel::telemetry::Reading;
use crate::channel::{TopicReply, TopicRequest, log, object};
use crate::config::Retention;
use crate::error::Error;
use crate::http::Subscription;
use crate::time::{Clock, Ttl};
use crate::vitals::display;

/// What is due and fails is due again after this.
const RETRY: Ttl = Ttl::from_secs(1);

/// How long whoever begins with a snapshot waits, at most, for the log to have what the snapshot has.
const CATCH_UP: Ttl = Ttl::from_secs(3);

/// A topic.
#[durable_object]
pub struct Topic {
    inner: Rc<Inner>,
}

struct Inner {
    state: State,
    sql: ObjectSql,
    edge: Edge,
    prepared: Cell<bool>,
    alarm: Alarm,
    /// Rung when something was appended.
    bell: Bell,
    readers: Readers,
    /// Telemetry that comes close together.
    gather: Gather,
}

impl Inner {
    fn prepare(&self) -> crate::error::Result<()> {
        if !self.prepared.get() {
            object::prepare(&self.sql, &self.edge, self.edge.now())?;
            if let Some(restored) = self.edge.restored() {
                object::catch_up(&self.sql, &self.edge, restored)?;
            }
            self.prepared.set(true);
        }
        Ok(())
    }

    fn retention(&self) -> crate::error::Result<Retention> {
        match settings(self.edge.env()).as_ref() {
            Ok(config) => Ok(config.retention),
            Err(_) => Err(Error::unavailable("the settings are incomplete")),
        }
    }

    async fn handle(&self, request: &TopicRequest) -> crate::error::Result<TopicReply> {
        self.prepare()?;
        let until = self.edge.now().plus(CATCH_UP);
        loop {
            let now = self.edge.now();
            let done = object::handle(&self.sql, &self.edge, now, self.retention()?, request)?;
            done.barred.iter().try_for_each(|barred| self.readers.bar(&self.state, barred))?;
            self.tell(&done)?;
            if done.put_down {
                self.alarm.keep(&self.state, &self.sql).await?;
            }
            if done.reply != TopicReply::Behind || now >= until {
                return Ok(done.reply);
            }
            self.bell.wait(now.until(until)).await;
        }
    }

    /// Tells everybody who listens.
    fn tell(&self, done: &Done) -> crate::error::Result<()> {
        if let Some(round) = &done.round {
            self.readers.round(&self.state, round)?;
            self.bell.ring();
        }
        Ok(())
    }

    async fn telemetry(&self, readings: Vec<Reading>) -> crate::error::Result<TopicReply> {
        self.prepare()?;
        let retention = self.retention()?;
        let write = |readings: &[Reading]| {
            let memory = &self.gather.memory;
            let done = object::telemetry(&self.sql, &self.edge, memory, self.edge.now(), retention, readings)?;
            self.tell(&done)?;
            Ok(done.reply)
        };
        let reply = self.gather.put(&self.edge, readings, write).await?;
        self.alarm.keep(&self.state, &self.sql).await?;
        Ok(reply)
    }

    /// Does what is due.
    async fn wake(&self) -> crate::error::Result<()> {
        self.prepare()?;
        let due = self.alarm.rang(&self.sql, self.edge.now(), RETRY)?;
        self.alarm.keep(&self.state, &self.sql).await?;
        for what in due {
            match what.as_str() {
                DUE => hook::run(self).await?,
                what => object::wake(&self.sql, self.edge.now(), self.retention()?, what)?,
            }
        }
        self.alarm.keep(&self.state, &self.sql).await
    }

    async fn subscribe(&self, subscription: &Subscription, offered: bool) -> crate::error::Result<Response> {
        self.prepare()?;
        let fault = |error| super::platform_fault("a socket could not be accepted", error);
        let pair = WebSocketPair::new().map_err(fault)?;
        let socket = &pair.server;
        let until = self.edge.now().plus(CATCH_UP);
        let reduced = subscription.listener.reduced;
        let mut accepted = false;
        loop {
            let now = self.edge.now();
            // A bar can have come while this waited.
            bar::admit(&self.sql, &subscription.listener)?;
            self.readers.flush(&self.state);
            let mut send = |frame| {
                // Not before there is something to say: what is accepted is sent whatever comes.
                if !std::mem::replace(&mut accepted, true) {
                    let acknowledged = log::extent(&self.sql)?.newest;
                    self.readers.enter(&self.state, socket, reduced, acknowledged);
                    let attached = Attached { listener: subscription.listener.clone(), acknowledged };
                    sockets::accept(&self.state, socket, &attached)?;
                }
                sockets::send(socket, if reduced { display::frame(frame)? } else { frame })
            };
            let met = replay(&self.sql, &subscription.topic, subscription.after.as_ref(), &mut send);
            match met.inspect_err(|_| self.readers.leave(&self.state, socket, reduced))? {
                Met::Joined => break,
                Met::Closed(why) => {
                    self.readers.leave(&self.state, socket, reduced);
                    sockets::close(socket, why)?;
                    break;
                }
                Met::Behind if now >= until => {
                    return Err(Error::unavailable("the topic does not have yet what was read; try again"));
                }
                Met::Behind => self.bell.wait(now.until(until)).await,
            }
        }
        let response = Response::from_websocket(pair.client).map_err(fault)?;
        let headers = Headers::new();
        if offered {
            headers.set("sec-websocket-protocol", SUBPROTOCOL).map_err(fault)?;
        }
        Ok(response.with_headers(headers))
    }
}

#[wasm_bindgen]
impl Topic {
    /// Answers a message: at once, or by a promise where it has to wait for something.
    pub fn handle(&self, message: &[u8]) -> std::result::Result<JsValue, JsValue> {
        let inner = Rc::clone(&self.inner);
        let asked = call::question::<TopicRequest>(message);
        task::answer(async move {
            match asked {
                Ok(TopicRequest::Telemetry { readings, .. }) => call::answer(&inner.telemetry(readings).await),
                Ok(request) => call::answer(&inner.handle(&request).await),
                Err(error) => call::answer(&Err::<TopicReply, _>(error)),
            }
        })
    }
}

impl DurableObject for Topic {
    fn new(state: State, env: Env) -> Self {
        let inner = Inner {
            sql: ObjectSql::of(&state),
            edge: Edge::of_object(env),
            state,
            prepared: Cell::new(false),
            alarm: Alarm::default(),
            bell: Bell::default(),
            readers: Readers::default(),
            gather: Gather::default(),
        };
        Topic { inner: Rc::new(inner) }
    }

    /// Takes a listener: everything else is asked by messages.
    async fn fetch(&self, request: Request) -> Result<Response> {
        let text = request.headers().get(SUBSCRIPTION)?.unwrap_or_default();
        let offered = request.headers().has("sec-websocket-protocol")?;
        let subscribed = match decode_subscription(&text) {
            Ok(subscription) => self.inner.subscribe(&subscription, offered).await,
            Err(error) => Err(error),
        };
        match subscribed {
            Ok(response) => Ok(response),
            Err(error) => Response::from_bytes(call::answer(&Err::<(), _>(error))),
        }
    }

    async fn alarm(&self) -> Result<Response> {
        self.inner.wake().await.map_err(|error| worker::Error::RustError(error.to_string()))?;
        Response::empty()
    }

    async fn websocket_message(&self, socket: WebSocket, message: WebSocketIncomingMessage) -> Result<()> {
        // Acknowledgements are the only frames of a client. One of another epoch says nothing about this one.
        let WebSocketIncomingMessage::String(text) = message else { return Ok(()) };
        let Some(cursor) = frame::acknowledged(&text) else { return Ok(()) };
        let failed = |error: Error| worker::Error::RustError(error.to_string());
        self.inner.prepare().map_err(failed)?;
        let extent = log::extent(&self.inner.sql).map_err(failed)?;
        if cursor.epoch == extent.epoch && cursor.offset <= extent.newest {
            self.inner.readers.acknowledge(&self.inner.state, &socket, cursor.offset).map_err(failed)?;
        }
        Ok(())
    }

    async fn websocket_close(&self, socket: WebSocket, code: usize, _reason: String, _clean: bool) -> Result<()> {
        // The closing handshake is answered; 1005 and 1006 say that no code came and may not be sent (RFC 6455).
        self.inner.readers.leave(&self.inner.state, &socket, sockets::is_reduced(&socket));
        let code = u16::try_from(code).ok().filter(|code| !(1_004..=1_006).contains(code));
        socket.close(code, Some(""))
    }

    async fn websocket_error(&self, socket: WebSocket, error: worker::Error) -> Result<()> {
        self.inner.readers.leave(&self.inner.state, &socket, sockets::is_reduced(&socket));
        console_error!("a socket broke: {error}");
        Ok(())
    }
}
