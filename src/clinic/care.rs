//! What the clinic's object does for whoever cares for a patient: alerts, limits, and the board of a ward.
//!
//! Invariant: what is not within the asker's scope is refused, and the refusal is in the audit trail; an acknowledgement and
//! its audit row commit together.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::access::audit::{self, Actor, Did, Outcome};
use crate::access::{Owner, Role, Scope, refused};
use crate::channel::Topic;
use crate::channel::outbox;
use crate::chart::records::{Batch, Change, Committed, Stamp, Write};
use crate::chart::{self, head};
use crate::error::{Error, Kind, Result};
use crate::fhir::ResourceType;
use crate::session::roster;
use crate::store::agenda;
use crate::store::sql::Sql;
use crate::time::{Entropy, UnixMillis};
use crate::vitals::alert::{Acknowledgement, Alert};
use crate::vitals::evaluate::{self, Written};
use crate::vitals::thresholds::{self, Thresholds};
use crate::vitals::watch::Watch;
use crate::vitals::{Census, alerts_sql};

/// On the agenda: an alert is to be pushed again.
pub const ALERTS: &str = "alerts";
/// Alerts in one answer, at most.
const MOST: usize = 500;

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CareRequest {
    /// Open alerts, the most urgent first.
    Alerts {
        /// Of patients in this ward.
        ward: Option<String>,
        /// Of this patient.
        patient: Option<String>,
    },
    /// Somebody has seen an alert.
    Acknowledge {
        /// Its id.
        id: String,
        /// The person's name.
        name: String,
        /// The version that they saw.
        seen: Option<u64>,
        /// Who.
        actor: Actor,
    },
    /// What is set for a patient.
    Thresholds {
        /// The Patient's id.
        patient: String,
    },
    /// Sets it, whole.
    SetThresholds {
        /// The Patient's id.
        patient: String,
        /// What is set.
        thresholds: Thresholds,
        /// Only over this version.
        expected: Option<u64>,
        /// Who.
        actor: Actor,
    },
}

impl CareRequest {
    /// Whether it changes something.
    pub fn is_change(&self) -> bool {
        matches!(self, CareRequest::Acknowledge { .. } | CareRequest::SetThresholds { .. })
    }
}

/// The clinic as the watch over vital signs needs it.
pub(super) struct Roll<'a, S>(pub &'a S);

impl<S: Sql> Roll<'_, S> {
    fn owner(&self, patient: &str) -> Result<Option<Owner>> {
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
}

/// Follows a batch that was written, in its transaction.
pub(super) fn follow(
    sql: &impl Sql,
    entropy: &impl Entropy,
    watch: &Watch,
    now: UnixMillis,
    batch: &Batch,
    committed: &Committed,
) -> Result<()> {
    let Committed::All(stamps) = committed else { return Ok(()) };
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
        evaluate::written(sql, &Roll(sql), entropy, (now, &watch.rules), &writes)?;
        plan(sql)?;
    }
    batch.changes.iter().zip(stamps).try_for_each(|(change, stamp)| tell_requesters(sql, change, *stamp))
}

/// A result that is there is told to whoever asked for it, besides the followers of patient and wards.
fn tell_requesters(sql: &impl Sql, change: &Change, stamp: Stamp) -> Result<()> {
    let Write::Put { finalised: Some(finalised), .. } = &change.write else { return Ok(()) };
    let clinicians = finalised.clinicians(sql)?;
    let Some(event) = chart::event(change, stamp)?.filter(|_| !clinicians.is_empty()) else { return Ok(()) };
    let of_them = roster::with(sql, |account| account.practitioner.as_ref().is_some_and(|id| clinicians.contains(id)))?;
    of_them.into_iter().try_for_each(|account| outbox::add(sql, &Topic::User(account.principal.user), &event))
}

/// Puts the next push on the agenda.
fn plan(sql: &impl Sql) -> Result<()> {
    agenda::set(sql, ALERTS, alerts_sql::next_due(sql)?)
}

/// Pushes again what is due.
pub(super) fn push(sql: &impl Sql, watch: &Watch, now: UnixMillis) -> Result<()> {
    sql.transaction(|| {
        alerts_sql::push(sql, &Roll(sql), &watch.rules, now)?;
        plan(sql)
    })
}

