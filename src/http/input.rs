//! What comes in: bodies, parameters and preconditions, each refused with the name of the field at fault.
//!
//! Invariant: nothing of what was sent is repeated in an error but the names of fields that the program knows or that look
//! like names.

use serde::de::DeserializeOwned;

use super::Incoming;
use crate::error::{Error, Kind, Result};
pub use crate::outgoing::encode;
use crate::time::UnixMillis;

/// The most that a resource may weigh: 1 MiB.
pub const RESOURCE_LIMIT: usize = 1 << 20;
/// The most that any other body may weigh.
pub const BODY_LIMIT: usize = 16 * 1_024;

/// Reads a JSON body of `T`; fields that `T` does not know are refused.
pub async fn json<T: DeserializeOwned>(request: &impl Incoming) -> Result<T> {
    json_within(request, BODY_LIMIT).await
}

/// As [`json`], of a body of at most `limit` bytes.
pub async fn json_within<T: DeserializeOwned>(request: &impl Incoming, limit: usize) -> Result<T> {
    content_type(request, &["application/json"])?;
    let body = request.body(limit).await?;
    let mut reader = serde_json::Deserializer::from_slice(&body);
    let parsed = serde_path_to_error::deserialize(&mut reader).map_err(|error| refuse(&error))?;
    reader.end().map_err(|_| Error::invalid("body", "there is something after the JSON"))?;
    Ok(parsed)
}

fn refuse(error: &serde_path_to_error::Error<serde_json::Error>) -> Error {
    let inner = error.inner();
    if inner.is_syntax() || inner.is_eof() {
        return Error::invalid("body", format!("malformed JSON at line {}, column {}", inner.line(), inner.column()));
    }
    let path = error.path().to_string();
    let text = inner.to_string();
    let named = |prefix: &str| {
        let name = text.strip_prefix(prefix)?.split('`').next()?;
        let plain = (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        plain.then(|| name.to_owned())
    };
    if let Some(name) = named("missing field `") {
        return Error::invalid(name, "this field is missing");
    }
    if text.starts_with("unknown field") {
        return Error::invalid(
            named("unknown field `").unwrap_or_else(|| "body".into()),
            "there is no such field here",
        );
    }
    let field = if path == "." { "body".to_owned() } else { path };
    Error::invalid(field, "this field does not have the right type or is not one of the allowed values")
}

/// Refuses a body whose content type is none of `allowed` (parameters are passed over): 415.
pub fn content_type(request: &impl Incoming, allowed: &[&str]) -> Result<()> {
    let sent = request.header("content-type").unwrap_or_default();
    let essence = sent.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if allowed.contains(&essence.as_str()) {
        return Ok(());
    }
    Err(Error::new(Kind::UnsupportedMedia, "this content type is not taken here: send JSON").at("content-type"))
}

/// Refuses a client that takes no JSON: 406.
pub fn accepts_json(request: &impl Incoming, own: &str) -> Result<()> {
    let Some(accept) = request.header("accept").filter(|accept| !accept.trim().is_empty()) else { return Ok(()) };
    let taken = ranges(&accept)
        .any(|range| range == own || ["*/*", "application/*", "application/json"].contains(&range.as_str()));
    if taken {
        Ok(())
    } else {
        Err(Error::new(Kind::NotAcceptable, "nothing here is of the types it asks for").at("accept"))
    }
}

/// Whether the client takes the media type `own` and names it: a wildcard does not.
pub fn names(request: &impl Incoming, own: &str) -> bool {
    request.header("accept").is_some_and(|accept| ranges(&accept).any(|range| range == own))
}

/// The media ranges that `accept` takes, without their parameters.
fn ranges(accept: &str) -> impl Iterator<Item = String> {
    accept.split(',').filter_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
        let refused = parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"));
        (!refused).then_some(essence)
    })
}

