//! Reading the audit trail.
//!
//! Invariant: a page looks at a bounded part of the trail, whatever is asked for; what it says to go on with is where it
//! stopped looking, so that nothing is left out.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::store::sql::{Row, Sql};
use crate::time::UnixMillis;

/// A page looks at so many rows.
const LOOKED_AT: u64 = 20_000;

/// What of the trail is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// Only what this account did.
    pub user: Option<String>,
    /// Only what was done to this, or to something below it: `Patient/p` has `Patient/p/_history/2` below it.
    pub entity: Option<String>,
    /// Only from this instant on.
    pub from: Option<UnixMillis>,
    /// Only before this instant.
    pub to: Option<UnixMillis>,
    /// Only rows below this number.
    pub below: Option<u64>,
    /// At most this many rows.
    pub count: u64,
}

#[derive(Serialize)]
struct Shown {
    seq: u64,
    at: String,
    user: String,
    request: String,
    action: String,
    entity: String,
    outcome: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

#[derive(Serialize)]
struct Page {
    rows: Vec<Shown>,
    /// The rest is below this; none where there is no rest.
    next: Option<u64>,
}

/// A page of the trail, the latest first: `{rows: [{seq, at, user, request, action, entity, outcome, reason?}], next}`.
pub fn page(sql: &impl Sql, wanted: &Wanted) -> Result<String> {
    let top = match sql.first("SELECT coalesce(max(seq), 0) FROM audit", &[])? {
        Some(mut row) => row.number()?,
        None => 0,
    };
    let below = wanted.below.unwrap_or(u64::MAX).min(top.saturating_add(1));
    let lowest = below.saturating_sub(LOOKED_AT);
    let found = sql.exec(
        "SELECT seq, at, user, request, action, entity, outcome, \
         (SELECT reason FROM audit_reasons WHERE audit_reasons.seq = audit.seq) FROM audit \
         WHERE seq < ?1 AND seq >= ?2 AND at >= ?3 AND at < ?4 AND (?5 = '' OR user = ?5) \
         AND (?6 = '' OR entity = ?6 OR substr(entity, 1, length(?6) + 1) = ?6 || '/') ORDER BY seq DESC LIMIT ?7",
        &[
            below.into(),
            lowest.into(),
            wanted.from.unwrap_or(UnixMillis(0)).into(),
            wanted.to.unwrap_or(UnixMillis::MAX).into(),
            wanted.user.as_deref().unwrap_or_default().into(),
            wanted.entity.as_deref().unwrap_or_default().into(),
            wanted.count.into(),
        ],
    )?;
    let shown = |mut row: Row| {
        Ok(Shown {
            seq: row.number()?,
            at: row.instant()?.to_rfc3339(),
            user: row.text()?,
            request: row.text()?,
            action: row.text()?,
            entity: row.text()?,
            outcome: row.text()?,
            reason: row.maybe_text()?,
        })
    };
    let rows = found.into_iter().map(shown).collect::<Result<Vec<_>>>()?;
    let is_full = u64::try_from(rows.len()).is_ok_and(|rows| rows >= wanted.count);
    let next = if is_full { rows.last().map(|row| row.seq) } else { Some(lowest) };
    let page = Page { rows, next: next.filter(|next| *next > 1) };
    serde_json::to_string(&page).map_err(|_| Error::internal("the audit trail could not be written down"))
}
