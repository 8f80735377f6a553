//! The laws of the store port, one function each, held against every backend that claims to obey them: memory and SQL as
//! native tests, the object inside workerd and a real Redis over HTTP by [`outside`]. [`mutants`] shows that they can break.

mod mutants;
pub(crate) mod outside;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use futures_util::FutureExt;
use futures_util::future::{LocalBoxFuture, join_all};
use futures_util::join;

use super::bytes::{Bytes, Cached, Name};
use super::kv::{Kv, Namespace};
use super::memory::{Fault, Memory};
use super::sqlite::SqliteStore;
use super::{Applied, Condition, Entry, Op, OpReply, Shard, Store};
use crate::error::{Kind, Result};
use crate::testing::{DrivenClock, block_on};
use crate::time::{Clock, Ttl, UnixMillis};

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
    version(store, put("a", b"two", Condition::Always)).await;
    assert_eq!(get(store, "a").await.as_deref(), Some(&b"two"[..]));
    for _ in 0..2 {
        done(store, vec![Op::Delete { key: "a".into(), condition: Condition::Always }]).await;
        assert_eq!(get(store, "a").await, None);
    }
}

async fn creates_only_once(store: &impl Store, _: &DrivenClock) {
    version(store, put("b", b"first", Condition::Absent)).await;
    let again = store.apply(SHARD(), vec![put("b", b"second", Condition::Absent)]).await.unwrap();
    assert_eq!(again, Applied::Refused { step: 0 });
    assert_eq!(get(store, "b").await.as_deref(), Some(&b"first"[..]));
}

async fn one_of_five_writers_wins(store: &impl Store, _: &DrivenClock) {
    for round in 0..20_u8 {
        let seen = version(store, put("c", b"0", Condition::Always)).await;
        let race = (0..5_u8).map(|writer| {
            let batch = vec![put("c", &[round, writer], Condition::Version(seen)), Op::get("c")];
            async move { (writer, store.apply(SHARD(), batch).await.unwrap()) }
        });
        let won: Vec<_> =
            join_all(race).await.into_iter().filter(|(_, applied)| matches!(applied, Applied::Done(_))).collect();
        assert_eq!(won.len(), 1);
        assert_eq!(get(store, "c").await, Some(vec![round, won[0].0]));
        // The same for the right to make it.
        done(store, vec![Op::Delete { key: "c".into(), condition: Condition::Always }]).await;
        let race = (0..5_u8).map(|writer| store.apply(SHARD(), vec![put("c", &[writer], Condition::Absent)]));
        let won = join_all(race).await.into_iter().filter(|outcome| matches!(outcome, Ok(Applied::Done(_)))).count();
        assert_eq!(won, 1);
    }
}

