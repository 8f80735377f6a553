//! A resource of FHIR R4: the JSON of it, in order, known to have the structure of its type.
//!
//! Invariant: [`Resource::parse`] is the only way in, so a resource is well-formed and at most [`super::MAX_DEPTH`] deep;
//! the setters keep it so.

use std::fmt;

use super::check::check;
use super::json::{Json, Members, get, write_members};
use super::kind::ResourceType;
use super::outcome::{Invalid, Issue};
use super::primitive::is_valid_id;
use super::reference::is_plausible;
use super::structure::{Shape, TypeId, table};
use crate::error::Error;
use crate::time::UnixMillis;

/// A resource. `Debug` shows its type and nothing of what it says.
#[derive(Clone, PartialEq)]
pub struct Resource {
    kind: ResourceType,
    members: Members,
}

impl Resource {
    /// Reads a resource from its JSON (R4 section 2.6.2) and checks its structure: known elements, cardinalities, types of
    /// JSON, lexical forms and calendar, one type a choice, no empty array, object or string, the codes of a few bound
    /// elements.
    ///
    /// Not checked: other value sets, profiles, most invariants, whether references lead anywhere, XHTML.
    ///
    /// Malformed JSON is one issue with line and column; otherwise there are up to 20 issues, each with the FHIRPath of the
    /// element at fault. No issue holds a value of `body`.
    pub fn parse(body: &[u8]) -> Result<Resource, Invalid> {
        let json = Json::parse(body).map_err(|fault| {
            let text = format!("malformed JSON at line {}, column {}: {}", fault.line, fault.column, fault.what);
            Invalid(vec![Issue::error("structure", text)])
        })?;
        Resource::from_json(json)
    }

    /// As [`Resource::parse`], of a tree that is already read, such as the resource of a Bundle's entry.
    pub fn from_json(json: Json) -> Result<Resource, Invalid> {
        match json {
            Json::Object(members) => Ok(Resource { kind: check(&members)?, members }),
            _ => Err(Invalid(vec![Issue::error("structure", "a resource is a JSON object")])),
        }
    }

    /// The type.
    pub fn kind(&self) -> ResourceType {
        self.kind
    }

    /// `Resource.id`.
    pub fn id(&self) -> Option<&str> {
        get(&self.members, "id").and_then(Json::as_str)
    }

    /// `Resource.meta.versionId`.
    pub fn version(&self) -> Option<&str> {
        self.str_at(&["meta", "versionId"])
    }

    /// Sets `id`, right after `resourceType`. Answers false, and changes nothing, where `id` is not a valid one.
    #[must_use]
    pub fn set_id(&mut self, id: &str) -> bool {
        let valid = is_valid_id(id);
        if valid {
            self.lead(Some(Json::String(id.into())), None);
        }
        valid
    }

    /// Sets `meta.versionId` and `meta.lastUpdated`, keeps the rest of `meta` (profile, tag, security, ...), and puts
    /// `meta` right after `id`.
    pub fn set_meta(&mut self, version: u64, at: UnixMillis) {
        let mut meta: Members = vec![
            ("versionId".into(), Json::String(version.to_string().into())),
            ("lastUpdated".into(), Json::String(at.to_rfc3339().into())),
        ];
        if let Some(Json::Object(old)) = get(&self.members, "meta") {
            let ours = |name: &str| matches!(name.trim_start_matches('_'), "versionId" | "lastUpdated");
            meta.extend(old.iter().filter(|(name, _)| !ours(name)).cloned());
        }
        self.lead(None, Some(Json::Object(meta)));
    }

    /// Sets the member `name` of the resource itself, such as `status`, to a string. The caller sees to it that the type has
    /// such an element and that `text` is one of its values.
    pub fn set_text(&mut self, name: &str, text: &str) {
        let value = Json::String(text.into());
        match self.members.iter_mut().find(|(found, _)| &**found == name) {
            Some((_, old)) => *old = value,
            None => self.members.push((name.into(), value)),
        }
    }

    /// Sets the member `name` of the resource itself to this JSON, in its place or at the end. The caller sees to it that the
    /// type has such an element and that it is one.
    pub fn set(&mut self, name: &str, json: &str) -> Result<(), Error> {
        let value = Json::parse(json.as_bytes()).map_err(|_| Error::internal("an element was not written as JSON"))?;
        match self.members.iter_mut().find(|(found, _)| &**found == name) {
            Some((_, old)) => *old = value,
            None => self.members.push((name.into(), value)),
        }
        Ok(())
    }

