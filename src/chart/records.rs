//! The port of the source of truth: reading records, and writing them as one guarded batch.
//!
//! Invariant: a batch takes effect whole or not at all. Its guards are held in the transaction that writes, and with each
//! record the heads, the events and the audit rows that it causes are written in that same transaction. Every request
//! carries the [`Scope`] of who asks.

use serde::{Deserialize, Serialize};

use super::fences::Fence;
use super::holds::{self, Hold};
use super::results::Finalised;
use crate::access::audit::Actor;
use crate::access::{Owner, Scope};
use crate::error::Result;
use crate::fhir::search::{Place as Here, Search, Terms, terms};
use crate::fhir::{Identifier, Resource, ResourceType, is_shared, is_valid_id, patients, relative};
use crate::sorted::BTreeSet;
use crate::time::UnixMillis;
use crate::vitals::codes::{self, Charted};

/// A resource's JSON, open at the place where the server puts `versionId` and `lastUpdated`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draft {
    before: String,
    after: String,
}

impl Draft {
    /// The draft of `resource`, which has its id already; what it says of version and time is thrown away.
    pub fn of(resource: &mut Resource) -> Draft {
        let (version, at) = (0, UnixMillis(0));
        resource.set_meta(version, at);
        let text = resource.to_json();
        // `set_meta` puts `meta` right after `id`, so that the first match is the server's own and not a lookalike further
        // down in the content.
        match text.split_once(&stamp(version, at)) {
            Some((before, after)) => Draft { before: before.to_owned(), after: after.to_owned() },
            None => Draft { before: text, after: String::new() },
        }
    }

    /// The JSON of version `version`, written at `at`.
    pub fn stamped(&self, version: u64, at: UnixMillis) -> String {
        [self.before.as_str(), &stamp(version, at), &self.after].concat()
    }
}

fn stamp(version: u64, at: UnixMillis) -> String {
    format!(r#""versionId":"{version}","lastUpdated":"{}""#, at.to_rfc3339())
}

/// What a resource says about who is where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// An Encounter during which the patient is at these Locations.
    Stay {
        /// The Patient's id.
        patient: String,
        /// The Locations' ids.
        locations: Vec<String>,
    },
    /// A Location.
    Location {
        /// The id of the Location it is part of.
        part_of: Option<String>,
        /// Whether it is a ward: physical type `wa`.
        ward: bool,
    },
}

impl Place {
    /// What `resource` says, if anything. An Encounter counts while it is arrived, triaged, in progress or on leave, and
    /// of its locations those that are neither completed nor only planned or reserved.
    pub fn of(resource: &Resource) -> Option<Place> {
        let id_of = |text: &str, kind| relative(text).filter(|to| to.kind == kind).map(|to| to.id.to_owned());
        match resource.kind() {
            ResourceType::Encounter => {
                let open = ["arrived", "triaged", "in-progress", "onleave"];
                if !resource.str_at(&["status"]).is_some_and(|status| open.contains(&status)) {
                    return None;
                }
                let patient = id_of(resource.str_at(&["subject", "reference"])?, ResourceType::Patient)?;
                let here = |status: Option<&str>| !matches!(status, Some("completed" | "planned" | "reserved"));
                let locations = resource
                    .values_at(&["location"])
                    .filter(|item| here(item.get("status").and_then(|status| status.as_str())))
                    .filter_map(|item| item.get("location")?.get("reference")?.as_str())
                    .filter_map(|text| id_of(text, ResourceType::Location))
                    .collect();
                Some(Place::Stay { patient, locations })
            }
            ResourceType::Location => Some(Place::Location {
                part_of: resource.str_at(&["partOf", "reference"]).and_then(|text| id_of(text, ResourceType::Location)),
                ward: resource.strs_at(&["physicalType", "coding", "code"]).any(|code| code == "wa"),
            }),
            _ => None,
        }
    }
}

