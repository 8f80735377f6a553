//! A namespace of Workers KV as the crate's [`Namespace`].

use std::rc::Rc;

use wasm_bindgen::JsCast;
use wasm_bindgen::prelude::{JsValue, wasm_bindgen};
use worker::js_sys::{Object, Reflect, Uint8Array};
use worker::{Env, console_error};

use super::outgoing::within;
use super::platform::now;
use crate::config::stores::KV_BINDING;
use crate::error::{Error, Result};
use crate::store::kv::Namespace;
use crate::time::{Clock, Ttl, UnixMillis};

/// The longest that a read waits for KV: beyond this the record itself is as quick.
const LONGEST: Ttl = Ttl::from_secs(1);

#[wasm_bindgen]
extern "C" {
    type KvNamespace;
    #[wasm_bindgen(method, catch)]
    async fn get(this: &KvNamespace, name: &str, kind: &str) -> std::result::Result<JsValue, JsValue>;
    #[wasm_bindgen(method, catch)]
    async fn put(
        this: &KvNamespace,
        name: &str,
        value: Uint8Array,
        options: Object,
    ) -> std::result::Result<JsValue, JsValue>;
    #[wasm_bindgen(method, catch)]
    async fn delete(this: &KvNamespace, name: &str) -> std::result::Result<JsValue, JsValue>;
}

/// Whether there is a namespace to keep cached bytes in.
pub fn is_bound(env: &Env) -> bool {
    binding(env).is_some()
}

fn binding(env: &Env) -> Option<JsValue> {
    Reflect::get(env, &KV_BINDING.into()).ok().filter(JsValue::is_object)
}

/// The namespace of cached bytes.
#[derive(Clone)]
pub struct CacheNamespace {
    env: Rc<Env>,
}

fn away(error: impl std::fmt::Debug) -> Error {
    console_error!("Workers KV failed: {error:?}");
    Error::unavailable("the cache does not answer")
}

impl CacheNamespace {
    /// The namespace behind these bindings.
    pub fn new(env: &Rc<Env>) -> CacheNamespace {
        CacheNamespace { env: Rc::clone(env) }
    }

    async fn ask<T>(&self, call: impl AsyncFnOnce(&KvNamespace) -> std::result::Result<T, JsValue>) -> Result<T> {
        let namespace: KvNamespace = binding(&self.env).ok_or_else(|| away("it is not bound"))?.unchecked_into();
        match within(LONGEST, call(&namespace)).await {
            Some(outcome) => outcome.map_err(away),
            None => Err(away("no answer in time")),
        }
    }
}

impl Namespace for CacheNamespace {
    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let found = self.ask(async |namespace| namespace.get(name, "arrayBuffer").await).await?;
        Ok(found.is_object().then(|| Uint8Array::new(&found).to_vec()))
    }

    async fn put(&self, name: &str, value: &[u8], ttl: Ttl) -> Result<()> {
        let options = Object::new();
        // Seconds that a JavaScript number holds: they come of instants below 2^53.
        let seconds = JsValue::from_f64(ttl.as_secs_up() as f64);
        Reflect::set(&options, &"expirationTtl".into(), &seconds).map_err(away)?;
        let value = Uint8Array::from(value);
        self.ask(async |namespace| namespace.put(name, value, options).await).await.map(|_| ())
    }

    async fn delete(&self, name: &str) -> Result<()> {
        self.ask(async |namespace| namespace.delete(name).await).await.map(|_| ())
    }
}

impl Clock for CacheNamespace {
    fn now(&self) -> UnixMillis {
        now()
    }
}
