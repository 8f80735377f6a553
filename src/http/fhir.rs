//! `/fhir`: the RESTful interactions of R4 (section 3.1.0) on single records.
//!
//! Invariant: what is inside one patient's compartment is read through the cache and never older than the last acknowledged
//! write; everything else is read where it is kept. A body is checked whole before anything is written.

use std::rc::Rc;

use super::caller::Caller;
use super::once::Once;
use super::reply::{self, Response};
use super::route::{self, Route};
use super::views::{self, AsResource, bypass, missing, reading};
use super::{Context, Incoming, Platform, audit, booking, everything, fenced, input, search};
use crate::access::{Action, Scope, refused};
use crate::channel::subscription::Subject;
use crate::chart::cache::read::Ask;
use crate::chart::cache::{Whose, life};
use crate::chart::records::{Answer, Batch, Change, Committed, Found, Guard, Query, Record, Refusal, Stamp, Write};
use crate::clinic::{ClinicReply, ClinicRequest};
use crate::clinic::{origin::OriginRequest, unexpected};
use crate::error::{Error, Kind, Result};
use crate::fhir::{
    HistoryEntry, Link, Method, Resource, ResourceType, capability_statement, history_bundle, is_shared,
};
use crate::time::UnixMillis;

/// FHIR JSON, without parameters.
pub const FHIR_JSON: &str = "application/fhir+json";
/// What a body here may be called.
pub const TAKEN: [&str; 2] = [FHIR_JSON, "application/json"];
/// Records in a page by default, and at most.
pub const PAGE: (u64, u64) = (50, 200);

/// Answers what a path under `/fhir` means.
pub async fn handle<P: Platform, R: Incoming>(context: &Context<'_, P, R>, route: Route) -> Result<Response> {
    match route {
        Route::Metadata => metadata(context).await,
        Route::Type(kind) => of_type(context, kind).await,
        Route::Search(kind) => search::search(context, kind).await,
        Route::Instance(kind, id) => instance(context, kind, &id).await,
        Route::History(kind, id) => history(context, kind, &id).await,
        Route::Everything(id) => everything::everything(context, &id).await,
        Route::Log(kind) => everything::log(context, kind).await,
        Route::Version(kind, id, number) => version(context, kind, &id, number).await,
        _ => Err(missing()),
    }
}

/// Answers a request for a record that is an entry of a Bundle.
pub async fn route<P: Platform, R: Incoming>(context: &Context<'_, P, R>) -> Result<Response> {
    let route = route::find(context.request.path())?;
    if !route.methods().contains(&context.request.method()) {
        return Err(route::method_not_allowed());
    }
    handle(context, route).await
}

/// `GET /fhir/metadata`; open to all, as R4 wants it.
async fn metadata<P: Platform, R: Incoming>(context: &Context<'_, P, R>) -> Result<Response> {
    input::accepts_json(context.request, FHIR_JSON)?;
    let (name, version, base) = (&context.config.clinic_name, env!("CARGO_PKG_VERSION"), context.base());
    let topics = Subject::ALL.map(Subject::url);
    let origin = match &context.config.origin {
        None => None,
        Some(_) => match context.platform.ask(ClinicRequest::Origin(OriginRequest::Statement)).await? {
            ClinicReply::Json(text) => serde_json::from_str(&text).ok(),
            _ => None,
        },
    };
    let now = context.platform.now();
    Ok(Response::fhir(200, capability_statement(name, version, &base, now, &topics, origin.as_ref())))
}

/// `/fhir/{type}`
async fn of_type<P: Platform, R: Incoming>(context: &Context<'_, P, R>, kind: ResourceType) -> Result<Response> {
    input::accepts_json(context.request, FHIR_JSON)?;
    if context.request.method() == "POST" { create(context, kind).await } else { search::search(context, kind).await }
}

/// `/fhir/{type}/{id}`
async fn instance<P: Platform, R: Incoming>(
    context: &Context<'_, P, R>,
    kind: ResourceType,
    id: &str,
) -> Result<Response> {
    input::accepts_json(context.request, FHIR_JSON)?;
    match context.request.method() {
        "PUT" => update(context, kind, id).await,
        "DELETE" => delete(context, kind, id).await,
        // Read where it is kept, with what is left of its hold.
        _ if is_shared(kind) || kind == ResourceType::Appointment => read(context, kind, id, None).await,
        _ => views::view(context, kind, resource(kind, id)).await,
    }
}

