//! What a new listener is told before it is joined to the live events: where it goes on from, what was lost to it, and what
//! it missed.
//!
//! Invariant: the frames are those of one verdict over one state of the log. They end either with the newest event, or
//! with a `bye` that asks the listener to come back for the rest with the cursor it has by then.

use super::Topic;
use super::cursor::Position;
use super::frame::{self, Close, Frame};
use super::{history, log};
use crate::error::Result;
use crate::store::sql::Sql;

/// Events in one frame of a replay.
const REPLAY_FRAME: u64 = 100;
/// Events replayed over one connection; whoever missed more comes back for the rest.
const REPLAY_MOST: u64 = 5_000;

/// How a listener was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Met {
    /// It has everything, and is joined to the live events.
    Joined,
    /// Its connection is to be closed; it has been told why.
    Closed(Close),
    /// The log lacks something that the listener's snapshot has: it was told nothing, and is to be met again when
    /// something has come.
    Behind,
}

/// Gives `send` the frames for a listener of `topic` that goes on from `after` (`None`: from now on).
pub fn replay(
    sql: &impl Sql,
    topic: &Topic,
    after: Option<&Position>,
    send: &mut impl FnMut(String) -> Result<()>,
) -> Result<Met> {
    let extent = log::extent(sql)?;
    let oldest = extent.before_oldest().to_string();
    let Some(position) = after else {
        let cursor = extent.at(extent.newest).to_string();
        send(frame::frame(&Frame::Hello { cursor, oldest })?)?;
        return Ok(Met::Joined);
    };
    let Some(mut page) = history::page(sql, after, REPLAY_FRAME)? else { return Ok(Met::Behind) };
    // What it came with, also where it will not do: one that is cut off before it hears of the gap comes back with that.
    send(frame::frame(&Frame::Hello { cursor: position.to_string(), oldest })?)?;
    if let Some(oldest) = &page.gap {
        send(frame::frame(&Frame::Gap(frame::gap(topic, oldest)))?)?;
    }
    let mut sent = 0_u64;
    loop {
        if !page.events.is_empty() {
            send(frame::events(&extent.epoch, &page.events)?)?;
        }
        if !page.more {
            return Ok(Met::Joined);
        }
        sent = sent.saturating_add(REPLAY_FRAME);
        if sent >= REPLAY_MOST {
            send(frame::bye(Close::Resume)?)?;
            return Ok(Met::Closed(Close::Resume));
        }
        let next = Position::Cursor(page.cursor);
        match history::page(sql, Some(&next), REPLAY_FRAME)? {
            Some(following) => page = following,
            None => return Ok(Met::Behind),
        }
    }
}
