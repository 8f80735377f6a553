//! The route table.
//!
//! Invariant: a path means one route or none, decided here alone. Ids are checked where they are cut out of the path, so
//! that no handler sees one that could not exist.

use super::booking::Operation;
use super::publish::File;
use crate::channel::Topic;
use crate::error::{Error, Kind, Result};
use crate::fhir::{ResourceType, is_valid_id};
use crate::lease::LeaseName;

/// What a path means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// `/session`
    Session,
    /// `/sessions`
    Sessions,
    /// `/sessions/{id}`
    SessionOf(String),
    /// `/users`
    Users,
    /// `/users/{id}`
    User(String),
    /// `/users/{id}/password`
    UserPassword(String),
    /// `/users/{id}/wards`
    UserWards(String),
    /// `/fhir`
    System,
    /// `/fhir/Appointment/$…` and `/fhir/Appointment/{id}/$…`
    Booking(Operation),
    /// `/fhir/$bulk-publish[/{file}]`
    Publish(File),
    /// `/fhir/metadata`
    Metadata,
    /// `/fhir/{type}`
    Type(ResourceType),
    /// `/fhir/{type}/_search`
    Search(ResourceType),
    /// `/fhir/{type}/{id}`
    Instance(ResourceType, String),
    /// `/fhir/{type}/{id}/_history`
    History(ResourceType, String),
    /// `/fhir/{type}/{id}/_history/{vid}`
    Version(ResourceType, String, u64),
    /// `/fhir/Patient/{id}/$everything`
    Everything(String),
    /// `/fhir/_history`, or `/fhir/{type}/_history`
    Log(Option<ResourceType>),
    /// Under `/fhir/Subscription`
    Subscription(SubscriptionPath),
    /// `/fhir/SubscriptionTopic[/{name}]`
    SubscriptionTopic(Option<String>),
    /// `/fhir/websocket`
    SubscriptionSocket,
    /// `/hooks/changed`, and `/hooks/changed/{type}/{id}`
    Changed(Option<(ResourceType, String)>),
    /// `/channels/{topic}`
    Channel(Topic),
    /// `/wards/{id}/board`
    Board(String),
    /// `/telemetry`
    Telemetry,
    /// `/audit`
    Audit,
    /// `/alerts`
    Alerts,
    /// `/alerts/{id}/acknowledge`
    Acknowledge(String),
    /// `/patients/{id}/thresholds`
    Thresholds(String),
    /// `/leases`
    Leases,
    /// `/leases/{name}`
    Lease(LeaseName),
    /// `/leases/{name}/break`
    BreakLease(LeaseName),
}

/// What a path under `/fhir/Subscription` means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubscriptionPath {
    /// `/fhir/Subscription`
    All,
    /// `/fhir/Subscription/{id}`
    One(String),
    /// `/fhir/Subscription/[{id}/]$status`
    Status(Option<String>),
    /// `/fhir/Subscription/{id}/$events`
    Events(String),
    /// `/fhir/Subscription/[{id}/]$get-ws-binding-token`
    BindingToken(Option<String>),
}

/// Which errors a route answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Area {
    /// OperationOutcome.
    Fhir,
    /// Problem details.
    Other,
}

impl Route {
    /// The methods that the route takes.
    pub fn methods(&self) -> &'static [&'static str] {
        match self {
            Route::Session | Route::Lease(_) => &["GET", "POST", "PUT", "DELETE"],
            Route::Sessions => &["GET", "DELETE"],
            Route::SessionOf(_) => &["DELETE"],
            Route::Users | Route::Type(_) | Route::Channel(_) | Route::Booking(Operation::Find) => &["GET", "POST"],
            Route::System
            | Route::Booking(_)
            | Route::Search(_)
            | Route::Telemetry
            | Route::Acknowledge(_)
            | Route::Leases
            | Route::BreakLease(_) => &["POST"],
            Route::User(_) | Route::Thresholds(_) => &["GET", "PUT"],
            Route::UserPassword(_) | Route::UserWards(_) => &["PUT"],
            Route::Publish(_)
            | Route::Metadata
            | Route::History(..)
            | Route::Version(..)
            | Route::Everything(_)
            | Route::Log(_)
            | Route::Alerts
            | Route::Audit
            | Route::Board(_) => &["GET"],
            Route::Instance(..) | Route::Subscription(SubscriptionPath::One(_)) => &["GET", "PUT", "DELETE"],
            Route::Subscription(_) => &["GET", "POST"],
            Route::SubscriptionTopic(_) | Route::SubscriptionSocket => &["GET"],
            Route::Changed(None) => &["POST"],
            Route::Changed(Some(_)) => &["POST", "PUT", "DELETE"],
        }
    }

    /// The area of the route.
    pub fn area(&self) -> Area {
        match self {
            Route::System
            | Route::Booking(_)
            | Route::Publish(_)
            | Route::Metadata
            | Route::Type(_)
            | Route::Search(_)
            | Route::Instance(..)
            | Route::History(..)
            | Route::Version(..)
            | Route::Everything(_)
            | Route::Log(_)
            | Route::Subscription(_)
            | Route::SubscriptionTopic(_)
            | Route::SubscriptionSocket => Area::Fhir,
            _ => Area::Other,
        }
    }
}

