//! What a session was opened on, in a few words out of `User-Agent` (RFC 9110 section 10.1.5).
//!
//! Invariant: the header itself is never kept. What comes out is made of words of this table alone, so that it is short, and
//! shows no more than it takes to tell one's own sessions apart.

/// Programs by what is in their header, the more special ones first: Edge says that it is Chrome, and Chrome Safari.
const PROGRAMS: [(&str, &str); 12] = [
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
    ("curl/", "curl"),
    ("node", "Node.js"),
    ("python", "Python"),
    ("okhttp/", "an Android app"),
];

/// Systems by what is in the header; Android says that it is Linux, an iPhone that it is like Mac OS X.
const SYSTEMS: [(&str, &str); 8] = [
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("CrOS", "ChromeOS"),
    ("Windows", "Windows"),
    ("Macintosh", "Mac"),
    ("Linux", "Linux"),
    ("X11", "Unix"),
];

/// A short name for what sends this `User-Agent`: `Firefox on Windows`, `curl`, `an unknown program`.
pub fn name(user_agent: Option<&str>) -> String {
    let header = user_agent.unwrap_or_default();
    let of =
        |table: &[(&str, &'static str)]| table.iter().find(|(part, _)| header.contains(part)).map(|(_, name)| *name);
    match (of(&PROGRAMS), of(&SYSTEMS)) {
        (Some(program), Some(system)) => format!("{program} on {system}"),
        (Some(program), None) => program.to_owned(),
        (None, Some(system)) => format!("a program on {system}"),
        (None, None) => "an unknown program".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_sessions_apart() {
        let chrome =
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36";
        for (header, expected) in [
            (chrome, "Chrome on Linux"),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0",
                "Edge on Windows",
            ),
            ("Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Windows"),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1",
                "Safari on iPhone",
            ),
            (
                "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36",
                "Chrome on Android",
            ),
            ("curl/8.14.1", "curl"),
            ("node", "Node.js"),
            ("Mozilla/5.0 (Windows NT 10.0)", "a program on Windows"),
            ("<script>alert(1)</script>", "an unknown program"),
        ] {
            assert_eq!(name(Some(header)), expected);
        }
        assert_eq!(name(None), "an unknown program");
    }
}
