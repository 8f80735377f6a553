//! FHIR Subscriptions (R5 backport for R4, STU 1.1): what a client asks to be told of, and what is to be told.
//!
//! Invariant: the events of a subscription are a topic of their own, `subscription/{id}`, numbered from 1 in the order of
//! commits: event number and offset are the same, and no number is given twice or left out. An event is of a subscription if
//! its topic and filters hold and the subscriber's account reached what it is about when it was committed. What is told later,
//! and is out of the account's reach by then, is a number and nothing else.

pub mod hook;
pub mod notification;
mod parse;
pub mod socket;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::EventKind;
use crate::fhir::at;
use crate::time::{Ttl, UnixMillis};

/// What one can subscribe to: the SubscriptionTopics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Subject {
    /// Observations of category vital-signs.
    VitalSigns,
    /// Alerts over vital signs.
    Alerts,
    /// DiagnosticReports.
    Reports,
    /// Appointments.
    Appointments,
}

impl Subject {
    /// All.
    pub const ALL: [Subject; 4] = [Subject::VitalSigns, Subject::Alerts, Subject::Reports, Subject::Appointments];

    /// The last part of the canonical URL.
    pub fn name(self) -> &'static str {
        match self {
            Subject::VitalSigns => "vital-signs",
            Subject::Alerts => "alerts",
            Subject::Reports => "diagnostic-reports",
            Subject::Appointments => "appointments",
        }
    }

    /// The canonical URL. It names the topic wherever the server is.
    pub fn url(self) -> String {
        format!("https://bedside.example/fhir/SubscriptionTopic/{}", self.name())
    }

    /// The topic of this canonical URL.
    pub fn parse(url: &str) -> Option<Subject> {
        Subject::ALL.into_iter().find(|subject| subject.url() == url)
    }

    /// One sentence.
    pub fn description(self) -> &'static str {
        match self {
            Subject::VitalSigns => "An Observation of category vital-signs was created or updated.",
            Subject::Alerts => {
                "An alert over a patient's vital signs was raised, pushed again, escalated, acknowledged or ended."
            }
            Subject::Reports => "A DiagnosticReport was created or updated.",
            Subject::Appointments => "An Appointment was created or updated.",
        }
    }

    /// The type of the resource that an event is about.
    pub fn resource(self) -> &'static str {
        match self {
            Subject::VitalSigns => "Observation",
            Subject::Alerts => "Patient",
            Subject::Reports => "DiagnosticReport",
            Subject::Appointments => "Appointment",
        }
    }

    /// By what it can be narrowed.
    pub fn filters(self) -> &'static [Parameter] {
        match self {
            Subject::VitalSigns | Subject::Reports => {
                &[Parameter::Patient, Parameter::Code, Parameter::Category, Parameter::Status]
            }
            Subject::Alerts => &[Parameter::Patient],
            Subject::Appointments => &[Parameter::Patient, Parameter::Status],
        }
    }

    /// The kind of its events.
    fn kind(self) -> EventKind {
        match self {
            Subject::VitalSigns => EventKind::Observation,
            Subject::Alerts => EventKind::Alert,
            Subject::Reports => EventKind::Diagnosis,
            Subject::Appointments => EventKind::Appointment,
        }
    }

    /// The topics that an event of this kind can be of.
    pub fn of_kind(kind: &str) -> impl Iterator<Item = Subject> + use<'_> {
        Subject::ALL.into_iter().filter(move |subject| subject.kind().as_str() == kind)
    }
}

/// By what events are narrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Parameter {
    /// The patient.
    Patient,
    /// `code`
    Code,
    /// `category`
    Category,
    /// `status`
    Status,
}

impl Parameter {
    /// The name of the search parameter.
    pub fn as_str(self) -> &'static str {
        match self {
            Parameter::Patient => "patient",
            Parameter::Code => "code",
            Parameter::Category => "category",
            Parameter::Status => "status",
        }
    }
}

/// One filter: it holds where one of the values does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// By what.
    pub parameter: Parameter,
    /// The values; of a patient the id, of a code `system|code` or `code`.
    pub values: Vec<String>,
}

