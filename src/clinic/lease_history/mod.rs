//! Histories of concurrent clients of one lease, with faults, put before the [`checker`]; and mutants that it must catch.
//!
//! Clients, network and clock are driven by one seed. A message may be delayed, lost, delivered twice, the second time long
//! after; a reply may be lost; the clock creeps, steps to the instant at which a lease ends, and jumps by up to ten minutes
//! either way; the object is evicted, the Redis is killed, emptied, restarted. What a client writes goes through the fence
//! table of the records. The same driver runs over both backends: an object's SQL in `cargo test`, a redis-server's scripts
//! from tests/store/lease-histories.test.mjs.

mod checker;
mod net;
mod object;
mod redis;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use self::checker::{Asked, History, Life, Operation, Saw, Violation, check};
use self::net::{Fate, Leg, Net};
use self::object::Object;
use self::redis::OnRedis;
use crate::chart::fences::{self, Fence};
use crate::error::{Kind, Result};
use crate::lease::{Answer, Ask, Asker, Lease, LeaseName, Leases, RequestId, Told};
use crate::store::sqlite::Sqlite;
use crate::time::Ttl;

const CLIENTS: usize = 4;
const OPERATIONS: usize = 50;
const SEED: u64 = 20_261_125;

/// What is broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mutant {
    /// The records do not look at the fence.
    FenceUnchecked,
    /// The highest fence goes: in an object when the lease does; with a Redis that is wiped.
    FenceForgotten,
    /// A grant does not look whether the lease is held.
    GrantIgnoresLease,
    /// A revocation acts by whatever fence is in force.
    RevokeIgnoresFence,
    /// A renewal acts up to five seconds after the end.
    RenewsTooLate,
    /// A retry is not known as one.
    RetryForgotten,
    /// In Redis, what was decided is written over whatever came between.
    SwapUncompared,
    /// In Redis, what was decided is written whatever the clock says by then.
    SwapUntimed,
    /// In Redis, whoever a lease is passed to gets the fence of before.
    PassKeepsFence,
}

const MUTANTS: [Mutant; 6] = [
    Mutant::FenceUnchecked,
    Mutant::FenceForgotten,
    Mutant::GrantIgnoresLease,
    Mutant::RevokeIgnoresFence,
    Mutant::RenewsTooLate,
    Mutant::RetryForgotten,
];

/// Every outcome and fault that the histories of every backend must have met, besides its own.
const MET: [&str; 24] = [
    "granted",
    "granted again",
    "had its turn",
    "held",
    "renewed",
    "renewal lost",
    "revoked",
    "revocation lost",
    "broken",
    "breaking lost",
    "seen held",
    "seen free",
    "committed",
    "refused by the fence",
    "unknown",
    "unavailable",
    "delayed",
    "request lost",
    "reply lost",
    "delivered twice",
    "jumped ahead",
    "jumped back",
    "ended in mid-operation",
    "swept",
];

/// A backend behind the network.
trait Backend: Leases + Clone + 'static {
    /// The faults of its own.
    const FAULTS: &'static [&'static str];
    /// Dies in one way or another; gives whether it has lost its data.
    fn fail(&self) -> bool;
    /// Ends what is over, as its alarm does.
    fn sweep(&self) -> impl Future<Output = ()>;
}

