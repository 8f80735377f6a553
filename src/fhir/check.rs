//! Whether a tree of JSON has the structure of a FHIR R4 resource (section 2.6.2, JSON representation; 2.1.27 for `Resource`
//! and `Element`).
//!
//! Invariant: an issue holds element names of the R4 tables, positions in lists, sentences of this source, and of the
//! input at most one unknown member's name, if that looks like a name.

use super::json::{Json, Members, get};
use super::kind::ResourceType;
use super::outcome::{Invalid, Issue};
use super::primitive::{Primitive, Wrong};
use super::reference::is_plausible;
use super::structure::{Field, Shape, Table, TypeId, table};

/// No more issues than this are told at once.
const MAX_ISSUES: usize = 20;

/// The resource type of `members`, if they have the structure of a resource of R4.
pub(super) fn check(members: &Members) -> Result<ResourceType, Invalid> {
    let mut walk = Walk { table: table(), path: Vec::new(), issues: Vec::new() };
    match walk.resource(members, false) {
        Some(kind) if walk.issues.is_empty() => Ok(kind),
        _ => Err(Invalid(walk.issues)),
    }
}

enum Step<'a> {
    Name(&'a str),
    Index(usize),
}

struct Walk<'a> {
    table: &'static Table,
    path: Vec<Step<'a>>,
    issues: Vec<Issue>,
}

impl<'a> Walk<'a> {
    /// Notes an issue at the present path, or at `more` below it.
    fn issue(&mut self, more: Option<&str>, code: &'static str, diagnostics: &'static str) {
        if self.issues.len() >= MAX_ISSUES {
            return;
        }
        let mut expression = String::new();
        for step in &self.path {
            match step {
                Step::Name(name) if expression.is_empty() => expression.push_str(name),
                Step::Name(name) => expression.extend([".", name]),
                Step::Index(index) => expression.push_str(&format!("[{index}]")),
            }
        }
        if let Some(name) = more {
            expression.push_str(if expression.is_empty() { "" } else { "." });
            expression.push_str(name);
        }
        let expression = Some(expression).filter(|text| !text.is_empty());
        self.issues.push(Issue { expression, ..Issue::error(code, diagnostics) });
    }

    fn within(&mut self, step: Step<'a>, go: impl FnOnce(&mut Self)) {
        self.path.push(step);
        go(self);
        self.path.pop();
    }

    fn resource(&mut self, members: &'a Members, contained: bool) -> Option<ResourceType> {
        let named = match get(members, "resourceType") {
            Some(Json::String(name)) => name,
            Some(_) => {
                self.issue(Some("resourceType"), "structure", "resourceType takes a string");
                return None;
            }
            None => {
                self.issue(Some("resourceType"), "structure", "a resource needs a resourceType");
                return None;
            }
        };
        let found = ResourceType::parse(named).and_then(|kind| Some((kind, self.table.find(kind.as_str())?)));
        let Some((kind, id)) = found else {
            self.issue(Some("resourceType"), "structure", "not a resource type of FHIR R4");
            return None;
        };
        let root = self.path.is_empty();
        if root {
            self.path.push(Step::Name(kind.as_str()));
        }
        self.complex(members, id, Holder::Resource { contained });
        if root {
            self.path.pop();
        }
        Some(kind)
    }

    fn complex(&mut self, members: &'a Members, id: TypeId, holder: Holder) {
        let fields = self.table.fields(id);
        let resource = matches!(holder, Holder::Resource { .. });
        let underscored = members.iter().any(|(key, _)| key.starts_with('_'));
        // Bit i is set once field i was met; a choice under two names is met twice.
        let mut met = 0_u64;
        for (key, value) in members {
            if self.issues.len() >= MAX_ISSUES {
                return;
            }
            if resource && &**key == "resourceType" {
                continue;
            }
            let (companion, name) = key.strip_prefix('_').map_or((false, &**key), |name| (true, name));
            let found = self.table.lookup(fields, name);
            let Some((index, field, shape)) = found.filter(|(_, _, shape)| !companion || has_companion(*shape)) else {
                self.issue(Some(key).filter(|key| is_name(key)).map(|key| &**key), "structure", "unknown element");
                continue;
            };
            let (value, other) = match (companion, underscored) {
                // Seen to together with the member it accompanies.
                (true, _) if get(members, name).is_some() => continue,
                (true, _) => (None, Some(value)),
                (false, true) if has_companion(shape) => (Some(value), companion_of(members, name)),
                (false, _) => (Some(value), None),
            };
            let bit = 1_u64.checked_shl(u32::try_from(index).unwrap_or(u32::MAX)).unwrap_or(0);
            if met & bit != 0 {
                self.issue(Some(field.name), "structure", "this element takes one type only");
            }
            met |= bit;
            let contained = matches!(holder, Holder::Resource { contained: true });
            if contained && field.name == "contained" {
                self.issue(Some("contained"), "invariant", "a contained resource contains no others (dom-2)");
                continue;
            }
            let place = Place { field, shape, contained: resource && field.name == "contained" };
            self.within(Step::Name(field.name), |walk| walk.element(place, value, other));
        }
        for (index, field) in fields.iter().enumerate() {
            if field.required && met.checked_shr(u32::try_from(index).unwrap_or(u32::MAX)).unwrap_or(0) & 1 == 0 {
                self.issue(Some(field.name), "required", "this element is required");
            }
        }
        if !resource && holder != Holder::Companion && members.iter().all(|(key, _)| &**key == "id") {
            self.issue(None, "invariant", "an element has a value or children (ele-1)");
        }
        if id == self.table.reference
            && let Some(Json::String(text)) = get(members, "reference")
            && !text.is_empty()
            && !is_plausible(text)
        {
            let what = "a reference is Type/id, Type?query, #id or an absolute URL";
            self.issue(Some("reference"), "value", what);
        }
    }

