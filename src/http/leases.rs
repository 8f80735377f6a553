//! `/leases/{name}`: grant, renew, revoke, look up.
//!
//! Invariant: a lease is renewed and revoked by its holder alone, by its fence. The fence is shown to the holder and to
//! administrators; to other staff, who holds the lease and until when.

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::caller::Caller;
use super::reply::{self, Response};
use super::{Context, Incoming, Platform, input};
use crate::access::{Action, Role};
use crate::error::{Error, Kind, Result};
use crate::lease::{self, Granted, Lease, LeaseName, Lost, RequestId};
use crate::time::{Ttl, UnixMillis};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    request_id: String,
    ttl_seconds: Option<i64>,
    wait_seconds: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Renewal {
    fence: u64,
    ttl_seconds: Option<i64>,
}

#[derive(Serialize)]
struct LeaseBody {
    name: String,
    fence: u64,
    expires_at: String,
    ttl_seconds: u64,
}

#[derive(Serialize)]
struct LookUpBody<'a> {
    held: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    holder: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fence: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    waiting: u64,
}

fn write(status: u16, body: &impl Serialize) -> Result<Response> {
    let body = serde_json::to_string(body).map_err(|_| Error::internal("a lease could not be written"))?;
    Ok(Response::json(status, body))
}

fn shown(status: u16, name: &LeaseName, lease: &Lease) -> Result<Response> {
    let body = LeaseBody {
        name: name.to_string(),
        fence: lease.fence,
        expires_at: lease.expires.to_rfc3339(),
        ttl_seconds: lease.ttl.as_secs_up(),
    };
    write(status, &body)
}

fn held(path: &str, now: UnixMillis, holder: String, expires: UnixMillis) -> Response {
    // The caller's clock may be a little past the store's, and "again in 0 s" would be a loop.
    let wait = now.until(expires).max(Ttl::from_secs(1));
    let error = Error::new(Kind::Conflict, "this lease is held; it is free at expires_at unless it is renewed")
        .at("name")
        .retry_after(wait);
    reply::problem(&error, path, [("holder", holder.into()), ("expires_at", expires.to_rfc3339().into())])
}

fn lost(_: Lost) -> Error {
    Error::new(Kind::Conflict, "this account does not hold this lease by this fence, or no longer").at("fence")
}

/// `/leases/{name}`
pub async fn handle<P: Platform, R: Incoming>(context: &Context<'_, P, R>, name: &LeaseName) -> Result<Response> {
    let caller = context.caller().await?;
    caller.may(Action::UseLeases)?;
    let method = context.request.method();
    let known: &[&str] = if method == "DELETE" { &["fence"] } else { &[] };
    let parameters = input::parameters(context.request, known)?;
    match method {
        "POST" => grant(context, name, &caller).await,
        "PUT" => renew(context, name, &caller).await,
        "DELETE" => {
            let missing = || Error::invalid("fence", "this parameter is missing");
            let fence = input::parameter(&parameters, "fence").ok_or_else(missing)?.parse();
            let fence = fence.map_err(|_| Error::invalid("fence", "this must be a whole number"))?;
            let user = &caller.session.principal.user;
            lease::revoke(context.platform.leases(), name, user, fence).await?.map_err(lost)?;
            Ok(Response::empty(204))
        }
        _ => look_up(context, name, &caller).await,
    }
}

async fn grant<P: Platform, R: Incoming>(
    context: &Context<'_, P, R>,
    name: &LeaseName,
    caller: &Caller,
) -> Result<Response> {
    let wanted: Wanted = input::json(context.request).await?;
    if wanted.wait_seconds.is_some() {
        let message = "waiting for a lease is not supported yet: leave this out and ask again after Retry-After";
        return Err(Error::new(Kind::Unprocessable, message).at("wait_seconds"));
    }
    let request_id = RequestId::parse(&wanted.request_id)?;
    let ttl = wanted.ttl_seconds.map_or(Ok(lease::USUAL), lease::ttl)?;
    let now = context.platform.now();
    let holder = &caller.session.principal;
    match lease::grant(context.platform.leases(), now, name, holder, &request_id, ttl).await? {
        Granted::New(lease) => shown(201, name, &lease),
        Granted::Again(lease) => shown(200, name, &lease),
        Granted::Held { holder, expires } => Ok(held(context.request.path(), now, holder, expires)),
    }
}

async fn renew<P: Platform, R: Incoming>(
    context: &Context<'_, P, R>,
    name: &LeaseName,
    caller: &Caller,
) -> Result<Response> {
    let renewal: Renewal = input::json(context.request).await?;
    let ttl = renewal.ttl_seconds.map(lease::ttl).transpose()?;
    let (now, user) = (context.platform.now(), &caller.session.principal.user);
    let renewed = lease::renew(context.platform.leases(), now, name, user, renewal.fence, ttl).await?;
    shown(200, name, &renewed.map_err(lost)?)
}

async fn look_up<P: Platform, R: Incoming>(
    context: &Context<'_, P, R>,
    name: &LeaseName,
    caller: &Caller,
) -> Result<Response> {
    let found = lease::look_up(context.platform.leases(), name).await?;
    let principal = &caller.session.principal;
    let sees_fence = |lease: &&Lease| principal.role == Role::Admin || lease.user == principal.user;
    let body = LookUpBody {
        held: found.is_some(),
        holder: found.as_ref().map(|lease| lease.holder.as_str()),
        fence: found.as_ref().filter(sees_fence).map(|lease| lease.fence),
        expires_at: found.as_ref().map(|lease| lease.expires.to_rfc3339()),
        waiting: 0,
    };
    write(200, &body)
}
