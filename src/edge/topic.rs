//! The object of one topic: its log, and the sockets that follow it.
//!
//! Invariant: a socket is told what it missed and joined to the live events in one turn of the object, without a wait in
//! between, so that nothing falls between the two.

use std::cell::Cell;

use wasm_bindgen::JsCast;
use wasm_bindgen::prelude::{JsValue, wasm_bindgen};
use worker::{
    DurableObject, Env, Headers, Request, Response, Result, State, WebSocket, WebSocketIncomingMessage, WebSocketPair,
    WebSocketRequestResponsePair, console_error, durable_object,
};

use super::platform::Edge;
use super::sql::ObjectSql;
use super::{SUBSCRIPTION, call, decode_subscription, settings};
use crate::channel::frame::{self, Close, Frame, SUBPROTOCOL};
use crate::channel::log;
use crate::channel::outbox::Delivery;
use crate::channel::{Topic as Name, TopicReply, TopicRequest};
use crate::config::Retention;
use crate::error::Error;
use crate::http::Subscription;
use crate::time::Clock;

/// Events in one frame of a replay.
const REPLAY_FRAME: u64 = 100;
/// Events replayed over one connection; whoever missed more comes back for the rest.
const REPLAY_MOST: u64 = 5_000;

#[wasm_bindgen]
extern "C" {
    type Socket;

    /// `WebSocket.send` of a string that is in JavaScript already, so that it is made once for all sockets.
    #[wasm_bindgen(method, catch)]
    fn send(this: &Socket, text: &JsValue) -> std::result::Result<(), JsValue>;
}

/// A topic.
#[durable_object]
pub struct Topic {
    state: State,
    sql: ObjectSql,
    edge: Edge,
    prepared: Cell<bool>,
}

impl Topic {
    fn prepare(&self) -> crate::error::Result<()> {
        if !self.prepared.get() {
            log::prepare(&self.sql, &self.edge)?;
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

    fn handle(&self, request: TopicRequest) -> crate::error::Result<TopicReply> {
        self.prepare()?;
        match request {
            TopicRequest::Deliver { topic, delivery } => self.deliver(&topic, &delivery).map(TopicReply::Applied),
            TopicRequest::Page { after, limit, .. } => {
                log::page(&self.sql, after.as_ref(), limit).map(TopicReply::Page)
            }
        }
    }

    fn deliver(&self, topic: &Name, delivery: &Delivery) -> crate::error::Result<u64> {
        let done = log::deliver(&self.sql, &self.edge, self.edge.now(), self.retention()?, delivery)?;
        if done.broken || !done.fresh.is_empty() {
            let extent = log::extent(&self.sql)?;
            let mut frames = Vec::new();
            if done.broken {
                frames.push(frame::frame(&Frame::Gap(frame::gap(topic, &extent.before_oldest())))?);
            }
            if !done.fresh.is_empty() {
                frames.push(frame::events(&extent.epoch, &done.fresh)?);
            }
            let frames: Vec<JsValue> = frames.into_iter().map(JsValue::from).collect();
            for socket in self.state.get_websockets() {
                let socket: &Socket = socket.as_ref().unchecked_ref();
                // A socket that cannot be written to is closing; it comes back with its cursor.
                let _ = frames.iter().try_for_each(|text| socket.send(text));
            }
        }
        Ok(done.applied)
    }

    fn subscribe(&self, subscription: &Subscription, offered: bool) -> crate::error::Result<Response> {
        self.prepare()?;
        let fault = |error| super::platform_fault("a socket could not be accepted", error);
        let pair = WebSocketPair::new().map_err(fault)?;
        let ping = WebSocketRequestResponsePair::new("ping", "pong")
            .map_err(|_| Error::internal("the answer to pings could not be set"))?;
        self.state.set_websocket_auto_response(&ping);
        self.state.accept_web_socket(&pair.server);
        pair.server.serialize_attachment(&subscription.user).map_err(fault)?;
        self.replay(&pair.server, subscription)?;
        let response = Response::from_websocket(pair.client).map_err(fault)?;
        let headers = Headers::new();
        if offered {
            headers.set("sec-websocket-protocol", SUBPROTOCOL).map_err(fault)?;
        }
        Ok(response.with_headers(headers))
    }

    fn replay(&self, socket: &WebSocket, subscription: &Subscription) -> crate::error::Result<()> {
        let fault = |error| super::platform_fault("a socket could not be written to", error);
        let send = |text: String| socket.send_with_str(text).map_err(fault);
        let extent = log::extent(&self.sql)?;
        let Some(after) = &subscription.after else {
            let hello = Frame::Hello {
                cursor: extent.at(extent.newest).to_string(),
                oldest: extent.before_oldest().to_string(),
            };
            return send(frame::frame(&hello)?);
        };
        let mut page = log::page(&self.sql, Some(after), REPLAY_FRAME)?;
        let from = page.gap.as_ref().unwrap_or(after);
        send(frame::frame(&Frame::Hello { cursor: from.to_string(), oldest: extent.before_oldest().to_string() })?)?;
        if let Some(oldest) = &page.gap {
            send(frame::frame(&Frame::Gap(frame::gap(&subscription.topic, oldest)))?)?;
        }
        let mut sent = 0_u64;
        while !page.events.is_empty() {
            send(frame::events(&extent.epoch, &page.events)?)?;
            sent = sent.saturating_add(REPLAY_FRAME);
            if page.more && sent >= REPLAY_MOST {
                let code = Close::Resume.code();
                send(frame::frame(&Frame::Bye { code, resume: true })?)?;
                return socket.close(Some(code), Some("resume")).map_err(fault);
            }
            page = log::page(&self.sql, Some(&page.cursor), REPLAY_FRAME)?;
        }
        Ok(())
    }
}

impl DurableObject for Topic {
    fn new(state: State, env: Env) -> Self {
        Topic { sql: ObjectSql::of(&state), edge: Edge::new(env), state, prepared: Cell::new(false) }
    }

    async fn fetch(&self, mut request: Request) -> Result<Response> {
        if let Some(text) = request.headers().get(SUBSCRIPTION)? {
            let offered = request.headers().has("sec-websocket-protocol")?;
            let subscribed = decode_subscription(&text).and_then(|subscription| self.subscribe(&subscription, offered));
            return subscribed.map_err(|error| worker::Error::RustError(error.to_string()));
        }
        let answer = call::question(&mut request).await.and_then(|request| self.handle(request));
        call::answer(&answer)
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
