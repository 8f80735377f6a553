//! The rules of a lease, one law each, over the rows of an object on a driven clock.

use std::cell::Cell;
use std::rc::Rc;

use super::native::Native;
use super::rules::{CLAIM, RESERVED};
use super::several::{self, Several};
use super::*;
use crate::error::Kind;
use crate::store::memory::Fault;
use crate::store::sql::Sql;
use crate::testing::{DrivenClock, block_on};
use crate::time::{Clock, MAX_SAFE};

pub(super) fn person(number: u64) -> Asker {
    Asker { user: format!("user-{number}"), name: format!("Person {number}") }
}

pub(super) fn name(text: &str) -> LeaseName {
    LeaseName::parse(text).unwrap()
}

pub(super) fn request(text: &str) -> RequestId {
    RequestId::parse(text).unwrap()
}

struct World {
    leases: Native<DrivenClock>,
    clock: Rc<DrivenClock>,
}

fn world() -> World {
    let clock = Rc::new(DrivenClock(Cell::new(1_000_000)));
    World { leases: Native::open(Rc::clone(&clock)), clock }
}

impl World {
    fn ask(&self, ask: Ask) -> Told {
        self.leases.now(&name("bed:1"), &ask).unwrap().told
    }

    fn asks(&self, by: u64, id: &str) -> Told {
        self.ask(Ask::Grant { asker: person(by), request_id: request(id), ttl: USUAL, wait: None })
    }

    fn waits(&self, by: u64, id: &str) -> Told {
        let wait = Some(Ttl::from_secs(60));
        self.ask(Ask::Grant { asker: person(by), request_id: request(id), ttl: USUAL, wait })
    }

    fn granted(&self, by: u64, id: &str) -> u64 {
        match self.asks(by, id) {
            Told::Granted { lease, again: false } => lease.fence,
            other => panic!("{other:?}"),
        }
    }

    fn renews(&self, by: u64, fence: u64) -> Told {
        self.ask(Ask::Renew { user: person(by).user, fence, ttl: None })
    }

    fn revokes(&self, by: u64, fence: u64) -> Told {
        self.ask(Ask::Revoke { user: person(by).user, fence })
    }

    fn pass(&self, ttl: Ttl) {
        self.clock.0.set(self.clock.0.get() + ttl.0);
    }

    fn holder(&self) -> Option<Lease> {
        match self.ask(Ask::LookUp) {
            Told::Seen { lease, .. } => lease,
            other => panic!("{other:?}"),
        }
    }

    fn waiting(&self) -> u64 {
        match self.ask(Ask::LookUp) {
            Told::Seen { waiting, .. } => waiting,
            other => panic!("{other:?}"),
        }
    }

    fn losses(&self) -> Vec<(String, u64, Cause)> {
        let losses = sql::losses(&self.leases.sql, 100).unwrap();
        losses.into_iter().map(|(_, loss)| (loss.lease.user, loss.lease.fence, loss.cause)).collect()
    }
}

fn place(told: &Told) -> u64 {
    match told {
        Told::Held { position, .. } => *position,
        other => panic!("{other:?}"),
    }
}

#[test]
fn it_is_free_at_exactly_its_instant() {
    let world = world();
    let fence = world.granted(1, "a");
    world.pass(Ttl(USUAL.0 - 1));
    assert_eq!(place(&world.asks(2, "b")), 1);
    assert_eq!(world.holder().unwrap().fence, fence);
    world.pass(Ttl(1));
    assert_eq!(world.holder(), None);
    assert_eq!(world.renews(1, fence), Told::Lost, "too late by nothing at all");
    assert_eq!(world.granted(2, "b"), fence + 1);
}

#[test]
fn fences_grow_across_expiry_and_revocation() {
    let world = world();
    for round in 1..=4 {
        let fence = world.granted(1, "a");
        assert_eq!(fence, round);
        if round % 2 == 0 {
            world.pass(USUAL);
        } else {
            assert_eq!(world.revokes(1, fence), Told::Freed);
        }
    }
}

#[test]
fn a_renewal_moves_the_end_and_nothing_else() {
    let world = world();
    let fence = world.granted(1, "a");
    for _ in 0..3 {
        world.pass(Ttl(USUAL.0 - 1));
        let Told::Renewed(lease) = world.renews(1, fence) else { panic!() };
        assert_eq!((lease.fence, lease.expires), (fence, world.clock.now().plus(USUAL)));
    }
    let longer = Ttl::from_mins(2);
    world.ask(Ask::Renew { user: person(1).user, fence, ttl: Some(longer) });
    let Told::Renewed(lease) = world.renews(1, fence) else { panic!() };
    assert_eq!((lease.ttl, lease.expires), (longer, world.clock.now().plus(longer)), "it keeps what it was last given");
    assert_eq!(world.asks(1, "a"), Told::Granted { lease, again: true });
}

