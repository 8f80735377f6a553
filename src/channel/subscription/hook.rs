//! Rest-hooks: what is owed to the endpoint of a subscription, kept in the subscription's own object.
//!
//! Invariant: events go in the order of their numbers, and one is past only when the endpoint has taken it or its
//! notification (2xx). What failed is tried again by the alarm, less and less often; after [`MOST_TRIES`] the subscription
//! is in error and nothing is sent until its client asks for it again. Nothing that is kept is left out then.

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::{Settings, Status};
use crate::error::{Error, Result};
use crate::outgoing::backoff;
use crate::store::agenda;
use crate::store::sql::Sql;
use crate::time::{Entropy, Ttl, UnixMillis};

/// On the agenda: something is owed to the endpoint.
pub const DUE: &str = "hook";
/// Events in one notification where the subscription does not say.
pub const TOGETHER: u64 = 20;
/// An attempt takes at most this long where the subscription does not say.
pub const TIMEOUT: Ttl = Ttl::from_secs(10);
/// After so many failures in a row the endpoint is given up: about half an hour.
pub const MOST_TRIES: u32 = 14;
const FIRST_PAUSE: Ttl = Ttl::from_secs(1);
const LONGEST_PAUSE: Ttl = Ttl::from_mins(5);

/// Makes the table where it is not there yet.
pub fn prepare(sql: &impl Sql) -> Result<()> {
    sql.exec(
        "CREATE TABLE IF NOT EXISTS hook (id INTEGER PRIMARY KEY CHECK (id = 1), subscription TEXT NOT NULL, \
         wanted INTEGER NOT NULL, shaken INTEGER NOT NULL, sent INTEGER NOT NULL, tries INTEGER NOT NULL, \
         last INTEGER NOT NULL)",
        &[],
    )?;
    Ok(())
}

/// Goes on after the event of number `newest`, which is the newest: after a restore nothing of before is owed, and the
/// subscription is at a version that says nothing about the endpoint.
pub fn begin_anew(sql: &impl Sql, newest: u64) -> Result<()> {
    sql.exec("UPDATE hook SET wanted = 0, shaken = 0, sent = ?1, tries = 0", &[newest.into()])?;
    Ok(())
}

/// What is known of the endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// The subscription's id.
    pub subscription: String,
    /// The version of the subscription that asked for a handshake last.
    pub wanted: u64,
    /// The version at whose handshake the endpoint answered.
    pub shaken: u64,
    /// The number of the last event that it took.
    pub sent: u64,
    /// Failures in a row.
    pub tries: u32,
    /// When something was sent last.
    pub last: UnixMillis,
}

/// The subscription whose object this is wants its endpoint to be called, as of its version `wanted`.
pub fn want(sql: &impl Sql, now: UnixMillis, subscription: &str, wanted: u64) -> Result<()> {
    sql.exec(
        "INSERT INTO hook (id, subscription, wanted, shaken, sent, tries, last) VALUES (1, ?1, ?2, 0, 0, 0, ?3) \
         ON CONFLICT (id) DO UPDATE SET wanted = max(wanted, excluded.wanted), tries = 0",
        &[subscription.into(), wanted.into(), now.into()],
    )?;
    agenda::set(sql, DUE, Some(now))
}

/// What is known of the endpoint; `None` where there is none.
pub fn get(sql: &impl Sql) -> Result<Option<Hook>> {
    sql.first("SELECT subscription, wanted, shaken, sent, tries, last FROM hook WHERE id = 1", &[])?
        .map(|mut row| {
            Ok(Hook {
                subscription: row.text()?,
                wanted: row.number()?,
                shaken: row.number()?,
                sent: row.number()?,
                tries: u32::try_from(row.number()?).unwrap_or(u32::MAX),
                last: row.instant()?,
            })
        })
        .transpose()
}

/// What is done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A handshake is sent.
    Handshake,
    /// The events after this one are sent, at most so many.
    Events {
        /// The number of the last event that was taken.
        after: u64,
        /// At most so many.
        most: u64,
    },
    /// A heartbeat is sent.
    Heartbeat,
    /// Nothing before then; for good where it is `None`.
    Wait(Option<UnixMillis>),
}

