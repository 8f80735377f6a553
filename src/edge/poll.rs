//! A channel as a long poll, over a bridge to the topic's object: the head goes at once, the page as soon as there is one.

use std::time::Duration;

use futures_util::stream;
use worker::{Date, Response, Result, WebSocket, console_error};

use super::bridge::{Bridge, Next};
use crate::channel::cursor::Position;
use crate::channel::poll;
use crate::time::Ttl;

/// The page of what comes first over `socket`, to a client that has seen everything up to `after`; nothing after `wait`.
pub fn respond(socket: WebSocket, after: Option<Position>, wait: Ttl) -> Result<Response> {
    let mut bridge = Bridge::open(socket)?;
    let until = Date::now().as_millis().saturating_add(wait.0);
    Response::from_stream(stream::once(Box::pin(async move {
        loop {
            let left = Duration::from_millis(until.saturating_sub(Date::now().as_millis()));
            let page = match bridge.next(left).await {
                Next::Frame(frame) => poll::translate(&frame),
                Next::Quiet | Next::End => after.as_ref().map(poll::nothing).transpose(),
            };
            match page {
                Ok(Some(page)) => return Ok::<_, worker::Error>(page),
                Ok(None) => {}
                Err(error) => {
                    console_error!("a long poll: {error}");
                    return Err(worker::Error::RustError("the poll broke off".to_owned()));
                }
            }
        }
    })))
}
