//! Notifications: the Bundles that tell a subscriber, and the status of a subscription (R4 Topic-Based Subscription
//! Notification Bundle and R4 Backported R5 SubscriptionStatus of the backport, STU 1.1).
//!
//! Invariant: a notification holds no more of a resource than the subscription's content allows, whatever was asked for.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{Content, Settings, Status, Subject};
use crate::error::{Error, Result};
use crate::time::UnixMillis;

const BACKPORT: &str = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/";

/// What a notification is sent for (value set `subscription-notification-type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// The first of a connection or an endpoint.
    Handshake,
    /// Nothing happened for a while.
    Heartbeat,
    /// Something happened.
    EventNotification,
    /// The status was asked for.
    QueryStatus,
    /// Events of before were asked for.
    QueryEvent,
}

impl Type {
    fn as_str(self) -> &'static str {
        match self {
            Type::Handshake => "handshake",
            Type::Heartbeat => "heartbeat",
            Type::EventNotification => "event-notification",
            Type::QueryStatus => "query-status",
            Type::QueryEvent => "query-event",
        }
    }
}

/// A subscription as notifications speak of it.
#[derive(Clone, Debug)]
pub struct About<'a> {
    /// The URL of the FHIR endpoint, without a slash at the end.
    pub base: &'a str,
    /// The subscription's id.
    pub id: &'a str,
    /// What it asks for.
    pub settings: &'a Settings,
    /// Where it stands.
    pub status: Status,
    /// The number of its newest event: all that were committed since it began.
    pub events: u64,
    /// What went wrong, if something did.
    pub error: Option<&'a str>,
}

/// An event of a subscription.
#[derive(Clone, Debug)]
pub struct Told<'a> {
    /// Its number.
    pub number: u64,
    /// When it was committed.
    pub at: UnixMillis,
    /// Its data: see [`crate::channel::EventKind`]; `None` where what it is about is out of the subscriber's reach by now.
    pub data: Option<&'a str>,
}

/// What events say that notifications are about.
#[derive(Deserialize)]
struct Data<'a> {
    reference: Option<String>,
    version: Option<u64>,
    #[serde(borrow)]
    resource: Option<&'a RawValue>,
    #[serde(borrow)]
    alert: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Alert {
    id: String,
    patient: String,
    severity: String,
    raised_at: String,
    ended: Option<Value>,
}

/// The Parameters that say where a subscription stands.
pub fn status(about: &About<'_>, of: Type) -> Value {
    parameters(about, of, about.settings.content, Vec::new())
}

fn parameters(about: &About<'_>, of: Type, content: Content, events: Vec<Value>) -> Value {
    let mut list = vec![json!({
        "name": "subscription",
        "valueReference": { "reference": format!("{}/Subscription/{}", about.base, about.id) },
    })];
    if content != Content::Empty {
        list.push(json!({ "name": "topic", "valueCanonical": about.settings.subject.url() }));
    }
    list.push(json!({ "name": "status", "valueCode": about.status.as_str() }));
    list.push(json!({ "name": "type", "valueCode": of.as_str() }));
    list.push(json!({ "name": "events-since-subscription-start", "valueString": about.events.to_string() }));
    list.extend(events);
    list.extend(about.error.map(|text| json!({ "name": "error", "valueCodeableConcept": { "text": text } })));
    json!({
        "resourceType": "Parameters",
        "meta": { "profile": [format!("{BACKPORT}backport-subscription-status-r4")] },
        "parameter": list,
    })
}

