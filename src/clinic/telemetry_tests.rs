use super::*;
use crate::access::{Action, Owner, Principal, Role, decide};
use crate::channel::outbox;
use crate::chart::records::{Batch, Change, Guard, Write};
use crate::fhir::Resource;
use crate::testing::{Local, block_on};
use crate::time::{Clock, Ttl};
use crate::vitals::watch::Sample;
use crate::vitals::{Milli, Parameter, Reading};

fn principal(role: Role) -> Principal {
    Principal { user: "u".into(), name: "N".into(), role, patient: None, wards: Vec::new(), patients: vec!["p".into()] }
}

fn write(world: &Local, json: &str) {
    let mut resource = Resource::parse(json.as_bytes()).unwrap();
    let (kind, id) = (resource.kind(), resource.id().unwrap().to_owned());
    let change = Change { kind, id, guard: Guard::Any, write: Write::put(&mut resource, world.now()).unwrap() };
    let action = Action::WriteRecords { kind: kind.as_str(), shared: false, create: true };
    let scope = decide(&principal(Role::Admin), action).unwrap();
    let actor = Actor { user: "u".into(), request: "r".into() };
    block_on(world.commit(Batch::new(scope, actor, vec![change]))).unwrap();
}

/// A world with a patient in no ward.
fn world() -> Local {
    let world = Local::new();
    write(&world, r#"{"resourceType":"Patient","id":"p"}"#);
    world
}

/// A second passes, and the monitor says this.
fn second(world: &Local, values: &[(Parameter, i64)]) -> Vec<Option<Owner>> {
    world.pass(Ttl::from_secs(1));
    let readings =
        values.iter().map(|(parameter, value)| Reading { parameter: *parameter, value: Milli::whole(*value) });
    let sample =
        |patient: &str| Sample { patient: patient.into(), at: world.now(), readings: readings.clone().collect() };
    let scope = decide(&principal(Role::Device), Action::PostTelemetry).unwrap();
    block_on(world.telemetry(scope, vec![sample("p"), sample("q")])).unwrap()
}

/// What was told since it was last asked, by kind, with what it says.
fn told(world: &Local) -> Vec<(String, serde_json::Value)> {
    let topic = crate::channel::Topic::Patient("p".into());
    let mut all = Vec::new();
    while let Some(delivery) = outbox::next(&world.sql, &topic, UnixMillis::MAX).unwrap() {
        let last = delivery.first + delivery.events.len() as u64 - 1;
        all.extend(delivery.events.into_iter().map(|event| (event.kind, serde_json::from_str(&event.data).unwrap())));
        outbox::acknowledge(&world.sql, &topic, last, "e").unwrap();
    }
    all
}

const CALM: [(Parameter, i64); 3] =
    [(Parameter::HeartRate, 80), (Parameter::OxygenSaturation, 97), (Parameter::RespiratoryRate, 15)];

#[test]
fn a_calm_patient_costs_one_score_and_one_row_in_ten_seconds() {
    let world = world();
    for _ in 0..600 {
        let owners = second(&world, &CALM);
        assert_eq!(owners.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false]);
    }
    let told = told(&world);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((told[0].0.as_str(), &told[0].1["news2"]["total"]), ("score", &0.into()));
    assert_eq!(told[0].1["news2"]["parts"]["heart_rate"]["source"], "telemetry");
}

#[test]
fn what_gets_worse_is_told_within_twenty_seconds_and_what_gets_better_within_ninety() {
    let world = world();
    (0..60).for_each(|_| drop(second(&world, &CALM)));
    told(&world);
    let ill = [(Parameter::HeartRate, 135), (Parameter::OxygenSaturation, 90), (Parameter::RespiratoryRate, 15)];
    let until = |values: &[(Parameter, i64)], most: u64| {
        for seconds in 1..=most {
            second(&world, values);
            let told = told(&world);
            if !told.is_empty() {
                return (seconds, told);
            }
        }
        panic!("nothing was told within {most} s");
    };
    let (seconds, told_of) = until(&ill, 20);
    println!("worse after {seconds} s");
    let total = |value: &serde_json::Value| value["news2"]["total"].as_u64();
    assert_eq!(total(&told_of[0].1), Some(6));
    assert_eq!((told_of[1].0.as_str(), &told_of[1].1["alert"]["severity"]), ("alert", &"medium".into()));
    let (seconds, told_of) = until(&CALM, 90);
    println!("better after {seconds} s");
    assert!(seconds > 40);
    assert_eq!(total(&told_of[0].1), Some(0));
    assert_eq!(told_of[1].1["change"], "cleared");
}

#[test]
fn a_value_that_flickers_at_the_edge_of_a_band_is_told_once() {
    let world = world();
    let mut all = Vec::new();
    for index in 0..600 {
        // 90 scores 0 and 91 one point.
        second(&world, &[(Parameter::HeartRate, 90 + (index / 7) % 2)]);
        all.extend(told(&world));
    }
    assert!(all.len() <= 2, "{} were told", all.len());
}

#[test]
fn what_was_charted_goes_before_until_the_monitor_says_otherwise() {
    let world = world();
    (0..30).for_each(|_| drop(second(&world, &CALM)));
    told(&world);
    let at = world.now().to_rfc3339();
    let by_hand = format!(
        r#"{{"resourceType":"Observation","id":"o","status":"final","subject":{{"reference":"Patient/p"}},
            "code":{{"coding":[{{"system":"http://loinc.org","code":"8867-4"}}]}},"effectiveDateTime":"{at}",
            "valueQuantity":{{"value":120,"system":"http://unitsofmeasure.org","code":"/min"}}}}"#
    );
    write(&world, &by_hand);
    let scores = |told: Vec<(String, serde_json::Value)>| -> Vec<(u64, String)> {
        let news2 = told.into_iter().filter(|(kind, _)| kind == "score").map(|(_, data)| data["news2"].clone());
        let source = |news2: &serde_json::Value| news2["parts"]["heart_rate"]["source"].as_str().unwrap().to_owned();
        news2.map(|news2| (news2["total"].as_u64().unwrap(), source(&news2))).collect()
    };
    assert_eq!(scores(told(&world)), [(2, "o".to_owned())]);
    (0..20).for_each(|_| drop(second(&world, &CALM)));
    assert_eq!(scores(told(&world)), [(0, "telemetry".to_owned())]);
}