/// Whether errors of this path are OperationOutcomes.
pub fn is_fhir(path: &str) -> bool {
    path == "/fhir" || path.starts_with("/fhir/")
}

/// The error of a method that a path does not take; goes with an `Allow` header.
pub fn method_not_allowed() -> Error {
    Error::new(Kind::MethodNotAllowed, "this path does not take this method; the Allow header says which it takes")
        .at("method")
}

/// What `path` means; 404 where it means nothing.
pub fn find(path: &str) -> Result<Route> {
    let nothing = || Error::new(Kind::NotFound, "there is nothing at this path").at("path");
    let segments: Vec<&str> = path.strip_prefix('/').ok_or_else(nothing)?.split('/').collect();
    let id = |text: &str| if is_valid_id(text) { Ok(text.to_owned()) } else { Err(nothing()) };
    let kind = |text: &str| {
        let unknown = || Error::new(Kind::NotFound, "FHIR R4 has no resource type of this name").at("path");
        ResourceType::parse(text).ok_or_else(unknown)
    };
    match segments.as_slice() {
        ["session"] => Ok(Route::Session),
        ["sessions"] => Ok(Route::Sessions),
        ["sessions", one] => Ok(Route::SessionOf(id(one)?)),
        ["users"] => Ok(Route::Users),
        ["users", user] => Ok(Route::User(id(user)?)),
        ["users", user, "password"] => Ok(Route::UserPassword(id(user)?)),
        ["users", user, "wards"] => Ok(Route::UserWards(id(user)?)),
        ["fhir"] => Ok(Route::System),
        ["fhir", "Appointment", "$find" | "%24find"] => Ok(Route::Booking(Operation::Find)),
        ["fhir", "Appointment", "$hold" | "%24hold"] => Ok(Route::Booking(Operation::Hold)),
        ["fhir", "Appointment", "$book" | "%24book"] => Ok(Route::Booking(Operation::Book)),
        ["fhir", "Appointment", one, "$cancel" | "%24cancel"] => Ok(Route::Booking(Operation::Cancel(id(one)?))),
        ["fhir", "Appointment", one, "$reschedule" | "%24reschedule"] => {
            Ok(Route::Booking(Operation::Reschedule(id(one)?)))
        }
        ["fhir", "$bulk-publish" | "%24bulk-publish"] => Ok(Route::Publish(File::Manifest)),
        ["fhir", "$bulk-publish" | "%24bulk-publish", file] => {
            File::parse(file).map(Route::Publish).ok_or_else(nothing)
        }
        ["hooks", "changed"] => Ok(Route::Changed(None)),
        ["hooks", "changed", of, one] => Ok(Route::Changed(Some((kind(of)?, id(one)?)))),
        ["fhir", "metadata"] => Ok(Route::Metadata),
        ["fhir", "_history"] => Ok(Route::Log(None)),
        ["fhir", "websocket"] => Ok(Route::SubscriptionSocket),
        ["fhir", "SubscriptionTopic"] => Ok(Route::SubscriptionTopic(None)),
        ["fhir", "SubscriptionTopic", one] => Ok(Route::SubscriptionTopic(Some(id(one)?))),
        ["fhir", "Subscription", rest @ ..] => {
            let rest: Vec<String> = rest.iter().map(|part| part.replacen("%24", "$", 1)).collect();
            let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
            Ok(Route::Subscription(match rest.as_slice() {
                [] => SubscriptionPath::All,
                ["$status"] => SubscriptionPath::Status(None),
                ["$get-ws-binding-token"] => SubscriptionPath::BindingToken(None),
                [one] => SubscriptionPath::One(id(one)?),
                [one, "$status"] => SubscriptionPath::Status(Some(id(one)?)),
                [one, "$events"] => SubscriptionPath::Events(id(one)?),
                [one, "$get-ws-binding-token"] => SubscriptionPath::BindingToken(Some(id(one)?)),
                _ => return Err(nothing()),
            }))
        }
        ["fhir", of] => Ok(Route::Type(kind(of)?)),
        ["fhir", of, "_search"] => Ok(Route::Search(kind(of)?)),
        ["fhir", of, "_history"] => Ok(Route::Log(Some(kind(of)?))),
        ["fhir", of, one] => Ok(Route::Instance(kind(of)?, id(one)?)),
        ["fhir", "Patient", one, "$everything" | "%24everything"] => Ok(Route::Everything(id(one)?)),
        ["fhir", of, one, "_history"] => Ok(Route::History(kind(of)?, id(one)?)),
        ["fhir", of, one, "_history", version] => {
            let version = version.parse().map_err(|_| nothing())?;
            Ok(Route::Version(kind(of)?, id(one)?, version))
        }
        ["wards", one, "board"] => Ok(Route::Board(id(one)?)),
        ["telemetry"] => Ok(Route::Telemetry),
        ["alerts"] => Ok(Route::Alerts),
        ["alerts", one, "acknowledge"] => Ok(Route::Acknowledge(id(one)?)),
        ["patients", one, "thresholds"] => Ok(Route::Thresholds(id(one)?)),
        ["audit"] => Ok(Route::Audit),
        ["leases"] => Ok(Route::Leases),
        ["leases", name] => lease(name).map(Route::Lease),
        ["leases", name, "break"] => lease(name).map(Route::BreakLease),
        ["channels", class, one] => Topic::parse(&format!("{class}/{one}")).map(Route::Channel).ok_or_else(nothing),
        _ => Err(nothing()),
    }
}

