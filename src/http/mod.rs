//! The HTTP surface: a request becomes one use case becomes a reply.
//!
//! Invariant: nothing here names the platform; what a request needs from outside comes through [`Platform`], the request
//! itself through [`Incoming`]. Every route asks [`crate::access`] before it reads or writes, and no body is read before
//! its caller is known to be allowed to send one.

mod audit;
mod batch;
mod booking;
mod bundles;
mod caller;
mod care;
mod channels;
mod erased;
mod everything;
mod fenced;
mod fhir;
mod format;
mod hooks;
mod input;
mod leases;
mod once;
mod publish;
mod reply;
mod route;
mod search;
mod sessions;
mod sign_in;
mod subscriptions;
mod telemetry;
mod users;
mod views;

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use self::erased::Erased;
pub use self::publish::Lines;
pub use self::reply::{Reply, Response, failure};
use self::route::{Area, Route};
pub use self::subscriptions::{Bound, redeem};
use crate::access::bar::Listener;
use crate::channel::Topic;
use crate::channel::cursor::Position;
use crate::chart::cache::read::Ports;
use crate::chart::cache::window::Window;
use crate::clinic::Clinic;
use crate::clinic::courier::Outside;
use crate::config::{Config, Problem};
use crate::error::{Error, Kind, Result};
use crate::session::Session;
use crate::time::Entropy;

/// What requests need from outside.
pub trait Platform: Outside + Entropy + Clinic + Ports {
    /// The sessions that this isolate was just told are valid, by the hash of their token.
    fn seats(&self) -> Rc<RefCell<Window<Session>>>;

    /// Which readers this isolate knows to be in the audit trail.
    fn said(&self) -> Rc<RefCell<Window<()>>>;

    /// Notes an error of our own for the operator, with the id of the request.
    fn report(&self, error: &Error, request: &str);
}

/// A request as it came in.
pub trait Incoming {
    /// The method, upper case.
    fn method(&self) -> &str;
    /// The path, percent-encoded as it came, without the query.
    fn path(&self) -> &str;
    /// The query without its question mark; empty where there is none.
    fn query(&self) -> &str;
    /// Scheme and authority as the client addressed them, `https://clinic.example`.
    fn origin(&self) -> &str;
    /// A header's value; the name is given in lower case.
    fn header(&self, name: &str) -> Option<String>;
    /// The body, refused with 413 as soon as more than `limit` bytes have come.
    fn body(&self, limit: usize) -> impl Future<Output = Result<Vec<u8>>>;
}

/// A deployment: its settings, or what is wrong with them, and its platform.
pub struct App<P> {
    /// The settings.
    pub config: Rc<std::result::Result<Config, Vec<Problem>>>,
    /// The platform.
    pub platform: P,
}

/// A subscription that was granted: the edge connects the client's socket to the topic's object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// The topic.
    pub topic: Topic,
    /// Where to go on; `None` from now on.
    pub after: Option<Position>,
    /// Who listens.
    pub listener: Listener,
}

/// What every handler is given.
struct Context<'a, P, R> {
    config: &'a Config,
    platform: &'a P,
    request: &'a R,
    /// The request's id, a UUID: in the reply, the log and the audit trail.
    id: String,
    shown: audit::Shown,
}

impl<P: Platform, R: Incoming> Context<'_, P, R> {
    fn base(&self) -> String {
        format!("{}/fhir", self.request.origin())
    }
}

/// Answers `request`. Never fails: every error is a reply.
pub async fn handle<P: Platform>(app: &App<P>, request: &impl Incoming) -> Reply {
    let request = &Erased::new(request);
    let id = app.platform.uuid();
    let fhir = route::is_fhir(request.path());
    let reply = match app.config.as_ref() {
        _ if request.path() == "/healthz" => Ok(Reply::Response(healthz(app.config.as_ref(), request))),
        Err(_) => Err(Error::new(Kind::Misconfigured, "the settings are incomplete; /healthz says what is missing")),
        Ok(config) => {
            let context =
                Context { config, platform: &app.platform, request, id: id.clone(), shown: RefCell::default() };
            match dispatch(&context).await {
                Ok(reply) => context.witness().await.map(|()| reply),
                refused => refused,
            }
        }
    };
    let reply = reply.unwrap_or_else(|error| {
        if error.kind == Kind::Internal {
            app.platform.report(&error, &id);
        }
        Reply::Response(failure(&error, fhir, request.path()))
    });
    reply.marked(&id, app.platform.now())
}

