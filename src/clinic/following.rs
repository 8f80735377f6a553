//! What follows in the clinic's object from what is written and from what a monitor says: scores, alerts, silence, results.
//!
//! Invariant: what follows from a write commits with it. What is due later is on the agenda from that commit on.

use super::subscriptions;
use crate::access::{Owner, Role, Scope};
use crate::channel::Topic;
use crate::channel::outbox::{self, Event};
use crate::chart;
use crate::chart::head::{self, Touched};
use crate::chart::records::{Batch, Change, Committed, Stamp, Write};
use crate::error::Result;
use crate::fhir::ResourceType;
use crate::session::{registry, roster};
use crate::sorted::BTreeSet;
use crate::store::agenda;
use crate::store::sql::Sql;
use crate::time::{Entropy, UnixMillis};
use crate::vitals::evaluate::{self, Written};
use crate::vitals::thresholds::Thresholds;
use crate::vitals::watch::{Sample, Watch};
use crate::vitals::{Census, alerts_sql, monitor};

/// On the agenda: an alert is to be pushed again.
pub(super) const ALERTS: &str = "alerts";
/// On the agenda: a monitored patient may have fallen silent.
pub(super) const SILENCE: &str = "silence";

/// The clinic as the watch over vital signs needs it.
pub(super) struct Roll<'a, S>(pub &'a S);

impl<S: Sql> Roll<'_, S> {
    pub fn owner(&self, patient: &str) -> Result<Option<Owner>> {
        Ok(head::get(self.0, patient)?.map(|head| head.owner))
    }
}

impl<S: Sql> Census for Roll<'_, S> {
    fn wards(&self, patient: &str) -> Result<Vec<String>> {
        Ok(self.owner(patient)?.map(|owner| owner.wards).unwrap_or_default())
    }

    fn practitioners(&self, wards: &[String]) -> Result<Vec<String>> {
        let concerned = roster::with(self.0, |account| {
            let own = &account.principal.wards;
            account.principal.role == Role::Practitioner
                && (wards.is_empty() || wards.iter().any(|ward| own.contains(ward)))
        })?;
        Ok(concerned.into_iter().map(|account| account.principal.user).collect())
    }

    fn told(&self, owner: &Owner, event: &Event) -> Result<()> {
        subscriptions::tell(self.0, std::slice::from_ref(owner), event)
    }
}

/// Follows a batch that was written, in its transaction.
pub(super) fn follow(
    sql: &impl Sql,
    entropy: &impl Entropy,
    watch: &Watch,
    now: UnixMillis,
    batch: &Batch,
    committed: &Committed,
    touched: &Touched,
) -> Result<()> {
    let Committed::All(stamps) = committed else { return Ok(()) };
    for patient in &touched.moved {
        let moved = head::get(sql, patient)?.map_or(0, |head| head.moved);
        registry::all_ask_again(sql, now, &Topic::Patient(patient.clone()).to_string(), moved)?;
    }
    let of_vitals = |change: &Change| change.kind == ResourceType::Observation;
    let written = batch.changes.iter().zip(stamps).filter(|(change, _)| of_vitals(change));
    let writes: Vec<Written<'_>> = written
        .map(|(change, stamp)| Written {
            id: &change.id,
            existed: stamp.version > 1,
            charted: match &change.write {
                Write::Put { charted, .. } => charted.as_deref(),
                Write::Delete => None,
            },
        })
        .collect();
    if !writes.is_empty() {
        for patient in evaluate::written(sql, &Roll(sql), entropy, (now, &watch.rules), &writes)? {
            monitor::heard(sql, &Roll(sql), watch, now, &patient, false)?;
            watch.heard(&patient, now);
        }
        plan(sql)?;
    }
    batch.changes.iter().zip(stamps).try_for_each(|(change, stamp)| {
        tell_subscribers(sql, change, *stamp)?;
        tell_requesters(sql, change, *stamp)?;
        tell_participants(sql, change, *stamp)
    })
}

/// Whoever has subscribed to records like this one, and reaches it, is told.
fn tell_subscribers(sql: &impl Sql, change: &Change, stamp: Stamp) -> Result<()> {
    let Write::Put { patients, .. } = &change.write else { return Ok(()) };
    let Some(event) = chart::event(change, stamp)? else { return Ok(()) };
    let owners = patients.iter().map(|patient| {
        let known = Roll(sql).owner(patient)?;
        Ok(known.unwrap_or_else(|| Owner { patient: patient.clone(), wards: Vec::new() }))
    });
    subscriptions::tell(sql, &owners.collect::<Result<Vec<_>>>()?, &event)
}

