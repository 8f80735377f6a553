//! The Upstash REST protocol: commands as the body of a request, and what a reply says of each.
//!
//! Invariant: a command is said to have been refused only where the reply leaves no doubt that it was not carried out;
//! whatever is neither an answer nor such a refusal is unknown. Nothing of a reply's text goes any further than here: a
//! server may repeat a command in it.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::outgoing::Response;
use crate::time::Ttl;

/// Which way commands go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One command.
    Single,
    /// Several in one request, in order, each for itself.
    Pipeline,
    /// Several in one request, as one transaction.
    Transaction,
}

impl Form {
    /// What goes behind the base URL.
    pub fn path(self) -> &'static str {
        match self {
            Form::Single => "/",
            Form::Pipeline => "/pipeline",
            Form::Transaction => "/multi-exec",
        }
    }
}

/// The body of a request with `commands`; `Single` takes one.
pub fn encode<C: Serialize>(form: Form, commands: &[C]) -> Option<String> {
    match (form, commands) {
        (Form::Single, [command]) => serde_json::to_string(command).ok(),
        (Form::Single, _) => None,
        (Form::Pipeline | Form::Transaction, _) => serde_json::to_string(commands).ok(),
    }
}

/// What became of one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was carried out and gave this text.
    Answered(String),
    /// It was not carried out.
    Refused(Refusal),
    /// Nobody can say whether it was carried out.
    Unknown,
}

/// Why a command was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The server does not have the script; it takes it in full.
    NoScript,
    /// It may be sent again, after as long as the server says, if it does.
    Later(Option<Ttl>),
    /// The token, or what it allows, is wrong.
    Denied,
    /// The server takes no such command, or there is no such server behind the URL.
    Unfit,
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(default)]
    error: Option<String>,
}

/// What `response` says of each of `count` commands.
pub fn decode(form: Form, count: usize, response: &Response) -> Vec<Fate> {
    let body = std::str::from_utf8(&response.body).unwrap_or_default();
    if !(200..300).contains(&response.status) {
        let error = serde_json::from_str::<Answer<'_>>(body).ok().and_then(|answer| answer.error);
        return vec![failed(response, error.as_deref()); count];
    }
    let answers = match form {
        Form::Single => serde_json::from_str::<Answer<'_>>(body).map(|answer| vec![answer]).ok(),
        Form::Pipeline | Form::Transaction => serde_json::from_str::<Vec<Answer<'_>>>(body).ok(),
    };
    match answers.filter(|answers| answers.len() == count) {
        Some(answers) => answers.into_iter().map(fate).collect(),
        None => vec![Fate::Unknown; count],
    }
}

fn fate(answer: Answer<'_>) -> Fate {
    match (answer.result, answer.error) {
        (_, Some(error)) => refusal(&error).map_or(Fate::Unknown, Fate::Refused),
        (Some(result), None) => serde_json::from_str(result.get()).map_or(Fate::Unknown, Fate::Answered),
        (None, None) => Fate::Unknown,
    }
}

/// What a reply without success says of its commands.
fn failed(response: &Response, error: Option<&str>) -> Fate {
    if let Some(refusal) = error.and_then(refusal) {
        return Fate::Refused(refusal);
    }
    match response.status {
        401 | 403 => Fate::Refused(Refusal::Denied),
        429 => {
            let seconds = response.header("retry-after").and_then(|text| text.trim().parse().ok());
            Fate::Refused(Refusal::Later(seconds.map(Ttl::from_secs)))
        }
        408 => Fate::Unknown,
        400..=499 => Fate::Refused(Refusal::Unfit),
        _ => Fate::Unknown,
    }
}

/// The refusal that an error's text is of; `None` where it is none that is known. A front may put words of its own before
/// what Redis said, with a colon between.
fn refusal(error: &str) -> Option<Refusal> {
    error.split(": ").find_map(|part| {
        let code = part.trim_start_matches('-').split(' ').next()?;
        Some(match code {
            "NOSCRIPT" => Refusal::NoScript,
            "LOADING" | "BUSY" | "OOM" | "MISCONF" | "READONLY" | "MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN"
            | "NOREPLICAS" => Refusal::Later(None),
            "NOAUTH" | "WRONGPASS" | "NOPERM" => Refusal::Denied,
            "WRONGTYPE" | "MOVED" | "ASK" | "CROSSSLOT" | "EXECABORT" => Refusal::Unfit,
            _ => return None,
        })
    })
}
