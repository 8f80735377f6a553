//! Requests to the origin: signed in, with a deadline, and behind a breaker.
//!
//! Invariant: nothing of the origin's address or of our credentials is in what comes out of here. A write is sent once. After
//! three failures in a row nothing is sent but one probe at a time, until one is answered.

use std::cell::RefCell;
use std::rc::Rc;

use serde_json::Value;

use super::intents::SENT;
use crate::config::origin::{Origin, SignIn};
use crate::error::{Error, Kind, Result};
use crate::fhir::{OperationOutcome, Resource, ResourceType, at};
use crate::outgoing::breaker::{Breaker, Gate};
use crate::outgoing::{Http, Lost, Request, Response};
use crate::time::{Ttl, UnixMillis};

/// So long may the origin take over a read.
const READ: Ttl = Ttl(2_500);
/// And over a write, less than what its mark allows.
const WRITE: Ttl = Ttl(4_000);
/// So long is its CapabilityStatement believed.
const STATEMENT: Ttl = Ttl::from_mins(10);
/// A token is not used for the last of its time.
const LEFT: Ttl = Ttl::from_secs(30);
const REFUSED: &str = "the system of record refuses this";
const WANTED: &[&str] = &["etag", "last-modified", "retry-after"];

/// What the calls of one isolate know of the origin. Outlives requests.
#[derive(Default)]
pub struct Link {
    breaker: Breaker,
    token: RefCell<Option<(String, UnixMillis)>>,
    statement: RefCell<Option<(Rc<Value>, UnixMillis)>>,
}

/// The origin as its requests.
pub struct Client<H> {
    http: H,
    access: Rc<Origin>,
    link: Rc<Link>,
}

/// What is asked.
pub struct Ask {
    /// The method.
    pub method: &'static str,
    /// After the base URL.
    pub path: String,
    /// A header besides the usual ones.
    pub condition: Option<(&'static str, String)>,
    /// A resource.
    pub body: String,
    /// It is sent until then or not at all.
    pub until: Option<UnixMillis>,
}

impl Ask {
    /// Reads `path`.
    pub fn get(path: impl Into<String>) -> Ask {
        Ask { method: "GET", path: path.into(), condition: None, body: String::new(), until: None }
    }

    fn is_change(&self) -> bool {
        self.method != "GET"
    }
}

fn away(after: Option<Ttl>) -> Error {
    Error::unavailable("the system of record does not answer; try again")
        .retry_after(after.unwrap_or(Ttl::from_secs(1)))
}

/// The JSON that `body` is.
pub fn json(body: &[u8]) -> Option<Value> {
    serde_json::from_str(std::str::from_utf8(body).ok()?).ok()
}

/// The error of an answer that is not what R4 has there.
pub fn unfit(message: &'static str) -> Error {
    Error::new(Kind::BadOrigin, message)
}

impl<H: Http> Client<H> {
    /// The origin that `access` leads to.
    pub fn new(http: H, access: Rc<Origin>, link: Rc<Link>) -> Client<H> {
        Client { http, access, link }
    }

    /// The way to it, with its clock.
    pub fn http(&self) -> &H {
        &self.http
    }

    /// What its links are sealed with.
    pub fn links(&self) -> &[u8; 32] {
        &self.access.links
    }

    /// Sends `ask`; an answer of 429 or of 500 and more is an error (501 is not: the origin is there, and does not do this),
    /// anything else the caller's to judge.
    pub async fn send(&self, ask: &Ask) -> Result<Response> {
        let response = self.once(ask).await?;
        let renews = matches!(self.access.sign_in, SignIn::Credentials { .. });
        if response.status == 401 && renews {
            // Its token is not what it thinks: a request that was refused was not carried out.
            self.link.token.replace(None);
            return self.judged(self.once(ask).await?);
        }
        self.judged(response)
    }

    fn judged(&self, response: Response) -> Result<Response> {
        if response.status == 401 {
            self.http.note("the origin refuses what it is asked with: see ORIGIN_TOKEN and the settings beside it");
            return Err(Error::new(Kind::Misconfigured, "the system of record refuses what it is asked with"));
        }
        Ok(response)
    }

