//! `/session`: sign in, who am I, I am still here, sign out.
//!
//! Invariant: a sign-in that fails answers alike and does the same work whether the password was wrong, there is no such
//! user, or the account is locked or disabled.

use serde::{Deserialize, Serialize};

use super::caller::{COOKIE, Caller, token};
use super::reply::Response;
use super::{Context, Incoming, Platform, input};
use crate::access::Role;
use crate::access::audit::Actor;
use crate::clinic::{ClinicReply, ClinicRequest};
use crate::error::{Error, Kind, Result};
use crate::session::account::Standing;
use crate::session::token::Token;
use crate::session::{self, Session, password};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignIn {
    username: String,
    password: String,
    #[serde(default)]
    transport: Transport,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Transport {
    #[default]
    Cookie,
    Bearer,
}

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

#[derive(Serialize)]
struct SessionBody<'a> {
    user: User<'a>,
    expires_at: String,
    idle_expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
}

fn body(session: &Session, token: Option<&str>) -> Result<String> {
    let principal = &session.principal;
    let body = SessionBody {
        user: User {
            id: &principal.user,
            name: &principal.name,
            role: principal.role,
            patient: principal.patient.as_deref(),
            wards: &principal.wards,
        },
        expires_at: session.expires_at.to_rfc3339(),
        idle_expires_at: session.idle_expires_at.map(|at| at.to_rfc3339()),
        token,
    };
    serde_json::to_string(&body).map_err(|_| Error::internal("a session could not be written"))
}

fn cookie(value: &str, max_age: u64) -> String {
    format!("{COOKIE}={value}; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age={max_age}")
}

/// A sign-in that failed, for whatever reason: 401.
fn not_signed_in() -> Error {
    Error::new(Kind::Unauthenticated, "user name or password is wrong, or the account is closed for now")
}

pub async fn handle<P: Platform, R: Incoming>(context: &Context<'_, P, R>) -> Result<Response> {
    match context.request.method() {
        "POST" => sign_in(context).await,
        "PUT" => {
            let caller = context.caller_quietly().await?;
            let caller = context.touched(caller).await?;
            Ok(Response::json(200, body(&caller.session, None)?))
        }
        "DELETE" => sign_out(context).await,
        _ => Ok(Response::json(200, body(&context.caller_quietly().await?.session, None)?)),
    }
}

async fn sign_in<P: Platform, R: Incoming>(context: &Context<'_, P, R>) -> Result<Response> {
    /// How often a sign-in is judged again when the account is changed under it.
    const TRIES: usize = 3;
    let sent: SignIn = input::json(context.request).await?;
    let username = sent.username.trim().to_lowercase();
    let previous = token(context.request);
    for _ in 0..TRIES {
        let Some(standing) = judge(context, &username, &sent.password).await? else {
            return Err(not_signed_in());
        };
        let token = Token::mint(context.platform, &standing.principal.user);
        let opened = session::open(
            context.platform.sessions(),
            &context.config.session_key,
            context.lifetimes(),
            context.platform.now(),
            &standing,
            &token,
            previous.as_ref(),
        );
        let Some(session) = opened.await? else { continue };
        let response = match sent.transport {
            Transport::Bearer => Response::json(201, body(&session, Some(token.expose()))?),
            Transport::Cookie => {
                let age = context.config.session_absolute.as_secs_up();
                Response::json(201, body(&session, None)?).header("set-cookie", cookie(token.expose(), age))
            }
        };
        return Ok(response.header("location", "/session"));
    }
    Err(Error::unavailable("the account is being changed; try again"))
}

/// The standing of the account that user name and password open, if they do.
async fn judge<P: Platform, R: Incoming>(
    context: &Context<'_, P, R>,
    username: &str,
    password: &str,
) -> Result<Option<Standing>> {
    let credential = context.platform.credential(username).await?;
    let right = password::verify(password, credential.as_ref().map(|credential| credential.hash.as_str()));
    let open = credential.filter(|credential| right && credential.is_open(context.platform.now()));
    let user = open.as_ref().map(|credential| credential.account.principal.user.clone()).unwrap_or_default();
    let actor = Actor { user, request: context.id.clone() };
    let Some(credential) = open else {
        let failed = ClinicRequest::SignInFailed { username: username.to_owned(), actor };
        context.platform.ask(failed).await?;
        return Ok(None);
    };
    let standing = Standing::from(&credential.account);
    let counted = context.platform.ask(ClinicRequest::SignedIn { account: credential.account, actor }).await?;
    Ok((counted == ClinicReply::SignedIn(true)).then_some(standing))
}

async fn sign_out<P: Platform, R: Incoming>(context: &Context<'_, P, R>) -> Result<Response> {
    let Caller { session, token } = context.caller_quietly().await?;
    session::close(context.platform.sessions(), &context.config.session_key, &token).await?;
    let actor = Actor { user: session.principal.user, request: context.id.clone() };
    context.platform.ask(ClinicRequest::SignedOut { actor }).await?;
    Ok(Response::empty(204).header("set-cookie", cookie("", 0)))
}
