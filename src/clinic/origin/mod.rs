//! An existing FHIR R4 server as where records are kept, with the clinic's object beside it for everything else: heads, events,
//! accounts, the audit trail.
//!
//! Invariant: who may see or write a record is decided here, from what the origin says of it at that moment and from where
//! its patients are; what cannot be found out is refused. A write is announced to the clinic's object before it is sent
//! ([`intents`]), carries the version by which it was judged, and is settled there when it is known what became of it: until
//! then reads go to the origin and nothing is kept. So a view is never older than the last write that was acknowledged.
//!
//! Where a patient is, is asked of the origin once in the lifetime of a view, and again at once when a write of ours or a
//! hook says that they may have moved: what monitors say and what is told to wards goes by it. What is changed there behind
//! our back is known by `POST /hooks/changed`, or at the end of that lifetime. Where it cannot be asked for, what was known
//! opens nothing but views that are kept, if a setting says so. It is assumed that the origin does not carry a request out
//! later than [`intents::LATEST`] after it was sent.

pub mod client;
pub mod intents;
mod reads;
mod writes;

use serde::{Deserialize, Serialize};

use self::client::Client;
use self::intents::{Intent, Written};
use super::care::CareRequest;
use super::{Clinic, ClinicReply, ClinicRequest, unexpected};
use crate::access::Owner;
use crate::access::audit::Actor;
use crate::chart::cache::seal::Cipher;
use crate::chart::cache::{Fill, Filling, Looked, Whose};
use crate::chart::head::Head;
use crate::chart::records::Query;
use crate::error::{Error, Kind, Result};
use crate::outgoing::{Http, join_all};
use crate::time::UnixMillis;

/// What the clinic's object is told where records are kept elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OriginRequest {
    /// Where a patient is: in these wards; `None` where the origin has no such patient.
    Learn {
        /// The Patient's id.
        patient: String,
        /// The ids of the wards.
        wards: Option<Vec<String>>,
        /// As of this move of anybody, [`Looked::due`]: what is known of a later one is not overwritten.
        asked: u64,
    },
    /// Something is about to be written.
    Intend(Intent),
    /// What became of it.
    Settle {
        /// The intent's id.
        id: String,
        /// What was written; `None` where nothing was.
        written: Option<Box<Written>>,
    },
    /// Something was changed behind our back. Answered by those concerned whom the object knows.
    Changed(Changed),
    /// Somebody tried to write what is out of their reach.
    Refused {
        /// Who.
        actor: Actor,
        /// What, as `Type/id`.
        record: String,
        /// Whether it was to be deleted.
        deletes: bool,
    },
    /// The CapabilityStatement of the origin, which no object is asked for.
    Statement,
}

/// What was changed behind our back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Changed {
    /// Records of these patients.
    Patients(Vec<String>),
    /// What patients share; `places` says whether it says who is where: a Location.
    Shared {
        /// Whether it is a Location.
        places: bool,
    },
    /// Nobody knows what.
    Anything,
}

/// The clinic where records are kept at an origin.
pub struct AtOrigin<C, H, X> {
    /// The clinic's object.
    pub clinic: C,
    /// The origin.
    pub client: Client<H>,
    /// What seals the origin's links.
    pub cipher: X,
}

/// How often it is asked where a patient is who moves meanwhile.
const TRIES: usize = 3;
/// Of so many patients it is asked at the same time: a Worker has no more connections.
const AT_ONCE: usize = 6;

/// The refusal of what there is not where records are kept elsewhere.
pub fn unsupported() -> Error {
    Error::new(Kind::NotSupported, "this is not offered while records are kept in another system of record")
}

impl<C: Clinic, H: Http, X: Cipher> Clinic for AtOrigin<C, H, X> {
    async fn ask(&self, request: ClinicRequest) -> Result<ClinicReply> {
        match request {
            ClinicRequest::Query { scope, query } => self.read(&scope, &query, false).await.map(ClinicReply::Answer),
            ClinicRequest::Commit(batch) => self.write(batch).await.map(ClinicReply::Committed),
            // What is known by its id alone is the origin's to answer.
            ClinicRequest::Look { whose: Whose::Record(..), .. } => Ok(ClinicReply::Looked(Looked::default())),
            ClinicRequest::Look { whose: Whose::Patient(patient), .. } => {
                self.look(&patient).await.map(ClinicReply::Looked)
            }
            ClinicRequest::Fill(fill) => self.fill(fill).await.map(ClinicReply::Filling),
            ClinicRequest::At { request, topics } => {
                // The position first: what comes after it may be in the answer already, and nothing is missing.
                let nothing = Box::new(ClinicRequest::Account { id: String::new() });
                let at = ClinicRequest::At { request: nothing, topics };
                let ClinicReply::At(_, positions) = self.clinic.ask(at).await? else { return Err(unexpected()) };
                let reply = Box::pin(self.ask(*request)).await?;
                Ok(ClinicReply::At(Box::new(reply), positions))
            }
            ClinicRequest::Origin(OriginRequest::Statement) => {
                Ok(ClinicReply::Json(self.client.statement().await?.to_string()))
            }
            ClinicRequest::Origin(OriginRequest::Changed(what)) => {
                let known = self.changed(what).await?;
                self.find(&known).await.map(|()| ClinicReply::Done)
            }
            // It is made of records.
            ClinicRequest::Care { request: CareRequest::Board { .. }, .. } => Err(unsupported()),
            ClinicRequest::Care { scope, request } => {
                if let Some(patient) = request.patient() {
                    self.owner(patient).await?;
                }
                self.clinic.ask(ClinicRequest::Care { scope, request }).await
            }
            request => self.clinic.ask(request).await,
        }
    }
}

