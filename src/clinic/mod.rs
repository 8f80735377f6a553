//! The clinic's object: one SQLite database that holds what must change together — records, heads, accounts, the outbox and
//! the audit trail — behind one enum of requests.
//!
//! Invariant: a request that changes anything runs in one transaction, and what it causes elsewhere is noted there, in the
//! outbox or among the standings that are due; [`courier`] brings it and nothing else does.

mod board;
pub mod care;
pub mod courier;
mod desk;
mod following;
pub mod holds;
mod message;
pub mod notices;
pub mod origin;
mod port;
pub mod position;
mod records;
pub mod sessions;
pub mod subscriptions;
pub mod watch;
pub mod writes;

pub use self::desk::{Away, Desk, Handled};
pub use self::message::{ClinicReply, ClinicRequest};
use self::origin::intents;
pub use self::port::{Clinic, unexpected};
pub use self::records::Records;
use crate::access::audit::{self, Actor, Did, Outcome};
use crate::access::trail;
use crate::channel::outbox;
use crate::chart::cache::apart::Heads;
use crate::chart::cache::{self, Filling, Whose};
use crate::chart::head::Touched;
use crate::chart::records::Answer;
use crate::error::{Error, Result};
use crate::session::registry::{self, Which};
use crate::session::{limit, roster};
use crate::store::sql::Sql;
use crate::store::{Store, agenda, restored};
use crate::time::{Clock, Entropy, Ttl, UnixMillis};
use crate::vitals::watch::Watch;
use crate::{chart, vitals};

/// Makes the tables where they are not there yet.
pub fn prepare(sql: &impl Sql) -> Result<()> {
    agenda::prepare(sql)?;
    chart::prepare(sql)?;
    roster::prepare(sql)?;
    registry::prepare(sql)?;
    limit::prepare(sql)?;
    outbox::prepare(sql)?;
    subscriptions::prepare(sql)?;
    audit::prepare(sql)?;
    intents::prepare(sql)?;
    vitals::prepare(sql)
}

/// Brings the clinic to the restore of `restored`, before anything else is asked: no view that was cached before is used again,
/// no session of before is known, nor where anybody is whose records are kept elsewhere, every account is newer than what
/// sessions have heard of it, no fence of before counts, and every topic goes on above what it can have been told.
pub fn catch_up(sql: &impl Sql, entropy: &impl Entropy, now: UnixMillis, restored: UnixMillis) -> Result<()> {
    restored::catch_up(sql, restored, || {
        chart::begin_anew(sql, entropy, restored)?;
        registry::forget_all(sql)?;
        roster::raise(sql, restored.0)?;
        outbox::begin_anew(sql, restored.0)?;
        intents::begin_anew(sql)?;
        // An operator's doing, who is no account.
        let actor = Actor { user: String::new(), request: String::new() };
        let entity = format!("restore/{}", restored.to_rfc3339());
        audit::record(
            sql,
            now,
            &audit::Event { actor: &actor, did: Did::Execute, entity: &entity, outcome: Outcome::Success },
        )
    })
}

/// Does `what` is due at `now`.
pub fn wake(sql: &impl Sql, entropy: &impl Entropy, watch: &Watch, now: UnixMillis, what: &str) -> Result<()> {
    match what {
        intents::INTENTS => intents::wake(sql, entropy, now),
        following::ALERTS | following::SILENCE => following::wake(sql, entropy, watch, now),
        // Put there by a version of the program that knew more.
        _ => agenda::set(sql, what, None),
    }
}

/// Answers `request` while the heads are on a store of their own, which only writes of records concern.
pub async fn handle_apart<S: Store>(
    sql: &impl Sql,
    desk: &Desk,
    watch: &Watch,
    heads: &Heads<S>,
    outside: &(impl Clock + Entropy),
    request: &ClinicRequest,
) -> Result<Handled> {
    match request {
        ClinicRequest::Commit(batch) => writes::commit_apart(sql, desk, watch, heads, outside, batch).await,
        ClinicRequest::At { request, topics } => {
            let handled = Box::pin(handle_apart(sql, desk, watch, heads, outside, request)).await?;
            handled.at(sql, outside.now(), topics)
        }
        _ => handle(sql, desk, outside, watch, outside.now(), request),
    }
}

/// Answers `request` at `now`.
pub fn handle(
    sql: &impl Sql,
    desk: &Desk,
    entropy: &impl Entropy,
    watch: &Watch,
    now: UnixMillis,
    request: &ClinicRequest,
) -> Result<Handled> {
    match request {
        ClinicRequest::Commit(batch) => writes::commit(sql, desk, entropy, watch, now, batch),
        ClinicRequest::At { request, topics } => handle(sql, desk, entropy, watch, now, request)?.at(sql, now, topics),
        ClinicRequest::Origin(request) => intents::handle(sql, desk, entropy, watch, now, request),
        _ => answer(sql, desk, entropy, watch, now, request).map(|reply| Handled { reply, wait: Ttl(0) }),
    }
}

