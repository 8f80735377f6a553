//! Signing in: a password becomes a session.
//!
//! Invariant: a sign-in that fails answers alike and does the same work whether the password was wrong, there is no such
//! user, or the account is disabled; one that has to wait is told so before its password is looked at, whether or not there
//! is such a user. A token is handed out only once the clinic's object has noted its session.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::caller::{cookie, token};
use super::reply::Response;
use super::{Context, Incoming, Platform, input, sessions};
use crate::access::audit::Actor;
use crate::clinic::sessions::{SessionReply, SessionRequest, Sessions, SignedIn};
use crate::error::{Error, Kind, Result};
use crate::session::account::{Account, Standing};
use crate::session::limit::{Places, address};
use crate::session::registry::Ended;
use crate::session::token::{Token, keyed_hash};
use crate::session::{self, Session, device, password};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sent {
    username: String,
    password: String,
    #[serde(default)]
    transport: Transport,
}

/// How a token goes to its holder.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// In the session cookie.
    #[default]
    Cookie,
    /// In the body.
    Bearer,
}

/// Tells browsers apart for the limits on sign-ins, and opens nothing.
const DEVICE: &str = "__Host-device";
/// 128 bits.
const DEVICE_BYTES: usize = 16;
/// 16 bytes in base64url without padding.
const DEVICE_CHARS: usize = 22;
/// A year in seconds.
const DEVICE_AGE: u64 = 365 * 24 * 3_600;

/// A sign-in that failed, for whatever reason: 401.
fn not_signed_in() -> Error {
    Error::new(Kind::Unauthenticated, "user name or password is wrong, or the account is closed")
}

/// `POST /session`
pub async fn sign_in<P: Platform, R: Incoming>(context: &Context<'_, P, R>) -> Result<Response> {
    /// How often a sign-in is judged again when the account is changed under it.
    const TRIES: usize = 3;
    let sent: Sent = input::json(context.request).await?;
    let username = sent.username.trim().to_lowercase();
    let places = context.places()?;
    for _ in 0..TRIES {
        let account = judge(context, &username, &sent.password, &places).await?;
        let previous = previous(context).await?;
        let fresh = (sent.transport == Transport::Cookie && places.device.is_none()).then(|| new_device(context));
        let mut known = places.clone();
        if let Some(fresh) = &fresh {
            known.device = Some(keyed_hash(&context.config.session_key, fresh)?);
        }
        let Some((session, token)) = issue(context, &account, previous, &places, &known).await? else { continue };
        let response = sessions::opened(context, &session, &token, sent.transport)?;
        return Ok(match fresh {
            Some(fresh) => response.header("set-cookie", cookie(DEVICE, &fresh, DEVICE_AGE)),
            None => response,
        });
    }
    Err(Error::unavailable("the account is being changed; try again"))
}

/// The account that user name and password open; 401 where they open none, 429 where they must wait.
async fn judge<P: Platform, R: Incoming>(
    context: &Context<'_, P, R>,
    username: &str,
    password: &str,
    places: &Places,
) -> Result<Account> {
    let credential = context.platform.attempt(username, places).await?;
    let right = password::verify(password, credential.as_ref().map(|credential| credential.hash.as_str()));
    if let Some(credential) = credential.filter(|credential| right && !credential.account.disabled) {
        return Ok(credential.account);
    }
    let actor = Actor { user: String::new(), request: context.id.clone() };
    context.platform.about(SessionRequest::Failed { actor }).await?;
    Err(not_signed_in())
}

/// The session that the client came with, if it is open: the next one takes its place.
async fn previous<P: Platform, R: Incoming>(context: &Context<'_, P, R>) -> Result<Option<Ended>> {
    if token(context.request).is_none() {
        return Ok(None);
    }
    match context.caller_quietly().await {
        Ok(caller) => Ok(Some(caller.session.ended())),
        Err(error) if error.kind == Kind::Unauthenticated => Ok(None),
        Err(error) => Err(error),
    }
}

/// Opens a session of `account` in the place of `previous`. `None` where the account has changed since it was read.
pub async fn issue<P: Platform, R: Incoming>(
    context: &Context<'_, P, R>,
    account: &Account,
    previous: Option<Ended>,
    places: &Places,
    known: &Places,
) -> Result<Option<(Session, Token)>> {
    let (store, lifetimes) = (context.platform.sessions(), context.lifetimes());
    let token = Token::mint(context.platform, &account.principal.user);
    let id = context.platform.uuid();
    let standing = Standing::from(account);
    let sign_in = session::SignIn { standing: &standing, id: &id, token: &token };
    let opened = session::open(store, &context.config.session_key, lifetimes, context.platform.now(), sign_in);
    let Some(session) = opened.await? else { return Ok(None) };
    let device = device::name(context.request.header("user-agent").as_deref());
    let signed_in = SignedIn {
        account: account.clone(),
        opening: session.opening(device, lifetimes),
        previous: previous.clone(),
        places: places.clone(),
        known: known.clone(),
        actor: Actor { user: account.principal.user.clone(), request: context.id.clone() },
    };
    if context.platform.about(SessionRequest::SignedIn(Box::new(signed_in))).await? != SessionReply::SignedIn(true) {
        // Nobody has its token. Taking it back only clears up.
        let _ = session::revoke(store, &[session.ended()]).await;
        return Ok(None);
    }
    session::revoke(store, previous.as_slice()).await?;
    if previous.is_some() {
        context.settled().await;
    }
    Ok(Some((session, token)))
}

fn new_device<P: Platform, R: Incoming>(context: &Context<'_, P, R>) -> String {
    let mut bytes = [0_u8; DEVICE_BYTES];
    context.platform.fill(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}

impl<P: Platform, R: Incoming> Context<'_, P, R> {
    /// Where the request comes from, for the limits on sign-ins.
    pub fn places(&self) -> Result<Places> {
        let well_formed = |value: &String| {
            value.len() == DEVICE_CHARS && value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        let device = super::caller::cookie_of(self.request, DEVICE).filter(well_formed);
        let header = self.config.client_address_header.as_deref();
        Ok(Places {
            device: device.map(|device| keyed_hash(&self.config.session_key, &device)).transpose()?,
            address: header.and_then(|name| self.request.header(name)).and_then(|value| address(&value)),
        })
    }
}
