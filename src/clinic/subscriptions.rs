//! FHIR Subscriptions in the clinic's object: who asked for what, and which events each is told.
//!
//! Invariant: an event is added to the topic of each subscription that it is of in the transaction of what caused it, held
//! against what the subscriber's account reaches at that instant. So events are numbered in the order of commits and none is
//! told to somebody who could not have read what it is about.

use std::future::Future;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Clinic, ClinicReply, ClinicRequest, mismatch};
use crate::access::audit::{self, Actor, Did, Outcome};
use crate::access::{Action, Owner, decide};
use crate::channel::Topic;
use crate::channel::outbox::{self, Event};
use crate::channel::subscription::{Channel, Settings, Status, Subject};
use crate::error::{Error, Kind, Result};
use crate::session::roster;
use crate::store::sql::{Row, Sql};
use crate::time::UnixMillis;

/// Subscriptions of one account, at most.
const MOST: u64 = 100;

/// A subscription as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// Its id.
    pub id: String,
    /// Whose it is.
    pub user: String,
    /// Raised by every change.
    pub version: u64,
    /// When it was changed last.
    pub updated: UnixMillis,
    /// Where it stands.
    pub status: Status,
    /// What went wrong, if something did.
    pub error: Option<String>,
    /// The URL of the FHIR endpoint as its client addressed it.
    pub base: String,
    /// What it asks for.
    pub settings: Settings,
    /// The resource as it was sent.
    pub body: String,
    /// The number of its newest event.
    pub events: u64,
}

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SubscriptionRequest {
    /// Keeps one: its user, version, updated and events are not looked at but for a creation's user.
    Put {
        /// What is kept.
        stored: Box<Stored>,
        /// Whether it is new.
        create: bool,
        /// Only over this version.
        expected: Option<u64>,
        /// Who, and only over their own unless `of` says that they may over anybody's.
        actor: Actor,
        /// Whose it may be; `None` for anybody's.
        of: Option<String>,
    },
    /// Reads one.
    Get {
        /// Its id.
        id: String,
        /// Whose it may be; `None` for anybody's.
        of: Option<String>,
    },
    /// Reads all, by id.
    List {
        /// Whose they may be; `None` for anybody's.
        of: Option<String>,
    },
    /// Takes one away.
    Delete {
        /// Its id.
        id: String,
        /// Whose it may be; `None` for anybody's.
        of: Option<String>,
        /// Who.
        actor: Actor,
    },
    /// Its endpoint answered, or has failed for too long.
    Stands {
        /// Its id.
        id: String,
        /// As of this version: one that has changed since is not touched.
        version: u64,
        /// Where it stands now.
        status: Status,
        /// What went wrong.
        error: Option<String>,
    },
}

impl SubscriptionRequest {
    /// Whether it changes something.
    pub fn is_change(&self) -> bool {
        !matches!(self, SubscriptionRequest::Get { .. } | SubscriptionRequest::List { .. })
    }
}

/// Makes the table where it is not there yet.
pub fn prepare(sql: &impl Sql) -> Result<()> {
    for statement in [
        "CREATE TABLE IF NOT EXISTS subscriptions (id TEXT PRIMARY KEY, user TEXT NOT NULL, subject TEXT NOT NULL, \
         version INTEGER NOT NULL, updated INTEGER NOT NULL, status TEXT NOT NULL, error TEXT, base TEXT NOT NULL, \
         settings TEXT NOT NULL, body TEXT NOT NULL) WITHOUT ROWID",
        "CREATE INDEX IF NOT EXISTS subscriptions_subject ON subscriptions (subject)",
        "CREATE INDEX IF NOT EXISTS subscriptions_user ON subscriptions (user)",
    ] {
        sql.exec(statement, &[])?;
    }
    Ok(())
}

const COLUMNS: &str = "s.id, s.user, s.version, s.updated, s.status, s.error, s.base, s.settings, s.body, \
    coalesce(o.newest, 0) FROM subscriptions s LEFT JOIN outbox_topics o ON o.topic = 'subscription/' || s.id";

fn stored(mut row: Row) -> Result<Stored> {
    let unreadable = || Error::internal("a subscription is not of the shape this version writes");
    Ok(Stored {
        id: row.text()?,
        user: row.text()?,
        version: row.number()?,
        updated: row.instant()?,
        status: Status::parse(&row.text()?).ok_or_else(unreadable)?,
        error: row.maybe_text()?,
        base: row.text()?,
        settings: serde_json::from_str(&row.text()?).map_err(|_| unreadable())?,
        body: row.text()?,
        events: row.number()?,
    })
}

fn missing() -> Error {
    Error::new(Kind::NotFound, "there is no such resource")
}

fn get(sql: &impl Sql, id: &str, of: Option<&str>) -> Result<Stored> {
    let found = sql.first(&format!("SELECT {COLUMNS} WHERE s.id = ?1"), &[id.into()])?.map(stored).transpose()?;
    found.filter(|stored| of.is_none_or(|user| user == stored.user)).ok_or_else(missing)
}

