//! How far a listener may be behind: what was sent to it and not acknowledged.
//!
//! Invariant: to no listener is anything sent while more than [`EVENTS`] events or [`BYTES`] bytes are on their way to it.
//! The platform queues without a bound and gives no sign of a slow reader; a listener that never acknowledges is one whose
//! window is used up, however fast it reads, and comes back with its cursor.

use std::collections::VecDeque;

/// So many events may be sent and not acknowledged.
pub const EVENTS: u64 = 1_024;
/// So many bytes of frames may be sent and not acknowledged.
pub const BYTES: u64 = 4 << 20;

/// What was sent to everybody of late, in one object's memory. After a loss of memory it begins anew: whatever was sent
/// before has left the queues.
#[derive(Debug)]
pub struct Sent {
    most_events: u64,
    most_bytes: u64,
    /// The newest offset of each round with the bytes of all rounds up to it, for as long as they matter.
    rounds: VecDeque<(u64, u64)>,
    /// The bytes of all rounds.
    total: u64,
    /// The bytes of the rounds that are forgotten.
    forgotten: u64,
}

impl Default for Sent {
    fn default() -> Self {
        Sent::with(EVENTS, BYTES)
    }
}

impl Sent {
    /// A window of `events` and `bytes`.
    pub fn with(events: u64, bytes: u64) -> Sent {
        Sent { most_events: events, most_bytes: bytes, rounds: VecDeque::new(), total: 0, forgotten: 0 }
    }

    /// Notes a round of `bytes` to everybody, the last event of which has the offset `newest`.
    pub fn round(&mut self, newest: u64, bytes: usize) {
        self.total = self.total.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        self.rounds.push_back((newest, self.total));
        while self.rounds.front().is_some_and(|(offset, _)| offset.saturating_add(self.most_events) < newest) {
            if let Some((_, total)) = self.rounds.pop_front() {
                self.forgotten = total;
            }
        }
    }

    /// Whether a listener that acknowledged everything up to `acknowledged` has room for more, where the newest event that
    /// was sent has the offset `newest`.
    pub fn has_room(&self, acknowledged: u64, newest: u64) -> bool {
        if newest.saturating_sub(acknowledged) > self.most_events {
            return false;
        }
        if self.total.saturating_sub(self.forgotten) <= self.most_bytes {
            return true;
        }
        let before = self.rounds.partition_point(|(offset, _)| *offset <= acknowledged);
        let acknowledged = match before.checked_sub(1).and_then(|last| self.rounds.get(last)) {
            Some((_, total)) => *total,
            None => self.forgotten,
        };
        self.total.saturating_sub(acknowledged) <= self.most_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_counted() {
        let sent = Sent::default();
        assert!(sent.has_room(0, EVENTS));
        assert!(!sent.has_room(0, EVENTS + 1));
        assert!(sent.has_room(1, EVENTS + 1));
        assert!(sent.has_room(9, 3), "more than there is cannot be acknowledged, and harms nobody");
    }

    #[test]
    fn bytes_are_counted_since_the_acknowledgement() {
        let mut sent = Sent::default();
        let big = 1 << 20;
        for offset in 1..=4 {
            sent.round(offset, big);
            assert!(sent.has_room(0, offset));
        }
        sent.round(5, 1);
        assert!(!sent.has_room(0, 5));
        assert!(sent.has_room(1, 5));
        for offset in 6..3_000 {
            sent.round(offset, 10);
        }
        assert!(sent.has_room(2_990, 2_999), "what is forgotten was acknowledged, or the window is used up");
        assert!(sent.rounds.len() <= 1_026);
    }
}
