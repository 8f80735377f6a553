//! A channel as an event stream, over a bridge to the topic's object.
//!
//! Invariant: whatever does not fit ends the stream after what came before it, never in between: the client comes back with
//! its last event id.

use std::time::Duration;

use futures_util::stream;
use worker::{Response, Result, WebSocket, console_error};

use super::bridge::{Bridge, Next};
use crate::channel::sse::{self, Said};

/// Quiet for this long, a stream says that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// The most bytes that one stream sends, well before the limit on the CPU time of a request.
const MOST_SENT: usize = 16 << 20;

struct Stream {
    bridge: Bridge,
    sent: usize,
    /// Where the client is once it has read what was sent last: it has, when it asks for more.
    reading: Option<String>,
}

impl Stream {
    /// What is sent next; `None` ends the stream.
    async fn next(&mut self) -> Option<String> {
        if self.sent == 0 {
            return Some(sse::OPENING.to_owned());
        }
        if let Some(cursor) = self.reading.take() {
            self.bridge.read(&cursor);
        }
        if self.sent >= MOST_SENT {
            return None;
        }
        loop {
            let frame = match self.bridge.next(HEARTBEAT).await {
                Next::Frame(frame) => frame,
                Next::Quiet => return Some(sse::HEARTBEAT.to_owned()),
                Next::End => return None,
            };
            match sse::translate(&frame) {
                Ok(Said::Nothing) => {}
                Ok(Said::Text { text, cursor }) => {
                    self.reading = Some(cursor);
                    return Some(text);
                }
                Ok(Said::End) => return None,
                Err(error) => {
                    console_error!("an event stream: {error}");
                    return None;
                }
            }
        }
    }
}

/// The event stream of what comes over `socket`.
pub fn respond(socket: WebSocket) -> Result<Response> {
    let stream = Stream { bridge: Bridge::open(socket)?, sent: 0, reading: None };
    Response::from_stream(stream::unfold(stream, |mut stream| async move {
        let text = stream.next().await?;
        stream.sent = stream.sent.saturating_add(text.len());
        Some((Ok::<_, worker::Error>(text), stream))
    }))
}