    fn element(&mut self, place: Place, value: Option<&'a Json>, companion: Option<&'a Json>) {
        if !place.field.list {
            return self.single(place, value, companion);
        }
        let (mut count, mut whole) = (0, true);
        for json in [value, companion].into_iter().flatten() {
            match json {
                Json::Array(items) => count = count.max(items.len()),
                _ => whole = false,
            }
        }
        if !whole {
            return self.issue(None, "structure", "this element takes an array");
        }
        if count == 0 {
            return self.issue(None, "structure", "an array may not be empty");
        }
        for index in 0..count {
            if self.issues.len() >= MAX_ISSUES {
                return;
            }
            // null stands for the half that is missing, in arrays of primitives only.
            let part = |json: Option<&'a Json>| json.and_then(|json| json.items().get(index));
            let half = |json| part(json).filter(|json| !(has_companion(place.shape) && matches!(json, Json::Null)));
            self.within(Step::Index(index), |walk| walk.single(place, half(value), half(companion)));
        }
    }

    fn single(&mut self, place: Place, value: Option<&'a Json>, companion: Option<&'a Json>) {
        match (place.shape, value) {
            (_, None) if companion.is_none() => {
                return self.issue(None, "structure", "null without an extension in its place");
            }
            (_, Some(Json::Null)) => return self.issue(None, "structure", "null is not a value"),
            (_, Some(Json::Array(_))) => return self.issue(None, "structure", "this element takes no array"),
            (Shape::Complex(id), Some(Json::Object(members))) => self.complex(members, id, Holder::Element),
            (Shape::Resource, Some(Json::Object(members))) => {
                self.resource(members, place.contained);
            }
            (Shape::Complex(_) | Shape::Resource | Shape::Choice(_), _) => {
                return self.issue(None, "structure", "this element takes an object");
            }
            (Shape::Primitive(primitive), Some(value)) => self.primitive(primitive, value),
            (Shape::Coded(codes), Some(Json::String(code))) if codes.split(',').any(|each| each == &**code) => {}
            (Shape::Coded(_), Some(value)) => {
                let before = self.issues.len();
                self.primitive(Primitive::Code, value);
                if self.issues.len() == before {
                    self.issue(None, "code-invalid", "not a code of the value set that this element is bound to");
                }
            }
            (Shape::Primitive(_) | Shape::Coded(_), None) => {}
        }
        match companion {
            None => {}
            Some(Json::Object(members)) => {
                let holder = if value.is_some() { Holder::Companion } else { Holder::Element };
                self.complex(members, self.table.element, holder);
            }
            Some(_) => self.issue(None, "structure", "the member with the underscore takes an object"),
        }
    }

    fn primitive(&mut self, primitive: Primitive, value: &Json) {
        match primitive.check(value) {
            Ok(()) => {}
            Err(Wrong::Type(what)) => self.issue(None, "structure", what),
            Err(Wrong::Form(what)) => self.issue(None, "value", what),
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Holder {
    Resource {
        contained: bool,
    },
    Element,
    /// The id and extensions of a primitive that has a value.
    Companion,
}

#[derive(Clone, Copy)]
struct Place {
    field: &'static Field,
    shape: Shape,
    contained: bool,
}

/// Whether `_name` may stand beside `name`.
fn has_companion(shape: Shape) -> bool {
    matches!(shape, Shape::Primitive(_) | Shape::Coded(_))
}

fn companion_of<'a>(members: &'a Members, name: &str) -> Option<&'a Json> {
    members.iter().find(|(key, _)| key.strip_prefix('_') == Some(name)).map(|(_, value)| value)
}

/// Whether an unknown member's name may be told: at most 64 of `[A-Za-z0-9_]`, no digit first.
fn is_name(key: &str) -> bool {
    key.len() <= 64
        && key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
