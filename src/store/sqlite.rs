//! SQLite in memory through rusqlite: what native tests put in the place of an object's database.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use rusqlite::StatementStatus;
use rusqlite::limits::Limit;
use rusqlite::types::{Value as Lite, ValueRef};

use super::sql::{MAX_PARAMETERS, Row, Sql, Value};
use super::{Applied, Op, Shard, Store, sql_store};
use crate::error::{Error, Result};
use crate::time::Clock;

/// The most bytes that a text or blob may have on the platform, and the most that a statement may.
const MAX_VALUE: usize = 2_000_000;
const MAX_STATEMENT: usize = 100_000;
/// What else the platform sets (workerd, `src/workerd/util/sqlite.c++`).
const LIMITS: [(Limit, i32); 6] = [
    (Limit::SQLITE_LIMIT_COLUMN, 100),
    (Limit::SQLITE_LIMIT_EXPR_DEPTH, 100),
    (Limit::SQLITE_LIMIT_COMPOUND_SELECT, 5),
    (Limit::SQLITE_LIMIT_VDBE_OP, 25_000),
    (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 50),
    (Limit::SQLITE_LIMIT_TRIGGER_DEPTH, 10),
];

/// A database in memory, that holds statements to the platform's limits and counts what they cost.
pub struct Sqlite {
    connection: rusqlite::Connection,
    nested: RefCell<bool>,
    /// Statements run.
    pub statements: Cell<u64>,
    /// Steps of SQLite's machine.
    pub steps: Cell<u64>,
    /// Rows gone over in tables that were read from end to end.
    pub scanned: Cell<u64>,
    /// The plans of the statements run, while it is wanted.
    pub plans: RefCell<Option<Vec<String>>>,
}

impl Sqlite {
    pub fn open() -> Sqlite {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        for (limit, most) in LIMITS {
            connection.set_limit(limit, most).unwrap();
        }
        Sqlite {
            connection,
            nested: RefCell::new(false),
            statements: Cell::new(0),
            steps: Cell::new(0),
            scanned: Cell::new(0),
            plans: RefCell::new(None),
        }
    }

    fn explain(&self, statement: &str) -> Vec<String> {
        let mut prepared = self.connection.prepare(&format!("EXPLAIN QUERY PLAN {statement}")).unwrap();
        for index in 1..=prepared.parameter_count() {
            prepared.raw_bind_parameter(index, "x").unwrap();
        }
        let mut rows = prepared.raw_query();
        let mut lines = Vec::new();
        while let Some(row) = rows.next().unwrap() {
            lines.push(row.get::<_, String>(3).unwrap());
        }
        lines
    }
}

fn fault(error: rusqlite::Error) -> Error {
    panic!("a statement that the tests ran is wrong: {error}")
}

impl Sql for Sqlite {
    fn exec(&self, statement: &str, parameters: &[Value]) -> Result<Vec<Row>> {
        assert!(parameters.len() <= MAX_PARAMETERS, "{} parameters in {statement}", parameters.len());
        assert!(statement.len() <= MAX_STATEMENT, "{} bytes of statement", statement.len());
        let weighs = |value: &Value| match value {
            Value::Text(text) => text.len(),
            Value::Blob(bytes) => bytes.len(),
            Value::Null | Value::Int(_) => 8,
        };
        let weight: usize = parameters.iter().map(weighs).sum();
        assert!(parameters.iter().all(|value| weighs(value) <= MAX_VALUE), "{weight} bytes for {statement}");
        if let Some(plans) = self.plans.borrow_mut().as_mut() {
            plans.extend(self.explain(statement));
        }
        let mut prepared = self.connection.prepare_cached(statement).map_err(fault)?;
        let columns = prepared.column_count();
        let bound = parameters.iter().map(|value| match value {
            Value::Null => Lite::Null,
            Value::Int(number) => Lite::Integer(*number),
            Value::Text(text) => Lite::Text(text.clone()),
            Value::Blob(bytes) => Lite::Blob(bytes.clone()),
        });
        let mut rows = prepared.query(rusqlite::params_from_iter(bound)).map_err(fault)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next().map_err(fault)? {
            let value = |column: usize| match row.get_ref(column).unwrap() {
                ValueRef::Null => Value::Null,
                ValueRef::Integer(number) => Value::Int(number),
                ValueRef::Text(text) => Value::Text(String::from_utf8(text.to_vec()).unwrap()),
                ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
                ValueRef::Real(_) => panic!("no column here is a floating point number"),
            };
            found.push(Row::new((0..columns).map(value).collect()));
        }
        drop(rows);
        let cost = |status| u64::try_from(prepared.reset_status(status)).unwrap_or(0);
        self.statements.set(self.statements.get() + 1);
        self.steps.set(self.steps.get() + cost(StatementStatus::VmStep));
        self.scanned.set(self.scanned.get() + cost(StatementStatus::FullscanStep));
        Ok(found)
    }

    fn transaction<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        assert!(!self.nested.replace(true), "transactions do not nest");
        self.connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        let outcome = work();
        self.connection.execute_batch(if outcome.is_ok() { "COMMIT" } else { "ROLLBACK" }).unwrap();
        self.nested.replace(false);
        outcome
    }
}

/// The store over SQLite, one database for all shards: a shard's name goes before each key.
pub struct SqliteStore<C> {
    sql: Sqlite,
    clock: Rc<C>,
}

impl<C: Clock> SqliteStore<C> {
    pub fn open(clock: Rc<C>) -> Self {
        let sql = Sqlite::open();
        sql_store::prepare(&sql).unwrap();
        SqliteStore { sql, clock }
    }
}

impl<C: Clock> Store for SqliteStore<C> {
    async fn apply(&self, shard: Shard, mut batch: Vec<Op>) -> Result<Applied> {
        for op in &mut batch {
            match op {
                Op::Get { key } | Op::Check { key, .. } | Op::Put { key, .. } | Op::Delete { key, .. } => {
                    *key = format!("{}/{key}", shard.name());
                }
            }
        }
        sql_store::apply(&self.sql, self.clock.now(), &batch)
    }
}