async fn expires_to_the_millisecond(store: &impl Store, clock: &DrivenClock) {
    let at = UnixMillis(clock.0.get() + 1_000);
    let until = |at| Op::Put { key: "d".into(), value: vec![1], condition: Condition::Always, expires: Some(at) };
    let first = version(store, until(at)).await;
    clock.0.set(at.0 - 1);
    let read = store.apply(SHARD(), vec![Op::get("d")]).await.unwrap().entries().next().flatten().unwrap();
    assert_eq!((read.version, read.expires), (first, Some(at)));
    clock.0.set(at.0);
    assert!(get(store, "d").await.is_none());
    let late = Op::Put { key: "d".into(), value: vec![2], condition: Condition::Version(first), expires: None };
    assert_eq!(store.apply(SHARD(), vec![late]).await.unwrap(), Applied::Refused { step: 0 });
    version(store, put("d", b"again", Condition::Absent)).await;
    // A write moves the end either way, and none keeps it for good.
    clock.0.set(at.0 + 1_000_000);
    assert!(get(store, "d").await.is_some());
    version(store, until(UnixMillis(clock.0.get()))).await;
    assert!(get(store, "d").await.is_none());
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

async fn conditions_are_held_against_what_was_before_the_batch(store: &impl Store, _: &DrivenClock) {
    let absent = || Op::Check { key: "k".into(), condition: Condition::Absent };
    let replies =
        done(store, vec![put("k", b"1", Condition::Absent), absent(), put("k", b"2", Condition::Absent)]).await;
    let [OpReply::Wrote(first), OpReply::Done, OpReply::Wrote(second)] = replies[..] else { panic!("{replies:?}") };
    assert!(second > first);
    let old = Op::Check { key: "k".into(), condition: Condition::Version(first) };
    assert_eq!(store.apply(SHARD(), vec![absent(), old.clone()]).await.unwrap(), Applied::Refused { step: 0 });
    assert_eq!(store.apply(SHARD(), vec![Op::get("k"), old]).await.unwrap(), Applied::Refused { step: 1 });
}

async fn keeps_every_byte(store: &impl Store, _: &DrivenClock) {
    let all: Vec<u8> = (0..=255).collect();
    let large: Vec<u8> = all.iter().copied().cycle().take(1 << 20).collect();
    let single = (0..=255).map(|byte| vec![byte]).collect::<Vec<_>>();
    for value in [Vec::new(), all, large] {
        version(store, put("g", &value, Condition::Always)).await;
        assert!(get(store, "g").await == Some(value));
    }
    done(store, single.iter().map(|value| put(&format!("g{}", value[0]), value, Condition::Always)).collect()).await;
    let read = store.apply(SHARD(), (0..=255).map(|byte| Op::get(format!("g{byte}"))).collect()).await.unwrap();
    assert!(read.entries().map(|entry| entry.unwrap().value).eq(single));
}

async fn keys_are_any_text(store: &impl Store, _: &DrivenClock) {
    let long = "k".repeat(400);
    let keys = ["", " ", "#", "a b", "{", "}{", "%00%", "/", "\"\\\n\t", "ä", "💊", "O'Neill; --", &long, "l*", "l?"];
    for (number, key) in keys.iter().enumerate() {
        version(store, put(key, &number.to_be_bytes(), Condition::Absent)).await;
    }
    for (number, key) in keys.iter().enumerate() {
        assert_eq!(get(store, key).await.as_deref(), Some(&number.to_be_bytes()[..]), "{key}");
    }
}

async fn versions_never_come_back(store: &impl Store, _: &DrivenClock) {
    let mut given = BTreeSet::new();
    for key in ["h1", "h2", "h1", "h1", "h2"] {
        let next = version(store, put(key, b"x", Condition::Always)).await;
        assert!(
            given.last().is_none_or(|highest| next > *highest) && next <= crate::time::MAX_SAFE,
            "{next} of {given:?}"
        );
        given.insert(next);
        done(store, vec![Op::Delete { key: key.into(), condition: Condition::Version(next) }]).await;
    }
    version(store, put("h1", b"new", Condition::Absent)).await;
    for old in given {
        let late = store.apply(SHARD(), vec![put("h1", b"late", Condition::Version(old))]).await.unwrap();
        assert_eq!(late, Applied::Refused { step: 0 });
    }
    assert_eq!(get(store, "h1").await.as_deref(), Some(&b"new"[..]));
}

async fn shards_are_apart(store: &impl Store, _: &DrivenClock) {
    version(store, put("i", b"here", Condition::Always)).await;
    let other = store.apply(Shard::of("another"), vec![Op::get("i")]).await.unwrap();
    assert_eq!(other.entries().next(), Some(None));
    // Reads of one turn, which may go out together, are answered each for itself.
    let (one, two, three) = join!(
        store.apply(SHARD(), vec![Op::get("i"), Op::get("i")]),
        store.apply(Shard::of("another"), vec![Op::get("i")]),
        store.apply(SHARD(), vec![Op::Check { key: "i".into(), condition: Condition::Absent }]),
    );
    assert!(one.unwrap().entries().all(|entry| entry.is_some_and(|entry| entry.value == b"here")));
    assert_eq!(two.unwrap().entries().next(), Some(None));
    assert_eq!(three.unwrap(), Applied::Refused { step: 0 });
}

async fn keeps_ten_thousand_keys(store: &impl Store, _: &DrivenClock) {
    let batch = |from: u32, make: &dyn Fn(u32) -> Op| (from..from + 100).map(make).collect::<Vec<_>>();
    for from in (0..10_000).step_by(100) {
        let write = |number: u32| put(&format!("j{number}"), &number.to_be_bytes(), Condition::Absent);
        done(store, batch(from, &write)).await;
    }
    for from in (0..10_000).step_by(100) {
        let read = store.apply(SHARD(), batch(from, &|number| Op::get(format!("j{number}")))).await.unwrap();
        let values: Vec<_> = read.entries().map(|entry| entry.unwrap().value).collect();
        assert!(values.iter().map(Vec::as_slice).eq(
            (from..from + 100).map(|number| number.to_be_bytes()).collect::<Vec<_>>().iter().map(<[u8; 4]>::as_slice)
        ));
    }
}

fn name(number: u16) -> Name {
    Name { shard: Shard::of(&format!("owner {}", number % 7)), key: format!("m{number}") }
}

async fn bytes_come_in_the_order_of_their_names_until_they_expire(bytes: &impl Bytes, clock: &DrivenClock) {
    let begin = clock.0.get();
    let cached = |number: u16| Cached {
        value: (0..=255).cycle().skip(usize::from(number)).take(3_000).collect(),
        expires: UnixMillis(begin + 1_000 + u64::from(number)),
    };
    let names: Vec<_> = (0..50).map(name).collect();
    assert!(bytes.read(&names).await.unwrap().iter().all(Option::is_none));
    bytes.write((0..50).map(|number| (name(number), cached(number))).collect()).await.unwrap();
    bytes.delete(&[name(20), name(999)]).await.unwrap();
    for past in [0, 10, 49] {
        clock.0.set(begin + 1_000 + u64::from(past) - 1);
        let wanted = |gone: u16| -> Vec<_> {
            (0..50).map(|number| (number >= gone && number != 20).then(|| cached(number))).collect()
        };
        assert!(bytes.read(&names).await.unwrap() == wanted(past));
        clock.0.set(begin + 1_000 + u64::from(past));
        assert!(bytes.read(&names).await.unwrap() == wanted(past + 1));
    }
    assert_eq!(bytes.read(&[]).await.unwrap(), []);
}

type Law<'a> = (&'static str, LocalBoxFuture<'a, ()>);

macro_rules! backend {
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
}

macro_rules! laws {
    ($($law:ident),* $(,)?) => {
        backend!(memory, Memory::new, [$($law,)* bytes_come_in_the_order_of_their_names_until_they_expire]);
        backend!(sql, SqliteStore::open, [$($law,)* bytes_come_in_the_order_of_their_names_until_they_expire]);

        /// Every law of a store, ready to run.
        fn laws<'a, S: Store>(store: &'a S, clock: &'a DrivenClock) -> Vec<Law<'a>> {
            vec![$((stringify!($law), $law(store, clock).boxed_local())),*]
        }
    };
}

laws! {
    reads_its_write, creates_only_once, one_of_five_writers_wins, expires_to_the_millisecond,
    a_refused_batch_changes_nothing, a_batch_runs_in_order, conditions_are_held_against_what_was_before_the_batch,
    keeps_every_byte, keys_are_any_text, versions_never_come_back, shards_are_apart, keeps_ten_thousand_keys,
}

/// Workers KV as far as its documentation goes, without its delays: those no law forbids.
struct Namespaced {
    clock: Rc<DrivenClock>,
    values: RefCell<BTreeMap<String, Vec<u8>>>,
}

impl Namespace for Namespaced {
    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.values.borrow().get(name).cloned())
    }

    async fn put(&self, name: &str, value: &[u8], ttl: Ttl) -> Result<()> {
        assert!(ttl >= Ttl::from_secs(60) && name.len() <= 512);
        self.values.borrow_mut().insert(name.to_owned(), value.to_vec());
        Ok(())
    }

    async fn delete(&self, name: &str) -> Result<()> {
        self.values.borrow_mut().remove(name);
        Ok(())
    }
}

