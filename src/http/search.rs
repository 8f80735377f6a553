//! Searches (R4 section 3.1.1): `GET /fhir/{type}?…` and `POST /fhir/{type}/_search`.
//!
//! Invariant: the links of a page ask for what was understood of the query and for nothing else, and `next` with the place
//! where this page ended, so that records that come in between move nothing.

use super::fhir::{BYPASS, FHIR_JSON, PAGE, reading};
use super::reply::Response;
use super::{Context, Incoming, Platform, input};
use crate::chart::records::{Answer, Query, Record};
use crate::error::{Error, Result};
use crate::fhir::search::{Asked, Place, parse};
use crate::fhir::{Issue, Link, OperationOutcome, ResourceType, SearchEntry, SearchMode, Severity, searchset};

const FORM: &str = "application/x-www-form-urlencoded";

/// Answers a search for `kind`.
pub async fn search<P: Platform, R: Incoming>(context: &Context<'_, P, R>, kind: ResourceType) -> Result<Response> {
    input::accepts_json(context.request, FHIR_JSON)?;
    let scope = context.caller().await?.may(reading(kind))?;
    let mut query = input::pairs(context.request.query())?;
    if context.request.method() == "POST" {
        query.extend(form(context).await?);
    }
    let after = query.iter().position(|(name, _)| name == "_after").map(|position| query.remove(position).1);
    let base = context.base();
    let asked = parse(kind, &query, is_strict(context.request)?, &base, context.platform.now())?;
    let after = after.map(|text| {
        let wrong = || Error::invalid("_after", "this must come from a next link");
        Place::parse(&text, asked.search.sort.len()).ok_or_else(wrong)
    });
    let after = after.transpose()?;
    let count = if asked.only_total { 0 } else { asked.count.unwrap_or(PAGE.0).min(PAGE.1) };
    let total = asked.total || asked.only_total;
    let search = Query::Search { search: asked.search.clone(), after: after.clone(), count, total };
    let (records, next, total) = match context.platform.query(scope, search).await? {
        Answer::Search(records, next, total) => (records, next, total),
        _ => return Err(Error::internal("the clinic's object answered something else than was asked")),
    };
    let url = |after: Option<&Place>| link(&base, kind, &asked, count, after);
    let mut links = vec![Link { relation: "self", url: url(after.as_ref()).into() }];
    links.extend(next.map(|place| Link { relation: "next", url: url(Some(&place)).into() }));
    let outcome = ignored(&asked.ignored);
    let entries = records.iter().map(|record| found(&base, kind, record)).chain(outcome);
    Ok(Response::fhir(200, searchset(entries, &links, total)).header("cache-status", BYPASS))
}

fn found<'a>(base: &str, kind: ResourceType, record: &'a Record) -> SearchEntry<'a> {
    SearchEntry {
        full_url: Some(format!("{base}/{kind}/{}", record.id).into()),
        resource: record.body.as_deref().unwrap_or_default().into(),
        mode: SearchMode::Match,
    }
}

/// The entry that says which parameters were left out.
fn ignored<'a>(names: &[String]) -> Option<SearchEntry<'a>> {
    if names.is_empty() {
        return None;
    }
    let issue = |name: &String| Issue {
        severity: Severity::Warning,
        expression: Some(["http.", name].concat()),
        ..Issue::error("not-supported", "this parameter is not known here and was left out")
    };
    let outcome = OperationOutcome { issues: names.iter().map(issue).collect() };
    Some(SearchEntry { full_url: None, resource: outcome.to_json().into(), mode: SearchMode::Outcome })
}

/// Whether what is not known is refused: yes, but for `Prefer: handling=lenient` (R4 section 3.1.1.1).
fn is_strict(request: &impl Incoming) -> Result<bool> {
    let prefer = request.header("prefer").unwrap_or_default();
    let handling = prefer.split([',', ';']).find_map(|part| part.trim().strip_prefix("handling="));
    match handling {
        None | Some("strict") => Ok(true),
        Some("lenient") => Ok(false),
        Some(_) => Err(Error::invalid("prefer", "handling is strict or lenient")),
    }
}

async fn form<P, R: Incoming>(context: &Context<'_, P, R>) -> Result<Vec<(String, String)>> {
    input::content_type(context.request, &[FORM])?;
    let body = context.request.body(input::BODY_LIMIT).await?;
    let body = String::from_utf8(body).map_err(|_| Error::invalid("body", "this must be a form"))?;
    input::pairs(&body)
}

fn link(base: &str, kind: ResourceType, asked: &Asked, count: u64, after: Option<&Place>) -> String {
    let mut url = format!("{base}/{kind}?_count={count}");
    for (name, value) in asked.used.iter().filter(|(name, _)| name != "_count") {
        url.push('&');
        input::encode(&mut url, name);
        url.push('=');
        input::encode(&mut url, value);
    }
    if let Some(place) = after {
        url.push_str("&_after=");
        url.push_str(&place.to_text());
    }
    url
}
