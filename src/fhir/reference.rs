//! The forms of `Reference.reference` (section 2.3.0.1, Literal References).
//!
//! Invariant: a [`Relative`] names a type of R4 and an id that is valid there.

use super::kind::ResourceType;
use super::primitive::is_valid_id;

/// A relative reference `Type/id` or `Type/id/_history/version`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relative<'a> {
    /// The type that it points to.
    pub kind: ResourceType,
    /// The id there.
    pub id: &'a str,
    /// The version, of a version-specific reference.
    pub version: Option<&'a str>,
}

/// Reads a relative reference. `None` for anything else: an absolute URL, even of this server, `urn:`, `#id`, `Type?query`,
/// a type that R4 has not, an id that is none.
pub fn relative(text: &str) -> Option<Relative<'_>> {
    let mut parts = text.split('/');
    let kind = ResourceType::parse(parts.next()?)?;
    let id = parts.next().filter(|id| is_valid_id(id))?;
    let version = match (parts.next(), parts.next(), parts.next()) {
        (None, ..) => None,
        (Some("_history"), Some(version), None) if is_valid_id(version) => Some(version),
        _ => return None,
    };
    Some(Relative { kind, id, version })
}

/// Whether `text` could be a reference: relative, conditional (`Type?query`, in a transaction), to a contained resource,
/// or absolute (RFC 3986 section 3.1).
pub(super) fn is_plausible(text: &str) -> bool {
    if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return false;
    }
    if let Some(id) = text.strip_prefix('#') {
        return id.is_empty() || is_valid_id(id);
    }
    if relative(text).is_some() {
        return true;
    }
    if let Some((kind, query)) = text.split_once('?')
        && ResourceType::parse(kind).is_some()
    {
        return !query.is_empty();
    }
    text.split_once(':').is_some_and(|(scheme, rest)| {
        !rest.is_empty()
            && scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_references() {
        let patient = Relative { kind: ResourceType::Patient, id: "1", version: None };
        assert_eq!(relative("Patient/1"), Some(patient));
        assert_eq!(relative("Patient/1/_history/2"), Some(Relative { version: Some("2"), ..patient }));
        let none = [
            "",
            "Patient",
            "Patient/",
            "Patient/a b",
            "patient/1",
            "/Patient/1",
            "Patient/1/",
            "Foo/1",
            "#1",
            "Patient/1/_history",
            "Patient/1/_history/",
            "Patient/1/_history/2/3",
            "Patient/1/history/2",
            "Patient?name=a",
            "https://a.example/fhir/Patient/1",
            "urn:uuid:1",
            "Patient/1#a",
            "Patient/..%2f1",
        ];
        for text in none {
            assert_eq!(relative(text), None, "{text}");
        }
    }

    #[test]
    fn plausible_references() {
        for text in ["Patient/1", "Patient?identifier=a|b", "#", "#a", "urn:uuid:1", "https://a.example/fhir/Patient/1"]
        {
            assert!(is_plausible(text), "{text}");
        }
        for text in [
            "Patient",
            "1",
            "Foo/1",
            "#a b",
            "Patient/ 1",
            "../Patient/1",
            "Patient?",
            "http:",
            ":a",
            "1a:b",
            "a\u{0}:b",
        ] {
            assert!(!is_plausible(text), "{text}");
        }
    }
}
