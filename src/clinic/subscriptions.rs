//! FHIR Subscriptions in the clinic's object: who asked for what, and which events each is told.
//!
//! Invariant: an event is added to the topic of each subscription that it is of in the transaction of what caused it, held
//! against what the subscriber's account reaches at that instant. So events are numbered in the order of commits and none is
//! told to somebody who could not have read what it is about. Whoever is bound is asked again when the subscription changes.

use std::future::Future;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::following::Roll;
use super::{Clinic, ClinicReply, ClinicRequest, unexpected};
use crate::access::audit::{self, Actor, Did, Outcome};
use crate::access::{Action, Owner, Role, Scope, decide, refused};
use crate::channel::Topic;
use crate::channel::history::Page;
use crate::channel::outbox::{self, Event};
use crate::channel::subscription::notification::Told;
use crate::channel::subscription::{self, Channel, Settings, Status, Subject};
use crate::error::{Error, Kind, Result};
use crate::session::account::Account;
use crate::session::{registry, roster};
use crate::sorted::BTreeSet;
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

impl Stored {
    /// Where it stands at `now`: `off` from its end on.
    pub fn status_at(&self, now: UnixMillis) -> Status {
        if self.settings.end.is_some_and(|end| end <= now) { Status::Off } else { self.status }
    }
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
    /// Reads all of one account, by id.
    List {
        /// The account's id.
        user: String,
    },
    /// Takes one away.
    Delete {
        /// Its id.
        id: String,
        /// Whose it may be; `None` for anybody's.
        of: Option<String>,
        /// Only this version.
        expected: Option<u64>,
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

    /// Whether it can leave something for [`super::courier`] to bring.
    pub fn may_owe(&self) -> bool {
        matches!(self, SubscriptionRequest::Put { .. } | SubscriptionRequest::Delete { .. })
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
        SubscriptionRequest::List { user } => sql
            .exec(&format!("SELECT {COLUMNS} WHERE s.user = ?1 ORDER BY s.id"), &[user.as_str().into()])?
            .into_iter()
            .map(stored)
            .collect(),
        SubscriptionRequest::Put { stored, create, expected, actor, of } => sql.transaction(|| {
            let before = if *create { None } else { Some(get(sql, &stored.id, of.as_deref())?) };
            let version = before.as_ref().map_or(0, |before| before.version);
            meets(version, *expected)?;
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
            let topic = Topic::Subscription(next.id.clone());
            registry::all_ask_again(sql, now, &topic.to_string(), next.version)?;
            if matches!(next.settings.channel, Channel::RestHook { .. }) {
                outbox::note(sql, &topic, next.version)?;
            }
            let did = if *create { Did::Create } else { Did::Update };
            let entity = format!("Subscription/{}/_history/{}", next.id, next.version);
            audit::record(sql, now, &audit::Event { actor, did, entity: &entity, outcome: Outcome::Success })?;
            Ok(vec![get(sql, &next.id, None)?])
        }),
        SubscriptionRequest::Delete { id, of, expected, actor } => sql.transaction(|| {
            let before = get(sql, id, of.as_deref())?;
            meets(before.version, *expected)?;
            sql.exec("DELETE FROM subscriptions WHERE id = ?1", &[id.as_str().into()])?;
            // An id is never given again, so that nothing has to be known of its numbers.
            let topic = Topic::Subscription(id.clone());
            outbox::forget(sql, &topic)?;
            registry::all_ask_again(sql, now, &topic.to_string(), before.version.saturating_add(1))?;
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

fn meets(version: u64, expected: Option<u64>) -> Result<()> {
    if expected.is_none_or(|expected| expected == version) {
        return Ok(());
    }
    Err(Error::new(Kind::PreconditionFailed, "the resource is in another version: read it again").at("if-match"))
}

/// The version of a subscription; 404 where there is none.
pub(super) fn version(sql: &impl Sql, id: &str) -> Result<u64> {
    let found = sql.first("SELECT version FROM subscriptions WHERE id = ?1", &[id.into()])?;
    found.ok_or_else(missing)?.number()
}

/// What `account` reaches of the events of a topic; 403 where it may not have subscriptions any more.
fn reach(account: &Account, subject: Subject) -> Result<Scope> {
    if account.disabled {
        return Err(refused());
    }
    decide(&account.principal, Action::Subscribe)?;
    decide(&account.principal, Action::ReadRecords { kind: subject.resource(), shared: false })
}

/// Those of `patients` whom the account of a subscription reaches now; 403 where it may not have it any more.
pub(super) fn reached(sql: &impl Sql, id: &str, patients: &BTreeSet<String>) -> Result<BTreeSet<String>> {
    let stored = get(sql, id, None)?;
    let account = roster::get(sql, &stored.user)?.ok_or_else(refused)?;
    if account.principal.role == Role::Patient && matches!(stored.settings.channel, Channel::RestHook { .. }) {
        return Err(refused());
    }
    let scope = reach(&account, stored.settings.subject)?;
    let mut reached = BTreeSet::new();
    for patient in patients {
        if Roll(sql).owner(patient)?.is_some_and(|owner| scope.reaches(&owner)) {
            reached.insert(patient.clone());
        }
    }
    Ok(reached)
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
            "SELECT id, user, settings FROM subscriptions WHERE subject = ?1 AND status <> 'off' ORDER BY user, id",
            &[subject.name().into()],
        )?;
        let mut asked: Option<(String, bool)> = None;
        for mut row in rows {
            let (id, user) = (row.text()?, row.text()?);
            let reached = match asked.take().filter(|(of, _)| *of == user) {
                Some((_, reached)) => reached,
                None => {
                    let scope = roster::get(sql, &user)?.and_then(|account| reach(&account, subject).ok());
                    scope.is_some_and(|scope| !owners.is_empty() && scope.may_read(owners))
                }
            };
            asked = Some((user, reached));
            if !reached {
                continue;
            }
            let Ok(settings) = serde_json::from_str::<Settings>(&row.text()?) else { continue };
            if settings.end.is_some_and(|end| end <= event.at) {
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
                _ => Err(unexpected()),
            }
        }
    }

    /// Asks it about one: 404 where there is none that the caller may know of.
    fn subscription(&self, request: SubscriptionRequest) -> impl Future<Output = Result<Stored>> {
        let asked = self.subscriptions(request);
        async { asked.await?.into_iter().next().ok_or_else(missing) }
    }

    /// What the subscriber may be told of the events of `page` at this instant, which can be long after they were committed;
    /// 403 where the account may not have the subscription any more.
    fn told<'a>(&self, id: &str, page: &'a Page) -> impl Future<Output = Result<Vec<Told<'a>>>> {
        let read = |data: &str| -> BTreeSet<String> {
            let data: Value = serde_json::from_str(data).unwrap_or_default();
            subscription::patients(&data).map(str::to_owned).collect()
        };
        let about: Vec<BTreeSet<String>> = page.events.iter().map(|logged| read(&logged.event.data)).collect();
        let patients = about.iter().flatten().cloned().collect();
        let asked = self.ask(ClinicRequest::Reached { subscription: id.to_owned(), patients });
        async move {
            let ClinicReply::Reached(reached) = asked.await? else { return Err(unexpected()) };
            let told = page.events.iter().zip(&about).map(|(logged, about)| Told {
                number: logged.offset,
                at: logged.event.at,
                data: (!about.is_disjoint(&reached)).then_some(logged.event.data.as_str()),
            });
            Ok(told.collect())
        }
    }
}

impl<C: Clinic> Subscriptions for C {}
