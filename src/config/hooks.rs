//! Where notifications of FHIR Subscriptions may be sent, and how they are signed.

use super::Reader;

/// The shortest accepted `HOOK_KEY`.
const KEY_MIN: usize = 32;

/// The endpoints that rest-hooks may name. Without any there are no rest-hooks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hooks {
    /// Origins, `https://hooks.example` or `http://10.0.0.7:8080`; `https://*.example` for every host below one.
    targets: Vec<String>,
    /// The key of the signatures.
    pub key: Vec<u8>,
}

impl Hooks {
    /// Whether notifications may be sent to `endpoint`: its origin is one of the targets. Nothing else is ever called, so
    /// that nobody reaches a network through this server by subscribing.
    pub fn allows(&self, endpoint: &str) -> bool {
        let Some((scheme, rest)) = endpoint.split_once("://") else { return false };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default().to_ascii_lowercase();
        // What reads as one host here and as another elsewhere.
        if authority.contains(['@', '\\']) || endpoint.contains(char::is_whitespace) || endpoint.contains('\\') {
            return false;
        }
        let origin = format!("{}://{authority}", scheme.to_ascii_lowercase());
        self.targets.iter().any(|target| match target.split_once("://*.") {
            None => *target == origin,
            Some((scheme, parent)) => {
                let host = origin.strip_prefix(scheme).and_then(|rest| rest.strip_prefix("://"));
                let below = host.and_then(|host| host.strip_suffix(parent)).and_then(|rest| rest.strip_suffix('.'));
                let named = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
                below.is_some_and(|labels| !labels.is_empty() && labels.bytes().all(named))
            }
        })
    }
}

/// Whether `target` is an origin, or `https://*.` and a name of a domain.
fn is_target(target: &str) -> bool {
    let host = |text: &str| {
        let (name, port) = text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port)));
        let named = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
        !name.is_empty() && name.bytes().all(named) && port.is_none_or(|port| port.parse::<u16>().is_ok())
    };
    match target.strip_prefix("https://*.") {
        // An address has no hosts below it.
        Some(parent) => host(parent) && parent.bytes().any(|byte| byte.is_ascii_lowercase()) && parent.contains('.'),
        None => target.strip_prefix("https://").or_else(|| target.strip_prefix("http://")).is_some_and(host),
    }
}

impl<F: Fn(&str) -> Option<String>> Reader<F> {
    pub(super) fn hooks(&mut self) -> Hooks {
        let text = self.text("HOOK_TARGETS").unwrap_or_default().to_ascii_lowercase();
        let targets: Vec<String> = text
            .split(',')
            .map(|one| one.trim().trim_end_matches('/').to_owned())
            .filter(|one| !one.is_empty())
            .collect();
        if !targets.iter().all(|target| is_target(target)) {
            self.wrong(
                "HOOK_TARGETS",
                "HOOK_TARGETS must be origins with commas between, as in https://hooks.example,https://*.clinic.example",
            );
        }
        let key = self.text("HOOK_KEY").unwrap_or_default().into_bytes();
        if !targets.is_empty() && key.len() < KEY_MIN {
            self.wrong(
                "HOOK_KEY",
                format!("HOOK_TARGETS is set, so the secret HOOK_KEY must have at least {KEY_MIN} characters"),
            );
        }
        Hooks { targets, key }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_listed_is_called() {
        let targets = ["https://hooks.example", "http://10.0.0.7:8080", "https://*.clinic.example"];
        let hooks = Hooks { targets: targets.map(str::to_owned).into(), key: Vec::new() };
        for good in [
            "https://hooks.example",
            "https://hooks.example/a?b=c",
            "HTTPS://Hooks.Example/",
            "http://10.0.0.7:8080/x",
            "https://a.b.clinic.example/",
        ] {
            assert!(hooks.allows(good), "{good}");
        }
        for bad in [
            "http://hooks.example/",
            "https://hooks.example:444/",
            "https://hooks.example.evil.example/",
            "https://evil.example/https://hooks.example",
            "https://hooks.example@evil.example/",
            "https://evil.example\\@hooks.example/",
            "https://clinic.example/",
            "https://.clinic.example/",
            "https://evilclinic.example/",
            "https://evil.example%2f.clinic.example/",
            "https://evil.example:1.clinic.example/",
            "http://10.0.0.7/",
            "http://127.0.0.1/",
            "file:///etc/passwd",
            "hooks.example",
            "",
        ] {
            assert!(!hooks.allows(bad), "{bad}");
        }
        assert!(!Hooks::default().allows("https://hooks.example"));
        for bad in
            ["https://*.1.2.3.4", "https://*.example", "https://", "ftp://a.example", "https://a/b", "https://a:x", "*"]
        {
            assert!(!is_target(bad), "{bad}");
        }
    }
}
