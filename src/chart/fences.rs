//! Fences, checked where the write happens: the highest that was ever shown for each lease, beside the records.
//!
//! Invariant: a batch that shows a fence lower than one shown before for the same name is refused, in the transaction that
//! would write. So a holder that slept past its lease cannot commit once its successor has, whatever the lease store says.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::store::restored;
use crate::store::sql::Sql;
use crate::time::UnixMillis;

/// The fence of a lease, as its holder shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fence {
    /// The lease's name.
    pub name: String,
    /// The number it was granted with.
    pub fence: u64,
}

/// Makes the table where it is not there yet.
pub fn prepare(sql: &impl Sql) -> Result<()> {
    sql.exec("CREATE TABLE IF NOT EXISTS fences (name TEXT PRIMARY KEY, highest INTEGER NOT NULL) WITHOUT ROWID", &[])?;
    Ok(())
}

/// Whether whoever shows `fence` may not write: it is of before the restore of `restored`, or a higher one was shown.
pub fn is_refused(sql: &impl Sql, restored: UnixMillis, fence: &Fence) -> Result<bool> {
    Ok(restored.0 > 0 && fence.fence <= restored::fence(restored) || is_stale(sql, fence)?)
}

/// Whether a higher fence of the same name was shown before.
pub fn is_stale(sql: &impl Sql, fence: &Fence) -> Result<bool> {
    let highest = sql.first("SELECT highest FROM fences WHERE name = ?1", &[fence.name.as_str().into()])?;
    Ok(highest.map(|mut row| row.number()).transpose()?.is_some_and(|highest| highest > fence.fence))
}

/// Keeps that `fence` was shown. Call it inside the transaction of the write.
pub fn shown(sql: &impl Sql, fence: &Fence) -> Result<()> {
    sql.exec(
        "INSERT INTO fences (name, highest) VALUES (?1, ?2) \
         ON CONFLICT (name) DO UPDATE SET highest = max(highest, excluded.highest)",
        &[fence.name.as_str().into(), fence.fence.into()],
    )?;
    Ok(())
}
