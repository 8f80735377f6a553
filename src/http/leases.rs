//! `/leases`: grant, wait, renew, revoke, break, look up; one name or several.
//!
//! Invariant: a lease is renewed and revoked by its holder alone, by its fence. The fence is shown to the holder and to
//! administrators; to other staff, who holds the lease, since when and until when. Every answer says how long the lease
//! lives from now on, so that a holder needs no clock in common with the server.

use serde::{Deserialize, Serialize};

use super::caller::Caller;
use super::reply::{self, Response};
use super::{Context, Incoming, Platform, input};
use crate::access::{Action, Role};
use crate::clinic::ClinicRequest;
use crate::error::{Error, Kind, Result, Retry};
use crate::lease::several::{self, Several};
use crate::lease::{self, Answer, Ask, Asker, Lease, LeaseName, Leases, RequestId, Told};
use crate::time::{Ttl, UnixMillis};

/// The longest reason for breaking a lease, in bytes.
const LONGEST_REASON: usize = 500;
/// When whoever waits asks again after a call that failed.
const AGAIN: Ttl = Ttl(250);
/// A call is not taken to have lasted longer.
const MOST_TAKEN: Ttl = Ttl::from_secs(10);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    request_id: String,
    ttl_seconds: Option<i64>,
    wait_seconds: Option<i64>,
    /// The turn is told of on the account's channel, and the call is answered at once.
    #[serde(default)]
    push: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SeveralWanted {
    names: Vec<String>,
    request_id: String,
    ttl_seconds: Option<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Renewal {
    fence: u64,
    ttl_seconds: Option<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Breaking {
    reason: String,
}

type Members = Vec<(&'static str, serde_json::Value)>;

#[derive(Serialize)]
struct LeaseBody {
    name: String,
    fence: u64,
    expires_at: String,
    expires_in_ms: u64,
    ttl_seconds: u64,
    /// There only while it is held out to whoever waited for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    claim_within_ms: Option<u64>,
}

impl LeaseBody {
    fn of(name: &LeaseName, lease: &Lease, at: UnixMillis) -> LeaseBody {
        let left = at.until(lease.expires).0;
        LeaseBody {
            name: name.to_string(),
            fence: lease.fence,
            expires_at: lease.expires.to_rfc3339(),
            expires_in_ms: left,
            ttl_seconds: lease.ttl.as_secs_up(),
            claim_within_ms: (!lease.sure).then_some(left),
        }
    }
}

#[derive(Serialize)]
struct SeveralBody {
    leases: Vec<LeaseBody>,
}

#[derive(Serialize)]
struct LookUpBody<'a> {
    held: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    holder: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fence: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in_ms: Option<u64>,
    waiting: u64,
}

fn write(status: u16, body: &impl Serialize) -> Result<Response> {
    let body = serde_json::to_string(body).map_err(|_| Error::internal("a lease could not be written"))?;
    Ok(Response::json(status, body))
}

/// Who holds a lease that is another's, since when and until when.
fn holding(name: &LeaseName, lease: Lease, at: UnixMillis, position: Option<u64>) -> Members {
    let left = at.until(lease.expires).0;
    let mut members: Members = vec![
        ("name", name.as_str().into()),
        ("holder", lease.holder.into()),
        ("since", lease.granted.to_rfc3339().into()),
        ("expires_at", lease.expires.to_rfc3339().into()),
        ("expires_in_ms", left.into()),
    ];
    members.extend(position.map(|position| ("position", position.into())));
    members
}

/// The refusal of what is another's.
fn held(path: &str, name: &LeaseName, lease: Lease, at: UnixMillis, position: Option<u64>) -> Response {
    let left = at.until(lease.expires);
    // It may be renewed up to the last moment, and "again in 0 s" would be a loop.
    let wait = left.max(Ttl::from_secs(1));
    let error = Error::new(Kind::Conflict, "this lease is held; it is free at expires_at unless it is renewed")
        .at("name")
        .retry_after(wait);
    reply::problem(&error, path, holding(name, lease, at, position))
}

fn lost() -> Error {
    Error::new(Kind::Conflict, "this account does not hold this lease by this fence, or no longer").at("fence")
}

/// `/leases/{name}`
pub async fn handle<P: Platform, R: Incoming>(context: &Context<'_, P, R>, name: &LeaseName) -> Result<Response> {
    let caller = context.reader().await?;
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
            let user = caller.session.principal.user.clone();
            match context.platform.leases().ask(name, Ask::Revoke { user, fence }).await?.told {
                Told::Freed => Ok(Response::empty(204)),
                Told::Lost => Err(lost()),
                _ => Err(lease::unexpected()),
            }
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
    let request_id = RequestId::parse(&wanted.request_id)?;
    let ttl = wanted.ttl_seconds.map_or(Ok(lease::USUAL), lease::ttl)?;
    let mut left = wanted.wait_seconds.map_or(Ok(None), lease::wait)?;
    let asker = Asker::from(&caller.session.principal);
    let pushed = match (wanted.push, left) {
        (false, _) => None,
        (true, Some(wait)) => Some(wait),
        (true, None) => {
            return Err(Error::new(Kind::Unprocessable, "whoever is to be told of its turn says how long it waits")
                .at("wait_seconds"));
        }
    };
    let mut is_waiting = false;
    loop {
        let began = context.platform.now();
        // What is left after a call that took at least `least`. A clock that was set is not believed.
        let rest = |left: Option<Ttl>, least: Ttl| {
            let took = began.until(context.platform.now()).clamp(least, MOST_TAKEN);
            left.map(|left| Ttl(left.0.saturating_sub(took.0))).filter(|left| left.0 > 0)
        };
        // The call is kept open for a while, and made again while there is time left.
        let (asker, request_id) = (asker.clone(), request_id.clone());
        let ask = match pushed {
            Some(wait) => Ask::Queue { asker, request_id, ttl, wait },
            None => Ask::Grant { asker, request_id, ttl, wait: left },
        };
        let Answer { told, at } = match context.platform.leases().ask(name, ask).await {
            // It has its place: asked again, the same request finds whatever became of it.
            Err(error) if is_waiting && left.is_some() && error.retry != Retry::Never => {
                context.platform.pause(AGAIN).await;
                left = rest(left, AGAIN);
                continue;
            }
            answered => answered?,
        };
        match told {
            Told::Granted { lease, again } => {
                let status = if again && lease.sure { 200 } else { 201 };
                return write(status, &LeaseBody::of(name, &lease, at));
            }
            Told::Held { lease, position } if pushed.is_some() => {
                let members = holding(name, lease, at, Some(position)).into_iter();
                let members = members.map(|(name, value)| (name.to_owned(), value)).collect();
                return write(202, &serde_json::Value::Object(members));
            }
            // The last ask, which waits for nothing, gives the place up.
            Told::Held { lease, position } if left.is_none() => {
                return Ok(held(context.request.path(), name, lease, at, Some(position)));
            }
            Told::Held { .. } => {
                is_waiting = true;
                left = rest(left, lease::LONGEST_CALL);
            }
            _ => return Err(lease::unexpected()),
        }
    }
}

async fn renew<P: Platform, R: Incoming>(
    context: &Context<'_, P, R>,
    name: &LeaseName,
    caller: &Caller,
) -> Result<Response> {
    let renewal: Renewal = input::json(context.request).await?;
    let ttl = renewal.ttl_seconds.map(lease::ttl).transpose()?;
    let user = caller.session.principal.user.clone();
    let Answer { told, at } =
        context.platform.leases().ask(name, Ask::Renew { user, fence: renewal.fence, ttl }).await?;
    match told {
        Told::Renewed(lease) => write(200, &LeaseBody::of(name, &lease, at)),
        Told::Lost => Err(lost()),
        _ => Err(lease::unexpected()),
    }
}

async fn look_up<P: Platform, R: Incoming>(
    context: &Context<'_, P, R>,
    name: &LeaseName,
    caller: &Caller,
) -> Result<Response> {
    let (found, waiting, at) = seen(context, name).await?;
    let principal = &caller.session.principal;
    let sees_fence = |lease: &&Lease| principal.role == Role::Admin || lease.user == principal.user;
    let body = LookUpBody {
        held: found.is_some(),
        holder: found.as_ref().map(|lease| lease.holder.as_str()),
        since: found.as_ref().map(|lease| lease.granted.to_rfc3339()),
        fence: found.as_ref().filter(sees_fence).map(|lease| lease.fence),
        expires_at: found.as_ref().map(|lease| lease.expires.to_rfc3339()),
        expires_in_ms: found.as_ref().map(|lease| at.until(lease.expires).0),
        waiting,
    };
    write(200, &body)
}

/// The live lease, how many wait for it, and the instant of the look.
pub async fn seen<P: Platform, R>(
    context: &Context<'_, P, R>,
    name: &LeaseName,
) -> Result<(Option<Lease>, u64, UnixMillis)> {
    let Answer { told, at } = context.platform.leases().ask(name, Ask::LookUp).await?;
    match told {
        Told::Seen { lease, waiting } => Ok((lease, waiting, at)),
        _ => Err(lease::unexpected()),
    }
}

/// `POST /leases`
pub async fn several<P: Platform, R: Incoming>(context: &Context<'_, P, R>) -> Result<Response> {
    let caller = context.reader().await?;
    caller.may(Action::UseLeases)?;
    input::parameters(context.request, &[])?;
    let wanted: SeveralWanted = input::json(context.request).await?;
    if wanted.names.is_empty() || wanted.names.len() > several::MOST {
        return Err(Error::new(Kind::Unprocessable, "1 to 16 leases are granted at once").at("names"));
    }
    let names = wanted.names.iter().enumerate().map(|(index, text)| {
        let wrong = || Error::new(Kind::Unprocessable, "a lease's name has 1 to 128 of A-Z a-z 0-9 . _ - :");
        LeaseName::parse(text).ok_or_else(|| wrong().at(format!("names[{index}]")))
    });
    let names = names.collect::<Result<Vec<_>>>()?;
    let request_id = RequestId::parse(&wanted.request_id)?;
    let ttl = wanted.ttl_seconds.map_or(Ok(lease::USUAL), lease::ttl)?;
    let asker = Asker::from(&caller.session.principal);
    let attempt = context.platform.uuid();
    match several::grant(context.platform.leases(), attempt, names, &asker, &request_id, ttl).await? {
        Several::Granted { leases, at, again } => {
            let leases = leases.iter().map(|(name, lease)| LeaseBody::of(name, lease, at)).collect();
            write(if again { 200 } else { 201 }, &SeveralBody { leases })
        }
        Several::Held { name, lease, at } => Ok(held(context.request.path(), &name, lease, at, None)),
    }
}

/// `POST /leases/{name}/break`
pub async fn break_it<P: Platform, R: Incoming>(context: &Context<'_, P, R>, name: &LeaseName) -> Result<Response> {
    let caller = context.reader().await?;
    caller.may(Action::BreakLeases)?;
    input::parameters(context.request, &[])?;
    let Breaking { reason } = input::json(context.request).await?;
    let reason = reason.trim().to_owned();
    if reason.is_empty() || reason.len() > LONGEST_REASON {
        return Err(Error::new(Kind::Unprocessable, "a reason has 1 to 500 bytes").at("reason"));
    }
    let free = || Error::new(Kind::Conflict, "nobody holds this lease, or no longer").at("name");
    let (found, _, _) = seen(context, name).await?;
    let fence = found.ok_or_else(free)?.fence;
    // On record before it is done, so that nothing is ever broken that the audit trail does not know of.
    let audit = ClinicRequest::Audit {
        actor: caller.actor(&context.id),
        entity: format!("lease/{name}/{fence}/break"),
        reason: reason.clone(),
    };
    context.platform.ask(audit).await?;
    let by = caller.session.principal.name.clone();
    match context.platform.leases().ask(name, Ask::Break { fence, by, reason }).await?.told {
        Told::Broken(lease) => write(200, &serde_json::json!({ "name": name, "fence": fence, "holder": lease.holder })),
        Told::Lost => Err(free()),
        _ => Err(lease::unexpected()),
    }
}
