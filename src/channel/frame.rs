//! What goes over the wire of a channel: the frames of the WebSocket subprotocol `bedside.v1` and pages of history.
//!
//! Invariant: an event reads the same in a frame and in a page. Times are RFC 3339; `data` is the JSON that was committed,
//! passed on unread.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Topic;
use super::cursor::Cursor;
use super::history::Page;
use super::log::Logged;
use crate::error::{Error, Result};

/// The WebSocket subprotocol.
pub const SUBPROTOCOL: &str = "bedside.v1";

/// Why a socket is closed, grouped by what its client does next: 4000 to 4099 come back at once with the cursor, 4100 to
/// 4199 do not come back, 1011 and other standard codes come back after a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// So much was missed that it is given in more than one connection.
    Resume,
    /// So much was sent and not acknowledged that nothing more is sent.
    Slow,
    /// What the account may follow has changed: whether this belongs to it is asked when it comes back.
    AskAgain,
    /// The session has ended: signed out, ended by somebody, idle for too long, or past its time.
    Ended,
}

impl Close {
    /// The code (RFC 6455 section 7.4.2: 4000 to 4999 are for private use).
    pub fn code(self) -> u16 {
        match self {
            Close::Resume => 4_000,
            Close::AskAgain => 4_001,
            Close::Slow => 4_002,
            Close::Ended => 4_100,
        }
    }

    /// Whether the client is to come back with its cursor.
    pub fn resumes(self) -> bool {
        self.code() < 4_100
    }

    /// The reason that goes with the code, for whoever reads a log.
    pub fn reason(self) -> &'static str {
        match self {
            Close::Resume => "resume",
            Close::Slow => "resume: nothing was acknowledged for too long",
            Close::AskAgain => "ask again",
            Close::Ended => "session ended",
        }
    }
}

/// An event on the wire.
#[derive(Debug, Serialize, Deserialize)]
pub struct WireEvent<'a> {
    /// The position after it.
    pub cursor: String,
    /// Unique within the topic.
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    /// What it is about.
    #[serde(borrow)]
    pub kind: Cow<'a, str>,
    /// When it was committed, RFC 3339.
    pub at: String,
    /// What happened.
    #[serde(borrow)]
    pub data: &'a RawValue,
}

/// What was lost to the reader.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The position before the oldest event kept.
    pub oldest: String,
    /// The paths that give the present state.
    pub reread: Vec<String>,
}

/// A frame from the server; those of events are made by [`events`].
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Frame {
    /// First of all.
    Hello {
        /// The position that the listener came with; that of the newest event where it came with none.
        cursor: String,
        /// The position before the oldest event kept.
        oldest: String,
    },
    /// Events were lost to this subscriber.
    Gap(Gap),
    /// The last frame before the socket closes.
    Bye {
        /// The close code.
        code: u16,
        /// Whether to come back with the cursor.
        resume: bool,
    },
}

/// The last frame before a socket is closed for this reason.
pub fn bye(why: Close) -> Result<String> {
    frame(&Frame::Bye { code: why.code(), resume: why.resumes() })
}

/// A frame from a client.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum ClientFrame {
    /// Everything up to here has been read.
    Ack {
        /// The cursor of the last event.
        cursor: String,
    },
}

/// The text by which a client says that it has read everything up to `cursor`.
pub fn acknowledgement(cursor: &str) -> Result<String> {
    write(&ClientFrame::Ack { cursor: cursor.to_owned() })
}

/// Up to where a client says that it has read; `None` for anything else that it says.
pub fn acknowledged(text: &str) -> Option<Cursor> {
    let ClientFrame::Ack { cursor } = serde_json::from_str(text).ok()?;
    Cursor::parse(&cursor)
}

/// A page of history on the wire.
#[derive(Debug, Serialize)]
pub struct WirePage<'a> {
    /// The events, in order.
    pub events: Vec<WireEvent<'a>>,
    /// Where the next page goes on.
    pub cursor: String,
    /// What was lost to the reader, if anything.
    pub gap: Option<Gap>,
}

