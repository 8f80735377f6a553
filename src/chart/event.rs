//! What is told of a change that was written: its event, and the Schedule whose followers it concerns.
//!
//! Invariant: an event has the resource as it was stored, and is known by the version that it is of.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::records::{Change, Stamp, Write};
use crate::channel::outbox::Event;
use crate::channel::{EventKind, Topic};
use crate::error::{Error, Result};
use crate::fhir::{ResourceType, relative};
use crate::time::UnixMillis;

/// The version of a record that a change made, as audit and events name it.
pub fn reference(change: &Change, version: u64) -> String {
    format!("{}/{}/_history/{version}", change.kind, change.id)
}

/// What an event about a record says.
#[derive(Serialize)]
struct RecordEvent<'a> {
    reference: String,
    version: u64,
    deleted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<&'a RawValue>,
}

/// The event of a change that was written, if it causes one.
pub fn event(change: &Change, stamp: Stamp) -> Result<Option<Event>> {
    let Some(kind) = EventKind::of(change.kind.as_str()) else { return Ok(None) };
    let unreadable = |_| Error::internal("an event could not be written");
    let body = match &change.write {
        Write::Put { draft, .. } => Some(draft.stamped(stamp.version, stamp.at)),
        Write::Delete => None,
    };
    let resource: Option<&RawValue> = body.as_deref().map(serde_json::from_str).transpose().map_err(unreadable)?;
    let data = RecordEvent {
        reference: format!("{}/{}", change.kind, change.id),
        version: stamp.version,
        deleted: body.is_none(),
        resource,
    };
    Ok(Some(Event {
        id: reference(change, stamp.version),
        kind: kind.as_str().to_owned(),
        at: stamp.at,
        data: serde_json::to_string(&data).map_err(unreadable)?,
    }))
}

/// The topic of the Schedule whose Slot `change` writes.
pub fn schedule(change: &Change) -> Option<Topic> {
    let Write::Put { draft, .. } = &change.write else { return None };
    let body = (change.kind == ResourceType::Slot).then(|| draft.stamped(0, UnixMillis(0)))?;
    schedule_of(&body).map(Topic::Schedule)
}

/// The Schedule that a Slot is of.
pub fn schedule_of(body: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Slot {
        schedule: Option<Reference>,
    }
    #[derive(Deserialize)]
    struct Reference {
        reference: Option<String>,
    }
    let reference = serde_json::from_str::<Slot>(body).ok()?.schedule?.reference?;
    relative(&reference).filter(|to| to.kind == ResourceType::Schedule).map(|to| to.id.to_owned())
}
