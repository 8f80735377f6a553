//! Fill tokens: who asks the origin for a view while others wait.
//!
//! Invariant: at one generation at most one token of a view is out, until it is given back or its deadline, but for those who
//! insist. A write changes the generation and thereby voids it. Tokens decide who does the work, never what may be used:
//! losing them all costs a second question to the origin and nothing else, so they live in the memory of the object that
//! holds the head.

use crate::sorted::BTreeMap;
use crate::time::{Ttl, UnixMillis};

/// So many tokens are kept before those past their deadline are swept.
const MANY: usize = 1_024;

#[derive(Debug)]
struct Token {
    number: u64,
    tag: String,
    from: UnixMillis,
    until: UnixMillis,
}

impl Token {
    /// A clock that went back is no reason to wait longer than was agreed.
    fn holds(&self, now: UnixMillis) -> bool {
        self.from <= now && now < self.until
    }
}

/// The tokens that are out.
#[derive(Debug, Default)]
pub struct Fills {
    out: BTreeMap<String, Token>,
    last: u64,
}

impl Fills {
    /// A token for `view` at the generations of `tag`, for `hold`; `None` while another has it, unless the caller insists.
    pub fn begin(&mut self, view: &str, tag: &str, now: UnixMillis, hold: Ttl, insists: bool) -> Option<u64> {
        if !insists && self.out.get(view).is_some_and(|token| token.tag == tag && token.holds(now)) {
            return None;
        }
        if self.out.len() >= MANY {
            self.out.retain(|_, token| token.holds(now));
        }
        self.last = self.last.saturating_add(1);
        let token = Token { number: self.last, tag: tag.to_owned(), from: now, until: now.plus(hold) };
        self.out.insert(view.to_owned(), token);
        Some(self.last)
    }

    /// Takes a token back; one that another has taken over since stays with it.
    pub fn end(&mut self, view: &str, number: u64) {
        if self.out.get(view).is_some_and(|token| token.number == number) {
            self.out.remove(view);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_fills_until_it_is_done_or_dead_or_overtaken_by_a_write() {
        let mut fills = Fills::default();
        let (at, hold) = (|ms: u64| UnixMillis(1_000 + ms), Ttl(50));
        let first = fills.begin("v", "g1", at(0), hold, false).unwrap();
        assert_eq!(fills.begin("v", "g1", at(49), hold, false), None);
        assert!(fills.begin("w", "g1", at(0), hold, false).is_some(), "another view");
        let second = fills.begin("v", "g1", at(50), hold, false).unwrap();
        fills.end("v", first);
        assert_eq!(
            fills.begin("v", "g1", at(60), hold, false),
            None,
            "the dead one's end takes nothing from its successor"
        );
        let third = fills.begin("v", "g2", at(60), hold, false).unwrap();
        fills.end("v", second);
        assert_eq!(fills.begin("v", "g2", at(61), hold, false), None);
        fills.end("v", third);
        assert!(fills.begin("v", "g2", at(61), hold, false).is_some());
        assert!(fills.begin("v", "g2", UnixMillis(5), hold, false).is_some(), "the clock went back");
        assert!(fills.begin("v", "g2", UnixMillis(6), hold, true).is_some(), "who insists gets one");
    }
}
