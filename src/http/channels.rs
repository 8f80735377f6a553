//! `/channels/{topic}`: listen by WebSocket or event stream, or read pages of history; the same cursor and the same
//! verdict.

use super::reply::Reply;
use super::{Context, Incoming, Platform, Response, Subscription, input};
use crate::access::{Action, Owner, refused};
use crate::channel::cursor::Cursor;
use crate::channel::frame::{self, SUBPROTOCOL};
use crate::channel::sse::EVENT_STREAM;
use crate::channel::{Topic, TopicReply, TopicRequest};
use crate::error::{Error, Kind, Result};

/// Events in a page by default, and at most.
const PAGE: (u64, u64) = (100, 1_000);

pub async fn handle<P: Platform, R: Incoming>(context: &Context<'_, P, R>, topic: Topic) -> Result<Reply> {
    let caller = context.caller_quietly().await?;
    match &topic {
        Topic::Patient(id) => {
            let scope = caller.may(Action::FollowPatient)?;
            let head = context.platform.head(id).await?;
            let unknown = Owner { patient: id.clone(), wards: Vec::new() };
            if !scope.reaches(head.as_ref().map_or(&unknown, |head| &head.owner)) {
                return Err(refused());
            }
            if head.is_none() {
                return Err(Error::new(Kind::NotFound, "there is no such patient"));
            }
        }
        Topic::Ward(ward) => drop(caller.may(Action::FollowWard { ward })?),
        Topic::User(user) => drop(caller.may(Action::FollowUser { user })?),
    }
    let parameters = input::parameters(context.request, &["after", "limit"])?;
    let after = input::parameter(&parameters, "after").map(|text| cursor("after", text)).transpose()?;
    let limit = input::count(&parameters, "limit", PAGE.0, PAGE.1)?;

    let upgrade = context.request.header("upgrade");
    if upgrade.is_some_and(|value| value.eq_ignore_ascii_case("websocket")) {
        let offered = context.request.header("sec-websocket-protocol");
        if offered.is_some_and(|offered| !offered.split(',').any(|one| one.trim() == SUBPROTOCOL)) {
            return Err(Error::invalid("sec-websocket-protocol", "the subprotocol here is bedside.v1"));
        }
        return Ok(Reply::Subscribe(Subscription { topic, after, user: caller.session.principal.user }));
    }
    if input::names(context.request, "text/event-stream") {
        // A browser that comes back to the URL it began with says here how far it got since.
        let last = context.request.header("last-event-id").filter(|id| !id.is_empty());
        let after = last.map(|id| cursor("last-event-id", &id)).transpose()?.or(after);
        let head = Response::empty(200).header("content-type", EVENT_STREAM);
        return Ok(Reply::Stream(Subscription { topic, after, user: caller.session.principal.user }, head));
    }
    input::accepts_json(context.request, "application/json")?;
    match context.platform.topic(&topic, TopicRequest::Page { topic: topic.clone(), after, limit }).await? {
        TopicReply::Page(page) => Ok(Reply::Response(Response::json(200, frame::page(&topic, &page)?))),
        TopicReply::Applied(_) => Err(Error::internal("a topic answered something else than was asked")),
    }
}

fn cursor(field: &'static str, text: &str) -> Result<Cursor> {
    Cursor::parse(text).ok_or_else(|| Error::invalid(field, "this is not a cursor"))
}
