//! Bundles of type `batch` and `transaction` as they come in (R4 section 3.1.0.11): what each entry asks for, and how the
//! entries of a transaction refer to one another.
//!
//! Invariant: the entries of a [`Bundle`] are in the order in which they came; each has what its method needs (a resource of
//! the type that its URL names for POST and PUT, an id for PUT and DELETE). Two entries of a transaction never stand for one
//! `fullUrl`.

use super::json::Json;
use super::kind::ResourceType;
use super::outcome::{Invalid, Issue};
use super::reference::relative;
use super::resource::Resource;
use crate::sorted::BTreeMap;

/// What `Bundle.type` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BundleKind {
    /// Each entry for itself.
    Batch,
    /// All or nothing.
    Transaction,
}

/// `Bundle.entry.request.method`, of those that are taken here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Read.
    Get,
    /// Create.
    Post,
    /// Update.
    Put,
    /// Delete.
    Delete,
}

impl Verb {
    /// The method.
    pub fn as_str(self) -> &'static str {
        match self {
            Verb::Get => "GET",
            Verb::Post => "POST",
            Verb::Put => "PUT",
            Verb::Delete => "DELETE",
        }
    }
}

/// A business identifier: `Identifier.system` (empty where it has none) and `value`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Identifier {
    /// The namespace.
    pub system: String,
    /// The value within it.
    pub value: String,
}

impl Identifier {
    /// All of `resource`, those without a value aside.
    pub fn all(resource: &Resource) -> Vec<Identifier> {
        let text = |json: &Json, name: &str| json.get(name).and_then(Json::as_str).map(str::to_owned);
        resource
            .values_at(&["identifier"])
            .filter_map(|json| {
                Some(Identifier { system: text(json, "system").unwrap_or_default(), value: text(json, "value")? })
            })
            .collect()
    }

    /// Reads `identifier=system|value`, the one query that conditional references and creations may have here, decoded.
    pub fn of_query(query: &str) -> Option<Identifier> {
        let (system, value) = query.strip_prefix("identifier=")?.split_once('|')?;
        let plain = !value.is_empty() && !query.contains('&');
        plain.then(|| Identifier { system: system.to_owned(), value: value.to_owned() })
    }
}

/// An entry.
#[derive(Clone, Debug)]
pub struct Entry {
    /// `entry.fullUrl`.
    pub full_url: Option<String>,
    /// `entry.request.method`.
    pub verb: Verb,
    /// `entry.request.url`, as it was written.
    pub url: String,
    /// `entry.request.ifMatch`.
    pub if_match: Option<String>,
    /// `entry.request.ifNoneExist`.
    pub if_none_exist: Option<String>,
    /// `entry.resource`.
    pub resource: Option<Resource>,
}

/// A Bundle that asks for something.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// Whether all or each.
    pub kind: BundleKind,
    /// What is asked for.
    pub entries: Vec<Entry>,
}

fn wrong(index: usize, element: &str, why: &'static str) -> Invalid {
    let expression = Some(format!("Bundle.entry[{index}].{element}"));
    Invalid(vec![Issue { expression, ..Issue::error("value", why) }])
}

impl Bundle {
    /// What `bundle` asks for. An issue names the entry.
    pub fn read(bundle: &Resource) -> Result<Bundle, Invalid> {
        let kind = match bundle.str_at(&["type"]) {
            Some("batch") => BundleKind::Batch,
            Some("transaction") => BundleKind::Transaction,
            _ => {
                let expression = Some("Bundle.type".to_owned());
                let why = "only Bundles of type batch and transaction are taken here";
                return Err(Invalid(vec![Issue { expression, ..Issue::error("value", why) }]));
            }
        };
        let mut seen = BTreeMap::new();
        let mut entries = Vec::new();
        for (index, json) in bundle.values_at(&["entry"]).enumerate() {
            let entry = read_entry(index, json)?;
            if kind == BundleKind::Transaction
                && let Some(url) = &entry.full_url
                && seen.insert(url.clone(), index).is_some()
            {
                return Err(wrong(index, "fullUrl", "another entry has the same fullUrl"));
            }
            entries.push(entry);
        }
        Ok(Bundle { kind, entries })
    }
}

