//! What a view is called: within its patient by what was asked, and outside by a keyed hash.
//!
//! Invariant: outside of the program a name shows neither the patient nor what was asked. The same request has the same
//! name, whatever the order of its parameters; requests that could be answered differently have different names.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::error::{Error, Result};
use crate::store::Shard;
use crate::store::bytes::Name;

/// The keyed hash of `parts`, which are kept apart by their lengths, as text of 43 characters.
fn hash(key: &[u8], parts: &[&str]) -> Result<String> {
    let unusable = |_| Error::internal("the key of the cache's names cannot be used");
    let mut mac = Hmac::<Sha256>::new_from_slice(key).map_err(unusable)?;
    for part in parts {
        mac.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        mac.update(part.as_bytes());
    }
    Ok(URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

/// The name of the view `view` of `patient`.
pub fn name(key: &[u8], patient: &str, view: &str) -> Result<Name> {
    let hashed = hash(key, &["view", patient, view])?;
    Ok(Name { shard: Shard::of(&hashed), key: format!("chart/{hashed}") })
}

/// The opaque part of the entity tag that the view called `name` has at `tag`, where no resource's version is it.
pub fn entity_tag(key: &[u8], name: &Name, tag: &str) -> Result<String> {
    let hashed = hash(key, &["etag", &name.key, tag])?;
    Ok(hashed.get(..22).unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cached views are found by these names; if this test fails every deployment begins with an empty cache.
    #[test]
    fn names_are_pinned_and_show_nothing() {
        let name = name(&[7; 32], "patient-1", "Patient/patient-1").unwrap();
        assert_eq!(name.key, "chart/RzVqe6ktgoTwyMAijs38KT-MBaKhAybyaTKjINnvs9c");
        assert!(!name.key.contains("patient"));
    }

    #[test]
    fn parts_are_kept_apart() {
        let of = |patient, view| name(&[7; 32], patient, view).unwrap().key;
        assert_ne!(of("ab", "c"), of("a", "bc"));
        assert_ne!(of("a", "b"), name(&[8; 32], "a", "b").unwrap().key);
    }
}