fn lease(segment: &str) -> Result<LeaseName> {
    let unknown = || Error::new(Kind::NotFound, "a lease's name has 1 to 128 of A-Z a-z 0-9 . _ - :").at("path");
    // What encodes every segment of a path encodes a colon as well.
    LeaseName::parse(&segment.replace("%3A", ":").replace("%3a", ":")).ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_means_one_route_or_none() {
        let table = [
            ("/session", Some(Route::Session)),
            ("/session/", None),
            ("/sessions", Some(Route::Sessions)),
            ("/sessions/a-b", Some(Route::SessionOf("a-b".into()))),
            ("/users/a-b/wards", Some(Route::UserWards("a-b".into()))),
            ("/fhir/Patient", Some(Route::Type(ResourceType::Patient))),
            ("/fhir/Patient/_search", Some(Route::Search(ResourceType::Patient))),
            ("/fhir/patient", None),
            ("/fhir/Patient/p%201", None),
            ("/fhir/Patient/p.1", Some(Route::Instance(ResourceType::Patient, "p.1".into()))),
            ("/fhir/Patient/p/_history/2", Some(Route::Version(ResourceType::Patient, "p".into(), 2))),
            ("/fhir/Patient/p/_history/x", None),
            ("/fhir/Patient/_history", Some(Route::Log(Some(ResourceType::Patient)))),
            ("/fhir/_history", Some(Route::Log(None))),
            ("/fhir/Patient/p/$everything", Some(Route::Everything("p".into()))),
            ("/fhir/Patient/p/%24everything", Some(Route::Everything("p".into()))),
            ("/fhir/Encounter/e/$everything", None),
            ("/fhir/Appointment/$hold", Some(Route::Booking(Operation::Hold))),
            ("/fhir/Appointment/a/$cancel", Some(Route::Booking(Operation::Cancel("a".into())))),
            ("/fhir/%24bulk-publish", Some(Route::Publish(File::Manifest))),
            ("/fhir/$bulk-publish/Slot.ndjson", Some(Route::Publish(File::Of(ResourceType::Slot)))),
            ("/fhir/$bulk-publish/Patient.ndjson", None),
            ("/fhir/metadata", Some(Route::Metadata)),
            ("/channels/patient/p", Some(Route::Channel(Topic::Patient("p".into())))),
            ("/channels/bed/p", None),
            ("/wards/w/board", Some(Route::Board("w".into()))),
            ("/wards/w", None),
            ("/telemetry", Some(Route::Telemetry)),
            ("/alerts", Some(Route::Alerts)),
            ("/alerts/a", None),
            ("/alerts/a/acknowledge", Some(Route::Acknowledge("a".into()))),
            ("/patients/p/thresholds", Some(Route::Thresholds("p".into()))),
            ("/leases/slot%3A1", LeaseName::parse("slot:1").map(Route::Lease)),
            ("/audit", Some(Route::Audit)),
            ("/audit/1", None),
            ("/leases", Some(Route::Leases)),
            ("/leases/slot:1/break", LeaseName::parse("slot:1").map(Route::BreakLease)),
            ("/leases/slot/1", None),
            ("/leases/slot%2F1", None),
            ("/leases/", None),
            ("//session", None),
            ("/", None),
            ("", None),
        ];
        for (path, route) in table {
            assert_eq!(find(path).ok(), route, "{path}");
        }
    }
}