/// What is arranged is told to those whom it is for and with, besides the followers of patient and wards.
fn tell_participants(sql: &impl Sql, change: &Change, stamp: Stamp) -> Result<()> {
    let Write::Put { patients, shares, .. } = &change.write else { return Ok(()) };
    if change.kind != ResourceType::Appointment {
        return Ok(());
    }
    let Some(event) = chart::event(change, stamp)? else { return Ok(()) };
    let named = |id: &String| shares.contains(&(ResourceType::Practitioner, id.clone()));
    let of_them = roster::with(sql, |account| {
        account.practitioner.as_ref().is_some_and(named)
            || account.principal.patient.as_ref().is_some_and(|id| patients.contains(id))
    })?;
    of_them.into_iter().try_for_each(|account| outbox::add(sql, &Topic::User(account.principal.user), &event))
}

/// A result that is there is told to whoever asked for it, besides the followers of patient and wards.
fn tell_requesters(sql: &impl Sql, change: &Change, stamp: Stamp) -> Result<()> {
    let Write::Put { finalised: Some(finalised), .. } = &change.write else { return Ok(()) };
    let clinicians = finalised.clinicians(sql)?;
    let Some(event) = chart::event(change, stamp)?.filter(|_| !clinicians.is_empty()) else { return Ok(()) };
    let of_them = roster::with(sql, |account| account.practitioner.as_ref().is_some_and(|id| clinicians.contains(id)))?;
    of_them.into_iter().try_for_each(|account| outbox::add(sql, &Topic::User(account.principal.user), &event))
}

/// Puts the next push and the next judgement on the agenda.
pub(super) fn plan(sql: &impl Sql) -> Result<()> {
    agenda::set(sql, ALERTS, alerts_sql::next_due(sql)?)?;
    agenda::set(sql, SILENCE, monitor::next_due(sql)?)
}

/// Does what is due.
pub(super) fn wake(sql: &impl Sql, entropy: &impl Entropy, watch: &Watch, now: UnixMillis) -> Result<()> {
    sql.transaction(|| {
        alerts_sql::push(sql, &Roll(sql), &watch.rules, now)?;
        monitor::judge(sql, &Roll(sql), entropy, watch, now)?;
        plan(sql)
    })
}

/// What is set for `patient` was changed to `thresholds`. Call it in the transaction that did.
pub(super) fn reset(
    sql: &impl Sql,
    entropy: &impl Entropy,
    watch: &Watch,
    now: UnixMillis,
    patient: &str,
    thresholds: &Thresholds,
) -> Result<()> {
    evaluate::anew(sql, &Roll(sql), entropy, (now, &watch.rules), patient)?;
    monitor::set(sql, &Roll(sql), watch, now, patient, thresholds)?;
    plan(sql)
}

/// Whether telemetry of these patients that comes at `now` would have something written.
pub(super) fn is_due(watch: &Watch, now: UnixMillis, samples: &[Sample]) -> bool {
    samples.iter().any(|sample| watch.is_due(now, &sample.patient))
}

/// Watches `samples`. Gives for each the patient it is of with the wards they are in; `None` where there is no such
/// patient or `scope` does not reach them.
pub(super) fn telemetry(
    sql: &impl Sql,
    entropy: &impl Entropy,
    watch: &Watch,
    now: UnixMillis,
    scope: &Scope,
    samples: &[Sample],
) -> Result<Vec<Option<Owner>>> {
    let roll = Roll(sql);
    let mut owners = Vec::new();
    let mut due = BTreeSet::new();
    for sample in samples {
        let owner = roll.owner(&sample.patient)?.filter(|owner| scope.reaches(owner));
        if owner.is_some() {
            watch.take(now, sample);
            if watch.is_due(now, &sample.patient) {
                due.insert(sample.patient.as_str());
            }
        }
        owners.push(owner);
    }
    // What is not live is not taken, and leaves nothing to be judged by.
    due.retain(|patient| watch.seen(patient) == Some(now));
    if due.is_empty() {
        return Ok(owners);
    }
    sql.transaction(|| {
        for patient in &due {
            if watch.is_to_be_kept(now, patient) {
                monitor::heard(sql, &roll, watch, now, patient, true)?;
            }
            if let Some(minute) = watch.close(now, patient) {
                evaluate::watched(sql, &roll, entropy, (now, &watch.rules), patient, &minute)?;
            }
        }
        plan(sql)
    })?;
    for patient in due.into_iter().filter(|patient| watch.is_to_be_kept(now, patient)) {
        watch.kept(patient, now);
    }
    Ok(owners)
}
