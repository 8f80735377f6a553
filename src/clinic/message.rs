//! What the clinic's object is asked and what it answers, as it goes between the Workers and the object.
//!
//! Invariant: whether a request may change something is said here once, for whoever loses the answer and for whoever sets the
//! alarm.

use serde::{Deserialize, Serialize};

use super::care::CareRequest;
use super::following;
use super::origin::OriginRequest;
use super::sessions::{SessionReply, SessionRequest};
use super::subscriptions::{Stored, SubscriptionRequest};
use crate::access::audit::Actor;
use crate::access::trail::Wanted;
use crate::access::{Owner, Scope};
use crate::channel::Topic;
use crate::channel::cursor::Snapshot;
use crate::chart::cache::{Fill, Filling, Looked, Whose};
use crate::chart::head::Head;
use crate::chart::records::{Answer, Batch, Committed, Query};
use crate::session::account::{Account, Change, Standing};
use crate::sorted::BTreeSet;
use crate::time::UnixMillis;
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
    /// Somebody is about to be shown this: the audit trail has it before.
    Seen {
        /// Who.
        actor: Actor,
        /// What, as the trail names it.
        what: Vec<String>,
    },
    /// A page of the audit trail.
    Trail(Wanted),
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
    /// Whether at `now` it can leave something for [`super::courier`] to bring.
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
            // Said again it is a second row at most.
            | ClinicRequest::Seen { .. }
            | ClinicRequest::Trail(_)
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
    /// Of care, and of the audit trail: JSON.
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
