//! What a caller says of a lease: its name, its request's id, its time to live.
//!
//! Invariant: a name or request id that exists is one that fits into a path, a key and a log line as it is; a time to live
//! that has passed here is within its bounds.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};
use crate::time::Ttl;

/// The shortest time to live.
pub const SHORTEST: Ttl = Ttl::from_secs(1);
/// The longest time to live.
pub const LONGEST: Ttl = Ttl::from_mins(60);
/// The time to live of a grant that does not say.
pub const USUAL: Ttl = Ttl::from_secs(30);

fn is_plain(text: &str, longest: usize) -> bool {
    (1..=longest).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b':'))
}

/// The name of a lease: 1 to 128 of `A-Z a-z 0-9 . _ - :`. No slash: a name is one segment of a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LeaseName(String);

impl LeaseName {
    /// Reads a name; `None` where it is none.
    pub fn parse(text: &str) -> Option<LeaseName> {
        is_plain(text, 128).then(|| LeaseName(text.to_owned()))
    }

    /// The text of it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LeaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a caller calls a request, so that a retry is known as one: 1 to 64 of `A-Z a-z 0-9 . _ - :`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestId(String);

impl RequestId {
    /// The text of it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads a request id: 422 where it is none.
    pub fn parse(text: &str) -> Result<RequestId> {
        if is_plain(text, 64) {
            return Ok(RequestId(text.to_owned()));
        }
        Err(Error::new(Kind::Unprocessable, "a request id has 1 to 64 of A-Z a-z 0-9 . _ - :").at("request_id"))
    }
}

/// `seconds` as a time to live: 422 where it is out of bounds.
pub fn ttl(seconds: i64) -> Result<Ttl> {
    let ttl = u64::try_from(seconds).ok().map(Ttl::from_secs).filter(|ttl| (SHORTEST..=LONGEST).contains(ttl));
    ttl.ok_or_else(|| Error::new(Kind::Unprocessable, "a lease lives 1 to 3600 seconds").at("ttl_seconds"))
}

/// `seconds` as the longest time to wait for a turn; `None` for not at all: 422 where it is out of bounds.
pub fn wait(seconds: i64) -> Result<Option<Ttl>> {
    match u64::try_from(seconds) {
        Ok(0) => Ok(None),
        Ok(seconds @ 1..=60) => Ok(Some(Ttl::from_secs(seconds))),
        _ => Err(Error::new(Kind::Unprocessable, "a request waits 0 to 60 seconds").at("wait_seconds")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_request_ids() {
        let (longest, too_long) = ("n".repeat(128), "n".repeat(129));
        for good in ["a", "slot:2026-11-23T09.30_x", &longest] {
            assert_eq!(LeaseName::parse(good).unwrap().to_string(), good);
        }
        for bad in ["", "a/b", "a b", "a%3Ab", "é", "a\n", &too_long] {
            assert_eq!(LeaseName::parse(bad), None, "{bad}");
        }
        assert!(RequestId::parse(&"r".repeat(64)).is_ok());
        for bad in ["", "a/b", &"r".repeat(65)] {
            let error = RequestId::parse(bad).unwrap_err();
            assert_eq!((error.status(), error.field.as_deref()), (422, Some("request_id")));
        }
    }

    #[test]
    fn a_time_to_live_is_within_its_bounds() {
        assert_eq!(ttl(1), Ok(SHORTEST));
        assert_eq!(ttl(3_600), Ok(LONGEST));
        for bad in [i64::MIN, -1, 0, 3_601, i64::MAX] {
            let error = ttl(bad).unwrap_err();
            assert_eq!((error.status(), error.field.as_deref()), (422, Some("ttl_seconds")), "{bad}");
        }
    }
}