#[test]
fn a_request_is_granted_once() {
    let world = world();
    let fence = world.granted(1, "a");
    world.pass(Ttl(5));
    let Told::Granted { lease, again: true } = world.asks(1, "a") else { panic!() };
    assert_eq!((lease.fence, lease.expires), (fence, lease.granted.plus(USUAL)));
    assert_eq!(place(&world.asks(1, "b")), 1, "another request of the same person");
    assert_eq!(place(&world.asks(2, "a")), 1, "the same id, another person");
    world.revokes(1, fence);
    assert_eq!(world.granted(1, "a"), fence + 1, "what has ended is not given again");
}

#[test]
fn only_holder_and_fence_together_count() {
    let world = world();
    assert_eq!(world.renews(1, 1), Told::Lost);
    assert_eq!(world.revokes(1, 1), Told::Lost);
    let stale = world.granted(1, "a");
    world.pass(USUAL);
    let fence = world.granted(2, "b");
    // The first holder woke up: by its own fence, and by the new one, which it may have seen.
    for (by, with) in [(1, stale), (1, fence), (2, stale), (2, fence + 1)] {
        assert_eq!(world.renews(by, with), Told::Lost, "{by} {with}");
        assert_eq!(world.revokes(by, with), Told::Lost, "{by} {with}");
    }
    assert_eq!(world.holder().unwrap().user, person(2).user);
    assert_eq!(world.revokes(2, fence), Told::Freed);
    assert_eq!(world.revokes(2, fence), Told::Lost);
    let again = world.granted(2, "c");
    assert_eq!(world.revokes(2, fence), Told::Lost, "the fence of before is as stale as anybody's");
    assert_eq!(world.revokes(2, again), Told::Freed);
}

#[test]
fn fences_end_below_2_to_the_53() {
    let world = world();
    let last = &[MAX_SAFE.saturating_sub(1).into()];
    world.leases.sql.exec("INSERT INTO lease_fences (name, highest) VALUES ('bed:1', ?1)", last).unwrap();
    assert_eq!(world.granted(1, "a"), MAX_SAFE);
    world.revokes(1, MAX_SAFE);
    let ask = Ask::Grant { asker: person(1), request_id: request("b"), ttl: USUAL, wait: None };
    assert_eq!(world.leases.now(&name("bed:1"), &ask).unwrap_err().kind, Kind::Internal);
}

#[test]
fn it_passes_from_one_to_the_next_in_order_of_arrival() {
    let world = world();
    let first = world.granted(1, "a");
    for by in 2..=5 {
        assert_eq!(place(&world.waits(by, "w")), by - 1);
    }
    assert_eq!((place(&world.waits(4, "w")), world.waiting()), (3, 4), "asking again keeps the place");
    assert_eq!(place(&world.asks(3, "w")), 2, "it is told its place and gives it up");
    assert_eq!(world.waiting(), 3);
    world.revokes(1, first);
    // Freed and handed on in one transition: nobody gets in between.
    assert_eq!(place(&world.asks(9, "x")), 3);
    let Told::Granted { lease, again: true } = world.waits(2, "w") else { panic!() };
    assert_eq!((lease.fence, lease.sure, lease.expires), (first + 1, false, world.clock.now().plus(CLAIM)));
    let Told::Renewed(lease) = world.renews(2, lease.fence) else { panic!() };
    assert_eq!((lease.sure, lease.expires), (true, world.clock.now().plus(USUAL)));
    // It ends by itself; the next one is dead, and the one after it has it a second later.
    world.pass(USUAL);
    for by in [4, 5] {
        world.waits(by, "w");
    }
    assert_eq!(world.holder().unwrap().user, person(4).user);
    world.pass(Ttl(CLAIM.0 - 1));
    assert_eq!(place(&world.waits(5, "w")), 1);
    world.pass(Ttl(1));
    assert!(matches!(world.waits(5, "w"), Told::Granted { .. }));
    let told = [(2, first + 1), (4, first + 2)].map(|(by, fence)| (person(by).user, fence, Cause::Expired));
    assert_eq!(world.losses(), told, "who lost it is told, and who freed it is not");
}