impl Hook {
    /// What is done at `now` for a subscription with these settings, whose newest event has this number.
    pub fn next(&self, settings: &Settings, status: Status, newest: u64, now: UnixMillis) -> Step {
        let over = settings.end.is_some_and(|end| end <= now);
        if over || matches!(status, Status::Off | Status::Error) {
            Step::Wait(None)
        } else if self.shaken < self.wanted {
            Step::Handshake
        } else if newest > self.sent {
            Step::Events { after: self.sent, most: settings.most.unwrap_or(TOGETHER) }
        } else {
            match settings.heartbeat.map(|period| self.last.plus(period)) {
                Some(due) if due <= now => Step::Heartbeat,
                due => Step::Wait(due),
            }
        }
    }
}

/// The endpoint took `step`, which told of everything up to `through`.
pub fn succeeded(sql: &impl Sql, now: UnixMillis, hook: &Hook, step: Step, through: u64) -> Result<()> {
    let shaken = if step == Step::Handshake { hook.wanted } else { hook.shaken };
    sql.exec(
        "UPDATE hook SET shaken = ?1, sent = max(sent, ?2), tries = 0, last = ?3 WHERE id = 1",
        &[shaken.into(), through.into(), now.into()],
    )?;
    Ok(())
}

impl Hook {
    /// Whether the endpoint is given up when it does not take `step`: a handshake is not repeated (backport, section
    /// "REST-Hook"), anything else is, until it has failed [`MOST_TRIES`] times.
    pub fn gives_up(&self, step: Step) -> bool {
        step == Step::Handshake || self.tries.saturating_add(1) >= MOST_TRIES
    }
}

/// The endpoint did not take `step`. Where it is not given up it is tried again, and at once where the subscription was asked
/// for again meanwhile.
pub fn failed(sql: &impl Sql, entropy: &impl Entropy, now: UnixMillis, hook: &Hook, step: Step) -> Result<()> {
    let tries = hook.tries.saturating_add(1);
    let counted = sql.first(
        "UPDATE hook SET tries = ?1 WHERE id = 1 AND wanted = ?2 RETURNING 1",
        &[u64::from(tries).into(), hook.wanted.into()],
    )?;
    let again = if counted.is_some() {
        (!hook.gives_up(step)).then(|| now.plus(backoff(entropy, tries, FIRST_PAUSE, LONGEST_PAUSE)))
    } else {
        Some(now)
    };
    agenda::set(sql, DUE, again)
}

