//! The search index in the clinic's SQLite.
//!
//! Invariant: `terms` holds what every record that is there can be found by, written in the transaction of the record. A row
//! names the record by the place of its first version in `versions`, which never changes, and stands once for each patient in
//! whose compartment the record is (`owner`; 0 for none): within a patient, within all, and of a record, each is one range.
//! `search_index` says how far the records that were there before the index, or before its parameters changed, are in it.

use crate::error::{Error, Result};
use crate::fhir::search::{owner_number, table_number, terms};
use crate::fhir::{Resource, ResourceType, patients};
use crate::store::sql::Sql;
use crate::time::UnixMillis;

/// Records that are brought into the index in one transaction.
const SLICE: u64 = 500;

/// Makes the tables where they are not there yet.
pub fn prepare(sql: &impl Sql) -> Result<()> {
    for statement in [
        "CREATE TABLE IF NOT EXISTS terms (owner INTEGER NOT NULL, parameter INTEGER NOT NULL, key NOT NULL, \
         record INTEGER NOT NULL, more NOT NULL, PRIMARY KEY (owner, parameter, key, record, more)) WITHOUT ROWID",
        "CREATE INDEX IF NOT EXISTS terms_of_all ON terms (parameter, key, record)",
        "CREATE INDEX IF NOT EXISTS terms_of_record ON terms (record, parameter, key)",
        "CREATE TABLE IF NOT EXISTS search_index (parameters INTEGER NOT NULL, done INTEGER NOT NULL, \
         kind TEXT NOT NULL, id TEXT NOT NULL)",
    ] {
        sql.exec(statement, &[])?;
    }
    let parameters = sql.first("SELECT parameters FROM search_index", &[])?.map(|mut row| row.number()).transpose()?;
    if parameters != Some(table_number()) {
        sql.transaction(|| {
            sql.exec("DELETE FROM search_index", &[])?;
            sql.exec(
                "INSERT INTO search_index (parameters, done, kind, id) \
                 SELECT ?1, NOT EXISTS (SELECT 1 FROM resources), '', ''",
                &[table_number().into()],
            )
        })?;
    }
    Ok(())
}

/// The place of a record: that of its first version.
const RECORD: &str = "(SELECT seq FROM versions WHERE kind = ?1 AND id = ?2 ORDER BY seq LIMIT 1)";

/// Keeps what version `version` of a record is found by; nothing for a deletion. `patients` are those in whose compartments it
/// is. Comes after the version was put among `versions`.
pub fn written(
    sql: &impl Sql,
    (kind, id, version): (&str, &str, u64),
    terms: &[String],
    patients: &[String],
) -> Result<()> {
    if version > 1 {
        sql.exec(&format!("DELETE FROM terms WHERE record = {RECORD}"), &[kind.into(), id.into()])?;
    }
    let mut owners: Vec<u64> = patients.iter().map(|patient| owner_number(patient)).collect();
    if owners.is_empty() {
        owners.push(0);
    }
    let owners = serde_json::to_string(&owners).map_err(|_| Error::internal("owners could not be written"))?;
    for list in terms {
        sql.exec(
            &format!(
                "INSERT INTO terms (owner, parameter, key, record, more) \
                 SELECT o.value, t.value ->> 0, t.value ->> 1, {RECORD}, t.value ->> 2 \
                 FROM json_each(?3) t CROSS JOIN json_each(?4) o WHERE true ON CONFLICT DO NOTHING"
            ),
            &[kind.into(), id.into(), list.as_str().into(), owners.as_str().into()],
        )?;
    }
    Ok(())
}

/// Brings some more of what was there before into the index; an error that says "again" while there is more.
pub fn complete(sql: &impl Sql) -> Result<()> {
    let Some(mut row) = sql.first("SELECT kind, id FROM search_index WHERE done = 0", &[])? else { return Ok(()) };
    let (kind, id) = (row.text()?, row.text()?);
    sql.transaction(|| {
        let rows = sql.exec(
            "SELECT kind, id, updated, body FROM resources WHERE (kind, id) > (?1, ?2) ORDER BY kind, id LIMIT ?3",
            &[kind.into(), id.into(), SLICE.into()],
        )?;
        let done = u64::try_from(rows.len()).unwrap_or(u64::MAX) < SLICE;
        let mut last = None;
        for mut row in rows {
            let (kind, id, updated, body) = (row.text()?, row.text()?, row.instant()?, row.maybe_text()?);
            if let Some(body) = body {
                again(sql, &kind, &id, updated, &body)?;
            }
            last = Some((kind, id));
        }
        let (kind, id) = last.unwrap_or_default();
        sql.exec("UPDATE search_index SET done = ?1, kind = ?2, id = ?3", &[done.into(), kind.into(), id.into()])
    })?;
    Err(Error::unavailable("the records from before are being brought into the search index; try again"))
}

fn again(sql: &impl Sql, kind: &str, id: &str, updated: UnixMillis, body: &str) -> Result<()> {
    let unreadable = || Error::internal("a stored record is no resource");
    let resource = Resource::parse(body.as_bytes()).map_err(|_| unreadable())?;
    if ResourceType::parse(kind) != Some(resource.kind()) {
        return Err(unreadable());
    }
    let terms = terms(&resource).stamped(updated);
    // As a later version: what there is of it already is of other parameters.
    written(sql, (kind, id, u64::MAX), &terms, &patients(&resource))
}
