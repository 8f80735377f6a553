//! What the clinic's object does for whoever cares for a patient: alerts, limits, and the board of a ward.
//!
//! Invariant: what is not within the asker's scope is refused, and the refusal is in the audit trail; an acknowledgement and
//! its audit row commit together.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::board;
use super::following::{self, Roll};
use crate::access::audit::{self, Actor, Did, Outcome};
use crate::access::{Owner, Scope, refused};
use crate::error::{Error, Kind, Result};
use crate::sorted::{BTreeMap, sort_by};
use crate::store::sql::Sql;
use crate::time::{Entropy, UnixMillis};
use crate::vitals::alert::{Acknowledgement, Alert};
use crate::vitals::alerts_sql;
use crate::vitals::thresholds::{self, Thresholds};
use crate::vitals::watch::Watch;

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
    /// Everybody in a ward, and what is known of them.
    Board {
        /// The ward.
        ward: String,
        /// Whether names are shown as initials, and nothing else says who somebody is.
        reduced: bool,
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
    /// The patient whom it is about, where it names one.
    pub fn patient(&self) -> Option<&str> {
        match self {
            CareRequest::Alerts { patient, .. } => patient.as_deref(),
            CareRequest::Thresholds { patient } | CareRequest::SetThresholds { patient, .. } => Some(patient),
            CareRequest::Acknowledge { .. } | CareRequest::Board { .. } => None,
        }
    }

    /// Whether it changes something.
    pub fn is_change(&self) -> bool {
        matches!(self, CareRequest::Acknowledge { .. } | CareRequest::SetThresholds { .. })
    }
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
                    following::plan(sql)?;
                }
                Ok(alert.to_json())
            })?
        }
        CareRequest::Board { ward, reduced } => board::board(sql, watch, now, scope, ward, *reduced)?,
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
                following::reset(sql, entropy, watch, now, patient, &set)?;
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
    sort_by(&mut found, |a, b| b.finding.severity.cmp(&a.finding.severity).then(a.raised_at.cmp(&b.raised_at)));
    let more = found.len() > MOST;
    let alerts: Vec<Value> = found.iter().take(MOST).map(Alert::to_json).collect();
    Ok(json!({ "alerts": alerts, "more": more }))
}
