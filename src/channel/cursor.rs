//! Cursors, and the one verdict on what a subscriber has missed.
//!
//! Invariant: `oldest <= newest + 1`, where `oldest` is the offset of the oldest event kept and `newest` that of the
//! newest ever given. A cursor means "I have seen everything up to and including this offset". The verdict is `Replay`
//! only if every event after the cursor is still kept.

use serde::{Deserialize, Serialize};

use crate::time::MAX_SAFE;

/// A position in a topic's log, `epoch:offset` on the wire. An epoch is one unbroken numbering; a log that lost events
/// begins another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// 1 to 32 letters and digits.
    pub epoch: String,
    /// The offset of the last event seen; 0 before the first.
    pub offset: u64,
}

impl Cursor {
    /// Reads a cursor as a client sent it.
    pub fn parse(text: &str) -> Option<Cursor> {
        let (epoch, offset) = text.split_once(':')?;
        let plain = (1..=32).contains(&epoch.len()) && epoch.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let digits = (1..=16).contains(&offset.len()) && offset.bytes().all(|byte| byte.is_ascii_digit());
        let offset = offset.parse().ok().filter(|offset| *offset <= MAX_SAFE)?;
        (plain && digits).then(|| Cursor { epoch: epoch.to_owned(), offset })
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.epoch, self.offset)
    }
}

/// What a log holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The present epoch.
    pub epoch: String,
    /// The offset of the oldest event kept; `newest + 1` where none is.
    pub oldest: u64,
    /// The offset of the newest event; 0 before the first.
    pub newest: u64,
}

impl Extent {
    /// The cursor of one who has seen everything up to `offset`.
    pub fn at(&self, offset: u64) -> Cursor {
        Cursor { epoch: self.epoch.clone(), offset }
    }

    /// The cursor after which the oldest event kept comes.
    pub fn before_oldest(&self) -> Cursor {
        self.at(self.oldest.saturating_sub(1))
    }
}

/// What a subscriber with a cursor is to be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every event after this offset, and none is missing.
    Replay {
        /// The last offset seen.
        after: u64,
    },
    /// Events were lost to it: say so, then give what is kept, after this offset.
    Gap {
        /// The offset before the oldest event kept.
        after: u64,
    },
}

/// The verdict for `cursor`; the same for WebSocket, SSE and history pages.
pub fn recover(cursor: &Cursor, extent: &Extent) -> Verdict {
    let before_oldest = extent.oldest.saturating_sub(1);
    let unbroken = cursor.epoch == extent.epoch && (before_oldest..=extent.newest).contains(&cursor.offset);
    if unbroken { Verdict::Replay { after: cursor.offset } } else { Verdict::Gap { after: before_oldest } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_of_the_verdict() {
        let extent = Extent { epoch: "e".into(), oldest: 5, newest: 9 };
        let verdict = |epoch: &str, offset| recover(&Cursor { epoch: epoch.into(), offset }, &extent);
        for offset in 4..=9 {
            assert_eq!(verdict("e", offset), Verdict::Replay { after: offset });
        }
        for (epoch, offset) in [("e", 3), ("e", 0), ("e", 10), ("f", 7), ("f", 4)] {
            assert_eq!(verdict(epoch, offset), Verdict::Gap { after: 4 }, "{epoch}:{offset}");
        }
        let fresh = Extent { epoch: "e".into(), oldest: 1, newest: 0 };
        assert_eq!(recover(&fresh.at(0), &fresh), Verdict::Replay { after: 0 });
    }

    #[test]
    fn cursors_read_back_and_rubbish_does_not() {
        let cursor = Cursor { epoch: "a1b2".into(), offset: 42 };
        assert_eq!(Cursor::parse(&cursor.to_string()), Some(cursor));
        for bad in ["", ":", "a:", ":1", "a:-1", "a:+1", "a:1:2", "a b:1", "a:9007199254740992", "é:1"] {
            assert_eq!(Cursor::parse(bad), None, "{bad}");
        }
    }
}
