//! Results: who asked for a DiagnosticReport, so that they are told when it is there.
//!
//! Invariant: what is told follows from the records as they are in the transaction that finalises the report: the requesters
//! of the orders that it is based on, and where those name none, who interpreted it, and last who performed it.

use serde::{Deserialize, Serialize};

use super::records_sql::current;
use crate::error::Result;
use crate::fhir::{Resource, ResourceType, relative};
use crate::sorted::sort;
use crate::store::sql::Sql;

/// What a finalised report says of who is concerned: references by type and id, each list in document order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finalised {
    /// The ids of the ServiceRequests that it is based on.
    pub requests: Vec<String>,
    /// Who interpreted it: Practitioners and PractitionerRoles.
    pub interpreters: Vec<(ResourceType, String)>,
    /// Who performed it: the same.
    pub performers: Vec<(ResourceType, String)>,
}

impl Finalised {
    /// What `resource` says, where it is a DiagnosticReport that is final or was corrected since.
    pub fn of(resource: &Resource) -> Option<Finalised> {
        let is_final = matches!(resource.str_at(&["status"]), Some("final" | "amended" | "corrected" | "appended"));
        if resource.kind() != ResourceType::DiagnosticReport || !is_final {
            return None;
        }
        let people = |path: &[&str]| resource.strs_at(path).filter_map(person).collect();
        let requests = resource.strs_at(&["basedOn", "reference"]).filter_map(relative);
        Some(Finalised {
            requests: requests
                .filter(|to| to.kind == ResourceType::ServiceRequest)
                .map(|to| to.id.to_owned())
                .collect(),
            interpreters: people(&["resultsInterpreter", "reference"]),
            performers: people(&["performer", "reference"]),
        })
    }

    /// The ids of the Practitioners who are told.
    pub fn clinicians(&self, sql: &impl Sql) -> Result<Vec<String>> {
        let mut requesters = Vec::new();
        for request in &self.requests {
            let found = reference_of(sql, ResourceType::ServiceRequest, request, &["requester", "reference"])?;
            requesters.extend(found.as_deref().and_then(person));
        }
        let first = [&requesters, &self.interpreters, &self.performers].into_iter().find(|people| !people.is_empty());
        let mut practitioners = Vec::new();
        for (kind, id) in first.into_iter().flatten() {
            practitioners.extend(match kind {
                ResourceType::Practitioner => Some(id.clone()),
                _ => reference_of(sql, *kind, id, &["practitioner", "reference"])?
                    .and_then(|text| relative(&text).map(|to| to.id.to_owned())),
            });
        }
        sort(&mut practitioners);
        practitioners.dedup();
        Ok(practitioners)
    }
}

fn person(text: &str) -> Option<(ResourceType, String)> {
    let of_people = [ResourceType::Practitioner, ResourceType::PractitionerRole];
    relative(text).filter(|to| of_people.contains(&to.kind)).map(|to| (to.kind, to.id.to_owned()))
}

/// The reference at `path` of a record that is there.
fn reference_of(sql: &impl Sql, kind: ResourceType, id: &str, path: &[&str]) -> Result<Option<String>> {
    Ok(current(sql, kind, id)?.and_then(|resource| resource.str_at(path).map(str::to_owned)))
}
