//! `POST /hooks/changed`: the system of record says that something changed there behind our back.
//!
//! Invariant: whoever does not show the key learns and changes nothing. Where it cannot be told whose views are concerned,
//! all are; once it is acknowledged none of them is used again.

use serde_json::Value;

use super::reply::Response;
use super::{Context, Incoming, Platform, input};
use crate::clinic::ClinicRequest;
use crate::clinic::origin::OriginRequest;
use crate::error::{Error, Result};
use crate::fhir::{Resource, ResourceType, is_shared, patients};
use crate::session::{signed_out, token};

/// Answers a notice, of `what` if the path says so (R4 Subscription, channel `rest-hook` with a payload).
pub async fn changed<P: Platform, R: Incoming>(
    context: &Context<'_, P, R>,
    what: Option<(ResourceType, String)>,
) -> Result<Response> {
    let origin = context.config.origin.as_deref();
    let Some((origin, key)) = origin.and_then(|origin| Some((origin, origin.hook_key.as_deref()?))) else {
        return Err(super::views::missing());
    };
    let sent = context.request.header("authorization").unwrap_or_default();
    let shown = sent.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let shown = shown.map(|(_, shown)| shown.trim()).unwrap_or_default();
    if !token::same_secret(&context.config.session_key, shown, key)? {
        return Err(signed_out());
    }
    let body = context.request.body(input::RESOURCE_LIMIT).await?;
    let whom = if body.is_empty() {
        // Of a record that was deleted nothing is left that says whose it was.
        what.filter(|(kind, _)| *kind == ResourceType::Patient).map(|(_, id)| vec![id])
    } else if let Some(ids) = named(&body) {
        Some(ids)
    } else {
        let own = format!("{}/", origin.url);
        let wrong = |_| Error::invalid("body", "this must be empty, {\"patients\": [ids]}, or a resource");
        let mut resource = Resource::parse(&body).map_err(wrong)?;
        resource.map_references(&mut |text| text.strip_prefix(&own).map(str::to_owned));
        Some(patients(&resource)).filter(|found| !found.is_empty() && !is_shared(resource.kind()))
    };
    context.platform.ask(ClinicRequest::Origin(OriginRequest::Changed(whom))).await?;
    Ok(Response::empty(204))
}

/// The ids in `{"patients": [ids]}`, if `body` is that.
fn named(body: &[u8]) -> Option<Vec<String>> {
    let said: Value = serde_json::from_str(std::str::from_utf8(body).ok()?).ok()?;
    let ids = said.get("patients")?.as_array()?;
    Some(ids.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}
