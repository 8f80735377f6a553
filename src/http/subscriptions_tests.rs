use super::testing::*;
use super::*;
use crate::clinic::courier::Courier;
use crate::clinic::subscriptions::Subscriptions;
use crate::testing::block_on;
use crate::time::Ttl;

const BACKPORT: &str = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition";

fn subscription(id: &str) -> String {
    format!(
        r#"{{"resourceType":"Subscription",{id}"status":"requested","reason":"r",
            "criteria":"https://bedside.example/fhir/SubscriptionTopic/vital-signs",
            "channel":{{"type":"websocket","payload":"application/fhir+json","_payload":{{"extension":[
                {{"url":"{BACKPORT}/backport-payload-content","valueCode":"full-resource"}}]}}}}}}"#
    )
}

fn deliver(app: &Here) {
    let courier = Courier::default();
    block_on(courier.tell(&app.platform.sql, &app.platform)).unwrap();
    assert!(block_on(courier.run(&app.platform.sql, &app.platform, crate::time::UnixMillis::MAX)).unwrap());
}

fn measure(app: &Here, token: &str, patient: &str) {
    let body = format!(
        r#"{{"resourceType":"Observation","status":"final","code":{{"text":"x"}},"category":[{{"coding":[{{"code":"vital-signs"}}]}}],
            "subject":{{"reference":"Patient/{patient}"}}}}"#
    );
    let reply = ask(app, &Sent::new("POST", "/fhir/Observation").json(&body).by(token));
    assert_eq!(reply.status, 201, "{reply:?}");
}

fn stay(app: &Here, admin: &str, patient: &str, ward: &str) {
    let body = format!(
        r#"{{"resourceType":"Encounter","id":"e-{patient}","status":"in-progress","class":{{"code":"IMP"}},
            "subject":{{"reference":"Patient/{patient}"}},"location":[{{"location":{{"reference":"Location/{ward}"}}}}]}}"#
    );
    assert!(put(app, admin, &format!("/fhir/Encounter/e-{patient}"), &body).status < 300);
}

