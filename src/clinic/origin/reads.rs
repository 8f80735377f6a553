//! Reading at the origin.
//!
//! Invariant: what is given out was held against the scope of whoever asks, by the compartments that the record itself says it
//! is in. A search that is of one patient gives nothing of others, whatever the origin answers.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use serde_json::Value;

use super::client::{Ask, json, unfit};
use super::{AtOrigin, unsupported};
use crate::access::{Owner, Scope};
use crate::chart::cache::seal::Cipher;
use crate::chart::records::{Answer, Found, Place, Query, Record};
use crate::clinic::Clinic;
use crate::error::{Error, Kind, Result};
use crate::fhir::search::{Key, Place as Here, Search};
use crate::fhir::{Resource, ResourceType, is_valid_id, patients};
use crate::outgoing::{Http, Response};
use crate::sorted::BTreeSet;
use crate::time::UnixMillis;

/// Locations are followed upwards at most this far, as with our own records.
const DEPTH: usize = 8;
/// Pages of a patient's open Encounters that are followed.
const PAGES: usize = 8;
/// Records in a page, at most.
const PAGE: u64 = 100;

/// A record as the origin has it.
pub(super) struct Fetched {
    pub record: Record,
    pub resource: Resource,
    /// In whose compartments it is.
    pub patients: Vec<String>,
}

/// A version and its instant, as `resource` or the headers of `response` say.
pub(super) fn stamp(resource: Option<&Resource>, response: &Response, now: UnixMillis) -> Result<(u64, UnixMillis)> {
    let tag = response.header("etag").map(|tag| tag.trim_start_matches("W/").trim_matches('"').to_owned());
    let version = resource.and_then(Resource::version).map(str::to_owned).or(tag);
    let version = version.and_then(|text| text.parse().ok());
    let version = version.ok_or_else(|| unfit("the versions of the system of record are no whole numbers"))?;
    let at = resource.and_then(|found| UnixMillis::parse_rfc3339(found.str_at(&["meta", "lastUpdated"])?));
    Ok((version, at.unwrap_or(now)))
}

fn fetched(resource: Resource, response: &Response, now: UnixMillis) -> Result<Fetched> {
    let (version, updated) = stamp(Some(&resource), response, now)?;
    let id = resource.id().ok_or_else(|| unfit("a resource of the system of record has no id"))?.to_owned();
    let record = Record { id, version, updated, created: false, body: Some(resource.to_json()) };
    Ok(Fetched { record, patients: patients(&resource), resource })
}

/// Whether `scope` may read what is in the compartments of `patients`, of whom the origin has those among `owners`.
fn is_open(scope: &Scope, owners: &[Owner], patients: &[String]) -> bool {
    let own: Vec<Owner> = owners.iter().filter(|owner| patients.contains(&owner.patient)).cloned().collect();
    // Nobody's records are open to staff: what is somebody's must not become one of those.
    own.is_empty() == patients.is_empty() && scope.may_read(&own)
}

impl<C: Clinic, H: Http, X: Cipher> AtOrigin<C, H, X> {
    /// What `query` finds; `reached` says that it is of one patient, and that `scope` was found to reach them.
    pub(super) async fn read(&self, scope: &Scope, query: &Query, reached: bool) -> Result<Answer> {
        match query {
            Query::Read { kind, id, version: None } => {
                let Some(found) = self.fetch(*kind, id).await? else { return Ok(Answer::Missing) };
                let owners = self.bounded(scope, &found.patients).await?;
                if !is_open(scope, &owners, &found.patients) {
                    return Ok(Answer::OutOfReach);
                }
                Ok(Answer::Found(Found { record: found.record, owners, held_until: None, held_by: None }))
            }
            Query::Search { search, after, count, total } => {
                self.search(scope, search, reached, after.as_ref(), *count, *total).await
            }
            _ => Err(unsupported()),
        }
    }

    /// The record, if there is one now.
    pub(super) async fn there(&self, kind: ResourceType, id: &str) -> Result<Option<Fetched>> {
        match self.fetch(kind, id).await {
            Err(error) if error.kind == Kind::Outside(410) => Ok(None),
            found => found,
        }
    }

    /// The record, if there is one: 410 where it is deleted.
    pub(super) async fn fetch(&self, kind: ResourceType, id: &str) -> Result<Option<Fetched>> {
        let response = self.client.send(&Ask::get(format!("{kind}/{id}"))).await?;
        match response.status {
            200 => {
                let resource = self.client.resource(&response.body)?;
                if resource.kind() != kind || resource.id() != Some(id) {
                    return Err(unfit("the system of record answered with another resource"));
                }
                fetched(resource, &response, self.now()).map(Some)
            }
            404 => Ok(None),
            _ => Err(self.client.refusal(&response)),
        }
    }

    /// `patients` with as much of where they are as `scope` asks for. Whom the origin does not have is in no ward that anybody
    /// could be bound to: they are left out.
    async fn bounded(&self, scope: &Scope, patients: &[String]) -> Result<Vec<Owner>> {
        if scope.wards().is_none() {
            return Ok(patients.iter().map(|id| Owner { patient: id.clone(), wards: Vec::new() }).collect());
        }
        self.owners(patients).await
    }

