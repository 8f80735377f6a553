//! The store on one object's SQLite: the rules of [`super::Store`] as SQL, for one shard.
//!
//! Invariant: `counter` only grows, so no version is given twice. An expired row counts as absent from its instant on,
//! whether or not it has been swept.

use super::sql::{MAX_PARAMETERS, Sql, Value};
use super::{Applied, Condition, Entry, Op, OpReply};
use crate::error::Result;
use crate::time::UnixMillis;

/// At most this many expired rows are swept by one batch that writes, so that none pays for many.
const SWEEP: u64 = 16;

/// Makes the tables where they are not there yet.
pub fn prepare(sql: &impl Sql) -> Result<()> {
    for statement in [
        "CREATE TABLE IF NOT EXISTS entries (key TEXT PRIMARY KEY, version INTEGER NOT NULL, expires INTEGER, \
         value BLOB NOT NULL) WITHOUT ROWID",
        "CREATE INDEX IF NOT EXISTS entries_expiry ON entries (expires) WHERE expires IS NOT NULL",
        "CREATE TABLE IF NOT EXISTS counter (id INTEGER PRIMARY KEY CHECK (id = 1), value INTEGER NOT NULL)",
        "INSERT INTO counter (id, value) VALUES (1, 0) ON CONFLICT DO NOTHING",
    ] {
        sql.exec(statement, &[])?;
    }
    Ok(())
}

/// Runs `batch` at `now`, all or nothing.
pub fn apply(sql: &impl Sql, now: UnixMillis, batch: &[Op]) -> Result<Applied> {
    if let [Op::Get { .. }, ..] = batch
        && batch.iter().all(|op| matches!(op, Op::Get { .. }))
    {
        return read_all(sql, now, batch);
    }
    sql.transaction(|| {
        for (step, op) in batch.iter().enumerate() {
            let (key, condition) = op.condition();
            if !holds(sql, now, key, condition)? {
                return Ok(Applied::Refused { step });
            }
        }
        sql.exec(
            "DELETE FROM entries WHERE key IN (SELECT key FROM entries WHERE expires <= ?1 LIMIT ?2)",
            &[now.into(), SWEEP.into()],
        )?;
        batch.iter().map(|op| run(sql, now, op)).collect::<Result<_>>().map(Applied::Done)
    })
}

fn read_all(sql: &impl Sql, now: UnixMillis, batch: &[Op]) -> Result<Applied> {
    let keys: Vec<&str> = batch.iter().map(|op| op.condition().0).collect();
    Ok(Applied::Done(read(sql, now, &keys)?.into_iter().map(OpReply::Got).collect()))
}

/// What `keys` have, in their order. What is read together is one statement: each costs an object as much as a good part of its
/// call.
fn read(sql: &impl Sql, now: UnixMillis, keys: &[&str]) -> Result<Vec<Option<Entry>>> {
    let mut found = Vec::with_capacity(keys.len());
    for keys in keys.chunks(MAX_PARAMETERS - 1) {
        let places: Vec<String> = (2..).take(keys.len()).map(|place| format!("?{place}")).collect();
        let statement = format!(
            "SELECT key, version, value, expires FROM entries WHERE (expires IS NULL OR expires > ?1) AND key IN ({})",
            places.join(", ")
        );
        let parameters: Vec<Value> = [now.into()].into_iter().chain(keys.iter().map(|key| (*key).into())).collect();
        for mut row in sql.exec(&statement, &parameters)? {
            let key = row.text()?;
            let (version, value) = (row.number()?, row.bytes()?);
            found.push((key, Entry { version, value, expires: row.maybe_number()?.map(UnixMillis) }));
        }
    }
    let entry = |key: &&str| found.iter().find(|(found, _)| found == key).map(|(_, entry)| entry.clone());
    Ok(keys.iter().map(entry).collect())
}

fn holds(sql: &impl Sql, now: UnixMillis, key: &str, condition: Condition) -> Result<bool> {
    let current = || -> Result<Option<u64>> {
        sql.first(
            "SELECT version FROM entries WHERE key = ?1 AND (expires IS NULL OR expires > ?2)",
            &[key.into(), now.into()],
        )?
        .map(|mut row| row.number())
        .transpose()
    };
    Ok(match condition {
        Condition::Always => true,
        Condition::Absent => current()?.is_none(),
        Condition::Version(version) => current()? == Some(version),
    })
}

fn run(sql: &impl Sql, now: UnixMillis, op: &Op) -> Result<OpReply> {
    match op {
        Op::Get { key } => Ok(OpReply::Got(read(sql, now, &[key])?.pop().flatten())),
        Op::Check { .. } => Ok(OpReply::Done),
        Op::Put { key, value, expires, .. } => {
            let mut counted =
                sql.exec("UPDATE counter SET value = value + 1 WHERE id = 1 RETURNING value", &[])?.into_iter();
            let version = counted.next().map_or(Ok(1), |mut row| row.number())?;
            sql.exec(
                "INSERT INTO entries (key, version, expires, value) VALUES (?1, ?2, ?3, ?4) \
                 ON CONFLICT (key) DO UPDATE SET version = excluded.version, expires = excluded.expires, \
                 value = excluded.value",
                &[key.as_str().into(), version.into(), Value::from(*expires), value.clone().into()],
            )?;
            Ok(OpReply::Wrote(version))
        }
        Op::Delete { key, .. } => {
            sql.exec("DELETE FROM entries WHERE key = ?1", &[key.as_str().into()])?;
            Ok(OpReply::Done)
        }
    }
}
