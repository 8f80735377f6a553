//! A deployment in one process: the clinic's object and the topics' on SQLite in memory, the store in memory, a driven
//! clock. What it lacks of the real one is the platform; what can go wrong between the parts is injected.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::Deref;
use std::rc::Rc;

use super::{DrivenClock, Seeded, SoftCipher, block_on};
use crate::access::audit::SPELL;
use crate::channel::{Topic, TopicReply, TopicRequest, object};
use crate::chart::cache::Looked;
use crate::chart::cache::read::Ports;
use crate::chart::cache::seal::Cipher;
use crate::chart::cache::tier::Tier;
use crate::chart::cache::window::Window;
use crate::clinic::courier::Outside;
use crate::clinic::{self, Clinic, ClinicReply, ClinicRequest, Desk};
use crate::config::Retention;
use crate::config::alerts::Rules;
use crate::error::{Error, Result};
use crate::http::Platform;
use crate::lease;
use crate::lease::native::Native;
use crate::session::Session;
use crate::store::memory::Memory;
use crate::store::sqlite::Sqlite;
use crate::time::{Clock, Entropy, Ttl, UnixMillis};
use crate::vitals::watch::Watch;

/// How alerts are pushed and escalated here.
pub const RULES: Rules =
    Rules { repeat: Ttl::from_secs(60), escalate: Ttl::from_secs(180), interval: Ttl::from_secs(10) };

/// A deployment in one process.
#[derive(Clone)]
pub struct Local(Rc<World>);

impl Deref for Local {
    type Target = World;

    fn deref(&self) -> &World {
        &self.0
    }
}

pub struct World {
    pub sql: Sqlite,
    pub clock: Rc<DrivenClock>,
    pub entropy: Seeded,
    pub watch: Watch,
    pub store: Memory<DrivenClock>,
    pub cache: Memory<DrivenClock>,
    pub leases: Native<DrivenClock>,
    pub topics: RefCell<BTreeMap<Topic, Sqlite>>,
    /// No topic answers.
    pub unreachable: Cell<bool>,
    /// Records are out of reach; heads are not.
    pub origin_down: Cell<bool>,
    /// Whether nothing can be put into the audit trail of readers.
    pub trail_down: Cell<bool>,
    /// The next delivery arrives and its answer is lost.
    pub reply_lost: Cell<bool>,
    /// How often the clinic's object was asked.
    pub asked: Cell<u32>,
    pub reports: RefCell<Vec<String>>,
    pub desk: Desk,
    pub tier: Rc<RefCell<Tier>>,
    pub window: Rc<RefCell<Window<Looked>>>,
    pub seats: Rc<RefCell<Window<Session>>>,
    pub said: Rc<RefCell<Window<()>>>,
    /// The restore to which its objects are brought.
    pub restored: Cell<UnixMillis>,
    cipher: SoftCipher,
}

impl Local {
    pub fn new() -> Local {
        Local::with_lease(Ttl(0))
    }

    /// Where readers may rely on what they were told for `lease`.
    pub fn with_lease(lease: Ttl) -> Local {
        let clock = Rc::new(DrivenClock(Cell::new(1_764_000_000_000)));
        let sql = Sqlite::open();
        clinic::prepare(&sql).unwrap();
        Local(Rc::new(World {
            sql,
            store: Memory::new(Rc::clone(&clock)),
            cache: Memory::new(Rc::clone(&clock)),
            leases: Native::open(Rc::clone(&clock)),
            clock,
            entropy: Seeded::new(5),
            watch: Watch::new(RULES),
            topics: RefCell::default(),
            unreachable: Cell::new(false),
            origin_down: Cell::new(false),
            trail_down: Cell::new(false),
            reply_lost: Cell::new(false),
            asked: Cell::new(0),
            reports: RefCell::default(),
            desk: Desk::new(lease, UnixMillis(0)),
            tier: Rc::new(RefCell::new(Tier::new(1 << 20))),
            window: Rc::new(RefCell::new(Window::new(lease))),
            seats: Rc::new(RefCell::new(Window::new(lease))),
            said: Rc::new(RefCell::new(Window::new(SPELL))),
            restored: Cell::new(UnixMillis(0)),
            cipher: SoftCipher::new(6),
        }))
    }

    /// Where records are kept elsewhere.
    pub fn at_origin(away: clinic::Away) -> Local {
        let world = Rc::into_inner(Local::new().0).unwrap();
        let desk = Desk::new(Ttl(0), UnixMillis(0)).away(Some(away));
        Local(Rc::new(World { desk, ..world }))
    }

