//! The lexical forms of FHIR's primitive datatypes (section 2.24.0.1, Primitive Types), as hand-written matchers of the
//! regexes given there, with the calendar added.
//!
//! Invariant: a matcher reads its text once, from left to right.

use super::json::Json;

/// A primitive datatype of R4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Primitive {
    Base64Binary,
    Boolean,
    Code,
    Date,
    DateTime,
    Decimal,
    Id,
    Instant,
    Integer,
    Oid,
    PositiveInt,
    String,
    Time,
    UnsignedInt,
    Uri,
    Uuid,
    Xhtml,
}

/// Why a value is not of its datatype.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// The wrong type of JSON; says the right one.
    Type(&'static str),
    /// The wrong form; says the right one.
    Form(&'static str),
}

impl Primitive {
    pub(super) fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "base64Binary" => Primitive::Base64Binary,
            "boolean" => Primitive::Boolean,
            "code" => Primitive::Code,
            "date" => Primitive::Date,
            "dateTime" => Primitive::DateTime,
            "decimal" => Primitive::Decimal,
            "id" => Primitive::Id,
            "instant" => Primitive::Instant,
            "integer" => Primitive::Integer,
            "oid" => Primitive::Oid,
            "positiveInt" => Primitive::PositiveInt,
            "string" | "markdown" => Primitive::String,
            "time" => Primitive::Time,
            "unsignedInt" => Primitive::UnsignedInt,
            "uri" | "url" | "canonical" => Primitive::Uri,
            "uuid" => Primitive::Uuid,
            "xhtml" => Primitive::Xhtml,
            _ => return None,
        })
    }

    /// Whether `value` is of this datatype.
    pub(super) fn check(self, value: &Json) -> Result<(), Wrong> {
        let (holds, form) = match (self, value) {
            (Primitive::Boolean, Json::Bool(_)) => return Ok(()),
            (Primitive::Boolean, _) => return Err(Wrong::Type("this element takes true or false")),
            (Primitive::Decimal, Json::Number(text)) => (text.len() <= 64, "a decimal has at most 64 characters"),
            (Primitive::Integer, Json::Number(text)) => {
                (integer(text).is_some(), "an integer is whole, from -2147483648 to 2147483647")
            }
            (Primitive::UnsignedInt, Json::Number(text)) => {
                (integer(text).is_some_and(|n| n >= 0), "an unsignedInt is whole, from 0 to 2147483647")
            }
            (Primitive::PositiveInt, Json::Number(text)) => {
                (integer(text).is_some_and(|n| n > 0), "a positiveInt is whole, from 1 to 2147483647")
            }
            (Primitive::Decimal | Primitive::Integer | Primitive::UnsignedInt | Primitive::PositiveInt, _) => {
                return Err(Wrong::Type("this element takes a number"));
            }
            (_, Json::String(text)) if text.is_empty() => (false, "a string may not be empty"),
            (Primitive::String, Json::String(_)) => return Ok(()),
            (Primitive::Code, Json::String(text)) => {
                (is_code(text), "a code has no white space but single inner spaces")
            }
            (Primitive::Id, Json::String(text)) => (is_valid_id(text), "an id is 1 to 64 of A-Z a-z 0-9 - ."),
            (Primitive::Uri, Json::String(text)) => {
                (!text.contains(|c: char| c.is_ascii_whitespace()), "a uri holds no white space")
            }
            (Primitive::Oid, Json::String(text)) => (is_oid(text), "an oid begins urn:oid:"),
            (Primitive::Uuid, Json::String(text)) => (is_uuid(text), "a uuid is urn:uuid: and a UUID in lower case"),
            (Primitive::Base64Binary, Json::String(text)) => (is_base64(text), "not base64"),
            (Primitive::Date, Json::String(text)) => {
                (is_date(text), "a date is YYYY, YYYY-MM or YYYY-MM-DD, of the calendar")
            }
            (Primitive::DateTime, Json::String(text)) => (
                is_date(text) || is_instant(text),
                "a dateTime is YYYY, YYYY-MM, YYYY-MM-DD or YYYY-MM-DDThh:mm:ss+zz:zz, of the calendar",
            ),
            (Primitive::Instant, Json::String(text)) => {
                (is_instant(text), "an instant is YYYY-MM-DDThh:mm:ss.sss+zz:zz, of the calendar")
            }
            (Primitive::Time, Json::String(text)) => (time(text) == Some(""), "a time is hh:mm:ss"),
            (Primitive::Xhtml, Json::String(text)) => (
                text.strip_prefix("<div").is_some_and(|rest| rest.starts_with(|c: char| c == '>' || c.is_whitespace())),
                "a narrative is a div element",
            ),
            (_, _) => return Err(Wrong::Type("this element takes a string")),
        };
        if holds { Ok(()) } else { Err(Wrong::Form(form)) }
    }
}

