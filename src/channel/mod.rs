//! Channels: the events of a patient, a ward or a user, kept in order and replayed to whoever was away.
//!
//! Invariant: a subscriber that presents the cursor it was last given sees every later event of the topic once and in
//! order, or is told of a gap before it sees anything else.

pub mod cursor;
pub mod frame;
pub mod history;
pub mod log;
#[cfg(test)]
mod model;
pub mod object;
pub mod outbox;
pub mod poll;
pub mod replay;
pub mod sse;
pub mod subscription;
pub mod telemetry;
pub mod window;

use serde::{Deserialize, Serialize};

pub use self::object::{TopicReply, TopicRequest};

/// What events are about, and who may follow them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Topic {
    /// `patient/{id}`: what happens in a patient's compartment.
    Patient(String),
    /// `ward/{id}`: what happens to the patients of a ward, by the id of its Location.
    Ward(String),
    /// `user/{id}`: what is addressed to one account.
    User(String),
    /// `subscription/{id}`: what one FHIR Subscription is told. Nobody follows it but through that.
    Subscription(String),
    /// `schedule/{id}`: what becomes of the Slots of a Schedule.
    Schedule(String),
}

const REPORTS: &str = "/fhir/DiagnosticReport";
const APPOINTMENTS: &str = "/fhir/Appointment";

impl Topic {
    /// Reads `patient/{id}`, `ward/{id}`, `user/{id}` or `schedule/{id}`; the id is 1 to 64 of `A-Z a-z 0-9 - .`, as FHIR has them.
    pub fn parse(text: &str) -> Option<Topic> {
        let (class, id) = text.split_once('/')?;
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
        if !(1..=64).contains(&id.len()) || !id.bytes().all(allowed) {
            return None;
        }
        match class {
            "patient" => Some(Topic::Patient(id.to_owned())),
            "ward" => Some(Topic::Ward(id.to_owned())),
            "user" => Some(Topic::User(id.to_owned())),
            "subscription" => Some(Topic::Subscription(id.to_owned())),
            "schedule" => Some(Topic::Schedule(id.to_owned())),
            _ => None,
        }
    }

    /// What a subscriber reads again after a gap: the paths that give the present state of what its events are about.
    pub fn reread(&self) -> Vec<String> {
        match self {
            Topic::Patient(id) => vec![
                format!("/fhir/Patient/{id}"),
                format!("/fhir/Observation?patient={id}"),
                format!("/fhir/DiagnosticReport?patient={id}"),
                format!("/fhir/Appointment?patient={id}"),
                format!("/alerts?patient={id}"),
            ],
            // The board has the open alerts.
            Topic::Ward(id) => vec![format!("/wards/{id}/board"), REPORTS.to_owned(), APPOINTMENTS.to_owned()],
            Topic::User(_) => ["/session", "/alerts", REPORTS, APPOINTMENTS].map(str::to_owned).into(),
            Topic::Subscription(id) => vec![format!("/fhir/Subscription/{id}/$events")],
            Topic::Schedule(id) => vec![format!("/fhir/Slot?schedule={id}")],
        }
    }
}

impl std::fmt::Display for Topic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Topic::Patient(id) => write!(f, "patient/{id}"),
            Topic::Ward(id) => write!(f, "ward/{id}"),
            Topic::User(id) => write!(f, "user/{id}"),
            Topic::Subscription(id) => write!(f, "subscription/{id}"),
            Topic::Schedule(id) => write!(f, "schedule/{id}"),
        }
    }
}

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// An Observation was written.
    Observation,
    /// A DiagnosticReport was written.
    Diagnosis,
    /// An Appointment was written.
    Appointment,
    /// An alert was raised, pushed again, acknowledged or ended.
    Alert,
    /// A patient's early-warning score was reckoned anew.
    Score,
    /// A reading of a monitor. Kept for a shorter time than the others.
    Telemetry,
    /// A message of a person or a program to whoever follows the topic.
    Notice,
    /// A session is about to end.
    Session,
    /// A Slot was written.
    Slot,
    /// A lease was lost or broken.
    Lease,
}

impl EventKind {
    /// The kind of event that writing a resource of this type causes, if any.
    pub fn of(resource_type: &str) -> Option<EventKind> {
        match resource_type {
            "Observation" => Some(EventKind::Observation),
            "DiagnosticReport" => Some(EventKind::Diagnosis),
            "Appointment" => Some(EventKind::Appointment),
            "Slot" => Some(EventKind::Slot),
            _ => None,
        }
    }

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            EventKind::Observation => "observation",
            EventKind::Diagnosis => "diagnosis",
            EventKind::Appointment => "appointment",
            EventKind::Alert => "alert",
            EventKind::Score => "score",
            EventKind::Telemetry => "telemetry",
            EventKind::Notice => "notice",
            EventKind::Session => "session",
            EventKind::Slot => "slot",
            EventKind::Lease => "lease",
        }
    }
}

#[cfg(test)]
mod tests;
