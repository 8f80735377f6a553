//! Booking over a deployment in one process, on a driven clock.

use super::super::testing::{Here, Sent, ask, get, header, patient, put, ready, sign_in, text, user, value};
use crate::chart::holds::HOLDS;
use crate::clinic::courier::Courier;
use crate::clinic::{Clinic, holds};
use crate::http::reply::Response;
use crate::store::agenda;
use crate::store::sql::Sql;
use crate::testing::block_on;
use crate::time::{Clock, Ttl, UnixMillis};

/// A ward with four Slots of Dr A from tomorrow nine o'clock on.
struct World {
    app: Here,
    admin: String,
    nora: String,
    otto: String,
    pat: String,
}

fn at(app: &Here, minutes: u64) -> String {
    app.platform.now().plus(Ttl::from_mins(24 * 60 + minutes)).to_rfc3339()
}

fn slot(world: &World, id: &str, of: &str, minutes: u64, status: &str) -> u16 {
    let (start, end) = (at(&world.app, minutes), at(&world.app, minutes + 20));
    let body = format!(
        r#"{{"resourceType":"Slot","id":"{id}","schedule":{{"reference":"Schedule/{of}"}},"status":"{status}",
            "start":"{start}","end":"{end}"}}"#
    );
    put(&world.app, &world.admin, &format!("/fhir/Slot/{id}"), &body).status
}

