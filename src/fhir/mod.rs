//! FHIR R4 (4.0.1) resources: read, checked for structure, placed in patients' compartments, answered with.
//!
//! Invariant: a [`Resource`] exists only if its JSON has the structure that R4 defines (known elements, cardinalities,
//! types, lexical forms), and what is written back is what was read, decimals and the order of elements included.
//! Reading is done here and not by a library: exact paths in issues, no echo of input, a sixth of the compressed size.
//! Nothing here panics, reads a clock, or puts a value of its input in an issue.

mod bundle;
mod capability;
mod check;
mod compartment;
mod json;
mod kind;
mod outcome;
mod pointer;
mod primitive;
mod reference;
mod resource;
pub mod search;
mod structure;
mod transaction;

pub use bundle::{HistoryEntry, Link, Method, SearchEntry, SearchMode, history_bundle, searchset};
pub use capability::{capability_statement, has, of_kind};
pub use compartment::{in_patient_compartment, is_shared, patients};
pub use json::{Json, MAX_DEPTH, push_json_string};
pub use kind::ResourceType;
pub use outcome::{Invalid, Issue, OperationOutcome, Severity};
pub use pointer::at;
pub use primitive::is_valid_id;
pub use reference::{Relative, relative};
pub use resource::Resource;
pub use transaction::{Bundle, BundleKind, Entry, Identifier, Outcome, Verb, response_bundle};