#[test]
fn whoever_stopped_asking_is_passed_over() {
    let world = world();
    let first = world.granted(1, "a");
    let short =
        |by| Ask::Grant { asker: person(by), request_id: request("w"), ttl: USUAL, wait: Some(Ttl::from_secs(4)) };
    world.ask(short(2));
    world.pass(Ttl::from_secs(3));
    world.ask(short(3));
    world.pass(Ttl::from_secs(3));
    assert_eq!((world.waiting(), place(&world.asks(9, "x"))), (1, 2));
    world.revokes(1, first);
    assert_eq!(world.holder().unwrap().user, person(3).user);
}

#[test]
fn whoever_keeps_no_call_open_is_to_be_told_of_its_turn() {
    let world = world();
    let first = world.granted(1, "a");
    let queue = |by| Ask::Queue { asker: person(by), request_id: request("w"), ttl: USUAL, wait: Ttl::from_secs(60) };
    assert_eq!((place(&world.ask(queue(2))), place(&world.ask(queue(2))), place(&world.waits(3, "w"))), (1, 1, 2));
    let turns = |by, fence| {
        let ask = Ask::Revoke { user: person(by).user, fence };
        sql::ask(&world.leases.sql, world.clock.now(), &name("bed:1"), &ask).unwrap().turns
    };
    let [Turn { ticket, lease, pushed: true }] = &turns(1, first)[..] else { panic!() };
    assert_eq!((&ticket.user, lease.fence, lease.sure), (&person(2).user, first + 1, false));
    assert_eq!(lease.expires, world.clock.now().plus(CLAIM));
    assert!(matches!(world.renews(2, lease.fence), Told::Renewed(_)));
    // Whoever asks again in the other way waits in that way.
    world.ask(queue(3));
    world.waits(3, "w");
    assert!(matches!(&turns(2, first + 1)[..], [Turn { pushed: false, .. }]));
    world.revokes(3, first + 2);
    assert!(matches!(world.ask(queue(2)), Told::Granted { again: false, .. }), "nobody has it");
}

#[test]
fn one_that_is_broken_is_lost_with_the_reason() {
    let world = world();
    let fence = world.granted(1, "a");
    let ask = |fence| Ask::Break { fence, by: "Ada".into(), reason: "ward round".into() };
    assert_eq!(world.ask(ask(fence + 1)), Told::Lost, "another one than was looked at");
    world.waits(2, "w");
    assert!(matches!(world.ask(ask(fence)), Told::Broken(lease) if lease.user == person(1).user));
    assert_eq!((world.renews(1, fence), world.ask(ask(fence))), (Told::Lost, Told::Lost));
    assert_eq!(world.holder().unwrap().user, person(2).user);
    let cause = Cause::Broken { by: "Ada".into(), reason: "ward round".into() };
    assert_eq!(world.losses(), [(person(1).user, fence, cause)]);
}

#[test]
fn a_sweep_ends_what_nobody_asks_for() {
    let world = world();
    world.granted(1, "a");
    world.waits(2, "w");
    assert_eq!(sql::next_due(&world.leases.sql).unwrap(), Some(world.clock.now().plus(USUAL)));
    let sweep = |world: &World| sql::sweep(&world.leases.sql, world.clock.now(), 10).unwrap();
    assert_eq!(sweep(&world), []);
    world.pass(USUAL);
    let ticket = Ticket { user: person(2).user, request_id: request("w") };
    let swept = sweep(&world);
    assert!(matches!(&swept[..], [(of, turn)] if *of == name("bed:1") && turn.ticket == ticket && !turn.pushed));
    assert_eq!(world.losses().len(), 1);
    let (last, _) = sql::losses(&world.leases.sql, 10).unwrap().pop().unwrap();
    sql::told(&world.leases.sql, last).unwrap();
    world.pass(CLAIM);
    assert_eq!((sweep(&world), sql::next_due(&world.leases.sql).unwrap()), (Vec::new(), None));
    assert_eq!(world.losses().len(), 1);
}

#[test]
fn a_lost_reply_is_unknown_and_its_retry_finds_the_same_grant() {
    let world = world();
    let ask = || Ask::Grant { asker: person(1), request_id: request("a"), ttl: USUAL, wait: None };
    let attempt = |fault| {
        world.leases.fail_next(fault);
        block_on(world.leases.ask(&name("bed:1"), ask())).unwrap_err().kind
    };
    assert_eq!(attempt(Fault::Before), Kind::Unavailable);
    assert_eq!(world.holder(), None);
    assert_eq!(attempt(Fault::After), Kind::OutcomeUnknown);
    let made = world.holder().unwrap();
    world.pass(Ttl(7));
    assert_eq!(world.asks(1, "a"), Told::Granted { lease: made.clone(), again: true });
    assert_eq!(world.revokes(1, made.fence), Told::Freed);
}

