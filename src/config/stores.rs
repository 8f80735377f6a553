//! Which backend keeps what.
//!
//! Invariant: whatever is on Redis has a [`Redis`] to be on; sessions, leases and heads are only ever on a store with compare-and-swap.

use std::rc::Rc;

use super::Reader;

/// Where something is kept that needs a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// The Durable Objects of this Worker.
    Objects,
    /// Redis over HTTP.
    Redis,
}

/// Where cached bytes are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheOn {
    /// A store.
    Store(On),
    /// Workers KV.
    Kv,
}

/// How Redis is reached.
#[derive(Clone, PartialEq, Eq)]
pub struct Redis {
    /// The base URL of the Upstash REST protocol, without a final slash.
    pub url: String,
    /// The bearer token; a secret.
    pub token: String,
}

/// Which backend keeps what.
#[derive(Clone)]
pub struct Stores {
    /// Sessions, and the accounts' standings beside them.
    pub sessions: On,
    /// Leases and their fences.
    pub leases: On,
    /// Patients' heads.
    pub heads: On,
    /// Cached views.
    pub cache: CacheOn,
    /// There if anything is on Redis.
    pub redis: Option<Rc<Redis>>,
}

/// The binding to the KV namespace of cached bytes. Whoever reads the settings says by any text that it is there.
pub const KV_BINDING: &str = "CACHE_KV";
/// The reason why Workers KV keeps bytes and nothing else.
const KV: &str = "Workers KV is eventually consistent and has no compare-and-swap";

impl<F: Fn(&str) -> Option<String>> Reader<F> {
    /// Reads where everything is kept. What is wrong is noted.
    pub(super) fn stores(&mut self) -> Stores {
        let sessions = self.on("SESSIONS_ON");
        let leases = self.on("LEASES_ON");
        let heads = self.on("HEADS_ON");
        let cache = match self.text("CACHE_ON").as_deref() {
            None | Some("objects") => CacheOn::Store(On::Objects),
            Some("redis") => CacheOn::Store(On::Redis),
            Some("kv") => {
                if self.text(KV_BINDING).is_none() {
                    self.wrong(
                        "CACHE_ON",
                        format!("CACHE_ON is kv, and there is no binding {KV_BINDING} to a KV namespace"),
                    );
                }
                CacheOn::Kv
            }
            Some(_) => {
                self.wrong("CACHE_ON", "CACHE_ON must be objects, redis or kv");
                CacheOn::Store(On::Objects)
            }
        };
        Stores { sessions, leases, heads, cache, redis: self.redis().map(Rc::new) }
    }

    fn on(&mut self, setting: &'static str) -> On {
        match self.text(setting).as_deref() {
            None | Some("objects") => return On::Objects,
            Some("redis") => return On::Redis,
            Some("kv") => self.wrong(setting, format!("{setting} cannot be kv: {KV}; set it to objects or redis")),
            Some(_) => self.wrong(setting, format!("{setting} must be objects or redis")),
        }
        On::Objects
    }

    /// How Redis is reached, if the settings say so.
    fn redis(&mut self) -> Option<Redis> {
        let url = self.either("REDIS_URL", "UPSTASH_REDIS_REST_URL");
        let token = self.either("REDIS_TOKEN", "UPSTASH_REDIS_REST_TOKEN");
        let needed_by = ["SESSIONS_ON", "LEASES_ON", "HEADS_ON", "CACHE_ON"]
            .into_iter()
            .find(|setting| self.text(setting).as_deref() == Some("redis"));
        if let Some(setting) = needed_by {
            for (name, value) in [("REDIS_URL", &url), ("REDIS_TOKEN", &token)] {
                if value.is_none() {
                    self.wrong(name, format!("{name} is missing, and {setting} is redis"));
                }
            }
        }
        if url.as_deref().is_some_and(|url| !is_base_url(url)) {
            self.wrong("REDIS_URL", "REDIS_URL must be an http or https URL without credentials, query or fragment");
        }
        if token.as_deref().is_some_and(|token| !token.bytes().all(|byte| byte.is_ascii_graphic())) {
            self.wrong("REDIS_TOKEN", "REDIS_TOKEN must consist of visible ASCII characters");
        }
        Some(Redis { url: url?.trim_end_matches('/').to_owned(), token: token? })
    }

