//! What is published of a clinic in one process, on a driven clock.

use serde_json::Value;

use super::super::testing::{
    Here, Sent, ask, get, header, patient, put, ready, ready_with, sign_in, text, user, value,
};
use crate::http::reply::Reply;
use crate::testing::block_on;
use crate::time::{Clock, Ttl};

fn write(app: &Here, admin: &str, path: &str, body: &str) {
    let id = path.rsplit('/').next().unwrap();
    let kind = path.split('/').next().unwrap();
    let body = format!(r#"{{"resourceType":"{kind}","id":"{id}",{body}}}"#);
    let reply = put(app, admin, &format!("/fhir/{path}"), &body);
    assert!(reply.status < 300, "{reply:?}");
}

fn in_minutes(app: &Here, minutes: u64) -> String {
    app.platform.now().plus(Ttl::from_mins(minutes)).to_rfc3339()
}

fn slot(app: &Here, admin: &str, id: &str, schedule: &str, status: &str, minutes: u64) {
    let (start, end) = (in_minutes(app, minutes), in_minutes(app, minutes + 20));
    let body = format!(
        r#""identifier":[{{"value":"MRN-SECRET"}}],"comment":"for Mr SECRET","status":"{status}","start":"{start}","end":"{end}",
           "schedule":{{"reference":"Schedule/{schedule}","display":"SECRET"}},
           "extension":[{{"url":"http://x.example/whom","valueReference":{{"reference":"Patient/secret"}}}},
           {{"url":"http://fhir-registry.smarthealthit.org/StructureDefinition/booking-deep-link","valueUrl":"https://b.example/{id}"}}]"#
    );
    write(app, admin, &format!("Slot/{id}"), &body);
}

/// A clinic with two Locations, a ward, and four Schedules: one at a Location, one closed, one nowhere, one of a patient.
fn clinic(settings: &[(&str, &str)]) -> (Here, String) {
    let (app, admin) = if settings.is_empty() { ready() } else { ready_with(settings) };
    patient(&app, &admin, "secret");
    let place = r#""name":"Flynn's","telecom":[{"system":"phone","value":"413"}],"address":{"city":"Pittsfield"},"status":"active""#;
    for id in ["north", "south", "ward"] {
        write(&app, &admin, &format!("Location/{id}"), place);
    }
    let at = |location: &str, more: &str| {
        let actors =
            format!(r#"{{"reference":"Location/{location}"}},{{"reference":"Practitioner/d","display":"Dr D"}}"#);
        format!(r#""comment":"SECRET","serviceType":[{{"text":"flu"}}],"actor":[{actors}]{more}"#)
    };
    write(&app, &admin, "Schedule/s", &at("north", ""));
    write(&app, &admin, "Schedule/closed", &at("south", r#","active":false"#));
    write(&app, &admin, "Schedule/nowhere", r#""actor":[{"reference":"Practitioner/d"}]"#);
    write(&app, &admin, "Schedule/secret", &at("ward", "").replace("Practitioner/d", "Patient/secret"));
    slot(&app, &admin, "free", "s", "free", 60);
    slot(&app, &admin, "held", "s", "busy-tentative", 80);
    slot(&app, &admin, "wrong", "s", "entered-in-error", 90);
    slot(&app, &admin, "closed", "closed", "free", 100);
    slot(&app, &admin, "nowhere", "nowhere", "free", 100);
    slot(&app, &admin, "secret", "secret", "free", 120);
    (app, admin)
}

/// All lines of a file, and its tag.
fn lines(app: &Here, token: &str, url: &str) -> (Vec<Value>, String) {
    let sent = Sent::new("GET", url);
    let sent = if token.is_empty() { sent } else { sent.by(token) };
    match block_on(crate::http::handle(app, &sent)) {
        Reply::Lines(mut lines, head) => {
            assert_eq!(header(&head, "content-type"), Some("application/fhir+ndjson"));
            let mut all = String::new();
            while let Some(text) = block_on(lines.next(&app.platform)).unwrap() {
                assert!(text.ends_with('\n'));
                all.push_str(&text);
            }
            assert!(!all.to_lowercase().contains("secret"), "{all}");
            let tag = header(&head, "etag").unwrap().to_owned();
            (all.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), tag)
        }
        other => panic!("{other:?}"),
    }
}

fn ids(found: &[Value]) -> Vec<String> {
    found.iter().map(|one| format!("{} {}", text(one, "/id"), one["status"].as_str().unwrap_or("-"))).collect()
}

fn local(url: &Value) -> String {
    url.as_str().unwrap().strip_prefix(super::super::testing::ORIGIN).unwrap().to_owned()
}

#[test]
fn what_is_published_is_places_and_times_and_of_nobody() {
    let (app, admin) = clinic(&[]);
    let manifest = get(&app, &admin, "/fhir/$bulk-publish");
    let body = value(&manifest);
    assert_eq!((manifest.status, body["requiresAccessToken"].as_bool()), (200, Some(true)));
    assert_eq!(text(&body, "/request"), "https://ward.example/fhir/$bulk-publish");
    assert_eq!((body["error"].as_array(), body["deleted"].as_array()), (Some(&vec![]), Some(&vec![])));
    let types: Vec<_> = body["output"].as_array().unwrap().iter().map(|one| text(one, "/type")).collect();
    assert_eq!(types, ["Location", "Schedule", "Slot"]);
    let file = |position: usize| lines(&app, &admin, &local(&body["output"][position]["url"])).0;
    let (locations, schedules, slots) = (file(0), file(1), file(2));
    assert_eq!(ids(&locations), ["north active", "south active"]);
    assert_eq!(text(&locations[0], "/address/city"), "Pittsfield");
    assert_eq!(ids(&schedules), ["s -", "closed -"]);
    assert_eq!(schedules[0]["actor"], serde_json::json!([{ "reference": "Location/north" }]));
    assert_eq!(text(&schedules[0], "/serviceType/0/text"), "flu");
    assert_eq!(ids(&slots), ["free free", "held busy", "closed busy"]);
    assert_eq!(slots[0]["schedule"], serde_json::json!({ "reference": "Schedule/s" }));
    assert_eq!(slots[0]["extension"].as_array().unwrap().len(), 1);
    assert_eq!(text(&slots[0], "/extension/0/valueUrl"), "https://b.example/free");
}

#[test]
fn a_tag_stands_for_what_was_published_until_one_of_it_is_written() {
    let (app, admin) = clinic(&[]);
    let asked = |path: &str, tag: &str| {
        let reply =
            block_on(crate::http::handle(&app, &Sent::new("GET", path).header("if-none-match", tag).by(&admin)));
        match reply {
            Reply::Response(head) | Reply::Lines(_, head) => head,
            other => panic!("{other:?}"),
        }
    };
    let tag = header(&get(&app, &admin, "/fhir/$bulk-publish"), "etag").unwrap().to_owned();
    patient(&app, &admin, "another");
    for path in ["/fhir/$bulk-publish", "/fhir/$bulk-publish/Slot.ndjson"] {
        let known = asked(path, &format!("\"other\", {tag}"));
        assert_eq!((known.status, &*known.body, header(&known, "etag")), (304, "", Some(&*tag)));
    }
    slot(&app, &admin, "free", "s", "busy", 60);
    for path in ["/fhir/$bulk-publish", "/fhir/$bulk-publish/Slot.ndjson"] {
        let changed = asked(path, &tag);
        assert_eq!(changed.status, 200);
        assert_ne!(header(&changed, "etag"), Some(&*tag));
    }
}

#[test]
fn who_asks_for_changes_gets_all_of_them_and_what_was_deleted() {
    let (app, admin) = clinic(&[]);
    app.platform.pass(Ttl::from_mins(1));
    slot(&app, &admin, "free", "s", "free", 59);
    let since = text(&value(&get(&app, &admin, "/fhir/$bulk-publish")), "/transactionTime");
    app.platform.pass(Ttl::from_mins(1));
    slot(&app, &admin, "held", "s", "free", 80);
    slot(&app, &admin, "new", "s", "free", 200);
    for path in ["Slot/free", "Slot/new"] {
        assert_eq!(ask(&app, &Sent::new("DELETE", &format!("/fhir/{path}")).by(&admin)).status, 204);
    }
    slot(&app, &admin, "new", "s", "free", 220);
    let manifest = value(&get(&app, &admin, &format!("/fhir/$bulk-publish?_since={since}")));
    assert_eq!(text(&manifest, "/request"), format!("https://ward.example/fhir/$bulk-publish?_since={since}"));
    let file = |pointer: &str| lines(&app, &admin, &local(manifest.pointer(pointer).unwrap())).0;
    assert_eq!(ids(&file("/output/2/url")), ["held free", "new free"]);
    let deleted = file("/deleted/0/url");
    assert_eq!(deleted.len(), 1, "what is there again is not deleted");
    assert_eq!(text(&deleted[0], "/entry/0/request/url"), "Slot/free");
    assert_eq!(text(&deleted[0], "/entry/0/request/method"), "DELETE");
    // A Schedule that closes closes its Slots, which nobody has written.
    let since = text(&manifest, "/transactionTime");
    app.platform.pass(Ttl::from_mins(1));
    let closed = r#""active":false,"actor":[{"reference":"Location/north"}]"#;
    write(&app, &admin, "Schedule/s", closed);
    let (slots, _) = lines(&app, &admin, &format!("/fhir/$bulk-publish/Slot.ndjson?_since={since}"));
    assert_eq!(ids(&slots), ["held busy", "wrong busy", "new busy"]);
    // What begins on another day is not in it.
    app.platform.pass(Ttl::from_mins(48 * 60));
    let admin = sign_in(&app, "admin");
    assert_eq!(lines(&app, &admin, "/fhir/$bulk-publish/Slot.ndjson").0.len(), 0);
}

#[test]
fn many_slots_come_in_pages_that_are_not_held_together() {
    let (app, admin) = clinic(&[]);
    for from in (0..420).step_by(60) {
        let entries: Vec<String> = (from..from + 60)
            .map(|index| {
                let (start, end) = (in_minutes(&app, 300 + index / 3), in_minutes(&app, 320 + index / 3));
                format!(
                    r#"{{"request":{{"method":"PUT","url":"Slot/m{index}"}},"resource":{{"resourceType":"Slot","id":"m{index}",
                       "schedule":{{"reference":"Schedule/s"}},"status":"free","start":"{start}","end":"{end}"}}}}"#
                )
            })
            .collect();
        let body = format!(r#"{{"resourceType":"Bundle","type":"transaction","entry":[{}]}}"#, entries.join(","));
        assert_eq!(ask(&app, &Sent::new("POST", "/fhir").json(&body).by(&admin)).status, 200);
    }
    let Reply::Lines(mut lines, _) =
        block_on(crate::http::handle(&app, &Sent::new("GET", "/fhir/$bulk-publish/Slot.ndjson").by(&admin)))
    else {
        panic!()
    };
    let mut pages = Vec::new();
    while let Some(text) = block_on(lines.next(&app.platform)).unwrap() {
        pages.push(text.lines().count());
    }
    assert!(pages.iter().all(|lines| *lines <= 200) && pages.len() >= 3, "{pages:?}");
    assert_eq!(pages.iter().sum::<usize>(), 423);
}

#[test]
fn it_is_for_whoever_is_signed_in_and_for_everybody_where_a_setting_says_so() {
    let (app, admin) = clinic(&[]);
    user(&app, &admin, "pat", r#""role":"patient","patient":"secret""#);
    user(&app, &admin, "dev", r#""role":"device","patients":["secret"]"#);
    for (token, status) in [(Some(sign_in(&app, "pat")), 200), (Some(sign_in(&app, "dev")), 403), (None, 401)] {
        let sent = Sent::new("GET", "/fhir/$bulk-publish");
        assert_eq!(ask(&app, &token.iter().fold(sent, |sent, token| sent.by(token))).status, status);
    }
    assert_eq!(lines(&app, &sign_in(&app, "pat"), "/fhir/$bulk-publish/Slot.ndjson").0.len(), 3, "the same for all");
    for (path, status) in [
        ("?_since=yesterday", 400),
        ("?_type=Slot", 400),
        ("/deleted.ndjson", 400),
        ("/Location.ndjson?_since=2026-01-01T00:00:00Z", 400),
        ("/Patient.ndjson", 404),
    ] {
        assert_eq!(get(&app, &admin, &format!("/fhir/$bulk-publish{path}")).status, status, "{path}");
    }
    let (open, _) = clinic(&[("PUBLISH_SLOTS_TO", "everybody")]);
    let manifest = ask(&open, &Sent::new("GET", "/fhir/$bulk-publish"));
    assert_eq!((manifest.status, value(&manifest)["requiresAccessToken"].as_bool()), (200, Some(false)));
    assert_eq!(lines(&open, "", "/fhir/$bulk-publish/Slot.ndjson").0.len(), 3);
    assert_eq!(ask(&open, &Sent::new("GET", "/fhir/Slot")).status, 401, "and nothing else is");
}