/// What must hold of a record for a batch to take effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Guard {
    /// Nothing.
    Any,
    /// There is no such record, and never was.
    Absent,
    /// The record is there in this version (`If-Match`).
    Version(u64),
    /// There is no such record, and no record of this type with one of its identifiers.
    Unmatched,
}

/// What is done to a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Write {
    /// A new version.
    Put {
        /// The resource.
        draft: Draft,
        /// The ids of the patients in whose compartments it is.
        patients: Vec<String>,
        /// What it says about who is where.
        place: Option<Box<Place>>,
        /// By what it is found to be the same as another: for Patients and for types that patients share.
        identifiers: Vec<Identifier>,
        /// What it refers to among the types that patients share, where it is in somebody's compartment.
        shares: Vec<(ResourceType, String)>,
        /// What it says of vital signs.
        charted: Option<Box<Charted>>,
        /// Whom it concerns, where it is a result.
        finalised: Option<Box<Finalised>>,
        /// What it is found by.
        terms: Box<Terms>,
        /// The Slots that it has, if it is a live Appointment.
        occupies: Vec<String>,
        /// Whether it says that its diagnosis is settled.
        settles: bool,
    },
    /// A version that says it is deleted.
    Delete,
}

impl Write {
    /// The write of `resource`, which has its id already, at `now`. 422 where it is a vital sign that cannot be understood.
    pub fn put(resource: &mut Resource, now: UnixMillis) -> Result<Write> {
        let known = is_shared(resource.kind()) || resource.kind() == ResourceType::Patient;
        let patients = patients(resource);
        let charted = codes::read(resource, now)?;
        Ok(Write::Put {
            draft: Draft::of(resource),
            shares: if patients.is_empty() { Vec::new() } else { shares(resource) },
            patients,
            place: Place::of(resource).map(Box::new),
            terms: Box::new(terms(resource)),
            occupies: holds::occupies(resource),
            settles: settles(resource),
            identifiers: if known { Identifier::all(resource) } else { Vec::new() },
            charted: charted.map(Box::new),
            finalised: Finalised::of(resource).map(Box::new),
        })
    }
}

/// Whether `resource` says that its diagnosis is settled: a DiagnosticReport that is final or was changed after that, a
/// Condition that is confirmed or refuted.
pub fn settles(resource: &Resource) -> bool {
    match resource.kind() {
        ResourceType::DiagnosticReport => {
            let settled = ["final", "amended", "corrected", "appended"];
            resource.str_at(&["status"]).is_some_and(|status| settled.contains(&status))
        }
        ResourceType::Condition => {
            let mut codes = resource.strs_at(&["verificationStatus", "coding", "code"]);
            codes.any(|code| matches!(code, "confirmed" | "refuted"))
        }
        _ => false,
    }
}

/// What `resource` refers to among the types that patients share, each once.
fn shares(resource: &mut Resource) -> Vec<(ResourceType, String)> {
    let mut found = BTreeSet::new();
    resource.map_references(&mut |text| {
        found.extend(relative(text).filter(|to| is_shared(to.kind)).map(|to| (to.kind, to.id.to_owned())));
        None
    });
    found.into_iter().collect()
}

/// One record of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The resource type.
    pub kind: ResourceType,
    /// The id.
    pub id: String,
    /// The guard.
    pub guard: Guard,
    /// The write.
    pub write: Write,
}

/// A guarded batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// What of all records the writer reaches.
    pub scope: Scope,
    /// Who writes.
    pub actor: Actor,
    /// The name of the request, where it may come again: it takes effect once.
    pub once: Option<String>,
    /// The fences that the writer shows: none may be stale.
    pub fences: Vec<Fence>,
    /// What becomes of holds.
    pub holds: Vec<Hold>,
    /// Why, in the writer's words, for the audit trail.
    pub reason: Option<String>,
    /// The changes, guards first, then writes, in order.
    pub changes: Vec<Change>,
}

