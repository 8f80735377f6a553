//! An object's agenda: what it has to do later and when, many due times for the one alarm that the platform gives it.
//!
//! Invariant: a due time leaves the agenda only when it is replaced or cleared, never because it has passed. Whoever does
//! what is due first puts it off ([`take`]), so that a death in the middle leaves it due again and not forgotten.

use super::sql::Sql;
use crate::error::Result;
use crate::time::{Ttl, UnixMillis};

/// Makes the table where it is not there yet.
pub fn prepare(sql: &impl Sql) -> Result<()> {
    sql.exec("CREATE TABLE IF NOT EXISTS agenda (what TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID", &[])?;
    Ok(())
}

/// Makes `what` due at `at`, whenever it was due before; `None` takes it off. Writes nothing where that is so already.
pub fn set(sql: &impl Sql, what: &str, at: Option<UnixMillis>) -> Result<()> {
    match at {
        Some(at) => sql.exec(
            "INSERT INTO agenda (what, at) VALUES (?1, ?2) \
             ON CONFLICT (what) DO UPDATE SET at = excluded.at WHERE excluded.at <> at",
            &[what.into(), at.into()],
        )?,
        None => sql.exec("DELETE FROM agenda WHERE what = ?1", &[what.into()])?,
    };
    Ok(())
}

/// Makes `what` due at `at` unless it is due earlier. Writes nothing where it is.
pub fn by(sql: &impl Sql, what: &str, at: UnixMillis) -> Result<()> {
    sql.exec(
        "INSERT INTO agenda (what, at) VALUES (?1, ?2) \
         ON CONFLICT (what) DO UPDATE SET at = excluded.at WHERE excluded.at < at",
        &[what.into(), at.into()],
    )?;
    Ok(())
}

/// The earliest due time: when the object's alarm has to ring.
pub fn next(sql: &impl Sql) -> Result<Option<UnixMillis>> {
    let row = sql.first("SELECT min(at) FROM agenda", &[])?;
    Ok(row.map(|mut row| row.maybe_number()).transpose()?.flatten().map(UnixMillis))
}

/// What is due at `now`, the longest overdue first, each put off by `retry` in case whoever does it dies over it.
pub fn take(sql: &impl Sql, now: UnixMillis, retry: Ttl) -> Result<Vec<String>> {
    sql.transaction(|| {
        let due = sql.exec("SELECT what FROM agenda WHERE at <= ?1 ORDER BY at, what", &[now.into()])?;
        sql.exec("UPDATE agenda SET at = ?2 WHERE at <= ?1", &[now.into(), now.plus(retry).into()])?;
        due.into_iter().map(|mut row| row.text()).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::Sqlite;

    const RETRY: Ttl = Ttl(10);

    #[test]
    fn the_earliest_rings_and_stays_until_it_is_done() {
        let sql = Sqlite::open();
        prepare(&sql).unwrap();
        assert_eq!(next(&sql).unwrap(), None);
        by(&sql, "b", UnixMillis(200)).unwrap();
        by(&sql, "a", UnixMillis(100)).unwrap();
        by(&sql, "a", UnixMillis(300)).unwrap();
        assert_eq!(next(&sql).unwrap(), Some(UnixMillis(100)));
        assert_eq!(take(&sql, UnixMillis(99), RETRY).unwrap(), Vec::<String>::new());
        assert_eq!(take(&sql, UnixMillis(250), RETRY).unwrap(), ["a", "b"]);
        assert_eq!(next(&sql).unwrap(), Some(UnixMillis(260)), "whoever took it may have died");
        set(&sql, "a", None).unwrap();
        set(&sql, "b", Some(UnixMillis(500))).unwrap();
        by(&sql, "b", UnixMillis(400)).unwrap();
        assert_eq!(next(&sql).unwrap(), Some(UnixMillis(400)));
        set(&sql, "b", Some(UnixMillis(600))).unwrap();
        assert_eq!(next(&sql).unwrap(), Some(UnixMillis(600)));
    }
}