/// The parameters of the query, decoded; only those in `known`, each at most once.
pub fn parameters(request: &impl Incoming, known: &[&str]) -> Result<Vec<(String, String)>> {
    let mut found: Vec<(String, String)> = Vec::new();
    for (name, value) in pairs(request.query())? {
        if !known.contains(&name.as_str()) {
            return Err(Error::invalid("query", "there is a parameter that is not known here"));
        }
        if found.iter().any(|(seen, _)| *seen == name) {
            return Err(Error::invalid(name, "this parameter may be given once"));
        }
        found.push((name, value));
    }
    Ok(found)
}

/// All parameters of `query`, an `application/x-www-form-urlencoded` text, decoded, in their order.
pub fn pairs(query: &str) -> Result<Vec<(String, String)>> {
    let decoded = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Some((decode(name)?, decode(value)?))
    };
    let wrong = || Error::invalid("query", "a parameter is not well encoded");
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| decoded(pair).ok_or_else(wrong)).collect()
}

/// The value of parameter `name`.
pub fn parameter<'a>(parameters: &'a [(String, String)], name: &str) -> Option<&'a str> {
    parameters.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
}

/// The instant in parameter `name`, if it is given.
pub fn instant(parameters: &[(String, String)], name: &str) -> Result<Option<UnixMillis>> {
    let bad = || Error::invalid(name, "this must be an instant, as in 2026-01-31T09:30:00Z");
    parameter(parameters, name).map(|text| UnixMillis::parse_rfc3339(text).ok_or_else(bad)).transpose()
}

/// The value of the whole-number parameter `name`, from 1 to `max`; `default` where it is not given.
pub fn count(parameters: &[(String, String)], name: &str, default: u64, max: u64) -> Result<u64> {
    let Some(text) = parameter(parameters, name) else { return Ok(default) };
    let number: u64 = text.parse().map_err(|_| Error::invalid(name, "this must be a whole number"))?;
    if number == 0 { Err(Error::invalid(name, "this must be at least 1")) } else { Ok(number.min(max)) }
}

/// `application/x-www-form-urlencoded`, one value.
pub fn decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let high = char::from(bytes.next()?).to_digit(16)?;
                let low = char::from(bytes.next()?).to_digit(16)?;
                u8::try_from(high.checked_mul(16)?.checked_add(low)?).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(decoded).ok()
}

/// The version that `If-Match` names, a weak or strong entity tag (R4 section 3.1.0.5); `None` where it is not sent.
pub fn if_match(request: &impl Incoming) -> Result<Option<u64>> {
    let Some(value) = request.header("if-match") else { return Ok(None) };
    let tag = entity_tag(value.trim());
    tag.map(Some).ok_or_else(|| Error::invalid("if-match", "this must be one entity tag, as in W/\"3\""))
}

/// Whether `If-None-Match` names `version` (RFC 9110 section 13.1.2).
pub fn if_none_match(request: &impl Incoming, version: u64) -> bool {
    request
        .header("if-none-match")
        .is_some_and(|value| value.split(',').map(str::trim).any(|tag| tag == "*" || entity_tag(tag) == Some(version)))
}

/// The opaque parts of the entity tags of `If-None-Match`, weak or strong, and `*`; empty where it is not sent.
pub fn entity_tags(request: &impl Incoming) -> Vec<String> {
    let Some(value) = request.header("if-none-match") else { return Vec::new() };
    let opaque = |tag: &str| tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"').to_owned();
    value.split(',').map(str::trim).filter(|tag| !tag.is_empty()).map(opaque).collect()
}

/// The version that an entity tag names, weak or strong.
pub fn entity_tag(text: &str) -> Option<u64> {
    text.strip_prefix("W/").unwrap_or(text).strip_prefix('"')?.strip_suffix('"')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded() {
        assert_eq!(decode("a+b%20%C3%A9").as_deref(), Some("a b é"));
        for bad in ["%", "%4", "%zz", "%ff"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }

    #[test]
    fn entity_tags() {
        assert_eq!(entity_tag("W/\"12\""), Some(12));
        assert_eq!(entity_tag("\"12\""), Some(12));
        for bad in ["12", "W/12", "W/\"a\"", "*", ""] {
            assert_eq!(entity_tag(bad), None, "{bad}");
        }
    }
}
