//! The client against a scripted server: what it sends, what it makes of every reply, and when it sends again. Real servers
//! are met by the laws (`super::super::conformance`) and by tests/.

use std::cell::Cell;
use std::collections::VecDeque;
use std::task::Context;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::join_all;
use futures_util::join;
use serde_json::{Value, json};
use sha1::{Digest, Sha1};

use super::*;
use crate::error::Retry;
use crate::outgoing::{Lost, Response};
use crate::store::{Condition, Entry, OpReply};
use crate::testing::{DrivenClock, Seeded, block_on};
use crate::time::{Clock, Entropy, UnixMillis};

const TOKEN: &str = "the-secret-token";
const KEY: &str = "session/the-secret-key";
const VALUE: &[u8] = b"the secret value";

/// What a scripted server does with one request: takes so long, then replies or not.
type Turn = (u64, std::result::Result<Response, Lost>);

/// A request's URL, body and headers.
type Seen = (String, Value, Vec<(std::borrow::Cow<'static, str>, String)>);
/// The kind of the error that it ends as, and how often it was sent.
type Ends = (Kind, usize);

#[derive(Clone)]
struct Server(Rc<Inside>);

struct Inside {
    clock: DrivenClock,
    entropy: Seeded,
    script: RefCell<VecDeque<Turn>>,
    /// What comes when the script is over.
    rest: RefCell<Turn>,
    seen: RefCell<Vec<Seen>>,
    notes: RefCell<Vec<&'static str>>,
}

impl Http for Server {
    async fn send(&self, request: &Request, within: Ttl) -> std::result::Result<Response, Lost> {
        assert_eq!(request.method, "POST");
        let body = serde_json::from_str(&request.body).unwrap();
        self.0.seen.borrow_mut().push((request.url.clone(), body, request.headers.clone()));
        let (takes, reply) = self.0.script.borrow_mut().pop_front().unwrap_or_else(|| self.0.rest.borrow().clone());
        self.pass(takes.min(within.0));
        if takes >= within.0 { Err(Lost::Late) } else { reply }
    }

    async fn pause(&self, ttl: Ttl) {
        self.pass(ttl.0);
    }

    fn note(&self, sentence: &'static str) {
        self.0.notes.borrow_mut().push(sentence);
    }
}

impl Clock for Server {
    fn now(&self) -> UnixMillis {
        self.0.clock.now()
    }
}

impl Entropy for Server {
    fn fill(&self, buffer: &mut [u8]) {
        self.0.entropy.fill(buffer);
    }
}

impl Server {
    fn new(script: impl IntoIterator<Item = Turn>) -> Server {
        Server(Rc::new(Inside {
            clock: DrivenClock(Cell::new(1_000_000)),
            entropy: Seeded::new(11),
            script: RefCell::new(script.into_iter().collect()),
            rest: RefCell::new((0, Err(Lost::Broken))),
            seen: RefCell::default(),
            notes: RefCell::default(),
        }))
    }

    /// From now on, once the script is over, every request meets this.
    fn always(&self, turn: Turn) {
        *self.0.rest.borrow_mut() = turn;
    }

    fn pass(&self, millis: u64) {
        self.0.clock.0.set(self.0.clock.0.get() + millis);
    }

    fn sent(&self) -> usize {
        self.0.seen.borrow().len()
    }

    fn redis(&self) -> Redis<Server> {
        let access = Access { url: "https://redis.example/base".into(), token: TOKEN.into() };
        Redis::new(self.clone(), Rc::new(access), Rc::default(), Judge::Redis)
    }
}

fn reply(status: u16, body: impl Into<Vec<u8>>) -> Turn {
    (5, Ok(Response { status, headers: Vec::new(), body: body.into() }))
}

fn says(answer: &str) -> Turn {
    reply(200, json!({ "result": answer }).to_string())
}

fn error(status: u16, text: &str) -> Turn {
    reply(status, json!({ "error": text }).to_string())
}

fn with(turn: Turn, name: &'static str, value: &str) -> Turn {
    (turn.0, turn.1.map(|response| Response { headers: vec![(name, value.to_owned())], ..response }))
}

fn shard() -> Shard {
    Shard::of("somebody")
}

fn read(redis: &Redis<Server>) -> Result<Applied> {
    block_on(redis.apply(shard(), vec![Op::get(KEY)]))
}

fn write(redis: &Redis<Server>) -> Result<Applied> {
    let condition = Condition::Version(7);
    block_on(redis.apply(shard(), vec![Op::Put { key: KEY.into(), value: VALUE.into(), condition, expires: None }]))
}

const MISSING: &str = "B1 d -";
const WROTE: &str = "B1 d w0000000000000008";

fn found() -> Applied {
    Applied::Done(vec![OpReply::Got(None)])
}

fn wrote() -> Applied {
    Applied::Done(vec![OpReply::Wrote(8)])
}

/// Servers keep scripts under this name; a wrong one would send the script along every time.
#[test]
fn the_name_of_the_script_is_its_sha1() {
    let name: String = Sha1::digest(script::SCRIPT).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(name, script::SHA1);
}

/// Stored data is found by these names and read in this form; if it moves, the data of every deployment is lost from sight.
#[test]
fn the_call_is_pinned() {
    let server = Server::new([says("B1 d w0000000000000008 . . -")]);
    let batch = vec![
        Op::Put {
            key: "a b/é".into(),
            value: vec![0, 255],
            condition: Condition::Absent,
            expires: Some(UnixMillis(77)),
        },
        Op::Delete { key: "c".into(), condition: Condition::Version(12) },
        Op::Check { key: "c".into(), condition: Condition::Always },
        Op::get("d"),
    ];
    block_on(server.redis().apply(shard(), batch)).unwrap();
    let (url, body, headers) = server.0.seen.borrow()[0].clone();
    assert_eq!(url, "https://redis.example/base/");
    let tag = format!("bedside:{{{}}}", shard().name());
    let key = |key: &str| format!("{tag}/{key}");
    let wanted = json!([
        "EVALSHA",
        script::SHA1,
        "5",
        format!("{tag}#"),
        key("a b/é"),
        key("c"),
        key("c"),
        key("d"),
        "",
        "pa00000000000000000000000000000077AP8=",
        "dv00000000000000129999999999999999",
        "c-00000000000000009999999999999999",
        "g",
    ]);
    assert_eq!(body, wanted);
    for (name, value) in [
        ("authorization", "Bearer the-secret-token"),
        ("content-type", "application/json"),
        ("upstash-encoding", "base64"),
    ] {
        assert_eq!(headers.iter().find(|(found, _)| *found == name).map(|(_, found)| found.as_str()), Some(value));
    }
}

#[test]
fn every_byte_comes_back_whether_or_not_the_server_wraps_its_answers() {
    let value: Vec<u8> = (0..=255).chain((0..=255).rev()).collect();
    let answer = format!("B1 d =00000000000000420000001764000000{}", STANDARD.encode(&value));
    let entry = Entry { version: 42, value, expires: Some(UnixMillis(1_764_000_000)) };
    let wanted = Applied::Done(vec![OpReply::Got(Some(entry))]);
    for answer in [answer.clone(), STANDARD.encode(&answer)] {
        assert_eq!(read(&Server::new([says(&answer)]).redis()), Ok(wanted.clone()));
    }
    let refused = Applied::Refused { step: 0 };
    for answer in ["B1 r 0".to_owned(), STANDARD.encode("B1 r 0")] {
        assert_eq!(write(&Server::new([says(&answer)]).redis()), Ok(refused.clone()));
    }
}

#[test]
fn reads_of_one_turn_are_one_request() {
    let answers = json!([{ "result": "B1 d -" }, { "result": "B1 d - -" }, { "result": STANDARD.encode("B1 d .") }]);
    let server = Server::new([reply(200, answers.to_string()), says(MISSING)]);
    let redis = server.redis();
    block_on(async {
        let (one, two, three) = join!(
            redis.apply(Shard::of("a"), vec![Op::get("a")]),
            redis.apply(Shard::of("b"), vec![Op::get("b"), Op::get("c")]),
            redis.apply(Shard::of("c"), vec![Op::Check { key: "d".into(), condition: Condition::Absent }]),
        );
        assert_eq!(one, Ok(found()));
        assert_eq!(two.map(|applied| applied.entries().count()), Ok(2));
        assert_eq!(three, Ok(Applied::Done(vec![OpReply::Done])));
    });
    assert_eq!(server.sent(), 1);
    assert_eq!(server.0.seen.borrow()[0].0, "https://redis.example/base/pipeline");
    assert_eq!(read(&redis), Ok(found()));
    assert_eq!(server.sent(), 2);
}

#[test]
fn whoever_goes_away_takes_no_others_along() {
    let answers = json!([{ "result": MISSING }, { "result": MISSING }]);
    let server = Server::new([reply(200, answers.to_string())]);
    let redis = server.redis();
    let mut first = Box::pin(redis.apply(Shard::of("a"), vec![Op::get("a")]));
    let second = redis.apply(Shard::of("b"), vec![Op::get("b")]);
    assert!(first.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop())).is_pending());
    let mut second = Box::pin(second);
    assert!(second.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop())).is_pending());
    drop(first);
    assert_eq!(block_on(second), Ok(found()));
    assert_eq!(server.sent(), 1);
}

