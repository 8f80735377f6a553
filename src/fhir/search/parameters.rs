//! The table of search parameters, generated from R4's own by `scripts/fhir/generate.mjs` into `parameters.txt`.
//!
//! A line is a type (`Resource` for all) and its parameters, each `code=KIND:paths&others|only^system`:
//! KIND is `t`oken, `r`eference, `s`tring, `d`ate, `q`uantity or `u`ri, with `1` where a resource has one value at most and `!`
//! where it says whether there is one; `paths` are members of the JSON; `others` are parameters whose values are its values
//! too; `only` is the one system or type that it finds of them; `system` the one that codes there are of, which have none
//! themselves.

use std::sync::OnceLock;

use super::super::ResourceType;
use crate::sorted::BTreeMap;

static TEXT: &str = include_str!("parameters.txt");

/// The type of a search parameter, of those that are known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ParameterKind {
    Token,
    Reference,
    String,
    Date,
    Quantity,
    Uri,
}

impl ParameterKind {
    /// Its code in `search-param-type`.
    pub fn as_str(self) -> &'static str {
        match self {
            ParameterKind::Token => "token",
            ParameterKind::Reference => "reference",
            ParameterKind::String => "string",
            ParameterKind::Date => "date",
            ParameterKind::Quantity => "quantity",
            ParameterKind::Uri => "uri",
        }
    }
}

/// A search parameter of a type.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// Its name in a query.
    pub code: &'static str,
    /// What kind of values it has.
    pub kind: ParameterKind,
    /// Whether a resource has one value at most.
    pub(super) single: bool,
    /// Whether its value is that there is one.
    pub(super) exists: bool,
    pub(super) paths: Vec<&'static str>,
    /// Parameters of the type whose values it has as well.
    pub(super) others: Vec<&'static str>,
    pub(super) only: Option<&'static str>,
    pub(super) system: Option<&'static str>,
}

fn list(text: &'static str) -> Vec<&'static str> {
    text.split(',').filter(|part| !part.is_empty()).collect()
}

fn read(text: &'static str) -> Option<Parameter> {
    let (code, rest) = text.split_once('=')?;
    let (rest, system) = rest.split_once('^').map_or((rest, None), |(rest, system)| (rest, Some(system)));
    let (rest, only) = rest.split_once('|').map_or((rest, None), |(rest, only)| (rest, Some(only)));
    let (rest, others) = rest.split_once('&').unwrap_or((rest, ""));
    let (letters, paths) = rest.split_once(':').unwrap_or((rest, ""));
    let kind = match letters.chars().next()? {
        't' => ParameterKind::Token,
        'r' => ParameterKind::Reference,
        's' => ParameterKind::String,
        'd' => ParameterKind::Date,
        'q' => ParameterKind::Quantity,
        'u' => ParameterKind::Uri,
        _ => return None,
    };
    // A parameter `patient` finds Patients, wherever the definition lets the element hold other things as well.
    let only = only.or((code == "patient").then_some("Patient"));
    Some(Parameter {
        code,
        kind,
        single: letters.ends_with('1'),
        exists: letters.ends_with('!'),
        paths: list(paths),
        others: list(others),
        only,
        system,
    })
}

/// The parameters of `kind` but for `_id` and `_lastUpdated`.
pub fn parameters_of(kind: ResourceType) -> &'static [Parameter] {
    static TABLE: OnceLock<BTreeMap<&'static str, Vec<Parameter>>> = OnceLock::new();
    let table = TABLE.get_or_init(|| {
        let line = |line: &'static str| {
            let mut words = line.split(' ');
            Some((words.next()?, words.filter_map(read).collect()))
        };
        let mut lines: BTreeMap<&str, Vec<Parameter>> =
            TEXT.lines().filter(|line| !line.starts_with('#')).filter_map(line).collect();
        let of_all = lines.remove("Resource").unwrap_or_default();
        for kind in ResourceType::all() {
            lines.entry(kind.as_str()).or_default().extend(of_all.iter().cloned());
        }
        lines
    });
    table.get(kind.as_str()).map(Vec::as_slice).unwrap_or_default()
}

/// The parameter `code` of `kind`.
pub(super) fn parameter(kind: ResourceType, code: &str) -> Option<&'static Parameter> {
    parameters_of(kind).iter().find(|parameter| parameter.code == code)
}

/// The number of the parameter `code` of `kind`, and of any name within a type: the first 32 bits of FNV-1a. A row of the index
/// takes five bytes for it instead of twenty, and it never moves; a test shows that no two of the table are alike.
pub(super) fn number(kind: ResourceType, code: &str) -> u32 {
    let hash = fnv(&[kind.as_str(), ".", code]);
    u32::try_from(hash & u64::from(u32::MAX)).unwrap_or(u32::MAX)
}

/// What stands for the table as it is: another one, another number.
pub fn table_number() -> u64 {
    fnv(&[TEXT]) & crate::time::MAX_SAFE
}

/// FNV-1a, 64 bits.
pub(super) fn fnv(parts: &[&str]) -> u64 {
    let bytes = parts.iter().flat_map(|part| part.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

impl Parameter {
    /// The numbers under which its values are kept.
    pub(super) fn numbers(&self, kind: ResourceType) -> Vec<u32> {
        let own = (!self.paths.is_empty()).then_some(self.code);
        own.into_iter().chain(self.others.iter().copied()).map(|code| number(kind, code)).collect()
    }

    /// Whether every resource of the type has a term of it, if only that there is no value.
    pub(super) fn is_whole(&self) -> bool {
        self.others.is_empty() && matches!(self.kind, ParameterKind::Date | ParameterKind::String)
    }

    /// The elements whose values it has, its own and those of the parameters that it is said by.
    pub(super) fn elements(&self, kind: ResourceType) -> Vec<&'static str> {
        let said = self.others.iter().filter_map(|code| parameter(kind, code));
        self.paths.iter().copied().chain(said.flat_map(|other| other.paths.iter().copied())).collect()
    }
}
