//! The platform as the crate's ports: clock, CSPRNG, and the objects behind their namespaces.

use std::rc::Rc;

use wasm_bindgen::prelude::wasm_bindgen;
use worker::{Date, Env, Headers, Method, Request, RequestInit, Response, Stub, WebSocket};

use super::boundary::Keeper;
use super::incoming::EdgeRequest;
use super::keep::{Backend, Cache, Keepers};
use super::{SUBSCRIPTION, call, encode_subscription, platform_fault};
use crate::channel::{Topic, TopicReply, TopicRequest};
use crate::clinic::courier::Outside;
use crate::clinic::{Clinic, ClinicReply, ClinicRequest};
use crate::error::{Error, Result};
use crate::http::{Incoming, Platform, Subscription};
use crate::time::{Clock, Entropy, UnixMillis};

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = crypto, js_name = getRandomValues)]
    fn get_random_values(buffer: &mut [u8]);
}

/// The name of the one object of the clinic.
const CLINIC: &str = "clinic";

/// The present instant.
pub fn now() -> UnixMillis {
    UnixMillis(Date::now().as_millis())
}

/// Fills `buffer` from the platform's CSPRNG.
pub fn fill(buffer: &mut [u8]) {
    get_random_values(buffer);
}

/// The platform, as one request or one object sees it.
#[derive(Clone)]
pub struct Edge {
    env: Rc<Env>,
    keeper: Keeper,
    keepers: Keepers,
}

impl Edge {
    /// The platform behind these bindings, as the request of this number sees it.
    pub fn of_request(env: Env, number: u32) -> Edge {
        Edge::new(env, Keeper::Request(number))
    }

    /// The platform behind these bindings, as an object sees it.
    pub fn of_object(env: Env) -> Edge {
        Edge::new(env, Keeper::Timer(call::DEADLINE))
    }

    fn new(env: Env, keeper: Keeper) -> Edge {
        let env = Rc::new(env);
        let settings = super::settings(&env);
        Edge { keepers: Keepers::new(&env, keeper, settings.as_ref().as_ref().ok()), keeper, env }
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
        call::within_deadline(stub.fetch_with_request(handed), false).await
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

impl Clinic for Edge {
    async fn ask(&self, request: ClinicRequest) -> Result<ClinicReply> {
        call::ask(&self.env, ("CLINIC", CLINIC), self.keeper, &request, request.is_change()).await
    }
}

impl Outside for Edge {
    type Sessions = Backend;
    type Leases = Backend;
    type Cache = Cache;

    fn sessions(&self) -> &Backend {
        &self.keepers.sessions
    }

    fn leases(&self) -> &Backend {
        &self.keepers.leases
    }

    fn cache(&self) -> &Cache {
        &self.keepers.cache
    }

    async fn topic(&self, topic: &Topic, request: TopicRequest) -> Result<TopicReply> {
        call::ask(&self.env, ("TOPICS", &topic.to_string()), self.keeper, &request, request.is_change()).await
    }
}

impl Platform for Edge {
    fn report(&self, error: &Error, request: &str) {
        worker::console_error!("request {request}: {error}");
    }
}
