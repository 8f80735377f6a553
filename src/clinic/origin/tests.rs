//! The clinic in front of an origin that does what it is told, wrongly too.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use serde_json::{Value, json};

use self::ehr::{Ehr, Fault, version};
use super::client::Link;
use super::*;
use crate::access::audit::Actor;
use crate::access::{Action, Principal, Role, Scope, decide};
use crate::chart::records::{Answer, Batch, Change, Committed, Guard, Refusal, Write};
use crate::clinic::Away;
use crate::config::origin::{Origin, SignIn};
use crate::fhir::search::parse;
use crate::fhir::{Resource, ResourceType};
use crate::store::sql::Sql;
use crate::testing::{Local, SoftCipher, block_on};
use crate::time::{Clock, Ttl};

mod ehr;
mod faults;
mod reach;

const URL: &str = "http://ehr.internal:8080/r4";

struct World {
    ehr: Rc<Ehr>,
    local: Local,
    clinic: AtOrigin<Local, Rc<Ehr>, SoftCipher>,
}

/// A clinic's object and the origin beside it, with two patients, one of them in a ward.
fn beside(away: Away) -> (Local, Rc<Ehr>) {
    let local = Local::at_origin(away);
    let ehr = Rc::new(Ehr {
        local: local.clone(),
        records: RefCell::default(),
        fault: Cell::new(Fault::None),
        instead: RefCell::default(),
        slow: Cell::new(("-", Ttl(0))),
        token: RefCell::new("first".into()),
        lives: Cell::new(3_600),
        grants: Cell::new(true),
        knows: Cell::new(true),
        landed: RefCell::default(),
        asked: Cell::new(0),
        notes: RefCell::default(),
    });
    ehr.put("Location", "w1", json!({ "physicalType": { "coding": [{ "code": "wa" }] } }));
    ehr.put("Location", "bed", json!({ "partOf": { "reference": format!("{URL}/Location/w1") } }));
    for id in ["p", "q"] {
        ehr.put("Patient", id, json!({ "active": true }));
        ehr.put("Observation", &format!("of-{id}"), observation(id));
    }
    ehr.put("Encounter", "e", stay("in-progress"));
    (local, ehr)
}

fn access() -> Origin {
    let sign_in = SignIn::Credentials { url: "http://ehr.internal/token".into(), form: "client_secret=s".into() };
    Origin { url: URL.into(), sign_in, hook_key: None, links: [7; 32] }
}

fn world() -> World {
    let (local, ehr) = beside(Away { fresh: Ttl::from_secs(3_600), stale: Ttl::from_secs(60) });
    let client = Client::new(Rc::clone(&ehr), Rc::new(access()), Rc::<Link>::default());
    World { clinic: AtOrigin { clinic: local.clone(), client, cipher: SoftCipher::new(3) }, local, ehr }
}

fn observation(patient: &str) -> Value {
    json!({ "resourceType": "Observation", "status": "final", "code": { "text": "x" }, "subject": { "reference": format!("Patient/{patient}") } })
}

fn stay(status: &str) -> Value {
    json!({ "status": status, "class": { "code": "IMP" }, "subject": { "reference": "Patient/p" },
        "location": [{ "location": { "reference": "Location/bed" } }] })
}

fn scope(role: Role, wards: &[&str]) -> Scope {
    let wards = wards.iter().map(|ward| (*ward).to_owned()).collect();
    let patient = (role == Role::Patient).then(|| "p".to_owned());
    let principal = Principal { user: "u".into(), name: "U".into(), role, patient, wards, patients: Vec::new() };
    let write = role != Role::Patient;
    let action = match write {
        true => Action::WriteRecords { kind: "Observation", shared: false, create: false },
        false => Action::ReadRecords { kind: "Observation", shared: false },
    };
    decide(&principal, action).unwrap()
}

fn change(now: UnixMillis, kind: &str, id: &str, guard: Guard, mut resource: Value) -> Change {
    resource["resourceType"] = kind.into();
    resource["id"] = id.into();
    let mut resource = Resource::parse(resource.to_string().as_bytes()).unwrap();
    let write = Write::put(&mut resource, now).unwrap();
    Change { kind: resource.kind(), id: id.into(), guard, write }
}

fn batch(scope: &Scope, changes: Vec<Change>) -> Batch {
    Batch::new(scope.clone(), Actor { user: "u".into(), request: "r".into() }, changes)
}

