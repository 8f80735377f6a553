//! Views of a patient: the one way from a request that reads inside one patient's compartment to its reply.
//!
//! Invariant: what a view shows does not depend on who asks: whether they may see it is decided by their role before, and by
//! the head after it was asked for. So the same view serves all of them.

use std::cell::RefCell;

use futures_util::future::{FutureExt, LocalBoxFuture};

use super::caller::Caller;
use super::input;
use super::reply::{self, Response};
use super::{Context, Incoming, Platform, audit};
use crate::access::{Action, Role, refused};
use crate::channel::Topic;
use crate::chart::cache::Whose;
use crate::chart::cache::read::{Allowed, Ask, Got, Read, Render, Rendered, read};
use crate::chart::cache::status::Status;
use crate::chart::records::{Answer, Found, Query};
use crate::clinic::position::Positions;
use crate::error::{Error, Kind, Result};
use crate::fhir::{ResourceType, is_shared};

/// The reading of resources of `kind`.
pub fn reading(kind: ResourceType) -> Action<'static> {
    Action::ReadRecords { kind: kind.as_str(), shared: is_shared(kind) }
}

/// The error of a resource that is not there.
pub fn missing() -> Error {
    Error::new(Kind::NotFound, "there is no such resource")
}

fn gone() -> Error {
    Error::new(Kind::Gone, "this resource has been deleted")
}

/// One resource as it is.
#[derive(Clone, Debug)]
pub struct AsResource;

impl Render for AsResource {
    fn render(&self, answer: &Answer) -> Option<Rendered> {
        let Answer::Found(Found { record, .. }) = answer else { return None };
        Some(Rendered { version: Some((record.version, record.updated)), body: record.body.clone()? })
    }
}

/// Reads the view that `ask` says, of resources of `kind`, and answers it.
pub async fn view<P: Platform, R: Incoming>(
    context: &Context<'_, P, R>,
    kind: ResourceType,
    ask: Ask,
) -> Result<Response> {
    view_by(context, context.reader().boxed_local(), kind, ask).await
}

/// The error of a request that cannot be understood; whoever may not ask learns that instead.
pub async fn misunderstood<P: Platform, R: Incoming>(
    context: &Context<'_, P, R>,
    kind: ResourceType,
    error: Error,
) -> Error {
    match context.caller().await.and_then(|caller| caller.may(reading(kind))) {
        Ok(_) => error,
        Err(refused) => refused,
    }
}

/// The same by a caller who is being found out, or is known.
pub async fn view_by<P: Platform, R: Incoming>(
    context: &Context<'_, P, R>,
    caller: LocalBoxFuture<'_, Result<Caller>>,
    kind: ResourceType,
    ask: Ask,
) -> Result<Response> {
    let no_cache = context
        .request
        .header("cache-control")
        .is_some_and(|value| value.split(',').any(|directive| directive.trim().eq_ignore_ascii_case("no-cache")));
    let ask = Ask { known: input::entity_tags(context.request), ..ask };
    let who = RefCell::new(None);
    let allowed = async {
        let caller = caller.await?;
        let scope = caller.may(reading(kind))?;
        // Whoever is bound to some patients learns nothing of whether there are others: a search finds nothing of them, and
        // anything else is refused.
        if let (Some(own), Whose::Patient(patient)) = (scope.patients(), &ask.whose)
            && !matches!(ask.query, Query::Search { .. })
            && !own.contains(&patient.as_str())
        {
            return Err(refused());
        }
        let staff = matches!(caller.session.principal.role, Role::Admin | Role::Practitioner | Role::Nurse);
        who.replace(Some(caller));
        Ok(Allowed { scope, fresh: no_cache && staff })
    };
    let Read { got, status, timing, position, patient } =
        read(context.platform, &context.config.cache, &ask, allowed).await?;
    let what = match (&got, patient, &ask.whose) {
        (_, Some(patient), _) => vec![audit::of_patient(&patient)],
        (_, None, Whose::Patient(patient)) => vec![audit::of_patient(patient)],
        (Got::Plain(Answer::Found(found)), None, Whose::Record(kind, id)) => audit::of_record(*kind, id, &found.owners),
        (_, None, Whose::Record(kind, id)) => audit::of_record(*kind, id, &[]),
    };
    let response = match got {
        Got::View(view, etag) => {
            let version = view.version;
            let response = Response::fhir(200, reply::Body::Kept(view)).header("etag", weak(&etag));
            with_date(response, version.map(|(_, updated)| updated))
        }
        Got::Same(etag, updated) => with_date(Response::empty(304).header("etag", weak(&etag)), updated),
        Got::Plain(answer) => plain(context.request, &*ask.render, &answer)?,
    };
    if let Some(caller) = who.take() {
        context.shows(&caller, what);
    }
    let response = response.header("cache-status", status.header()).header("server-timing", timing.header());
    let response = match (&ask.whose, position) {
        (Whose::Patient(id), Some(position)) => response.read_at(&Positions::of(Topic::Patient(id.clone()), position)),
        _ => response,
    };
    Ok(match status.age {
        Some(age) => response.header("age", age.as_secs_up().to_string()),
        None => response,
    })
}

fn weak(etag: &str) -> String {
    format!("W/\"{etag}\"")
}

fn with_date(response: Response, updated: Option<crate::time::UnixMillis>) -> Response {
    match updated {
        Some(updated) => response.header("last-modified", updated.to_http_date()),
        None => response,
    }
}

/// The reply of what is not kept.
fn plain(request: &impl Incoming, render: &dyn Render, answer: &Answer) -> Result<Response> {
    if let Some(Rendered { version, body }) = render.render(answer) {
        let Some((version, updated)) = version else { return Ok(Response::fhir(200, body)) };
        let same = input::if_none_match(request, version);
        let response = if same { Response::empty(304) } else { Response::fhir(200, body) };
        return Ok(with_date(response.header("etag", weak(&version.to_string())), Some(updated)));
    }
    match answer {
        Answer::Found(Found { record, .. }) => {
            let response = reply::failure(&gone(), true, request.path());
            Ok(with_date(response.header("etag", weak(&record.version.to_string())), Some(record.updated)))
        }
        Answer::Gone => Err(gone()),
        Answer::Missing => Err(missing()),
        Answer::OutOfReach => Err(refused()),
        _ => Err(Error::internal("the origin answered something else than was asked")),
    }
}

/// The `Cache-Status` of what is not cached.
pub fn bypass() -> String {
    Status::bypass("").header()
}
