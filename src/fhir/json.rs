//! JSON (RFC 8259) as FHIR needs it: numbers kept as written, members in their order, no name twice in an object.
//!
//! Invariant: a [`Json`] read here is nested at most [`MAX_DEPTH`] deep, so that walking, writing and dropping it cannot
//! exhaust the stack (a wasm stack that overflows ends every request of its isolate); its objects hold at most
//! `MAX_MEMBERS` members, so that looking for a name among them is cheap.

use std::fmt;

/// How many arrays and objects may stand inside one another.
pub const MAX_DEPTH: usize = 64;

/// More members than any R4 type has elements: 55 at most, each with its `_` companion.
const MAX_MEMBERS: usize = 160;

/// A JSON value. `Debug` shows its shape and never what it holds.
#[derive(Clone, PartialEq)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, as it was written.
    Number(Box<str>),
    /// A string, unescaped.
    String(Box<str>),
    /// An array.
    Array(Vec<Json>),
    /// An object, in the order of its members.
    Object(Members),
}

/// The members of an object, in order; every name once.
pub(super) type Members = Vec<(Box<str>, Json)>;

/// Where and why a text is not JSON. Holds no part of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fault {
    /// From 1, counting line feeds.
    pub line: usize,
    /// From 1, counting characters.
    pub column: usize,
    pub what: &'static str,
}

impl Json {
    /// Reads one value that is the whole of `body`.
    pub(super) fn parse(body: &[u8]) -> Result<Json, Fault> {
        let text = match std::str::from_utf8(body) {
            Ok(text) => text,
            Err(error) => return Err(fault(body, error.valid_up_to(), "not UTF-8")),
        };
        let mut parser = Parser { rest: text };
        let result = parser.value(0).and_then(|value| {
            parser.space();
            if parser.rest.is_empty() { Ok(value) } else { Err("text after the end of the value") }
        });
        result.map_err(|what| fault(body, body.len().saturating_sub(parser.rest.len()), what))
    }

    /// The member `name` of an object; `None` where there is none, or where this is no object.
    pub fn get(&self, name: &str) -> Option<&Json> {
        match self {
            Json::Object(members) => get(members, name),
            _ => None,
        }
    }

    /// A number, as it was written.
    pub fn as_number(&self) -> Option<&str> {
        match self {
            Json::Number(text) => Some(text),
            _ => None,
        }
    }

    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Json::String(text) => Some(text),
            _ => None,
        }
    }

    /// The elements of an array; of anything else, none.
    pub fn items(&self) -> &[Json] {
        match self {
            Json::Array(items) => items,
            _ => &[],
        }
    }

    /// Calls `found` for each value at `path`, going into every element of arrays on the way and at its end, in document
    /// order, until `found` answers true; says whether it did.
    pub fn visit<'a>(&'a self, path: &[&str], found: &mut dyn FnMut(&'a Json) -> bool) -> bool {
        if let Json::Array(items) = self {
            return items.iter().any(|item| item.visit(path, found));
        }
        match path.split_first() {
            None => found(self),
            Some((name, rest)) => self.get(name).is_some_and(|next| next.visit(rest, found)),
        }
    }

    /// Appends the value as compact JSON.
    pub fn write(&self, out: &mut String) {
        match self {
            Json::Null => out.push_str("null"),
            Json::Bool(true) => out.push_str("true"),
            Json::Bool(false) => out.push_str("false"),
            Json::Number(text) => out.push_str(text),
            Json::String(text) => push_json_string(out, text),
            Json::Array(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    item.write(out);
                }
                out.push(']');
            }
            Json::Object(members) => write_members(members, out),
        }
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Json::Null => "null",
            Json::Bool(_) => "boolean",
            Json::Number(_) => "number",
            Json::String(_) => "string",
            Json::Array(_) => "array",
            Json::Object(_) => "object",
        })
    }
}

pub(super) fn get<'a>(members: &'a Members, name: &str) -> Option<&'a Json> {
    members.iter().find(|(each, _)| &**each == name).map(|(_, value)| value)
}

pub(super) fn write_members(members: &Members, out: &mut String) {
    out.push('{');
    for (index, (name, value)) in members.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        push_json_string(out, name);
        out.push(':');
        value.write(out);
    }
    out.push('}');
}

/// Appends `text` as a JSON string, quotes included (RFC 8259 section 7).
pub fn push_json_string(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
        let (plain, special) = rest.split_at_checked(at).unwrap_or((rest, ""));
        out.push_str(plain);
        let mut chars = special.chars();
        match chars.next() {
            Some('\n') => out.push_str("\\n"),
            Some('\r') => out.push_str("\\r"),
            Some('\t') => out.push_str("\\t"),
            Some(special @ ('"' | '\\')) => {
                out.push('\\');
                out.push(special);
            }
            Some(control) => {
                let code = u32::from(control);
                out.push_str("\\u00");
                for shift in [4, 0] {
                    out.extend(char::from_digit((code >> shift) & 0xf, 16));
                }
            }
            None => {}
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
    out.push('"');
}

fn fault(body: &[u8], offset: usize, what: &'static str) -> Fault {
    let before = body.get(..offset).unwrap_or(body);
    let line = before.iter().filter(|byte| **byte == b'\n').count().saturating_add(1);
    let last = before.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    // Every byte but the continuation bytes of UTF-8 begins a character.
    let column = last.iter().filter(|byte| **byte & 0xc0 != 0x80).count().saturating_add(1);
    Fault { line, column, what }
}

struct Parser<'a> {
    rest: &'a str,
}