/// Whether `text` is an `id` of R4: `[A-Za-z0-9\-\.]{1,64}` (section 2.24.0.1).
pub fn is_valid_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.')
}

fn integer(text: &str) -> Option<i32> {
    // -0 matches neither [0] nor [-+]?[1-9][0-9]*.
    if text == "-0" { None } else { text.parse().ok() }
}

fn is_code(text: &str) -> bool {
    let mut after_space = true;
    for each in text.chars() {
        let space = each.is_ascii_whitespace();
        if space && after_space {
            return false;
        }
        after_space = space;
    }
    !after_space
}

fn is_oid(text: &str) -> bool {
    let Some(arcs) = text.strip_prefix("urn:oid:") else { return false };
    let mut arcs = arcs.split('.');
    let root = matches!(arcs.next(), Some("0" | "1" | "2"));
    let arc = |arc: &str| {
        !arc.is_empty() && arc.bytes().all(|byte| byte.is_ascii_digit()) && (arc == "0" || !arc.starts_with('0'))
    };
    let mut some = false;
    root && arcs.inspect(|_| some = true).all(arc) && some
}

fn is_uuid(text: &str) -> bool {
    let hex = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    text.strip_prefix("urn:uuid:")
        .is_some_and(|uuid| uuid.split('-').map(str::len).eq([8, 4, 4, 4, 12]) && uuid.split('-').all(hex))
}

fn is_base64(text: &str) -> bool {
    let mut count = 0_usize;
    let mut padding = 0_usize;
    for byte in text.bytes() {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => continue,
            b'=' => padding = padding.saturating_add(1),
            b'+' | b'/' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' if padding == 0 => {}
            _ => return false,
        }
        count = count.saturating_add(1);
    }
    count > 0 && count.is_multiple_of(4) && padding <= 2
}

/// Takes `count` digits off the front and reads them.
fn number(text: &str, count: usize) -> Option<(u32, &str)> {
    let (digits, rest) = text.split_at_checked(count)?;
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    if plain { Some((digits.parse().ok()?, rest)) } else { None }
}

fn days_of(year: u32, month: u32) -> u32 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Takes YYYY-MM-DD off the front and gives what follows.
fn day(text: &str) -> Option<&str> {
    let (year, rest) = number(text, 4)?;
    let (month, rest) = number(rest.strip_prefix('-')?, 2)?;
    let (day, rest) = number(rest.strip_prefix('-')?, 2)?;
    let real = year > 0 && (1..=12).contains(&month) && (1..=days_of(year, month)).contains(&day);
    real.then_some(rest)
}

/// Takes hh:mm:ss, with or without a fraction, off the front and gives what follows.
fn time(text: &str) -> Option<&str> {
    let (hour, rest) = number(text, 2)?;
    let (minute, rest) = number(rest.strip_prefix(':')?, 2)?;
    let (second, rest) = number(rest.strip_prefix(':')?, 2)?;
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let Some(fraction) = rest.strip_prefix('.') else { return Some(rest) };
    let rest = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
    (rest.len() < fraction.len()).then_some(rest)
}

fn is_date(text: &str) -> bool {
    match text.len() {
        4 => number(text, 4).is_some_and(|(year, _)| year > 0),
        7 => number(text, 4).is_some_and(|(year, rest)| {
            let month = rest.strip_prefix('-').and_then(|rest| number(rest, 2));
            year > 0 && month.is_some_and(|(month, _)| (1..=12).contains(&month))
        }),
        _ => day(text) == Some(""),
    }
}

