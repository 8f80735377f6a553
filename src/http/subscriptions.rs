//! `/fhir/Subscription`: topic-based subscriptions (R5 backport for R4, STU 1.1), their operations and their WebSocket.
//!
//! Invariant: a subscription is its owner's: nobody else but an administrator who knows its id learns that it is there. A
//! binding token is good once and for 30 s, and what is bound ends with the session that got it.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::caller::Caller;
use super::fhir::{FHIR_JSON, etag, sent};
use super::reply::Response;
use super::route::SubscriptionPath;
use super::{Context, Incoming, Platform, Subscription, input};
use crate::access::bar::Listener;
use crate::access::{Action, Role, refused};
use crate::channel::history::Page;
use crate::channel::subscription::notification::{self, About, Type};
use crate::channel::subscription::{Channel, Content, Settings, Status, Subject};
use crate::channel::{Topic, TopicReply, TopicRequest};
use crate::clinic::sessions::Sessions;
use crate::clinic::subscriptions::{Stored, SubscriptionRequest, Subscriptions};
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::fhir::{Link, Resource, ResourceType, SearchEntry, SearchMode, is_valid_id, searchset};
use crate::session::token::Token;
use crate::store::{Applied, Condition, Op, OpReply, Shard, Store};
use crate::time::{Ttl, UnixMillis};

/// A binding token is good for so long.
const TOKEN: Ttl = Ttl::from_secs(30);
/// Events in one answer of `$events`, at most.
const EVENTS: u64 = 200;

/// Answers what a path under `/fhir/Subscription` means.
pub async fn handle<P: Platform, R: Incoming>(context: &Context<'_, P, R>, path: SubscriptionPath) -> Result<Response> {
    input::accepts_json(context.request, FHIR_JSON)?;
    let caller = context.caller().await?;
    caller.may(Action::Subscribe)?;
    match (path, context.request.method()) {
        (SubscriptionPath::All, "POST") => create(context, &caller).await,
        (SubscriptionPath::All, _) => list(context, &caller).await,
        (SubscriptionPath::One(id), "PUT") => update(context, &caller, &id).await,
        (SubscriptionPath::One(id), "DELETE") => {
            let (of, expected) = (of(&caller), input::if_match(context.request)?);
            let request = SubscriptionRequest::Delete { id, of, expected, actor: caller.actor(&context.id) };
            context.platform.subscription(request).await?;
            Ok(Response::empty(204))
        }
        (SubscriptionPath::One(id), _) => shown(context, 200, &own(context, &caller, &id).await?),
        (SubscriptionPath::Status(id), _) => status(context, &caller, id).await,
        (SubscriptionPath::Events(id), _) => events(context, &caller, &id).await,
        (SubscriptionPath::BindingToken(id), _) => binding_token(context, &caller, id).await,
    }
}

/// Whose subscriptions the caller may see and change, one by one.
fn of(caller: &Caller) -> Option<String> {
    let principal = &caller.session.principal;
    (principal.role != Role::Admin).then(|| principal.user.clone())
}

async fn own<P: Platform, R>(context: &Context<'_, P, R>, caller: &Caller, id: &str) -> Result<Stored> {
    context.platform.subscription(SubscriptionRequest::Get { id: id.to_owned(), of: of(caller) }).await
}

/// The resource as it is now.
fn resource(stored: &Stored, now: UnixMillis) -> Result<String> {
    let unreadable = |_| Error::internal("a subscription could not be read");
    let mut resource = Resource::parse(stored.body.as_bytes()).map_err(unreadable)?;
    resource.set_text("status", stored.status_at(now).as_str());
    if let Some(error) = &stored.error {
        resource.set_text("error", error);
    }
    resource.set_meta(stored.version, stored.updated);
    Ok(resource.to_json())
}

fn shown<P: Platform, R>(context: &Context<'_, P, R>, status: u16, stored: &Stored) -> Result<Response> {
    let response = Response::fhir(status, resource(stored, context.platform.now())?);
    Ok(response.header("etag", etag(stored.version)).header("last-modified", stored.updated.to_http_date()))
}

/// The most bytes of a subscription.
const LARGEST: usize = 32 << 10;