/// Answers `request` at `now`: the subscriptions that it is about, as they are then.
pub(super) fn handle(sql: &impl Sql, now: UnixMillis, request: &SubscriptionRequest) -> Result<Vec<Stored>> {
    match request {
        SubscriptionRequest::Get { id, of } => Ok(vec![get(sql, id, of.as_deref())?]),
        SubscriptionRequest::List { of } => sql
            .exec(&format!("SELECT {COLUMNS} WHERE ?1 IS NULL OR s.user = ?1 ORDER BY s.id"), &[of.as_deref().into()])?
            .into_iter()
            .map(stored)
            .collect(),
        SubscriptionRequest::Put { stored, create, expected, actor, of } => sql.transaction(|| {
            let before = if *create { None } else { Some(get(sql, &stored.id, of.as_deref())?) };
            let version = before.as_ref().map_or(0, |before| before.version);
            if expected.is_some_and(|expected| expected != version) {
                let changed = Error::new(Kind::PreconditionFailed, "the resource is in another version: read it again");
                return Err(changed.at("if-match"));
            }
            let user = before.map_or_else(|| stored.user.clone(), |before| before.user);
            if *create {
                let number =
                    sql.first("SELECT count(*) FROM subscriptions WHERE user = ?1", &[user.as_str().into()])?;
                if number.map(|mut row| row.number()).transpose()?.is_some_and(|number| number >= MOST) {
                    return Err(Error::new(
                        Kind::Unprocessable,
                        "this account has as many subscriptions as it may have",
                    ));
                }
            }
            let next = Stored { user, version: version.saturating_add(1), updated: now, ..(**stored).clone() };
            keep(sql, &next)?;
            if matches!(next.settings.channel, Channel::RestHook { .. }) {
                outbox::note(sql, &Topic::Subscription(next.id.clone()), next.version)?;
            }
            let did = if *create { Did::Create } else { Did::Update };
            let entity = format!("Subscription/{}/_history/{}", next.id, next.version);
            audit::record(sql, now, &audit::Event { actor, did, entity: &entity, outcome: Outcome::Success })?;
            Ok(vec![get(sql, &next.id, None)?])
        }),
        SubscriptionRequest::Delete { id, of, actor } => sql.transaction(|| {
            let before = get(sql, id, of.as_deref())?;
            sql.exec("DELETE FROM subscriptions WHERE id = ?1", &[id.as_str().into()])?;
            let entity = format!("Subscription/{id}");
            audit::record(
                sql,
                now,
                &audit::Event { actor, did: Did::Delete, entity: &entity, outcome: Outcome::Success },
            )?;
            Ok(vec![before])
        }),
        SubscriptionRequest::Stands { id, version, status, error } => {
            let before = get(sql, id, None)?;
            if before.version == *version {
                // No version of its own: the client has changed nothing.
                keep(sql, &Stored { status: *status, error: error.clone(), updated: now, ..before })?;
            }
            Ok(vec![get(sql, id, None)?])
        }
    }
}

fn keep(sql: &impl Sql, stored: &Stored) -> Result<()> {
    let settings = serde_json::to_string(&stored.settings);
    sql.exec(
        "INSERT INTO subscriptions (id, user, subject, version, updated, status, error, base, settings, body) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT (id) DO UPDATE SET subject = excluded.subject, \
         version = excluded.version, updated = excluded.updated, status = excluded.status, error = excluded.error, \
         base = excluded.base, settings = excluded.settings, body = excluded.body",
        &[
            stored.id.as_str().into(),
            stored.user.as_str().into(),
            stored.settings.subject.name().into(),
            stored.version.into(),
            stored.updated.into(),
            stored.status.as_str().into(),
            stored.error.as_deref().into(),
            stored.base.as_str().into(),
            settings.map_err(|_| Error::internal("a subscription could not be written"))?.into(),
            stored.body.as_str().into(),
        ],
    )?;
    Ok(())
}

/// Tells `event` about `owners` to the subscriptions that it is of. Call it in the transaction of what caused it.
pub(super) fn tell(sql: &impl Sql, owners: &[Owner], event: &Event) -> Result<()> {
    let mut data: Option<Value> = None;
    for subject in Subject::of_kind(&event.kind) {
        let rows = sql.exec(
            "SELECT id, user, settings FROM subscriptions WHERE subject = ?1 AND status <> 'off' ORDER BY id",
            &[subject.name().into()],
        )?;
        for mut row in rows {
            let (id, user) = (row.text()?, row.text()?);
            let Ok(settings) = serde_json::from_str::<Settings>(&row.text()?) else { continue };
            if settings.end.is_some_and(|end| end <= event.at) {
                continue;
            }
            let reads = Action::ReadRecords { kind: subject.resource(), shared: false };
            let reached = roster::get(sql, &user)?
                .filter(|account| !account.disabled)
                .and_then(|account| decide(&account.principal, reads).ok())
                .is_some_and(|scope| !owners.is_empty() && scope.may_read(owners));
            if !reached {
                continue;
            }
            if data.is_none() {
                data = serde_json::from_str(&event.data).ok();
            }
            if data.as_ref().is_some_and(|data| settings.matches(data)) {
                outbox::add(sql, &Topic::Subscription(id), event)?;
            }
        }
    }
    Ok(())
}

/// What handlers ask of the clinic's object about subscriptions.
pub trait Subscriptions: Clinic {
    /// Asks it: the subscriptions that it is about.
    fn subscriptions(&self, request: SubscriptionRequest) -> impl Future<Output = Result<Vec<Stored>>> {
        let asked = self.ask(ClinicRequest::Subscription(request));
        async {
            match asked.await? {
                ClinicReply::Subscriptions(all) => Ok(all),
                _ => Err(mismatch()),
            }
        }
    }

    /// Asks it about one: 404 where there is none that the caller may know of.
    fn subscription(&self, request: SubscriptionRequest) -> impl Future<Output = Result<Stored>> {
        let asked = self.subscriptions(request);
        async { asked.await?.into_iter().next().ok_or_else(missing) }
    }
}

impl<C: Clinic> Subscriptions for C {}
