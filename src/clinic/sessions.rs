//! Sign-ins and sessions in the clinic's object: tries are paid for, sessions noted before their tokens are handed out, ended
//! before anybody is told that they are, and topics registered before anybody listens.

use std::future::Future;

use serde::{Deserialize, Serialize};

use super::{Clinic, ClinicReply, ClinicRequest, subscriptions, unexpected};
use crate::access::audit::{self, Actor, Did, Outcome};
use crate::access::bar::{Listener, ask_again};
use crate::access::signed_out;
use crate::channel::Topic;
use crate::chart::head;
use crate::error::{Error, Kind, Result};
use crate::session::account::Account;
use crate::session::limit::{self, Places};
use crate::session::registry::{self, Ended, Listed, Opening, Which};
use crate::session::roster::{self, Credential};
use crate::store::sql::Sql;
use crate::time::{Ttl, UnixMillis};

/// The most sessions that a list shows.
const LISTED: u64 = 200;

/// What the clinic's object can be asked about sign-ins and sessions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SessionRequest {
    /// A password is about to be judged.
    Attempt {
        /// The name to sign in with.
        username: String,
        /// Where it is tried from.
        places: Places,
    },
    /// A password was right for the account as it was read, and a session is open in the store.
    SignedIn(Box<SignedIn>),
    /// A sign-in failed.
    Failed {
        /// In which request.
        actor: Actor,
    },
    /// Ends sessions.
    End {
        /// Whose.
        user: String,
        /// Which of them.
        which: Which,
        /// Who ends them.
        actor: Actor,
    },
    /// The open sessions of an account.
    List {
        /// Its id.
        user: String,
    },
    /// The store of sessions says that a session is open, and has not been confirmed in this for a while.
    Confirm {
        /// Whose.
        listener: Listener,
    },
    /// Somebody is about to listen.
    Follow {
        /// Who.
        listener: Listener,
        /// To what.
        topic: Topic,
    },
}

/// A sign-in to be counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedIn {
    /// The account as it was judged by.
    pub account: Account,
    /// The session.
    pub opening: Opening,
    /// The session that the same client came with, which ends.
    pub previous: Option<Ended>,
    /// Where the password was tried from.
    pub places: Places,
    /// From where it will be known.
    pub known: Places,
    /// Who, and in which request.
    pub actor: Actor,
}

/// What the clinic's object answers about sign-ins and sessions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SessionReply {
    /// The password may be judged, by this if there is such an account.
    Judge(Option<Credential>),
    /// It must not be, for so long.
    Wait(Ttl),
    /// Whether the sign-in counts: `false` where the account has changed since it was read.
    SignedIn(bool),
    /// The sessions that are over.
    Ended(Vec<Ended>),
    /// Open sessions, newest first.
    Listed(Vec<Listed>),
    /// How a session stands here.
    Confirmed(Confirmed),
    /// Done.
    Done,
}

/// What the clinic's object has to say of what the store of sessions says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Confirmed {
    /// It is so.
    Open,
    /// The session has ended; the store is told again.
    Ended,
    /// The account is another by now; the store is told again.
    Changed,
}

impl SessionRequest {
    /// Whether repeating it after a lost answer could do something twice.
    pub fn is_change(&self) -> bool {
        use SessionRequest::{Confirm, Follow, List};
        !matches!(self, List { .. } | Follow { .. } | Confirm { .. })
    }

    /// Whether it can leave something to be done later.
    pub fn may_owe(&self) -> bool {
        use SessionRequest::{Confirm, End, SignedIn};
        matches!(self, SignedIn(_) | End { .. } | Confirm { .. })
    }
}

/// What the audit trail calls the end of a session.
pub(super) const ENDED: &str = "session/end";

/// Answers `request` at `now`.
pub fn handle(sql: &impl Sql, now: UnixMillis, request: &SessionRequest) -> Result<SessionReply> {
    let note = |actor: &Actor, entity: &str, outcome| {
        audit::record(sql, now, &audit::Event { actor, did: Did::Execute, entity, outcome })
    };
    match request {
        SessionRequest::Attempt { username, places } => {
            sql.transaction(|| match limit::attempt(sql, now, username, places)? {
                Some(wait) => Ok(SessionReply::Wait(wait)),
                None => roster::credential(sql, username).map(SessionReply::Judge),
            })
        }
        SessionRequest::SignedIn(signed_in) => sql.transaction(|| {
            let SignedIn { account, opening, previous, places, known, actor } = signed_in.as_ref();
            if !roster::is_current(sql, account)? {
                note(actor, "session", Outcome::Refused)?;
                return Ok(SessionReply::SignedIn(false));
            }
            registry::open(sql, now, account, opening)?;
            limit::succeeded(sql, now, &account.username, places, known)?;
            note(actor, "session", Outcome::Success)?;
            if let Some(previous) = previous {
                registry::end(sql, now, &previous.user, &Which::One(previous.id.clone()))?;
                note(&Actor { user: previous.user.clone(), ..actor.clone() }, ENDED, Outcome::Success)?;
            }
            Ok(SessionReply::SignedIn(true))
        }),
        SessionRequest::Failed { actor } => {
            note(actor, "session", Outcome::Refused)?;
            Ok(SessionReply::Done)
        }
        SessionRequest::End { user, which, actor } => sql.transaction(|| {
            let ended = registry::end(sql, now, user, which)?;
            note(actor, ENDED, Outcome::Success)?;
            Ok(SessionReply::Ended(ended))
        }),
        SessionRequest::List { user } => registry::list(sql, now, user, LISTED).map(SessionReply::Listed),
        SessionRequest::Confirm { listener } => {
            sql.transaction(|| confirm(sql, now, listener)).map(SessionReply::Confirmed)
        }
        SessionRequest::Follow { listener, topic } => {
            sql.transaction(|| follow(sql, now, listener, topic)).map(|()| SessionReply::Done)
        }
    }
}

