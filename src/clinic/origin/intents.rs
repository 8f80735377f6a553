//! Intents: writes that are on their way to the origin, in the clinic's object.
//!
//! Invariant: from before a write is sent until it is known what became of it, its intent is here: nothing of its patients is
//! kept meanwhile, and reads go to the origin. It is settled in one transaction with its events, its audit rows and the
//! generations of the heads. One that outlives [`MARK`] counts as a change: the generations change, and an event that says
//! that the outcome is not known goes to whoever follows the patients. So an event comes at least once for every write that
//! took effect, of the types that have events; followers of a Schedule hear of what is known to be written alone.

use serde::{Deserialize, Serialize};

use super::{Changed, OriginRequest};
use crate::access::Owner;
use crate::access::audit::{self, Actor, Did, Outcome};
use crate::channel::Topic;
use crate::channel::outbox::{self, Event};
use crate::chart;
use crate::chart::cache::Looked;
use crate::chart::fences::{self, Fence};
use crate::chart::head::{self, Touched};
use crate::chart::records::{Batch, Committed, Refusal, Stamp, Write};
use crate::clinic::desk::Away;
use crate::clinic::{ClinicReply, Desk, Handled, following};
use crate::error::{Error, Result};
use crate::fhir::ResourceType;
use crate::session::registry;
use crate::sorted::BTreeSet;
use crate::store::agenda;
use crate::store::sql::Sql;
use crate::time::{Entropy, Ttl, UnixMillis};
use crate::vitals::watch::Watch;

/// The origin is taken to carry nothing out later than this after it was sent.
pub const LATEST: Ttl = Ttl::from_secs(10);
/// A write is sent within this after its intent was put down, or not at all.
pub const SENT: Ttl = Ttl::from_secs(2);
/// An intent that is not settled within this counts as a change.
pub const MARK: Ttl = Ttl(LATEST.0.saturating_add(SENT.0));
/// On the agenda: an intent may be overdue.
pub const INTENTS: &str = "intents";
/// So many are settled in one go.
const AT_ONCE: u64 = 64;

/// A write that is about to be sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// Its own id.
    pub id: String,
    /// Who writes.
    pub actor: Actor,
    /// The records, as `Type/id`.
    pub records: Vec<String>,
    /// The patients in whose compartments they were or will be.
    pub patients: Vec<String>,
    /// Whether one of them is of a type that patients share.
    pub shared: bool,
    /// The fences that the writer shows.
    pub fences: Vec<Fence>,
}

/// A write that took effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// What was written.
    pub batch: Batch,
    /// One a change, in order.
    pub stamps: Vec<Stamp>,
    /// Of each change the patients in whose compartments it was or is.
    pub patients: Vec<Vec<String>>,
}

/// Makes the tables where they are not there yet.
pub fn prepare(sql: &impl Sql) -> Result<()> {
    for statement in [
        "CREATE TABLE IF NOT EXISTS intents (id TEXT PRIMARY KEY, until INTEGER NOT NULL, intent BLOB NOT NULL) WITHOUT ROWID",
        // When it was learned where a patient is (0: that is not known any more), and as of which move.
        "CREATE TABLE IF NOT EXISTS learned (patient TEXT PRIMARY KEY, at INTEGER NOT NULL, moves INTEGER NOT NULL) \
         WITHOUT ROWID",
        "CREATE INDEX IF NOT EXISTS learned_by_moves ON learned (moves)",
    ] {
        sql.exec(statement, &[])?;
    }
    Ok(())
}

fn read(bytes: &[u8]) -> Result<Intent> {
    postcard::from_bytes(bytes).map_err(|_| Error::internal("an intent is not of the shape this version writes"))
}

