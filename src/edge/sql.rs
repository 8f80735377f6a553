//! An object's SQLite as the crate's [`Sql`].
//!
//! Invariant: `transaction` is the platform's `transactionSync`, which the `worker` crate does not bind: what the closure
//! wrote is rolled back when it throws, and it throws exactly when the work gave an error.

use wasm_bindgen::JsCast;
use wasm_bindgen::prelude::{JsValue, wasm_bindgen};
use worker::{SqlStorage, SqlStorageValue, State, console_error};

use crate::error::{Error, Result};
use crate::store::sql::{Row, Sql, Value};

#[wasm_bindgen]
extern "C" {
    type Transactional;

    #[wasm_bindgen(method, catch, js_name = transactionSync)]
    fn transaction_sync(
        this: &Transactional,
        work: &mut dyn FnMut() -> std::result::Result<JsValue, JsValue>,
    ) -> std::result::Result<JsValue, JsValue>;
}

/// The database of one object.
pub struct ObjectSql {
    sql: SqlStorage,
    storage: Transactional,
}

impl ObjectSql {
    /// The database of the object with this state.
    pub fn of(state: &State) -> ObjectSql {
        let storage = state.storage();
        let raw: &JsValue = storage.as_raw().as_ref();
        ObjectSql { sql: storage.sql(), storage: raw.clone().unchecked_into() }
    }
}

fn fault(error: impl std::fmt::Display) -> Error {
    console_error!("the database refused a statement: {error}");
    Error::internal("the database refused a statement")
}

impl Sql for ObjectSql {
    fn exec(&self, statement: &str, parameters: &[Value]) -> Result<Vec<Row>> {
        let bound: Vec<SqlStorageValue> = parameters
            .iter()
            .map(|value| match value {
                Value::Null => SqlStorageValue::Null,
                Value::Int(number) => SqlStorageValue::Integer(*number),
                Value::Text(text) => SqlStorageValue::String(text.clone()),
                Value::Blob(bytes) => SqlStorageValue::Blob(bytes.clone()),
            })
            .collect();
        let cursor = self.sql.exec(statement, bound).map_err(fault)?;
        cursor
            .raw()
            .map(|row| {
                let columns = row.map_err(fault)?.into_iter().map(|value| match value {
                    SqlStorageValue::Null => Ok(Value::Null),
                    SqlStorageValue::Integer(number) => Ok(Value::Int(number)),
                    SqlStorageValue::Boolean(truth) => Ok(Value::Int(i64::from(truth))),
                    SqlStorageValue::String(text) => Ok(Value::Text(text)),
                    SqlStorageValue::Blob(bytes) => Ok(Value::Blob(bytes)),
                    SqlStorageValue::Float(_) => Err(Error::internal("a stored number is too large")),
                });
                columns.collect::<Result<Vec<_>>>().map(Row::new)
            })
            .collect()
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
