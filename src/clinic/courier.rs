//! The courier: brings events to their topics and changed accounts to their sessions, until each has said that it has them.
//!
//! Invariant: nothing is forgotten before it is acknowledged, and at most one run is under way for a topic. A run that is
//! never heard of again (its memory was lost with a fault) gives its place up after 15 s.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;

use futures_util::future::join_all;

use crate::channel::outbox;
use crate::channel::{Topic, TopicReply, TopicRequest};
use crate::error::{Error, Result};
use crate::session;
use crate::session::roster;
use crate::store::Store;
use crate::store::sql::Sql;
use crate::time::{Clock, Ttl, UnixMillis};

/// How long a run may keep others from its topic.
const PATIENCE: Ttl = Ttl::from_secs(15);
/// Topics that are served at the same time.
const AT_ONCE: u64 = 32;
/// Standings that are brought in one run.
const STANDINGS: u64 = 64;

/// What is outside the clinic's object: where the courier goes, and whoever asks for a session or a lease. What
/// keeps each of these is a setting; they may be one and the same store or not.
pub trait Outside: Clock {
    /// What keeps sessions and standings.
    type Sessions: Store;
    /// What keeps leases and fences.
    type Leases: Store;
    /// What keeps sessions and standings.
    fn sessions(&self) -> &Self::Sessions;
    /// What keeps leases and fences.
    fn leases(&self) -> &Self::Leases;
    /// Asks a topic's object.
    fn topic(&self, topic: &Topic, request: TopicRequest) -> impl Future<Output = Result<TopicReply>>;
}

/// Who is under way, in one object's memory.
#[derive(Debug, Default)]
pub struct Courier {
    busy: RefCell<BTreeMap<Topic, UnixMillis>>,
}

impl Courier {
    /// Brings whatever is owed and not already under way. Gives whether nothing is owed any more; where something is, the
    /// caller has an alarm try again.
    pub async fn run(&self, sql: &impl Sql, outside: &impl Outside) -> Result<bool> {
        let standings = roster::due(sql, STANDINGS)?;
        for standing in &standings {
            if session::project(outside.sessions(), standing).await.is_ok() {
                roster::heard(sql, standing)?;
            }
        }
        let now = outside.now();
        let free = |topic: &Topic| self.busy.borrow().get(topic).is_none_or(|until| now >= *until);
        let owed: Vec<Topic> = outbox::owed(sql, AT_ONCE)?.into_iter().filter(free).collect();
        self.busy.borrow_mut().extend(owed.iter().map(|topic| (topic.clone(), now.plus(PATIENCE))));
        join_all(owed.iter().map(|topic| async {
            // A failure leaves the rows where they are; whoever called this sees that they are still owed.
            let _ = bring(sql, outside, topic).await;
            self.busy.borrow_mut().remove(topic);
        }))
        .await;
        Ok(!owes(sql)?)
    }
}

/// Whether there is anything to bring.
pub fn owes(sql: &impl Sql) -> Result<bool> {
    Ok(!outbox::owed(sql, 1)?.is_empty() || !roster::due(sql, 1)?.is_empty())
}

async fn bring(sql: &impl Sql, outside: &impl Outside, topic: &Topic) -> Result<()> {
    while let Some(delivery) = outbox::next(sql, topic)? {
        let request = TopicRequest::Deliver { topic: topic.clone(), delivery };
        match outside.topic(topic, request).await? {
            TopicReply::Applied { seq, epoch } => outbox::acknowledge(sql, topic, seq, &epoch)?,
            _ => return Err(Error::internal("a topic answered something else than was asked")),
        }
    }
    Ok(())
}