#[test]
fn a_server_without_the_script_is_sent_it_once() {
    let words = "NOSCRIPT No matching script. Please use EVAL.";
    for missing in
        [error(400, words), error(200, words), error(500, &format!("Failed to execute Redis command: {words}"))]
    {
        for (is_change, answer) in [(false, MISSING), (true, WROTE)] {
            let server = Server::new([missing.clone(), says(answer)]);
            let redis = server.redis();
            assert!(if is_change { write(&redis) } else { read(&redis) }.is_ok());
            let seen = server.0.seen.borrow();
            assert_eq!((seen[0].1[0].as_str(), seen[1].1[0].as_str()), (Some("EVALSHA"), Some("EVAL")));
            assert_eq!(seen[1].1[1].as_str(), Some(script::SCRIPT));
            assert_eq!(server.now(), UnixMillis(1_000_010), "it waited");
        }
        let never = Server::new([missing.clone(), missing.clone(), missing]);
        assert_eq!(write(&never.redis()).unwrap_err().kind, Kind::Internal);
        assert_eq!(never.sent(), 2);
    }
    // In a pipeline, only those that lack it are sent again.
    let first = json!([{ "result": MISSING }, { "error": words }]);
    let server = Server::new([reply(200, first.to_string()), says(MISSING)]);
    let redis = server.redis();
    let both = block_on(join_all((0..2).map(|_| redis.apply(shard(), vec![Op::get("a")]))));
    assert_eq!(both, [Ok(found()), Ok(found())]);
    assert_eq!(server.sent(), 2);
}

