//! The elements of every R4 type (from the StructureDefinitions of FHIR 4.0.1), out of `structure.txt`.
//!
//! `structure.txt` is generated (see `scripts/fhir/generate.mjs`). Its second line begins with `*` and lists the types of
//! an open choice. Every other line is one type, the lines in the order of their names' bytes:
//! `Name>Base field field ...`. A field is its name, `@` where it is a choice (`value[x]`), one of `?` 0..1, `!` 1..1,
//! `*` 0..*, `+` 1..*, and its type: a name, `.` for the backbone `Name.field`, several with `|` for a choice, `*` for the
//! open choice; after `=` the codes it takes.
//!
//! Invariant: the text is static and a test reads all of it, so every lookup here that could fail does not; where it did,
//! the element would count as unknown and be refused.

use std::sync::OnceLock;

use super::primitive::Primitive;

static TEXT: &str = include_str!("structure.txt");

/// A type of the table, as the number of its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TypeId(usize);

/// What an element holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Shape {
    Primitive(Primitive),
    /// A code of this list, which is separated by commas.
    Coded(&'static str),
    Complex(TypeId),
    /// A resource of any type.
    Resource,
    /// One of these types, separated by `|`, named in the member after the element's name.
    Choice(&'static str),
}

/// An element of a type.
#[derive(Debug)]
pub(super) struct Field {
    pub name: &'static str,
    pub shape: Shape,
    pub required: bool,
    pub list: bool,
}

struct Type {
    name: &'static str,
    base: &'static str,
    fields: &'static str,
    read: OnceLock<Box<[Field]>>,
}

/// The whole of R4. The fields of a type are read when the type is first met.
pub(super) struct Table {
    open: &'static str,
    types: Box<[Type]>,
    pub element: TypeId,
    pub reference: TypeId,
}

/// The table, made at the first call.
pub(super) fn table() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut lines = TEXT.lines().skip(1);
        let open = lines.next().and_then(|line| line.strip_prefix('*')).unwrap_or_default();
        let types = lines
            .map(|line| {
                let (head, fields) = line.split_once(' ').unwrap_or((line, ""));
                let (name, base) = head.split_once('>').unwrap_or((head, ""));
                Type { name, base, fields, read: OnceLock::new() }
            })
            .collect();
        let mut table = Table { open, types, element: TypeId(usize::MAX), reference: TypeId(usize::MAX) };
        table.element = table.find("Element").unwrap_or(table.element);
        table.reference = table.find("Reference").unwrap_or(table.reference);
        table
    })
}

impl Table {
    /// The complex type of this name.
    pub(super) fn find(&self, name: &str) -> Option<TypeId> {
        self.types.binary_search_by(|each| each.name.cmp(name)).ok().map(TypeId)
    }

    /// The elements of the type, inherited ones included, in the order of their names.
    pub(super) fn fields(&self, id: TypeId) -> &[Field] {
        let Some(found) = self.types.get(id.0) else { return &[] };
        found.read.get_or_init(|| {
            let mut fields = Vec::new();
            let mut next = Some(found);
            while let Some(each) = next {
                fields.extend(each.fields.split(' ').filter_map(|text| self.field(each.name, text)));
                next = self.find(each.base).and_then(|base| self.types.get(base.0));
            }
            fields.sort_unstable_by_key(|field| field.name);
            fields.into()
        })
    }

    /// The element that a member called `key` stands for: its place among the fields, itself, and what it holds there.
    pub(super) fn lookup(&self, fields: &'static [Field], key: &str) -> Option<(usize, &'static Field, Shape)> {
        if let Ok(index) = fields.binary_search_by(|field| field.name.cmp(key)) {
            let field = fields.get(index)?;
            return (!matches!(field.shape, Shape::Choice(_))).then_some((index, field, field.shape));
        }
        fields.iter().enumerate().find_map(|(index, field)| {
            let Shape::Choice(types) = field.shape else { return None };
            let suffix = key.strip_prefix(field.name)?;
            let name = types.split('|').find(|name| is_capitalised(suffix, name))?;
            Some((index, field, self.shape("", "", name)?))
        })
    }

    fn field(&self, holder: &str, text: &'static str) -> Option<Field> {
        let (name, rest) = text.split_at_checked(text.find(['@', '?', '!', '*', '+'])?)?;
        let choice = rest.strip_prefix('@');
        let mut rest = choice.unwrap_or(rest).chars();
        let (required, list) = match rest.next()? {
            '?' => (false, false),
            '!' => (true, false),
            '*' => (false, true),
            '+' => (true, true),
            _ => return None,
        };
        let shape = match (choice, rest.as_str()) {
            (Some(_), "*") => Shape::Choice(self.open),
            (Some(_), types) => Shape::Choice(types),
            (None, kind) => self.shape(holder, name, kind)?,
        };
        Some(Field { name, shape, required, list })
    }

    fn shape(&self, holder: &str, field: &str, kind: &'static str) -> Option<Shape> {
        if let Some((_, codes)) = kind.split_once('=') {
            return Some(Shape::Coded(codes));
        }
        Some(match kind {
            "." => Shape::Complex(self.find(&[holder, ".", field].concat())?),
            "Resource" => Shape::Resource,
            _ => match Primitive::from_name(kind) {
                Some(primitive) => Shape::Primitive(primitive),
                None => Shape::Complex(self.find(kind)?),
            },
        })
    }
}

/// Whether `suffix` is `name` with its first letter in upper case.
fn is_capitalised(suffix: &str, name: &str) -> bool {
    let (mut suffix, mut name) = (suffix.bytes(), name.bytes());
    suffix.next() == name.next().map(|byte| byte.to_ascii_uppercase()) && suffix.eq(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::ResourceType;

    #[test]
    fn every_line_is_read_whole() {
        let table = table();
        assert!(table.types.is_sorted_by(|a, b| a.name < b.name));
        let mut count = 0;
        for (index, each) in table.types.iter().enumerate() {
            assert!(each.base.is_empty() || table.find(each.base).is_some(), "{}", each.name);
            for text in each.fields.split(' ').filter(|text| !text.is_empty()) {
                let field = table.field(each.name, text).unwrap_or_else(|| panic!("{} {text}", each.name));
                if let Shape::Choice(types) = field.shape {
                    for name in types.split('|') {
                        assert!(table.shape("", "", name).is_some(), "{} {name}", each.name);
                    }
                }
            }
            let fields = table.fields(TypeId(index));
            assert!(fields.is_sorted_by(|a, b| a.name < b.name), "{}", each.name);
            assert!(fields.len() < 64, "check.rs counts them in 64 bits, json.rs allows 160 members");
            count += fields.len();
        }
        assert_eq!(table.types.len(), 662);
        println!("{count} elements");
        for kind in ResourceType::all() {
            assert!(table.find(kind.as_str()).is_some());
        }
    }

    #[test]
    fn a_choice_is_found_by_its_type() {
        let table = table();
        let fields = table.fields(table.find("Observation").unwrap());
        let quantity = table.lookup(fields, "valueQuantity").unwrap();
        assert_eq!((quantity.1.name, quantity.2), ("value", Shape::Complex(table.find("Quantity").unwrap())));
        assert_eq!(table.lookup(fields, "valueDateTime").unwrap().2, Shape::Primitive(Primitive::DateTime));
        for none in ["value", "valuequantity", "valueDatetime", "valueAddress", "value[x]", "nothing", ""] {
            assert!(table.lookup(fields, none).is_none(), "{none}");
        }
    }
}