/// `GET /fhir/{type}/{id}/_history/{vid}`
async fn version<P: Platform, R: Incoming>(
    context: &Context<'_, P, R>,
    kind: ResourceType,
    id: &str,
    version: u64,
) -> Result<Response> {
    input::accepts_json(context.request, FHIR_JSON)?;
    read(context, kind, id, Some(version)).await
}

/// The entity tag of a version.
pub fn etag(version: u64) -> String {
    format!("W/\"{version}\"")
}

fn validators(response: Response, version: u64, updated: UnixMillis) -> Response {
    response.header("etag", etag(version)).header("last-modified", updated.to_http_date())
}

/// The reply of one version that was read: 200, 304 where the client has it, 410 where it says "deleted".
fn shown(request: &impl Incoming, version: u64, updated: UnixMillis, body: Option<String>, cache: &str) -> Response {
    let response = match body {
        None => reply::failure(&Error::new(Kind::Gone, "this resource has been deleted"), true, request.path()),
        Some(_) if input::if_none_match(request, version) => Response::empty(304),
        Some(body) => Response::fhir(200, body),
    };
    validators(response, version, updated).header("cache-status", cache)
}

/// The view that is one resource.
fn resource(kind: ResourceType, id: &str) -> Ask {
    Ask {
        whose: match kind {
            ResourceType::Patient => Whose::Patient(id.to_owned()),
            _ => Whose::Record(kind, id.to_owned()),
        },
        view: format!("{kind}/{id}"),
        key: kind.to_string(),
        shared: false,
        class: life::class(kind),
        versioned: true,
        query: Query::Read { kind, id: id.to_owned(), version: None },
        known: Vec::new(),
        render: Rc::new(AsResource),
    }
}

async fn read<P: Platform, R: Incoming>(
    context: &Context<'_, P, R>,
    kind: ResourceType,
    id: &str,
    version: Option<u64>,
) -> Result<Response> {
    let caller = context.caller().await?;
    let scope = caller.may(reading(kind))?;
    let found = found(context, scope, Query::Read { kind, id: id.to_owned(), version }).await?;
    let Found { record, held_until, held_by, owners } = found;
    context.shows(&caller, audit::of_record(kind, id, &owners));
    let shown = shown(context.request, record.version, record.updated, record.body, &bypass());
    let left = held_until.map(|until| context.platform.now().until(until));
    Ok(booking::with_hold(shown, left, caller.is(held_by.as_deref())))
}

async fn found<P: Platform, R>(context: &Context<'_, P, R>, scope: Scope, query: Query) -> Result<Found> {
    match context.platform.query(scope, query).await? {
        Answer::Found(found) => Ok(found),
        Answer::Missing => Err(missing()),
        Answer::OutOfReach => Err(refused()),
        _ => Err(unexpected()),
    }
}

async fn several<P: Platform, R>(
    context: &Context<'_, P, R>,
    scope: Scope,
    query: Query,
) -> Result<(Vec<Record>, bool)> {
    match context.platform.query(scope, query).await? {
        Answer::Several(records, more) => Ok((records, more)),
        Answer::Missing => Err(missing()),
        Answer::OutOfReach => Err(refused()),
        _ => Err(unexpected()),
    }
}

/// `GET /fhir/{type}/{id}/_history`
async fn history<P: Platform, R: Incoming>(
    context: &Context<'_, P, R>,
    kind: ResourceType,
    id: &str,
) -> Result<Response> {
    input::accepts_json(context.request, FHIR_JSON)?;
    let caller = context.caller().await?;
    let scope = caller.may(reading(kind))?;
    let parameters = input::parameters(context.request, &["_count", "_below"])?;
    let count = input::count(&parameters, "_count", PAGE.0, PAGE.1)?;
    let below = match input::parameter(&parameters, "_below") {
        None => None,
        Some(text) => Some(text.parse().map_err(|_| Error::invalid("_below", "this must be a version"))?),
    };
    let query = Query::History { kind, id: id.to_owned(), below, count };
    let (records, more) = several(context, scope, query).await?;
    context.shows(&caller, audit::of_record(kind, id, &[]));

    let path = format!("{}/{kind}/{id}", context.base());
    let url = |below: Option<u64>| {
        let below = below.map(|version| format!("&_below={version}")).unwrap_or_default();
        format!("{path}/_history?_count={count}{below}")
    };
    let mut links = vec![Link { relation: "self", url: url(below).into() }];
    if let Some(last) = records.last().filter(|_| more) {
        links.push(Link { relation: "next", url: url(Some(last.version)).into() });
    }
    let base = context.base();
    let entries = records.iter().map(|record| history_entry(&base, kind, record));
    Ok(Response::fhir(200, history_bundle(entries, &links, None)).header("cache-status", bypass()))
}

