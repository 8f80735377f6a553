//! Restores: data that was brought back from a backup, noticed by each object when it is next asked.
//!
//! Invariant: the setting `RESTORED_AT` says when data were last brought back, and every object keeps up to which restore it
//! has been brought. What is due for a later one it does once, in the transaction that notes it, before it answers anything.
//! So nobody has to reach every object, and it does not matter which of them were brought back and which were not.
//!
//! Whatever is counted begins again above all that can have been given before the restore, also what the backup does not know
//! of: at the instant of the restore itself, since nothing is counted faster than milliseconds pass (fences: than 1,024 in one).

use super::sql::Sql;
use crate::error::{Error, Kind, Result};
use crate::time::UnixMillis;

/// Fences in a millisecond.
const FENCES: u64 = 1_024;

/// Fences of leases that were granted since the restore are above this.
pub fn fence(restored: UnixMillis) -> u64 {
    restored.0.saturating_mul(FENCES)
}

/// Brings an object to the restore of `restored`: does `begin` if it has not been brought so far, in one transaction.
/// `Misconfigured` where it is further, because then what was ended would go on.
pub fn catch_up(sql: &impl Sql, restored: UnixMillis, begin: impl FnOnce() -> Result<()>) -> Result<()> {
    sql.exec("CREATE TABLE IF NOT EXISTS restored (id INTEGER PRIMARY KEY CHECK (id = 1), at INTEGER NOT NULL)", &[])?;
    let known = sql.first("SELECT at FROM restored", &[])?.map(|mut row| row.instant()).transpose()?;
    let known = known.unwrap_or(UnixMillis(0));
    if known > restored {
        return Err(Error::new(
            Kind::Misconfigured,
            "RESTORED_AT is earlier than a restore that this data went through",
        ));
    }
    if known == restored {
        return Ok(());
    }
    sql.transaction(|| {
        begin()?;
        sql.exec(
            "INSERT INTO restored VALUES (1, ?1) ON CONFLICT (id) DO UPDATE SET at = excluded.at",
            &[restored.into()],
        )?;
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::store::sqlite::Sqlite;

    #[test]
    fn each_restore_is_caught_up_with_once_and_none_is_taken_back() {
        let sql = Sqlite::open();
        let begun = Cell::new(0);
        let catch_up = |at: u64, fails: bool| {
            catch_up(&sql, UnixMillis(at), || {
                begun.set(begun.get() + 1);
                if fails { Err(Error::internal("it died")) } else { Ok(()) }
            })
        };
        catch_up(0, false).unwrap();
        assert_eq!(begun.get(), 0, "where nothing was ever brought back nothing is done");
        catch_up(5, true).unwrap_err();
        catch_up(5, false).unwrap();
        catch_up(5, false).unwrap();
        assert_eq!(begun.get(), 2, "what failed is done again, what was done is not");
        assert_eq!(catch_up(4, false).unwrap_err().kind, Kind::Misconfigured);
        catch_up(6, false).unwrap();
        assert_eq!(begun.get(), 3);
    }
}
