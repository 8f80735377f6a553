//! Writing at the origin.
//!
//! Invariant: what is written was judged by the version that is sent along, so that neither a change behind our back nor a
//! record that went to another patient comes between. It is sent once, under an intent; where it is not known what became of
//! it, the intent stays and the caller is told so.

use serde_json::Value;

use super::client::{Ask, json, unfit};
use super::intents::{self, Intent, Written};
use super::reads::{Fetched, stamp};
use super::{AtOrigin, Changed, OriginRequest, unsupported};
use crate::chart::cache::seal::Cipher;
use crate::chart::holds::HoldChange;
use crate::chart::records::{Batch, Change, Committed, Guard, Refusal, Stamp, Write, settles};
use crate::clinic::{Clinic, ClinicReply, ClinicRequest, unexpected};
use crate::error::{Error, Kind, Result};
use crate::fhir::{ResourceType, at, has, is_shared, of_kind};
use crate::outgoing::{Http, Response};
use crate::sorted::BTreeSet;
use crate::time::UnixMillis;

/// A change that was judged.
struct Judged {
    /// By which version; `None` where the record is new.
    version: Option<u64>,
    /// In whose compartments it was or will be.
    patients: Vec<String>,
}

/// The record that `change` writes.
fn name(change: &Change) -> String {
    format!("{}/{}", change.kind, change.id)
}

fn lacks(what: &'static str) -> Error {
    Error::new(Kind::Misconfigured, what)
}

impl<C: Clinic, H: Http, X: Cipher> AtOrigin<C, H, X> {
    pub(super) async fn write(&self, batch: Batch) -> Result<Committed> {
        let is_hold = |what: &HoldChange| matches!(what, HoldChange::Begin(_) | HoldChange::Renew(_));
        if batch.once.is_some() || batch.holds.iter().any(|hold| is_hold(&hold.what)) {
            return Err(unsupported());
        }
        self.can_write(&batch).await?;
        let mut judged = Vec::new();
        for (position, change) in batch.changes.iter().enumerate() {
            match self.judge(&batch, change).await? {
                Ok(found) => judged.push(found),
                Err(why) => {
                    if why == Refusal::OutOfReach {
                        let actor = batch.actor.clone();
                        let deletes = matches!(change.write, Write::Delete);
                        self.tell(OriginRequest::Refused { actor, record: name(change), deletes }).await?;
                    }
                    return Ok(Committed::Refused { change: position, why });
                }
            }
        }
        let patients: BTreeSet<String> = judged.iter().flat_map(|one| one.patients.iter().cloned()).collect();
        let intent = Intent {
            id: self.client.http().uuid(),
            actor: batch.actor.clone(),
            records: batch.changes.iter().map(name).collect(),
            patients: patients.into_iter().collect(),
            shared: batch.changes.iter().any(|change| is_shared(change.kind)),
            fences: batch.fences.clone(),
        };
        let id = intent.id.clone();
        // The mark counts from when the object hears of it, and nothing of ours is under way for longer than that allows.
        let until = self.now().plus(intents::SENT);
        match self.clinic.ask(ClinicRequest::Origin(OriginRequest::Intend(intent))).await? {
            ClinicReply::Done => {}
            ClinicReply::Committed(refused) => return Ok(refused),
            _ => return Err(unexpected()),
        }
        let sent = match batch.changes.as_slice() {
            [change] => self.one(change, &judged, until).await,
            changes => self.together(changes, &judged, until).await,
        };
        let (written, outcome) = match sent {
            Ok(Ok(stamps)) => {
                let moves = |change: &Change| change.kind == ResourceType::Encounter;
                let whom = batch.changes.iter().zip(&judged).filter(|(change, _)| moves(change));
                let moved: Vec<String> = whom.flat_map(|(_, judged)| judged.patients.iter().cloned()).collect();
                if !moved.is_empty() {
                    // Before it is settled, so that it is told where they are now.
                    let known = self.changed(Changed::Patients(moved)).await.map_err(|_| Error::outcome_unknown())?;
                    // Where the origin does not say, whoever asks for them next asks it again.
                    let _ = self.find(&known).await;
                }
                let patients = judged.into_iter().map(|judged| judged.patients).collect();
                let written = Written { batch, stamps: stamps.clone(), patients };
                (Some(Box::new(written)), Ok(Committed::All(stamps)))
            }
            Ok(Err(why)) => (None, Ok(Committed::Refused { change: 0, why })),
            Err(error) if error.kind == Kind::OutcomeUnknown => return Err(error),
            Err(error) => (None, Err(error)),
        };
        let refused = written.is_none();
        match self.tell(OriginRequest::Settle { id, written }).await {
            // It is written, and the intent will pass; but nobody can say that it is seen already.
            Err(_) if !refused => Err(Error::outcome_unknown()),
            _ => outcome,
        }
    }

