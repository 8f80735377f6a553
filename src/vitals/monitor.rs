//! Whether a monitored patient has fallen silent.
//!
//! Invariant: a monitored patient of whom nothing came for three intervals has an open alert of silence, and one of whom
//! something came has none. Silence is judged only while this object was listening: if its alarm rings late (it was down),
//! whoever is overdue is given three more intervals, once.

use super::alert::{Alert, Cause, Finding, News, Severity};
use super::thresholds::{self, Monitoring, Thresholds};
use super::watch::Watch;
use super::{Census, alerts_sql};
use crate::error::Result;
use crate::store::sql::{Row, Sql};
use crate::time::{Entropy, Ttl, UnixMillis};

/// That something came is kept at most this often; in between the object's memory knows it. An object that lost its memory
/// waits for so much longer.
pub const KEPT_EVERY: Ttl = Ttl::from_secs(10);
/// An alarm that rings so late shows that nobody was listening.
const LATE: Ttl = Ttl::from_secs(2);
/// So many intervals without a reading are silence.
const INTERVALS: u64 = 3;

/// A monitored patient.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Monitor {
    patient: String,
    /// Whether telemetry began it, and not somebody's decision.
    auto: bool,
    /// Whether the patient was in a ward when something last came.
    warded: bool,
    interval: Ttl,
    /// When something last came, as far as it was kept.
    seen: UnixMillis,
    /// When it is to be judged; `None` while there is an alert.
    due: Option<UnixMillis>,
    /// Whether it was given more time because nobody was listening.
    excused: bool,
}

/// Makes the table where it is not there yet.
pub fn prepare(sql: &impl Sql) -> Result<()> {
    sql.exec(
        "CREATE TABLE IF NOT EXISTS monitors (patient TEXT PRIMARY KEY, auto INTEGER NOT NULL, warded INTEGER NOT NULL, \
         interval INTEGER NOT NULL, seen INTEGER NOT NULL, due INTEGER, excused INTEGER NOT NULL) WITHOUT ROWID",
        &[],
    )?;
    Ok(())
}

const COLUMNS: &str = "patient, auto, warded, interval, seen, due, excused";

fn monitor(mut row: Row) -> Result<Monitor> {
    Ok(Monitor {
        patient: row.text()?,
        auto: row.truth()?,
        warded: row.truth()?,
        interval: Ttl(row.number()?),
        seen: row.instant()?,
        due: row.maybe_number()?.map(UnixMillis),
        excused: row.truth()?,
    })
}

fn get(sql: &impl Sql, patient: &str) -> Result<Option<Monitor>> {
    sql.first(&format!("SELECT {COLUMNS} FROM monitors WHERE patient = ?1"), &[patient.into()])?
        .map(monitor)
        .transpose()
}

fn put(sql: &impl Sql, monitor: &Monitor) -> Result<()> {
    sql.exec(
        &format!("INSERT OR REPLACE INTO monitors ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"),
        &[
            monitor.patient.as_str().into(),
            monitor.auto.into(),
            monitor.warded.into(),
            monitor.interval.0.into(),
            monitor.seen.into(),
            monitor.due.into(),
            monitor.excused.into(),
        ],
    )?;
    Ok(())
}

fn remove(sql: &impl Sql, patient: &str) -> Result<()> {
    sql.exec("DELETE FROM monitors WHERE patient = ?1", &[patient.into()])?;
    Ok(())
}

fn patience(interval: Ttl) -> Ttl {
    Ttl(interval.0.saturating_mul(INTERVALS))
}

fn interval(watch: &Watch, thresholds: &Thresholds) -> Ttl {
    thresholds.interval_seconds.map_or(watch.rules.interval, |seconds| Ttl::from_secs(u64::from(seconds)))
}

/// When the next patient is to be judged.
pub fn next_due(sql: &impl Sql) -> Result<Option<UnixMillis>> {
    let row = sql.first("SELECT min(due) FROM monitors", &[])?;
    Ok(row.map(|mut row| row.maybe_number()).transpose()?.flatten().map(UnixMillis))
}

/// Whether, since when and how often something is expected of `patient`, as JSON.
pub fn to_json(sql: &impl Sql, patient: &str) -> Result<serde_json::Value> {
    Ok(get(sql, patient)?.map_or(serde_json::Value::Null, |monitor| {
        serde_json::json!({ "interval_seconds": monitor.interval.as_secs_up(), "silent": monitor.due.is_none() })
    }))
}