fn answer(
    sql: &impl Sql,
    desk: &Desk,
    entropy: &impl Entropy,
    watch: &Watch,
    now: UnixMillis,
    request: &ClinicRequest,
) -> Result<ClinicReply> {
    let note = |actor: &Actor, did, entity: &str, outcome| {
        audit::record(sql, now, &audit::Event { actor, did, entity, outcome })
    };
    match request {
        ClinicRequest::Query { scope, query } => chart::run(sql, scope, query).map(ClinicReply::Answer),
        ClinicRequest::Commit(_) => Err(Error::internal("a commit is no question")),
        ClinicRequest::Origin(_) => Err(Error::internal("this is no question")),
        ClinicRequest::Look { whose: Whose::Patient(patient), .. } if desk.away.is_some() => {
            intents::look(sql, desk, entropy, now, patient).map(ClinicReply::Looked)
        }
        ClinicRequest::Fill(fill)
            if desk.away.is_some() && !intents::is_settled(sql, desk, entropy, now, &fill.patient)? =>
        {
            Ok(ClinicReply::Filling(Filling::Unkept { answer: Answer::Ids(Vec::new()) }))
        }
        ClinicRequest::Look { whose, version } => {
            let looked = cache::look(sql, whose, *version)?;
            looked.heads.iter().for_each(|head| desk.told(now, &head.owner.patient));
            Ok(ClinicReply::Looked(looked))
        }
        ClinicRequest::Whose(whose) => {
            let heads = cache::look(sql, whose, false)?.heads;
            let patients = heads.into_iter().map(|head| head.owner.patient).collect();
            let (heads, order) = chart::state(sql, &Touched { patients, ..Touched::default() })?;
            Ok(ClinicReply::Whose(heads, order))
        }
        ClinicRequest::Fill(fill) => {
            cache::fill(sql, &mut desk.fills.borrow_mut(), now, fill).map(ClinicReply::Filling)
        }
        ClinicRequest::GiveBack { view, token } => {
            desk.fills.borrow_mut().end(view, *token);
            Ok(ClinicReply::Done)
        }
        ClinicRequest::Subscription(request) => {
            subscriptions::handle(sql, now, request).map(ClinicReply::Subscriptions)
        }
        ClinicRequest::Reached { subscription, patients } => {
            subscriptions::reached(sql, subscription, patients).map(ClinicReply::Reached)
        }
        ClinicRequest::At { .. } => Err(Error::internal("a question about positions was asked within another")),
        ClinicRequest::Session(request) => sessions::handle(sql, now, request).map(ClinicReply::Session),
        ClinicRequest::CreateAccount { account, hash, only_first, actor } => sql.transaction(|| {
            roster::create(sql, account, hash, *only_first)?;
            note(actor, Did::Create, &entity_of(&account.principal.user), Outcome::Success)?;
            Ok(ClinicReply::Changed(account.clone()))
        }),
        ClinicRequest::ChangeAccount { id, change, actor } => sql.transaction(|| {
            let (before, account) = roster::change(sql, id, change)?;
            if account.floor != before.floor {
                registry::end(sql, now, id, &Which::AllBut(None))?;
            } else if account.principal != before.principal {
                registry::ask_again(sql, now, &account)?;
            }
            note(actor, Did::Update, &entity_of(id), Outcome::Success)?;
            Ok(ClinicReply::Changed(account))
        }),
        ClinicRequest::Heard(standing) => roster::heard(sql, standing).map(|()| ClinicReply::Done),
        ClinicRequest::Audit { actor, entity, reason } => sql.transaction(|| {
            let event = audit::Event { actor, did: Did::Execute, entity, outcome: Outcome::Success };
            audit::record_with_reason(sql, now, &event, reason)?;
            Ok(ClinicReply::Done)
        }),
        ClinicRequest::Seen { actor, what } => {
            let unsaid = desk.unsaid(now, &actor.user, what);
            if !unsaid.is_empty() {
                sql.transaction(|| unsaid.iter().try_for_each(|what| note(actor, Did::Read, what, Outcome::Success)))?;
                desk.said(now, &actor.user, &unsaid);
            }
            Ok(ClinicReply::Done)
        }
        ClinicRequest::Trail(wanted) => trail::page(sql, wanted).map(ClinicReply::Json),
        ClinicRequest::Account { id } => roster::get(sql, id).map(ClinicReply::Account),
        ClinicRequest::Accounts { after, count } => roster::list(sql, after, *count).map(ClinicReply::Accounts),
        ClinicRequest::Care { scope, request } => {
            care::handle(sql, entropy, watch, now, scope, request).map(ClinicReply::Json)
        }
        ClinicRequest::Telemetry { scope, samples } => {
            following::telemetry(sql, entropy, watch, now, scope, samples).map(ClinicReply::Owners)
        }
    }
}

fn entity_of(user: &str) -> String {
    format!("account/{user}")
}

#[cfg(test)]
mod lease_history;
#[cfg(test)]
mod resurrection;
#[cfg(test)]
mod sessions_tests;
#[cfg(test)]
mod telemetry_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod writes_tests;
