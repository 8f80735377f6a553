//! Sessions: opened by a sign-in, kept alive by what a person does, and dead for good once ended.
//!
//! Invariant: a session is valid only while its row exists and is no tombstone, its account's [`Standing`] beside it is
//! enabled and at the session's floor, neither lifetime has run out, and no data were brought back since it was opened. Session and standing share a shard: one call reads
//! both.
//!
//! Why an ended session does not come back. A row is written in three ways, and each carries a condition on a version that
//! the store gives only once, so that a copy of the write that comes late does nothing:
//! - [`open`] creates it, if there is none and the standing is the very one that the password was judged under. The token is
//!   handed out only after the clinic's object has noted the session under that version of the account ([`registry`]);
//! - [`touch`] replaces the version that was read;
//! - [`revoke`] replaces whatever is there by a tombstone that stays until the session would have ended by itself, so that
//!   a late copy of [`open`] finds something there.
//!
//! An account's change raises the floor in its standing, which is never deleted and only replaced by a higher version.
//! Before either is acknowledged it is in the clinic's object, and the courier brings it to the store until the store has
//! it. If the store loses everything, rows and standings go together: what comes late finds another version, or none. A
//! sign-in that writes an outdated standing into the void is refused by the clinic's object, and its token is never seen.
//!
//! If the store goes back to what it was earlier (a snapshot restored, a replica promoted that was behind), it may say that a
//! session is open which has ended. So a row says when the clinic's object last confirmed it ([`confirm`]), which it never
//! does after the end: such a session is refused at the latest [`Lifetimes::step`] after its end was acknowledged.

pub mod account;
pub mod device;
pub mod limit;
pub mod password;
pub mod registry;
pub mod roster;
pub mod token;

use serde::{Deserialize, Serialize};

use self::account::Standing;
use self::registry::Ended;
use self::token::Token;
use crate::access::bar::Listener;
pub use crate::access::signed_out;
use crate::access::{Principal, Role};
use crate::config::Config;
use crate::config::stores::On;
use crate::error::{Error, Kind, Result};
use crate::outgoing::join_all;
use crate::sorted::BTreeMap;
use crate::store::{Applied, Condition, Entry, Op, OpReply, Shard, Store};
use crate::time::{Ttl, UnixMillis};

/// How long sessions live.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    /// After the last thing a person did.
    pub idle: Ttl,
    /// After sign-in.
    pub absolute: Ttl,
    /// Whether the store could go back to what it was earlier. Then it is taken at its word for a [`Lifetimes::step`], until
    /// the clinic's object has confirmed the session again.
    pub hearsay: bool,
    /// When data were last brought back: a session that was not opened since then is over.
    pub restored: UnixMillis,
}

/// So long before a session's end its owner is warned.
const WARNING: Ttl = Ttl::from_mins(1);

impl Lifetimes {
    /// Those of a deployment.
    pub fn of(config: &Config) -> Lifetimes {
        let hearsay = config.stores.sessions == On::Redis;
        Lifetimes { idle: config.session_idle, absolute: config.session_absolute, hearsay, restored: config.restored }
    }

    /// How often the row of a session that is in use is written: a tenth of the idle time.
    pub fn step(self) -> Ttl {
        Ttl(self.idle.0.checked_div(10).unwrap_or(0))
    }

    /// When the owner of a session that ends at `ends` is warned: a minute before, and no earlier than half the idle time.
    pub fn warning(self, ends: UnixMillis) -> UnixMillis {
        let half = self.idle.0.checked_div(2).unwrap_or(0);
        UnixMillis(ends.0.saturating_sub(WARNING.0.min(half)))
    }
}

/// How often a race for the standing is run again before the caller is asked to.
const TRIES: usize = 5;

/// A session's row. Field names are stored: they may be added to, with a default, and not renamed.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Row {
    id: String,
    floor: u64,
    ends: UnixMillis,
    active: UnixMillis,
    /// When the clinic's object last said that it is open.
    #[serde(default = "never")]
    confirmed: UnixMillis,
    /// The restore after which it was opened.
    #[serde(default = "never")]
    restored: UnixMillis,
    /// A tombstone.
    #[serde(default)]
    ended: bool,
}

const fn never() -> UnixMillis {
    UnixMillis(0)
}