fn healthz(config: &std::result::Result<Config, Vec<Problem>>, request: &impl Incoming) -> Response {
    if !matches!(request.method(), "GET" | "HEAD") {
        return failure(&route::method_not_allowed(), false, request.path()).header("allow", "GET, HEAD");
    }
    let (status, state, problems) = match config {
        Ok(_) => (200, "ok", Vec::new()),
        Err(problems) => (503, "misconfigured", problems.iter().map(|problem| problem.sentence.as_str()).collect()),
    };
    let health = serde_json::json!({ "status": state, "version": env!("CARGO_PKG_VERSION"), "problems": problems });
    Response::json(status, health.to_string())
}

async fn dispatch<P: Platform, R: Incoming>(context: &Context<'_, P, R>) -> Result<Reply> {
    let method = context.request.method();
    let route = route::find(context.request.path())?;
    if !route.methods().contains(&method) {
        return Ok(Reply::Response(
            failure(&route::method_not_allowed(), route.area() == Area::Fhir, context.request.path())
                .header("allow", route.methods().join(", ")),
        ));
    }
    caller::refuse_cross_site(context.request)?;
    let response = match route {
        Route::Session => sessions::handle(context).await?,
        Route::Sessions => sessions::all(context).await?,
        Route::SessionOf(id) => sessions::one(context, &id).await?,
        Route::Users => users::all(context).await?,
        Route::User(id) => users::one(context, &id).await?,
        Route::UserPassword(id) => users::password(context, &id).await?,
        Route::UserWards(id) => users::wards(context, &id).await?,
        Route::System => bundles::handle(context).await?,
        Route::Subscription(path) => subscriptions::handle(context, path).await?,
        Route::SubscriptionTopic(name) => subscriptions::topics(context, name).await?,
        Route::SubscriptionSocket => {
            let upgrade = context.request.header("upgrade");
            if upgrade.is_some_and(|value| value.eq_ignore_ascii_case("websocket")) {
                return Ok(Reply::Bind);
            }
            return Err(Error::invalid("upgrade", "this is the WebSocket of subscriptions"));
        }
        Route::Booking(operation) => booking::handle(context, operation).await?,
        Route::Publish(file) => return publish::handle(context, file).await,
        Route::Metadata
        | Route::Type(_)
        | Route::Search(_)
        | Route::Instance(..)
        | Route::History(..)
        | Route::Version(..)
        | Route::Everything(_)
        | Route::Log(_) => fhir::handle(context, route).await?,
        Route::Telemetry => telemetry::many(context).await?,
        Route::Board(ward) => care::board(context, &ward).await?,
        Route::Alerts => care::alerts(context).await?,
        Route::Acknowledge(id) => care::acknowledge(context, &id).await?,
        Route::Thresholds(patient) => care::thresholds(context, &patient).await?,
        Route::Audit => audit::trail(context).await?,
        Route::Leases => leases::several(context).await?,
        Route::Lease(name) => leases::handle(context, &name).await?,
        Route::BreakLease(name) => leases::break_it(context, &name).await?,
        Route::Changed(what) => hooks::changed(context, what).await?,
        Route::Channel(topic) => return channels::handle(context, topic).await,
    };
    Ok(Reply::Response(response))
}

#[cfg(test)]
mod audit_tests;
#[cfg(test)]
mod bundles_tests;
#[cfg(test)]
mod care_tests;
#[cfg(test)]
mod channels_tests;
#[cfg(test)]
mod everything_tests;
#[cfg(test)]
mod leases_tests;
#[cfg(test)]
mod restored_tests;
#[cfg(test)]
mod results_tests;
#[cfg(test)]
mod search_tests;
#[cfg(test)]
mod sessions_tests;
#[cfg(test)]
mod subscriptions_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod views_tests;
