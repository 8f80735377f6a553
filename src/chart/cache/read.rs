//! Reading a view through the cache.
//!
//! Invariant: what is served was read at a generation that was the head's at some instant of this very request, or later.
//! The session, the head and the entry are asked for in one wave; only then is it decided who may see anything. Everybody
//! waits a bounded time: for another's fill at most [`PATIENCE`], after which the origin is asked directly.

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;

use futures_util::join;

use super::life::{self, Life};
use super::seal::{self, Cipher, Kept, View};
use super::status::{Forward, Status, Timing};
use super::tier::Tier;
use super::{Fill, Filling, Source, Whose, names, tag};
use crate::access::Scope;
use crate::channel::cursor::Snapshot;
use crate::chart::head::Head;
use crate::chart::records::{Answer, Query};
use crate::config::cache::{Cache as Rules, Class};
use crate::error::{Error, Kind, Result};
use crate::store::bytes::{Bytes, Cached, Name};
use crate::time::{Clock, Entropy, Ttl, UnixMillis};

/// A fill that takes longer is taken for dead, and another may try.
pub const HOLD: Ttl = Ttl::from_secs(3);
/// So long does a reader wait for another's fill, all in all.
pub const PATIENCE: Ttl = Ttl::from_secs(4);
/// The first pause of a reader who waits; each further one is twice as long, up to [`LONGEST`].
const FIRST: Ttl = Ttl(16);
/// After a pause of about this length the reader asks for the token itself.
const LONGEST: Ttl = Ttl(256);

/// What reading needs from outside.
pub trait Ports: Clock + Entropy + Cipher + Clone + 'static {
    /// Where heads and records come from.
    type Source: Source;
    /// What keeps cached views.
    type Cache: Bytes;
    /// Where heads and records come from.
    fn source(&self) -> &Self::Source;
    /// What keeps cached views.
    fn cache(&self) -> &Self::Cache;
    /// The views in this isolate's memory.
    fn tier(&self) -> Rc<RefCell<Tier>>;
    /// Waits so long.
    fn pause(&self, ttl: Ttl) -> impl Future<Output = ()>;
    /// Has `work` done although the request may be answered before it is.
    fn background(&self, work: impl Future<Output = ()> + 'static);
}

/// Makes a view's JSON of what the origin answered.
pub trait Render: Clone + 'static {
    /// The version, where the view is one resource, and the JSON; `None` of an answer that is no view.
    fn render(&self, answer: &Answer) -> Option<Rendered>;
}

/// A view as it was made of its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// Of a view that is one resource: its version, and when that was written.
    pub version: Option<(u64, UnixMillis)>,
    /// The JSON.
    pub body: String,
}

/// What a reader wants.
#[derive(Clone, Debug)]
pub struct Ask<R> {
    /// Whose it is.
    pub whose: Whose,
    /// What was asked for, in the one way in which it is written among the views of its patient.
    pub view: String,
    /// Its class, as the reply names it.
    pub key: String,
    /// Whether it holds what patients share.
    pub shared: bool,
    /// What it is about.
    pub class: Class,
    /// Whether it is one resource, whose version is its entity tag.
    pub versioned: bool,
    /// What the origin is asked.
    pub query: Query,
    /// The opaque parts of the entity tags that the reader has (RFC 9110 section 13.1.2); `*` for any.
    pub known: Vec<String>,
    /// How it is made.
    pub render: R,
}

impl<R> Ask<R> {
    fn tag(&self, head: &Head) -> String {
        tag(head, self.shared)
    }

    fn knows(&self, etag: &str) -> bool {
        self.known.iter().any(|known| known == etag || known == "*")
    }
}

/// What a caller may.
#[derive(Clone, Debug)]
pub struct Allowed {
    /// What of all records they reach.
    pub scope: Scope,
    /// They want it from the origin, and may.
    pub fresh: bool,
}

/// What was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Got {
    /// The view and the opaque part of its entity tag.
    View(Rc<View>, String),
    /// The reader has it: the opaque part of its entity tag and, of one resource, when its version was written.
    Same(String, Option<UnixMillis>),
    /// What the origin answered, where that is not kept.
    Plain(Answer),
}

