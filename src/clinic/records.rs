//! The clinic's object as where heads and records come from.

use super::{Clinic, ClinicReply, ClinicRequest, unexpected};
use crate::access::Scope;
use crate::chart::cache::split::Origin;
use crate::chart::cache::{Fill, Filling, Looked, Source, Whose};
use crate::chart::head::Head;
use crate::chart::records::{Answer, Query};
use crate::error::Result;

/// The clinic's object holds heads and records alike.
impl<C: Clinic> Source for C {
    async fn look(&self, whose: &Whose, version: bool) -> Result<Looked> {
        match self.ask(ClinicRequest::Look { whose: whose.clone(), version }).await? {
            ClinicReply::Looked(looked) => Ok(looked),
            _ => Err(unexpected()),
        }
    }

    async fn fill(&self, fill: Fill) -> Result<Filling> {
        match self.ask(ClinicRequest::Fill(fill)).await? {
            ClinicReply::Filling(filling) => Ok(filling),
            _ => Err(unexpected()),
        }
    }

    async fn give_back(&self, view: &str, token: u64) -> Result<()> {
        self.ask(ClinicRequest::GiveBack { view: view.to_owned(), token }).await.map(|_| ())
    }

    async fn direct(&self, scope: Scope, query: Query) -> Result<Answer> {
        self.query(scope, query).await
    }
}

/// The clinic's object as the origin of records whose heads are on a store of their own.
#[derive(Clone, Debug)]
pub struct Records<C>(pub C);

impl<C: Clinic> Origin for Records<C> {
    async fn ask(&self, scope: Scope, query: Query) -> Result<Answer> {
        self.0.query(scope, query).await
    }

    async fn heads(&self, whose: &Whose) -> Result<(Vec<Head>, u64)> {
        match self.0.ask(ClinicRequest::Whose(whose.clone())).await? {
            ClinicReply::Whose(heads, order) => Ok((heads, order)),
            _ => Err(unexpected()),
        }
    }
}
