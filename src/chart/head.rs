//! A patient's head: the little that is asked for at every read, kept beside the records.
//!
//! Invariant: the generation is a random value, changed by every write in the patient's compartment and never used twice.
//! The wards are those that the patient's stays lead to at this instant.

use serde::{Deserialize, Serialize};

use crate::access::Owner;
use crate::error::{Error, Result};
use crate::store::sql::{Row, Sql};
use crate::time::Entropy;

/// The head of a patient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Changed by every write in the compartment.
    pub generation: String,
    /// The patient, and the wards they are in.
    pub owner: Owner,
}

/// Makes the table where it is not there yet.
pub fn prepare(sql: &impl Sql) -> Result<()> {
    sql.exec(
        "CREATE TABLE IF NOT EXISTS heads (patient TEXT PRIMARY KEY, generation TEXT NOT NULL, wards TEXT NOT NULL) \
         WITHOUT ROWID",
        &[],
    )?;
    Ok(())
}

fn head(mut row: Row) -> Result<Head> {
    let (patient, generation, wards) = (row.text()?, row.text()?, row.text()?);
    let wards = serde_json::from_str(&wards).map_err(|_| Error::internal("a head's wards are not a list"))?;
    Ok(Head { generation, owner: Owner { patient, wards } })
}

/// The head of `patient`; `None` where there never was such a patient.
pub fn get(sql: &impl Sql, patient: &str) -> Result<Option<Head>> {
    sql.first("SELECT patient, generation, wards FROM heads WHERE patient = ?1", &[patient.into()])?
        .map(head)
        .transpose()
}

/// Changes the generation of `patient`, making the head where there is none. Call it inside the transaction of the write.
pub fn raise(sql: &impl Sql, entropy: &impl Entropy, patient: &str) -> Result<()> {
    sql.exec(
        "INSERT INTO heads (patient, generation, wards) VALUES (?1, ?2, '[]') \
         ON CONFLICT (patient) DO UPDATE SET generation = excluded.generation",
        &[patient.into(), entropy.uuid().into()],
    )?;
    Ok(())
}

/// Sets the wards of `patient`. Call it inside the transaction of the write that moved them.
pub fn set_wards(sql: &impl Sql, patient: &str, wards: &[String]) -> Result<()> {
    let wards = serde_json::to_string(wards).map_err(|_| Error::internal("wards could not be written"))?;
    sql.exec("UPDATE heads SET wards = ?2 WHERE patient = ?1", &[patient.into(), wards.into()])?;
    Ok(())
}