impl Batch {
    /// A batch of changes and nothing else.
    pub fn new(scope: Scope, actor: Actor, changes: Vec<Change>) -> Batch {
        Batch { scope, actor, once: None, fences: Vec::new(), holds: Vec::new(), reason: None, changes }
    }
}

/// What a change became.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// The version written.
    pub version: u64,
    /// When.
    pub at: UnixMillis,
    /// Whether there was no such record, or a deleted one, before.
    pub created: bool,
}

/// Why a batch took no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// The record is there and should not have been.
    Exists,
    /// The record is in another version.
    Changed,
    /// There is no such record.
    Missing,
    /// The record is, or would be, out of the writer's reach.
    OutOfReach,
    /// It refers to a Patient that is not there.
    NoSuchPatient,
    /// A higher fence of the lease was shown before: the writer's lease has gone to another.
    StaleFence,
    /// A Patient whose compartment holds other records cannot be deleted.
    StillReferred,
    /// It settles a diagnosis, and shows no fence of the lease under which that is edited.
    NeedsFence,
    /// A Slot of it is in another live Appointment.
    SlotTaken,
    /// The account has as many holds as it may have.
    TooManyHolds,
    /// The hold is somebody else's.
    HeldByAnother,
    /// The hold was renewed before.
    RenewedAlready,
}

/// What became of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Committed {
    /// All of it took effect; one stamp a change, in order.
    All(Vec<Stamp>),
    /// All of it did when the same request came before; nothing was written now.
    Again,
    /// None of it did.
    Refused {
        /// The position of the change that was refused.
        change: usize,
        /// Why.
        why: Refusal,
    },
}

/// One version of a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The id.
    pub id: String,
    /// The version.
    pub version: u64,
    /// When it was written.
    pub updated: UnixMillis,
    /// Whether this version made the record anew.
    pub created: bool,
    /// The JSON; `None` for a version that says it is deleted.
    pub body: Option<String>,
}

/// A record that was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// The record.
    pub record: Record,
    /// The patients in whose compartments it is.
    pub owners: Vec<Owner>,
    /// For an Appointment that is held: when the hold ends.
    pub held_until: Option<UnixMillis>,
    /// The account whose hold it is.
    pub held_by: Option<String>,
}

/// A record among those of other types.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// The type.
    pub kind: ResourceType,
    /// The record.
    pub record: Record,
    /// Of everything of a patient: whether it is there because the compartment refers to it.
    pub shared: bool,
}

/// How far everything of a patient has been read: the last record that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Whether it is one that the compartment refers to.
    pub shared: bool,
    /// Its type.
    pub kind: ResourceType,
    /// Its id.
    pub id: String,
}

impl Mark {
    /// Reads what [`Mark::to_text`] wrote.
    pub fn parse(text: &str) -> Option<Mark> {
        let mut parts = text.splitn(3, '.');
        let shared = match parts.next()? {
            "c" => false,
            "s" => true,
            _ => return None,
        };
        let kind = ResourceType::parse(parts.next()?)?;
        let id = parts.next().filter(|id| is_valid_id(id))?.to_owned();
        Some(Mark { shared, kind, id })
    }

    /// As text, for a URL.
    pub fn to_text(&self) -> String {
        format!("{}.{}.{}", if self.shared { "s" } else { "c" }, self.kind, self.id)
    }
}

