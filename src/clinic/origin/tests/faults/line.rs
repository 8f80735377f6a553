//! What is between isolates, the clinic's object and the origin, and what the oracle knows of it.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::task::Poll;

use super::super::ehr::Landed;
use super::*;
use crate::outgoing::{Lost, Request, Response};
use crate::testing::Counts;
use crate::time::Entropy;

/// What is broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// A write is not announced.
    NoIntent,
    /// That it was written is not told.
    SettledAsNothing,
    /// A write carries no version.
    Unguarded,
    /// That a patient may have moved is not told.
    MoveUnheard,
    /// The origin carries requests out later than is assumed.
    CarriedOutTooLate,
    /// A lost answer is taken for a refusal.
    LossIsRefusal,
}

type Arrival = Box<dyn FnOnce()>;

/// Everything that isolates have between them.
pub struct Line {
    pub ehr: Rc<Ehr>,
    pub local: Local,
    pub counts: Counts,
    pub spawned: RefCell<Vec<Task>>,
    pub violation: Cell<Option<String>>,
    mutant: Option<Mutant>,
    pub dice: Seeded,
    /// What arrives somewhere, and when.
    under_way: RefCell<BTreeMap<(u64, u64), Arrival>>,
    away_until: Cell<u64>,
    refused: Cell<bool>,
    /// How many writes there were.
    pub written: Cell<u64>,
    /// The versions that every read must at least show.
    pub acknowledged: RefCell<BTreeMap<String, u64>>,
    /// The writes of which it was said that they are not done.
    never: RefCell<BTreeSet<String>>,
}

impl Line {
    pub fn new(mutant: Option<Mutant>, seed: u64) -> Rc<Line> {
        let (local, ehr) = beside(Away { fresh: Ttl::from_secs(60), stale: Ttl::from_secs(60) });
        ehr.put("Location", "w2", json!({ "physicalType": { "coding": [{ "code": "wa" }] } }));
        ehr.lives.set(40);
        Rc::new(Line {
            ehr,
            local,
            counts: Counts::default(),
            spawned: RefCell::default(),
            violation: Cell::new(None),
            mutant,
            dice: Seeded::new(seed),
            under_way: RefCell::default(),
            away_until: Cell::new(0),
            refused: Cell::new(false),
            written: Cell::new(0),
            acknowledged: RefCell::default(),
            never: RefCell::default(),
        })
    }

    pub fn time(&self) -> u64 {
        self.local.now().0
    }

    /// Lets time pass. What is under way arrives when it is due, whoever is scheduled.
    pub fn pass(&self, by: u64) {
        let until = self.time() + by;
        loop {
            let first = self.under_way.borrow().keys().next().copied().filter(|(due, _)| *due <= until);
            let Some(first) = first else { break };
            self.local.pass(Ttl(first.0.saturating_sub(self.time())));
            let arrives = self.under_way.borrow_mut().remove(&first).unwrap();
            arrives();
        }
        self.local.pass(Ttl(until - self.time()));
    }

    fn arrives(&self, at: u64, what: impl FnOnce() + 'static) {
        self.under_way.borrow_mut().insert((at, self.dice.next()), Box::new(what));
    }

    /// What the origin does by itself.
    pub fn weather(&self, dice: &Seeded) {
        if dice.below(3_000) == 0 {
            self.counts.add("away");
            self.away_until.set(self.time() + dice.below(15_000));
        }
        if dice.below(1_500) == 0 {
            self.ehr.token.replace_with(|token| format!("{token}+"));
        }
    }

