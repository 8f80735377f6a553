//! The one error type: what went wrong as a [`Kind`], who may retry and when as a [`Retry`], and the one mapping to an
//! HTTP status.
//!
//! Invariant: an error never holds a token, a password, a value out of a patient's record, a command or a key. Messages
//! are written in the source; what varies in them is a field's name, a limit, or a resource type of the R4 list.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::time::Ttl;

/// What went wrong, in the terms of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// The request cannot be understood: 400.
    Invalid,
    /// Nobody is signed in, or no longer: 401.
    Unauthenticated,
    /// Signed in, and not allowed: 403.
    Forbidden,
    /// There is no such thing, or none that the caller may know of: 404.
    NotFound,
    /// It was there and has been deleted: 410.
    Gone,
    /// The path exists, the method does not: 405.
    MethodNotAllowed,
    /// No representation that the caller accepts: 406.
    NotAcceptable,
    /// The state of the thing forbids it: 409.
    Conflict,
    /// `If-Match` or `If-None-Match` did not hold: 412.
    PreconditionFailed,
    /// The body is over its limit: 413.
    TooLarge,
    /// The content type is not one that this path takes: 415.
    UnsupportedMedia,
    /// Understood, and against the rules of the content: 422.
    Unprocessable,
    /// Over a rate: 429.
    TooMany,
    /// A fault of the server itself: 500. Its cause is in the log, not in the reply.
    Internal,
    /// Something that is needed does not answer; nothing was changed: 503.
    Unavailable,
    /// A setting is missing or contradicts another; nothing is served until it is mended: 503.
    Misconfigured,
    /// The deadline passed and the outcome is not known; the change may have been made: 504.
    OutcomeUnknown,
    /// It would take too much of what others need as well: 422.
    TooCostly,
    /// It is not offered here: 501.
    NotSupported,
    /// The system of record answered something that it should not: 502.
    BadOrigin,
    /// The system of record refuses, with this status. The message is its OperationOutcome as JSON, for the caller alone.
    Outside(u16),
}

/// Who may repeat the request, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Retry {
    /// The same request will fail again.
    Never,
    /// Anybody, after this long.
    After(Ttl),
    /// Only after looking whether the first one took effect.
    AfterLooking,
}

/// A failure, ready to be shown to the caller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    /// What went wrong.
    pub kind: Kind,
    /// One sentence that says what to do; free of secrets and of patients' data.
    pub message: Cow<'static, str>,
    /// The field, header, parameter or FHIRPath at fault, where there is one.
    pub field: Option<String>,
    /// Who may retry.
    pub retry: Retry,
}

impl Error {
    /// An error of `kind` that a repetition will not mend.
    pub fn new(kind: Kind, message: impl Into<Cow<'static, str>>) -> Self {
        Error { kind, message: message.into(), field: None, retry: Retry::Never }
    }

    /// Names what is at fault.
    pub fn at(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// Says that anybody may repeat the request after `ttl`.
    pub fn retry_after(mut self, ttl: Ttl) -> Self {
        self.retry = Retry::After(ttl);
        self
    }

    /// Bad input in `field`: 400.
    pub fn invalid(field: impl Into<String>, message: impl Into<Cow<'static, str>>) -> Self {
        Error::new(Kind::Invalid, message).at(field)
    }

    /// A part that does not answer, with nothing changed: 503, again in a second.
    pub fn unavailable(message: impl Into<Cow<'static, str>>) -> Self {
        Error::new(Kind::Unavailable, message).retry_after(Ttl::from_secs(1))
    }

    /// A deadline that passed while a change was under way: 504.
    pub fn outcome_unknown() -> Self {
        Error {
            retry: Retry::AfterLooking,
            ..Error::new(
                Kind::OutcomeUnknown,
                "no answer within the deadline; the change may have been made: look before repeating it",
            )
        }
    }

    /// A fault of our own; `message` says which part, never why in the caller's data.
    pub fn internal(message: impl Into<Cow<'static, str>>) -> Self {
        Error::new(Kind::Internal, message)
    }

    /// The HTTP status (RFC 9110 section 15; 429 is RFC 6585).
    pub fn status(&self) -> u16 {
        match self.kind {
            Kind::Invalid => 400,
            Kind::Unauthenticated => 401,
            Kind::Forbidden => 403,
            Kind::NotFound => 404,
            Kind::MethodNotAllowed => 405,
            Kind::NotAcceptable => 406,
            Kind::Conflict => 409,
            Kind::Gone => 410,
            Kind::PreconditionFailed => 412,
            Kind::TooLarge => 413,
            Kind::UnsupportedMedia => 415,
            Kind::Unprocessable | Kind::TooCostly => 422,
            Kind::TooMany => 429,
            Kind::Internal => 500,
            Kind::NotSupported => 501,
            Kind::BadOrigin => 502,
            Kind::Outside(status) => status,
            Kind::Unavailable | Kind::Misconfigured => 503,
            Kind::OutcomeUnknown => 504,
        }
    }

    /// The code of a FHIR R4 OperationOutcome issue (value set `issue-type`).
    pub fn issue_code(&self) -> &'static str {
        match self.kind {
            Kind::Invalid => "invalid",
            Kind::Unauthenticated => "login",
            Kind::Forbidden => "forbidden",
            Kind::NotFound => "not-found",
            Kind::Gone => "deleted",
            Kind::MethodNotAllowed | Kind::NotAcceptable | Kind::UnsupportedMedia | Kind::NotSupported => {
                "not-supported"
            }
            Kind::Conflict | Kind::PreconditionFailed => "conflict",
            Kind::TooLarge => "too-long",
            Kind::Unprocessable | Kind::Outside(_) => "business-rule",
            Kind::TooMany => "throttled",
            Kind::TooCostly => "too-costly",
            Kind::Internal | Kind::BadOrigin => "exception",
            Kind::Unavailable | Kind::Misconfigured => "transient",
            Kind::OutcomeUnknown => "timeout",
        }
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.field {
            _ if matches!(self.kind, Kind::Outside(_)) => write!(f, "{:?}", self.kind),
            Some(field) => write!(f, "{:?} at {field}: {}", self.kind, self.message),
            None => write!(f, "{:?}: {}", self.kind, self.message),
        }
    }
}

impl std::error::Error for Error {}

/// The result of nearly everything here.
pub type Result<T> = std::result::Result<T, Error>;
