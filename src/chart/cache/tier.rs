//! The in-isolate tier: opened views in memory, so that a large chart is neither fetched nor opened twice.
//!
//! Invariant: the bytes of all bodies never exceed the bound; the least recently used goes first. A view is given only for
//! the tag it was read at: the head is still asked for each time.

use std::rc::Rc;

use super::seal::View;
use crate::sorted::BTreeMap;

/// Counted for a view beside its body: its name, its tag and the place in the maps.
const OVERHEAD: usize = 512;

#[derive(Debug)]
struct Held {
    used: u64,
    view: Rc<View>,
}

/// Views in memory.
#[derive(Debug)]
pub struct Tier {
    most: usize,
    bytes: usize,
    clock: u64,
    views: BTreeMap<String, Held>,
    by_use: BTreeMap<u64, String>,
}

fn weight(view: &View) -> usize {
    view.body.len().saturating_add(OVERHEAD)
}

impl Tier {
    /// A tier of at most `most` bytes.
    pub fn new(most: usize) -> Tier {
        Tier { most, bytes: 0, clock: 0, views: BTreeMap::new(), by_use: BTreeMap::new() }
    }

    /// Whether there is a view called `name`, at whatever tag.
    pub fn has(&self, name: &str) -> bool {
        self.views.contains_key(name)
    }

    /// The view called `name` at `tag`.
    pub fn get(&mut self, name: &str, tag: &str) -> Option<Rc<View>> {
        let held = self.views.get_mut(name)?;
        if held.view.tag != tag {
            return None;
        }
        self.clock = self.clock.saturating_add(1);
        let last = std::mem::replace(&mut held.used, self.clock);
        if let Some(name) = self.by_use.remove(&last) {
            self.by_use.insert(self.clock, name);
        }
        Some(Rc::clone(&held.view))
    }

    /// Keeps `view` under `name`, in the place of what was there. One that is larger than a quarter of the whole is not kept.
    pub fn put(&mut self, name: &str, view: Rc<View>) {
        self.remove(name);
        let weight = weight(&view);
        if weight > self.most / 4 {
            return;
        }
        while self.bytes.saturating_add(weight) > self.most {
            let Some((_, oldest)) = self.by_use.pop_first() else { break };
            self.drop_view(&oldest);
        }
        self.clock = self.clock.saturating_add(1);
        self.bytes = self.bytes.saturating_add(weight);
        self.by_use.insert(self.clock, name.to_owned());
        self.views.insert(name.to_owned(), Held { used: self.clock, view });
    }

    /// Removes what is under `name`.
    pub fn remove(&mut self, name: &str) {
        if let Some(used) = self.drop_view(name) {
            self.by_use.remove(&used);
        }
    }

    fn drop_view(&mut self, name: &str) -> Option<u64> {
        let held = self.views.remove(name)?;
        self.bytes = self.bytes.saturating_sub(weight(&held.view));
        Some(held.used)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chart::cache::life::Life;
    use crate::time::{Ttl, UnixMillis};

    fn view(tag: &str, size: usize) -> Rc<View> {
        let life = Life { filled: UnixMillis(0), took: Ttl(0), fresh_until: UnixMillis(1) };
        Rc::new(View { tag: tag.into(), life, version: None, body: "x".repeat(size) })
    }

    #[test]
    fn the_least_recently_used_goes_first_and_the_bound_holds() {
        let mut tier = Tier::new(10_000);
        for name in ["a", "b", "c", "d"] {
            tier.put(name, view("g", 1_900));
        }
        assert!(tier.get("a", "g").is_some());
        tier.put("e", view("g", 1_900));
        let left: Vec<_> = ["a", "b", "c", "d", "e"].into_iter().filter(|name| tier.has(name)).collect();
        assert_eq!(left, ["a", "c", "d", "e"]);
        tier.put("a", view("g2", 10));
        assert!(tier.get("a", "g").is_none() && tier.get("a", "g2").is_some(), "only its own tag");
        tier.put("huge", view("g", 2_500));
        assert!(!tier.has("huge"));
        for number in 0..1_000 {
            tier.put(&format!("n{number}"), view("g", number));
            assert!(tier.bytes <= 10_000 && tier.by_use.len() == tier.views.len());
            assert_eq!(tier.bytes, tier.views.values().map(|held| weight(&held.view)).sum::<usize>());
        }
    }
}