/// Reads the body as a subscription that the caller may have; the inner error is a reply with every issue of it.
async fn wanted<P: Platform, R: Incoming>(
    context: &Context<'_, P, R>,
    caller: &Caller,
    id: &str,
    named: bool,
) -> Result<std::result::Result<Stored, Response>> {
    let mut resource = match sent(context, ResourceType::Subscription).await? {
        Ok(resource) => resource,
        Err(response) => return Ok(Err(response)),
    };
    if named && resource.id() != Some(id) {
        return Err(Error::invalid("Subscription.id", "the id in the body must be the one in the path"));
    }
    let settings = Settings::of(&resource)?;
    let mut status = Status::Active;
    if let Channel::RestHook { endpoint, .. } = &settings.channel {
        if caller.session.principal.role == Role::Patient {
            return Err(refused());
        }
        if !context.config.hooks.allows(endpoint) {
            let refused = Error::new(
                Kind::Unprocessable,
                "notifications are not sent to this endpoint: HOOK_TARGETS does not list it",
            );
            return Err(refused.at("Subscription.channel.endpoint"));
        }
        status = Status::Requested;
    }
    if resource.str_at(&["status"]) == Some("off") {
        status = Status::Off;
    }
    if !resource.set_id(id) {
        return Err(Error::internal("a new id was not a valid one"));
    }
    let body = resource.to_json();
    if body.len() > LARGEST {
        return Err(Error::new(Kind::TooLarge, "a Subscription has at most 32 KiB"));
    }
    Ok(Ok(Stored {
        id: id.to_owned(),
        user: caller.session.principal.user.clone(),
        version: 0,
        updated: UnixMillis(0),
        status,
        error: None,
        base: context.base(),
        settings,
        body,
        events: 0,
    }))
}

async fn create<P: Platform, R: Incoming>(context: &Context<'_, P, R>, caller: &Caller) -> Result<Response> {
    if context.request.header("idempotency-key").is_some() {
        return Err(Error::invalid("idempotency-key", "this is not taken here: look at the list before repeating"));
    }
    let id = context.platform.uuid();
    let stored = match wanted(context, caller, &id, false).await? {
        Ok(stored) => Box::new(stored),
        Err(response) => return Ok(response),
    };
    let (actor, of) = (caller.actor(&context.id), None);
    let request = SubscriptionRequest::Put { stored, create: true, expected: None, actor, of };
    let stored = context.platform.subscription(request).await?;
    let location = format!("{}/Subscription/{id}", context.base());
    Ok(shown(context, 201, &stored)?.header("location", location))
}

async fn update<P: Platform, R: Incoming>(context: &Context<'_, P, R>, caller: &Caller, id: &str) -> Result<Response> {
    let expected = input::if_match(context.request)?;
    own(context, caller, id).await?;
    let stored = match wanted(context, caller, id, true).await? {
        Ok(stored) => Box::new(stored),
        Err(response) => return Ok(response),
    };
    let (actor, of) = (caller.actor(&context.id), of(caller));
    let request = SubscriptionRequest::Put { stored, create: false, expected, actor, of };
    shown(context, 200, &context.platform.subscription(request).await?)
}

async fn all<P: Platform, R>(context: &Context<'_, P, R>, caller: &Caller) -> Result<Vec<Stored>> {
    let user = caller.session.principal.user.clone();
    context.platform.subscriptions(SubscriptionRequest::List { user }).await
}

/// `GET /fhir/Subscription?status=&url=`
async fn list<P: Platform, R: Incoming>(context: &Context<'_, P, R>, caller: &Caller) -> Result<Response> {
    let parameters = input::parameters(context.request, &["status", "url"])?;
    let (status, url) = (input::parameter(&parameters, "status"), input::parameter(&parameters, "url"));
    let now = context.platform.now();
    let is_meant = |stored: &&Stored| {
        let endpoint = match &stored.settings.channel {
            Channel::RestHook { endpoint, .. } => Some(endpoint.as_str()),
            Channel::WebSocket => None,
        };
        status.is_none_or(|status| status.split(',').any(|one| one == stored.status_at(now).as_str()))
            && url.is_none_or(|url| endpoint == Some(url))
    };
    let all = all(context, caller).await?;
    let found = all.iter().filter(is_meant).map(|stored| Ok((stored.id.clone(), resource(stored, now)?)));
    let found = found.collect::<Result<Vec<_>>>()?;
    let base = context.base();
    let entries = found.iter().map(|(id, body)| SearchEntry {
        full_url: Some(format!("{base}/Subscription/{id}").into()),
        resource: body.as_str().into(),
        mode: SearchMode::Match,
    });
    let query = context.request.query();
    let url = if query.is_empty() { format!("{base}/Subscription") } else { format!("{base}/Subscription?{query}") };
    Ok(Response::fhir(200, searchset(entries, &[Link { relation: "self", url: url.into() }], None)))
}

