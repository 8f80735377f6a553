//! Outgoing HTTP with a deadline: the platform's `fetch` as the crate's [`Http`].
//!
//! Invariant: a request whose time is over is broken off, so that it holds no connection; what failed goes to the log
//! without the request's URL, headers or body.

use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use worker::{Delay, console_error};

use super::boundary::{Asked, Outcome};
use super::platform::{fill, now};
use crate::outgoing::{Http, Lost, Request, Response};
use crate::time::{Clock, Entropy, Ttl, UnixMillis};

/// The way out of this Worker.
#[derive(Clone, Copy)]
pub struct Outgoing;

fn delay(ttl: Ttl) -> Delay {
    Delay::from(Duration::from_millis(ttl.0))
}

/// What `work` gives, or `None` after `ttl`.
pub async fn within<T>(ttl: Ttl, work: impl Future<Output = T>) -> Option<T> {
    match select(pin!(work), delay(ttl)).await {
        Either::Left((outcome, _)) => Some(outcome),
        Either::Right(_) => None,
    }
}

impl Http for Outgoing {
    async fn send(&self, request: &Request, ttl: Ttl) -> Result<Response, Lost> {
        let mut head = String::with_capacity(256);
        for (name, value) in &request.headers {
            head.extend([name, "\n", value, "\n"]);
        }
        let wanted = request.wanted.join("\n");
        let milliseconds = u32::try_from(ttl.0).unwrap_or(u32::MAX);
        let reply = match Asked::outside(request, &head, &wanted, milliseconds).await {
            Outcome::Answer(reply) => reply,
            Outcome::Late => return Err(Lost::Late),
            Outcome::Failed(error) => {
                console_error!("a request to outside failed: {error}");
                return Err(Lost::Broken);
            }
        };
        let mut lines = reply.splitn(request.wanted.len().saturating_add(2), |byte| *byte == b'\n');
        let mut line = || lines.next().map(String::from_utf8_lossy).unwrap_or_default();
        let status = line().parse().map_err(|_| Lost::Broken)?;
        let given: Vec<_> = request.wanted.iter().map(|name| (*name, line().into_owned())).collect();
        let headers = given.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        Ok(Response { status, headers, body: lines.next().unwrap_or_default().to_vec() })
    }

    async fn pause(&self, ttl: Ttl) {
        delay(ttl).await;
    }

    fn note(&self, sentence: &'static str) {
        console_error!("{sentence}");
    }
}

impl Clock for Outgoing {
    fn now(&self) -> UnixMillis {
        now()
    }
}

impl Entropy for Outgoing {
    fn fill(&self, buffer: &mut [u8]) {
        fill(buffer);
    }
}