fn world() -> World {
    let (app, admin) = ready();
    for id in ["p", "q"] {
        patient(&app, &admin, id);
    }
    user(&app, &admin, "nora", r#""role":"nurse""#);
    user(&app, &admin, "otto", r#""role":"nurse""#);
    user(&app, &admin, "pat", r#""role":"patient","patient":"p""#);
    let [nora, otto, pat] = ["nora", "otto", "pat"].map(|name| sign_in(&app, name));
    let world = World { app, admin, nora, otto, pat };
    for (id, service) in [("s", "124"), ("t", "57")] {
        let body = format!(
            r#"{{"resourceType":"Schedule","id":"{id}","active":true,"serviceType":[{{"coding":[{{"system":"x","code":"{service}"}}]}}],
                "actor":[{{"reference":"Practitioner/dr-{id}"}}]}}"#
        );
        assert_eq!(put(&world.app, &world.admin, &format!("/fhir/Schedule/{id}"), &body).status, 201);
    }
    for (index, id) in ["a", "b", "c"].iter().enumerate() {
        assert_eq!(slot(&world, id, "s", 20 * u64::try_from(index).unwrap(), "free"), 201);
    }
    assert_eq!(slot(&world, "d", "t", 0, "free"), 201);
    world
}

fn operate(world: &World, token: &str, path: &str, parts: &[String]) -> Response {
    let body = format!(r#"{{"resourceType":"Parameters","parameter":[{}]}}"#, parts.join(","));
    let body = if parts.is_empty() { r#"{"resourceType":"Parameters"}"#.to_owned() } else { body };
    ask(&world.app, &Sent::new("POST", &format!("/fhir/Appointment/{path}")).json(&body).by(token))
}

fn reference(id: &str) -> String {
    format!(r#"{{"name":"appointment-reference","valueReference":{{"reference":"Appointment/{id}"}}}}"#)
}

fn of_patient(id: &str) -> String {
    format!(r#"{{"name":"patient-reference","valueReference":{{"reference":"Patient/{id}"}}}}"#)
}

fn says(name: &str, words: &str) -> String {
    format!(r#"{{"name":"{name}","valueString":"{words}"}}"#)
}

fn resource(slots: &[&str]) -> String {
    let slots: Vec<_> = slots.iter().map(|id| format!(r#"{{"reference":"Slot/{id}"}}"#)).collect();
    format!(
        r#"{{"name":"appt-resource","resource":{{"resourceType":"Appointment","status":"proposed","slot":[{}],
            "participant":[{{"actor":{{"reference":"Patient/p"}},"status":"accepted"}}]}}}}"#,
        slots.join(",")
    )
}

fn status(world: &World, path: &str) -> String {
    text(&value(&get(&world.app, &world.admin, &format!("/fhir/{path}"))), "/status")
}

fn statuses<const N: usize>(world: &World, slots: [&str; N]) -> [String; N] {
    slots.map(|id| status(world, &format!("Slot/{id}")))
}

fn made(reply: &Response) -> (String, serde_json::Value) {
    assert!(reply.status < 300, "{reply:?}");
    let appointment = value(reply)["entry"][0]["resource"].clone();
    (text(&appointment, "/id"), appointment)
}

fn hold(world: &World, token: &str, slot: &str) -> Response {
    operate(world, token, "$hold", &[reference(slot), of_patient("p")])
}

/// The alarm of the clinic's object rings.
fn alarm(world: &World) {
    let platform = &world.app.platform;
    assert!(agenda::next(&platform.sql).unwrap().is_some_and(|at| at <= platform.now()));
    block_on(holds::wake(&platform.sql, platform, |asked| Clinic::ask(platform, asked))).unwrap();
}

fn unavailable(reply: &Response) {
    assert_eq!(reply.status, 409, "{reply:?}");
    let body = value(reply);
    assert_eq!((text(&body, "/issue/0/severity"), text(&body, "/issue/0/code")), ("fatal".into(), "not-found".into()));
}

#[test]
fn a_free_slot_is_booked_once() {
    let world = world();
    let booked = operate(&world, &world.nora, "$book", &[resource(&["a"])]);
    let (_, appointment) = made(&booked);
    assert_eq!((booked.status, text(&appointment, "/status")), (201, "booked".into()));
    assert_eq!(text(&appointment, "/start"), at(&world.app, 0));
    assert_eq!(status(&world, "Slot/a"), "busy");
    unavailable(&operate(&world, &world.nora, "$book", &[resource(&["a"])]));
    assert_eq!(
        value(&get(&world.app, &world.nora, "/fhir/Appointment?patient=p"))["entry"].as_array().unwrap().len(),
        1
    );
}

#[test]
fn a_series_of_slots_is_booked_all_or_none() {
    let world = world();
    made(&operate(&world, &world.nora, "$book", &[reference("b"), of_patient("q")]));
    unavailable(&operate(&world, &world.nora, "$book", &[resource(&["a", "b"])]));
    assert_eq!(status(&world, "Slot/a"), "free");
    let (_, both) = made(&operate(&world, &world.nora, "$book", &[reference("c"), reference("a"), of_patient("p")]));
    assert_eq!((text(&both, "/start"), text(&both, "/end")), (at(&world.app, 0), at(&world.app, 60)));
    assert_eq!(both["slot"].as_array().unwrap().len(), 2);
    assert_eq!(statuses(&world, ["a", "b", "c"]), ["busy", "busy", "busy"]);
}

#[test]
fn a_fence_is_of_a_lease_that_is_held_and_a_stale_one_books_nothing() {
    let world = world();
    let fence = |fence: u64| format!(r#"{{"name":"fence","valuePositiveInt":{fence}}}"#);
    let lease = |token: &str, id: &str| {
        let sent = Sent::new("POST", "/leases/slot:a").json(&format!(r#"{{"request_id":"{id}","ttl_seconds":60}}"#));
        value(&ask(&world.app, &sent.by(token)))["fence"].as_u64().unwrap()
    };
    let book = |token: &str, with: u64| operate(&world, token, "$book", &[resource(&["a"]), fence(with)]);
    assert_eq!(book(&world.nora, 7).status, 409, "no lease was ever given");
    let slept = lease(&world.nora, "first");
    assert_eq!(book(&world.otto, slept).status, 409, "another's");
    world.app.platform.pass(Ttl::from_secs(60));
    let late = book(&world.nora, slept);
    assert_eq!((late.status, late.body.contains("lease"), status(&world, "Slot/a").as_str()), (409, true, "free"));
    let next = lease(&world.otto, "second");
    let decimal = format!(r#"{{"name":"fence","valueDecimal":{next}}}"#);
    let (id, _) = made(&operate(&world, &world.otto, "$book", &[resource(&["a"]), decimal]));
    // The slot is free again; only what was shown before stands between the sleeper and a booking, whatever the lease store says.
    made(&operate(&world, &world.otto, &format!("{id}/$cancel"), &[]));
    let highest =
        "INSERT INTO fences (name, highest) VALUES ('slot:a', 99) ON CONFLICT (name) DO UPDATE SET highest = 99";
    world.app.platform.sql.exec(highest, &[]).unwrap();
    assert_eq!((book(&world.otto, next).status, status(&world, "Slot/a").as_str()), (409, "free"));
}

#[test]
fn a_hold_is_renewed_once_and_booked_by_whoever_made_it() {
    let world = world();
    let held = hold(&world, &world.nora, "a");
    let (id, appointment) = made(&held);
    assert_eq!((held.status, text(&appointment, "/status")), (201, "pending".into()));
    assert_eq!(header(&held, "bedside-hold-seconds"), Some("300"));
    assert_eq!(header(&held, "bedside-hold-own"), Some("?1"));
    assert!(held.body.contains("the hold ends in 300 s"));
    assert_eq!(appointment["participant"][1]["actor"]["reference"], "Practitioner/dr-s");
    assert_eq!(status(&world, "Slot/a"), "busy-tentative");
    world.app.platform.pass(Ttl::from_secs(200));
    let seen = get(&world.app, &world.otto, &format!("/fhir/Appointment/{id}"));
    assert_eq!(header(&seen, "bedside-hold-seconds"), Some("100"));
    let own =
        |by| header(&get(&world.app, by, &format!("/fhir/Appointment/{id}")), "bedside-hold-own").map(str::to_owned);
    assert_eq!((own(&world.nora).as_deref(), own(&world.otto)), (Some("?1"), None), "told to whoever holds it alone");
    unavailable(&hold(&world, &world.otto, "a"));
    assert_eq!(operate(&world, &world.otto, "$hold", &[reference(&id)]).status, 409, "another's");
    assert_eq!(operate(&world, &world.otto, "$book", &[reference(&id)]).status, 409, "another's");
    let renewed = operate(&world, &world.nora, "$hold", &[reference(&id)]);
    assert_eq!((renewed.status, header(&renewed, "bedside-hold-seconds")), (200, Some("300")));
    world.app.platform.pass(Ttl::from_secs(200));
    let again = operate(&world, &world.nora, "$hold", &[reference(&id)]);
    assert_eq!((again.status, again.body.contains("once")), (409, true), "{again:?}");
    let booked = operate(&world, &world.nora, "$book", &[reference(&id)]);
    assert_eq!((booked.status, text(&made(&booked).1, "/status")), (200, "booked".into()));
    assert_eq!(header(&booked, "bedside-hold-seconds"), None);
    assert_eq!(status(&world, "Slot/a"), "busy");
    let repeated = operate(&world, &world.nora, "$book", &[reference(&id)]);
    assert_eq!((repeated.status, text(&made(&repeated).1, "/status")), (200, "booked".into()));
    let trail = value(&get(&world.app, &world.admin, &format!("/audit?entity=Appointment/{id}&count=1")));
    assert_eq!(trail["rows"][0]["action"], "R", "nothing was written, and it was shown");
    world.app.platform.pass(Ttl::from_mins(6));
    assert_eq!(
        (status(&world, "Slot/a"), status(&world, &format!("Appointment/{id}"))),
        ("busy".into(), "booked".into())
    );
}

#[test]
fn a_hold_past_its_end_has_ended_and_the_slot_is_pushed() {
    let world = world();
    let (id, _) = made(&hold(&world, &world.nora, "a"));
    let (other, _) = made(&operate(
        &world,
        &world.nora,
        "$hold",
        &[reference("b"), of_patient("p"), r#"{"name":"minutes","valuePositiveInt":15}"#.into()],
    ));
    world.app.platform.pass(Ttl(5 * 60_000 - 1));
    unavailable(&hold(&world, &world.otto, "a"));
    world.app.platform.pass(Ttl(1));
    // Before the alarm has done anything it is nobody's to book or to renew.
    unavailable(&operate(&world, &world.nora, "$book", &[reference(&id)]));
    unavailable(&operate(&world, &world.nora, "$hold", &[reference(&id)]));
    let sql = &world.app.platform.sql;
    alarm(&world);
    assert_eq!(statuses(&world, ["a", "b"]), ["free", "busy-tentative"]);
    assert_eq!(status(&world, &format!("Appointment/{id}")), "cancelled");
    assert_eq!(status(&world, &format!("Appointment/{other}")), "pending");
    made(&hold(&world, &world.otto, "a"));
    let courier = Courier::default();
    block_on(courier.run(sql, &world.app.platform, UnixMillis::MAX)).unwrap();
    let events = value(&get(&world.app, &world.pat, "/channels/schedule/s"));
    let slots: Vec<_> =
        events["events"].as_array().unwrap().iter().map(|event| text(event, "/data/resource/status")).collect();
    assert_eq!(slots, ["free", "free", "free", "busy-tentative", "busy-tentative", "free", "busy-tentative"]);
    assert!(events["events"].as_array().unwrap().iter().all(|event| event["kind"] == "slot"));
    world.app.platform.pass(Ttl::from_mins(14));
    alarm(&world);
    assert_eq!(statuses(&world, ["a", "b"]), ["free", "free"]);
    assert!(agenda::take(sql, UnixMillis::MAX, Ttl(1)).unwrap().iter().all(|what| what != HOLDS));
}

/// Not every client books and cancels by the operations.
#[test]
fn what_is_written_as_booked_while_its_hold_runs_keeps_its_slots_and_what_is_cancelled_does_not() {
    let world = world();
    let [(a, kept), (b, given_up), (c, _)] = ["a", "b", "c"].map(|slot| made(&hold(&world, &world.nora, slot)));
    for (id, appointment, status) in [(&a, kept, r#""booked""#), (&b, given_up, r#""cancelled""#)] {
        let body = appointment.to_string().replace(r#""pending""#, status);
        assert_eq!(put(&world.app, &world.nora, &format!("/fhir/Appointment/{id}"), &body).status, 200);
    }
    world.app.platform.pass(Ttl::from_mins(5));
    alarm(&world);
    assert_eq!(statuses(&world, ["a", "b", "c"]), ["busy-tentative", "free", "free"]);
    let all = [a, b, c].map(|id| status(&world, &format!("Appointment/{id}")));
    assert_eq!(all, ["booked", "cancelled", "cancelled"]);
    unavailable(&hold(&world, &world.otto, "a"));
    made(&hold(&world, &world.otto, "b"));
}

#[test]
fn a_patient_books_for_themself_and_for_nobody_else() {
    let world = world();
    let (id, own) = made(&operate(&world, &world.pat, "$hold", &[reference("a")]));
    assert_eq!(own["participant"][0]["actor"]["reference"], "Patient/p");
    made(&operate(&world, &world.pat, "$book", &[reference(&id)]));
    assert_eq!(operate(&world, &world.pat, "$book", &[reference("b"), of_patient("q")]).status, 403);
    assert_eq!(operate(&world, &world.pat, "$hold", &[reference("b"), says("override-reason", "me")]).status, 403);
    let (of_q, _) = made(&operate(&world, &world.nora, "$book", &[reference("b"), of_patient("q")]));
    assert_eq!(operate(&world, &world.pat, &format!("{of_q}/$cancel"), &[]).status, 403);
    made(&operate(&world, &world.pat, &format!("{id}/$cancel"), &[]));
    assert_eq!(statuses(&world, ["a", "b"]), ["free", "busy"]);
    assert_eq!(put(&world.app, &world.pat, "/fhir/Slot/a", "{}").status, 403, "a Slot itself is not theirs to write");
    assert_eq!(operate(&world, &world.nora, "$book", &[reference("c")]).status, 422, "for nobody");
}

#[test]
fn an_override_takes_holds_and_blocked_slots_and_no_booking() {
    let world = world();
    let (held, _) = made(&operate(&world, &world.nora, "$hold", &[reference("a"), reference("b"), of_patient("p")]));
    assert_eq!(slot(&world, "c", "s", 40, "busy-unavailable"), 200);
    let book = |slot: &str, reason: Option<&str>| {
        let mut parts = vec![reference(slot), of_patient("q")];
        parts.extend(reason.map(|reason| says("override-reason", reason)));
        operate(&world, &world.otto, "$book", &parts)
    };
    unavailable(&book("a", None));
    unavailable(&book("c", None));
    made(&book("a", Some("emergency")));
    assert_eq!(statuses(&world, ["a", "b"]), ["busy", "free"]);
    assert_eq!(status(&world, &format!("Appointment/{held}")), "cancelled");
    unavailable(&book("a", Some("emergency")));
    made(&book("c", Some("emergency")));
    let rows =
        world.app.platform.sql.exec("SELECT reason, user FROM audit_reasons JOIN audit USING (seq)", &[]).unwrap();
    assert!(rows.len() >= 3, "each record of it is on record with the reason");
    // The hold that gave way ends nothing later.
    world.app.platform.pass(Ttl::from_mins(10));
    assert_eq!(statuses(&world, ["a", "b", "c"]), ["busy", "free", "busy"]);
}

#[test]
fn an_appointment_moves_in_one_step() {
    let world = world();
    let (id, _) = made(&operate(&world, &world.nora, "$book", &[reference("a"), of_patient("p")]));
    let (_, moved) =
        made(&operate(&world, &world.nora, &format!("{id}/$reschedule"), &[reference("d"), says("reason", "leave")]));
    assert_eq!(statuses(&world, ["a", "d"]), ["free", "busy"]);
    assert_eq!((text(&moved, "/id"), text(&moved, "/status")), (id.clone(), "booked".into()));
    let actors: Vec<_> =
        moved["participant"].as_array().unwrap().iter().map(|one| text(one, "/actor/reference")).collect();
    assert_eq!(actors, ["Patient/p", "Practitioner/dr-t"]);
    made(&operate(&world, &world.nora, "$book", &[reference("b"), of_patient("q")]));
    unavailable(&operate(&world, &world.nora, &format!("{id}/$reschedule"), &[reference("b")]));
    assert_eq!(statuses(&world, ["b", "d"]), ["busy", "busy"]);
    made(&operate(&world, &world.nora, &format!("{id}/$cancel"), &[]));
    assert_eq!(status(&world, "Slot/d"), "free");
    assert_eq!(operate(&world, &world.nora, &format!("{id}/$cancel"), &[]).status, 200, "it is cancelled");
    assert_eq!(operate(&world, &world.nora, &format!("{id}/$reschedule"), &[reference("a")]).status, 409);
    assert_eq!(operate(&world, &world.nora, "nobody/$cancel", &[]).status, 404);
}

/// Whatever is written in whichever way: the Slot is the key.
#[test]
fn no_write_puts_a_slot_into_two_live_appointments() {
    let world = world();
    made(&operate(&world, &world.nora, "$book", &[reference("a"), of_patient("p")]));
    let second = |status: &str| {
        let body = format!(
            r#"{{"resourceType":"Appointment","id":"x","status":"{status}","start":"2026-01-01T00:00:00Z",
                "end":"2026-01-01T00:20:00Z","slot":[{{"reference":"Slot/a"}}],
                "participant":[{{"actor":{{"reference":"Patient/q"}},"status":"accepted"}}]}}"#
        );
        put(&world.app, &world.admin, "/fhir/Appointment/x", &body).status
    };
    assert_eq!(second("booked"), 409);
    assert_eq!(second("cancelled"), 201);
    assert_eq!(second("arrived"), 409);
}

#[test]
fn free_slots_are_found_by_actor_service_and_time() {
    let world = world();
    let found = |query: &str| {
        let reply = get(&world.app, &world.pat, &format!("/fhir/Appointment/$find?{query}"));
        assert_eq!(reply.status, 200, "{reply:?}");
        let entries = value(&reply)["entry"].as_array().cloned().unwrap_or_default();
        entries.iter().map(|entry| text(entry, "/resource/id")).collect::<Vec<_>>()
    };
    let (from, to) = (at(&world.app, 0), at(&world.app, 200));
    let span = format!("start={from}&end={to}");
    assert_eq!(found(&span).len(), 4);
    assert_eq!(found(&format!("{span}&practitioner=Practitioner/dr-s")), ["a", "b", "c"]);
    assert_eq!(found(&format!("{span}&visit-type=x|57")), ["d"]);
    assert_eq!(found(&format!("{span}&practitioner=Practitioner/dr-s&_count=2")), ["a", "b"]);
    assert_eq!(found(&format!("start={}&end={}", at(&world.app, 20), at(&world.app, 40))), ["b"]);
    made(&hold(&world, &world.nora, "a"));
    made(&operate(&world, &world.nora, "$book", &[reference("b"), of_patient("p")]));
    assert_eq!(found(&format!("{span}&practitioner=Practitioner/dr-s")), ["c"]);
    world.app.platform.pass(Ttl::from_mins(5));
    alarm(&world);
    assert_eq!(found(&format!("{span}&practitioner=Practitioner/dr-s")), ["a", "c"]);
    let parts = [
        format!(r#"{{"name":"start","valueDateTime":"{from}"}}"#),
        format!(r#"{{"name":"end","valueDateTime":"{to}"}}"#),
        r#"{"name":"practitioner","valueReference":{"reference":"Practitioner/dr-t"}}"#.to_owned(),
    ];
    let posted = operate(&world, &world.nora, "$find", &parts);
    assert_eq!(text(&value(&posted), "/entry/0/resource/status"), "proposed");
    assert_eq!(get(&world.app, &world.nora, "/fhir/Appointment/$find?start=2026-01-01").status, 400);
    assert_eq!(get(&world.app, &world.nora, "/fhir/Appointment/$find?colour=red").status, 400);
}

#[test]
fn free_slots_are_found_in_a_hundred_schedules_the_first_first_and_of_more_it_is_to_be_said_whose() {
    let world = world();
    let add = |number: u64| {
        let (id, actor) = (format!("many{number:02}"), number % 2);
        let body =
            format!(r#"{{"resourceType":"Schedule","id":"{id}","actor":[{{"reference":"Practitioner/dr-{actor}"}}]}}"#);
        assert_eq!(put(&world.app, &world.admin, &format!("/fhir/Schedule/{id}"), &body).status, 201);
    };
    (0..98).for_each(add);
    for (id, of, minutes) in [("late", "many00", 80), ("soon", "many97", 60), ("then", "many40", 70)] {
        assert_eq!(slot(&world, id, of, minutes, "free"), 201);
    }
    let span = format!("start={}&end={}", at(&world.app, 60), at(&world.app, 200));
    let find = |more: &str| get(&world.app, &world.pat, &format!("/fhir/Appointment/$find?{span}{more}"));
    let found = |more: &str| {
        let entries = value(&find(more))["entry"].as_array().cloned().unwrap_or_default();
        entries.iter().map(|entry| text(entry, "/resource/id")).collect::<Vec<_>>()
    };
    assert_eq!(found(""), ["soon", "then", "late"]);
    assert_eq!(found("&_count=1"), ["soon"]);
    add(98);
    assert_eq!(find("").status, 422);
    assert_eq!(found("&practitioner=dr-1"), ["soon"]);
}

#[test]
fn what_is_no_booking_is_refused() {
    let world = world();
    assert_eq!(operate(&world, &world.nora, "$book", &[resource(&[])]).status, 400, "R4 has no empty arrays");
    unavailable(&operate(&world, &world.nora, "$book", &[resource(&["none"])]));
    assert_eq!(operate(&world, &world.nora, "$book", &[]).status, 422);
    assert_eq!(operate(&world, &world.nora, "$book", &[says("x", "y")]).status, 422);
    assert_eq!(
        operate(&world, &world.nora, "$hold", &[reference("a"), r#"{"name":"minutes","valuePositiveInt":16}"#.into()])
            .status,
        422
    );
    let wrong = Sent::new("POST", "/fhir/Appointment/$book").json(r#"{"resourceType":"Patient"}"#).by(&world.nora);
    assert_eq!(ask(&world.app, &wrong).status, 400);
}
