//! Tests of json.rs: what it takes is what serde_json takes, but for names that stand twice, depth and size.

use super::*;

fn written(text: &str) -> String {
    let mut out = String::new();
    Json::parse(text.as_bytes()).unwrap().write(&mut out);
    out
}

#[test]
fn what_is_read_is_written() {
    for text in [
        r#"{"a":1.0,"b":1.50,"c":1e2,"d":-0.0E+10,"e":[true,false,null],"f":{}}"#,
        r#"["\"\\\n\r\t\u0000\u001f","é𝄞"]"#,
        "0",
        "[]",
    ] {
        assert_eq!(written(text), text);
    }
    assert_eq!(written(r#" [ "\u00e9\ud834\udd1e\/\b" , 1 ] "#), "[\"é𝄞/\\u0008\",1]");
}

#[test]
fn a_fault_has_line_and_column() {
    let cases = [
        ("", 1, 1, "the text ends too early"),
        ("{", 1, 2, "a member's name is missing"),
        ("{\"é\" 1}", 1, 6, "a colon is missing"),
        ("{\n \"a\": 1,\n \"a\": 2}", 3, 2, "a name stands twice in one object"),
        ("[1,]", 1, 4, "not a JSON value"),
        ("[01]", 1, 3, "a comma or the end of the array is missing"),
        ("[1.]", 1, 4, "a digit is missing"),
        ("[1] x", 1, 5, "text after the end of the value"),
        ("\"a\nb\"", 1, 3, "a control character in a string"),
        ("\"\\ud800\"", 1, 8, "half of a surrogate pair in a string"),
        ("\"\\q\"", 1, 3, "an unknown escape in a string"),
        ("\"\\u12é4\"", 1, 4, "four hexadecimal digits are missing"),
        ("nul", 1, 1, "not a JSON value"),
        ("NaN", 1, 1, "not a JSON value"),
        ("\u{feff}{}", 1, 1, "not a JSON value"),
    ];
    for (text, line, column, what) in cases {
        assert_eq!(Json::parse(text.as_bytes()), Err(Fault { line, column, what }), "{text}");
    }
    assert_eq!(Json::parse(b"[\n\"\xff\"]"), Err(Fault { line: 2, column: 2, what: "not UTF-8" }));
}

#[test]
fn depth_is_bounded() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(Json::parse(nested(MAX_DEPTH).as_bytes()).is_ok());
    assert_eq!(Json::parse(nested(MAX_DEPTH + 1).as_bytes()).unwrap_err().what, "nested too deep");
    assert_eq!(Json::parse("[".repeat(1 << 20).as_bytes()).unwrap_err().what, "nested too deep");
    assert_eq!(Json::parse("{\"a\":".repeat(1 << 18).as_bytes()).unwrap_err().what, "nested too deep");
    let many: Vec<String> = (0..1000).map(|n| format!("\"{n}\":0")).collect();
    assert_eq!(
        Json::parse(format!("{{{}}}", many.join(",")).as_bytes()).unwrap_err().what,
        "an object has too many members"
    );
}

#[test]
fn agrees_with_serde_json_on_mutated_text() {
    let seed = 0x5eed_0001_u64;
    println!("seed {seed:#x}");
    let mut state = seed;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let sample = br#"{"a":[1,-2.50e+1,"x\u00e9\n\"y"],"b":{"c":null,"d":true},"e":"\ud834\udd1e"}"#;
    let alphabet = b"{}[]:,\"\\ue0123456789.-+nulltrue \n\x00\xc3\xa9";
    for _ in 0..20_000 {
        let mut text = sample.to_vec();
        for _ in 0..=random(2) {
            let (at, with) = (random(text.len()), alphabet[random(alphabet.len())]);
            match random(3) {
                0 => text[at] = with,
                1 => text.insert(at, with),
                _ => drop(text.remove(at)),
            }
        }
        let ours = Json::parse(&text);
        let theirs = serde_json::from_slice::<serde_json::Value>(&text);
        match ours {
            Ok(value) => {
                let mut out = String::new();
                value.write(&mut out);
                // A number over the range of f64 is JSON, and serde_json refuses it.
                if let Ok(theirs) = theirs {
                    assert_eq!(serde_json::from_str::<serde_json::Value>(&out).unwrap(), theirs);
                } else {
                    assert!(
                        text.iter().any(|byte| matches!(byte, b'e' | b'E')),
                        "{:?}",
                        String::from_utf8_lossy(&text)
                    );
                }
            }
            Err(Fault { what: "a name stands twice in one object", .. }) => {}
            Err(fault) => assert!(theirs.is_err(), "{fault:?} {:?}", String::from_utf8_lossy(&text)),
        }
    }
}
