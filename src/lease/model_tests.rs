//! Random clients, faults and clock steps against a model of a lease in a few lines; and mutants that it must catch.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use futures_util::future::join_all;

use super::tests::{name, pause, person, request};
use super::*;
use crate::error::Kind;
use crate::store::memory::{Fault, Memory};
use crate::testing::{DrivenClock, Seeded, block_on};
use crate::time::Clock;

const CLIENTS: u64 = 5;
const NAMES: [&str; 3] = ["slot:1", "slot:2", "Condition:9"];

/// What is broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mutant {
    /// The highest fence goes when the lease does.
    FenceExpires,
    /// A revocation acts by whatever fence is in force.
    RevokeIgnoresFence,
    /// A grant does not look whether the lease is held.
    GrantIgnoresLease,
    /// A retry is not known as one.
    RetryForgotten,
    /// Writes do not hold to what was read.
    Unconditional,
}

/// The memory store with others between any two batches, and with what a mutant does to writes.
struct Rig {
    inner: Memory<DrivenClock>,
    mutant: Option<Mutant>,
}

impl Rig {
    fn mutate(&self, batch: &mut [Op]) {
        let lease_ends = batch.iter().find_map(|op| match op {
            Op::Put { expires, .. } => *expires,
            _ => None,
        });
        for op in batch {
            match (self.mutant, op) {
                (Some(Mutant::FenceExpires), Op::Put { key, expires, .. }) if key.starts_with("fence/") => {
                    *expires = lease_ends;
                }
                (Some(Mutant::Unconditional), Op::Put { condition, .. } | Op::Delete { condition, .. }) => {
                    *condition = Condition::Always;
                }
                _ => {}
            }
        }
    }
}

impl Store for Rig {
    async fn apply(&self, shard: Shard, mut batch: Vec<Op>) -> Result<Applied> {
        pause().await;
        self.mutate(&mut batch);
        self.inner.apply(shard, batch).await
    }
}

/// What a lease is, without a store: the last one granted or renewed, and the highest fence.
#[derive(Clone, Default)]
struct Model {
    last: Option<Lease>,
    highest: u64,
}

impl Model {
    fn live(&self, now: UnixMillis) -> Option<&Lease> {
        self.last.as_ref().filter(|lease| lease.expires > now)
    }

    fn held_by(&self, now: UnixMillis, by: u64, fence: u64) -> Option<&Lease> {
        self.live(now).filter(|lease| lease.user == person(by).user && lease.fence == fence)
    }

    /// What a grant must give, and the model after it.
    fn grant(&self, now: UnixMillis, by: u64, id: &RequestId, ttl: Ttl) -> (Granted, Model) {
        let Principal { user, name: holder, .. } = person(by);
        match self.live(now) {
            Some(lease) if lease.user == user && lease.request_id == *id => {
                (Granted::Again(lease.clone()), self.clone())
            }
            Some(lease) => (Granted::Held { holder: lease.holder.clone(), expires: lease.expires }, self.clone()),
            None => {
                let (fence, request_id, expires) = (self.highest + 1, id.clone(), now.plus(ttl));
                let lease = Lease { user, holder, request_id, fence, granted: now, expires, ttl };
                (Granted::New(lease.clone()), Model { last: Some(lease), highest: fence })
            }
        }
    }
}

/// Every outcome and fault that a run must have met.
const MET: [&str; 15] = [
    "granted",
    "granted again",
    "held",
    "renewed",
    "renew lost",
    "revoked",
    "revoke lost",
    "race won",
    "race held off",
    "expired",
    "came back with the clock",
    "fault before",
    "fault after a read",
    "fault after a write",
    "unknown found again by its retry",
];

/// One operation of one client.
#[derive(Clone, Debug)]
enum Step {
    Grant { by: u64, id: RequestId, ttl: Ttl },
    Renew { by: u64, fence: u64, ttl: Option<Ttl> },
    Revoke { by: u64, fence: u64 },
    Race { first: u64, clients: u64, ttl: Ttl },
    Clock(UnixMillis),
}

/// What an operation gave, in one type.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Granted(Granted),
    Renewed(std::result::Result<Lease, Lost>),
    Revoked(std::result::Result<(), Lost>),
}

