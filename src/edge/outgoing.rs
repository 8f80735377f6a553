//! Outgoing HTTP with a deadline: the platform's `fetch` as the crate's [`Http`].
//!
//! Invariant: a request whose time is over is given up, and holds its connection at most until the request that it was sent
//! for is over; what failed goes to the log without the request's URL, headers or body.

use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use worker::{Delay, console_error};

use super::boundary::{Asked, Keeper, Outcome};
use super::platform::{fill, now};
use crate::outgoing::{Http, Lost, Request, Response};
use crate::time::{Clock, Entropy, Ttl, UnixMillis};

/// The way out of this Worker, with who sees to the end of what is sent.
#[derive(Clone, Copy)]
pub struct Outgoing(pub Keeper);

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
        let mut head = String::with_capacity(512);
        head.extend([request.method, "\n", &request.url]);
        for (name, value) in &request.headers {
            head.extend(["\n", name, "\n", value]);
        }
        let wanted = request.wanted.join("\n");
        let reply = match Asked::outside(request, &head, &wanted, self.0, ttl).await {
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
