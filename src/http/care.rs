//! `/alerts` and `/patients/{id}/thresholds`: what staff see and do about their patients' vital signs.

use serde::Deserialize;

use super::caller::Caller;
use super::reply::Response;
use super::{Context, Incoming, Platform, audit, input};
use crate::access::{Action, Role, Scope};
use crate::channel::Topic;
use crate::clinic::position::Positioned;
use crate::clinic::{ClinicReply, ClinicRequest};
use crate::clinic::{care::CareRequest, unexpected};
use crate::error::{Error, Result};
use crate::fhir::is_valid_id;
use crate::vitals::thresholds::{Thresholds, Wire};

/// `GET /alerts`
pub async fn alerts<P: Platform, R: Incoming>(context: &Context<'_, P, R>) -> Result<Response> {
    let caller = context.caller().await?;
    let scope = caller.may(Action::Attend)?;
    let parameters = input::parameters(context.request, &["ward", "patient"])?;
    let id = |name: &str| match input::parameter(&parameters, name) {
        Some(id) if !is_valid_id(id) => Err(Error::invalid(name, "this must be the id of a resource")),
        id => Ok(id.map(str::to_owned)),
    };
    let (ward, patient) = (id("ward")?, id("patient")?);
    let topics = ward.iter().cloned().map(Topic::Ward).chain(patient.iter().cloned().map(Topic::Patient)).collect();
    read(context, &caller, scope, CareRequest::Alerts { ward, patient }, topics).await
}

/// What is read, and where in `topics`.
async fn read<P: Platform, R>(
    context: &Context<'_, P, R>,
    caller: &Caller,
    scope: Scope,
    request: CareRequest,
    topics: Vec<Topic>,
) -> Result<Response> {
    let what: Vec<String> = topics.iter().flat_map(audit::of_topic).collect();
    let (reply, positions) = context.platform.ask_at(ClinicRequest::Care { scope, request }, topics).await?;
    let ClinicReply::Json(json) = reply else { return Err(unexpected()) };
    context.shows(caller, if what.is_empty() { vec!["alerts".to_owned()] } else { what });
    Ok(Response::json(200, json).read_at(&positions))
}

/// `GET /wards/{id}/board`
pub async fn board<P: Platform, R: Incoming>(context: &Context<'_, P, R>, ward: &str) -> Result<Response> {
    // A wall display fetches it on its own, for ever.
    let caller = context.caller_quietly().await?;
    let scope = caller.may(Action::FollowWard { ward })?;
    let reduced = caller.session.principal.role == Role::Display;
    let topics = vec![Topic::Ward(ward.to_owned())];
    read(context, &caller, scope, CareRequest::Board { ward: ward.to_owned(), reduced }, topics).await
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seen {
    version: Option<u64>,
}

/// `POST /alerts/{id}/acknowledge`
pub async fn acknowledge<P: Platform, R: Incoming>(context: &Context<'_, P, R>, id: &str) -> Result<Response> {
    let caller = context.caller().await?;
    let scope = caller.may(Action::Attend)?;
    // Without a body there is no content type either.
    let seen: Seen = match context.request.header("content-type") {
        Some(_) => input::json(context.request).await?,
        None => Seen::default(),
    };
    let request = CareRequest::Acknowledge {
        id: id.to_owned(),
        name: caller.session.principal.name.clone(),
        seen: seen.version,
        actor: caller.actor(&context.id),
    };
    Ok(Response::json(200, context.platform.care(scope, request).await?))
}

/// `/patients/{id}/thresholds`
pub async fn thresholds<P: Platform, R: Incoming>(context: &Context<'_, P, R>, patient: &str) -> Result<Response> {
    let caller = context.caller().await?;
    let scope = caller.may(Action::Attend)?;
    let what = audit::of_patient(patient);
    let patient = patient.to_owned();
    if context.request.method() == "PUT" {
        let expected = input::if_match(context.request)?;
        let thresholds = Thresholds::of(&input::json::<Wire>(context.request).await?)?;
        let request = CareRequest::SetThresholds { patient, thresholds, expected, actor: caller.actor(&context.id) };
        return Ok(Response::json(200, context.platform.care(scope, request).await?));
    }
    let thresholds = context.platform.care(scope, CareRequest::Thresholds { patient }).await?;
    context.shows(&caller, vec![what]);
    Ok(Response::json(200, thresholds))
}
