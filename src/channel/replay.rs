//! What a new listener is told before it is joined to the live events: where it goes on from, what was lost to it, and what
//! it missed.
//!
//! Invariant: the frames are those of one verdict over one state of the log. They end either with the newest event, or
//! with a `bye` that asks the listener to come back for the rest with the cursor it has by then.

use super::Topic;
use super::cursor::Cursor;
use super::frame::{self, Close, Frame};
use super::log;
use crate::error::Result;
use crate::store::sql::Sql;

/// Events in one frame of a replay.
const REPLAY_FRAME: u64 = 100;
/// Events replayed over one connection; whoever missed more comes back for the rest.
const REPLAY_MOST: u64 = 5_000;

/// Gives `send` the frames for a listener of `topic` that has seen everything up to `after` (`None`: it wants what comes
/// from now on). Gives why the connection is to be closed then, where it is not to stay.
pub fn replay(
    sql: &impl Sql,
    topic: &Topic,
    after: Option<&Cursor>,
    send: &mut impl FnMut(String) -> Result<()>,
) -> Result<Option<Close>> {
    let extent = log::extent(sql)?;
    let mut hello =
        |cursor: String| send(frame::frame(&Frame::Hello { cursor, oldest: extent.before_oldest().to_string() })?);
    let Some(after) = after else {
        hello(extent.at(extent.newest).to_string())?;
        return Ok(None);
    };
    let mut page = log::page(sql, Some(after), REPLAY_FRAME)?;
    hello(page.gap.as_ref().unwrap_or(after).to_string())?;
    if let Some(oldest) = &page.gap {
        send(frame::frame(&Frame::Gap(frame::gap(topic, oldest)))?)?;
    }
    let mut sent = 0_u64;
    while !page.events.is_empty() {
        send(frame::events(&extent.epoch, &page.events)?)?;
        sent = sent.saturating_add(REPLAY_FRAME);
        if page.more && sent >= REPLAY_MOST {
            send(frame::frame(&Frame::Bye { code: Close::Resume.code(), resume: true })?)?;
            return Ok(Some(Close::Resume));
        }
        page = log::page(sql, Some(&page.cursor), REPLAY_FRAME)?;
    }
    Ok(None)
}