    /// Whether the origin says that it does what this needs.
    async fn can_write(&self, batch: &Batch) -> Result<()> {
        let statement = self.client.statement().await?;
        if batch.changes.len() > 1 && !has(at(&statement, "/rest/0/interaction"), "code", "transaction") {
            return Err(lacks(
                "the CapabilityStatement of the system of record has no transactions, which booking needs",
            ));
        }
        for change in &batch.changes {
            let said = of_kind(&statement, change.kind);
            if at(said, "/versioning") != "versioned-update" {
                return Err(lacks(
                    "the CapabilityStatement of the system of record does not say that it holds updates of this type to If-Match",
                ));
            }
            if matches!(change.guard, Guard::Absent) && at(said, "/updateCreate") != &Value::Bool(true) {
                return Err(lacks(
                    "the CapabilityStatement of the system of record does not say that this type can be created under an id",
                ));
            }
        }
        Ok(())
    }

    /// Holds `change` against what the origin has: what [`crate::chart`] holds in its transaction with our own records.
    async fn judge(&self, batch: &Batch, change: &Change) -> Result<std::result::Result<Judged, Refusal>> {
        let now = self.there(change.kind, &change.id).await?;
        let new: &[String] = match &change.write {
            Write::Put { patients, .. } => patients,
            Write::Delete => &[],
        };
        let old = now.as_ref().map(|now: &Fetched| now.patients.as_slice()).unwrap_or_default();
        let touched: BTreeSet<String> = old.iter().chain(new).cloned().collect();
        let patients: Vec<String> = touched.into_iter().collect();
        // Who is made by this batch is in no ward yet, and nobody's to refuse.
        let in_batch = |id: &String| {
            let makes = |other: &Change| {
                other.kind == ResourceType::Patient && other.id == *id && !matches!(other.write, Write::Delete)
            };
            batch.changes.iter().any(makes)
        };
        let there: Vec<String> = patients.iter().filter(|id| old.contains(id) || !in_batch(id)).cloned().collect();
        let owners = self.owners(&there).await?;
        let known = |id: &String| in_batch(id) || owners.iter().any(|owner| owner.patient == *id);
        if !new.iter().all(known) {
            return Ok(Err(Refusal::NoSuchPatient));
        }
        let made = patients.iter().filter(|id| !there.contains(id));
        let made = made.map(|id| crate::access::Owner { patient: id.clone(), wards: Vec::new() });
        let all: Vec<_> = owners.iter().cloned().chain(made).collect();
        // Whose it was, and whom the origin does not have, is in no ward that anybody could be bound to.
        let is_lost = owners.len() < there.len();
        if !batch.scope.may_write(&all) || (is_lost && !batch.scope.is_everything()) {
            return Ok(Err(Refusal::OutOfReach));
        }
        let version = now.as_ref().map(|now| now.record.version);
        match (change.guard, version) {
            (Guard::Unmatched, _) => return Err(unsupported()),
            (Guard::Absent, Some(_)) => return Ok(Err(Refusal::Exists)),
            (Guard::Version(wanted), is) if is != Some(wanted) => return Ok(Err(Refusal::Changed)),
            _ => {}
        }
        if matches!(change.write, Write::Delete) && version.is_none() {
            return Ok(Err(Refusal::Missing));
        }
        if let (Write::Put { settles: true, .. }, Some(now)) = (&change.write, &now) {
            let name = format!("{}:{}", change.kind, change.id);
            if !settles(&now.resource) && !batch.fences.iter().any(|fence| fence.name == name) {
                return Ok(Err(Refusal::NeedsFence));
            }
        }
        Ok(Ok(Judged { version, patients }))
    }