fn read_entry(index: usize, json: &Json) -> Result<Entry, Invalid> {
    let at = |path: &[&str]| {
        let found = path.iter().try_fold(json, |json, name| json.get(name));
        found.and_then(Json::as_str).map(str::to_owned)
    };
    let verb = match at(&["request", "method"]).as_deref() {
        Some("GET") => Verb::Get,
        Some("POST") => Verb::Post,
        Some("PUT") => Verb::Put,
        Some("DELETE") => Verb::Delete,
        Some(_) => return Err(wrong(index, "request.method", "only GET, POST, PUT and DELETE are taken here")),
        None => return Err(wrong(index, "request", "an entry says by its request what is to be done")),
    };
    let url = at(&["request", "url"]).unwrap_or_default();
    let resource = match json.get("resource") {
        Some(resource) => Some(Resource::from_json(resource.clone())?),
        None => None,
    };
    let kind = resource.as_ref().map(Resource::kind);
    match verb {
        Verb::Get => {}
        Verb::Post if kind.is_some() && ResourceType::parse(&url) == kind => {}
        Verb::Post => return Err(wrong(index, "request.url", "the URL of a POST is the type of the resource")),
        Verb::Put => {
            let named = relative(&url).filter(|to| to.version.is_none() && Some(to.kind) == kind);
            let id = resource.as_ref().and_then(Resource::id);
            if named.is_none_or(|to| Some(to.id) != id) {
                return Err(wrong(index, "request.url", "the URL of a PUT is type and id of the resource"));
            }
        }
        Verb::Delete if relative(&url).is_some_and(|to| to.version.is_none()) => {}
        Verb::Delete => return Err(wrong(index, "request.url", "the URL of a DELETE is type and id of a resource")),
    }
    Ok(Entry {
        full_url: at(&["fullUrl"]),
        verb,
        url,
        if_match: at(&["request", "ifMatch"]),
        if_none_exist: at(&["request", "ifNoneExist"]),
        resource,
    })
}

/// What an entry gave, for the Bundle that answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The status.
    pub status: u16,
    /// `Type/id/_history/version`.
    pub location: Option<String>,
    /// `W/"version"`.
    pub etag: Option<String>,
    /// An instant, RFC 3339.
    pub last_modified: Option<String>,
    /// The resource that was read, or the OperationOutcome of a failure, as JSON.
    pub resource: Option<String>,
}

