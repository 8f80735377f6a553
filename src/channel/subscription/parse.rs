//! Reading a Subscription resource as the backport profiles it.
//!
//! Invariant: what is not understood is refused with the FHIRPath of the element at fault; nothing is passed over that would
//! have narrowed what is told.

use super::{Channel, Content, Filter, Parameter, Settings, Subject};
use crate::error::{Error, Kind, Result};
use crate::fhir::{Json, Resource, ResourceType, is_valid_id, relative};
use crate::time::{Ttl, UnixMillis};

const BACKPORT: &str = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/";
/// Filters in one subscription, values in one filter and headers, at most.
const MOST: usize = 32;
/// Headers whose values are the server's.
const OWN_HEADERS: [&str; 7] =
    ["content-type", "content-length", "host", "connection", "transfer-encoding", "bedside-signature", "upgrade"];

fn refused(path: &'static str, message: &'static str) -> Error {
    Error::new(Kind::Unprocessable, message).at(path)
}

/// The extension of the backport with this name, among the extensions at `path`.
fn extensions<'a>(resource: &'a Resource, path: &[&str], name: &str) -> impl Iterator<Item = &'a Json> {
    let url = format!("{BACKPORT}{name}");
    resource.values_at(path).filter(move |one| one.get("url").and_then(Json::as_str) == Some(url.as_str()))
}

impl Settings {
    /// What `resource`, a Subscription, asks for.
    pub fn of(resource: &Resource) -> Result<Settings> {
        let criteria = resource.str_at(&["criteria"]).unwrap_or_default();
        let unknown =
            || refused("Subscription.criteria", "this must be the canonical URL of a SubscriptionTopic that is here");
        let subject = Subject::parse(criteria).ok_or_else(unknown)?;
        let mut filters = Vec::new();
        for extension in extensions(resource, &["_criteria", "extension"], "backport-filter-criteria") {
            filters.extend(read_filters(
                subject,
                extension.get("valueString").and_then(Json::as_str).unwrap_or_default(),
            )?);
        }
        if filters.len() > MOST {
            return Err(refused("Subscription.criteria.extension", "there are too many filters"));
        }
        let payload = resource.str_at(&["channel", "payload"]).unwrap_or_default();
        if !matches!(payload.split(';').next().unwrap_or_default().trim(), "application/fhir+json" | "application/json")
        {
            return Err(refused("Subscription.channel.payload", "notifications are application/fhir+json"));
        }
        let content = extensions(resource, &["channel", "_payload", "extension"], "backport-payload-content")
            .find_map(|one| one.get("valueCode").and_then(Json::as_str))
            .and_then(Content::parse)
            .ok_or_else(|| {
                refused(
                    "Subscription.channel.payload.extension",
                    "backport-payload-content must be empty, id-only or full-resource",
                )
            })?;
        let number = |name: &str, value: &str, most: u64| -> Result<Option<u64>> {
            let Some(found) = extensions(resource, &["channel", "extension"], name).next() else { return Ok(None) };
            let number = found.get(value).and_then(Json::as_number).and_then(|text| text.parse::<u64>().ok());
            let wrong = || refused("Subscription.channel.extension", "a number of an extension is out of its range");
            number.filter(|number| (1..=most).contains(number)).map(Some).ok_or_else(wrong)
        };
        let seconds = |name: &str, most| Ok(number(name, "valueUnsignedInt", most)?.map(Ttl::from_secs));
        let end = match resource.str_at(&["end"]) {
            None => None,
            Some(text) => Some(
                UnixMillis::parse_rfc3339(text)
                    .ok_or_else(|| refused("Subscription.end", "this must be an instant after 1970"))?,
            ),
        };
        Ok(Settings {
            subject,
            filters,
            channel: channel(resource)?,
            content,
            heartbeat: seconds("backport-heartbeat-period", 24 * 3_600)?,
            timeout: seconds("backport-timeout", 20)?,
            most: number("backport-max-count", "valuePositiveInt", 1_000)?,
            end,
        })
    }
}

fn channel(resource: &Resource) -> Result<Channel> {
    let endpoint = resource.str_at(&["channel", "endpoint"]);
    match resource.str_at(&["channel", "type"]) {
        Some("websocket") if endpoint.is_none() => Ok(Channel::WebSocket),
        Some("websocket") => Err(refused("Subscription.channel.endpoint", "a websocket has no endpoint")),
        Some("rest-hook") => {
            let missing =
                || refused("Subscription.channel.endpoint", "a rest-hook needs the URL that notifications go to");
            let headers = resource.strs_at(&["channel", "header"]).map(header).collect::<Result<Vec<_>>>()?;
            if headers.len() > MOST {
                return Err(refused("Subscription.channel.header", "there are too many headers"));
            }
            Ok(Channel::RestHook { endpoint: endpoint.ok_or_else(missing)?.to_owned(), headers })
        }
        _ => Err(refused("Subscription.channel.type", "this must be websocket or rest-hook")),
    }
}

fn header(text: &str) -> Result<(String, String)> {
    let wrong = |message| Err(refused("Subscription.channel.header", message));
    let Some((name, value)) = text.split_once(':') else { return wrong("this must be a name, a colon and a value") };
    let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(token) || !value.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return wrong("this is no header of HTTP");
    }
    if OWN_HEADERS.contains(&name.as_str()) {
        return wrong("this header is set by the server");
    }
    Ok((name, value.to_owned()))
}

/// Filters as in a search, with or without the type before them: `Observation?patient=Patient/1&code=8867-4`.
fn read_filters(subject: Subject, text: &str) -> Result<Vec<Filter>> {
    let wrong = |message| Err(refused("Subscription.criteria.extension", message));
    let query = match text.split_once('?') {
        Some((kind, query)) if kind == subject.resource() => query,
        Some(_) => return wrong("a filter is on the type of resource that the topic is about"),
        None => text,
    };
    let mut filters = Vec::new();
    for pair in query.split('&') {
        let Some((name, values)) = pair.split_once('=') else { return wrong("a filter is name=value") };
        let name = if name == "subject" { "patient" } else { name };
        let Some(parameter) = subject.filters().iter().find(|known| known.as_str() == name) else {
            return wrong("the topic cannot be narrowed by this parameter");
        };
        let values: Vec<String> = values.split(',').map(|value| unescape(*parameter, value)).collect();
        let bad = |value: &String| {
            value.is_empty()
                || value.len() > 256
                || value.contains('%')
                || (*parameter == Parameter::Patient && !is_valid_id(value))
        };
        if values.len() > MOST || values.iter().any(bad) {
            return wrong("a filter has a value that it cannot have");
        }
        filters.push(Filter { parameter: *parameter, values });
    }
    Ok(filters)
}

fn unescape(parameter: Parameter, value: &str) -> String {
    let value = value.replace("%7C", "|").replace("%7c", "|").replace("%2F", "/").replace("%3A", ":");
    match parameter {
        Parameter::Patient => match relative(&value) {
            Some(to) if to.kind == ResourceType::Patient => to.id.to_owned(),
            _ => value,
        },
        _ => value,
    }
}
