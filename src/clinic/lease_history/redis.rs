//! Leases in a real redis-server, behind the network. Commands go to it as the HTTP front would send them, over its socket;
//! its scripts are the product's, but for the line that reads the clock, which here is one that can be set.

use std::cell::RefCell;
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::pin::pin;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;

use futures_util::future::{Either, select};
use serde_json::json;
use sha1::{Digest, Sha1};

use super::net::{Fate, Leg, Net};
use super::{Backend, Mutant};
use crate::config::stores::Redis as Access;
use crate::error::{Error, Result};
use crate::lease::hub::Hub;
use crate::lease::redis::{RedisLeases, Room, SCRIPT, SWEEP, json as text, opening, state};
use crate::lease::rules::{self, State};
use crate::lease::{Answer, Ask, Asker, Lease, LeaseName, Leases, RequestId, Ticket, Turn, USUAL};
use crate::outgoing::{Http, Lost, Request, Response};
use crate::store::memory::Memory;
use crate::store::redis::{Judge, Redis};
use crate::store::{Applied, Op, Shard, Store};
use crate::testing::DrivenClock;
use crate::time::{Clock, Entropy, Ttl, UnixMillis};

const CLOCK: &str = "local time = redis.call('TIME')";
const DRIVEN: &str = "local time = redis.call('HMGET', 'clock', 's', 'us')";

/// A redis-server of our own, that can be killed.
pub struct Server {
    program: String,
    folder: PathBuf,
    child: Child,
    stream: Option<BufReader<UnixStream>>,
}

impl Server {
    /// Starts `program`.
    pub fn start(program: String) -> Server {
        let folder = std::env::temp_dir().join(format!("bedside-history-{}", std::process::id()));
        fs::create_dir_all(folder.join("data")).unwrap();
        let child = Server::launch(&program, &folder);
        Server { program, folder, child, stream: None }
    }

