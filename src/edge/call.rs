//! Calls of objects: one enum of requests each, in postcard, with a deadline.
//!
//! Invariant: encoding and decoding of both directions is here and nowhere else. A call that gets no answer within
//! [`DEADLINE`] is given up: `Unavailable` where it was a read, `OutcomeUnknown` where it may have changed something.

use std::time::Duration;

use futures_util::future::{Either, select};
use serde::Serialize;
use serde::de::DeserializeOwned;
use worker::js_sys::Uint8Array;
use worker::{Delay, Env, Method, Request, RequestInit, Response, Stub, console_error};

use crate::error::{Error, Result};

/// The longest that a caller waits for an object.
const DEADLINE: Duration = Duration::from_secs(5);
/// Goes before every message: objects and Workers of two versions meet for a moment when a deployment is replaced.
const FORMAT: u8 = 1;
/// The URL of every call; objects do not look at it.
const URL: &str = "https://object/";

fn encode(value: &impl Serialize) -> Result<Vec<u8>> {
    postcard::to_extend(value, vec![FORMAT]).map_err(|_| Error::internal("a message to an object could not be written"))
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    match bytes.split_first() {
        Some((&FORMAT, rest)) => {
            postcard::from_bytes(rest).map_err(|_| Error::internal("a message of an object could not be read"))
        }
        _ => Err(Error::unavailable("the program is being replaced; try again")),
    }
}

/// The object that `binding` has under `name`.
pub fn stub(env: &Env, binding: &str, name: &str) -> Result<Stub> {
    env.durable_object(binding)
        .and_then(|namespace| namespace.id_from_name(name)?.get_stub())
        .map_err(|error| super::platform_fault("a binding to an object is missing", error))
}

/// Asks the object behind `stub`. `is_change` says whether a lost answer leaves it open what happened.
pub async fn ask<Q: Serialize, A: DeserializeOwned>(stub: &Stub, request: &Q, is_change: bool) -> Result<A> {
    let body = Uint8Array::from(encode(request)?.as_slice());
    let mut init = RequestInit::new();
    init.with_method(Method::Post).with_body(Some(body.into()));
    let message = Request::new_with_init(URL, &init)
        .map_err(|error| super::platform_fault("a message to an object could not be made", error))?;
    let exchange = async {
        let mut response = stub.fetch_with_request(message).await?;
        response.bytes().await
    };
    let bytes = within_deadline(exchange, is_change).await?;
    decode::<Result<A>>(&bytes)?
}

/// Waits for `exchange`, at most [`DEADLINE`].
pub async fn within_deadline<T>(exchange: impl Future<Output = worker::Result<T>>, is_change: bool) -> Result<T> {
    let lost = || {
        if is_change { Error::outcome_unknown() } else { Error::unavailable("an object does not answer; try again") }
    };
    match select(std::pin::pin!(exchange), Delay::from(DEADLINE)).await {
        Either::Left((Ok(value), _)) => Ok(value),
        Either::Left((Err(error), _)) => {
            console_error!("an object failed: {error}");
            Err(lost())
        }
        Either::Right(_) => {
            console_error!("an object gave no answer within {} s", DEADLINE.as_secs());
            Err(lost())
        }
    }
}

/// Reads the question that an object was asked.
pub async fn question<Q: DeserializeOwned>(request: &mut Request) -> Result<Q> {
    let bytes = request.bytes().await.map_err(|error| super::platform_fault("a message broke off", error))?;
    decode(&bytes)
}

/// Writes an object's answer.
pub fn answer<A: Serialize>(answer: &Result<A>) -> worker::Result<Response> {
    let bytes = encode(answer).map_err(|error| worker::Error::RustError(error.to_string()))?;
    Response::from_bytes(bytes)
}
