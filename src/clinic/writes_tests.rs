//! Writes while the heads are on a store of their own.

use super::*;
use crate::access::{Action, Principal, Role, decide};
use crate::chart::cache::apart::{Heads, Seen};
use crate::chart::head::Head;
use crate::chart::records::{Batch, Change as Write, Committed, Guard, Write as Content};
use crate::error::Kind;
use crate::fhir::{Resource, ResourceType};
use crate::store::memory::Fault;
use crate::store::{Applied, Op, Shard, Store};
use crate::testing::{Local, block_on};
use crate::time::Clock;

struct Apart {
    local: Local,
}

/// The store that the heads are on.
#[derive(Clone)]
struct Kept(Local);

impl Store for Kept {
    async fn apply(&self, shard: Shard, batch: Vec<Op>) -> Result<Applied> {
        self.0.cache.apply(shard, batch).await
    }
}

impl Apart {
    fn heads(&self) -> Heads<Kept> {
        Heads::new(Kept(self.local.clone()), [7; 32], UnixMillis(0))
    }

    fn write(&self, json: &str) -> Result<Handled> {
        let mut resource = Resource::parse(json.as_bytes()).unwrap();
        let (kind, id) = (resource.kind(), resource.id().unwrap().to_owned());
        self.commit(kind, id, Content::put(&mut resource, self.local.now()).unwrap())
    }

    fn commit(&self, kind: ResourceType, id: String, write: Content) -> Result<Handled> {
        let admin = Principal {
            user: "u".into(),
            name: "U".into(),
            role: Role::Admin,
            patient: None,
            wards: Vec::new(),
            patients: Vec::new(),
        };
        let action = Action::WriteRecords { kind: kind.as_str(), shared: false, create: false };
        let change = Write { kind, id, guard: Guard::Any, write };
        let actor = Actor { user: "u".into(), request: "r".into() };
        let batch = Batch::new(decide(&admin, action).unwrap(), actor, vec![change]);
        let local = &self.local;
        block_on(writes::commit_apart(&local.sql, &local.desk, &local.watch, &self.heads(), local, &batch))
    }

    fn head(&self, patient: &str) -> Head {
        match block_on(self.heads().look(patient, self.local.now())).unwrap() {
            Seen::Head(head) => head,
            other => panic!("{other:?}"),
        }
    }

    fn version(&self, kind: ResourceType, id: &str) -> Option<u64> {
        let whose = match kind {
            ResourceType::Patient => Whose::Patient(id.into()),
            _ => Whose::Record(kind, id.into()),
        };
        cache::look(&self.local.sql, &whose, true).unwrap().version.map(|(version, _)| version)
    }
}

const PATIENT: &str = r#"{"resourceType":"Patient","id":"p"}"#;

#[test]
fn a_write_changes_the_head_and_leaves_no_mark() {
    let apart = Apart { local: Local::new() };
    // What patients share has a head as soon as somebody writes it or looks.
    apart.write(r#"{"resourceType":"Practitioner","id":"d"}"#).unwrap();
    assert!(matches!(apart.write(PATIENT).unwrap().reply, ClinicReply::Committed(Committed::All(_))));
    let first = apart.head("p");
    apart.write(PATIENT).unwrap();
    let second = apart.head("p");
    assert_ne!(first.generation, second.generation);
    assert_eq!((first.shared.clone(), first.salt), (second.shared, second.salt));
    apart.write(r#"{"resourceType":"Practitioner","id":"d"}"#).unwrap();
    assert_ne!(apart.head("p").shared, first.shared);
}

#[test]
fn a_patients_deletion_forgets_what_their_keys_were_derived_from() {
    let apart = Apart { local: Local::new() };
    apart.write(r#"{"resourceType":"Practitioner","id":"d"}"#).unwrap();
    apart.write(PATIENT).unwrap();
    let before = apart.head("p").salt;
    let delete = || apart.commit(ResourceType::Patient, "p".into(), Content::Delete).unwrap();
    delete();
    assert_ne!(apart.head("p").salt, before);
    delete();
    assert_ne!(apart.head("p").generation, "", "a deletion of what is deleted leaves no mark");
}

#[test]
fn an_event_leaves_when_nobody_relies_on_what_was_before_it() {
    let local = Local::with_lease(Ttl(320));
    let apart = Apart { local: local.clone() };
    local.pass(Ttl::from_secs(1));
    let handled = apart.write(r#"{"resourceType":"Patient","id":"p"}"#).unwrap();
    assert_eq!(handled.wait, Ttl(361), "with heads elsewhere nobody knows who was told");
    let now = local.now();
    assert_eq!(local.desk.bar(now), now);
    local.pass(handled.wait);
    assert_eq!(local.desk.bar(local.now()), UnixMillis::MAX);
}

#[test]
fn whoever_is_in_other_wards_by_a_write_is_marked_as_well() {
    let apart = Apart { local: Local::new() };
    let ward = r#"{"resourceType":"Location","id":"w","physicalType":{"coding":[{"code":"wa"}]}}"#;
    apart.write(r#"{"resourceType":"Location","id":"w"}"#).unwrap();
    apart.write(PATIENT).unwrap();
    let stay = r#"{"resourceType":"Encounter","id":"e","status":"in-progress","class":{"code":"IMP"},
        "subject":{"reference":"Patient/p"},"location":[{"location":{"reference":"Location/w"}}]}"#;
    apart.write(stay).unwrap();
    assert_eq!(apart.head("p").owner.wards, Vec::<String>::new());
    apart.write(ward).unwrap();
    assert_eq!(apart.head("p").owner.wards, ["w"]);
}

#[test]
fn a_write_whose_store_fails_says_what_it_knows() {
    let apart = Apart { local: Local::new() };
    apart.write(r#"{"resourceType":"Practitioner","id":"d"}"#).unwrap();
    apart.write(PATIENT).unwrap();
    // Reading the head, marking it, reading it again, changing it: from the commit on nothing is known any more.
    let mut kinds = Vec::new();
    for nth in 1..=4 {
        apart.local.pass(crate::time::Ttl::from_secs(60));
        let before = apart.version(ResourceType::Patient, "p").unwrap();
        apart.local.cache.fail_at(nth, Fault::Before);
        let failed = apart.write(PATIENT);
        apart.local.cache.heal();
        let written = apart.version(ResourceType::Patient, "p").unwrap() - before;
        kinds.push((failed.map(|_| ()).map_err(|error| error.kind), written));
    }
    assert_eq!(
        kinds,
        [
            (Err(Kind::Unavailable), 0),
            (Err(Kind::Unavailable), 0),
            (Err(Kind::OutcomeUnknown), 1),
            (Err(Kind::OutcomeUnknown), 1),
        ]
    );
}