impl Clock for Namespaced {
    fn now(&self) -> UnixMillis {
        self.clock.now()
    }
}

fn namespaced(clock: Rc<DrivenClock>) -> Kv<Namespaced> {
    Kv(Namespaced { clock, values: RefCell::default() })
}

backend!(kv, namespaced, [bytes_come_in_the_order_of_their_names_until_they_expire]);

#[test]
fn a_value_that_kv_has_from_somebody_else_is_none() {
    let kv = namespaced(Rc::new(DrivenClock(Cell::new(1))));
    block_on(async {
        for value in [&[][..], &[1; 7]] {
            kv.0.put(&format!("{}/{}", name(1).shard.name(), name(1).key), value, Ttl::from_secs(60)).await.unwrap();
            assert_eq!(kv.read(&[name(1)]).await.unwrap(), [None]);
        }
    });
}

/// What each fault tells its caller, and whether the write is there then, and after others have come.
#[test]
fn a_fault_is_what_it_is_called() {
    let cases = [
        (Fault::Before, Some(Kind::Unavailable), false, false),
        (Fault::After, Some(Kind::OutcomeUnknown), true, true),
        (Fault::Lost, Some(Kind::OutcomeUnknown), false, false),
        (Fault::Slow(3), None, true, true),
        (Fault::Twice(2), None, true, true),
        (Fault::Late(2), Some(Kind::OutcomeUnknown), false, true),
    ];
    for (fault, told, at_once, at_last) in cases {
        let store = Memory::new(Rc::new(DrivenClock(Cell::new(1))));
        block_on(async {
            store.fail_next(fault);
            let outcome = store.apply(SHARD(), vec![put("k", b"1", Condition::Always)]).await;
            assert_eq!(outcome.err().map(|error| error.kind), told, "{fault:?}");
            assert_eq!(get(&store, "k").await.is_some(), at_once, "{fault:?}");
            if fault == Fault::Twice(2) {
                done(&store, vec![Op::Delete { key: "k".into(), condition: Condition::Always }]).await;
            }
            get(&store, "else").await;
            assert_eq!(get(&store, "k").await.is_some(), at_last, "{fault:?}");
            assert_eq!(store.faults.met().values().sum::<u32>(), 1);
        });
    }
}