/// A session that was valid when it was checked.
#[derive(Clone, Debug)]
pub struct Session {
    /// Its public id: neither the token nor anything that opens it.
    pub id: String,
    /// The version of the account by which it was judged.
    pub version_of_account: u64,
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
    let ended = row.ended
        || standing.disabled
        || row.floor != standing.floor
        || row.restored != lifetimes.restored
        || now >= row.ends
        || idle_expires_at.is_some_and(|at| now >= at);
    if ended {
        return Err(signed_out());
    }
    Ok(Session {
        id: row.id.clone(),
        version_of_account: standing.version,
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
    if now < session.row.active.plus(lifetimes.step()) {
        return Ok(session);
    }
    let row = Row { active: now, ..session.row.clone() };
    replace(store, lifetimes, session, row).await
}

/// Notes that the clinic's object has said, to a question of `now` or later, that the session is open: 401 where it was ended
/// meanwhile.
pub async fn confirm(store: &impl Store, lifetimes: Lifetimes, now: UnixMillis, session: Session) -> Result<Session> {
    let row = Row { confirmed: now, ..session.row.clone() };
    replace(store, lifetimes, session, row).await
}

/// Writes `row` in the place of the one that was read.
async fn replace(store: &impl Store, lifetimes: Lifetimes, session: Session, row: Row) -> Result<Session> {
    let idle_expires_at = idle_end(&session.principal, &row, lifetimes);
    let put = Op::Put {
        key: session.key.clone(),
        value: encode(&row)?,
        condition: Condition::Version(session.version),
        expires: Some(idle_expires_at.unwrap_or(row.ends)),
    };
    match store.apply(shard_of(&session.principal.user), vec![put]).await? {
        Applied::Done(replies) => {
            let version = written(replies).unwrap_or(session.version);
            Ok(Session { row, idle_expires_at, version, ..session })
        }
        // Either another request of the same person wrote first, which is as good, or the session is over.
        Applied::Refused { .. } => {
            let again = store.apply(shard_of(&session.principal.user), vec![Op::get(session.key.clone())]).await?;
            let row: Option<Row> = again.entries().next().flatten().as_ref().map(decode).transpose()?;
            if row.is_some_and(|row| !row.ended) { Ok(session) } else { Err(signed_out()) }
        }
    }
}

/// A sign-in whose password was right.
#[derive(Clone, Copy, Debug)]
pub struct SignIn<'a> {
    /// The account as the password was judged by.
    pub standing: &'a Standing,
    /// The new session's public id.
    pub id: &'a str,
    /// The new session's token.
    pub token: &'a Token,
}

/// Opens a session at `now`. Its token must not be handed out before the clinic's object has noted it. `None` where the
/// account has changed since `standing` was read: read it and judge the password again.
pub async fn open(
    store: &impl Store,
    secret: &[u8],
    lifetimes: Lifetimes,
    now: UnixMillis,
    sign_in: SignIn<'_>,
) -> Result<Option<Session>> {
    let SignIn { standing, id, token } = sign_in;
    let user = &standing.principal.user;
    let key = session_key(token, secret)?;
    let ends = now.plus(lifetimes.absolute);
    let row = Row {
        id: id.to_owned(),
        floor: standing.floor,
        ends,
        active: now,
        confirmed: now,
        restored: lifetimes.restored,
        ended: false,
    };
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
                id: row.id.clone(),
                version_of_account: standing.version,
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

impl Session {
    /// Whether the clinic's object has to confirm it before it is relied on at `now`.
    pub fn is_hearsay(&self, lifetimes: Lifetimes, now: UnixMillis) -> bool {
        lifetimes.hearsay && now >= self.row.confirmed.plus(lifetimes.step())
    }

    /// Whether neither lifetime has run out at `now`, as far as is known here.
    pub fn is_open(&self, now: UnixMillis) -> bool {
        now < self.expires_at && self.idle_expires_at.is_none_or(|at| now < at)
    }

    /// What the clinic's object notes of it. `device` is what it was opened on.
    pub fn opening(&self, device: String, lifetimes: Lifetimes) -> registry::Opening {
        registry::Opening {
            id: self.id.clone(),
            key: self.key.clone(),
            device,
            ends: self.expires_at,
            look: lifetimes.warning(self.idle_expires_at.unwrap_or(self.expires_at)),
        }
    }

    /// Its holder as a listener to topics.
    pub fn listener(&self) -> Listener {
        Listener {
            user: self.principal.user.clone(),
            version: self.version_of_account,
            session: self.id.clone(),
            moved: 0,
            reduced: self.principal.role == Role::Display,
        }
    }

    /// It, ended: for [`revoke`].
    pub fn ended(&self) -> Ended {
        Ended { id: self.id.clone(), user: self.principal.user.clone(), key: self.key.clone(), ends: self.expires_at }
    }
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

/// Puts tombstones in the place of sessions. Once this is acknowledged, none of them works again. Repeating it does no
/// harm.
pub async fn revoke(store: &impl Store, ended: &[Ended]) -> Result<()> {
    let mut batches: BTreeMap<Shard, Vec<Op>> = BTreeMap::new();
    for ended in ended {
        let (id, ends) = (ended.id.clone(), ended.ends);
        let tombstone = Row { id, floor: 0, ends, active: never(), confirmed: never(), restored: never(), ended: true };
        batches.entry(shard_of(&ended.user)).or_default().push(Op::Put {
            key: ended.key.clone(),
            value: encode(&tombstone)?,
            condition: Condition::Always,
            expires: Some(ended.ends),
        });
    }
    let applied = join_all(batches.into_iter().map(|(shard, batch)| store.apply(shard, batch))).await;
    applied.into_iter().try_for_each(|applied| applied.map(drop))
}

/// How a session stands in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// When its owner last did something, to a tenth of the idle time.
    pub active: UnixMillis,
    /// When it ends if nothing happens.
    pub ends: UnixMillis,
    /// Whether that is because nobody does anything, and not because it has lasted long enough.
    pub idle: bool,
}

/// How sessions of `user` stand at `now`, in the order of their `keys`; `None` for one that is over. One call.
pub async fn states(
    store: &impl Store,
    lifetimes: Lifetimes,
    now: UnixMillis,
    user: &str,
    keys: Vec<String>,
) -> Result<Vec<Option<State>>> {
    let gets = std::iter::once(standing_key(user)).chain(keys.iter().cloned()).map(Op::get).collect();
    let mut entries = store.apply(shard_of(user), gets).await?.entries();
    let standing = entries.next().flatten();
    let states =
        keys.into_iter().zip(entries).map(|(key, row)| match judge(row, standing.clone(), key, now, lifetimes) {
            Ok(session) => {
                let ends = session.idle_expires_at.unwrap_or(session.expires_at);
                Ok(Some(State { active: session.row.active, ends, idle: ends < session.expires_at }))
            }
            Err(error) if error.kind == Kind::Unauthenticated => Ok(None),
            Err(error) => Err(error),
        });
    states.collect()
}

#[cfg(test)]
mod tests;
