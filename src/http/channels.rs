//! `/channels/{topic}`: listen by WebSocket, or read pages of history; the same cursor and the same verdict.

use super::reply::Reply;
use super::{Context, Incoming, Platform, Response, Subscription, input};
use crate::access::{Action, Owner, refused};
use crate::channel::cursor::Cursor;
use crate::channel::frame::{self, SUBPROTOCOL};
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
    let after = match input::parameter(&parameters, "after") {
        None => None,
        Some(text) => Some(Cursor::parse(text).ok_or_else(|| Error::invalid("after", "this is not a cursor"))?),
    };
    let limit = input::count(&parameters, "limit", PAGE.0, PAGE.1)?;

    let upgrade = context.request.header("upgrade");
    if upgrade.is_some_and(|value| value.eq_ignore_ascii_case("websocket")) {
        let offered = context.request.header("sec-websocket-protocol");
        if offered.is_some_and(|offered| !offered.split(',').any(|one| one.trim() == SUBPROTOCOL)) {
            return Err(Error::invalid("sec-websocket-protocol", "the subprotocol here is bedside.v1"));
        }
        return Ok(Reply::Subscribe(Subscription { topic, after, user: caller.session.principal.user }));
    }
    input::accepts_json(context.request, "application/json")?;
    match context.platform.topic(&topic, TopicRequest::Page { topic: topic.clone(), after, limit }).await? {
        TopicReply::Page(page) => Ok(Reply::Response(Response::json(200, frame::page(&topic, &page)?))),
        TopicReply::Applied(_) => Err(Error::internal("a topic answered something else than was asked")),
    }
}
