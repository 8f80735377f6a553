//! The same laws against what runs in other processes: the shards' objects inside workerd, and Redis over HTTP. The servers
//! are started by tests/store/laws.test.mjs, which runs [`table`] and prints what it says.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use futures_util::future::poll_fn;
use serde::Deserialize;
use serde_json::{Value, json};

use super::*;
use crate::config::stores::Redis as Access;
use crate::error::Error;
use crate::outgoing::{Http, Lost, Request, Response};
use crate::store::redis::{Judge, Redis};
use crate::testing::Seeded;
use crate::time::Entropy;

/// Where the servers are: the variable `BEDSIDE_LAWS`, in JSON.
#[derive(Deserialize)]
struct Servers {
    /// The module tests/store/laws.js on workerd.
    object: String,
    /// Redis behind each of the fronts.
    redis: Vec<Front>,
}

#[derive(Deserialize)]
pub(crate) struct Front {
    pub name: String,
    pub url: String,
    pub token: String,
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future that waits for other threads to its end.
pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return value;
        }
        thread::park();
    }
}

/// Runs `work` on a thread of its own, so that those who race truly do.
fn on_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> impl Future<Output = T> {
    let place = Arc::new(Mutex::new((None, None::<Waker>)));
    let theirs = Arc::clone(&place);
    thread::spawn(move || {
        let value = work();
        let mut place = theirs.lock().unwrap();
        place.0 = Some(value);
        if let Some(waker) = place.1.take() {
            waker.wake();
        }
    });
    poll_fn(move |context| {
        let mut place = place.lock().unwrap();
        place.1 = Some(context.waker().clone());
        place.0.take().map_or(Poll::Pending, Poll::Ready)
    })
}

#[derive(Clone)]
pub(crate) struct Wire {
    agent: ureq::Agent,
    clock: Rc<DrivenClock>,
    entropy: Rc<Seeded>,
}

impl Wire {
    pub fn new(clock: &Rc<DrivenClock>) -> Wire {
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        Wire { agent, clock: Rc::clone(clock), entropy: Rc::new(Seeded::new(3)) }
    }

    fn post(
        &self,
        url: String,
        headers: Vec<(std::borrow::Cow<'static, str>, String)>,
        body: Vec<u8>,
        within: Duration,
        wanted: &'static [&'static str],
    ) -> impl Future<Output = std::result::Result<Response, Lost>> {
        let agent = self.agent.clone();
        on_thread(move || {
            let mut request = agent.post(url).config().timeout_global(Some(within)).build();
            for (name, value) in headers {
                request = request.header(&*name, value);
            }
            let mut reply = request.send(&body[..]).map_err(|error| match error {
                ureq::Error::Timeout(_) => Lost::Late,
                _ => Lost::Broken,
            })?;
            let header = |name: &&'static str| Some((*name, reply.headers().get(*name)?.to_str().ok()?.to_owned()));
            let headers = wanted.iter().filter_map(header).collect();
            let status = reply.status().as_u16();
            let body = reply.body_mut().with_config().limit(1 << 26).read_to_vec().map_err(|_| Lost::Broken)?;
            Ok(Response { status, headers, body })
        })
    }
}

impl Http for Wire {
    async fn send(&self, request: &Request, within: Ttl) -> std::result::Result<Response, Lost> {
        let body = request.body.clone().into_bytes();
        self.post(request.url.clone(), request.headers.clone(), body, Duration::from_millis(within.0), request.wanted)
            .await
    }

    async fn pause(&self, ttl: Ttl) {
        on_thread(move || thread::sleep(Duration::from_millis(ttl.0))).await;
    }

    fn note(&self, sentence: &'static str) {
        println!("{sentence}");
    }
}

impl Clock for Wire {
    fn now(&self) -> UnixMillis {
        self.clock.now()
    }
}

impl Entropy for Wire {
    fn fill(&self, buffer: &mut [u8]) {
        self.entropy.fill(buffer);
    }
}

/// The real object of each shard, asked as the Worker asks it.
struct Object {
    wire: Wire,
    url: String,
    /// What its clock was last set to.
    at: Cell<u64>,
}

/// As in `edge::call`, which only wasm32 has: what goes before every message.
const FORMAT: u8 = 1;
const LONG: Duration = Duration::from_secs(30);

impl Store for Object {
    async fn apply(&self, shard: Shard, batch: Vec<Op>) -> Result<Applied> {
        let now = self.wire.clock.now().0;
        if self.at.replace(now) != now {
            // Nobody goes on before it is set.
            let set =
                wait(self.wire.post(format!("{}/clock", self.url), Vec::new(), now.to_string().into(), LONG, &[]));
            assert_eq!(set.unwrap().status, 200);
        }
        let message = postcard::to_extend(&batch, vec![FORMAT]).unwrap();
        let url = format!("{}/shards/{}", self.url, shard.name());
        let reply = self.wire.post(url, Vec::new(), message, LONG, &[]).await.unwrap();
        assert_eq!(reply.status, 200);
        assert_eq!(reply.body.first(), Some(&FORMAT));
        postcard::from_bytes::<Result<Applied>>(&reply.body[1..]).unwrap()
    }
}

