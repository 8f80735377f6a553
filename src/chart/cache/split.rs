//! Heads on a store and records at an origin of their own, as one [`Source`], and the order of a write to both.
//!
//! Invariant: [`write()`] marks before the origin may commit, and the origin refuses a commit whose mark is near its
//! deadline.
//! Fill tokens lie on the store beside the heads and end with their deadline; like all tokens they decide who does the
//! work, and the generations what may be used.

use std::future::Future;

use super::apart::{Heading, Heads, Mark, Seen};
use super::{Fill, Filling, Looked, Source, Whose, tag};
use crate::access::Scope;
use crate::chart::head::Head;
use crate::chart::records::{Answer, Query};
use crate::error::{Error, Result};
use crate::store::{Applied, Condition, Op, OpReply, Shard, Store};
use crate::time::{Clock, Entropy};

/// Where records come from.
pub trait Origin {
    /// Reads records within `scope`.
    fn ask(&self, scope: Scope, query: Query) -> impl Future<Output = Result<Answer>>;

    /// The heads of `whose` as the records have them now, and the number of that state of the records: higher than that of
    /// every earlier one.
    fn heads(&self, whose: &Whose) -> impl Future<Output = Result<(Vec<Head>, u64)>>;
}

/// Heads on a store, records at an origin.
#[derive(Clone, Debug)]
pub struct Split<S, O, E> {
    /// The heads.
    pub heads: Heads<S>,
    /// Fill tokens.
    pub tokens: S,
    /// The origin.
    pub origin: O,
    /// Clock and randomness.
    pub outside: E,
}

fn token_key(view: &str) -> (Shard, String) {
    (Shard::of(view), format!("fill/{view}"))
}

impl<S: Store, O: Origin, E: Clock + Entropy> Split<S, O, E> {
    /// The head of `patient`, and whether somebody writes; `None` where there is no such patient.
    async fn head(&self, patient: &str) -> Result<Option<(Head, bool)>> {
        match self.heads.look(patient, self.outside.now()).await? {
            Seen::Head(head) => return Ok(Some((head, false))),
            Seen::Writing(head) => return Ok(Some((head, true))),
            Seen::Missing | Seen::Overdue => {}
        }
        let (heads, order) = self.origin.heads(&Whose::Patient(patient.to_owned())).await?;
        let Some(head) = heads.first().cloned() else { return Ok(None) };
        let now_are = Heading { heads: &heads, shared: true, order };
        self.heads.settle(&self.outside, self.outside.now(), &now_are).await?;
        Ok(Some(match self.heads.look(patient, self.outside.now()).await? {
            Seen::Head(head) => (head, false),
            Seen::Writing(head) => (head, true),
            // Lost again, or overdue again: nothing can be kept at this head.
            Seen::Missing | Seen::Overdue => (head, true),
        }))
    }

    /// Takes the token of `view` at `tag`: its version, or `None` while another has it.
    async fn take(&self, fill: &Fill, tag: &str) -> Result<Option<u64>> {
        let (shard, key) = token_key(&fill.view);
        let put = |condition| Op::Put {
            key: key.clone(),
            value: tag.as_bytes().to_vec(),
            condition,
            expires: Some(self.outside.now().plus(fill.hold)),
        };
        let version = |applied| match applied {
            Applied::Done(replies) => replies.into_iter().find_map(|reply| match reply {
                OpReply::Wrote(version) => Some(version),
                OpReply::Got(_) | OpReply::Done => None,
            }),
            Applied::Refused { .. } => None,
        };
        let condition = if fill.fresh { Condition::Always } else { Condition::Absent };
        let taken = version(self.tokens.apply(shard, vec![put(condition)]).await?);
        if taken.is_some() {
            return Ok(taken);
        }
        // One of an earlier generation is void.
        match self.tokens.apply(shard, vec![Op::get(key.clone())]).await?.entries().next().flatten() {
            Some(entry) if entry.value == tag.as_bytes() => Ok(None),
            Some(entry) => Ok(version(self.tokens.apply(shard, vec![put(Condition::Version(entry.version))]).await?)),
            None => Ok(version(self.tokens.apply(shard, vec![put(Condition::Absent)]).await?)),
        }
    }
}

impl<S: Store, O: Origin, E: Clock + Entropy> Source for Split<S, O, E> {
    async fn look(&self, whose: &Whose, _version: bool) -> Result<Looked> {
        match whose {
            Whose::Patient(patient) => {
                let (heads, writing) =
                    self.head(patient).await?.map_or_else(Default::default, |(head, writing)| (vec![head], writing));
                Ok(Looked { heads, writing, ..Looked::default() })
            }
            Whose::Record(..) => {
                let (heads, _) = self.origin.heads(whose).await?;
                Ok(Looked { next: heads.into_iter().next().map(|head| head.owner.patient), ..Looked::default() })
            }
        }
    }

    async fn fill(&self, fill: Fill) -> Result<Filling> {
        let held = self.head(&fill.patient).await?;
        let is_theirs = match &fill.whose {
            Whose::Patient(_) => true,
            whose => self.origin.heads(whose).await?.0.iter().any(|head| head.owner.patient == fill.patient),
        };
        let Some((head, false)) = held.filter(|_| is_theirs) else {
            return Ok(Filling::Unkept { answer: self.origin.ask(fill.scope, fill.query).await? });
        };
        let Some(token) = self.take(&fill, &tag(&head, fill.shared)).await? else { return Ok(Filling::Busy { head }) };
        match self.origin.ask(fill.scope, fill.query).await {
            Ok(answer) => Ok(Filling::Granted { token, head, answer }),
            Err(error) => {
                // Where it cannot be given back it ends at its deadline.
                let _ = self.give_back(&fill.view, token).await;
                Err(error)
            }
        }
    }

    async fn give_back(&self, view: &str, token: u64) -> Result<()> {
        let (shard, key) = token_key(view);
        let delete = Op::Delete { key, condition: Condition::Version(token) };
        self.tokens.apply(shard, vec![delete]).await.map(|_| ())
    }

    async fn direct(&self, scope: Scope, query: Query) -> Result<Answer> {
        self.origin.ask(scope, query).await
    }
}

/// What became of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done<T> {
    /// It took effect; the heads that it changed, as the records have them after it, and the number of that state.
    Committed(T, Vec<Head>, u64),
    /// It changed nothing.
    Refused(T),
}

/// Writes: marks the heads of `before`, has `commit` write under the mark, and changes their generations. An error of
/// `commit` leaves the mark where it is: it passes, and counts as a change.
pub async fn write<S: Store, T, F: Future<Output = Result<Done<T>>>>(
    heads: &Heads<S>,
    outside: &(impl Clock + Entropy),
    before: &Heading<'_>,
    commit: impl FnOnce(Mark) -> F,
) -> Result<T> {
    let mark = Mark::new(outside, outside.now());
    heads.mark(outside, before, &mark).await?;
    match commit(mark.clone()).await? {
        Done::Refused(told) => {
            // A mark that stays costs hits and nothing else.
            let _ = heads.unmark(outside, before, &mark).await;
            Ok(told)
        }
        Done::Committed(told, touched, order) => {
            let after = Heading { heads: &touched, shared: before.shared, order };
            // It is written, and its mark will pass; but nobody can say that it is seen already.
            heads.raise(outside, &after, &mark).await.map_err(|_| Error::outcome_unknown())?;
            Ok(told)
        }
    }
}