type Parsed<T> = Result<T, &'static str>;

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<u8> {
        self.rest.as_bytes().first().copied()
    }

    /// Goes on by `count` bytes and gives them; to the end where that is not between two characters.
    fn take(&mut self, count: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at_checked(count).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }

    fn accept(&mut self, byte: u8) -> bool {
        let is = self.peek() == Some(byte);
        if is {
            self.take(1);
        }
        is
    }

    fn space(&mut self) {
        let other = |byte: u8| !matches!(byte, b' ' | b'\n' | b'\r' | b'\t');
        let count = self.rest.bytes().position(other).unwrap_or(self.rest.len());
        self.take(count);
    }

    fn word(&mut self, word: &str, value: Json) -> Parsed<Json> {
        self.rest = self.rest.strip_prefix(word).ok_or("not a JSON value")?;
        Ok(value)
    }

    fn value(&mut self, depth: usize) -> Parsed<Json> {
        self.space();
        match self.peek() {
            Some(b'{' | b'[') if depth >= MAX_DEPTH => Err("nested too deep"),
            Some(b'{') => self.object(depth.saturating_add(1)).map(Json::Object),
            Some(b'[') => self.array(depth.saturating_add(1)).map(Json::Array),
            Some(b'"') => self.string().map(Json::String),
            Some(b't') => self.word("true", Json::Bool(true)),
            Some(b'f') => self.word("false", Json::Bool(false)),
            Some(b'n') => self.word("null", Json::Null),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(_) => Err("not a JSON value"),
            None => Err("the text ends too early"),
        }
    }

    fn array(&mut self, depth: usize) -> Parsed<Vec<Json>> {
        self.take(1);
        let mut items = Vec::new();
        self.space();
        if self.accept(b']') {
            return Ok(items);
        }
        loop {
            items.push(self.value(depth)?);
            self.space();
            if self.accept(b']') {
                return Ok(items);
            }
            if !self.accept(b',') {
                return Err("a comma or the end of the array is missing");
            }
        }
    }

    fn object(&mut self, depth: usize) -> Parsed<Members> {
        self.take(1);
        let mut members = Members::new();
        self.space();
        if self.accept(b'}') {
            return Ok(members);
        }
        loop {
            self.space();
            if self.peek() != Some(b'"') {
                return Err("a member's name is missing");
            }
            let here = self.rest;
            let name = self.string()?;
            let twice = get(&members, &name).is_some();
            if twice || members.len() >= MAX_MEMBERS {
                self.rest = here;
                return Err(if twice { "a name stands twice in one object" } else { "an object has too many members" });
            }
            self.space();
            if !self.accept(b':') {
                return Err("a colon is missing");
            }
            members.push((name, self.value(depth)?));
            self.space();
            if self.accept(b'}') {
                return Ok(members);
            }
            if !self.accept(b',') {
                return Err("a comma or the end of the object is missing");
            }
        }
    }

    fn digits(&mut self) -> Parsed<()> {
        let count = self.rest.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(self.rest.len());
        self.take(count);
        if count == 0 { Err("a digit is missing") } else { Ok(()) }
    }

    fn number(&mut self) -> Parsed<Json> {
        let start = self.rest;
        self.accept(b'-');
        if !self.accept(b'0') {
            self.digits()?;
        }
        if self.accept(b'.') {
            self.digits()?;
        }
        if self.accept(b'e') || self.accept(b'E') {
            if !self.accept(b'-') {
                self.accept(b'+');
            }
            self.digits()?;
        }
        let text = start.get(..start.len().saturating_sub(self.rest.len())).unwrap_or_default();
        Ok(Json::Number(text.into()))
    }

    fn string(&mut self) -> Parsed<Box<str>> {
        self.take(1);
        let plain = self.plain()?;
        if self.accept(b'"') {
            return Ok(plain.into());
        }
        let mut text = String::from(plain);
        while !self.accept(b'"') {
            if self.accept(b'\\') {
                text.push(self.escape()?);
            }
            text.push_str(self.plain()?);
        }
        Ok(text.into())
    }

    /// The characters up to a quotation mark or a backslash.
    fn plain(&mut self) -> Parsed<&'a str> {
        let stop = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\';
        let count = self.rest.bytes().position(stop).unwrap_or(self.rest.len());
        let taken = self.take(count);
        match self.peek() {
            Some(b'"' | b'\\') => Ok(taken),
            Some(_) => Err("a control character in a string"),
            None => Err("the text ends too early"),
        }
    }

    fn escape(&mut self) -> Parsed<char> {
        let escaped = match self.peek() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(),
            _ => return Err("an unknown escape in a string"),
        };
        self.take(1);
        Ok(escaped)
    }

    /// From the `u` of `\uXXXX`, or of a pair of surrogates.
    fn unicode(&mut self) -> Parsed<char> {
        let first = self.hex()?;
        let units = if (0xd800..0xdc00).contains(&first) && self.accept(b'\\') {
            vec![first, self.hex()?]
        } else {
            vec![first]
        };
        let mut chars = char::decode_utf16(units);
        match (chars.next(), chars.next()) {
            (Some(Ok(only)), None) => Ok(only),
            _ => Err("half of a surrogate pair in a string"),
        }
    }

    fn hex(&mut self) -> Parsed<u16> {
        const WRONG: &str = "four hexadecimal digits are missing";
        if !self.accept(b'u') {
            return Err(WRONG);
        }
        let digits =
            self.rest.get(..4).filter(|four| four.bytes().all(|byte| byte.is_ascii_hexdigit())).ok_or(WRONG)?;
        self.take(4);
        u16::from_str_radix(digits, 16).map_err(|_| WRONG)
    }
}

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;
