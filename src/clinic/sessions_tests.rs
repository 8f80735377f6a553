use super::courier::Courier;
use super::sessions::{Confirmed, SessionReply, SessionRequest, SignedIn};
use super::*;
use crate::access::bar::{self, Listener};
use crate::access::{Principal, Role};
use crate::channel::{Topic, history};
use crate::error::Kind;
use crate::session::account::{Account, Change, Standing};
use crate::session::limit::Places;
use crate::session::token::Token;
use crate::session::{Lifetimes, Session, SignIn};
use crate::store::memory::Fault;
use crate::testing::{Local, block_on};
use crate::time::{Clock, Ttl};
use crate::{session, store};

const SECRET: &[u8] = &[7; 32];
const LIFETIMES: Lifetimes =
    Lifetimes { idle: Ttl::from_mins(15), absolute: Ttl::from_mins(720), hearsay: false, restored: UnixMillis(0) };

fn actor() -> Actor {
    Actor { user: String::new(), request: "r".into() }
}

struct World {
    local: Local,
    courier: Courier,
    account: Account,
}

impl World {
    fn new() -> World {
        let local = Local::new();
        let principal = Principal {
            user: local.uuid(),
            name: "N".into(),
            role: Role::Nurse,
            patient: None,
            wards: vec!["w".into()],
            patients: Vec::new(),
        };
        let account =
            Account { principal, practitioner: None, username: "nora".into(), disabled: false, version: 1, floor: 1 };
        let world = World { local, courier: Courier::default(), account: account.clone() };
        world
            .ask(ClinicRequest::CreateAccount { account, hash: "h".into(), only_first: true, actor: actor() })
            .unwrap();
        world
    }

    fn ask(&self, request: ClinicRequest) -> Result<ClinicReply> {
        let local = &self.local;
        let desk = Desk::new(Ttl(0), local.now());
        handle(&local.sql, &desk, &local.entropy, &local.watch, local.now(), &request).map(|handled| handled.reply)
    }

    fn about(&self, request: SessionRequest) -> Result<SessionReply> {
        match self.ask(ClinicRequest::Session(request))? {
            ClinicReply::Session(reply) => Ok(reply),
            other => panic!("{other:?}"),
        }
    }

    /// A session in the store that the clinic's object does not know yet.
    fn open(&self) -> (Session, Token) {
        let token = Token::mint(&self.local.entropy, &self.account.principal.user);
        let standing = Standing::from(&self.account);
        let id = self.local.uuid();
        let sign_in = SignIn { standing: &standing, id: &id, token: &token };
        let opened = session::open(&self.local.store, SECRET, LIFETIMES, self.local.now(), sign_in);
        (block_on(opened).unwrap().unwrap(), token)
    }

    fn signed_in(&self, session: &Session, previous: Option<&Session>) -> bool {
        let signed_in = SignedIn {
            account: self.account.clone(),
            opening: session.opening("curl".into(), LIFETIMES),
            previous: previous.map(Session::ended),
            places: Places::default(),
            known: Places::default(),
            actor: actor(),
        };
        self.about(SessionRequest::SignedIn(Box::new(signed_in))).unwrap() == SessionReply::SignedIn(true)
    }

    fn sign_in(&self) -> (Session, Token) {
        let (session, token) = self.open();
        assert!(self.signed_in(&session, None));
        (session, token)
    }

    fn follow(&self, session: &Session, topic: &str) -> Result<()> {
        let topic = Topic::parse(topic).unwrap();
        self.about(SessionRequest::Follow { listener: session.listener(), topic }).map(|_| ())
    }

    fn end(&self, which: Which) -> usize {
        let user = self.account.principal.user.clone();
        match self.about(SessionRequest::End { user, which, actor: actor() }).unwrap() {
            SessionReply::Ended(ended) => ended.len(),
            other => panic!("{other:?}"),
        }
    }

    fn change(&self, change: Change) -> Account {
        let id = self.account.principal.user.clone();
        match self.ask(ClinicRequest::ChangeAccount { id, change, actor: actor() }).unwrap() {
            ClinicReply::Changed(account) => account,
            other => panic!("{other:?}"),
        }
    }

    fn tell(&self) -> bool {
        block_on(self.courier.tell(&self.local.sql, &self.local)).unwrap();
        !registry::owes(&self.local.sql).unwrap()
    }

    /// Whether a topic lets this listener in.
    fn admits(&self, topic: &str, listener: &Listener) -> bool {
        let topics = self.local.topics.borrow();
        let topic = topics.get(&Topic::parse(topic).unwrap());
        topic.is_none_or(|topic| bar::admit(topic, listener).is_ok())
    }

    fn is_open(&self, token: &Token) -> bool {
        block_on(session::check(&self.local.store, SECRET, LIFETIMES, self.local.now(), token)).is_ok()
    }