fn about(stored: &Stored, now: UnixMillis) -> About<'_> {
    About {
        base: &stored.base,
        id: &stored.id,
        settings: &stored.settings,
        status: stored.status_at(now),
        events: stored.events,
        error: stored.error.as_deref(),
    }
}

/// The parameters of an operation: of the query, or of a body that is a Parameters resource.
async fn parameters<P, R: Incoming>(
    context: &Context<'_, P, R>,
    known: &[&'static str],
) -> Result<Vec<(&'static str, String)>> {
    let mut given = input::pairs(context.request.query())?;
    if context.request.method() == "POST" && context.request.header("content-type").is_some() {
        let resource = match sent(context, ResourceType::Parameters).await? {
            Ok(resource) => resource,
            Err(_) => return Err(Error::invalid("body", "this is no Parameters resource")),
        };
        let body: Value =
            serde_json::from_str(&resource.to_json()).map_err(|_| Error::internal("parameters were lost"))?;
        for one in body.get("parameter").and_then(Value::as_array).into_iter().flatten() {
            let value =
                ["valueId", "valueString", "valueCode", "valueInteger", "valueUnsignedInt"].map(|name| &one[name]);
            let text = value.into_iter().find_map(|value| match value {
                Value::String(text) => Some(text.clone()),
                Value::Number(number) => Some(number.to_string()),
                _ => None,
            });
            let name = one.get("name").and_then(Value::as_str).unwrap_or_default();
            given.push((name.to_owned(), text.unwrap_or_default()));
        }
    }
    let named = |(name, value): (String, String)| match known.iter().find(|known| **known == name) {
        Some(known) => Ok((*known, value)),
        None => Err(Error::invalid("query", "there is a parameter that is not known here")),
    };
    given.into_iter().map(named).collect()
}

fn values<'a>(parameters: &'a [(&'static str, String)], name: &str) -> Vec<&'a str> {
    let of_name = parameters.iter().filter(|(found, _)| *found == name);
    of_name.flat_map(|(_, value)| value.split(',')).filter(|value| !value.is_empty()).collect()
}

/// `Subscription/[id/]$status`
async fn status<P: Platform, R: Incoming>(
    context: &Context<'_, P, R>,
    caller: &Caller,
    id: Option<String>,
) -> Result<Response> {
    let given = parameters(context, &["id", "status"]).await?;
    let now = context.platform.now();
    let meant = match &id {
        Some(id) => vec![own(context, caller, id).await?],
        None => {
            let (ids, statuses) = (values(&given, "id"), values(&given, "status"));
            let mut all = all(context, caller).await?;
            all.retain(|stored| {
                (ids.is_empty() || ids.contains(&stored.id.as_str()))
                    && (statuses.is_empty() || statuses.contains(&stored.status_at(now).as_str()))
            });
            all
        }
    };
    let found: Vec<(String, String)> = meant
        .iter()
        .map(|stored| {
            let parameters = notification::status(&about(stored, now), Type::QueryStatus).to_string();
            (format!("urn:uuid:{}", context.platform.uuid()), parameters)
        })
        .collect();
    let entries = found.iter().map(|(url, body)| SearchEntry {
        full_url: Some(url.as_str().into()),
        resource: body.as_str().into(),
        mode: SearchMode::Match,
    });
    let of = id.map(|id| format!("/{id}")).unwrap_or_default();
    let url = format!("{}/Subscription{of}/$status", context.base());
    Ok(Response::fhir(200, searchset(entries, &[Link { relation: "self", url: url.into() }], None)))
}

/// `Subscription/{id}/$events`: from the one number to the other, both included.
async fn events<P: Platform, R: Incoming>(context: &Context<'_, P, R>, caller: &Caller, id: &str) -> Result<Response> {
    let given = parameters(context, &["eventsSinceNumber", "eventsUntilNumber", "content"]).await?;
    let number = |name: &'static str| match values(&given, name).first() {
        None => Ok(None),
        Some(text) => {
            text.parse::<u64>().map(Some).map_err(|_| Error::invalid(name, "this must be the number of an event"))
        }
    };
    let (since, until) = (number("eventsSinceNumber")?.unwrap_or(1).max(1), number("eventsUntilNumber")?);
    let mut stored = own(context, caller, id).await?;
    let content = match values(&given, "content").first() {
        None => stored.settings.content,
        Some(code) => Content::parse(code)
            .ok_or_else(|| Error::invalid("content", "this must be empty, id-only or full-resource"))?,
    };
    let topic = Topic::Subscription(id.to_owned());
    let until = until.unwrap_or(u64::MAX);
    let request = TopicRequest::Range { topic: topic.clone(), since, until, limit: EVENTS };
    let page = match context.platform.topic(&topic, request).await? {
        TopicReply::Page(page) => page,
        _ => return Err(Error::internal("a topic answered something else than was asked")),
    };
    let incomplete = short(&page, since);
    stored.error = incomplete.or(stored.error);
    let told = context.platform.told(id, &page).await?;
    let now = context.platform.now();
    let uuid = context.platform.uuid();
    Ok(Response::fhir(200, notification::bundle(&about(&stored, now), Type::QueryEvent, content, &told, &uuid, now)?))
}

/// What an answer lacks, in one sentence.
fn short(page: &Page, since: u64) -> Option<String> {
    let oldest = page.gap.as_ref().map(|gap| gap.offset.saturating_add(1));
    match (oldest, page.more) {
        (Some(oldest), _) => Some(format!("events {since} to {} are no longer kept", oldest.saturating_sub(1))),
        (None, true) => Some(format!("there are more than {EVENTS}: go on after {}", page.cursor.offset)),
        (None, false) => None,
    }
}

/// What a binding token is good for.
#[derive(Serialize, Deserialize)]
struct Binding {
    listener: Listener,
    subscriptions: Vec<String>,
}

fn key_of(token: &Token, config: &Config) -> Result<(Shard, String)> {
    Ok((Shard::of(token.user()), format!("binding/{}", token.hash(&config.session_key)?)))
}

/// `Subscription/[id/]$get-ws-binding-token`
async fn binding_token<P: Platform, R: Incoming>(
    context: &Context<'_, P, R>,
    caller: &Caller,
    id: Option<String>,
) -> Result<Response> {
    let given = parameters(context, &["id"]).await?;
    let now = context.platform.now();
    let mut meant = match &id {
        Some(id) => vec![own(context, caller, id).await?],
        None => {
            let ids = values(&given, "id");
            if !ids.iter().all(|id| is_valid_id(id)) {
                return Err(Error::invalid("id", "this must be the id of a resource"));
            }
            let mut all = all(context, caller).await?;
            all.retain(|stored| ids.is_empty() || ids.contains(&stored.id.as_str()));
            if !ids.iter().all(|id| all.iter().any(|stored| stored.id == **id)) {
                return Err(Error::new(Kind::NotFound, "there is no such resource").at("id"));
            }
            all
        }
    };
    let is_bound =
        |stored: &Stored| stored.settings.channel == Channel::WebSocket && stored.status_at(now) == Status::Active;
    if id.is_some() && !meant.iter().all(is_bound) {
        return Err(Error::new(Kind::Unprocessable, "only an active subscription of channel type websocket is bound"));
    }
    meant.retain(is_bound);
    if meant.is_empty() {
        return Err(Error::new(Kind::Unprocessable, "there is no active subscription of channel type websocket"));
    }
    let token = Token::mint(context.platform, &caller.session.principal.user);
    let (shard, key) = key_of(&token, context.config)?;
    let expires = now.plus(TOKEN);
    let subscriptions: Vec<String> = meant.into_iter().map(|stored| stored.id).collect();
    let binding = Binding { listener: caller.session.listener(), subscriptions };
    let value = serde_json::to_vec(&binding).map_err(|_| Error::internal("a token could not be written"))?;
    let put = Op::Put { key, value, condition: Condition::Absent, expires: Some(expires) };
    match context.platform.sessions().apply(shard, vec![put]).await? {
        Applied::Done(_) => {}
        Applied::Refused { .. } => return Err(Error::internal("a new token was not new")),
    }
    let base = context.base();
    let socket = base.strip_prefix("http").map(|rest| format!("ws{rest}/websocket")).unwrap_or_default();
    let mut list = vec![
        json!({ "name": "token", "valueString": token.expose() }),
        json!({ "name": "expiration", "valueDateTime": expires.to_rfc3339() }),
    ];
    list.extend(binding.subscriptions.iter().map(|id| json!({ "name": "subscription", "valueString": id })));
    list.push(json!({ "name": "websocket-url", "valueUrl": socket }));
    Ok(Response::fhir(200, json!({ "resourceType": "Parameters", "parameter": list }).to_string()))
}

/// A subscription that a client has bound.
#[derive(Clone, Debug)]
pub struct Bound {
    /// How its object is listened to.
    pub subscription: Subscription,
    /// It.
    pub stored: Stored,
}

/// What `token` binds; 401 where it binds nothing, whatever the reason. It is no good any more then.
pub async fn redeem<P: Platform>(platform: &P, config: &Config, token: &str) -> Result<Vec<Bound>> {
    let unknown = || Error::new(Kind::Unauthenticated, "this token binds nothing: it was used, or is too old");
    let token = Token::parse(token).ok_or_else(unknown)?;
    let (shard, key) = key_of(&token, config)?;
    let batch = vec![Op::get(key.clone()), Op::Delete { key, condition: Condition::Always }];
    let replies = match platform.sessions().apply(shard, batch).await? {
        Applied::Done(replies) => replies,
        Applied::Refused { .. } => Vec::new(),
    };
    let entry = replies.into_iter().find_map(|reply| match reply {
        OpReply::Got(entry) => entry,
        OpReply::Wrote(_) | OpReply::Done => None,
    });
    let entry = entry.ok_or_else(unknown)?;
    let Binding { listener, subscriptions } = serde_json::from_slice(&entry.value).map_err(|_| unknown())?;
    let mut bound = Vec::new();
    for id in subscriptions {
        let stored = platform.subscription(SubscriptionRequest::Get { id: id.clone(), of: None }).await?;
        let topic = Topic::Subscription(id);
        let listener = Listener { moved: stored.version, ..listener.clone() };
        // From here on it ends with the session, and with this version of the subscription.
        platform.follow(listener.clone(), topic.clone()).await?;
        bound.push(Bound { subscription: Subscription { topic, after: None, listener }, stored });
    }
    Ok(bound)
}

/// `GET /fhir/SubscriptionTopic[/{name}]`: what can be subscribed to, as R4 has it: Basic resources.
pub async fn topics<P: Platform, R: Incoming>(context: &Context<'_, P, R>, name: Option<String>) -> Result<Response> {
    input::accepts_json(context.request, FHIR_JSON)?;
    context.caller().await?;
    let base = context.base();
    if let Some(name) = name {
        let subject = Subject::ALL.into_iter().find(|subject| subject.name() == name);
        let subject = subject.ok_or_else(|| Error::new(Kind::NotFound, "there is no such resource"))?;
        return Ok(Response::fhir(200, notification::topic(subject).to_string()));
    }
    let parameters = input::parameters(context.request, &["url", "derived-or-self"])?;
    let url = input::parameter(&parameters, "url").or_else(|| input::parameter(&parameters, "derived-or-self"));
    let found: Vec<(Subject, String)> = Subject::ALL
        .into_iter()
        .filter(|subject| url.is_none_or(|url| subject.url() == url))
        .map(|subject| (subject, notification::topic(subject).to_string()))
        .collect();
    let entries = found.iter().map(|(subject, body)| SearchEntry {
        full_url: Some(format!("{base}/SubscriptionTopic/{}", subject.name()).into()),
        resource: body.as_str().into(),
        mode: SearchMode::Match,
    });
    let link = Link { relation: "self", url: format!("{base}/SubscriptionTopic").into() };
    Ok(Response::fhir(200, searchset(entries, &[link], None)))
}
