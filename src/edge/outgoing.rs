//! Outgoing HTTP with a deadline: the platform's `fetch` as the crate's [`Http`].
//!
//! Invariant: a request whose time is over is broken off, so that it holds no connection; what failed goes to the log
//! without the request's URL, headers or body.

use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use worker::{AbortController, Delay, Fetch, Headers, Method, RequestInit, RequestRedirect, console_error};

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

fn prepare(request: &Request) -> worker::Result<worker::Request> {
    let headers = Headers::new();
    for (name, value) in &request.headers {
        headers.set(name, value)?;
    }
    let mut init = RequestInit::new();
    // A redirect would carry the token to somebody else.
    init.with_method(Method::from(request.method.to_owned()))
        .with_headers(headers)
        .with_redirect(RequestRedirect::Manual);
    if !request.body.is_empty() {
        init.with_body(Some(request.body.as_str().into()));
    }
    worker::Request::new_with_init(&request.url, &init)
}

async fn exchange(
    message: worker::Request,
    controller: &AbortController,
    wanted: &'static [&'static str],
) -> worker::Result<Response> {
    let mut reply = Fetch::Request(message).send_with_signal(&controller.signal()).await?;
    let headers = reply.headers();
    let headers =
        wanted.iter().filter_map(|name| headers.get(name).ok().flatten().map(|value| (*name, value))).collect();
    Ok(Response { status: reply.status_code(), headers, body: reply.bytes().await? })
}

impl Http for Outgoing {
    async fn send(&self, request: &Request, ttl: Ttl) -> Result<Response, Lost> {
        let message = prepare(request).map_err(|error| {
            console_error!("a request to outside could not be made: {error}");
            Lost::Broken
        })?;
        let controller = AbortController::default();
        let outcome = match within(ttl, exchange(message, &controller, request.wanted)).await {
            Some(outcome) => outcome.map_err(|error| {
                console_error!("a request to outside failed: {error}");
                Lost::Broken
            }),
            None => Err(Lost::Late),
        };
        if outcome.is_err() {
            controller.abort();
        }
        outcome
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
