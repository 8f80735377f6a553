//! Searches against a reader of the terms that does without an index, page by page while others write; and what they cost.

mod reader;

use std::collections::{BTreeMap, BTreeSet};

use self::reader::{Doc, World};
use super::*;
use crate::access::audit::Actor;
use crate::access::{Action, Principal, Role, decide};
use crate::chart::head::Touched;
use crate::chart::records::{Batch, Change, Committed, Guard, Write};
use crate::chart::{commit, run};
use crate::error::Kind;
use crate::fhir::search::{Criterion, Key, Piece, Sort, SortBy, Term, Test, parse, terms};
use crate::fhir::{Resource, ResourceType, patients};
use crate::testing::{Local, Seeded};
use crate::time::{Clock, UnixMillis};

const KINDS: [ResourceType; 3] = [ResourceType::Patient, ResourceType::Observation, ResourceType::Encounter];

fn who(role: Role, wards: &[&str]) -> Principal {
    Principal {
        user: "u".into(),
        name: "N".into(),
        role,
        patient: (role == Role::Patient).then(|| "p3".into()),
        wards: wards.iter().map(|ward| (*ward).to_owned()).collect(),
        patients: Vec::new(),
    }
}

fn reading(role: Role, wards: &[&str]) -> Scope {
    decide(&who(role, wards), Action::ReadRecords { kind: "Observation", shared: false }).unwrap()
}

fn pick<'a>(seed: &Seeded, of: &[&'a str]) -> &'a str {
    of[usize::try_from(seed.below(of.len() as u64)).unwrap()]
}

const DATES: [&str; 9] = [
    "2024-01-01",
    "2024-01-02",
    "2024-01-02T10:30:00Z",
    "2024-01-02T10:30:00.500Z",
    "2024-01",
    "2024",
    "2023-12-31T23:59:59-02:00",
    "2024-02-29T00:00:00+01:00",
    "2025-06-30T12:00:00Z",
];
const NAMES: [&str; 6] = ["Anna", "ANNE", "Änne", "Bo", "Zoë", "Annabel Lee"];