    /// The value of a setting that has two names; the second is the one that the vendor's tools write.
    fn either(&mut self, name: &'static str, vendors: &'static str) -> Option<String> {
        match (self.text(name), self.text(vendors)) {
            (Some(one), Some(other)) if one != other => {
                self.wrong(name, format!("{name} and {vendors} are both set and differ: remove one"));
                Some(one)
            }
            (one, other) => one.or(other),
        }
    }
}

/// Whether `url` is `http(s)://authority[/path]` (RFC 3986) without user information.
pub(super) fn is_base_url(url: &str) -> bool {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    rest.is_some_and(|rest| {
        let authority = rest.split('/').next().unwrap_or_default();
        !authority.is_empty() && rest.bytes().all(|byte| byte.is_ascii_graphic() && !b"@?#\\".contains(&byte))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Problem};

    const KEY: (&str, &str) = ("SESSION_KEY", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8");
    const URL: (&str, &str) = ("REDIS_URL", "http://127.0.0.1:6380/");
    const TOKEN: (&str, &str) = ("REDIS_TOKEN", "hidden-token");

    fn read(pairs: &[(&str, &str)]) -> Result<Stores, Vec<Problem>> {
        let all = [&[KEY], pairs].concat();
        Config::read(|name| all.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
            .map(|config| config.stores)
    }

    fn problems(pairs: &[(&str, &str)]) -> Vec<(&'static str, String)> {
        let problems = read(pairs).err().unwrap();
        problems.into_iter().map(|problem| (problem.setting, problem.sentence)).collect()
    }

    #[test]
    fn everything_is_on_objects_unless_said_otherwise() {
        let stores = read(&[]).ok().unwrap();
        assert_eq!((stores.sessions, stores.leases, stores.heads), (On::Objects, On::Objects, On::Objects));
        assert_eq!(stores.cache, CacheOn::Store(On::Objects));
        assert!(stores.redis.is_none());
    }

    #[test]
    fn kv_keeps_no_sessions_leases_or_heads() {
        for setting in ["SESSIONS_ON", "LEASES_ON", "HEADS_ON"] {
            let problems = problems(&[(setting, "kv")]);
            assert_eq!(problems.len(), 1);
            assert_eq!(problems[0].0, setting);
            assert!(problems[0].1.contains("eventually consistent") && problems[0].1.contains("compare-and-swap"));
        }
    }

    #[test]
    fn kv_keeps_cached_bytes_where_it_is_bound() {
        assert_eq!(problems(&[("CACHE_ON", "kv")])[0].0, "CACHE_ON");
        assert_eq!(read(&[("CACHE_ON", "kv"), (KV_BINDING, "bound")]).ok().unwrap().cache, CacheOn::Kv);
    }

    #[test]
    fn redis_needs_its_address_and_its_token() {
        for setting in ["SESSIONS_ON", "LEASES_ON", "CACHE_ON"] {
            let names: Vec<_> = problems(&[(setting, "redis")]).into_iter().map(|(name, _)| name).collect();
            assert_eq!(names, ["REDIS_URL", "REDIS_TOKEN"]);
        }
        assert_eq!(problems(&[("LEASES_ON", "redis"), URL])[0].0, "REDIS_TOKEN");
    }

    #[test]
    fn an_address_is_one_and_holds_no_secret() {
        for wrong in ["redis://h:6379", "https://", "https://u:p@h", "https://h?x=1", "https://h#f", "https://h h"] {
            let problems = problems(&[("REDIS_URL", wrong), TOKEN]);
            assert_eq!(problems[0].0, "REDIS_URL", "{wrong}");
        }
        let problems = problems(&[URL, ("REDIS_TOKEN", "hidden\ntoken")]);
        assert!(problems[0].0 == "REDIS_TOKEN" && !problems[0].1.contains("hidden"));
    }

    #[test]
    fn what_is_not_known_is_refused() {
        assert_eq!(problems(&[("SESSIONS_ON", "postgres")])[0].0, "SESSIONS_ON");
        assert_eq!(problems(&[("CACHE_ON", "disk")])[0].0, "CACHE_ON");
        assert_eq!(problems(&[("HEADS_ON", "disk")])[0].0, "HEADS_ON");
    }

    #[test]
    fn the_vendors_names_are_known_and_must_not_differ() {
        let vendors = [("UPSTASH_REDIS_REST_URL", "https://h"), ("UPSTASH_REDIS_REST_TOKEN", "t")];
        assert_eq!(problems(&[vendors[0], vendors[1], URL])[0].0, "REDIS_URL");
    }
}
