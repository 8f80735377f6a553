//! The clinic's object as its callers see it.
//!
//! Invariant: an answer of another kind than what was asked is an error of ours, and nobody takes it for nothing.

use std::future::Future;

use super::care::CareRequest;
use super::{ClinicReply, ClinicRequest};
use crate::access::{Owner, Scope};
use crate::chart::cache::Whose;
use crate::chart::head::Head;
use crate::chart::records::{Answer, Batch, Committed, Query};
use crate::error::{Error, Kind, Result};
use crate::session::account::Account;
use crate::vitals::watch::Sample;
/// The error of an answer to something else.
pub fn unexpected() -> Error {
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
                _ => Err(unexpected()),
            }
        }
    }

    /// Writes records.
    fn commit(&self, batch: Batch) -> impl Future<Output = Result<Committed>> {
        let asked = self.ask(ClinicRequest::Commit(batch));
        async {
            match asked.await? {
                ClinicReply::Committed(committed) => Ok(committed),
                _ => Err(unexpected()),
            }
        }
    }

    /// The head of `patient`.
    fn head(&self, patient: &str) -> impl Future<Output = Result<Option<Head>>> {
        let asked = self.ask(ClinicRequest::Look { whose: Whose::Patient(patient.to_owned()), version: false });
        async {
            match asked.await? {
                ClinicReply::Looked(looked) => Ok(looked.heads.into_iter().next()),
                _ => Err(unexpected()),
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
                _ => Err(unexpected()),
            }
        }
    }

    /// What `request` of somebody who reaches `scope` gives, as JSON.
    fn care(&self, scope: Scope, request: CareRequest) -> impl Future<Output = Result<String>> {
        let asked = self.ask(ClinicRequest::Care { scope, request });
        async {
            match asked.await? {
                ClinicReply::Json(json) => Ok(json),
                _ => Err(unexpected()),
            }
        }
    }

    /// Has `samples` of what `scope` reaches watched, and gives whom each is of.
    fn telemetry(&self, scope: Scope, samples: Vec<Sample>) -> impl Future<Output = Result<Vec<Option<Owner>>>> {
        let asked = self.ask(ClinicRequest::Telemetry { scope, samples });
        async {
            match asked.await? {
                ClinicReply::Owners(owners) => Ok(owners),
                _ => Err(unexpected()),
            }
        }
    }

    /// Adds or changes an account: `request` says which.
    fn change(&self, request: ClinicRequest) -> impl Future<Output = Result<Account>> {
        let asked = self.ask(request);
        async {
            match asked.await? {
                ClinicReply::Changed(account) => Ok(account),
                _ => Err(unexpected()),
            }
        }
    }
}