/// Something came of `patient` at `now`; telemetry begins to be expected where nothing else is said.
pub fn heard(
    sql: &impl Sql,
    census: &impl Census,
    watch: &Watch,
    now: UnixMillis,
    patient: &str,
    telemetry: bool,
) -> Result<()> {
    let thresholds = thresholds::get(sql, patient)?;
    let before = get(sql, patient)?;
    let expected = match thresholds.monitoring {
        Monitoring::Off => false,
        Monitoring::On => true,
        Monitoring::Auto => telemetry || before.is_some(),
    };
    if !expected {
        return Ok(());
    }
    if before.is_some_and(|before| before.due.is_none()) {
        end(sql, census, now, patient)?;
    }
    let interval = interval(watch, &thresholds);
    put(
        sql,
        &Monitor {
            patient: patient.to_owned(),
            auto: thresholds.monitoring == Monitoring::Auto,
            warded: !census.wards(patient)?.is_empty(),
            interval,
            seen: now,
            due: Some(now.plus(patience(interval))),
            excused: false,
        },
    )
}

/// What is set for `patient` has changed.
pub fn set(
    sql: &impl Sql,
    census: &impl Census,
    watch: &Watch,
    now: UnixMillis,
    patient: &str,
    thresholds: &Thresholds,
) -> Result<()> {
    let interval = interval(watch, thresholds);
    match (thresholds.monitoring, get(sql, patient)?) {
        (Monitoring::Off, _) => {
            remove(sql, patient)?;
            end(sql, census, now, patient)
        }
        (Monitoring::Auto, None) => Ok(()),
        (Monitoring::On, None) => heard(sql, census, watch, now, patient, false),
        (monitoring, Some(before)) => {
            let due = before.due.map(|_| now.plus(patience(interval)));
            put(sql, &Monitor { auto: monitoring == Monitoring::Auto, interval, due, ..before })
        }
    }
}

/// Ends the alert of silence of `patient`, if there is one.
fn end(sql: &impl Sql, census: &impl Census, now: UnixMillis, patient: &str) -> Result<()> {
    let Some(mut alert) = alerts_sql::of_cause(sql, patient, Cause::Silence)? else { return Ok(()) };
    let news = alert.resolve(now);
    alerts_sql::keep(sql, census, now, &alert, news)
}

/// Judges whoever is due at `now`.
pub fn judge(
    sql: &impl Sql,
    census: &impl Census,
    entropy: &impl Entropy,
    watch: &Watch,
    now: UnixMillis,
) -> Result<()> {
    let rows = sql.exec(&format!("SELECT {COLUMNS} FROM monitors WHERE due <= ?1"), &[now.into()])?;
    for row in rows {
        let mut monitor = monitor(row)?;
        let known = watch.seen(&monitor.patient);
        let slack = if known.is_some() || monitor.interval >= KEPT_EVERY { Ttl(0) } else { KEPT_EVERY };
        let seen = known.unwrap_or(monitor.seen).max(monitor.seen);
        let due = seen.plus(patience(monitor.interval)).plus(slack).max(monitor.due.unwrap_or(now));
        if due > now {
            monitor.due = Some(due);
            put(sql, &monitor)?;
        } else if !monitor.excused && due.until(now) > LATE {
            (monitor.due, monitor.excused) = (Some(now.plus(patience(monitor.interval))), true);
            put(sql, &monitor)?;
        } else if monitor.auto && monitor.warded && census.wards(&monitor.patient)?.is_empty() {
            // Discharged: nothing is expected any more.
            remove(sql, &monitor.patient)?;
            watch.forget(&monitor.patient);
        } else {
            (monitor.seen, monitor.due) = (seen, None);
            put(sql, &monitor)?;
            watch.forget(&monitor.patient);
            raise(sql, census, entropy, watch, now, &monitor)?;
        }
    }
    Ok(())
}

fn raise(
    sql: &impl Sql,
    census: &impl Census,
    entropy: &impl Entropy,
    watch: &Watch,
    now: UnixMillis,
    monitor: &Monitor,
) -> Result<()> {
    let detail = serde_json::json!({
        "last_reading_at": monitor.seen.to_rfc3339(),
        "interval_seconds": monitor.interval.as_secs_up(),
    });
    let finding = Finding {
        cause: Cause::Silence,
        severity: Severity::Medium,
        reading_at: monitor.seen,
        sources: Vec::new(),
        parameters: Vec::new(),
        detail: detail.to_string(),
    };
    let alert = Alert::raise(entropy.uuid(), &monitor.patient, finding, now, &watch.rules);
    alerts_sql::keep(sql, census, now, &alert, Some(News::Raised))
}

#[cfg(test)]
#[path = "monitor_tests.rs"]
mod tests;
