//! Sealed entries: what anybody who runs the cache may see of a view, which is nothing.
//!
//! Invariant: an entry opens only under the patient's salt, a master key that is still listed, its own name, and the
//! generations and lifetime that stand before it. Format, pinned by a test: one byte, the length of the header, the header
//! in postcard, AES-256-GCM (NIST SP 800-38D) of the compressed view in postcard; the bytes before the ciphertext and the
//! name are authenticated. The key is HKDF-SHA-256 (RFC 5869) of the master key and the patient's salt.

use std::future::Future;

use hkdf::Hkdf;
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::life::Life;
use crate::config::cache::Master;
use crate::error::{Error, Result};
use crate::store::bytes::Name;
use crate::time::{Entropy, UnixMillis};

/// The first byte of every entry.
const FORMAT: u8 = 1;
/// What the keys are derived for.
const PURPOSE: &[u8] = b"bedside cache entry 1";

/// AES-256-GCM.
pub trait Cipher {
    /// `plain` sealed under `key` and a `nonce` that is used once; `bound` is authenticated with it.
    fn seal(
        &self,
        key: &[u8; 32],
        nonce: &[u8; 12],
        bound: &[u8],
        plain: &[u8],
    ) -> impl Future<Output = Result<Vec<u8>>>;

    /// What was sealed; `None` where anything differs from what it was sealed with.
    fn open(
        &self,
        key: &[u8; 32],
        nonce: &[u8; 12],
        bound: &[u8],
        sealed: &[u8],
    ) -> impl Future<Output = Option<Vec<u8>>>;
}

/// A view, opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The generations it was read at.
    pub tag: String,
    /// How long it lives.
    pub life: Life,
    /// Of a view that is one resource: its version, and when that was written.
    pub version: Option<(u64, UnixMillis)>,
    /// The JSON.
    pub body: String,
}

/// What stands before the ciphertext.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    master: String,
    nonce: [u8; 12],
    tag: String,
    life: Life,
}

#[derive(Serialize)]
struct Plain<'a> {
    version: Option<(u64, UnixMillis)>,
    body: &'a str,
}

#[derive(Deserialize)]
struct Opened {
    version: Option<(u64, UnixMillis)>,
    body: String,
}

fn key(master: &Master, salt: &str) -> Result<[u8; 32]> {
    let mut key = [0; 32];
    let derived = Hkdf::<Sha256>::new(Some(salt.as_bytes()), &master.key).expand(PURPOSE, &mut key);
    derived.map_err(|_| Error::internal("the key of an entry could not be derived"))?;
    Ok(key)
}

fn bound(name: &Name, before: &[u8]) -> Vec<u8> {
    [before, name.key.as_bytes()].concat()
}

/// The entry of `view` under `name`, sealed by the first of `masters`.
pub async fn seal(
    ports: &(impl Cipher + Entropy),
    masters: &[Master],
    salt: &str,
    name: &Name,
    view: &View,
) -> Result<Vec<u8>> {
    let unwritable = |_| Error::internal("a view could not be written");
    let master = masters.first().ok_or_else(|| Error::internal("there is no key to seal views with"))?;
    let mut nonce = [0; 12];
    ports.fill(&mut nonce);
    let header = Header { master: master.id.clone(), nonce, tag: view.tag.clone(), life: view.life };
    let header = postcard::to_allocvec(&header).map_err(unwritable)?;
    let length = u16::try_from(header.len()).map_err(|_| Error::internal("an entry's header is too long"))?;
    let plain = postcard::to_allocvec(&Plain { version: view.version, body: &view.body }).map_err(unwritable)?;
    let plain = lz4_flex::compress_prepend_size(&plain);
    let mut entry = vec![FORMAT];
    entry.extend(length.to_be_bytes());
    entry.extend(header);
    let sealed = ports.seal(&key(master, salt)?, &nonce, &bound(name, &entry), &plain).await?;
    entry.extend(sealed);
    Ok(entry)
}

/// What an entry is, by its header.
#[derive(Debug)]
pub enum Kept<'a> {
    /// Of another generation, or of another format.
    Other,
    /// Of the wanted generations; [`Sealed::open`] opens it.
    Current(Sealed<'a>),
}

/// An entry that has not been opened.
#[derive(Debug)]
pub struct Sealed<'a> {
    header: Header,
    before: &'a [u8],
    sealed: &'a [u8],
}

