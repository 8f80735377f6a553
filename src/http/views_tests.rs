//! Views of a patient, over a deployment in one process.

use super::testing::{
    Here, Sent, ask, get, header, observation, patient, put, ready, ready_with, sign_in, text, user, value,
};
use super::*;
use crate::store::memory::Fault;
use crate::time::{Clock, Ttl};

fn status(response: &Response) -> String {
    header(response, "cache-status").unwrap_or_else(|| panic!("{response:?}")).to_owned()
}

fn post_observation(app: &Here, token: &str, patient: &str) -> String {
    let post = Sent::new("POST", "/fhir/Observation").json(&observation(patient)).by(token);
    text(&value(&ask(app, &post)), "/id")
}

/// How often the clinic's object, the store of sessions and the cache are asked by `work`.
fn calls(app: &Here, work: impl FnOnce()) -> (u32, u32, u32) {
    let count = || (app.platform.asked.get(), app.platform.store.batches.get(), app.platform.cache.batches.get());
    let before = count();
    work();
    let after = count();
    (after.0 - before.0, after.1 - before.1, after.2 - before.2)
}

/// As another isolate, whose memory is empty.
fn elsewhere(app: &Here) {
    *app.platform.tier.borrow_mut() = crate::chart::cache::tier::Tier::new(1 << 20);
}

