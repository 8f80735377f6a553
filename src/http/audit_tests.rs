//! Who reads what, and who may see that they did.

use super::testing::*;
use crate::time::Ttl;

fn rows(app: &Here, admin: &str, query: &str) -> Vec<(String, String)> {
    let page = get(app, admin, &format!("/audit?{query}"));
    assert_eq!(page.status, 200, "{page:?}");
    let rows = value(&page)["rows"].as_array().unwrap().clone();
    rows.iter().map(|row| (text(row, "/action"), text(row, "/entity"))).collect()
}

fn reads(app: &Here, admin: &str, user: &str) -> Vec<String> {
    let rows = rows(app, admin, &format!("user={user}"));
    rows.into_iter().filter(|(action, _)| action == "R").map(|(_, entity)| entity).rev().collect()
}

#[test]
fn whoever_reads_of_a_patient_is_in_the_trail_once_in_five_minutes() {
    let (app, admin) = ready();
    assert!(patient(&app, &admin, "p").status < 300 && patient(&app, &admin, "q").status < 300);
    assert_eq!(
        put(&app, &admin, "/fhir/Observation/o", &observation("p").replacen('{', r#"{"id":"o","#, 1)).status,
        201
    );
    let otto = user(&app, &admin, "otto", r#""role":"nurse""#);
    let token = sign_in(&app, "otto");
    for _ in 0..3 {
        assert_eq!(get(&app, &token, "/fhir/Patient/p").status, 200);
        assert_eq!(get(&app, &token, "/fhir/Observation/o").status, 200);
        assert_eq!(get(&app, &token, "/fhir/Observation?patient=p").status, 200);
    }
    assert_eq!(reads(&app, &admin, &otto), ["Patient/p"], "however it was read");
    assert_eq!(get(&app, &token, "/fhir/Patient/q").status, 200);
    assert_eq!(get(&app, &token, "/fhir/Patient/nobody").status, 404);
    assert_eq!(get(&app, &token, "/fhir/Location?name=x").status, 200);
    assert_eq!(
        reads(&app, &admin, &otto),
        ["Patient/p", "Patient/q"],
        "neither what is not there nor what is nobody's"
    );
    app.platform.pass(Ttl::from_mins(5));
    let token = sign_in(&app, "otto");
    for path in ["/fhir/Patient/p", "/fhir/Observation?code=x", "/fhir/Observation/o/_history", "/alerts?patient=q"] {
        assert_eq!(get(&app, &token, path).status, 200, "{path}");
    }
    let all = ["Patient/p", "Patient/q", "Patient/p", "Observation", "Observation/o", "Patient/q"];
    assert_eq!(reads(&app, &admin, &otto), all);
}

#[test]
fn what_cannot_be_put_into_the_trail_is_not_shown() {
    let (app, admin) = ready();
    assert!(patient(&app, &admin, "p").status < 300);
    user(&app, &admin, "otto", r#""role":"nurse""#);
    let token = sign_in(&app, "otto");
    assert_eq!(get(&app, &admin, "/fhir/Patient/p").status, 200);
    app.platform.trail_down.set(true);
    let refused = get(&app, &token, "/fhir/Patient/p");
    assert_eq!(refused.status, 503);
    assert!(!refused.body.contains("\"Patient\""), "{refused:?}");
    assert_eq!(get(&app, &admin, "/fhir/Patient/p").status, 200, "it is in there");
    app.platform.trail_down.set(false);
    assert_eq!(get(&app, &token, "/fhir/Patient/p").status, 200);
}

#[test]
fn an_administrator_reads_the_trail_page_by_page_and_is_in_it() {
    let (app, admin) = ready();
    for id in ["a", "b", "c"] {
        assert_eq!(patient(&app, &admin, id).status, 201);
    }
    user(&app, &admin, "otto", r#""role":"practitioner""#);
    let token = sign_in(&app, "otto");
    assert_eq!(get(&app, &token, "/audit").status, 403);
    assert_eq!(ask(&app, &Sent::new("GET", "/audit")).status, 401);
    for wrong in ["from=today", "below=x", "count=0", "who=me"] {
        assert_eq!(get(&app, &admin, &format!("/audit?{wrong}")).status, 400, "{wrong}");
    }
    assert_eq!(rows(&app, &admin, "entity=Patient/b"), [("C".into(), "Patient/b/_history/1".into())]);
    assert_eq!(rows(&app, &admin, "entity=audit"), [("R".into(), "audit".into())]);
    assert!(
        rows(&app, &admin, "entity=Patient/").is_empty() && rows(&app, &admin, "to=2020-01-01T00:00:00Z").is_empty()
    );
    let all = rows(&app, &admin, "count=1000");
    let (mut paged, mut below) = (Vec::new(), String::new());
    loop {
        let page = value(&get(&app, &admin, &format!("/audit?count=2{below}")));
        let rows = page["rows"].as_array().unwrap();
        paged.extend(rows.iter().map(|row| (text(row, "/action"), text(row, "/entity"))));
        let Some(next) = page["next"].as_u64() else { break };
        below = format!("&below={next}");
    }
    assert_eq!(paged, all);
    assert!(all.len() >= 6, "{all:?}");
}