/// How the session of `listener` stands. What the store got wrong is owed to it again.
fn confirm(sql: &impl Sql, now: UnixMillis, listener: &Listener) -> Result<Confirmed> {
    if !registry::confirm(sql, now, &listener.session)? {
        return Ok(Confirmed::Ended);
    }
    match roster::get(sql, &listener.user)? {
        None => Ok(Confirmed::Ended),
        Some(account) if account.version == listener.version => Ok(Confirmed::Open),
        Some(account) => roster::owe(sql, &account).map(|()| Confirmed::Changed),
    }
}

/// Registers `listener` for `topic`, if their session is open and the account is as it was when they were allowed to.
fn follow(sql: &impl Sql, now: UnixMillis, listener: &Listener, topic: &Topic) -> Result<()> {
    let account = roster::get(sql, &listener.user)?.ok_or_else(signed_out)?;
    if account.version != listener.version {
        return Err(being_changed());
    }
    let moved = match topic {
        Topic::Patient(patient) => head::get(sql, patient)?.map_or(0, |head| head.moved),
        Topic::Subscription(id) => subscriptions::version(sql, id)?,
        Topic::Ward(_) | Topic::User(_) | Topic::Schedule(_) => listener.moved,
    };
    if moved != listener.moved {
        return Err(ask_again());
    }
    let open = registry::follow(sql, now, &listener.session, &topic.to_string())?;
    if open { Ok(()) } else { Err(signed_out()) }
}

fn being_changed() -> Error {
    Error::unavailable("the account is being changed; try again")
}

/// What handlers ask of the clinic's object about sign-ins and sessions.
pub trait Sessions: Clinic {
    /// Asks it.
    fn about(&self, request: SessionRequest) -> impl Future<Output = Result<SessionReply>> {
        let asked = self.ask(ClinicRequest::Session(request));
        async {
            match asked.await? {
                ClinicReply::Session(reply) => Ok(reply),
                _ => Err(unexpected()),
            }
        }
    }

    /// What the password of `username` is to be judged by; 429 where it must not be judged yet.
    fn attempt(&self, username: &str, places: &Places) -> impl Future<Output = Result<Option<Credential>>> {
        let request = SessionRequest::Attempt { username: username.to_owned(), places: places.clone() };
        let asked = self.about(request);
        async {
            match asked.await? {
                SessionReply::Judge(credential) => Ok(credential),
                SessionReply::Wait(ttl) => Err(Error::new(
                    Kind::TooMany,
                    "too many wrong passwords for this account or from this address; wait before trying again",
                )
                .retry_after(ttl)),
                _ => Err(unexpected()),
            }
        }
    }

    /// Ends sessions. They are over once the store of sessions has been told as well.
    fn end(&self, user: &str, which: Which, actor: Actor) -> impl Future<Output = Result<Vec<Ended>>> {
        let asked = self.about(SessionRequest::End { user: user.to_owned(), which, actor });
        async {
            match asked.await? {
                SessionReply::Ended(ended) => Ok(ended),
                _ => Err(unexpected()),
            }
        }
    }

    /// The open sessions of an account, as far as the clinic's object knows.
    fn sessions_of(&self, user: &str) -> impl Future<Output = Result<Vec<Listed>>> {
        let asked = self.about(SessionRequest::List { user: user.to_owned() });
        async {
            match asked.await? {
                SessionReply::Listed(listed) => Ok(listed),
                _ => Err(unexpected()),
            }
        }
    }

    /// Whether a session is open and its account as it was when it was judged: 401 or 503 where it is not.
    fn confirm(&self, listener: Listener) -> impl Future<Output = Result<()>> {
        let asked = self.about(SessionRequest::Confirm { listener });
        async {
            match asked.await? {
                SessionReply::Confirmed(Confirmed::Open) => Ok(()),
                SessionReply::Confirmed(Confirmed::Ended) => Err(signed_out()),
                SessionReply::Confirmed(Confirmed::Changed) => Err(being_changed()),
                _ => Err(unexpected()),
            }
        }
    }

    /// Registers a listener. Only after this may the listener be connected.
    fn follow(&self, listener: Listener, topic: Topic) -> impl Future<Output = Result<()>> {
        let asked = self.about(SessionRequest::Follow { listener, topic });
        async { asked.await.map(|_| ()) }
    }
}

impl<C: Clinic> Sessions for C {}
