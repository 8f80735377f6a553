//! Positions in a topic's log, and the one verdict on what a subscriber has missed.
//!
//! Invariant: `oldest <= newest + 1` and `lost <= newest`, where `oldest` is the offset of the oldest event kept, `newest`
//! that of the newest ever given and `lost` that of the newest that was trimmed. A cursor means "I have seen everything up
//! to and including this offset". The verdict is `Replay` only if every event after the cursor is still kept.

use serde::{Deserialize, Serialize};

use crate::time::{MAX_SAFE, UnixMillis};

/// A position in a topic's log, `epoch:offset` on the wire. An epoch is one unbroken numbering; a log that lost events
/// begins another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// 1 to 32 letters and digits.
    pub epoch: String,
    /// The offset of the last event seen; 0 before the first.
    pub offset: u64,
    /// Of what comes after the offset, the events of records up to this sequence number of the outbox are known too: the
    /// reader began with a snapshot that has them. 0 where there are none; `epoch:offset~seen` on the wire where there are.
    pub seen: u64,
}

/// The position of a snapshot of records: what it holds is known, and nothing else. `epoch~sequence~millis` on the wire,
/// with `0` for an epoch that the clinic has not heard of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The epoch of the topic's log when the clinic last heard from it.
    pub epoch: Option<String>,
    /// Every event of a record up to this sequence number of the outbox is in the snapshot.
    pub seq: u64,
    /// When the snapshot was taken, by the clinic's clock: the events that are of no record count from here on.
    pub at: UnixMillis,
}

/// Where a reader goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Position {
    /// After an event.
    Cursor(Cursor),
    /// After a snapshot.
    Snapshot(Snapshot),
}

impl Cursor {
    /// The cursor of one who has seen everything up to `offset`.
    pub fn at(epoch: &str, offset: u64) -> Cursor {
        Cursor { epoch: epoch.to_owned(), offset, seen: 0 }
    }

    /// Reads a cursor as a client sent it.
    pub fn parse(text: &str) -> Option<Cursor> {
        let (epoch, rest) = text.split_once(':')?;
        let (offset, seen) = match rest.split_once('~') {
            Some((offset, seen)) => (offset, number(seen).filter(|seen| *seen > 0)?),
            None => (rest, 0),
        };
        is_epoch(epoch).then_some(Cursor { epoch: epoch.to_owned(), offset: number(offset)?, seen })
    }
}

impl Position {
    /// Reads a position as a client sent it.
    pub fn parse(text: &str) -> Option<Position> {
        if let Some(cursor) = Cursor::parse(text) {
            return Some(Position::Cursor(cursor));
        }
        let mut parts = text.split('~');
        let (epoch, seq, at) = (parts.next()?, number(parts.next()?)?, number(parts.next()?)?);
        let whole = parts.next().is_none() && is_epoch(epoch);
        let epoch = (epoch != UNHEARD).then(|| epoch.to_owned());
        whole.then_some(Position::Snapshot(Snapshot { epoch, seq, at: UnixMillis(at) }))
    }
}

/// Stands for an epoch that the clinic has not heard of; none is called so.
const UNHEARD: &str = "0";

fn is_epoch(text: &str) -> bool {
    (1..=32).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn number(text: &str) -> Option<u64> {
    let digits = (1..=16).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| digits && *number <= MAX_SAFE)
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.epoch, self.offset)?;
        if self.seen > 0 { write!(f, "~{}", self.seen) } else { Ok(()) }
    }
}

impl std::fmt::Display for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}~{}~{}", self.epoch.as_deref().unwrap_or(UNHEARD), self.seq, self.at.0)
    }
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Position::Cursor(cursor) => cursor.fmt(f),
            Position::Snapshot(snapshot) => snapshot.fmt(f),
        }
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
    /// The offset of the newest event that was trimmed or belongs to an epoch before; 0 where none does. It can be higher
    /// than `oldest`, because some kinds are kept for a shorter time.
    pub lost: u64,
}

impl Extent {
    /// The cursor of one who has seen everything up to `offset`.
    pub fn at(&self, offset: u64) -> Cursor {
        Cursor::at(&self.epoch, offset)
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
        /// The last offset that it saw of this epoch, or the one before the oldest event kept.
        after: u64,
    },
}

/// The verdict for `cursor`; the same for WebSocket, SSE, long polls and history pages.
pub fn recover(cursor: &Cursor, extent: &Extent) -> Verdict {
    let before_oldest = extent.oldest.saturating_sub(1);
    if cursor.epoch != extent.epoch || cursor.offset > extent.newest {
        return Verdict::Gap { after: before_oldest };
    }
    let after = cursor.offset.max(before_oldest);
    if cursor.offset >= extent.lost { Verdict::Replay { after } } else { Verdict::Gap { after } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_of_the_verdict() {
        let extent = Extent { epoch: "e".into(), oldest: 5, newest: 9, lost: 4 };
        let verdict = |extent: &Extent, epoch: &str, offset| recover(&Cursor::at(epoch, offset), extent);
        for offset in 4..=9 {
            assert_eq!(verdict(&extent, "e", offset), Verdict::Replay { after: offset });
        }
        for (epoch, offset) in [("e", 3), ("e", 0), ("e", 10), ("f", 7), ("f", 4)] {
            assert_eq!(verdict(&extent, epoch, offset), Verdict::Gap { after: 4 }, "{epoch}:{offset}");
        }
        let fresh = Extent { epoch: "e".into(), oldest: 1, newest: 0, lost: 0 };
        assert_eq!(verdict(&fresh, "e", 0), Verdict::Replay { after: 0 });
        // 7 was of a kind that is kept for a shorter time.
        let holes = Extent { lost: 7, ..extent };
        for offset in 4..=6 {
            assert_eq!(verdict(&holes, "e", offset), Verdict::Gap { after: offset });
        }
        assert_eq!(verdict(&holes, "e", 7), Verdict::Replay { after: 7 });
        assert_eq!(verdict(&holes, "e", 2), Verdict::Gap { after: 4 });
    }

    #[test]
    fn positions_read_back_and_rubbish_does_not() {
        let snapshot = |epoch| Snapshot { epoch, seq: 17, at: UnixMillis(1_764_000_000_000) };
        for (text, position) in [
            ("a1b2:42", Position::Cursor(Cursor::at("a1b2", 42))),
            ("a1b2:42~17", Position::Cursor(Cursor { seen: 17, ..Cursor::at("a1b2", 42) })),
            ("a1b2~17~1764000000000", Position::Snapshot(snapshot(Some("a1b2".into())))),
            ("0~17~1764000000000", Position::Snapshot(snapshot(None))),
        ] {
            assert_eq!(Position::parse(text), Some(position.clone()), "{text}");
            assert_eq!(position.to_string(), text);
        }
        for bad in [
            "",
            ":",
            "a:",
            ":1",
            "a:-1",
            "a:+1",
            "a:1:2",
            "a b:1",
            "a:9007199254740992",
            "é:1",
            "a:1~",
            "a:1~0",
            "a:~1",
            "a:1~2~3",
            "a~1",
            "a~1~",
            "a~1~2~3",
            "~1~2",
            "a~+1~2",
        ] {
            assert_eq!(Position::parse(bad), None, "{bad}");
        }
    }
}
