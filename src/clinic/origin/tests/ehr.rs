//! An origin in memory, which does what it is told, wrongly too.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::{Value, json};

use super::URL;
use crate::outgoing::{Http, Lost, Request, Response};
use crate::testing::Local;
use crate::time::{Clock, Entropy, Ttl, UnixMillis};

/// What the next write meets.
#[derive(Clone, Copy, PartialEq)]
pub enum Fault {
    None,
    /// It is lost on its way there.
    Before,
    /// It takes effect, and its answer is lost.
    After,
    /// The origin says so itself.
    Busy,
    /// The token has ended.
    SignedOut,
}

/// A write that took effect.
pub struct Landed {
    /// `Type/id`.
    pub key: String,
    pub version: u64,
    /// The first identifier of what was written.
    pub by: String,
    pub at: UnixMillis,
}

impl Landed {
    /// Who writes behind our back.
    pub const BEHIND: &str = "somebody";

    pub fn is_ours(&self) -> bool {
        !self.by.starts_with(Landed::BEHIND)
    }
}

pub struct Ehr {
    pub local: Local,
    pub records: RefCell<BTreeMap<String, Value>>,
    pub fault: Cell<Fault>,
    /// What is asked is answered by this instead, where the path begins so.
    pub instead: RefCell<Option<(&'static str, u16, String)>>,
    /// It takes so long over what begins so.
    pub slow: Cell<(&'static str, Ttl)>,
    pub token: RefCell<String>,
    /// Its tokens live so many seconds.
    pub lives: Cell<u64>,
    /// It gives tokens.
    pub grants: Cell<bool>,
    /// It knows its tokens when they are shown.
    pub knows: Cell<bool>,
    pub landed: RefCell<Vec<Landed>>,
    pub asked: Cell<u32>,
    pub notes: RefCell<Vec<&'static str>>,
}

impl Ehr {
    pub fn put(&self, kind: &str, id: &str, mut resource: Value) -> u64 {
        let key = format!("{kind}/{id}");
        let version = self.records.borrow().get(&key).map_or(0, version) + 1;
        resource["resourceType"] = kind.into();
        resource["id"] = id.into();
        resource["meta"] = json!({ "versionId": version.to_string(), "lastUpdated": "2026-01-01T00:00:00Z" });
        self.records.borrow_mut().insert(key, resource);
        version
    }

    fn page(&self, path: &str) -> Value {
        let (kind, query) = path.split_once('?').unwrap();
        let patient =
            query.split('&').find_map(|one| one.strip_prefix("patient=Patient/").or(one.strip_prefix("patient=")));
        let records = self.records.borrow();
        let of = |one: &&Value| {
            let subject = one.pointer("/subject/reference").and_then(Value::as_str).unwrap_or_default();
            patient.is_none_or(|patient| {
                subject == format!("Patient/{patient}") || subject == format!("{URL}/Patient/{patient}")
            })
        };
        let found =
            records.iter().filter(|(key, _)| key.starts_with(&format!("{kind}/"))).map(|(_, one)| one).filter(of);
        let entries: Vec<Value> = found.map(|one| json!({ "resource": one, "search": { "mode": "match" } })).collect();
        json!({ "resourceType": "Bundle", "type": "searchset", "entry": entries })
    }

    pub fn land(&self, key: &str, resource: Value) -> u64 {
        let by = resource.pointer("/identifier/0/value").and_then(Value::as_str).unwrap_or_default().to_owned();
        let (kind, id) = key.split_once('/').unwrap();
        let version = self.put(kind, id, resource);
        self.landed.borrow_mut().push(Landed { key: key.to_owned(), version, by, at: self.local.now() });
        version
    }

    fn is_refused(&self, path: &str, if_match: Option<&str>) -> bool {
        let wanted = if_match.map(|tag| tag.trim_matches(|c: char| !c.is_ascii_digit()).parse().ok());
        wanted.is_some_and(|wanted| wanted != self.records.borrow().get(path).map(version))
    }

    fn write(&self, method: &str, path: &str, (if_match, if_none): (Option<&str>, bool), body: &str) -> Response {
        let at = self.records.borrow().get(path).map(version);
        if self.is_refused(path, if_match) || (if_none && at.is_some()) {
            return answer(412, json!({}));
        }
        if method == "POST" {
            return self.transaction(body);
        }
        if method == "DELETE" {
            self.records.borrow_mut().remove(path);
            return answer(204, json!({}));
        }
        self.land(path, serde_json::from_str(body).unwrap());
        answer(if at.is_some() { 200 } else { 201 }, self.records.borrow()[path].clone())
    }

    fn transaction(&self, body: &str) -> Response {
        let bundle: Value = serde_json::from_str(body).unwrap();
        let entries: Vec<(&str, &Value)> = bundle["entry"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| (entry["request"]["url"].as_str().unwrap(), entry))
            .collect();
        if entries.iter().any(|(path, entry)| self.is_refused(path, entry["request"]["ifMatch"].as_str())) {
            return answer(409, json!({}));
        }
        let made = entries.into_iter().map(|(path, entry)| {
            let version = self.land(path, entry["resource"].clone());
            json!({ "response": { "status": "200", "etag": format!("W/\"{version}\"") } })
        });
        answer(200, json!({ "resourceType": "Bundle", "entry": made.collect::<Vec<_>>() }))
    }
}

pub fn version(resource: &Value) -> u64 {
    resource["meta"]["versionId"].as_str().unwrap().parse().unwrap()
}

fn answer(status: u16, body: Value) -> Response {
    Response { status, headers: Vec::new(), body: body.to_string().into_bytes() }
}

impl Http for Rc<Ehr> {
    async fn send(&self, request: &Request, _within: Ttl) -> std::result::Result<Response, Lost> {
        self.asked.set(self.asked.get() + 1);
        let header =
            |name: &str| request.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.clone());
        let (slow, takes) = self.slow.get();
        if request.url.contains(&format!("/{slow}")) {
            self.local.pass(takes);
        }
        if request.url.ends_with("/token") {
            assert!(request.body.contains("client_secret=s"));
            if !self.grants.get() {
                return Ok(answer(400, json!({ "error": "invalid_client" })));
            }
            return Ok(answer(200, json!({ "access_token": *self.token.borrow(), "expires_in": self.lives.get() })));
        }
        if !self.knows.get() || header("authorization") != Some(format!("Bearer {}", self.token.borrow())) {
            return Ok(answer(401, json!({})));
        }
        let path = request.url.strip_prefix(URL).unwrap().trim_start_matches('/');
        if let Some((begins, status, body)) = &*self.instead.borrow()
            && path.starts_with(begins)
        {
            return Ok(Response { status: *status, headers: Vec::new(), body: body.clone().into_bytes() });
        }
        if request.method != "GET" {
            match self.fault.replace(Fault::None) {
                Fault::Before => return Err(Lost::Broken),
                Fault::Busy => return Ok(answer(503, json!({}))),
                Fault::SignedOut => {
                    let next = format!("{}+", self.token.borrow());
                    self.token.replace(next);
                    return Ok(answer(401, json!({})));
                }
                fault => {
                    let if_match = header("if-match");
                    let conditions = (if_match.as_deref(), header("if-none-match").is_some());
                    let done = self.write(request.method, path, conditions, &request.body);
                    return if fault == Fault::After { Err(Lost::Late) } else { Ok(done) };
                }
            }
        }
        Ok(match path {
            "metadata" => {
                let resource = |kind: &str| json!({ "type": kind, "versioning": "versioned-update", "updateCreate": kind != "Claim" });
                let all: Vec<Value> =
                    ["Patient", "Observation", "Encounter", "Location", "Slot", "Claim"].map(resource).to_vec();
                answer(
                    200,
                    json!({ "fhirVersion": "4.0.1", "rest": [{ "mode": "server", "resource": all, "interaction": [{ "code": "transaction" }] }] }),
                )
            }
            path if path.contains('?') => answer(200, self.page(path)),
            path => match self.records.borrow().get(path) {
                Some(found) => answer(200, found.clone()),
                None => answer(404, json!({})),
            },
        })
    }

    async fn pause(&self, ttl: Ttl) {
        self.local.pass(ttl);
    }

    fn note(&self, sentence: &'static str) {
        self.notes.borrow_mut().push(sentence);
    }
}

impl Clock for Rc<Ehr> {
    fn now(&self) -> UnixMillis {
        self.local.now()
    }
}

impl Entropy for Rc<Ehr> {
    fn fill(&self, buffer: &mut [u8]) {
        self.local.fill(buffer);
    }
}
