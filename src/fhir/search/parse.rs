//! A query string as a [`Search`] (R4 section 3.1.1).
//!
//! Invariant: what is not understood is refused or, where the caller says so, left out and named; a criterion is never taken
//! for another one. No error repeats a value.

use super::super::{ResourceType, compartment, is_valid_id, relative};
use super::date::{self, Span};
use super::parameters::{Parameter, ParameterKind, number, parameter};
use super::quantity::Decimal;
use super::terms::{date_numbers, last_updated};
use super::{Criterion, Key, Piece, Search, Sort, SortBy, Test, text};
use crate::error::{Error, Result};
use crate::outgoing::encode;
use crate::sorted::sort;
use crate::time::UnixMillis;

/// No search has more pieces than this: they are the parameters of one statement.
const MOST_PIECES: usize = 40;
/// No more ids than this are asked for at once.
const MOST_IDS: usize = 200;
/// Rules of the order.
const MOST_RULES: usize = 3;

/// What a query asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Which records, in which order.
    pub search: Search,
    /// `_count`, if it is given; 0 asks for the number alone.
    pub count: Option<u64>,
    /// Whether the number of all of them is wanted.
    pub total: bool,
    /// Whether nothing but the number is wanted.
    pub only_total: bool,
    /// What was understood, for links: names and values, decoded.
    pub used: Vec<(String, String)>,
    /// The names of what was left out.
    pub ignored: Vec<String>,
}

/// Reads the decoded parameters of a search for `kind`. `base` is the URL of this server's FHIR endpoint. What is not known is
/// refused with 400 if `strict`, and else left out.
pub fn parse(
    kind: ResourceType,
    query: &[(String, String)],
    strict: bool,
    base: &str,
    now: UnixMillis,
) -> Result<Asked> {
    let search =
        Search { kind, ids: None, criteria: Vec::new(), sort: Vec::new(), confined: None, text: String::new() };
    let mut asked =
        Asked { search, count: None, total: false, only_total: false, used: Vec::new(), ignored: Vec::new() };
    let mut reader = Reader { kind, base, now, dates: Vec::new() };
    for (name, value) in query {
        if reader.take(&mut asked, name, value)? {
            asked.used.push((name.clone(), value.clone()));
        } else if strict {
            return Err(Error::invalid(
                shown(name),
                "there is no such search parameter here; with `Prefer: handling=lenient` it is left out",
            ));
        } else {
            asked.ignored.push(shown(name));
        }
    }
    asked.search.text = text_of(&asked.used, base);
    asked.search.criteria.extend(reader.dates.into_iter().map(|(_, pieces)| Criterion::Any(pieces)));
    let pieces = asked.search.criteria.iter().map(|criterion| match criterion {
        Criterion::Any(pieces) | Criterion::None(pieces) => pieces.len(),
    });
    if pieces.sum::<usize>() > MOST_PIECES {
        return Err(Error::invalid("query", "these are too many values for one search"));
    }
    Ok(asked)
}

/// What was understood as a query, in one order, but for how much of the answer is wanted; references to this server relative.
fn text_of(used: &[(String, String)], base: &str) -> String {
    let about = |name: &str| matches!(name, "_count" | "_total" | "_summary");
    let own = format!("{base}/");
    let mut each: Vec<String> = Vec::new();
    for (name, value) in used.iter().filter(|(name, _)| !about(name)) {
        let mut one = String::new();
        encode(&mut one, name);
        one.push('=');
        encode(&mut one, &value.replace(&own, ""));
        each.push(one);
    }
    sort(&mut each);
    each.join("&")
}

/// A parameter's name, if it looks like one, for a message.
fn shown(name: &str) -> String {
    let plain = (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b':' | b'.'));
    if plain { name.to_owned() } else { "query".to_owned() }
}

struct Reader<'a> {
    kind: ResourceType,
    base: &'a str,
    now: UnixMillis,
    /// Criteria on dates of which a record has one at most: both bounds of an interval are one range.
    dates: Vec<(&'static str, Vec<Piece>)>,
}

