//! The cache in front of the records: what a view of a patient is called, how it is kept, and when it may be used.
//!
//! Invariant: a view is used only if it was read at the generation that the patient's head has, asked for within the same
//! request. An entry is sealed with the generation that held when its origin was read, so a fill that comes late is never
//! used. What a view shows follows from its patient and its name alone: who may see it is decided from the head before
//! anything of it is served.

pub mod apart;
pub mod fills;
pub mod life;
pub mod names;
pub mod read;
pub mod seal;
mod source_sql;
pub mod split;
pub mod status;
pub mod tier;
pub mod window;

#[cfg(test)]
mod model;

pub use source_sql::{fill, look};

use std::future::Future;

use serde::{Deserialize, Serialize};

use super::head::Head;
use super::records::{Answer, Query};
use crate::access::Scope;
use crate::error::Result;
use crate::fhir::ResourceType;
use crate::time::{Ttl, UnixMillis};

/// Whose head is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Whose {
    /// That of the patient with this id.
    Patient(String),
    /// Those of the patients in whose compartments this record is.
    Record(ResourceType, String),
}

impl Whose {
    /// In one word, for an isolate's memory.
    pub fn question(&self) -> String {
        match self {
            Whose::Patient(patient) => format!("Patient/{patient}"),
            Whose::Record(kind, id) => format!("{kind}/{id}"),
        }
    }
}

/// What is known of whose head was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Looked {
    /// The heads; empty where there is no such patient, or nobody whose record it is.
    pub heads: Vec<Head>,
    /// Of a record whose heads are kept elsewhere: a patient whose it is, to be looked at next, together with the entry.
    pub next: Option<String>,
    /// Whether somebody writes to one of them this very moment: the origin is to be asked, and nothing kept.
    pub writing: bool,
    /// Of the record, or the Patient: its version and when that was written, where it is asked for, known, and not deleted.
    pub version: Option<(u64, UnixMillis)>,
    /// Of records that are kept elsewhere: where the patient is, is to be asked for again, as of this move of anybody.
    pub due: Option<u64>,
}

/// The wish to read a view from its origin and keep it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fill {
    /// The Patient's id, under which it is kept.
    pub patient: String,
    /// Whose it is, said to be that patient's.
    pub whose: Whose,
    /// The view's name in the cache.
    pub view: String,
    /// Whether it holds what patients share.
    pub shared: bool,
    /// So long may the origin take before another may try; and so long nobody else asks it, if it was quicker.
    pub hold: Ttl,
    /// The reader wants it from the origin, whoever else asks.
    pub fresh: bool,
    /// What of all records the reader reaches.
    pub scope: Scope,
    /// What the origin is asked.
    pub query: Query,
}

/// What became of the wish.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Filling {
    /// This caller alone fills it: what the origin answered, and the head that held before it was asked.
    Granted {
        /// To be given back by [`Source::give_back`] where nothing comes of it.
        token: u64,
        /// The head.
        head: Head,
        /// The answer.
        answer: Answer,
    },
    /// Another fills it, at this head.
    Busy {
        /// The head.
        head: Head,
    },
    /// There is no head at which it could be kept: what the origin answered.
    Unkept {
        /// The answer.
        answer: Answer,
    },
}

/// Where heads and records come from together: on a miss, one call takes the token and asks the origin.
pub trait Source {
    /// The heads of `whose`; `version` says whether the record's version is wanted too.
    fn look(&self, whose: &Whose, version: bool) -> impl Future<Output = Result<Looked>>;

    /// Asks the origin for a view, unless another does.
    fn fill(&self, fill: Fill) -> impl Future<Output = Result<Filling>>;

    /// Gives a token back with which nothing was kept, so that another may try at once. One with which something was kept
    /// stays out until its deadline: whoever looked before that comes for it, and is told to look again.
    fn give_back(&self, view: &str, token: u64) -> impl Future<Output = Result<()>>;

    /// Asks the origin for what is not cached.
    fn direct(&self, scope: Scope, query: Query) -> impl Future<Output = Result<Answer>>;
}

/// The generations at which a view of the patient with this head is current.
pub fn tag(head: &Head, shared: bool) -> String {
    if shared { format!("{}.{}", head.generation, head.shared) } else { head.generation.clone() }
}
