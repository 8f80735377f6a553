//! Records in the clinic's SQLite: [`super::records`] as SQL.
//!
//! Invariant: `resources` holds the newest version of every record, `history` all earlier ones, `compartments` the patients
//! of the newest version that is not a deletion (a deleted record stays in the compartments of its last content, so that
//! its history has owners).

use super::event::{event, reference, schedule_of};
use super::head::{Head, Touched};
use super::records::{Answer, Batch, Change, Committed, Found, Guard, Query, Record, Refusal, Stamp, Write, settles};
use super::{fences, head, holds, once, search, wards, whole_sql as whole};
use crate::access::audit::{self, Did, Outcome};
use crate::access::{Owner, Scope};
use crate::channel::Topic;
use crate::channel::outbox::{self};
use crate::error::Result;
use crate::fhir::{Identifier, Resource, ResourceType, is_shared};
use crate::sorted::BTreeSet;
use crate::store::sql::{Row, Sql};
use crate::time::{Entropy, UnixMillis};

/// Makes the tables where they are not there yet.
pub fn prepare(sql: &impl Sql) -> Result<()> {
    head::prepare(sql)?;
    wards::prepare(sql)?;
    whole::prepare(sql)?;
    fences::prepare(sql)?;
    once::prepare(sql)?;
    holds::prepare(sql)?;
    for statement in [
        "CREATE TABLE IF NOT EXISTS resources (kind TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL, \
         updated INTEGER NOT NULL, created INTEGER NOT NULL, body TEXT, PRIMARY KEY (kind, id)) WITHOUT ROWID",
        "CREATE TABLE IF NOT EXISTS history (kind TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL, \
         updated INTEGER NOT NULL, created INTEGER NOT NULL, body TEXT, PRIMARY KEY (kind, id, version)) WITHOUT ROWID",
        "CREATE TABLE IF NOT EXISTS compartments (patient TEXT NOT NULL, kind TEXT NOT NULL, id TEXT NOT NULL, \
         PRIMARY KEY (patient, kind, id)) WITHOUT ROWID",
        "CREATE INDEX IF NOT EXISTS compartments_by_record ON compartments (kind, id)",
        "CREATE TABLE IF NOT EXISTS identifiers (kind TEXT NOT NULL, system TEXT NOT NULL, value TEXT NOT NULL, \
         id TEXT NOT NULL, PRIMARY KEY (kind, system, value, id)) WITHOUT ROWID",
        "CREATE INDEX IF NOT EXISTS identifiers_by_record ON identifiers (kind, id)",
    ] {
        sql.exec(statement, &[])?;
    }
    search::index::prepare(sql)
}

pub(super) const COLUMNS: &str = "id, version, updated, created, body";

pub(super) fn record(mut row: Row) -> Result<Record> {
    Ok(Record {
        id: row.text()?,
        version: row.number()?,
        updated: row.instant()?,
        created: row.truth()?,
        body: row.maybe_text()?,
    })
}

pub(super) fn newest(sql: &impl Sql, kind: ResourceType, id: &str) -> Result<Option<Record>> {
    let statement = format!("SELECT {COLUMNS} FROM resources WHERE kind = ?1 AND id = ?2");
    sql.first(&statement, &[kind.as_str().into(), id.into()])?.map(record).transpose()
}

/// The newest version of a record, where there is one that is not deleted.
pub fn current(sql: &impl Sql, kind: ResourceType, id: &str) -> Result<Option<Resource>> {
    let body = newest(sql, kind, id)?.and_then(|record| record.body);
    Ok(body.and_then(|body| Resource::parse(body.as_bytes()).ok()))
}

pub(super) fn compartments(sql: &impl Sql, kind: ResourceType, id: &str) -> Result<Vec<String>> {
    let rows =
        sql.exec("SELECT patient FROM compartments WHERE kind = ?1 AND id = ?2", &[kind.as_str().into(), id.into()])?;
    rows.into_iter().map(|mut row| row.text()).collect()
}

pub(super) fn owner(sql: &impl Sql, patient: String) -> Result<Owner> {
    Ok(match head::get(sql, &patient)? {
        Some(head) => head.owner,
        None => Owner { patient, wards: Vec::new() },
    })
}