/// A clinic with two wards, a patient `p` in the first, and Ada, a nurse there, with a subscription: `(app, admin, ada's id,
/// her token, the subscription's id)`.
fn begun() -> (Here, String, String, String, String) {
    let (app, admin) = ready();
    for ward in ["w1", "w2"] {
        let body =
            format!(r#"{{"resourceType":"Location","id":"{ward}","physicalType":{{"coding":[{{"code":"wa"}}]}}}}"#);
        assert_eq!(put(&app, &admin, &format!("/fhir/Location/{ward}"), &body).status, 201);
    }
    patient(&app, &admin, "p");
    stay(&app, &admin, "p", "w1");
    let user = user(&app, &admin, "ada", r#""role":"nurse","wards":["w1"]"#);
    let ada = sign_in(&app, "ada");
    let made = ask(&app, &Sent::new("POST", "/fhir/Subscription").json(&subscription("")).by(&ada));
    assert_eq!(made.status, 201, "{made:?}");
    let id = text(&value(&made), "/id");
    (app, admin, user, ada, id)
}

/// The numbers of the events that `token` is told of, and how many of them with what they are about.
fn told(app: &Here, token: &str, id: &str) -> (Vec<u64>, usize) {
    deliver(app);
    let reply = get(app, token, &format!("/fhir/Subscription/{id}/$events"));
    assert_eq!(reply.status, 200, "{reply:?}");
    let bundle = value(&reply);
    let entries = bundle["entry"].as_array().unwrap();
    let parameters = entries[0]["resource"]["parameter"].as_array().unwrap();
    let events = parameters.iter().filter(|one| one["name"] == "notification-event");
    let number = |event: &serde_json::Value| text(event, "/part/0/valueString").parse().unwrap();
    (events.map(number).collect(), entries.len() - 1)
}

/// The token with which `id` is bound.
fn token(app: &Here, by: &str, id: &str) -> String {
    let reply = get(app, by, &format!("/fhir/Subscription/{id}/$get-ws-binding-token"));
    assert_eq!(reply.status, 200, "{reply:?}");
    text(&value(&reply), "/parameter/0/valueString")
}

#[test]
fn what_is_out_of_reach_by_now_is_a_number_and_an_account_that_may_not_any_more_is_told_nothing() {
    let (app, admin, user, ada, id) = begun();
    measure(&app, &admin, "p");
    assert_eq!(told(&app, &ada, &id), (vec![1], 1));
    stay(&app, &admin, "p", "w2");
    measure(&app, &admin, "p");
    assert_eq!(told(&app, &ada, &id), (vec![1], 0), "neither the new one nor what the old one was about");
    let wards = put(&app, &admin, &format!("/users/{user}/wards"), r#"{"wards":["w2"]}"#);
    assert_eq!(wards.status, 200, "{wards:?}");
    measure(&app, &admin, "p");
    assert_eq!(told(&app, &ada, &id), (vec![1, 2], 2));

    // What is sent by itself asks the same before it is sent.
    let topics = app.platform.topics.borrow();
    let page = crate::channel::history::range(topics.get(&Topic::Subscription(id.clone())).unwrap(), 1, 9, 9).unwrap();
    assert_eq!(block_on(app.platform.told(&id, &page)).unwrap().iter().filter(|one| one.data.is_some()).count(), 2);
    drop(topics);
    assert_eq!(put(&app, &admin, &format!("/users/{user}"), r#"{"disabled":true}"#).status, 200);
    assert_eq!(block_on(app.platform.told(&id, &page)).unwrap_err().kind, Kind::Forbidden);
    measure(&app, &admin, "p");
    assert_eq!(put(&app, &admin, &format!("/users/{user}"), r#"{"disabled":false}"#).status, 200);
    let ada = sign_in(&app, "ada");
    assert_eq!(told(&app, &ada, &id).0, [1, 2]);
}

#[test]
fn a_token_binds_once_and_soon_and_what_it_bound_ends_when_the_subscription_or_the_account_changes() {
    let (app, admin, user, ada, id) = begun();
    let redeemed = |token: &str| {
        let config = app.config.as_ref().as_ref().unwrap();
        block_on(redeem(&app.platform, config, token)).map_err(|error| error.status())
    };
    let admitted = |bound: &Bound| {
        deliver(&app);
        let topics = app.platform.topics.borrow();
        let topic = topics.get(&bound.subscription.topic);
        topic.is_none_or(|topic| crate::access::bar::admit(topic, &bound.subscription.listener).is_ok())
    };
    let once = token(&app, &ada, &id);
    let bound = redeemed(&once).unwrap().remove(0);
    assert!(admitted(&bound));
    assert_eq!(redeemed(&once).err(), Some(401), "used");
    assert_eq!(redeemed(&ada).err(), Some(401), "a session's token binds nothing");
    let late = token(&app, &ada, &id);
    assert_eq!(get(&app, &late, "/session").status, 401, "and the other way round");
    app.platform.pass(Ttl::from_secs(31));
    assert_eq!(redeemed(&late).err(), Some(401), "too late");

    // Its owner sends it again: whoever is bound binds anew, and finds what it asks for now.
    let meanwhile = token(&app, &ada, &id);
    let again = put(&app, &ada, &format!("/fhir/Subscription/{id}"), &subscription(&format!(r#""id":"{id}","#)));
    assert_eq!(again.status, 200, "{again:?}");
    assert!(!admitted(&bound));
    let bound = redeemed(&meanwhile).unwrap().remove(0);
    assert!(admitted(&bound));
    // What Ada may follow changes.
    let before = token(&app, &ada, &id);
    assert_eq!(put(&app, &admin, &format!("/users/{user}/wards"), r#"{"wards":["w2"]}"#).status, 200);
    assert!(!admitted(&bound));
    assert_eq!(redeemed(&before).err(), Some(503), "asked for before");
    let bound = redeemed(&token(&app, &ada, &id)).unwrap().remove(0);
    assert!(admitted(&bound));
    // It is deleted.
    let before = token(&app, &ada, &id);
    let delete = |version: &str| {
        let sent = Sent::new("DELETE", &format!("/fhir/Subscription/{id}")).by(&ada).header("if-match", version);
        ask(&app, &sent).status
    };
    assert_eq!((delete("W/\"1\""), delete("W/\"2\"")), (412, 204));
    assert!(!admitted(&bound));
    assert_eq!(redeemed(&before).err(), Some(404));
}

#[test]
fn a_subscription_is_its_owners_and_of_bounded_size_and_number() {
    let (app, admin, _, ada, id) = begun();
    let mine = |token: &str| value(&get(&app, token, "/fhir/Subscription"))["entry"].as_array().map_or(0, Vec::len);
    assert_eq!((mine(&ada), mine(&admin)), (1, 0), "an administrator's list is their own, too");
    assert_eq!(get(&app, &admin, "/fhir/Subscription/$get-ws-binding-token").status, 422, "nor do they bind all");
    user(&app, &admin, "ben", r#""role":"nurse","wards":["w1"]"#);
    let ben = sign_in(&app, "ben");
    for path in [format!("/fhir/Subscription/{id}"), format!("/fhir/Subscription/{id}/$status")] {
        assert_eq!((get(&app, &ben, &path).status, get(&app, &admin, &path).status), (404, 200));
    }
    let post =
        |token: &str, body: &str| ask(&app, &Sent::new("POST", "/fhir/Subscription").json(body).by(token)).status;
    for role in [r#""role":"device","patients":["p"]"#, r#""role":"display","wards":["w1"]"#] {
        let name = role.split('"').nth(3).unwrap();
        user(&app, &admin, name, role);
        assert_eq!(post(&sign_in(&app, name), &subscription("")), 403, "{name}");
    }
    let large = subscription(&format!(r#""error":"{}","#, "x".repeat(40_000)));
    assert_eq!(post(&ada, &large), 413);
    let other = put(&app, &ada, &format!("/fhir/Subscription/{id}"), &subscription(r#""id":"x","#));
    assert_eq!(other.status, 400, "{other:?}");
    let keyed = Sent::new("POST", "/fhir/Subscription").json(&subscription("")).by(&ada).header("idempotency-key", "k");
    assert_eq!(ask(&app, &keyed).status, 400);
    for _ in 1..100 {
        assert_eq!(post(&ada, &subscription("")), 201);
    }
    assert_eq!(post(&ada, &subscription("")), 422);
    // Neither alone nor in a Bundle is one written as a record that nobody would be told by.
    for kind in ["batch", "transaction"] {
        let bundle = format!(
            r#"{{"resourceType":"Bundle","type":"{kind}","entry":[{{"request":{{"method":"POST","url":"Subscription"}},"resource":{}}}]}}"#,
            subscription("")
        );
        let reply = ask(&app, &Sent::new("POST", "/fhir").json(&bundle).by(&admin));
        assert!(reply.status == 422 || reply.body.contains("404"), "{reply:?}");
    }
}
