//! A batch as one call of one Lua script, and the script's answer as what became of the batch.
//!
//! Invariant: a batch is one script, hence atomic, over keys with the hash tag of one shard, hence on one node of a
//! cluster. Arguments and answer are printable ASCII (values travel and rest in base64), so that no server or proxy has a
//! byte to misunderstand; an answer may be wrapped in base64 once more, as `Upstash-Encoding` asks for, and its beginning
//! shows whether it is.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::ser::{Serialize, SerializeSeq, Serializer};

use crate::store::{Applied, Condition, Entry, Op, OpReply, Shard};
use crate::time::UnixMillis;

/// The script.
pub const SCRIPT: &str = include_str!("batch.lua");
/// Its SHA-1, the name under which a server keeps it.
pub const SHA1: &str = "ea9b2745dadd24c7a726d712bfb8ca35312e94e3";

/// Every answer begins so: the version of the script's format.
const MARK: &str = "B1 ";
/// The expiry of what has none.
const NEVER: u64 = 9_999_999_999_999_999;
/// The digits of a version and of an expiry.
const DIGITS: usize = 16;

/// One call of a script.
pub trait Command: Serialize {
    /// What the script answers.
    type Answer;
    /// Reads it; `None` where this is no answer of the script.
    fn answer(&self, text: &str) -> Option<Self::Answer>;
    /// Has the script's text go along; false where it does already.
    fn put_in_full(&mut self) -> bool;
}

/// A script with what it is called with: printable ASCII.
#[derive(Clone)]
pub struct Script {
    /// Its text.
    pub text: &'static str,
    /// The SHA-1 of that, the name under which a server keeps it.
    pub sha1: &'static str,
    /// Every answer begins so.
    pub mark: &'static str,
    /// The keys it touches.
    pub keys: Vec<String>,
    /// The arguments.
    pub arguments: Vec<String>,
    /// Whether the text goes along.
    pub in_full: bool,
}

impl Script {
    /// What comes after the mark, whether or not the server has wrapped the answer.
    fn unwrapped(&self, text: &str) -> Option<String> {
        if let Some(plain) = text.strip_prefix(self.mark) {
            return Some(plain.to_owned());
        }
        let unwrapped = String::from_utf8(STANDARD.decode(text).ok()?).ok()?;
        Some(unwrapped.strip_prefix(self.mark)?.to_owned())
    }
}

impl Command for Script {
    type Answer = String;

    fn answer(&self, text: &str) -> Option<String> {
        self.unwrapped(text)
    }

    fn put_in_full(&mut self) -> bool {
        !std::mem::replace(&mut self.in_full, true)
    }
}

/// The call of the script for one batch.
#[derive(Clone)]
pub struct Call {
    script: Script,
    kinds: Vec<Kind>,
}

/// What a step answers.
#[derive(Clone, Copy)]
enum Kind {
    Get,
    Put,
    Other,
}

fn columns(what: char, condition: Condition, expires: u64, value: &[u8]) -> String {
    let (kind, version) = match condition {
        Condition::Always => ('-', 0),
        Condition::Absent => ('a', 0),
        Condition::Version(version) => ('v', version),
    };
    let mut text = format!("{what}{kind}{version:0DIGITS$}{expires:0DIGITS$}");
    STANDARD.encode_string(value, &mut text);
    text
}

impl Call {
    /// The call for `batch` on `shard`, judged at `now`; `None` is the server's clock.
    pub fn new(shard: Shard, batch: &[Op], now: Option<UnixMillis>) -> Call {
        let tag = format!("bedside:{{{}}}", shard.name());
        let mut keys = vec![format!("{tag}#")];
        let mut arguments = vec![now.map(|now| now.0.to_string()).unwrap_or_default()];
        for op in batch {
            let (key, condition) = op.condition();
            keys.push(format!("{tag}/{key}"));
            arguments.push(match op {
                Op::Get { .. } => "g".to_owned(),
                Op::Check { .. } => columns('c', condition, NEVER, &[]),
                Op::Put { value, expires, .. } => columns('p', condition, expires.map_or(NEVER, |at| at.0), value),
                Op::Delete { .. } => columns('d', condition, NEVER, &[]),
            });
        }
        let kind = |op: &Op| match op {
            Op::Get { .. } => Kind::Get,
            Op::Put { .. } => Kind::Put,
            Op::Check { .. } | Op::Delete { .. } => Kind::Other,
        };
        let script = Script { text: SCRIPT, sha1: SHA1, mark: MARK, keys, arguments, in_full: false };
        Call { script, kinds: batch.iter().map(kind).collect() }
    }

    fn plain(&self, text: &str) -> Option<Applied> {
        let mut words = text.split(' ');
        if words.next()? == "r" {
            let step = words.next()?.parse().ok().filter(|step| *step < self.kinds.len())?;
            return words.next().is_none().then_some(Applied::Refused { step });
        }
        let replies: Option<Vec<OpReply>> = self.kinds.iter().map(|kind| reply(*kind, words.next()?)).collect();
        words.next().is_none().then_some(Applied::Done(replies?))
    }
}

impl Command for Call {
    type Answer = Applied;

    fn answer(&self, text: &str) -> Option<Applied> {
        self.plain(&self.script.unwrapped(text)?)
    }

    fn put_in_full(&mut self) -> bool {
        self.script.put_in_full()
    }
}

/// A number in all its digits.
fn number(digits: &str) -> Option<u64> {
    digits.parse().ok().filter(|_| digits.len() == DIGITS)
}

fn reply(kind: Kind, word: &str) -> Option<OpReply> {
    match (kind, word) {
        (Kind::Get, "-") => Some(OpReply::Got(None)),
        (Kind::Get, _) => {
            let (version, rest) = word.strip_prefix('=')?.split_at_checked(DIGITS)?;
            let (expires, value) = rest.split_at_checked(DIGITS)?;
            let expires = Some(number(expires)?).filter(|at| *at != NEVER).map(UnixMillis);
            Some(OpReply::Got(Some(Entry { version: number(version)?, value: STANDARD.decode(value).ok()?, expires })))
        }
        (Kind::Put, _) => number(word.strip_prefix('w')?).map(OpReply::Wrote),
        (Kind::Other, _) => (word == ".").then_some(OpReply::Done),
    }
}

/// The Redis command, as the JSON array that the protocol takes.
impl Serialize for Script {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (name, script) = if self.in_full { ("EVAL", self.text) } else { ("EVALSHA", self.sha1) };
        let mut command = serializer.serialize_seq(None)?;
        command.serialize_element(name)?;
        command.serialize_element(script)?;
        command.serialize_element(&self.keys.len().to_string())?;
        for part in self.keys.iter().chain(&self.arguments) {
            command.serialize_element(part)?;
        }
        command.end()
    }
}

impl Serialize for Call {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.script.serialize(serializer)
    }
}
