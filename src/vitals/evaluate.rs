//! What follows from a write: the score is told again, alerts are raised, changed, cleared and withdrawn.
//!
//! Invariant: what is told follows from the readings that are kept after the write. Nothing follows from a reading that is
//! neither the latest of its parameter nor a correction.

use super::alert::{Alert, Basis, Cause, Finding, Severity};
use super::codes::Charted;
use super::news2::{self, Score};
use super::thresholds::Thresholds;
use super::watch::Minute;
use super::{COUNTS, Census, FRESH, Latest, Milli, Parameter, Reading, TELEMETRY, alerts_sql, readings, thresholds};
use crate::access::Owner;
use crate::channel::EventKind;
use crate::channel::outbox::{self, Event};
use crate::config::alerts::Rules;
use crate::error::Result;
use crate::sorted::{BTreeMap, BTreeSet, object};
use crate::store::sql::Sql;
use crate::time::{Entropy, Ttl, UnixMillis};

/// An Observation that was written.
pub struct Written<'a> {
    /// Its id.
    pub id: &'a str,
    /// Whether there was a version of it before.
    pub existed: bool,
    /// What it says; `None` where it says nothing, or nothing any more.
    pub charted: Option<&'a Charted>,
}

/// Follows the writes of one transaction. Call it inside. Gives the patients of whom something came that is new.
pub fn written(
    sql: &impl Sql,
    census: &impl Census,
    entropy: &impl Entropy,
    (now, rules): (UnixMillis, &Rules),
    writes: &[Written<'_>],
) -> Result<Vec<String>> {
    let mut touched: BTreeMap<String, Basis> = BTreeMap::new();
    for write in writes {
        if write.existed {
            for patient in readings::forget(sql, write.id)? {
                touched.entry(patient).or_default().corrected.push(write.id.to_owned());
            }
        }
        let Some(charted) = write.charted else { continue };
        let news = readings::keep(sql, now, write.id, charted)?;
        if news.counts {
            let basis = touched.entry(charted.patient.clone()).or_default();
            basis.counts = true;
            if news.fresh {
                basis.fresh.push(write.id.to_owned());
            }
        }
    }
    for (patient, basis) in &touched {
        look(sql, census, entropy, (now, rules), patient, basis)?;
    }
    Ok(touched.into_iter().filter(|(_, basis)| !basis.fresh.is_empty()).map(|(patient, _)| patient).collect())
}

/// By what a parameter is judged at present is kept again after so long although it changes nothing, so that it counts.
const REFRESH: Ttl = Ttl::from_mins(5);

/// Follows the telemetry of `patient` as far as it changes a score or goes beyond a limit. Call it in a transaction.
pub fn watched(
    sql: &impl Sql,
    census: &impl Census,
    entropy: &impl Entropy,
    (now, rules): (UnixMillis, &Rules),
    patient: &str,
    minute: &Minute,
) -> Result<()> {
    let latest = readings::latest(sql, patient)?;
    let thresholds = thresholds::get(sql, patient)?;
    let current = |parameter| latest.iter().find(|latest| latest.reading.parameter == parameter);
    let worst_of = |parameter: &Parameter, rank: &dyn Fn(&Milli) -> (bool, u8)| {
        minute.medians.get(parameter).and_then(|medians| medians.iter().copied().max_by_key(rank))
    };
    let oxygen = worst_of(&Parameter::SupplementalOxygen, &|value| (value.0 > 0, 0));
    let oxygen = oxygen.or(current(Parameter::SupplementalOxygen).map(|latest| latest.reading.value));
    let on_oxygen = oxygen.is_some_and(|oxygen| oxygen.0 > 0);
    let (mut changed, mut stale, mut kept) = (false, false, Vec::new());
    for parameter in minute.medians.keys() {
        let rank = |value: &Milli| {
            let points = news2::points(*parameter, *value, thresholds.scale, on_oxygen);
            (thresholds.breach(*parameter, *value).is_some(), points)
        };
        let Some(value) = worst_of(parameter, &rank) else { continue };
        let before = current(*parameter);
        if before.is_some_and(|before| before.at > minute.at) {
            // Somebody has charted it since.
            continue;
        }
        changed |= before.is_none_or(|before| rank(&before.reading.value) != rank(&value));
        stale |= before.is_none_or(|before| before.at.plus(REFRESH) <= minute.at);
        kept.push(Reading { parameter: *parameter, value });
    }
    if changed || stale {
        readings::watched(sql, patient, minute.at, &kept)?;
    }
    if changed {
        let basis = Basis { counts: true, fresh: vec![TELEMETRY.to_owned()], corrected: Vec::new() };
        look(sql, census, entropy, (now, rules), patient, &basis)?;
    }
    Ok(())
}

/// Looks at `patient` again after something else than a reading was changed: what is set for them.
pub fn anew(
    sql: &impl Sql,
    census: &impl Census,
    entropy: &impl Entropy,
    (now, rules): (UnixMillis, &Rules),
    patient: &str,
) -> Result<()> {
    let latest = readings::latest(sql, patient)?;
    let fresh = latest.into_iter().filter(|latest| latest.at.plus(FRESH) >= now).map(|latest| latest.source);
    let basis = Basis { counts: true, fresh: fresh.collect(), corrected: Vec::new() };
    look(sql, census, entropy, (now, rules), patient, &basis)
}

/// Looks at `patient` again, for the reasons in `basis`.
fn look(
    sql: &impl Sql,
    census: &impl Census,
    entropy: &impl Entropy,
    (now, rules): (UnixMillis, &Rules),
    patient: &str,
    basis: &Basis,
) -> Result<()> {
    let state = State::of(sql, now, patient)?;
    tell(sql, census, entropy, now, patient, &state)?;
    let mut findings = state.findings();
    let known: Vec<Parameter> = state.latest.iter().map(|latest| latest.reading.parameter).collect();
    for mut alert in alerts_sql::of_patient(sql, patient)? {
        if alert.finding.cause == Cause::Silence {
            continue;
        }
        let before = alert.clone();
        let news = match findings.remove(&alert.finding.cause) {
            Some(finding) => alert.met(finding, basis, now, rules),
            None => alert.unmet(&known, basis, now),
        };
        if alert != before {
            alerts_sql::keep(sql, census, now, &alert, news)?;
        }
    }
    for finding in findings.into_values().filter(|finding| finding.is_fresh(basis)) {
        let alert = Alert::raise(entropy.uuid(), patient, finding, now, rules);
        alerts_sql::keep(sql, census, now, &alert, Some(super::alert::News::Raised))?;
    }
    Ok(())
}

/// What is known of a patient at an instant.
pub struct State {
    /// The latest readings that count.
    pub latest: Vec<Latest>,
    /// The score, where anything is scored.
    pub score: Option<Score>,
    /// What is set for the patient.
    pub thresholds: Thresholds,
}

impl State {
    /// What is known of `patient` at `now`.
    pub fn of(sql: &impl Sql, now: UnixMillis, patient: &str) -> Result<State> {
        let mut latest = readings::latest(sql, patient)?;
        latest.retain(|latest| latest.at.plus(COUNTS) >= now);
        let thresholds = thresholds::get(sql, patient)?;
        Ok(State { score: news2::score(&latest, thresholds.scale), latest, thresholds })
    }

    /// What of it is an alert.
    fn findings(&self) -> BTreeMap<Cause, Finding> {
        let news2 = self.score.as_ref().and_then(|score| {
            let severity = Severity::of(score.risk)?;
            let scored = score.parts.iter().filter(|part| part.points > 0).map(|part| &part.latest);
            finding(Cause::News2, severity, scored, score_json(score, self.thresholds.scale))
        });
        let limits = self.latest.iter().filter_map(|latest| {
            let parameter = latest.reading.parameter;
            let value = latest.reading.value;
            let (bound, limit) = self.thresholds.breach(parameter, value)?;
            let detail = serde_json::json!({ "value": value.to_json(parameter), "limit": limit.to_json(parameter) });
            finding(Cause::Threshold(parameter, bound), Severity::Medium, [latest].into_iter(), detail)
        });
        news2.into_iter().chain(limits).map(|finding| (finding.cause, finding)).collect()
    }
}

fn finding<'a>(
    cause: Cause,
    severity: Severity,
    latest: impl Iterator<Item = &'a Latest> + Clone,
    detail: serde_json::Value,
) -> Option<Finding> {
    let sources: BTreeSet<String> = latest.clone().map(|latest| latest.source.clone()).collect();
    Some(Finding {
        cause,
        severity,
        reading_at: latest.clone().map(|latest| latest.at).max()?,
        sources: sources.into_iter().collect(),
        parameters: latest.map(|latest| latest.reading.parameter).collect(),
        detail: detail.to_string(),
    })
}

