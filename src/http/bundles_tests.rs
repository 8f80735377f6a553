//! Bundles over a deployment in one process.

use super::testing::{Here, Sent, ask, get, header, observation, patient, put, ready, sign_in, text, user, value};
use super::*;
use crate::store::sql::Sql;

fn post(app: &Here, token: &str, body: &str) -> Response {
    ask(app, &Sent::new("POST", "/fhir").json(body).by(token))
}

fn bundle(kind: &str, entries: &[String]) -> String {
    // R4 has no empty arrays.
    let entries = if entries.is_empty() { String::new() } else { format!(r#","entry":[{}]"#, entries.join(",")) };
    format!(r#"{{"resourceType":"Bundle","type":"{kind}"{entries}}}"#)
}

fn entry(full_url: &str, method: &str, url: &str, resource: &str) -> String {
    format!(r#"{{"fullUrl":"{full_url}","resource":{resource},"request":{{"method":"{method}","url":"{url}"}}}}"#)
}

const PATIENT: &str = "urn:uuid:00000000-0000-4000-8000-000000000001";
const DOCTOR: &str = "urn:uuid:00000000-0000-4000-8000-000000000002";

fn admission(family: &str) -> Vec<String> {
    let doctor =
        r#"{"resourceType":"Practitioner","identifier":[{"system":"npi","value":"150"}],"name":[{"family":"D"}]}"#;
    vec![
        entry(
            "urn:uuid:00000000-0000-4000-8000-000000000003",
            "POST",
            "Observation",
            &format!(
                r#"{{"resourceType":"Observation","status":"final","code":{{"text":"hr"}},
                    "subject":{{"reference":"{PATIENT}"}},"performer":[{{"reference":"{DOCTOR}"}}],
                    "valueQuantity":{{"value":71.50}}}}"#
            ),
        ),
        entry(PATIENT, "POST", "Patient", &format!(r#"{{"resourceType":"Patient","name":[{{"family":"{family}"}}]}}"#)),
        entry(DOCTOR, "POST", "Practitioner", doctor),
    ]
}

fn count(app: &Here, table: &str) -> u64 {
    let row = app.platform.sql.first(&format!("SELECT count(*) FROM {table}"), &[]);
    row.unwrap().unwrap().number().unwrap()
}

fn locations(reply: &Response) -> Vec<String> {
    let answer = value(reply);
    let entries = answer["entry"].as_array().unwrap();
    entries.iter().map(|entry| text(entry, "/response/location")).collect()
}

#[test]
fn a_transaction_resolves_what_its_entries_say_of_one_another() {
    let (app, admin) = ready();
    let reply = post(&app, &admin, &bundle("transaction", &admission("Doe")));
    assert_eq!(reply.status, 200, "{reply:?}");
    let made = locations(&reply);
    let short = |index: usize| made[index].trim_end_matches("/_history/1").to_owned();
    let observation = get(&app, &admin, &format!("/fhir/{}", short(0)));
    assert_eq!(text(&value(&observation), "/subject/reference"), short(1));
    assert_eq!(text(&value(&observation), "/performer/0/reference"), short(2));
    assert!(observation.body.contains("71.50"));
    assert_eq!(text(&value(&reply), "/entry/0/response/status"), "201");
    assert_eq!(count(&app, "outbox"), 1);
}

#[test]
fn shared_resources_are_matched_by_identifier_within_and_across_bundles() {
    let (app, admin) = ready();
    let mut entries = admission("Doe");
    entries.push(entries[2].replace("000000000002", "000000000009"));
    let first = locations(&post(&app, &admin, &bundle("transaction", &entries)));
    assert_eq!(first[3], first[2].trim_end_matches("/_history/1"));
    let reply = post(&app, &admin, &bundle("transaction", &admission("Roe")));
    assert_eq!(text(&value(&reply), "/entry/2/response/status"), "200");
    assert_eq!(locations(&reply)[2], first[3]);
    assert_eq!(count(&app, "resources WHERE kind = 'Practitioner'"), 1);
    assert_eq!(count(&app, "resources WHERE kind = 'Patient'"), 2);

    let by_identifier = admission("Poe")[0].replace(DOCTOR, "Practitioner?identifier=npi%7C150");
    let conditional = [by_identifier, admission("Poe")[1].clone()];
    let reply = post(&app, &admin, &bundle("transaction", &conditional));
    let made = locations(&reply)[0].trim_end_matches("/_history/1").to_owned();
    let observation = value(&get(&app, &admin, &format!("/fhir/{made}")));
    assert_eq!(text(&observation, "/performer/0/reference"), first[3]);
}

#[test]
fn a_transaction_that_fails_leaves_nothing() {
    let (app, admin) = ready();
    patient(&app, &admin, "p");
    let tables = ["resources", "history", "outbox", "compartments", "identifiers", "heads", "audit"];
    let state = || tables.map(|table| count(&app, table));
    let before = state();
    let last = |url: &str, method: &str, resource: &str| {
        let mut entries = admission("Doe");
        entries.push(entry("urn:uuid:00000000-0000-4000-8000-00000000000f", method, url, resource));
        post(&app, &admin, &bundle("transaction", &entries))
    };
    let stale = r#"{"resourceType":"Patient","id":"p"}"#;
    let nowhere =
        r#"{"resourceType":"Observation","status":"final","code":{"text":"x"},"subject":{"reference":"Patient/none"}}"#;
    let dangling = nowhere.replace("Patient/none", "urn:uuid:00000000-0000-4000-8000-0000000000ff");
    let cases = [
        (last("Observation", "POST", nowhere), 422, "Bundle.entry[3]"),
        (last("Observation", "POST", &dangling), 422, "Bundle.entry[3]"),
        (last("Patient/q", "PUT", stale), 422, "Bundle.entry[3].request.url"),
        (last("Patient", "POST", r#"{"resourceType":"Patient","gender":"x"}"#), 422, "Bundle.entry[3].resource.gender"),
    ];
    for (reply, status, expression) in cases {
        assert_eq!(reply.status, status, "{reply:?}");
        let found = text(&value(&reply), "/issue/0/expression/0");
        assert!(found.starts_with(expression), "{found}");
    }
    let mut entries = admission("Doe");
    let put = entry("urn:x", "PUT", "Patient/p", stale).replace("\"PUT\",", "\"PUT\",\"ifMatch\":\"W/\\\"7\\\"\",");
    entries.push(put);
    assert_eq!(post(&app, &admin, &bundle("transaction", &entries)).status, 412);
    let twice = ["a", "b"].map(|url| entry(&format!("urn:{url}"), "PUT", "Patient/p", stale));
    assert_eq!(post(&app, &admin, &bundle("transaction", &twice)).status, 422);
    assert_eq!(state(), before);
}

#[test]
fn a_repeated_import_with_its_key_doubles_nothing() {
    let (app, admin) = ready();
    let send = |family: &str, key: &str| {
        let sent = Sent::new("POST", "/fhir").json(&bundle("transaction", &admission(family))).by(&admin);
        ask(&app, &sent.header("idempotency-key", key))
    };
    let bare = |reply: &Response| {
        let without = |location: &String| location.trim_end_matches("/_history/1").to_owned();
        locations(reply).iter().map(without).collect::<Vec<_>>()
    };
    let first = send("Doe", "import-1");
    let resources = count(&app, "resources");
    let again = send("Doe", "import-1");
    assert_eq!((first.status, again.status), (200, 200), "{again:?}");
    assert_eq!(bare(&first), bare(&again));
    assert_eq!((count(&app, "resources"), count(&app, "history")), (resources, 0));
    assert_ne!(bare(&send("Doe", "import-2"))[1], bare(&first)[1]);
    assert_ne!(bare(&send("Roe", "import-1"))[1], bare(&first)[1]);
    assert_eq!(send("Doe", "").status, 400);
}

#[test]
fn a_repeated_batch_with_its_key_doubles_nothing_and_does_what_failed_before() {
    let (app, admin) = ready();
    patient(&app, &admin, "p");
    patient(&app, &admin, "q");
    let patient_of = |id: &str| format!(r#"{{"resourceType":"Patient","id":"{id}","active":true}}"#);
    let mut entries = vec![
        entry("urn:a", "POST", "Patient", r#"{"resourceType":"Patient"}"#),
        entry("urn:b", "POST", "Patient", r#"{"resourceType":"Patient"}"#),
        entry("urn:c", "PUT", "Patient/p", &patient_of("p")),
        r#"{"request":{"method":"DELETE","url":"Patient/q"}}"#.to_owned(),
        entry("urn:d", "PUT", "Observation/o", &observation("late").replace("\"status\"", "\"id\":\"o\",\"status\"")),
        r#"{"request":{"method":"GET","url":"Patient/p"}}"#.to_owned(),
    ];
    let send = |entries: &[String], key: &str| {
        let sent = Sent::new("POST", "/fhir").json(&bundle("batch", entries)).by(&admin);
        value(&ask(&app, &sent.header("idempotency-key", key)))
    };
    let statuses = |answer: &serde_json::Value| {
        let all = answer["entry"].as_array().unwrap().iter();
        all.map(|entry| text(entry, "/response/status")).collect::<Vec<_>>()
    };
    let state = || ["resources", "history", "versions", "outbox", "audit"].map(|table| count(&app, table));
    let first = send(&entries, "k");
    assert_eq!(statuses(&first), ["201", "201", "200", "204", "422", "200"]);
    let before = state();
    let again = send(&entries, "k");
    assert_eq!(statuses(&again), ["200", "200", "200", "204", "422", "200"]);
    assert_eq!(state(), before);
    for index in [0, 1] {
        let place = format!("/entry/{index}/response/location");
        assert_eq!(text(&first, &place).trim_end_matches("/_history/1"), text(&again, &place));
    }
    patient(&app, &admin, "late");
    assert_eq!(statuses(&send(&entries, "k")), ["200", "200", "200", "204", "201", "200"]);
    assert_eq!(statuses(&send(&entries, "other")), ["201", "201", "200", "204", "200", "200"]);
    entries.truncate(3);
    assert_eq!(statuses(&send(&entries, "k")), ["201", "201", "200"], "other content is another request");

    // A write of its own takes a key as well.
    let single = || {
        let sent = Sent::new("POST", "/fhir/Observation").json(&observation("p")).by(&admin);
        ask(&app, &sent.header("idempotency-key", "beat-1"))
    };
    let (first, again) = (single(), single());
    assert_eq!((first.status, again.status), (201, 200));
    assert_eq!(header(&first, "location").map(|url| url.trim_end_matches("/_history/1")), header(&again, "location"));
}

#[test]
fn a_batch_stays_within_what_one_request_may_ask_of_objects() {
    let (app, admin) = ready();
    let of = |count: usize| {
        let one = entry("urn:a", "POST", "Patient", r#"{"resourceType":"Patient"}"#);
        bundle("batch", &vec![one; count])
    };
    let calls = || u64::from(app.platform.asked.get()) + u64::from(app.platform.store.batches.get());
    let before = calls();
    assert_eq!(post(&app, &admin, &of(crate::http::batch::MOST_ENTRIES)).status, 200);
    let calls = calls() - before;
    println!("{calls} calls for {} entries", crate::http::batch::MOST_ENTRIES);
    assert!(calls <= 1_000, "{calls} calls");
    let refused = post(&app, &admin, &of(crate::http::batch::MOST_ENTRIES + 1));
    assert_eq!((refused.status, text(&value(&refused), "/issue/0/expression/0")), (422, "Bundle.entry".into()));
    let dependent = bundle("batch", &admission("Doe"));
    let answer = value(&post(&app, &admin, &dependent));
    assert_eq!(text(&answer, "/entry/0/response/status"), "422");
    assert_eq!(text(&answer, "/entry/1/response/status"), "201");
}

/// A transaction as large as a body may be is a bounded number of statements for each resource, none of them over a limit of
/// the platform (SQLite in memory holds to those of parameters, rows and statements).
#[test]
fn a_large_transaction_costs_so_many_statements_a_resource() {
    let (app, admin) = ready();
    let mut entries = vec![admission("Doe")[1].clone(), admission("Doe")[2].clone()];
    let one = |index: usize| {
        let url = format!("urn:uuid:00000000-0000-4000-8000-{index:012}");
        admission("Doe")[0].replace("urn:uuid:00000000-0000-4000-8000-000000000003", &url)
    };
    entries.extend((100..1_500).map(one));
    let body = bundle("transaction", &entries);
    let before = app.platform.sql.statements.get();
    assert_eq!(post(&app, &admin, &body).status, 200);
    let each = (app.platform.sql.statements.get() - before) / entries.len() as u64;
    println!("{} resources, {} bytes, {each} statements each", entries.len(), body.len());
    assert!(body.len() > 500_000 && each <= 30, "{each} statements a resource");
    // The largest resource that is taken is one row.
    let div = format!(r#""text":{{"status":"generated","div":"<div>{}</div>"}}"#, "x".repeat((1 << 20) - 200));
    let large =
        put(&app, &admin, "/fhir/Patient/large", &format!(r#"{{"resourceType":"Patient","id":"large",{div}}}"#));
    assert_eq!(large.status, 201);
}

#[test]
fn each_entry_of_a_batch_is_for_itself() {
    let (app, admin) = ready();
    patient(&app, &admin, "p");
    let entries = [
        entry("urn:a", "POST", "Patient", r#"{"resourceType":"Patient"}"#),
        r#"{"request":{"method":"GET","url":"Patient/p"}}"#.to_owned(),
        r#"{"request":{"method":"GET","url":"Patient/none"}}"#.to_owned(),
        r#"{"request":{"method":"DELETE","url":"Patient/p"}}"#.to_owned(),
        r#"{"request":{"method":"GET","url":"../session"}}"#.to_owned(),
    ];
    let reply = post(&app, &admin, &bundle("batch", &entries));
    let answer = value(&reply);
    let statuses: Vec<_> = (0..5).map(|index| text(&answer, &format!("/entry/{index}/response/status"))).collect();
    assert_eq!(statuses, ["201", "200", "404", "204", "404"]);
    assert_eq!(text(&answer, "/entry/1/resource/id"), "p");
    assert_eq!(text(&answer, "/entry/2/response/outcome/resourceType"), "OperationOutcome");
    assert!(text(&answer, "/entry/0/response/location").starts_with("Patient/"));
}

#[test]
fn what_may_be_written_is_asked_of_each_entry() {
    let (app, admin) = ready();
    patient(&app, &admin, "p");
    user(&app, &admin, "nora", r#""role":"nurse","wards":["w"]"#);
    user(&app, &admin, "pat", r#""role":"patient","patient":"p""#);
    user(&app, &admin, "monitor", r#""role":"device","patients":["p"]"#);
    let [nora, pat, monitor] = ["nora", "pat", "monitor"].map(|name| sign_in(&app, name));
    let whole = bundle("transaction", &admission("Doe"));
    assert_eq!(post(&app, &nora, &whole).status, 403, "a nurse makes no Practitioner");
    assert_eq!(post(&app, &pat, &whole).status, 403);
    assert_eq!(post(&app, &monitor, &whole).status, 403);
    assert_eq!(count(&app, "resources"), 1);
    assert_eq!(post(&app, &admin, &whole).status, 200);
    assert_eq!(post(&app, &nora, &whole).status, 200, "the Practitioner is known now");
    let measured = admission("Doe")[0]
        .replace(PATIENT, "Patient/p")
        .replace(&format!(r#","performer":[{{"reference":"{DOCTOR}"}}]"#), "");
    let one = bundle("transaction", &[measured]);
    assert_eq!(post(&app, &monitor, &one).status, 200);
}

#[test]
fn what_is_no_bundle_to_be_done_is_refused() {
    let (app, admin) = ready();
    for (body, status) in [
        (r#"{"resourceType":"Patient"}"#.to_owned(), 400),
        (bundle("collection", &[]), 422),
        (bundle("transaction", &[r#"{"request":{"method":"GET","url":"Patient"}}"#.to_owned()]), 422),
    ] {
        assert_eq!(post(&app, &admin, &body).status, status, "{body}");
    }
    assert_eq!(put(&app, &admin, "/fhir", "{}").status, 405);
    let reply = post(&app, &admin, &bundle("transaction", &[]));
    assert_eq!((reply.status, header(&reply, "content-type")), (200, Some("application/fhir+json; charset=utf-8")));
}

/// The sixteen bundles, where they are beside the project: each is taken whole, and twice is once.
#[test]
fn the_synthea_bundles_import() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data/synthea");
    let Ok(files) = std::fs::read_dir(folder) else {
        println!("skipped: there is no folder of Synthea bundles beside the project");
        return;
    };
    let (app, admin) = ready();
    let mut bundles: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    bundles.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    bundles.sort();
    let import = |path: &std::path::PathBuf| {
        let body = std::fs::read_to_string(path).unwrap();
        let sent = Sent::new("POST", "/fhir").json(&body).by(&admin).header("idempotency-key", "synthea");
        let reply = ask(&app, &sent);
        assert_eq!(reply.status, 200, "{reply:?}");
        locations(&reply).len()
    };
    let entries: usize = bundles.iter().map(import).sum();
    let before = (count(&app, "resources"), count(&app, "history"), count(&app, "outbox"));
    assert_eq!(entries, bundles.iter().map(import).sum::<usize>());
    assert_eq!((count(&app, "resources"), count(&app, "history"), count(&app, "outbox")), before);
    assert_eq!(count(&app, "resources WHERE kind = 'Patient'"), 16);
    println!("{} bundles, {entries} entries, {} resources", bundles.len(), before.0);
}