/// Whether something of `patient` is being written.
pub fn is_written(sql: &impl Sql, patient: &str) -> Result<bool> {
    for mut row in sql.exec("SELECT intent FROM intents", &[])? {
        let intent = read(&row.bytes()?)?;
        if intent.shared || intent.patients.iter().any(|id| id == patient) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// In place of a patient: all of them.
const ALL: &str = "";

/// The number of the last move.
fn moves(sql: &impl Sql) -> Result<u64> {
    let last = sql.first("SELECT max(moves) FROM learned", &[])?;
    Ok(last.map(|mut row| row.maybe_number()).transpose()?.flatten().unwrap_or(0))
}

/// Where `patient` is, is not known any more: an answer to whoever asked before does not change that.
fn forget(sql: &impl Sql, patient: &str) -> Result<()> {
    sql.exec(
        "INSERT INTO learned (patient, at, moves) VALUES (?1, 0, ?2) \
         ON CONFLICT (patient) DO UPDATE SET at = 0, moves = excluded.moves",
        &[patient.into(), moves(sql)?.saturating_add(1).into()],
    )?;
    Ok(())
}

/// How what is known of `patient` stands at `now`: `None` where it is of no use any more, else whether it is to be asked for
/// again.
pub fn known(sql: &impl Sql, now: UnixMillis, away: &Away, patient: &str) -> Result<Option<bool>> {
    let at = sql.first(
        "SELECT at FROM learned WHERE patient = ?1 AND at > 0 \
         AND moves >= coalesce((SELECT moves FROM learned WHERE patient = ?2), 0)",
        &[patient.into(), ALL.into()],
    )?;
    let Some(at) = at.map(|mut row| row.instant()).transpose()? else { return Ok(None) };
    // A clock that went back makes nothing better known.
    let is_due = now < at || now >= at.plus(away.fresh);
    Ok((!is_due || now < at.plus(away.fresh).plus(away.stale)).then_some(is_due))
}

/// Answers `request` at `now`.
pub(in crate::clinic) fn handle(
    sql: &impl Sql,
    desk: &Desk,
    entropy: &impl Entropy,
    watch: &Watch,
    now: UnixMillis,
    request: &OriginRequest,
) -> Result<Handled> {
    let (mut reply, mut wait) = (ClinicReply::Done, Ttl(0));
    sql.transaction(|| {
        match request {
            OriginRequest::Learn { patient, wards, asked } => {
                learn(sql, entropy, now, patient, wards.as_deref(), *asked)?;
            }
            OriginRequest::Intend(intent) => {
                if let Some(why) = intend(sql, now, intent)? {
                    reply = ClinicReply::Committed(Committed::Refused { change: 0, why });
                }
            }
            OriginRequest::Settle { id, written } => {
                wait = desk.left(now, &settle(sql, entropy, watch, now, id, written.as_deref())?);
            }
            // As with a write: nobody relies on what was before once this is acknowledged.
            OriginRequest::Changed(what) => {
                reply = ClinicReply::Reached(changed(sql, entropy, what)?);
                wait = desk.longest();
            }
            OriginRequest::Refused { actor, record, deletes } => {
                let did = if *deletes { Did::Delete } else { Did::Update };
                audit::record(sql, now, &audit::Event { actor, did, entity: record, outcome: Outcome::Refused })?;
            }
            OriginRequest::Statement => return Err(Error::internal("an object was asked for a statement")),
        }
        Ok(())
    })?;
    desk.hold(now, wait);
    Ok(Handled { reply, wait })
}

fn learn(
    sql: &impl Sql,
    entropy: &impl Entropy,
    now: UnixMillis,
    patient: &str,
    wards: Option<&[String]>,
    asked: u64,
) -> Result<()> {
    let Some(wards) = wards else {
        // Nothing is put down of whom nobody has.
        sql.exec(
            "UPDATE learned SET at = 0, moves = ?2 WHERE patient = ?1",
            &[patient.into(), moves(sql)?.saturating_add(1).into()],
        )?;
        return Ok(());
    };
    let newer = sql.first(
        "SELECT 1 FROM learned WHERE patient IN (?1, ?3) AND moves > ?2",
        &[patient.into(), asked.into(), ALL.into()],
    )?;
    if newer.is_some() {
        return Ok(());
    }
    if head::get(sql, patient)?.is_none() {
        head::raise(sql, entropy, patient)?;
    }
    sql.exec(
        "INSERT INTO learned (patient, at, moves) VALUES (?1, ?2, ?3) \
         ON CONFLICT (patient) DO UPDATE SET at = excluded.at, moves = excluded.moves",
        &[patient.into(), now.into(), asked.into()],
    )?;
    if head::set_wards(sql, patient, wards)? {
        let moved = head::get(sql, patient)?.map_or(0, |head| head.moved);
        registry::all_ask_again(sql, now, &Topic::Patient(patient.to_owned()).to_string(), moved)?;
    }
    Ok(())
}

fn intend(sql: &impl Sql, now: UnixMillis, intent: &Intent) -> Result<Option<Refusal>> {
    let restored = head::restored(sql)?;
    for fence in &intent.fences {
        if fences::is_refused(sql, restored, fence)? {
            return Ok(Some(Refusal::StaleFence));
        }
    }
    intent.fences.iter().try_for_each(|fence| fences::shown(sql, fence))?;
    let bytes = postcard::to_allocvec(intent).map_err(|_| Error::internal("an intent could not be written"))?;
    let until = now.plus(MARK);
    sql.exec(
        "INSERT INTO intents (id, until, intent) VALUES (?1, ?2, ?3)",
        &[intent.id.as_str().into(), until.into(), bytes.into()],
    )?;
    agenda::by(sql, INTENTS, until)?;
    Ok(None)
}

fn settle(
    sql: &impl Sql,
    entropy: &impl Entropy,
    watch: &Watch,
    now: UnixMillis,
    id: &str,
    written: Option<&Written>,
) -> Result<Touched> {
    sql.exec("DELETE FROM intents WHERE id = ?1", &[id.into()])?;
    let mut touched = Touched::default();
    let Some(Written { batch, stamps, patients }) = written else { return Ok(touched) };
    for ((change, stamp), patients) in batch.changes.iter().zip(stamps).zip(patients) {
        touched.patients.extend(patients.iter().cloned());
        touched.shared |= crate::fhir::is_shared(change.kind);
        let deleted = matches!(change.write, Write::Delete);
        if change.kind == ResourceType::Patient {
            if deleted {
                head::raise(sql, entropy, &change.id)?;
                head::forget(sql, entropy, &change.id)?;
                forget(sql, &change.id)?;
            } else if stamp.created && batch.changes.len() == 1 {
                // Nobody is anywhere before an Encounter says so, which may have come with them.
                learn(sql, entropy, now, &change.id, Some(&[]), moves(sql)?)?;
            }
        }
        if let Some(event) = chart::event(change, *stamp)? {
            let event = Event { at: now, ..event };
            outbox::announce(sql, &owners(sql, patients)?, &event)?;
            chart::schedule(change).iter().try_for_each(|topic| outbox::add(sql, topic, &event))?;
        }
        let did = match (deleted, stamp.created) {
            (true, _) => Did::Delete,
            (false, true) => Did::Create,
            (false, false) => Did::Update,
        };
        let entity = format!("{}/{}/_history/{}", change.kind, change.id, stamp.version);
        let event = audit::Event { actor: &batch.actor, did, entity: &entity, outcome: Outcome::Success };
        match &batch.reason {
            Some(reason) => audit::record_with_reason(sql, now, &event, reason)?,
            None => audit::record(sql, now, &event)?,
        }
    }
    raise(sql, entropy, touched.patients.iter(), touched.shared)?;
    if batch.changes.iter().any(|change| change.kind == ResourceType::Location) {
        forget(sql, ALL)?;
    }
    following::follow(sql, entropy, watch, now, batch, &Committed::All(stamps.clone()), &touched)?;
    Ok(touched)
}

/// Changes the generations of those of `patients` who are known here, and the shared one.
fn raise<'a>(
    sql: &impl Sql,
    entropy: &impl Entropy,
    patients: impl Iterator<Item = &'a String>,
    shared: bool,
) -> Result<()> {
    for patient in patients {
        // A head that is made here would say that they are in no ward.
        if head::get(sql, patient)?.is_some() {
            head::raise(sql, entropy, patient)?;
        }
    }
    if shared { head::raise_shared(sql, entropy) } else { Ok(()) }
}

fn owners(sql: &impl Sql, patients: &[String]) -> Result<Vec<Owner>> {
    let known = patients.iter().map(|patient| {
        let owner = following::Roll(sql).owner(patient)?;
        Ok(owner.unwrap_or_else(|| Owner { patient: patient.clone(), wards: Vec::new() }))
    });
    known.collect()
}

/// Gives those of the patients who are known here.
fn changed(sql: &impl Sql, entropy: &impl Entropy, what: &Changed) -> Result<BTreeSet<String>> {
    let mut known = BTreeSet::new();
    match what {
        Changed::Patients(patients) => {
            raise(sql, entropy, patients.iter(), false)?;
            for patient in patients {
                forget(sql, patient)?;
                known.extend(head::get(sql, patient)?.map(|head| head.owner.patient));
            }
        }
        Changed::Shared { places } => {
            head::raise_shared(sql, entropy)?;
            if *places {
                forget(sql, ALL)?;
            }
        }
        Changed::Anything => {
            forget(sql, ALL)?;
            let restored = head::restored(sql)?;
            head::begin_epoch(sql, entropy, restored)?;
            head::raise_shared(sql, entropy)?;
        }
    }
    Ok(known)
}

/// Where anybody is, is not known any more: the clinic was brought back from a backup.
pub fn begin_anew(sql: &impl Sql) -> Result<()> {
    forget(sql, ALL)
}

/// The head of `patient` at `now`, where it is known well enough.
pub(in crate::clinic) fn look(
    sql: &impl Sql,
    desk: &Desk,
    entropy: &impl Entropy,
    now: UnixMillis,
    patient: &str,
) -> Result<Looked> {
    sweep(sql, entropy, now)?;
    let known = desk.away.as_ref().map(|away| known(sql, now, away, patient)).transpose()?.flatten();
    let (Some(due), Some(head)) = (known, head::get(sql, patient)?) else {
        return Ok(Looked { due: Some(moves(sql)?), ..Looked::default() });
    };
    let writing = is_written(sql, patient)?;
    if !writing {
        desk.told(now, patient);
    }
    let due = if due { Some(moves(sql)?) } else { None };
    Ok(Looked { heads: vec![head], writing, due, ..Looked::default() })
}

/// Whether `patient` is known well enough to keep what is read, and nothing of theirs is being written.
pub(in crate::clinic) fn is_settled(
    sql: &impl Sql,
    desk: &Desk,
    entropy: &impl Entropy,
    now: UnixMillis,
    patient: &str,
) -> Result<bool> {
    sweep(sql, entropy, now)?;
    let known = desk.away.as_ref().map(|away| known(sql, now, away, patient)).transpose()?.flatten();
    Ok(known == Some(false) && !is_written(sql, patient)?)
}

/// What is on the agenda: settles what is overdue, and puts down when to look again.
pub fn wake(sql: &impl Sql, entropy: &impl Entropy, now: UnixMillis) -> Result<()> {
    sweep(sql, entropy, now)?;
    let next = sql.first("SELECT min(until) FROM intents", &[])?;
    agenda::set(sql, INTENTS, next.map(|mut row| row.maybe_number()).transpose()?.flatten().map(UnixMillis))
}

/// Settles what nobody has settled in time: it may have taken effect.
fn sweep(sql: &impl Sql, entropy: &impl Entropy, now: UnixMillis) -> Result<()> {
    let overdue =
        sql.exec("SELECT id, intent FROM intents WHERE until <= ?1 LIMIT ?2", &[now.into(), AT_ONCE.into()])?;
    for mut row in overdue {
        let (id, bytes) = (row.text()?, row.bytes()?);
        let intent = read(&bytes)?;
        sql.transaction(|| {
            sql.exec("DELETE FROM intents WHERE id = ?1", &[id.as_str().into()])?;
            raise(sql, entropy, intent.patients.iter(), intent.shared)?;
            let patients: BTreeSet<String> = intent.patients.iter().cloned().collect();
            for patient in &patients {
                // It may have been an Encounter.
                forget(sql, patient)?;
            }
            for record in &intent.records {
                let kind = record.split('/').next().unwrap_or_default();
                if kind == ResourceType::Location.as_str() {
                    forget(sql, ALL)?;
                }
                if let Some(kind) = crate::channel::EventKind::of(kind) {
                    let data = format!(r#"{{"reference":"{record}","outcome":"unknown"}}"#);
                    let event =
                        Event { id: format!("{record}/unknown/{id}"), kind: kind.as_str().to_owned(), at: now, data };
                    outbox::announce(sql, &owners(sql, &intent.patients)?, &event)?;
                }
                let event =
                    audit::Event { actor: &intent.actor, did: Did::Update, entity: record, outcome: Outcome::Unknown };
                audit::record(sql, now, &event)?;
            }
            Ok(())
        })?;
    }
    Ok(())
}
