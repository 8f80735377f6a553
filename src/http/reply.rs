//! Replies: what goes back, and the one place where an error becomes a body.
//!
//! Invariant: every reply says `no-store`, `nosniff` and its request's id; every error names the field at fault and holds
//! no value of a record, a token or a command.

use std::rc::Rc;

use super::Subscription;
use super::publish::Lines;
use crate::chart::cache::seal::View;
use crate::clinic::position::Positions;
use crate::error::{Error, Kind, Retry};
use crate::fhir::{Invalid, OperationOutcome};
use crate::time::{Ttl, UnixMillis};

/// FHIR JSON (R4 section 3.1.0.1.9).
pub const FHIR_JSON: &str = "application/fhir+json; charset=utf-8";
const JSON: &str = "application/json; charset=utf-8";
/// RFC 9457.
const PROBLEM_JSON: &str = "application/problem+json";

/// The body of a reply.
#[derive(Clone, Debug)]
pub enum Body {
    /// Made for this reply.
    Own(String),
    /// Of a view that others use as well.
    Kept(Rc<View>),
}

impl Body {
    /// The text, taken out or copied.
    pub fn into_string(self) -> String {
        match self {
            Body::Own(text) => text,
            Body::Kept(view) => view.body.clone(),
        }
    }
}

impl std::ops::Deref for Body {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Body::Own(text) => text,
            Body::Kept(view) => &view.body,
        }
    }
}

impl From<String> for Body {
    fn from(text: String) -> Body {
        Body::Own(text)
    }
}

impl PartialEq for Body {
    fn eq(&self, other: &Body) -> bool {
        **self == **other
    }
}

impl Eq for Body {}

/// A plain reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// The headers, names in lower case.
    pub headers: Vec<(&'static str, String)>,
    /// The body; empty for none.
    pub body: Body,
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A plain reply.
    Response(Response),
    /// A socket to be connected to a topic.
    Subscribe(Subscription),
    /// An event stream of a topic: this head, then whatever comes.
    Stream(Subscription, Response),
    /// A socket on which subscribers will bind.
    Bind,
    /// A file that is published: this head, then its lines as they are read.
    Lines(Lines, Response),
    /// A long poll of a topic: this head, then a page of what comes first, or of nothing after so long.
    Poll(Subscription, Ttl, Response),
}

impl Response {
    /// A reply of `status` without a body.
    pub fn empty(status: u16) -> Response {
        let headers = vec![("cache-control", "no-store".to_owned()), ("x-content-type-options", "nosniff".to_owned())];
        Response { status, headers, body: Body::Own(String::new()) }
    }

    /// A reply with a JSON body.
    pub fn json(status: u16, body: impl Into<Body>) -> Response {
        Response::empty(status).with_body(JSON, body)
    }

    /// A reply with a FHIR resource.
    pub fn fhir(status: u16, body: impl Into<Body>) -> Response {
        Response::empty(status).with_body(FHIR_JSON, body)
    }

    /// The head of a reply whose JSON comes later.
    pub fn json_to_come() -> Response {
        Response::empty(200).header("content-type", JSON)
    }

    fn with_body(self, content_type: &str, body: impl Into<Body>) -> Response {
        Response { body: body.into(), ..self }.header("content-type", content_type)
    }

    /// Where in some topics it was read.
    pub fn read_at(self, positions: &Positions) -> Response {
        match positions.to_header() {
            Some(positions) => self.header("bedside-cursor", positions),
            None => self,
        }
    }

    /// With one more header.
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Response {
        self.headers.push((name, value.into()));
        self
    }
}

impl Reply {
    /// With the request's id, and when it was answered (RFC 9110 section 6.6.1): a page whose own clock is wrong needs it
    /// to tell how long its session lasts.
    pub fn marked(self, id: &str, now: UnixMillis) -> Reply {
        let mark = |response: Response| response.header("x-request-id", id).header("date", now.to_http_date());
        match self {
            Reply::Response(response) => Reply::Response(mark(response)),
            Reply::Subscribe(subscription) => Reply::Subscribe(subscription),
            Reply::Bind => Reply::Bind,
            Reply::Stream(subscription, head) => Reply::Stream(subscription, mark(head)),
            Reply::Lines(lines, head) => Reply::Lines(lines, mark(head)),
            Reply::Poll(subscription, wait, head) => Reply::Poll(subscription, wait, mark(head)),
        }
    }
}

/// The reply of an error: an OperationOutcome under `/fhir`, problem details elsewhere.
pub fn failure(error: &Error, fhir: bool, path: &str) -> Response {
    if fhir {
        let outcome = match error.kind {
            Kind::Outside(_) => error.message.clone().into_owned(),
            _ => OperationOutcome::from(error).to_json(),
        };
        return with_headers(error, Response::fhir(error.status(), outcome));
    }
    problem(error, path, [])
}

/// The problem details of an error with `members` of its own beside those of every problem (RFC 9457 section 3.2).
pub fn problem(
    error: &Error,
    path: &str,
    members: impl IntoIterator<Item = (&'static str, serde_json::Value)>,
) -> Response {
    let status = error.status();
    let mut problem = serde_json::json!({
        "type": "about:blank",
        "title": title(error.kind),
        "status": status,
        "detail": error.message,
        "field": error.field,
        "retry": match error.retry {
            Retry::Never => "never",
            Retry::After(_) => "after",
            Retry::AfterLooking => "after-looking",
        },
        "instance": path,
    });
    if let Some(object) = problem.as_object_mut() {
        object.extend(members.into_iter().map(|(name, value)| (name.to_owned(), value)));
    }
    with_headers(error, Response::empty(status).with_body(PROBLEM_JSON, problem.to_string()))
}

/// With the headers that say how to go on.
fn with_headers(error: &Error, response: Response) -> Response {
    let response = match error.retry {
        Retry::After(ttl) => response.header("retry-after", ttl.as_secs_up().to_string()),
        Retry::Never | Retry::AfterLooking => response,
    };
    match error.kind {
        // RFC 9110 section 15.5.2: a 401 names how to sign in.
        Kind::Unauthenticated => response.header("www-authenticate", "Bearer realm=\"Bedside\""),
        _ => response,
    }
}

/// The reply of a body that is no resource, with all of its issues.
pub fn invalid(invalid: &Invalid) -> Response {
    Response::fhir(invalid.status(), invalid.to_outcome().to_json())
}

fn title(kind: Kind) -> &'static str {
    match kind {
        Kind::Invalid => "Bad request",
        Kind::Unauthenticated => "Not signed in",
        Kind::Forbidden => "Not allowed",
        Kind::NotFound => "Not found",
        Kind::Gone => "Deleted",
        Kind::MethodNotAllowed => "Method not allowed",
        Kind::NotAcceptable => "Not acceptable",
        Kind::Conflict => "Conflict",
        Kind::PreconditionFailed => "Precondition failed",
        Kind::TooLarge => "Body too large",
        Kind::UnsupportedMedia => "Unsupported content type",
        Kind::Unprocessable => "Not acceptable content",
        Kind::TooMany => "Too many requests",
        Kind::TooCostly => "Too costly",
        Kind::Internal => "Internal error",
        Kind::Unavailable => "Not available",
        Kind::Misconfigured => "Misconfigured",
        Kind::OutcomeUnknown => "Outcome unknown",
        Kind::NotSupported => "Not offered here",
        Kind::Outside(_) => "Refused by the system of record",
        Kind::BadOrigin => "Unfit answer of the system of record",
    }
}
