//! Views in the cache: how they are named, written and judged.
//!
//! Invariant: [`judge`] says hit only for an entry whose generation is the head's. An entry carries the generation that the
//! record had in the transaction that read it, so that a fill that comes late is never used.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::store::Shard;
use crate::store::bytes::{Cached, Name};
use crate::time::{Ttl, UnixMillis};

/// A cached view of a patient's record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// The head's generation when it was read.
    pub generation: String,
    /// The record's version.
    pub version: u64,
    /// When that version was written.
    pub updated: UnixMillis,
    /// The JSON.
    pub body: String,
}

/// The name of the entry of the Patient resource itself.
pub fn name(patient: &str) -> Name {
    Name { shard: Shard::of(&format!("patient/{patient}")), key: format!("chart/Patient/{patient}") }
}

/// The entry of `view`, for `ttl` from `now` on.
pub fn entry(view: &View, now: UnixMillis, ttl: Ttl) -> Result<Cached> {
    let value = postcard::to_allocvec(view).map_err(|_| Error::internal("a view could not be written"))?;
    Ok(Cached { value, expires: now.plus(ttl) })
}

/// What the cache had for a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// This view, for so much longer.
    Hit(View, Ttl),
    /// Nothing, or nothing that can be read.
    Absent,
    /// A view from before a write.
    Changed,
}

/// Judges `entry` against the head's `generation` at `now`.
pub fn judge(entry: Option<Cached>, generation: &str, now: UnixMillis) -> Verdict {
    let Some(entry) = entry else { return Verdict::Absent };
    // An entry that an earlier version of the program wrote is no error: it is read again from the record.
    let Ok(view) = postcard::from_bytes::<View>(&entry.value) else { return Verdict::Absent };
    if view.generation != generation {
        return Verdict::Changed;
    }
    Verdict::Hit(view, now.until(entry.expires))
}

/// The `Cache-Status` header (RFC 9211) of a read that went through the cache.
pub fn cache_status(verdict: &Verdict, stored: bool) -> String {
    let stored = if stored { "; stored" } else { "" };
    match verdict {
        Verdict::Hit(_, ttl) => format!("Bedside; hit; ttl={}", ttl.0 / 1_000),
        Verdict::Absent => format!("Bedside; fwd=uri-miss{stored}"),
        Verdict::Changed => format!("Bedside; fwd=miss; detail=changed{stored}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_heads_generation_hits() {
        let view = View { generation: "g1".into(), version: 1, updated: UnixMillis(5), body: "{}".into() };
        let now = UnixMillis(1_000);
        let entry = Some(entry(&view, now, Ttl(90_500)).unwrap());
        let hit = judge(entry.clone(), "g1", UnixMillis(1_500));
        assert_eq!(hit, Verdict::Hit(view, Ttl(90_000)));
        assert_eq!(cache_status(&hit, false), "Bedside; hit; ttl=90");
        assert_eq!(cache_status(&judge(entry, "g2", now), true), "Bedside; fwd=miss; detail=changed; stored");
        assert_eq!(cache_status(&judge(None, "g2", now), true), "Bedside; fwd=uri-miss; stored");
        let rubbish = Some(Cached { value: vec![255; 3], expires: now });
        assert_eq!(judge(rubbish, "g2", now), Verdict::Absent);
    }
}
