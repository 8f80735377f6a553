//! The platform as the crate's ports: clock, CSPRNG, and the objects behind their namespaces.

use std::cell::{OnceCell, RefCell};
use std::rc::Rc;

use wasm_bindgen::prelude::wasm_bindgen;
use worker::{Context, Env, Headers, Method, Request, RequestInit, Response, Stub, WebSocket, js_sys};

use super::boundary::{Asked, Keeper, Outcome};
use super::incoming::EdgeRequest;
use super::keep::{Backend, Cache, Keepers, LeaseBackend};
use super::outgoing::Outgoing;
use super::{SUBSCRIPTION, call, encode_subscription, platform_fault};
use crate::access::Scope;
use crate::access::audit::SPELL;
use crate::channel::{Topic, TopicReply, TopicRequest};
use crate::chart::cache::apart::Heads;
use crate::chart::cache::read::Ports;
use crate::chart::cache::seal::Cipher;
use crate::chart::cache::split::Split;
use crate::chart::cache::tier::Tier;
use crate::chart::cache::window::Window;
use crate::chart::cache::{Fill, Filling, Looked, Source, Whose};
use crate::chart::records::{Answer, Query};
use crate::clinic::courier::Outside;
use crate::clinic::origin::AtOrigin;
use crate::clinic::origin::client::{Client, Link};
use crate::clinic::{self, Clinic, ClinicReply, ClinicRequest};
use crate::error::{Error, Result};
use crate::http::{Incoming, Platform, Subscription};
use crate::session::Session;
use crate::time::{Clock, Entropy, Ttl, UnixMillis};

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = crypto, js_name = getRandomValues)]
    fn get_random_values(buffer: &mut [u8]);
}

/// The name of the one object of the clinic.
const CLINIC: &str = "clinic";

/// The present instant.
pub fn now() -> UnixMillis {
    UnixMillis(js_sys::Date::now() as u64)
}

/// So many bytes are drawn at once: most need 16, and asking costs more than drawing.
const DRAWN: usize = 512;

