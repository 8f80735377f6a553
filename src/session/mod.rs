//! Sessions: opened by a sign-in, kept alive by what a person does, and dead for good once ended.
//!
//! Invariant: a session is valid only while its row exists, its account's [`Standing`] beside it is enabled and at the
//! session's floor, and neither lifetime has run out. Writes to a session's row carry the version they read, so that no
//! late write brings a deleted one back. Session and standing share a shard: one call reads both.

pub mod account;
pub mod password;
pub mod roster;
pub mod token;

use serde::{Deserialize, Serialize};

use self::account::Standing;
use self::token::Token;
use crate::access::{Principal, Role};
use crate::error::{Error, Kind, Result};
use crate::store::{Applied, Condition, Entry, Op, OpReply, Shard, Store};
use crate::time::{Ttl, UnixMillis};

/// How long sessions live.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    /// After the last thing a person did.
    pub idle: Ttl,
    /// After sign-in.
    pub absolute: Ttl,
}

/// The idle clock is written at most once in this fraction of the idle time.
const TOUCH_FRACTION: u64 = 10;
/// How often a race for the standing is run again before the caller is asked to.
const TRIES: usize = 5;

/// A session's row. Field names are stored: they may be added to, with a default, and not renamed.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Row {
    floor: u64,
    ends: UnixMillis,
    active: UnixMillis,
}

/// A session that was valid when it was checked.
#[derive(Clone, Debug)]
pub struct Session {
    /// Who is signed in.
    pub principal: Principal,
    /// When it ends whatever happens.
    pub expires_at: UnixMillis,
    /// When it ends if nothing happens; never later than `expires_at`. `None` for a display, which has no idle limit.
    pub idle_expires_at: Option<UnixMillis>,
    key: String,
    version: u64,
    row: Row,
}

fn session_key(token: &Token, secret: &[u8]) -> Result<String> {
    Ok(format!("session/{}", token.hash(secret)?))
}

fn standing_key(user: &str) -> String {
    format!("standing/{user}")
}

fn shard_of(user: &str) -> Shard {
    Shard::of(user)
}

fn encode(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|_| Error::internal("a session row could not be written"))
}

fn decode<'a, T: Deserialize<'a>>(entry: &'a Entry) -> Result<T> {
    serde_json::from_slice(&entry.value)
        .map_err(|_| Error::internal("a session row is not of the shape this version writes"))
}

/// The refusal of every request without a valid session: 401, the same whatever the reason.
pub fn signed_out() -> Error {
    Error::new(Kind::Unauthenticated, "sign in first: there is no session, or it has ended")
}

/// The version that a batch with one put wrote.
fn written(replies: Vec<OpReply>) -> Option<u64> {
    replies.into_iter().find_map(|reply| match reply {
        OpReply::Wrote(version) => Some(version),
        OpReply::Got(_) | OpReply::Done => None,
    })
}

fn idle_end(principal: &Principal, row: &Row, lifetimes: Lifetimes) -> Option<UnixMillis> {
    (principal.role != Role::Display).then(|| row.active.plus(lifetimes.idle).min(row.ends))
}

fn judge(
    session: Option<Entry>,
    standing: Option<Entry>,
    key: String,
    now: UnixMillis,
    lifetimes: Lifetimes,
) -> Result<Session> {
    let (session, standing) = session.zip(standing).ok_or_else(signed_out)?;
    let row: Row = decode(&session)?;
    let standing: Standing = decode(&standing)?;
    let idle_expires_at = idle_end(&standing.principal, &row, lifetimes);
    let ended = standing.disabled
        || row.floor != standing.floor
        || now >= row.ends
        || idle_expires_at.is_some_and(|at| now >= at);
    if ended {
        return Err(signed_out());
    }
    Ok(Session {
        principal: standing.principal,
        expires_at: row.ends,
        idle_expires_at,
        key,
        version: session.version,
        row,
    })
}

/// The session that `token` opens, at `now`. One call to the store. An outage is `Unavailable`, never "signed out".
pub async fn check(
    store: &impl Store,
    secret: &[u8],
    lifetimes: Lifetimes,
    now: UnixMillis,
    token: &Token,
) -> Result<Session> {
    let key = session_key(token, secret)?;
    let batch = vec![Op::get(key.clone()), Op::get(standing_key(token.user()))];
    let mut entries = store.apply(shard_of(token.user()), batch).await?.entries();
    judge(entries.next().flatten(), entries.next().flatten(), key, now, lifetimes)
}

