//! Records that were brought back from a backup, in a deployment in one process whose other parts were brought back or not.

use super::testing::*;
use super::*;
use crate::clinic::courier::Courier;
use crate::store::sql::Sql;
use crate::testing::block_on;
use crate::time::{Ttl, UnixMillis};

fn deliver(app: &Here) {
    assert!(block_on(Courier::default().run(&app.platform.sql, &app.platform, UnixMillis::MAX)).unwrap());
}

/// Changes the Patient and observes them: the id of the event, and the Patient's version.
fn change(app: &Here, token: &str, city: &str) -> (String, u64) {
    let body = format!(r#"{{"resourceType":"Patient","id":"p","address":[{{"city":"{city}"}}]}}"#);
    let reply = put(app, token, "/fhir/Patient/p", &body);
    assert!(reply.status < 300, "{reply:?}");
    let version = text(&value(&reply), "/meta/versionId").parse().unwrap();
    (observe(app, token, "p"), version)
}

fn observe(app: &Here, token: &str, patient: &str) -> String {
    let reply = ask(app, &Sent::new("POST", "/fhir/Observation").json(&observation(patient)).by(token));
    assert_eq!(reply.status, 201, "{reply:?}");
    deliver(app);
    let of = |pointer| text(&value(&reply), pointer);
    format!("Observation/{}/_history/{}", of("/id"), of("/meta/versionId"))
}

fn lease(app: &Here, token: &str, request: &str) -> u64 {
    let body = format!(r#"{{"request_id":"{request}"}}"#);
    let reply = ask(app, &Sent::new("POST", "/leases/bed").json(&body).by(token));
    assert_eq!(reply.status, 201, "{reply:?}");
    let fence = value(&reply)["fence"].as_u64().unwrap();
    assert_eq!(ask(app, &Sent::new("DELETE", &format!("/leases/bed?fence={fence}")).by(token)).status, 204);
    fence
}

fn page(app: &Here, token: &str, after: &str) -> serde_json::Value {
    let reply = get(app, token, &format!("/channels/patient/p?after={after}"));
    assert_eq!(reply.status, 200, "{reply:?}");
    value(&reply)
}

/// A deployment as the backup was made of it, with the tokens of an administrator and a nurse.
fn backup() -> (Here, String, String) {
    let (app, admin) = ready();
    user(&app, &admin, "nora", r#""role":"nurse""#);
    let nora = sign_in(&app, "nora");
    change(&app, &admin, "before");
    lease(&app, &admin, "1");
    (app, admin, nora)
}

fn brought_back(topics: bool) {
    let (ahead, admin, nora) = backup();
    let of_backup = text(&page(&ahead, &admin, "0~0~0"), "/cursor");
    // What the backup does not know of.
    for city in ["lost", "lost too"] {
        change(&ahead, &admin, city);
    }
    let highest = (2..5).map(|request| lease(&ahead, &admin, &request.to_string())).max().unwrap();
    let password = r#"{"password":"another long enough one"}"#;
    let nora_id = text(&value(&get(&ahead, &nora, "/session")), "/user/id");
    assert_eq!(put(&ahead, &admin, &format!("/users/{nora_id}/password"), password).status, 200);
    let body = r#"{"username":"nora","password":"another long enough one","transport":"bearer"}"#;
    assert_eq!(ask(&ahead, &Sent::new("POST", "/session").json(body)).status, 201, "the store has the new standing");
    assert!(text(&value(&get(&ahead, &admin, "/fhir/Patient/p")), "/address/0/city") == "lost too");
    let lost = text(&page(&ahead, &admin, &of_backup), "/cursor");
    ahead.platform.pass(Ttl::from_secs(60));

    let platform = ahead.platform.brought_back(backup().0.platform, topics);
    let restored = platform.restored.get();
    let app = App { platform, ..app_with(&[("RESTORED_AT", &restored.to_rfc3339())]) };
    // Sessions end, and nobody is kept from signing in by what the store knows and the backup does not.
    for token in [&admin, &nora] {
        assert_eq!(get(&app, token, "/session").status, 401);
    }
    let (admin, nora) = (sign_in(&app, "admin"), sign_in(&app, "nora"));
    assert_eq!(get(&app, &nora, "/session").status, 200);
    // Caches are void.
    let read = get(&app, &admin, "/fhir/Patient/p");
    assert_eq!(text(&value(&read), "/address/0/city"), "before");
    assert!(header(&read, "cache-status").unwrap().contains("fwd="), "{read:?}");
    // Fences go on above the old maximum, and so do versions.
    let fence = lease(&app, &admin, "6");
    assert!(fence > highest && fence < 1 << 53, "{fence} after {highest}");
    // Every cursor of before meets a gap, also once there are more events than it has seen.
    for cursor in [&of_backup, &lost] {
        assert!(page(&app, &admin, cursor)["gap"].is_object(), "{cursor}");
    }
    let position = header(&read, "bedside-cursor").unwrap().split_once('=').unwrap().1.to_owned();
    let first = page(&app, &admin, &position);
    assert!(first["gap"].is_null() && first["events"].as_array().unwrap().is_empty(), "{first}");
    let written: Vec<(String, u64)> = ["a", "b", "c", "d"].iter().map(|city| change(&app, &admin, city)).collect();
    assert!(written.iter().all(|(_, version)| *version > 3), "{written:?}");
    let after = page(&app, &admin, &position);
    assert!(after["gap"].is_null(), "{after}");
    let ids: Vec<String> = after["events"].as_array().unwrap().iter().map(|event| text(event, "/id")).collect();
    assert_eq!(ids, written.into_iter().map(|(id, _)| id).collect::<Vec<_>>());
    for cursor in [&of_backup, &lost] {
        assert!(page(&app, &admin, cursor)["gap"].is_object(), "{cursor}");
    }
    // A patient whom the clinic of the backup had never heard of is told of from their first event on.
    patient(&app, &admin, "new");
    let read = get(&app, &admin, "/fhir/Patient/new");
    let position = header(&read, "bedside-cursor").unwrap().split_once('=').unwrap().1.to_owned();
    let observed = observe(&app, &admin, "new");
    let events = value(&get(&app, &admin, &format!("/channels/patient/new?after={position}")));
    assert_eq!((text(&events, "/events/0/id"), &events["gap"]), (observed, &serde_json::Value::Null));
    let audited = "SELECT count(*) FROM audit WHERE entity LIKE 'restore/%'";
    assert_eq!(app.platform.sql.first(audited, &[]).unwrap().unwrap().number().unwrap(), 1);
}

#[test]
fn everything_was_brought_back() {
    brought_back(true);
}

#[test]
fn only_the_records_were_brought_back() {
    brought_back(false);
}