impl<C: Clinic, H: Http, X: Cipher> AtOrigin<C, H, X> {
    fn now(&self) -> UnixMillis {
        self.client.http().now()
    }

    async fn looked(&self, patient: &str) -> Result<Looked> {
        let whose = Whose::Patient(patient.to_owned());
        match self.clinic.ask(ClinicRequest::Look { whose, version: false }).await? {
            ClinicReply::Looked(looked) => Ok(looked),
            _ => Err(unexpected()),
        }
    }

    /// Fills a view: the token and the head are the object's, the answer is the origin's.
    async fn fill(&self, fill: Fill) -> Result<Filling> {
        let (scope, query, view) = (fill.scope.clone(), fill.query.clone(), fill.view.clone());
        let taken = Fill { query: Query::Identified(Vec::new()), ..fill };
        let ClinicReply::Filling(filling) = self.clinic.ask(ClinicRequest::Fill(taken)).await? else {
            return Err(unexpected());
        };
        let (token, head) = match filling {
            Filling::Busy { head } => return Ok(Filling::Busy { head }),
            Filling::Unkept { .. } => return Ok(Filling::Unkept { answer: self.read(&scope, &query, false).await? }),
            Filling::Granted { token, head, .. } => (token, head),
        };
        // What is kept is for everybody who reaches this patient. Whoever does not, any more, is answered alone.
        let reached = scope.reaches(&head.owner);
        let answer = self.read(&scope, &query, reached).await;
        if !reached || answer.is_err() {
            // Where it cannot be given back it ends at its deadline.
            let _ = self.clinic.ask(ClinicRequest::GiveBack { view, token }).await;
        }
        let answer = answer?;
        Ok(if reached { Filling::Granted { token, head, answer } } else { Filling::Unkept { answer } })
    }

    /// The head of `patient`; where they are is asked for if that was too long ago. Where it cannot be, what was known until
    /// then is given for a while if a setting says so, and is `due` still.
    async fn look(&self, patient: &str) -> Result<Looked> {
        let mut looked = self.looked(patient).await?;
        for _ in 0..TRIES {
            let Some(asked) = looked.due else { return Ok(looked) };
            let wards = match self.wards(patient).await {
                Ok(wards) => wards,
                Err(error) if error.kind == Kind::Unavailable && !looked.heads.is_empty() => return Ok(looked),
                Err(error) => return Err(error),
            };
            let gone = wards.is_none();
            self.tell(OriginRequest::Learn { patient: patient.to_owned(), wards, asked }).await?;
            if gone {
                return Ok(Looked::default());
            }
            looked = self.looked(patient).await?;
        }
        // They move faster than it can be asked where they are.
        match looked.due {
            None => Ok(looked),
            Some(_) => Err(Error::unavailable("the patient is being moved; try again")),
        }
    }

    async fn tell(&self, request: OriginRequest) -> Result<()> {
        match self.clinic.ask(ClinicRequest::Origin(request)).await? {
            ClinicReply::Done => Ok(()),
            _ => Err(unexpected()),
        }
    }

    /// Tells the object of what was changed, and gives those concerned whom it knows.
    async fn changed(&self, what: Changed) -> Result<Vec<String>> {
        match self.clinic.ask(ClinicRequest::Origin(OriginRequest::Changed(what))).await? {
            ClinicReply::Reached(known) => Ok(known.into_iter().collect()),
            _ => Err(unexpected()),
        }
    }

    /// The patient with where they are now; `None` where the origin has no such patient.
    async fn owner(&self, patient: &str) -> Result<Option<Owner>> {
        let looked = self.look(patient).await?;
        match looked.due {
            None => Ok(looked.heads.into_iter().next().map(|head: Head| head.owner)),
            Some(_) => Err(Error::unavailable("the system of record does not say where the patient is; try again")),
        }
    }

    /// The same of several.
    async fn each(&self, patients: &[String]) -> Vec<Result<Option<Owner>>> {
        let mut owners = Vec::new();
        for some in patients.chunks(AT_ONCE) {
            owners.extend(join_all(some.iter().map(|patient| self.owner(patient))).await);
        }
        owners
    }

    /// Those alone whom the origin has.
    async fn owners(&self, patients: &[String]) -> Result<Vec<Owner>> {
        self.each(patients).await.into_iter().filter_map(Result::transpose).collect()
    }

    /// Asks where `patients` are now. An answer that nothing follows from is left to whoever asks next: that it is asked for
    /// again would not make it another.
    async fn find(&self, patients: &[String]) -> Result<()> {
        let failed = self.each(patients).await.into_iter().filter_map(Result::err);
        failed.into_iter().find(|error| error.kind == Kind::Unavailable).map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests;
