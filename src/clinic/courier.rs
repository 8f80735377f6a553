//! The courier: brings events to their topics, changed accounts and ends of sessions to the store of sessions, and bars to
//! the topics that somebody listens to, until each has said that it has them.
//!
//! Invariant: nothing is forgotten before it is acknowledged, and at most one run is under way for a topic. A run that is
//! never heard of again (its memory was lost with a fault) gives its place up after 15 s. Bars do not wait for one another
//! nor for events: a topic that has hung is told again, so that it knows within a second of its return.

use std::cell::RefCell;
use std::future::Future;

use crate::channel::outbox;
use crate::channel::{Topic, TopicReply, TopicRequest};
use crate::error::{Error, Result};
use crate::lease::Leases;
use crate::outgoing::join_all;
use crate::session;
use crate::session::registry;
use crate::session::roster;
use crate::sorted::BTreeMap;
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
    type Leases: Leases;
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
    /// Who is being told of bars, and until when nobody else tries.
    telling: RefCell<BTreeMap<String, UnixMillis>>,
}

impl Courier {
    /// Brings whatever is owed and not already under way; of events only what was committed before `bar`. Gives whether nothing
    /// is owed any more; where something is, the caller has an alarm try again.
    pub async fn run(&self, sql: &impl Sql, outside: &impl Outside, bar: UnixMillis) -> Result<bool> {
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
            let _ = bring(sql, outside, topic, bar).await;
            self.busy.borrow_mut().remove(topic);
        }))
        .await;
        Ok(!owes(sql)?)
    }

    /// Tells the store of sessions and the topics whatever has ended. Each that fails is left for the next call.
    pub async fn tell(&self, sql: &impl Sql, outside: &impl Outside) -> Result<()> {
        loop {
            let now = outside.now();
            self.telling.borrow_mut().retain(|_, until| *until > now);
            let free = |whom: &String| !self.telling.borrow().contains_key(whom);
            let topics = registry::topics_due(sql, TOPICS)?.into_iter().filter(free).take(AT_ONCE_USIZE);
            let ends = registry::ends_due(sql, STANDINGS)?;
            let store = (!ends.is_empty()).then(|| STORE.to_owned()).filter(free);
            let whom: Vec<String> = topics.chain(store).collect();
            if whom.is_empty() {
                return Ok(());
            }
            let until = now.plus(registry::TELL_AGAIN);
            self.telling.borrow_mut().extend(whom.iter().map(|whom| (whom.clone(), until)));
            let ends = &ends;
            join_all(whom.iter().map(|whom| async move {
                let told = if whom == STORE { end(sql, outside, ends).await } else { bar(sql, outside, whom).await };
                if told.is_ok() {
                    self.telling.borrow_mut().remove(whom);
                }
            }))
            .await;
        }
    }
}

/// In place of a topic: the store of sessions.
const STORE: &str = "";
/// Topics among which those that do not hang are looked for.
const TOPICS: u64 = 1_000;
const AT_ONCE_USIZE: usize = 32;
/// Bars in one message.
const BARS: u64 = 256;

async fn end(sql: &impl Sql, outside: &impl Outside, ends: &[registry::Ended]) -> Result<()> {
    session::revoke(outside.sessions(), ends).await?;
    registry::ends_heard(sql, ends)
}

async fn bar(sql: &impl Sql, outside: &impl Outside, topic: &str) -> Result<()> {
    let name = Topic::parse(topic).ok_or_else(|| Error::internal("a session listens to a topic that is none"))?;
    let bars = registry::bars_due(sql, topic, BARS)?;
    match outside.topic(&name, TopicRequest::Bar(bars.clone())).await? {
        TopicReply::Barred => registry::bars_heard(sql, topic, &bars),
        _ => Err(Error::internal("a topic answered something else than was asked")),
    }
}

/// Whether there is anything to bring.
pub fn owes(sql: &impl Sql) -> Result<bool> {
    Ok(!outbox::owed(sql, 1)?.is_empty() || !roster::due(sql, 1)?.is_empty())
}

async fn bring(sql: &impl Sql, outside: &impl Outside, topic: &Topic, bar: UnixMillis) -> Result<()> {
    while let Some(delivery) = outbox::next(sql, topic, bar)? {
        let note = delivery.note;
        let request = TopicRequest::Deliver { topic: topic.clone(), delivery };
        match outside.topic(topic, request).await? {
            TopicReply::Applied { seq, epoch } => {
                outbox::acknowledge(sql, topic, seq, &epoch)?;
                if let Some(version) = note {
                    outbox::noted(sql, topic, version)?;
                }
            }
            _ => return Err(Error::internal("a topic answered something else than was asked")),
        }
    }
    Ok(())
}