/// What was read, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// What was read.
    pub got: Got,
    /// What the cache did.
    pub status: Status,
    /// How long it took.
    pub timing: Timing,
    /// Where in the patient's topic it was read, where it is one patient's and was read at their head.
    pub position: Option<Snapshot>,
}

async fn timed<T>(clock: &impl Clock, work: impl Future<Output = T>) -> (T, Ttl) {
    let from = clock.now();
    let done = work.await;
    (done, from.until(clock.now()))
}

/// What the cache has under a name.
enum Look {
    View(Rc<View>),
    Changed,
    Absent,
}

/// What one attempt to fill came to.
enum Attempt {
    Filled(Rc<View>, bool, Head),
    Plain(Answer),
    Busy(Head),
}

struct Reading<'a, P, R> {
    ports: &'a P,
    rules: &'a Rc<Rules>,
    ask: &'a Ask<R>,
    timing: Timing,
    asked: UnixMillis,
    position: Option<Snapshot>,
}

/// Reads what `ask` says, if `allowed` says who asks and that they may. The parts of the first wave begin together.
pub async fn read<P: Ports, R: Render>(
    ports: &P,
    rules: &Rc<Rules>,
    ask: &Ask<R>,
    allowed: impl Future<Output = Result<Allowed>>,
) -> Result<Read> {
    let asked = ports.now();
    let mut reading = Reading { ports, rules, ask, timing: Timing::default(), asked, position: None };
    let named = match &ask.whose {
        Whose::Patient(patient) => Some(names::name(&rules.names, patient, &ask.view)?),
        Whose::Record(..) => None,
    };
    // The tag of what the reader has is known from the head alone, and what is in memory need not be fetched.
    let conditional = !ask.known.is_empty();
    let entry = async {
        match &named {
            Some(name) if !conditional && !ports.tier().borrow().has(&name.key) => {
                Some(timed(ports, fetch(ports, name)).await)
            }
            _ => None,
        }
    };
    let looked = timed(ports, ports.source().look(&ask.whose, conditional && ask.versioned));
    let ((allowed, session), (looked, head_took), entry) = join!(timed(ports, allowed), looked, entry);
    let (allowed, looked) = (allowed?, looked?);
    let (entry, cache) = entry.map_or((None, None), |(entry, took)| (Some(entry), Some(took)));
    reading.timing = Timing { session: Some(session), head: Some(head_took), cache, ..Timing::default() };

    // Whoever reaches none of the patients, and what belongs to none, is the origin's to answer.
    let Some(head) = looked.heads.iter().find(|head| allowed.scope.reaches(&head.owner)) else {
        return reading.direct(allowed.scope, Status::bypass(&*ask.key)).await;
    };
    reading.at(head);
    let name = named.map_or_else(|| names::name(&rules.names, &head.owner.patient, &ask.view), Ok)?;
    if conditional && !allowed.fresh {
        let version = looked.version.map(|(version, updated)| (version.to_string(), Some(updated)));
        let etag =
            if ask.versioned { version } else { Some((names::entity_tag(&rules.names, &name, &ask.tag(head))?, None)) };
        if let Some((etag, updated)) = etag.filter(|(etag, _)| ask.knows(etag)) {
            return Ok(reading.read(Got::Same(etag, updated), Status::new(&*ask.key)));
        }
    }
    reading.through(&name, head, allowed, entry).await
}

/// A cache that does not answer costs time and nothing else.
async fn fetch(ports: &impl Ports, name: &Name) -> Option<Vec<u8>> {
    let found = ports.cache().read(std::slice::from_ref(name)).await.ok()?;
    found.into_iter().next().flatten().map(|cached| cached.value)
}