/// A version as the entry of a history.
pub fn history_entry<'a>(base: &str, kind: ResourceType, record: &'a Record) -> HistoryEntry<'a> {
    let url = format!("{kind}/{}", record.id);
    HistoryEntry {
        full_url: format!("{base}/{url}").into(),
        method: if record.body.is_some() { Method::Put } else { Method::Delete },
        url: url.into(),
        status: match (&record.body, record.created) {
            (None, _) => 204,
            (Some(_), true) => 201,
            (Some(_), false) => 200,
        },
        version: record.version,
        last_modified: record.updated,
        resource: record.body.as_deref().map(Into::into),
    }
}

/// Reads the body as a resource of `kind`. The inner error is a reply with every issue of the body.
pub async fn sent<P, R: Incoming>(
    context: &Context<'_, P, R>,
    kind: ResourceType,
) -> Result<std::result::Result<Resource, Response>> {
    input::content_type(context.request, &TAKEN)?;
    let body = context.request.body(input::RESOURCE_LIMIT).await?;
    let mut resource = match Resource::parse(&body) {
        Ok(resource) => resource,
        Err(invalid) => return Ok(Err(reply::invalid(&invalid))),
    };
    if resource.kind() != kind {
        return Err(Error::invalid("resourceType", "this is another type than the path names"));
    }
    // A reference to this server is one to its own record however it is written, or it would be in nobody's compartment.
    let own = format!("{}/fhir/", context.request.origin());
    resource.map_references(&mut |text| text.strip_prefix(&own).map(str::to_owned));
    Ok(Ok(resource))
}

/// Who writes, and what they reach.
struct Writer {
    scope: Scope,
    caller: Caller,
}

/// Who writes resources of `kind`.
async fn writer<P: Platform, R: Incoming>(
    context: &Context<'_, P, R>,
    kind: ResourceType,
    create: bool,
) -> Result<Writer> {
    let caller = context.caller().await?;
    let scope = caller.may(Action::WriteRecords { kind: kind.as_str(), shared: is_shared(kind), create })?;
    Ok(Writer { scope, caller })
}

async fn create<P: Platform, R: Incoming>(context: &Context<'_, P, R>, kind: ResourceType) -> Result<Response> {
    let writer = writer(context, kind, true).await?;
    let mut resource = match sent(context, kind).await? {
        Ok(resource) => resource,
        Err(response) => return Ok(response),
    };
    let once = Once::of(context, &writer.caller.session.principal.user, resource.to_json().as_bytes())?;
    let id = once.as_ref().map_or_else(|| context.platform.uuid(), |once| once.id(0));
    if !resource.set_id(&id) {
        return Err(Error::internal("a new id was not a valid one"));
    }
    commit(
        context,
        writer,
        Change { kind, id, guard: Guard::Absent, write: Write::put(&mut resource, context.platform.now())? },
        once,
    )
    .await
}

async fn update<P: Platform, R: Incoming>(
    context: &Context<'_, P, R>,
    kind: ResourceType,
    id: &str,
) -> Result<Response> {
    let writer = writer(context, kind, false).await?;
    let guard = guard(context.request)?;
    let mut resource = match sent(context, kind).await? {
        Ok(resource) => resource,
        Err(response) => return Ok(response),
    };
    if resource.id() != Some(id) {
        return Err(Error::invalid(format!("{kind}.id"), "the id in the body must be the one in the path"));
    }
    let once = Once::of(context, &writer.caller.session.principal.user, resource.to_json().as_bytes())?;
    commit(
        context,
        writer,
        Change { kind, id: id.to_owned(), guard, write: Write::put(&mut resource, context.platform.now())? },
        once,
    )
    .await
}

