//! What a reply says of the cache: `Cache-Status` (RFC 9211), `Age` (RFC 9111 section 5.1) and `Server-Timing` (W3C).

use std::fmt::Write;

use crate::time::Ttl;

/// Why the origin was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    /// The cache had nothing.
    UriMiss,
    /// What the cache had was of an earlier generation.
    Changed,
    /// What the cache had is past its lifetime.
    Stale,
    /// Somebody writes to the patient this very moment.
    Writing,
    /// The request asked for it.
    Request,
    /// It is not cached.
    Bypass,
}

/// What the cache did for a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Why the origin was asked; `None` for a hit.
    pub forward: Option<Forward>,
    /// How long what was served stays fresh.
    pub ttl: Option<Ttl>,
    /// So long past its lifetime is what was served, because the origin is down.
    pub stale: Option<Ttl>,
    /// How old is what was served.
    pub age: Option<Ttl>,
    /// Another request's question to the origin served this one.
    pub collapsed: bool,
    /// The answer is in the cache now.
    pub stored: bool,
    /// What was asked for, by class and not by name; empty where it is not said.
    pub key: String,
}

impl Status {
    /// Nothing was done yet for something of the class `key`.
    pub fn new(key: impl Into<String>) -> Status {
        let key = key.into();
        Status { forward: None, ttl: None, stale: None, age: None, collapsed: false, stored: false, key }
    }

    /// The status of what is not cached.
    pub fn bypass(key: impl Into<String>) -> Status {
        Status { forward: Some(Forward::Bypass), ..Status::new(key) }
    }

    /// The value of `Cache-Status`.
    pub fn header(&self) -> String {
        let mut text = String::from(match self.forward {
            None => "Bedside; hit",
            Some(Forward::UriMiss) => "Bedside; fwd=uri-miss",
            Some(Forward::Changed) => "Bedside; fwd=miss; detail=changed",
            Some(Forward::Writing) => "Bedside; fwd=miss; detail=writing",
            Some(Forward::Stale) => "Bedside; fwd=stale",
            Some(Forward::Request) => "Bedside; fwd=request",
            Some(Forward::Bypass) => "Bedside; fwd=bypass",
        });
        // Writing to a String does not fail.
        if let Some(ttl) = self.ttl {
            let _ = write!(text, "; ttl={}", ttl.0 / 1_000);
        }
        if let Some(stale) = self.stale {
            let _ = write!(text, "; ttl=-{}; detail=origin-down", stale.as_secs_up());
        }
        text.push_str(if self.collapsed { "; collapsed" } else { "" });
        text.push_str(if self.stored { "; stored" } else { "" });
        if !self.key.is_empty() {
            let _ = write!(text, "; key=\"{}\"", self.key);
        }
        text
    }
}

/// How long each part of a request took; what it did not need is `None`. Parts run beside each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// The session was checked.
    pub session: Option<Ttl>,
    /// The head was asked for.
    pub head: Option<Ttl>,
    /// The cache was read.
    pub cache: Option<Ttl>,
    /// The origin was asked.
    pub origin: Option<Ttl>,
    /// A view was sealed or opened.
    pub seal: Option<Ttl>,
}

impl Timing {
    /// The value of `Server-Timing`, in milliseconds.
    pub fn header(&self) -> String {
        let parts = [
            ("session", self.session),
            ("head", self.head),
            ("cache", self.cache),
            ("origin", self.origin),
            ("seal", self.seal),
        ];
        let mut text = String::new();
        for (name, took) in parts {
            if let Some(took) = took {
                let separator = if text.is_empty() { "" } else { ", " };
                let _ = write!(text, "{separator}{name};dur={}", took.0);
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_case_is_said() {
        let of = |forward| Status { forward, ..Status::new("Patient") };
        let hit = Status { ttl: Some(Ttl(90_500)), ..of(None) };
        assert_eq!(hit.header(), r#"Bedside; hit; ttl=90; key="Patient""#);
        let stale = Status { stale: Some(Ttl(1_500)), ..of(None) };
        assert_eq!(stale.header(), r#"Bedside; hit; ttl=-2; detail=origin-down; key="Patient""#);
        let first = Status { stored: true, ..of(Some(Forward::UriMiss)) };
        assert_eq!(first.header(), r#"Bedside; fwd=uri-miss; stored; key="Patient""#);
        let changed = Status { stored: true, ..of(Some(Forward::Changed)) };
        assert_eq!(changed.header(), r#"Bedside; fwd=miss; detail=changed; stored; key="Patient""#);
        let shared = Status { collapsed: true, ..of(Some(Forward::UriMiss)) };
        assert_eq!(shared.header(), r#"Bedside; fwd=uri-miss; collapsed; key="Patient""#);
        let timing = Timing { session: Some(Ttl(1)), cache: Some(Ttl(0)), ..Timing::default() };
        assert_eq!(timing.header(), "session;dur=1, cache;dur=0");
        assert_eq!(Timing::default().header(), "");
    }
}
