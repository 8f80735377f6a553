//! Records whole, over a deployment in one process.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::value::RawValue;

use super::testing::{Here, Sent, ask, get, header, observation, patient, put, ready, sign_in, text, user, value};
use crate::store::sql::Sql;
use crate::time::{Clock, Ttl};

const ORIGIN: &str = "https://ward.example";

/// The pages from `path` on, each as the entries of its Bundle.
fn pages(app: &Here, token: &str, path: &str) -> Vec<Vec<serde_json::Value>> {
    let (mut path, mut pages) = (path.to_owned(), Vec::new());
    loop {
        let reply = get(app, token, &path);
        assert_eq!(reply.status, 200, "{reply:?}");
        assert!(header(&reply, "cache-status").is_some_and(|status| status.starts_with("Bedside; ")), "{reply:?}");
        let bundle = value(&reply);
        pages.push(bundle["entry"].as_array().cloned().unwrap_or_default());
        let links = bundle["link"].as_array().unwrap();
        let Some(next) = links.iter().find(|link| link["relation"] == "next") else { return pages };
        let next = text(next, "/url").strip_prefix(ORIGIN).unwrap().to_owned();
        assert_ne!(next, path);
        path = next;
    }
}

/// The references of all entries, in order; no page is above `count`.
fn all(app: &Here, token: &str, path: &str, count: usize) -> Vec<String> {
    let query = if path.contains('?') { '&' } else { '?' };
    let pages = pages(app, token, &format!("{path}{query}_count={count}"));
    assert!(pages.iter().all(|page| page.len() <= count));
    let reference = |entry: &serde_json::Value| {
        text(entry, "/fullUrl").strip_prefix(&format!("{ORIGIN}/fhir/")).unwrap().to_owned()
    };
    pages.iter().flatten().map(reference).collect()
}

