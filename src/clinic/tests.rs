use super::courier::Courier;
use super::*;
use crate::access::{Action, Principal, Role, decide};
use crate::channel::{Topic, history};
use crate::chart::head;
use crate::chart::records::{Batch, Committed, Guard, Query, Refusal, Write};
use crate::fhir::search::{Search, parse};
use crate::fhir::{Resource, ResourceType};
use crate::testing::{Local, block_on};
use crate::time::Clock;

impl Local {
    fn ask(&self, request: ClinicRequest) -> Result<ClinicReply> {
        handle(&self.sql, &self.desk, &self.entropy, &self.watch, self.clock.now(), &request)
            .map(|handled| handled.reply)
    }

    fn commit(&self, who: &Principal, changes: Vec<chart::records::Change>) -> Committed {
        let action = Action::WriteRecords { kind: "Observation", shared: false, create: true };
        let batch =
            Batch::new(decide(who, action).unwrap(), Actor { user: who.user.clone(), request: "r".into() }, changes);
        match self.ask(ClinicRequest::Commit(batch)).unwrap() {
            ClinicReply::Committed(committed) => committed,
            other => panic!("{other:?}"),
        }
    }

    fn count(&self, statement: &str) -> u64 {
        self.sql.first(statement, &[]).unwrap().unwrap().number().unwrap()
    }

    fn generation(&self, patient: &str) -> Option<String> {
        head::get(&self.sql, patient).unwrap().map(|head| head.generation)
    }

    fn wards(&self, patient: &str) -> Vec<String> {
        head::get(&self.sql, patient).unwrap().unwrap().owner.wards
    }

    fn events(&self, topic: &str) -> Vec<String> {
        let topics = self.topics.borrow();
        let Some(log) = topics.get(&Topic::parse(topic).unwrap()) else { return Vec::new() };
        history::page(log, None, 1_000).unwrap().unwrap().events.into_iter().map(|logged| logged.event.id).collect()
    }
}

fn who(role: Role, wards: &[&str]) -> Principal {
    Principal {
        user: format!("{role:?}"),
        name: "N".into(),
        role,
        patient: None,
        wards: wards.iter().map(|ward| (*ward).to_owned()).collect(),
        patients: Vec::new(),
    }
}

fn put(json: &str, guard: Guard) -> chart::records::Change {
    let mut resource = Resource::parse(json.as_bytes()).unwrap();
    let id = resource.id().unwrap().to_owned();
    chart::records::Change {
        kind: resource.kind(),
        id,
        guard,
        write: Write::put(&mut resource, UnixMillis(1_764_000_000_000)).unwrap(),
    }
}

fn patient(id: &str) -> chart::records::Change {
    put(&format!(r#"{{"resourceType":"Patient","id":"{id}"}}"#), Guard::Any)
}

fn observation(id: &str, patient: &str) -> chart::records::Change {
    let json = format!(
        r#"{{"resourceType":"Observation","id":"{id}","status":"final","code":{{"text":"hr"}},
            "subject":{{"reference":"Patient/{patient}"}},"valueQuantity":{{"value":71.50}}}}"#
    );
    put(&json, Guard::Any)
}

fn location(id: &str, ward: bool, part_of: Option<&str>) -> chart::records::Change {
    let kind = if ward { "wa" } else { "bd" };
    let part_of = part_of.map(|id| format!(r#","partOf":{{"reference":"Location/{id}"}}"#)).unwrap_or_default();
    let json = format!(
        r#"{{"resourceType":"Location","id":"{id}","physicalType":{{"coding":[{{"code":"{kind}"}}]}}{part_of}}}"#
    );
    put(&json, Guard::Any)
}

fn stay(id: &str, patient: &str, location: &str, status: &str) -> chart::records::Change {
    let json = format!(
        r#"{{"resourceType":"Encounter","id":"{id}","status":"{status}","class":{{"code":"IMP"}},
            "subject":{{"reference":"Patient/{patient}"}},
            "location":[{{"location":{{"reference":"Location/{location}"}}}}]}}"#
    );
    put(&json, Guard::Any)
}

fn refused(committed: Committed) -> Refusal {
    match committed {
        Committed::Refused { why, .. } => why,
        other => panic!("committed {other:?}"),
    }
}

