//! Fences that callers show, and records that are being edited.
//!
//! Invariant: a fence is taken from a caller only if it is of a live lease that the caller holds, so that nobody can show one
//! that was never given. The transaction that writes checks it again against those that were shown before.
//!
//! A Condition or DiagnosticReport is edited under the lease of its name, `Condition:{id}`. While somebody holds that lease,
//! a write of the record has to show its fence; the write that finalises the record has to in any case, and that is held in
//! the transaction, where the record's last status is known.

use super::caller::Caller;
use super::{Context, Incoming, Platform, leases};
use crate::chart::fences::Fence;
use crate::chart::records::{Change, Guard};
use crate::error::{Error, Kind, Result};
use crate::fhir::ResourceType;
use crate::lease::LeaseName;

/// `Bedside-Fence: name=fence`, several separated by commas.
const HEADER: &str = "bedside-fence";
/// Types that are edited under a lease.
const EDITED: [ResourceType; 2] = [ResourceType::Condition, ResourceType::DiagnosticReport];

/// The refusal of a fence that is not, or no longer, the caller's.
pub fn stale() -> Error {
    Error::new(Kind::Conflict, "this account does not hold this lease by this fence, or no longer: nothing was written")
        .at("fence")
}

/// The fence of the lease `name`, if the caller holds it by `fence`.
pub async fn shown<P: Platform, R>(
    context: &Context<'_, P, R>,
    caller: &Caller,
    name: &LeaseName,
    fence: u64,
) -> Result<Fence> {
    let (lease, ..) = leases::seen(context, name).await?;
    let theirs = lease.is_some_and(|lease| lease.user == caller.session.principal.user && lease.fence == fence);
    if theirs { Ok(Fence { name: name.to_string(), fence }) } else { Err(stale()) }
}

/// What the header says.
fn header(request: &impl Incoming) -> Result<Vec<(LeaseName, u64)>> {
    let Some(value) = request.header(HEADER) else { return Ok(Vec::new()) };
    let wrong = || Error::invalid(HEADER, "this must be a lease's name, =, its fence, and the next after a comma");
    let parts = value.split(',').map(|part| {
        let (name, fence) = part.trim().split_once('=')?;
        Some((LeaseName::parse(name)?, fence.parse().ok()?))
    });
    parts.map(|part| part.ok_or_else(wrong)).collect()
}

/// The fences that a request shows, each of a lease that the caller holds. Refuses `changes` to what another is editing, or
/// the same account without showing that it is.
pub async fn of<P: Platform, R: Incoming>(
    context: &Context<'_, P, R>,
    caller: &Caller,
    changes: &[Change],
) -> Result<Vec<Fence>> {
    let mut fences = Vec::new();
    for (name, fence) in header(context.request)? {
        fences.push(shown(context, caller, &name, fence).await?);
    }
    let edits = changes.iter().filter(|change| EDITED.contains(&change.kind) && change.guard != Guard::Absent);
    for change in edits {
        let name = format!("{}:{}", change.kind, change.id);
        if fences.iter().any(|fence| fence.name == name) {
            continue;
        }
        // A record of another name than a lease can have is nobody's to lease.
        let Some(name) = LeaseName::parse(&name) else { continue };
        if let (Some(lease), ..) = leases::seen(context, &name).await? {
            let message = format!(
                "{} has been editing this since {}: take the lease {name} and show its fence in Bedside-Fence",
                lease.holder,
                lease.granted.to_rfc3339()
            );
            return Err(Error::new(Kind::Conflict, message).at(HEADER));
        }
    }
    Ok(fences)
}
