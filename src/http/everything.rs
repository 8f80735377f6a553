//! Records whole: `Patient/{id}/$everything` (R4 section 10.1.24) and the history of a type and of the system (3.1.0.12).
//!
//! Invariant: a page ends where the clinic's object says, and its `next` link asks for the same with nothing but the place
//! changed, so that pages never overlap and, while nothing is written, leave nothing out.

use super::fhir::{BYPASS, FHIR_JSON, PAGE, history_entry, missing, reading};
use super::reply::Response;
use super::{Context, Incoming, Platform, input};
use crate::access::{Action, refused};
use crate::chart::records::{Answer, Mark, Query};
use crate::error::{Error, Kind, Result};
use crate::fhir::{Link, ResourceType, SearchEntry, SearchMode, history_bundle, searchset};
use crate::time::UnixMillis;

fn since(parameters: &[(String, String)]) -> Result<Option<UnixMillis>> {
    let bad = || Error::invalid("_since", "this must be an instant, as in 2026-01-31T09:30:00Z");
    input::parameter(parameters, "_since").map(|text| UnixMillis::parse_rfc3339(text).ok_or_else(bad)).transpose()
}

/// `value` as one more parameter of a query, if there is one. It needs no encoding.
fn more(name: &str, value: Option<String>) -> String {
    value.map(|value| format!("&{name}={value}")).unwrap_or_default()
}

fn unexpected() -> Error {
    Error::internal("the clinic's object answered something else than was asked")
}

/// `GET /fhir/Patient/{id}/$everything`
pub async fn everything<P: Platform, R: Incoming>(context: &Context<'_, P, R>, id: &str) -> Result<Response> {
    input::accepts_json(context.request, FHIR_JSON)?;
    let scope = context.caller().await?.may(reading(ResourceType::Patient))?;
    let parameters = input::parameters(context.request, &["_since", "_type", "_count", "_after"])?;
    let count = input::count(&parameters, "_count", PAGE.0, PAGE.1)?;
    let since = since(&parameters)?;
    let kinds = match input::parameter(&parameters, "_type") {
        None => Vec::new(),
        Some(text) => {
            let kinds: Option<Vec<ResourceType>> = text.split(',').map(ResourceType::parse).collect();
            kinds.ok_or_else(|| Error::invalid("_type", "this must be types of FHIR R4, separated by commas"))?
        }
    };
    let after = input::parameter(&parameters, "_after")
        .map(|text| Mark::parse(text).ok_or_else(|| Error::invalid("_after", "this must come from a next link")))
        .transpose()?;

    let base = context.base();
    let url = |after: Option<&Mark>| {
        let names: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
        let kinds = more("_type", Some(names.join(",")).filter(|names| !names.is_empty()));
        let since = more("_since", since.map(UnixMillis::to_rfc3339));
        let after = more("_after", after.map(Mark::to_text));
        format!("{base}/Patient/{id}/$everything?_count={count}{since}{kinds}{after}")
    };
    let mut links = vec![Link { relation: "self", url: url(after.as_ref()).into() }];
    let query = Query::Everything {
        patient: id.to_owned(),
        since: since.unwrap_or(UnixMillis(0)),
        kinds: kinds.clone(),
        after,
        count,
    };
    let (items, next) = match context.platform.query(scope, query).await? {
        Answer::Everything(items, next) => (items, next),
        Answer::Missing => return Err(missing()),
        Answer::Gone => return Err(Error::new(Kind::Gone, "this resource has been deleted")),
        Answer::OutOfReach => return Err(refused()),
        _ => return Err(unexpected()),
    };
    links.extend(next.map(|mark| Link { relation: "next", url: url(Some(&mark)).into() }));
    let entries = items.iter().map(|item| SearchEntry {
        full_url: Some(format!("{base}/{}/{}", item.kind, item.record.id).into()),
        resource: item.record.body.as_deref().unwrap_or_default().into(),
        mode: if item.shared { SearchMode::Include } else { SearchMode::Match },
    });
    Ok(Response::fhir(200, searchset(entries, &links, None)).header("cache-status", BYPASS))
}

/// `GET /fhir/{type}/_history`, and `GET /fhir/_history` where there is no type.
pub async fn log<P: Platform, R: Incoming>(
    context: &Context<'_, P, R>,
    kind: Option<ResourceType>,
) -> Result<Response> {
    input::accepts_json(context.request, FHIR_JSON)?;
    let scope = context.caller().await?.may(kind.map_or(Action::ReadEverything, reading))?;
    let parameters = input::parameters(context.request, &["_since", "_count", "_below"])?;
    let count = input::count(&parameters, "_count", PAGE.0, PAGE.1)?;
    let since = since(&parameters)?;
    let below: Option<u64> = input::parameter(&parameters, "_below")
        .map(|text| text.parse().map_err(|_| Error::invalid("_below", "this must come from a next link")))
        .transpose()?;
    let query = Query::Log { kind, since: since.unwrap_or(UnixMillis(0)), below, count };
    let (items, next) = match context.platform.query(scope, query).await? {
        Answer::Log(items, next) => (items, next),
        _ => return Err(unexpected()),
    };

    let base = context.base();
    let path = kind.map_or_else(|| base.clone(), |kind| format!("{base}/{kind}"));
    let url = |below: Option<u64>| {
        let since = more("_since", since.map(UnixMillis::to_rfc3339));
        let below = more("_below", below.map(|place| place.to_string()));
        format!("{path}/_history?_count={count}{since}{below}")
    };
    let mut links = vec![Link { relation: "self", url: url(below).into() }];
    links.extend(next.map(|place| Link { relation: "next", url: url(Some(place)).into() }));
    let entries = items.iter().map(|item| history_entry(&base, item.kind, &item.record));
    Ok(Response::fhir(200, history_bundle(entries, &links, None)).header("cache-status", BYPASS))
}