fn several(world: &World, by: u64, names: &[&str]) -> Result<Several> {
    let names = names.iter().map(|text| name(text)).collect();
    let attempt = format!("attempt-{}", world.leases.asked.borrow().len());
    block_on(several::grant(&world.leases, attempt, names, &person(by), &request("s"), USUAL))
}

fn holder_of(world: &World, of: &str) -> Option<String> {
    match world.leases.now(&name(of), &Ask::LookUp).unwrap().told {
        Told::Seen { lease, .. } => lease.map(|lease| lease.user),
        other => panic!("{other:?}"),
    }
}

#[test]
fn several_are_granted_all_or_none() {
    let world = world();
    let Several::Granted { leases, again: false, .. } = several(&world, 1, &["c", "a", "b", "a"]).unwrap() else {
        panic!()
    };
    assert_eq!(leases.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
    assert!(leases.iter().all(|(_, lease)| lease.sure && lease.expires == world.clock.now().plus(USUAL)));
    world.pass(Ttl(9));
    let Several::Granted { leases: same, again: true, .. } = several(&world, 1, &["a", "b", "c"]).unwrap() else {
        panic!()
    };
    assert!(leases.iter().zip(&same).all(|((_, one), (_, two))| (one.fence, one.expires) == (two.fence, two.expires)));
    let Several::Held { name, .. } = several(&world, 2, &["0", "c", "d"]).unwrap() else { panic!() };
    assert_eq!(name.as_str(), "c");
    assert_eq!(["0", "d"].map(|of| holder_of(&world, of)), [None, None]);
}

/// Dies at each of its asks in turn, before it and after it.
#[test]
fn whoever_dies_over_several_leaves_none_of_them_for_long() {
    struct Dies<'a>(&'a Native<DrivenClock>, Cell<u32>, Fault);
    impl Leases for Dies<'_> {
        async fn ask(&self, name: &LeaseName, ask: Ask) -> Result<Answer> {
            let left = self.1.get();
            self.1.set(left.saturating_sub(1));
            if left == 0 || (left == 1 && self.2 == Fault::Before) {
                return Err(Error::outcome_unknown());
            }
            let answer = self.0.now(name, &ask);
            if left == 1 { Err(Error::outcome_unknown()) } else { answer }
        }
    }
    let mut released = 0;
    for asks in 1..=6 {
        for fault in [Fault::Before, Fault::After] {
            let world = world();
            let names = ["a", "b", "c"];
            let dying = Dies(&world.leases, Cell::new(asks), fault);
            let all = names.map(name).to_vec();
            let (asker, id) = (person(1), request("s"));
            let died = several::grant(&dying, "first".into(), all, &asker, &id, USUAL);
            assert_eq!(block_on(died).unwrap_err().kind, Kind::OutcomeUnknown, "{asks} {fault:?}");
            let complete = (asks, fault) == (6, Fault::After);

            // A retry at once finds or makes all of it.
            let again = world_of(&world);
            assert!(matches!(several(&again, 1, &names).unwrap(), Several::Granted { .. }));

            // Without one nothing is left as soon as the moment is over, but for what was granted whole.
            world.pass(RESERVED);
            sql::sweep(&world.leases.sql, world.clock.now(), 10).unwrap();
            for (_, loss) in sql::losses(&world.leases.sql, 10).unwrap() {
                if let Some(group) = several::abandoned(&loss) {
                    released += 1;
                    block_on(several::release(&world.leases, group)).unwrap();
                }
            }
            let left = names.map(|of| holder_of(&world, of).is_some());
            assert_eq!(left, [complete; 3], "{asks} {fault:?}");
            // And another gets all of it, or finds it whole.
            let other = several(&world, 2, &names).unwrap();
            assert_eq!(matches!(other, Several::Held { .. }), complete);
        }
    }
    assert!(released > 0);
}

/// A copy of the world's leases, on the same instant.
fn world_of(world: &World) -> World {
    let copy = self::world();
    copy.clock.0.set(world.clock.0.get());
    for (name, ask) in world.leases.asked.borrow().iter() {
        copy.leases.now(name, ask).unwrap();
    }
    copy
}