fn period(seed: &Seeded) -> String {
    let (a, b) = (pick(seed, &DATES), pick(seed, &DATES));
    match seed.below(4) {
        0 => format!(r#"{{"start":"{a}"}}"#),
        1 => format!(r#"{{"end":"{b}"}}"#),
        _ => format!(r#"{{"start":"{}","end":"{}"}}"#, a.min(b), a.max(b)),
    }
}

/// A new or changed record.
fn write(world: &mut World, seed: &Seeded, number: u64) {
    let patient = format!("p{}", seed.below(12));
    let json = match seed.below(8) {
        0 | 1 => {
            let names: Vec<String> = (0..seed.below(3)).map(|_| format!(r#""{}""#, pick(seed, &NAMES))).collect();
            let given = if names.is_empty() { String::new() } else { format!(r#","given":[{}]"#, names.join(",")) };
            let born = if seed.below(3) == 0 {
                String::new()
            } else {
                format!(r#","birthDate":"19{:02}-01-0{}""#, seed.below(40) + 40, seed.below(3) + 1)
            };
            let gender = pick(seed, &["male", "female"]);
            format!(
                r#"{{"resourceType":"Patient","id":"{patient}","gender":"{gender}","name":[{{"family":"{}"{given}}}]{born}}}"#,
                pick(seed, &NAMES)
            )
        }
        2 if world.docs.contains_key(&patient) => {
            let ward = if world.ward_of.contains_key(&patient) {
                world.ward_of[&patient]
            } else {
                pick(seed, &["w1", "w2", ""])
            };
            world.ward_of.insert(patient.clone(), ward);
            let location = if ward.is_empty() {
                String::new()
            } else {
                format!(r#","location":[{{"location":{{"reference":"Location/{ward}"}}}}]"#)
            };
            format!(
                r#"{{"resourceType":"Encounter","id":"e{patient}","status":"in-progress","class":{{"code":"IMP"}},
                    "subject":{{"reference":"Patient/{patient}"}},"period":{}{location}}}"#,
                period(seed)
            )
        }
        _ if world.docs.contains_key(&patient) => {
            let other = format!("p{}", seed.below(12));
            let performer = if seed.below(6) == 0 && world.docs.contains_key(&other) {
                format!(r#","performer":[{{"reference":"Patient/{other}"}}]"#)
            } else {
                String::new()
            };
            let when = match seed.below(4) {
                0 => String::new(),
                1 => format!(r#","effectivePeriod":{}"#, period(seed)),
                _ => format!(r#","effectiveDateTime":"{}""#, pick(seed, &DATES)),
            };
            let value = match seed.below(3) {
                0 => format!(
                    r#","valueQuantity":{{"value":{},"unit":"mg","system":"u","code":"mg"}}"#,
                    pick(seed, &["1", "1.0", "-2.5", "100", "99.5"])
                ),
                1 => format!(r#","valueString":"{}""#, pick(seed, &NAMES)),
                _ => String::new(),
            };
            format!(
                r#"{{"resourceType":"Observation","id":"o{number}","status":"{}","code":{{"coding":[{{"system":"s","code":"{}"}},{{"system":"t","code":"{}"}}]}},
                    "subject":{{"reference":"Patient/{patient}"}}{performer}{when}{value}}}"#,
                pick(seed, &["final", "preliminary"]),
                pick(seed, &["a", "b", "c"]),
                pick(seed, &["a", "x"]),
            )
        }
        _ => format!(r#"{{"resourceType":"Patient","id":"{patient}"}}"#),
    };
    world.put(&json);
}

fn query(seed: &Seeded, kind: ResourceType) -> Vec<(String, String)> {
    let prefix = pick(seed, &["", "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"]);
    let date = format!("{prefix}{}", pick(seed, &DATES));
    let number = format!(
        "{}{}",
        pick(seed, &["", "ne", "gt", "lt", "ge", "le", "ap"]),
        pick(seed, &["1", "-2.5", "99.5||mg", "100|u|mg", "1|v|mg"])
    );
    let name = pick(seed, &["a", "ann", "ANNE", "zoe", "Änne", "lee"]).to_owned();
    let patient = format!("p{}", seed.below(12));
    let many: Vec<String> = (0..=seed.below(11)).map(|_| format!("p{}", seed.below(30))).collect();
    let many = many.join(",");
    let of: &[(&str, String)] = match kind {
        ResourceType::Patient => &[
            ("name", name.clone()),
            ("name:contains", name.clone()),
            ("given:exact", "Änne".into()),
            ("birthdate", format!("{}196{}", pick(seed, &["ge", "lt", "", "ne"]), seed.below(10))),
            ("birthdate:missing", pick(seed, &["true", "false"]).into()),
            ("given:missing", pick(seed, &["true", "false"]).into()),
            (
                "gender",
                pick(seed, &["male", "http://hl7.org/fhir/administrative-gender|female", "x|male", "|male"]).into(),
            ),
            ("_id", format!("{patient},p1,nobody")),
            ("_lastUpdated", "ge2025".into()),
            ("active:missing", "true".into()),
        ],
        ResourceType::Encounter => &[
            ("date", date.clone()),
            ("date", format!("ge{}", pick(seed, &DATES))),
            ("date", format!("lt{}", pick(seed, &DATES))),
            ("patient", patient.clone()),
            ("patient", many.clone()),
            ("location", "Location/w1".into()),
            ("status", "in-progress,finished".into()),
        ],
        _ => &[
            ("code", pick(seed, &["a", "a,b", "s|a", "t|", "|a", "x"]).into()),
            ("code:not", pick(seed, &["a", "s|b,c"]).into()),
            ("date", date.clone()),
            ("date", format!("ge{}", pick(seed, &DATES))),
            ("date", format!("le{}", pick(seed, &DATES))),
            ("date:missing", pick(seed, &["true", "false"]).into()),
            ("patient", patient.clone()),
            ("patient", many.clone()),
            ("subject", patient.clone()),
            ("performer:Patient", patient.clone()),
            ("value-quantity", number.clone()),
            ("combo-value-quantity", number.clone()),
            ("value-string", name.clone()),
            ("status", "final".into()),
        ],
    };
    let mut query = Vec::new();
    for _ in 0..seed.below(4) {
        let (name, value) = &of[usize::try_from(seed.below(of.len() as u64)).unwrap()];
        if name != &"_id" || !query.iter().any(|(other, _)| other == "_id") {
            query.push(((*name).to_owned(), value.clone()));
        }
    }
    let sorts: &[&str] = match kind {
        ResourceType::Patient => {
            &["family", "-name", "birthdate", "-birthdate", "_id", "-_lastUpdated", "gender,-family"]
        }
        ResourceType::Encounter => &["date", "-date", "-date,_id"],
        _ => &["date", "-date", "-date", "-value-string", "code,-date", "value-quantity"],
    };
    if seed.below(3) > 0 {
        query.push(("_sort".into(), pick(seed, sorts).into()));
    }
    query
}

type Reaches = Box<dyn Fn(&Doc) -> bool>;

/// Reads a search to its end while others write, and says what is wrong with it, or how it was answered.
fn check(
    world: &mut World,
    seed: &Seeded,
    number: &mut u64,
    writes: bool,
) -> std::result::Result<&'static str, String> {
    let kind = KINDS[usize::try_from(seed.below(3)).unwrap()];
    let query = query(seed, kind);
    let asked =
        parse(kind, &query, true, "", UnixMillis(1_764_000_000_000)).map_err(|error| format!("{query:?} {error}"))?;
    let search = asked.search;
    let (scope, reaches): (Scope, Reaches) = match seed.below(3) {
        0 => (reading(Role::Admin, &[]), Box::new(|_| true)),
        1 => {
            let wards = world.ward_of.clone();
            let mine = move |patient: &String| matches!(wards.get(patient), None | Some(&"") | Some(&"w1"));
            (reading(Role::Nurse, &["w1"]), Box::new(move |doc| doc.patients.iter().any(&mine)))
        }
        _ => (reading(Role::Patient, &[]), Box::new(|doc| doc.patients.iter().any(|patient| patient == "p3"))),
    };
    let tight = Limits {
        few: 3,
        most: seed.below(60) + 4,
        look: seed.below(40) + 5,
        chunks: (seed.below(5) + 1, seed.below(9) + 1),
    };
    let (limits, how) = match seed.below(3) {
        0 => (LIMITS, "gathered"),
        1 => (tight, "tight"),
        _ => (Limits { few: 0, ..LIMITS }, "walked"),
    };
    let before = world.expected(&search, &reaches);
    let (mut after, mut found) = (None, Vec::new());
    let mut touched = BTreeSet::new();
    loop {
        let wanted =
            Wanted { search: &search, after: after.as_ref(), count: seed.below(6) + 1, total: after.is_none() };
        let (ids, next, total) = match world.ask(&scope, &wanted, limits) {
            Ok(page) => page,
            Err(error) if error.kind == Kind::TooCostly && how == "tight" => return Ok("too costly"),
            Err(error) => return Err(format!("{query:?}: {error}")),
        };
        if total.is_some_and(|total| total != before.len() as u64) {
            return Err(format!("{query:?}: counted {total:?} of {}", before.len()));
        }
        found.extend(ids);
        let Some(place) = next else { break };
        after = Some(Place::parse(&place.to_text(), search.sort.len()).unwrap());
        if writes && seed.below(3) == 0 {
            *number += 1;
            let terms: BTreeMap<String, Vec<Term>> =
                world.docs.iter().map(|(id, doc)| (id.clone(), doc.terms.clone())).collect();
            if seed.below(4) == 0 {
                world.delete(&format!("o{}", seed.below(*number)))
            } else {
                write(world, seed, *number)
            }
            touched.extend(
                world.docs.iter().filter(|(id, doc)| terms.get(*id) != Some(&doc.terms)).map(|(id, _)| id.clone()),
            );
        }
    }
    let steady = |ids: &[String]| ids.iter().filter(|id| !touched.contains(*id)).cloned().collect::<Vec<_>>();
    if steady(&found) != steady(&before) {
        return Err(format!("{query:?} {how}: {found:?} and not {before:?}, but for {touched:?}"));
    }
    Ok(how)
}

fn filled(seed: &Seeded, count: u64) -> World {
    let mut world = World::new();
    for number in 0..count {
        world.local.clock.0.set(world.local.clock.0.get() + seed.below(3));
        write(&mut world, seed, number);
    }
    // Everybody has their ward before anybody reads, so that what is reached stays what it is.
    for patient in (0..12).map(|number| format!("p{number}")) {
        if world.docs.contains_key(&patient) {
            world.ward_of.entry(patient).or_insert("");
        }
    }
    world
}

#[test]
fn pages_are_what_a_reader_without_an_index_finds() {
    let mut outcomes: BTreeMap<&str, u32> = BTreeMap::new();
    for round in 0..5 {
        let seed = Seeded::new(round + 71);
        let mut world = filled(&seed, 160);
        let mut number = 160;
        for _ in 0..130 {
            match check(&mut world, &seed, &mut number, true) {
                Ok(how) => *outcomes.entry(how).or_default() += 1,
                Err(why) => panic!("seed {}: {why}", round + 71),
            }
        }
    }
    println!("{outcomes:?}");
    assert_eq!(outcomes.len(), 4);
}

/// What is wrong with the index is noticed: otherwise the test above would prove nothing.
#[test]
fn a_broken_index_is_noticed() {
    let mutants = [
        "DELETE FROM terms WHERE record % 7 = 3",
        "UPDATE OR IGNORE terms SET owner = owner + 1 WHERE record % 3 = 0",
        "UPDATE OR IGNORE terms SET more = 0 WHERE typeof(more) = 'integer'",
        "UPDATE OR IGNORE terms SET more = '' WHERE typeof(more) = 'text'",
        "UPDATE OR IGNORE terms SET key = key + 90000000 WHERE typeof(key) = 'integer' AND record % 2 = 0",
        "INSERT OR IGNORE INTO terms SELECT owner, parameter, key, record + 1, more FROM terms WHERE record % 5 = 0",
        "UPDATE OR IGNORE compartments SET patient = 'p3' WHERE kind = 'Observation'",
    ];
    for mutant in mutants {
        let seed = Seeded::new(9);
        let mut world = filled(&seed, 120);
        world.local.sql.exec(mutant, &[]).unwrap();
        let wrong = (0..80).filter(|_| check(&mut world, &seed, &mut 0, false).is_err()).count();
        println!("{mutant}: {wrong} of 80");
        assert!(wrong > 0, "{mutant}");
    }
}

/// A hospital with `count` patients, each with an Encounter and five Observations.
fn hospital(count: u64) -> World {
    let mut world = World::new();
    let practitioner = r#"{"resourceType":"Practitioner","id":"d1","identifier":[{"system":"npi","value":"1"}],"name":[{"family":"Quill"}]}"#;
    world.put(practitioner);
    for number in 0..count {
        world.put(&format!(
            r#"{{"resourceType":"Patient","id":"p{number}","identifier":[{{"system":"mrn","value":"{number}"}}],"active":true,
                "name":[{{"family":"Family{number:04}","given":["Ann"]}}],"birthDate":"1980-01-{:02}"}}"#,
            number % 28 + 1
        ));
        world.put(&format!(
            r#"{{"resourceType":"Encounter","id":"e{number}","status":"finished","class":{{"code":"AMB"}},
                "subject":{{"reference":"Patient/p{number}"}},"period":{{"start":"2024-01-01T10:00:00Z","end":"2024-01-01T11:00:00Z"}}}}"#
        ));
        for each in 0..5 {
            world.put(&format!(
                r#"{{"resourceType":"Observation","id":"o{number}-{each}","status":"final","code":{{"coding":[{{"system":"loinc","code":"c{each}"}}]}},
                    "subject":{{"reference":"Patient/p{number}"}},"effectiveDateTime":"20{:02}-0{}-01T10:00:00Z","valueQuantity":{{"value":{each}}}}}"#,
                number % 90 + 10,
                each + 1
            ));
        }
    }
    world
}

/// The searches that people and programs make all day, as (role, type, query).
const DAILY: [(Role, &str, &str); 20] = [
    (Role::Admin, "Patient", "identifier=mrn|7"),
    (Role::Nurse, "Patient", "identifier=7"),
    (Role::Nurse, "Patient", "name=family0007"),
    (Role::Nurse, "Patient", "family:exact=Family0007"),
    (Role::Admin, "Patient", "_id=p1,p2,p3"),
    (Role::Nurse, "Patient", "_sort=family&_count=20"),
    (Role::Nurse, "Patient", "_count=20"),
    (Role::Nurse, "Patient", "given=ann&_sort=-birthdate&_count=20"),
    (Role::Nurse, "Observation", "patient=p7&date=ge2012&_sort=-date"),
    (Role::Nurse, "Observation", "patient=p7&code=loinc|c3&_sort=-date&_count=1"),
    (Role::Nurse, "Observation", "subject=Patient/p7&value-quantity=gt2"),
    (Role::Nurse, "Observation", "patient=p7&_total=accurate"),
    (Role::Patient, "Observation", "_sort=-date"),
    (Role::Patient, "Observation", "code=c2"),
    (Role::Patient, "Encounter", "date=2024-01-01"),
    (Role::Patient, "Patient", ""),
    (Role::Nurse, "Observation", "code=c2&_count=10"),
    (Role::Nurse, "Observation", "_sort=-_lastUpdated&_count=10"),
    (Role::Nurse, "Encounter", "status=finished&_sort=-date&_count=10"),
    (Role::Patient, "Practitioner", "name=quill"),
];

fn daily(world: &World, (role, kind, query): (Role, &str, &str)) -> (u64, usize) {
    let pairs: Vec<(String, String)> = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let kind = ResourceType::parse(kind).unwrap();
    let asked = parse(kind, &pairs, true, "", world.local.clock.now()).unwrap();
    let shared = crate::fhir::is_shared(kind);
    let scope = decide(&who(role, &["w1"]), Action::ReadRecords { kind: kind.as_str(), shared }).unwrap();
    let count = asked.count.unwrap_or(50);
    let query = crate::chart::records::Query::Search { search: asked.search, after: None, count, total: asked.total };
    let before = world.local.sql.steps.get();
    match run(&world.local.sql, &scope, &query).unwrap() {
        Answer::Search(records, ..) => (world.local.sql.steps.get() - before, records.len()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn no_daily_search_reads_a_table_or_costs_more_with_more_patients() {
    let (small, large) = (hospital(90), hospital(400));
    for search in DAILY {
        *large.local.sql.plans.borrow_mut() = Some(Vec::new());
        let scanned = large.local.sql.scanned.get();
        let (cost, found) = daily(&large, search);
        let plans = large.local.sql.plans.take().unwrap();
        // Lists of parameters and the few rows of a subquery are gone over; a table never is.
        let tables = ["terms", "resources", "versions", "compartments", "heads", " d", " t", " f", " v", " c", " r"];
        let reads = |line: &&String| line.starts_with("SCAN") && tables.iter().any(|table| line.ends_with(table));
        assert_eq!(plans.iter().find(reads), None, "{search:?}");
        assert!(large.local.sql.scanned.get() - scanned <= 2_000, "{search:?}");
        let (of_few, _) = daily(&small, search);
        println!("{search:?}: {found} found, {of_few} steps among 90, {cost} among 400");
        assert!(found > 0 && cost <= of_few * 3 / 2 + 1_000, "{search:?}: {of_few} steps among 90, {cost} among 400");
    }
}

/// However many values a search may have, its statements are taken: where they find, count, filter and are walked past.
#[test]
fn a_search_has_forty_values() {
    let world = hospital(50);
    let scope = reading(Role::Admin, &[]);
    let values = |many: usize, more: &[(&str, &str)]| {
        let ids = (0..many).map(|number| format!("p{number}")).collect::<Vec<_>>().join(",");
        let pairs = [("patient", ids.as_str())].into_iter().chain(more.iter().copied());
        let pairs: Vec<_> = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        parse(ResourceType::Observation, &pairs, true, "", world.local.clock.now())
    };
    let walked = Limits { few: 0, ..LIMITS };
    for many in [1, 2, 5, 6, 7, 25, 26, 31, 39] {
        for (more, limits, each) in [
            (vec![], LIMITS, 5),
            (vec![], walked, 5),
            (vec![("_sort", "-date")], LIMITS, 5),
            (vec![("_sort", "-date")], walked, 5),
            (vec![("code", "c0")], LIMITS, 1),
            (vec![("code", "c0"), ("_sort", "-date")], walked, 1),
        ] {
            let search = values(many, &more).unwrap().search;
            let wanted = Wanted { search: &search, after: None, count: 1_000, total: true };
            match answer(&world.local.sql, &scope, &wanted, limits).unwrap() {
                Answer::Search(records, _, total) => {
                    assert_eq!((records.len(), total), (many * each, Some((many * each) as u64)), "{many} {more:?}");
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(values(40, &[]).unwrap().search.criteria.len(), 1);
    assert_eq!(values(41, &[]).unwrap_err().kind, Kind::Invalid);
}

#[test]
fn records_from_before_the_index_are_brought_into_it() {
    let world = hospital(150);
    let sql = &world.local.sql;
    let rows = || {
        sql.first("SELECT count(*), sum(record) FROM terms", &[])
            .unwrap()
            .map(|mut row| (row.number().unwrap(), row.number().unwrap()))
    };
    let whole = rows();
    sql.exec("DELETE FROM terms WHERE record % 3 > 0", &[]).unwrap();
    sql.exec("UPDATE search_index SET parameters = 1", &[]).unwrap();
    index::prepare(sql).unwrap();
    let scope = reading(Role::Admin, &[]);
    let search =
        parse(ResourceType::Patient, &[("identifier".into(), "mrn|7".into())], true, "", UnixMillis(0)).unwrap().search;
    let mut waits = 0;
    let found = loop {
        match super::search(sql, &scope, &Wanted { search: &search, after: None, count: 5, total: false }) {
            Ok(Answer::Search(records, ..)) => break records,
            Err(error) if error.kind == Kind::Unavailable => waits += 1,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((found.len(), waits), (1, 3));
    assert_eq!(rows(), whole);
}
