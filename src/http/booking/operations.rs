//! What the operations do: each reads what it is about and makes one guarded batch of it.

use serde_json::Value;

use super::wanted::{Wanted, wrong};
use super::{Desk, Done, Plan, Stored, proposal};
use crate::access::{Role, refused};
use crate::chart::fences::Fence;
use crate::chart::holds::{Hold, HoldChange};
use crate::chart::records::{Answer, Change, Guard, Query, Write};
use crate::error::{Error, Kind, Result};
use crate::fhir::{Resource, ResourceType};
use crate::http::once::Once;
use crate::http::{Incoming, Platform, fenced, views};
use crate::lease::LeaseName;
use crate::sorted::sort;

fn settled() -> Error {
    Error::new(Kind::Conflict, "an Appointment of this status is not moved or cancelled").at("Appointment.status")
}

impl<P: Platform, R: Incoming> Desk<'_, P, R> {
    fn is_patient(&self) -> bool {
        self.caller.session.principal.role == Role::Patient
    }

    /// Takes `slots` for an Appointment, as `status`. With an override also those that are blocked, or held by others,
    /// whose hold ends. `None` where one is not to be had.
    async fn take(&self, slots: &[Stored], status: &str, overrides: bool, plan: &mut Plan) -> Result<Option<()>> {
        let mut displaced: Vec<String> = Vec::new();
        for slot in slots {
            match slot.status() {
                "free" => {}
                "busy-unavailable" if overrides => {}
                "busy-tentative" if overrides => {
                    let query = Query::Occupants(vec![slot.id.clone()]);
                    if let Answer::Ids(ids) = self.context.platform.query(self.scope.clone(), query).await? {
                        displaced.extend(ids.into_iter().flatten());
                    }
                }
                _ => return Ok(None),
            }
            plan.changes.push(slot.turned(status, self.now())?);
        }
        sort(&mut displaced);
        displaced.dedup();
        for id in displaced {
            let Some(held) = self.read(ResourceType::Appointment, &id).await? else { continue };
            if held.status() != "pending" {
                return Ok(None);
            }
            let others: Vec<String> = Wanted::slots(&held.resource)?;
            let others: Vec<String> =
                others.into_iter().filter(|id| !slots.iter().any(|slot| slot.id == *id)).collect();
            self.free(&others, plan).await?;
            plan.holds.push(Hold { appointment: id, what: HoldChange::Override });
            plan.changes.push(held.turned("cancelled", self.now())?);
        }
        Ok(Some(()))
    }

    /// Frees those of the Slots that are taken.
    async fn free(&self, ids: &[String], plan: &mut Plan) -> Result<()> {
        for id in ids {
            if let Some(slot) = self.read(ResourceType::Slot, id).await?
                && matches!(slot.status(), "busy" | "busy-tentative")
            {
                plan.changes.push(slot.turned("free", self.now())?);
            }
        }
        Ok(())
    }

    fn overrides(&self, wanted: &Wanted) -> Result<bool> {
        if wanted.override_reason.is_some() && self.is_patient() {
            return Err(refused());
        }
        Ok(wanted.override_reason.is_some())
    }

    /// The new Appointment that is wanted, without a status; `slots` are filled with its Slots.
    async fn appointment(&self, wanted: &Wanted, slots: &mut Vec<Stored>) -> Result<Option<Resource>> {
        let ids = match &wanted.appointment {
            Some(appointment) => Wanted::slots(appointment)?,
            None if wanted.references.is_empty() => {
                let message = "this operation needs appointment-reference or appt-resource";
                return Err(wrong("Parameters.parameter", message));
            }
            None => wanted.references.clone(),
        };
        let Some(found) = self.slots(&ids).await? else { return Ok(None) };
        *slots = found;
        let values = slots.iter().map(|slot| proposal::value(&slot.resource)).collect::<Result<Vec<_>>>()?;
        let mut resource = match &wanted.appointment {
            Some(appointment) => appointment.clone(),
            None => proposal::resource(proposal::appointment(&ids, &values, &self.schedule(slots).await?))?,
        };
        let participants = self.with_patient(wanted, proposal::participants(&proposal::value(&resource)?))?;
        for (name, value) in proposal::times(&values).into_iter().chain([("participant", participants.into())]) {
            resource.set(name, &value.to_string())?;
        }
        Ok(Some(resource))
    }

    /// The participants of an Appointment, among whom there must be a patient: the caller, where that is one.
    fn with_patient(&self, wanted: &Wanted, mut participants: Vec<Value>) -> Result<Vec<Value>> {
        let own = self.caller.session.principal.patient.clone().filter(|_| self.is_patient());
        let has_one = participants.iter().any(proposal::is_patient);
        match wanted.patient.clone().or(own) {
            Some(id) if !participants.contains(&proposal::patient(&id)) && !has_one => {
                participants.insert(0, proposal::patient(&id));
            }
            None if !has_one => {
                return Err(wrong(
                    "Parameters.parameter.where(name='patient-reference')",
                    "an Appointment is for a Patient",
                ));
            }
            _ => {}
        }
        Ok(participants)
    }

    /// `$hold`: ITI-116.
    pub(super) async fn hold(&self, parameters: &Resource) -> Done {
        let known =
            ["appointment-reference", "appt-resource", "patient-reference", "fence", "minutes", "override-reason"];
        let wanted = Wanted::read(parameters, &known)?;
        let ttl = wanted.hold()?;
        let mut plan = Plan { held: Some(ttl), reason: wanted.override_reason.clone(), ..Plan::default() };
        if let Some(held) = self.named(&wanted).await? {
            if held.status() != "pending" {
                return Ok(None);
            }
            plan.holds.push(Hold { appointment: held.id.clone(), what: HoldChange::Renew(ttl) });
            plan.changes.push(held.turned("pending", self.now())?);
            return self.commit(plan).await;
        }
        let begun = |id: &str| Some(Hold { appointment: id.to_owned(), what: HoldChange::Begin(ttl) });
        self.make(&wanted, ["busy-tentative", "pending"], begun, plan).await
    }

    /// `$book`: ITI-117.
    pub(super) async fn book(&self, parameters: &Resource) -> Done {
        let known = ["appointment-reference", "appt-resource", "patient-reference", "fence", "override-reason"];
        let wanted = Wanted::read(parameters, &known)?;
        let mut plan = Plan { reason: wanted.override_reason.clone(), ..Plan::default() };
        let Some(held) = self.named(&wanted).await? else {
            return self.make(&wanted, ["busy", "booked"], |_| None, plan).await;
        };
        match held.status() {
            "pending" => {}
            // A repetition finds what it made.
            "booked" => return Ok(Some(self.shown(&held))),
            _ => return Ok(None),
        }
        let slots = Wanted::slots(&held.resource)?;
        plan.fences = self.fences(&wanted, &slots).await?;
        let Some(slots) = self.slots(&slots).await? else { return Ok(None) };
        if slots.iter().any(|slot| slot.status() != "busy-tentative") {
            return Ok(None);
        }
        for slot in &slots {
            plan.changes.push(slot.turned("busy", self.now())?);
        }
        let what = if self.overrides(&wanted)? { HoldChange::Override } else { HoldChange::End };
        plan.holds.push(Hold { appointment: held.id.clone(), what });
        plan.changes.push(held.turned("booked", self.now())?);
        self.commit(plan).await
    }

    /// The Appointment that the one reference names; `None` where it names a proposal.
    async fn named(&self, wanted: &Wanted) -> Result<Option<Stored>> {
        match wanted.references.as_slice() {
            [id] => self.read(ResourceType::Appointment, id).await,
            _ => Ok(None),
        }
    }

    /// Makes a new Appointment, with these statuses of its Slots and of itself.
    async fn make(
        &self,
        wanted: &Wanted,
        [slot_status, status]: [&str; 2],
        hold: impl FnOnce(&str) -> Option<Hold>,
        mut plan: Plan,
    ) -> Done {
        let once = Once::of(self.context, &self.caller.session.principal.user, wanted.sent.as_bytes())?;
        let id = once.map_or_else(|| self.context.platform.uuid(), |once| once.id(0));
        // A repetition finds what it made.
        if let Some(made) = self.read(ResourceType::Appointment, &id).await? {
            return Ok(Some(self.shown(&made)));
        }
        let mut slots = Vec::new();
        let Some(mut appointment) = self.appointment(wanted, &mut slots).await? else { return Ok(None) };
        let ids: Vec<String> = slots.iter().map(|slot| slot.id.clone()).collect();
        plan.fences = self.fences(wanted, &ids).await?;
        if self.take(&slots, slot_status, self.overrides(wanted)?, &mut plan).await?.is_none() {
            return Ok(None);
        }
        if !appointment.set_id(&id) {
            return Err(Error::internal("a new id was not a valid one"));
        }
        appointment.set_text("status", status);
        plan.holds.extend(hold(&id));
        let write = Write::put(&mut appointment, self.now())?;
        plan.changes.push(Change { kind: ResourceType::Appointment, id, guard: Guard::Absent, write });
        self.commit(plan).await
    }

    /// The fence that is shown, if the caller holds the lease of the first Slot by it.
    async fn fences(&self, wanted: &Wanted, slots: &[String]) -> Result<Vec<Fence>> {
        let (Some(fence), Some(slot)) = (wanted.fence, slots.first()) else { return Ok(Vec::new()) };
        let name = LeaseName::parse(&format!("slot:{slot}")).ok_or_else(fenced::stale)?;
        Ok(vec![fenced::shown(self.context, &self.caller, &name, fence).await?])
    }

    /// `$cancel`: the Appointment is cancelled, its Slots are free.
    pub(super) async fn cancel(&self, id: &str, parameters: &Resource) -> Done {
        let wanted = Wanted::read(parameters, &["reason"])?;
        let found = self.read(ResourceType::Appointment, id).await?.ok_or_else(views::missing)?;
        match found.status() {
            "cancelled" => return Ok(Some(self.shown(&found))),
            "proposed" | "pending" | "booked" | "waitlist" => {}
            _ => return Err(settled()),
        }
        let mut plan = Plan { reason: wanted.reason.clone(), ..Plan::default() };
        let slots = Wanted::slots(&found.resource).unwrap_or_default();
        self.free(&slots, &mut plan).await?;
        plan.holds.push(Hold { appointment: id.to_owned(), what: HoldChange::Override });
        plan.changes.push(found.turned("cancelled", self.now())?);
        self.commit(plan).await
    }

    /// `$reschedule`: the old Slots are free and the new ones taken, in one batch.
    pub(super) async fn reschedule(&self, id: &str, parameters: &Resource) -> Done {
        let wanted = Wanted::read(parameters, &["appointment-reference", "fence", "reason", "override-reason"])?;
        if wanted.references.is_empty() {
            return Err(wrong(
                "Parameters.parameter.where(name='appointment-reference')",
                "this names where it moves to",
            ));
        }
        let found = self.read(ResourceType::Appointment, id).await?.ok_or_else(views::missing)?;
        if found.status() != "booked" {
            return Err(settled());
        }
        let reason = wanted.override_reason.clone().or_else(|| wanted.reason.clone());
        let mut plan = Plan { reason, ..Plan::default() };
        plan.fences = self.fences(&wanted, &wanted.references).await?;
        let old = Wanted::slots(&found.resource)?;
        let (Some(slots), Some(left)) = (self.slots(&wanted.references).await?, self.slots(&old).await?) else {
            return Ok(None);
        };
        for slot in left.iter().filter(|slot| !wanted.references.contains(&slot.id)) {
            plan.changes.push(slot.turned("free", self.now())?);
        }
        let kept = |slot: &Stored| old.contains(&slot.id);
        let values = slots.iter().map(|slot| proposal::value(&slot.resource)).collect::<Result<Vec<_>>>()?;
        // Who came with the old Schedule goes with it.
        let (was, is) = (self.schedule(&left).await?, self.schedule(&slots).await?);
        let (was, is) = (proposal::actors(&was), proposal::actors(&is));
        let mut participants = proposal::participants(&proposal::value(&found.resource)?);
        participants.retain(|one| {
            let mut actors = was.iter().chain(&is);
            !actors.any(|actor| proposal::reference(actor) == proposal::reference(one))
        });
        participants.extend(is);
        let fresh: Vec<Stored> = slots.into_iter().filter(|slot| !kept(slot)).collect();
        if self.take(&fresh, "busy", self.overrides(&wanted)?, &mut plan).await?.is_none() {
            return Ok(None);
        }
        let mut moved = found.resource.clone();
        let slots = proposal::references(&wanted.references);
        let others = [("slot", slots), ("participant", participants.into())];
        for (name, value) in proposal::times(&values).into_iter().chain(others) {
            moved.set(name, &value.to_string())?;
        }
        plan.changes.push(found.changed(moved, self.now())?);
        self.commit(plan).await
    }
}
