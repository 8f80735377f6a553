//! An isolate of the model: it reads by the real code, over ports that the world's faults stand before, and writes.

use std::cell::{OnceCell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use super::world::{Bare, Faulty, Mutant, PATIENTS, Records, World, patient};
use crate::access::{Action, Principal, Role, Scope, decide};
use crate::chart::cache::apart::{Heading, Heads, Mark, Seen};
use crate::chart::cache::read::{Allowed, Ask, Got, Ports, Render, Rendered, read};
use crate::chart::cache::seal::Cipher;
use crate::chart::cache::split::{Done, Origin, Split, write};
use crate::chart::cache::status::Forward;
use crate::chart::cache::tier::Tier;
use crate::chart::cache::window::{Window, longest};
use crate::chart::cache::{Fill, Filling, Looked, Source, Whose, tag};
use crate::chart::head::{self, Head};
use crate::chart::records::{Answer, Query};
use crate::config::cache::{Cache, Class, Master, Stale};
use crate::error::Result;
use crate::fhir::ResourceType;
use crate::store::sql::Sql;
use crate::time::{Clock, Entropy, Ttl, UnixMillis};

/// An isolate.
#[derive(Clone)]
pub struct Node(Rc<Isolate>);

pub struct Isolate {
    pub world: Rc<World>,
    pub number: usize,
    tier: Rc<RefCell<Tier>>,
    pub window: Rc<RefCell<Window<Looked>>>,
    cache: Faulty,
    split: OnceCell<Split<Faulty, Records, Node>>,
    rules: Rc<Cache>,
}

impl std::ops::Deref for Node {
    type Target = Isolate;

    fn deref(&self) -> &Isolate {
        &self.0
    }
}

#[derive(Clone)]
struct Show;

impl Render for Show {
    fn render(&self, answer: &Answer) -> Option<Rendered> {
        let Answer::Ids(ids) = answer else { return None };
        Some(Rendered { version: None, body: ids.first()?.clone()? })
    }
}

impl Node {
    pub fn new(world: &Rc<World>, number: usize) -> Node {
        let rules = Rc::new(Cache {
            names: [1; 32],
            masters: vec![Master { id: "m".into(), key: [2; 32] }],
            ttl: Ttl::from_secs(30),
            stale: Stale { classes: Vec::new(), longest: Ttl(0) },
            memory: 2_500,
            lease: world.lease,
        });
        let node = Node(Rc::new(Isolate {
            world: Rc::clone(world),
            number,
            tier: Rc::new(RefCell::new(Tier::new(rules.memory))),
            window: Rc::new(RefCell::new(Window::new(world.lease))),
            cache: Faulty { world: Rc::clone(world), is_cache: true },
            split: OnceCell::new(),
            rules,
        }));
        let store = Faulty { world: Rc::clone(world), is_cache: false };
        let split = Split {
            heads: Heads::new(store.clone(), [3; 32], UnixMillis(0)),
            tokens: store,
            origin: Records(Rc::clone(world)),
            outside: node.clone(),
        };
        let _ = node.split.set(split);
        node
    }

    fn split(&self) -> &Split<Faulty, Records, Node> {
        self.split.get().unwrap()
    }

    pub async fn read(self, place: usize, shared: bool) {
        let world = &self.world;
        if world.dice.below(50) == 0 {
            world.step_clock(&self);
        }
        let floor = world.floor();
        let query = Query::History {
            kind: ResourceType::Patient,
            id: patient(place),
            below: None,
            count: if shared { 2 } else { 1 },
        };
        let ask = Ask {
            whose: Whose::Patient(patient(place)),
            view: format!("view {shared}"),
            key: String::new(),
            shared,
            class: Class::Clinical,
            versioned: false,
            query,
            known: Vec::new(),
            render: Rc::new(Show),
        };
        let allowed = async { Ok(Allowed { scope: everything(), fresh: world.dice.below(200) == 0 }) };
        let Ok(done) = read(&self, &self.rules, &ask, allowed).await else {
            world.counts.add("read that failed");
            return;
        };
        let body = match &done.got {
            Got::View(view, _) => view.body.clone(),
            Got::Plain(answer) => Show.render(answer).unwrap().body,
            Got::Same(..) => panic!("nothing was known"),
        };
        match done.status.forward {
            None if done.timing.cache.is_none() => world.counts.add("hit in memory"),
            None => world.counts.add("hit"),
            Some(Forward::Writing) => world.counts.add("read while writing"),
            Some(_) if done.status.collapsed => world.counts.add("collapsed"),
            Some(Forward::Changed) => world.counts.add("changed"),
            Some(_) => world.counts.add("filled"),
        }
        if done.timing.head.is_none() {
            world.counts.add("read on a lease");
        }
        let seen: Vec<u64> = body.split(' ').map(|value| value.parse().unwrap()).collect();
        let too_old = seen[0] < floor[place] || (shared && seen[1] < floor[PATIENTS]);
        if too_old {
            let why = format!("{seen:?} of patient {place} at floor {floor:?}: {:?} {:?}", done.status, done.got);
            world.violation.set(Some(why));
        }
    }

    /// Writes to a patient, or to what all share.
    pub async fn write(self, place: Option<usize>) {
        let written =
            if self.world.kind.is_apart() { self.write_apart(place).await } else { self.write_together(place).await };
        if let Ok(Some(value)) = written {
            self.world.counts.add("acknowledged write");
            let place = place.unwrap_or(PATIENTS);
            let mut acknowledged = self.world.acknowledged.borrow_mut();
            acknowledged[place] = acknowledged[place].max(value);
        }
    }

    async fn write_apart(&self, place: Option<usize>) -> Result<Option<u64>> {
        let world = &self.world;
        let heads: Vec<Head> = place.iter().map(|place| Head::none(&patient(*place))).collect();
        let before = Heading { heads: &heads, shared: place.is_none(), order: world.order.get() };
        let commit = |mark: Mark| {
            let (inner, heads) = (Rc::clone(world), heads.clone());
            let operation = move || {
                let (world, mark, heads) = (Rc::clone(&inner), mark.clone(), heads.clone());
                async move {
                    if !mark.allows(world.clock(4)) && world.mutant != Some(Mutant::NoDeadline) {
                        world.counts.add("refused commit");
                        return Ok(Done::Refused(None));
                    }
                    let value = world.land(place.unwrap_or(PATIENTS), mark.until.0);
                    Ok(Done::Committed(Some(value), heads, world.order.get()))
                }
            };
            let world = Rc::clone(world);
            async move {
                world.stall().await;
                world.faulty(false, operation).await
            }
        };
        let store = &self.split().heads;
        let written = if world.mutant == Some(Mutant::NoMark) {
            let mark = Mark::new(self, self.now());
            let done = commit(mark.clone()).await?;
            let Done::Committed(value, heads, order) = done else { return Ok(None) };
            store.raise(self, &Heading { heads: &heads, shared: place.is_none(), order }, &mark).await?;
            value
        } else {
            write(store, self, &before, commit).await?
        };
        self.wait(longest(world.lease)).await;
        Ok(written)
    }

    async fn write_together(&self, place: Option<usize>) -> Result<Option<u64>> {
        let world = Rc::clone(&self.world);
        let operation = move || {
            let world = Rc::clone(&world);
            async move {
                let whose = place.map(patient);
                world.sql.transaction(|| match &whose {
                    Some(patient) => head::raise(&world.sql, &world.dice, patient),
                    None => head::raise_shared(&world.sql, &world.dice),
                })?;
                let value = world.land(place.unwrap_or(PATIENTS), 0);
                let left = world.grants.borrow().left(world.clock(4), whose.as_deref().map(|patient| [patient]));
                Ok((value, left))
            }
        };
        let (value, left) = self.world.faulty(false, operation).await?;
        self.wait(left).await;
        Ok(Some(value))
    }

    async fn wait(&self, left: Ttl) {
        if left > Ttl(0) && self.world.mutant != Some(Mutant::NoLeaseWait) {
            self.world.counts.add("write waited for a lease");
            self.pause(left).await;
        }
    }

    /// The head as a mutant lets readers see it.
    fn seen(&self, head: Head) -> Head {
        if self.world.mutant != Some(Mutant::GenerationIgnored) {
            return head;
        }
        Head { generation: "g".into(), shared: "s".into(), ..head }
    }

    fn own_head(&self, patient: &str) -> Head {
        head::get(&self.world.sql, patient).unwrap().unwrap()
    }

    async fn head_now(&self, patient: &str) -> Option<Head> {
        if self.world.kind.is_apart() {
            let looked = self.split().look(&Whose::Patient(patient.to_owned()), false).await.ok()?;
            looked.heads.into_iter().next()
        } else {
            self.world.delay().await;
            Some(self.own_head(patient))
        }
    }
}

fn everything() -> Scope {
    let admin = Principal {
        user: "u".into(),
        name: "U".into(),
        role: Role::Admin,
        patient: None,
        wards: Vec::new(),
        patients: Vec::new(),
    };
    decide(&admin, Action::ReadEverything).unwrap()
}

impl Source for Node {
    async fn look(&self, whose: &Whose, version: bool) -> Result<Looked> {
        let mut looked = if self.world.kind.is_apart() {
            if let Whose::Patient(patient) = whose
                && let Ok(Seen::Overdue) =
                    Heads::new(Bare(Rc::clone(&self.world)), [3; 32], UnixMillis(0)).look(patient, self.now()).await
            {
                self.world.counts.add("mark outlived its writer");
            }
            self.split().look(whose, version).await?
        } else {
            let (world, whose) = (Rc::clone(&self.world), whose.clone());
            let operation = move || {
                let (world, whose) = (Rc::clone(&world), whose.clone());
                async move {
                    let Whose::Patient(patient) = whose else { panic!("{whose:?}") };
                    world.grants.borrow_mut().note(world.clock(4), &patient);
                    let head = head::get(&world.sql, &patient)?;
                    Ok(Looked { heads: head.into_iter().collect(), ..Looked::default() })
                }
            };
            self.world.faulty(false, operation).await?
        };
        looked.heads = looked.heads.into_iter().map(|head| self.seen(head)).collect();
        Ok(looked)
    }

    async fn fill(&self, fill: Fill) -> Result<Filling> {
        let patient = fill.patient.clone();
        let filling = if self.world.kind.is_apart() {
            self.split().fill(fill).await?
        } else {
            let (world, node) = (Rc::clone(&self.world), self.clone());
            let operation = move || {
                let (world, node, fill) = (Rc::clone(&world), node.clone(), fill.clone());
                async move {
                    let head = node.own_head(&fill.patient);
                    let begun = world.fills.borrow_mut().begin(
                        &fill.view,
                        &tag(&head, fill.shared),
                        world.clock(4),
                        fill.hold,
                        fill.fresh,
                    );
                    Ok(match begun {
                        None => Filling::Busy { head },
                        Some(token) => Filling::Granted { token, head, answer: world.answer(&fill.query) },
                    })
                }
            };
            self.world.faulty(false, operation).await?
        };
        Ok(match filling {
            Filling::Granted { token, head, answer } => {
                let now = self.head_now(&patient).await;
                let is_void = now.as_ref().is_some_and(|now| now.generation != head.generation);
                if is_void {
                    self.world.counts.add("voided fill");
                }
                let head = match now {
                    Some(now) if self.world.mutant == Some(Mutant::FillUnchecked) => now,
                    _ => head,
                };
                Filling::Granted { token, head: self.seen(head), answer }
            }
            Filling::Busy { head } => Filling::Busy { head: self.seen(head) },
            unkept => unkept,
        })
    }

    async fn give_back(&self, view: &str, token: u64) -> Result<()> {
        if self.world.kind.is_apart() {
            return self.split().give_back(view, token).await;
        }
        self.world.delay().await;
        self.world.fills.borrow_mut().end(view, token);
        Ok(())
    }

    async fn direct(&self, scope: Scope, query: Query) -> Result<Answer> {
        Records(Rc::clone(&self.world)).ask(scope, query).await
    }
}

impl Clock for Node {
    fn now(&self) -> UnixMillis {
        self.world.clock(self.number)
    }
}

impl Entropy for Node {
    fn fill(&self, buffer: &mut [u8]) {
        self.world.dice.fill(buffer);
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
    type Cache = Faulty;

    fn source(&self) -> Node {
        self.clone()
    }

    fn cache(&self) -> &Faulty {
        &self.cache
    }

    fn tier(&self) -> Rc<RefCell<Tier>> {
        Rc::clone(&self.tier)
    }

    fn window(&self) -> Rc<RefCell<Window<Looked>>> {
        Rc::clone(&self.window)
    }

    async fn pause(&self, ttl: Ttl) {
        let until = self.world.now() + ttl.0;
        poll_fn(|_| if self.world.now() >= until { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    fn background<W: Future<Output = ()> + 'static>(&self, work: impl FnOnce(Self) -> W) {
        self.world.spawned.borrow_mut().push(Box::pin(work(self.clone())));
    }
}
