//! What a resource can be found by.

use serde::{Deserialize, Serialize};

use super::super::json::{Json, push_json_string};
use super::super::{Resource, ResourceType, relative};
use super::date::{Numbers, Span, instant};
use super::parameters::{Parameter, ParameterKind, fnv, number, parameters_of};
use super::{Key, Term, quantity, text};
use crate::sorted::BTreeSet;
use crate::time::UnixMillis;

/// The number under which every record of `kind` stands, with an empty key.
pub fn member(kind: ResourceType) -> u32 {
    number(kind, "")
}

/// The number under which is kept when a record of `kind` was written.
pub(super) fn last_updated(kind: ResourceType) -> u32 {
    number(kind, "_lastUpdated")
}

/// What stands in the index for the compartment of `patient`, 52 bits of a hash; 0 stands for none. Two patients that are alike
/// make a search look at more, not find more: the criteria and the reach of the reader are held against the record itself.
pub fn owner_number(patient: &str) -> u64 {
    (fnv(&[patient]) >> 12).max(1)
}

/// The numbers of a date parameter.
pub(super) fn date_numbers(kind: ResourceType, code: &str) -> Numbers {
    Numbers { all: number(kind, code), wide: number(kind, &[code, "~"].concat()) }
}

/// What a resource can be found by, as JSON that waits for the instant of the write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Arrays of arrays `[parameter, key, more]`, each once.
    lists: Vec<String>,
    last_updated: u32,
}

/// A list ends with the term that makes it longer than this: it is a parameter of a statement, at most 2 MB.
const LIST: usize = 256 * 1_024;

impl Terms {
    /// The lists for a record that is written at `at`.
    pub fn stamped(&self, at: UnixMillis) -> Vec<String> {
        let at = instant(at);
        let mut lists = self.lists.clone();
        let last = format!("[{},{at},{at}]", self.last_updated);
        if let Some(list) = lists.last_mut() {
            list.pop();
            list.extend([",", &last, "]"]);
        }
        lists
    }
}

/// What `resource` can be found by.
pub fn terms(resource: &Resource) -> Terms {
    let kind = resource.kind();
    let mut found = BTreeSet::new();
    found.insert(Term { parameter: member(kind), key: empty(), more: empty() });
    for parameter in parameters_of(kind).iter().filter(|parameter| !parameter.paths.is_empty()) {
        let before = found.len();
        collect(resource, parameter, &mut found);
        if found.len() == before && parameter.is_whole() {
            let more = if parameter.kind == ParameterKind::Date { Key::Number(0) } else { empty() };
            found.insert(Term { parameter: number(kind, parameter.code), key: Key::missing(), more });
        }
    }
    let mut lists = vec![String::new()];
    for term in &found {
        if lists.last().is_some_and(|list| list.len() > LIST) {
            lists.push(String::new());
        }
        let Some(out) = lists.last_mut() else { continue };
        out.push_str(if out.is_empty() { "[[" } else { ",[" });
        out.push_str(&term.parameter.to_string());
        for key in [&term.key, &term.more] {
            out.push(',');
            match key {
                Key::Number(number) => out.push_str(&number.to_string()),
                Key::Text(text) => push_json_string(out, text),
            }
        }
        out.push(']');
    }
    lists.iter_mut().for_each(|list| list.push(']'));
    Terms { lists, last_updated: last_updated(kind) }
}

fn empty() -> Key {
    Key::Text(String::new())
}

fn collect(resource: &Resource, parameter: &Parameter, found: &mut BTreeSet<Term>) {
    let kind = resource.kind();
    let own = number(kind, parameter.code);
    let mut exists = false;
    let mut rows: Vec<(Key, Key)> = Vec::new();
    let mut add = |key: &str, more: &str| rows.push((Key::Text(key.to_owned()), Key::Text(more.to_owned())));
    let paths = parameter.paths.iter().map(|path| path.split('.').collect::<Vec<_>>());
    let values: Vec<&Json> = paths.flat_map(|path| resource.values_at(&path).collect::<Vec<_>>()).collect();
    for value in values {
        match parameter.kind {
            ParameterKind::Token if parameter.exists => exists |= *value != Json::Bool(false),
            ParameterKind::Token => token(value, &mut add),
            ParameterKind::Reference => {
                let text = value.as_str().or_else(|| value.get("reference").and_then(Json::as_str));
                let Some(text) = text.filter(|text| !text.starts_with('#')) else { continue };
                match relative(text) {
                    Some(to) => add(to.id, to.kind.as_str()),
                    None => add(text, ""),
                }
            }
            ParameterKind::Uri => value.as_str().into_iter().for_each(|text| add(text, "")),
            ParameterKind::String => {
                let texts = value.as_str().map(|text| (text::fold(text), text::head(text)));
                texts.filter(|(key, _)| !key.is_empty()).into_iter().for_each(|(key, text)| add(&key, text));
            }
            ParameterKind::Quantity => {
                let at = |name| value.get(name).and_then(Json::as_str).unwrap_or_default();
                let key = value.get("value").and_then(Json::as_number).and_then(quantity::key);
                let Some(key) = key else { continue };
                add(&key, &["|", at("system"), "|", at("code"), "|", at("unit"), "|"].concat());
            }
            ParameterKind::Date => {
                let Some(span) = Span::of(value) else { continue };
                let Numbers { all, wide } = date_numbers(kind, parameter.code);
                let numbers = [all].into_iter().chain(span.is_wide().then_some(wide));
                let (key, more) = (Key::Number(span.low), Key::Number(span.high));
                found.extend(numbers.map(|parameter| Term { parameter, key: key.clone(), more: more.clone() }));
            }
        }
    }
    if parameter.exists {
        add(if exists { "true" } else { "false" }, "");
    }
    found.extend(rows.into_iter().map(|(key, more)| Term { parameter: own, key, more }));
}

/// A code, a CodeableConcept's codings, an Identifier or ContactPoint, true or false (R4 section 3.1.1.4.10).
fn token(value: &Json, add: &mut impl FnMut(&str, &str)) {
    let at = |name| value.get(name).and_then(Json::as_str);
    match value {
        Json::String(code) => add(code, ""),
        Json::Bool(truth) => add(if *truth { "true" } else { "false" }, ""),
        Json::Object(_) => match value.get("coding") {
            Some(codings) => codings.items().iter().for_each(|coding| token(coding, add)),
            None => at("code")
                .or_else(|| at("value"))
                .into_iter()
                .for_each(|code| add(code, at("system").unwrap_or_default())),
        },
        _ => {}
    }
}
