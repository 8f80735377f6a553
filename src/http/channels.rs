//! `/channels/{topic}`: listen by WebSocket, event stream or long poll, or read pages of history, by the same cursor and
//! the same verdict; publish.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::caller::Caller;
use super::reply::Reply;
use super::{Context, Incoming, Platform, Response, Subscription, audit, input, telemetry};
use crate::access::bar::Listener;
use crate::access::{Action, Owner, refused};
use crate::channel::cursor::Position;
use crate::channel::frame::{self, SUBPROTOCOL};
use crate::channel::sse::EVENT_STREAM;
use crate::channel::{EventKind, Topic, TopicReply, TopicRequest};
use crate::clinic::sessions::Sessions;
use crate::error::{Error, Kind, Result};
use crate::time::Ttl;
use crate::vitals::display;

/// Events in a page by default, and at most.
const PAGE: (u64, u64) = (100, 1_000);
/// The most seconds that a long poll waits.
const LONGEST_WAIT: u64 = 60;

/// `/channels/{topic}`
pub async fn handle<P: Platform, R: Incoming>(context: &Context<'_, P, R>, topic: Topic) -> Result<Reply> {
    if context.request.method() == "POST" {
        return publish(context, topic).await.map(Reply::Response);
    }
    listen(context, topic).await
}

/// Refuses a caller that may not follow `topic`: 403, or 404 where it could and there is no such patient. Gives how often
/// the patient, if it is one, had moved by then.
async fn may_follow<P: Platform, R>(context: &Context<'_, P, R>, caller: &Caller, topic: &Topic) -> Result<u64> {
    match topic {
        Topic::Patient(id) => {
            let scope = caller.may(Action::FollowPatient)?;
            let head = context.platform.head(id).await?;
            let unknown = Owner { patient: id.clone(), wards: Vec::new() };
            if !scope.reaches(head.as_ref().map_or(&unknown, |head| &head.owner)) {
                return Err(refused());
            }
            head.map(|head| head.moved).ok_or_else(|| Error::new(Kind::NotFound, "there is no such patient"))
        }
        Topic::Ward(ward) => caller.may(Action::FollowWard { ward }).map(|_| 0),
        Topic::User(user) => caller.may(Action::FollowUser { user }).map(|_| 0),
        Topic::Schedule(_) => caller.may(Action::FollowSchedule).map(|_| 0),
        Topic::Subscription(_) => Err(Error::new(Kind::NotFound, "there is nothing at this path").at("path")),
    }
}

async fn listen<P: Platform, R: Incoming>(context: &Context<'_, P, R>, topic: Topic) -> Result<Reply> {
    let caller = context.caller_quietly().await?;
    let moved = may_follow(context, &caller, &topic).await?;
    let parameters = input::parameters(context.request, &["after", "limit", "wait"])?;
    let after = input::parameter(&parameters, "after").map(|text| position("after", text)).transpose()?;
    let limit = input::count(&parameters, "limit", PAGE.0, PAGE.1)?;
    let wait = match input::parameter(&parameters, "wait") {
        Some(_) => Some(Ttl::from_secs(input::count(&parameters, "wait", LONGEST_WAIT, LONGEST_WAIT)?)),
        None => None,
    };
    context.shows(&caller, audit::of_topic(&topic));
    let subscription = |after, listener| Subscription { topic: topic.clone(), after, listener };

    let upgrade = context.request.header("upgrade");
    if upgrade.is_some_and(|value| value.eq_ignore_ascii_case("websocket")) {
        let offered = context.request.header("sec-websocket-protocol");
        if offered.is_some_and(|offered| !offered.split(',').any(|one| one.trim() == SUBPROTOCOL)) {
            return Err(Error::invalid("sec-websocket-protocol", "the subprotocol here is bedside.v1"));
        }
        let listener = register(context, &caller, &topic, moved).await?;
        return Ok(Reply::Subscribe(subscription(after, listener)));
    }
    if input::names(context.request, "text/event-stream") {
        // A browser that comes back to the URL it began with says here how far it got since.
        let last = context.request.header("last-event-id").filter(|id| !id.is_empty());
        let after = last.map(|id| position("last-event-id", &id)).transpose()?.or(after);
        let head = Response::empty(200).header("content-type", EVENT_STREAM);
        let listener = register(context, &caller, &topic, moved).await?;
        return Ok(Reply::Stream(subscription(after, listener), head));
    }
    input::accepts_json(context.request, "application/json")?;
    let request = TopicRequest::Page { topic: topic.clone(), after, limit };
    let mut page = match context.platform.topic(&topic, request).await? {
        TopicReply::Page(page) => page,
        TopicReply::Behind => {
            return Err(Error::unavailable("the topic does not have yet what was read; try again"));
        }
        _ => return Err(mismatch()),
    };
    if caller.session.listener().reduced {
        display::page(&mut page);
    }
    match wait {
        Some(wait) if page.events.is_empty() && page.gap.is_none() => {
            let after = Some(Position::Cursor(page.cursor));
            let listener = register(context, &caller, &topic, moved).await?;
            Ok(Reply::Poll(subscription(after, listener), wait, Response::json_to_come()))
        }
        _ => Ok(Reply::Response(Response::json(200, frame::page(&topic, &page)?))),
    }
}

