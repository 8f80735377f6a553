//! Who may see or write what, while patients move, records are deleted, and the origin answers in part.

use super::*;
use crate::chart::fences::Fence;
use crate::chart::records::Stamp;
use crate::clinic;
use crate::vitals::watch::Sample;

impl World {
    fn move_to(&self, ward: &str) -> Value {
        self.ehr.put("Location", ward, json!({ "physicalType": { "coding": [{ "code": "wa" }] } }));
        let mut stay = stay("in-progress");
        stay["location"][0]["location"]["reference"] = format!("Location/{ward}").into();
        stay
    }

    /// Where the object has them, looked at or not: what monitors say and what wards are told goes by it.
    fn wards(&self, patient: &str) -> Option<Vec<String>> {
        crate::chart::head::get(&self.local.sql, patient).unwrap().map(|head| head.owner.wards)
    }

    fn changed(&self, what: Changed) -> Result<ClinicReply> {
        block_on(self.clinic.ask(ClinicRequest::Origin(OriginRequest::Changed(what))))
    }

    /// A search for the Observations of p, to be kept as a view.
    fn fill(&self, scope: &Scope) -> Result<Filling> {
        let query = [("patient".to_owned(), "p".to_owned())];
        let search = parse(ResourceType::Observation, &query, true, "http://ours/fhir", self.local.now()).unwrap();
        let fill = Fill {
            patient: "p".into(),
            whose: Whose::Patient("p".into()),
            view: "v".into(),
            shared: false,
            hold: Ttl::from_secs(3),
            fresh: false,
            scope: scope.clone(),
            query: Query::Search { search: search.search, after: None, count: 10, total: false },
        };
        match block_on(self.clinic.ask(ClinicRequest::Fill(fill)))? {
            ClinicReply::Filling(filling) => Ok(filling),
            other => panic!("{other:?}"),
        }
    }

    fn delete(&self, scope: &Scope, kind: ResourceType, id: &str) -> Result<Committed> {
        let change = Change { kind, id: id.into(), guard: Guard::Any, write: Write::Delete };
        block_on(self.clinic.commit(batch(scope, vec![change])))
    }
}

fn ids(answer: &Answer) -> Vec<&str> {
    match answer {
        Answer::Search(records, ..) => records.iter().map(|record| record.id.as_str()).collect(),
        other => panic!("{other:?}"),
    }
}

const OUT_OF_REACH: Committed = Committed::Refused { change: 0, why: Refusal::OutOfReach };