#[test]
fn a_write_changes_the_head_the_outbox_and_the_audit_trail_with_the_record() {
    let world = Local::new();
    let admin = who(Role::Admin, &[]);
    world.commit(&admin, vec![patient("p")]);
    let before = world.generation("p").unwrap();
    world.commit(&admin, vec![observation("o", "p")]);
    assert_ne!(world.generation("p").unwrap(), before);
    assert_eq!(world.count("SELECT count(*) FROM outbox WHERE topic = 'patient/p'"), 1);
    assert_eq!(world.count("SELECT count(*) FROM audit WHERE entity = 'Observation/o/_history/1' AND action = 'C'"), 1);
}

#[test]
fn a_refused_batch_leaves_nothing_but_the_audit_row_of_an_intrusion() {
    let world = Local::new();
    let admin = who(Role::Admin, &[]);
    world.commit(&admin, vec![patient("p"), location("w1", true, None)]);
    world.commit(&admin, vec![stay("e", "p", "w1", "in-progress")]);
    let tables = || {
        ["resources", "history", "outbox", "compartments"]
            .map(|table| world.count(&format!("SELECT count(*) FROM {table}")))
    };
    let (before, generation) = (tables(), world.generation("p"));

    let stale = chart::records::Change { guard: Guard::Version(7), ..observation("x", "p") };
    assert_eq!(refused(world.commit(&admin, vec![observation("y", "p"), stale])), Refusal::Changed);
    assert_eq!(refused(world.commit(&admin, vec![observation("y", "nobody")])), Refusal::NoSuchPatient);
    let taken = chart::records::Change { guard: Guard::Absent, ..patient("p") };
    assert_eq!(refused(world.commit(&admin, vec![taken])), Refusal::Exists);
    let stranger = who(Role::Nurse, &["w2"]);
    assert_eq!(world.count("SELECT count(*) FROM audit WHERE outcome = 'refused'"), 0);
    assert_eq!(refused(world.commit(&stranger, vec![observation("y", "p")])), Refusal::OutOfReach);
    assert_eq!(world.count("SELECT count(*) FROM audit WHERE outcome = 'refused'"), 1);

    assert_eq!((tables(), world.generation("p")), (before, generation));
}

