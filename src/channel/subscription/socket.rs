//! The WebSocket on which subscribers bind: what a client says, and what the frames of a subscription's object become.
//!
//! Invariant: a frame of the object becomes notifications with the same numbers in the same order, or the end of the socket:
//! nothing is left out in between.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;

use super::notification::Told;
use crate::channel::cursor::Cursor;
use crate::channel::frame::WireEvent;
use crate::error::{Error, Result};
use crate::time::UnixMillis;

/// What a client says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// It binds with this token.
    Bind(String),
    /// It wants this answer: a heartbeat of its own.
    Answer(&'static str),
    /// Nothing that is known here.
    Nothing,
}

const BIND: &str = "bind-with-token";

/// Reads what a client says. Tokens come in all the forms that are in use: `bind-with-token TOKEN` and
/// `bind-with-token: TOKEN`, and JSON with the token as a member or in `payload`.
pub fn read(text: &str) -> Said {
    let text = text.trim();
    if text == "ping" {
        return Said::Answer("pong");
    }
    if let Some(rest) = text.strip_prefix(BIND) {
        let token = rest.strip_prefix(':').unwrap_or(rest).trim();
        let apart = rest.starts_with([':', ' ', '\t']);
        return if apart && !token.is_empty() { Said::Bind(token.to_owned()) } else { Said::Nothing };
    }
    let Ok(frame) = serde_json::from_str::<Value>(text) else { return Said::Nothing };
    let text_at = |path: &str| frame.pointer(path).and_then(Value::as_str);
    match text_at("/type") {
        Some("ping") => Said::Answer(r#"{"type":"pong"}"#),
        Some(BIND) => {
            let token = text_at("/token").or_else(|| text_at("/payload/token"));
            token.map_or(Said::Nothing, |token| Said::Bind(token.to_owned()))
        }
        _ => Said::Nothing,
    }
}

#[derive(Deserialize)]
struct Received<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    cursor: Option<String>,
    #[serde(borrow, default)]
    events: Vec<WireEvent<'a>>,
    code: Option<u16>,
}

/// What the object says.
#[derive(Debug)]
pub enum Heard<'a> {
    /// The subscriber is connected; its newest event has this number.
    Connected(u64),
    /// Events, and the position after the last of them.
    Events(Vec<Told<'a>>, String),
    /// Nothing more comes; close with this code.
    End(u16),
    /// Nothing that a subscriber is told.
    Nothing,
}

/// Reads a frame of a subscription's object.
pub fn hear(frame: &str) -> Result<Heard<'_>> {
    let broken = || Error::internal("a frame of a subscription could not be read");
    let number = |text: &str| Cursor::parse(text).map(|cursor| cursor.offset);
    let frame: Received<'_> = serde_json::from_str(frame).map_err(|_| broken())?;
    Ok(match frame.kind.as_ref() {
        "hello" => Heard::Connected(frame.cursor.as_deref().and_then(number).ok_or_else(broken)?),
        "events" => {
            let told = frame.events.iter().map(|event| {
                let (number, at) = (number(&event.cursor), UnixMillis::parse_rfc3339(&event.at));
                number.zip(at).map(|(number, at)| Told { number, at, data: Some(event.data.get()) }).ok_or_else(broken)
            });
            let told = told.collect::<Result<_>>()?;
            let cursor = frame.events.iter().last().map(|last| last.cursor.clone()).unwrap_or_default();
            Heard::Events(told, cursor)
        }
        "bye" => Heard::End(frame.code.ok_or_else(broken)?),
        _ => Heard::Nothing,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_bind_in_every_form_in_use() {
        for text in [
            "bind-with-token abc",
            "bind-with-token: abc",
            " bind-with-token:abc\n",
            r#"{"type":"bind-with-token","token":"abc"}"#,
            r#"{"type":"bind-with-token","payload":{"token":"abc"}}"#,
        ] {
            assert_eq!(read(text), Said::Bind("abc".into()), "{text}");
        }
        assert_eq!(read("ping"), Said::Answer("pong"));
        assert_eq!(read(r#"{"type":"ping"}"#), Said::Answer(r#"{"type":"pong"}"#));
        for text in [
            "",
            "bind-with-token",
            "bind-with-token: ",
            "bind-with-tokenabc",
            "{}",
            r#"{"type":"bind-with-token"}"#,
            "[1]",
        ] {
            assert_eq!(read(text), Said::Nothing, "{text}");
        }
    }

    #[test]
    fn frames_are_heard() {
        assert!(matches!(hear(r#"{"type":"hello","cursor":"e1:7","oldest":"e1:0"}"#).unwrap(), Heard::Connected(7)));
        let event = r#"{"cursor":"e1:8","id":"o","kind":"alert","at":"1970-01-01T00:00:01.000Z","data":{"a":1.50}}"#;
        let events = format!(r#"{{"type":"events","events":[{event}]}}"#);
        let Heard::Events(told, cursor) = hear(&events).unwrap() else { panic!() };
        assert_eq!(cursor, "e1:8");
        assert_eq!((told[0].number, told[0].at, told[0].data), (8, UnixMillis(1_000), Some(r#"{"a":1.50}"#)));
        assert!(matches!(hear(r#"{"type":"bye","code":4100,"resume":false}"#).unwrap(), Heard::End(4_100)));
        assert!(matches!(hear(r#"{"type":"later"}"#).unwrap(), Heard::Nothing));
        assert!(hear("rubbish").is_err());
    }
}
