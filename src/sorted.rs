//! Ordered maps and sets in a `Vec`, with the names and the methods of the standard library's as far as they are used.
//!
//! Invariant: keys ascend and each is there once. Whatever is put in or taken out moves what is behind it, so that these are
//! for some thousands of entries at most. The code of a B-tree and of its sorting is made anew for each type of key and
//! value, some KB of the compressed module each; this is a search and a move.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

/// Sorts `items`, which are few or nearly in order, by `order`; those that are alike stay as they were. (The standard library's
/// way is some KB of the module for each type.)
pub fn sort_by<T>(items: &mut Vec<T>, mut order: impl FnMut(&T, &T) -> Ordering) {
    for next in 1..items.len() {
        let Some((item, before)) = items.get(..=next).and_then(<[T]>::split_last) else { return };
        let place = before.partition_point(|other| order(other, item) != Ordering::Greater);
        if place < next {
            let item = items.remove(next);
            items.insert(place, item);
        }
    }
}

/// Sorts `items`, which are few or nearly in order.
pub fn sort<T: Ord>(items: &mut Vec<T>) {
    sort_by(items, Ord::cmp);
}

/// A JSON object of `members`.
pub fn object(members: &mut dyn Iterator<Item = (String, Value)>) -> Map<String, Value> {
    let mut object = Map::new();
    for (name, value) in members {
        object.insert(name, value);
    }
    object
}

/// An ordered map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BTreeMap<K, V>(Vec<(K, V)>);

/// The place of a key in a map, and the map.
#[derive(Debug)]
pub struct Entry<'a, K, V> {
    entries: &'a mut Vec<(K, V)>,
    place: Result<usize, usize>,
    key: K,
}

impl<'a, K, V> Entry<'a, K, V> {
    /// The value, which is `make`'s where there was none.
    pub fn or_insert_with(self, make: impl FnOnce() -> V) -> &'a mut V {
        let place = match self.place {
            Ok(place) => place,
            Err(place) => {
                self.entries.insert(place, (self.key, make()));
                place
            }
        };
        #[allow(clippy::indexing_slicing, reason = "it was found at this place, or put there")]
        &mut self.entries[place].1
    }

    /// The value, which is `value` where there was none.
    pub fn or_insert(self, value: V) -> &'a mut V {
        self.or_insert_with(|| value)
    }

    /// The value, which is the default where there was none.
    pub fn or_default(self) -> &'a mut V
    where
        V: Default,
    {
        self.or_insert_with(V::default)
    }
}

impl<K, V> BTreeMap<K, V> {
    /// An empty one.
    pub const fn new() -> Self {
        BTreeMap(Vec::new())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.0.iter().map(|(key, value)| (key, value))
    }

    /// The keys, in order.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &K> {
        self.0.iter().map(|(key, _)| key)
    }

    /// The values, in the order of their keys.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &V> {
        self.0.iter().map(|(_, value)| value)
    }

    /// The values, in the order of their keys.
    pub fn into_values(self) -> impl DoubleEndedIterator<Item = V> {
        self.0.into_iter().map(|(_, value)| value)
    }

    /// Keeps those of which `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &mut V) -> bool) {
        self.0.retain_mut(|(key, value)| keep(key, value));
    }

    /// Takes all out.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Takes the first one out.
    pub fn pop_first(&mut self) -> Option<(K, V)> {
        (!self.0.is_empty()).then(|| self.0.remove(0))
    }
}

impl<K: Ord, V> BTreeMap<K, V> {
    fn place<Q: Ord + ?Sized>(&self, key: &Q) -> Result<usize, usize>
    where
        K: Borrow<Q>,
    {
        // What comes in order goes to the end.
        match self.0.last() {
            Some((last, _)) if last.borrow() < key => Err(self.0.len()),
            _ => self.0.binary_search_by(|(known, _)| known.borrow().cmp(key)),
        }
    }