impl<P: Ports, R: Render> Reading<'_, P, R> {
    async fn direct(&mut self, scope: Scope, status: Status) -> Result<Read> {
        let asked = self.ports.source().direct(scope, self.ask.query.clone());
        let (answer, took) = timed(self.ports, asked).await;
        self.timing.origin = Some(took);
        self.position = None;
        Ok(self.read(Got::Plain(answer?), status))
    }

    /// What is read from here on is read at this head.
    fn at(&mut self, head: &Head) {
        self.position = matches!(self.ask.whose, Whose::Patient(_)).then(|| head.position(self.asked));
    }

    fn read(&self, got: Got, status: Status) -> Read {
        Read { got, status, timing: self.timing, position: self.position.clone() }
    }

    fn view(&self, name: &Name, view: Rc<View>, status: Status) -> Result<Read> {
        let etag = match view.version {
            Some((version, _)) => version.to_string(),
            None => names::entity_tag(&self.rules.names, name, &view.tag)?,
        };
        let got = if self.ask.knows(&etag) {
            Got::Same(etag, view.version.map(|(_, updated)| updated))
        } else {
            Got::View(view, etag)
        };
        Ok(self.read(got, status))
    }

    /// Looks in memory, then in the cache; `entry` is what the cache had, if it was asked already.
    async fn look(&mut self, name: &Name, tag: &str, salt: &str, entry: Option<Option<Vec<u8>>>) -> Look {
        if let Some(view) = self.ports.tier().borrow_mut().get(&name.key, tag) {
            return Look::View(view);
        }
        let entry = match entry {
            Some(entry) => entry,
            None => {
                let (entry, took) = timed(self.ports, fetch(self.ports, name)).await;
                self.timing.cache = Some(took);
                entry
            }
        };
        let Some(entry) = entry else { return Look::Absent };
        let Kept::Current(sealed) = seal::judge(&entry, tag) else { return Look::Changed };
        let (opened, took) = timed(self.ports, sealed.open(self.ports, &self.rules.masters, salt, name)).await;
        self.timing.seal = Some(took);
        let Some(view) = opened.map(Rc::new) else { return Look::Absent };
        self.ports.tier().borrow_mut().put(&name.key, Rc::clone(&view));
        Look::View(view)
    }

    async fn through(
        &mut self,
        name: &Name,
        head: &Head,
        Allowed { scope, fresh }: Allowed,
        entry: Option<Option<Vec<u8>>>,
    ) -> Result<Read> {
        let mut status = Status::new(&*self.ask.key);
        let mut expired = None;
        let forward = if fresh {
            Forward::Request
        } else {
            match self.look(name, &self.ask.tag(head), &head.salt, entry).await {
                Look::Absent => Forward::UriMiss,
                Look::Changed => Forward::Changed,
                Look::View(view) => {
                    let now = self.ports.now();
                    if view.life.is_fresh(now) {
                        self.refresh_early(&view.life, now, name, head, scope);
                        status.ttl = Some(now.until(view.life.fresh_until));
                        return self.view(name, view, status);
                    }
                    expired = Some(view);
                    Forward::Stale
                }
            }
        };
        let filled = self.fill(name, head, scope, Status { forward: Some(forward), ..status.clone() }).await;
        match (filled, expired) {
            (Err(Error { kind: Kind::Unavailable, .. }), Some(view)) if self.may_serve_stale(&view) => {
                let now = self.ports.now();
                status.stale = Some(view.life.fresh_until.until(now));
                status.age = Some(view.life.age(now));
                self.view(name, view, status)
            }
            (filled, _) => filled,
        }
    }

    fn may_serve_stale(&self, view: &View) -> bool {
        self.ports.now() < view.life.fresh_until.plus(life::stale(&self.rules.stale, self.ask.class))
    }

    /// Fills the view, or waits for whoever does.
    async fn fill(&mut self, name: &Name, head: &Head, scope: Scope, mut status: Status) -> Result<Read> {
        let patient = &head.owner.patient;
        let mut waited = Ttl(0);
        while waited < PATIENCE {
            let attempt = attempt(self.ports, self.rules, self.ask, name, patient, scope.clone());
            let (attempt, took) = timed(self.ports, attempt).await;
            let head = match attempt? {
                Attempt::Busy(head) => head,
                Attempt::Plain(answer) => {
                    self.timing.origin = Some(took);
                    self.position = None;
                    return Ok(self.read(Got::Plain(answer), status));
                }
                Attempt::Filled(view, stored, head) => {
                    self.timing.origin = Some(took);
                    self.at(&head);
                    return self.view(name, view, Status { stored, ..status });
                }
            };
            self.at(&head);
            let tag = self.ask.tag(&head);
            let mut pause = FIRST;
            while pause <= LONGEST && waited < PATIENCE {
                // Half of it is drawn, so that those who wait do not look all at once.
                let drawn = Ttl((pause.0 / 2).saturating_add(below(self.ports, pause.0)));
                self.ports.pause(drawn).await;
                waited = Ttl(waited.0.saturating_add(drawn.0));
                pause = Ttl(pause.0.saturating_mul(2));
                if let Look::View(view) = self.look(name, &tag, &head.salt, None).await
                    && view.life.is_fresh(self.ports.now())
                {
                    return self.view(name, view, Status { collapsed: true, ..status });
                }
            }
        }
        status.collapsed = false;
        self.direct(scope, status).await
    }

    /// Has the view filled again in the background if this reader is the one who draws it.
    fn refresh_early(&self, life: &Life, now: UnixMillis, name: &Name, head: &Head, scope: Scope) {
        if !life.may_be_due(now) || !life.is_due(now, random(self.ports)) {
            return;
        }
        let (ports, rules, ask) = (self.ports.clone(), Rc::clone(self.rules), self.ask.clone());
        let (name, patient) = (name.clone(), head.owner.patient.clone());
        self.ports.background(async move {
            // Whoever reads next does what could not be done here.
            let _ = attempt(&ports, &rules, &ask, &name, &patient, scope).await;
        });
    }
}

