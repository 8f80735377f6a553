//! A published file as it is read.
//!
//! Invariant: a file that cannot be read on breaks off, so that nobody takes a part of it for the whole.

use futures_util::stream;
use worker::{Error, Response, Result, console_error};

use super::platform::Edge;
use crate::http::Lines;

/// The lines of a file, read a page at a time as the client takes them.
pub fn respond(edge: Edge, lines: Lines) -> Result<Response> {
    Response::from_stream(stream::try_unfold((edge, lines), |(edge, mut lines)| async move {
        match lines.next(&edge).await {
            Ok(text) => Ok::<_, Error>(text.map(|text| (text, (edge, lines)))),
            Err(error) => {
                console_error!("a published file: {error}");
                Err(Error::RustError("the file broke off".to_owned()))
            }
        }
    }))
}
