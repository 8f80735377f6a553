//! SMART Scheduling Links: `$bulk-publish`, a manifest of files with the Locations, Schedules and Slots of this clinic
//! (specification of 2021, "Slot Publisher API"; the manifest is that of FHIR Bulk Data).
//!
//! Invariant: what is published does not depend on who asks and holds no patient: it is read by [`published`], which reaches
//! nobody's compartment, and of each record only the elements of [`shown`] are given. A file is read and sent a page at a
//! time, so that its length costs no memory. The entity tag is that of the newest write to any of the three types (and of
//! the day, since what began before today is left out), read before the first page: a file may be newer than its tag, and is
//! never older.

mod lines;
mod shown;

use serde_json::{Value, json};

pub use self::lines::Lines;
use super::reply::{Reply, Response};
use super::{Context, Incoming, Platform, input, views};
use crate::access::published;
use crate::chart::records::{Answer, Query};
use crate::clinic::unexpected;
use crate::error::{Error, Result};
use crate::fhir::ResourceType;
use crate::time::{Ttl, UnixMillis};

/// Newline-delimited FHIR JSON.
const NDJSON: &str = "application/fhir+ndjson";
/// What is published, in the order of the manifest.
const TYPES: [ResourceType; 3] = [ResourceType::Location, ResourceType::Schedule, ResourceType::Slot];
/// So much of what was before is told again to whoever asks for changes since an instant: a clock that steps back by less hides
/// nothing.
const OVERLAP: Ttl = Ttl::from_secs(2);
const DAY_MS: u64 = 24 * 60 * 60_000;

/// What a path under `/fhir/$bulk-publish` means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum File {
    /// `/fhir/$bulk-publish`
    Manifest,
    /// `/fhir/$bulk-publish/{type}.ndjson`
    Of(ResourceType),
    /// `/fhir/$bulk-publish/deleted.ndjson`
    Deleted,
}

impl File {
    /// The file of this name.
    pub fn parse(name: &str) -> Option<File> {
        let name = name.strip_suffix(".ndjson")?;
        if name == "deleted" {
            return Some(File::Deleted);
        }
        TYPES.into_iter().find(|kind| kind.as_str() == name).map(File::Of)
    }
}

/// What was newest among the published types when it was looked.
struct Newest {
    tag: String,
    at: UnixMillis,
}

/// Answers what is published.
pub async fn handle<P: Platform, R: Incoming>(context: &Context<'_, P, R>, file: File) -> Result<Reply> {
    let known: &[&str] = if matches!(file, File::Of(kind) if kind != ResourceType::Slot) { &[] } else { &["_since"] };
    if !context.config.publish_openly {
        context.caller().await?.may(views::reading(ResourceType::Slot))?;
    }
    let parameters = input::parameters(context.request, known)?;
    let since = super::everything::since(&parameters)?;
    if file == File::Deleted && since.is_none() {
        return Err(Error::invalid("_since", "this parameter is needed: it says since when"));
    }
    let Newest { tag, at } = newest(context).await?;
    let head = |response: Response| response.header("etag", format!("\"{tag}\""));
    if input::entity_tags(context.request).iter().any(|known| *known == tag || known == "*") {
        return Ok(Reply::Response(head(Response::empty(304))));
    }
    if file == File::Manifest {
        return Ok(Reply::Response(head(Response::json(200, manifest(context, since, at).to_string()))));
    }
    let lines = Lines::new(file, since, today(context), context.base());
    Ok(Reply::Lines(lines, head(Response::empty(200).header("content-type", NDJSON))))
}

/// Midnight of today, in UTC.
fn today<P: Platform, R>(context: &Context<'_, P, R>) -> UnixMillis {
    let now = context.platform.now().0;
    UnixMillis(now.saturating_sub(now.checked_rem(DAY_MS).unwrap_or(0)))
}

async fn newest<P: Platform, R: Incoming>(context: &Context<'_, P, R>) -> Result<Newest> {
    let today = today(context);
    let (mut tag, mut at) = (today.0.checked_div(DAY_MS).unwrap_or(0).to_string(), today);
    for kind in TYPES {
        let query = Query::Log { kind: Some(kind), since: UnixMillis(0), below: None, count: 1 };
        let Answer::Log(items, _) = context.platform.query(published(), query).await? else {
            return Err(unexpected());
        };
        tag.push('_');
        for item in items {
            tag.push_str(&format!("{}.{}", item.record.id, item.record.version));
            at = at.max(item.record.updated);
        }
    }
    Ok(Newest { tag, at })
}

fn manifest<P: Platform, R: Incoming>(context: &Context<'_, P, R>, since: Option<UnixMillis>, at: UnixMillis) -> Value {
    let query = since.map(|since| format!("?_since={}", since.to_rfc3339())).unwrap_or_default();
    let here = format!("{}/$bulk-publish", context.base());
    let output = TYPES.map(|kind| {
        let query = if kind == ResourceType::Slot { &*query } else { "" };
        json!({ "type": kind.as_str(), "url": format!("{here}/{kind}.ndjson{query}") })
    });
    let deleted = since.map(|_| json!({ "type": "Bundle", "url": format!("{here}/deleted.ndjson{query}") }));
    json!({
        "transactionTime": at.to_rfc3339(),
        "request": format!("{here}{query}"),
        "requiresAccessToken": !context.config.publish_openly,
        "output": output,
        "deleted": deleted.into_iter().collect::<Vec<_>>(),
        "error": [],
    })
}

#[cfg(test)]
mod tests;
