//! Telemetry: readings of monitors, which are events and no records. `POST /telemetry` takes those of many patients at once,
//! `POST /channels/patient/{id}` with kind `telemetry` one of one.
//!
//! Invariant: a reading is acknowledged only when it is in the log of its patient and in that of every ward the patient is
//! in. What was not acknowledged is sent again under the same id, and is in each log once.

use serde::Deserialize;
use serde_json::{Value, json};

use super::channels::is_key;
use super::reply::Response;
use super::{Context, Incoming, Platform, input};
use crate::access::{Action, Scope, refused};
use crate::channel::telemetry::Reading as Sent;
use crate::channel::{Topic, TopicReply, TopicRequest};
use crate::error::{Error, Kind, Result, Retry};
use crate::fhir::is_valid_id;
use crate::outgoing::join_all;
use crate::sorted::{BTreeMap, object};
use crate::time::UnixMillis;
use crate::vitals::watch::Sample;
use crate::vitals::{Consciousness, Milli, Parameter, Reading};

/// The most that a body may weigh.
const LIMIT: usize = 64 * 1_024;
/// The most readings in one request: each patient and each ward is a call of its own.
const MOST: usize = 100;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch {
    readings: Vec<OfPatient>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfPatient {
    patient: String,
    id: Option<String>,
    at: Option<String>,
    values: BTreeMap<String, Value>,
}

/// A reading as the channel `patient/{id}` takes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfChannel {
    at: Option<String>,
    values: BTreeMap<String, Value>,
}

fn reading(word: &str, value: &Value) -> Result<Reading> {
    let wrong = |message: &'static str| {
        let known = Parameter::parse(word).map_or("values".to_owned(), |one| format!("values.{}", one.as_str()));
        Error::new(Kind::Unprocessable, message).at(known)
    };
    let parameter = Parameter::parse(word).ok_or_else(|| wrong("there is no such parameter"))?;
    let value = match (parameter, value) {
        (Parameter::SupplementalOxygen, Value::Bool(given)) => Milli::whole(i64::from(*given)),
        (Parameter::SupplementalOxygen, _) => return Err(wrong("this is true or false")),
        (Parameter::Consciousness, Value::String(letter)) => {
            Consciousness::parse(letter).ok_or_else(|| wrong("this is one of A, C, V, P and U"))?.value()
        }
        (Parameter::Consciousness, _) => return Err(wrong("this is one of A, C, V, P and U")),
        (_, Value::Number(number)) => Milli::from_f64(number.as_f64().unwrap_or(f64::NAN)),
        _ => return Err(wrong("this is a number in the parameter's own unit")),
    };
    if !parameter.possible().contains(&value) {
        return Err(wrong("this is outside of what the sign can be in a patient"));
    }
    Ok(Reading { parameter, value })
}

impl OfPatient {
    /// What is watched, and what is sent on.
    fn read(&self, now: UnixMillis, random: impl FnOnce() -> String) -> Result<(Sample, Sent)> {
        let invalid =
            |field: &str, message: &'static str| Error::new(Kind::Unprocessable, message).at(field.to_owned());
        if !is_valid_id(&self.patient) {
            return Err(invalid("patient", "this must be the id of a Patient"));
        }
        if self.id.as_deref().is_some_and(|id| !is_key(id)) {
            return Err(invalid("id", "an id has 1 to 64 of A-Z a-z 0-9 . _ - :"));
        }
        let at = self.at.as_deref().map(|text| {
            UnixMillis::parse_rfc3339(text).ok_or_else(|| invalid("at", "this must be an instant of RFC 3339"))
        });
        let at = at.transpose()?;
        let readings = self.values.iter().map(|(word, value)| reading(word, value)).collect::<Result<Vec<_>>>()?;
        if readings.is_empty() {
            return Err(invalid("values", "there is nothing in it"));
        }
        let values = readings.iter().map(|one| (one.parameter.as_str().to_owned(), one.value.to_json(one.parameter)));
        let values = object(&mut { values });
        let id = self.id.clone().or_else(|| at.map(|at| at.0.to_string())).unwrap_or_else(random);
        let at = at.unwrap_or(now);
        let sent = Sent { patient: self.patient.clone(), id, at, values: Value::from(values).to_string() };
        Ok((Sample { patient: self.patient.clone(), at, readings }, sent))
    }
}

