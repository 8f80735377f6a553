//! Records whole: `Patient/{id}/$everything` (R4 section 10.1.24) and the history of a type and of the system (3.1.0.12).
//!
//! Invariant: a page ends where the clinic's object says, and its `next` link asks for the same with nothing but the place
//! changed, so that pages never overlap and, while nothing is written, leave nothing out.

use std::rc::Rc;

use super::fhir::{FHIR_JSON, PAGE, history_entry};
use super::reply::Response;
use super::views::{self, bypass, reading};
use super::{Context, Incoming, Platform, audit, input};
use crate::access::Action;
use crate::chart::cache::Whose;
use crate::chart::cache::read::{Ask, Render, Rendered};
use crate::chart::records::{Answer, Mark, Query};
use crate::clinic::unexpected;
use crate::config::cache::Class;
use crate::error::{Error, Result};
use crate::fhir::{Link, ResourceType, SearchEntry, SearchMode, history_bundle, searchset};
use crate::time::UnixMillis;

/// The instant in `_since`, if it is given.
pub fn since(parameters: &[(String, String)]) -> Result<Option<UnixMillis>> {
    input::instant(parameters, "_since")
}

/// `value` as one more parameter of a query, if there is one. It needs no encoding.
fn more(name: &str, value: Option<String>) -> String {
    value.map(|value| format!("&{name}={value}")).unwrap_or_default()
}

/// `GET /fhir/Patient/{id}/$everything`
pub async fn everything<P: Platform, R: Incoming>(context: &Context<'_, P, R>, id: &str) -> Result<Response> {
    input::accepts_json(context.request, FHIR_JSON)?;
    let page = match page(context, id) {
        Ok(page) => page,
        Err(error) => return Err(views::misunderstood(context, ResourceType::Patient, error).await),
    };
    let ask = Ask {
        whose: Whose::Patient(id.to_owned()),
        view: page.url(page.after.as_ref()),
        key: "everything".to_owned(),
        shared: true,
        class: Class::Clinical,
        versioned: false,
        query: Query::Everything {
            patient: id.to_owned(),
            since: page.since.unwrap_or(UnixMillis(0)),
            kinds: page.kinds.clone(),
            after: page.after.clone(),
            count: page.count,
        },
        known: Vec::new(),
        render: Rc::new(page),
    };
    views::view(context, ResourceType::Patient, ask).await
}

fn page<P: Platform, R: Incoming>(context: &Context<'_, P, R>, id: &str) -> Result<EverythingPage> {
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
    Ok(EverythingPage { base: context.base(), patient: id.to_owned(), count, since, kinds, after })
}

/// A page of everything of a patient.
#[derive(Clone)]
struct EverythingPage {
    base: String,
    patient: String,
    count: u64,
    since: Option<UnixMillis>,
    kinds: Vec<ResourceType>,
    after: Option<Mark>,
}

impl EverythingPage {
    fn url(&self, after: Option<&Mark>) -> String {
        let names: Vec<&str> = self.kinds.iter().map(|kind| kind.as_str()).collect();
        let kinds = more("_type", Some(names.join(",")).filter(|names| !names.is_empty()));
        let since = more("_since", self.since.map(UnixMillis::to_rfc3339));
        let after = more("_after", after.map(Mark::to_text));
        format!("{}/Patient/{}/$everything?_count={}{since}{kinds}{after}", self.base, self.patient, self.count)
    }
}

impl Render for EverythingPage {
    fn render(&self, answer: &Answer) -> Option<Rendered> {
        let Answer::Everything(items, next) = answer else { return None };
        let mut links = vec![Link { relation: "self", url: self.url(self.after.as_ref()).into() }];
        links.extend(next.as_ref().map(|mark| Link { relation: "next", url: self.url(Some(mark)).into() }));
        let entries = items.iter().map(|item| SearchEntry {
            full_url: Some(format!("{}/{}/{}", self.base, item.kind, item.record.id).into()),
            resource: item.record.body.as_deref().unwrap_or_default().into(),
            mode: if item.shared { SearchMode::Include } else { SearchMode::Match },
        });
        Some(Rendered { version: None, body: searchset(entries, &links, None) })
    }
}

/// `GET /fhir/{type}/_history`, and `GET /fhir/_history` where there is no type.
pub async fn log<P: Platform, R: Incoming>(
    context: &Context<'_, P, R>,
    kind: Option<ResourceType>,
) -> Result<Response> {
    input::accepts_json(context.request, FHIR_JSON)?;
    let caller = context.caller().await?;
    let scope = caller.may(kind.map_or(Action::ReadEverything, reading))?;
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
    context.shows(&caller, kind.map_or_else(|| vec!["_history".to_owned()], audit::of_type));

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
    Ok(Response::fhir(200, history_bundle(entries, &links, None)).header("cache-status", bypass()))
}
