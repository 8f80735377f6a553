//! Readings in the clinic's SQLite: what the Observations that are kept as records say of each patient.
//!
//! Beside them, the one reading of telemetry by which a parameter of a patient is judged at present.
//!
//! Invariant: the rows with an Observation's id as their source are what its newest version says, replaced in the
//! transaction that writes it. No reading is of a time to come: what says so is taken as of its arrival.

use super::codes::Charted;
use super::{COUNTS, FRESH, Latest, Milli, Parameter, Reading, TELEMETRY};
use crate::error::{Error, Result};
use crate::sorted::sort_by;
use crate::store::sql::{Row, Sql};
use crate::time::UnixMillis;

/// Makes the tables where they are not there yet.
pub fn prepare(sql: &impl Sql) -> Result<()> {
    for statement in [
        "CREATE TABLE IF NOT EXISTS readings (patient TEXT NOT NULL, parameter TEXT NOT NULL, at INTEGER NOT NULL, \
         source TEXT NOT NULL, value INTEGER NOT NULL, PRIMARY KEY (patient, parameter, at, source)) WITHOUT ROWID",
        "CREATE INDEX IF NOT EXISTS readings_by_source ON readings (source)",
        "CREATE TABLE IF NOT EXISTS watched (patient TEXT NOT NULL, parameter TEXT NOT NULL, at INTEGER NOT NULL, \
         value INTEGER NOT NULL, PRIMARY KEY (patient, parameter)) WITHOUT ROWID",
    ] {
        sql.exec(statement, &[])?;
    }
    Ok(())
}

/// Forgets what the Observation `source` said; gives the patients of whom it said something.
pub fn forget(sql: &impl Sql, source: &str) -> Result<Vec<String>> {
    let rows = sql.exec("DELETE FROM readings WHERE source = ?1 RETURNING patient", &[source.into()])?;
    let mut patients = rows.into_iter().map(|mut row| row.text()).collect::<Result<Vec<_>>>()?;
    patients.dedup();
    Ok(patients)
}

/// What new readings are to a patient.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// One of them is the latest of its parameter and recent enough to count.
    pub counts: bool,
    /// Such a one is so recent that it may raise an alert.
    pub fresh: bool,
}

/// Keeps what the Observation `source` says at `now`.
pub fn keep(sql: &impl Sql, now: UnixMillis, source: &str, charted: &Charted) -> Result<News> {
    let at = charted.at.unwrap_or(now).min(now);
    let mut news = News::default();
    for Reading { parameter, value } in &charted.readings {
        let key = [charted.patient.as_str().into(), parameter.as_str().into()];
        let [patient, word] = key.clone();
        sql.exec(
            "INSERT INTO readings (patient, parameter, at, source, value) VALUES (?1, ?2, ?3, ?4, ?5) \
             ON CONFLICT DO UPDATE SET value = excluded.value",
            &[patient, word, at.into(), source.into(), number(*value)?],
        )?;
        if at.plus(COUNTS) < now {
            continue;
        }
        let newest = sql.first(
            "SELECT max((SELECT max(at) FROM readings WHERE patient = ?1 AND parameter = ?2), \
             coalesce((SELECT at FROM watched WHERE patient = ?1 AND parameter = ?2), 0))",
            &key,
        )?;
        let is_latest = newest.map(|mut row| row.number()).transpose()? == Some(at.0);
        news.counts |= is_latest;
        news.fresh |= is_latest && at.plus(FRESH) >= now;
    }
    Ok(news)
}

/// Values are possible ones ([`Parameter::possible`]) and so never negative.
fn number(value: Milli) -> Result<crate::store::sql::Value> {
    u64::try_from(value.0).map(Into::into).map_err(|_| Error::internal("a reading is negative"))
}

fn latest_of(mut row: Row) -> Result<Latest> {
    let mismatch = || Error::internal("a stored reading is not of the shape this version writes");
    let parameter = Parameter::parse(&row.text()?).ok_or_else(mismatch)?;
    let at = row.instant()?;
    let source = row.text()?;
    let value = i64::try_from(row.number()?).map_err(|_| mismatch())?;
    Ok(Latest { reading: Reading { parameter, value: Milli(value) }, at, source })
}

/// The latest reading of each parameter, whatever its age, in the order of [`Parameter::ALL`].
pub fn latest(sql: &impl Sql, patient: &str) -> Result<Vec<Latest>> {
    let words = Parameter::ALL.map(|parameter| format!("('{}')", parameter.as_str())).join(", ");
    // One look into the table a parameter, however many readings there are.
    let rows = sql.exec(
        &format!(
            "SELECT r.parameter, r.at, r.source, r.value FROM (VALUES {words}) p JOIN readings r ON r.patient = ?1 \
             AND r.parameter = p.column1 AND r.at = (SELECT max(at) FROM readings WHERE patient = ?1 \
             AND parameter = p.column1) UNION ALL SELECT parameter, at, ?2, value FROM watched WHERE patient = ?1"
        ),
        &[patient.into(), TELEMETRY.into()],
    )?;
    let mut found: Vec<Latest> = rows.into_iter().map(latest_of).collect::<Result<_>>()?;
    sort_by(&mut found, |a, b| (a.reading.parameter, b.at, &b.source).cmp(&(b.reading.parameter, a.at, &a.source)));
    found.dedup_by_key(|latest| latest.reading.parameter);
    Ok(found)
}

/// Keeps by what telemetry `patient` is judged at present.
pub fn watched(sql: &impl Sql, patient: &str, at: UnixMillis, readings: &[Reading]) -> Result<()> {
    for Reading { parameter, value } in readings {
        sql.exec(
            "INSERT OR REPLACE INTO watched (patient, parameter, at, value) VALUES (?1, ?2, ?3, ?4)",
            &[patient.into(), parameter.as_str().into(), at.into(), number(*value)?],
        )?;
    }
    Ok(())
}
