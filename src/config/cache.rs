//! How patients' views are cached.
//!
//! Invariant: there is always a key to seal with. What is clinical is never used past its lifetime, whatever the settings.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hkdf::Hkdf;
use sha2::Sha256;

use super::Reader;
use crate::time::Ttl;

/// A key from which the keys of entries are derived.
#[derive(Clone, PartialEq, Eq)]
pub struct Master {
    /// What entries call it.
    pub id: String,
    /// The key.
    pub key: [u8; 32],
}

impl std::fmt::Debug for Master {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Master({}, redacted)", self.id)
    }
}

/// What a view is about, for the rule on lifetimes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Who the patient is.
    Demographics,
    /// Where they are or were treated, and by whom.
    Encounters,
    /// Appointments.
    Scheduling,
    /// Cover, claims and accounts.
    Billing,
    /// Everything else: allergies, medication, results, conditions, and whatever holds several of these.
    Clinical,
}

/// What may be used past its lifetime while the origin is down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stale {
    /// Of these classes.
    pub classes: Vec<Class>,
    /// So long.
    pub longest: Ttl,
}

/// How patients' views are cached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    /// The key of the entries' names.
    pub names: [u8; 32],
    /// The first seals, all open.
    pub masters: Vec<Master>,
    /// The longest time a view is used; a write ends it earlier.
    pub ttl: Ttl,
    /// What may be used longer.
    pub stale: Stale,
    /// The most bytes of opened views in the memory of one isolate.
    pub memory: usize,
    /// So long may an isolate rely on what it was told of a head; 0 is off.
    pub lease: Ttl,
}

/// A key of its own for `purpose`.
pub(super) fn derived(secret: &[u8], purpose: &[u8]) -> [u8; 32] {
    let mut key = [0; 32];
    // 32 bytes are far below what HKDF can expand to.
    let _ = Hkdf::<Sha256>::new(None, secret).expand(purpose, &mut key);
    key
}

fn master(text: &str) -> Option<Master> {
    let (id, key) = text.trim().split_once(':')?;
    let plain = (1..=32).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let key = URL_SAFE_NO_PAD.decode(key.trim_end_matches('=')).ok()?.try_into().ok()?;
    plain.then(|| Master { id: id.to_owned(), key })
}

fn class(text: &str) -> Option<Class> {
    match text {
        "demographics" => Some(Class::Demographics),
        "encounters" => Some(Class::Encounters),
        "scheduling" => Some(Class::Scheduling),
        "billing" => Some(Class::Billing),
        _ => None,
    }
}

impl<F: Fn(&str) -> Option<String>> Reader<F> {
    /// Reads how views are cached. What is wrong is noted.
    pub(super) fn cache(&mut self, session_key: &[u8]) -> Cache {
        let masters = match self.text("CACHE_KEYS") {
            None => Vec::new(),
            Some(text) => text.split(',').map(master).collect::<Option<Vec<_>>>().unwrap_or_else(|| {
                self.wrong(
                    "CACHE_KEYS",
                    "CACHE_KEYS must be keys id:base64url of 32 random bytes each, separated by commas, the newest first",
                );
                Vec::new()
            }),
        };
        let masters = if masters.is_empty() {
            vec![Master { id: "session".to_owned(), key: derived(session_key, b"bedside cache master 1") }]
        } else {
            masters
        };
        let longest = Ttl::from_secs(self.number("CACHE_STALE_SECONDS", 0, 0, 24 * 3_600));
        let names = self.text("CACHE_STALE_FOR").unwrap_or_default();
        let classes: Option<Vec<_>> =
            names.split(',').map(str::trim).filter(|name| !name.is_empty()).map(class).collect();
        let classes = classes.unwrap_or_else(|| {
            self.wrong(
                "CACHE_STALE_FOR",
                "CACHE_STALE_FOR may name demographics, encounters, scheduling and billing; allergies, medication, results \
                 and what holds them are never used past their lifetime",
            );
            Vec::new()
        });
        let lease = Ttl(self.number("READ_LEASE_MS", 0, 0, 1_000));
        let megabytes = self.number("CACHE_MEMORY_MB", 16, 0, 64);
        Cache {
            names: derived(session_key, b"bedside cache names 1"),
            masters,
            ttl: Ttl::from_secs(self.number("CACHE_TTL_SECONDS", 3_600, 1, 24 * 3_600)),
            stale: Stale { classes, longest },
            lease,
            memory: usize::try_from(megabytes.saturating_mul(1 << 20)).unwrap_or(usize::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Problem};
    use crate::time::Ttl;

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

    fn read(pairs: &[(&str, &str)]) -> Result<Config, Vec<Problem>> {
        let pairs = [&[("SESSION_KEY", KEY)], pairs].concat();
        Config::read(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn without_keys_of_its_own_the_cache_has_one_of_the_sessions() {
        let cache = read(&[]).ok().unwrap().cache;
        assert_eq!((cache.ttl, cache.stale.longest, cache.memory), (Ttl::from_secs(3_600), Ttl(0), 16 << 20));
        assert_eq!(cache.masters.len(), 1);
        assert_ne!(cache.masters[0].key, cache.names);
    }

    #[test]
    fn keys_are_listed_newest_first() {
        let masters = &read(&[("CACHE_KEYS", &format!("2026-b:{KEY}, 2026-a:{KEY}"))]).ok().unwrap().cache.masters;
        let ids: Vec<_> = masters.iter().map(|master| master.id.as_str()).collect();
        assert_eq!(ids, ["2026-b", "2026-a"]);
        assert_eq!(format!("{:?}", masters[0]), "Master(2026-b, redacted)");
    }

    #[test]
    fn wrong_keys_and_clinical_classes_are_refused_without_showing_a_value() {
        for keys in ["secretkeyA", "a:c2hvcnQ", &format!("a:{KEY},b"), &format!(":{KEY}")] {
            let problems = read(&[("CACHE_KEYS", keys)]).err().unwrap();
            assert_eq!(problems.len(), 1, "{keys}");
            assert!(!problems[0].sentence.contains(keys));
        }
        for classes in ["results", "demographics,medication", "clinical"] {
            assert_eq!(read(&[("CACHE_STALE_FOR", classes)]).err().unwrap()[0].setting, "CACHE_STALE_FOR");
        }
    }
}
