//! Calls of objects: one enum of requests each, in postcard, with a deadline.
//!
//! Invariant: encoding and decoding of both directions is here and nowhere else. A call that gets no answer within
//! [`DEADLINE`] is given up: `Unavailable` where it was a read, `OutcomeUnknown` where it may have changed something.

use serde::Serialize;
use serde::de::DeserializeOwned;
use wasm_bindgen::JsValue;
use worker::{Response, console_error};

use super::boundary::{Asked, Keeper, Outcome};
use super::outgoing::within;
use crate::error::{Error, Result};
use crate::time::Ttl;

/// The longest that a caller waits for an object.
pub const DEADLINE: Ttl = Ttl::from_secs(5);
/// Goes before every message: objects and Workers of two versions meet for a moment when a deployment is replaced.
const FORMAT: u8 = 1;

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

fn lost(is_change: bool) -> Error {
    if is_change { Error::outcome_unknown() } else { Error::unavailable("an object does not answer; try again") }
}

fn late(is_change: bool) -> Error {
    console_error!("an object gave no answer within {} s", DEADLINE.as_secs_up());
    lost(is_change)
}

/// Asks an object, given by its binding and its name. `is_change` says whether a lost answer leaves it open what happened.
pub async fn ask<Q: Serialize, A: DeserializeOwned>(
    env: &JsValue,
    object: (&str, &str),
    keeper: Keeper,
    request: &Q,
    is_change: bool,
) -> Result<A> {
    match Asked::object(env, object, &encode(request)?, keeper, DEADLINE).await {
        Outcome::Answer(bytes) => decode::<Result<A>>(&bytes)?,
        Outcome::Failed(error) => {
            console_error!("an object failed: {error}");
            Err(lost(is_change))
        }
        Outcome::Late => Err(late(is_change)),
    }
}

/// Waits for `exchange`, at most [`DEADLINE`].
async fn within_deadline<T>(exchange: impl Future<Output = worker::Result<T>>, is_change: bool) -> Result<T> {
    match within(DEADLINE, exchange).await {
        Some(Ok(value)) => Ok(value),
        Some(Err(error)) => {
            console_error!("an object failed: {error}");
            Err(lost(is_change))
        }
        None => Err(late(is_change)),
    }
}

/// Waits for an object to take a socket; an object that does not take it answers why.
pub async fn connection(exchange: impl Future<Output = worker::Result<Response>>) -> Result<Response> {
    let mut response = within_deadline(exchange, false).await?;
    if response.status_code() == 101 {
        return Ok(response);
    }
    let bytes = within_deadline(response.bytes(), false).await?;
    decode::<Result<()>>(&bytes)??;
    Err(Error::internal("an object answered a socket with nothing"))
}

/// Reads the question that an object was asked.
pub fn question<Q: DeserializeOwned>(message: &[u8]) -> Result<Q> {
    decode(message)
}

/// Writes an object's answer.
pub fn answer<A: Serialize>(answer: &Result<A>) -> Vec<u8> {
    encode(answer).or_else(|error| encode(&Err::<(), _>(error))).unwrap_or_default()
}
