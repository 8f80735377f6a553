//! `/leases/{name}` over a deployment in one process.

use super::testing::{Here, Sent, ask, get, header, put, ready, sign_in, text, user, value};
use super::*;
use crate::clinic::notices;
use crate::lease;
use crate::store::memory::Fault;
use crate::store::sql::Sql;
use crate::testing::block_on;
use crate::time::{Clock, Ttl};

/// A ward with an administrator, two nurses and a doctor: their tokens.
fn ward() -> (Here, [String; 4]) {
    let (app, admin) = ready();
    user(&app, &admin, "nora", r#""role":"nurse""#);
    user(&app, &admin, "otto", r#""role":"nurse""#);
    user(&app, &admin, "paula", r#""role":"practitioner""#);
    let [nora, otto, paula] = ["nora", "otto", "paula"].map(|name| sign_in(&app, name));
    (app, [admin, nora, otto, paula])
}

fn post(app: &Here, token: &str, body: &str) -> Response {
    ask(app, &Sent::new("POST", "/leases/bed:1").json(body).by(token))
}

fn delete(app: &Here, token: &str, query: &str) -> Response {
    ask(app, &Sent::new("DELETE", &format!("/leases/bed:1{query}")).by(token))
}

fn in_secs(app: &Here, seconds: u64) -> String {
    app.platform.now().plus(Ttl::from_secs(seconds)).to_rfc3339()
}

#[test]
fn a_lease_is_granted_renewed_and_revoked() {
    let (app, [_, nora, otto, _]) = ward();
    let made = post(&app, &nora, r#"{"request_id":"a"}"#);
    let body = serde_json::json!({ "name": "bed:1", "fence": 1, "expires_at": in_secs(&app, 30),
        "expires_in_ms": 30_000, "ttl_seconds": 30 });
    assert_eq!((made.status, value(&made)), (201, body.clone()));
    let again = post(&app, &nora, r#"{"request_id":"a","ttl_seconds":90}"#);
    assert_eq!((again.status, value(&again)), (200, body), "the grant of before, whatever is asked for now");

    app.platform.pass(Ttl(10_500));
    let taken = post(&app, &otto, r#"{"request_id":"a"}"#);
    assert_eq!((taken.status, header(&taken, "retry-after")), (409, Some("20")));
    assert_eq!(header(&taken, "content-type"), Some("application/problem+json"));
    let problem = value(&taken);
    assert_eq!((text(&problem, "/name"), text(&problem, "/holder")), ("bed:1".into(), "N".into()));
    assert_eq!((problem["position"].as_u64(), problem["expires_in_ms"].as_u64()), (Some(1), Some(19_500)));
    assert_eq!(problem["expires_at"], app.platform.now().plus(Ttl(19_500)).to_rfc3339());
    assert_eq!((text(&problem, "/field"), text(&problem, "/retry")), ("name".into(), "after".into()));
    assert!(problem.get("fence").is_none());

    let renewed = put(&app, &nora, "/leases/bed:1", r#"{"fence":1,"ttl_seconds":3600}"#);
    assert_eq!((renewed.status, text(&value(&renewed), "/expires_at")), (200, in_secs(&app, 3_600)));
    for reply in [put(&app, &otto, "/leases/bed:1", r#"{"fence":1}"#), delete(&app, &otto, "?fence=1")] {
        assert_eq!((reply.status, text(&value(&reply), "/field")), (409, "fence".into()));
        assert_eq!((text(&value(&reply), "/retry"), header(&reply, "retry-after")), ("never".into(), None));
    }
    assert_eq!(delete(&app, &nora, "?fence=2").status, 409);
    assert_eq!(delete(&app, &nora, "?fence=1").status, 204);
    assert_eq!(delete(&app, &nora, "?fence=1").status, 409);
    assert_eq!(value(&post(&app, &otto, r#"{"request_id":"a"}"#))["fence"], 2);
}

#[test]
fn the_fence_is_the_holders_to_see() {
    let (app, [admin, nora, otto, paula]) = ward();
    let free = serde_json::json!({ "held": false, "waiting": 0 });
    assert_eq!(value(&get(&app, &otto, "/leases/bed:1")), free);
    assert_eq!(post(&app, &nora, r#"{"request_id":"a","ttl_seconds":60}"#).status, 201);
    let held = serde_json::json!({ "held": true, "holder": "N", "since": in_secs(&app, 0),
        "expires_at": in_secs(&app, 60), "expires_in_ms": 60_000, "waiting": 0 });
    let mut with_fence = held.clone();
    with_fence["fence"] = 1.into();
    for (token, expected) in [(&nora, &with_fence), (&admin, &with_fence), (&otto, &held), (&paula, &held)] {
        assert_eq!(value(&get(&app, token, "/leases/bed%3A1")), *expected);
    }
    app.platform.pass(Ttl::from_secs(60));
    assert_eq!(value(&get(&app, &nora, "/leases/bed:1")), free);
}

#[test]
fn bad_input_names_its_field_and_takes_no_lease() {
    let (app, [_, nora, ..]) = ward();
    let long = format!(r#"{{"request_id":"{}"}}"#, "r".repeat(65));
    let bodies: [(&str, u16, &str); 13] = [
        ("{", 400, "body"),
        ("{}", 400, "request_id"),
        (r#"{"request_id":7}"#, 400, "request_id"),
        (r#"{"request_id":""}"#, 422, "request_id"),
        (r#"{"request_id":"a/b"}"#, 422, "request_id"),
        (&long, 422, "request_id"),
        (r#"{"request_id":"a","ttl_seconds":0}"#, 422, "ttl_seconds"),
        (r#"{"request_id":"a","ttl_seconds":-1}"#, 422, "ttl_seconds"),
        (r#"{"request_id":"a","ttl_seconds":3601}"#, 422, "ttl_seconds"),
        (r#"{"request_id":"a","ttl_seconds":1.5}"#, 400, "ttl_seconds"),
        (r#"{"request_id":"a","wait_seconds":61}"#, 422, "wait_seconds"),
        (r#"{"request_id":"a","push":true}"#, 422, "wait_seconds"),
        (r#"{"request_id":"a","ttl":5}"#, 400, "ttl"),
    ];
    let check = |reply: Response, status: u16, field: &str| {
        assert_eq!((reply.status, text(&value(&reply), "/field").as_str()), (status, field), "{reply:?}");
    };
    for (body, status, field) in bodies {
        check(post(&app, &nora, body), status, field);
    }
    for (body, status, field) in [
        ("{}", 400, "fence"),
        (r#"{"fence":-1}"#, 400, "fence"),
        (r#"{"fence":1,"ttl_seconds":3601}"#, 422, "ttl_seconds"),
    ] {
        check(put(&app, &nora, "/leases/bed:1", body), status, field);
    }
    for (query, field) in
        [("", "fence"), ("?fence=x", "fence"), ("?fence=1&fence=2", "fence"), ("?fence=1&why=x", "query")]
    {
        check(delete(&app, &nora, query), 400, field);
    }
    check(get(&app, &nora, "/leases/bed:1?fence=1"), 400, "query");
    check(get(&app, &nora, "/leases/bed%2F1"), 404, "path");
    check(get(&app, &nora, &format!("/leases/{}", "n".repeat(129))), 404, "path");
    assert_eq!(ask(&app, &Sent::new("PATCH", "/leases/a").by(&nora)).status, 405);
    assert_eq!(value(&get(&app, &nora, "/leases/bed:1"))["held"], false);
}

#[test]
fn leases_are_for_staff() {
    let (app, admin) = ready();
    for (name, more) in [
        ("patient", r#""role":"patient","patient":"p""#),
        ("device", r#""role":"device","patients":["p"]"#),
        ("display", r#""role":"display","wards":["w1"]"#),
    ] {
        user(&app, &admin, name, more);
        let token = sign_in(&app, name);
        let sent = Sent::new("POST", "/leases/bed:1").json(r#"{"request_id":"a"}"#).by(&token);
        assert_eq!((ask(&app, &sent).status, *sent.read.borrow()), (403, 0), "{name}");
        assert_eq!(put(&app, &token, "/leases/bed:1", r#"{"fence":1}"#).status, 403);
        assert_eq!(delete(&app, &token, "?fence=1").status, 403);
        assert_eq!(get(&app, &token, "/leases/bed:1").status, 403);
    }
    for method in ["GET", "POST", "PUT", "DELETE"] {
        assert_eq!(ask(&app, &Sent::new(method, "/leases/bed:1")).status, 401, "{method}");
    }
    assert_eq!(post(&app, &admin, r#"{"request_id":"a"}"#).status, 201);
}

#[test]
fn a_lost_reply_says_unknown_and_the_retry_finds_the_grant() {
    let (app, [_, nora, otto, _]) = ward();
    app.platform.leases.fail_next(Fault::After);
    let unknown = post(&app, &nora, r#"{"request_id":"a"}"#);
    assert_eq!((unknown.status, text(&value(&unknown), "/retry")), (504, "after-looking".into()));
    assert_eq!(post(&app, &otto, r#"{"request_id":"b"}"#).status, 409);
    let found = post(&app, &nora, r#"{"request_id":"a"}"#);
    assert_eq!((found.status, value(&found)["fence"].as_u64()), (200, Some(1)));
    app.platform.leases.fail_next(Fault::Before);
    assert_eq!(put(&app, &nora, "/leases/bed:1", r#"{"fence":1,"ttl_seconds":60}"#).status, 503);
    assert_eq!(text(&value(&get(&app, &nora, "/leases/bed:1")), "/expires_at"), in_secs(&app, 30));
}

#[test]
fn whoever_waits_has_the_lease_when_it_ends_and_claims_it() {
    let (app, [_, nora, otto, paula]) = ward();
    app.platform.leases.sleep.set(|clock, until| clock.0.set(until.0));
    assert_eq!(post(&app, &nora, r#"{"request_id":"a","ttl_seconds":5}"#).status, 201);
    let vain = post(&app, &otto, r#"{"request_id":"b","wait_seconds":4}"#);
    assert_eq!((vain.status, value(&vain)["position"].as_u64()), (409, Some(1)));
    assert_eq!(value(&get(&app, &nora, "/leases/bed:1"))["waiting"], 0, "its place was given up");
    let turn = post(&app, &paula, r#"{"request_id":"c","ttl_seconds":90,"wait_seconds":60}"#);
    let body = value(&turn);
    assert_eq!((turn.status, body["fence"].as_u64(), body["ttl_seconds"].as_u64()), (201, Some(2), Some(90)));
    assert_eq!((body["claim_within_ms"].as_u64(), body["expires_in_ms"].as_u64()), (Some(1_000), Some(1_000)));
    let claimed = put(&app, &paula, "/leases/bed:1", r#"{"fence":2}"#);
    assert_eq!((claimed.status, text(&value(&claimed), "/expires_at")), (200, in_secs(&app, 90)));
    assert!(value(&claimed).get("claim_within_ms").is_none());
    // Nobody claims this one, and the next one is given it.
    assert_eq!(put(&app, &paula, "/leases/bed:1", r#"{"fence":2,"ttl_seconds":1}"#).status, 200);
    assert_eq!(post(&app, &nora, r#"{"request_id":"d","wait_seconds":60}"#).status, 201);
    let next = post(&app, &otto, r#"{"request_id":"e","wait_seconds":60}"#);
    assert_eq!((next.status, value(&next)["fence"].as_u64()), (201, Some(4)));
}

/// A call that fails in the middle of a wait costs nobody the turn.
#[test]
fn whoever_waits_goes_on_after_a_failure() {
    for fault in [Fault::Before, Fault::After] {
        let (app, [_, nora, otto, _]) = ward();
        app.platform.leases.sleep.set(|clock, until| clock.0.set(until.0));
        assert_eq!(post(&app, &nora, r#"{"request_id":"a","ttl_seconds":5}"#).status, 201);
        app.platform.leases.fail_later(1, fault);
        let turn = post(&app, &otto, r#"{"request_id":"b","wait_seconds":9}"#);
        assert_eq!((turn.status, value(&turn)["fence"].as_u64()), (201, Some(2)), "{fault:?}: {turn:?}");
        // The first call of all is told of: its caller has no place yet that it knew of.
        app.platform.leases.fail_later(0, fault);
        let refused = post(&app, &nora, r#"{"request_id":"c","wait_seconds":9}"#);
        assert!(refused.status > 500, "{fault:?}: {refused:?}");
    }
}

#[test]
fn several_are_granted_together_or_not_at_all() {
    let (app, [_, nora, otto, _]) = ward();
    let several = |token: &str, body: &str| ask(&app, &Sent::new("POST", "/leases").json(body).by(token));
    let wanted = r#"{"names":["slot:2","slot:1"],"request_id":"a","ttl_seconds":60}"#;
    let made = several(&nora, wanted);
    assert_eq!(made.status, 201, "{made:?}");
    let leases = &value(&made)["leases"];
    assert_eq!([text(leases, "/0/name"), text(leases, "/1/name")], ["slot:1", "slot:2"]);
    assert_eq!(leases[1]["expires_in_ms"], 60_000);
    let again = several(&nora, wanted);
    assert_eq!((again.status, value(&again)["leases"][0]["fence"].as_u64()), (200, Some(1)));
    let taken = several(&otto, r#"{"names":["slot:0","slot:2"],"request_id":"a"}"#);
    assert_eq!((taken.status, text(&value(&taken), "/name")), (409, "slot:2".into()));
    assert_eq!(value(&get(&app, &nora, "/leases/slot:0"))["held"], false);
    let many = format!(r#"{{"names":[{}"x"],"request_id":"a"}}"#, r#""x","#.repeat(16));
    for (body, field) in [
        (r#"{"names":[],"request_id":"a"}"#, "names"),
        (r#"{"names":["a","b/c"],"request_id":"a"}"#, "names[1]"),
        (&many, "names"),
    ] {
        let refused = several(&otto, body);
        assert_eq!((refused.status, text(&value(&refused), "/field").as_str()), (422, field));
    }
}

#[test]
fn an_administrator_breaks_a_lease_on_record_and_its_holder_is_told() {
    let (app, [admin, nora, otto, _]) = ward();
    let breaks = |token: &str, body: &str| ask(&app, &Sent::new("POST", "/leases/bed:1/break").json(body).by(token));
    let reason = r#"{"reason":"the ward is being moved"}"#;
    assert_eq!(breaks(&admin, reason).status, 409, "nobody holds it");
    assert_eq!(post(&app, &nora, r#"{"request_id":"a"}"#).status, 201);
    assert_eq!(breaks(&otto, reason).status, 403);
    assert_eq!(breaks(&admin, r#"{"reason":" "}"#).status, 422);
    let broken = breaks(&admin, reason);
    assert_eq!((broken.status, value(&broken)["fence"].as_u64()), (200, Some(1)));
    assert_eq!(put(&app, &nora, "/leases/bed:1", r#"{"fence":1}"#).status, 409);
    let row = app
        .platform
        .sql
        .first("SELECT entity, reason FROM audit JOIN audit_reasons USING (seq) ORDER BY seq DESC LIMIT 1", &[]);
    let mut row = row.unwrap().unwrap();
    let written = (row.text().unwrap(), row.text().unwrap());
    assert_eq!(written, ("lease/bed:1/1/break".into(), "the ward is being moved".into()));
    // What the leases' object has to tell reaches the holder's own channel, once however often it is told.
    let losses = lease::sql::losses(&app.platform.leases.sql, 10).unwrap();
    for (_, loss) in [&losses[..], &losses[..]].concat() {
        block_on(notices::lease_lost(&app.platform, &loss)).unwrap();
    }
    let me = text(&value(&get(&app, &nora, "/session")), "/user/id");
    let events = value(&get(&app, &nora, &format!("/channels/user/{me}")));
    assert_eq!(events["events"].as_array().unwrap().len(), 1, "{events}");
    assert_eq!(text(&events, "/events/0/kind"), "lease");
    let data = serde_json::json!({ "name": "bed:1", "fence": 1, "request_id": "a", "state": "broken", "by": "A",
        "reason": "the ward is being moved" });
    assert_eq!(events["events"][0]["data"], data);
}