impl World {
    fn read(&self, scope: &Scope, kind: ResourceType, id: &str) -> Result<Answer> {
        block_on(self.clinic.query(scope.clone(), Query::Read { kind, id: id.into(), version: None }))
    }

    fn search(&self, scope: &Scope, query: &[(&str, &str)]) -> Result<(Vec<String>, bool)> {
        let query: Vec<_> = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let search =
            parse(ResourceType::Observation, &query, true, "http://ours/fhir", self.local.now()).unwrap().search;
        match block_on(
            self.clinic.query(scope.clone(), Query::Search { search, after: None, count: 10, total: false }),
        )? {
            Answer::Search(records, next, _) => {
                Ok((records.into_iter().map(|record| record.id).collect(), next.is_some()))
            }
            other => panic!("{other:?}"),
        }
    }

    fn put(&self, scope: &Scope, kind: &str, id: &str, guard: Guard, resource: Value) -> Result<Committed> {
        block_on(self.clinic.commit(batch(scope, vec![self.change(kind, id, guard, resource)])))
    }

    fn change(&self, kind: &str, id: &str, guard: Guard, resource: Value) -> Change {
        change(self.local.now(), kind, id, guard, resource)
    }

    fn look(&self) -> Looked {
        let whose = Whose::Patient("p".into());
        match block_on(self.clinic.ask(ClinicRequest::Look { whose, version: false })).unwrap() {
            ClinicReply::Looked(looked) => looked,
            other => panic!("{other:?}"),
        }
    }

    /// What the object knows by itself.
    fn known(&self, patient: &str) -> Looked {
        let whose = Whose::Patient(patient.into());
        match block_on(Clinic::ask(&self.local, ClinicRequest::Look { whose, version: false })).unwrap() {
            ClinicReply::Looked(looked) => looked,
            other => panic!("{other:?}"),
        }
    }

    fn generation(&self) -> String {
        self.look().heads[0].generation.clone()
    }

    fn count(&self, statement: &str) -> u64 {
        self.local.sql.first(statement, &[]).unwrap().unwrap().number().unwrap()
    }
}

#[test]
fn who_reaches_whom_follows_from_where_the_origin_says_they_are() {
    let world = world();
    let (ward, elsewhere, own) = (scope(Role::Nurse, &["w1"]), scope(Role::Nurse, &["w2"]), scope(Role::Patient, &[]));
    let observation = |scope, id: &str| world.read(scope, ResourceType::Observation, id).unwrap();
    assert_eq!(world.look().heads[0].owner.wards, ["w1"]);
    assert!(matches!(observation(&ward, "of-p"), Answer::Found(_)));
    assert_eq!(observation(&elsewhere, "of-p"), Answer::OutOfReach);
    assert!(matches!(observation(&elsewhere, "of-q"), Answer::Found(_)), "an outpatient");
    assert!(matches!(observation(&own, "of-p"), Answer::Found(_)));
    assert_eq!(observation(&own, "of-q"), Answer::OutOfReach);
    assert_eq!(world.search(&elsewhere, &[]).unwrap().0, ["of-q"]);
    assert_eq!(world.search(&ward, &[]).unwrap().0, ["of-p", "of-q"]);
    // Whom the origin does not have is nobody's outpatient.
    world.ehr.put("Observation", "lost", self::observation("gone"));
    assert_eq!(observation(&ward, "lost"), Answer::OutOfReach);
    assert_eq!(world.search(&ward, &[]).unwrap().0, ["of-p", "of-q"]);
}

#[test]
fn what_cannot_be_found_out_is_refused() {
    let world = world();
    let nurse = scope(Role::Nurse, &["w2"]);
    for path in ["Encounter", "Location/w1", "Patient/p"] {
        world.ehr.instead.replace(Some((path, 500, "{}".into())));
        assert!(
            world.read(&nurse, ResourceType::Observation, "of-p").is_err_and(|error| error.kind == Kind::Unavailable)
        );
        world.ehr.instead.replace(None);
        // The breaker is given time to look.
        world.local.pass(Ttl::from_secs(6));
    }
    assert_eq!(world.read(&nurse, ResourceType::Observation, "of-p").unwrap(), Answer::OutOfReach);
    // What is known of where somebody is, is believed for the lifetime of a view.
    world.ehr.put("Encounter", "e", stay("finished"));
    assert_eq!(world.read(&nurse, ResourceType::Observation, "of-p").unwrap(), Answer::OutOfReach);
    world.local.pass(Ttl::from_secs(3_600));
    assert!(matches!(world.read(&nurse, ResourceType::Observation, "of-p").unwrap(), Answer::Found(_)));
}