#[test]
fn after_a_move_it_is_known_at_once_where_they_are() {
    let world = world();
    let admin = scope(Role::Admin, &[]);
    assert_eq!(world.look().heads[0].owner.wards, ["w1"]);
    let stay = world.move_to("w2");
    assert!(matches!(world.put(&admin, "Encounter", "e", Guard::Any, stay), Ok(Committed::All(_))));
    assert_eq!(world.wards("p").unwrap(), ["w2"], "nobody had to look");
    let monitor = |ward: &str| {
        let samples = vec![Sample { patient: "p".into(), at: world.local.now(), readings: Vec::new() }];
        let request = ClinicRequest::Telemetry { scope: scope(Role::Nurse, &[ward]), samples };
        match block_on(world.clinic.ask(request)).unwrap() {
            ClinicReply::Owners(owners) => owners[0].is_some(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((monitor("w1"), monitor("w2")), (false, true), "nor do its monitors speak of them");
    // A hook says so, of whom we know and of whom we do not.
    world.ehr.put("Encounter", "e", super::stay("in-progress"));
    world.changed(Changed::Patients(vec!["p".into(), "q".into()])).unwrap();
    assert_eq!((world.wards("p"), world.wards("q")), (Some(vec!["w1".to_owned()]), None));
    // What cannot be asked for now is not acknowledged; what cannot be read is left to whoever asks next.
    for (status, outcome) in [(500, Some(Kind::Unavailable)), (200, None)] {
        world.ehr.instead.replace(Some(("Encounter", status, "{}".into())));
        let told = world.changed(Changed::Patients(vec!["p".into()]));
        assert_eq!(told.err().map(|error| error.kind), outcome);
        assert!(world.known("p").heads.is_empty(), "it is done all the same");
    }
    // A write took effect, whatever can be found out of it.
    world.ehr.instead.replace(None);
    world.look();
    world.ehr.instead.replace(Some(("Encounter?", 500, "{}".into())));
    let stay = world.move_to("w2");
    assert!(matches!(world.put(&admin, "Encounter", "e", Guard::Any, stay), Ok(Committed::All(_))));
    assert!(world.known("p").heads.is_empty(), "whoever asks next asks it again");
}

#[test]
fn whom_the_origin_does_not_have_is_nobodys_outpatient_to_write_for() {
    let world = world();
    let (nurse, admin) = (scope(Role::Nurse, &["w1"]), scope(Role::Admin, &[]));
    let refused = || world.count("SELECT count(*) FROM audit WHERE outcome = 'refused'");
    world.ehr.put("Observation", "lost", observation("gone"));
    let put = |scope: &Scope| world.put(scope, "Observation", "lost", Guard::Any, observation("p")).unwrap();
    assert_eq!((put(&nurse), refused()), (OUT_OF_REACH, 1));
    assert_eq!((world.delete(&nurse, ResourceType::Observation, "lost").unwrap(), refused()), (OUT_OF_REACH, 2));
    let of_q = scope(Role::Nurse, &["w2"]);
    assert_eq!(world.put(&of_q, "Observation", "of-p", Guard::Any, observation("p")).unwrap(), OUT_OF_REACH);
    assert_eq!(refused(), 3, "each is in the audit trail");
    assert!(matches!(put(&admin), Committed::All(_)));
    // Who is made is in no ward yet, and anybody's to make.
    let made = world.put(&nurse, "Patient", "new", Guard::Absent, json!({ "active": true })).unwrap();
    assert!(matches!(made, Committed::All(_)));
    assert_eq!((world.wards("new"), refused()), (Some(Vec::new()), 3));
}

#[test]
fn a_location_that_may_have_changed_and_a_restore_leave_nobody_known() {
    let world = world();
    world.look();
    assert_eq!(world.known("p").heads.len(), 1);
    world.ehr.fault.set(Fault::After);
    let lost = world.put(&scope(Role::Admin, &[]), "Location", "bed", Guard::Any, json!({ "name": "b" }));
    assert_eq!(lost.unwrap_err().kind, Kind::OutcomeUnknown);
    world.local.pass(intents::MARK);
    assert!(world.known("p").heads.is_empty());
    assert!(world.look().heads[0].owner.wards.is_empty(), "the bed is in no ward any more");
    let admin = scope(Role::Admin, &[]);
    let in_ward = json!({ "partOf": { "reference": "Location/w1" } });
    assert!(matches!(world.put(&admin, "Location", "bed", Guard::Any, in_ward), Ok(Committed::All(_))));
    assert!(world.known("p").heads.is_empty());
    assert_eq!(world.look().heads[0].owner.wards, ["w1"]);
    let now = world.local.now();
    clinic::catch_up(&world.local.sql, &world.local.entropy, now, now).unwrap();
    assert!(world.known("p").heads.is_empty());
}

#[test]
fn a_transaction_is_held_to_what_it_was_judged_by_in_each_of_its_parts() {
    let world = world();
    let admin = scope(Role::Admin, &[]);
    let both = |guard, id: &str| {
        let changes = vec![
            world.change("Observation", "of-p", Guard::Any, observation("p")),
            world.change("Observation", id, guard, observation("q")),
        ];
        block_on(world.clinic.commit(batch(&admin, changes)))
    };
    let versions = |committed| match committed {
        Ok(Committed::All(stamps)) => stamps.iter().map(|stamp: &Stamp| stamp.version).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(versions(both(Guard::Any, "of-q")), [2, 2]);
    assert_eq!(versions(both(Guard::Absent, "an-id-of-the-servers-choosing")), [3, 1]);
    // Somebody else may make it meanwhile, and no transaction could say that it must not be there.
    assert_eq!(both(Guard::Any, "none").unwrap_err().kind, Kind::NotSupported);
    assert_eq!(version(&world.ehr.records.borrow()["Observation/of-p"]), 3);
    assert!(!world.look().writing);
}

#[test]
fn a_view_of_one_patient_is_the_same_whoever_fills_it() {
    let world = world();
    let (ward, elsewhere) = (scope(Role::Nurse, &["w1"]), scope(Role::Nurse, &["w2"]));
    world.look();
    // They have been moved behind our back, and while the view is filled it is time to ask again.
    world.ehr.put("Encounter", "e", world.move_to("w2"));
    world.local.pass(Ttl(3_600_000 - 1));
    world.ehr.slow.set(("Observation?", Ttl(2)));
    let asked = world.local.asked.get();
    let Filling::Granted { answer, token, .. } = world.fill(&ward).unwrap() else { panic!() };
    assert_eq!(ids(&answer), ["of-p"]);
    assert_eq!(world.local.asked.get(), asked + 1, "and nobody was looked at for it");
    let view = "v".to_owned();
    block_on(Clinic::ask(&world.local, ClinicRequest::GiveBack { view, token })).unwrap();
    world.look();
    // Whoever does not reach them by the head is answered alone, and the next may fill it.
    let Filling::Unkept { answer } = world.fill(&ward).unwrap() else { panic!() };
    assert!(ids(&answer).is_empty());
    assert!(matches!(world.fill(&elsewhere), Ok(Filling::Granted { .. })));
}

#[test]
fn each_patient_of_a_search_is_looked_at_once() {
    let world = world();
    for id in ["a", "b", "c"] {
        world.ehr.put("Observation", id, observation("p"));
    }
    let ward = scope(Role::Nurse, &["w1"]);
    let all = ["a", "b", "c", "of-p", "of-q"];
    assert_eq!(world.search(&ward, &[]).unwrap().0, all);
    let asked = world.local.asked.get();
    assert_eq!(world.search(&ward, &[]).unwrap().0, all);
    assert_eq!(world.local.asked.get(), asked + 2);
}

#[test]
fn a_write_that_is_late_is_not_sent() {
    let world = world();
    let nurse = scope(Role::Nurse, &["w1"]);
    let put = || world.put(&nurse, "Observation", "of-p", Guard::Any, observation("p"));
    assert!(matches!(put(), Ok(Committed::All(_))));
    for (takes, sent) in [(intents::SENT, true), (Ttl(intents::SENT.0 + 1), false)] {
        let before = version(&world.ehr.records.borrow()["Observation/of-p"]);
        // It is refused with the old token, and a new one takes its time.
        world.ehr.slow.set(("token", takes));
        world.ehr.fault.set(Fault::SignedOut);
        let outcome = put();
        let after = version(&world.ehr.records.borrow()["Observation/of-p"]);
        assert_eq!((after > before, outcome.is_ok()), (sent, sent));
        assert!(outcome.is_ok_and(|done| matches!(done, Committed::All(_))) == sent);
        assert!(!world.look().writing, "nothing is on its way");
    }
}

#[test]
fn what_was_known_of_where_they_are_opens_nothing() {
    let world = world();
    let (ward, admin) = (scope(Role::Nurse, &["w1"]), scope(Role::Admin, &[]));
    world.look();
    world.local.pass(Ttl::from_secs(3_600));
    world.ehr.instead.replace(Some(("Encounter", 500, "{}".into())));
    let away = |error: Error| assert_eq!(error.kind, Kind::Unavailable);
    let looked = world.look();
    assert_eq!((looked.heads.len(), looked.due.is_some()), (1, true), "views that are kept may be used");
    away(world.read(&ward, ResourceType::Observation, "of-p").unwrap_err());
    assert!(matches!(world.read(&admin, ResourceType::Observation, "of-p"), Ok(Answer::Found(_))));
    away(world.put(&ward, "Observation", "of-p", Guard::Any, observation("p")).unwrap_err());
    assert!(matches!(world.read(&admin, ResourceType::Observation, "of-p"), Ok(Answer::Found(_))));
    away(world.search(&ward, &[]).unwrap_err());
    assert!(matches!(world.read(&admin, ResourceType::Observation, "of-p"), Ok(Answer::Found(_))));
    away(world.fill(&ward).unwrap_err());
    assert_eq!(version(&world.ehr.records.borrow()["Observation/of-p"]), 1);
}

#[test]
fn what_is_deleted_in_between_shuts_nobody_out() {
    let world = world();
    let mut stay = world.move_to("w1");
    stay["location"].as_array_mut().unwrap().push(json!({ "location": { "reference": "Location/bed" } }));
    world.ehr.put("Encounter", "e", stay);
    world.ehr.instead.replace(Some(("Location/bed", 410, "{}".into())));
    assert_eq!(world.look().heads[0].owner.wards, ["w1"]);
}

#[test]
fn whom_nobody_has_leaves_no_trace() {
    let world = world();
    let nurse = scope(Role::Nurse, &["w1"]);
    world.look();
    for id in ["x", "y"] {
        world.ehr.put("Observation", id, observation(&format!("no-{id}")));
        assert_eq!(world.read(&nurse, ResourceType::Observation, id).unwrap(), Answer::OutOfReach);
    }
    let tables = || (world.count("SELECT count(*) FROM learned"), world.count("SELECT count(*) FROM heads"));
    assert_eq!(tables(), (1, 1));
    // Whom it had is not known any more.
    world.ehr.records.borrow_mut().remove("Patient/p");
    world.local.pass(Ttl::from_secs(3_600));
    assert!(world.look().heads.is_empty());
    world.local.pass(Ttl(1));
    assert!(world.known("p").heads.is_empty());
    assert_eq!(tables(), (1, 1));
}

#[test]
fn a_hook_voids_what_it_says_and_nothing_else() {
    let world = world();
    let before = world.look().heads[0].clone();
    world.changed(Changed::Shared { places: false }).unwrap();
    let after = world.known("p").heads[0].clone();
    assert_eq!((&after.generation, &after.owner), (&before.generation, &before.owner), "where they are is known");
    assert_ne!(after.shared, before.shared);
    world.changed(Changed::Shared { places: true }).unwrap();
    assert!(world.known("p").heads.is_empty());
    assert_eq!(world.look().heads[0].generation, before.generation);
    world.changed(Changed::Anything).unwrap();
    assert_ne!(world.look().heads[0].generation, before.generation);
}

#[test]
fn what_it_does_not_do_is_no_outage() {
    let world = world();
    let nurse = scope(Role::Nurse, &["w1"]);
    world.look();
    world.ehr.instead.replace(Some(("Observation", 501, "{}".into())));
    for _ in 0..4 {
        let refused = world.read(&nurse, ResourceType::Observation, "of-p").unwrap_err();
        assert_eq!(refused.kind, Kind::Outside(501));
    }
    world.ehr.instead.replace(None);
    assert!(matches!(world.read(&nurse, ResourceType::Observation, "of-p"), Ok(Answer::Found(_))));
}

#[test]
fn a_fence_of_before_a_restore_writes_nothing() {
    let world = world();
    let nurse = scope(Role::Nurse, &["w1"]);
    let put = |fence| {
        let change = world.change("Observation", "of-p", Guard::Any, observation("p"));
        let fences = vec![Fence { name: "f".into(), fence }];
        block_on(world.clinic.commit(Batch { fences, ..batch(&nurse, vec![change]) })).unwrap()
    };
    assert!(matches!(put(1), Committed::All(_)));
    let now = world.local.now();
    clinic::catch_up(&world.local.sql, &world.local.entropy, now, now).unwrap();
    assert_eq!(put(2), Committed::Refused { change: 0, why: Refusal::StaleFence });
    assert!(matches!(put(now.0 * 1_024 + 1), Committed::All(_)));
}
