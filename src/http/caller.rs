//! Who is calling: the session behind a request's cookie or bearer token.
//!
//! Invariant: a request that could change something and that a browser says comes from another site is refused before
//! anything else (Fetch Metadata, and RFC 6454 `Origin`), whatever it carries.

use super::sign_in::Transport;
use super::{Context, Incoming, Platform};
use crate::access::audit::Actor;
use crate::access::{Action, Scope, decide};
use crate::chart::cache::window;
use crate::clinic::sessions::Sessions;
use crate::error::{Error, Kind, Result};
use crate::session::token::Token;
use crate::session::{self, Lifetimes, Session, signed_out};
use crate::time::Ttl;

/// The session cookie (RFC 6265bis section 4.1.3.2: bound to this host, path and TLS or loopback).
pub const COOKIE: &str = "__Host-session";

/// A client says by `Bedside-Background: ?1` (a structured boolean, RFC 9651) that no person caused this request.
const BACKGROUND: &str = "bedside-background";

/// Who is calling.
pub struct Caller {
    /// Their session, valid when it was checked.
    pub session: Session,
}

impl Caller {
    /// What of `action` they reach.
    pub fn may(&self, action: Action<'_>) -> Result<Scope> {
        decide(&self.session.principal, action)
    }

    /// Whether theirs is the account `user`.
    pub fn is(&self, user: Option<&str>) -> bool {
        user == Some(self.session.principal.user.as_str())
    }

    /// Who they are to the audit trail.
    pub fn actor(&self, request: &str) -> Actor {
        Actor { user: self.session.principal.user.clone(), request: request.to_owned() }
    }
}

/// The token that a request carries, if it carries one that can be one.
pub fn token(request: &impl Incoming) -> Option<Token> {
    if let Some(authorization) = request.header("authorization") {
        let (scheme, token) = authorization.split_once(' ')?;
        return scheme.eq_ignore_ascii_case("bearer").then(|| Token::parse(token.trim()))?;
    }
    cookies(request, COOKIE).iter().find_map(|value| Token::parse(value))
}

fn cookies(request: &impl Incoming, name: &str) -> Vec<String> {
    let header = request.header("cookie").unwrap_or_default();
    let pairs = header.split(';').filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(|(found, _)| *found == name).map(|(_, value)| value.to_owned()).collect()
}

/// The value of a cookie that a request carries.
pub fn cookie_of(request: &impl Incoming, name: &str) -> Option<String> {
    cookies(request, name).into_iter().next()
}

/// A `Set-Cookie` that keeps to this host, to TLS or loopback, and out of scripts, for `max_age` seconds.
pub fn cookie(name: &str, value: &str, max_age: u64) -> String {
    format!("{name}={value}; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age={max_age}")
}

/// How the request's token came.
pub fn transport(request: &impl Incoming) -> Transport {
    if request.header("authorization").is_some() { Transport::Bearer } else { Transport::Cookie }
}

impl<P: Platform, R: Incoming> Context<'_, P, R> {
    /// The lifetimes of sessions here.
    pub fn lifetimes(&self) -> Lifetimes {
        Lifetimes::of(self.config)
    }

    /// Who is calling; 401 where nobody is signed in. Not activity.
    pub async fn caller_quietly(&self) -> Result<Caller> {
        let token = token(self.request).ok_or_else(signed_out)?;
        let (secret, now) = (&self.config.session_key, self.platform.now());
        let (store, lifetimes) = (self.platform.sessions(), self.lifetimes());
        let session = session::check(store, secret, lifetimes, now, &token).await?;
        if !session.is_hearsay(lifetimes, now) {
            return Ok(Caller { session });
        }
        self.platform.confirm(session.listener()).await?;
        let session = session::confirm(store, lifetimes, now, session).await?;
        Ok(Caller { session })
    }

    /// Who is calling, counted as what a person did unless the request says otherwise.
    pub async fn caller(&self) -> Result<Caller> {
        let caller = self.caller_quietly().await?;
        if self.request.header(BACKGROUND).as_deref() == Some("?1") {
            return Ok(caller);
        }
        self.touched(caller).await
    }

    /// Who is calling, for what comes many times a second: by what this isolate was just told, while that may be relied on.
    /// The end of a session is acknowledged when nobody does so any more.
    pub async fn reader(&self) -> Result<Caller> {
        let seats = self.platform.seats();
        if seats.borrow().is_off() {
            return self.caller().await;
        }
        let token = token(self.request).ok_or_else(signed_out)?;
        let (hash, asked) = (token.hash(&self.config.session_key)?, self.platform.now());
        let told = seats.borrow_mut().get(asked, &hash).filter(|session| session.is_open(asked));
        let known = told.as_ref().map(|session| session.idle_expires_at);
        let caller = match told {
            Some(session) if self.request.header(BACKGROUND).as_deref() == Some("?1") => Caller { session },
            Some(session) => self.touched(Caller { session }).await?,
            None => self.caller().await?,
        };
        // It is as the store has it where the store was asked, or has just taken it.
        if known != Some(caller.session.idle_expires_at) {
            seats.borrow_mut().put(asked, self.platform.now(), &hash, caller.session.clone());
        }
        Ok(caller)
    }

    /// Waits until nobody relies any more on a session's being as it was: before an end or a change is acknowledged.
    pub async fn settled(&self) {
        let longest = window::longest(self.config.cache.lease);
        if longest > Ttl(0) {
            self.platform.pause(longest).await;
        }
    }

    /// The caller, once the idle clock has been moved if that is due.
    pub async fn touched(&self, caller: Caller) -> Result<Caller> {
        let now = self.platform.now();
        let session = session::touch(self.platform.sessions(), self.lifetimes(), now, caller.session).await?;
        Ok(Caller { session })
    }
}

/// Refuses what a browser sends on behalf of another site: every unsafe method and every WebSocket upgrade. What carries
/// neither header was sent by no browser that would also send the cookie (`SameSite=Strict`).
pub fn refuse_cross_site(request: &impl Incoming) -> Result<()> {
    let upgrade = request.header("upgrade").is_some();
    if matches!(request.method(), "GET" | "HEAD" | "OPTIONS") && !upgrade {
        return Ok(());
    }
    let refused =
        |header: &str| Err(Error::new(Kind::Forbidden, "requests on behalf of another site are refused").at(header));
    if let Some(site) = request.header("sec-fetch-site")
        && site != "same-origin"
        && site != "none"
    {
        return refused("sec-fetch-site");
    }
    if let Some(origin) = request.header("origin")
        && !is_own(&origin, request.origin())
    {
        return refused("origin");
    }
    Ok(())
}

/// Whether `origin` (RFC 6454) is our own. A proxy that ends TLS in front of us hands `https` on as `http`.
fn is_own(origin: &str, own: &str) -> bool {
    let behind_tls = || origin.strip_prefix("https://").zip(own.strip_prefix("http://"));
    origin == own || behind_tls().is_some_and(|(origin, own)| origin == own)
}
