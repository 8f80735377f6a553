//! Bundles to answer with (R4 section 2.36), put together from resources that are already JSON.
//!
//! Invariant: everything but the resources themselves is escaped here; a resource is taken as the JSON object that it says it
//! is.

use std::borrow::Cow;

use super::json::push_json_string;
use crate::time::UnixMillis;

/// `Bundle.link`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link<'a> {
    /// `self`, `next`, `previous`, `first` or `last` (IANA link relations).
    pub relation: &'a str,
    /// The absolute URL.
    pub url: Cow<'a, str>,
}

/// `Bundle.entry.search.mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SearchMode {
    /// It matches the search.
    Match,
    /// Another refers to it.
    Include,
    /// An OperationOutcome about the search.
    Outcome,
}

/// An entry of a searchset.
#[derive(Clone, Debug)]
pub struct SearchEntry<'a> {
    /// The absolute URL of the resource; an OperationOutcome has none.
    pub full_url: Option<Cow<'a, str>>,
    /// The resource as JSON.
    pub resource: Cow<'a, str>,
    /// Why it is there.
    pub mode: SearchMode,
}

/// What was done, as `Bundle.entry.request.method` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Created under an id of the server's choice.
    Post,
    /// Updated, or created under the client's id.
    Put,
    /// Deleted.
    Delete,
}

/// An entry of a history.
#[derive(Clone, Debug)]
pub struct HistoryEntry<'a> {
    /// The absolute URL of the resource, without version.
    pub full_url: Cow<'a, str>,
    /// What was requested.
    pub method: Method,
    /// Where, relative to the base: `Patient` of a POST, otherwise `Patient/1`.
    pub url: Cow<'a, str>,
    /// The HTTP status that it was answered with.
    pub status: u16,
    /// The version that it made.
    pub version: u64,
    /// When.
    pub last_modified: UnixMillis,
    /// The resource of that version as JSON; left out of a deletion, whatever it holds.
    pub resource: Option<Cow<'a, str>>,
}

/// A Bundle of type `searchset`; `total` counts all matches, not those of this page (section 3.1.1.5).
pub fn searchset<'a>(
    entries: impl IntoIterator<Item = SearchEntry<'a>>,
    links: &[Link<'_>],
    total: Option<u64>,
) -> String {
    let mut writer = Writer::new("searchset", links, total);
    for entry in entries {
        writer.entry();
        if let Some(url) = &entry.full_url {
            writer.string("\"fullUrl\":", url);
        }
        writer.raw(if entry.full_url.is_some() { ",\"resource\":" } else { "\"resource\":" }, &entry.resource);
        let mode = match entry.mode {
            SearchMode::Match => "match",
            SearchMode::Include => "include",
            SearchMode::Outcome => "outcome",
        };
        writer.string(",\"search\":{\"mode\":", mode);
        writer.out.push_str("}}");
    }
    writer.finish()
}

/// A Bundle of type `history` (section 3.1.0.12), which the caller gives newest first.
pub fn history_bundle<'a>(
    entries: impl IntoIterator<Item = HistoryEntry<'a>>,
    links: &[Link<'_>],
    total: Option<u64>,
) -> String {
    let mut writer = Writer::new("history", links, total);
    for entry in entries {
        let method = match entry.method {
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Delete => "DELETE",
        };
        writer.entry();
        writer.string("\"fullUrl\":", &entry.full_url);
        if let Some(resource) = entry.resource.as_deref().filter(|_| entry.method != Method::Delete) {
            writer.raw(",\"resource\":", resource);
        }
        writer.string(",\"request\":{\"method\":", method);
        writer.string(",\"url\":", &entry.url);
        writer.string("},\"response\":{\"status\":", &entry.status.to_string());
        writer.string(",\"etag\":", &format!("W/\"{}\"", entry.version));
        writer.string(",\"lastModified\":", &entry.last_modified.to_rfc3339());
        writer.out.push_str("}}");
    }
    writer.finish()
}