#[test]
fn an_origin_that_answers_something_else_leaks_nothing() {
    let world = world();
    let nurse = scope(Role::Nurse, &["w1"]);
    let bundle = |link: &str| {
        let entry = |id: &str| json!({ "resource": world.ehr.records.borrow()[&format!("Observation/{id}")] });
        json!({ "resourceType": "Bundle", "type": "searchset", "link": [{ "relation": "next", "url": link }],
            "entry": [entry("of-p"), entry("of-q")] })
        .to_string()
    };
    let answered = |body: String| {
        world.ehr.instead.replace(Some(("Observation?", 200, body)));
        world.search(&nurse, &[("patient", "p")])
    };
    assert_eq!(answered(bundle(&format!("{URL}?_getpages=1"))).unwrap(), (vec!["of-p".to_owned()], true));
    for body in [bundle("http://elsewhere/r4?page=2"), bundle(&format!("{URL}.elsewhere/x")), "{}".into(), "no".into()]
    {
        assert_eq!(answered(body).unwrap_err().kind, Kind::BadOrigin);
    }
    let outcome = json!({ "resourceType": "OperationOutcome",
        "issue": [{ "severity": "error", "code": "invalid", "diagnostics": format!("see {URL}/Observation and {URL}") }] });
    world.ehr.instead.replace(Some(("Observation?", 400, outcome.to_string())));
    let refused = world.search(&nurse, &[("patient", "p")]).unwrap_err();
    assert_eq!((refused.kind, refused.to_string().contains("ehr")), (Kind::Outside(400), false));
    let told = refused.message;
    assert!(told.contains("see Observation and") && !told.contains("ehr.internal"), "{told}");
    world.ehr.put(
        "Observation",
        "of-p",
        json!({ "status": "final", "code": { "text": format!("{URL}/x") },
        "subject": { "reference": format!("{URL}/Patient/p") } }),
    );
    world.ehr.instead.replace(None);
    let Answer::Found(found) = world.read(&nurse, ResourceType::Observation, "of-p").unwrap() else { panic!() };
    let body = found.record.body.unwrap();
    assert!(body.contains(r#""reference":"Patient/p""#) && !body.contains("ehr.internal"), "{body}");
}

#[test]
fn a_write_is_sent_once_and_what_is_not_known_counts_as_a_change() {
    let world = world();
    let nurse = scope(Role::Nurse, &["w1"]);
    let change = |guard| world.put(&nurse, "Observation", "of-p", guard, observation("p"));
    let before = world.generation();
    let Ok(Committed::All(stamps)) = change(Guard::Version(1)) else { panic!() };
    assert_eq!(stamps[0].version, 2);
    let after = world.generation();
    assert_ne!(before, after);
    for (guard, why) in [(Guard::Version(1), Refusal::Changed), (Guard::Absent, Refusal::Exists)] {
        assert_eq!(change(guard), Ok(Committed::Refused { change: 0, why }));
    }
    assert_eq!(
        world.put(&nurse, "Observation", "of-p", Guard::Any, observation("nobody")).unwrap(),
        Committed::Refused { change: 0, why: Refusal::NoSuchPatient }
    );
    let elsewhere = scope(Role::Nurse, &["w2"]);
    let refused = world.put(&elsewhere, "Observation", "of-p", Guard::Any, observation("q")).unwrap();
    assert_eq!(
        refused,
        Committed::Refused { change: 0, why: Refusal::OutOfReach },
        "a record cannot be taken from a patient"
    );
    // The origin says that it did nothing: nothing has changed, and nothing is on its way.
    world.ehr.fault.set(Fault::Busy);
    assert_eq!(change(Guard::Any).unwrap_err().kind, Kind::Unavailable);
    assert!(!world.look().writing && world.generation() == after);
    let (events, audited) = (
        "SELECT count(*) FROM outbox WHERE data LIKE '%unknown%'",
        "SELECT count(*) FROM audit WHERE outcome = 'unknown'",
    );
    for (round, fault) in [Fault::Before, Fault::After].into_iter().enumerate() {
        let (before, asked) = (world.generation(), world.ehr.asked.get());
        world.ehr.fault.set(fault);
        assert_eq!(change(Guard::Any).unwrap_err().kind, Kind::OutcomeUnknown);
        assert!(world.ehr.asked.get() <= asked + 2, "one look, one try");
        assert!(world.look().writing, "until it is known nothing is kept");
        world.local.pass(Ttl(intents::MARK.0 - 1));
        assert!(world.look().writing);
        world.local.pass(Ttl(1));
        let looked = world.look();
        assert!(!looked.writing && looked.heads[0].generation != before);
        let round = u64::try_from(round).unwrap() + 1;
        assert!(world.count(events) >= round && world.count(audited) == round);
    }
    let key = "Observation/of-p".to_owned();
    assert_eq!(version(&world.ehr.records.borrow()[&key]), 3, "the one whose answer was lost had taken effect");
}

#[test]
fn what_the_origin_does_not_promise_is_not_asked_of_it() {
    let world = world();
    let admin = scope(Role::Admin, &[]);
    let refused = |kind: &str, guard| {
        let body = json!({ "status": "active", "use": "claim", "type": { "text": "x" }, "created": "2026-01-01",
            "patient": { "reference": "Patient/p" }, "provider": { "reference": "Organization/o" },
            "priority": { "text": "x" }, "insurance": [{ "sequence": 1, "focal": true, "coverage": { "display": "x" } }] });
        world.put(&admin, kind, "c", guard, body).map(drop)
    };
    assert_eq!(refused("Claim", Guard::Absent).unwrap_err().kind, Kind::Misconfigured, "no creation under an id");
    let asked = world.ehr.asked.get();
    assert!(
        world
            .put(&admin, "Condition", "c", Guard::Any, json!({ "subject": { "reference": "Patient/p" } }))
            .is_err_and(|error| error.kind == Kind::Misconfigured)
    );
    assert_eq!(world.ehr.asked.get(), asked, "its statement is known");
}

#[test]
fn a_token_is_had_anew_once_when_it_is_refused_and_before_it_ends() {
    let world = world();
    let nurse = scope(Role::Nurse, &["w1"]);
    let read = || {
        let asked = world.ehr.asked.get();
        let found = world.read(&nurse, ResourceType::Observation, "of-p");
        (
            found.map(|found| matches!(found, Answer::Found(_))).map_err(|error| error.kind),
            world.ehr.asked.get() - asked,
        )
    };
    world.ehr.lives.set(40);
    assert_eq!(read().0, Ok(true));
    world.ehr.token.replace("second".into());
    assert_eq!(read(), (Ok(true), 3), "refused, a new token, answered");
    // The last 30 s of its time it is not used.
    world.local.pass(Ttl(9_999));
    assert_eq!(read(), (Ok(true), 1));
    world.local.pass(Ttl(1));
    assert_eq!(read(), (Ok(true), 2), "a new token, answered");
    // Where none is to be had nothing else is asked.
    world.local.pass(Ttl::from_secs(10));
    world.ehr.grants.set(false);
    assert_eq!(read(), (Err(Kind::Misconfigured), 1));
    assert_eq!(world.ehr.notes.borrow().last(), Some(&"the token endpoint of ORIGIN_TOKEN_URL gives no token"));
    world.ehr.grants.set(true);
    assert_eq!(read(), (Ok(true), 2));
    // One that is refused although it is new is not asked for over and over.
    world.ehr.knows.set(false);
    assert_eq!(read(), (Err(Kind::Misconfigured), 3));
}

#[test]
fn an_answer_of_before_a_move_does_not_say_where_they_are() {
    let world = world();
    let tell = |request| {
        block_on(Clinic::ask(&world.local, ClinicRequest::Origin(request))).unwrap();
    };
    let look = || world.known("p");
    let learn = |asked| tell(OriginRequest::Learn { patient: "p".into(), wards: Some(vec!["w1".into()]), asked });
    let asked = look().due.unwrap();
    for moved in [Changed::Patients(vec!["p".to_owned()]), Changed::Anything, Changed::Shared { places: true }] {
        tell(OriginRequest::Changed(moved));
        learn(asked);
        assert!(look().heads.is_empty(), "what was asked before says nothing");
        learn(look().due.unwrap());
        assert_eq!(look().heads[0].owner.wards, ["w1"]);
        assert_eq!(look().due, None);
    }
}