/// Has the clinic's object tell the topic when the caller's session ends, or what they may follow changes. Whatever of that
/// happens from here on closes the connection, also one that is yet to be made.
async fn register<P: Platform, R: Incoming>(
    context: &Context<'_, P, R>,
    caller: &Caller,
    topic: &Topic,
    moved: u64,
) -> Result<Listener> {
    let listener = Listener { moved, ..caller.session.listener() };
    context.platform.follow(listener.clone(), topic.clone()).await?;
    Ok(listener)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Publication {
    id: Option<String>,
    kind: EventKind,
    data: Box<RawValue>,
}

#[derive(Serialize)]
struct PublishedBody {
    cursor: String,
}

/// `POST /channels/{topic}`. Events about records come with their records, and alerts with what they warn of: what is
/// published here is notices, and by monitors telemetry.
async fn publish<P: Platform, R: Incoming>(context: &Context<'_, P, R>, topic: Topic) -> Result<Response> {
    let caller = context.reader().await?;
    let notifies = caller.may(Action::Notify { user: matches!(topic, Topic::User(_)) });
    let monitors = caller.may(Action::PostTelemetry);
    if monitors.is_err() {
        notifies.as_ref().map_err(Error::clone)?;
    }
    let Publication { id, kind, data } = input::json(context.request).await?;
    match kind {
        EventKind::Telemetry => return telemetry::one(context, &topic, monitors?, (id, data.get())).await,
        EventKind::Notice => drop(notifies?),
        _ => return Err(Error::new(Kind::Unprocessable, "what is published here is a notice, or telemetry").at("kind")),
    }
    if !matches!(topic, Topic::User(_)) {
        may_follow(context, &caller, &topic).await?;
    }
    if id.as_deref().is_some_and(|id| !is_key(id)) {
        return Err(Error::invalid("id", "an id has 1 to 64 of A-Z a-z 0-9 . _ - :"));
    }
    let request = TopicRequest::Publish { topic: topic.clone(), key: id, kind, data: data.get().to_owned() };
    match context.platform.topic(&topic, request).await? {
        TopicReply::Published { cursor, fresh } => {
            let body = serde_json::to_string(&PublishedBody { cursor: cursor.to_string() }).map_err(|_| mismatch())?;
            Ok(Response::json(if fresh { 201 } else { 200 }, body))
        }
        _ => Err(mismatch()),
    }
}

pub fn is_key(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-:".contains(&byte);
    (1..=64).contains(&text.len()) && text.bytes().all(allowed)
}

fn mismatch() -> Error {
    Error::internal("a topic answered something else than was asked")
}

fn position(field: &'static str, text: &str) -> Result<Position> {
    Position::parse(text).ok_or_else(|| Error::invalid(field, "this is not a cursor"))
}
