//! A patient's head: the little that is asked for at every read, kept beside the records.
//!
//! Invariant: generations are random values, never used twice. A patient's is changed by every write in their compartment,
//! the shared one by every write to a type that patients share, and all of them at once by the clinic's epoch. The wards are
//! those that the patient's stays lead to at this instant.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::access::Owner;
use crate::channel::cursor::Snapshot;
use crate::error::{Error, Result};
use crate::sorted::BTreeSet;
use crate::store::sql::{Row, Sql};
use crate::time::{Entropy, UnixMillis};

/// The head of a patient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Changed by every write in the compartment, and by a new epoch.
    pub generation: String,
    /// Changed by every write to a type that patients share.
    pub shared: String,
    /// What the keys of the patient's cached views are derived from.
    pub salt: String,
    /// The patient, and the wards they are in.
    pub owner: Owner,
    /// The last event of the patient's topic that was committed.
    pub told: u64,
    /// The epoch of the topic's log, as far as it was heard of.
    pub log: Option<String>,
    /// How often the wards have changed.
    pub moved: u64,
}

impl Head {
    /// That of a patient who is not there yet.
    pub fn none(patient: &str) -> Head {
        Head {
            generation: String::new(),
            shared: String::new(),
            salt: String::new(),
            owner: Owner { patient: patient.to_owned(), wards: Vec::new() },
            told: 0,
            log: None,
            moved: 0,
        }
    }

    /// Where in the patient's topic whatever is read at this head is read, by somebody who asked at `asked`.
    pub fn position(&self, asked: UnixMillis) -> Snapshot {
        Snapshot { epoch: self.log.clone(), seq: self.told, at: asked }
    }
}

/// Whose heads a commit changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// The patients.
    pub patients: BTreeSet<String>,
    /// Those of them who are in other wards by it.
    pub moved: BTreeSet<String>,
    /// Whether what patients share was written, which is in everybody's head.
    pub shared: bool,
}

impl Touched {
    /// Whether nothing is in this that is not in `other`.
    pub fn is_within(&self, other: &Touched) -> bool {
        self.patients.is_subset(&other.patients) && (other.shared || !self.shared)
    }
}

/// 128 random bits as text: a generation, a salt or an epoch.
pub fn random(entropy: &impl Entropy) -> String {
    let mut bytes = [0_u8; 16];
    entropy.fill(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Makes the tables where they are not there yet.
pub fn prepare(sql: &impl Sql) -> Result<()> {
    for statement in [
        "CREATE TABLE IF NOT EXISTS heads (patient TEXT PRIMARY KEY, generation TEXT NOT NULL, salt TEXT NOT NULL, \
         wards TEXT NOT NULL, moved INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID",
        // What concerns all heads: `epoch` and `shared`; the empty text until it is first changed.
        "CREATE TABLE IF NOT EXISTS all_heads (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
        "INSERT INTO all_heads (name, value) VALUES ('epoch', ''), ('shared', '') ON CONFLICT DO NOTHING",
    ] {
        sql.exec(statement, &[])?;
    }
    Ok(())
}

fn head(mut row: Row) -> Result<Head> {
    let (patient, generation, salt, wards) = (row.text()?, row.text()?, row.text()?, row.text()?);
    let (epoch, shared) = (row.text()?, row.text()?);
    let (told, log, moved) = (row.maybe_number()?.unwrap_or(0), row.maybe_text()?, row.number()?);
    let wards = serde_json::from_str(&wards).map_err(|_| Error::internal("a head's wards are not a list"))?;
    Ok(Head {
        generation: [epoch, generation].concat(),
        shared,
        salt,
        owner: Owner { patient, wards },
        told,
        log,
        moved,
    })
}

/// The head of `patient`; `None` where there never was such a patient.
pub fn get(sql: &impl Sql, patient: &str) -> Result<Option<Head>> {
    sql.first(
        "SELECT h.patient, h.generation, h.salt, h.wards, e.value, s.value, \
         coalesce(o.newest, (SELECT newest FROM outbox_topics WHERE topic = '')), o.epoch, h.moved FROM heads h \
         JOIN all_heads e ON e.name = 'epoch' JOIN all_heads s ON s.name = 'shared' \
         LEFT JOIN outbox_topics o ON o.topic = 'patient/' || h.patient WHERE h.patient = ?1",
        &[patient.into()],
    )?
    .map(head)
    .transpose()
}

/// Changes the generation of `patient`, making the head where there is none. Call it inside the transaction of the write.
pub fn raise(sql: &impl Sql, entropy: &impl Entropy, patient: &str) -> Result<()> {
    sql.exec(
        "INSERT INTO heads (patient, generation, salt, wards) VALUES (?1, ?2, ?3, '[]') \
         ON CONFLICT (patient) DO UPDATE SET generation = excluded.generation",
        &[patient.into(), random(entropy).into(), random(entropy).into()],
    )?;
    Ok(())
}

/// Changes the shared generation. Call it inside the transaction of the write to a type that patients share.
pub fn raise_shared(sql: &impl Sql, entropy: &impl Entropy) -> Result<()> {
    set(sql, "shared", random(entropy))
}

/// Begins the epoch after the restore of `restored`: no view that was cached before is used again. Call it inside the
/// transaction of the restore.
pub fn begin_epoch(sql: &impl Sql, entropy: &impl Entropy, restored: UnixMillis) -> Result<()> {
    set(sql, "epoch", random(entropy))?;
    sql.exec(
        "INSERT INTO all_heads (name, value) VALUES ('restored', ?1) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        &[restored.0.to_string().into()],
    )?;
    Ok(())
}

/// The restore after which the present epoch began; 1970 where there was none.
pub fn restored(sql: &impl Sql) -> Result<UnixMillis> {
    let row = sql.first("SELECT value FROM all_heads WHERE name = 'restored'", &[])?;
    Ok(UnixMillis(row.map(|mut row| row.text()).transpose()?.and_then(|text| text.parse().ok()).unwrap_or(0)))
}

fn set(sql: &impl Sql, name: &str, value: String) -> Result<()> {
    sql.exec("UPDATE all_heads SET value = ?2 WHERE name = ?1", &[name.into(), value.into()])?;
    Ok(())
}

/// Forgets what the keys of the patient's cached views were derived from: nobody can read those views any more. Call it
/// inside the transaction that deletes the Patient.
pub fn forget(sql: &impl Sql, entropy: &impl Entropy, patient: &str) -> Result<()> {
    sql.exec("UPDATE heads SET salt = ?2 WHERE patient = ?1", &[patient.into(), random(entropy).into()])?;
    Ok(())
}

/// Sets the wards of `patient`, and says whether they were others before. Call it inside the transaction of the write that
/// moved them.
pub fn set_wards(sql: &impl Sql, patient: &str, wards: &[String]) -> Result<bool> {
    let wards = serde_json::to_string(wards).map_err(|_| Error::internal("wards could not be written"))?;
    let moved = sql.first(
        "UPDATE heads SET wards = ?2, moved = moved + 1 WHERE patient = ?1 AND wards <> ?2 RETURNING 1",
        &[patient.into(), wards.into()],
    )?;
    Ok(moved.is_some())
}