    async fn search(
        &self,
        scope: &Scope,
        search: &Search,
        reached: bool,
        after: Option<&Here>,
        count: u64,
        total: bool,
    ) -> Result<Answer> {
        let kind = search.kind;
        let bound = format!("{kind}?{}", search.text);
        let path = match after {
            Some(here) => self.open(here, &bound).await?,
            None if count == 0 => format!("{bound}&_summary=count"),
            None => format!("{bound}&_count={}{}", count.min(PAGE), if total { "&_total=accurate" } else { "" }),
        };
        let (bundle, next) = self.page(&path).await?;
        let mut found = bundle.entries;
        found.retain(|found| {
            found.resource.kind() == kind
                && search.confined.as_ref().is_none_or(|patient| found.patients.contains(patient))
        });
        // What is in the chart of a patient who is reached is the same for everybody who reaches them.
        if !reached || search.confined.is_none() {
            let whom: BTreeSet<String> = found.iter().flat_map(|found| found.patients.iter().cloned()).collect();
            let owners = self.bounded(scope, &whom.into_iter().collect::<Vec<_>>()).await?;
            found.retain(|found| is_open(scope, &owners, &found.patients));
        }
        let records = found.into_iter().map(|found| found.record).collect();
        let next = match next {
            Some(path) if count > 0 => Some(self.seal(&path, &bound).await?),
            _ => None,
        };
        // The number of what others may not see is not told.
        let counted = total && (scope.is_everything() || search.confined.is_some());
        Ok(Answer::Search(records, next, bundle.total.filter(|_| counted)))
    }

    /// One page of a search, and what to ask for the next.
    async fn page(&self, path: &str) -> Result<(Page, Option<String>)> {
        let response = self.client.send(&Ask::get(path)).await?;
        if response.status != 200 {
            return Err(self.client.refusal(&response));
        }
        let not_one = || unfit("the system of record answered a search with what is no Bundle of R4");
        let bundle = json(&response.body).ok_or_else(not_one)?;
        if crate::fhir::at(&bundle, "/resourceType") != "Bundle" {
            return Err(not_one());
        }
        let items = |name: &str| bundle.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let mut entries = Vec::new();
        for entry in items("entry") {
            let mode = crate::fhir::at(entry, "/search/mode").as_str().unwrap_or("match");
            if let Some(resource) = entry.get("resource").filter(|_| mode == "match") {
                let resource = self.client.resource(resource.to_string().as_bytes())?;
                entries.push(fetched(resource, &Response::default(), self.now())?);
            }
        }
        let next = items("link").iter().find(|link| link.get("relation").is_some_and(|relation| relation == "next"));
        let next = next.and_then(|link| link.get("url")).and_then(Value::as_str);
        let elsewhere = || unfit("the system of record links to a next page that is not its own");
        let next = next.map(|url| self.client.path_of(url).ok_or_else(elsewhere)).transpose()?;
        let total = bundle.get("total").and_then(Value::as_u64);
        Ok((Page { entries, total }, next))
    }

    /// What the origin wants to be asked for a next page, as a place in a search of ours: sealed, and good for that search alone.
    async fn seal(&self, path: &str, bound: &str) -> Result<Here> {
        let mut nonce = [0; 12];
        self.client.http().fill(&mut nonce);
        let sealed = self.cipher.seal(self.client.links(), &nonce, bound.as_bytes(), path.as_bytes()).await?;
        let text = BASE64_URL_SAFE_NO_PAD.encode([nonce.as_slice(), &sealed].concat());
        Ok(Here { keys: vec![Key::Text(text)], record: 0 })
    }

    async fn open(&self, here: &Here, bound: &str) -> Result<String> {
        let wrong = || Error::invalid("_after", "this must come from a next link of this search");
        let Some(Key::Text(text)) = here.keys.first() else { return Err(wrong()) };
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| wrong())?;
        let (nonce, sealed) = bytes.split_first_chunk::<12>().ok_or_else(wrong)?;
        let plain = self.cipher.open(self.client.links(), nonce, bound.as_bytes(), sealed).await.ok_or_else(wrong)?;
        String::from_utf8(plain).map_err(|_| wrong())
    }

    /// The wards that `patient` is in, as our own records would have it; `None` where there is no such patient.
    pub(super) async fn wards(&self, patient: &str) -> Result<Option<Vec<String>>> {
        if !is_valid_id(patient) || self.there(ResourceType::Patient, patient).await?.is_none() {
            return Ok(None);
        }
        let mut path =
            format!("Encounter?patient=Patient/{patient}&status=arrived,triaged,in-progress,onleave&_count={PAGE}");
        let mut next: BTreeSet<String> = BTreeSet::new();
        for page in 0.. {
            let (found, following) = self.page(&path).await?;
            for stay in found.entries.iter().filter_map(|found| Place::of(&found.resource)) {
                if let Place::Stay { patient: of, locations } = stay
                    && of == patient
                {
                    next.extend(locations);
                }
            }
            match following {
                None => break,
                Some(_) if page >= PAGES => return Err(unfit("a patient has too many open Encounters")),
                Some(following) => path = following,
            }
        }
        let (mut seen, mut wards) = (next.clone(), BTreeSet::new());
        for _ in 0..=DEPTH {
            let below = std::mem::take(&mut next);
            for id in &below {
                let Some(found) = self.there(ResourceType::Location, id).await? else { continue };
                if let Some(Place::Location { part_of, ward }) = Place::of(&found.resource) {
                    wards.extend(ward.then_some(found.record.id));
                    next.extend(part_of.filter(|id| seen.insert(id.clone())));
                }
            }
            if next.is_empty() {
                break;
            }
        }
        Ok(Some(wards.into_iter().collect()))
    }
}

struct Page {
    entries: Vec<Fetched>,
    total: Option<u64>,
}
