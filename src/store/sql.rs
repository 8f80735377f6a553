//! The SQL port: the one way in which an object's rules reach its rows, the same text in the object and in native tests.
//!
//! Invariant: whatever runs inside [`Sql::transaction`] takes effect whole or not at all. A statement is given one at a
//! time, with at most 100 parameters (a limit of the platform).

use crate::error::{Error, Result};
use crate::time::{MAX_SAFE, UnixMillis};

/// The most parameters that one statement may bind.
pub const MAX_PARAMETERS: usize = 100;

/// A value in a row or a parameter. Whole numbers stay below 2^53, since they pass through JavaScript numbers.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// NULL
    Null,
    /// INTEGER
    Int(i64),
    /// TEXT
    Text(String),
    /// BLOB
    Blob(Vec<u8>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::Text(text)
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Value::Blob(bytes)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Value::Int(i64::try_from(number.min(MAX_SAFE)).unwrap_or(i64::MAX))
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Value::Int(i64::from(truth))
    }
}

impl From<UnixMillis> for Value {
    fn from(at: UnixMillis) -> Self {
        Value::from(at.0)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::Null, Into::into)
    }
}

/// A row, read from left to right: each method takes the next column.
#[derive(Debug)]
pub struct Row(std::vec::IntoIter<Value>);

impl Row {
    /// A row of these columns.
    pub fn new(columns: Vec<Value>) -> Row {
        Row(columns.into_iter())
    }

    /// The next column, whatever it is; NULL after the last.
    pub fn value(&mut self) -> Value {
        self.0.next().unwrap_or(Value::Null)
    }

    /// The next column as text.
    pub fn text(&mut self) -> Result<String> {
        self.maybe_text()?.ok_or_else(mismatch)
    }

    /// The next column as text or NULL.
    pub fn maybe_text(&mut self) -> Result<Option<String>> {
        match self.value() {
            Value::Text(text) => Ok(Some(text)),
            Value::Null => Ok(None),
            Value::Int(_) | Value::Blob(_) => Err(mismatch()),
        }
    }

    /// The next column as a whole number that is not negative.
    pub fn number(&mut self) -> Result<u64> {
        self.maybe_number()?.ok_or_else(mismatch)
    }

    /// The next column as a whole number that is not negative, or NULL.
    pub fn maybe_number(&mut self) -> Result<Option<u64>> {
        match self.value() {
            Value::Int(number) => u64::try_from(number).map(Some).map_err(|_| mismatch()),
            Value::Null => Ok(None),
            Value::Text(_) | Value::Blob(_) => Err(mismatch()),
        }
    }

    /// The next column as an instant.
    pub fn instant(&mut self) -> Result<UnixMillis> {
        self.number().map(UnixMillis)
    }

    /// The next column as a truth.
    pub fn truth(&mut self) -> Result<bool> {
        self.number().map(|number| number != 0)
    }

    /// The next column as bytes.
    pub fn bytes(&mut self) -> Result<Vec<u8>> {
        match self.value() {
            Value::Blob(bytes) => Ok(bytes),
            Value::Null | Value::Int(_) | Value::Text(_) => Err(mismatch()),
        }
    }
}

fn mismatch() -> Error {
    Error::internal("a stored row is not of the shape this version writes")
}

/// A SQLite database. Faults of the database are [`crate::error::Kind::Internal`], without the statement's values.
pub trait Sql {
    /// Runs one statement with `?1`, `?2` … bound to `parameters` and gives its rows.
    fn exec(&self, statement: &str, parameters: &[Value]) -> Result<Vec<Row>>;

    /// Runs `work`; what it wrote stays only if it gave `Ok`. Transactions do not nest.
    fn transaction<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T>;

    /// The first row, if any.
    fn first(&self, statement: &str, parameters: &[Value]) -> Result<Option<Row>> {
        Ok(self.exec(statement, parameters)?.into_iter().next())
    }
}

impl<S: Sql> Sql for &S {
    fn exec(&self, statement: &str, parameters: &[Value]) -> Result<Vec<Row>> {
        (**self).exec(statement, parameters)
    }

    fn transaction<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        (**self).transaction(work)
    }
}
