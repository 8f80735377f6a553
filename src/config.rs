//! Settings: read once, before the first request is served, and validated as a whole.
//!
//! Invariant: a [`Config`] that exists is complete and free of contradictions. Whatever is wrong with the settings is said
//! in one sentence each, all of them at once, and the Worker serves nothing until they are mended. A [`Problem`] names a
//! setting and never shows the value of a secret.

use std::rc::Rc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::time::{Ttl, UnixMillis};

pub mod alerts;
pub mod cache;
pub mod hooks;
pub mod origin;
pub mod stores;

/// The settings of one deployment.
#[derive(Clone)]
pub struct Config {
    /// What the clinic calls itself; shown in the CapabilityStatement and in the page's title.
    pub clinic_name: String,
    /// The key under which session tokens are hashed; 32 bytes or more.
    pub session_key: Vec<u8>,
    /// Lets the first administrator be created while there is no account at all; without it nobody can.
    pub setup_token: Option<String>,
    /// A session ends this long after the last thing a person did.
    pub session_idle: Ttl,
    /// A session ends this long after sign-in, whatever happens.
    pub session_absolute: Ttl,
    /// The header, in lower case, in which whatever stands in front of the Worker says where a request comes from; without
    /// it there are no limits by address.
    pub client_address_header: Option<String>,
    /// How patients' views are cached.
    pub cache: Rc<cache::Cache>,
    /// The events of a topic are kept this long.
    pub retention: Retention,
    /// When data were last brought back from a backup; 1970 where they never were.
    pub restored: UnixMillis,
    /// How alerts are pushed and escalated.
    pub alerts: alerts::Rules,
    /// Whether what is published of Schedules and Slots is open to everybody, or to whoever is signed in.
    pub publish_openly: bool,
    /// Where notifications of subscriptions may go.
    pub hooks: hooks::Hooks,
    /// Where records are kept, if that is not here.
    pub origin: Option<Rc<origin::Origin>>,
    /// Which backend keeps what.
    pub stores: stores::Stores,
}

/// How long a topic keeps its events; what is older in either sense is trimmed, and the gap announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// By age.
    pub age: Ttl,
    /// By age, for the kinds that are kept briefly: telemetry.
    pub brief: Ttl,
    /// By number.
    pub count: u64,
}

/// One thing wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The setting's name.
    pub setting: &'static str,
    /// What is wrong and what to do, in one sentence without the value.
    pub sentence: String,
}

/// The shortest accepted `SETUP_TOKEN`.
const SETUP_TOKEN_MIN: usize = 32;
/// 2200: fences count from the instant of a restore, and stay below 2^53.
const LAST_RESTORE: UnixMillis = UnixMillis(7_258_118_400_000);

struct Reader<F> {
    lookup: F,
    problems: Vec<Problem>,
}

impl<F: Fn(&str) -> Option<String>> Reader<F> {
    fn text(&self, setting: &'static str) -> Option<String> {
        (self.lookup)(setting).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    fn wrong(&mut self, setting: &'static str, sentence: impl Into<String>) {
        self.problems.push(Problem { setting, sentence: sentence.into() });
    }

    fn number(&mut self, setting: &'static str, default: u64, min: u64, max: u64) -> u64 {
        let Some(text) = self.text(setting) else { return default };
        match text.parse::<u64>() {
            Ok(value) if (min..=max).contains(&value) => value,
            _ => {
                self.wrong(setting, format!("{setting} must be a whole number from {min} to {max}"));
                default
            }
        }
    }
}

impl Config {
    /// Reads the settings through `lookup`, which gives a setting's text or `None`. All problems are returned at once.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Config, Vec<Problem>> {
        let mut read = Reader { lookup, problems: Vec::new() };

