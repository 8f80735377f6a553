//! What the tests of the HTTP surface share: requests as they would come in, and an app in one process to send them to.

use std::cell::RefCell;

use super::*;
use crate::testing::{Local, block_on};
use crate::time::Ttl;

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
pub(super) const SETUP: &str = "setup-token-of-at-least-32-characters";
pub(super) const PASSWORD: &str = "a long enough password";
pub(super) const ORIGIN: &str = "https://ward.example";

pub(super) struct Sent {
    pub(super) method: &'static str,
    pub(super) path: String,
    pub(super) query: String,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
    pub(super) read: RefCell<usize>,
}

impl Sent {
    pub(super) fn new(method: &'static str, path: &str) -> Sent {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        Sent {
            method,
            path: path.into(),
            query: query.into(),
            headers: Vec::new(),
            body: Vec::new(),
            read: RefCell::new(0),
        }
    }

    pub(super) fn header(mut self, name: &'static str, value: &str) -> Sent {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn json(self, body: &str) -> Sent {
        let sent = self.header("content-type", "application/json");
        Sent { body: body.into(), ..sent }
    }

    pub(super) fn by(self, token: &str) -> Sent {
        self.header("authorization", &format!("Bearer {token}"))
    }
}

impl Incoming for Sent {
    fn method(&self) -> &str {
        self.method
    }
    fn path(&self) -> &str {
        &self.path
    }
    fn query(&self) -> &str {
        &self.query
    }
    fn origin(&self) -> &str {
        ORIGIN
    }
    fn header(&self, name: &str) -> Option<String> {
        self.headers.iter().find(|(found, _)| *found == name).map(|(_, value)| value.clone())
    }
    async fn body(&self, limit: usize) -> Result<Vec<u8>> {
        *self.read.borrow_mut() += 1;
        if self.body.len() > limit {
            return Err(Error::new(Kind::TooLarge, "the body is too large").at("body"));
        }
        Ok(self.body.clone())
    }
}

pub(super) type Here = App<Local>;

pub(super) fn app() -> Here {
    app_with(&[])
}

pub(super) fn app_with(settings: &[(&str, &str)]) -> Here {
    let all = [&[("SESSION_KEY", KEY), ("SETUP_TOKEN", SETUP)], settings].concat();
    let config = Config::read(|name| all.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned()));
    let lease = config.as_ref().map_or(Ttl(0), |config| config.cache.lease);
    App { config: Rc::new(config), platform: Local::with_lease(lease) }
}

pub(super) fn ask(app: &Here, sent: &Sent) -> Response {
    match block_on(handle(app, sent)) {
        Reply::Response(response) => response,
        other => panic!("{other:?}"),
    }
}

pub(super) fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response.headers.iter().find(|(found, _)| *found == name).map(|(_, value)| value.as_str())
}

pub(super) fn value(response: &Response) -> serde_json::Value {
    serde_json::from_str(&response.body).unwrap_or_else(|_| panic!("{response:?}"))
}

pub(super) fn text(value: &serde_json::Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(|found| found.as_str()).unwrap_or_else(|| panic!("{pointer} of {value}")).to_owned()
}

/// An app with an administrator; gives their token.
pub(super) fn ready() -> (Here, String) {
    ready_with(&[])
}

/// The same with these settings.
pub(super) fn ready_with(settings: &[(&str, &str)]) -> (Here, String) {
    let app = app_with(settings);
    let body = format!(r#"{{"username":"admin","name":"A","role":"admin","password":"{PASSWORD}"}}"#);
    let made = ask(&app, &Sent::new("POST", "/users").json(&body).header("authorization", &format!("Setup {SETUP}")));
    assert_eq!(made.status, 201, "{made:?}");
    let token = sign_in(&app, "admin");
    (app, token)
}

pub(super) fn sign_in(app: &Here, username: &str) -> String {
    let body = format!(r#"{{"username":"{username}","password":"{PASSWORD}","transport":"bearer"}}"#);
    let reply = ask(app, &Sent::new("POST", "/session").json(&body));
    assert_eq!(reply.status, 201, "{reply:?}");
    text(&value(&reply), "/token")
}

pub(super) fn user(app: &Here, admin: &str, username: &str, more: &str) -> String {
    let body = format!(r#"{{"username":"{username}","name":"N","password":"{PASSWORD}",{more}}}"#);
    let reply = ask(app, &Sent::new("POST", "/users").json(&body).by(admin));
    assert_eq!(reply.status, 201, "{reply:?}");
    text(&value(&reply), "/id")
}

pub(super) fn put(app: &Here, token: &str, path: &str, body: &str) -> Response {
    ask(app, &Sent::new("PUT", path).json(body).by(token))
}

pub(super) fn get(app: &Here, token: &str, path: &str) -> Response {
    ask(app, &Sent::new("GET", path).by(token))
}

pub(super) fn patient(app: &Here, token: &str, id: &str) -> Response {
    put(app, token, &format!("/fhir/Patient/{id}"), &format!(r#"{{"resourceType":"Patient","id":"{id}"}}"#))
}

pub(super) fn observation(patient: &str) -> String {
    format!(
        r#"{{"resourceType":"Observation","status":"final","code":{{"text":"hr"}},
            "subject":{{"reference":"Patient/{patient}"}},"valueQuantity":{{"value":71.50}}}}"#
    )
}