#[test]
fn what_is_slow_is_overtaken_and_what_is_late_arrives_in_another_order() {
    let store = Memory::new(Rc::new(DrivenClock(Cell::new(1))));
    block_on(async {
        store.fail_next(Fault::Slow(2));
        let put = |value: &'static [u8]| store.apply(SHARD(), vec![put("k", value, Condition::Always)]);
        let _ = join!(put(b"slow"), put(b"quick"));
        assert_eq!(get(&store, "k").await.as_deref(), Some(&b"slow"[..]));
        for value in [&b"first"[..], b"second"] {
            store.fail_next(Fault::Late(if value == b"first" { 2 } else { 1 }));
            assert!(put(value).await.is_err());
        }
        get(&store, "else").await;
        assert_eq!(get(&store, "k").await.as_deref(), Some(&b"first"[..]));
    });
}

#[test]
fn a_storm_meets_everybody_with_everything_and_is_the_same_for_the_same_seed() {
    let run = |seed| {
        let store = Memory::new(Rc::new(DrivenClock(Cell::new(1))));
        store.faults.storm(seed, 300);
        let outcomes: Vec<_> = (0..2_000_u16)
            .map(|number| block_on(store.apply(SHARD(), vec![put("k", &number.to_be_bytes(), Condition::Always)])))
            .collect();
        (outcomes, store.faults.met())
    };
    let (outcomes, met) = run(7);
    assert_eq!(met.len(), 6, "{met:?}");
    assert!(met.values().all(|count| *count > 50) && met.values().sum::<u32>() < 800, "{met:?}");
    assert_eq!((outcomes, met), run(7));
    assert_ne!(run(7), run(8));
}
