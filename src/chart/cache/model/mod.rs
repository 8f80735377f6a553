//! Readers, writers and fillers under faults, against an oracle of a few lines: no read is older than the last acknowledged
//! write, and what a writer that died had committed is seen by everybody once its mark has run out.
//!
//! Every await of a port is a place where the scheduler may let another go on, or end the task for good. The seed decides
//! all of it.

mod node;
mod world;

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use self::node::Node;
use self::world::{Backend, Kind, Mutant, PATIENTS, World};
use crate::testing::Seeded;

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// Runs `steps` steps and gives the world, or the first violation.
fn run(kind: Kind, mutant: Option<Mutant>, lease: u64, seed: u64, steps: u64) -> Result<Rc<World>, String> {
    let world = World::new(kind, mutant, lease, seed);
    let nodes: Vec<Node> = (0..4).map(|number| Node::new(&world, number)).collect();
    let dice = Seeded::new(seed ^ 0x5eed);
    let mut tasks: Vec<Task> = Vec::new();
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..steps {
        world.pass(&dice);
        tasks.extend(world.spawned.take());
        if tasks.len() < 12 {
            let node = nodes[usize::try_from(dice.below(4)).unwrap()].clone();
            let patient = usize::try_from(dice.below(u64::try_from(PATIENTS).unwrap())).unwrap();
            // With heads apart a write takes many more steps and keeps readers from the cache while it lasts.
            let often = if kind.is_apart() { 40 } else { 10 };
            tasks.push(match dice.below(often) {
                0 => Box::pin(node.write(Some(patient))),
                1 if dice.below(2) == 0 => Box::pin(node.write(None)),
                n if n % 2 == 0 => Box::pin(node.read(patient, true)),
                _ => Box::pin(node.read(patient, false)),
            });
        }
        let chosen = usize::try_from(dice.below(u64::try_from(tasks.len()).unwrap())).unwrap();
        if dice.below(300) == 0 {
            world.counts.add("death at an await");
            drop(tasks.swap_remove(chosen));
        } else if let Poll::Ready(()) = tasks[chosen].as_mut().poll(&mut context) {
            drop(tasks.swap_remove(chosen));
        }
        if let Some(violation) = world.violation.take() {
            return Err(violation);
        }
    }
    Ok(world)
}

/// What must have happened, so that the run shows anything.
const ALWAYS: [&str; 14] = [
    "hit",
    "hit in memory",
    "filled",
    "collapsed",
    "changed",
    "voided fill",
    "acknowledged write",
    "death at an await",
    "failed before",
    "lost after landing",
    "duplicate",
    "delayed and reordered",
    "slow",
    "clock step",
];
const APART: [&str; 3] = ["refused commit", "read while writing", "mark outlived its writer"];
const LEASED: [&str; 3] = ["read on a lease", "write waited for a lease", "clock seen stepping back"];

/// Runs `steps` steps, and as many again under the next seed where something that must happen never did.
fn check(name: &str, kind: Kind, lease: u64, steps: u64) {
    let apart: &[_] = if kind.is_apart() { &APART } else { &[] };
    let leased: &[_] = if lease > 0 { &LEASED } else { &[] };
    let mut never: Vec<&str> = ALWAYS.iter().chain(apart).chain(leased).copied().collect();
    for seed in SEEDS {
        let world =
            run(kind, None, lease, seed, steps).unwrap_or_else(|violation| panic!("{name}, seed {seed}: {violation}"));
        println!("{name}, seed {seed}, {steps} steps: {:?}", world.counts.0.borrow());
        never.retain(|what| world.counts.of(what) == 0);
        if never.is_empty() {
            return;
        }
    }
    panic!("{name}: never: {never:?}");
}

/// The first is enough for as many steps as run natively.
const SEEDS: std::ops::Range<u64> = 28..32;

const STEPS: u64 = 100_000;

#[test]
fn heads_on_a_store_in_memory() {
    check("heads apart, memory", Kind::Apart(Backend::Memory), 0, STEPS);
    check("heads apart, memory, leases", Kind::Apart(Backend::Memory), 300, STEPS);
}

#[test]
fn heads_on_a_store_in_sql() {
    check("heads apart, sql", Kind::Apart(Backend::Sql), 0, STEPS);
    check("heads apart, sql, leases", Kind::Apart(Backend::Sql), 300, STEPS);
}

#[test]
fn heads_with_the_records_in_sql() {
    check("heads with records, sql", Kind::Together, 0, STEPS);
    check("heads with records, sql, leases", Kind::Together, 300, STEPS);
}

#[test]
#[ignore = "tests/store/charts.test.mjs starts the Redis that it needs"]
fn heads_on_a_real_redis() {
    check("heads apart, Redis", Kind::Apart(Backend::Redis), 0, STEPS / 10);
    check("heads apart, Redis, leases", Kind::Apart(Backend::Redis), 300, STEPS / 10);
}

#[test]
fn each_mutant_is_caught() {
    let apart = Kind::Apart(Backend::Memory);
    let mutants = [
        (Mutant::FillUnchecked, apart, 0),
        (Mutant::NoMark, apart, 0),
        (Mutant::NoDeadline, apart, 0),
        (Mutant::GenerationIgnored, apart, 0),
        (Mutant::NoLeaseWait, apart, 300),
        (Mutant::FillUnchecked, Kind::Together, 0),
        (Mutant::GenerationIgnored, Kind::Together, 0),
        (Mutant::NoLeaseWait, Kind::Together, 300),
    ];
    for (mutant, kind, lease) in mutants {
        let caught =
            (1..=30).find_map(|seed| run(kind, Some(mutant), lease, seed, STEPS / 2).err().map(|why| (seed, why)));
        let (seed, why) = caught.unwrap_or_else(|| panic!("{mutant:?} on {kind:?} was not caught"));
        println!("{mutant:?} on {kind:?}: caught with seed {seed}: {why}");
    }
}