/// The Bundle that answers, of type `batch-response` or `transaction-response`.
pub fn response_bundle(kind: BundleKind, outcomes: &[Outcome]) -> String {
    use super::json::push_json_string;
    let mut out = String::from("{\"resourceType\":\"Bundle\",\"type\":");
    push_json_string(
        &mut out,
        match kind {
            BundleKind::Batch => "batch-response",
            BundleKind::Transaction => "transaction-response",
        },
    );
    for (index, outcome) in outcomes.iter().enumerate() {
        out.push_str(if index == 0 { ",\"entry\":[{" } else { ",{" });
        let failed = outcome.status >= 400;
        if let Some(resource) = outcome.resource.as_ref().filter(|_| !failed) {
            out.push_str("\"resource\":");
            out.push_str(resource);
            out.push(',');
        }
        out.push_str("\"response\":{\"status\":");
        push_json_string(&mut out, &outcome.status.to_string());
        let texts =
            [("location", &outcome.location), ("etag", &outcome.etag), ("lastModified", &outcome.last_modified)];
        for (name, text) in texts {
            if let Some(text) = text {
                out.push(',');
                push_json_string(&mut out, name);
                out.push(':');
                push_json_string(&mut out, text);
            }
        }
        if let Some(resource) = outcome.resource.as_ref().filter(|_| failed) {
            out.push_str(",\"outcome\":");
            out.push_str(resource);
        }
        out.push_str("}}");
    }
    out.push_str(if outcomes.is_empty() { "}" } else { "]}" });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(entries: &str, kind: &str) -> Result<Bundle, Invalid> {
        let json = format!(r#"{{"resourceType":"Bundle","type":"{kind}","entry":[{entries}]}}"#);
        Bundle::read(&Resource::parse(json.as_bytes()).unwrap())
    }

    #[test]
    fn each_method_has_what_it_needs() {
        let patient = r#""resource":{"resourceType":"Patient","id":"p"}"#;
        let entry = |method: &str, url: &str, resource: &str| {
            let comma = if resource.is_empty() { "" } else { "," };
            format!(r#"{{{resource}{comma}"request":{{"method":"{method}","url":"{url}"}}}}"#)
        };
        for good in [
            entry("POST", "Patient", patient),
            entry("PUT", "Patient/p", patient),
            entry("DELETE", "Patient/p", ""),
            entry("GET", "Patient?name=x", ""),
        ] {
            assert!(read(&good, "transaction").is_ok(), "{good}");
        }
        for bad in [
            entry("POST", "Observation", patient),
            entry("POST", "Patient", ""),
            entry("PUT", "Patient/q", patient),
            entry("PUT", "Patient", patient),
            entry("DELETE", "Patient", ""),
            entry("PATCH", "Patient/p", patient),
        ] {
            let why = read(&bad, "batch").unwrap_err();
            assert!(why.0[0].expression.as_deref().unwrap().starts_with("Bundle.entry[0].request"), "{bad}");
        }
        assert!(read(&entry("GET", "Patient", ""), "collection").is_err());
    }

    #[test]
    fn a_full_url_stands_once() {
        let entry = r#"{"fullUrl":"urn:uuid:0d9a8e6c-6c3c-4c9b-8d7e-2f1a0b9c8d7e",
            "resource":{"resourceType":"Patient"},"request":{"method":"POST","url":"Patient"}}"#;
        let twice = format!("{entry},{entry}");
        assert!(read(&twice, "batch").is_ok());
        assert_eq!(
            read(&twice, "transaction").unwrap_err().0[0].expression.as_deref(),
            Some("Bundle.entry[1].fullUrl")
        );
    }

    #[test]
    fn identifiers_in_resources_and_queries() {
        let json =
            r#"{"resourceType":"Practitioner","identifier":[{"system":"s","value":"1"},{"value":"2"},{"system":"t"}]}"#;
        let resource = Resource::parse(json.as_bytes()).unwrap();
        let of = |system: &str, value: &str| Identifier { system: system.into(), value: value.into() };
        assert_eq!(Identifier::all(&resource), [of("s", "1"), of("", "2")]);
        assert_eq!(Identifier::of_query("identifier=s|1"), Some(of("s", "1")));
        for bad in ["identifier=s", "identifier=s|", "identifier=s|1&active=true", "name=x|y"] {
            assert_eq!(Identifier::of_query(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_answer_is_a_bundle() {
        let outcome = |status, resource: Option<&str>| Outcome {
            status,
            location: Some("Patient/p/_history/1".into()),
            etag: Some("W/\"1\"".into()),
            last_modified: Some("2025-11-24T16:00:00.125Z".into()),
            resource: resource.map(Into::into),
        };
        let failure = r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"invalid"}]}"#;
        let outcomes =
            [outcome(201, None), outcome(200, Some(r#"{"resourceType":"Patient"}"#)), outcome(422, Some(failure))];
        for kind in [BundleKind::Batch, BundleKind::Transaction] {
            let json = response_bundle(kind, &outcomes);
            let bundle = Resource::parse(json.as_bytes()).unwrap_or_else(|why| panic!("{why:?} {json}"));
            assert_eq!(bundle.strs_at(&["entry", "response", "status"]).collect::<Vec<_>>(), ["201", "200", "422"]);
        }
        assert!(Resource::parse(response_bundle(BundleKind::Batch, &[]).as_bytes()).is_ok());
    }
}
