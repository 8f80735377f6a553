//! An isolate that writes and reads across the line.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::super::ehr::Landed;
use super::line::Line;
use super::*;
use crate::chart::cache::read::{Allowed, Ask, Got, Ports, Render, Rendered, read};
use crate::chart::cache::status::Forward;
use crate::chart::cache::tier::Tier;
use crate::chart::cache::window::Window;
use crate::config::cache::{Cache, Class, Master, Stale};
use crate::store::memory::Memory;
use crate::testing::DrivenClock;
use crate::time::Entropy;

/// An isolate.
#[derive(Clone)]
pub struct Node(Rc<Isolate>);

pub struct Isolate {
    line: Rc<Line>,
    clinic: AtOrigin<Rc<Line>, Rc<Line>, SoftCipher>,
    cache: Memory<DrivenClock>,
    tier: Rc<RefCell<Tier>>,
    window: Rc<RefCell<Window<Looked>>>,
    rules: Rc<Cache>,
}

impl std::ops::Deref for Node {
    type Target = Isolate;

    fn deref(&self) -> &Isolate {
        &self.0
    }
}

/// The records as `id=version`.
struct Versions;

impl Render for Versions {
    fn render(&self, answer: &Answer) -> Option<Rendered> {
        let Answer::Search(records, ..) = answer else { return None };
        let all: Vec<String> = records.iter().map(|record| format!("{}={}", record.id, record.version)).collect();
        Some(Rendered { version: None, body: all.join(" ") })
    }
}

/// By what it is found who wrote something.
fn named(by: &str) -> Value {
    json!([{ "value": by }])
}

fn moved_to(ward: &str, by: &str) -> Value {
    let mut stay = stay("in-progress");
    stay["location"][0]["location"]["reference"] = format!("Location/{ward}").into();
    stay["identifier"] = named(by);
    stay
}

impl Node {
    pub fn new(line: &Rc<Line>) -> Node {
        let client = Client::new(Rc::clone(line), Rc::new(access()), Rc::<Link>::default());
        Node(Rc::new(Isolate {
            line: Rc::clone(line),
            clinic: AtOrigin { clinic: Rc::clone(line), client, cipher: SoftCipher::new(3) },
            cache: Memory::new(Rc::clone(&line.local.clock)),
            tier: Rc::new(RefCell::new(Tier::new(100_000))),
            window: Rc::new(RefCell::new(Window::new(Ttl(0)))),
            rules: Rc::new(Cache {
                names: [1; 32],
                masters: vec![Master { id: "m".into(), key: [2; 32] }],
                ttl: Ttl::from_secs(30),
                stale: Stale { classes: Vec::new(), longest: Ttl(0) },
                memory: 100_000,
                lease: Ttl(0),
            }),
        }))
    }

    fn by(&self, what: &str) -> String {
        self.line.written.set(self.line.written.get() + 1);
        format!("{} {what}", self.line.written.get())
    }

    fn change(&self, by: &str, key: &str, guard: Guard, mut resource: Value) -> Change {
        resource["identifier"] = named(by);
        let (kind, id) = key.split_once('/').unwrap();
        change(self.line.local.now(), kind, id, guard, resource)
    }

    async fn write(&self, by: &str, keys: Vec<(String, Option<u64>)>, changes: Vec<Change>) -> bool {
        let told = self.clinic.commit(batch(&scope(Role::Admin, &[]), changes)).await;
        let is_done = matches!(told, Ok(Committed::All(_)));
        self.line.judge(by, &keys, told);
        is_done
    }

    /// Writes one Observation of p, new or old.
    pub async fn update(self) {
        let (by, dice) = (self.by(""), &self.line.dice);
        let key = format!("Observation/{}", ["of-p", "new-1", "new-2"][usize::try_from(dice.below(3)).unwrap()]);
        let newest = self.line.acknowledged.borrow().get(&key).copied();
        let (guard, over) = match newest {
            None if key != "Observation/of-p" => (Guard::Absent, Some(0)),
            Some(newest) if dice.below(2) == 0 => (Guard::Version(newest), Some(newest)),
            _ => (Guard::Any, None),
        };
        let change = self.change(&by, &key, guard, observation("p"));
        self.write(&by, vec![(key, over)], vec![change]).await;
    }

    /// Writes an Observation each of p and q, as one.
    pub async fn book(self) {
        let by = self.by("");
        let of = |patient: &str| {
            let key = format!("Observation/of-{patient}");
            ((key.clone(), None), self.change(&by, &key, Guard::Any, observation(patient)))
        };
        let (keys, changes) = ["p", "q"].map(of).into_iter().unzip();
        self.write(&by, keys, changes).await;
    }

