//! The edge: the only place that names the platform. It turns events into calls of the pure crate and back.
//!
//! Invariant: nothing is decided here. What is stored, who may see it and what is answered is decided by the modules that
//! native tests drive; this folder decodes, calls, applies and encodes.

mod alarm;
mod boundary;
mod bridge;
mod call;
mod clinic;
mod incoming;
mod keep;
mod kv;
mod leases;
mod lines;
mod outgoing;
mod platform;
mod poll;
mod shard;
mod sql;
mod sse;
mod subscribers;
mod task;
mod topic;

use std::cell::OnceCell;
use std::rc::Rc;

use wasm_bindgen::prelude::{JsValue, wasm_bindgen};
use worker::{Context, Env, Headers, Result, console_error, web_sys};

use self::incoming::EdgeRequest;
use self::platform::Edge;
use crate::config::stores::KV_BINDING;
use crate::config::{Config, Problem};
use crate::error::Error;
use crate::http::{self, App, Incoming, Reply, Subscription};

type Settings = std::result::Result<Config, Vec<Problem>>;

thread_local! {
    /// Read once in the life of an isolate: bindings do not change under it.
    static SETTINGS: OnceCell<Rc<Settings>> = const { OnceCell::new() };
}

fn settings(env: &Env) -> Rc<Settings> {
    SETTINGS.with(|cell| {
        let read = || {
            let settings = Config::read(|name| match name {
                KV_BINDING => kv::is_bound(env).then(|| "bound".to_owned()),
                _ => env.var(name).ok().map(|value| value.to_string()),
            });
            for problem in settings.as_ref().err().into_iter().flatten() {
                console_error!("settings: {}", problem.sentence);
            }
            Rc::new(settings)
        };
        Rc::clone(cell.get_or_init(read))
    })
}

/// What main.js calls. A new one is how it has the program started afresh after a fault.
#[wasm_bindgen]
pub struct Program;

#[wasm_bindgen]
impl Program {
    /// Nothing.
    #[wasm_bindgen(constructor)]
    pub fn new() -> Program {
        Program
    }

    /// The names of the headers whose values come with a request, a line each.
    pub fn headers(with_body: bool) -> String {
        let these = if with_body { incoming::HEADERS.len() } else { incoming::WITHOUT_BODY };
        incoming::HEADERS.iter().take(these).copied().collect::<Vec<_>>().join("\n")
    }

    /// Answers a request: a `Response`, or a promise of one where it has to wait for something.
    pub fn serve(
        method: String,
        url: String,
        headers: String,
        request: web_sys::Request,
        env: Env,
        context: worker::worker_sys::Context,
        number: u32,
    ) -> std::result::Result<JsValue, JsValue> {
        task::start(async move {
            let app = App { config: settings(&env), platform: Edge::of_request(env, Context::new(context), number) };
            Ok(answer(&app, &EdgeRequest::new(method, url, headers, request)).await?)
        })
    }

    /// Gives up what the request of this number has waited for too long, or all that it waits for.
    pub fn expire(number: u32, all: bool) {
        boundary::expire(number, all);
    }
}

async fn answer(app: &App<Edge>, request: &EdgeRequest) -> Result<JsValue> {
    let failed = |error| Ok(reply(&http::failure(&error, false, request.path()), true));
    match http::handle(app, request).await {
        Reply::Response(response) => Ok(reply(&response, request.wants_body())),
        Reply::Subscribe(subscription) => match app.platform.subscribe(request, &subscription).await {
            Ok(response) => Ok(web_sys::Response::from(response).into()),
            Err(error) => failed(error),
        },
        Reply::Bind => match subscribers::respond(app) {
            Ok(response) => Ok(web_sys::Response::from(response).into()),
            Err(error) => failed(platform_fault("a socket could not be accepted", error)),
        },
        Reply::Stream(_, head) | Reply::Lines(_, head) | Reply::Poll(_, _, head) if !request.wants_body() => {
            Ok(reply(&head, false))
        }
        Reply::Stream(subscription, head) => match app.platform.listen(&subscription).await {
            Ok(socket) => streamed(sse::respond(socket)?, &head),
            Err(error) => failed(error),
        },
        Reply::Lines(lines, head) => streamed(lines::respond(app.platform.outliving(), lines)?, &head),
        Reply::Poll(subscription, wait, head) => match app.platform.listen(&subscription).await {
            Ok(socket) => streamed(poll::respond(socket, subscription.after, wait)?, &head),
            Err(error) => failed(error),
        },
    }
}

fn streamed(stream: worker::Response, head: &http::Response) -> Result<JsValue> {
    let response = stream.with_status(head.status).with_headers(headers(head)?);
    Ok(web_sys::Response::from(response).into())
}

fn headers(reply: &http::Response) -> Result<Headers> {
    let headers = Headers::new();
    for (name, value) in &reply.headers {
        headers.append(name, value)?;
    }
    Ok(headers)
}

fn reply(reply: &http::Response, with_body: bool) -> JsValue {
    let mut head = String::with_capacity(512);
    for (name, value) in &reply.headers {
        head.extend([name, "\n", value, "\n"]);
    }
    boundary::reply(reply.status, &head, Some(reply.body.as_bytes()).filter(|body| with_body && !body.is_empty()))
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

/// Ends the program in the turn in which an answer has come, as a fault in it would. Nothing in the program calls it and nothing
/// outside can: it is for the test that shows that everybody still gets an answer.
#[wasm_bindgen]
pub fn fault_on_purpose() -> std::result::Result<JsValue, JsValue> {
    task::start(async {
        boundary::Asked::cipher(true, &[0; 32], &[0; 12], &[], &[]).await;
        std::process::abort()
    })
}