fn is_instant(text: &str) -> bool {
    let Some(zone) = day(text).and_then(|rest| rest.strip_prefix('T')).and_then(time) else { return false };
    if zone == "Z" {
        return true;
    }
    let offset = || {
        let (hour, rest) = number(zone.strip_prefix(['+', '-'])?, 2)?;
        let (minute, rest) = number(rest.strip_prefix(':')?, 2)?;
        Some(rest.is_empty() && (hour <= 13 && minute <= 59 || hour == 14 && minute == 0))
    };
    offset() == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let long = "a".repeat(65);
        let cases: &[(&str, &[&str], &[&str])] = &[
            ("id", &["a", "A-1.b", long.get(1..).unwrap()], &["", "a_b", "a b", "é", &long]),
            ("code", &["a", "a b", "a-b"], &["", " a", "a ", "a  b", "a\n\nb"]),
            ("uri", &["urn:x", "http://a/b#c"], &["", "a b", "a\nb"]),
            (
                "oid",
                &["urn:oid:1.2.3", "urn:oid:0.0"],
                &["1.2", "urn:oid:3.1", "urn:oid:1", "urn:oid:1.02", "urn:oid:1."],
            ),
            (
                "uuid",
                &["urn:uuid:c757873d-ec9a-4326-a141-556f43239520"],
                &[
                    "c757873d-ec9a-4326-a141-556f43239520",
                    "urn:uuid:C757873D-ec9a-4326-a141-556f43239520",
                    "urn:uuid:c757",
                ],
            ),
            ("base64Binary", &["aGk=", "aGkh aGk=", "YQ=="], &["", "a", "a===", "aG=k", "aGk!"]),
            (
                "date",
                &["2024", "2024-02", "2024-02-29", "0001-01-01"],
                &[
                    "0000",
                    "24",
                    "2024-13",
                    "2024-00",
                    "2024-02-30",
                    "2023-02-29",
                    "1900-02-29",
                    "2024-2-1",
                    "2024-02-01T00:00:00Z",
                    "+024",
                    "2024-02-29x",
                ],
            ),
            (
                "dateTime",
                &["2024", "2024-02-29T23:59:60Z", "2024-02-29T00:00:00.123456+14:00", "2024-02-29T00:00:00-13:59"],
                &[
                    "2024-02-30T00:00:00Z",
                    "2024-02-29T24:00:00Z",
                    "2024-02-29T00:00Z",
                    "2024-02-29T00:00:00",
                    "2024-02-29T00:00:00+14:01",
                    "2024-02-29T00:00:00.Z",
                    "2024-02-29 00:00:00Z",
                    "2024-02-29T00:00:00z",
                ],
            ),
            ("instant", &["2024-02-29T00:00:00Z"], &["2024", "2024-02-29"]),
            ("time", &["00:00:00", "23:59:59.5"], &["24:00:00", "00:00", "00:00:00Z", "0:00:00"]),
            ("string", &["a", " "], &[""]),
            ("xhtml", &["<div>a</div>", "<div xmlns=\"x\"/>"], &["<p/>", "<divx>", "a"]),
        ];
        for (name, good, bad) in cases {
            let primitive = Primitive::from_name(name).unwrap();
            for text in *good {
                assert_eq!(primitive.check(&Json::String((*text).into())), Ok(()), "{name} {text}");
            }
            for text in *bad {
                assert!(matches!(primitive.check(&Json::String((*text).into())), Err(Wrong::Form(_))), "{name} {text}");
            }
            assert!(matches!(primitive.check(&Json::Bool(true)), Err(Wrong::Type(_))));
        }
        let cases: &[(&str, &[&str], &[&str])] = &[
            ("integer", &["0", "-1", "2147483647", "-2147483648"], &["-0", "1.0", "1e2", "2147483648"]),
            ("unsignedInt", &["0", "5"], &["-1", "1.5"]),
            ("positiveInt", &["1"], &["0", "-1"]),
            ("decimal", &["1.0", "1.50", "1e2", "-0.0"], &[]),
        ];
        for (name, good, bad) in cases {
            let primitive = Primitive::from_name(name).unwrap();
            for text in *good {
                assert_eq!(primitive.check(&Json::Number((*text).into())), Ok(()), "{name} {text}");
            }
            for text in *bad {
                assert!(matches!(primitive.check(&Json::Number((*text).into())), Err(Wrong::Form(_))), "{name} {text}");
            }
            assert!(matches!(primitive.check(&Json::String("1".into())), Err(Wrong::Type(_))));
        }
    }
}