/// A random number below `bound`, or 0.
fn below(entropy: &impl Entropy, bound: u64) -> u64 {
    random(entropy).checked_rem(bound).unwrap_or(0)
}

fn random(entropy: &impl Entropy) -> u64 {
    let mut bytes = [0; 8];
    entropy.fill(&mut bytes);
    u64::from_be_bytes(bytes)
}

/// Takes the token, asks the origin, and keeps what it answered.
async fn attempt<P: Ports, R: Render>(
    ports: &P,
    rules: &Rules,
    ask: &Ask<R>,
    name: &Name,
    patient: &str,
    scope: Scope,
) -> Result<Attempt> {
    let from = ports.now();
    let fill = Fill {
        patient: patient.to_owned(),
        whose: ask.whose.clone(),
        view: name.key.clone(),
        shared: ask.shared,
        hold: HOLD,
        scope,
        query: ask.query.clone(),
    };
    let (token, head, answer) = match ports.source().fill(fill).await? {
        Filling::Busy { head } => return Ok(Attempt::Busy(head)),
        Filling::Granted { token, head, answer } => (token, head, answer),
        Filling::Unkept { answer } => return Ok(Attempt::Plain(answer)),
    };
    let took = from.until(ports.now());
    let kept = match ask.render.render(&answer) {
        None => Attempt::Plain(answer),
        Some(Rendered { version, body }) => {
            let life = Life { filled: from, took, fresh_until: from.plus(rules.ttl) };
            let view = Rc::new(View { tag: ask.tag(&head), life, version, body });
            let stored = keep(ports, rules, ask.class, &head.salt, name, &view).await.is_ok();
            ports.tier().borrow_mut().put(&name.key, Rc::clone(&view));
            Attempt::Filled(view, stored, head)
        }
    };
    let (returning, view) = (ports.clone(), name.key.clone());
    ports.background(async move {
        // A token that is not given back ends at its deadline.
        let _ = returning.source().filled(&view, token).await;
    });
    Ok(kept)
}

async fn keep(ports: &impl Ports, rules: &Rules, class: Class, salt: &str, name: &Name, view: &View) -> Result<()> {
    let value = seal::seal(ports, &rules.masters, salt, name, view).await?;
    let expires = view.life.fresh_until.plus(life::stale(&rules.stale, class));
    ports.cache().write(vec![(name.clone(), Cached { value, expires })]).await
}