impl Reader<'_> {
    /// Takes one parameter; says whether it is known.
    fn take(&mut self, asked: &mut Asked, name: &str, value: &str) -> Result<bool> {
        let (code, modifier) = name.split_once(':').map_or((name, None), |(code, modifier)| (code, Some(modifier)));
        if code.contains('.') || code == "_has" {
            return Err(Error::invalid(shown(name), "chained parameters are not supported; search step by step"));
        }
        let single = |there: bool| match (modifier, there) {
            (Some(_), _) => Err(Error::invalid(shown(name), "this parameter takes no modifier")),
            (None, true) => Err(Error::invalid(code, "this parameter may be given once")),
            (None, false) => Ok(()),
        };
        match code {
            "_count" => {
                single(asked.count.is_some())?;
                let number = value.parse().map_err(|_| Error::invalid(code, "this must be a whole number"))?;
                asked.count = Some(number);
                asked.only_total |= number == 0;
            }
            "_total" => {
                single(asked.total)?;
                asked.total = match value {
                    "none" => false,
                    "estimate" | "accurate" => true,
                    _ => return Err(Error::invalid(code, "this must be none, estimate or accurate")),
                };
            }
            "_summary" => {
                single(false)?;
                match value {
                    "false" => {}
                    "count" => asked.only_total = true,
                    _ => return Err(Error::invalid(code, "only count and false are supported here")),
                }
            }
            "_format" => {
                let json = ["json", "application/json", "application/fhir+json", "text/json"];
                if !json.contains(&value) {
                    return Err(Error::new(crate::error::Kind::NotAcceptable, "only JSON is given here").at(code));
                }
            }
            "_sort" => {
                single(!asked.search.sort.is_empty())?;
                asked.search.sort = self.sort(value)?;
            }
            "_id" => {
                single(asked.search.ids.is_some())?;
                let ids: Vec<String> = value.split(',').map(str::to_owned).collect();
                if ids.len() > MOST_IDS || !ids.iter().all(|id| is_valid_id(id)) {
                    return Err(Error::invalid(code, "this must be at most 200 ids, separated by commas"));
                }
                asked.search.ids = Some(ids);
            }
            "_lastUpdated" => {
                let all = last_updated(self.kind);
                let numbers = date::Numbers { all, wide: number(self.kind, "_lastUpdated~") };
                self.date(asked, "_lastUpdated", numbers, true, modifier, value)?;
            }
            _ => {
                let Some(known) = parameter(self.kind, code) else { return Ok(false) };
                self.criterion(asked, known, modifier, value)?;
            }
        }
        Ok(true)
    }

    fn criterion(
        &mut self,
        asked: &mut Asked,
        known: &'static Parameter,
        modifier: Option<&str>,
        value: &str,
    ) -> Result<()> {
        let unsupported = || Error::invalid(known.code, "this modifier is not supported for this parameter");
        if modifier == Some("missing") {
            asked.search.criteria.push(self.missing(known, value)?);
            return Ok(());
        }
        if known.kind == ParameterKind::Date {
            let numbers = date_numbers(self.kind, known.code);
            return self.date(asked, known.code, numbers, known.single, modifier, value);
        }
        let mut pieces = Vec::new();
        let mut patients = Vec::new();
        for part in split(value, ',') {
            if part.is_empty() {
                return Err(Error::invalid(known.code, "a value is missing"));
            }
            match known.kind {
                ParameterKind::Token => {
                    if !matches!(modifier, None | Some("not")) {
                        return Err(unsupported());
                    }
                    pieces.extend(self.token(known, &part));
                }
                ParameterKind::Reference => {
                    let of = modifier.map(|name| ResourceType::parse(name).ok_or_else(unsupported)).transpose()?;
                    let (found, patient) = self.reference(known, of, &part)?;
                    pieces.extend(found);
                    patients.extend(patient);
                }
                ParameterKind::Uri => {
                    if modifier.is_some() {
                        return Err(unsupported());
                    }
                    pieces.extend(self.points(known, &unescape(&part)));
                }
                ParameterKind::String => pieces.extend(self.string(known, modifier, &unescape(&part))?),
                ParameterKind::Quantity => {
                    if modifier.is_some() {
                        return Err(unsupported());
                    }
                    pieces.extend(self.quantity(known, &part)?);
                }
                ParameterKind::Date => {}
            }
        }
        if let [patient] = patients.as_slice()
            && pieces.len() == 1
        {
            asked.search.confined.get_or_insert_with(|| patient.clone());
        }
        asked.search.criteria.push(match modifier {
            Some("not") => Criterion::None(pieces),
            _ => Criterion::Any(pieces),
        });
        Ok(())
    }

    /// Of a parameter with a whole index, that there is nothing is a term of its own.
    fn missing(&self, known: &Parameter, value: &str) -> Result<Criterion> {
        let some =
            || known.numbers(self.kind).into_iter().map(Piece::all).map(|piece| restrict(known, piece)).collect();
        match value {
            "true" if known.is_whole() => {
                Ok(Criterion::Any(vec![Piece::of(number(self.kind, known.code), Key::missing())]))
            }
            "true" => Ok(Criterion::None(some())),
            "false" => Ok(Criterion::Any(some())),
            _ => Err(Error::invalid(known.code, "this must be true or false")),
        }
    }

    fn points(&self, known: &Parameter, key: &str) -> Vec<Piece> {
        let key = Key::Text(key.to_owned());
        known.numbers(self.kind).into_iter().map(|number| Piece::of(number, key.clone())).collect()
    }

    /// `code`, `system|code`, `|code` or `system|`.
    fn token(&self, known: &Parameter, value: &str) -> Vec<Piece> {
        let parts = split(value, '|');
        let (system, code) = match parts.as_slice() {
            [code] => (None, unescape(code)),
            [system, code @ ..] => (Some(unescape(system)), unescape(&code.join("|"))),
            [] => (None, String::new()),
        };
        // A code that has no system of its own is of the one that its element is bound to.
        let system = system.map(|system| if known.system == Some(&system) { String::new() } else { system });
        let pieces = match (&system, code.is_empty()) {
            (Some(_), true) => known.numbers(self.kind).into_iter().map(Piece::all).collect(),
            _ => self.points(known, &code),
        };
        let of = |piece: Piece| match &system {
            Some(system) => piece.test(Test::Is(system.clone())),
            None => piece,
        };
        pieces.into_iter().map(|piece| restrict(known, of(piece))).collect()
    }

    /// `id`, `Type/id`, or a URL; also the patient to whom it confines the search.
    fn reference(
        &self,
        known: &Parameter,
        of: Option<ResourceType>,
        value: &str,
    ) -> Result<(Vec<Piece>, Option<String>)> {
        let value = unescape(value);
        let own = value.strip_prefix(self.base).and_then(|rest| rest.strip_prefix('/')).unwrap_or(&value);
        let to = relative(own).map(|to| (Some(to.kind), to.id.to_owned()));
        let Some((named, id)) = to.or_else(|| is_valid_id(own).then(|| (None, own.to_owned()))) else {
            let absolute = own.contains(':') && of.is_none();
            let wrong = || Error::invalid(known.code, "this must be an id, Type/id or an absolute URL");
            return if absolute { Ok((self.points(known, own), None)) } else { Err(wrong()) };
        };
        let only = known.only.and_then(ResourceType::parse);
        let kinds: Vec<ResourceType> = [named, of, only].into_iter().flatten().collect();
        let mut pieces = self.points(known, &id);
        for kind in &kinds {
            pieces = pieces.into_iter().map(|piece| piece.test(Test::Is(kind.as_str().to_owned()))).collect();
        }
        let is_patient =
            kinds.contains(&ResourceType::Patient) && kinds.iter().all(|kind| *kind == ResourceType::Patient);
        let confines = is_patient && compartment::holds(self.kind, &known.elements(self.kind));
        Ok((pieces, confines.then_some(id)))
    }

    fn string(&self, known: &Parameter, modifier: Option<&str>, value: &str) -> Result<Vec<Piece>> {
        let key = text::fold(value);
        if key.is_empty() || value.chars().count() >= text::LENGTH {
            return Err(Error::invalid(known.code, "this must be a text of less than 200 characters"));
        }
        let numbers = known.numbers(self.kind).into_iter();
        Ok(match modifier {
            None => {
                // After all that begin so: a character that none can have next.
                let to = Key::Text([key.as_str(), super::MISSING].concat());
                let from = Key::Text(key);
                let piece = |parameter| Piece { parameter, from: from.clone(), to: to.clone(), tests: Vec::new() };
                numbers.map(piece).collect()
            }
            Some("exact") => {
                self.points(known, &key).into_iter().map(|piece| piece.test(Test::Is(value.to_owned()))).collect()
            }
            Some("contains") => numbers.map(|number| Piece::all(number).test(Test::KeyHolds(key.clone()))).collect(),
            Some(_) => {
                return Err(Error::invalid(known.code, "this modifier is not supported for this parameter"));
            }
        })
    }

    /// `[prefix]number`, `[prefix]number|system|code` or `[prefix]number||code`.
    fn quantity(&self, known: &Parameter, value: &str) -> Result<Vec<Piece>> {
        let parts: Vec<String> = split(value, '|').iter().map(|part| unescape(part)).collect();
        let (number, test) = match parts.as_slice() {
            [number] => (number, None),
            [number, system, code] if system.is_empty() => (number, Some(format!("|{code}|"))),
            [number, system, code] => (number, Some(format!("|{system}|{code}|"))),
            _ => return Err(Error::invalid(known.code, "this must be number, number|system|code or number||code")),
        };
        let (prefix, number) = prefixed(number);
        let wrong =
            || Error::invalid(known.code, "this must be a decimal, with or without eq, ne, gt, lt, ge, le or ap");
        let ranges = Decimal::parse(number).and_then(|decimal| decimal.ranges(prefix)).ok_or_else(wrong)?;
        let numbers = known.numbers(self.kind);
        let all = numbers.iter().flat_map(|parameter| ranges.iter().map(|range| (*parameter, range.clone())));
        let piece = |(parameter, (from, to))| {
            let tests = test.iter().cloned().map(Test::Holds).collect();
            Piece { parameter, from, to, tests }
        };
        Ok(all.map(piece).collect())
    }

    fn date(
        &mut self,
        asked: &mut Asked,
        code: &'static str,
        numbers: date::Numbers,
        single: bool,
        modifier: Option<&str>,
        value: &str,
    ) -> Result<()> {
        if modifier.is_some() {
            return Err(Error::invalid(code, "this modifier is not supported for this parameter"));
        }
        let wrong = || {
            let message = "this must be a date or time, with or without eq, ne, gt, lt, ge, le, sa, eb or ap";
            Error::invalid(code, message)
        };
        let mut pieces = Vec::new();
        for part in split(value, ',') {
            let (prefix, text) = prefixed(&part);
            let span = Span::parse(text).ok_or_else(wrong)?;
            pieces.extend(date::pieces(numbers, prefix, span, self.now).ok_or_else(wrong)?);
        }
        pieces.retain(|piece| piece.from < piece.to);
        let disjoint = !value.contains(',');
        let earlier = self.dates.iter_mut().find(|(other, _)| single && disjoint && *other == code);
        match earlier {
            Some((_, before)) => *before = date::both(numbers, before, &pieces),
            None if single && disjoint => self.dates.push((code, pieces)),
            None => asked.search.criteria.push(Criterion::Any(pieces)),
        }
        Ok(())
    }

    fn sort(&self, value: &str) -> Result<Vec<Sort>> {
        let rule = |text: &str| {
            let (down, code) = text.strip_prefix('-').map_or((false, text), |code| (true, code));
            let by = match code {
                "_id" => SortBy::Id,
                "_lastUpdated" => {
                    let numbers = vec![last_updated(self.kind)];
                    SortBy::Parameters { numbers, whole: true, single: true }
                }
                _ => {
                    let unknown = || Error::invalid("_sort", "this must be search parameters of the type, or _id");
                    let known = parameter(self.kind, code).ok_or_else(unknown)?;
                    let numbers = known.numbers(self.kind);
                    SortBy::Parameters { numbers, whole: known.is_whole(), single: known.single }
                }
            };
            Ok(Sort { by, down })
        };
        let rules = value.split(',').map(rule).collect::<Result<Vec<_>>>()?;
        if rules.len() > MOST_RULES {
            return Err(Error::invalid("_sort", "an order has three rules at most"));
        }
        Ok(rules)
    }
}

/// To the one system or type that the parameter finds.
fn restrict(known: &Parameter, piece: Piece) -> Piece {
    match known.only {
        Some(only) => piece.test(Test::Is(only.to_owned())),
        None => piece,
    }
}

/// A value's prefix and the rest; `eq` where it has none.
fn prefixed(text: &str) -> (&str, &str) {
    match text.split_at_checked(2) {
        Some((prefix, rest)) if prefix.bytes().all(|byte| byte.is_ascii_lowercase()) => (prefix, rest),
        _ => ("eq", text),
    }
}

/// Cuts `text` at `at` where no backslash stands before it; the backslashes stay (R4 section 3.1.1.4.0.2, Escaping).
fn split(text: &str, at: char) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut escaped = false;
    for each in text.chars() {
        if each == at && !escaped {
            parts.push(String::new());
        } else if let Some(last) = parts.last_mut() {
            last.push(each);
        }
        escaped = each == '\\' && !escaped;
    }
    parts
}

/// Without the backslashes that escape.
fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(each) = chars.next() {
        match each {
            '\\' => plain.extend(chars.next()),
            each => plain.push(each),
        }
    }
    plain
}
