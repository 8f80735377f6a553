//! The general parameters that say how an answer is written (FHIR R4, `http.html#parameters`): they are of no interaction.
//!
//! Invariant: no handler sees `_format` or `_pretty` in a URL (the form of a `_search` is the search's own). The first stands in
//! the place of `Accept`, which it overrides; the second says how JSON is indented, which changes nothing of what it says, and
//! is left out.

use super::input;

/// What a query says about the form of the answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Format {
    /// The query without it.
    pub query: String,
    /// In the place of `Accept`.
    pub accept: Option<String>,
}

/// Takes it out of `query`; `None` where it says nothing.
pub fn take(query: &str) -> Option<Format> {
    let name = |pair: &str| pair.split_once('=').map_or(pair, |(name, _)| name).to_owned();
    let (general, own): (Vec<&str>, Vec<&str>) =
        query.split('&').partition(|pair| matches!(name(pair).as_str(), "_format" | "_pretty"));
    if general.is_empty() {
        return None;
    }
    let value =
        general.into_iter().filter(|pair| name(pair) == "_format").find_map(|pair| input::pairs(pair).ok()?.pop());
    Some(Format { query: own.join("&"), accept: value.map(|(_, value)| media_type(&value)) })
}

/// The media type that a value stands for. A plus sign that was not encoded reads as a space.
fn media_type(value: &str) -> String {
    match value {
        "json" | "text/json" => "application/json".to_owned(),
        "xml" | "text/xml" => "application/fhir+xml".to_owned(),
        other => other.replace(' ', "+"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_general_is_taken_out_and_the_rest_stays_as_it_was() {
        for (query, rest, accept) in [
            ("_format=json", "", Some("application/json")),
            ("_format=application/fhir+json&name=M%C3%BCller", "name=M%C3%BCller", Some("application/fhir+json")),
            ("name=a&_format=application%2Ffhir%2Bjson&name=b", "name=a&name=b", Some("application/fhir+json")),
            ("a=1&_pretty=true", "a=1", None),
            ("_format=xml", "", Some("application/fhir+xml")),
            ("_format", "", Some("")),
        ] {
            assert_eq!(take(query), Some(Format { query: rest.into(), accept: accept.map(str::to_owned) }), "{query}");
        }
        for query in ["", "name=_format", "format=json", "__format=x"] {
            assert_eq!(take(query), None, "{query}");
        }
    }
}
