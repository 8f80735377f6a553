use std::cell::Cell;
use std::rc::Rc;

use super::*;
use crate::store::memory::Memory;
use crate::testing::{DrivenClock, Seeded, block_on};
use crate::time::{Clock, Entropy};

const SECRET: &[u8] = &[7; 32];
const LIFETIMES: Lifetimes =
    Lifetimes { idle: Ttl::from_mins(15), absolute: Ttl::from_mins(720), hearsay: false, restored: UnixMillis(0) };

struct World {
    clock: Rc<DrivenClock>,
    store: Memory<DrivenClock>,
    entropy: Seeded,
    standing: Standing,
}

impl World {
    fn new() -> World {
        let clock = Rc::new(DrivenClock(Cell::new(1_700_000_000_000)));
        let entropy = Seeded::new(11);
        let principal = Principal {
            user: entropy.uuid(),
            name: "Nora".into(),
            role: Role::Nurse,
            patient: None,
            wards: Vec::new(),
            patients: Vec::new(),
        };
        let standing = Standing { principal, disabled: false, version: 1, floor: 1 };
        World { store: Memory::new(Rc::clone(&clock)), clock, entropy, standing }
    }

    /// The new token; `None` where the standing is outdated.
    fn open_as(&self, standing: &Standing) -> Option<Token> {
        let token = Token::mint(&self.entropy, &standing.principal.user);
        let sign_in = SignIn { standing, id: &self.entropy.uuid(), token: &token };
        let opened = open(&self.store, SECRET, LIFETIMES, self.clock.now(), sign_in);
        block_on(opened).unwrap().map(|_| token)
    }

    fn signed_in(&self) -> Token {
        self.open_as(&self.standing).unwrap()
    }

    fn end(&self, token: &Token) {
        let ended = self.check(token).unwrap().ended();
        block_on(revoke(&self.store, &[ended])).unwrap();
    }

    fn check(&self, token: &Token) -> Result<Session> {
        block_on(check(&self.store, SECRET, LIFETIMES, self.clock.now(), token))
    }

    fn pass(&self, ttl: Ttl) {
        self.clock.0.set(self.clock.0.get() + ttl.0);
    }
}

#[test]
fn it_ends_to_the_millisecond_when_nothing_happens() {
    let world = World::new();
    let token = world.signed_in();
    world.pass(Ttl(LIFETIMES.idle.0 - 1));
    assert!(world.check(&token).is_ok());
    world.pass(Ttl(1));
    assert_eq!(world.check(&token).unwrap_err(), signed_out());
}

#[test]
fn activity_keeps_it_alive_and_the_absolute_end_stands() {
    let world = World::new();
    let token = world.signed_in();
    let end = world.clock.now().plus(LIFETIMES.absolute);
    let mut rounds = 0;
    while world.clock.now().plus(Ttl::from_mins(10)) < end {
        world.pass(Ttl::from_mins(10));
        let session = world.check(&token).unwrap();
        block_on(touch(&world.store, LIFETIMES, world.clock.now(), session)).unwrap();
        rounds += 1;
    }
    assert_eq!(rounds, 71);
    world.pass(Ttl(Ttl::from_mins(10).0 - 1));
    let last = world.check(&token).unwrap();
    assert_eq!(last.idle_expires_at, Some(end));
    world.pass(Ttl(1));
    assert!(world.check(&token).is_err());
}

#[test]
fn the_idle_clock_is_written_at_most_once_a_tenth() {
    let world = World::new();
    let token = world.signed_in();
    let first = world.check(&token).unwrap();
    world.pass(Ttl(LIFETIMES.idle.0 / 10 - 1));
    let same = block_on(touch(&world.store, LIFETIMES, world.clock.now(), first.clone())).unwrap();
    assert_eq!(same.version, first.version);
    world.pass(Ttl(1));
    let moved = block_on(touch(&world.store, LIFETIMES, world.clock.now(), first)).unwrap();
    assert_ne!(moved.version, same.version);
    assert_eq!(moved.idle_expires_at, Some(world.clock.now().plus(LIFETIMES.idle)));
}