    async fn once(&self, ask: &Ask) -> Result<Response> {
        let mut headers: Vec<(std::borrow::Cow<'static, str>, String)> =
            vec![("accept".into(), "application/fhir+json".to_owned())];
        if ask.is_change() {
            headers.push(("content-type".into(), "application/fhir+json".to_owned()));
            headers.push(("prefer".into(), "return=representation".to_owned()));
        }
        headers.extend(self.authorization().await?.map(|value| ("authorization".into(), value)));
        headers.extend(ask.condition.clone().map(|(name, value)| (name.into(), value)));
        let slash = if ask.path.is_empty() { "" } else { "/" };
        let url = format!("{}{slash}{}", self.access.url, ask.path);
        let within = if ask.is_change() { WRITE } else { READ };
        let request = Request { method: ask.method, url, headers, body: ask.body.clone(), wanted: WANTED };
        let now = self.http.now();
        // A clock that went back says nothing of how late it is.
        if ask.until.is_some_and(|until| now > until || now.until(until) > SENT) {
            return Err(away(None));
        }
        self.exchange(&request, within, ask.is_change()).await
    }

    async fn exchange(&self, request: &Request, within: Ttl, is_change: bool) -> Result<Response> {
        if let Gate::Shut(after) = self.link.breaker.ask(self.http.now()) {
            return Err(away(Some(after)));
        }
        let outcome = self.http.send(request, within).await;
        let (carried_out, after) = match &outcome {
            Ok(response) if (response.status < 500 && response.status != 429) || response.status == 501 => {
                if self.link.breaker.answered() {
                    self.http.note("the origin answers again");
                }
                return outcome.map_err(|_| away(None));
            }
            Ok(response) => {
                let after = response.header("retry-after").and_then(|text| text.parse().ok()).map(Ttl::from_secs);
                // It says itself that it did nothing.
                (!matches!(response.status, 429 | 503), after)
            }
            Err(Lost::Late | Lost::Broken) => (true, None),
        };
        if self.link.breaker.failed(self.http.now(), after) {
            self.http.note("the origin does not answer: requests that need it are refused until it does");
        }
        Err(if is_change && carried_out { Error::outcome_unknown() } else { away(after) })
    }

    /// The value of `Authorization`.
    async fn authorization(&self) -> Result<Option<String>> {
        let (url, form) = match &self.access.sign_in {
            SignIn::Open => return Ok(None),
            SignIn::Header(value) => return Ok(Some(value.clone())),
            SignIn::Credentials { url, form } => (url, form),
        };
        let now = self.http.now();
        if let Some((token, until)) = self.link.token.borrow().as_ref()
            && now < *until
        {
            return Ok(Some(format!("Bearer {token}")));
        }
        let headers = vec![
            ("accept".into(), "application/json".to_owned()),
            ("content-type".into(), "application/x-www-form-urlencoded".to_owned()),
        ];
        let request = Request { method: "POST", url: url.clone(), headers, body: form.clone(), wanted: WANTED };
        let response = self.exchange(&request, READ, false).await?;
        let said: Value = json(&response.body).unwrap_or_default();
        let Some(token) = at(&said, "/access_token").as_str().filter(|_| response.status == 200) else {
            self.http.note("the token endpoint of ORIGIN_TOKEN_URL gives no token");
            return Err(Error::new(Kind::Misconfigured, "the system of record refuses what it is asked with"));
        };
        let lives = Ttl::from_secs(at(&said, "/expires_in").as_u64().unwrap_or(60));
        let until = now.plus(Ttl(lives.0.saturating_sub(LEFT.0)));
        self.link.token.replace(Some((token.to_owned(), until)));
        Ok(Some(format!("Bearer {token}")))
    }

    /// Its CapabilityStatement.
    pub async fn statement(&self) -> Result<Rc<Value>> {
        let now = self.http.now();
        if let Some((statement, until)) = self.link.statement.borrow().as_ref()
            && now < *until
        {
            return Ok(Rc::clone(statement));
        }
        let response = self.send(&Ask::get("metadata")).await?;
        let said: Value = json(&response.body).unwrap_or_default();
        let is_r4 = at(&said, "/fhirVersion").as_str().is_some_and(|version| version.starts_with("4.0"));
        if response.status != 200 || !is_r4 {
            return Err(Error::new(Kind::Misconfigured, "there is no server of FHIR R4 at ORIGIN_URL"));
        }
        let said = Rc::new(said);
        self.link.statement.replace(Some((Rc::clone(&said), now.plus(STATEMENT))));
        Ok(said)
    }

    /// `text` without where it came from: references to the origin are relative.
    pub fn scrubbed(&self, text: String) -> String {
        if !text.contains(&self.access.url) {
            return text;
        }
        text.replace(&format!("{}/", self.access.url), "").replace(&self.access.url, "urn:x-origin")
    }

    /// The resource that `body` is. References in it to the origin become relative.
    pub fn resource(&self, body: &[u8]) -> Result<Resource> {
        let read = |body: &[u8]| {
            Resource::parse(body).map_err(|_| unfit("the system of record answered what is no resource of FHIR R4"))
        };
        let resource = read(body)?;
        let text = resource.to_json();
        if !text.contains(&self.access.url) {
            return Ok(resource);
        }
        read(self.scrubbed(text).as_bytes())
    }

    /// What `link` asks for, if it is one of the origin's.
    pub fn path_of(&self, link: &str) -> Option<String> {
        link.strip_prefix(&self.access.url)
            .and_then(|rest| rest.strip_prefix('/').or_else(|| rest.starts_with('?').then_some(rest)))
            .map(str::to_owned)
    }

    /// The error of an answer from 400 to 499, or of 501: the OperationOutcome that it is, or else its status alone.
    pub fn refusal(&self, response: &Response) -> Error {
        if !(400..500).contains(&response.status) && response.status != 501 {
            return unfit("the system of record answered with a status that nothing follows from");
        }
        let outcome = self.resource(&response.body).ok().filter(|found| found.kind() == ResourceType::OperationOutcome);
        let outcome = outcome.map_or_else(
            || OperationOutcome::from(&Error::new(Kind::Outside(response.status), REFUSED)).to_json(),
            |found| found.to_json(),
        );
        Error::new(Kind::Outside(response.status), outcome)
    }
}