    fn launch(program: &str, folder: &std::path::Path) -> Child {
        let (socket, data) = (folder.join("redis.sock"), folder.join("data"));
        let mut command = Command::new(program);
        // Written before it is acknowledged; that is enough where the process is killed and not the machine. (With `everysec`
        // a write may wait for a sync that is under way, and the checker finds the lost fence.)
        command.args(["--appendfsync", "no"]);
        command.args(["--port", "0", "--save", "", "--appendonly", "yes", "--maxmemory-policy", "noeviction"]);
        command.arg("--unixsocket").arg(socket).arg("--dir").arg(data);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// Kills it and starts it again, with its data or without.
    fn restart(&mut self, empty: bool) {
        self.stream = None;
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        // What is left of a socket looks as if somebody listened.
        let _ = fs::remove_file(self.folder.join("redis.sock"));
        if empty {
            fs::remove_dir_all(self.folder.join("data")).unwrap();
            fs::create_dir_all(self.folder.join("data")).unwrap();
        }
        self.child = Server::launch(&self.program, &self.folder);
    }

    fn stream(&mut self) -> &mut BufReader<UnixStream> {
        while self.stream.is_none() {
            let Ok(stream) = UnixStream::connect(self.folder.join("redis.sock")) else {
                assert!(self.child.try_wait().unwrap().is_none(), "the redis-server has ended");
                std::thread::yield_now();
                continue;
            };
            self.stream = Some(BufReader::new(stream));
            // While it loads its data it says so.
            while self.call(&["PING"]).is_err() {
                std::thread::yield_now();
            }
        }
        self.stream.as_mut().unwrap()
    }

    /// One command, and its answer or error as text.
    fn call(&mut self, words: &[&str]) -> std::result::Result<String, String> {
        let mut out = format!("*{}\r\n", words.len());
        for word in words {
            out.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        let stream = self.stream();
        stream.get_mut().write_all(out.as_bytes()).unwrap();
        let mut line = String::new();
        loop {
            match stream.read_line(&mut line) {
                Ok(_) => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("{error}"),
            }
        }
        let rest = line.get(1..).unwrap().trim_end().to_owned();
        match line.chars().next() {
            Some('-') => Err(rest),
            Some('$') => {
                let mut text = vec![0; rest.parse::<usize>().unwrap() + 2];
                stream.read_exact(&mut text).unwrap();
                text.truncate(text.len() - 2);
                Ok(String::from_utf8(text).unwrap())
            }
            _ => Ok(rest),
        }
    }
}

impl Server {
    /// What the script writes when it passes a lease on is what the rules would have written, whatever people are called.
    pub fn passes_on_as_the_rules_do(&mut self) {
        let name = LeaseName::parse("n").unwrap();
        let keys = ["bedside:{leases}/lease/n", "fences", "due", "losses"];
        let mut run = |what: &str, more: &[String]| {
            let words: Vec<&str> = ["EVAL", SCRIPT, "4"].into_iter().chain(keys).chain([what, "n"]).collect();
            self.call(&[words, more.iter().map(String::as_str).collect()].concat()).unwrap()
        };
        run("b", &["nonce".into()]);
        run("e", &["nonce".into(), "0".into()]);
        let read = |answer: &str| answer.splitn(5, ' ').nth(4).unwrap_or_default().to_owned();
        let wait = Ttl::from_secs(60);
        for (index, called) in ["Zoë \"Z\" 🦊", "},{\"asker\":{", "\\\",\"name\":\"x", "[]}"].into_iter().enumerate()
        {
            let asker = Asker { user: format!("u{index}"), name: called.to_owned() };
            let request_id = RequestId::parse("r").unwrap();
            let ask = match index {
                0 => Ask::Grant { asker, request_id, ttl: USUAL, wait: None },
                2 => Ask::Queue { asker, request_id, ttl: USUAL, wait },
                _ => Ask::Grant { asker, request_id, ttl: USUAL, wait: Some(wait) },
            };
            let (what, more) = opening(&ask).unwrap();
            run(what, &more);
        }
        for passed in 0..4 {
            let before = read(&run("r", &[]));
            let mut expected: State = state(&before).unwrap();
            let lease = expected.lease.clone().unwrap();
            let ask = Ask::Revoke { user: lease.user, fence: lease.fence };
            let (what, more) = opening(&ask).unwrap();
            let answer = run(what, &more);
            if passed == 3 {
                assert_eq!(answer, "L1 f");
                continue;
            }
            let pushed = if passed == 1 { '1' } else { '0' };
            let after = answer.strip_prefix(&format!("L1 h! {pushed} ")).unwrap().to_owned();
            assert_eq!(after, read(&run("r", &[])));
            let (mut highest, now) = (lease.fence, state(&after).unwrap().lease.unwrap().granted);
            rules::step(&name, &mut expected, &mut highest, now, &ask).unwrap();
            assert_eq!((after, highest), (text(&expected).unwrap(), lease.fence + 1));
        }
        self.call(&["FLUSHALL"]).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A script of the product, and what is run in its place.
struct Replaced {
    text: &'static str,
    sha1: String,
    by: String,
    by_sha1: String,
}

impl Replaced {
    fn new(text: &'static str, mutant: Option<Mutant>) -> Replaced {
        let sha1 = |text: &str| Sha1::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
        let driven = text.replacen(CLOCK, DRIVEN, 1);
        assert_ne!(driven, text);
        let by = with_one_thing_wrong(&driven, mutant);
        Replaced { text, sha1: sha1(text), by_sha1: sha1(&by), by }
    }
}

/// The way to it.
#[derive(Clone)]
struct Wire(Rc<Way>);

struct Way {
    net: Rc<Net>,
    server: Rc<RefCell<Server>>,
    scripts: [Replaced; 2],
}

impl Wire {
    /// One command, as the front runs it.
    fn run(&self, body: &str) -> Response {
        let words: Vec<String> = serde_json::from_str(body).unwrap();
        let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut scripts = self.0.scripts.iter();
        words[1] = match words[0] {
            "EVAL" => scripts.find(|script| script.text == words[1]).map(|script| &*script.by).unwrap(),
            "EVALSHA" => scripts.find(|script| script.sha1 == words[1]).map(|script| &*script.by_sha1).unwrap(),
            other => panic!("{other}"),
        };
        let now = self.0.net.now().0;
        let mut server = self.0.server.borrow_mut();
        server
            .call(&["HSET", "clock", "s", &(now / 1000).to_string(), "us", &(now % 1000 * 1000).to_string()])
            .unwrap();
        let (status, body) = match server.call(&words) {
            Ok(result) => (200, json!({ "result": result })),
            Err(error) => (400, json!({ "error": error })),
        };
        Response { status, body: body.to_string().into(), headers: Vec::new() }
    }
}

impl Http for Wire {
    async fn send(&self, request: &Request, _: Ttl) -> std::result::Result<Response, Lost> {
        match self.0.net.cross(Leg::Request).await {
            Fate::IsLost => return Err(Lost::Late),
            Fate::Arrives => {}
            Fate::Doubles => {
                let (wire, body) = (self.clone(), request.body.clone());
                self.0.net.stray(move || drop(wire.run(&body)));
            }
        }
        let response = self.run(&request.body);
        if self.0.net.cross(Leg::Reply).await == Fate::IsLost { Err(Lost::Late) } else { Ok(response) }
    }

    async fn pause(&self, ttl: Ttl) {
        self.0.net.sleep(ttl).await;
    }

    fn note(&self, _: &'static str) {}
}

impl Clock for Wire {
    /// The Worker's own clock.
    fn now(&self) -> UnixMillis {
        self.0.net.passed.now()
    }
}

impl Entropy for Wire {
    fn fill(&self, buffer: &mut [u8]) {
        self.0.net.random.fill(buffer);
    }
}

/// Where calls wait.
struct Beds {
    net: Rc<Net>,
    hub: Hub,
}

impl Room for Beds {
    async fn sleep(&self, name: &LeaseName, ticket: &Ticket, ttl: Ttl) -> Result<Option<Lease>> {
        match select(pin!(self.hub.sleep(name, ticket)), pin!(self.net.sleep(ttl))).await {
            Either::Right((false, _)) => Err(Error::unavailable("the object was evicted")),
            Either::Right(_) => Ok(None),
            Either::Left((lease, _)) => Ok(Some(lease)),
        }
    }

    async fn wake(&self, name: &LeaseName, turn: Turn) -> Result<()> {
        if self.net.one_in(6) {
            self.net.meet("wake-up lost");
        } else {
            self.hub.wake(name, turn);
        }
        Ok(())
    }

    async fn watch(&self) -> Result<()> {
        Ok(())
    }
}

/// What an object keeps of the epochs.
struct Epochs(Rc<Memory<DrivenClock>>);

impl Store for Epochs {
    async fn apply(&self, shard: Shard, batch: Vec<Op>) -> Result<Applied> {
        self.0.apply(shard, batch).await
    }
}

/// The leases of one Redis.
#[derive(Clone)]
pub struct OnRedis(Rc<Inside>);

struct Inside {
    net: Rc<Net>,
    server: Rc<RefCell<Server>>,
    epochs: Rc<Memory<DrivenClock>>,
    leases: RedisLeases<Wire, Epochs, Beds>,
    mutant: Option<Mutant>,
}

fn with_one_thing_wrong(script: &str, mutant: Option<Mutant>) -> String {
    let (right, wrong) = match mutant {
        Some(Mutant::GrantIgnoresLease) => ("if what == 'o' and not state then", "if what == 'o' then"),
        Some(Mutant::RevokeIgnoresFence) => {
            ("lease.fence == tonumber(ARGV[4])", "(what == 'c' or lease.fence == tonumber(ARGV[4]))")
        }
        // What is passed on, that is: what is granted stands further left.
        Some(Mutant::PassKeepsFence) => {
            ("    local fence, ends = digits(highest + 1)", "    local fence, ends = digits(highest)")
        }
        Some(Mutant::SwapUntimed) => ("and is_time()", ""),
        Some(Mutant::SwapUncompared) => ("(state or '') == ARGV[3] and digits(highest) == ARGV[5] and", ""),
        Some(Mutant::RenewsTooLate) => (
            "lease.fence == tonumber(ARGV[4]) and lease.expires > now",
            "lease.fence == tonumber(ARGV[4]) and lease.expires > now - 5000",
        ),
        _ => return script.to_owned(),
    };
    script.replacen(right, wrong, 1)
}

impl OnRedis {
    pub fn new(net: &Rc<Net>, server: &Rc<RefCell<Server>>, mutant: Option<Mutant>) -> OnRedis {
        server.borrow_mut().call(&["FLUSHALL"]).unwrap();
        let scripts = [SCRIPT, SWEEP].map(|text| Replaced::new(text, mutant));
        let wire = Wire(Rc::new(Way { net: Rc::clone(net), server: Rc::clone(server), scripts }));
        let access = Rc::new(Access { url: "http://redis".into(), token: "t".into() });
        let redis = Redis::new(wire, access, Rc::default(), Judge::Redis);
        let epochs = Rc::new(Memory::new(Rc::clone(&net.clock)));
        let beds = Beds { net: Rc::clone(net), hub: Hub::default() };
        let leases = RedisLeases::new(redis, Epochs(Rc::clone(&epochs)), beds, UnixMillis(0));
        OnRedis(Rc::new(Inside { net: Rc::clone(net), server: Rc::clone(server), epochs, leases, mutant }))
    }
}

impl Leases for OnRedis {
    async fn ask(&self, name: &LeaseName, ask: Ask) -> Result<Answer> {
        self.0.leases.ask(name, ask).await
    }
}

impl Backend for OnRedis {
    const FAULTS: &'static [&'static str] = &["evicted", "killed, kept", "killed, empty", "flushed", "wake-up lost"];

    fn fail(&self) -> bool {
        let Inside { net, server, epochs, mutant, .. } = &*self.0;
        let is_wiped = match net.random.below(6) {
            0 => {
                net.meet("killed, kept");
                server.borrow_mut().restart(false);
                false
            }
            1 => {
                net.meet("killed, empty");
                server.borrow_mut().restart(true);
                true
            }
            2 => {
                net.meet("flushed");
                server.borrow_mut().call(&["FLUSHALL"]).unwrap();
                true
            }
            // The object where they wait.
            _ => {
                net.meet("evicted");
                false
            }
        };
        net.die();
        if is_wiped && *mutant == Some(Mutant::FenceForgotten) {
            epochs.wipe();
        }
        is_wiped
    }

    async fn sweep(&self) {
        let _ = self.0.leases.sweep(10, Vec::new(), true).await;
    }
}