/// Answers `request` of somebody who reaches `scope`, as JSON.
pub(super) fn handle(
    sql: &impl Sql,
    entropy: &impl Entropy,
    watch: &Watch,
    now: UnixMillis,
    scope: &Scope,
    request: &CareRequest,
) -> Result<String> {
    let value = match request {
        CareRequest::Alerts { ward, patient } => alerts(sql, scope, ward.as_deref(), patient.as_deref())?,
        CareRequest::Acknowledge { id, name, seen, actor } => {
            let missing = || Error::new(Kind::NotFound, "there is no such alert");
            let mut alert = alerts_sql::get(sql, id)?.ok_or_else(missing)?;
            let entity = format!("alert/{id}/acknowledge");
            reach(sql, now, scope, &alert.patient, (actor, Did::Execute, &entity))?;
            let who = Acknowledgement { user: actor.user.clone(), name: name.clone(), at: now };
            sql.transaction(|| {
                if let Some(news) = alert.acknowledge(who, *seen)? {
                    alerts_sql::keep(sql, &Roll(sql), now, &alert, Some(news))?;
                    let event = audit::Event { actor, did: Did::Execute, entity: &entity, outcome: Outcome::Success };
                    audit::record(sql, now, &event)?;
                    plan(sql)?;
                }
                Ok(alert.to_json())
            })?
        }
        CareRequest::Thresholds { patient } => {
            let owner = known(sql, patient)?;
            if !scope.reaches(&owner) {
                return Err(refused());
            }
            thresholds::get(sql, patient)?.to_json()
        }
        CareRequest::SetThresholds { patient, thresholds, expected, actor } => {
            let entity = format!("Patient/{patient}/thresholds");
            reach(sql, now, scope, patient, (actor, Did::Update, &entity))?;
            sql.transaction(|| {
                let set = thresholds::put(sql, now, patient, thresholds, *expected)?;
                let event = audit::Event { actor, did: Did::Update, entity: &entity, outcome: Outcome::Success };
                audit::record(sql, now, &event)?;
                evaluate::anew(sql, &Roll(sql), entropy, (now, &watch.rules), patient)?;
                plan(sql)?;
                Ok(set.to_json())
            })?
        }
    };
    Ok(value.to_string())
}

fn known(sql: &impl Sql, patient: &str) -> Result<Owner> {
    Roll(sql).owner(patient)?.ok_or_else(|| Error::new(Kind::NotFound, "there is no such patient"))
}

/// Refuses who does not reach `patient`, and notes that they tried.
fn reach(
    sql: &impl Sql,
    now: UnixMillis,
    scope: &Scope,
    patient: &str,
    (actor, did, entity): (&Actor, Did, &str),
) -> Result<()> {
    if scope.reaches(&known(sql, patient)?) {
        return Ok(());
    }
    audit::record(sql, now, &audit::Event { actor, did, entity, outcome: Outcome::Refused })?;
    Err(refused())
}

fn alerts(sql: &impl Sql, scope: &Scope, ward: Option<&str>, patient: Option<&str>) -> Result<Value> {
    let open = match patient {
        Some(patient) => {
            if !scope.reaches(&known(sql, patient)?) {
                return Err(refused());
            }
            alerts_sql::of_patient(sql, patient)?
        }
        None => alerts_sql::open(sql)?,
    };
    let mut owners: BTreeMap<String, Option<Owner>> = BTreeMap::new();
    let mut found: Vec<Alert> = Vec::new();
    for alert in open {
        if !owners.contains_key(&alert.patient) {
            owners.insert(alert.patient.clone(), Roll(sql).owner(&alert.patient)?);
        }
        let owner = owners.get(&alert.patient).cloned().flatten();
        let shown = owner.is_some_and(|owner| {
            scope.reaches(&owner) && ward.is_none_or(|ward| owner.wards.iter().any(|own| own == ward))
        });
        if shown {
            found.push(alert);
        }
    }
    found.sort_by(|a, b| b.finding.severity.cmp(&a.finding.severity).then(a.raised_at.cmp(&b.raised_at)));
    let more = found.len() > MOST;
    let alerts: Vec<Value> = found.iter().take(MOST).map(Alert::to_json).collect();
    Ok(json!({ "alerts": alerts, "more": more }))
}
