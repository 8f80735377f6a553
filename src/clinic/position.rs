//! Positions: what is read of the records, together with where in some topics it was read.
//!
//! Invariant: both are of the same instant, so that whoever has read the one and follows the topics from the other misses
//! nothing that was committed after and is told nothing that they have read.

use std::future::Future;

use super::{Clinic, ClinicReply, ClinicRequest, unexpected};
use crate::access::Scope;
use crate::channel::cursor::Snapshot;
use crate::channel::{Topic, outbox};
use crate::chart::records::{Answer, Query};
use crate::error::Result;
use crate::store::sql::Sql;
use crate::time::UnixMillis;

/// More topics than these are not told of.
const MOST: usize = 8;

/// Positions in topics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Positions(Vec<(Topic, Snapshot)>);

impl Positions {
    /// The position in one topic.
    pub fn of(topic: Topic, at: Snapshot) -> Positions {
        Positions(vec![(topic, at)])
    }

    /// As the header `Bedside-Cursor` has them: `patient/p1=CURSOR, ward/w1=CURSOR`.
    pub fn to_header(&self) -> Option<String> {
        let each: Vec<String> = self.0.iter().map(|(topic, snapshot)| format!("{topic}={snapshot}")).collect();
        (!each.is_empty()).then(|| each.join(", "))
    }
}

/// The positions at this instant in `topics`.
pub(super) fn read(sql: &impl Sql, now: UnixMillis, topics: &[Topic]) -> Result<Vec<Snapshot>> {
    topics.iter().map(|topic| outbox::snapshot(sql, topic, now)).collect()
}

/// The clinic's object, asked for positions as well.
pub trait Positioned: Clinic {
    /// Asks it `request`, and where in `topics` the answer was read.
    fn ask_at(
        &self,
        request: ClinicRequest,
        mut topics: Vec<Topic>,
    ) -> impl Future<Output = Result<(ClinicReply, Positions)>> {
        topics.truncate(MOST);
        async move {
            if topics.is_empty() {
                return Ok((self.ask(request).await?, Positions::default()));
            }
            match self.ask(ClinicRequest::At { request: Box::new(request), topics: topics.clone() }).await? {
                ClinicReply::At(reply, snapshots) => {
                    Ok((*reply, Positions(topics.into_iter().zip(snapshots).collect())))
                }
                _ => Err(unexpected()),
            }
        }
    }

    /// Reads records within `scope`.
    fn query_at(
        &self,
        scope: Scope,
        query: Query,
        topics: Vec<Topic>,
    ) -> impl Future<Output = Result<(Answer, Positions)>> {
        async move {
            match self.ask_at(ClinicRequest::Query { scope, query }, topics).await? {
                (ClinicReply::Answer(answer), positions) => Ok((answer, positions)),
                _ => Err(unexpected()),
            }
        }
    }
}

impl<C: Clinic> Positioned for C {}
