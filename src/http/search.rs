//! Searches (R4 section 3.1.1): `GET /fhir/{type}?…` and `POST /fhir/{type}/_search`.
//!
//! Invariant: the links of a page ask for what was understood of the query and for nothing else, and `next` with the place
//! where this page ended, so that records that come in between move nothing.

use std::rc::Rc;

use futures_util::future::{FutureExt, LocalBoxFuture};

use super::caller::Caller;
use super::fhir::{FHIR_JSON, PAGE};
use super::reply::Response;
use super::views::{self, reading};
use super::{Context, Incoming, Platform, audit, input};
use crate::access::Scope;
use crate::channel::Topic;
use crate::chart::cache::read::{Ask, Render, Rendered};
use crate::chart::cache::{Whose, life};
use crate::chart::records::{Answer, Query, Record};
use crate::clinic::position::Positioned;
use crate::clinic::{Clinic, unexpected};
use crate::error::{Error, Result};
use crate::fhir::search::{Asked, Place, parse};
use crate::fhir::{
    Issue, Link, OperationOutcome, ResourceType, SearchEntry, SearchMode, Severity, is_shared, searchset,
};
use crate::sorted::sort;
use crate::time::UnixMillis;

const FORM: &str = "application/x-www-form-urlencoded";

/// Answers a search for `kind`.
pub async fn search<P: Platform, R: Incoming>(context: &Context<'_, P, R>, kind: ResourceType) -> Result<Response> {
    input::accepts_json(context.request, FHIR_JSON)?;
    let query = input::pairs(context.request.query());
    if context.request.method() == "POST" {
        let caller = context.caller().await?;
        caller.may(reading(kind))?;
        let page = page(context, kind, [query?, form(context).await?].concat())?;
        return found(context, async { Ok(caller) }.boxed_local(), page).await;
    }
    match query.and_then(|query| page(context, kind, query)) {
        Ok(page) => found(context, context.reader().boxed_local(), page).await,
        Err(error) => Err(views::misunderstood(context, kind, error).await),
    }
}

fn page<P: Platform, R: Incoming>(
    context: &Context<'_, P, R>,
    kind: ResourceType,
    mut query: Vec<(String, String)>,
) -> Result<Page> {
    let after = query.iter().position(|(name, _)| name == "_after").map(|position| query.remove(position).1);
    let base = context.base();
    let mut asked = parse(kind, &query, is_strict(context.request)?, &base, context.platform.now())?;
    // The order of parameters means nothing, so that a page has one URL and one place in the cache.
    sort(&mut asked.used);
    let after = after.map(|text| {
        let wrong = || Error::invalid("_after", "this must come from a next link");
        // Of a search that another server answers, the place is what that one gave.
        let rules = if context.config.origin.is_some() { 1 } else { asked.search.sort.len() };
        Place::parse(&text, rules).ok_or_else(wrong)
    });
    let after = after.transpose()?;
    let count = if asked.only_total { 0 } else { asked.count.unwrap_or(PAGE.0).min(PAGE.1) };
    Ok(Page { kind, base, asked, after, count })
}

async fn found<P: Platform, R: Incoming>(
    context: &Context<'_, P, R>,
    caller: LocalBoxFuture<'_, Result<Caller>>,
    page: Page,
) -> Result<Response> {
    let kind = page.kind;
    let total = page.asked.total || page.asked.only_total;
    let search = page.asked.search.clone();
    let confined = search.confined.clone().filter(|_| !is_shared(kind) && !page.depends_on_the_day());
    let query = Query::Search { search, after: page.after.clone(), count: page.count, total };
    // Of one patient, what is found is all in their compartment, whoever asks.
    if let Some(patient) = confined {
        let ask = Ask {
            whose: Whose::Patient(patient),
            view: format!("{} {}", page.url(page.after.as_ref()), page.asked.ignored.join(" ")),
            key: format!("search {kind}"),
            shared: false,
            class: life::class(kind),
            versioned: false,
            query,
            known: Vec::new(),
            render: Rc::new(page),
        };
        return views::view_by(context, caller, kind, ask).await;
    }
    let caller = caller.await?;
    let scope = caller.may(reading(kind))?;
    // A list of patients is told of in the topics of the caller's wards.
    let wards: &[String] = if kind == ResourceType::Patient { &caller.session.principal.wards } else { &[] };
    let topics = wards.iter().cloned().map(Topic::Ward).collect();
    let what = page.asked.search.confined.as_deref().map(|patient| vec![audit::of_patient(patient)]);
    let (answer, positions) = context.platform.query_at(scope, query, topics).await?;
    context.shows(&caller, what.unwrap_or_else(|| audit::of_type(kind)));
    let page =
        page.render(&answer).ok_or_else(|| Error::internal("the origin answered something else than was asked"))?;
    Ok(Response::fhir(200, page.body).header("cache-status", views::bypass()).read_at(&positions))
}

/// A search of this program's own.
pub struct Own<'a> {
    /// For records of this type.
    pub kind: ResourceType,
    /// What they are found by, as a query has it.
    pub query: &'a [(String, String)],
    /// The address of this server's records.
    pub base: &'a str,
    /// The present.
    pub now: UnixMillis,
    /// Only what comes after this.
    pub after: Option<Place>,
    /// At most this many.
    pub count: u64,
}

/// What `own` finds within `scope`, and where to go on.
pub async fn own(clinic: &impl Clinic, scope: Scope, own: Own<'_>) -> Result<(Vec<Record>, Option<Place>)> {
    let asked = parse(own.kind, own.query, true, own.base, own.now)?;
    let query = Query::Search { search: asked.search, after: own.after, count: own.count, total: false };
    match clinic.query(scope, query).await? {
        Answer::Search(records, next, _) => Ok((records, next)),
        _ => Err(unexpected()),
    }
}

/// A page of what a search finds.
#[derive(Clone)]
struct Page {
    kind: ResourceType,
    base: String,
    asked: Asked,
    after: Option<Place>,
    count: u64,
}

impl Page {
    fn url(&self, after: Option<&Place>) -> String {
        link(&self.base, self.kind, &self.asked, self.count, after)
    }

    /// Whether an approximate date is asked for: how near is near depends on how long ago it is.
    fn depends_on_the_day(&self) -> bool {
        self.asked.used.iter().any(|(_, value)| value.split(',').any(|value| value.starts_with("ap")))
    }
}

impl Render for Page {
    fn render(&self, answer: &Answer) -> Option<Rendered> {
        let Answer::Search(records, next, total) = answer else { return None };
        let mut links = vec![Link { relation: "self", url: self.url(self.after.as_ref()).into() }];
        links.extend(next.as_ref().map(|place| Link { relation: "next", url: self.url(Some(place)).into() }));
        let outcome = ignored(&self.asked.ignored);
        let entries = records.iter().map(|record| entry(&self.base, self.kind, record)).chain(outcome);
        Some(Rendered { version: None, body: searchset(entries, &links, *total) })
    }
}

fn entry<'a>(base: &str, kind: ResourceType, record: &'a Record) -> SearchEntry<'a> {
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
