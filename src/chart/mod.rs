//! Charts: patients' records, and the cache in front of them that is never stale.
//!
//! Invariant: a cached view is used only if the generation it carries is the one in the patient's head, and every
//! write in the patient's compartment changes the head in the transaction that writes the record. So a read is never older
//! than the last acknowledged write.

pub mod cache;
mod event;
pub mod fences;
pub mod head;
pub mod holds;
mod once;
pub mod records;
mod records_sql;
pub mod results;
mod search;
mod wards;
mod whole_sql;

pub use event::{event, schedule};
pub use records_sql::{begin_anew, commit, concerned, current, prepare, run, state};
pub use wards::patients_in;
