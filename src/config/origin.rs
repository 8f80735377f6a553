//! An existing FHIR R4 server as where records are kept.
//!
//! Invariant: there is at most one way to sign in there. Nothing of this is ever shown: neither the address nor a secret.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Reader;
use super::cache::derived;
use super::stores::is_base_url;
use crate::outgoing::encode;

/// How Bedside signs in at the origin.
#[derive(Clone, PartialEq, Eq)]
pub enum SignIn {
    /// Not at all.
    Open,
    /// By this value of `Authorization`.
    Header(String),
    /// By client credentials (RFC 6749 section 4.4): where a token is had, and the form that is sent there.
    Credentials {
        /// The token endpoint.
        url: String,
        /// The form.
        form: String,
    },
}

/// The origin.
#[derive(Clone, PartialEq, Eq)]
pub struct Origin {
    /// The base URL of its FHIR endpoint, without a final slash.
    pub url: String,
    /// How Bedside signs in.
    pub sign_in: SignIn,
    /// What `POST /hooks/changed` comes with; without it that is refused.
    pub hook_key: Option<String>,
    /// What its links are sealed with in ours.
    pub links: [u8; 32],
}

/// The shortest accepted `ORIGIN_HOOK_KEY`.
const HOOK_KEY_MIN: usize = 32;

impl<F: Fn(&str) -> Option<String>> Reader<F> {
    /// Reads where records are kept; `None` where that is here.
    pub(super) fn origin(&mut self, session_key: &[u8]) -> Option<Origin> {
        let url = self.text("ORIGIN_URL")?;
        if !is_base_url(&url) {
            self.wrong("ORIGIN_URL", "ORIGIN_URL must be an http or https URL without credentials, query or fragment");
        }
        if self.text("HEADS_ON").is_some_and(|text| text != "objects") {
            self.wrong("HEADS_ON", "HEADS_ON must be objects where ORIGIN_URL is set");
        }
        let names = ["ORIGIN_TOKEN", "ORIGIN_BASIC", "ORIGIN_CLIENT_SECRET"];
        let [token, basic, secret] = names.map(|name| self.text(name));
        if [&token, &basic, &secret].into_iter().flatten().count() > 1 {
            self.wrong("ORIGIN_TOKEN", "only one of ORIGIN_TOKEN, ORIGIN_BASIC and ORIGIN_CLIENT_SECRET may be set");
        }
        let plain = |text: &String| text.bytes().all(|byte| byte.is_ascii_graphic());
        if token.as_ref().is_some_and(|token| !plain(token)) {
            self.wrong("ORIGIN_TOKEN", "ORIGIN_TOKEN must consist of visible ASCII characters");
        }
        if basic.as_ref().is_some_and(|basic| !basic.contains(':')) {
            self.wrong("ORIGIN_BASIC", "ORIGIN_BASIC must be user:password");
        }
        let sign_in = match (token, basic, secret) {
            (Some(token), ..) => SignIn::Header(format!("Bearer {token}")),
            (_, Some(basic), _) => SignIn::Header(format!("Basic {}", STANDARD.encode(basic))),
            (_, _, Some(secret)) => self.credentials(&secret),
            _ => SignIn::Open,
        };
        let hook_key = self.text("ORIGIN_HOOK_KEY");
        if hook_key.as_ref().is_some_and(|key| key.len() < HOOK_KEY_MIN) {
            self.wrong("ORIGIN_HOOK_KEY", format!("ORIGIN_HOOK_KEY must have at least {HOOK_KEY_MIN} characters"));
        }
        let links = derived(session_key, b"bedside origin links 1");
        Some(Origin { url: url.trim_end_matches('/').to_owned(), sign_in, hook_key, links })
    }

    fn credentials(&mut self, secret: &str) -> SignIn {
        let (id, url) = (self.text("ORIGIN_CLIENT_ID"), self.text("ORIGIN_TOKEN_URL"));
        if id.is_none() {
            self.wrong("ORIGIN_CLIENT_ID", "ORIGIN_CLIENT_ID is missing, and ORIGIN_CLIENT_SECRET is set");
        }
        if !url.as_deref().is_some_and(is_base_url) {
            self.wrong(
                "ORIGIN_TOKEN_URL",
                "ORIGIN_TOKEN_URL must be the URL of the token endpoint of ORIGIN_CLIENT_ID",
            );
        }
        let mut form = "grant_type=client_credentials".to_owned();
        let scope = self.text("ORIGIN_SCOPE");
        let id = id.unwrap_or_default();
        for (name, value) in
            [("client_id", Some(id.as_str())), ("client_secret", Some(secret)), ("scope", scope.as_deref())]
        {
            if let Some(value) = value {
                form.extend(["&", name, "="]);
                encode(&mut form, value);
            }
        }
        SignIn::Credentials { url: url.unwrap_or_default(), form }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn read(pairs: &[(&str, &str)]) -> Result<Option<Origin>, Vec<&'static str>> {
        let key = ("SESSION_KEY", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8");
        let all = [pairs, &[key, ("ORIGIN_URL", "https://ehr.example/r4/")]].concat();
        Config::read(|name| all.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned()))
            .map(|config| config.origin.as_deref().cloned())
            .map_err(|problems| problems.into_iter().map(|problem| problem.setting).collect())
    }

    #[test]
    fn each_way_to_sign_in_is_read_and_two_are_refused() {
        let sign_in = |pairs: &[(&str, &str)]| read(pairs).ok().flatten().map(|origin| origin.sign_in);
        assert!(sign_in(&[]) == Some(SignIn::Open));
        assert!(sign_in(&[("ORIGIN_TOKEN", "t")]) == Some(SignIn::Header("Bearer t".into())));
        assert!(sign_in(&[("ORIGIN_BASIC", "a:b")]) == Some(SignIn::Header("Basic YTpi".into())));
        let token_url = ("ORIGIN_TOKEN_URL", "https://ehr.example/token");
        let credentials = [("ORIGIN_CLIENT_SECRET", "s&"), ("ORIGIN_CLIENT_ID", "me"), token_url];
        let form = "grant_type=client_credentials&client_id=me&client_secret=s%26".to_owned();
        assert!(sign_in(&credentials) == Some(SignIn::Credentials { url: token_url.1.into(), form }));
        for (pairs, setting) in [
            (vec![("ORIGIN_TOKEN", "t"), ("ORIGIN_BASIC", "a:b")], "ORIGIN_TOKEN"),
            (vec![("ORIGIN_BASIC", "a")], "ORIGIN_BASIC"),
            (vec![("ORIGIN_CLIENT_SECRET", "s"), token_url], "ORIGIN_CLIENT_ID"),
            (vec![("ORIGIN_CLIENT_SECRET", "s"), ("ORIGIN_CLIENT_ID", "me")], "ORIGIN_TOKEN_URL"),
            (vec![("ORIGIN_HOOK_KEY", "short")], "ORIGIN_HOOK_KEY"),
            (vec![("HEADS_ON", "redis"), ("REDIS_URL", "http://r"), ("REDIS_TOKEN", "t")], "HEADS_ON"),
            (vec![("ORIGIN_URL", "https://u:p@ehr.example")], "ORIGIN_URL"),
        ] {
            let problems = read(&pairs).err();
            assert!(problems.is_some_and(|found| found == [setting]), "{setting}");
        }
    }
}