    /// Has `operation` done on the other side, whatever becomes of whoever waits for it; gives what comes back `within`.
    async fn carry<T: 'static>(
        self: &Rc<Self>,
        within: Ttl,
        is_down: bool,
        (one_in, repeats): (u64, bool),
        operation: impl Fn() -> T + 'static,
    ) -> Option<T> {
        let (sent, fault) = (self.time(), self.dice.below(one_in));
        let too_late = self.mutant == Some(Mutant::CarriedOutTooLate);
        let late =
            if too_late { intents::LATEST.0 + self.dice.below(20_000) } else { self.dice.below(intents::LATEST.0) };
        let (mut at, mut again) = (sent + self.dice.below(4), None);
        if is_down || fault == 0 {
            self.counts.add("lost on the way there");
            self.until(sent + self.dice.below(30)).await;
            return None;
        }
        if fault == 1 || (too_late && repeats && fault > one_in * 4 / 5) {
            self.counts.add("late");
            at = sent + late;
        }
        if repeats && fault == 2 {
            self.counts.add("twice");
            again = Some(sent + late);
        }
        let is_lost = fault == 3;
        let (reply, line) = (Rc::new(RefCell::new(None)), Rc::clone(self));
        let there = Rc::clone(&reply);
        self.arrives(at, move || {
            let done = operation();
            if is_lost {
                line.counts.add("lost on the way back");
            } else {
                there.replace(Some(done));
            }
            if let Some(again) = again {
                let at = again.max(line.time());
                line.arrives(at, move || drop(operation()));
            }
        });
        let (mut turns, until) = (self.dice.below(3), sent + within.0);
        poll_fn(|_| {
            turns = turns.saturating_sub(1);
            match reply.take() {
                Some(reply) if turns == 0 => Poll::Ready(Some(reply)),
                Some(early) => {
                    reply.replace(Some(early));
                    Poll::Pending
                }
                None if self.time() >= until => Poll::Ready(None),
                None => Poll::Pending,
            }
        })
        .await
    }

    pub async fn until(&self, at: u64) {
        poll_fn(|_| if self.time() >= at { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    pub fn wrong(&self, why: String) {
        self.violation.set(Some(why));
    }

    /// What a read that begins now must at least show.
    pub fn floor(&self) -> BTreeMap<String, u64> {
        let mut floor = self.acknowledged.borrow().clone();
        let landed = self.ehr.landed.borrow();
        let is_due = |one: &&Landed| one.is_ours() && one.at.plus(intents::MARK) <= self.local.now();
        for landed in landed.iter().filter(is_due) {
            let least = floor.entry(landed.key.clone()).or_default();
            *least = (*least).max(landed.version);
        }
        floor
    }

    pub fn is_there(&self, key: &str, version: u64) {
        let mut acknowledged = self.acknowledged.borrow_mut();
        let newest = acknowledged.entry(key.to_owned()).or_default();
        *newest = (*newest).max(version);
    }

    fn landed(&self, key: &str, by: &str) -> Vec<u64> {
        let all = self.ehr.landed.borrow();
        all.iter().filter(|landed| landed.key == key && landed.by == by).map(|landed| landed.version).collect()
    }

    /// Holds what a writer was told against what the origin has.
    pub fn judge(&self, by: &str, keys: &[(String, Option<u64>)], told: Result<Committed>) {
        match told {
            Ok(Committed::All(stamps)) => {
                self.counts.add(if keys.len() > 1 { "two at once" } else { "acknowledged" });
                for ((key, over), stamp) in keys.iter().zip(stamps) {
                    if self.landed(key, by) != [stamp.version] || over.is_some_and(|over| stamp.version != over + 1) {
                        self.wrong(format!("{key} by {by} over {over:?}: acknowledged as {}", stamp.version));
                    }
                    self.is_there(key, stamp.version);
                }
            }
            Ok(Committed::Refused { why: Refusal::Changed | Refusal::Exists, .. }) => {
                self.counts.add("refused: changed meanwhile");
                self.never.borrow_mut().insert(by.to_owned());
            }
            // The second where the token that it had anew has ended as well.
            Err(error) if matches!(error.kind, Kind::Unavailable | Kind::Misconfigured) => {
                self.counts.add("told that nothing was done");
                self.never.borrow_mut().insert(by.to_owned());
            }
            Err(error) if error.kind == Kind::OutcomeUnknown => self.counts.add("told that it is not known"),
            other => self.wrong(format!("{by} was told {other:?}")),
        }
    }

    /// Whether there is an event and an audit row of everything that took effect, and nothing did that was said not to.
    pub fn is_all_told(&self) -> std::result::Result<(), String> {
        let rows = |statement: &str| -> Vec<(String, u64)> {
            let rows = self.local.sql.exec(statement, &[]).unwrap();
            rows.into_iter().map(|mut row| (row.text().unwrap(), row.number().unwrap())).collect()
        };
        let events = rows("SELECT id, at FROM outbox WHERE topic LIKE 'patient/%'");
        let unknown = rows("SELECT entity, at FROM audit WHERE outcome = 'unknown'");
        let known = rows("SELECT entity, at FROM audit WHERE outcome = 'success'");
        let mut seen = BTreeSet::new();
        for Landed { key, version, by, at } in self.ehr.landed.borrow().iter().filter(|landed| landed.is_ours()) {
            let name = format!("{key}/_history/{version}");
            let within = at.0..=at.plus(intents::MARK).0;
            let told = |rows: &[(String, u64)], begins: &str| {
                rows.iter().any(|(id, at)| *id == name || (id.starts_with(begins) && within.contains(at)))
            };
            if !known.iter().any(|(entity, _)| *entity == name) {
                self.counts.add("took effect, and nobody knew");
                if !told(&unknown, key) {
                    return Err(format!("{name} is in no audit row"));
                }
            }
            if key.starts_with("Observation") && !told(&events, &format!("{key}/unknown/")) {
                return Err(format!("there is no event of {name}"));
            }
            if !seen.insert((key, by)) || self.never.borrow().contains(by) {
                return Err(format!("{name} by {by} took effect twice, or after it was said that it did not"));
            }
        }
        Ok(())
    }

    /// The wards of p in versions of their stay.
    pub fn wards(&self, from: u64) -> Vec<String> {
        let landed = self.ehr.landed.borrow();
        let later = landed.iter().filter(|landed| landed.key == "Encounter/e" && landed.version >= from);
        let first = (from <= 1).then(|| "w1".to_owned());
        first.into_iter().chain(later.filter_map(|landed| landed.by.split(' ').nth(1).map(str::to_owned))).collect()
    }
}

impl Clock for Rc<Line> {
    fn now(&self) -> UnixMillis {
        self.local.now()
    }
}

impl Entropy for Rc<Line> {
    fn fill(&self, buffer: &mut [u8]) {
        self.dice.fill(buffer);
    }
}

impl Http for Rc<Line> {
    async fn send(&self, request: &Request, within: Ttl) -> std::result::Result<Response, Lost> {
        let unguarded = self.mutant == Some(Mutant::Unguarded);
        let headers = request.headers.iter().filter(|(name, _)| !unguarded || !name.starts_with("if-")).cloned();
        let (url, body) = (request.url.clone(), request.body.replace(if unguarded { "ifMatch" } else { "\0" }, "no"));
        let same = Request { method: request.method, url, headers: headers.collect(), body, wanted: request.wanted };
        let is_token = request.url.ends_with("/token");
        if is_token {
            self.counts.add(if self.refused.replace(false) { "token anew" } else { "token ran out" });
        }
        if self.dice.below(200) == 0 {
            return Ok(Response { status: 503, ..Response::default() });
        }
        let (ehr, is_down) = (Rc::clone(&self.ehr), self.time() < self.away_until.get());
        let operation = move || block_on(Http::send(&ehr, &same, within));
        let one_in = if request.method == "GET" || is_token { 150 } else { 40 };
        let reply = self.carry(within, is_down, (one_in, true), operation).await;
        if matches!(&reply, Some(Ok(reply)) if reply.status == 401) {
            self.refused.set(true);
        }
        match reply {
            None if self.mutant == Some(Mutant::LossIsRefusal) => Ok(Response { status: 503, ..Response::default() }),
            reply => reply.unwrap_or(Err(Lost::Late)),
        }
    }

    async fn pause(&self, ttl: Ttl) {
        self.until(self.time() + ttl.0).await;
    }

    fn note(&self, sentence: &'static str) {
        if sentence.starts_with("the origin does not answer") {
            self.counts.add("breaker");
        }
    }
}

impl Clinic for Rc<Line> {
    async fn ask(&self, request: ClinicRequest) -> Result<ClinicReply> {
        let is_change = request.is_change();
        let request = match (request, self.mutant) {
            (ClinicRequest::Origin(OriginRequest::Intend(_)), Some(Mutant::NoIntent)) => return Ok(ClinicReply::Done),
            (ClinicRequest::Origin(OriginRequest::Changed(_)), Some(Mutant::MoveUnheard)) => {
                return Ok(ClinicReply::Reached([].into_iter().collect()));
            }
            (ClinicRequest::Origin(OriginRequest::Settle { id, .. }), Some(Mutant::SettledAsNothing)) => {
                ClinicRequest::Origin(OriginRequest::Settle { id, written: None })
            }
            (request, _) => request,
        };
        let line = Rc::clone(self);
        let operation = move || {
            if let ClinicRequest::Origin(OriginRequest::Intend(_)) = &request {
                // As the alarm of the object does.
                let (there, due) = (Rc::clone(&line), line.time() + intents::MARK.0);
                line.arrives(due, move || {
                    intents::wake(&there.local.sql, &there.local.entropy, there.local.now()).unwrap();
                });
            }
            block_on(Clinic::ask(&line.local, request.clone()))
        };
        let lost = || if is_change { Error::outcome_unknown() } else { Error::unavailable("lost") };
        self.carry(Ttl::from_secs(5), false, (150, false), operation).await.unwrap_or_else(|| Err(lost()))
    }
}
