//! A model of what could bring an ended session back: two hundred requests under way at once, sign-ins that are late,
//! messages to the store that are lost, answered in vain, delayed and doubled, and a store that loses everything. What must
//! hold: once an end is acknowledged, no request that begins after it succeeds with that token, and none ever after. With a
//! store that goes back to what it was earlier: none that begins a tenth of the idle time after it or later.

mod net;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Waker};

use self::net::{Losing, Loss, Model, Mutant};
use super::courier::Courier;
use super::sessions::{SessionReply, SessionRequest, Sessions, SignedIn};
use super::*;
use crate::access::{Principal, Role};
use crate::error::Kind;
use crate::session::account::{Account, Change};
use crate::session::limit::Places;
use crate::session::token::Token;
use crate::session::{self, Lifetimes, SignIn};
use crate::store::memory::{Kept, Memory};
use crate::store::sqlite::SqliteStore;
use crate::testing::DrivenClock;
use crate::time::{Clock, Ttl};

const SECRET: &[u8] = &[7; 32];
/// Short, so that the idle clock is written often. What a store that goes back needs would hide in others what is wrong.
fn lifetimes(loss: Loss) -> Lifetimes {
    Lifetimes {
        idle: Ttl::from_secs(20),
        absolute: Ttl::from_mins(10),
        hearsay: loss == Loss::Recent,
        restored: UnixMillis(0),
    }
}
const REQUESTS: usize = 200;

type Task<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// An acknowledgement: in which step, and at what time.
#[derive(Clone, Copy)]
struct At(u64, UnixMillis);

/// A token that somebody has, and since when no request with it may succeed.
struct Held {
    token: Token,
    id: String,
    dead_since: Cell<Option<At>>,
}

/// What the tasks share.
struct Shared<'a, S> {
    model: &'a Model<S>,
    held: RefCell<Vec<Rc<Held>>>,
    /// Since when no token of before the new password may open anything.
    changed: Cell<Option<At>>,
}

impl<S: Losing> Shared<'_, S> {
    fn at(&self) -> At {
        At(self.model.step.get(), self.model.now())
    }

    /// Whether what begins at `began` must not succeed, given this acknowledgement.
    fn forbids(&self, since: At, began: At) -> bool {
        match self.model.loss {
            Loss::All => began.0 >= since.0,
            Loss::Recent => began.1 >= since.1.plus(lifetimes(Loss::Recent).step()),
        }
    }

    fn account(&self) -> Account {
        let mut accounts = roster::list(&self.model.sql, "", 1).unwrap();
        accounts.remove(0)
    }

    /// Signs in by `account` as it was read before: `None` where it came to nothing. The flow of `POST /session`.
    async fn sign_in(&self, account: &Account) -> Option<Rc<Held>> {
        let model = self.model;
        let token = Token::mint(&model.random, &account.principal.user);
        let id = model.random.uuid();
        let standing = session::account::Standing::from(account);
        let sign_in = SignIn { standing: &standing, id: &id, token: &token };
        let opened = session::open(model, SECRET, lifetimes(model.loss), model.now(), sign_in).await;
        let Ok(Some(session)) = opened else {
            model.count("sign-in failed in the store");
            return None;
        };
        let signed_in = SignedIn {
            account: account.clone(),
            opening: session.opening(String::new(), lifetimes(model.loss)),
            previous: None,
            places: Places::default(),
            known: Places::default(),
            actor: Actor { user: String::new(), request: String::new() },
        };
        let counted = model.about(SessionRequest::SignedIn(Box::new(signed_in))).await;
        if !matches!(counted, Ok(SessionReply::SignedIn(true))) && model.mutant != Mutant::HandsOutUncounted {
            model.count(if counted.is_ok() { "late sign-in refused" } else { "sign-in failed in the clinic" });
            return None;
        }
        model.count("signed in");
        let held = Rc::new(Held { token, id, dead_since: Cell::new(None) });
        if account.version == 1 {
            held.dead_since.set(self.changed.get());
        }
        self.held.borrow_mut().push(Rc::clone(&held));
        Some(held)
    }

    /// A request: looks whether the session is open, and moves its idle clock.
    async fn request(&self, held: &Held) -> bool {
        let model = self.model;
        let began = self.at();
        let done = async {
            let now = model.now();
            let mut session = session::check(model, SECRET, lifetimes(model.loss), now, &held.token).await?;
            if session.is_hearsay(lifetimes(model.loss), now) && model.mutant != Mutant::TakesTheStoreAtItsWord {
                let confirmed = model.confirm(session.listener()).await;
                model.count(if confirmed.is_ok() { "confirmed" } else { "not confirmed" });
                confirmed?;
                session = session::confirm(model, lifetimes(model.loss), now, session).await?;
            }
            session::touch(model, lifetimes(model.loss), model.now(), session).await
        };
        let done = done.await;
        let after_the_end = held.dead_since.get().is_some_and(|since| self.forbids(since, began));
        match (&done, after_the_end) {
            (Ok(_), false) => model.count("let in"),
            (Ok(_), true) => {
                model.violations.borrow_mut().push(format!("step {}: an ended session was let in", began.0));
            }
            (Err(error), true) if error.kind == Kind::Unauthenticated => model.count("refused after the end"),
            (Err(error), false) if error.kind == Kind::Unauthenticated => {
                model.count("refused before the end was told")
            }
            (Err(_), _) => model.count("request failed"),
        }
        done.is_ok()
    }

    /// Signs out until it is acknowledged. The flow of `DELETE /session`.
    async fn sign_out(&self, held: &Held) {
        let (model, user) = (self.model, self.account().principal.user);
        let actor = || Actor { user: user.clone(), request: String::new() };
        loop {
            let ended = model.end(&user, Which::One(held.id.clone()), actor()).await;
            let Ok(ended) = ended else { continue };
            if model.mutant == Mutant::AcknowledgesTooEarly || session::revoke(model, &ended).await.is_ok() {
                break;
            }
            model.count("sign-out repeated");
        }
        held.dead_since.set(Some(self.at()));
        model.count("sign-out acknowledged");
    }

    /// Changes the password until it is acknowledged. The flow of `PUT /users/{id}/password`.
    async fn change_password(&self) {
        let (model, user) = (self.model, self.account().principal.user);
        loop {
            let change = Change { password: Some("new".into()), ..Change::default() };
            let actor = Actor { user: user.clone(), request: String::new() };
            let request = ClinicRequest::ChangeAccount { id: user.clone(), change, actor };
            let Ok(account) = model.change(request).await else { continue };
            let standing = session::account::Standing::from(&account);
            if model.mutant == Mutant::AcknowledgesTooEarly || session::project(model, &standing).await.is_ok() {
                break;
            }
            model.count("change repeated");
        }
        self.changed.set(Some(self.at()));
        for held in self.held.borrow().iter() {
            held.dead_since.set(held.dead_since.get().or(self.changed.get()));
        }
        model.count("change acknowledged");
    }

    /// A request with every token there ever was.
    async fn all(&self) {
        let held = self.held.borrow().clone();
        for one in held {
            self.request(&one).await;
        }
    }

    /// The store loses everything, or goes back to `earlier`.
    fn lose(&self, earlier: Kept) {
        let (loss, what) = match self.model.loss {
            Loss::All => (self.model.store.lose(self.model.mutant), "store lost everything"),
            Loss::Recent => (self.model.store.go_back(earlier), "store went back"),
        };
        if loss {
            self.model.count(what);
        }
    }
}

