//! A channel as a long poll: the first thing that a listener is told after it has everything, as a page of history.
//!
//! Invariant: a page that is answered says everything up to its cursor, and nothing that is after it. No I/O is here.

use std::borrow::Cow;

use serde::Deserialize;

use super::cursor::Position;
use super::frame::{Gap, WireEvent, WirePage, write};
use crate::error::{Error, Result};

/// The fields of the frames that end a poll.
#[derive(Deserialize)]
struct Received<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    events: Vec<WireEvent<'a>>,
    oldest: Option<String>,
    #[serde(default)]
    reread: Vec<String>,
}

/// The page that `frame` ends the poll with; `None` where the poll goes on.
pub fn translate(frame: &str) -> Result<Option<String>> {
    let broken = || Error::internal("a frame of a topic could not be read");
    let frame: Received<'_> = serde_json::from_str(frame).map_err(|_| broken())?;
    let page = match (frame.kind.as_ref(), frame.events.last()) {
        ("events", Some(last)) => WirePage { cursor: last.cursor.clone(), events: frame.events, gap: None },
        ("gap", _) => {
            let oldest = frame.oldest.ok_or_else(broken)?;
            let gap = Some(Gap { oldest: oldest.clone(), reread: frame.reread });
            WirePage { events: Vec::new(), cursor: oldest, gap }
        }
        _ => return Ok(None),
    };
    write(&page).map(Some)
}

/// The page of a poll whose time is up, or whose connection ended: nothing since `after`.
pub fn nothing(after: &Position) -> Result<String> {
    write(&WirePage { events: Vec::new(), cursor: after.to_string(), gap: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::Topic;
    use crate::channel::cursor::Cursor;
    use crate::channel::frame::{self, Close, Frame};

    #[test]
    fn a_poll_ends_with_what_is_said_first() {
        let event = r#"{"cursor":"e1:7","id":"o","kind":"observation","at":"t","data":{"value":1.50}}"#;
        let frame = format!(r#"{{"type":"events","events":[{event}]}}"#);
        let page = format!(r#"{{"events":[{event}],"cursor":"e1:7","gap":null}}"#);
        assert_eq!(translate(&frame).unwrap(), Some(page));
        let gap = Frame::Gap(frame::gap(&Topic::User("u".into()), &Cursor::at("e1", 3)));
        let page = r#"{"events":[],"cursor":"e1:3","gap":{"oldest":"e1:3","reread":["/session","/alerts","/fhir/DiagnosticReport","/fhir/Appointment"]}}"#;
        assert_eq!(translate(&frame::frame(&gap).unwrap()).unwrap().as_deref(), Some(page));
        for other in [
            Frame::Hello { cursor: "e1:7".into(), oldest: "e1:0".into() },
            Frame::Bye { code: Close::Resume.code(), resume: true },
        ] {
            assert_eq!(translate(&frame::frame(&other).unwrap()).unwrap(), None);
        }
        assert!(translate("rubbish").is_err());
        let after = Position::parse("e1~7~5").unwrap();
        assert_eq!(nothing(&after).unwrap(), r#"{"events":[],"cursor":"e1~7~5","gap":null}"#);
    }
}