    /// The value of `key`.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.0.get(self.place(key).ok()?).map(|(_, value)| value)
    }

    /// The value of `key`.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let place = self.place(key).ok()?;
        self.0.get_mut(place).map(|(_, value)| value)
    }

    /// Whether `key` is there.
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.place(key).is_ok()
    }

    /// Puts `value` at `key`; gives what was there.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.place(&key) {
            Ok(place) => self.0.get_mut(place).map(|(_, known)| std::mem::replace(known, value)),
            Err(place) => {
                self.0.insert(place, (key, value));
                None
            }
        }
    }

    /// Takes `key` out; gives what was there.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.place(key).ok().map(|place| self.0.remove(place).1)
    }

    /// The place of `key`.
    pub fn entry(&mut self, key: K) -> Entry<'_, K, V> {
        Entry { place: self.place(&key), entries: &mut self.0, key }
    }
}

impl<K, V> Default for BTreeMap<K, V> {
    fn default() -> Self {
        BTreeMap::new()
    }
}

impl<K: Ord, V> Extend<(K, V)> for BTreeMap<K, V> {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, entries: I) {
        for (key, value) in entries {
            self.insert(key, value);
        }
    }
}

impl<K: Ord, V> FromIterator<(K, V)> for BTreeMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut map = BTreeMap::new();
        map.extend(entries);
        map
    }
}

impl<K, V> IntoIterator for BTreeMap<K, V> {
    type Item = (K, V);
    type IntoIter = std::vec::IntoIter<(K, V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a, K, V> IntoIterator for &'a BTreeMap<K, V> {
    type Item = (&'a K, &'a V);
    type IntoIter = std::iter::Map<std::slice::Iter<'a, (K, V)>, fn(&'a (K, V)) -> (&'a K, &'a V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter().map(|(key, value)| (key, value))
    }
}

impl<K: Serialize, V: Serialize> Serialize for BTreeMap<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

struct Entries<K, V>(PhantomData<(K, V)>);

impl<'de, K: Deserialize<'de> + Ord, V: Deserialize<'de>> Visitor<'de> for Entries<K, V> {
    type Value = BTreeMap<K, V>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut map = BTreeMap::new();
        while let Some((key, value)) = entries.next_entry()? {
            map.insert(key, value);
        }
        Ok(map)
    }
}

impl<'de, K: Deserialize<'de> + Ord, V: Deserialize<'de>> Deserialize<'de> for BTreeMap<K, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Entries(PhantomData))
    }
}

/// An ordered set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<T>", bound(deserialize = "T: Deserialize<'de> + Ord"))]
pub struct BTreeSet<T>(Vec<T>);

impl<T> BTreeSet<T> {
    /// An empty one.
    pub const fn new() -> Self {
        BTreeSet(Vec::new())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, T> {
        self.0.iter()
    }

    /// Keeps those of which `keep` says so.
    pub fn retain(&mut self, keep: impl FnMut(&T) -> bool) {
        self.0.retain(keep);
    }
}

impl<T: Ord> BTreeSet<T> {
    fn place<Q: Ord + ?Sized>(&self, value: &Q) -> Result<usize, usize>
    where
        T: Borrow<Q>,
    {
        match self.0.last() {
            Some(last) if last.borrow() < value => Err(self.0.len()),
            _ => self.0.binary_search_by(|known| known.borrow().cmp(value)),
        }
    }

    /// Whether `value` is there.
    pub fn contains<Q: Ord + ?Sized>(&self, value: &Q) -> bool
    where
        T: Borrow<Q>,
    {
        self.place(value).is_ok()
    }

    /// Puts `value` in; gives whether it was not there.
    pub fn insert(&mut self, value: T) -> bool {
        let place = self.place(&value);
        if let Err(place) = place {
            self.0.insert(place, value);
        }
        place.is_err()
    }

    /// Whether all of it is in `other`.
    pub fn is_subset(&self, other: &BTreeSet<T>) -> bool {
        self.0.iter().all(|value| other.contains(value))
    }