fn run<S: Losing>(model: &Model<S>) {
    let principal = Principal {
        user: model.random.uuid(),
        name: "N".into(),
        role: Role::Nurse,
        patient: None,
        wards: Vec::new(),
        patients: Vec::new(),
    };
    let account =
        Account { principal, practitioner: None, username: "nora".into(), disabled: false, version: 1, floor: 1 };
    roster::create(&model.sql, &account, "h", true).unwrap();
    let shared = Shared { model, held: RefCell::default(), changed: Cell::new(None) };
    let courier = Courier::default();
    let ended = Cell::new(false);

    let mut tasks: Vec<Task<'_>> = Vec::new();
    let script = async {
        let mut first = None;
        while first.is_none() {
            first = shared.sign_in(&account).await;
        }
        let first = first.unwrap();
        shared.sign_in(&account).await;
        model.pause(400).await;
        let earlier = model.store.kept();
        shared.sign_out(&first).await;
        if model.chance(50) {
            shared.lose(earlier);
        }
        model.pause(400).await;
        let earlier = model.store.kept();
        shared.change_password().await;
        if model.chance(50) {
            shared.lose(earlier);
        }
        model.pause(200).await;
        shared.sign_in(&shared.account()).await;
        model.pause(100).await;
        ended.set(true);
    };
    tasks.push(Box::pin(script));
    for _ in 0..6 {
        // Sign-ins that were judged by the account as it was, and are late.
        tasks.push(Box::pin(async {
            model.pause(1_200).await;
            shared.sign_in(&account).await;
        }));
    }
    for _ in 0..REQUESTS {
        tasks.push(Box::pin(async {
            while !ended.get() {
                model.pause(300).await;
                let held = shared.held.borrow().clone();
                if !held.is_empty() {
                    let one = &held[model.random.below(held.len() as u64) as usize];
                    shared.request(one).await;
                }
            }
        }));
    }
    tasks.push(Box::pin(async {
        while !ended.get() {
            model.pause(400).await;
            model.land().await;
        }
    }));
    tasks.push(Box::pin(async {
        while !ended.get() {
            model.pause(200).await;
            let _ = courier.run(&model.sql, model, UnixMillis::MAX).await;
            let _ = courier.tell(&model.sql, model).await;
        }
    }));
    drive(model, tasks);

    // Whatever is still on its way arrives; then nothing that has ended opens anything.
    model.faults.set(false);
    let end = async {
        while !model.late.borrow().is_empty() {
            model.land().await;
        }
        shared.all().await;
        loop {
            let _ = courier.run(&model.sql, model, UnixMillis::MAX).await;
            let _ = courier.tell(&model.sql, model).await;
            model.clock.0.set(model.clock.0.get() + registry::TELL_AGAIN.0);
            if !registry::owes(&model.sql).unwrap() && !courier::owes(&model.sql).unwrap() {
                break;
            }
        }
        shared.all().await;
    };
    drive(model, vec![Box::pin(end)]);
}