/// Reads the header of `entry` and compares its generations with `tag`.
pub fn judge<'a>(entry: &'a [u8], tag: &str) -> Kept<'a> {
    let parse = || {
        let (before, rest) = entry.split_at_checked(3)?;
        let [format, high, low] = *before else { return None };
        let (header, sealed) = rest.split_at_checked(usize::from(u16::from_be_bytes([high, low])))?;
        let before = entry.get(..before.len().checked_add(header.len())?)?;
        let header: Header = if format == FORMAT { postcard::from_bytes(header).ok()? } else { return None };
        Some(Sealed { header, before, sealed })
    };
    match parse() {
        Some(sealed) if sealed.header.tag == tag => Kept::Current(sealed),
        _ => Kept::Other,
    }
}

impl Sealed<'_> {
    /// Opens it; `None` where it cannot be: its master key is listed no more, the salt is another, or it was tampered with.
    pub async fn open(self, cipher: &impl Cipher, masters: &[Master], salt: &str, name: &Name) -> Option<View> {
        let master = masters.iter().find(|master| master.id == self.header.master)?;
        let key = key(master, salt).ok()?;
        let plain = cipher.open(&key, &self.header.nonce, &bound(name, self.before), self.sealed).await?;
        let plain = lz4_flex::decompress_size_prepended(&plain).ok()?;
        let Opened { version, body } = postcard::from_bytes(&plain).ok()?;
        Some(View { tag: self.header.tag, life: self.header.life, version, body })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Shard;
    use crate::testing::{SoftCipher, block_on};
    use crate::time::Ttl;

    fn master(id: &str, byte: u8) -> Master {
        Master { id: id.into(), key: [byte; 32] }
    }

    fn name(key: &str) -> Name {
        Name { shard: Shard::of(key), key: key.into() }
    }

    fn view() -> View {
        let life = Life { filled: UnixMillis(1_000), took: Ttl(7), fresh_until: UnixMillis(9_000) };
        let body = r#"{"resourceType":"Patient","name":[{"family":"Quillfeather"}]}"#.to_owned();
        View { tag: "g1.s1".into(), life, version: Some((3, UnixMillis(900))), body }
    }

    async fn open(entry: &[u8], tag: &str, masters: &[Master], salt: &str, of: &str) -> Option<View> {
        match judge(entry, tag) {
            Kept::Current(sealed) => sealed.open(&SoftCipher::new(1), masters, salt, &name(of)).await,
            Kept::Other => None,
        }
    }

    #[test]
    fn an_entry_opens_with_all_that_it_was_sealed_with_and_with_nothing_else() {
        block_on(async {
            let (old, new) = (master("a", 1), master("b", 2));
            let entry =
                seal(&SoftCipher::new(1), std::slice::from_ref(&old), "salt", &name("n"), &view()).await.unwrap();
            assert_eq!(open(&entry, "g1.s1", std::slice::from_ref(&old), "salt", "n").await, Some(view()));
            let rotated = [new.clone(), old.clone()];
            assert_eq!(open(&entry, "g1.s1", &rotated, "salt", "n").await, Some(view()), "rotation flushes nothing");
            let refused = [
                open(&entry, "g2.s1", &rotated, "salt", "n").await,
                open(&entry, "g1.s1", &[new], "salt", "n").await,
                open(&entry, "g1.s1", &[master("a", 9)], "salt", "n").await,
                open(&entry, "g1.s1", &rotated, "another salt", "n").await,
                open(&entry, "g1.s1", &rotated, "salt", "another name").await,
            ];
            assert_eq!(refused, [None, None, None, None, None]);
            for at in 0..entry.len() {
                let mut bent = entry.clone();
                bent[at] ^= 1;
                for tag in ["g1.s1", "g0.s1", "g1.s0"] {
                    assert_eq!(open(&bent, tag, &rotated, "salt", "n").await, None, "byte {at}");
                }
                assert_eq!(open(&entry[..at], "g1.s1", &rotated, "salt", "n").await, None, "cut at {at}");
            }
        });
    }

    /// Entries of a version before are read by this one; if this test fails every deployment begins with an empty cache.
    #[test]
    fn the_stored_form_is_pinned() {
        let entry = block_on(seal(&SoftCipher::new(1), &[master("a", 1)], "salt", &name("n"), &view())).unwrap();
        let hex: String = entry.iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(!hex.contains("5175696c6c"), "the family name");
        assert_eq!(
            hex,
            "010019016191bef87171c3e08549cb679a0567312e7331e80707a846d60e8e0786288d2dbfebeb692389a989f9a826c3a1bbe109d900\
             a610f79265d3d6d4fa836e0713892bf87aeed66b0e0f90b62f77b5d67195a659e10b8bbce693b1ec64cb2129b170a5a38bb01b6d9ecc\
             1af53155b487e390"
        );
    }
}
