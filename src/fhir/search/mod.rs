//! Search (R4 section 3.1.1): parameters, what of a resource they find, and what a query asks for, as values.
//!
//! Invariant: a record is found by its [`Term`]s and by nothing else. Every criterion is a range of keys of one parameter
//! with tests beside it ([`Piece`]), so that a store with an order of keys answers each from a range of its index.

mod date;
mod parameters;
mod parse;
mod quantity;
mod terms;
mod text;

use serde::{Deserialize, Serialize};

use super::ResourceType;

pub use parameters::{Parameter, ParameterKind, parameters_of, table_number};
pub use parse::{Asked, parse};
pub use terms::{Terms, member, owner_number, terms};

/// A key of the index. Numbers come before texts, texts go by their bytes: the order of SQLite.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Key {
    /// Milliseconds since 0001-01-01T00:00:00Z, from 1.
    Number(u64),
    /// A code, an id, a folded string, or a decimal in an order-keeping form.
    Text(String),
}

/// The key of a date or string that a resource has not: after all others.
pub const MISSING: &str = "\u{10ffff}";

impl Key {
    /// See [`MISSING`].
    pub fn missing() -> Key {
        Key::Text(MISSING.to_owned())
    }

    /// The key right after this one.
    pub fn next(&self) -> Key {
        match self {
            Key::Number(number) => Key::Number(number.saturating_add(1)),
            Key::Text(text) => Key::Text([text, "\0"].concat()),
        }
    }
}

/// What a resource can be found by: one value of one parameter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Term {
    /// The parameter, by its number.
    pub parameter: u32,
    /// What is searched and sorted by. Of a range of time, its begin.
    pub key: Key,
    /// What is tested beside it: a code's system, a reference's type, a string as it was written, the end of a range of time,
    /// a quantity's unit.
    pub more: Key,
}

/// What must hold beside the key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Test {
    /// `more` is this.
    Is(String),
    /// `more`, a number, is from the first to the second, both included.
    Between(u64, u64),
    /// `more` holds this.
    Holds(String),
    /// The key holds this.
    KeyHolds(String),
}

/// A range of the keys of one parameter, and what must hold beside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// The parameter, by its number.
    pub parameter: u32,
    /// The first key.
    pub from: Key,
    /// The first key after the range.
    pub to: Key,
    /// What must hold beside: all of it.
    pub tests: Vec<Test>,
}

impl Piece {
    /// The terms with this key.
    pub fn of(parameter: u32, key: Key) -> Piece {
        Piece { parameter, to: key.next(), from: key, tests: Vec::new() }
    }

    /// All terms of the parameter that have a value.
    pub fn all(parameter: u32) -> Piece {
        Piece { parameter, from: Key::Number(0), to: Key::missing(), tests: Vec::new() }
    }

    /// With one more test.
    pub fn test(mut self, test: Test) -> Piece {
        self.tests.push(test);
        self
    }

    /// Whether it is about one key.
    pub fn is_point(&self) -> bool {
        self.from.next() == self.to
    }
}

/// What a query asks of a record: all criteria must hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Criterion {
    /// One of the pieces finds it.
    Any(Vec<Piece>),
    /// None of the pieces finds it.
    None(Vec<Piece>),
}

/// By what is sorted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SortBy {
    /// `Resource.id`.
    Id,
    /// The lowest key of these parameters upwards, the highest downwards; records without one come last either way.
    Parameters {
        /// Their numbers.
        numbers: Vec<u32>,
        /// Whether every record of the type has a term of it, if only [`MISSING`]: then the index has the order.
        whole: bool,
        /// Whether no record has two.
        single: bool,
    },
}

/// One rule of the order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sort {
    /// By what.
    pub by: SortBy,
    /// Whether downwards.
    pub down: bool,
}

/// A search, ready to be answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Search {
    /// The type.
    pub kind: ResourceType,
    /// Only records with one of these ids.
    pub ids: Option<Vec<String>>,
    /// What must hold.
    pub criteria: Vec<Criterion>,
    /// The order; where the rules leave two records alike, the older record comes first (last, where the first rule goes
    /// downwards).
    pub sort: Vec<Sort>,
    /// The patient in whose compartment everything is that the criteria find, where they say so: a search whose answer changes
    /// only when that patient's chart does.
    pub confined: Option<String>,
    /// It as a query, for a server that answers it in our place.
    pub text: String,
}

/// Where a page ended: the keys of its last record by the rules of the order, and that record's number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// One key a rule.
    pub keys: Vec<Key>,
    /// The record's number.
    pub record: u64,
}

impl Place {
    /// As text, for a URL.
    pub fn to_text(&self) -> String {
        use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
        let bytes = postcard::to_extend(self, Vec::new()).unwrap_or_default();
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads what [`Place::to_text`] wrote, for an order of `rules` rules.
    pub fn parse(text: &str, rules: usize) -> Option<Place> {
        use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
        let place: Place = postcard::from_bytes(&bytes).ok()?;
        (place.keys.len() == rules && place.record <= crate::time::MAX_SAFE).then_some(place)
    }
}

#[cfg(test)]
mod tests;
