//! The edge: the only place that names the platform. It turns events into calls of the pure crate and back.
//!
//! Invariant: nothing is decided here. What is stored, who may see it and what is answered is decided by the modules that
//! native tests drive; this folder decodes, calls, applies and encodes.

mod alarm;
mod call;
mod clinic;
mod incoming;
mod keep;
mod platform;
mod shard;
mod sql;
mod sse;
mod topic;

use std::cell::OnceCell;
use std::rc::Rc;

use worker::{Context, Env, Headers, Request, Response, Result, console_error, event};

use self::incoming::EdgeRequest;
use self::platform::Edge;
use crate::config::{Config, Problem};
use crate::error::Error;
use crate::http::{self, App, Reply, Subscription};

type Settings = std::result::Result<Config, Vec<Problem>>;

thread_local! {
    /// Read once in the life of an isolate: bindings do not change under it.
    static SETTINGS: OnceCell<Rc<Settings>> = const { OnceCell::new() };
}

fn settings(env: &Env) -> Rc<Settings> {
    SETTINGS.with(|cell| {
        let read = || {
            let settings = Config::read(|name| env.var(name).ok().map(|value| value.to_string()));
            let settings = settings.and_then(keep::refuse_unbuilt);
            for problem in settings.as_ref().err().into_iter().flatten() {
                console_error!("settings: {}", problem.sentence);
            }
            Rc::new(settings)
        };
        Rc::clone(cell.get_or_init(read))
    })
}

/// A request from outside.
#[event(fetch)]
async fn fetch(request: Request, env: Env, _context: Context) -> Result<Response> {
    let app = App { config: settings(&env), platform: Edge::new(env) };
    let request = EdgeRequest::new(request);
    match http::handle(&app, &request).await {
        Reply::Response(response) => answer(response, request.wants_body()),
        Reply::Subscribe(subscription) => match app.platform.subscribe(&request, &subscription).await {
            Ok(response) => Ok(response),
            Err(error) => answer(http::failure(&error, false, http::Incoming::path(&request)), true),
        },
        Reply::Stream(_, head) if !request.wants_body() => answer(head, false),
        Reply::Stream(subscription, head) => match app.platform.listen(&subscription).await {
            Ok(socket) => {
                Ok(sse::respond(socket, subscription.after)?.with_status(head.status).with_headers(headers(&head)?))
            }
            Err(error) => answer(http::failure(&error, false, http::Incoming::path(&request)), true),
        },
    }
}

fn headers(reply: &http::Response) -> Result<Headers> {
    let headers = Headers::new();
    for (name, value) in &reply.headers {
        headers.append(name, value)?;
    }
    Ok(headers)
}

fn answer(reply: http::Response, with_body: bool) -> Result<Response> {
    let headers = headers(&reply)?;
    let response = match reply.body {
        body if with_body && !body.is_empty() => Response::ok(body)?,
        _ => Response::empty()?,
    };
    Ok(response.with_status(reply.status).with_headers(headers))
}

/// How a platform failure is said to callers; what it was goes to the log.
fn platform_fault(what: &'static str, error: impl std::fmt::Display) -> Error {
    console_error!("{what}: {error}");
    Error::internal(what)
}

/// The header in which a subscription goes from the Worker to a topic's object.
const SUBSCRIPTION: &str = "bedside-subscription";

fn encode_subscription(subscription: &Subscription) -> crate::error::Result<String> {
    serde_json::to_string(subscription).map_err(|_| Error::internal("a subscription could not be written"))
}

fn decode_subscription(text: &str) -> crate::error::Result<Subscription> {
    serde_json::from_str(text).map_err(|_| Error::internal("a subscription could not be read"))
}

/// Panics in a task of its own, as a fault in the program would. Nothing in the program calls it and nothing outside can:
/// it is for the test that shows that everybody still gets an answer.
#[wasm_bindgen::prelude::wasm_bindgen]
pub async fn fault_on_purpose() {
    std::process::abort()
}