    /// This deployment with the records of `backup`, and its topics too if `topics` says so, brought to the restore of now.
    pub fn brought_back(self, backup: Local, topics: bool) -> Local {
        let (ahead, backup) = (Rc::into_inner(self.0).unwrap(), Rc::into_inner(backup.0).unwrap());
        let restored = ahead.clock.now();
        let topics = if topics { backup.topics } else { ahead.topics };
        let world = World { sql: backup.sql, topics, restored: Cell::new(restored), ..ahead };
        clinic::catch_up(&world.sql, &world.entropy, restored, restored).unwrap();
        lease::sql::catch_up(&world.leases.sql, restored).unwrap();
        let desk = Desk::new(Ttl(0), restored);
        Local(Rc::new(World { desk, tier: Rc::new(RefCell::new(Tier::new(1 << 20))), ..world }))
    }

    pub fn pass(&self, ttl: Ttl) {
        self.clock.0.set(self.clock.0.get() + ttl.0);
    }
}

impl Clock for Local {
    fn now(&self) -> UnixMillis {
        self.clock.now()
    }
}

impl Entropy for Local {
    fn fill(&self, buffer: &mut [u8]) {
        self.entropy.fill(buffer);
    }
}

impl Clinic for Local {
    async fn ask(&self, request: ClinicRequest) -> Result<ClinicReply> {
        self.asked.set(self.asked.get() + 1);
        if self.origin_down.get() && matches!(request, ClinicRequest::Fill(_) | ClinicRequest::Query { .. }) {
            return Err(Error::unavailable("the origin does not answer"));
        }
        if self.trail_down.get() && matches!(request, ClinicRequest::Seen { .. }) {
            return Err(Error::unavailable("the audit trail takes nothing"));
        }
        let handled = clinic::handle(&self.sql, &self.desk, &self.entropy, &self.watch, self.now(), &request)?;
        self.pass(handled.wait);
        Ok(handled.reply)
    }
}

impl Outside for Local {
    type Sessions = Memory<DrivenClock>;
    type Leases = Native<DrivenClock>;

    fn sessions(&self) -> &Self::Sessions {
        &self.store
    }

    fn leases(&self) -> &Self::Leases {
        &self.leases
    }

    async fn topic(&self, topic: &Topic, request: TopicRequest) -> Result<TopicReply> {
        if self.unreachable.get() {
            return Err(Error::unavailable("the topic does not answer"));
        }
        let mut topics = self.topics.borrow_mut();
        let log = topics.entry(topic.clone()).or_insert_with(|| {
            let log = Sqlite::open();
            object::prepare(&log, &self.entropy, self.now()).unwrap();
            log
        });
        object::catch_up(log, &self.entropy, self.restored.get()).unwrap();
        let retention = Retention { age: Ttl::from_mins(60), brief: Ttl::from_mins(10), count: 1_000 };
        let reply = object::handle(&*log, &self.entropy, self.now(), retention, &request)?.reply;
        if self.reply_lost.replace(false) { Err(Error::outcome_unknown()) } else { Ok(reply) }
    }
}

impl Cipher for Local {
    async fn seal(&self, key: &[u8; 32], nonce: &[u8; 12], bound: &[u8], plain: &[u8]) -> Result<Vec<u8>> {
        self.cipher.seal(key, nonce, bound, plain).await
    }

    async fn open(&self, key: &[u8; 32], nonce: &[u8; 12], bound: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        self.cipher.open(key, nonce, bound, sealed).await
    }
}

impl Ports for Local {
    type Source = Local;
    type Cache = Memory<DrivenClock>;

    fn source(&self) -> Local {
        self.clone()
    }

    fn cache(&self) -> &Self::Cache {
        &self.cache
    }

    fn tier(&self) -> Rc<RefCell<Tier>> {
        Rc::clone(&self.tier)
    }

    fn window(&self) -> Rc<RefCell<Window<Looked>>> {
        Rc::clone(&self.window)
    }

    async fn pause(&self, ttl: Ttl) {
        self.pass(ttl);
    }

    fn background<W: Future<Output = ()> + 'static>(&self, work: impl FnOnce(Self) -> W) {
        block_on(work(self.clone()));
    }
}

impl Platform for Local {
    fn seats(&self) -> Rc<RefCell<Window<Session>>> {
        Rc::clone(&self.seats)
    }

    fn said(&self) -> Rc<RefCell<Window<()>>> {
        Rc::clone(&self.said)
    }

    fn report(&self, error: &Error, _request: &str) {
        self.reports.borrow_mut().push(error.to_string());
    }
}