#[test]
fn versions_history_and_deletion() {
    let world = Local::new();
    let admin = who(Role::Admin, &[]);
    world.commit(&admin, vec![patient("p")]);
    for _ in 0..3 {
        world.commit(&admin, vec![observation("o", "p")]);
    }
    let delete =
        |kind, id: &str| chart::records::Change { kind, id: id.into(), guard: Guard::Any, write: Write::Delete };
    assert_eq!(refused(world.commit(&admin, vec![delete(ResourceType::Patient, "p")])), Refusal::StillReferred);
    assert_eq!(refused(world.commit(&admin, vec![delete(ResourceType::Observation, "none")])), Refusal::Missing);
    let Committed::All(stamps) = world.commit(&admin, vec![delete(ResourceType::Observation, "o")]) else { panic!() };
    assert_eq!(stamps[0].version, 4);
    let Committed::All(again) = world.commit(&admin, vec![delete(ResourceType::Observation, "o")]) else { panic!() };
    assert_eq!(again[0].version, 4);
    assert!(matches!(world.commit(&admin, vec![delete(ResourceType::Patient, "p")]), Committed::All(_)));

    let scope = decide(&admin, Action::ReadRecords { kind: "Observation", shared: false }).unwrap();
    let kind = ResourceType::Observation;
    let ask = |query| chart::run(&world.sql, &scope, &query).unwrap();
    let history = |below| match ask(Query::History { kind, id: "o".into(), below, count: 3 }) {
        Answer::Several(records, more) => (records.iter().map(|record| record.version).collect::<Vec<_>>(), more),
        other => panic!("{other:?}"),
    };
    assert_eq!(history(None), (vec![4, 3, 2], true));
    assert_eq!(history(Some(2)), (vec![1], false));
    let read = |version| match ask(Query::Read { kind, id: "o".into(), version }) {
        Answer::Found(found) => found.record.body,
        other => panic!("{other:?}"),
    };
    assert_eq!(read(None), None);
    assert!(read(Some(2)).unwrap().contains(r#""versionId":"2""#));
    assert!(read(Some(2)).unwrap().contains("71.50"));
    assert_eq!(ask(Query::Read { kind, id: "o".into(), version: Some(9) }), Answer::Missing);
}

#[test]
fn a_patient_is_in_the_wards_that_their_stay_leads_up_to() {
    let world = Local::new();
    let admin = who(Role::Admin, &[]);
    world.commit(&admin, vec![patient("p"), location("w1", true, None), location("bed", false, Some("w1"))]);
    assert!(world.wards("p").is_empty());
    world.commit(&admin, vec![stay("e", "p", "bed", "in-progress")]);
    assert_eq!(world.wards("p"), ["w1"]);
    world.commit(&admin, vec![location("w2", true, None), location("bed", false, Some("w2"))]);
    assert_eq!(world.wards("p"), ["w2"]);
    world.commit(&admin, vec![stay("e", "p", "bed", "finished")]);
    assert!(world.wards("p").is_empty());
}

#[test]
fn a_circle_of_places_has_an_end() {
    let world = Local::new();
    let admin = who(Role::Admin, &[]);
    world.commit(&admin, vec![patient("p"), location("a", true, Some("b")), location("b", true, Some("a"))]);
    world.commit(&admin, vec![stay("e", "p", "a", "in-progress")]);
    assert_eq!(world.wards("p"), ["a", "b"]);
}

fn find(kind: ResourceType, name: &str, value: &str) -> Search {
    let query: Vec<_> =
        [(name.to_owned(), value.to_owned())].into_iter().filter(|(name, _)| !name.is_empty()).collect();
    parse(kind, &query, true, "", UnixMillis(0)).unwrap().search
}

#[test]
fn a_search_finds_only_what_is_reached() {
    let world = Local::new();
    let admin = who(Role::Admin, &[]);
    world.commit(&admin, vec![location("w1", true, None), location("w2", true, None)]);
    for number in 0..450 {
        let id = format!("p{number:03}");
        world.commit(&admin, vec![patient(&id)]);
        let ward = if number % 9 == 0 { "w1" } else { "w2" };
        world.commit(&admin, vec![stay(&format!("e{number}"), &id, ward, "in-progress")]);
    }
    let scope = decide(&who(Role::Nurse, &["w1"]), Action::ReadRecords { kind: "Patient", shared: false }).unwrap();
    let page = |after| {
        let query = Query::Search { search: find(ResourceType::Patient, "", ""), after, count: 30, total: true };
        match chart::run(&world.sql, &scope, &query).unwrap() {
            Answer::Search(records, next, total) => (records, next, total),
            other => panic!("{other:?}"),
        }
    };
    let (first, next, total) = page(None);
    assert_eq!((first.len(), next.is_some(), total), (30, true, Some(50)));
    let (second, next, total) = page(next);
    assert_eq!((second.len(), next.is_some(), total), (20, false, Some(50)));
    let search = find(ResourceType::Encounter, "patient", "p009");
    assert_eq!(search.confined.as_deref(), Some("p009"));
    let query = Query::Search { search, after: None, count: 10, total: false };
    assert!(
        matches!(chart::run(&world.sql, &scope, &query).unwrap(), Answer::Search(records, None, None) if records.len() == 1)
    );
}

#[test]
fn events_reach_patient_and_ward_once_though_topics_fail_and_replies_are_lost() {
    let world = Local::new();
    let admin = who(Role::Admin, &[]);
    let courier = Courier::default();
    world.commit(&admin, vec![patient("p"), location("w1", true, None)]);
    world.commit(&admin, vec![stay("e", "p", "w1", "in-progress")]);
    world.unreachable.set(true);
    world.commit(&admin, vec![observation("a", "p")]);
    assert!(!block_on(courier.run(&world.sql, &world, UnixMillis::MAX)).unwrap());
    world.commit(&admin, vec![observation("b", "p")]);
    world.unreachable.set(false);
    world.reply_lost.set(true);
    assert!(!block_on(courier.run(&world.sql, &world, UnixMillis::MAX)).unwrap());
    assert!(block_on(courier.run(&world.sql, &world, UnixMillis::MAX)).unwrap());
    for topic in ["patient/p", "ward/w1"] {
        assert_eq!(world.events(topic), ["Observation/a/_history/1", "Observation/b/_history/1"], "{topic}");
    }
}