thread_local! {
    /// What was drawn and given to nobody yet.
    static POOL: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Fills `buffer` from the platform's CSPRNG.
pub fn fill(buffer: &mut [u8]) {
    if buffer.len() > DRAWN {
        return get_random_values(buffer);
    }
    POOL.with_borrow_mut(|pool| {
        if pool.len() < buffer.len() {
            pool.resize(DRAWN, 0);
            get_random_values(pool);
        }
        for byte in buffer {
            *byte = pool.pop().unwrap_or_default();
        }
    });
}

/// The platform, as one request or one object sees it.
#[derive(Clone)]
pub struct Edge {
    env: Rc<Env>,
    keeper: Keeper,
    keepers: Keepers,
    /// The request's context, which has the platform wait for what is done after the reply; an object needs none.
    context: Option<Rc<Context>>,
}

thread_local! {
    /// The views in this isolate's memory. Plain data: it may outlive a request.
    static TIER: OnceCell<Rc<RefCell<Tier>>> = const { OnceCell::new() };
    /// What this isolate knows of where records are kept. The same.
    static ORIGIN: Rc<Link> = Rc::default();
    /// What this isolate was just told of heads, and of sessions. The same.
    static WINDOW: OnceCell<Rc<RefCell<Window<Looked>>>> = const { OnceCell::new() };
    static SAID: Rc<RefCell<Window<()>>> = Rc::new(RefCell::new(Window::new(SPELL)));
    static SEATS: OnceCell<Rc<RefCell<Window<Session>>>> = const { OnceCell::new() };
}

impl Edge {
    /// The platform behind these bindings, as the request of this number sees it.
    pub fn of_request(env: Env, context: Context, number: u32) -> Edge {
        Edge { context: Some(Rc::new(context)), ..Edge::new(env, Keeper::Request(number)) }
    }

    /// The platform behind these bindings, as an object sees it.
    pub fn of_object(env: Env) -> Edge {
        Edge::new(env, Keeper::Timer)
    }

    fn new(env: Env, keeper: Keeper) -> Edge {
        let env = Rc::new(env);
        let settings = super::settings(&env);
        Edge { keepers: Keepers::new(&env, keeper, settings.as_ref().as_ref().ok()), keeper, env, context: None }
    }

    /// The same for what goes on after the request was answered: each call sees to its own end.
    pub fn outliving(&self) -> Edge {
        let settings = super::settings(&self.env);
        let keeper = Keeper::Timer;
        Edge { keepers: Keepers::new(&self.env, keeper, settings.as_ref().as_ref().ok()), keeper, ..self.clone() }
    }

    /// Patients' heads, where they are not kept with the records.
    pub fn heads(&self) -> Option<&Heads<Backend>> {
        self.keepers.heads.as_ref()
    }

    /// When data were last brought back; `None` where the settings are incomplete, and nothing is served.
    pub fn restored(&self) -> Option<UnixMillis> {
        super::settings(&self.env).as_ref().as_ref().ok().map(|config| config.restored)
    }

    fn lease(&self) -> Ttl {
        super::settings(&self.env).as_ref().as_ref().map_or(Ttl(0), |config| config.cache.lease)
    }

    /// The bindings.
    pub fn env(&self) -> &Env {
        &self.env
    }

    fn stub(&self, binding: &str, name: &str) -> Result<Stub> {
        self.env
            .durable_object(binding)
            .and_then(|namespace| namespace.id_from_name(name)?.get_stub())
            .map_err(|error| platform_fault("a binding to an object is missing", error))
    }

    /// Hands the client's socket to the topic's object.
    pub async fn subscribe(&self, request: &EdgeRequest, subscription: &Subscription) -> Result<Response> {
        self.connect(subscription, request.header("sec-websocket-protocol")).await
    }

    /// A socket of our own to the topic's object.
    pub async fn listen(&self, subscription: &Subscription) -> Result<WebSocket> {
        let response = self.connect(subscription, None).await?;
        response.websocket().ok_or_else(|| Error::unavailable("the topic does not answer; try again"))
    }

    async fn connect(&self, subscription: &Subscription, offered: Option<String>) -> Result<Response> {
        let stub = self.stub("TOPICS", &subscription.topic.to_string())?;
        let fault = |error| platform_fault("a socket could not be handed on", error);
        let headers = Headers::new();
        headers.set("upgrade", "websocket").map_err(fault)?;
        headers.set(SUBSCRIPTION, &encode_subscription(subscription)?).map_err(fault)?;
        if let Some(offered) = offered {
            headers.set("sec-websocket-protocol", &offered).map_err(fault)?;
        }
        let mut init = RequestInit::new();
        init.with_method(Method::Get).with_headers(headers);
        let handed = Request::new_with_init("https://object/", &init).map_err(fault)?;
        call::connection(stub.fetch_with_request(handed)).await
    }
}

impl Clock for Edge {
    fn now(&self) -> UnixMillis {
        now()
    }
}

impl Entropy for Edge {
    fn fill(&self, buffer: &mut [u8]) {
        fill(buffer);
    }
}

/// The clinic's object.
struct Object<'a>(&'a Edge);

impl Clinic for Object<'_> {
    async fn ask(&self, request: ClinicRequest) -> Result<ClinicReply> {
        call::ask(&self.0.env, ("CLINIC", CLINIC), self.0.keeper, &request, request.is_change()).await
    }
}

impl Clinic for Edge {
    async fn ask(&self, request: ClinicRequest) -> Result<ClinicReply> {
        let settings = super::settings(&self.env);
        let Some(access) = settings.as_ref().as_ref().ok().and_then(|config| config.origin.clone()) else {
            return Object(self).ask(request).await;
        };
        // What is sent there has a time of its own, whoever waits.
        let way = Outgoing(Keeper::Timer);
        let client = Client::new(way, access, ORIGIN.with(Rc::clone));
        let clinic = AtOrigin { clinic: Object(self), client, cipher: self.clone() };
        Box::pin(clinic.ask(request)).await
    }
}

impl Outside for Edge {
    type Sessions = Backend;
    type Leases = LeaseBackend;

    fn sessions(&self) -> &Backend {
        &self.keepers.sessions
    }

    fn leases(&self) -> &LeaseBackend {
        &self.keepers.leases
    }

