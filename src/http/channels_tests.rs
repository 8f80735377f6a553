use super::testing::*;
use super::*;
use crate::clinic::courier::Courier;
use crate::testing::block_on;
use crate::time::{Ttl, UnixMillis};

fn deliver(app: &Here) {
    assert!(block_on(Courier::default().run(&app.platform.sql, &app.platform, UnixMillis::MAX)).unwrap());
}

fn post(app: &Here, token: &str, path: &str, body: &str) -> Response {
    let reply = ask(app, &Sent::new("POST", path).json(body).by(token));
    assert!(reply.status < 300, "{reply:?}");
    reply
}

/// The position that a reply gives for `topic`.
fn position(reply: &Response, topic: &str) -> String {
    let header = header(reply, "bedside-cursor").unwrap_or_else(|| panic!("{reply:?}"));
    let found = header.split(", ").find_map(|one| one.strip_prefix(&format!("{topic}=")));
    found.unwrap_or_else(|| panic!("{topic} of {header}")).to_owned()
}

fn ids(page: &Response) -> Vec<String> {
    assert_eq!(page.status, 200, "{page:?}");
    let page = value(page);
    assert!(page["gap"].is_null(), "{page}");
    page["events"].as_array().unwrap().iter().map(|event| text(event, "/id")).collect()
}

#[test]
fn whoever_reads_and_follows_from_there_misses_nothing_and_is_told_nothing_twice() {
    let (app, admin) = ready();
    patient(&app, &admin, "p");
    let observe = || text(&value(&post(&app, &admin, "/fhir/Observation", &observation("p"))), "/id");
    observe();
    deliver(&app);
    app.platform.pass(Ttl::from_mins(1));
    // On its way, but in the state already.
    observe();
    let channel = "/channels/patient/p";
    let page = |after: &str| get(&app, &admin, &format!("{channel}?after={after}"));
    let reads = [
        "/fhir/Patient/p",
        "/fhir/Patient/p",
        "/fhir/Observation?patient=p",
        "/fhir/Observation?subject=Patient/p&_count=1",
        "/fhir/Patient/p/$everything",
        "/alerts?patient=p",
    ];
    let positions: Vec<String> = reads.iter().map(|path| position(&get(&app, &admin, path), "patient/p")).collect();
    assert!(positions.iter().all(|one| *one == positions[0]), "{positions:?}");
    let early = page(&positions[0]);
    assert_eq!((early.status, header(&early, "retry-after")), (503, Some("1")), "the log does not have all of it yet");
    deliver(&app);
    assert_eq!(ids(&page(&positions[0])), Vec::<String>::new());
    let third = observe();
    assert!(
        get(&app, &admin, "/fhir/Patient/p")
            .headers
            .iter()
            .any(|(name, value)| *name == "cache-status" && value.contains("fwd"))
    );
    deliver(&app);
    for at in &positions {
        assert_eq!(ids(&page(at)), [format!("Observation/{third}/_history/1")]);
    }
    let newest = position(&get(&app, &admin, "/fhir/Patient/p"), "patient/p");
    assert_eq!(ids(&page(&newest)), Vec::<String>::new());
}

#[test]
fn a_list_of_patients_tells_where_the_wards_of_the_caller_are() {
    let (app, admin) = ready();
    user(&app, &admin, "nora", r#""role":"nurse","wards":["w1","w2"]"#);
    let nora = sign_in(&app, "nora");
    let reply = get(&app, &nora, "/fhir/Patient");
    position(&reply, "ward/w1");
    position(&reply, "ward/w2");
    assert_eq!(header(&get(&app, &admin, "/fhir/Patient"), "bedside-cursor"), None);
    assert_eq!(header(&get(&app, &nora, "/fhir/Location"), "bedside-cursor"), None);
    position(&get(&app, &nora, "/alerts?ward=w1"), "ward/w1");
}

#[test]
fn what_is_arranged_is_told_to_those_whom_it_is_for_and_with() {
    let (app, admin) = ready();
    patient(&app, &admin, "p");
    put(&app, &admin, "/fhir/Practitioner/house", r#"{"resourceType":"Practitioner","id":"house"}"#);
    let house = user(&app, &admin, "house", r#""role":"practitioner","practitioner":"house""#);
    let other = user(&app, &admin, "wilson", r#""role":"practitioner","practitioner":"wilson""#);
    let own = user(&app, &admin, "pat", r#""role":"patient","patient":"p""#);
    let actor = |id: &str| format!(r#"{{"actor":{{"reference":"{id}"}},"status":"accepted"}}"#);
    let body = format!(
        r#"{{"resourceType":"Appointment","status":"booked","participant":[{},{}],
            "start":"2026-01-02T09:00:00Z","end":"2026-01-02T09:30:00Z"}}"#,
        actor("Patient/p"),
        actor("Practitioner/house")
    );
    post(&app, &admin, "/fhir/Appointment", &body);
    let owed = |user: &str| {
        use crate::store::sql::Sql;
        let topic = format!("user/{user}");
        let rows = app.platform.sql.exec("SELECT kind FROM outbox WHERE topic = ?1", &[topic.into()]).unwrap();
        rows.into_iter().map(|mut row| row.text().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(
        (owed(&house), owed(&own), owed(&other)),
        (vec!["appointment".into()], vec!["appointment".into()], vec![])
    );
}

#[test]
fn a_patient_who_moves_is_followed_on_by_those_alone_who_reach_the_new_ward() {
    let (app, admin) = ready();
    patient(&app, &admin, "p");
    for ward in ["w1", "w2"] {
        let body =
            format!(r#"{{"resourceType":"Location","id":"{ward}","physicalType":{{"coding":[{{"code":"wa"}}]}}}}"#);
        assert_eq!(put(&app, &admin, &format!("/fhir/Location/{ward}"), &body).status, 201);
    }
    let stay = |ward: &str| {
        let body = format!(
            r#"{{"resourceType":"Encounter","id":"e","status":"in-progress","class":{{"code":"IMP"}},
                "subject":{{"reference":"Patient/p"}},
                "location":[{{"location":{{"reference":"Location/{ward}"}}}}]}}"#
        );
        assert!(put(&app, &admin, "/fhir/Encounter/e", &body).status < 300);
    };
    stay("w1");
    user(&app, &admin, "ada", r#""role":"nurse","wards":["w1"]"#);
    user(&app, &admin, "ben", r#""role":"nurse","wards":["w2"]"#);
    let (ada, ben) = (sign_in(&app, "ada"), sign_in(&app, "ben"));
    let follow = |token: &str| {
        let sent = Sent::new("GET", "/channels/patient/p").by(token).header("upgrade", "websocket");
        match block_on(handle(&app, &sent)) {
            Reply::Subscribe(subscription) => Ok(subscription),
            Reply::Response(response) => Err(response.status),
            other => panic!("{other:?}"),
        }
    };
    let before = follow(&ada).unwrap();
    assert_eq!(follow(&ben), Err(403));
    stay("w2");
    block_on(Courier::default().tell(&app.platform.sql, &app.platform)).unwrap();
    let after = follow(&ben).unwrap();
    assert_eq!(follow(&ada), Err(403));
    let topics = app.platform.topics.borrow();
    let topic = topics.get(&Topic::Patient("p".into())).unwrap();
    // Whether connected by then or still on the way there.
    assert_eq!(crate::access::bar::admit(topic, &before.listener).map_err(|error| error.status()), Err(503));
    assert_eq!(crate::access::bar::admit(topic, &after.listener), Ok(()));
}