/// One raw command.
fn command(wire: &Wire, front: &Front, command: &Value) -> Value {
    let headers = vec![("authorization".into(), format!("Bearer {}", front.token))];
    let reply = wait(wire.post(format!("{}/", front.url), headers, command.to_string().into(), LONG, &[])).unwrap();
    serde_json::from_slice::<Value>(&reply.body).unwrap()["result"].take()
}

/// Numbers go on where they were also after all data was lost, so that no write from before fits anything after.
fn numbers_go_on_after_a_wipe(wire: &Wire, front: &Front, redis: &Redis<Wire>) {
    let before = wait(version(redis, put("n", b"before", Condition::Always)));
    command(wire, front, &json!(["FLUSHALL"]));
    let late = wait(redis.apply(SHARD(), vec![put("n", b"late", Condition::Version(before))])).unwrap();
    assert_eq!(late, Applied::Refused { step: 0 });
    let after = wait(version(redis, put("n", b"after", Condition::Absent)));
    assert!(after > before, "{after} after {before}");
    let late = wait(redis.apply(SHARD(), vec![put("n", b"late", Condition::Version(before))])).unwrap();
    assert_eq!(late, Applied::Refused { step: 0 });
}

/// In service Redis's own clock judges: there a millisecond before the end, and gone at it.
fn the_servers_clock_judges(wire: &Wire, front: &Front, redis: &Redis<Wire>) {
    let time = || {
        let time = command(wire, front, &json!(["TIME"]));
        let part = |at: usize| time[at].as_str().unwrap().parse::<u64>().unwrap();
        part(0) * 1_000 + part(1) / 1_000
    };
    let end = time() + 250;
    let op = Op::Put { key: "o".into(), value: vec![1], condition: Condition::Always, expires: Some(UnixMillis(end)) };
    wait(version(redis, op));
    let mut seen = 0;
    loop {
        let (before, there, after) = (time(), wait(get(redis, "o")).is_some(), time());
        assert!(!there || before < end, "there at {before}, {} ms late", before - end);
        if !there {
            assert!(after >= end, "gone at {after}, {} ms early", end - after);
            break;
        }
        seen += 1;
    }
    assert!(seen > 0);
}

struct Table {
    broken: u32,
}

impl Table {
    fn hold(&mut self, backend: &str, law: &str, hold: impl FnOnce()) {
        let held = catch_unwind(AssertUnwindSafe(hold)).is_ok();
        self.broken += u32::from(!held);
        let row = json!({ "law": law, "backend": backend, "held": held });
        println!("\n@law {row}");
    }

    fn all<S: Store>(&mut self, backend: &str, open: impl FnOnce(&Rc<DrivenClock>) -> S) -> S {
        let clock = Rc::new(DrivenClock(Cell::new(1_000_000)));
        let store = open(&clock);
        for (law, future) in laws(&store, &clock) {
            clock.0.set(1_000_000);
            self.hold(backend, law, || wait(future));
        }
        clock.0.set(1_000_000);
        let law = "bytes_come_in_the_order_of_their_names_until_they_expire";
        self.hold(backend, law, || wait(bytes_come_in_the_order_of_their_names_until_they_expire(&store, &clock)));
        store
    }
}

#[test]
#[ignore = "tests/store/laws.test.mjs starts the servers that it needs"]
fn table() {
    let servers = std::env::var("BEDSIDE_LAWS").expect("BEDSIDE_LAWS says where the servers are");
    let servers: Servers = serde_json::from_str(&servers).unwrap();
    let mut table = Table { broken: 0 };
    table.all("memory", |clock| Memory::new(Rc::clone(clock)));
    table.all("SQL", |clock| SqliteStore::open(Rc::clone(clock)));
    let kv_clock = Rc::new(DrivenClock(Cell::new(1_000_000)));
    let kv = namespaced(Rc::clone(&kv_clock));
    let law = "bytes_come_in_the_order_of_their_names_until_they_expire";
    table.hold("KV", law, || wait(bytes_come_in_the_order_of_their_names_until_they_expire(&kv, &kv_clock)));
    table.all("object", |clock| Object { wire: Wire::new(clock), url: servers.object, at: Cell::new(0) });
    for front in &servers.redis {
        let open = |clock: &Rc<DrivenClock>, judge| {
            let access = Access { url: front.url.clone(), token: front.token.clone() };
            Redis::new(Wire::new(clock), Rc::new(access), Rc::default(), judge)
        };
        let store = table.all(&front.name, |clock| open(clock, Judge::Caller));
        let clock = Rc::new(DrivenClock(Cell::new(1_000_000)));
        let wire = Wire::new(&clock);
        table.hold(&front.name, "numbers_go_on_after_a_wipe", || numbers_go_on_after_a_wipe(&wire, front, &store));
        let serving = open(&clock, Judge::Redis);
        table.hold(&front.name, "the_servers_clock_judges", || the_servers_clock_judges(&wire, front, &serving));
    }
    assert_eq!(table.broken, 0, "laws were broken");
}

#[test]
fn an_object_that_is_away_is_no_empty_one() {
    let clock = Rc::new(DrivenClock(Cell::new(1)));
    let nowhere = Access { url: "http://127.0.0.1:9".into(), token: "t".into() };
    let redis = Redis::new(Wire::new(&clock), Rc::new(nowhere), Rc::default(), Judge::Redis);
    let away: Error = wait(redis.apply(SHARD(), vec![Op::get("a")])).unwrap_err();
    assert_eq!(away.kind, Kind::Unavailable);
}
