//! What accounts are told on their own channels.
//!
//! Invariant: a notice has the same key however often it is made from the same cause, so that its topic takes it once.

use serde::Serialize;

use super::courier::Outside;
use crate::channel::{EventKind, Topic, TopicReply, TopicRequest};
use crate::error::{Error, Result};
use crate::lease::{Cause, Lease, LeaseName, Loss};

#[derive(Default, Serialize)]
struct OfLease<'a> {
    name: &'a str,
    fence: u64,
    request_id: &'a str,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

/// Tells a holder that its lease is lost. Whoever was never told of the grant, because the others of several were not to be
/// had, is told nothing.
pub async fn lease_lost(outside: &impl Outside, loss: &Loss) -> Result<()> {
    let lease = &loss.lease;
    if !lease.sure && lease.group.is_some() {
        return Ok(());
    }
    let (state, by, reason) = match &loss.cause {
        Cause::Expired => ("lost", None, None),
        Cause::Broken { by, reason } => ("broken", Some(by.as_str()), Some(reason.as_str())),
    };
    tell(outside, &loss.name, lease, OfLease { state, by, reason, ..OfLease::default() }).await
}

/// Tells whoever waited for a lease without a call that it is held out to it.
pub async fn lease_granted(outside: &impl Outside, name: &LeaseName, lease: &Lease) -> Result<()> {
    let expires_at = Some(lease.expires.to_rfc3339());
    tell(outside, name, lease, OfLease { state: "granted", expires_at, ..OfLease::default() }).await
}

async fn tell(outside: &impl Outside, name: &LeaseName, lease: &Lease, what: OfLease<'_>) -> Result<()> {
    let (name, fence, request_id) = (name.as_str(), lease.fence, lease.request_id.as_str());
    let data = OfLease { name, fence, request_id, ..what };
    let topic = Topic::User(lease.user.clone());
    let request = TopicRequest::Publish {
        topic: topic.clone(),
        key: Some(format!("lease/{name}/{fence}/{}", data.state)),
        kind: EventKind::Lease,
        data: serde_json::to_string(&data).map_err(|_| Error::internal("an event could not be written"))?,
    };
    match outside.topic(&topic, request).await? {
        TopicReply::Published { .. } => Ok(()),
        _ => Err(Error::internal("a topic answered something else than was asked")),
    }
}
