//! The resource types of FHIR R4 (section 2.1, Resource List).
//!
//! Invariant: `ALL` and `NAMES` are in the order of the variants, which is that of the bytes of the names.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

macro_rules! kinds {
    ($($name:ident)*) => {
        /// A resource type of FHIR R4 (section 2.1, Resource List); each variant is spelled as the type is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs)]
        pub enum ResourceType { $($name),* }

        static ALL: &[ResourceType] = &[$(ResourceType::$name),*];
        static NAMES: &[&str] = &[$(stringify!($name)),*];
    };
}

include!("kinds.rs");

impl ResourceType {
    /// The name, as `resourceType` and URLs spell it.
    pub fn as_str(self) -> &'static str {
        NAMES.get(self as usize).copied().unwrap_or_default()
    }

    /// The type of this name; `None` where R4 has none (case matters; the abstract `Resource` and `DomainResource` are
    /// none).
    pub fn parse(name: &str) -> Option<Self> {
        let index = NAMES.binary_search(&name).ok()?;
        ALL.get(index).copied()
    }

    /// Every type of R4, by name.
    pub fn all() -> impl Iterator<Item = ResourceType> {
        ALL.iter().copied()
    }
}

impl fmt::Display for ResourceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for ResourceType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ResourceType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = std::borrow::Cow::<str>::deserialize(deserializer)?;
        ResourceType::parse(&name).ok_or_else(|| D::Error::custom("not a resource type of FHIR R4"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_variants_agree() {
        assert_eq!(ALL.len(), 146);
        assert!(NAMES.is_sorted());
        for kind in ResourceType::all() {
            assert_eq!(ResourceType::parse(kind.as_str()), Some(kind));
        }
        assert_eq!(ResourceType::Patient.as_str(), "Patient");
        for none in ["", "patient", "Resource", "DomainResource", "Patient ", "Foo"] {
            assert_eq!(ResourceType::parse(none), None);
        }
    }

    #[test]
    fn serde_uses_the_name() {
        assert_eq!(serde_json::to_string(&ResourceType::Slot).unwrap(), "\"Slot\"");
        assert_eq!(serde_json::from_str::<ResourceType>("\"Slot\"").unwrap(), ResourceType::Slot);
        assert!(serde_json::from_str::<ResourceType>("\"Slots\"").is_err());
    }
}