pub(super) fn owners(sql: &impl Sql, patients: impl IntoIterator<Item = String>) -> Result<Vec<Owner>> {
    patients.into_iter().map(|patient| owner(sql, patient)).collect()
}

/// Answers `query` within `scope`.
pub fn run(sql: &impl Sql, scope: &Scope, query: &Query) -> Result<Answer> {
    match query {
        Query::Read { kind, id, version } => read(sql, scope, *kind, id, *version),
        Query::History { kind, id, below, count } => history(sql, scope, *kind, id, *below, *count),
        Query::Search { search, after, count, total } => {
            let wanted = search::Wanted { search, after: after.as_ref(), count: *count, total: *total };
            search::search(sql, scope, &wanted)
        }
        Query::Everything { patient, since, kinds, after, count } => {
            let wanted = whole::Wanted { patient, since: *since, kinds, after: after.as_ref(), count: *count };
            whole::everything(sql, scope, &wanted)
        }
        Query::Log { kind, since, below, count } => {
            whole::log(sql, scope, &whole::Log { kind: *kind, since: *since, below: *below, count: *count })
        }
        Query::Identified(wanted) => {
            let ids = wanted.iter().map(|(kind, identifier)| identified(sql, *kind, identifier));
            ids.collect::<Result<_>>().map(Answer::Ids)
        }
        Query::Occupants(slots) => {
            let ids = slots.iter().map(|slot| holds::occupant(sql, slot));
            ids.collect::<Result<_>>().map(Answer::Ids)
        }
    }
}

fn read(sql: &impl Sql, scope: &Scope, kind: ResourceType, id: &str, version: Option<u64>) -> Result<Answer> {
    let Some(newest) = newest(sql, kind, id)? else { return Ok(Answer::Missing) };
    let owners = owners(sql, compartments(sql, kind, id)?)?;
    if !scope.may_read(&owners) {
        return Ok(Answer::OutOfReach);
    }
    let record = match version {
        None => newest,
        Some(version) if version == newest.version => newest,
        Some(version) => {
            let statement = format!("SELECT {COLUMNS} FROM history WHERE kind = ?1 AND id = ?2 AND version = ?3");
            let row = sql.first(&statement, &[kind.as_str().into(), id.into(), version.into()])?;
            let Some(earlier) = row.map(record).transpose()? else { return Ok(Answer::Missing) };
            earlier
        }
    };
    let held = match kind {
        ResourceType::Appointment => holds::of(sql, id)?,
        _ => None,
    };
    let (held_by, held_until) = held.unzip();
    Ok(Answer::Found(Found { record, owners, held_until, held_by }))
}

fn history(
    sql: &impl Sql,
    scope: &Scope,
    kind: ResourceType,
    id: &str,
    below: Option<u64>,
    count: u64,
) -> Result<Answer> {
    let Some(newest) = newest(sql, kind, id)? else { return Ok(Answer::Missing) };
    if !scope.may_read(&owners(sql, compartments(sql, kind, id)?)?) {
        return Ok(Answer::OutOfReach);
    }
    let below = below.unwrap_or(u64::MAX);
    let statement = format!(
        "SELECT {COLUMNS} FROM history WHERE kind = ?1 AND id = ?2 AND version < ?3 ORDER BY version DESC LIMIT ?4"
    );
    let more = count.saturating_add(1);
    let rows = sql.exec(&statement, &[kind.as_str().into(), id.into(), below.into(), more.into()])?;
    let first = (newest.version < below).then_some(Ok(newest));
    let several = first.into_iter().chain(rows.into_iter().map(record)).collect::<Result<Vec<_>>>()?;
    Ok(cut(several, count))
}

fn identified(sql: &impl Sql, kind: ResourceType, identifier: &Identifier) -> Result<Option<String>> {
    sql.first(
        "SELECT id FROM identifiers WHERE kind = ?1 AND system = ?2 AND value = ?3 ORDER BY id LIMIT 1",
        &[kind.as_str().into(), identifier.system.as_str().into(), identifier.value.as_str().into()],
    )?
    .map(|mut row| row.text())
    .transpose()
}

