//! Searches over HTTP: parameters, links, preferences, reach, and searches inside Bundles.

use super::testing::*;
use super::*;

fn entries(response: &Response) -> Vec<String> {
    assert_eq!(response.status, 200, "{response:?}");
    let body = value(response);
    let entries = body["entry"].as_array().cloned().unwrap_or_default();
    entries.iter().map(|entry| text(entry, "/resource/id")).collect()
}

fn link(response: &Response, relation: &str) -> Option<String> {
    let body = value(response);
    let links = body["link"].as_array().cloned().unwrap_or_default();
    let found = links.iter().find(|link| link["relation"] == relation)?;
    Some(text(found, "/url").strip_prefix(ORIGIN).unwrap().to_owned())
}

fn named(app: &Here, token: &str, id: &str, family: &str) {
    let body =
        format!(r#"{{"resourceType":"Patient","id":"{id}","name":[{{"family":"{family}"}}],"birthDate":"1980"}}"#);
    assert_eq!(put(app, token, &format!("/fhir/Patient/{id}"), &body).status, 201);
}

#[test]
fn pages_are_read_to_the_end_while_others_are_written() {
    let (app, admin) = ready();
    for number in 0..7 {
        named(&app, &admin, &format!("p{number}"), &format!("Nová{number}"));
    }
    for query in ["name=nova", "name=NOVÁ&_sort=name", "_sort=-name&name:contains=ov", "_sort=-_lastUpdated,_id"] {
        let mut url = format!("/fhir/Patient?{query}&_count=3");
        let mut found = Vec::new();
        loop {
            let page = get(&app, &admin, &url);
            found.extend(entries(&page));
            named(&app, &admin, &format!("x{}", app.platform.uuid()), "Other");
            match link(&page, "next") {
                Some(next) => url = next,
                None => break,
            }
        }
        let mut ours: Vec<String> = found.iter().filter(|id| id.starts_with('p')).cloned().collect();
        ours.sort();
        ours.dedup();
        assert_eq!(ours.len(), 7, "{query}: {found:?}");
        assert!(!found.iter().enumerate().any(|(index, id)| found[..index].contains(id)), "{query}: {found:?}");
    }
    let page = get(&app, &admin, "/fhir/Patient?name=nov%C3%A1&_total=accurate&_count=2&_format=json&_pretty=true");
    assert_eq!(value(&page)["total"], 7);
    assert_eq!(link(&page, "self").as_deref(), Some("/fhir/Patient?_count=2&_total=accurate&name=nov%C3%A1"));
    let counted = get(&app, &admin, "/fhir/Patient?name=nova&_summary=count");
    assert_eq!((value(&counted)["total"].as_u64(), entries(&counted).len()), (Some(7), 0));
    assert_eq!(value(&get(&app, &admin, "/fhir/Patient?name=nova&_count=0"))["total"], 7);
    assert_eq!(get(&app, &admin, "/fhir/Patient?_after=x").status, 400);
}

#[test]
fn what_is_not_known_is_refused_or_left_out_as_the_client_prefers() {
    let (app, admin) = ready();
    named(&app, &admin, "p", "Doe");
    let ask_with = |path: &str, prefer: &str| ask(&app, &Sent::new("GET", path).by(&admin).header("prefer", prefer));
    for prefer in ["", "handling=strict", "return=minimal"] {
        let refused = ask_with("/fhir/Patient?name=doe&shoe-size=42", prefer);
        assert_eq!((refused.status, text(&value(&refused), "/issue/0/expression/0")), (400, "http.shoe-size".into()));
    }
    let lenient = ask_with("/fhir/Patient?name=doe&shoe-size=42", "return=minimal, handling=lenient");
    let body = value(&lenient);
    assert_eq!(lenient.status, 200);
    assert_eq!(body["entry"].as_array().unwrap().len(), 2);
    assert_eq!(text(&body, "/entry/1/search/mode"), "outcome");
    assert_eq!(text(&body, "/entry/1/resource/issue/0/expression/0"), "http.shoe-size");
    assert_eq!(link(&lenient, "self").as_deref(), Some("/fhir/Patient?_count=50&name=doe"));
    assert!(crate::fhir::Resource::parse(lenient.body.as_bytes()).is_ok());
    // A modifier that is not known changes what is meant: it is never left out.
    for path in ["/fhir/Patient?name:sounds=doe", "/fhir/Observation?subject.name=doe"] {
        assert_eq!(ask_with(path, "handling=lenient").status, 400, "{path}");
    }
    assert_eq!(ask_with("/fhir/Patient", "handling=loose").status, 400);
    assert_eq!(ask_with("/fhir/Patient?_format=xml", "").status, 406);
    assert_eq!(ask_with("/fhir/Patient?name=%ff", "").status, 400);
}

#[test]
fn a_search_can_be_posted_and_stand_in_a_batch() {
    let (app, admin) = ready();
    named(&app, &admin, "p", "Doe");
    named(&app, &admin, "q", "Roe");
    let form = |path: &str, body: &str| {
        let sent = Sent::new("POST", path).by(&admin).header("content-type", "application/x-www-form-urlencoded");
        ask(&app, &Sent { body: body.into(), ..sent })
    };
    assert_eq!(entries(&form("/fhir/Patient/_search", "name=doe&_count=5")), ["p"]);
    assert_eq!(entries(&form("/fhir/Patient/_search?name=roe", "birthdate=1980")), ["q"]);
    assert_eq!(ask(&app, &Sent::new("POST", "/fhir/Patient/_search").by(&admin).json("{}")).status, 415);
    assert_eq!(ask(&app, &Sent::new("GET", "/fhir/Patient/_search").by(&admin)).status, 405);
    let batch = r#"{"resourceType":"Bundle","type":"batch","entry":[
        {"request":{"method":"GET","url":"Patient?name=doe"}},{"request":{"method":"GET","url":"Patient?shoe-size=1"}}]}"#;
    let reply = value(&ask(&app, &Sent::new("POST", "/fhir").json(batch).by(&admin)));
    assert_eq!(text(&reply, "/entry/0/resource/entry/0/resource/id"), "p");
    assert_eq!(text(&reply, "/entry/1/response/status"), "400");
}