/// A reading as JSON.
pub fn latest_json(latest: &Latest) -> serde_json::Value {
    serde_json::json!({
        "value": latest.reading.value.to_json(latest.reading.parameter),
        "at": latest.at.to_rfc3339(),
        "source": latest.source,
    })
}

/// A score as JSON: each part with its points and the instant it was measured at.
pub fn score_json(score: &Score, scale: news2::Scale) -> serde_json::Value {
    let parts = score.parts.iter().map(|part| {
        let mut json = latest_json(&part.latest);
        if let Some(json) = json.as_object_mut() {
            json.insert("points".into(), part.points.into());
        }
        (part.latest.reading.parameter.as_str().to_owned(), json)
    });
    let at = |latest: Option<UnixMillis>| latest.map(UnixMillis::to_rfc3339);
    serde_json::json!({
        "total": score.total,
        "risk": score.risk,
        "partial": !score.missing.is_empty(),
        "missing": score.missing,
        "spo2_scale": match scale { news2::Scale::One => 1, news2::Scale::Two => 2 },
        "newest_at": at(score.parts.iter().map(|part| part.latest.at).max()),
        "oldest_at": at(score.parts.iter().map(|part| part.latest.at).min()),
        "parts": object(&mut { parts }),
    })
}

fn tell(
    sql: &impl Sql,
    census: &impl Census,
    entropy: &impl Entropy,
    now: UnixMillis,
    patient: &str,
    state: &State,
) -> Result<()> {
    let score = state.score.as_ref().map(|score| score_json(score, state.thresholds.scale));
    let event = Event {
        id: format!("score/{}", entropy.uuid()),
        kind: EventKind::Score.as_str().to_owned(),
        at: now,
        data: serde_json::json!({ "patient": patient, "news2": score }).to_string(),
    };
    outbox::announce(sql, &[Owner { patient: patient.to_owned(), wards: census.wards(patient)? }], &event)
}