/// Each line: what the server does, and what becomes of a read and of a write.
#[test]
fn a_write_is_sent_again_only_where_it_is_certain_that_it_was_not_carried_out() {
    use Kind::{Internal, Misconfigured, OutcomeUnknown, Unavailable};
    let cases: Vec<(&str, Turn, Ends, Ends)> = vec![
        ("lost", (5, Err(Lost::Broken)), (Unavailable, 3), (OutcomeUnknown, 1)),
        ("late", (60_000, Err(Lost::Late)), (Unavailable, 3), (OutcomeUnknown, 1)),
        ("no JSON", reply(200, "<html>"), (Unavailable, 3), (OutcomeUnknown, 1)),
        ("nothing", reply(200, ""), (Unavailable, 3), (OutcomeUnknown, 1)),
        ("no UTF-8", reply(200, vec![255, 254]), (Unavailable, 3), (OutcomeUnknown, 1)),
        ("another shape", reply(200, r#"{"result":[1]}"#), (Unavailable, 3), (OutcomeUnknown, 1)),
        ("null", reply(200, r#"{"result":null}"#), (Unavailable, 3), (OutcomeUnknown, 1)),
        ("no answer of the script", says("OK"), (Unavailable, 3), (OutcomeUnknown, 1)),
        ("a redirect", reply(302, ""), (Unavailable, 3), (OutcomeUnknown, 1)),
        ("500", error(500, "Internal server error"), (Unavailable, 3), (OutcomeUnknown, 1)),
        ("502", reply(502, "Bad Gateway"), (Unavailable, 3), (OutcomeUnknown, 1)),
        ("503", reply(503, ""), (Unavailable, 3), (OutcomeUnknown, 1)),
        ("408", reply(408, ""), (Unavailable, 3), (OutcomeUnknown, 1)),
        (
            "front lost Redis",
            error(500, "Failed to execute Redis command: Connection is closed."),
            (Unavailable, 3),
            (OutcomeUnknown, 1),
        ),
        ("some error", error(200, "ERR something"), (Unavailable, 3), (OutcomeUnknown, 1)),
        ("loading", error(400, "LOADING Redis is loading the dataset in memory"), (Unavailable, 3), (Unavailable, 3)),
        (
            "full, Redis 6",
            error(
                500,
                "ERR Error running script (call to f_0): @user_script:1: @user_script: 1: -OOM command not allowed",
            ),
            (Unavailable, 3),
            (Unavailable, 3),
        ),
        (
            "busy, behind a front",
            error(500, "Failed to execute Redis command: BUSY Redis is busy running a script."),
            (Unavailable, 3),
            (Unavailable, 3),
        ),
        (
            "replica",
            error(200, "READONLY You can't write against a read only replica."),
            (Unavailable, 3),
            (Unavailable, 3),
        ),
        ("429", error(429, "too many"), (Unavailable, 3), (Unavailable, 3)),
        ("429, not so soon", with(error(429, "too many"), "retry-after", "4"), (Unavailable, 1), (Unavailable, 1)),
        ("401", error(401, "Unauthorized"), (Misconfigured, 1), (Misconfigured, 1)),
        ("403", reply(403, ""), (Misconfigured, 1), (Misconfigured, 1)),
        ("no permission", error(400, "NOPERM this user has no permissions"), (Misconfigured, 1), (Misconfigured, 1)),
        ("400", error(400, "ERR wrong number of arguments for 'evalsha' command"), (Internal, 1), (Internal, 1)),
        ("404", reply(404, "404 Not Found"), (Internal, 1), (Internal, 1)),
        ("405", error(405, "Method Not Allowed"), (Internal, 1), (Internal, 1)),
        ("wrong type", error(400, "WRONGTYPE Operation against a key"), (Internal, 1), (Internal, 1)),
    ];
    for (name, turn, of_read, of_write) in cases {
        for ((kind, sent), is_change) in [(of_read, false), (of_write, true)] {
            let server = Server::new([]);
            server.always(turn.clone());
            let begin = server.now();
            let outcome = if is_change { write(&server.redis()) } else { read(&server.redis()) };
            let error = outcome.unwrap_err();
            assert_eq!((error.kind, server.sent()), (kind, sent), "{name}, change: {is_change}");
            assert!(begin.until(server.now()) <= BUDGET, "{name} took {:?}", begin.until(server.now()));
            let (expected, status) = match kind {
                Unavailable => (Retry::After(Ttl::from_secs(if name == "429, not so soon" { 4 } else { 1 })), 503),
                OutcomeUnknown => (Retry::AfterLooking, 504),
                Misconfigured => (Retry::Never, 503),
                _ => (Retry::Never, 500),
            };
            assert_eq!((error.retry, error.status()), (expected, status), "{name}");
        }
    }
}

#[test]
fn what_may_be_repeated_succeeds_at_the_second_try() {
    for turn in [(5, Err(Lost::Broken)), (60_000, Err(Lost::Late)), reply(503, ""), error(429, "too many")] {
        let server = Server::new([turn, says(MISSING)]);
        assert_eq!(read(&server.redis()), Ok(found()));
    }
    let server = Server::new([error(500, "Failed to execute Redis command: LOADING"), says(WROTE)]);
    assert_eq!(write(&server.redis()), Ok(wrote()));
}

/// A server may repeat the command in its error, as Upstash does: "ERR syntax error, command was: ...".
#[test]
fn an_error_holds_no_command_key_value_or_token() {
    let echo = format!("ERR failed, command was: [\"EVALSHA\",\"{KEY}\",\"{}\",\"{TOKEN}\"]", STANDARD.encode(VALUE));
    for status in [200, 400, 401, 429, 500, 503] {
        for is_change in [false, true] {
            let server = Server::new([]);
            server.always(error(status, &echo));
            let redis = server.redis();
            let error = if is_change { write(&redis) } else { read(&redis) }.unwrap_err();
            let shown = format!("{error} {error:?} {:?}", server.0.notes.borrow());
            for secret in [KEY, "EVAL", TOKEN, "the secret value", &STANDARD.encode(VALUE)] {
                assert!(!shown.contains(secret), "{shown}");
            }
        }
    }
}

#[test]
fn a_body_that_breaks_off_anywhere_is_never_taken_for_an_answer() {
    let whole = json!({ "result": WROTE }).to_string();
    for end in 0..whole.len() {
        let server = Server::new([reply(200, &whole.as_bytes()[..end])]);
        assert_eq!(write(&server.redis()).unwrap_err().kind, Kind::OutcomeUnknown, "{end}");
    }
    for end in 0..WROTE.len() {
        let server = Server::new([says(&WROTE[..end])]);
        assert_eq!(write(&server.redis()).unwrap_err().kind, Kind::OutcomeUnknown, "{end}");
    }
}

#[test]
fn the_sync_token_of_a_reply_goes_with_the_next_request() {
    let server = Server::new([
        says(MISSING),
        with(says(MISSING), SYNC_TOKEN, "one"),
        says(MISSING),
        with(error(400, "ERR"), SYNC_TOKEN, "two"),
        says(MISSING),
    ]);
    let redis = server.redis();
    for _ in 0..5 {
        let _ = read(&redis);
    }
    let seen = server.0.seen.borrow();
    let tokens = seen
        .iter()
        .map(|(_, _, headers)| headers.iter().find(|(name, _)| *name == SYNC_TOKEN).map(|(_, value)| value.as_str()));
    assert_eq!(tokens.collect::<Vec<_>>(), [None, None, Some("one"), Some("one"), Some("two")]);
}

#[test]
fn while_it_is_away_nobody_waits_and_one_probe_finds_it_back() {
    let server = Server::new([]);
    server.always((60_000, Err(Lost::Late)));
    let redis = server.redis();
    assert_eq!(read(&redis).unwrap_err().kind, Kind::Unavailable);
    let (sent, at) = (server.sent(), server.now());
    for outcome in [read(&redis), write(&redis)] {
        let error = outcome.unwrap_err();
        assert_eq!((error.kind, error.status()), (Kind::Unavailable, 503));
        assert!(matches!(error.retry, Retry::After(after) if after.as_secs_up() == 1));
    }
    assert_eq!((server.sent(), server.now()), (sent, at), "it asked, or waited");
    // A probe that fails is not repeated; one that succeeds lets everybody through.
    server.pass(500);
    assert!(read(&redis).is_err());
    assert_eq!(server.sent(), sent + 1);
    server.always(says(MISSING));
    assert!(read(&redis).is_err());
    server.pass(500);
    assert_eq!(read(&redis), Ok(found()));
    assert_eq!(read(&redis), Ok(found()));
    assert_eq!(server.sent(), sent + 3);
    assert_eq!(server.0.notes.borrow().len(), 2, "{:?}", server.0.notes.borrow());
}

#[test]
fn a_transaction_has_a_path_and_an_error_of_its_own() {
    let calls = [Call::new(shard(), &[Op::get("a")], None), Call::new(shard(), &[Op::get("b")], None)];
    assert_eq!(Form::Transaction.path(), "/multi-exec");
    let body: Value = serde_json::from_str(&protocol::encode(Form::Transaction, &calls).unwrap()).unwrap();
    assert_eq!(body.as_array().map(Vec::len), Some(2));
    assert!(protocol::encode(Form::Single, &calls).is_none());
    let decode = |turn: Turn| protocol::decode(Form::Transaction, 2, &turn.1.unwrap());
    let done = json!([{ "result": MISSING }, { "error": "WRONGTYPE Operation against a key" }]);
    assert_eq!(decode(reply(200, done.to_string())), [Fate::Answered(MISSING.into()), Fate::Refused(Refusal::Unfit)]);
    let discarded = error(400, "EXECABORT Transaction discarded because of previous errors.");
    assert_eq!(decode(discarded), [Fate::Refused(Refusal::Unfit), Fate::Refused(Refusal::Unfit)]);
    assert_eq!(decode(reply(200, json!([{ "result": MISSING }]).to_string())), [Fate::Unknown, Fate::Unknown]);
}
