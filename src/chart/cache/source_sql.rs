//! Heads and records from the clinic's object: one place, so that what is read and the head it is read at are of one instant.

use super::fills::Fills;
use super::{Fill, Filling, Looked, Whose, tag};
use crate::chart::head::{self, Head};
use crate::chart::records_sql::{compartments, newest, run};
use crate::error::Result;
use crate::fhir::ResourceType;
use crate::store::sql::Sql;
use crate::time::UnixMillis;

fn heads(sql: &impl Sql, whose: &Whose) -> Result<Vec<Head>> {
    let patients = match whose {
        Whose::Patient(patient) => vec![patient.clone()],
        Whose::Record(kind, id) => compartments(sql, *kind, id)?,
    };
    patients.iter().filter_map(|patient| head::get(sql, patient).transpose()).collect()
}

/// The heads of `whose`, and the version of the record if it is wanted.
pub fn look(sql: &impl Sql, whose: &Whose, version: bool) -> Result<Looked> {
    let (kind, id) = match whose {
        Whose::Patient(patient) => (ResourceType::Patient, patient),
        Whose::Record(kind, id) => (*kind, id),
    };
    let newest = if version { newest(sql, kind, id)? } else { None };
    let version = newest.filter(|record| record.body.is_some()).map(|record| (record.version, record.updated));
    Ok(Looked { heads: heads(sql, whose)?, version, ..Looked::default() })
}

/// Gives a token and the answer, or says that another has the token.
pub fn fill(sql: &impl Sql, fills: &mut Fills, now: UnixMillis, fill: &Fill) -> Result<Filling> {
    let head = heads(sql, &fill.whose)?.into_iter().find(|head| head.owner.patient == fill.patient);
    // A record that has moved to another patient since is not kept under this one.
    let Some(head) = head else { return Ok(Filling::Unkept { answer: run(sql, &fill.scope, &fill.query)? }) };
    match fills.begin(&fill.view, &tag(&head, fill.shared), now, fill.hold, fill.fresh) {
        None => Ok(Filling::Busy { head }),
        Some(token) => Ok(Filling::Granted { token, answer: run(sql, &fill.scope, &fill.query)?, head }),
    }
}