    fn watch(&self) {
        block_on(super::watch::run(&self.local.sql, &self.local, LIFETIMES)).unwrap();
        block_on(self.courier.run(&self.local.sql, &self.local, UnixMillis::MAX)).unwrap();
        self.tell();
    }

    fn warnings(&self) -> Vec<String> {
        let topics = self.local.topics.borrow();
        let topic = topics.get(&Topic::User(self.account.principal.user.clone()));
        let page = topic.and_then(|topic| history::page(topic, None, 100).unwrap());
        page.into_iter().flat_map(|page| page.events).map(|logged| logged.event.data).collect()
    }

    fn pass(&self, ttl: Ttl) {
        self.local.pass(ttl);
    }
}

#[test]
fn many_wrong_passwords_wait_and_a_new_password_ends_the_wait() {
    let world = World::new();
    let attempt = || {
        let request = SessionRequest::Attempt { username: "nora".into(), places: Places::default() };
        world.about(request).unwrap()
    };
    for _ in 0..10 {
        assert!(matches!(attempt(), SessionReply::Judge(Some(_))));
    }
    assert_eq!(attempt(), SessionReply::Wait(Ttl::from_secs(30)));
    world.change(Change { password: Some("other".into()), ..Change::default() });
    assert!(matches!(attempt(), SessionReply::Judge(Some(_))));
}

#[test]
fn a_changed_account_is_brought_to_its_sessions_and_ends_them() {
    let world = World::new();
    let (before, token) = world.sign_in();
    let (late, _) = world.open();
    world.follow(&before, "ward/w").unwrap();
    let changed = world.change(Change { disabled: Some(true), ..Change::default() });
    assert_eq!((changed.version, changed.floor, changed.disabled), (2, 2, true));
    assert!(!world.signed_in(&late, None), "a sign-in that was judged by the account as it was does not count");
    world.local.store.fail_next(Fault::Before);
    let run = || block_on(world.courier.run(&world.local.sql, &world.local, UnixMillis::MAX)).unwrap();
    assert!(!run());
    assert!(run());
    assert_eq!(roster::due(&world.local.sql, 9).unwrap(), Vec::new());
    assert!(!world.is_open(&token));
    assert!(world.tell());
    assert!(!world.admits("ward/w", &before.listener()));
}

#[test]
fn an_end_reaches_store_and_topics_though_both_fail_at_first() {
    let world = World::new();
    let (session, token) = world.sign_in();
    let (other, other_token) = world.sign_in();
    for topic in ["ward/w", "patient/p"] {
        world.follow(&session, topic).unwrap();
        world.follow(&other, topic).unwrap();
    }
    assert_eq!(world.end(Which::One(session.id.clone())), 1);
    assert!(world.follow(&session, "patient/q").is_err(), "whoever comes later is refused");
    world.local.unreachable.set(true);
    world.local.store.fail_next(Fault::Before);
    assert!(!world.tell());
    assert!(world.is_open(&token) && world.admits("ward/w", &session.listener()));
    world.local.unreachable.set(false);
    assert!(!world.tell(), "not before a moment has passed");
    world.pass(registry::TELL_AGAIN);
    world.local.reply_lost.set(true);
    assert!(!world.tell());
    world.pass(registry::TELL_AGAIN);
    assert!(world.tell());
    assert!(!world.is_open(&token) && world.is_open(&other_token));
    for topic in ["ward/w", "patient/p"] {
        assert!(!world.admits(topic, &session.listener()), "{topic}");
        assert!(world.admits(topic, &other.listener()), "{topic}");
    }
    assert_eq!(world.end(Which::One(session.id)), 1, "a repetition does it again");
    assert_eq!(world.end(Which::One("none".into())), 0);
    assert_eq!(world.end(Which::AllBut(Some(other.id.clone()))), 1);
    assert!(world.is_open(&other_token));
}

#[test]
fn a_change_of_wards_has_listeners_ask_again_and_those_under_way_as_well() {
    let world = World::new();
    let (session, token) = world.sign_in();
    world.follow(&session, "ward/w").unwrap();
    world.change(Change { wards: Some(Vec::new()), ..Change::default() });
    assert!(world.tell());
    assert!(!world.admits("ward/w", &session.listener()));
    let refused = world.follow(&session, "ward/w").unwrap_err();
    assert_eq!(refused.kind, Kind::Unavailable, "what was judged by the account as it was does not count");
    block_on(world.courier.run(&world.local.sql, &world.local, UnixMillis::MAX)).unwrap();
    let session = block_on(session::check(&world.local.store, SECRET, LIFETIMES, world.local.now(), &token)).unwrap();
    assert!(world.follow(&session, "ward/w").is_ok() && world.admits("ward/w", &session.listener()));
}

#[test]
fn a_sign_in_ends_the_session_that_it_came_with() {
    let world = World::new();
    let (first, first_token) = world.sign_in();
    world.follow(&first, "ward/w").unwrap();
    let (second, token) = world.open();
    assert!(world.signed_in(&second, Some(&first)));
    assert!(world.tell());
    assert!(!world.is_open(&first_token) && world.is_open(&token));
    assert!(!world.admits("ward/w", &first.listener()));
}