fn keep(app: &Here, admin: &str, kind: &str, id: &str, more: &str) {
    let body = format!(r#"{{"resourceType":"{kind}","id":"{id}"{more}}}"#);
    let reply = put(app, admin, &format!("/fhir/{kind}/{id}"), &body);
    assert!(matches!(reply.status, 200 | 201), "{reply:?}");
}

fn measured(app: &Here, admin: &str, id: &str, patient: &str, performer: &str) {
    let more = format!(
        r#","status":"final","code":{{"text":"hr"}},"subject":{{"reference":"Patient/{patient}"}},
           "performer":[{{"reference":"{performer}"}}],"valueQuantity":{{"value":71.50}}"#
    );
    keep(app, admin, "Observation", id, &more);
}

fn stay(app: &Here, admin: &str, id: &str, patient: &str, ward: &str) {
    let more = format!(
        r#","status":"in-progress","class":{{"code":"IMP"}},"subject":{{"reference":"Patient/{patient}"}},
           "location":[{{"location":{{"reference":"Location/{ward}"}}}}]"#
    );
    keep(app, admin, "Encounter", id, &more);
}

/// Patient p, in ward w, of whom everything is [`WHOLE`], and q, who has a part of the same.
fn clinic() -> (Here, String) {
    let (app, admin) = ready();
    keep(&app, &admin, "Location", "w", r#","physicalType":{"coding":[{"code":"wa"}]}"#);
    keep(&app, &admin, "Organization", "o", r#","name":"O""#);
    for doctor in ["d1", "d2", "d3"] {
        keep(&app, &admin, "Practitioner", doctor, "");
    }
    keep(&app, &admin, "Patient", "p", r#","managingOrganization":{"reference":"Organization/o"}"#);
    patient(&app, &admin, "q");
    stay(&app, &admin, "e", "p", "w");
    for (id, patient, doctor) in
        [("a", "p", "d1"), ("b", "p", "d1"), ("c", "p", "d2/_history/1"), ("gone", "p", "d3"), ("z", "q", "d3")]
    {
        measured(&app, &admin, id, patient, &format!("Practitioner/{doctor}"));
    }
    let condition = r#","subject":{"reference":"Patient/p"},"asserter":{"reference":"Practitioner/none"}"#;
    keep(&app, &admin, "Condition", "c", condition);
    // A Schedule with a patient as its actor is in that compartment, though its type is shared: not anybody's to see.
    keep(&app, &admin, "Schedule", "of-q", r#","actor":[{"reference":"Patient/q"}]"#);
    keep(&app, &admin, "Schedule", "of-p", r#","actor":[{"reference":"Patient/p"}]"#);
    let extension = |to: &str| format!(r#"{{"url":"urn:x","valueReference":{{"reference":"Schedule/{to}"}}}}"#);
    let more = format!(
        r#","status":"final","code":{{"text":"x"}},"subject":{{"reference":"Patient/p"}},"extension":[{},{}]"#,
        extension("of-q"),
        extension("of-p")
    );
    keep(&app, &admin, "Observation", "d", &more);
    assert_eq!(ask(&app, &Sent::new("DELETE", "/fhir/Observation/gone").by(&admin)).status, 204);
    (app, admin)
}

const EVERYTHING: &str = "/fhir/Patient/p/$everything";

const WHOLE: [&str; 12] = [
    "Patient/p",
    "Condition/c",
    "Encounter/e",
    "Observation/a",
    "Observation/b",
    "Observation/c",
    "Observation/d",
    "Schedule/of-p",
    "Location/w",
    "Organization/o",
    "Practitioner/d1",
    "Practitioner/d2",
];

#[test]
fn everything_is_the_compartment_and_what_it_refers_to_each_once_whatever_the_page() {
    let (app, admin) = clinic();
    for count in (1..=7).chain([11, 12, 13, 200]) {
        assert_eq!(all(&app, &admin, EVERYTHING, count), WHOLE, "{count}");
    }
    let entries = pages(&app, &admin, EVERYTHING).concat();
    let modes: Vec<String> = entries.iter().map(|entry| text(entry, "/search/mode")).collect();
    assert_eq!(modes, [["match"; 8].as_slice(), ["include"; 4].as_slice()].concat());
    assert_eq!(
        all(&app, &admin, "/fhir/Patient/q/$everything", 3),
        ["Patient/q", "Observation/z", "Schedule/of-q", "Practitioner/d3"]
    );
    // What no longer refers to it no longer brings it along.
    measured(&app, &admin, "c", "p", "Practitioner/d1");
    assert_eq!(all(&app, &admin, EVERYTHING, 5), WHOLE[..11]);
}

#[test]
fn types_and_an_instant_narrow_everything() {
    let (app, admin) = clinic();
    for count in 1..=4 {
        let typed = |types: &str| all(&app, &admin, &format!("{EVERYTHING}?_type={types}"), count);
        assert_eq!(typed("Observation"), WHOLE[3..7]);
        assert_eq!(
            typed("Practitioner,Condition,Encounter,Schedule"),
            [WHOLE[1], WHOLE[2], WHOLE[7], WHOLE[10], WHOLE[11]]
        );
        assert_eq!(typed("Patient,Location"), [WHOLE[0], WHOLE[8]]);
        assert_eq!(typed("Immunization"), [""; 0]);
    }
    app.platform.pass(Ttl::from_secs(5));
    let since = app.platform.now().to_rfc3339();
    measured(&app, &admin, "b", "p", "Practitioner/d1");
    keep(&app, &admin, "Organization", "o", r#","name":"P""#);
    app.platform.pass(Ttl::from_secs(5));
    for count in 1..=3 {
        let path = format!("{EVERYTHING}?_since={since}");
        assert_eq!(all(&app, &admin, &path, count), ["Observation/b", "Organization/o"]);
        assert_eq!(all(&app, &admin, &format!("{path}&_type=Observation"), count), ["Observation/b"]);
    }
    let later = app.platform.now().to_rfc3339();
    assert_eq!(all(&app, &admin, &format!("{EVERYTHING}?_since={later}"), 1), [""; 0]);
}

#[test]
fn a_page_over_much_that_is_passed_over_is_cut_and_goes_on() {
    let (app, admin) = ready();
    patient(&app, &admin, "p");
    keep(&app, &admin, "Practitioner", "d", "");
    measured(&app, &admin, "a", "p", "Practitioner/d");
    // Rows such as 5,000 writes would leave, each with its tables as a commit fills them.
    for statement in [
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) \
         INSERT INTO resources (kind, id, version, updated, created, body) \
         SELECT 'Observation', 'm' || i, 1, 0, 1, '{}' FROM n",
        "INSERT INTO compartments (patient, kind, id) SELECT 'p', kind, id FROM resources WHERE id LIKE 'm%'",
        "INSERT INTO versions (kind, id, version, at) SELECT kind, id, 1, (SELECT max(at) FROM versions) \
         FROM resources WHERE id LIKE 'm%'",
    ] {
        app.platform.sql.exec(statement, &[]).unwrap();
    }
    let since = app.platform.now().to_rfc3339();
    measured(&app, &admin, "z", "p", "Practitioner/d");
    let found = pages(&app, &admin, &format!("{EVERYTHING}?_since={since}&_count=10"));
    assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [2, 0, 2]);
    let found = pages(&app, &admin, &format!("/fhir/Observation/_history?_since={since}&_count=10"));
    assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [1, 0, 1]);
}

#[test]
fn everything_is_for_who_reaches_the_patient() {
    let (app, admin) = clinic();
    user(&app, &admin, "inside", r#""role":"nurse","wards":["w"]"#);
    user(&app, &admin, "outside", r#""role":"practitioner","wards":["v"]"#);
    user(&app, &admin, "pat", r#""role":"patient","patient":"p""#);
    user(&app, &admin, "quin", r#""role":"patient","patient":"q""#);
    user(&app, &admin, "monitor", r#""role":"device","patients":["p"]"#);
    user(&app, &admin, "wall", r#""role":"display","wards":["w"]"#);
    for (name, own, unknown) in [
        ("admin", 200, 404),
        ("inside", 200, 404),
        ("outside", 403, 404),
        ("pat", 200, 403),
        ("quin", 403, 403),
        ("monitor", 403, 403),
        ("wall", 403, 403),
    ] {
        let token = sign_in(&app, name);
        assert_eq!(get(&app, &token, EVERYTHING).status, own, "{name}");
        assert_eq!(get(&app, &token, "/fhir/Patient/none/$everything").status, unknown, "{name}");
        // A cursor opens nothing.
        assert_eq!(get(&app, &token, &format!("{EVERYTHING}?_after=s.Location.a")).status, own, "{name}");
        if own == 200 {
            assert_eq!(all(&app, &token, EVERYTHING, 5), WHOLE, "{name}");
        }
    }
    assert_eq!(ask(&app, &Sent::new("GET", EVERYTHING)).status, 401);
    patient(&app, &admin, "r");
    assert_eq!(ask(&app, &Sent::new("DELETE", "/fhir/Patient/r").by(&admin)).status, 204);
    assert_eq!(get(&app, &admin, "/fhir/Patient/r/$everything").status, 410);
}

#[test]
fn bad_parameters_are_refused_by_name() {
    let (app, admin) = clinic();
    for (path, name) in [
        (format!("{EVERYTHING}?_since=yesterday"), "_since"),
        (format!("{EVERYTHING}?_type=Patient,Patent"), "_type"),
        (format!("{EVERYTHING}?_type="), "_type"),
        (format!("{EVERYTHING}?_count=0"), "_count"),
        (format!("{EVERYTHING}?_after=x"), "_after"),
        (format!("{EVERYTHING}?_after=c.Patient.a%2Fb"), "_after"),
        ("/fhir/Patient/_history?_since=2026".into(), "_since"),
        ("/fhir/_history?_count=x".into(), "_count"),
        ("/fhir/_history?_below=x".into(), "_below"),
    ] {
        let reply = get(&app, &admin, &path);
        assert_eq!(reply.status, 400, "{path} {reply:?}");
        assert!(text(&value(&reply), "/issue/0/expression/0").contains(name), "{path} {reply:?}");
    }
    for path in [format!("{EVERYTHING}?start=2020"), "/fhir/_history?_type=Patient".into()] {
        assert_eq!(get(&app, &admin, &path).status, 400, "{path}");
    }
    assert_eq!(put(&app, &admin, EVERYTHING, "{}").status, 405);
    assert_eq!(put(&app, &admin, "/fhir/_history", "{}").status, 405);
}

/// `Type/id/version` of all entries of a history.
fn versions(app: &Here, token: &str, path: &str, count: usize) -> Vec<String> {
    let query = if path.contains('?') { '&' } else { '?' };
    let entries = pages(app, token, &format!("{path}{query}_count={count}")).concat();
    entries.iter().map(|entry| text(entry, "/request/url") + &text(entry, "/response/etag")[2..]).collect()
}

#[test]
fn histories_of_types_and_of_the_system_are_newest_first_whatever_the_page() {
    let (app, admin) = clinic();
    app.platform.pass(Ttl::from_secs(5));
    let since = app.platform.now().to_rfc3339();
    measured(&app, &admin, "a", "p", "Practitioner/d1");
    // The clock steps back: what is written now is older than `since`, and what was is still found.
    app.platform.clock.0.set(app.platform.now().0 - 9_000);
    measured(&app, &admin, "b", "p", "Practitioner/d1");
    app.platform.pass(Ttl::from_secs(20));
    stay(&app, &admin, "f", "q", "w");
    let observations = ["b\"2\"", "a\"2\"", "gone\"2\"", "d\"1\"", "z\"1\"", "gone\"1\"", "c\"1\"", "b\"1\"", "a\"1\""]
        .map(|each| format!("Observation/{each}"));
    let recent = ["Encounter/f\"1\"", "Observation/a\"2\""];
    for count in 1..=10 {
        assert_eq!(versions(&app, &admin, "/fhir/Observation/_history", count), observations, "{count}");
        assert_eq!(versions(&app, &admin, &format!("/fhir/_history?_since={since}"), count), recent, "{count}");
        let whole = versions(&app, &admin, "/fhir/_history", count);
        let of_type: Vec<_> = whole.iter().filter(|each| each.starts_with("Observation/")).cloned().collect();
        assert_eq!((whole.len(), of_type.as_slice()), (21, observations.as_slice()), "{count}");
        assert_eq!(versions(&app, &admin, &format!("/fhir/Observation/_history?_since={since}"), count), recent[1..]);
    }
    let entries = pages(&app, &admin, "/fhir/Observation/_history").concat();
    let statuses: Vec<String> = entries.iter().map(|entry| text(entry, "/response/status")).collect();
    assert_eq!(statuses, ["200", "200", "204", "201", "201", "201", "201", "201", "201"]);
    assert!(entries[2].get("resource").is_none() && entries[2]["request"]["method"] == "DELETE");
    assert_eq!(text(&entries[0], "/resource/meta/versionId"), "2");
}

#[test]
fn a_history_holds_what_is_reached() {
    let (app, admin) = clinic();
    user(&app, &admin, "inside", r#""role":"nurse","wards":["w"]"#);
    user(&app, &admin, "outside", r#""role":"practitioner","wards":["v"]"#);
    user(&app, &admin, "pat", r#""role":"patient","patient":"p""#);
    user(&app, &admin, "quin", r#""role":"patient","patient":"q""#);
    user(&app, &admin, "monitor", r#""role":"device","patients":["p"]"#);
    let of_p = ["gone\"2\"", "d\"1\"", "gone\"1\"", "c\"1\"", "b\"1\"", "a\"1\""];
    let of_q = ["z\"1\""];
    let both = ["gone\"2\"", "d\"1\"", "z\"1\"", "gone\"1\"", "c\"1\"", "b\"1\"", "a\"1\""];
    let seen: [(&str, &[&str]); 4] = [("inside", &both), ("outside", &of_q), ("pat", &of_p), ("quin", &of_q)];
    for (name, versions_seen) in seen {
        let token = sign_in(&app, name);
        let expected: Vec<String> = versions_seen.iter().map(|each| format!("Observation/{each}")).collect();
        for count in 1..=7 {
            assert_eq!(versions(&app, &token, "/fhir/Observation/_history", count), expected, "{name} {count}");
        }
        assert_eq!(versions(&app, &token, "/fhir/Practitioner/_history", 2).len(), 3, "{name}");
        assert_eq!(get(&app, &token, "/fhir/_history").status, 403, "{name}");
    }
    let monitor = sign_in(&app, "monitor");
    assert_eq!(get(&app, &monitor, "/fhir/Observation/_history").status, 403);
    assert_eq!(get(&app, &monitor, "/fhir/_history").status, 403);
    let sent = Sent::new("POST", "/fhir/Observation").json(&observation("p")).by(&monitor);
    assert_eq!(ask(&app, &sent).status, 201);
    assert_eq!(ask(&app, &Sent::new("GET", "/fhir/_history")).status, 401);
}

/// JSON with its numbers as they were written, read by nothing of this crate's.
#[derive(Clone, Debug, PartialEq)]
enum Tree {
    Object(BTreeMap<String, Tree>),
    Array(Vec<Tree>),
    Text(String),
    /// A number, a truth value or null.
    Raw(String),
}

impl Tree {
    fn read(raw: &RawValue) -> Tree {
        let json = raw.get();
        match json.as_bytes()[0] {
            b'{' => {
                let members: BTreeMap<String, Box<RawValue>> = serde_json::from_str(json).unwrap();
                Tree::Object(members.into_iter().map(|(name, raw)| (name, Tree::read(&raw))).collect())
            }
            b'[' => {
                let items: Vec<Box<RawValue>> = serde_json::from_str(json).unwrap();
                Tree::Array(items.iter().map(|raw| Tree::read(raw)).collect())
            }
            b'"' => Tree::Text(serde_json::from_str(json).unwrap()),
            _ => Tree::Raw(json.to_owned()),
        }
    }

    fn parse(json: &str) -> Tree {
        Tree::read(serde_json::from_str(json).unwrap())
    }

    fn at(&self, name: &str) -> Option<&Tree> {
        if let Tree::Object(members) = self { members.get(name) } else { None }
    }

    fn text(&self, path: &[&str]) -> Option<&str> {
        match path.iter().try_fold(self, |tree, name| tree.at(name))? {
            Tree::Text(text) => Some(text),
            _ => None,
        }
    }

    fn items(&self) -> &[Tree] {
        if let Tree::Array(items) = self { items } else { &[] }
    }

    /// Calls `found` with the text of every member `reference`, which it may change.
    fn references(&mut self, found: &mut dyn FnMut(&mut String)) {
        match self {
            Tree::Object(members) => {
                for (name, tree) in members {
                    match tree {
                        Tree::Text(text) if name == "reference" => found(text),
                        tree => tree.references(found),
                    }
                }
            }
            Tree::Array(items) => items.iter_mut().for_each(|item| item.references(found)),
            Tree::Text(_) | Tree::Raw(_) => {}
        }
    }

    /// Without `id` and `meta`.
    fn bare(mut self) -> Tree {
        if let Tree::Object(members) = &mut self {
            members.remove("id");
            members.remove("meta");
        }
        self
    }
}

/// For each of the sixteen: everything, read to its last page, is what the file says of the patient, value by value; the
/// references too, once `urn:uuid:` is read as what the import answered.
#[test]
fn everything_of_the_synthea_patients_is_what_their_files_say() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data/synthea");
    let Ok(files) = std::fs::read_dir(folder) else {
        println!("skipped: there is no folder of Synthea bundles beside the project");
        return;
    };
    let (app, admin) = ready();
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    // What is shared is kept as the first file has it.
    let mut kept: BTreeMap<String, Tree> = BTreeMap::new();
    let mut wholes: Vec<(String, BTreeSet<String>)> = Vec::new();
    for path in &paths {
        let body = std::fs::read_to_string(path).unwrap();
        let reply = ask(&app, &Sent::new("POST", "/fhir").json(&body).by(&admin));
        assert_eq!(reply.status, 200, "{reply:?}");
        let (bundle, answer) = (Tree::parse(&body), value(&reply));
        let (entries, answers) = (bundle.at("entry").unwrap().items(), answer["entry"].as_array().unwrap());
        assert_eq!(entries.len(), answers.len());
        let made = |answer| text(answer, "/response/location").split("/_history/").next().unwrap().to_owned();
        let names: BTreeMap<&str, String> = entries
            .iter()
            .zip(answers)
            .map(|(entry, answer)| (entry.text(&["fullUrl"]).unwrap(), made(answer)))
            .collect();
        let resource = |entry: &Tree| entry.at("resource").unwrap().clone();
        let kind = |entry: &Tree| entry.text(&["resource", "resourceType"]).unwrap().to_owned();
        let own = entries.iter().find(|entry| kind(entry) == "Patient").unwrap().text(&["fullUrl"]).unwrap();
        let (mut whole, mut referred) = (BTreeSet::new(), BTreeSet::new());
        for entry in entries {
            let url = entry.text(&["fullUrl"]).unwrap();
            let of = |member: &str| entry.text(&["resource", member, "reference"]) == Some(own);
            let mut tree = resource(entry);
            let is_inside = url == own || of("subject") || of("patient");
            tree.references(&mut |text| {
                if is_inside {
                    referred.insert(text.clone());
                }
                if let Some(name) = names.get(text.as_str()) {
                    text.clone_from(name);
                }
            });
            kept.entry(names[url].clone()).or_insert(tree.bare());
            if is_inside {
                whole.insert(names[url].clone());
            }
        }
        for entry in entries {
            let url = entry.text(&["fullUrl"]).unwrap();
            if matches!(kind(entry).as_str(), "Practitioner" | "Organization") {
                assert!(referred.contains(url));
                whole.insert(names[url].clone());
            }
        }
        assert_eq!(
            whole.len(),
            names.values().collect::<BTreeSet<_>>().len(),
            "every entry is the patient's or shared"
        );
        wholes.push((names[own].clone(), whole));
    }
    let (mut resources, mut numbers) = (0, 0);
    for (index, (own, whole)) in wholes.iter().enumerate() {
        let mut found = BTreeMap::new();
        let mut path = format!("/fhir/{own}/$everything?_count={}", 17 + index);
        loop {
            let reply = get(&app, &admin, &path);
            assert_eq!(reply.status, 200, "{reply:?}");
            let page = Tree::parse(&reply.body);
            for entry in page.at("entry").unwrap().items() {
                let resource = entry.at("resource").unwrap().clone();
                let name = format!("{}/{}", resource.text(&["resourceType"]).unwrap(), resource.text(&["id"]).unwrap());
                assert!(!found.is_empty() || name == *own);
                assert_eq!(entry.text(&["fullUrl"]), Some(format!("{ORIGIN}/fhir/{name}").as_str()));
                assert!(found.insert(name.clone(), resource.bare()).is_none(), "{name} is there twice");
            }
            let next = page.at("link").unwrap().items().iter().find(|link| link.text(&["relation"]) == Some("next"));
            let Some(next) = next else { break };
            path = next.text(&["url"]).unwrap().strip_prefix(ORIGIN).unwrap().to_owned();
        }
        assert_eq!(found.keys().collect::<Vec<_>>(), whole.iter().collect::<Vec<_>>(), "{own}");
        for (name, tree) in &found {
            assert!(kept[name] == *tree, "{name} differs: {tree:?} {:?}", kept[name]);
            numbers += format!("{tree:?}").matches("Raw(").count();
        }
        resources += found.len();
    }
    println!("{} patients, {resources} resources, {numbers} numbers and truth values as written", wholes.len());
}
