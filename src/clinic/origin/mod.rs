//! An existing FHIR R4 server as where records are kept, with the clinic's object beside it for everything else: heads, events,
//! accounts, the audit trail.
//!
//! Invariant: who may see or write a record is decided here, from what the origin says of it at that moment and from where
//! its patients are; what cannot be found out is refused. A write is announced to the clinic's object before it is sent
//! ([`intents`]), carries the version by which it was judged, and is settled there when it is known what became of it: until
//! then reads go to the origin and nothing is kept. So a view is never older than the last write that was acknowledged.
//!
//! Where a patient is, is asked of the origin once in the lifetime of a view, and again after each write of ours that moves
//! them; what is changed there behind our back is known by `POST /hooks/changed`, or at the end of that lifetime. It is
//! assumed that the origin does not carry a request out later than [`intents::MARK`] after it was sent.

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
use crate::chart::cache::seal::Cipher;
use crate::chart::cache::{Fill, Filling, Looked, Whose};
use crate::chart::head::Head;
use crate::chart::records::Query;
use crate::error::{Error, Kind, Result};
use crate::outgoing::Http;
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
    /// Something was changed behind our back: of these patients, or of nobody knows whom.
    Changed(Option<Vec<String>>),
    /// The CapabilityStatement of the origin, which no object is asked for.
    Statement,
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

/// The refusal of what there is not where records are kept elsewhere.
pub fn unsupported() -> Error {
    Error::new(Kind::NotSupported, "this is not offered while records are kept in another system of record")
}

impl<C: Clinic, H: Http, X: Cipher> Clinic for AtOrigin<C, H, X> {
    async fn ask(&self, request: ClinicRequest) -> Result<ClinicReply> {
        match request {
            ClinicRequest::Query { scope, query } => self.read(&scope, &query).await.map(ClinicReply::Answer),
            ClinicRequest::Commit(batch) => self.write(batch).await.map(ClinicReply::Committed),
            // What is known by its id alone is the origin's to answer.
            ClinicRequest::Look { whose: Whose::Record(..), .. } => Ok(ClinicReply::Looked(Looked::default())),
            ClinicRequest::Look { whose: Whose::Patient(patient), .. } => {
                self.look(&patient).await.map(ClinicReply::Looked)
            }
            ClinicRequest::Fill(fill) => {
                // The token and the head are the object's, the answer is the origin's.
                let (scope, query) = (fill.scope.clone(), fill.query.clone());
                let taken = Fill { query: Query::Identified(Vec::new()), ..fill };
                let view = taken.view.clone();
                let filling = match self.clinic.ask(ClinicRequest::Fill(taken)).await? {
                    ClinicReply::Filling(filling) => filling,
                    _ => return Err(unexpected()),
                };
                Ok(ClinicReply::Filling(match filling {
                    Filling::Busy { head } => Filling::Busy { head },
                    Filling::Unkept { .. } => Filling::Unkept { answer: self.read(&scope, &query).await? },
                    Filling::Granted { token, head, .. } => match self.read(&scope, &query).await {
                        Ok(answer) => Filling::Granted { token, head, answer },
                        Err(error) => {
                            // Where it cannot be given back it ends at its deadline.
                            let _ = self.clinic.ask(ClinicRequest::GiveBack { view, token }).await;
                            return Err(error);
                        }
                    },
                }))
            }
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
            // It is made of records.
            ClinicRequest::Care { request: CareRequest::Board { .. }, .. } => Err(unsupported()),
            ClinicRequest::Care { scope, request } => {
                if let Some(patient) = request.patient() {
                    self.look(patient).await?;
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

    /// The head of `patient`; where they are is asked for if that was too long ago.
    async fn look(&self, patient: &str) -> Result<Looked> {
        let mut looked = self.looked(patient).await?;
        for _ in 0..TRIES {
            let Some(asked) = looked.due else { return Ok(looked) };
            let wards = match self.wards(patient).await {
                Ok(wards) => wards,
                // The origin is down: what was known will do for a while, if a setting says so.
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

    /// The patients with where they are; those alone whom the origin has.
    async fn owners(&self, patients: &[String]) -> Result<Vec<Owner>> {
        let mut owners = Vec::new();
        for patient in patients {
            owners.extend(self.look(patient).await?.heads.into_iter().map(|head: Head| head.owner));
        }
        Ok(owners)
    }
}

#[cfg(test)]
mod tests;
