//! The laws of the store port, one function each, held against every backend that claims to obey them.

use std::cell::Cell;
use std::rc::Rc;

use futures_util::future::join_all;

use super::memory::{Fault, Memory};
use super::sqlite::SqliteStore;
use super::{Applied, Condition, Op, OpReply, Shard, Store};
use crate::error::Kind;
use crate::testing::{DrivenClock, block_on};
use crate::time::UnixMillis;

const SHARD: fn() -> Shard = || Shard::of("laws");

fn put(key: &str, value: &[u8], condition: Condition) -> Op {
    Op::Put { key: key.into(), value: value.to_vec(), condition, expires: None }
}

async fn done(store: &impl Store, batch: Vec<Op>) -> Vec<OpReply> {
    match store.apply(SHARD(), batch).await.unwrap() {
        Applied::Done(replies) => replies,
        Applied::Refused { step } => panic!("refused at step {step}"),
    }
}

async fn get(store: &impl Store, key: &str) -> Option<Vec<u8>> {
    match done(store, vec![Op::get(key)]).await.remove(0) {
        OpReply::Got(entry) => entry.map(|entry| entry.value),
        other => panic!("{other:?}"),
    }
}

async fn version(store: &impl Store, op: Op) -> u64 {
    match done(store, vec![op]).await.remove(0) {
        OpReply::Wrote(version) => version,
        other => panic!("{other:?}"),
    }
}

async fn reads_its_write(store: &impl Store, _: &DrivenClock) {
    assert_eq!(get(store, "a").await, None);
    version(store, put("a", b"one", Condition::Always)).await;
    assert_eq!(get(store, "a").await.as_deref(), Some(&b"one"[..]));
    done(store, vec![Op::Delete { key: "a".into(), condition: Condition::Always }]).await;
    assert_eq!(get(store, "a").await, None);
}

async fn creates_only_once(store: &impl Store, _: &DrivenClock) {
    version(store, put("b", b"first", Condition::Absent)).await;
    let again = store.apply(SHARD(), vec![put("b", b"second", Condition::Absent)]).await.unwrap();
    assert_eq!(again, Applied::Refused { step: 0 });
    assert_eq!(get(store, "b").await.as_deref(), Some(&b"first"[..]));
}

async fn one_of_five_writers_wins(store: &impl Store, _: &DrivenClock) {
    let seen = version(store, put("c", b"0", Condition::Always)).await;
    let race = (0..5_u8).map(|writer| store.apply(SHARD(), vec![put("c", &[writer], Condition::Version(seen))]));
    let won = join_all(race).await.into_iter().filter(|outcome| matches!(outcome, Ok(Applied::Done(_)))).count();
    assert_eq!(won, 1);
}

async fn expires_to_the_millisecond(store: &impl Store, clock: &DrivenClock) {
    let at = UnixMillis(clock.0.get() + 1_000);
    let op = Op::Put { key: "d".into(), value: vec![1], condition: Condition::Always, expires: Some(at) };
    version(store, op).await;
    clock.0.set(at.0 - 1);
    assert!(get(store, "d").await.is_some());
    clock.0.set(at.0);
    assert!(get(store, "d").await.is_none());
    version(store, put("d", b"again", Condition::Absent)).await;
}

async fn a_refused_batch_changes_nothing(store: &impl Store, _: &DrivenClock) {
    let batch = vec![
        put("e1", b"x", Condition::Always),
        Op::Check { key: "e2".into(), condition: Condition::Version(1) },
        put("e3", b"x", Condition::Always),
    ];
    assert_eq!(store.apply(SHARD(), batch).await.unwrap(), Applied::Refused { step: 1 });
    assert_eq!((get(store, "e1").await, get(store, "e3").await), (None, None));
}

async fn a_batch_runs_in_order(store: &impl Store, _: &DrivenClock) {
    let batch = vec![
        Op::get("f"),
        put("f", b"1", Condition::Absent),
        Op::get("f"),
        Op::Delete { key: "f".into(), condition: Condition::Always },
        Op::get("f"),
    ];
    let seen: Vec<_> = store.apply(SHARD(), batch).await.unwrap().entries().map(|entry| entry.is_some()).collect();
    assert_eq!(seen, [false, true, false]);
}

async fn keeps_every_byte(store: &impl Store, _: &DrivenClock) {
    let all: Vec<u8> = (0..=255).collect();
    let large: Vec<u8> = all.iter().copied().cycle().take(1 << 20).collect();
    for value in [Vec::new(), all, large] {
        version(store, put("g", &value, Condition::Always)).await;
        assert!(get(store, "g").await == Some(value));
    }
}

async fn versions_never_come_back(store: &impl Store, _: &DrivenClock) {
    let mut highest = 0;
    for _ in 0..3 {
        let next = version(store, put("h", b"x", Condition::Always)).await;
        assert!(next > highest, "{next} after {highest}");
        highest = next;
        done(store, vec![Op::Delete { key: "h".into(), condition: Condition::Version(next) }]).await;
    }
}

async fn shards_are_apart(store: &impl Store, _: &DrivenClock) {
    version(store, put("i", b"here", Condition::Always)).await;
    let other = store.apply(Shard::of("another"), vec![Op::get("i")]).await.unwrap();
    assert_eq!(other.entries().next(), Some(None));
}

async fn many_keys(store: &impl Store, _: &DrivenClock) {
    for number in 0..10_000_u32 {
        version(store, put(&format!("j{number}"), &number.to_be_bytes(), Condition::Absent)).await;
    }
    for number in (0..10_000_u32).step_by(997) {
        assert_eq!(get(store, &format!("j{number}")).await.as_deref(), Some(&number.to_be_bytes()[..]));
    }
}

macro_rules! laws {
    ($backend:ident, $open:expr, [$($law:ident),* $(,)?]) => {
        mod $backend {
            use super::*;
            $(#[test]
            fn $law() {
                let clock = Rc::new(DrivenClock(Cell::new(1_000_000)));
                let store = $open(Rc::clone(&clock));
                block_on(super::$law(&store, &clock));
            })*
        }
    };
    ($($backend:ident: $open:expr),* $(,)?) => {
        $(laws!($backend, $open, [
            reads_its_write, creates_only_once, one_of_five_writers_wins, expires_to_the_millisecond,
            a_refused_batch_changes_nothing, a_batch_runs_in_order, keeps_every_byte, versions_never_come_back,
            shards_are_apart, many_keys,
        ]);)*
    };
}

laws! {
    memory: Memory::new,
    sql: SqliteStore::open,
}

#[test]
fn a_fault_is_either_before_or_after_the_write() {
    let clock = Rc::new(DrivenClock(Cell::new(1)));
    let store = Memory::new(clock);
    block_on(async {
        store.fail_next(Fault::Before);
        let lost = store.apply(SHARD(), vec![put("k", b"1", Condition::Always)]).await;
        assert_eq!(lost.unwrap_err().kind, Kind::Unavailable);
        assert_eq!(get(&store, "k").await, None);
        store.fail_next(Fault::After);
        let unknown = store.apply(SHARD(), vec![put("k", b"1", Condition::Always)]).await;
        assert_eq!(unknown.unwrap_err().kind, Kind::OutcomeUnknown);
        assert!(get(&store, "k").await.is_some());
    });
}
