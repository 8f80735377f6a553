//! The object of one topic as a transition: a request and its log give an answer and the frames for everybody who listens.
//!
//! Invariant: what is to be said to the listeners is in the log when this returns it. No I/O is here: the shell sends.

use serde::{Deserialize, Serialize};

use super::Topic;
use super::cursor::Cursor;
use super::frame::{self, Frame};
use super::log::{self, Page};
use super::outbox::Delivery;
use crate::config::Retention;
use crate::error::Result;
use crate::store::sql::Sql;
use crate::time::{Entropy, UnixMillis};

/// What a topic's object can be asked, besides a subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TopicRequest {
    /// Takes events out of the outbox.
    Deliver {
        /// The topic, which the object cannot tell from its own name.
        topic: Topic,
        /// What is not acknowledged yet, from its oldest on.
        delivery: Delivery,
    },
    /// Reads history.
    Page {
        /// The topic.
        topic: Topic,
        /// Where to go on; `None` begins at the oldest event kept.
        after: Option<Cursor>,
        /// At most this many events.
        limit: u64,
    },
}

impl TopicRequest {
    /// Whether repeating it after a lost answer could do something twice.
    pub fn is_change(&self) -> bool {
        matches!(self, TopicRequest::Deliver { .. })
    }
}

/// What a topic's object answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TopicReply {
    /// Every event up to this sequence number is in the log.
    Applied(u64),
    /// A page of history.
    Page(Page),
}

/// An answer, and what everybody who listens is to be sent, in order.
#[derive(Debug)]
pub struct Done {
    /// The answer.
    pub reply: TopicReply,
    /// Texts of frames.
    pub frames: Vec<String>,
}

/// Answers `request` at `now`.
pub fn handle(
    sql: &impl Sql,
    entropy: &impl Entropy,
    now: UnixMillis,
    retention: Retention,
    request: &TopicRequest,
) -> Result<Done> {
    match request {
        TopicRequest::Deliver { topic, delivery } => {
            let done = log::deliver(sql, entropy, now, retention, delivery)?;
            let mut frames = Vec::new();
            if done.broken || !done.fresh.is_empty() {
                let extent = log::extent(sql)?;
                if done.broken {
                    frames.push(frame::frame(&Frame::Gap(frame::gap(topic, &extent.before_oldest())))?);
                }
                if !done.fresh.is_empty() {
                    frames.push(frame::events(&extent.epoch, &done.fresh)?);
                }
            }
            Ok(Done { reply: TopicReply::Applied(done.applied), frames })
        }
        TopicRequest::Page { after, limit, .. } => {
            let reply = TopicReply::Page(log::page(sql, after.as_ref(), *limit)?);
            Ok(Done { reply, frames: Vec::new() })
        }
    }
}
