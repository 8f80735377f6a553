//! A request from outside as the crate's [`Incoming`].
//!
//! Invariant: a body is never held beyond its limit: it is counted as it comes, or is as long as it was announced.

use futures_util::StreamExt;
use wasm_bindgen_futures::JsFuture;
use worker::js_sys::Uint8Array;
use worker::{Request, web_sys};

use crate::error::{Error, Kind, Result};
use crate::http::Incoming;

/// The headers that come over with the request, those of its body last; any other is asked for in JavaScript.
pub const HEADERS: [&str; 9] = [
    "authorization",
    "cookie",
    "accept",
    "cache-control",
    "if-none-match",
    "bedside-background",
    "upgrade",
    "content-type",
    "content-length",
];
/// So many of them come with a request that has no body.
pub const WITHOUT_BODY: usize = 7;

/// A request from outside.
pub struct EdgeRequest {
    method: String,
    url: String,
    /// Where in `url` the path begins and the query begins; both its end where there is none.
    path: (usize, usize),
    /// The values of [`HEADERS`], or of the first [`WITHOUT_BODY`] of them, a line each; an empty one is one that was not sent.
    headers: String,
    request: web_sys::Request,
}

impl EdgeRequest {
    /// Takes the request apart.
    pub fn new(method: String, mut url: String, headers: String, request: web_sys::Request) -> EdgeRequest {
        url.truncate(url.find('#').unwrap_or(url.len()));
        let authority = url.find("://").map_or(0, |at| at.saturating_add(3));
        let rest = url.get(authority..).unwrap_or_default();
        let begins = authority.saturating_add(rest.find(['/', '?']).unwrap_or(rest.len()));
        let ends = url.find('?').unwrap_or(url.len());
        EdgeRequest { method, path: (begins, ends), headers, request, url }
    }

    /// Whether the reply may have a body: not that of a HEAD.
    pub fn wants_body(&self) -> bool {
        self.method != "HEAD"
    }
}

impl Incoming for EdgeRequest {
    fn method(&self) -> &str {
        // A HEAD is answered as a GET without its body (RFC 9110 section 9.3.2).
        if self.method == "HEAD" { "GET" } else { &self.method }
    }

    fn path(&self) -> &str {
        self.url.get(self.path.0..self.path.1).unwrap_or_default()
    }

    fn query(&self) -> &str {
        self.url.get(self.path.1..).unwrap_or_default().strip_prefix('?').unwrap_or_default()
    }

    fn origin(&self) -> &str {
        self.url.get(..self.path.0).unwrap_or_default()
    }

    fn header(&self, name: &str) -> Option<String> {
        match HEADERS.iter().position(|known| *known == name) {
            Some(line) => self.headers.split('\n').nth(line).filter(|value| !value.is_empty()).map(str::to_owned),
            None => self.request.headers().get(name).ok().flatten(),
        }
    }

    async fn body(&self, limit: usize) -> Result<Vec<u8>> {
        let too_large = || Error::new(Kind::TooLarge, format!("the body is larger than {limit} bytes")).at("body");
        let announced = self.header("content-length").and_then(|length| length.parse::<u64>().ok());
        if announced.is_some_and(|length| usize::try_from(length).map_or(true, |length| length > limit)) {
            return Err(too_large());
        }
        let broken = || Error::invalid("body", "the body broke off");
        if announced.is_some() {
            // It is no longer than announced: what follows is another request, or an error of the protocol.
            let whole = JsFuture::from(self.request.array_buffer().map_err(|_| broken())?).await;
            return whole.map(|body| Uint8Array::new(&body).to_vec()).map_err(|_| broken());
        }
        // A request without a body has no stream.
        let Ok(mut stream) = Request::from(Clone::clone(&self.request)).stream() else { return Ok(Vec::new()) };
        let mut body = Vec::new();
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|_| broken())?;
            if body.len().saturating_add(chunk.len()) > limit {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}