#[test]
fn everybody_finds_and_counts_what_they_reach() {
    let (app, admin) = ready();
    let location = r#"{"resourceType":"Location","id":"w8","physicalType":{"coding":[{"code":"wa"}]}}"#;
    assert_eq!(put(&app, &admin, "/fhir/Location/w8", location).status, 201);
    for id in ["p", "q", "r"] {
        named(&app, &admin, id, "Doe");
        let posted = ask(&app, &Sent::new("POST", "/fhir/Observation").json(&observation(id)).by(&admin));
        assert_eq!(posted.status, 201);
    }
    let stay = r#"{"resourceType":"Encounter","id":"e","status":"in-progress","class":{"code":"IMP"},
        "subject":{"reference":"Patient/q"},"location":[{"location":{"reference":"Location/w8"}}]}"#;
    assert_eq!(put(&app, &admin, "/fhir/Encounter/e", stay).status, 201);
    user(&app, &admin, "nora", r#""role":"nurse","wards":["w7"]"#);
    user(&app, &admin, "pat", r#""role":"patient","patient":"r""#);
    user(&app, &admin, "mon", r#""role":"device","patients":["p"]"#);
    for (who, patients, observations) in [("admin", 3, 3), ("nora", 2, 2), ("pat", 1, 1)] {
        let token = sign_in(&app, who);
        for (path, count) in
            [("/fhir/Patient?name=doe", patients), ("/fhir/Observation?code:missing=true", observations)]
        {
            let page = get(&app, &token, &format!("{path}&_total=accurate&_count=1"));
            assert_eq!(value(&page)["total"], count, "{who} {path}");
            assert_eq!(link(&page, "next").is_some(), count > 1, "{who} {path}");
        }
        let others = get(&app, &token, "/fhir/Observation?patient=q&_total=accurate");
        assert_eq!(value(&others)["total"], u64::from(who == "admin"), "{who}");
        let everybody: Vec<String> = entries(&get(&app, &token, "/fhir/Location"));
        assert_eq!(everybody, ["w8"], "{who}");
    }
    assert_eq!(get(&app, &sign_in(&app, "mon"), "/fhir/Observation?patient=p").status, 403);
}