struct Run {
    rig: Rig,
    clock: Rc<DrivenClock>,
    random: Seeded,
    models: [Model; NAMES.len()],
    /// Each fence that a client was told of, by name, with whom and until when: what the clients believe.
    told: BTreeMap<(usize, u64), (String, UnixMillis)>,
    /// Grants whose outcome the client does not know.
    unknown: BTreeSet<(usize, u64)>,
    met: BTreeMap<&'static str, u64>,
}

impl Run {
    fn new(seed: u64, mutant: Option<Mutant>) -> Run {
        let clock = Rc::new(DrivenClock(Cell::new(1_764_000_000_000)));
        Run {
            rig: Rig { inner: Memory::new(Rc::clone(&clock)), mutant },
            clock,
            random: Seeded::new(seed),
            models: Default::default(),
            told: BTreeMap::new(),
            unknown: BTreeSet::new(),
            met: BTreeMap::new(),
        }
    }

    fn meet(&mut self, what: &'static str) {
        assert!(MET.contains(&what), "{what}");
        *self.met.entry(what).or_default() += 1;
    }

    fn ttl(&self) -> Ttl {
        Ttl::from_secs(1 + self.random.below(60))
    }

    /// Mostly the right holder and fence, often one that is or was another's.
    fn claim(&self, at: usize) -> (u64, u64) {
        let model = &self.models[at];
        let anybody = self.random.below(CLIENTS);
        let holder = (0..CLIENTS).find(|by| model.last.as_ref().is_some_and(|lease| lease.user == person(*by).user));
        let by = if self.random.below(4) > 0 { holder.unwrap_or(anybody) } else { anybody };
        let fence = if self.random.below(4) > 0 { model.highest } else { self.random.below(model.highest + 2) };
        (by, fence)
    }

    fn choose(&self, at: usize) -> Step {
        match self.random.below(20) {
            0..=6 => {
                let id = request(&format!("r{}", self.random.below(2)));
                Step::Grant { by: self.random.below(CLIENTS), id, ttl: self.ttl() }
            }
            7..=9 => {
                let (by, fence) = self.claim(at);
                Step::Renew { by, fence, ttl: (self.random.below(2) == 0).then(|| self.ttl()) }
            }
            10..=12 => {
                let (by, fence) = self.claim(at);
                Step::Revoke { by, fence }
            }
            13..=14 => {
                Step::Race { first: self.random.below(CLIENTS), clients: 2 + self.random.below(4), ttl: self.ttl() }
            }
            _ => {
                let now = self.clock.now().0;
                Step::Clock(UnixMillis(match self.random.below(20) {
                    0 => now + self.random.below(600_000),
                    1 => now - self.random.below(600_000),
                    // To the instant at which a lease ends, or just before it.
                    2..=5 => {
                        let ends = self.models[at].last.as_ref().map_or(now, |lease| lease.expires.0);
                        ends.max(now + 1) - self.random.below(2)
                    }
                    _ => now + self.random.below(10_000),
                }))
            }
        }
    }

    async fn execute(&self, at: usize, step: &Step) -> Result<Outcome> {
        let (now, name) = (self.clock.now(), name(NAMES[at]));
        match step {
            Step::Grant { by, id, ttl } => {
                if self.rig.mutant == Some(Mutant::GrantIgnoresLease) {
                    let forget = Op::Delete { key: lease_key(&name), condition: Condition::Always };
                    self.rig.inner.apply(shard_of(&name), vec![forget]).await?;
                }
                let again = matches!(self.expect(at, step).0, Outcome::Granted(Granted::Again(_)));
                let forgotten = again && self.rig.mutant == Some(Mutant::RetryForgotten);
                let id = if forgotten { &request("another") } else { id };
                grant(&self.rig, now, &name, &person(*by), id, *ttl).await.map(Outcome::Granted)
            }
            Step::Renew { by, fence, ttl } => {
                renew(&self.rig, now, &name, &person(*by).user, *fence, *ttl).await.map(Outcome::Renewed)
            }
            Step::Revoke { by, fence } => {
                let ignored = self.rig.mutant == Some(Mutant::RevokeIgnoresFence);
                let fence = if ignored { self.models[at].highest } else { *fence };
                revoke(&self.rig, &name, &person(*by).user, fence).await.map(Outcome::Revoked)
            }
            Step::Race { .. } | Step::Clock(_) => panic!("{step:?} is no operation of one client"),
        }
    }