#[test]
fn a_view_is_kept_until_something_in_its_compartment_is_written() {
    let (app, token) = ready();
    patient(&app, &token, "p");
    patient(&app, &token, "q");
    let id = post_observation(&app, &token, "p");
    let views = [
        "/fhir/Patient/p".to_owned(),
        format!("/fhir/Observation/{id}"),
        "/fhir/Observation?patient=p".to_owned(),
        "/fhir/Patient/p/$everything".to_owned(),
    ];
    let keys = ["Patient", "Observation", "search Observation", "everything"];
    for (path, key) in views.iter().zip(keys) {
        let first = get(&app, &token, path);
        assert_eq!(status(&first), format!("Bedside; fwd=uri-miss; stored; key=\"{key}\""), "{path}");
        let again = get(&app, &token, path);
        assert_eq!(status(&again), format!("Bedside; hit; ttl=3600; key=\"{key}\""), "{path}");
        assert_eq!((again.status, &again.body), (200, &first.body));
        elsewhere(&app);
        assert_eq!(status(&get(&app, &token, path)), status(&again), "out of the cache itself");
        // Whatever is asked for twenty times is asked for in one wave, but for a record known by its id alone.
        let wave = calls(&app, || drop(get(&app, &token, path)));
        assert_eq!(wave, (1, 1, 0), "a view in memory costs the session and the head");
        elsewhere(&app);
        assert_eq!(calls(&app, || drop(get(&app, &token, path))), (1, 1, 1));
    }
    post_observation(&app, &token, "q");
    for path in &views {
        assert!(status(&get(&app, &token, path)).contains("hit"), "another patient's write is no reason");
    }
    app.platform.pass(Ttl::from_mins(10));
    assert!(status(&get(&app, &token, &views[0])).contains("; ttl=3000;"));
    let body = observation("p").replacen('{', &format!(r#"{{"id":"{id}","#), 1);
    assert_eq!(put(&app, &token, &views[1], &body).status, 200);
    for path in &views {
        let read = get(&app, &token, path);
        assert!(status(&read).contains("fwd=miss; detail=changed; stored"), "{path}");
        assert_eq!(
            status(&get(&app, &token, path)),
            status(&read).replace("fwd=miss; detail=changed; stored", "hit; ttl=3600")
        );
    }
    app.platform.pass(Ttl::from_mins(60));
    // The session has ended by then, the views have as well.
    let token = sign_in(&app, "admin");
    assert!(status(&get(&app, &token, &views[0])).contains("fwd="), "past its lifetime");
}

#[test]
fn what_patients_share_ends_the_views_that_hold_it() {
    let (app, token) = ready();
    patient(&app, &token, "p");
    let practitioner = r#"{"resourceType":"Practitioner","id":"d"}"#;
    put(&app, &token, "/fhir/Practitioner/d", practitioner);
    let (all, own) = ("/fhir/Patient/p/$everything", "/fhir/Patient/p");
    for path in [all, own] {
        get(&app, &token, path);
    }
    put(&app, &token, "/fhir/Practitioner/d", practitioner);
    assert!(status(&get(&app, &token, all)).contains("changed"));
    assert!(status(&get(&app, &token, own)).contains("hit"));
}

#[test]
fn a_record_that_moves_to_another_patient_changes_both() {
    let (app, token) = ready();
    patient(&app, &token, "p");
    patient(&app, &token, "q");
    let id = post_observation(&app, &token, "p");
    let path = format!("/fhir/Observation/{id}");
    for path in [&path, "/fhir/Observation?patient=p", "/fhir/Observation?patient=q"] {
        get(&app, &token, path);
    }
    let moved = observation("q").replacen('{', &format!(r#"{{"id":"{id}","#), 1);
    assert_eq!(put(&app, &token, &path, &moved).status, 200);
    assert!(get(&app, &token, &path).body.contains("Patient/q"));
    assert!(!get(&app, &token, "/fhir/Observation?patient=p").body.contains(&id));
    assert!(get(&app, &token, "/fhir/Observation?patient=q").body.contains(&id));
    assert_eq!(ask(&app, &Sent::new("DELETE", &path).by(&token)).status, 204);
    assert_eq!(get(&app, &token, &path).status, 410);
    assert!(!get(&app, &token, "/fhir/Observation?patient=q").body.contains(&id));
}

#[test]
fn who_may_see_a_view_is_decided_for_each_request() {
    let (app, admin) = ready();
    patient(&app, &admin, "p");
    put(
        &app,
        &admin,
        "/fhir/Location/w",
        r#"{"resourceType":"Location","id":"w","physicalType":{"coding":[{"code":"wa"}]}}"#,
    );
    let stay = r#"{"resourceType":"Encounter","id":"e","status":"in-progress","class":{"code":"IMP"},
        "subject":{"reference":"Patient/p"},"location":[{"location":{"reference":"Location/w"}}]}"#;
    put(&app, &admin, "/fhir/Encounter/e", stay);
    user(&app, &admin, "ada", r#""role":"nurse","wards":["w"]"#);
    user(&app, &admin, "bea", r#""role":"nurse","wards":["x"]"#);
    user(&app, &admin, "pat", r#""role":"patient","patient":"other""#);
    let paths = ["/fhir/Patient/p", "/fhir/Encounter/e", "/fhir/Patient/p/$everything"];
    let (ada, bea, pat) = (sign_in(&app, "ada"), sign_in(&app, "bea"), sign_in(&app, "pat"));
    for path in paths {
        assert_eq!(get(&app, &ada, path).status, 200);
        assert!(status(&get(&app, &ada, path)).contains("hit"));
        for other in [&bea, &pat] {
            let refused = get(&app, other, path);
            assert_eq!((refused.status, refused.body.contains("Patient/p")), (403, false), "{path}");
        }
        let known = header(&get(&app, &ada, path), "etag").unwrap().to_owned();
        let sent = |token: &str| Sent::new("GET", path).by(token).header("if-none-match", &known);
        assert_eq!(ask(&app, &sent(&ada)).status, 304);
        assert_eq!(ask(&app, &sent(&bea)).status, 403, "not even whether it has changed");
        assert_eq!(get(&app, "no token", path).status, 401);
    }
    // The patient leaves the ward: the view is as good as before, and not for everybody.
    put(&app, &admin, "/fhir/Location/w", r#"{"resourceType":"Location","id":"w"}"#);
    put(
        &app,
        &admin,
        "/fhir/Location/x",
        r#"{"resourceType":"Location","id":"x","physicalType":{"coding":[{"code":"wa"}]}}"#,
    );
    put(&app, &admin, "/fhir/Encounter/e", &stay.replace("Location/w", "Location/x"));
    assert_eq!(get(&app, &ada, paths[0]).status, 403);
    assert_eq!(get(&app, &bea, paths[0]).status, 200);
}

#[test]
fn a_reader_that_has_it_is_told_so_by_the_head_alone() {
    let (app, token) = ready();
    patient(&app, &token, "p");
    let id = post_observation(&app, &token, "p");
    for path in ["/fhir/Patient/p", "/fhir/Patient/p/$everything", &format!("/fhir/Observation/{id}")] {
        elsewhere(&app);
        let etag = header(&get(&app, &token, path), "etag").unwrap().to_owned();
        elsewhere(&app);
        let sent = || Sent::new("GET", path).by(&token).header("if-none-match", &format!("\"x\", {etag}"));
        let mut same = None;
        let asked = calls(&app, || same = Some(ask(&app, &sent())));
        let same = same.unwrap();
        assert_eq!((same.status, &*same.body, header(&same, "etag")), (304, "", Some(etag.as_str())));
        assert_eq!(asked, (1, 1, 0), "{path}: the entry is not read");
        post_observation(&app, &token, "p");
        let changed = ask(&app, &sent());
        let versioned = !path.ends_with("everything");
        assert_eq!(changed.status, if versioned { 304 } else { 200 }, "{path}: a resource's tag is its version");
    }
}

#[test]
fn no_cache_asks_the_origin_for_those_who_may() {
    let (app, admin) = ready();
    patient(&app, &admin, "p");
    user(&app, &admin, "pat", r#""role":"patient","patient":"p""#);
    let pat = sign_in(&app, "pat");
    get(&app, &admin, "/fhir/Patient/p");
    let sent = |token: &str| Sent::new("GET", "/fhir/Patient/p").by(token).header("cache-control", "no-cache");
    assert_eq!(status(&ask(&app, &sent(&admin))), r#"Bedside; fwd=request; stored; key="Patient""#);
    assert_eq!(status(&ask(&app, &sent(&pat))), r#"Bedside; hit; ttl=3600; key="Patient""#);
}

#[test]
fn a_cache_that_does_not_answer_costs_the_hit_and_nothing_else() {
    let (app, token) = ready();
    patient(&app, &token, "p");
    get(&app, &token, "/fhir/Patient/p");
    elsewhere(&app);
    app.platform.cache.fail_next(Fault::Before);
    assert_eq!(status(&get(&app, &token, "/fhir/Patient/p")), r#"Bedside; fwd=uri-miss; stored; key="Patient""#);
    elsewhere(&app);
    patient(&app, &token, "p");
    app.platform.cache.fail_at(2, Fault::Before);
    let unstored = get(&app, &token, "/fhir/Patient/p");
    assert_eq!(
        (unstored.status, status(&unstored)),
        (200, r#"Bedside; fwd=miss; detail=changed; key="Patient""#.into())
    );
}

#[test]
fn a_patients_deletion_makes_what_was_cached_of_them_unreadable() {
    let (app, token) = ready();
    patient(&app, &token, "p");
    get(&app, &token, "/fhir/Patient/p");
    let salt = || crate::chart::head::get(&app.platform.sql, "p").unwrap().unwrap().salt;
    let before = salt();
    assert_eq!(ask(&app, &Sent::new("DELETE", "/fhir/Patient/p").by(&token)).status, 204);
    assert_ne!(salt(), before);
    assert_eq!(get(&app, &token, "/fhir/Patient/p").status, 410);
}

#[test]
fn what_was_just_told_costs_nothing_and_ends_before_a_change_is_acknowledged() {
    let (app, admin) = ready_with(&[("READ_LEASE_MS", "300")]);
    patient(&app, &admin, "p");
    user(&app, &admin, "ada", r#""role":"nurse""#);
    let ada = sign_in(&app, "ada");
    let read = || get(&app, &ada, "/fhir/Patient/p");
    assert_eq!(read().status, 200);
    assert_eq!(calls(&app, || assert_eq!(read().status, 200)), (0, 0, 0), "neither session nor head nor entry");
    app.platform.pass(Ttl(300));
    assert_eq!(calls(&app, || assert_eq!(read().status, 200)), (1, 1, 0), "then both are asked for again");
    // A change is acknowledged when nobody relies any more on what was before.
    let from = app.platform.now();
    let changed = put(&app, &admin, "/fhir/Patient/p", r#"{"resourceType":"Patient","id":"p","active":true}"#);
    assert_eq!((changed.status, from.until(app.platform.now())), (200, Ttl(338)));
    assert!(read().body.contains("active"));
    // Nobody has been told of this one for a while: it is not waited for.
    app.platform.pass(Ttl::from_secs(1));
    let from = app.platform.now();
    put(&app, &admin, "/fhir/Patient/p", r#"{"resourceType":"Patient","id":"p","active":false}"#);
    assert_eq!(from.until(app.platform.now()), Ttl(0));
    // So is the end of a session.
    assert_eq!(read().status, 200);
    assert_eq!(ask(&app, &Sent::new("DELETE", "/session").by(&ada)).status, 204);
    assert_eq!(read().status, 401);
}

#[test]
fn while_the_origin_is_down_some_classes_live_longer_and_say_so() {
    let settings = [("CACHE_TTL_SECONDS", "60"), ("CACHE_STALE_SECONDS", "120"), ("CACHE_STALE_FOR", "demographics")];
    for (settings, longer) in [(&settings[..1], false), (&settings[..], true)] {
        let (app, token) = ready_with(settings);
        patient(&app, &token, "p");
        post_observation(&app, &token, "p");
        let read = |path: &str| get(&app, &token, path);
        let all = ["/fhir/Patient/p", "/fhir/Observation?patient=p", "/fhir/Patient/p/$everything"];
        all.iter().for_each(|path| assert_eq!(read(path).status, 200));
        app.platform.origin_down.set(true);
        all.iter().for_each(|path| assert_eq!(read(path).status, 200, "fresh: {path}"));
        app.platform.pass(Ttl(61_500));
        let late = read("/fhir/Patient/p");
        if !longer {
            assert_eq!(late.status, 503, "off by default");
            continue;
        }
        assert_eq!((late.status, header(&late, "age")), (200, Some("62")));
        assert_eq!(status(&late), r#"Bedside; hit; ttl=-2; detail=origin-down; key="Patient""#);
        all[1..].iter().for_each(|path| assert_eq!(read(path).status, 503, "never: {path}"));
        // What is of before a write is never used, however down the origin is.
        put(&app, &token, "/fhir/Patient/p", r#"{"resourceType":"Patient","id":"p","active":true}"#);
        assert_eq!(read("/fhir/Patient/p").status, 503);
        app.platform.origin_down.set(false);
        assert!(read("/fhir/Patient/p").body.contains("active"));
        app.platform.origin_down.set(true);
        app.platform.pass(Ttl(180_000));
        assert_eq!(read("/fhir/Patient/p").status, 503, "so long and no longer");
    }
}
