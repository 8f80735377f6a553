//! The statements of a search, put together from its pieces.
//!
//! Invariant: what came with a query is bound and never part of the text; names and numbers in the text are this program's own.

use crate::error::{Error, Result};
use crate::fhir::search::{Criterion, Key, Piece, Test};
use crate::store::sql::{MAX_PARAMETERS, Row, Sql, Value};

/// The patients of record `p.record`, as a JSON array.
pub const OWNERS: &str = "(SELECT json_group_array(c.patient) FROM versions v CROSS JOIN compartments c \
                      ON c.kind = v.kind AND c.id = v.id WHERE v.seq = p.record)";
/// The most SELECTs that the platform takes in one compound.
const MOST_TOGETHER: usize = 5;

/// A statement as it is put together.
#[derive(Default)]
pub struct Statement {
    text: String,
    values: Vec<Value>,
}

impl Statement {
    pub fn push(&mut self, text: &str) {
        self.text.push_str(text);
    }

    pub fn bind(&mut self, value: impl Into<Value>) -> String {
        self.values.push(value.into());
        format!("?{}", self.values.len())
    }

    pub fn key(&mut self, key: &Key) -> String {
        match key {
            Key::Number(number) => self.bind(*number),
            Key::Text(text) => self.bind(text.as_str()),
        }
    }

    /// What `piece` asks of the row `of` of `terms`.
    pub fn piece(&mut self, of: &str, piece: &Piece) {
        self.push(&format!("{of}.parameter = {}", piece.parameter));
        let from = self.key(&piece.from);
        if piece.is_point() {
            self.push(&format!(" AND {of}.key = {from}"));
        } else {
            let to = self.key(&piece.to);
            self.push(&format!(" AND {of}.key >= {from} AND {of}.key < {to}"));
        }
        self.tests(of, &piece.tests);
    }

    pub fn tests(&mut self, of: &str, tests: &[Test]) {
        for test in tests {
            let condition = match test {
                Test::Is(text) => format!("{of}.more = {}", self.bind(text.as_str())),
                Test::Between(low, high) => {
                    let (low, high) = (self.bind(*low), self.bind(*high));
                    format!("{of}.more >= {low} AND {of}.more <= {high}")
                }
                Test::Holds(text) => format!("instr({of}.more, {}) > 0", self.bind(text.as_str())),
                Test::KeyHolds(text) => format!("instr({of}.key, {}) > 0", self.bind(text.as_str())),
            };
            self.push(&format!(" AND {condition}"));
        }
    }

    /// The rows of `terms` that `piece` finds within `own`, by the index that has them in one range.
    pub fn range(&mut self, own: Option<u64>, piece: &Piece) {
        self.push(&from_terms("d", own));
        self.piece("d", piece);
    }

    /// The records that one of `pieces` finds within `own`, each once.
    pub fn hits(&mut self, own: Option<u64>, pieces: &[Piece]) {
        if pieces.is_empty() {
            self.push("SELECT 0 AS record WHERE false");
        }
        // A compound of few parts, each of which is one in its turn where there are more pieces than that.
        let size = pieces.len().div_ceil(MOST_TOGETHER).max(1);
        for (index, part) in pieces.chunks(size).enumerate() {
            self.push(if index == 0 {
                "SELECT DISTINCT d.record AS record FROM "
            } else {
                " UNION SELECT d.record FROM "
            });
            match part {
                [piece] => self.range(own, piece),
                _ => {
                    self.push("(");
                    self.hits(own, part);
                    self.push(") d");
                }
            }
        }
    }

    /// What `criterion` asks of record `{of}.record`.
    pub fn filter(&mut self, of: &str, criterion: &Criterion) {
        let (before, pieces) = match criterion {
            Criterion::Any(pieces) => (" AND EXISTS (", pieces),
            Criterion::None(pieces) => (" AND NOT EXISTS (", pieces),
        };
        self.push(before);
        self.push(&format!("SELECT 1 FROM terms f INDEXED BY terms_of_record WHERE f.record = {of}.record AND ("));
        for (index, piece) in pieces.iter().enumerate() {
            self.push(if index == 0 { "" } else { " OR " });
            self.piece("f", piece);
        }
        self.push(if pieces.is_empty() { "false))" } else { "))" });
    }

    pub fn run(&self, sql: &impl Sql) -> Result<Vec<Row>> {
        if self.values.len() > MAX_PARAMETERS {
            return Err(Error::invalid("query", "these are too many values for one search"));
        }
        sql.exec(&self.text, &self.values)
    }
}

/// The table of the index as `name`, and the beginning of a condition.
pub fn from_terms(name: &str, own: Option<u64>) -> String {
    match own {
        Some(own) => format!("terms {name} WHERE {name}.owner = {own} AND "),
        None => format!("terms {name} INDEXED BY terms_of_all WHERE "),
    }
}

pub fn key_of(value: Value) -> Result<Key> {
    match value {
        Value::Int(number) => Ok(Key::Number(u64::try_from(number).unwrap_or_default())),
        Value::Text(text) => Ok(Key::Text(text)),
        Value::Null | Value::Blob(_) => Err(Error::internal("a key of the search index is none")),
    }
}