    /// What the step must give, and the model after it.
    fn expect(&self, at: usize, step: &Step) -> (Outcome, Model) {
        let (now, model) = (self.clock.now(), &self.models[at]);
        match step {
            Step::Grant { by, id, ttl } => {
                let (granted, after) = model.grant(now, *by, id, *ttl);
                (Outcome::Granted(granted), after)
            }
            Step::Renew { by, fence, ttl } => match model.held_by(now, *by, *fence) {
                None => (Outcome::Renewed(Err(Lost)), model.clone()),
                Some(lease) => {
                    let ttl = ttl.unwrap_or(lease.ttl);
                    let lease = Lease { ttl, expires: now.plus(ttl), ..lease.clone() };
                    (Outcome::Renewed(Ok(lease.clone())), Model { last: Some(lease), ..model.clone() })
                }
            },
            Step::Revoke { by, fence } => match model.held_by(now, *by, *fence) {
                None => (Outcome::Revoked(Err(Lost)), model.clone()),
                Some(_) => (Outcome::Revoked(Ok(())), Model { last: None, ..model.clone() }),
            },
            Step::Race { .. } | Step::Clock(_) => panic!("{step:?} is no operation of one client"),
        }
    }

    /// One operation of one client, with a fault one time in five.
    fn one(&mut self, at: usize, step: &Step) -> std::result::Result<(), String> {
        let batch = 1 + u32::try_from(self.random.below(2)).unwrap();
        match self.random.below(10) {
            0 => self.rig.inner.fail_at(batch, Fault::Before),
            1 => self.rig.inner.fail_at(batch, Fault::After),
            _ => {}
        }
        let (expected, after) = self.expect(at, step);
        let outcome = block_on(self.execute(at, step));
        self.rig.inner.heal();
        match outcome {
            Ok(outcome) if outcome == expected => {
                self.models[at] = after;
                self.note(at, step, &outcome)
            }
            Ok(outcome) => Err(format!("{outcome:?} instead of {expected:?}")),
            Err(error) if error.kind == Kind::Unavailable => {
                self.meet("fault before");
                Ok(())
            }
            // A fault after the first batch is one after a read.
            Err(error) if error.kind == Kind::OutcomeUnknown && batch == 1 => {
                self.meet("fault after a read");
                Ok(())
            }
            Err(error) if error.kind == Kind::OutcomeUnknown => {
                self.meet("fault after a write");
                self.models[at] = after;
                if let Outcome::Granted(Granted::New(lease)) = expected {
                    self.unknown.insert((at, lease.fence));
                }
                Ok(())
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// Counts an outcome and keeps what its client was told.
    fn note(&mut self, at: usize, step: &Step, outcome: &Outcome) -> std::result::Result<(), String> {
        match outcome {
            Outcome::Granted(Granted::New(lease)) => {
                self.meet("granted");
                return self.told_of(at, lease);
            }
            Outcome::Granted(Granted::Again(lease)) => {
                self.meet("granted again");
                if self.unknown.remove(&(at, lease.fence)) {
                    self.meet("unknown found again by its retry");
                    return self.told_of(at, lease);
                }
                self.told.insert((at, lease.fence), (lease.user.clone(), lease.expires));
            }
            Outcome::Granted(Granted::Held { .. }) => self.meet("held"),
            Outcome::Renewed(Ok(lease)) => {
                self.meet("renewed");
                // Whoever guessed the fence of a grant that was not heard of knows it now.
                self.unknown.remove(&(at, lease.fence));
                self.told.insert((at, lease.fence), (lease.user.clone(), lease.expires));
            }
            Outcome::Renewed(Err(Lost)) => self.meet("renew lost"),
            Outcome::Revoked(Ok(())) => {
                self.meet("revoked");
                if let Step::Revoke { fence, .. } = step {
                    self.told.remove(&(at, *fence));
                }
            }
            Outcome::Revoked(Err(Lost)) => self.meet("revoke lost"),
        }
        Ok(())
    }

    /// A client is told of a new grant: its fence must be above every one told of before.
    fn told_of(&mut self, at: usize, lease: &Lease) -> std::result::Result<(), String> {
        let before = self.told.range((at, 0)..=(at, u64::MAX)).next_back();
        if let Some(((_, fence), _)) = before
            && *fence >= lease.fence
        {
            return Err(format!("fence {} after {fence}", lease.fence));
        }
        self.told.insert((at, lease.fence), (lease.user.clone(), lease.expires));
        Ok(())
    }

    /// Several clients at once, each batch of one between those of the others.
    fn race(&mut self, at: usize, first: u64, clients: u64, ttl: Ttl) -> std::result::Result<(), String> {
        let steps: Vec<_> =
            (0..clients).map(|nth| Step::Grant { by: (first + nth) % CLIENTS, id: request("race"), ttl }).collect();
        let outcomes = block_on(join_all(steps.iter().map(|step| self.execute(at, step))));
        let outcomes: Vec<_> = outcomes.into_iter().collect::<Result<_>>().map_err(|error| error.to_string())?;
        let won = |outcome: &Outcome| matches!(outcome, Outcome::Granted(Granted::New(_)));
        // The winner may be anybody; it goes before the others in the order that explains what they were given.
        let mut order: Vec<_> = steps.iter().zip(&outcomes).collect();
        order.sort_by_key(|(_, outcome)| !won(outcome));
        for (step, outcome) in order {
            let (expected, after) = self.expect(at, step);
            if *outcome != expected {
                return Err(format!("{outcome:?} instead of {expected:?} in a race"));
            }
            self.models[at] = after;
            self.meet(if won(outcome) { "race won" } else { "race held off" });
            self.note(at, step, outcome)?;
        }
        Ok(())
    }

    fn clock_to(&mut self, to: UnixMillis) {
        let before = self.clock.now();
        self.clock.0.set(to.0);
        for at in 0..NAMES.len() {
            match (self.models[at].live(before).is_some(), self.models[at].live(to).is_some()) {
                (true, false) => self.meet("expired"),
                (false, true) => self.meet("came back with the clock"),
                _ => {}
            }
        }
    }

    /// What must hold after every step, whatever happened.
    fn hold(&self, at: usize) -> std::result::Result<(), String> {
        let now = self.clock.now();
        let found = block_on(look_up(&self.rig.inner, &name(NAMES[at]))).map_err(|error| error.to_string())?;
        if found.as_ref() != self.models[at].live(now) {
            return Err(format!("{found:?} is stored instead of {:?}", self.models[at].live(now)));
        }
        if let Some(lease) = &found
            && lease.fence != self.models[at].highest
        {
            return Err(format!("a live lease has fence {} and not {}", lease.fence, self.models[at].highest));
        }
        // Whoever believes to hold the lease by the highest fence is the one who does.
        let believed = self.told.get(&(at, self.models[at].highest)).filter(|(_, until)| *until > now);
        match (believed, &found) {
            (Some((user, _)), Some(lease)) if *user != lease.user => {
                Err(format!("{user} and {} both hold it", lease.user))
            }
            _ => Ok(()),
        }
    }
}

fn run(seed: u64, steps: u32, mutant: Option<Mutant>) -> std::result::Result<BTreeMap<&'static str, u64>, String> {
    let mut run = Run::new(seed, mutant);
    for number in 0..steps {
        let at = usize::try_from(run.random.below(3)).unwrap();
        let step = run.choose(at);
        let done = match &step {
            Step::Clock(to) => {
                run.clock_to(*to);
                Ok(())
            }
            Step::Race { first, clients, ttl } => run.race(at, *first, *clients, *ttl),
            step => run.one(at, step),
        };
        done.and_then(|()| run.hold(at)).map_err(|why| format!("step {number} of seed {seed}, {step:?}: {why}"))?;
    }
    Ok(run.met)
}

const SEED: u64 = 20_261_123;

#[test]
fn random_clients_never_share_a_lease() {
    println!("seed {SEED}");
    let met = run(SEED, 20_000, None).unwrap();
    for what in MET {
        println!("{:>6}  {what}", met.get(what).copied().unwrap_or_default());
    }
    for what in MET {
        assert!(met.contains_key(what), "nothing was {what}");
    }
}

#[test]
fn each_mutant_is_caught() {
    for mutant in [
        Mutant::FenceExpires,
        Mutant::RevokeIgnoresFence,
        Mutant::GrantIgnoresLease,
        Mutant::RetryForgotten,
        Mutant::Unconditional,
    ] {
        let caught = run(SEED, 20_000, Some(mutant));
        println!("{mutant:?}: {}", caught.expect_err(&format!("{mutant:?} was not caught")));
    }
}