fn cut(mut several: Vec<Record>, count: u64) -> Answer {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let more = several.len() > count;
    several.truncate(count);
    Answer::Several(several, more)
}

/// Brings the records to the restore of `restored`: views that were cached before are void, fences of before are stale, and
/// versions go on above all of before. Call it inside the transaction of the restore.
pub fn begin_anew(sql: &impl Sql, entropy: &impl Entropy, restored: UnixMillis) -> Result<()> {
    head::begin_epoch(sql, entropy, restored)
}

/// Runs `batch` at `now`: guards, then writes, in one transaction with everything that they cause. Must be called inside
/// [`Sql::transaction`]; where it is refused it has written nothing but the audit row of the refusal. Whose heads it changes
/// is added to `touched`.
pub fn commit(
    sql: &impl Sql,
    entropy: &impl Entropy,
    now: UnixMillis,
    batch: &Batch,
    touched: &mut Touched,
) -> Result<Committed> {
    if let Some(request) = &batch.once
        && once::is_done(sql, request)?
    {
        return Ok(Committed::Again);
    }
    let restored = head::restored(sql)?;
    for fence in &batch.fences {
        if fences::is_refused(sql, restored, fence)? {
            return Ok(Committed::Refused { change: 0, why: Refusal::StaleFence });
        }
    }
    for (position, change) in batch.changes.iter().enumerate() {
        if let Some(why) = refusal(sql, batch, change)? {
            if why == Refusal::OutOfReach {
                let did = match &change.write {
                    Write::Delete => Did::Delete,
                    Write::Put { .. } => Did::Update,
                };
                let entity = format!("{}/{}", change.kind, change.id);
                let event = audit::Event { actor: &batch.actor, did, entity: &entity, outcome: Outcome::Refused };
                audit::record(sql, now, &event)?;
            }
            return Ok(Committed::Refused { change: position, why });
        }
    }
    for hold in &batch.holds {
        if let Some(why) = holds::refusal(sql, now, &batch.actor.user, hold)? {
            return Ok(Committed::Refused { change: 0, why });
        }
    }
    batch.fences.iter().try_for_each(|fence| fences::shown(sql, fence))?;
    batch.once.iter().try_for_each(|request| once::done(sql, request, now))?;
    batch.holds.iter().try_for_each(|hold| holds::apply(sql, now, &batch.actor.user, hold))?;
    let stamps = batch.changes.iter().map(|change| write(sql, entropy, (now, restored), batch, change, touched));
    let stamps = stamps.collect::<Result<_>>()?;
    Ok(Committed::All(stamps))
}

/// Whose heads `batch` will change, as far as that is known before: those of the patients whose records they were and will
/// be. Who is in other wards by it is not among them.
pub fn concerned(sql: &impl Sql, batch: &Batch) -> Result<Touched> {
    let mut touched = Touched::default();
    for change in &batch.changes {
        touched.patients.extend(compartments(sql, change.kind, &change.id)?);
        if let Write::Put { patients, .. } = &change.write {
            touched.patients.extend(patients.iter().cloned());
        }
        touched.shared |= is_shared(change.kind);
    }
    Ok(touched)
}

/// The heads of `touched` as the records have them now, and the number of this state of the records.
pub fn state(sql: &impl Sql, touched: &Touched) -> Result<(Vec<Head>, u64)> {
    let newest = sql.first("SELECT max(seq) FROM versions", &[])?.map(|mut row| row.maybe_number()).transpose()?;
    let heads = touched.patients.iter().map(|patient| match head::get(sql, patient)? {
        Some(head) => Ok(head),
        None => Ok(Head::none(patient)),
    });
    Ok((heads.collect::<Result<_>>()?, newest.flatten().unwrap_or(0)))
}

