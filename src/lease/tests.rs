//! Leases on both native backends, on a driven clock.

use std::cell::Cell;
use std::rc::Rc;

use futures_util::future::join_all;

use super::*;
use crate::access::Role;
use crate::error::Kind;
use crate::store::memory::{Fault, Memory};
use crate::store::sqlite::SqliteStore;
use crate::testing::{DrivenClock, block_on};
use crate::time::Clock;

/// Lets whoever else is under way go first, once.
pub(super) async fn pause() {
    let mut paused = false;
    std::future::poll_fn(|_| {
        if std::mem::replace(&mut paused, true) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

/// A store whose callers truly race: others come between any two batches of one.
struct Slow<'a, S>(&'a S);

impl<S: Store> Store for Slow<'_, S> {
    async fn apply(&self, shard: Shard, batch: Vec<Op>) -> Result<Applied> {
        pause().await;
        self.0.apply(shard, batch).await
    }
}

pub(super) fn person(number: u64) -> Principal {
    Principal {
        user: format!("user-{number}"),
        name: format!("Person {number}"),
        role: Role::Nurse,
        patient: None,
        wards: Vec::new(),
        patients: Vec::new(),
    }
}

pub(super) fn name(text: &str) -> LeaseName {
    LeaseName::parse(text).unwrap()
}

pub(super) fn request(text: &str) -> RequestId {
    RequestId::parse(text).unwrap()
}

async fn ask(store: &impl Store, clock: &DrivenClock, by: u64, id: &str) -> Granted {
    grant(store, clock.now(), &name("bed:1"), &person(by), &request(id), USUAL).await.unwrap()
}

/// The fence of a lease that must be granted.
async fn granted(store: &impl Store, clock: &DrivenClock, by: u64, id: &str) -> u64 {
    match ask(store, clock, by, id).await {
        Granted::New(lease) => lease.fence,
        other => panic!("{other:?}"),
    }
}

async fn renewed(
    store: &impl Store,
    clock: &DrivenClock,
    by: u64,
    fence: u64,
) -> std::result::Result<UnixMillis, Lost> {
    let outcome = renew(store, clock.now(), &name("bed:1"), &person(by).user, fence, None).await.unwrap();
    outcome.map(|lease| lease.expires)
}

async fn revoked(store: &impl Store, by: u64, fence: u64) -> std::result::Result<(), Lost> {
    revoke(store, &name("bed:1"), &person(by).user, fence).await.unwrap()
}

fn pass(clock: &DrivenClock, ttl: Ttl) {
    clock.0.set(clock.0.get() + ttl.0);
}

async fn one_of_five_racing_granters_wins(store: &impl Store, clock: &DrivenClock) {
    let slow = Slow(store);
    let (slow, expires) = (&slow, clock.now().plus(USUAL));
    for round in 1..=3 {
        let race = (0..5).map(|by| async move { (by, ask(slow, clock, by, "r").await) });
        let outcomes = join_all(race).await;
        let won: Vec<_> = outcomes.iter().filter(|(_, outcome)| matches!(outcome, Granted::New(_))).collect();
        let [(winner, Granted::New(lease))] = won.as_slice() else { panic!("{outcomes:?}") };
        assert_eq!(lease.fence, round, "a lost race costs no fence");
        let held = Granted::Held { holder: person(*winner).name, expires };
        assert_eq!(outcomes.iter().filter(|(_, outcome)| *outcome == held).count(), 4, "{outcomes:?}");
        revoked(store, *winner, round).await.unwrap();
    }
}

async fn it_is_free_at_exactly_its_instant(store: &impl Store, clock: &DrivenClock) {
    let fence = granted(store, clock, 1, "a").await;
    pass(clock, Ttl(USUAL.0 - 1));
    assert!(matches!(ask(store, clock, 2, "b").await, Granted::Held { .. }));
    assert_eq!(look_up(store, &name("bed:1")).await.unwrap().unwrap().fence, fence);
    pass(clock, Ttl(1));
    assert_eq!(look_up(store, &name("bed:1")).await.unwrap(), None);
    assert_eq!(renewed(store, clock, 1, fence).await, Err(Lost), "too late by nothing at all");
    assert_eq!(granted(store, clock, 2, "b").await, fence + 1);
}

async fn fences_grow_across_expiry_and_revocation(store: &impl Store, clock: &DrivenClock) {
    for fence in 1..=6 {
        assert_eq!(granted(store, clock, fence, "r").await, fence);
        if fence % 2 == 0 {
            revoked(store, fence, fence).await.unwrap();
        } else {
            pass(clock, Ttl::from_mins(60 * 24 * 365));
        }
    }
    let other = grant(store, clock.now(), &name("bed:2"), &person(1), &request("r"), USUAL).await.unwrap();
    assert!(matches!(other, Granted::New(Lease { fence: 1, .. })), "each name has its own");
}

async fn a_renewal_moves_the_end_and_nothing_else(store: &impl Store, clock: &DrivenClock) {
    let fence = granted(store, clock, 1, "a").await;
    for _ in 0..3 {
        pass(clock, Ttl(USUAL.0 - 1));
        assert_eq!(renewed(store, clock, 1, fence).await, Ok(clock.now().plus(USUAL)));
    }
    let longer = Ttl::from_mins(2);
    let renewed_for = |ttl| async move {
        renew(store, clock.now(), &name("bed:1"), &person(1).user, fence, ttl).await.unwrap().unwrap()
    };
    assert_eq!(renewed_for(Some(longer)).await.ttl, longer);
    let lease = renewed_for(None).await;
    assert_eq!((lease.ttl, lease.expires), (longer, clock.now().plus(longer)), "it keeps what it was last given");
    assert_eq!(ask(store, clock, 1, "a").await, Granted::Again(lease));
}

async fn a_request_is_granted_once(store: &impl Store, clock: &DrivenClock) {
    let fence = granted(store, clock, 1, "a").await;
    pass(clock, Ttl(5));
    let Granted::Again(lease) = ask(store, clock, 1, "a").await else { panic!() };
    assert_eq!((lease.fence, lease.expires), (fence, lease.granted.plus(USUAL)));
    assert!(matches!(ask(store, clock, 1, "b").await, Granted::Held { .. }), "another request of the same person");
    assert!(matches!(ask(store, clock, 2, "a").await, Granted::Held { .. }), "the same id, another person");
    revoked(store, 1, fence).await.unwrap();
    assert_eq!(granted(store, clock, 1, "a").await, fence + 1, "what has ended is not given again");
}

async fn only_holder_and_fence_together_count(store: &impl Store, clock: &DrivenClock) {
    assert_eq!(renewed(store, clock, 1, 1).await, Err(Lost));
    assert_eq!(revoked(store, 1, 1).await, Err(Lost));
    let stale = granted(store, clock, 1, "a").await;
    pass(clock, USUAL);
    let fence = granted(store, clock, 2, "b").await;
    // The first holder woke up: by its own fence, and by the new one, which it may have seen.
    for (by, with) in [(1, stale), (1, fence), (2, stale), (2, fence + 1)] {
        assert_eq!(renewed(store, clock, by, with).await, Err(Lost), "{by} {with}");
        assert_eq!(revoked(store, by, with).await, Err(Lost), "{by} {with}");
    }
    assert_eq!(look_up(store, &name("bed:1")).await.unwrap().unwrap().user, person(2).user);
    assert_eq!(revoked(store, 2, fence).await, Ok(()));
    assert_eq!(revoked(store, 2, fence).await, Err(Lost));
    // The same person again: the fence of before is as stale as anybody's.
    let again = granted(store, clock, 2, "c").await;
    assert_eq!(revoked(store, 2, fence).await, Err(Lost));
    assert_eq!(revoked(store, 2, again).await, Ok(()));
}

async fn a_renewal_and_a_revocation_do_not_undo_each_other(store: &impl Store, clock: &DrivenClock) {
    let fence = granted(store, clock, 1, "a").await;
    let slow = Slow(store);
    let (renewal, revocation) = futures_util::join!(renewed(&slow, clock, 1, fence), revoked(&slow, 1, fence));
    assert_eq!(revocation, Ok(()));
    assert!(renewal.is_ok(), "it came first");
    assert_eq!(look_up(store, &name("bed:1")).await.unwrap(), None, "what was revoked stays so");
}

async fn fences_end_below_2_to_the_53(store: &impl Store, clock: &DrivenClock) {
    let set = |value: u64| Op::Put {
        key: fence_key(&name("bed:1")),
        value: value.to_string().into_bytes(),
        condition: Condition::Always,
        expires: None,
    };
    store.apply(shard_of(&name("bed:1")), vec![set(MAX_SAFE - 1)]).await.unwrap();
    assert_eq!(granted(store, clock, 1, "a").await, MAX_SAFE);
    revoked(store, 1, MAX_SAFE).await.unwrap();
    let none_left = grant(store, clock.now(), &name("bed:1"), &person(1), &request("b"), USUAL).await;
    assert_eq!(none_left.unwrap_err().kind, Kind::Internal);
}

macro_rules! on_both {
    ($($law:ident),* $(,)?) => {
        mod memory {
            use super::*;
            $(#[test]
            fn $law() {
                let clock = Rc::new(DrivenClock(Cell::new(1_000_000)));
                block_on(super::$law(&Memory::new(Rc::clone(&clock)), &clock));
            })*
        }
        mod sql {
            use super::*;
            $(#[test]
            fn $law() {
                let clock = Rc::new(DrivenClock(Cell::new(1_000_000)));
                block_on(super::$law(&SqliteStore::open(Rc::clone(&clock)), &clock));
            })*
        }
    };
}

on_both![
    one_of_five_racing_granters_wins,
    it_is_free_at_exactly_its_instant,
    fences_grow_across_expiry_and_revocation,
    a_renewal_moves_the_end_and_nothing_else,
    a_request_is_granted_once,
    only_holder_and_fence_together_count,
    a_renewal_and_a_revocation_do_not_undo_each_other,
    fences_end_below_2_to_the_53,
];

/// Fails each batch that writes.
struct WriteFails<'a>(&'a Memory<DrivenClock>, Fault);

