//! A request without its type.
//!
//! Invariant: handlers run over [`Erased`] alone, whether the request came from outside or is an entry of a batch. So each
//! of them is compiled once, and not once for every way in which a request can come. What its query says about the form of
//! the answer has been taken out.

use std::future::Future;
use std::pin::Pin;

use super::format::{self, Format};
use super::{Incoming, route};
use crate::error::Result;

/// What [`Incoming`] says, so that it can be said of a value whose type is not known.
trait AnyIncoming {
    fn method(&self) -> &str;
    fn path(&self) -> &str;
    fn query(&self) -> &str;
    fn origin(&self) -> &str;
    fn header(&self, name: &str) -> Option<String>;
    fn body(&self, limit: usize) -> Pin<Box<dyn Future<Output = Result<Vec<u8>>> + '_>>;
}

impl<R: Incoming> AnyIncoming for R {
    fn method(&self) -> &str {
        Incoming::method(self)
    }
    fn path(&self) -> &str {
        Incoming::path(self)
    }
    fn query(&self) -> &str {
        Incoming::query(self)
    }
    fn origin(&self) -> &str {
        Incoming::origin(self)
    }
    fn header(&self, name: &str) -> Option<String> {
        Incoming::header(self, name)
    }
    fn body(&self, limit: usize) -> Pin<Box<dyn Future<Output = Result<Vec<u8>>> + '_>> {
        Box::pin(Incoming::body(self, limit))
    }
}

/// A request, whatever its type was.
pub struct Erased<'a> {
    request: &'a dyn AnyIncoming,
    format: Option<Format>,
}

impl<'a> Erased<'a> {
    /// `request` without its type.
    pub fn new(request: &'a impl Incoming) -> Erased<'a> {
        let format = route::is_fhir(request.path()).then(|| format::take(request.query())).flatten();
        Erased { request, format }
    }
}

impl Incoming for Erased<'_> {
    fn method(&self) -> &str {
        self.request.method()
    }
    fn path(&self) -> &str {
        self.request.path()
    }
    fn query(&self) -> &str {
        self.format.as_ref().map_or_else(|| self.request.query(), |format| &format.query)
    }
    fn origin(&self) -> &str {
        self.request.origin()
    }
    fn header(&self, name: &str) -> Option<String> {
        let accept = self.format.as_ref().and_then(|format| format.accept.clone());
        accept.filter(|_| name == "accept").or_else(|| self.request.header(name))
    }
    fn body(&self, limit: usize) -> impl Future<Output = Result<Vec<u8>>> {
        self.request.body(limit)
    }
}