/// The Bundle of a notification at `now`. `uuid` is new for each.
pub fn bundle(
    about: &About<'_>,
    of: Type,
    content: Content,
    events: &[Told<'_>],
    uuid: &str,
    now: UnixMillis,
) -> Result<String> {
    let content = least(content, about.settings.content);
    let unreadable = |_| Error::internal("an event could not be read");
    let mut parts = Vec::new();
    let mut entries = Vec::new();
    for event in events {
        let mut part = vec![
            json!({ "name": "event-number", "valueString": event.number.to_string() }),
            json!({ "name": "timestamp", "valueInstant": event.at.to_rfc3339() }),
        ];
        let Some(data) = event.data else {
            parts.push(json!({ "name": "notification-event", "part": part }));
            continue;
        };
        let data: Data<'_> = serde_json::from_str(data).map_err(unreadable)?;
        let alert: Option<Alert> =
            data.alert.map(|alert| serde_json::from_str(alert.get())).transpose().map_err(unreadable)?;
        let focus = match &alert {
            Some(alert) => Some(format!("Patient/{}", alert.patient)),
            None => data.reference.clone(),
        };
        let focus = focus.ok_or_else(|| Error::internal("an event is about nothing"))?;
        if content != Content::Empty {
            part.push(json!({ "name": "focus", "valueReference": { "reference": format!("{}/{focus}", about.base) } }));
        }
        parts.push(json!({ "name": "notification-event", "part": part }));
        if content != Content::FullResource {
            continue;
        }
        match (&alert, data.resource) {
            (Some(alert), _) => {
                let url = format!("{}/Patient/{}", about.base, alert.patient);
                entries.push(entry(&format!("urn:uuid:{}", alert.id), &flag(alert), ("GET", &url), "200"));
            }
            (None, Some(resource)) => {
                let kind = focus.split('/').next().unwrap_or_default();
                let (request, answer) =
                    if data.version == Some(1) { (("POST", kind), "201") } else { (("PUT", focus.as_str()), "200") };
                entries.push(entry(&format!("{}/{focus}", about.base), resource.get(), request, answer));
            }
            (None, None) => {}
        }
    }
    let status = parameters(about, of, content, parts).to_string();
    let asked = format!("{}/Subscription/{}/$status", about.base, about.id);
    let first = entry(&format!("urn:uuid:{uuid}"), &status, ("GET", &asked), "200");
    let entries: Vec<String> = std::iter::once(first).chain(entries).collect();
    Ok(format!(
        r#"{{"resourceType":"Bundle","meta":{{"profile":["{BACKPORT}backport-subscription-notification-r4"]}},"type":"history","timestamp":"{}","entry":[{}]}}"#,
        now.to_rfc3339(),
        entries.join(",")
    ))
}

/// No more than the subscription says.
fn least(asked: Content, allowed: Content) -> Content {
    match (asked, allowed) {
        (Content::Empty, _) | (_, Content::Empty) => Content::Empty,
        (Content::IdOnly, _) | (_, Content::IdOnly) => Content::IdOnly,
        (Content::FullResource, Content::FullResource) => Content::FullResource,
    }
}

fn entry(full_url: &str, resource: &str, (method, url): (&str, &str), answer: &str) -> String {
    let request = json!({ "method": method, "url": url });
    let full_url = Value::from(full_url);
    format!(r#"{{"fullUrl":{full_url},"resource":{resource},"request":{request},"response":{{"status":"{answer}"}}}}"#)
}

/// An alert as R4 has it: a Flag (section 10.6: a warning of potential issues when providing care to the patient).
fn flag(alert: &Alert) -> String {
    json!({
        "resourceType": "Flag",
        "id": alert.id,
        "status": if alert.ended.as_ref().is_some_and(|ended| !ended.is_null()) { "inactive" } else { "active" },
        "category": [{ "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/flag-category", "code": "clinical" }] }],
        "code": { "text": format!("vital signs: alert, severity {}", alert.severity) },
        "subject": { "reference": format!("Patient/{}", alert.patient) },
        "period": { "start": alert.raised_at },
    })
    .to_string()
}

/// A SubscriptionTopic, which R4 does not have, as a Basic resource.
pub fn topic(subject: Subject) -> Value {
    let r5 = |name: &str| format!("http://hl7.org/fhir/5.0/StructureDefinition/extension-SubscriptionTopic.{name}");
    let filters = subject.filters().iter().map(|parameter| {
        json!({
            "url": r5("canFilterBy"),
            "extension": [
                { "url": "resource", "valueUri": format!("http://hl7.org/fhir/StructureDefinition/{}", subject.resource()) },
                { "url": "filterParameter", "valueString": parameter.as_str() },
            ],
        })
    });
    let mut extension = vec![
        json!({ "url": r5("url"), "valueUri": subject.url() }),
        json!({ "url": r5("status"), "valueCode": "active" }),
        json!({ "url": r5("description"), "valueMarkdown": subject.description() }),
        json!({
            "url": r5("resourceTrigger"),
            "extension": [
                { "url": "resource", "valueUri": format!("http://hl7.org/fhir/StructureDefinition/{}", subject.resource()) },
                { "url": "supportedInteraction", "valueCode": "create" },
                { "url": "supportedInteraction", "valueCode": "update" },
            ],
        }),
    ];
    extension.extend(filters);
    json!({
        "resourceType": "Basic",
        "id": subject.name(),
        "extension": extension,
        "code": { "coding": [{ "system": "http://hl7.org/fhir/fhir-types", "code": "SubscriptionTopic" }] },
    })
}
