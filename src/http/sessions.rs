//! `/session`: who am I, I am still here, sign out. `/sessions`: what is open, and ending it.
//!
//! Invariant: an end is acknowledged only once it is noted in the clinic's object, which brings it to whatever listens, and
//! the store of sessions has a tombstone in the session's place.

use serde::Serialize;

use super::caller::{COOKIE, Caller, cookie};
use super::reply::Response;
use super::sign_in::{Transport, sign_in};
use super::{Context, Incoming, Platform, input};
use crate::access::{Action, Role};
use crate::clinic::sessions::Sessions;
use crate::error::{Error, Kind, Result};
use crate::session::registry::{Ended, Which};
use crate::session::token::Token;
use crate::session::{self, Session};

#[derive(Serialize)]
struct User<'a> {
    id: &'a str,
    name: &'a str,
    role: Role,
    #[serde(skip_serializing_if = "Option::is_none")]
    patient: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    wards: &'a [String],
}

/// A session as its holder is told of it.
#[derive(Serialize)]
pub struct SessionBody<'a> {
    id: &'a str,
    user: User<'a>,
    expires_at: String,
    idle_expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
}

/// A session in a list.
#[derive(Serialize)]
struct Open<'a> {
    id: &'a str,
    device: &'a str,
    first_seen: String,
    last_seen: String,
    current: bool,
}

/// `session` as its holder is told of it, with its token where it has just been made and goes into the body.
pub fn body<'a>(session: &'a Session, token: Option<&'a Token>) -> SessionBody<'a> {
    let principal = &session.principal;
    SessionBody {
        id: &session.id,
        user: User {
            id: &principal.user,
            name: &principal.name,
            role: principal.role,
            patient: principal.patient.as_deref(),
            wards: &principal.wards,
        },
        expires_at: session.expires_at.to_rfc3339(),
        idle_expires_at: session.idle_expires_at.map(|at| at.to_rfc3339()),
        token: token.map(Token::expose),
    }
}

fn json(status: u16, value: &impl Serialize) -> Result<Response> {
    let body = serde_json::to_string(value).map_err(|_| Error::internal("a session could not be written"))?;
    Ok(Response::json(status, body))
}

/// `/session`
pub async fn handle<P: Platform, R: Incoming>(context: &Context<'_, P, R>) -> Result<Response> {
    match context.request.method() {
        "POST" => sign_in(context).await,
        "PUT" => {
            let caller = context.caller_quietly().await?;
            let caller = context.touched(caller).await?;
            json(200, &body(&caller.session, None))
        }
        "DELETE" => {
            let Caller { session } = context.caller_quietly().await?;
            end(context, &session, &session.principal.user, Which::One(session.id.clone())).await?;
            Ok(signed_out_here(Response::empty(204)))
        }
        _ => json(200, &body(&context.caller_quietly().await?.session, None)),
    }
}

/// The reply of a sign-in.
pub fn opened<P: Platform, R: Incoming>(
    context: &Context<'_, P, R>,
    session: &Session,
    token: &Token,
    transport: Transport,
) -> Result<Response> {
    let response = match transport {
        Transport::Bearer => json(201, &body(session, Some(token)))?,
        Transport::Cookie => handed_over(context, json(201, &body(session, None))?, token),
    };
    Ok(response.header("location", "/session"))
}

/// `response` with the token in the session cookie.
pub fn handed_over<P, R>(context: &Context<'_, P, R>, response: Response, token: &Token) -> Response {
    let age = context.config.session_absolute.as_secs_up();
    response.header("set-cookie", cookie(COOKIE, token.expose(), age))
}

fn signed_out_here(response: Response) -> Response {
    response.header("set-cookie", cookie(COOKIE, "", 0))
}

/// Whose sessions are meant: the caller's own, or with `user`, for administrators, anybody's.
async fn whose<P: Platform, R: Incoming>(context: &Context<'_, P, R>) -> Result<(Session, String)> {
    let caller = context.caller().await?;
    let parameters = input::parameters(context.request, &["user"])?;
    let own = caller.session.principal.user.clone();
    let user = input::parameter(&parameters, "user").map_or(own.clone(), str::to_owned);
    if user != own {
        caller.may(Action::ManageAccounts)?;
    }
    Ok((caller.session, user))
}

/// `/sessions`
pub async fn all<P: Platform, R: Incoming>(context: &Context<'_, P, R>) -> Result<Response> {
    let (own, user) = whose(context).await?;
    if context.request.method() == "DELETE" {
        end(context, &own, &user, Which::AllBut(Some(own.id.clone()))).await?;
        return Ok(Response::empty(204));
    }
    let listed = context.platform.sessions_of(&user).await?;
    let keys = listed.iter().map(|one| one.key.clone()).collect();
    let (store, lifetimes, now) = (context.platform.sessions(), context.lifetimes(), context.platform.now());
    let states = session::states(store, lifetimes, now, &user, keys).await?;
    let open = listed.iter().zip(states).filter_map(|(one, state)| {
        Some(Open {
            id: &one.id,
            device: &one.device,
            first_seen: one.opened.to_rfc3339(),
            last_seen: state?.active.to_rfc3339(),
            current: one.id == own.id,
        })
    });
    json(200, &serde_json::json!({ "sessions": open.collect::<Vec<_>>() }))
}

/// `/sessions/{id}`
pub async fn one<P: Platform, R: Incoming>(context: &Context<'_, P, R>, id: &str) -> Result<Response> {
    let (own, user) = whose(context).await?;
    let ended = end(context, &own, &user, Which::One(id.to_owned())).await?;
    if ended.is_empty() {
        return Err(Error::new(Kind::NotFound, "there is no such session").at("path"));
    }
    let response = Response::empty(204);
    Ok(if id == own.id { signed_out_here(response) } else { response })
}

/// Ends sessions of `user`, as `by` asks for it. They are over when this returns.
async fn end<P: Platform, R: Incoming>(
    context: &Context<'_, P, R>,
    by: &Session,
    user: &str,
    which: Which,
) -> Result<Vec<Ended>> {
    let actor = crate::access::audit::Actor { user: by.principal.user.clone(), request: context.id.clone() };
    let ended = context.platform.end(user, which, actor).await?;
    session::revoke(context.platform.sessions(), &ended).await.map_err(|_| {
        Error::unavailable("the end is recorded and not yet in force everywhere; it will be, or send it again")
    })?;
    context.settled().await;
    Ok(ended)
}
