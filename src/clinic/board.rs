//! The board of a ward: everybody who is in it, and what is known of them, in one reading.
//!
//! Invariant: all of it is of one instant, and so is the position from which the events of the ward go on.

use serde_json::{Value, json};

use super::following::Roll;
use crate::access::Scope;
use crate::channel::{Topic, outbox};
use crate::chart;
use crate::error::Result;
use crate::fhir::{Resource, ResourceType};
use crate::sorted::object;
use crate::store::sql::Sql;
use crate::time::UnixMillis;
use crate::vitals::alert::Alert;
use crate::vitals::evaluate::{State, latest_json, score_json};
use crate::vitals::watch::Watch;
use crate::vitals::{Latest, Parameter, alerts_sql, monitor, readings};

/// The board of `ward` for somebody who reaches `scope`; `reduced` to initials for a display that everybody sees.
pub(super) fn board(
    sql: &impl Sql,
    watch: &Watch,
    now: UnixMillis,
    scope: &Scope,
    ward: &str,
    reduced: bool,
) -> Result<Value> {
    let cursor = outbox::snapshot(sql, &Topic::Ward(ward.to_owned()), now)?;
    let mut patients = Vec::new();
    for (id, bed) in chart::patients_in(sql, ward)? {
        let reached = Roll(sql).owner(&id)?.is_some_and(|owner| scope.reaches(&owner));
        let Some(patient) = chart::current(sql, ResourceType::Patient, &id)?.filter(|_| reached) else { continue };
        let state = State::of(sql, now, &id)?;
        let latest = newest(sql, watch, &id)?;
        let latest = latest.iter().map(|latest| (latest.reading.parameter.as_str().to_owned(), latest_json(latest)));
        let latest = object(&mut { latest });
        let mut shown = json!({
            "id": id,
            "name": if reduced { initials(&name(&patient)) } else { name(&patient) },
            "bed": named(sql, &bed)?,
            "latest": latest,
            "news2": state.score.as_ref().map(|score| score_json(score, state.thresholds.scale)),
            "alerts": alerts_sql::of_patient(sql, &id)?.iter().map(Alert::to_json).collect::<Vec<_>>(),
            "monitor": monitor::to_json(sql, &id)?,
        });
        if let Some(shown) = shown.as_object_mut().filter(|_| !reduced) {
            shown.insert("birth_date".into(), patient.str_at(&["birthDate"]).into());
            shown.insert("gender".into(), patient.str_at(&["gender"]).into());
        }
        patients.push(shown);
    }
    Ok(json!({
        "ward": named(sql, ward)?,
        "at": now.to_rfc3339(),
        "cursor": cursor.to_string(),
        "patients": patients,
    }))
}

/// The latest readings, with what monitors have said since.
fn newest(sql: &impl Sql, watch: &Watch, patient: &str) -> Result<Vec<Latest>> {
    let mut both = readings::latest(sql, patient)?;
    both.extend(watch.newest(patient));
    let newest = Parameter::ALL.into_iter().filter_map(|parameter| {
        both.iter().filter(|latest| latest.reading.parameter == parameter).max_by_key(|latest| latest.at).cloned()
    });
    Ok(newest.collect())
}

/// Id and name of a Location.
fn named(sql: &impl Sql, location: &str) -> Result<Value> {
    let resource = chart::current(sql, ResourceType::Location, location)?;
    let name = resource.as_ref().and_then(|resource| resource.str_at(&["name"]));
    Ok(json!({ "id": location, "name": name }))
}

fn name(patient: &Resource) -> String {
    if let Some(text) = patient.str_at(&["name", "text"]) {
        return text.to_owned();
    }
    let parts = patient.strs_at(&["name", "given"]).take(1).chain(patient.strs_at(&["name", "family"]).take(1));
    parts.collect::<Vec<_>>().join(" ")
}

/// `Ada de Vance`: `A. d. V.`
fn initials(name: &str) -> String {
    let letters = name.split_whitespace().filter_map(|word| word.chars().next());
    letters.map(|letter| format!("{letter}.")).collect::<Vec<_>>().join(" ")
}
