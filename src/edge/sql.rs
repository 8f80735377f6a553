//! An object's SQLite as the crate's [`Sql`].
//!
//! Invariant: `transaction` is the platform's `transactionSync`, which the `worker` crate does not bind: what the closure
//! wrote is rolled back when it throws, and it throws exactly when the work gave an error.

use wasm_bindgen::JsCast;
use wasm_bindgen::prelude::{JsValue, wasm_bindgen};
use worker::js_sys::Uint8Array;
use worker::{State, console_error};

use crate::error::{Error, Result};
use crate::store::sql::{Row, Sql, Value};
use crate::time::MAX_SAFE;

#[wasm_bindgen]
extern "C" {
    type Storage;

    /// The object's `SqlStorage`.
    #[wasm_bindgen(method, getter)]
    fn sql(this: &Storage) -> JsValue;

    #[wasm_bindgen(method, catch, js_name = transactionSync)]
    fn transaction_sync(
        this: &Storage,
        work: &mut dyn FnMut() -> std::result::Result<JsValue, JsValue>,
    ) -> std::result::Result<JsValue, JsValue>;
}

#[wasm_bindgen(module = "/src/edge/boundary.js")]
extern "C" {
    /// Runs a statement and gives its rows as bytes, none for none: how many columns there are, and each value by its
    /// [`tag`], row by row. Numbers are little-endian.
    #[wasm_bindgen(catch)]
    fn exec(sql: &JsValue, statement: &str, bound: Vec<JsValue>) -> std::result::Result<Vec<u8>, JsValue>;
}

/// What a value is. The same are in boundary.js.
mod tag {
    pub const NULL: u8 = 0;
    /// Eight bytes of an IEEE 754 number.
    pub const NUMBER: u8 = 1;
    /// The length in four bytes, and so many bytes of UTF-8.
    pub const TEXT: u8 = 2;
    /// The length in four bytes, and so many bytes.
    pub const BLOB: u8 = 3;
}

/// The database of one object.
pub struct ObjectSql {
    sql: JsValue,
    storage: Storage,
}

impl ObjectSql {
    /// The database of the object with this state.
    pub fn of(state: &State) -> ObjectSql {
        let storage = state.storage();
        let raw: &JsValue = storage.as_raw().as_ref();
        let storage: Storage = raw.clone().unchecked_into();
        ObjectSql { sql: storage.sql(), storage }
    }
}

fn fault(error: impl std::fmt::Display) -> Error {
    console_error!("the database refused a statement: {error}");
    Error::internal("the database refused a statement")
}

fn unreadable() -> Error {
    Error::internal("a stored row could not be read")
}

fn bound(value: &Value) -> JsValue {
    match value {
        Value::Null => JsValue::NULL,
        // Below 2^53.
        Value::Int(number) => JsValue::from_f64(*number as f64),
        Value::Text(text) => JsValue::from_str(text),
        Value::Blob(bytes) => Uint8Array::from(bytes.as_slice()).into(),
    }
}

/// The next `N` bytes.
fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N]> {
    let (taken, after) = rest.split_first_chunk().ok_or_else(unreadable)?;
    *rest = after;
    Ok(*taken)
}

/// The next bytes, behind their length.
fn bytes(rest: &mut &[u8]) -> Result<Vec<u8>> {
    let length = usize::try_from(u32::from_le_bytes(take(rest)?)).map_err(|_| unreadable())?;
    let (taken, after) = rest.split_at_checked(length).ok_or_else(unreadable)?;
    *rest = after;
    Ok(taken.to_vec())
}

fn value(rest: &mut &[u8]) -> Result<Value> {
    Ok(match take(rest)? {
        [tag::NULL] => Value::Null,
        [tag::NUMBER] => {
            let number = f64::from_le_bytes(take(rest)?);
            if number.fract() != 0.0 || number.abs() > MAX_SAFE as f64 {
                return Err(Error::internal("a stored number is too large"));
            }
            Value::Int(number as i64)
        }
        [tag::TEXT] => Value::Text(String::from_utf8(bytes(rest)?).map_err(|_| unreadable())?),
        [tag::BLOB] => Value::Blob(bytes(rest)?),
        _ => return Err(unreadable()),
    })
}

impl Sql for ObjectSql {
    fn exec(&self, statement: &str, parameters: &[Value]) -> Result<Vec<Row>> {
        let said = exec(&self.sql, statement, parameters.iter().map(bound).collect());
        let said = said.map_err(|error| fault(format!("{error:?}")))?;
        let mut rest = said.as_slice();
        let mut rows = Vec::new();
        if rest.is_empty() {
            return Ok(rows);
        }
        let [columns] = take(&mut rest)?;
        while !rest.is_empty() {
            rows.push(Row::new((0..columns).map(|_| value(&mut rest)).collect::<Result<_>>()?));
        }
        Ok(rows)
    }

    fn transaction<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let mut work = Some(work);
        let mut outcome = None;
        let thrown = self.storage.transaction_sync(&mut || {
            let result = match work.take() {
                Some(work) => work(),
                None => Err(Error::internal("a transaction ran twice")),
            };
            let rolled_back = result.is_err();
            outcome = Some(result);
            if rolled_back { Err(JsValue::from_str("rolled back")) } else { Ok(JsValue::UNDEFINED) }
        });
        match (outcome, thrown) {
            (Some(Ok(_)), Err(error)) => Err(fault(format!("{error:?}"))),
            (Some(result), _) => result,
            (None, _) => Err(Error::internal("a transaction did not run")),
        }
    }
}