fn wire<'a>(epoch: &str, logged: &'a Logged) -> Result<WireEvent<'a>> {
    let data = serde_json::from_str(&logged.event.data).map_err(|_| Error::internal("an event holds no JSON"))?;
    Ok(WireEvent {
        cursor: Cursor { seen: logged.seen, ..Cursor::at(epoch, logged.offset) }.to_string(),
        id: Cow::Borrowed(&logged.event.id),
        kind: Cow::Borrowed(&logged.event.kind),
        at: logged.event.at.to_rfc3339(),
        data,
    })
}

fn wire_all<'a>(epoch: &str, events: &'a [Logged]) -> Result<Vec<WireEvent<'a>>> {
    events.iter().map(|logged| wire(epoch, logged)).collect()
}

/// The JSON of something that goes over the wire.
pub(super) fn write(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|_| Error::internal("a frame could not be written"))
}

/// The text of a frame.
pub fn frame(frame: &Frame) -> Result<String> {
    write(frame)
}

/// What goes before and after the texts of the events of a frame, which have commas between them.
pub const AROUND_EVENTS: (&str, &str) = (r#"{"type":"events","events":["#, "]}");

/// The texts of these events with commas between, as they stand in a frame.
pub fn event_texts(epoch: &str, events: &[Logged]) -> Result<String> {
    let list = write(&wire_all(epoch, events)?)?;
    let inside = list.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    inside.map(str::to_owned).ok_or_else(|| Error::internal("a frame could not be written"))
}

/// The text of the frame of these events.
pub fn events(epoch: &str, events: &[Logged]) -> Result<String> {
    Ok([AROUND_EVENTS.0, &event_texts(epoch, events)?, AROUND_EVENTS.1].concat())
}

/// What to say of a gap in `topic`.
pub fn gap(topic: &Topic, oldest: &Cursor) -> Gap {
    Gap { oldest: oldest.to_string(), reread: topic.reread() }
}

/// The JSON of a page of `topic`.
pub fn page(topic: &Topic, page: &Page) -> Result<String> {
    write(&WirePage {
        events: wire_all(&page.cursor.epoch, &page.events)?,
        cursor: page.cursor.to_string(),
        gap: page.gap.as_ref().map(|oldest| gap(topic, oldest)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::outbox::Event;
    use crate::time::UnixMillis;

    /// Clients in the field read these texts.
    #[test]
    fn frames_are_pinned() {
        let logged = Logged {
            offset: 7,
            seen: 0,
            event: Event {
                id: "Observation/1/_history/2".into(),
                kind: "observation".into(),
                at: UnixMillis(0),
                data: r#"{"value":1.50}"#.into(),
            },
        };
        let text = events("e1", std::slice::from_ref(&logged)).unwrap();
        let event = r#"{"cursor":"e1:7","id":"Observation/1/_history/2","kind":"observation","at":"1970-01-01T00:00:00.000Z","data":{"value":1.50}}"#;
        assert_eq!(text, format!(r#"{{"type":"events","events":[{event}]}}"#));
        let hello = Frame::Hello { cursor: "e1:7".into(), oldest: "e1:0".into() };
        assert_eq!(frame(&hello).unwrap(), r#"{"type":"hello","cursor":"e1:7","oldest":"e1:0"}"#);
        let topic = Topic::User("u".into());
        let lost = Frame::Gap(gap(&topic, &Cursor::at("e1", 3)));
        assert_eq!(
            frame(&lost).unwrap(),
            r#"{"type":"gap","oldest":"e1:3","reread":["/session","/alerts","/fhir/DiagnosticReport","/fhir/Appointment"]}"#
        );
        let bye = Frame::Bye { code: Close::Resume.code(), resume: true };
        assert_eq!(frame(&bye).unwrap(), r#"{"type":"bye","code":4000,"resume":true}"#);
        let cursor = Cursor::at("e1", 7);
        let text = page(&topic, &Page { events: vec![logged], cursor, gap: None, more: false }).unwrap();
        assert_eq!(text, format!(r#"{{"events":[{event}],"cursor":"e1:7","gap":null}}"#));
    }
}