    async fn topic(&self, topic: &Topic, request: TopicRequest) -> Result<TopicReply> {
        call::ask(&self.env, ("TOPICS", &topic.to_string()), self.keeper, &request, request.is_change()).await
    }
}

impl Cipher for Edge {
    async fn seal(&self, key: &[u8; 32], nonce: &[u8; 12], bound: &[u8], plain: &[u8]) -> Result<Vec<u8>> {
        match Asked::cipher(true, key, nonce, bound, plain).await {
            Outcome::Answer(sealed) => Ok(sealed),
            Outcome::Failed(error) => Err(platform_fault("a view could not be sealed", error)),
            Outcome::Late => Err(Error::internal("a view could not be sealed in time")),
        }
    }

    async fn open(&self, key: &[u8; 32], nonce: &[u8; 12], bound: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        match Asked::cipher(false, key, nonce, bound, sealed).await {
            Outcome::Answer(plain) => Some(plain),
            Outcome::Failed(_) | Outcome::Late => None,
        }
    }
}

/// Where heads and records come from, as the settings say.
pub enum Records {
    /// Both from the clinic's object.
    Together(Edge),
    /// Heads from a store of their own.
    Apart(Box<Split<Backend, clinic::Records<Edge>, Edge>>),
}

impl Source for Records {
    async fn look(&self, whose: &Whose, version: bool) -> Result<Looked> {
        match self {
            Records::Together(edge) => edge.look(whose, version).await,
            Records::Apart(split) => split.look(whose, version).await,
        }
    }

    async fn fill(&self, fill: Fill) -> Result<Filling> {
        match self {
            Records::Together(edge) => Source::fill(edge, fill).await,
            Records::Apart(split) => split.fill(fill).await,
        }
    }

    async fn give_back(&self, view: &str, token: u64) -> Result<()> {
        match self {
            Records::Together(edge) => edge.give_back(view, token).await,
            Records::Apart(split) => split.give_back(view, token).await,
        }
    }

    async fn direct(&self, scope: Scope, query: Query) -> Result<Answer> {
        match self {
            Records::Together(edge) => edge.direct(scope, query).await,
            Records::Apart(split) => split.direct(scope, query).await,
        }
    }
}

impl Ports for Edge {
    type Source = Records;
    type Cache = Cache;

    fn source(&self) -> Records {
        match &self.keepers.heads {
            None => Records::Together(self.clone()),
            Some(heads) => Records::Apart(Box::new(Split {
                heads: heads.clone(),
                tokens: heads.store().clone(),
                origin: clinic::Records(self.clone()),
                outside: self.clone(),
            })),
        }
    }

    fn cache(&self) -> &Cache {
        &self.keepers.cache
    }

    fn tier(&self) -> Rc<RefCell<Tier>> {
        let most = || super::settings(&self.env).as_ref().as_ref().map_or(0, |config| config.cache.memory);
        TIER.with(|tier| Rc::clone(tier.get_or_init(|| Rc::new(RefCell::new(Tier::new(most()))))))
    }

    fn window(&self) -> Rc<RefCell<Window<Looked>>> {
        WINDOW.with(|window| Rc::clone(window.get_or_init(|| Rc::new(RefCell::new(Window::new(self.lease()))))))
    }

    async fn pause(&self, ttl: Ttl) {
        Asked::pause(ttl).await;
    }

    fn background<W: Future<Output = ()> + 'static>(&self, work: impl FnOnce(Edge) -> W) {
        let work = work(self.outliving());
        match &self.context {
            Some(context) => context.wait_until(work),
            None => wasm_bindgen_futures::spawn_local(work),
        }
    }
}

impl Platform for Edge {
    fn seats(&self) -> Rc<RefCell<Window<Session>>> {
        SEATS.with(|seats| Rc::clone(seats.get_or_init(|| Rc::new(RefCell::new(Window::new(self.lease()))))))
    }

    fn said(&self) -> Rc<RefCell<Window<()>>> {
        SAID.with(Rc::clone)
    }

    fn report(&self, error: &Error, request: &str) {
        worker::console_error!("request {request}: {error}");
    }
}