fn refusal(sql: &impl Sql, batch: &Batch, change: &Change) -> Result<Option<Refusal>> {
    let newest = newest(sql, change.kind, &change.id)?;
    let old = compartments(sql, change.kind, &change.id)?;
    let new = match &change.write {
        Write::Put { patients, .. } => patients.clone(),
        Write::Delete => Vec::new(),
    };
    let touched: BTreeSet<String> = old.into_iter().chain(new.iter().cloned()).collect();
    if !batch.scope.may_write(&owners(sql, touched)?) {
        return Ok(Some(Refusal::OutOfReach));
    }
    let guarded = match (change.guard, &newest) {
        (Guard::Absent | Guard::Unmatched, Some(_)) => Some(Refusal::Exists),
        (Guard::Unmatched, None) => matched(sql, change)?.then_some(Refusal::Changed),
        (Guard::Version(version), Some(record)) if record.version != version || record.body.is_none() => {
            Some(Refusal::Changed)
        }
        (Guard::Version(_), None) => Some(Refusal::Changed),
        _ => None,
    };
    if guarded.is_some() {
        return Ok(guarded);
    }
    match &change.write {
        Write::Delete => match &newest {
            None => Ok(Some(Refusal::Missing)),
            Some(_) if change.kind == ResourceType::Patient && has_dependents(sql, &change.id)? => {
                Ok(Some(Refusal::StillReferred))
            }
            Some(_) => Ok(None),
        },
        Write::Put { .. } => {
            for patient in &new {
                if !is_patient(sql, batch, patient)? {
                    return Ok(Some(Refusal::NoSuchPatient));
                }
            }
            if needs_fence(batch, change, newest.as_ref()) {
                return Ok(Some(Refusal::NeedsFence));
            }
            Ok(holds::is_taken(sql, batch, change)?.then_some(Refusal::SlotTaken))
        }
    }
}

/// Whether `change` settles what was open until now without showing the fence under which it is edited.
fn needs_fence(batch: &Batch, change: &Change, newest: Option<&Record>) -> bool {
    let Write::Put { settles: true, .. } = &change.write else { return false };
    let name = format!("{}:{}", change.kind, change.id);
    if batch.fences.iter().any(|fence| fence.name == name) {
        return false;
    }
    let was = newest.and_then(|record| record.body.as_deref()).map(|body| Resource::parse(body.as_bytes()));
    was.is_some_and(|was| was.is_ok_and(|was| !settles(&was)))
}