async fn delete<P: Platform, R: Incoming>(
    context: &Context<'_, P, R>,
    kind: ResourceType,
    id: &str,
) -> Result<Response> {
    let writer = writer(context, kind, false).await?;
    let guard = guard(context.request)?;
    let once = Once::of(context, &writer.caller.session.principal.user, &[])?;
    commit(context, writer, Change { kind, id: id.to_owned(), guard, write: Write::Delete }, once).await
}

/// The guard that the preconditions of a write make: `If-None-Match: *` (only if it is not there) or `If-Match`.
fn guard(request: &impl Incoming) -> Result<Guard> {
    if request.header("if-none-match").is_some_and(|value| value.trim() == "*") {
        return Ok(Guard::Absent);
    }
    Ok(input::if_match(request)?.map_or(Guard::Any, Guard::Version))
}

/// Commits one change and answers it.
async fn commit<P: Platform, R: Incoming>(
    context: &Context<'_, P, R>,
    Writer { scope, caller }: Writer,
    change: Change,
    once: Option<Once>,
) -> Result<Response> {
    let once = once.as_ref().map(Once::name);
    let fences = fenced::of(context, &caller, std::slice::from_ref(&change)).await?;
    let batch = Batch { once, fences, ..Batch::new(scope, caller.actor(&context.id), vec![change.clone()]) };
    match context.platform.commit(batch).await? {
        Committed::All(stamps) => {
            let stamp = stamps.into_iter().next().ok_or_else(unexpected)?;
            Ok(written(context, &change, stamp))
        }
        // Nothing was written now: that it is there is all that is said, and no version.
        Committed::Again if change.write == Write::Delete => Ok(Response::empty(204)),
        Committed::Again => {
            Ok(Response::empty(200).header("location", format!("{}/{}/{}", context.base(), change.kind, change.id)))
        }
        Committed::Refused { why, .. } => Err(explain(why)),
    }
}

/// The answer of one change that was written.
pub fn written<P: Platform, R: Incoming>(context: &Context<'_, P, R>, change: &Change, stamp: Stamp) -> Response {
    let Write::Put { draft, .. } = &change.write else {
        return Response::empty(204).header("etag", etag(stamp.version));
    };
    let status = if stamp.created { 201 } else { 200 };
    let minimal = context.request.header("prefer").is_some_and(|prefer| prefer.contains("return=minimal"));
    let response =
        if minimal { Response::empty(status) } else { Response::fhir(status, draft.stamped(stamp.version, stamp.at)) };
    let location = format!("{}/{}/{}/_history/{}", context.base(), change.kind, change.id, stamp.version);
    validators(response, stamp.version, stamp.at).header("location", location)
}

/// The error of a batch that was refused.
pub fn explain(why: Refusal) -> Error {
    match why {
        Refusal::Exists => {
            Error::new(Kind::PreconditionFailed, "there is a resource with this id already").at("if-none-match")
        }
        Refusal::Changed => {
            Error::new(Kind::PreconditionFailed, "the resource is in another version: read it again").at("if-match")
        }
        Refusal::Missing => missing(),
        Refusal::OutOfReach => refused(),
        Refusal::NoSuchPatient => {
            Error::new(Kind::Unprocessable, "it refers to a Patient that is not there").at("subject")
        }
        Refusal::StaleFence => {
            Error::new(Kind::Conflict, "the lease of this fence has gone to another: nothing was written").at("fence")
        }
        Refusal::NeedsFence => {
            let message = "this settles a diagnosis: take the lease of its name, {type}:{id}, and show its fence in Bedside-Fence";
            Error::new(Kind::Conflict, message).at("bedside-fence")
        }
        Refusal::SlotTaken => Error::new(Kind::Conflict, "a Slot of it is in another Appointment: choose another one")
            .at("Appointment.slot"),
        Refusal::TooManyHolds => {
            Error::new(Kind::Conflict, "this account holds as many as it may: book or cancel one first")
                .at("Appointment")
        }
        Refusal::HeldByAnother => Error::new(Kind::Conflict, "this hold is somebody else's").at("Appointment"),
        Refusal::RenewedAlready => {
            Error::new(Kind::Conflict, "a hold is renewed once: book it, or it ends").at("Appointment")
        }
        Refusal::StillReferred => {
            Error::new(Kind::Conflict, "other resources are in the compartment of this patient; delete them first")
        }
    }
}
