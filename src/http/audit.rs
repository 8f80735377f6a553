//! The audit trail: `GET /audit`, and what is put into it of readers.
//!
//! Invariant: nothing of a patient is shown before the trail has it that this account reads of them: a row of success, action R,
//! at most [`SPELL`](crate::access::audit::SPELL) old. Where it cannot be put down, nothing is shown.

use std::cell::RefCell;

use super::caller::Caller;
use super::reply::Response;
use super::{Context, Incoming, Platform, input};
use crate::access::audit::Actor;
use crate::access::trail::Wanted;
use crate::access::{Action, Owner};
use crate::channel::Topic;
use crate::chart::cache::window;
use crate::clinic::{ClinicReply, ClinicRequest, unexpected};
use crate::error::{Error, Result};
use crate::fhir::{ResourceType, is_shared};

/// Rows in a page by default, and at most.
const PAGE: (u64, u64) = (100, 1_000);
/// The trail itself, as it names it.
const TRAIL: &str = "audit";

/// How the trail names whoever is read of.
pub fn of_patient(id: &str) -> String {
    format!("Patient/{id}")
}

/// How it names a record that is in these compartments; where it is in none, by its type and id.
pub fn of_record(kind: ResourceType, id: &str, owners: &[Owner]) -> Vec<String> {
    match owners {
        _ if is_shared(kind) => Vec::new(),
        [] => vec![format!("{kind}/{id}")],
        owners => owners.iter().map(|owner| of_patient(&owner.patient)).collect(),
    }
}

/// How it names what is found of a type among the records of several patients.
pub fn of_type(kind: ResourceType) -> Vec<String> {
    if is_shared(kind) { Vec::new() } else { vec![kind.to_string()] }
}

/// How it names what is told of in a topic, where that is of patients.
pub fn of_topic(topic: &Topic) -> Vec<String> {
    match topic {
        Topic::Patient(id) => vec![of_patient(id)],
        Topic::Ward(_) => vec![topic.to_string()],
        Topic::User(_) | Topic::Schedule(_) | Topic::Subscription(_) => Vec::new(),
    }
}

/// What a request is about to show, and to which account.
pub type Shown = RefCell<Option<(String, Vec<String>)>>;

impl<P: Platform, R> Context<'_, P, R> {
    /// The reply will show `what` to `caller`: whoever sends it has the trail say so before ([`Context::witness`]).
    pub fn shows(&self, caller: &Caller, what: Vec<String>) {
        self.shown.replace(Some((caller.session.principal.user.clone(), what)));
    }

    /// Has the trail say what the reply will show.
    pub async fn witness(&self) -> Result<()> {
        let Some((user, what)) = self.shown.take() else { return Ok(()) };
        let (said, asked) = (self.platform.said(), self.platform.now());
        let new = |what: &String| said.borrow_mut().get(asked, &window::of(&user, what)).is_none();
        let what: Vec<String> = what.into_iter().filter(new).collect();
        if what.is_empty() {
            return Ok(());
        }
        let actor = Actor { user, request: self.id.clone() };
        match self.platform.ask(ClinicRequest::Seen { actor: actor.clone(), what: what.clone() }).await? {
            ClinicReply::Done => {}
            _ => return Err(unexpected()),
        }
        let now = self.platform.now();
        what.iter().for_each(|what| said.borrow_mut().put(asked, now, &window::of(&actor.user, what), ()));
        Ok(())
    }
}

/// `GET /audit`
pub async fn trail<P: Platform, R: Incoming>(context: &Context<'_, P, R>) -> Result<Response> {
    let caller = context.caller().await?;
    caller.may(Action::ReadAuditTrail)?;
    input::accepts_json(context.request, "application/json")?;
    let parameters = input::parameters(context.request, &["user", "entity", "from", "to", "below", "count"])?;
    let text = |name| input::parameter(&parameters, name).filter(|text| !text.is_empty()).map(str::to_owned);
    let below = |text: &str| text.parse().map_err(|_| Error::invalid("below", "this must be the next of a page"));
    let wanted = Wanted {
        user: text("user"),
        entity: text("entity"),
        from: input::instant(&parameters, "from")?,
        to: input::instant(&parameters, "to")?,
        below: input::parameter(&parameters, "below").map(below).transpose()?,
        count: input::count(&parameters, "count", PAGE.0, PAGE.1)?,
    };
    context.shows(&caller, vec![TRAIL.to_owned()]);
    match context.platform.ask(ClinicRequest::Trail(wanted)).await? {
        ClinicReply::Json(json) => Ok(Response::json(200, json)),
        _ => Err(unexpected()),
    }
}
