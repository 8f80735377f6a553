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
pub mod notices;
pub mod origin;
pub mod position;
mod records;
pub mod sessions;
pub mod subscriptions;
pub mod watch;
pub mod writes;

use std::future::Future;

use serde::{Deserialize, Serialize};

use self::care::CareRequest;
pub use self::desk::{Away, Desk, Handled};
use self::origin::{OriginRequest, intents};
pub use self::records::Records;
use self::sessions::{SessionReply, SessionRequest};
use self::subscriptions::{Stored, SubscriptionRequest};
use crate::access::audit::{self, Actor, Did, Outcome};
use crate::access::{Owner, Scope};
use crate::channel::cursor::Snapshot;
use crate::channel::{Topic, outbox};
use crate::chart;
use crate::chart::cache::apart::Heads;
use crate::chart::cache::{self, Fill, Filling, Looked, Whose};
use crate::chart::head::{Head, Touched};
use crate::chart::records::{Answer, Batch, Committed, Query};
use crate::error::{Error, Kind, Result};
use crate::session::account::{Account, Change, Standing};
use crate::session::registry::{self, Which};
use crate::session::{limit, roster};
use crate::sorted::BTreeSet;
use crate::store::Store;
use crate::store::agenda;
use crate::store::restored;
use crate::store::sql::Sql;
use crate::time::{Clock, Entropy, Ttl, UnixMillis};
use crate::vitals;
use crate::vitals::watch::{Sample, Watch};

/// What the clinic's object can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClinicRequest {
    /// Reads records.
    Query {
        /// What of them the reader reaches.
        scope: Scope,
        /// What is read.
        query: Query,
    },
    /// Writes records.
    Commit(Batch),
    /// The heads of whoever a view is about.
    Look {
        /// Whose.
        whose: Whose,
        /// Whether the version of the record is wanted.
        version: bool,
    },
    /// The patients of a view, where their heads are not kept here.
    Whose(Whose),
    /// Reads records to be kept as a view, unless another does.
    Fill(Fill),
    /// The token of a fill comes back, and nothing was kept.
    GiveBack {
        /// The view's name in the cache.
        view: String,
        /// The token.
        token: u64,
    },
    /// About sign-ins and sessions.
    Session(SessionRequest),
    /// Adds an account.
    CreateAccount {
        /// The account.
        account: Account,
        /// The hash of its password.
        hash: String,
        /// Only if it is the first of all.
        only_first: bool,
        /// Who adds it.
        actor: Actor,
    },
    /// Changes an account.
    ChangeAccount {
        /// Its id.
        id: String,
        /// What changes.
        change: Change,
        /// Who changes it.
        actor: Actor,
    },
    /// The sessions of an account have heard of its change.
    Heard(Standing),
    /// Something is done that changes no record.
    Audit {
        /// Who does it.
        actor: Actor,
        /// To what.
        entity: String,
        /// Why, in the actor's words.
        reason: String,
    },
    /// An account by id.
    Account {
        /// Its id.
        id: String,
    },
    /// Accounts by user name.
    Accounts {
        /// Only after this user name.
        after: String,
        /// At most this many.
        count: u64,
    },
    /// What whoever cares for patients asks.
    Care {
        /// Which patients the asker reaches.
        scope: Scope,
        /// What is asked.
        request: CareRequest,
    },
    /// What monitors say: it is watched here, and no record.
    Telemetry {
        /// Which patients the monitors may speak of.
        scope: Scope,
        /// What they say.
        samples: Vec<Sample>,
    },
    /// About records that are kept elsewhere.
    Origin(OriginRequest),
    /// What subscribers ask.
    Subscription(SubscriptionRequest),
    /// Which of these patients a subscriber reaches now.
    Reached {
        /// The subscription's id.
        subscription: String,
        /// The ids of Patients.
        patients: BTreeSet<String>,
    },
    /// Something else, and where in these topics it is read.
    At {
        /// What is asked.
        request: Box<ClinicRequest>,
        /// The topics.
        topics: Vec<Topic>,
    },
}

impl ClinicRequest {
    /// Whether at `now` it can leave something for [`courier`] to bring.
    pub fn may_owe(&self, watch: &Watch, now: UnixMillis) -> bool {
        match self {
            ClinicRequest::Commit(_) | ClinicRequest::ChangeAccount { .. } => true,
            ClinicRequest::Care { request, .. } => request.is_change(),
            ClinicRequest::Session(request) => request.may_owe(),
            ClinicRequest::Origin(_) => true,
            ClinicRequest::Subscription(request) => request.may_owe(),
            ClinicRequest::Telemetry { samples, .. } => following::is_due(watch, now, samples),
            ClinicRequest::At { request, .. } => request.may_owe(watch, now),
            _ => false,
        }
    }