/// Lets one task after the other go on by a bit, at random.
fn drive<S>(model: &Model<S>, mut tasks: Vec<Task<'_>>) {
    let mut context = Context::from_waker(Waker::noop());
    while !tasks.is_empty() {
        let at = model.random.below(tasks.len() as u64) as usize;
        model.step.set(model.step.get() + 1);
        if model.step.get().is_multiple_of(16) {
            model.clock.0.set(model.clock.0.get() + model.random.below(8));
        }
        if tasks[at].as_mut().poll(&mut context).is_ready() {
            drop(tasks.swap_remove(at));
        }
    }
}

type Counts = BTreeMap<&'static str, u64>;

fn outcome<S: Losing>(model: &Model<S>, sums: &mut Counts) -> Option<String> {
    run(model);
    for (what, count) in model.counts.borrow().iter() {
        *sums.entry(what).or_default() += count;
    }
    model.violations.borrow().first().cloned()
}

fn over_memory(seed: u64, mutant: Mutant, sums: &mut Counts) -> Option<String> {
    let clock = Rc::new(DrivenClock(Cell::new(1_764_000_000_000)));
    outcome(&Model::new(seed, mutant, Loss::All, Memory::new(Rc::clone(&clock)), clock), sums)
}

fn over_one_that_goes_back(seed: u64, mutant: Mutant, sums: &mut Counts) -> Option<String> {
    let clock = Rc::new(DrivenClock(Cell::new(1_764_000_000_000)));
    outcome(&Model::new(seed, mutant, Loss::Recent, Memory::new(Rc::clone(&clock)), clock), sums)
}

fn over_sql(seed: u64, mutant: Mutant, sums: &mut Counts) -> Option<String> {
    let clock = Rc::new(DrivenClock(Cell::new(1_764_000_000_000)));
    outcome(&Model::new(seed, mutant, Loss::All, SqliteStore::open(Rc::clone(&clock)), clock), sums)
}

const EXPECTED: [&str; 17] = [
    "lost",
    "delayed",
    "doubled",
    "reply lost",
    "clinic not reached",
    "clinic's reply lost",
    "late, took effect",
    "late, refused",
    "signed in",
    "sign-in failed in the store",
    "sign-in failed in the clinic",
    "let in",
    "refused before the end was told",
    "refused after the end",
    "request failed",
    "sign-out repeated",
    "change repeated",
];

type Over = fn(u64, Mutant, &mut Counts) -> Option<String>;

/// Runs the model over one backend. `and` is what else must happen with it: an object loses nothing, and then a standing
/// that is too old is found out in the store.
fn holds(backend: &str, seeds: u64, over: Over, and: &[&str]) {
    let mut sums = Counts::new();
    for seed in 0..seeds {
        if let Some(violation) = over(seed, Mutant::None, &mut sums) {
            panic!("{backend}, seed {seed}: {violation}");
        }
    }
    println!("{backend}, {seeds} seeds, {REQUESTS} requests at once: {sums:?}");
    for what in EXPECTED.iter().chain(and) {
        assert!(sums.contains_key(what), "{backend}: never happened: {what}");
    }
}

#[test]
fn no_ended_session_comes_back() {
    holds("memory", 24, over_memory, &["late sign-in refused", "store lost everything"]);
    holds("sql", 10, over_sql, &[]);
}

#[test]
fn with_a_store_that_goes_back_none_comes_back_for_long() {
    holds("memory that goes back", 24, over_one_that_goes_back, &["store went back", "confirmed", "not confirmed"]);
}

#[test]
fn the_model_notices_what_would_bring_one_back() {
    for mutant in [
        Mutant::LeavesNoTombstone,
        Mutant::TouchesWhateverIsThere,
        Mutant::CountsFromZeroAgain,
        Mutant::HandsOutUncounted,
        Mutant::AcknowledgesTooEarly,
    ] {
        notices(mutant, over_memory);
    }
    notices(Mutant::TakesTheStoreAtItsWord, over_one_that_goes_back);
}

fn notices(mutant: Mutant, over: Over) {
    let caught = (0..300).find(|seed| over(*seed, mutant, &mut Counts::new()).is_some());
    println!("{mutant:?}: caught with seed {caught:?}");
    assert!(caught.is_some(), "{mutant:?} goes unnoticed");
}
