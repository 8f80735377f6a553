//! The HTTP surface over a deployment in one process: one request in, one reply out, no server.

use super::testing::*;
use super::*;
use crate::clinic::courier::Courier;
use crate::testing::{Local, block_on};
use crate::time::UnixMillis;

#[test]
fn the_first_account_is_made_with_the_setup_token_once() {
    let app = app();
    let body = |role: &str| format!(r#"{{"username":"a","name":"A","role":"{role}","password":"{PASSWORD}"}}"#);
    let post = |role: &str, token: &str| {
        let sent = Sent::new("POST", "/users").json(&body(role)).header("authorization", &format!("Setup {token}"));
        ask(&app, &sent).status
    };
    assert_eq!(post("admin", "a-wrong-setup-token-of-some-length-000"), 401);
    assert_eq!(post("nurse", SETUP), 422);
    assert_eq!(post("admin", SETUP), 201);
    assert_eq!(post("admin", SETUP), 409);
}

#[test]
fn create_update_delete_and_history() {
    let (app, token) = ready();
    patient(&app, &token, "p");
    let made = ask(&app, &Sent::new("POST", "/fhir/Observation").json(&observation("p")).by(&token));
    assert_eq!(made.status, 201);
    let id = text(&value(&made), "/id");
    let path = format!("/fhir/Observation/{id}");
    assert_eq!(header(&made, "location"), Some(format!("{ORIGIN}{path}/_history/1").as_str()));
    assert_eq!(header(&made, "last-modified"), Some("Mon, 24 Nov 2025 16:00:00 GMT"));
    assert!(made.body.contains("71.50"), "decimals are kept as written");

    let body = observation("p").replacen('{', &format!(r#"{{"id":"{id}","#), 1);
    let with = |tag: &str| Sent::new("PUT", &path).json(&body).by(&token).header("if-match", tag);
    assert_eq!(ask(&app, &with("W/\"1\"")).status, 200);
    assert_eq!(ask(&app, &with("W/\"1\"")).status, 412);
    assert_eq!(ask(&app, &with("1")).status, 400);
    assert_eq!(ask(&app, &Sent::new("DELETE", &path).by(&token).header("if-match", "W/\"1\"")).status, 412);
    assert_eq!(ask(&app, &Sent::new("DELETE", &path).by(&token)).status, 204);
    let gone = get(&app, &token, &path);
    assert_eq!((gone.status, text(&value(&gone), "/issue/0/code").as_str()), (410, "deleted"));
    assert_eq!(get(&app, &token, &format!("{path}/_history/1")).status, 200);
    let history = value(&get(&app, &token, &format!("{path}/_history?_count=2")));
    assert_eq!(text(&history, "/entry/0/request/method"), "DELETE");
    assert_eq!(text(&history, "/entry/1/response/etag"), "W/\"2\"");
    let next = text(&history, "/link/1/url");
    let rest = value(&get(&app, &token, next.strip_prefix(ORIGIN).unwrap()));
    assert_eq!(text(&rest, "/entry/0/response/status"), "201");
    let again = ask(&app, &with("W/\"3\""));
    assert_eq!(again.status, 412, "a deleted version does not match");
    assert_eq!(put(&app, &token, &path, &body).status, 201);
    let only_new = |id: &str| {
        let body = format!(r#"{{"resourceType":"Patient","id":"{id}"}}"#);
        let sent = Sent::new("PUT", &format!("/fhir/Patient/{id}")).json(&body).by(&token);
        ask(&app, &sent.header("if-none-match", "*")).status
    };
    assert_eq!((only_new("p"), only_new("n")), (412, 201));
}

#[test]
fn bad_input_gets_its_status_and_names_the_field_and_changes_nothing() {
    let (app, token) = ready();
    patient(&app, &token, "p");
    let rows = || {
        let row = app.platform.sql.first("SELECT (SELECT count(*) FROM resources) + (SELECT count(*) FROM audit)", &[]);
        row.unwrap().unwrap().number().unwrap()
    };
    use crate::store::sql::Sql;
    let before = rows();
    let post = |body: &str| Sent::new("POST", "/fhir/Observation").json(body).by(&token);
    let large = format!(r#"{{"resourceType":"Observation","x":"{}"}}"#, "y".repeat(1 << 20));
    let fhir: [(Sent, u16, &str); 11] = [
        (post("{\"resourceType\":"), 400, ""),
        (post(r#"{"resourceType":"Patient"}"#), 400, "resourceType"),
        (post(r#"{"resourceType":"Observation","status":"final"}"#), 422, "Observation.code"),
        (post(&observation("nobody")), 422, "http.subject"),
        (post(&large), 413, "http.body"),
        (Sent { headers: vec![("authorization", format!("Bearer {token}"))], ..post("{}") }, 415, "http.content-type"),
        (Sent::new("PATCH", "/fhir/Observation").by(&token), 405, "http.method"),
        (Sent::new("GET", "/fhir/Observaton/1").by(&token), 404, "http.path"),
        (Sent::new("GET", "/fhir/Patient/p").by(&token).header("accept", "text/html"), 406, "http.accept"),
        (Sent::new("GET", "/fhir/Patient/p?_format=xml").by(&token), 406, "http.accept"),
        (Sent::new("GET", "/fhir/Patient?nam=x").by(&token), 400, "http.nam"),
    ];
    for (sent, status, field) in fhir {
        let reply = ask(&app, &sent);
        assert_eq!(reply.status, status, "{reply:?}");
        assert_eq!(header(&reply, "content-type"), Some("application/fhir+json; charset=utf-8"));
        let outcome = value(&reply);
        assert_eq!(text(&outcome, "/resourceType"), "OperationOutcome");
        let expression = outcome.pointer("/issue/0/expression/0").and_then(|found| found.as_str());
        assert_eq!(expression.unwrap_or_default(), field, "{outcome}");
    }
    let sign_in = |body: &str| Sent::new("POST", "/session").json(body);
    let other: [(Sent, u16, &str); 8] = [
        (sign_in("{"), 400, "body"),
        (sign_in(r#"{"username":"a"}"#), 400, "password"),
        (sign_in(r#"{"username":"a","password":"b","tokn":"c"}"#), 400, "tokn"),
        (sign_in(r#"{"username":"a","password":"b","transport":"carrier pigeon"}"#), 400, "transport"),
        (sign_in(r#"{"username":7,"password":"b"}"#), 400, "username"),
        (Sent::new("GET", "/channels/patient/p?after=x").by(&token), 400, "after"),
        (Sent::new("DELETE", "/users").by(&token), 405, "method"),
        (Sent::new("GET", "/nothing").by(&token), 404, "path"),
    ];
    for (sent, status, field) in other {
        let reply = ask(&app, &sent);
        assert_eq!(reply.status, status, "{reply:?}");
        assert_eq!(header(&reply, "content-type"), Some("application/problem+json"));
        assert_eq!(text(&value(&reply), "/field"), field, "{reply:?}");
        assert!(!reply.body.contains("pigeon"));
    }
    assert_eq!(rows(), before);
    let allow = ask(&app, &Sent::new("PATCH", "/fhir/Observation").by(&token));
    assert_eq!(header(&allow, "allow"), Some("GET, POST"));
}

#[test]
fn no_body_is_read_before_its_caller_is_known() {
    let (app, token) = ready();
    let forged = format!("{}A", &token[..token.len() - 1]);
    for token in ["", "rubbish", &forged] {
        let sent = Sent::new("POST", "/fhir/Observation").json(&observation("p")).by(token);
        assert_eq!(ask(&app, &sent).status, 401);
        assert_eq!(*sent.read.borrow(), 0);
    }
}

#[test]
fn every_route_asks_who_may() {
    let (app, admin) = ready();
    patient(&app, &admin, "p");
    patient(&app, &admin, "q");
    let ward = r#"{"resourceType":"Location","id":"w2","physicalType":{"coding":[{"code":"wa"}]}}"#;
    assert_eq!(put(&app, &admin, "/fhir/Location/w2", ward).status, 201);
    let stay = r#"{"resourceType":"Encounter","id":"e","status":"in-progress","class":{"code":"IMP"},
        "subject":{"reference":"Patient/q"},"location":[{"location":{"reference":"Location/w2"}}]}"#;
    assert_eq!(put(&app, &admin, "/fhir/Encounter/e", stay).status, 201);
    for (name, more) in [
        ("nurse", r#""role":"nurse","wards":["w1"]"#),
        ("patient", r#""role":"patient","patient":"p""#),
        ("device", r#""role":"device","patients":["p"]"#),
        ("display", r#""role":"display","wards":["w1"]"#),
    ] {
        user(&app, &admin, name, more);
    }
    let tokens = ["nurse", "patient", "device", "display"].map(|name| sign_in(&app, name));
    let cases: [(&'static str, &str, &str, [u16; 4]); 11] = [
        ("GET", "/fhir/Patient/p", "", [200, 200, 403, 403]),
        ("GET", "/fhir/Patient/q", "", [403, 403, 403, 403]),
        ("GET", "/fhir/Patient/none", "", [404, 403, 403, 403]),
        ("GET", "/fhir/Encounter/e", "", [403, 403, 403, 403]),
        ("GET", "/fhir/Location/w2", "", [200, 200, 403, 403]),
        ("PUT", "/fhir/Location/w2", ward, [403, 403, 403, 403]),
        ("POST", "/fhir/Observation", &observation("p"), [201, 403, 201, 403]),
        ("POST", "/fhir/Observation", &observation("q"), [403, 403, 403, 403]),
        ("GET", "/channels/patient/p", "", [200, 200, 403, 403]),
        ("GET", "/channels/ward/w2", "", [403, 403, 403, 403]),
        ("GET", "/users", "", [403, 403, 403, 403]),
    ];
    for (method, path, body, expected) in cases {
        for (token, expected) in tokens.iter().zip(expected) {
            let sent = Sent::new(method, path).by(token);
            let sent = if body.is_empty() { sent } else { sent.json(body) };
            let reply = ask(&app, &sent);
            assert_eq!(reply.status, expected, "{method} {path} {reply:?}");
        }
    }
    assert_eq!(get(&app, &tokens[3], "/channels/ward/w1").status, 200);
    let listed = |token: &str| value(&get(&app, token, "/fhir/Patient"))["entry"].as_array().map_or(0, Vec::len);
    assert_eq!((listed(&admin), listed(&tokens[0]), listed(&tokens[1])), (2, 1, 1));
    for path in ["/fhir/Patient/p", "/fhir/Patient", "/channels/patient/p", "/users", "/session"] {
        assert_eq!(ask(&app, &Sent::new("GET", path)).status, 401, "{path}");
    }
}

#[test]
fn an_observation_and_its_event_commit_together() {
    let (app, token) = ready();
    patient(&app, &token, "p");
    let page = |after: &str| value(&get(&app, &token, &format!("/channels/patient/p?after={after}")));
    let empty = value(&get(&app, &token, "/channels/patient/p"));
    let cursor = text(&empty, "/cursor");
    let made = ask(&app, &Sent::new("POST", "/fhir/Observation").json(&observation("p")).by(&token));
    block_on(Courier::default().run(&app.platform.sql, &app.platform, UnixMillis::MAX)).unwrap();
    let events = page(&cursor);
    assert_eq!(text(&events, "/events/0/id"), format!("Observation/{}/_history/1", text(&value(&made), "/id")));
    assert_eq!(events["events"][0]["data"]["version"], 1);
    assert!(events["gap"].is_null());
    let lost = page("other:7");
    let reread = lost["gap"]["reread"].as_array().unwrap();
    assert_eq!(reread[4], "/alerts?patient=p");
    // All of it is there to be read.
    for path in reread {
        assert_eq!(get(&app, &token, path.as_str().unwrap()).status, 200, "{path}");
    }
    assert_eq!(lost["events"].as_array().unwrap().len(), 1);
}

#[test]
fn a_socket_is_granted_to_whom_may_listen() {
    let (app, token) = ready();
    patient(&app, &token, "p");
    let upgrade = |protocol: &str| {
        Sent::new("GET", "/channels/patient/p?after=abc:3")
            .by(&token)
            .header("upgrade", "websocket")
            .header("sec-websocket-protocol", protocol)
    };
    let Reply::Subscribe(subscription) = block_on(handle(&app, &upgrade("x, bedside.v1"))) else { panic!() };
    assert_eq!(subscription.topic, Topic::Patient("p".into()));
    assert_eq!(subscription.after.unwrap().to_string(), "abc:3");
    assert_eq!(ask(&app, &upgrade("bedside.v2")).status, 400);
    assert_eq!(ask(&app, &upgrade("bedside.v1").header("origin", "https://evil.example")).status, 403);
}

#[test]
fn an_event_stream_is_granted_to_whom_may_listen() {
    let (app, token) = ready();
    patient(&app, &token, "p");
    let sent = |query: &str, accept: &str| {
        Sent::new("GET", &format!("/channels/patient/p{query}")).by(&token).header("accept", accept)
    };
    let stream = |sent: &Sent| match block_on(handle(&app, sent)) {
        Reply::Stream(subscription, head) => (subscription.after.map(|after| after.to_string()), head),
        other => panic!("{other:?}"),
    };
    let named = "text/event-stream";
    let (after, head) = stream(&sent("", named));
    assert_eq!((after, head.status), (None, 200));
    assert_eq!(header(&head, "content-type"), Some("text/event-stream; charset=utf-8"));
    assert_eq!(header(&head, "cache-control"), Some("no-store"));
    assert_eq!(header(&head, "x-request-id").map(str::len), Some(36));
    let last = |query, id: &str| sent(query, named).header("last-event-id", id);
    for (sent, expected) in [
        (sent("?after=abc:3", "application/json;q=0.5, Text/Event-Stream;q=0.9"), Some("abc:3")),
        (last("", "abc:5"), Some("abc:5")),
        (last("?after=abc:3", "abc:5"), Some("abc:5")),
        (last("?after=abc:3", ""), Some("abc:3")),
        (last("", ""), None),
    ] {
        assert_eq!(stream(&sent).0.as_deref(), expected);
    }
    for accept in ["*/*", "text/event-stream;q=0, application/json", "application/json", ""] {
        let page = ask(&app, &sent("", accept).header("last-event-id", "not a cursor"));
        assert_eq!(header(&page, "content-type"), Some("application/json; charset=utf-8"), "{accept}");
    }
    for (sent, status, field) in [
        (last("", "rubbish"), 400, "last-event-id"),
        (last("?after=rubbish", "abc:5"), 400, "after"),
        (sent("", "text/*"), 406, "accept"),
    ] {
        let reply = ask(&app, &sent);
        assert_eq!((reply.status, text(&value(&reply), "/field")), (status, field.to_owned()));
    }
    let socket = sent("", named).header("upgrade", "websocket");
    assert!(matches!(block_on(handle(&app, &socket)), Reply::Subscribe(_)));
    let cookieless = Sent::new("GET", "/channels/patient/p").header("accept", named);
    assert_eq!(ask(&app, &cookieless).status, 401);
    user(&app, &token, "dora", r#""role":"device""#);
    let device = Sent::new("GET", "/channels/patient/p").header("accept", named).by(&sign_in(&app, "dora"));
    assert_eq!(ask(&app, &device).status, 403);
}

#[test]
fn a_misconfigured_deployment_serves_nothing_and_says_why() {
    let app = App { config: Rc::new(Config::read(|_| None)), platform: Local::new() };
    for (path, content_type) in
        [("/session", "application/problem+json"), ("/fhir/metadata", "application/fhir+json; charset=utf-8")]
    {
        let reply = ask(&app, &Sent::new("GET", path));
        assert_eq!((reply.status, header(&reply, "content-type")), (503, Some(content_type)));
    }
    let health = ask(&app, &Sent::new("GET", "/healthz"));
    assert_eq!(health.status, 503);
    assert!(text(&value(&health), "/problems/0").contains("SESSION_KEY"));
    assert_eq!(ask(&ready().0, &Sent::new("GET", "/healthz")).status, 200);
}

#[test]
fn the_capability_statement_is_a_valid_resource_and_open() {
    let reply = ask(&app(), &Sent::new("GET", "/fhir/metadata"));
    assert_eq!(reply.status, 200);
    assert!(crate::fhir::Resource::parse(reply.body.as_bytes()).is_ok());
}

#[test]
fn own_absolute_references_count_as_relative() {
    let (app, token) = ready();
    patient(&app, &token, "p");
    let body = observation("p").replace("Patient/p", &format!("{ORIGIN}/fhir/Patient/p"));
    let made = ask(&app, &Sent::new("POST", "/fhir/Observation").json(&body).by(&token));
    assert_eq!(made.status, 201);
    assert_eq!(text(&value(&made), "/subject/reference"), "Patient/p");
}

#[test]
fn our_own_faults_are_reported_with_the_requests_id_and_not_shown() {
    use crate::store::sql::Sql;
    let (app, token) = ready();
    app.platform
        .sql
        .exec("INSERT INTO heads (patient, generation, salt, wards) VALUES ('p', 'g', 's', 'no list')", &[])
        .unwrap();
    let reply = get(&app, &token, "/fhir/Patient/p");
    assert_eq!(reply.status, 500);
    assert_eq!(app.platform.reports.borrow().len(), 1);
}