/// Counts what a person did at `now` as activity: moves the idle clock if that is due, and gives the session as it then
/// is. A session that was ended meanwhile stays ended: 401.
pub async fn touch(store: &impl Store, lifetimes: Lifetimes, now: UnixMillis, session: Session) -> Result<Session> {
    let step = Ttl(lifetimes.idle.0.checked_div(TOUCH_FRACTION).unwrap_or(0));
    if now < session.row.active.plus(step) {
        return Ok(session);
    }
    let row = Row { active: now, ..session.row.clone() };
    let idle_expires_at = idle_end(&session.principal, &row, lifetimes);
    let put = Op::Put {
        key: session.key.clone(),
        value: encode(&row)?,
        condition: Condition::Version(session.version),
        expires: Some(idle_expires_at.unwrap_or(row.ends)),
    };
    let batch = vec![put, Op::get(session.key.clone())];
    match store.apply(shard_of(&session.principal.user), batch).await? {
        Applied::Done(replies) => {
            let version = written(replies).unwrap_or(session.version);
            Ok(Session { row, idle_expires_at, version, ..session })
        }
        // Either another request of the same person moved the clock first, which is as good, or the session is gone.
        Applied::Refused { .. } => {
            let again = store.apply(shard_of(&session.principal.user), vec![Op::get(session.key.clone())]).await?;
            match again.entries().next().flatten() {
                Some(_) => Ok(session),
                None => Err(signed_out()),
            }
        }
    }
}

/// Opens a session under the new `token` for an account whose password was just found right. `previous`, the token that the
/// client came with, is dead afterwards. `None` where the account has changed since `standing` was read: read it and judge
/// the password again.
pub async fn open(
    store: &impl Store,
    secret: &[u8],
    lifetimes: Lifetimes,
    now: UnixMillis,
    standing: &Standing,
    token: &Token,
    previous: Option<&Token>,
) -> Result<Option<Session>> {
    if let Some(previous) = previous {
        close(store, secret, previous).await?;
    }
    let user = &standing.principal.user;
    let key = session_key(token, secret)?;
    let row = Row { floor: standing.floor, ends: now.plus(lifetimes.absolute), active: now };
    let idle_expires_at = idle_end(&standing.principal, &row, lifetimes);
    for _ in 0..TRIES {
        let Some(guard) = settle(store, standing).await? else { return Ok(None) };
        let put = Op::Put {
            key: key.clone(),
            value: encode(&row)?,
            condition: Condition::Absent,
            expires: Some(idle_expires_at.unwrap_or(row.ends)),
        };
        if let Applied::Done(replies) = store.apply(shard_of(user), vec![guard, put]).await? {
            return Ok(Some(Session {
                principal: standing.principal.clone(),
                expires_at: row.ends,
                idle_expires_at,
                key,
                version: written(replies).unwrap_or_default(),
                row,
            }));
        }
    }
    Err(Error::unavailable("the account is being changed; try again"))
}

/// Makes the stored standing at least as new as `standing`. Gives the check that it is exactly this one, or `None` where a
/// newer one is stored.
async fn settle(store: &impl Store, standing: &Standing) -> Result<Option<Op>> {
    let user = &standing.principal.user;
    let key = standing_key(user);
    for _ in 0..TRIES {
        let stored = store.apply(shard_of(user), vec![Op::get(key.clone())]).await?.entries().next().flatten();
        let condition = match &stored {
            None => Condition::Absent,
            Some(entry) => {
                let current: Standing = decode(entry)?;
                if current.version > standing.version {
                    return Ok(None);
                }
                if current.version == standing.version {
                    return Ok(Some(Op::Check { key, condition: Condition::Version(entry.version) }));
                }
                Condition::Version(entry.version)
            }
        };
        let put = Op::Put { key: key.clone(), value: encode(standing)?, condition, expires: None };
        if let Applied::Done(replies) = store.apply(shard_of(user), vec![put]).await?
            && let Some(version) = written(replies)
        {
            return Ok(Some(Op::Check { key, condition: Condition::Version(version) }));
        }
    }
    Err(Error::unavailable("the account is being changed; try again"))
}

/// Brings an account's change to its sessions. Once this is acknowledged, no session that the change ended works again.
/// Repeating it, and bringing changes in the wrong order, does no harm.
pub async fn project(store: &impl Store, standing: &Standing) -> Result<()> {
    settle(store, standing).await.map(|_| ())
}

/// Ends the session of `token`, if there is one. Once acknowledged it never works again.
pub async fn close(store: &impl Store, secret: &[u8], token: &Token) -> Result<()> {
    let delete = Op::Delete { key: session_key(token, secret)?, condition: Condition::Always };
    store.apply(shard_of(token.user()), vec![delete]).await.map(|_| ())
}

#[cfg(test)]
mod tests;
