//! Time and randomness as values: nothing else in the crate may read a clock or a random source.
//!
//! Invariant: every instant in the crate is a [`UnixMillis`] below 2^53, so that it passes through a JavaScript number
//! unchanged; every duration is a [`Ttl`] in milliseconds.

use serde::{Deserialize, Serialize};

/// The largest whole number that a JavaScript number holds exactly, 2^53 - 1.
pub const MAX_SAFE: u64 = (1 << 53) - 1;

/// An instant: milliseconds since 1970-01-01T00:00:00Z, at most [`MAX_SAFE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixMillis(pub u64);

/// A duration in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ttl(pub u64);

impl Ttl {
    /// `seconds` as a duration; saturates instead of wrapping.
    pub const fn from_secs(seconds: u64) -> Self {
        Ttl(seconds.saturating_mul(1_000))
    }

    /// `minutes` as a duration; saturates instead of wrapping.
    pub const fn from_mins(minutes: u64) -> Self {
        Ttl(minutes.saturating_mul(60_000))
    }

    /// Whole seconds, rounded up, as `Retry-After` and `Max-Age` count them.
    pub const fn as_secs_up(self) -> u64 {
        self.0.div_ceil(1_000)
    }
}

impl UnixMillis {
    /// The last instant that there is.
    pub const MAX: UnixMillis = UnixMillis(MAX_SAFE);

    /// The instant `ttl` later, never past [`MAX_SAFE`].
    pub fn plus(self, ttl: Ttl) -> Self {
        UnixMillis(self.0.saturating_add(ttl.0).min(MAX_SAFE))
    }

    /// How long until `later`; zero where it has passed.
    pub fn until(self, later: UnixMillis) -> Ttl {
        Ttl(later.0.saturating_sub(self.0))
    }

    fn timestamp(self) -> jiff::Timestamp {
        i64::try_from(self.0)
            .ok()
            .and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok())
            .unwrap_or(jiff::Timestamp::MAX)
    }

    /// RFC 3339 in UTC with milliseconds: `2026-11-23T09:30:00.125Z`, the form of every time in JSON and of a FHIR
    /// `instant`.
    pub fn to_rfc3339(self) -> String {
        format!("{:.3}", self.timestamp())
    }

    /// The `IMF-fixdate` of RFC 9110 section 5.6.7, as `Last-Modified` and `Expires` carry it.
    pub fn to_http_date(self) -> String {
        jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&self.timestamp()).unwrap_or_default()
    }

    /// Reads an RFC 3339 instant with any offset; `None` where it is none, or before 1970.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let timestamp: jiff::Timestamp = text.parse().ok()?;
        u64::try_from(timestamp.as_millisecond()).ok().map(UnixMillis)
    }
}

/// Where the present instant comes from.
pub trait Clock {
    /// The present instant. May stand still during computation and may step either way.
    fn now(&self) -> UnixMillis;
}

/// Where randomness comes from: on the edge, the platform's CSPRNG.
pub trait Entropy {
    /// Fills `buffer` with bytes that nobody can predict.
    fn fill(&self, buffer: &mut [u8]);

    /// A random UUID, version 4 (RFC 9562 section 5.4), in lower case: the form of every id the server assigns.
    fn uuid(&self) -> String {
        let mut bytes = [0_u8; 16];
        self.fill(&mut bytes);
        let value = (u128::from_be_bytes(bytes) & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
        let hex = format!("{value:032x}");
        let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
        [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Ones;
    impl Entropy for Ones {
        fn fill(&self, buffer: &mut [u8]) {
            buffer.fill(0xff);
        }
    }

    #[test]
    fn formats_are_those_of_their_standards() {
        let at = UnixMillis(1_764_000_000_125);
        assert_eq!(at.to_rfc3339(), "2025-11-24T16:00:00.125Z");
        assert_eq!(at.to_http_date(), "Mon, 24 Nov 2025 16:00:00 GMT");
        assert_eq!(UnixMillis::parse_rfc3339("2025-11-24T17:00:00.125+01:00"), Some(at));
        assert_eq!(UnixMillis::parse_rfc3339("2025-11-24"), None);
        assert_eq!(UnixMillis(0).to_rfc3339(), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn a_uuid_has_version_and_variant() {
        assert_eq!(Ones.uuid(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }

    #[test]
    fn sums_stay_within_a_javascript_number() {
        assert_eq!(UnixMillis(MAX_SAFE).plus(Ttl::from_secs(u64::MAX)), UnixMillis(MAX_SAFE));
        assert_eq!(UnixMillis(5).until(UnixMillis(3)), Ttl(0));
        assert_eq!(Ttl(1_001).as_secs_up(), 2);
    }
}
