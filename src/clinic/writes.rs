//! Writing records: one transaction, and what must happen around it before anybody hears of it.
//!
//! Invariant: a write is acknowledged, and its events leave, only when nobody may rely any more on what was before it: the
//! heads have changed with the records, or, where they are on a store of their own, under a mark; and every read lease that
//! was granted before has run out.

use super::{ClinicReply, Desk, Handled, following};
use crate::chart;
use crate::chart::cache::apart::{Heading, Heads, Mark};
use crate::chart::cache::split::{Done, write};
use crate::chart::head::Touched;
use crate::chart::records::{Batch, Committed};
use crate::error::{Error, Result};
use crate::store::Store;
use crate::store::sql::Sql;
use crate::time::{Clock, Entropy, Ttl, UnixMillis};
use crate::vitals::watch::Watch;

/// How often a write whose heads were not all marked begins again.
const TRIES: usize = 4;

/// What a transaction came to.
enum Outcome {
    Done(Committed, Ttl),
    /// It was taken back, because these heads are not all marked.
    Unmarked(Touched),
    /// It was not begun, because its mark is near its deadline.
    TooLate,
}

/// Writes `batch` in one transaction; where heads are on a store of their own, only within what `marked` marks.
fn transact(
    sql: &impl Sql,
    desk: &Desk,
    entropy: &impl Entropy,
    watch: &Watch,
    now: UnixMillis,
    batch: &Batch,
    marked: Option<(&Touched, &Mark)>,
) -> Result<Outcome> {
    if marked.is_some_and(|(_, mark)| !mark.allows(now)) {
        return Ok(Outcome::TooLate);
    }
    let mut unmarked = None;
    let done = sql.transaction(|| {
        let mut touched = Touched::default();
        let committed = chart::commit(sql, entropy, now, batch, &mut touched)?;
        if marked.is_some_and(|(marked, _)| !touched.is_within(marked)) {
            unmarked = Some(touched);
            return Err(Error::internal("not all heads were marked"));
        }
        following::follow(sql, entropy, watch, now, batch, &committed, &touched)?;
        let left = match &committed {
            Committed::All(_) if marked.is_none() => desk.left(now, &touched),
            // What was written before may not have been acknowledged yet.
            Committed::All(_) | Committed::Again => desk.longest(),
            Committed::Refused { .. } => Ttl(0),
        };
        Ok(Outcome::Done(committed, left))
    });
    if let Ok(Outcome::Done(_, left)) = &done {
        desk.hold(now, *left);
    }
    match unmarked {
        Some(touched) => Ok(Outcome::Unmarked(touched)),
        None => done,
    }
}

/// Writes `batch`, heads and all.
pub fn commit(
    sql: &impl Sql,
    desk: &Desk,
    entropy: &impl Entropy,
    watch: &Watch,
    now: UnixMillis,
    batch: &Batch,
) -> Result<Handled> {
    match transact(sql, desk, entropy, watch, now, batch, None)? {
        Outcome::Done(committed, wait) => Ok(Handled { reply: ClinicReply::Committed(committed), wait }),
        Outcome::Unmarked(_) | Outcome::TooLate => Err(Error::internal("a write without marks asked for one")),
    }
}

/// Writes `batch` while the heads are on a store of their own.
pub async fn commit_apart<S: Store>(
    sql: &impl Sql,
    desk: &Desk,
    watch: &Watch,
    heads: &Heads<S>,
    outside: &(impl Clock + Entropy),
    batch: &Batch,
) -> Result<Handled> {
    let mut marked = chart::concerned(sql, batch)?;
    for _ in 0..TRIES {
        let (current, order) = chart::state(sql, &marked)?;
        let before = Heading { heads: &current, shared: marked.shared, order };
        let within = &marked;
        let outcome = write(heads, outside, &before, |mark| async move {
            Ok(match transact(sql, desk, outside, watch, outside.now(), batch, Some((within, &mark)))? {
                Outcome::Done(Committed::All(stamps), wait) => {
                    let (after, order) = chart::state(sql, within)?;
                    Done::Committed(Outcome::Done(Committed::All(stamps), wait), after, order)
                }
                outcome => Done::Refused(outcome),
            })
        })
        .await?;
        match outcome {
            Outcome::Done(committed, wait) => {
                return Ok(Handled { reply: ClinicReply::Committed(committed), wait });
            }
            Outcome::Unmarked(touched) => {
                marked.patients.extend(touched.patients);
                marked.shared |= touched.shared;
            }
            Outcome::TooLate => break,
        }
    }
    Err(Error::unavailable("the write took too long to begin; nothing was written, try again"))
}
