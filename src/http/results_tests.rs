use super::testing::*;
use crate::store::sql::Sql;

/// What the outbox owes to `topic`, as references and versions.
fn owed(app: &Here, topic: &str) -> Vec<String> {
    let rows = app.platform.sql.exec("SELECT id FROM outbox WHERE topic = ?1 ORDER BY seq", &[topic.into()]);
    rows.unwrap().into_iter().map(|mut row| row.text().unwrap()).collect()
}

fn resource(kind: &str, id: &str, more: &str) -> String {
    format!(r#"{{"resourceType":"{kind}","id":"{id}"{more}}}"#)
}

fn report(status: &str, more: &str) -> String {
    let subject = r#""subject":{"reference":"Patient/p"}"#;
    resource("DiagnosticReport", "r", &format!(r#","status":"{status}","code":{{"text":"blood"}},{subject}{more}"#))
}

#[test]
fn a_result_goes_to_whoever_asked_for_it_once_it_is_final() {
    let (app, admin) = ready();
    let write = |path: &str, body: &str| {
        let reply = put(&app, &admin, &format!("/fhir/{path}"), body);
        assert!(reply.status < 300, "{reply:?}");
    };
    patient(&app, &admin, "p");
    for id in ["house", "wilson", "cuddy"] {
        write(&format!("Practitioner/{id}"), &resource("Practitioner", id, ""));
    }
    let role = resource("PractitionerRole", "role", r#","practitioner":{"reference":"Practitioner/house"}"#);
    write("PractitionerRole/role", &role);
    let order = |id: &str, requester: &str| {
        let requester = format!(r#","requester":{{"reference":"{requester}"}}"#);
        let more = format!(r#","status":"active","intent":"order","subject":{{"reference":"Patient/p"}}{requester}"#);
        write(&format!("ServiceRequest/{id}"), &resource("ServiceRequest", id, &more));
    };
    order("o1", "PractitionerRole/role");
    order("o2", "Patient/p");
    let account = |name: &str, practitioner: &str| {
        let more = format!(r#""role":"practitioner","practitioner":"{practitioner}""#);
        format!("user/{}", user(&app, &admin, name, &more))
    };
    let (house, wilson, cuddy) = (account("house", "house"), account("wilson", "wilson"), account("cuddy", "cuddy"));

    let people = r#","resultsInterpreter":[{"reference":"Practitioner/wilson"}],
                    "performer":[{"reference":"Organization/lab"},{"reference":"Practitioner/cuddy"}]"#;
    let ordered = format!(r#","basedOn":[{{"reference":"ServiceRequest/o1"}}]{people}"#);
    write("DiagnosticReport/r", &report("preliminary", &ordered));
    assert!(owed(&app, &house).is_empty());
    // Whoever finalises it holds its lease and shows the fence.
    let finalise = |fence: &str| {
        let sent = Sent::new("PUT", "/fhir/DiagnosticReport/r").json(&report("final", &ordered)).by(&admin);
        ask(&app, &if fence.is_empty() { sent } else { sent.header("bedside-fence", fence) })
    };
    assert_eq!(finalise("").status, 409);
    let lease = Sent::new("POST", "/leases/DiagnosticReport:r").json(r#"{"request_id":"a"}"#).by(&admin);
    assert_eq!(ask(&app, &lease).status, 201);
    user(&app, &admin, "nora", r#""role":"nurse""#);
    let nora = sign_in(&app, "nora");
    let other = put(&app, &nora, "/fhir/DiagnosticReport/r", &report("preliminary", &ordered));
    assert!(other.status == 409 && other.body.contains("A has been editing this since 2025-"), "{other:?}");
    assert_eq!(finalise("DiagnosticReport:r=2").status, 409);
    assert_eq!(finalise("DiagnosticReport:r=1").status, 200);
    assert_eq!(ask(&app, &Sent::new("DELETE", "/leases/DiagnosticReport:r?fence=1").by(&admin)).status, 204);
    write("DiagnosticReport/r", &report("corrected", &ordered));
    assert_eq!(owed(&app, &house), ["DiagnosticReport/r/_history/2", "DiagnosticReport/r/_history/3"]);
    assert!(owed(&app, &wilson).is_empty());
    assert_eq!(owed(&app, "patient/p").len(), 3);

    // An order by nobody who has a practitioner: whoever interpreted it; and where nobody did, whoever performed it.
    write(
        "DiagnosticReport/r",
        &report("final", &format!(r#","basedOn":[{{"reference":"ServiceRequest/o2"}}]{people}"#)),
    );
    assert_eq!((owed(&app, &wilson).len(), owed(&app, &cuddy).len()), (1, 0));
    write("DiagnosticReport/r", &report("amended", r#","performer":[{"reference":"Practitioner/cuddy"}]"#));
    assert_eq!((owed(&app, &house).len(), owed(&app, &wilson).len(), owed(&app, &cuddy).len()), (2, 1, 1));
}

#[test]
fn only_who_treats_patients_is_a_practitioner() {
    let (app, admin) = ready();
    let refused = ask(
        &app,
        &Sent::new("POST", "/users").by(&admin).json(&format!(
            r#"{{"username":"x","name":"N","password":"{PASSWORD}","role":"display","wards":["w"],"practitioner":"a"}}"#
        )),
    );
    assert_eq!((refused.status, value(&refused)["field"].as_str()), (422, Some("practitioner")), "{refused:?}");
    let id = user(&app, &admin, "nora", r#""role":"nurse""#);
    let path = format!("/users/{id}");
    assert_eq!(value(&put(&app, &admin, &path, r#"{"practitioner":"a"}"#))["practitioner"], "a");
    // Whoever no longer treats anybody is no longer one.
    assert_eq!(value(&put(&app, &admin, &path, r#"{"role":"admin"}"#))["practitioner"], serde_json::Value::Null);
    assert_eq!(put(&app, &admin, &path, r#"{"practitioner":"a"}"#).status, 422);
}