/// Where notifications go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Channel {
    /// Over the WebSocket on which the client binds.
    WebSocket,
    /// To a URL.
    RestHook {
        /// The URL.
        endpoint: String,
        /// Headers to be sent along.
        headers: Vec<(String, String)>,
    },
}

/// How much of a resource is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// That there was an event.
    Empty,
    /// What it was about.
    IdOnly,
    /// All of it.
    FullResource,
}

impl Content {
    /// The code.
    pub fn as_str(self) -> &'static str {
        match self {
            Content::Empty => "empty",
            Content::IdOnly => "id-only",
            Content::FullResource => "full-resource",
        }
    }

    /// The content of this code.
    pub fn parse(code: &str) -> Option<Content> {
        [Content::Empty, Content::IdOnly, Content::FullResource].into_iter().find(|content| content.as_str() == code)
    }
}

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Of what.
    pub subject: Subject,
    /// All must hold.
    pub filters: Vec<Filter>,
    /// Where to.
    pub channel: Channel,
    /// How much.
    pub content: Content,
    /// A heartbeat after so long without an event.
    pub heartbeat: Option<Ttl>,
    /// An attempt at a delivery takes at most this long.
    pub timeout: Option<Ttl>,
    /// At most so many events in a notification.
    pub most: Option<u64>,
    /// The first instant at which it is over.
    pub end: Option<UnixMillis>,
}

/// Where a subscription stands (R4 value set `subscription-status`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Its endpoint has not answered yet.
    Requested,
    /// Events are told.
    Active,
    /// Its endpoint has failed for too long: nothing is told until it is asked for again.
    Error,
    /// The client has switched it off, or its end has come.
    Off,
}

impl Status {
    /// The code.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Requested => "requested",
            Status::Active => "active",
            Status::Error => "error",
            Status::Off => "off",
        }
    }

    /// The status of this code.
    pub fn parse(code: &str) -> Option<Status> {
        [Status::Requested, Status::Active, Status::Error, Status::Off].into_iter().find(|one| one.as_str() == code)
    }
}

impl Settings {
    /// Whether an event with this `data` is one of the subscription's.
    pub fn matches(&self, data: &Value) -> bool {
        let concerns = match self.subject {
            Subject::VitalSigns => has_code(at(data, "/resource/category"), "vital-signs"),
            Subject::Alerts => at(data, "/alert").is_object(),
            Subject::Reports | Subject::Appointments => at(data, "/resource").is_object(),
        };
        concerns && self.filters.iter().all(|filter| filter.holds(data))
    }
}

impl Filter {
    fn holds(&self, data: &Value) -> bool {
        self.values.iter().any(|value| match self.parameter {
            Parameter::Patient => patients(data).any(|patient| patient == value),
            Parameter::Code => has_code(at(data, "/resource/code"), value),
            Parameter::Category => has_code(at(data, "/resource/category"), value),
            Parameter::Status => at(data, "/resource/status") == value.as_str(),
        })
    }
}

/// The ids of the patients whom an event with this `data` is about.
pub fn patients(data: &Value) -> impl Iterator<Item = &str> {
    let participants = at(data, "/resource/participant").as_array().into_iter().flatten();
    let references = participants.map(|one| at(one, "/actor/reference"));
    let references = std::iter::once(at(data, "/resource/subject/reference")).chain(references);
    let named = references.filter_map(|reference| reference.as_str()?.strip_prefix("Patient/"));
    at(data, "/alert/patient").as_str().into_iter().chain(named)
}

/// Whether a CodeableConcept, or one of several, has the code of a token: `code`, `system|code`, `|code` or `system|`.
fn has_code(concepts: &Value, token: &str) -> bool {
    let several = concepts.as_array().map_or(std::slice::from_ref(concepts), Vec::as_slice);
    let (system, code) = token.split_once('|').map_or((None, token), |(system, code)| (Some(system), code));
    several.iter().flat_map(|concept| at(concept, "/coding").as_array().into_iter().flatten()).any(|coding| {
        (code.is_empty() || at(coding, "/code") == code)
            && system.is_none_or(|system| at(coding, "/system").as_str().unwrap_or_default() == system)
    })
}

#[cfg(test)]
mod tests;
