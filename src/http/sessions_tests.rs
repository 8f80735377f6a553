//! Signing in and out, what is open, and who may end it, over a deployment in one process.

use super::testing::*;
use super::*;
use crate::clinic::sessions::Sessions;
use crate::session::limit::Places;
use crate::testing::block_on;
use crate::time::Ttl;

fn sign_in_with(username: &str, headers: &[(&'static str, &str)]) -> Sent {
    let body = format!(r#"{{"username":"{username}","password":"{PASSWORD}"}}"#);
    let sent = Sent::new("POST", "/session").json(&body);
    headers.iter().fold(sent, |sent, (name, value)| sent.header(name, value))
}

/// The cookie of this name that a reply sets, as a request carries it.
fn set_cookie(reply: &Response, name: &str) -> Option<String> {
    let all = reply.headers.iter().filter(|(header, _)| *header == "set-cookie");
    let pairs = all.filter_map(|(_, cookie)| cookie.split(';').next());
    pairs.filter(|pair| pair.starts_with(&format!("{name}="))).map(str::to_owned).next()
}

fn sessions(app: &Here, token: &str, query: &str) -> Vec<serde_json::Value> {
    value(&get(app, token, &format!("/sessions{query}")))["sessions"].as_array().unwrap().clone()
}

fn delete(app: &Here, token: &str, path: &str) -> u16 {
    ask(app, &Sent::new("DELETE", path).by(token)).status
}

#[test]
fn a_failed_sign_in_answers_alike_whatever_the_reason() {
    let (app, admin) = ready();
    let id = user(&app, &admin, "off", r#""role":"nurse""#);
    user(&app, &admin, "nora", r#""role":"nurse""#);
    assert_eq!(put(&app, &admin, &format!("/users/{id}"), r#"{"disabled":true}"#).status, 200);
    let attempt = |username: &str, password: &str| {
        let before = app.platform.asked.get();
        let body = format!(r#"{{"username":"{username}","password":"{password}"}}"#);
        let mut reply = ask(&app, &Sent::new("POST", "/session").json(&body));
        reply.headers.retain(|(name, _)| !["x-request-id", "date"].contains(name));
        (reply, app.platform.asked.get() - before)
    };
    let wrong = attempt("nora", "wrong wrong wrong");
    assert_eq!(wrong.0.status, 401);
    assert_eq!(attempt("nobody", PASSWORD), wrong);
    assert_eq!(attempt("off", PASSWORD), wrong);
    for username in ["nora", "nobody", "off"] {
        // As nine more wrong ones would, without the work of looking at them.
        for _ in 0..9 {
            block_on(app.platform.attempt(username, &Places::default())).unwrap();
        }
    }
    // From here on one has to wait, also with the right password.
    let waits = attempt("nora", PASSWORD);
    assert_eq!((waits.0.status, header(&waits.0, "retry-after")), (429, Some("30")));
    assert_eq!(attempt("nobody", PASSWORD), waits);
    assert_eq!(attempt("off", PASSWORD), waits);
    app.platform.pass(Ttl::from_secs(30));
    assert_eq!(attempt("nora", PASSWORD).0.status, 201);
    assert_eq!(attempt("nobody", PASSWORD), wrong);
}

#[test]
fn a_session_by_cookie_and_by_bearer() {
    let (app, _) = ready();
    let body = format!(r#"{{"username":" Admin ","password":"{PASSWORD}"}}"#);
    let reply = ask(&app, &Sent::new("POST", "/session").json(&body));
    let cookie = header(&reply, "set-cookie").unwrap();
    assert!(value(&reply).get("token").is_none());
    let attributes = "; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=43200";
    assert!(cookie.starts_with("__Host-session=bs1.") && cookie.ends_with(attributes), "{cookie}");
    let pair = cookie.split(';').next().unwrap();
    let me = ask(&app, &Sent::new("GET", "/session").header("cookie", &format!("a=b; {pair}; c=d")));
    assert_eq!((me.status, text(&value(&me), "/user/role").as_str()), (200, "admin"));
    let out = ask(&app, &Sent::new("DELETE", "/session").header("cookie", pair));
    assert_eq!(out.status, 204);
    assert!(header(&out, "set-cookie").unwrap().contains("Max-Age=0"));
    let after = ask(&app, &Sent::new("GET", "/session").header("cookie", pair));
    assert_eq!((after.status, header(&after, "www-authenticate")), (401, Some("Bearer realm=\"Bedside\"")));
}

#[test]
fn only_what_a_person_did_is_activity() {
    let (app, token) = ready();
    patient(&app, &token, "p");
    let idle = |reply: &Response| text(&value(reply), "/idle_expires_at");
    let first = idle(&get(&app, &token, "/session"));
    app.platform.pass(Ttl::from_mins(5));
    assert_eq!(idle(&get(&app, &token, "/session")), first);
    let background = Sent::new("GET", "/fhir/Patient/p").by(&token).header("bedside-background", "?1");
    assert_eq!(ask(&app, &background).status, 200);
    get(&app, &token, "/channels/patient/p");
    assert_eq!(idle(&get(&app, &token, "/session")), first);
    get(&app, &token, "/fhir/Patient/p");
    let second = idle(&get(&app, &token, "/session"));
    assert!(second > first);
    app.platform.pass(Ttl::from_mins(5));
    assert!(idle(&ask(&app, &Sent::new("PUT", "/session").by(&token))) > second);
    app.platform.pass(Ttl::from_mins(15));
    assert_eq!(get(&app, &token, "/session").status, 401);
}

#[test]
fn a_change_of_an_account_is_in_force_when_it_is_acknowledged() {
    let (app, admin) = ready();
    let id = user(&app, &admin, "nora", r#""role":"nurse""#);
    let token = sign_in(&app, "nora");
    assert_eq!(put(&app, &admin, &format!("/users/{id}/wards"), r#"{"wards":["w1"]}"#).status, 200);
    assert_eq!(value(&get(&app, &token, "/session"))["user"]["wards"][0], "w1");

    let path = format!("/users/{id}/password");
    let own = |current: &str| format!(r#"{{"password":"another long password","current":"{current}"}}"#);
    assert_eq!(put(&app, &token, &path, r#"{"password":"another long password"}"#).status, 400);
    assert_eq!(put(&app, &token, &path, &own("wrong wrong wrong")).status, 403);
    let elsewhere = sign_in(&app, "nora");
    let changed = put(&app, &token, &path, &own(PASSWORD));
    assert_eq!(changed.status, 200);
    for old in [&token, &elsewhere] {
        assert_eq!(get(&app, old, "/session").status, 401);
    }
    let token = text(&value(&changed), "/session/token");
    assert_eq!(get(&app, &token, "/session").status, 200);
    assert_eq!(put(&app, &admin, &path, &format!(r#"{{"password":"{PASSWORD}"}}"#)).status, 200);

    let token = sign_in(&app, "nora");
    app.platform.store.fail_next(crate::store::memory::Fault::Before);
    assert_eq!(get(&app, &token, "/session").status, 503);
    assert_eq!(put(&app, &admin, &format!("/users/{id}"), r#"{"disabled":true}"#).status, 200);
    assert_eq!(get(&app, &token, "/session").status, 401);
    let me = text(&value(&get(&app, &admin, "/session")), "/user/id");
    assert_eq!(put(&app, &admin, &format!("/users/{me}"), r#"{"disabled":true}"#).status, 409);
}

#[test]
fn another_user_signs_in_at_the_same_workstation() {
    let (app, admin) = ready();
    for name in ["nora", "olga"] {
        user(&app, &admin, name, r#""role":"nurse""#);
    }
    let first = ask(&app, &sign_in_with("nora", &[]));
    let nora = set_cookie(&first, "__Host-session").unwrap();
    let device = set_cookie(&first, "__Host-device").unwrap();
    let both = format!("{device}; {nora}");
    let refused =
        Sent::new("POST", "/session").json(r#"{"username":"olga","password":"wrong"}"#).header("cookie", &both);
    assert_eq!(ask(&app, &refused).status, 401);
    let me = |cookie: &str| ask(&app, &Sent::new("GET", "/session").header("cookie", cookie));
    assert_eq!(me(&nora).status, 200, "a wrong password ends nothing");
    let second = ask(&app, &sign_in_with("olga", &[("cookie", &both)]));
    let olga = set_cookie(&second, "__Host-session").unwrap();
    assert_eq!(set_cookie(&second, "__Host-device"), None, "the browser has one");
    assert_eq!(me(&nora).status, 401);
    assert_eq!(text(&value(&me(&olga)), "/user/name"), "N");
}

#[test]
fn sessions_are_listed_and_ended() {
    let (app, admin) = ready();
    let id = user(&app, &admin, "nora", r#""role":"nurse""#);
    user(&app, &admin, "olga", r#""role":"nurse""#);
    let firefox = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0";
    let cookie = set_cookie(&ask(&app, &sign_in_with("nora", &[("user-agent", firefox)])), "__Host-session").unwrap();
    app.platform.pass(Ttl::from_mins(2));
    let (here, there, olga) = (sign_in(&app, "nora"), sign_in(&app, "nora"), sign_in(&app, "olga"));

    let listed = sessions(&app, &here, "");
    assert_eq!(listed.len(), 3);
    assert_eq!(listed.iter().filter(|one| one["current"] == true).count(), 1);
    let browser = listed.iter().find(|one| one["device"] == "Firefox on Windows").unwrap();
    assert_eq!(text(browser, "/first_seen"), "2025-11-24T16:00:00.000Z");
    let me = ask(&app, &Sent::new("PUT", "/session").header("cookie", &cookie));
    let listed = sessions(&app, &here, "");
    let browser = listed.iter().find(|one| one["id"] == value(&me)["id"]).unwrap();
    assert_eq!(text(browser, "/last_seen"), "2025-11-24T16:02:00.000Z");
    assert!(!listed.iter().any(|one| one.to_string().contains("session/") || one.to_string().contains("bs1")));

    let browser = text(browser, "/id");
    assert_eq!(delete(&app, &olga, &format!("/sessions/{browser}")), 404, "not hers");
    assert_eq!(delete(&app, &olga, &format!("/sessions/{browser}?user={id}")), 403);
    assert_eq!(get(&app, &olga, &format!("/sessions?user={id}")).status, 403);
    assert_eq!(delete(&app, &here, &format!("/sessions/{browser}")), 204);
    assert_eq!(delete(&app, &here, &format!("/sessions/{browser}")), 204, "a repetition does no harm");
    assert_eq!(ask(&app, &Sent::new("GET", "/session").header("cookie", &cookie)).status, 401);
    assert_eq!(sessions(&app, &here, "").len(), 2);

    assert_eq!(delete(&app, &here, "/sessions"), 204);
    assert_eq!((get(&app, &here, "/session").status, get(&app, &there, "/session").status), (200, 401));
    assert_eq!(sessions(&app, &admin, &format!("?user={id}")).len(), 1);
    assert_eq!(delete(&app, &admin, &format!("/sessions?user={id}")), 204);
    assert_eq!((get(&app, &here, "/session").status, get(&app, &admin, "/session").status), (401, 200));
    assert_eq!(get(&app, &olga, "/session").status, 200);
    assert_eq!(sessions(&app, &admin, &format!("?user={id}")).len(), 0);
    assert_eq!(get(&app, &admin, "/sessions?x=1").status, 400);

    let gone = sign_in(&app, "nora");
    app.platform.pass(Ttl::from_mins(15));
    assert_eq!(get(&app, &gone, "/session").status, 401);
    let admin = sign_in(&app, "admin");
    assert_eq!(sessions(&app, &admin, &format!("?user={id}")).len(), 0, "one that has run out is not shown");
}

#[test]
fn an_end_that_the_store_has_not_taken_is_not_acknowledged() {
    let (app, admin) = ready();
    app.platform.store.fail_at(2, crate::store::memory::Fault::Before);
    let out = || ask(&app, &Sent::new("DELETE", "/session").by(&admin));
    assert_eq!(out().status, 503);
    assert_eq!(out().status, 204);
    assert_eq!(out().status, 401);
}

#[test]
fn strangers_do_not_lock_a_colleague_out_of_her_browser() {
    let (app, admin) = ready();
    user(&app, &admin, "nora", r#""role":"nurse""#);
    let device = set_cookie(&ask(&app, &sign_in_with("nora", &[])), "__Host-device").unwrap();
    for _ in 0..10 {
        block_on(app.platform.attempt("nora", &Places::default())).unwrap();
    }
    assert_eq!(ask(&app, &sign_in_with("nora", &[])).status, 429);
    assert_eq!(ask(&app, &sign_in_with("nora", &[("cookie", "__Host-device=AAAAAAAAAAAAAAAAAAAAAA")])).status, 429);
    assert_eq!(ask(&app, &sign_in_with("nora", &[("cookie", &device)])).status, 201);
}

/// What a browser may send for another site: unsafe methods and upgrades of every kind, against what it says of where they
/// come from.
#[test]
fn other_sites_are_refused() {
    let (app, token) = ready();
    patient(&app, &token, "p");
    let own = ("origin", ORIGIN);
    type Headers<'a> = &'a [(&'static str, &'a str)];
    let cases: [(&str, Headers<'_>, bool); 17] = [
        ("nothing said, as programs do", &[], true),
        ("our page", &[("sec-fetch-site", "same-origin"), own], true),
        ("our page in an older browser", &[own], true),
        ("typed or from a bookmark", &[("sec-fetch-site", "none")], true),
        ("another site", &[("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")], false),
        ("another site, no origin", &[("sec-fetch-site", "cross-site")], false),
        ("a sibling host", &[("sec-fetch-site", "same-site"), ("origin", "https://x.ward.example")], false),
        ("a sibling that says it is us", &[("sec-fetch-site", "same-site"), own], false),
        ("an unknown word", &[("sec-fetch-site", "Same-Origin")], false),
        ("an empty word", &[("sec-fetch-site", "")], false),
        ("a sandboxed frame", &[("origin", "null")], false),
        ("a sandboxed frame that is us", &[("sec-fetch-site", "same-origin"), ("origin", "null")], false),
        ("another origin", &[("origin", "https://evil.example")], false),
        (
            "another origin, whatever else is said",
            &[("sec-fetch-site", "same-origin"), ("origin", "https://evil.example")],
            false,
        ),
        ("another port", &[("origin", "https://ward.example:8443")], false),
        ("without TLS", &[("origin", "http://ward.example")], false),
        ("a host that begins like ours", &[("origin", "https://ward.example.evil.example")], false),
    ];
    let upgrade: Headers<'_> = &[("upgrade", "websocket"), ("sec-websocket-protocol", "bedside.v1")];
    let requests: [(&'static str, &str, Headers<'_>); 6] = [
        ("PUT", "/session", &[]),
        ("POST", "/users", &[]),
        ("DELETE", "/sessions/none", &[]),
        ("PATCH", "/session", &[]),
        ("GET", "/channels/patient/p", upgrade),
        ("GET", "/channels/patient/p", &[("upgrade", "something else")]),
    ];
    let status = |method, path: &str, headers: Headers<'_>| {
        let sent =
            headers.iter().fold(Sent::new(method, path).by(&token), |sent, (name, value)| sent.header(name, value));
        match block_on(handle(&app, &sent)) {
            Reply::Response(response) => response.status,
            _ => 101,
        }
    };
    for (what, headers, allowed) in cases {
        for (method, path, more) in requests {
            let status = status(method, path, &[headers, more].concat());
            // A method that the path does not take is refused for that.
            let refused = status == 403 || (method == "PATCH" && status == 405);
            assert!(if allowed { status != 403 } else { refused }, "{method} {path} from {what}: {status}");
        }
        assert_eq!(status("GET", "/session", headers), 200, "reading is not refused: {what}");
    }
}

/// A proxy that ends TLS hands `https://ward.example` on as `http://ward.example`.
#[test]
fn a_page_behind_a_proxy_with_tls_is_our_own() {
    struct Behind(Sent);
    impl Incoming for Behind {
        fn method(&self) -> &str {
            self.0.method()
        }
        fn path(&self) -> &str {
            self.0.path()
        }
        fn query(&self) -> &str {
            self.0.query()
        }
        fn origin(&self) -> &str {
            "http://ward.example"
        }
        fn header(&self, name: &str) -> Option<String> {
            Incoming::header(&self.0, name)
        }
        async fn body(&self, limit: usize) -> Result<Vec<u8>> {
            self.0.body(limit).await
        }
    }
    for (origin, allowed) in [
        ("https://ward.example", true),
        ("http://ward.example", true),
        ("https://evil.example", false),
        ("ftp://ward.example", false),
        ("null", false),
    ] {
        let sent = Behind(Sent::new("PUT", "/session").header("origin", origin));
        assert_eq!(caller::refuse_cross_site(&sent).is_ok(), allowed, "{origin}");
    }
}
