//! `POST /hooks/changed`: the system of record says that something changed there behind our back.
//!
//! Invariant: whoever does not show the key learns and changes nothing. Where it cannot be told whose views are concerned,
//! all are; once it is acknowledged none of them is used again.

use serde_json::Value;

use super::reply::Response;
use super::{Context, Incoming, Platform, input};
use crate::clinic::ClinicRequest;
use crate::clinic::origin::{Changed, OriginRequest};
use crate::error::{Error, Result};
use crate::fhir::{Resource, ResourceType, is_shared, is_valid_id, patients};
use crate::session::{signed_out, token};

/// Where it is of more patients than this, it is of anybody.
const MOST: usize = 100;

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
    let changed = if body.is_empty() {
        // Of a record that was deleted nothing is left that says whose it was.
        what.map_or(Changed::Anything, |(kind, id)| {
            of(kind, if kind == ResourceType::Patient { vec![id] } else { Vec::new() })
        })
    } else if let Some(ids) = named(&body)? {
        of(ResourceType::Patient, ids)
    } else {
        let own = format!("{}/", origin.url);
        let mut resource = Resource::parse(&body).map_err(|_| wrong())?;
        resource.map_references(&mut |text| text.strip_prefix(&own).map(str::to_owned));
        of(resource.kind(), patients(&resource))
    };
    context.platform.ask(ClinicRequest::Origin(OriginRequest::Changed(changed))).await?;
    Ok(Response::empty(204))
}

/// What was changed, where it is of this type and in the compartments of `patients`.
fn of(kind: ResourceType, patients: Vec<String>) -> Changed {
    match patients.len() {
        0 if is_shared(kind) => Changed::Shared { places: kind == ResourceType::Location },
        1..=MOST if !is_shared(kind) => Changed::Patients(patients),
        // Also a Schedule that is a patient's: it is shared as well.
        _ => Changed::Anything,
    }
}

fn wrong() -> Error {
    Error::invalid("body", r#"this must be empty, {"patients": [ids]}, or a resource"#)
}

/// The ids in `{"patients": [ids]}`, if `body` is that; 400 where one of them is none.
fn named(body: &[u8]) -> Result<Option<Vec<String>>> {
    let said: Value =
        std::str::from_utf8(body).ok().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let Some(ids) = said.get("patients") else { return Ok(None) };
    let ids = ids.as_array().ok_or_else(wrong)?;
    let id = |id: &Value| id.as_str().filter(|id| is_valid_id(id)).map(str::to_owned);
    ids.iter().map(id).collect::<Option<Vec<_>>>().map(Some).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::{Sent, ask, ready_with};

    const HOOK_KEY: &str = "a-key-of-more-than-thirty-two-characters";

    #[test]
    fn what_names_nobody_that_can_be_is_refused() {
        let (app, _) = ready_with(&[("ORIGIN_URL", "https://ehr.example/r4"), ("ORIGIN_HOOK_KEY", HOOK_KEY)]);
        let hook = |body: &str| {
            let sent = Sent::new("POST", "/hooks/changed").json(body);
            ask(&app, &sent.header("authorization", &format!("Bearer {HOOK_KEY}"))).status
        };
        for junk in [r#"["Patient/p"]"#, r#"["p",7]"#, r#"["p",null]"#, r#"[""]"#, r#""p""#, "{}", "null"] {
            assert_eq!(hook(&format!(r#"{{"patients":{junk}}}"#)), 400, "{junk}");
        }
        for body in ["{}", "[]", "p", r#"{"resourceType":"Nothing"}"#] {
            assert_eq!(hook(body), 400, "{body}");
        }
        assert_eq!(hook(r#"{"patients":["p","q"]}"#), 204);
        assert_eq!(hook(""), 204);
    }

    #[test]
    fn what_was_changed_follows_from_its_type_and_its_patients() {
        let ids = |count: usize| (0..count).map(|id| id.to_string()).collect::<Vec<_>>();
        assert_eq!(of(ResourceType::Slot, Vec::new()), Changed::Shared { places: false });
        assert_eq!(of(ResourceType::Location, Vec::new()), Changed::Shared { places: true });
        assert_eq!(of(ResourceType::Group, ids(MOST)), Changed::Patients(ids(MOST)));
        for (kind, count) in [(ResourceType::Group, 0), (ResourceType::Group, MOST + 1), (ResourceType::Schedule, 1)] {
            assert_eq!(of(kind, ids(count)), Changed::Anything, "{kind}, {count}");
        }
    }
}
