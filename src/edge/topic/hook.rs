//! Notifications to the endpoint of a rest-hook, by the alarm of the subscription's object.
//!
//! Invariant: what is decided is decided by the pure half; here it is sent, and what became of it is written down before
//! anything else is sent.

use super::Inner;
use crate::channel::history;
use crate::channel::log;
use crate::channel::subscription::hook::{self, Step};
use crate::channel::subscription::notification::{self, About, Type};
use crate::channel::subscription::{Channel, Content, Status};
use crate::clinic::subscriptions::{Stored, SubscriptionRequest, Subscriptions};
use crate::edge::boundary::Keeper;
use crate::edge::outgoing::Outgoing;
use crate::edge::settings;
use crate::error::{Error, Kind, Result};
use crate::outgoing::{Http, Request};
use crate::store::agenda;
use crate::time::{Clock, Entropy};

/// Notifications in one ring of the alarm; the rest comes with the next.
const AT_ONCE: u32 = 20;
/// What an endpoint says, so that the client reads it in the status of its subscription.
const SILENT: &str = "the endpoint did not take a notification: it has to answer with a status from 200 to 299";

/// Sends what is owed.
pub async fn run(inner: &Inner) -> Result<()> {
    for _ in 0..AT_ONCE {
        let Some(hook) = hook::get(&inner.sql)? else { return agenda::set(&inner.sql, hook::DUE, None) };
        let asked = SubscriptionRequest::Get { id: hook.subscription.clone(), of: None };
        let stored = match inner.edge.subscription(asked).await {
            Ok(stored) => stored,
            // It was deleted.
            Err(error) if error.kind == Kind::NotFound => return agenda::set(&inner.sql, hook::DUE, None),
            Err(error) => return Err(error),
        };
        let newest = log::extent(&inner.sql)?.newest;
        let now = inner.edge.now();
        let step = hook.next(&stored.settings, stored.status, newest, now);
        if let Step::Wait(until) = step {
            return agenda::set(&inner.sql, hook::DUE, until);
        }
        let (taken, through) = match send(inner, &stored, step, newest).await {
            // The account may not have it any more. What is owed is kept: the next event looks again.
            Err(error) if error.kind == Kind::Forbidden => return agenda::set(&inner.sql, hook::DUE, None),
            sent => sent?,
        };
        // The client is told first: were this lost then, it would be done again.
        let now = inner.edge.now();
        if taken {
            if step == Step::Handshake {
                stands(inner, &stored, Status::Active, None).await?;
            }
            hook::succeeded(&inner.sql, now, &hook, step, through)?;
        } else {
            if hook.gives_up(step) {
                stands(inner, &stored, Status::Error, Some(SILENT.to_owned())).await?;
            }
            return hook::failed(&inner.sql, &inner.edge, now, &hook, step);
        }
    }
    agenda::set(&inner.sql, hook::DUE, Some(inner.edge.now()))
}

async fn stands(inner: &Inner, stored: &Stored, status: Status, error: Option<String>) -> Result<()> {
    let request = SubscriptionRequest::Stands { id: stored.id.clone(), version: stored.version, status, error };
    inner.edge.subscription(request).await.map(|_| ())
}

/// Sends the notification of `step`. Gives whether it was taken, and the number of the last event that it told.
async fn send(inner: &Inner, stored: &Stored, step: Step, newest: u64) -> Result<(bool, u64)> {
    let config = settings(inner.edge.env());
    let Ok(config) = config.as_ref() else { return Err(Error::unavailable("the settings are incomplete")) };
    let Channel::RestHook { endpoint, headers } = &stored.settings.channel else { return Ok((true, newest)) };
    // What was allowed once and is no longer is not called any more.
    if !config.hooks.allows(endpoint) {
        return Ok((false, 0));
    }
    let (of, (after, most)) = match step {
        Step::Events { after, most } => (Type::EventNotification, (after, most)),
        Step::Handshake => (Type::Handshake, (newest, 0)),
        Step::Heartbeat | Step::Wait(_) => (Type::Heartbeat, (newest, 0)),
    };
    let page = history::range(&inner.sql, after.saturating_add(1), u64::MAX, most)?;
    let told = inner.edge.told(&stored.id, &page).await?;
    // Where some are no longer kept, the numbers say so.
    let through = match step {
        Step::Events { .. } => told.last().map_or(newest, |last| last.number),
        _ => 0,
    };
    let about = About {
        base: &stored.base,
        id: &stored.id,
        settings: &stored.settings,
        status: stored.status,
        events: newest,
        error: None,
    };
    let now = inner.edge.now();
    let body = notification::bundle(&about, of, Content::FullResource, &told, &inner.edge.uuid(), now)?;
    let mut sent = vec![
        ("content-type".into(), "application/fhir+json; charset=utf-8".to_owned()),
        ("bedside-signature".into(), hook::signature(&config.hooks.key, now, &body)?),
    ];
    sent.extend(headers.iter().map(|(name, value)| (name.clone().into(), value.clone())));
    let request = Request { method: "POST", url: endpoint.clone(), headers: sent, body, wanted: &[] };
    let within = stored.settings.timeout.unwrap_or(hook::TIMEOUT);
    let taken = match Outgoing(Keeper::Timer).send(&request, within).await {
        Ok(response) => (200..300).contains(&response.status),
        Err(_) => false,
    };
    Ok((taken, through))
}