/// The header `Bedside-Signature` of a body that is sent at `now`: `t=SECONDS,v1=HEX`, where HEX is the HMAC-SHA-256 under
/// `key` of SECONDS, a full stop and the body. A receiver refuses what is more than some minutes old.
pub fn signature(key: &[u8], now: UnixMillis, body: &str) -> Result<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).map_err(|_| Error::internal("the hooks' key cannot be used"))?;
    let seconds = now.0.checked_div(1_000).unwrap_or(0);
    mac.update(format!("{seconds}.").as_bytes());
    mac.update(body.as_bytes());
    let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("t={seconds},v1={hex}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::subscription::{Channel, Content, Subject};
    use crate::store::sqlite::Sqlite;
    use crate::testing::Seeded;

    fn settings(heartbeat: Option<Ttl>, end: Option<UnixMillis>) -> Settings {
        Settings {
            subject: Subject::Alerts,
            filters: Vec::new(),
            channel: Channel::RestHook { endpoint: "https://hooks.example/".into(), headers: Vec::new() },
            content: Content::Empty,
            heartbeat,
            timeout: None,
            most: Some(3),
            end,
        }
    }

    #[test]
    fn a_handshake_then_events_in_order_then_heartbeats() {
        let (sql, random) = (Sqlite::open(), Seeded::new(1));
        agenda::prepare(&sql).unwrap();
        prepare(&sql).unwrap();
        assert_eq!(get(&sql).unwrap(), None);
        let now = UnixMillis(100_000);
        want(&sql, now, "s", 1).unwrap();
        assert_eq!(agenda::next(&sql).unwrap(), Some(now));
        let plain = settings(Some(Ttl::from_secs(60)), None);
        let step = |status, newest, now| get(&sql).unwrap().unwrap().next(&plain, status, newest, now);
        let hook = || get(&sql).unwrap().unwrap();
        assert_eq!(step(Status::Requested, 5, now), Step::Handshake);
        succeeded(&sql, now, &hook(), Step::Handshake, 0).unwrap();
        let events = |after| Step::Events { after, most: 3 };
        assert_eq!(step(Status::Active, 5, now), events(0));
        assert!(!hook().gives_up(events(0)));
        failed(&sql, &random, now, &hook(), events(0)).unwrap();
        assert_eq!(step(Status::Active, 5, now), events(0), "it is owed still");
        succeeded(&sql, now, &hook(), events(0), 3).unwrap();
        assert_eq!((step(Status::Active, 5, now), hook().tries), (events(3), 0));
        succeeded(&sql, now, &hook(), events(3), 5).unwrap();
        let due = now.plus(Ttl::from_secs(60));
        assert_eq!(step(Status::Active, 5, now), Step::Wait(Some(due)));
        assert_eq!(step(Status::Active, 5, due), Step::Heartbeat);
        for status in [Status::Off, Status::Error] {
            assert_eq!(step(status, 9, due), Step::Wait(None));
        }
        assert_eq!(
            hook().next(&settings(None, Some(now)), Status::Active, 9, now),
            Step::Wait(None),
            "its end has come"
        );
        want(&sql, now, "s", 2).unwrap();
        assert_eq!(step(Status::Requested, 9, now), Step::Handshake);
        succeeded(&sql, now, &hook(), Step::Handshake, 0).unwrap();
        assert_eq!(step(Status::Active, 9, now), events(5), "nothing is left out");
    }

    #[test]
    fn an_endpoint_is_given_up_after_a_while_and_at_once_if_it_never_answered() {
        let (sql, random) = (Sqlite::open(), Seeded::new(1));
        agenda::prepare(&sql).unwrap();
        prepare(&sql).unwrap();
        let mut now = UnixMillis(100_000);
        want(&sql, now, "s", 1).unwrap();
        let hook = || get(&sql).unwrap().unwrap();
        assert!(hook().gives_up(Step::Handshake));
        let asked_for = hook();
        failed(&sql, &random, now, &asked_for, Step::Handshake).unwrap();
        assert_eq!(agenda::next(&sql).unwrap(), None);
        want(&sql, now, "s", 2).unwrap();
        failed(&sql, &random, now, &asked_for, Step::Handshake).unwrap();
        assert_eq!(
            (hook().tries, agenda::next(&sql).unwrap()),
            (0, Some(now)),
            "the failure was of what it was before"
        );
        let start = now;
        let step = Step::Events { after: 0, most: 1 };
        for tries in 1..MOST_TRIES {
            assert!(!hook().gives_up(step), "{tries}");
            failed(&sql, &random, now, &hook(), step).unwrap();
            let next = agenda::next(&sql).unwrap().unwrap();
            assert!(now.until(next) <= LONGEST_PAUSE);
            now = next.max(now);
        }
        assert!(hook().gives_up(step));
        assert!(start.until(now) > Ttl::from_mins(5), "{:?}", start.until(now));
    }

    /// Receivers in the field reckon this; `openssl dgst -sha256 -hmac` gives the same.
    #[test]
    fn the_signature_is_pinned() {
        let signed = signature(b"0123456789abcdef0123456789abcdef", UnixMillis(1_764_000_000_999), "{}").unwrap();
        let (time, mac) = signed.split_once(',').unwrap();
        assert_eq!(time, "t=1764000000");
        assert_eq!(mac.len(), 3 + 64);
        assert_eq!(
            signed,
            signature(b"0123456789abcdef0123456789abcdef", UnixMillis(1_764_000_000_000), "{}").unwrap()
        );
        assert_ne!(
            signed,
            signature(b"0123456789abcdef0123456789abcdef", UnixMillis(1_764_000_001_000), "{}").unwrap()
        );
    }
}
