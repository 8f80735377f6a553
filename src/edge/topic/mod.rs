//! The object of one topic: its log, and the sockets that follow it.
//!
//! Invariant: a socket is told what it missed and joined to the live events in one turn of the object, without a wait in
//! between, so that nothing falls between the two.

mod bell;
mod sockets;

use std::cell::Cell;

use worker::{
    DurableObject, Env, Headers, Request, Response, Result, State, WebSocket, WebSocketIncomingMessage, WebSocketPair,
    console_error, durable_object,
};

use self::bell::Bell;
use self::sockets::Listener;
use super::alarm::Alarm;
use super::platform::Edge;
use super::sql::ObjectSql;
use super::{SUBSCRIPTION, call, decode_subscription, settings};
use crate::channel::frame::SUBPROTOCOL;
use crate::channel::replay::{Met, replay};
use crate::channel::{TopicReply, TopicRequest, object};
use crate::config::Retention;
use crate::error::Error;
use crate::http::Subscription;
use crate::time::{Clock, Ttl};

/// What is due and fails is due again after this.
const RETRY: Ttl = Ttl::from_secs(1);

/// How long whoever begins with a snapshot waits, at most, for the log to have what the snapshot has.
const CATCH_UP: Ttl = Ttl::from_secs(3);

/// A topic.
#[durable_object]
pub struct Topic {
    state: State,
    sql: ObjectSql,
    edge: Edge,
    prepared: Cell<bool>,
    alarm: Alarm,
    /// Rung when something was appended.
    bell: Bell,
}

impl Topic {
    fn prepare(&self) -> crate::error::Result<()> {
        if !self.prepared.get() {
            object::prepare(&self.sql, &self.edge, self.edge.now())?;
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
            if !done.frames.is_empty() {
                sockets::send_all(&self.state, done.frames);
                self.bell.ring();
                self.alarm.keep(&self.state, &self.sql).await?;
            }
            if done.reply != TopicReply::Behind || now >= until {
                return Ok(done.reply);
            }
            self.bell.wait(now.until(until)).await;
        }
    }

    /// Does what is due.
    async fn wake(&self) -> crate::error::Result<()> {
        self.prepare()?;
        let due = self.alarm.rang(&self.sql, self.edge.now(), RETRY)?;
        self.alarm.keep(&self.state, &self.sql).await?;
        for what in due {
            object::wake(&self.sql, self.edge.now(), self.retention()?, &what)?;
        }
        self.alarm.keep(&self.state, &self.sql).await
    }

    async fn subscribe(&self, subscription: &Subscription, offered: bool) -> crate::error::Result<Response> {
        self.prepare()?;
        let fault = |error| super::platform_fault("a socket could not be accepted", error);
        let pair = WebSocketPair::new().map_err(fault)?;
        let socket = &pair.server;
        let until = self.edge.now().plus(CATCH_UP);
        let mut accepted = false;
        loop {
            let now = self.edge.now();
            let mut send = |frame| {
                // Not before there is something to say: what is accepted is sent whatever comes.
                if !std::mem::replace(&mut accepted, true) {
                    sockets::accept(&self.state, socket, &Listener { user: subscription.user.clone() })?;
                }
                sockets::send(socket, frame)
            };
            match replay(&self.sql, &subscription.topic, subscription.after.as_ref(), &mut send)? {
                Met::Joined => break,
                Met::Closed(why) => {
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

impl DurableObject for Topic {
    fn new(state: State, env: Env) -> Self {
        Topic {
            sql: ObjectSql::of(&state),
            edge: Edge::of_object(env),
            state,
            prepared: Cell::new(false),
            alarm: Alarm::default(),
            bell: Bell::default(),
        }
    }

    async fn fetch(&self, mut request: Request) -> Result<Response> {
        if let Some(text) = request.headers().get(SUBSCRIPTION)? {
            let offered = request.headers().has("sec-websocket-protocol")?;
            let subscribed = match decode_subscription(&text) {
                Ok(subscription) => self.subscribe(&subscription, offered).await,
                Err(error) => Err(error),
            };
            return subscribed.map_err(|error| worker::Error::RustError(error.to_string()));
        }
        let answer = match call::question_of(&mut request).await {
            Ok(request) => self.handle(&request).await,
            Err(error) => Err(error),
        };
        call::reply(&answer)
    }

    async fn alarm(&self) -> Result<Response> {
        self.wake().await.map_err(|error| worker::Error::RustError(error.to_string()))?;
        Response::empty()
    }

    async fn websocket_message(&self, _socket: WebSocket, _message: WebSocketIncomingMessage) -> Result<()> {
        // Acknowledgements are the only frames of a client; nothing depends on them yet.
        Ok(())
    }

    async fn websocket_close(&self, socket: WebSocket, code: usize, _reason: String, _clean: bool) -> Result<()> {
        // The closing handshake is answered; 1005 and 1006 say that no code came and may not be sent (RFC 6455).
        let code = u16::try_from(code).ok().filter(|code| !(1_004..=1_006).contains(code));
        socket.close(code, Some(""))
    }

    async fn websocket_error(&self, _socket: WebSocket, error: worker::Error) -> Result<()> {
        console_error!("a socket broke: {error}");
        Ok(())
    }
}
