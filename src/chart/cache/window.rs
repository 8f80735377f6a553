//! Read leases (Gray and Cheriton, "Leases", 1989): what an isolate was just told and may rely on without asking again.
//!
//! Invariant: what is in a [`Window`] was true at some instant not longer ago than the window's length, counted from before
//! it was asked for; and whoever changes it does not acknowledge the change before every such window has run out
//! ([`Grants`]). It is assumed that within a window two clocks run apart by less than an eighth of it, which [`margin`] adds.
//! A clock that is seen stepping back drops everything.

use crate::sorted::BTreeMap;
use crate::time::{Ttl, UnixMillis};

/// So many answers are kept; then all are dropped, which costs a question each.
const MOST: usize = 2_048;

/// What a waiter adds for clocks that run at different rates.
pub fn margin(length: Ttl) -> Ttl {
    Ttl((length.0 / 8).saturating_add(u64::from(length.0 > 0)))
}

/// Answers that may be relied on for a moment. Plain data, bounded.
#[derive(Debug)]
pub struct Window<V> {
    length: Ttl,
    last: UnixMillis,
    answers: BTreeMap<String, (UnixMillis, V)>,
}

impl<V: Clone> Window<V> {
    /// A window of `length`; of 0 it is never open.
    pub fn new(length: Ttl) -> Window<V> {
        Window { length, last: UnixMillis(0), answers: BTreeMap::new() }
    }

    /// Whether there is such a thing here.
    pub fn is_off(&self) -> bool {
        self.length == Ttl(0)
    }

    /// Looks at the clock; says whether it went back.
    pub fn observe(&mut self, now: UnixMillis) -> bool {
        let back = now < self.last;
        if back {
            self.answers.clear();
        }
        self.last = now;
        back
    }

    /// The answer to `question`, if it may still be relied on at `now`.
    pub fn get(&mut self, now: UnixMillis, question: &str) -> Option<V> {
        if self.is_off() {
            return None;
        }
        self.observe(now);
        let (asked, answer) = self.answers.get(question)?;
        (now < asked.plus(self.length)).then(|| answer.clone())
    }

    /// Keeps the answer to `question`, which was asked at `asked`; `now` it has come.
    pub fn put(&mut self, asked: UnixMillis, now: UnixMillis, question: &str, answer: V) {
        // A clock that went back while it was under way says nothing about how long that took.
        if self.is_off() || self.observe(now) || now < asked {
            return;
        }
        if self.answers.len() >= MOST {
            self.answers.clear();
        }
        self.answers.insert(question.to_owned(), (asked, answer));
    }

    /// Forgets the answer to `question`.
    pub fn forget(&mut self, question: &str) {
        self.answers.remove(question);
    }
}

/// The question whether `user` is known to read `what`: an id has no space in it.
pub fn of(user: &str, what: &str) -> String {
    format!("{user} {what}")
}

/// Until when somebody may rely on what they were told, by whom it is about: in the memory of the object that tells it.
#[derive(Debug)]
pub struct Grants {
    length: Ttl,
    /// An object that was just started does not know what it told before.
    all: UnixMillis,
    each: BTreeMap<String, UnixMillis>,
}

impl Grants {
    /// The grants of an object that was started at `now`.
    pub fn new(length: Ttl, now: UnixMillis) -> Grants {
        Grants { length, all: now.plus(longest(length)), each: BTreeMap::new() }
    }

    /// Notes that somebody was told of `whom` at `now`.
    pub fn note(&mut self, now: UnixMillis, whom: &str) {
        if self.length == Ttl(0) {
            return;
        }
        if self.each.len() >= MOST {
            self.each.retain(|_, until| *until > now);
        }
        if self.each.len() >= MOST {
            self.each.clear();
            self.all = now.plus(longest(self.length));
        }
        self.each.insert(whom.to_owned(), now.plus(longest(self.length)));
    }

    /// How long from `now` on somebody may still rely on what they were told of one of `whom`; of anybody where it is `None`.
    /// Never longer than a window, whatever the clock has done since.
    pub fn left<'a>(&self, now: UnixMillis, whom: Option<impl IntoIterator<Item = &'a str>>) -> Ttl {
        let until = match whom {
            Some(whom) => whom.into_iter().filter_map(|one| self.each.get(one)).copied().max(),
            None => self.each.values().copied().max(),
        };
        now.until(until.unwrap_or(UnixMillis(0)).max(self.all)).min(longest(self.length))
    }
}

/// So long after it was granted may a window at most be open, as others have it.
pub fn longest(length: Ttl) -> Ttl {
    Ttl(length.0.saturating_add(margin(length).0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_relied_on_from_before_it_was_asked_for() {
        let mut window = Window::new(Ttl(300));
        window.put(UnixMillis(1_000), UnixMillis(1_100), "q", 7);
        assert_eq!(window.get(UnixMillis(1_299), "q"), Some(7));
        assert_eq!(window.get(UnixMillis(1_300), "q"), None);
        window.put(UnixMillis(1_300), UnixMillis(1_310), "q", 8);
        assert_eq!(window.get(UnixMillis(1_309), "q"), None, "the clock went back");
        assert_eq!(window.get(UnixMillis(1_320), "q"), None, "and everything was dropped");
        window.put(UnixMillis(1_500), UnixMillis(1_400), "q", 9);
        assert_eq!(window.get(UnixMillis(1_501), "q"), None, "it went back under way");
        let mut off = Window::new(Ttl(0));
        off.put(UnixMillis(1), UnixMillis(1), "q", 1);
        assert_eq!(off.get(UnixMillis(1), "q"), None);
    }

    #[test]
    fn a_change_waits_for_whom_it_is_about_and_for_all_after_a_start() {
        let none: Option<[&str; 0]> = None;
        let mut grants = Grants::new(Ttl(320), UnixMillis(10_000));
        assert_eq!(grants.left(UnixMillis(10_000), Some(["p"])), Ttl(361), "it does not know what it told before");
        let now = UnixMillis(20_000);
        assert_eq!(grants.left(now, Some(["p"])), Ttl(0));
        grants.note(now, "p");
        assert_eq!(grants.left(UnixMillis(20_100), Some(["p", "q"])), Ttl(261));
        assert_eq!(grants.left(UnixMillis(20_100), Some(["q"])), Ttl(0));
        assert_eq!(grants.left(UnixMillis(20_100), none), Ttl(261));
        assert_eq!(grants.left(UnixMillis(15_000), Some(["p"])), Ttl(361), "the clock went back");
        for number in 0..3_000 {
            grants.note(now, &format!("n{number}"));
        }
        assert_eq!(grants.left(now, Some(["p"])), Ttl(361), "forgotten, and waited for");
        assert_eq!(Grants::new(Ttl(0), now).left(now, Some(["p"])), Ttl(0));
    }
}