    /// Sends one change.
    async fn one(
        &self,
        change: &Change,
        judged: &[Judged],
        until: UnixMillis,
    ) -> Result<std::result::Result<Vec<Stamp>, Refusal>> {
        let version = judged.first().and_then(|judged| judged.version);
        let condition = Some(match version {
            Some(version) => ("if-match", format!("W/\"{version}\"")),
            None => ("if-none-match", "*".to_owned()),
        });
        let (path, until) = (name(change), Some(until));
        let (method, body) = match &change.write {
            Write::Put { draft, .. } => ("PUT", draft.stamped(version.unwrap_or(0), UnixMillis(0))),
            Write::Delete => ("DELETE", String::new()),
        };
        let response = self.client.send(&Ask { method, path, condition, body, until }).await?;
        match response.status {
            412 => Ok(Err(if version.is_none() { Refusal::Exists } else { Refusal::Changed })),
            200..=299 => Ok(Ok(vec![self.stamp(change, version, &response)?])),
            _ => Err(self.client.refusal(&response)),
        }
    }

    /// The stamp of a change that the origin says it made. What cannot be read in it was written all the same.
    fn stamp(&self, change: &Change, before: Option<u64>, response: &Response) -> Result<Stamp> {
        let now = self.client.http().now();
        if matches!(change.write, Write::Delete) {
            let (version, at) = stamp(None, response, now).unwrap_or((before.unwrap_or(0).saturating_add(1), now));
            return Ok(Stamp { version, at, created: false });
        }
        let resource = self.client.resource(&response.body).ok().filter(|found| found.kind() == change.kind);
        let (version, at) = stamp(resource.as_ref(), response, now).map_err(|_| Error::outcome_unknown())?;
        Ok(Stamp { version, at, created: before.is_none() })
    }

    /// Sends several changes as one transaction (R4 section 3.1.0.11.2).
    async fn together(
        &self,
        changes: &[Change],
        judged: &[Judged],
        until: UnixMillis,
    ) -> Result<std::result::Result<Vec<Stamp>, Refusal>> {
        let mut body = r#"{"resourceType":"Bundle","type":"transaction","entry":["#.to_owned();
        for (index, (change, judged)) in changes.iter().zip(judged).enumerate() {
            let Write::Put { draft, .. } = &change.write else { return Err(unsupported()) };
            // Under an id of the caller's choosing somebody else can make one meanwhile: nothing here would hold it to that.
            if judged.version.is_none() && change.guard != Guard::Absent {
                return Err(unsupported());
            }
            let comma = if index > 0 { "," } else { "" };
            let condition =
                judged.version.map(|version| format!(r#","ifMatch":"W/\"{version}\"""#)).unwrap_or_default();
            let Change { kind, id, .. } = change;
            body.push_str(&format!(
                r#"{comma}{{"request":{{"method":"PUT","url":"{kind}/{id}"{condition}}},"resource":{}}}"#,
                draft.stamped(judged.version.unwrap_or(0), UnixMillis(0))
            ));
        }
        body.push_str("]}");
        let ask = Ask { method: "POST", path: String::new(), condition: None, body, until: Some(until) };
        let response = self.client.send(&ask).await?;
        match response.status {
            409 | 412 => return Ok(Err(Refusal::Changed)),
            200..=299 => {}
            _ => return Err(self.client.refusal(&response)),
        }
        let said = json(&response.body).ok_or_else(Error::outcome_unknown)?;
        let entries = at(&said, "/entry").as_array().map(Vec::as_slice).unwrap_or_default();
        let mut stamps = Vec::new();
        for (index, judged) in judged.iter().enumerate() {
            let told = entries.get(index).map(|entry| at(entry, "/response")).unwrap_or(&Value::Null);
            let text = |name: &str| told.get(name).and_then(Value::as_str).unwrap_or_default();
            let headers = vec![("etag", text("etag").to_owned())];
            let (version, now) = stamp(None, &Response { headers, ..Response::default() }, self.client.http().now())
                .map_err(|_| Error::outcome_unknown())?;
            let at = UnixMillis::parse_rfc3339(text("lastModified")).unwrap_or(now);
            stamps.push(Stamp { version, at, created: judged.version.is_none() });
        }
        if stamps.is_empty() { Err(unfit("a batch without changes was sent")) } else { Ok(Ok(stamps)) }
    }
}