fn matched(sql: &impl Sql, change: &Change) -> Result<bool> {
    let Write::Put { identifiers, .. } = &change.write else { return Ok(false) };
    for identifier in identifiers {
        if identified(sql, change.kind, identifier)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_patient(sql: &impl Sql, batch: &Batch, id: &str) -> Result<bool> {
    let in_batch = |change: &Change| {
        change.kind == ResourceType::Patient && change.id == id && matches!(change.write, Write::Put { .. })
    };
    if batch.changes.iter().any(in_batch) {
        return Ok(true);
    }
    Ok(newest(sql, ResourceType::Patient, id)?.is_some_and(|record| record.body.is_some()))
}

fn has_dependents(sql: &impl Sql, patient: &str) -> Result<bool> {
    let found = sql.first(
        "SELECT 1 FROM compartments c JOIN resources r ON r.kind = c.kind AND r.id = c.id \
         WHERE c.patient = ?1 AND c.kind <> 'Patient' AND r.body IS NOT NULL LIMIT 1",
        &[patient.into()],
    )?;
    Ok(found.is_some())
}

fn write(
    sql: &impl Sql,
    entropy: &impl Entropy,
    (now, restored): (UnixMillis, UnixMillis),
    batch: &Batch,
    change: &Change,
    touched: &mut Touched,
) -> Result<Stamp> {
    let (kind, id) = (change.kind.as_str(), change.id.as_str());
    let newest = newest(sql, change.kind, id)?;
    if let (Write::Delete, Some(Record { body: None, version, updated, .. })) = (&change.write, &newest) {
        // Nothing changes, but that it did may not have been acknowledged yet.
        touched.patients.extend(compartments(sql, change.kind, id)?);
        return Ok(Stamp { version: *version, at: *updated, created: false });
    }
    // A version that was given before a restore, and is not in the backup, is not given again.
    let version = newest.as_ref().map_or(0, |record| record.version).max(restored.0).saturating_add(1);
    let created = newest.as_ref().is_none_or(|record| record.body.is_none());
    let stamp = Stamp { version, at: now, created };
    let old = compartments(sql, change.kind, id)?;
    let body = match &change.write {
        Write::Put { draft, .. } => Some(draft.stamped(version, now)),
        Write::Delete => None,
    };

    if newest.is_some() {
        sql.exec(
            "INSERT INTO history (kind, id, version, updated, created, body) \
             SELECT kind, id, version, updated, created, body FROM resources WHERE kind = ?1 AND id = ?2",
            &[kind.into(), id.into()],
        )?;
    }
    sql.exec(
        "INSERT INTO resources (kind, id, version, updated, created, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
         ON CONFLICT (kind, id) DO UPDATE SET version = excluded.version, updated = excluded.updated, \
         created = excluded.created, body = excluded.body",
        &[kind.into(), id.into(), version.into(), now.into(), created.into(), body.as_deref().into()],
    )?;

    let new = match &change.write {
        Write::Put { patients, .. } => patients,
        Write::Delete => &old,
    };
    if *new != old {
        sql.exec("DELETE FROM compartments WHERE kind = ?1 AND id = ?2", &[kind.into(), id.into()])?;
        for patient in new {
            sql.exec(
                "INSERT INTO compartments (patient, kind, id) VALUES (?1, ?2, ?3)",
                &[patient.as_str().into(), kind.into(), id.into()],
            )?;
        }
    }
    let (in_charts, shares): (&[String], &[_]) = match &change.write {
        Write::Put { patients, shares, .. } => (patients, shares),
        Write::Delete => (&[], &[]),
    };
    whole::written(sql, now, (kind, id, version), in_charts, shares)?;
    let terms = match &change.write {
        Write::Put { terms, .. } => terms.stamped(now),
        Write::Delete => Vec::new(),
    };
    search::index::written(sql, (kind, id, version), &terms, in_charts)?;
    let identifiers: &[Identifier] = match &change.write {
        Write::Put { identifiers, .. } => identifiers,
        Write::Delete => &[],
    };
    if newest.is_some() {
        sql.exec("DELETE FROM identifiers WHERE kind = ?1 AND id = ?2", &[kind.into(), id.into()])?;
    }
    for identifier in identifiers {
        sql.exec(
            "INSERT INTO identifiers (kind, system, value, id) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
            &[kind.into(), identifier.system.as_str().into(), identifier.value.as_str().into(), id.into()],
        )?;
    }
    let patients: Vec<String> = old.iter().chain(new).cloned().collect::<BTreeSet<_>>().into_iter().collect();
    for patient in &patients {
        head::raise(sql, entropy, patient)?;
    }
    touched.patients.extend(patients.iter().cloned());
    if is_shared(change.kind) {
        head::raise_shared(sql, entropy)?;
        touched.shared = true;
    }
    if change.kind == ResourceType::Patient && body.is_none() {
        head::forget(sql, entropy, id)?;
    }
    let place = match &change.write {
        Write::Put { place, .. } => place.as_deref(),
        Write::Delete => None,
    };
    wards::moved(sql, (kind, id), place, &patients, touched)?;
    holds::keep(sql, change)?;
    if let Some(event) = event(change, stamp)? {
        let last = body.as_deref().or_else(|| newest.as_ref()?.body.as_deref());
        let schedule = last.filter(|_| change.kind == ResourceType::Slot).and_then(schedule_of).map(Topic::Schedule);
        outbox::announce(sql, &owners(sql, patients)?, &event)?;
        schedule.iter().try_for_each(|topic| outbox::add(sql, topic, &event))?;
    }
    let did = match (&change.write, created) {
        (Write::Delete, _) => Did::Delete,
        (Write::Put { .. }, true) => Did::Create,
        (Write::Put { .. }, false) => Did::Update,
    };
    let entity = reference(change, version);
    let event = audit::Event { actor: &batch.actor, did, entity: &entity, outcome: Outcome::Success };
    match &batch.reason {
        Some(reason) => audit::record_with_reason(sql, now, &event, reason)?,
        None => audit::record(sql, now, &event)?,
    }
    Ok(stamp)
}
