//! Alerts in the clinic's SQLite, and the events that tell of them.
//!
//! Invariant: a patient has at most one open alert of each cause (an index sees to it), and a change of an alert commits
//! with the event that tells of it.

use super::Census;
use super::alert::{Alert, Cause, Level, News};
use crate::access::Owner;
use crate::channel::outbox::{self, Event};
use crate::channel::{EventKind, Topic};
use crate::config::alerts::Rules;
use crate::error::{Error, Result};
use crate::store::sql::{Row, Sql};
use crate::time::UnixMillis;

/// Alerts that are looked at in one go when they are due.
const AT_ONCE: u64 = 100;

/// Makes the table where it is not there yet.
pub fn prepare(sql: &impl Sql) -> Result<()> {
    for statement in [
        "CREATE TABLE IF NOT EXISTS alerts (id TEXT PRIMARY KEY, patient TEXT NOT NULL, cause TEXT NOT NULL, \
         open INTEGER NOT NULL, due INTEGER, alert TEXT NOT NULL) WITHOUT ROWID",
        "CREATE UNIQUE INDEX IF NOT EXISTS alerts_open ON alerts (patient, cause) WHERE open = 1",
        "CREATE INDEX IF NOT EXISTS alerts_due ON alerts (due) WHERE due IS NOT NULL",
    ] {
        sql.exec(statement, &[])?;
    }
    Ok(())
}

fn alert(mut row: Row) -> Result<Alert> {
    serde_json::from_str(&row.text()?).map_err(|_| Error::internal("an alert is not of the shape this version writes"))
}

/// The alert with this id, open or not.
pub fn get(sql: &impl Sql, id: &str) -> Result<Option<Alert>> {
    sql.first("SELECT alert FROM alerts WHERE id = ?1", &[id.into()])?.map(alert).transpose()
}

/// The open alerts of `patient`.
pub fn of_patient(sql: &impl Sql, patient: &str) -> Result<Vec<Alert>> {
    let rows =
        sql.exec("SELECT alert FROM alerts WHERE patient = ?1 AND open = 1 ORDER BY cause", &[patient.into()])?;
    rows.into_iter().map(alert).collect()
}

/// The open alert of `patient` with this cause.
pub fn of_cause(sql: &impl Sql, patient: &str, cause: Cause) -> Result<Option<Alert>> {
    sql.first(
        "SELECT alert FROM alerts WHERE patient = ?1 AND cause = ?2 AND open = 1",
        &[patient.into(), cause.key().into()],
    )?
    .map(alert)
    .transpose()
}

/// All open alerts.
pub fn open(sql: &impl Sql) -> Result<Vec<Alert>> {
    sql.exec("SELECT alert FROM alerts WHERE open = 1", &[])?.into_iter().map(alert).collect()
}

/// When the next alert is pushed again.
pub fn next_due(sql: &impl Sql) -> Result<Option<UnixMillis>> {
    let row = sql.first("SELECT min(due) FROM alerts WHERE due IS NOT NULL", &[])?;
    Ok(row.map(|mut row| row.maybe_number()).transpose()?.flatten().map(UnixMillis))
}

/// Keeps `alert` as it is now and tells of `news`, if there is any.
pub fn keep(sql: &impl Sql, census: &impl Census, now: UnixMillis, alert: &Alert, news: Option<News>) -> Result<()> {
    let text = serde_json::to_string(alert).map_err(|_| Error::internal("an alert could not be written"))?;
    sql.exec(
        "INSERT INTO alerts (id, patient, cause, open, due, alert) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
         ON CONFLICT (id) DO UPDATE SET open = excluded.open, due = excluded.due, alert = excluded.alert",
        &[
            alert.id.as_str().into(),
            alert.patient.as_str().into(),
            alert.finding.cause.key().into(),
            alert.ended.is_none().into(),
            alert.next_push.into(),
            text.into(),
        ],
    )?;
    match news {
        None => Ok(()),
        Some(news) => tell(sql, census, now, alert, news),
    }
}

fn tell(sql: &impl Sql, census: &impl Census, now: UnixMillis, alert: &Alert, news: News) -> Result<()> {
    let wards = census.wards(&alert.patient)?;
    let event = Event {
        id: format!("alert/{}/{}", alert.id, alert.version),
        kind: EventKind::Alert.as_str().to_owned(),
        at: now,
        data: serde_json::json!({ "change": news.as_str(), "alert": alert.to_json() }).to_string(),
    };
    if alert.level == Level::Escalated {
        let practitioners = census.practitioners(&wards)?.into_iter().map(Topic::User);
        practitioners.into_iter().try_for_each(|topic| outbox::add(sql, &topic, &event))?;
    }
    let owner = Owner { patient: alert.patient.clone(), wards };
    census.told(&owner, &event)?;
    outbox::announce(sql, &[owner], &event)
}

/// Pushes again, and escalates, what is due at `now`.
pub fn push(sql: &impl Sql, census: &impl Census, rules: &Rules, now: UnixMillis) -> Result<()> {
    let due = sql.exec(
        "SELECT alert FROM alerts WHERE due IS NOT NULL AND due <= ?1 ORDER BY due LIMIT ?2",
        &[now.into(), AT_ONCE.into()],
    )?;
    for row in due {
        let mut alert = alert(row)?;
        let news = alert.tick(now, rules);
        keep(sql, census, now, &alert, news)?;
    }
    Ok(())
}