#[test]
fn a_late_touch_does_not_bring_an_ended_session_back() {
    let world = World::new();
    let token = world.signed_in();
    world.pass(Ttl::from_mins(5));
    let in_flight = world.check(&token).unwrap();
    world.end(&token);
    let late = block_on(touch(&world.store, LIFETIMES, world.clock.now(), in_flight));
    assert_eq!(late.unwrap_err(), signed_out());
    assert!(world.check(&token).is_err());
}

#[test]
fn a_late_copy_of_the_sign_in_does_not_bring_an_ended_session_back() {
    let world = World::new();
    let token = Token::mint(&world.entropy, &world.standing.principal.user);
    let sign_in = SignIn { standing: &world.standing, id: "s", token: &token };
    let open = || block_on(open(&world.store, SECRET, LIFETIMES, world.clock.now(), sign_in));
    assert!(open().unwrap().is_some());
    world.end(&token);
    assert!(open().is_err(), "there is something in its place");
    assert_eq!(world.check(&token).unwrap_err(), signed_out());
    world.pass(Ttl(LIFETIMES.absolute.0 - 1));
    assert!(open().is_err(), "until it would have ended by itself");
}

#[test]
fn states_are_those_of_open_sessions() {
    let world = World::new();
    let (first, second) = (world.signed_in(), world.signed_in());
    let keys: Vec<_> = [&first, &second].iter().map(|token| world.check(token).unwrap().key).collect();
    let states = || {
        let user = &world.standing.principal.user;
        let states = states(&world.store, LIFETIMES, world.clock.now(), user, keys.clone());
        block_on(states).unwrap().into_iter().map(|state| state.map(|state| state.ends)).collect::<Vec<_>>()
    };
    let end = world.clock.now().plus(LIFETIMES.idle);
    assert_eq!(states(), [Some(end), Some(end)]);
    world.end(&second);
    assert_eq!(states(), [Some(end), None]);
    world.pass(LIFETIMES.idle);
    assert_eq!(states(), [None, None]);
}

#[test]
fn a_warning_comes_a_minute_before_the_end_or_halfway() {
    let short = Lifetimes { idle: Ttl::from_mins(1), ..LIFETIMES };
    assert_eq!(LIFETIMES.warning(UnixMillis(1_000_000)), UnixMillis(940_000));
    assert_eq!(short.warning(UnixMillis(1_000_000)), UnixMillis(970_000));
}

#[test]
fn a_raised_floor_ends_all_and_a_lower_version_does_not_undo_it() {
    let world = World::new();
    let token = world.signed_in();
    let raised = Standing { version: 2, floor: 2, ..world.standing.clone() };
    block_on(project(&world.store, &raised)).unwrap();
    assert!(world.check(&token).is_err());
    block_on(project(&world.store, &world.standing)).unwrap();
    assert!(world.check(&token).is_err());
    assert!(world.open_as(&world.standing).is_none());
}

#[test]
fn a_change_of_wards_reaches_an_open_session() {
    let world = World::new();
    let token = world.signed_in();
    let mut moved = Standing { version: 2, ..world.standing.clone() };
    moved.principal.wards = vec!["w2".into()];
    block_on(project(&world.store, &moved)).unwrap();
    assert_eq!(world.check(&token).unwrap().principal.wards, ["w2"]);
}

#[test]
fn a_forged_token_opens_nothing() {
    let world = World::new();
    world.signed_in();
    let forged = Token::mint(&Seeded::new(99), &world.standing.principal.user);
    assert_eq!(world.check(&forged).unwrap_err(), signed_out());
}

#[test]
fn a_display_has_no_idle_limit() {
    let mut world = World::new();
    world.standing.principal.role = Role::Display;
    let token = world.signed_in();
    world.pass(Ttl(LIFETIMES.absolute.0 - 1));
    assert_eq!(world.check(&token).unwrap().idle_expires_at, None);
    world.pass(Ttl(1));
    assert!(world.check(&token).is_err());
}