/// What can be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Query {
    /// One record, the newest version or a given one.
    Read {
        /// The type.
        kind: ResourceType,
        /// The id.
        id: String,
        /// A version of it.
        version: Option<u64>,
    },
    /// All versions of one record, newest first.
    History {
        /// The type.
        kind: ResourceType,
        /// The id.
        id: String,
        /// Only versions below this one.
        below: Option<u64>,
        /// At most this many.
        count: u64,
    },
    /// The records that a search finds.
    Search {
        /// Which.
        search: Search,
        /// Only what comes after this in its order.
        after: Option<Here>,
        /// At most this many; none where only the number is wanted.
        count: u64,
        /// Whether all are to be counted.
        total: bool,
    },
    /// The Patient, the current records of their compartment, and what those refer to among the shared types.
    Everything {
        /// The Patient's id.
        patient: String,
        /// Only what was written at or after this instant.
        since: UnixMillis,
        /// Only these types; empty for all.
        kinds: Vec<ResourceType>,
        /// Only what comes after this.
        after: Option<Mark>,
        /// At most this many.
        count: u64,
    },
    /// All versions of all records, newest first.
    Log {
        /// Only those of this type.
        kind: Option<ResourceType>,
        /// Only those written at or after this instant.
        since: UnixMillis,
        /// Only those before this place.
        below: Option<u64>,
        /// At most this many.
        count: u64,
    },
    /// The ids of the records with these identifiers, `None` where there is none. Says nothing of what the records hold
    /// and is open to whoever may write them.
    Identified(Vec<(ResourceType, Identifier)>),
    /// The ids of the live Appointments that have these Slots, `None` where there is none. As open.
    Occupants(Vec<String>),
}

/// What a query gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// Of a read.
    Found(Found),
    /// Of a history, and whether there is more.
    Several(Vec<Record>, bool),
    /// Of a search: records, where to go on if there may be more, and how many there are in all, if that was asked.
    Search(Vec<Record>, Option<Here>, Option<u64>),
    /// Of everything, and where to go on if there may be more.
    Everything(Vec<Item>, Option<Mark>),
    /// Of the log, and below which place to go on if there may be more.
    Log(Vec<Item>, Option<u64>),
    /// Of identifiers or Slots, in their order.
    Ids(Vec<Option<String>>),
    /// There is no such record, or no such version of it.
    Missing,
    /// Of everything: the Patient is deleted.
    Gone,
    /// It is there, and out of reach.
    OutOfReach,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(json: &str) -> Resource {
        Resource::parse(json.as_bytes()).unwrap()
    }

    #[test]
    fn a_draft_is_stamped_in_its_meta_and_nowhere_else() {
        let mut patient = resource(
            r#"{"resourceType":"Patient","id":"p","active":true,"meta":{"versionId":"9","tag":[{"code":"x"}]},
               "name":[{"text":"\"versionId\":\"0\",\"lastUpdated\":\"1970-01-01T00:00:00.000Z\""}]}"#,
        );
        let draft = Draft::of(&mut patient);
        let stamped = draft.stamped(3, UnixMillis(1_764_000_000_125));
        let meta = r#""meta":{"versionId":"3","lastUpdated":"2025-11-24T16:00:00.125Z","tag":[{"code":"x"}]}"#;
        assert!(
            stamped.starts_with(&format!(r#"{{"resourceType":"Patient","id":"p",{meta},"active":true"#)),
            "{stamped}"
        );
        assert!(resource(&stamped).version() == Some("3"));
    }

    #[test]
    fn a_stay_is_an_open_encounter_with_present_locations() {
        let encounter = |status: &str| {
            let location = |id: &str, status: &str| {
                format!(r#"{{"location":{{"reference":"Location/{id}"}},"status":"{status}"}}"#)
            };
            resource(&format!(
                r#"{{"resourceType":"Encounter","status":"{status}","class":{{"code":"IMP"}},
                    "subject":{{"reference":"Patient/p"}},"location":[{},{},{{"location":{{"reference":"Location/c"}}}}]}}"#,
                location("a", "completed"),
                location("b", "active"),
            ))
        };
        let stay = Place::Stay { patient: "p".into(), locations: vec!["b".into(), "c".into()] };
        assert_eq!(Place::of(&encounter("in-progress")), Some(stay));
        assert_eq!(Place::of(&encounter("finished")), None);
    }
}