        let session_key = match read.text("SESSION_KEY").map(|text| URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')))
        {
            Some(Ok(key)) if key.len() >= 32 => key,
            Some(_) => {
                read.wrong("SESSION_KEY", "SESSION_KEY must be at least 32 random bytes in base64url");
                Vec::new()
            }
            None => {
                read.wrong("SESSION_KEY", "the secret SESSION_KEY is missing: set it to 32 random bytes in base64url");
                Vec::new()
            }
        };
        let setup_token = read.text("SETUP_TOKEN");
        if setup_token.as_ref().is_some_and(|token| token.len() < SETUP_TOKEN_MIN) {
            read.wrong("SETUP_TOKEN", format!("SETUP_TOKEN must have at least {SETUP_TOKEN_MIN} characters"));
        }
        let idle = read.number("SESSION_IDLE_MINUTES", 15, 1, 24 * 60);
        let absolute = read.number("SESSION_ABSOLUTE_MINUTES", 12 * 60, 1, 7 * 24 * 60);
        if idle > absolute {
            read.wrong(
                "SESSION_IDLE_MINUTES",
                "SESSION_IDLE_MINUTES is longer than SESSION_ABSOLUTE_MINUTES, so it could never take effect",
            );
        }
        let address = read.text("CLIENT_ADDRESS_HEADER").map(|name| name.to_ascii_lowercase());
        if address.as_deref().is_some_and(|name| !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')) {
            read.wrong("CLIENT_ADDRESS_HEADER", "CLIENT_ADDRESS_HEADER must be the name of a header");
        }
        let cache = Rc::new(read.cache(&session_key));
        let hours = read.number("EVENT_RETENTION_HOURS", 24, 1, 24 * 90);
        let brief = read.number("TELEMETRY_RETENTION_MINUTES", 60, 1, 24 * 60 * 90);
        let count = read.number("EVENT_RETENTION_COUNT", 100_000, 100, 10_000_000);

        let publish_openly = match read.text("PUBLISH_SLOTS_TO").as_deref() {
            None | Some("signed-in") => false,
            Some("everybody") => true,
            Some(_) => {
                read.wrong("PUBLISH_SLOTS_TO", "PUBLISH_SLOTS_TO must be signed-in or everybody");
                false
            }
        };
        let origin = read.origin(&session_key).map(Rc::new);
        let restored = read.text("RESTORED_AT");
        let restored = restored.map_or(Some(UnixMillis(0)), |text| UnixMillis::parse_rfc3339(&text));
        if restored.is_none_or(|at| at > LAST_RESTORE) {
            read.wrong("RESTORED_AT", "RESTORED_AT must be an instant as in 2026-11-25T17:30:00Z");
        }

        let config = Config {
            clinic_name: read.text("CLINIC_NAME").unwrap_or_else(|| "Bedside".to_owned()),
            session_key,
            setup_token,
            session_idle: Ttl::from_mins(idle),
            session_absolute: Ttl::from_mins(absolute),
            client_address_header: address,
            cache,
            retention: Retention {
                age: Ttl::from_mins(hours.saturating_mul(60)),
                brief: Ttl::from_mins(brief.min(hours.saturating_mul(60))),
                count,
            },
            restored: restored.unwrap_or(LAST_RESTORE),
            alerts: read.alerts(),
            publish_openly,
            hooks: read.hooks(),
            origin,
            stores: read.stores(),
        };
        if read.problems.is_empty() { Ok(config) } else { Err(read.problems) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

    fn read(pairs: &[(&str, &str)]) -> Result<Config, Vec<Problem>> {
        Config::read(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn defaults_are_the_numbers_that_bind() {
        let config = read(&[("SESSION_KEY", KEY)]).ok().unwrap();
        assert_eq!(config.session_idle, Ttl::from_mins(15));
        assert_eq!(config.session_absolute, Ttl::from_mins(720));
        assert_eq!(config.cache.ttl, Ttl::from_secs(3_600));
        assert_eq!(
            config.retention,
            Retention { age: Ttl::from_mins(24 * 60), brief: Ttl::from_mins(60), count: 100_000 }
        );
        let (repeat, escalate, interval) = (Ttl::from_secs(60), Ttl::from_secs(180), Ttl::from_secs(10));
        assert_eq!(config.alerts, alerts::Rules { repeat, escalate, interval });
        assert!(config.setup_token.is_none());
    }

    #[test]
    fn every_problem_is_named_at_once_and_no_value_is_shown() {
        let problems = read(&[
            ("SESSION_KEY", "c2hvcnQ"),
            ("SETUP_TOKEN", "too-short-to-be-safe"),
            ("SESSION_IDLE_MINUTES", "90"),
            ("SESSION_ABSOLUTE_MINUTES", "60"),
            ("CACHE_TTL_SECONDS", "soon"),
        ])
        .err()
        .unwrap();
        let names: Vec<_> = problems.iter().map(|problem| problem.setting).collect();
        assert_eq!(names, ["SESSION_KEY", "SETUP_TOKEN", "SESSION_IDLE_MINUTES", "CACHE_TTL_SECONDS"]);
        for problem in &problems {
            for value in ["c2hvcnQ", "too-short-to-be-safe", "soon"] {
                assert!(!problem.sentence.contains(value), "{problem:?} shows a value");
            }
        }
    }

    #[test]
    fn a_restore_is_an_instant() {
        let with = |text| read(&[("SESSION_KEY", KEY), ("RESTORED_AT", text)]).map(|config| config.restored);
        assert_eq!(with("").ok(), Some(UnixMillis(0)));
        assert_eq!(with("2026-11-25T17:30:00+01:00").ok(), Some(UnixMillis(1_795_624_200_000)));
        for bad in ["yesterday", "2026-11-25", "2999-01-01T00:00:00Z"] {
            assert_eq!(with(bad).err().unwrap()[0].setting, "RESTORED_AT", "{bad}");
        }
    }

    #[test]
    fn a_missing_secret_is_said_as_such() {
        let problems = read(&[]).err().unwrap();
        assert_eq!(problems.len(), 1);
        assert!(problems[0].sentence.contains("missing"));
    }
}