    /// Puts `resourceType`, `id` and `meta` first, the latter two as given or as they were.
    fn lead(&mut self, id: Option<Json>, meta: Option<Json>) {
        let old = std::mem::take(&mut self.members);
        let kind = Json::String(self.kind.as_str().into());
        let (mut was_id, mut was_meta, mut rest) = (None, None, Members::with_capacity(old.len()));
        for (name, value) in old {
            match &*name {
                "resourceType" => {}
                "id" => was_id = Some(value),
                "meta" => was_meta = Some(value),
                _ => rest.push((name, value)),
            }
        }
        self.members.push(("resourceType".into(), kind));
        self.members.extend(id.or(was_id).map(|value| ("id".into(), value)));
        self.members.extend(meta.or(was_meta).map(|value| ("meta".into(), value)));
        self.members.append(&mut rest);
    }

    /// Calls `change` with every `Reference.reference` in the resource, those of contained resources, of extensions and of a
    /// Bundle's entries included, and puts what it answers in its place; what could be no reference is not put there.
    pub fn map_references(&mut self, change: &mut dyn FnMut(&str) -> Option<String>) {
        map_references(&mut self.members, table().find(self.kind.as_str()), change);
    }

    /// Compact JSON, elements and decimals as they were read.
    pub fn to_json(&self) -> String {
        let mut out = String::with_capacity(1024);
        write_members(&self.members, &mut out);
        out
    }

    /// Every value at `path`, in document order, arrays gone through: `["name", "given"]` gives all given names. A path names
    /// members of the JSON, so a choice is `valueQuantity`.
    pub fn values_at(&self, path: &[&str]) -> impl Iterator<Item = &Json> {
        let mut found = Vec::new();
        self.visit(path, &mut |json| {
            found.push(json);
            false
        });
        found.into_iter()
    }

    /// Every string at `path`, as [`Resource::values_at`] goes.
    pub fn strs_at(&self, path: &[&str]) -> impl Iterator<Item = &str> {
        self.values_at(path).filter_map(Json::as_str)
    }

    /// The first string at `path`, as [`Resource::values_at`] goes.
    pub fn str_at(&self, path: &[&str]) -> Option<&str> {
        let mut found = None;
        self.visit(path, &mut |json| {
            found = json.as_str();
            found.is_some()
        });
        found
    }

    /// The first number at `path`, as it was written.
    pub fn number_at(&self, path: &[&str]) -> Option<&str> {
        let mut found = None;
        self.visit(path, &mut |json| match json {
            Json::Number(text) => {
                found = Some(&**text);
                true
            }
            _ => false,
        });
        found
    }

    fn visit<'a>(&'a self, path: &[&str], found: &mut dyn FnMut(&'a Json) -> bool) -> bool {
        path.split_first()
            .and_then(|(name, rest)| Some((get(&self.members, name)?, rest)))
            .is_some_and(|(next, rest)| next.visit(rest, found))
    }
}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resource").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// By type, not by name: `reference` is a uri in DetectedIssue and in Expression.
fn map_references(members: &mut Members, id: Option<TypeId>, change: &mut dyn FnMut(&str) -> Option<String>) {
    let named = get(members, "resourceType").and_then(Json::as_str);
    let Some(id) = id.or_else(|| named.and_then(|name| table().find(name))) else { return };
    let fields = table().fields(id);
    for (name, value) in members {
        if id == table().reference
            && &**name == "reference"
            && let Json::String(text) = value
        {
            if let Some(new) = change(text).filter(|new| is_plausible(new)) {
                *text = new.into();
            }
            continue;
        }
        let next = match table().lookup(fields, name.strip_prefix('_').unwrap_or(name)) {
            Some((_, _, Shape::Complex(next))) => Some(next),
            Some((_, _, Shape::Resource)) => None,
            // The extensions of a primitive.
            Some(_) => Some(table().element),
            None => continue,
        };
        let items = match value {
            Json::Array(items) => items.as_mut_slice(),
            value => std::slice::from_mut(value),
        };
        for item in items {
            if let Json::Object(members) = item {
                map_references(members, next, change);
            }
        }
    }
}

#[cfg(test)]
#[path = "resource_tests.rs"]
mod tests;