    /// Moves p to a ward.
    pub async fn shift(self) {
        let ward = ["w1", "w2"][usize::try_from(self.line.dice.below(2)).unwrap()];
        let by = self.by(ward);
        let change = self.change(&by, "Encounter/e", Guard::Any, moved_to(ward, &by));
        if self.write(&by, vec![("Encounter/e".into(), None)], vec![change]).await {
            self.line.counts.add("moved");
        }
    }

    /// p is moved behind our back, and a hook says so.
    pub async fn hear(self) {
        let ward = ["w1", "w2"][usize::try_from(self.line.dice.below(2)).unwrap()];
        let version = self.line.ehr.land("Encounter/e", moved_to(ward, &format!("{} {ward}", Landed::BEHIND)));
        let heard = OriginRequest::Changed(Changed::Patients(vec!["p".into()]));
        if self.clinic.ask(ClinicRequest::Origin(heard)).await.is_ok() {
            self.line.counts.add("heard by a hook");
            self.line.is_there("Encounter/e", version);
        }
    }

    /// Reads the Observations of p.
    pub async fn look_up(self, as_nurse: bool) {
        let (line, floor) = (&self.line, self.line.floor());
        let query = [("patient".to_owned(), "p".to_owned())];
        let search = parse(ResourceType::Observation, &query, true, "http://ours/fhir", line.local.now()).unwrap();
        let ask = Ask {
            whose: Whose::Patient("p".into()),
            view: "observations".into(),
            key: String::new(),
            shared: false,
            class: Class::Clinical,
            versioned: false,
            query: Query::Search { search: search.search, after: None, count: 10, total: false },
            known: Vec::new(),
            render: Rc::new(Versions),
        };
        let scope = if as_nurse { scope(Role::Nurse, &["w1"]) } else { scope(Role::Admin, &[]) };
        let allowed = async { Ok(Allowed { scope, fresh: line.dice.below(100) == 0 }) };
        let Ok(done) = read(&self, &self.rules, &ask, allowed).await else {
            return line.counts.add("read that failed");
        };
        line.counts.add(match done.status.forward {
            None => "read from the cache",
            Some(Forward::Writing) => "read while writing",
            Some(_) => "filled",
        });
        let body = match &done.got {
            Got::View(view, _) => view.body.clone(),
            Got::Plain(answer) => Versions.render(answer).unwrap().body,
            Got::Same(..) => panic!("nothing was known"),
        };
        let seen: BTreeMap<String, u64> = body
            .split_whitespace()
            .map(|one| one.split_once('=').unwrap())
            .map(|(id, version)| (format!("Observation/{id}"), version.parse().unwrap()))
            .collect();
        if as_nurse {
            line.counts.add(if seen.is_empty() { "out of reach" } else { "in reach" });
            let wards = line.wards(floor.get("Encounter/e").copied().unwrap_or(1));
            if !wards.iter().any(|ward| *ward == if seen.is_empty() { "w2" } else { "w1" }) {
                line.wrong(format!("the nurse saw {seen:?}, and p was in {wards:?}: {:?}", done.status));
            }
            if seen.is_empty() {
                return;
            }
        }
        let of_p = floor.iter().filter(|(key, _)| key.starts_with("Observation/") && *key != "Observation/of-q");
        for (key, least) in of_p {
            if seen.get(key).is_none_or(|version| version < least) {
                line.wrong(format!("{key} was read in {:?} below {least}: {:?}", seen.get(key), done.status));
            }
        }
    }
}

impl Clinic for Node {
    async fn ask(&self, request: ClinicRequest) -> Result<ClinicReply> {
        self.clinic.ask(request).await
    }
}

impl Clock for Node {
    fn now(&self) -> UnixMillis {
        self.line.local.now()
    }
}

impl Entropy for Node {
    fn fill(&self, buffer: &mut [u8]) {
        self.line.dice.fill(buffer);
    }
}

impl Cipher for Node {
    async fn seal(&self, _: &[u8; 32], _: &[u8; 12], _: &[u8], plain: &[u8]) -> Result<Vec<u8>> {
        Ok(plain.to_vec())
    }

    async fn open(&self, _: &[u8; 32], _: &[u8; 12], _: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        Some(sealed.to_vec())
    }
}

impl Ports for Node {
    type Source = Node;
    type Cache = Memory<DrivenClock>;

    fn source(&self) -> Node {
        self.clone()
    }

    fn cache(&self) -> &Self::Cache {
        &self.cache
    }

    fn tier(&self) -> Rc<RefCell<Tier>> {
        Rc::clone(&self.tier)
    }

    fn window(&self) -> Rc<RefCell<Window<Looked>>> {
        Rc::clone(&self.window)
    }

    async fn pause(&self, ttl: Ttl) {
        let until = self.line.time() + ttl.0;
        self.line.until(until).await;
    }

    fn background<W: Future<Output = ()> + 'static>(&self, work: impl FnOnce(Self) -> W) {
        self.line.spawned.borrow_mut().push(Box::pin(work(self.clone())));
    }
}
