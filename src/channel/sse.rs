//! A channel as an event stream (HTML Living Standard, section 9.2): each frame of the WebSocket becomes blocks of text.
//!
//! Invariant: a client's last event id never moves past something that it was not told. An event and its `id:` are in one
//! block, which a client takes whole or not at all, and so are a gap and the position after it. No I/O is here.

use std::borrow::Cow;
use std::fmt::Write;

use serde::Deserialize;

use super::frame::{Gap, WireEvent, write};
use crate::error::{Error, Result};

/// The content type.
pub const EVENT_STREAM: &str = "text/event-stream; charset=utf-8";
/// What goes before all else: it shows the client that the stream is open, and says how long to wait, in milliseconds,
/// before coming back after an end.
pub const OPENING: &str = ": bedside.v1\nretry: 1000\n\n";
/// A comment, which clients pass over: a connection that is quiet is not taken for a dead one.
pub const HEARTBEAT: &str = ": still here\n\n";

/// What a frame says to the stream.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    /// The frame means nothing to an event stream.
    Nothing,
    /// Something to be sent.
    Text {
        /// The text.
        text: String,
        /// The position of the client once it has read it.
        cursor: String,
    },
    /// The stream ends here; the client comes back with its last event id.
    End,
}

/// The fields of all frames: one pass reads any of them, with the data of events left as it is.
#[derive(Deserialize)]
struct Received<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    cursor: Option<String>,
    oldest: Option<String>,
    #[serde(borrow, default)]
    events: Vec<WireEvent<'a>>,
    #[serde(default)]
    reread: Vec<String>,
}

/// Translates the text of a frame of `bedside.v1`.
pub fn translate(frame: &str) -> Result<Said> {
    let broken = || Error::internal("a frame of a topic could not be read");
    let frame: Received<'_> = serde_json::from_str(frame).map_err(|_| broken())?;
    let mut text = String::new();
    let cursor = match frame.kind.as_ref() {
        "hello" => {
            let cursor = frame.cursor.ok_or_else(broken)?;
            field(&mut text, "id", &cursor)?;
            text.push('\n');
            cursor
        }
        "events" => {
            for event in &frame.events {
                let data = write(&Data { id: &event.id, at: &event.at, data: event.data })?;
                block(&mut text, &event.cursor, &event.kind, &data)?;
            }
            let Some(last) = frame.events.into_iter().last() else { return Ok(Said::Nothing) };
            last.cursor
        }
        "gap" => {
            let gap = Gap { oldest: frame.oldest.ok_or_else(broken)?, reread: frame.reread };
            block(&mut text, &gap.oldest, "gap", &write(&gap)?)?;
            gap.oldest
        }
        "bye" => return Ok(Said::End),
        // A frame of a later version of the program, met while a deployment is replaced.
        _ => return Ok(Said::Nothing),
    };
    Ok(Said::Text { text, cursor })
}

/// What stands in the `data:` of an event.
#[derive(serde::Serialize)]
struct Data<'a> {
    id: &'a str,
    at: &'a str,
    data: &'a serde_json::value::RawValue,
}

fn block(text: &mut String, id: &str, event: &str, data: &str) -> Result<()> {
    field(text, "id", id)?;
    field(text, "event", event)?;
    // JSON has line breaks between its tokens only; the client puts the lines together again with a line break.
    for line in data.split('\n').flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r')) {
        field(text, "data", line)?;
    }
    text.push('\n');
    Ok(())
}

