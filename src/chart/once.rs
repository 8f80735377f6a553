//! Requests that were sent with a key of their own, and are remembered beside what they wrote.
//!
//! Invariant: the name of a request is kept in the transaction of its writes and for good, so that of a request that comes
//! again, however late, nothing is written twice.

use crate::error::Result;
use crate::store::sql::Sql;
use crate::time::UnixMillis;

/// Makes the table where it is not there yet.
pub fn prepare(sql: &impl Sql) -> Result<()> {
    sql.exec("CREATE TABLE IF NOT EXISTS done (request TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID", &[])?;
    Ok(())
}

/// Whether the request took effect before.
pub fn is_done(sql: &impl Sql, request: &str) -> Result<bool> {
    Ok(sql.first("SELECT 1 FROM done WHERE request = ?1", &[request.into()])?.is_some())
}

/// Keeps that it did. Call it inside the transaction of its writes.
pub fn done(sql: &impl Sql, request: &str, now: UnixMillis) -> Result<()> {
    sql.exec("INSERT INTO done (request, at) VALUES (?1, ?2)", &[request.into(), now.into()])?;
    Ok(())
}
