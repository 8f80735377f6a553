//! Bundles of type `batch`: each entry a request of its own, by the same caller.
//!
//! Invariant: an entry is answered as if it had come alone. Where the batch has an `Idempotency-Key`, each entry has one that
//! follows from it, so that of a batch that comes again only what failed before is done.

use std::cell::RefCell;

use super::erased::Erased;
use super::once::Once;
use super::reply::Response;
use super::{Context, Incoming, Platform, fhir};
use crate::error::{Error, Kind, Result};
use crate::fhir::{Entry, OperationOutcome, Outcome, Resource, Verb};

/// Entries of a batch, at most: each takes a few calls of objects, and the platform allows 1,000 for one request.
pub const MOST_ENTRIES: usize = 250;

struct Part<'a, R> {
    whole: &'a R,
    method: &'static str,
    path: String,
    query: String,
    body: String,
    if_match: Option<String>,
    key: Option<String>,
}

impl<R: Incoming> Incoming for Part<'_, R> {
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
        self.whole.origin()
    }

    fn header(&self, name: &str) -> Option<String> {
        match name {
            "authorization" | "cookie" | "bedside-background" => self.whole.header(name),
            "content-type" => Some(fhir::FHIR_JSON.to_owned()),
            "if-match" => self.if_match.clone(),
            "idempotency-key" => self.key.clone(),
            _ => None,
        }
    }

    async fn body(&self, _limit: usize) -> Result<Vec<u8>> {
        Ok(self.body.clone().into_bytes())
    }
}

/// Answers each entry.
pub async fn batch<P: Platform, R: Incoming>(
    context: &Context<'_, P, R>,
    once: Option<&Once>,
    entries: Vec<Entry>,
) -> Result<Vec<Outcome>> {
    if entries.len() > MOST_ENTRIES {
        let message = "a batch has at most 250 entries: send several, or a transaction";
        return Err(Error::new(Kind::Unprocessable, message).at("Bundle.entry"));
    }
    let urls: Vec<String> = entries.iter().filter_map(|entry| entry.full_url.clone()).collect();
    let mut outcomes = Vec::new();
    for (index, entry) in entries.into_iter().enumerate() {
        let response = match part(context, index, &entry, once, &urls).await {
            Ok(response) => response,
            Err(error) => Response::fhir(error.status(), OperationOutcome::from(&error).to_json()),
        };
        let header =
            |name: &str| response.headers.iter().find(|(found, _)| *found == name).map(|(_, value)| value.clone());
        let own = format!("{}/", context.base());
        let shown = entry.verb == Verb::Get || response.status >= 400;
        outcomes.push(Outcome {
            status: response.status,
            location: header("location").map(|url| url.strip_prefix(&own).map_or(url.clone(), str::to_owned)),
            etag: header("etag"),
            last_modified: None,
            resource: Some(response.body.into_string()).filter(|body| shown && !body.is_empty()),
        });
    }
    Ok(outcomes)
}

async fn part<P: Platform, R: Incoming>(
    context: &Context<'_, P, R>,
    index: usize,
    entry: &Entry,
    once: Option<&Once>,
    urls: &[String],
) -> Result<Response> {
    let wrong = |message| Error::new(Kind::Unprocessable, message).at(format!("Bundle.entry[{index}]"));
    if entry.if_none_exist.is_some() {
        return Err(wrong("ifNoneExist is taken in a transaction and not in a batch"));
    }
    if let Some(mut resource) = entry.resource.clone() {
        let mut depends = false;
        resource.map_references(&mut |text| {
            depends |= text.starts_with("urn:uuid:") && urls.iter().any(|url| url == text);
            None
        });
        if depends {
            return Err(wrong("an entry of a batch cannot refer to another one: send a transaction"));
        }
    }
    let (path, query) = entry.url.split_once('?').unwrap_or((&entry.url, ""));
    let request = Part {
        whole: context.request,
        method: entry.verb.as_str(),
        path: format!("/fhir/{path}"),
        query: query.to_owned(),
        body: entry.resource.as_ref().map(Resource::to_json).unwrap_or_default(),
        if_match: entry.if_match.clone(),
        key: once.map(|once| format!("{}.{index}", once.name())),
    };
    let request = Erased::new(&request);
    let (config, platform, id) = (context.config, context.platform, context.id.clone());
    let context = Context { config, platform, request: &request, id, shown: RefCell::default() };
    let response = fhir::route(&context).await?;
    context.witness().await?;
    Ok(response)
}