impl Store for WriteFails<'_> {
    async fn apply(&self, shard: Shard, batch: Vec<Op>) -> Result<Applied> {
        if batch.iter().any(|op| matches!(op, Op::Put { .. } | Op::Delete { .. })) {
            self.0.fail_next(self.1);
        }
        self.0.apply(shard, batch).await
    }
}

#[test]
fn a_lost_reply_is_unknown_and_its_retry_finds_the_same_grant() {
    let clock = Rc::new(DrivenClock(Cell::new(1_000_000)));
    let store = Memory::new(Rc::clone(&clock));
    block_on(async {
        let attempt = async |fault| {
            let lost = WriteFails(&store, fault);
            grant(&lost, clock.now(), &name("bed:1"), &person(1), &request("a"), USUAL).await.unwrap_err().kind
        };
        assert_eq!(attempt(Fault::Before).await, Kind::Unavailable);
        assert_eq!(look_up(&store, &name("bed:1")).await.unwrap(), None);
        assert_eq!(attempt(Fault::After).await, Kind::OutcomeUnknown);
        let made = look_up(&store, &name("bed:1")).await.unwrap().unwrap();
        pass(&clock, Ttl(7));
        assert_eq!(ask(&store, &clock, 1, "a").await, Granted::Again(made.clone()));
        assert!(matches!(ask(&store, &clock, 2, "a").await, Granted::Held { .. }));
        let lost = WriteFails(&store, Fault::After);
        let unknown = revoke(&lost, &name("bed:1"), &made.user, made.fence).await;
        assert_eq!(unknown.unwrap_err().kind, Kind::OutcomeUnknown);
        assert_eq!(revoked(&store, 1, made.fence).await, Err(Lost), "it has been revoked");
    });
}