/// `POST /telemetry`
pub async fn many<P: Platform, R: Incoming>(context: &Context<'_, P, R>) -> Result<Response> {
    let scope = context.reader().await?.may(Action::PostTelemetry)?;
    let Batch { readings } = input::json_within(context.request, LIMIT).await?;
    if !(1..=MOST).contains(&readings.len()) {
        return Err(Error::new(Kind::Unprocessable, "there are 1 to 100 readings in a request").at("readings"));
    }
    let now = context.platform.now();
    let read = readings.iter().enumerate().map(|(index, reading)| {
        let located = |error: Error| {
            let field = format!("readings[{index}].{}", error.field.as_deref().unwrap_or_default());
            error.at(field)
        };
        reading.read(now, || context.platform.uuid()).map_err(located)
    });
    let (samples, sent): (Vec<Sample>, Vec<Sent>) = read.collect::<Result<Vec<_>>>()?.into_iter().unzip();
    let patients: Vec<String> = sent.iter().map(|sent| sent.patient.clone()).collect();
    let results = put(context, scope, samples, sent).await?;
    let results = patients.into_iter().zip(results).map(|(patient, result)| match result {
        Ok(cursor) => json!({ "patient": patient, "cursor": cursor }),
        Err(error) => json!({ "patient": patient, "error": {
            "status": error.status(),
            "detail": error.message,
            "retry": if error.retry == Retry::Never { "never" } else { "after" },
        } }),
    });
    Ok(Response::json(200, json!({ "results": results.collect::<Vec<_>>() }).to_string()))
}

/// `POST /channels/patient/{id}` with kind `telemetry`
pub async fn one<P: Platform, R: Incoming>(
    context: &Context<'_, P, R>,
    topic: &Topic,
    scope: Scope,
    (id, data): (Option<String>, &str),
) -> Result<Response> {
    let Topic::Patient(patient) = topic else {
        return Err(Error::new(Kind::Unprocessable, "telemetry is of a patient").at("kind"));
    };
    let of_channel: OfChannel = serde_json::from_str(data).map_err(|_| {
        Error::new(Kind::Unprocessable, "data of telemetry is {at?, values: {parameter: value}}").at("data")
    })?;
    let reading = OfPatient { patient: patient.clone(), id, at: of_channel.at, values: of_channel.values };
    let (sample, sent) = reading.read(context.platform.now(), || context.platform.uuid())?;
    let cursor = put(context, scope, vec![sample], vec![sent]).await?.into_iter().next();
    let cursor = cursor.ok_or_else(|| Error::internal("a reading was lost on the way"))??;
    Ok(Response::json(201, json!({ "cursor": cursor }).to_string()))
}

/// Has the readings watched and brings them to their topics. For each, the position after it in its patient's, or why it is
/// not acknowledged.
async fn put<P: Platform, R>(
    context: &Context<'_, P, R>,
    scope: Scope,
    samples: Vec<Sample>,
    sent: Vec<Sent>,
) -> Result<Vec<Result<String>>> {
    let owners = context.platform.telemetry(scope, samples).await?;
    let mut by_topic: BTreeMap<Topic, Vec<Sent>> = BTreeMap::new();
    for (owner, sent) in owners.iter().zip(&sent) {
        let Some(owner) = owner else { continue };
        let wards = owner.wards.iter().cloned().map(Topic::Ward);
        for topic in wards.chain([Topic::Patient(owner.patient.clone())]) {
            by_topic.entry(topic).or_default().push(sent.clone());
        }
    }
    let calls = by_topic.into_iter().map(|(topic, readings)| async move {
        let request = TopicRequest::Telemetry { topic: topic.clone(), readings };
        let outcome = match context.platform.topic(&topic, request).await {
            Ok(TopicReply::Published { cursor, .. }) => Ok(cursor.to_string()),
            Ok(_) => Err(Error::internal("a topic answered something else than was asked")),
            Err(error) => Err(error),
        };
        (topic, outcome)
    });
    let outcomes: BTreeMap<Topic, Result<String>> = join_all(calls).await.into_iter().collect();
    let lost = || Err(Error::unavailable("a topic does not answer; send it again under the same id"));
    Ok(owners
        .into_iter()
        .map(|owner| {
            let owner = owner.ok_or_else(refused)?;
            for ward in owner.wards {
                if !matches!(outcomes.get(&Topic::Ward(ward)), Some(Ok(_))) {
                    return lost();
                }
            }
            match outcomes.get(&Topic::Patient(owner.patient)) {
                Some(Ok(cursor)) => Ok(cursor.clone()),
                _ => lost(),
            }
        })
        .collect())
}