#[test]
fn an_end_is_warned_of_once_and_again_only_where_it_has_moved() {
    let world = World::new();
    let (session, token) = world.sign_in();
    let ends = |session: &Session| session.idle_expires_at.unwrap().to_rfc3339();
    let expected =
        |session: &Session| format!(r#"{{"ends_at":"{}","reason":"idle","session":"{}"}}"#, ends(session), session.id);
    world.pass(Ttl(Ttl::from_mins(14).0 - 1));
    world.watch();
    assert!(world.warnings().is_empty());
    world.pass(Ttl(1));
    world.watch();
    world.watch();
    assert_eq!(world.warnings(), [expected(&session)]);
    world.pass(Ttl::from_secs(30));
    let touched = block_on(session::check(&world.local.store, SECRET, LIFETIMES, world.local.now(), &token)).unwrap();
    let touched = block_on(session::touch(&world.local.store, LIFETIMES, world.local.now(), touched)).unwrap();
    world.pass(Ttl::from_secs(30));
    world.watch();
    assert!(world.is_open(&token), "it has moved");
    world.pass(Ttl(Ttl::from_mins(13).0 + 30_000));
    // The store does not answer at first: the warning is late, and given once.
    world.local.store.fail_next(Fault::Before);
    world.watch();
    assert_eq!(world.warnings().len(), 1);
    world.pass(Ttl(400));
    world.watch();
    assert_eq!(world.warnings(), [expected(&session), expected(&touched)]);
}

#[test]
fn a_session_that_runs_out_is_ended_everywhere() {
    let world = World::new();
    let (session, token) = world.sign_in();
    world.follow(&session, "ward/w").unwrap();
    world.pass(Ttl::from_mins(14));
    world.watch();
    world.pass(Ttl(Ttl::from_mins(1).0 - 1));
    world.watch();
    assert!(world.admits("ward/w", &session.listener()));
    world.pass(Ttl(1));
    world.watch();
    assert!(!world.is_open(&token) && !world.admits("ward/w", &session.listener()));
    assert_eq!(store::agenda::next(&world.local.sql).unwrap().map(|at| at > world.local.now()), Some(true));
    world.pass(LIFETIMES.absolute);
    world.sign_in();
    let rows = world.local.sql.first("SELECT count(*) FROM sessions", &[]).unwrap().unwrap().number().unwrap();
    assert_eq!(rows, 1, "old tombstones are cleared away");
}

#[test]
fn the_absolute_end_is_warned_of_as_such() {
    let world = World::new();
    let (_, token) = world.sign_in();
    while world.local.now().plus(Ttl::from_mins(14)) < world.local.now().plus(LIFETIMES.absolute) {
        let session = block_on(session::check(&world.local.store, SECRET, LIFETIMES, world.local.now(), &token));
        let Ok(session) = session else { break };
        block_on(session::touch(&world.local.store, LIFETIMES, world.local.now(), session)).unwrap();
        world.pass(Ttl::from_secs(30));
        world.watch();
    }
    let warnings = world.warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains(r#""reason":"absolute""#), "{warnings:?}");
}

/// A Redis may be restored from a snapshot: it says what was true earlier, and its owner does not know.
#[test]
fn a_store_that_went_back_is_told_once_more() {
    let world = World::new();
    let (session, token) = world.sign_in();
    let confirm = |session: &Session| {
        let request = SessionRequest::Confirm { listener: session.listener() };
        match world.about(request).unwrap() {
            SessionReply::Confirmed(confirmed) => confirmed,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(confirm(&session), Confirmed::Open);

    // A changed account: the standing of before is replaced again.
    let earlier = world.local.store.kept();
    world.change(Change { wards: Some(Vec::new()), ..Change::default() });
    block_on(world.courier.run(&world.local.sql, &world.local, UnixMillis::MAX)).unwrap();
    world.local.store.go_back(earlier);
    assert_eq!(confirm(&session), Confirmed::Changed);
    block_on(world.courier.run(&world.local.sql, &world.local, UnixMillis::MAX)).unwrap();
    let again = block_on(session::check(&world.local.store, SECRET, LIFETIMES, world.local.now(), &token)).unwrap();
    assert!(again.principal.wards.is_empty());
    assert_eq!(confirm(&again), Confirmed::Open);

    // An end: the tombstone is put again.
    let earlier = world.local.store.kept();
    assert_eq!(world.end(Which::AllBut(None)), 1);
    assert!(world.tell() && !world.is_open(&token));
    world.local.store.go_back(earlier);
    assert!(world.is_open(&token));
    assert_eq!(confirm(&again), Confirmed::Ended);
    assert!(world.tell() && !world.is_open(&token));
}
