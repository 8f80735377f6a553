//! Which wards a patient is in: the Locations of their open stays, followed upwards to those that are wards.
//!
//! Invariant: the wards in a patient's head are what `stays` and `places` say, recomputed in the transaction of every
//! write that changes either. A stay is an Encounter that is arrived, triaged, in progress or on leave; a ward is a
//! Location of physical type `wa`.

use super::head::{self, Touched};
use super::records::Place;
use crate::error::Result;
use crate::store::sql::Sql;

/// Locations are followed upwards at most this far: bed, room, ward and a few more.
const DEPTH: u64 = 8;

/// Makes the tables where they are not there yet.
pub fn prepare(sql: &impl Sql) -> Result<()> {
    for statement in [
        "CREATE TABLE IF NOT EXISTS stays (encounter TEXT NOT NULL, patient TEXT NOT NULL, location TEXT NOT NULL, \
         PRIMARY KEY (encounter, patient, location)) WITHOUT ROWID",
        "CREATE INDEX IF NOT EXISTS stays_by_patient ON stays (patient)",
        "CREATE TABLE IF NOT EXISTS places (id TEXT PRIMARY KEY, part_of TEXT, ward INTEGER NOT NULL) WITHOUT ROWID",
    ] {
        sql.exec(statement, &[])?;
    }
    Ok(())
}

/// Keeps what a write of `id` says about who is where: `place` is what the new version says, `None` for a deletion.
/// `patients` are those of its old and new versions. Whoever is in other wards by it is added to `touched`.
pub fn moved(
    sql: &impl Sql,
    (kind, id): (&str, &str),
    place: Option<&Place>,
    patients: &[String],
    touched: &mut Touched,
) -> Result<()> {
    match kind {
        "Encounter" => {
            sql.exec("DELETE FROM stays WHERE encounter = ?1", &[id.into()])?;
            if let Some(Place::Stay { patient, locations }) = place {
                for location in locations {
                    sql.exec(
                        "INSERT INTO stays (encounter, patient, location) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
                        &[id.into(), patient.as_str().into(), location.as_str().into()],
                    )?;
                }
            }
            patients.iter().try_for_each(|patient| settle(sql, patient, touched))
        }
        "Location" => {
            match place {
                Some(Place::Location { part_of, ward }) => sql.exec(
                    "INSERT INTO places (id, part_of, ward) VALUES (?1, ?2, ?3) \
                     ON CONFLICT (id) DO UPDATE SET part_of = excluded.part_of, ward = excluded.ward",
                    &[id.into(), part_of.as_deref().into(), (*ward).into()],
                )?,
                _ => sql.exec("DELETE FROM places WHERE id = ?1", &[id.into()])?,
            };
            // Everybody whose stay is below this Location, as it was or as it is: the places above it do not matter here.
            let below = sql.exec(
                "WITH RECURSIVE below (id, depth) AS (SELECT ?1, 0 UNION SELECT places.id, depth + 1 FROM places \
                 JOIN below ON places.part_of = below.id WHERE depth < ?2) \
                 SELECT DISTINCT patient FROM stays JOIN below ON stays.location = below.id",
                &[id.into(), DEPTH.into()],
            )?;
            below.into_iter().try_for_each(|mut row| settle(sql, &row.text()?, touched))
        }
        _ => Ok(()),
    }
}

/// The patients who are in `ward`, each with the Location of their stay, by id.
pub fn patients_in(sql: &impl Sql, ward: &str) -> Result<Vec<(String, String)>> {
    let rows = sql.exec(
        "WITH RECURSIVE below (id, depth) AS (SELECT ?1, 0 UNION SELECT places.id, depth + 1 FROM places \
         JOIN below ON places.part_of = below.id WHERE depth < ?2) \
         SELECT patient, min(location) FROM stays JOIN below ON stays.location = below.id GROUP BY patient ORDER BY patient",
        &[ward.into(), DEPTH.into()],
    )?;
    rows.into_iter().map(|mut row| Ok((row.text()?, row.text()?))).collect()
}

fn settle(sql: &impl Sql, patient: &str, touched: &mut Touched) -> Result<()> {
    let wards = sql
        .exec(
            "WITH RECURSIVE above (id, depth) AS (SELECT location, 0 FROM stays WHERE patient = ?1 UNION \
             SELECT places.part_of, depth + 1 FROM places JOIN above ON places.id = above.id \
             WHERE places.part_of IS NOT NULL AND depth < ?2) \
             SELECT DISTINCT places.id FROM places JOIN above ON places.id = above.id WHERE places.ward = 1 ORDER BY 1",
            &[patient.into(), DEPTH.into()],
        )?
        .into_iter()
        .map(|mut row| row.text())
        .collect::<Result<Vec<_>>>()?;
    if head::set_wards(sql, patient, &wards)? {
        touched.patients.insert(patient.to_owned());
        touched.moved.insert(patient.to_owned());
    }
    Ok(())
}