    /// Whether nothing is in both.
    pub fn is_disjoint(&self, other: &BTreeSet<T>) -> bool {
        self.0.iter().all(|value| !other.contains(value))
    }
}

impl<T> Default for BTreeSet<T> {
    fn default() -> Self {
        BTreeSet::new()
    }
}

impl<T: Ord> From<Vec<T>> for BTreeSet<T> {
    fn from(values: Vec<T>) -> Self {
        values.into_iter().collect()
    }
}

impl<T: Ord> Extend<T> for BTreeSet<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, values: I) {
        for value in values {
            self.insert(value);
        }
    }
}

impl<T: Ord> FromIterator<T> for BTreeSet<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        let mut set = BTreeSet::new();
        set.extend(values);
        set
    }
}

impl<T> IntoIterator for BTreeSet<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a, T> IntoIterator for &'a BTreeSet<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use std::collections;

    use super::*;
    use crate::testing::Seeded;

    /// Beside the standard library's over 20,000 steps.
    #[test]
    fn they_do_what_the_standard_librarys_do() {
        let random = Seeded::new(1);
        let (mut map, mut set) = (BTreeMap::new(), BTreeSet::new());
        let (mut known_map, mut known_set) = (collections::BTreeMap::new(), collections::BTreeSet::new());
        for step in 0..20_000_u64 {
            let key = random.below(200);
            match random.below(9) {
                0 | 1 => assert_eq!(map.insert(key, step), known_map.insert(key, step)),
                2 => assert_eq!(map.remove(&key), known_map.remove(&key)),
                3 => {
                    *map.entry(key).or_insert(step) += 1;
                    *known_map.entry(key).or_insert(step) += 1;
                }
                4 => assert_eq!(map.get_mut(&key), known_map.get_mut(&key)),
                5 => assert_eq!(
                    (map.get(&key), map.contains_key(&key)),
                    (known_map.get(&key), known_map.contains_key(&key))
                ),
                6 => assert_eq!(set.insert(key), known_set.insert(key)),
                7 if key == 0 => assert_eq!(map.pop_first(), known_map.pop_first()),
                7 if key == 1 => {
                    map.retain(|key, _| key % 3 > 0);
                    known_map.retain(|key, _| key % 3 > 0);
                    set.retain(|value| value % 3 > 0);
                    known_set.retain(|value| value % 3 > 0);
                }
                _ => assert_eq!(set.contains(&key), known_set.contains(&key)),
            }
            assert!(map.iter().eq(known_map.iter()) && set.iter().eq(known_set.iter()), "step {step}");
        }
        assert!(map.len() > 50 && set.len() > 50 && known_map.len() == map.len());
        assert!(map.keys().eq(known_map.keys()) && map.values().eq(known_map.values()));
        assert_eq!(map.clone().into_values().collect::<Vec<_>>(), known_map.values().copied().collect::<Vec<_>>());

        let texts: BTreeMap<String, u64> = map.iter().rev().map(|(key, value)| (key.to_string(), *value)).collect();
        let json = serde_json::to_string(&texts).unwrap();
        assert_eq!(serde_json::from_str::<BTreeMap<String, u64>>(&json).unwrap(), texts);
        assert_eq!(serde_json::from_str::<collections::BTreeMap<String, u64>>(&json).unwrap().len(), texts.len());
        let shuffled: BTreeSet<u64> = serde_json::from_str("[3,1,2,3]").unwrap();
        assert_eq!(serde_json::to_string(&shuffled).unwrap(), "[1,2,3]");
        assert!(
            shuffled.is_disjoint(&BTreeSet::from(vec![4, 0])) && !shuffled.is_disjoint(&BTreeSet::from(vec![0, 3]))
        );
    }

    #[test]
    fn what_is_sorted_is_as_the_standard_library_has_it() {
        let random = Seeded::new(9);
        for length in 0..60_u64 {
            let items: Vec<(u64, u64)> = (0..length).map(|place| (random.below(7), place)).collect();
            let (mut ours, mut theirs) = (items.clone(), items);
            sort_by(&mut ours, |a, b| a.0.cmp(&b.0));
            theirs.sort_by_key(|item| item.0);
            assert_eq!(ours, theirs);
        }
    }
}