struct Writer {
    out: String,
    entries: bool,
}

impl Writer {
    fn new(kind: &str, links: &[Link<'_>], total: Option<u64>) -> Self {
        let mut writer = Writer { out: String::from("{\"resourceType\":\"Bundle\""), entries: false };
        writer.string(",\"type\":", kind);
        if let Some(total) = total {
            writer.raw(",\"total\":", &total.to_string());
        }
        for (index, link) in links.iter().enumerate() {
            writer.string(if index == 0 { ",\"link\":[{\"relation\":" } else { ",{\"relation\":" }, link.relation);
            writer.string(",\"url\":", &link.url);
            writer.out.push('}');
        }
        if !links.is_empty() {
            writer.out.push(']');
        }
        writer
    }

    /// Begins an entry.
    fn entry(&mut self) {
        self.out.push_str(if self.entries { ",{" } else { ",\"entry\":[{" });
        self.entries = true;
    }

    fn string(&mut self, before: &str, text: &str) {
        self.out.push_str(before);
        push_json_string(&mut self.out, text);
    }

    fn raw(&mut self, before: &str, json: &str) {
        self.out.push_str(before);
        self.out.push_str(json);
    }

    fn finish(mut self) -> String {
        self.out.push_str(if self.entries { "]}" } else { "}" });
        self.out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::{Resource, ResourceType};

    fn read(json: &str) -> Resource {
        Resource::parse(json.as_bytes()).unwrap_or_else(|invalid| panic!("{invalid:?} {json}"))
    }

    #[test]
    fn bundles_are_resources() {
        let patient = r#"{"resourceType":"Patient","id":"1"}"#;
        let links = [
            Link { relation: "self", url: "https://a.example/fhir/Patient?name=%22".into() },
            Link { relation: "next", url: "https://a.example/fhir/Patient?\"\\".into() },
        ];
        let entry = SearchEntry {
            full_url: Some("https://a.example/fhir/Patient/1".into()),
            resource: patient.into(),
            mode: SearchMode::Match,
        };
        let bundle = read(&searchset([entry.clone(), entry], &links, Some(7)));
        assert_eq!(bundle.kind(), ResourceType::Bundle);
        assert_eq!(bundle.str_at(&["type"]), Some("searchset"));
        assert_eq!(bundle.number_at(&["total"]), Some("7"));
        assert_eq!(bundle.strs_at(&["link", "url"]).nth(1), Some("https://a.example/fhir/Patient?\"\\"));
        assert_eq!(bundle.strs_at(&["entry", "resource", "id"]).count(), 2);
        assert_eq!(searchset([], &[], None), r#"{"resourceType":"Bundle","type":"searchset"}"#);
    }

    #[test]
    fn a_history_shows_a_deletion_without_resource() {
        let entry = |method, status, version| HistoryEntry {
            full_url: "https://a.example/fhir/Patient/1".into(),
            method,
            url: "Patient/1".into(),
            status,
            version,
            last_modified: UnixMillis(1_764_000_000_125),
            resource: Some(r#"{"resourceType":"Patient","id":"1"}"#.into()),
        };
        let json = history_bundle([entry(Method::Delete, 204, 2), entry(Method::Put, 201, 1)], &[], Some(2));
        let bundle = read(&json);
        assert_eq!(bundle.strs_at(&["entry", "resource", "id"]).count(), 1);
        assert_eq!(bundle.strs_at(&["entry", "request", "method"]).collect::<Vec<_>>(), ["DELETE", "PUT"]);
        assert_eq!(bundle.strs_at(&["entry", "response", "etag"]).collect::<Vec<_>>(), ["W/\"2\"", "W/\"1\""]);
        assert_eq!(bundle.str_at(&["entry", "response", "lastModified"]), Some("2025-11-24T16:00:00.125Z"));
    }
}
