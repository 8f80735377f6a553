use super::testing::*;
use super::*;
use crate::store::sql::Sql;
use crate::testing::block_on;
use crate::time::{Clock, Ttl, UnixMillis};

const LOINC: &str = "http://loinc.org";

/// An Observation of `patient` with a quantity, measured `ago` before now.
fn reading(app: &Here, patient: &str, (code, value, unit): (&str, f64, &str), ago: Ttl) -> serde_json::Value {
    let at = UnixMillis(app.platform.now().0 - ago.0).to_rfc3339();
    serde_json::json!({
        "resourceType": "Observation", "status": "final",
        "code": { "coding": [{ "system": LOINC, "code": code }] },
        "subject": { "reference": format!("Patient/{patient}") },
        "effectiveDateTime": at,
        "valueQuantity": { "value": value, "system": "http://unitsofmeasure.org", "code": unit },
    })
}

fn post(app: &Here, token: &str, observation: &serde_json::Value) -> Response {
    ask(app, &Sent::new("POST", "/fhir/Observation").json(&observation.to_string()).by(token))
}

const SECOND: Ttl = Ttl::from_secs(1);

/// Two wards with a patient each, and somebody in every role.
fn clinic() -> (Here, String) {
    let (app, admin) = ready();
    for (ward, who) in [("w1", "p"), ("w2", "q")] {
        let place =
            format!(r#"{{"resourceType":"Location","id":"{ward}","physicalType":{{"coding":[{{"code":"wa"}}]}}}}"#);
        assert_eq!(put(&app, &admin, &format!("/fhir/Location/{ward}"), &place).status, 201);
        assert_eq!(patient(&app, &admin, who).status, 201);
        let stay = format!(
            r#"{{"resourceType":"Encounter","id":"e-{who}","status":"in-progress","class":{{"code":"IMP"}},
                "subject":{{"reference":"Patient/{who}"}},"location":[{{"location":{{"reference":"Location/{ward}"}}}}]}}"#
        );
        assert_eq!(put(&app, &admin, &format!("/fhir/Encounter/e-{who}"), &stay).status, 201);
    }
    user(&app, &admin, "nora", r#""role":"nurse","wards":["w1"]"#);
    user(&app, &admin, "otto", r#""role":"nurse","wards":["w2"]"#);
    user(&app, &admin, "pat", r#""role":"patient","patient":"p""#);
    user(&app, &admin, "board", r#""role":"display","wards":["w1"]"#);
    user(&app, &admin, "monitor", r#""role":"device","patients":["p"]"#);
    (app, admin)
}

fn alerts(app: &Here, token: &str, query: &str) -> Vec<serde_json::Value> {
    let reply = get(app, token, &format!("/alerts{query}"));
    assert_eq!(reply.status, 200, "{reply:?}");
    value(&reply)["alerts"].as_array().unwrap().clone()
}

fn acknowledge(app: &Here, token: &str, id: &str, body: Option<&str>) -> Response {
    let sent = Sent::new("POST", &format!("/alerts/{id}/acknowledge")).by(token);
    let sent = match body {
        Some(body) => sent.json(body),
        None => sent,
    };
    ask(app, &sent)
}

#[test]
fn an_alert_is_seen_by_its_ward_and_acknowledged_by_name_once() {
    let (app, admin) = clinic();
    let (nora, otto) = (sign_in(&app, "nora"), sign_in(&app, "otto"));
    let monitor = sign_in(&app, "monitor");
    let made = post(&app, &monitor, &reading(&app, "p", ("8867-4", 135.0, "{beats}/min"), SECOND));
    assert_eq!(made.status, 201, "{made:?}");

    let open = alerts(&app, &nora, "");
    assert_eq!(open.len(), 1);
    assert_eq!(open[0]["patient"], "p");
    assert_eq!((&open[0]["cause"], &open[0]["severity"]), (&"news2".into(), &"low-medium".into()));
    assert_eq!(open[0]["detail"]["parts"]["heart_rate"]["points"], 3);
    assert_eq!(open[0]["detail"]["missing"].as_array().unwrap().len(), 6);
    assert_eq!(alerts(&app, &admin, "?ward=w1").len(), 1);
    assert_eq!(alerts(&app, &admin, "?ward=w2").len(), 0);
    assert_eq!(alerts(&app, &nora, "?patient=p").len(), 1);
    assert_eq!(alerts(&app, &otto, "").len(), 0);
    assert_eq!(get(&app, &otto, "/alerts?patient=p").status, 403);
    assert_eq!(get(&app, &nora, "/alerts?patient=nobody").status, 404);

    let id = open[0]["id"].as_str().unwrap();
    assert_eq!(acknowledge(&app, &otto, id, None).status, 403);
    for name in ["pat", "board", "monitor"] {
        let token = sign_in(&app, name);
        assert_eq!(acknowledge(&app, &token, id, None).status, 403, "{name}");
        assert_eq!(get(&app, &token, "/alerts").status, 403, "{name}");
        assert_eq!(get(&app, &token, "/patients/p/thresholds").status, 403, "{name}");
    }
    assert_eq!(acknowledge(&app, &nora, "none", None).status, 404);
    assert_eq!(acknowledge(&app, &nora, id, Some(r#"{"version":0}"#)).status, 409);
    let seen = acknowledge(&app, &nora, id, Some(r#"{"version":1}"#));
    assert_eq!(seen.status, 200, "{seen:?}");
    assert_eq!(value(&seen)["acknowledged"]["by"]["name"], "N");
    // Somebody else, later: the first one stays.
    app.platform.pass(SECOND);
    let again = acknowledge(&app, &admin, id, None);
    assert_eq!((again.status, value(&again)), (200, value(&seen)));
    let audit = |outcome: &str| {
        let count = "SELECT count(*) FROM audit WHERE entity LIKE 'alert/%' AND outcome = ?1";
        app.platform.sql.first(count, &[outcome.into()]).unwrap().unwrap().number().unwrap()
    };
    assert_eq!((audit("success"), audit("refused")), (1, 1));
}

#[test]
fn limits_and_scale_are_set_per_patient_and_take_effect_at_once() {
    let (app, _) = clinic();
    let nora = sign_in(&app, "nora");
    assert_eq!(post(&app, &nora, &reading(&app, "p", ("59408-5", 90.0, "%"), SECOND)).status, 201);
    assert_eq!(post(&app, &nora, &reading(&app, "p", ("8867-4", 88.0, "/min"), SECOND)).status, 201);
    assert_eq!(alerts(&app, &nora, "")[0]["severity"], "low-medium");

    let path = "/patients/p/thresholds";
    let unset = value(&get(&app, &nora, path));
    assert_eq!((&unset["spo2_scale"], &unset["version"], &unset["monitoring"]), (&1.into(), &0.into(), &"auto".into()));
    let body = r#"{"spo2_scale":2,"limits":{"heart_rate":{"high":80}}}"#;
    let set = put(&app, &nora, path, body);
    assert_eq!((set.status, &value(&set)["version"]), (200, &1.into()), "{set:?}");
    assert_eq!(value(&get(&app, &nora, path)), value(&set));
    let open = alerts(&app, &nora, "?patient=p");
    let causes: Vec<_> = open.iter().map(|alert| (alert["cause"].as_str(), alert["cleared_at"].is_null())).collect();
    assert_eq!(causes, [(Some("threshold"), true), (Some("news2"), false)]);
    assert_eq!(open[0]["detail"], serde_json::json!({ "value": 88, "limit": 80 }));

    let stale = Sent::new("PUT", path).json(body).by(&nora).header("if-match", "W/\"0\"");
    assert_eq!(ask(&app, &stale).status, 412);
    assert_eq!(put(&app, &nora, path, r#"{"spo2_scale":3}"#).status, 422);
    assert_eq!(put(&app, &nora, path, r#"{"spo2_scale":1,"colour":"red"}"#).status, 400);
    assert_eq!(put(&app, &nora, "/patients/q/thresholds", body).status, 403);
    assert_eq!(get(&app, &nora, "/patients/nobody/thresholds").status, 404);
}

#[test]
fn a_unit_that_cannot_be_converted_is_refused_by_name_and_in_a_bundle_by_its_entry() {
    let (app, _) = clinic();
    let nora = sign_in(&app, "nora");
    let bad = reading(&app, "p", ("8310-5", 98.6, "degF"), SECOND);
    let refused = post(&app, &nora, &bad);
    assert_eq!(refused.status, 422, "{refused:?}");
    assert_eq!(value(&refused)["issue"][0]["expression"][0], "Observation.valueQuantity.code");
    let entry = serde_json::json!({ "resource": bad, "request": { "method": "POST", "url": "Observation" } });
    let bundle = serde_json::json!({ "resourceType": "Bundle", "type": "transaction", "entry": [entry] });
    let refused = ask(&app, &Sent::new("POST", "/fhir").json(&bundle.to_string()).by(&nora));
    assert_eq!(refused.status, 422);
    let expected = "Bundle.entry[0].resource.valueQuantity.code";
    assert_eq!(value(&refused)["issue"][0]["expression"][0], expected);
    // The same, as history, is kept as it is.
    let old = reading(&app, "p", ("8310-5", 98.6, "degF"), Ttl::from_mins(13 * 60));
    assert_eq!(post(&app, &nora, &old).status, 201);
}

fn telemetry(app: &Here, token: &str, body: &serde_json::Value) -> Response {
    ask(app, &Sent::new("POST", "/telemetry").json(&body.to_string()).by(token))
}

#[test]
fn telemetry_is_acknowledged_by_patient_and_is_in_the_topics_of_patient_and_ward_once() {
    let (app, admin) = clinic();
    let monitor = sign_in(&app, "monitor");
    let nora = sign_in(&app, "nora");
    let at = app.platform.now().to_rfc3339();
    let reading = |patient: &str| serde_json::json!({ "patient": patient, "at": at, "values": { "heart_rate": 71.5, "consciousness": "A" } });
    let body = serde_json::json!({ "readings": [reading("p"), reading("q")] });
    for _ in 0..2 {
        let reply = telemetry(&app, &monitor, &body);
        assert_eq!(reply.status, 200, "{reply:?}");
        let results = value(&reply)["results"].clone();
        assert!(results[0]["cursor"].is_string(), "{results}");
        assert_eq!((&results[1]["patient"], &results[1]["error"]["status"]), (&"q".into(), &403.into()));
    }
    for topic in ["patient/p", "ward/w1"] {
        let page = value(&get(&app, &nora, &format!("/channels/{topic}")));
        let of_telemetry: Vec<_> =
            page["events"].as_array().unwrap().iter().filter(|event| event["kind"] == "telemetry").collect();
        assert_eq!(of_telemetry.len(), 1, "{topic}");
        let values = serde_json::json!({ "heart_rate": 71.5, "consciousness": "A" });
        assert_eq!(of_telemetry[0]["data"]["readings"][0]["values"], values);
    }
    // A topic that does not answer: not acknowledged, and nothing is known of it.
    app.platform.unreachable.set(true);
    let again = value(&telemetry(&app, &admin, &serde_json::json!({ "readings": [reading("q")] })));
    assert_eq!(
        (&again["results"][0]["error"]["status"], &again["results"][0]["error"]["retry"]),
        (&503.into(), &"after".into())
    );
    app.platform.unreachable.set(false);

    let channel = Sent::new("POST", "/channels/patient/p").by(&monitor);
    let one = ask(&app, &channel.json(r#"{"kind":"telemetry","id":"x1","data":{"values":{"heart_rate":72}}}"#));
    assert_eq!(one.status, 201, "{one:?}");
    for (token, path, body, status, field) in [
        (&monitor, "/channels/patient/q", r#"{"kind":"telemetry","data":{"values":{"heart_rate":72}}}"#, 403, None),
        (&monitor, "/channels/patient/p", r#"{"kind":"notice","data":{}}"#, 403, None),
        (
            &monitor,
            "/channels/ward/w1",
            r#"{"kind":"telemetry","data":{"values":{"heart_rate":72}}}"#,
            422,
            Some("kind"),
        ),
        (&nora, "/channels/patient/p", r#"{"kind":"telemetry","data":{"values":{"heart_rate":72}}}"#, 403, None),
        (&nora, "/telemetry", r#"{"readings":[]}"#, 403, None),
        (&monitor, "/telemetry", r#"{"readings":[]}"#, 422, Some("readings")),
        (&monitor, "/telemetry", r#"{"readings":[{"patient":"p","values":{}}]}"#, 422, Some("readings[0].values")),
        (
            &monitor,
            "/telemetry",
            r#"{"readings":[{"patient":"p","values":{"pulse":1}}]}"#,
            422,
            Some("readings[0].values"),
        ),
        (
            &monitor,
            "/telemetry",
            r#"{"readings":[{"patient":"p","values":{"heart_rate":9999}}]}"#,
            422,
            Some("readings[0].values.heart_rate"),
        ),
        (
            &monitor,
            "/telemetry",
            r#"{"readings":[{"patient":"p","at":"now","values":{"heart_rate":1}}]}"#,
            422,
            Some("readings[0].at"),
        ),
    ] {
        let refused = ask(&app, &Sent::new("POST", path).json(body).by(token));
        assert_eq!((refused.status, value(&refused)["field"].as_str()), (status, field), "{path} {body}");
    }
}

#[test]
fn the_board_shows_a_ward_at_one_instant_and_a_display_only_initials() {
    let (app, admin) = clinic();
    let (nora, board, monitor) = (sign_in(&app, "nora"), sign_in(&app, "board"), sign_in(&app, "monitor"));
    let named = r#"{"resourceType":"Patient","id":"p","name":[{"given":["Ada","May"],"family":"Doe"}],"gender":"female","birthDate":"1950-02-03"}"#;
    assert_eq!(put(&app, &admin, "/fhir/Patient/p", named).status, 200);
    assert_eq!(post(&app, &nora, &reading(&app, "p", ("9279-1", 26.0, "/min"), SECOND)).status, 201);
    app.platform.pass(SECOND);
    let body = serde_json::json!({ "readings": [{ "patient": "p", "values": { "heart_rate": 71 } }] });
    assert_eq!(telemetry(&app, &monitor, &body).status, 200);

    let shown = get(&app, &nora, "/wards/w1/board");
    assert_eq!(shown.status, 200, "{shown:?}");
    let shown = value(&shown);
    assert_eq!(shown["ward"]["id"], "w1");
    let patients = shown["patients"].as_array().unwrap();
    assert_eq!(patients.len(), 1);
    let patient = &patients[0];
    assert_eq!((&patient["name"], &patient["birth_date"]), (&"Ada Doe".into(), &"1950-02-03".into()));
    assert_eq!((&patient["news2"]["total"], &patient["news2"]["partial"]), (&3.into(), &true.into()));
    assert_eq!(patient["latest"]["respiratory_rate"]["value"], 26);
    assert_eq!(
        (&patient["latest"]["heart_rate"]["value"], &patient["latest"]["heart_rate"]["source"]),
        (&71.into(), &"telemetry".into())
    );
    assert_eq!(patient["alerts"][0]["severity"], "low-medium");
    assert_eq!(patient["monitor"], serde_json::json!({ "interval_seconds": 10, "silent": false }));
    // What comes after it goes on from its cursor.
    block_on(crate::clinic::courier::Courier::default().run(&app.platform.sql, &app.platform, UnixMillis::MAX))
        .unwrap();
    let events = |cursor: &str| {
        let page = value(&get(&app, &nora, &format!("/channels/ward/w1?after={cursor}")));
        let kinds = page["events"].as_array().unwrap().iter().map(|event| event["kind"].as_str().unwrap().to_owned());
        kinds.filter(|kind| kind != "telemetry").collect::<Vec<_>>()
    };
    assert_eq!(events(shown["cursor"].as_str().unwrap()), Vec::<String>::new());

    let reduced = value(&get(&app, &board, "/wards/w1/board"));
    let patient = &reduced["patients"][0];
    assert_eq!(
        (&patient["name"], &patient["birth_date"], &patient["gender"]),
        (&"A. D.".into(), &().into(), &().into())
    );
    for (token, path) in [(&board, "/wards/w2/board"), (&nora, "/wards/w2/board"), (&monitor, "/wards/w1/board")] {
        assert_eq!(get(&app, token, path).status, 403, "{path}");
    }
}