/// What became of an operation.
type Outcome = (Option<Saw>, Option<u64>, &'static str);
type UnderWay<T> = Pin<Box<dyn Future<Output = T>>>;

#[derive(Default)]
struct Client {
    /// Its operation under way.
    pending: Option<(usize, UnderWay<Outcome>)>,
    fence: Option<u64>,
    /// One that it had before.
    old: Option<u64>,
    request: u64,
    /// Whether the last request's outcome is not known.
    retries: bool,
}

struct World<B> {
    net: Rc<Net>,
    backend: B,
    records: Rc<Sqlite>,
    mutant: Option<Mutant>,
    clients: Vec<Client>,
    sweep: Option<UnderWay<()>>,
    history: History,
    place: u64,
    /// When the lease ends, as was last told.
    ends: Option<u64>,
}

fn name() -> LeaseName {
    LeaseName::parse("slot:1").unwrap()
}

fn life(lease: &Lease) -> Life {
    // A mutant makes a request of its own of every retry.
    let request = lease.request_id.as_str().split('_').next().unwrap().to_owned();
    Life { fence: lease.fence, user: lease.user.clone(), request, expires: lease.expires.0 }
}

/// What an answer says.
fn outcome(asked: &Asked, answer: Result<Answer>) -> Outcome {
    let Answer { told, at } = match answer {
        Ok(answer) => answer,
        // Certainly not done, or not to be known.
        Err(error) if error.kind == Kind::Unavailable => return (None, None, "unavailable"),
        Err(error) => {
            assert_eq!(error.kind, Kind::OutcomeUnknown, "{error}");
            return (None, None, "unknown");
        }
    };
    let (saw, what) = match (&told, asked) {
        (Told::Granted { lease, again: false }, _) => (Saw::New(life(lease)), "granted"),
        (Told::Granted { lease, .. }, _) => {
            (Saw::Own(life(lease)), if lease.sure { "granted again" } else { "had its turn" })
        }
        (Told::Held { lease, .. }, _) => (Saw::Live(life(lease)), "held"),
        (Told::Renewed(lease), _) => (Saw::Own(life(lease)), "renewed"),
        (Told::Freed, _) => (Saw::Ended, "revoked"),
        (Told::Broken(_), _) => (Saw::Ended, "broken"),
        (Told::Lost, Asked::Renew { .. }) => (Saw::Lost, "renewal lost"),
        (Told::Lost, Asked::Break { .. }) => (Saw::Lost, "breaking lost"),
        (Told::Lost, _) => (Saw::Lost, "revocation lost"),
        (Told::Seen { lease: Some(lease), .. }, _) => (Saw::Live(life(lease)), "seen held"),
        (Told::Seen { lease: None, .. }, _) => (Saw::Free, "seen free"),
    };
    // When something was freed is of no interest to anybody, and Redis does not say it.
    let at = (!matches!(told, Told::Freed)).then_some(at.0);
    (Some(saw), at, what)
}

impl<B: Backend> World<B> {
    fn new(net: Rc<Net>, backend: B, mutant: Option<Mutant>) -> World<B> {
        let records = Rc::new(Sqlite::open());
        fences::prepare(&*records).unwrap();
        let clients = (0..CLIENTS).map(|_| Client::default()).collect();
        let history = History { clock: vec![(0, net.now().0)], ..History::default() };
        World { net, backend, records, mutant, clients, sweep: None, history, place: 0, ends: None }
    }

    fn next_place(&mut self) -> u64 {
        self.place += 1;
        self.place
    }

    /// A client asks for something.
    fn call(&mut self, by: usize) {
        let user = format!("u{by}");
        let net = Rc::clone(&self.net);
        let ttl = 1_000 * (1 + net.random.below(20));
        let at = self.history.operations.len();
        let wants = net.random.below(14);
        let client = &mut self.clients[by];
        let fence = if net.one_in(6) { client.old.or(client.fence) } else { client.fence };
        let asked = match (wants, fence) {
            (0..=2, Some(fence)) => Asked::Renew { user, fence, ttl },
            (3..=4, Some(fence)) => Asked::Revoke { user, fence },
            (5..=8, Some(fence)) => Asked::Commit { fence },
            (9, Some(fence)) => Asked::Break { fence },
            (10..=11, _) => Asked::Look,
            _ => {
                if !std::mem::take(&mut client.retries) && !net.one_in(5) {
                    client.request += 1;
                }
                Asked::Grant { user, request: format!("r{}", client.request) }
            }
        };
        let called = self.next_place();
        self.history.operations.push(Operation {
            asked: asked.clone(),
            saw: None,
            at: None,
            called,
            returned: u64::MAX,
        });
        let future: UnderWay<Outcome> = if let Asked::Commit { fence } = asked {
            let (records, checks) = (Rc::clone(&self.records), self.mutant != Some(Mutant::FenceUnchecked));
            Box::pin(commit(net, records, fence, checks))
        } else {
            let ask = match &asked {
                Asked::Grant { user, request } => {
                    let forgotten = self.mutant == Some(Mutant::RetryForgotten);
                    let request = if forgotten { format!("{request}_{at}") } else { request.clone() };
                    Ask::Grant {
                        asker: Asker { user: user.clone(), name: user.clone() },
                        request_id: RequestId::parse(&request).unwrap(),
                        ttl: Ttl(ttl),
                        wait: net.one_in(2).then_some(Ttl::from_secs(30)),
                    }
                }
                Asked::Renew { user, fence, .. } => {
                    Ask::Renew { user: user.clone(), fence: *fence, ttl: Some(Ttl(ttl)) }
                }
                Asked::Revoke { user, fence } => Ask::Revoke { user: user.clone(), fence: *fence },
                Asked::Break { fence } => Ask::Break { fence: *fence, by: "admin".into(), reason: "test".into() },
                Asked::Look | Asked::Commit { .. } => Ask::LookUp,
            };
            let backend = self.backend.clone();
            Box::pin(async move { outcome(&asked, backend.ask(&name(), ask).await) })
        };
        self.clients[by].pending = Some((at, future));
    }

    /// Lets every future go as far as it can.
    fn poll(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        for by in 0..CLIENTS {
            let Some((at, future)) = &mut self.clients[by].pending else { continue };
            self.net.current.set(*at);
            if let Poll::Ready(outcome) = future.as_mut().poll(&mut context) {
                let at = *at;
                self.hear(by, at, outcome);
            }
        }
        // What a sweep sends again is nobody's operation: it only ends what is over.
        self.net.current.set(usize::MAX);
        if self.sweep.as_mut().is_some_and(|sweep| sweep.as_mut().poll(&mut context).is_ready()) {
            self.sweep = None;
        }
    }

    /// A client hears.
    fn hear(&mut self, by: usize, at: usize, (saw, instant, what): Outcome) {
        self.net.meet(what);
        let place = self.next_place();
        let operation = &mut self.history.operations[at];
        if saw.is_some() {
            operation.returned = place;
        }
        (operation.saw, operation.at) = (saw.clone(), instant);
        let is_grant = matches!(operation.asked, Asked::Grant { .. });
        let client = &mut self.clients[by];
        client.pending = None;
        match saw {
            None => client.retries = is_grant,
            Some(Saw::New(life) | Saw::Own(life)) => {
                if client.fence != Some(life.fence) {
                    client.old = client.fence.replace(life.fence);
                }
                self.ends = Some(life.expires);
            }
            Some(Saw::Live(life)) => self.ends = Some(life.expires),
            // Whoever slept past its lease does not know, and writes.
            Some(Saw::Lost | Saw::Ended | Saw::Refused) if self.net.one_in(2) => client.old = client.fence.take(),
            _ => {}
        }
    }

    fn clock_to(&mut self, to: u64) {
        let now = self.net.now().0;
        if self.ends.is_some_and(|ends| now < ends && ends <= to)
            && self.clients.iter().any(|one| one.pending.is_some())
        {
            self.net.meet("ended in mid-operation");
        }
        // Time goes on by what the clock does not jump.
        let steps = to.saturating_sub(now).min(30_000);
        self.net.pass(Ttl(steps));
        self.net.clock.0.set(to);
        let place = self.next_place();
        self.history.clock.push((place, to));
    }

    fn step_clock(&mut self) {
        let now = self.net.now().0;
        let ends = self.ends.filter(|ends| (now..now + 30_000).contains(ends)).unwrap_or(now + 50);
        match self.net.random.below(40) {
            0 => {
                self.net.meet("jumped ahead");
                self.clock_to(now + self.net.random.below(600_000));
            }
            1 => {
                self.net.meet("jumped back");
                self.clock_to(now - self.net.random.below(600_000));
            }
            // To the instant at which a lease ends, or just before it.
            2..=6 => self.clock_to(ends.max(now + 1) - self.net.random.below(2)),
            _ => self.clock_to(now + self.net.random.below(500)),
        }
    }

    fn run(mut self) -> (History, BTreeMap<&'static str, u64>) {
        loop {
            self.poll();
            let by = usize::try_from(self.net.random.below(u64::try_from(CLIENTS).unwrap())).unwrap();
            match self.net.random.below(24) {
                0..=2 => self.step_clock(),
                3 if self.net.one_in(8) => {
                    let place = self.next_place();
                    if self.backend.fail() {
                        self.history.wipes.push(place);
                    }
                }
                4 => self.net.deliver_stray(),
                5 if self.sweep.is_none() => {
                    self.net.meet("swept");
                    let backend = self.backend.clone();
                    self.sweep = Some(Box::pin(async move { backend.sweep().await }));
                }
                6..=17 => {
                    if let Some(Operation { asked, called, .. }) =
                        self.net.open_one().and_then(|at| self.history.operations.get(at)).cloned()
                    {
                        let double = Operation { asked, saw: None, at: None, called, returned: u64::MAX };
                        self.history.operations.push(double);
                    }
                }
                _ if self.clients[by].pending.is_some() => {}
                _ if self.history.operations.len() < OPERATIONS => self.call(by),
                _ if self.clients.iter().all(|client| client.pending.is_none()) => {
                    return (self.history, self.net.met.take());
                }
                _ => {}
            }
        }
    }
}

/// A write to what the lease guards.
async fn commit(net: Rc<Net>, records: Rc<Sqlite>, fence: u64, checks: bool) -> Outcome {
    let write = move || {
        let shown = Fence { name: name().to_string(), fence };
        if checks && fences::is_stale(&*records, &shown).unwrap() {
            return (Some(Saw::Refused), None, "refused by the fence");
        }
        fences::shown(&*records, &shown).unwrap();
        (Some(Saw::Committed), None, "committed")
    };
    match net.cross(Leg::Request).await {
        Fate::IsLost => return (None, None, "unknown"),
        Fate::Arrives => {}
        Fate::Doubles => {
            let again = write.clone();
            net.stray(move || drop(again()));
        }
    }
    let outcome = write();
    if net.cross(Leg::Reply).await == Fate::IsLost { (None, None, "unknown") } else { outcome }
}

/// Runs history number `number`.
fn history<B: Backend>(
    number: u64,
    make: &impl Fn(&Rc<Net>, Option<Mutant>) -> B,
    mutant: Option<Mutant>,
) -> (Option<Violation>, History, BTreeMap<&'static str, u64>) {
    let net = Net::new(SEED + number);
    let backend = make(&net, mutant);
    let (history, met) = World::new(net, backend, mutant).run();
    (check(&history).err(), history, met)
}

/// No history breaks a law; every outcome and fault occurred.
fn all_hold<B: Backend>(count: u64, make: impl Fn(&Rc<Net>, Option<Mutant>) -> B) {
    let mut all: BTreeMap<&str, u64> = BTreeMap::new();
    let mut operations = 0;
    for number in 0..count {
        let (verdict, history, met) = history(number, &make, None);
        if let Some(violation) = verdict {
            let shown: Vec<_> =
                history.operations.iter().enumerate().map(|(at, one)| format!("{at} {one:?}")).collect();
            panic!(
                "history {number}: {violation:?}\n{}\nclock {:?}\nwipes {:?}",
                shown.join("\n"),
                history.clock,
                history.wipes
            );
        }
        operations += history.operations.len();
        for (what, times) in met {
            *all.entry(what).or_default() += times;
        }
    }
    println!("@histories {count} of {operations} operations, seed {SEED}, no law broken");
    for what in MET.iter().chain(B::FAULTS) {
        let times = all.get(what).copied().unwrap_or_default();
        println!("@met {times:>7}  {what}");
        assert_ne!(times, 0, "nothing was {what}");
    }
}

/// Every mutant breaks one.
fn all_are_caught<B: Backend>(mutants: &[Mutant], make: impl Fn(&Rc<Net>, Option<Mutant>) -> B) {
    for mutant in mutants {
        // That the clock is set back between a read and its swap is rare: the first that shows it is not far from there.
        let first = if *mutant == Mutant::SwapUntimed { 600 } else { 0 };
        let caught = (first..first + 1_000).find_map(|number| Some((number, history(number, &make, Some(*mutant)).0?)));
        let (number, violation) = caught.unwrap_or_else(|| panic!("{mutant:?} was not caught"));
        println!("@mutant {mutant:?} is caught by history {number}: {}", violation.law);
    }
}

/// `HISTORIES`, 200 where it does not say.
fn count() -> u64 {
    std::env::var("HISTORIES").map_or(200, |text| text.parse().unwrap())
}

#[test]
fn histories_on_an_object_are_those_of_a_lease() {
    all_hold(count(), Object::new);
}

#[test]
fn each_mutant_of_the_object_is_caught() {
    all_are_caught(&MUTANTS, Object::new);
}

/// Both on a Redis.
#[test]
#[ignore = "tests/store/lease-histories.test.mjs starts the Redis that it needs"]
fn histories_on_redis() {
    let server = Rc::new(RefCell::new(redis::Server::start(std::env::var("REDIS_SERVER").unwrap())));
    server.borrow_mut().passes_on_as_the_rules_do();
    all_hold(count(), |net, mutant| OnRedis::new(net, &server, mutant));
    let own = [Mutant::SwapUncompared, Mutant::SwapUntimed, Mutant::PassKeepsFence];
    let mutants = [&MUTANTS[..], &own].concat();
    all_are_caught(&mutants, |net, mutant| OnRedis::new(net, &server, mutant));
}