/// One line. A line break in a value would begin another field, and an id with a NUL is passed over by clients.
fn field(text: &mut String, name: &str, value: &str) -> Result<()> {
    if value.contains(['\n', '\r', '\0']) {
        return Err(Error::internal("a field of an event stream is more than a line"));
    }
    writeln!(text, "{name}: {value}").map_err(|_| Error::internal("an event stream could not be written"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::Topic;
    use crate::channel::cursor::Cursor;
    use crate::channel::frame::{self, Close, Frame};
    use crate::channel::log::Logged;
    use crate::channel::outbox::Event;
    use crate::time::UnixMillis;

    fn cursor(text: &str) -> Cursor {
        Cursor::parse(text).unwrap()
    }

    fn logged(offset: u64, data: &str) -> Logged {
        let event =
            Event { id: format!("o{offset}"), kind: "observation".into(), at: UnixMillis(0), data: data.into() };
        Logged { offset, seen: 0, event }
    }

    fn said(frame: &str) -> String {
        match translate(frame).unwrap() {
            Said::Text { text, cursor } => {
                assert_eq!(client(&text).1, cursor);
                text
            }
            Said::Nothing => String::new(),
            Said::End => panic!("{frame}"),
        }
    }

    /// As a client reads it (HTML, section 9.2.6): `(id, event, data)` of what it dispatches, and its last event id.
    fn client(stream: &str) -> (Vec<(String, String, String)>, String) {
        let (mut seen, mut last) = (Vec::new(), String::new());
        let (mut id, mut event, mut data) = (String::new(), String::new(), Vec::new());
        for line in stream.replace("\r\n", "\n").replace('\r', "\n").split('\n') {
            if line.is_empty() {
                last.clone_from(&id);
                if !data.is_empty() {
                    seen.push((id.clone(), std::mem::take(&mut event), std::mem::take(&mut data).join("\n")));
                }
                continue;
            }
            match line.split_once(": ") {
                Some(("id", value)) => id = value.to_owned(),
                Some(("event", value)) => event = value.to_owned(),
                Some(("data", value)) => data.push(value.to_owned()),
                _ => assert!(line.starts_with(':') || line.starts_with("retry: "), "{line}"),
            }
        }
        (seen, last)
    }

    /// Clients in the field read these texts.
    #[test]
    fn blocks_are_pinned() {
        let two = frame::events("e1", &[logged(7, r#"{"value":1.50}"#), logged(8, "null")]).unwrap();
        let expected = concat!(
            "id: e1:7\nevent: observation\n",
            r#"data: {"id":"o7","at":"1970-01-01T00:00:00.000Z","data":{"value":1.50}}"#,
            "\n\nid: e1:8\nevent: observation\n",
            r#"data: {"id":"o8","at":"1970-01-01T00:00:00.000Z","data":null}"#,
            "\n\n"
        );
        assert_eq!(said(&two), expected);
        let gap = Frame::Gap(frame::gap(&Topic::User("u".into()), &cursor("e1:3")));
        let expected = "id: e1:3\nevent: gap\ndata: {\"oldest\":\"e1:3\",\"reread\":[\"/session\",\"/alerts\",\"/fhir/DiagnosticReport\",\"/fhir/Appointment\"]}\n\n";
        assert_eq!(said(&frame::frame(&gap).unwrap()), expected);
        let bye = frame::frame(&Frame::Bye { code: Close::Resume.code(), resume: true }).unwrap();
        assert_eq!(translate(&bye).unwrap(), Said::End);
        assert_eq!((client(OPENING).0.len(), client(HEARTBEAT).0.len()), (0, 0));
        assert_eq!(said(r#"{"type":"of a later version","x":[1]}"#), "");
    }

    #[test]
    fn a_client_has_a_cursor_from_the_beginning() {
        let hello = Frame::Hello { cursor: "e1:7".into(), oldest: "e1:0".into() };
        let text = said(&frame::frame(&hello).unwrap());
        assert_eq!(text, "id: e1:7\n\n");
        assert_eq!(client(&text), (Vec::new(), "e1:7".to_owned()));
    }

    #[test]
    fn line_breaks_in_data_come_through() {
        for broken in ["{\n\"a\":1,\r\n\"b\":\r2\n\n}", "{\"a\":\"x\\ny\\r\"}", "[\n]"] {
            let frame = frame::events("e1", &[logged(1, broken)]).unwrap();
            let (seen, last) = client(&said(&frame));
            assert_eq!(last, "e1:1");
            let [(_, _, data)] = seen.as_slice() else { panic!("{seen:?}") };
            let value: serde_json::Value = serde_json::from_str(data).unwrap();
            assert_eq!(value["data"], serde_json::from_str::<serde_json::Value>(broken).unwrap());
        }
    }

    #[test]
    fn nothing_can_be_slipped_in_by_a_field_and_rubbish_is_refused() {
        let event = |cursor: &str, kind: &str| {
            let event = serde_json::json!({ "cursor": cursor, "id": "a", "kind": kind, "at": "t", "data": {} });
            serde_json::json!({ "type": "events", "events": [event] }).to_string()
        };
        assert!(translate(&event("e1:1", "observation")).is_ok());
        for (cursor, kind) in [("e1:1\nevent: x", "a"), ("e1:1", "a\ndata: x"), ("e1:1", "a\rb"), ("e1:\0", "a")] {
            assert!(translate(&event(cursor, kind)).is_err(), "{cursor} {kind}");
        }
        for rubbish in
            ["", "pong", "[]", "{}", r#"{"type":"hello"}"#, r#"{"type":"gap"}"#, r#"{"type":"events","events":[1]}"#]
        {
            assert!(translate(rubbish).is_err(), "{rubbish}");
        }
    }
}