    /// Whether repeating it after a lost answer could do something twice.
    pub fn is_change(&self) -> bool {
        match self {
            ClinicRequest::Query { .. }
            | ClinicRequest::Look { .. }
            | ClinicRequest::Whose(_)
            | ClinicRequest::Fill(_)
            | ClinicRequest::GiveBack { .. }
            | ClinicRequest::Account { .. }
            | ClinicRequest::Accounts { .. }
            | ClinicRequest::Reached { .. }
            // Whatever was not heard has changed no record.
            | ClinicRequest::Origin(_)
            // It is known by its time: said again it changes nothing.
            | ClinicRequest::Telemetry { .. } => false,
            ClinicRequest::Care { request, .. } => request.is_change(),
            ClinicRequest::Session(request) => request.is_change(),
            ClinicRequest::Subscription(request) => request.is_change(),
            ClinicRequest::At { request, .. } => request.is_change(),
            _ => true,
        }
    }
}

/// What the clinic's object answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClinicReply {
    /// Of a query.
    Answer(Answer),
    /// Of a commit.
    Committed(Committed),
    /// Of heads.
    Looked(Looked),
    /// Of whose a view is: their heads as the records have them, and the number of this state of the records.
    Whose(Vec<Head>, u64),
    /// Of a fill.
    Filling(Filling),
    /// About sign-ins and sessions.
    Session(SessionReply),
    /// Of an account that was asked for.
    Account(Option<Account>),
    /// Of an account that was added or changed.
    Changed(Account),
    /// Of accounts.
    Accounts(Vec<Account>),
    /// Of telemetry: whom each sample is of; `None` where it is out of reach or there is no such patient.
    Owners(Vec<Option<Owner>>),
    /// Of care: JSON.
    Json(String),
    /// Of subscriptions.
    Subscriptions(Vec<Stored>),
    /// The patients who are reached.
    Reached(BTreeSet<String>),
    /// Something else, and where in the topics it was read.
    At(Box<ClinicReply>, Vec<Snapshot>),
    /// Done, and nothing to say.
    Done,
}

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
/// no session of before is known, every account is newer than what sessions have heard of it, no fence of before counts, and
/// every topic goes on above what it can have been told.
pub fn catch_up(sql: &impl Sql, entropy: &impl Entropy, now: UnixMillis, restored: UnixMillis) -> Result<()> {
    restored::catch_up(sql, restored, || {
        chart::begin_anew(sql, entropy, restored)?;
        registry::forget_all(sql)?;
        roster::raise(sql, restored.0)?;
        outbox::begin_anew(sql, restored.0)?;
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

fn mismatch() -> Error {
    Error::internal("the clinic's object answered something else than was asked")
}

/// The clinic's object as its callers see it.
pub trait Clinic {
    /// Asks it. Where no answer comes within the deadline: `Unavailable` for a read, `OutcomeUnknown` for a change.
    fn ask(&self, request: ClinicRequest) -> impl Future<Output = Result<ClinicReply>>;

    /// Reads records within `scope`.
    fn query(&self, scope: Scope, query: Query) -> impl Future<Output = Result<Answer>> {
        let asked = self.ask(ClinicRequest::Query { scope, query });
        async {
            match asked.await? {
                ClinicReply::Answer(answer) => Ok(answer),
                _ => Err(mismatch()),
            }
        }
    }

    /// Writes records.
    fn commit(&self, batch: Batch) -> impl Future<Output = Result<Committed>> {
        let asked = self.ask(ClinicRequest::Commit(batch));
        async {
            match asked.await? {
                ClinicReply::Committed(committed) => Ok(committed),
                _ => Err(mismatch()),
            }
        }
    }

    /// The head of `patient`.
    fn head(&self, patient: &str) -> impl Future<Output = Result<Option<Head>>> {
        let asked = self.ask(ClinicRequest::Look { whose: Whose::Patient(patient.to_owned()), version: false });
        async {
            match asked.await? {
                ClinicReply::Looked(looked) => Ok(looked.heads.into_iter().next()),
                _ => Err(mismatch()),
            }
        }
    }

    /// The account with this id: 404 where there is none.
    fn account(&self, id: &str) -> impl Future<Output = Result<Account>> {
        let asked = self.ask(ClinicRequest::Account { id: id.to_owned() });
        async {
            match asked.await? {
                ClinicReply::Account(Some(account)) => Ok(account),
                ClinicReply::Account(None) => Err(Error::new(Kind::NotFound, "there is no such account")),
                _ => Err(mismatch()),
            }
        }
    }

    /// What `request` of somebody who reaches `scope` gives, as JSON.
    fn care(&self, scope: Scope, request: CareRequest) -> impl Future<Output = Result<String>> {
        let asked = self.ask(ClinicRequest::Care { scope, request });
        async {
            match asked.await? {
                ClinicReply::Json(json) => Ok(json),
                _ => Err(mismatch()),
            }
        }
    }

    /// Has `samples` of what `scope` reaches watched, and gives whom each is of.
    fn telemetry(&self, scope: Scope, samples: Vec<Sample>) -> impl Future<Output = Result<Vec<Option<Owner>>>> {
        let asked = self.ask(ClinicRequest::Telemetry { scope, samples });
        async {
            match asked.await? {
                ClinicReply::Owners(owners) => Ok(owners),
                _ => Err(mismatch()),
            }
        }
    }

    /// Adds or changes an account: `request` says which.
    fn change(&self, request: ClinicRequest) -> impl Future<Output = Result<Account>> {
        let asked = self.ask(request);
        async {
            match asked.await? {
                ClinicReply::Changed(account) => Ok(account),
                _ => Err(mismatch()),
            }
        }
    }
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
