//! Reading a view through the cache.
//!
//! Invariant: what is served was read at a generation that was the head's at some instant of this very request, or later.
//! The session, the head and the entry are asked for in one wave; only then is it decided who may see anything.

mod filling;

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;

use futures_util::join;

use super::life;
use super::seal::{self, Cipher, Kept, View};
use super::status::{Forward, Status, Timing};
use super::tier::Tier;
use super::window::Window;
use super::{Looked, Source, Whose, names, tag};
use crate::access::Scope;
use crate::channel::cursor::Snapshot;
use crate::chart::head::Head;
use crate::chart::records::{Answer, Query};
use crate::config::cache::{Cache as Rules, Class};
use crate::error::{Error, Kind, Result};
use crate::store::bytes::{Bytes, Name};
use crate::time::{Clock, Entropy, Ttl, UnixMillis};

/// What reading needs from outside.
pub trait Ports: Clock + Entropy + Cipher + Clone + 'static {
    /// Where heads and records come from.
    type Source: Source;
    /// What keeps cached views.
    type Cache: Bytes;
    /// Where heads and records come from.
    fn source(&self) -> Self::Source;
    /// What keeps cached views.
    fn cache(&self) -> &Self::Cache;
    /// The views in this isolate's memory.
    fn tier(&self) -> Rc<RefCell<Tier>>;
    /// What this isolate was just told of heads.
    fn window(&self) -> Rc<RefCell<Window<Looked>>>;
    /// Waits so long.
    fn pause(&self, ttl: Ttl) -> impl Future<Output = ()>;
    /// Has `work` done although the request may be answered before it is. It is given ports of its own, whose calls do not
    /// depend on the request's being under way.
    fn background<W: Future<Output = ()> + 'static>(&self, work: impl FnOnce(Self) -> W);
}

/// Makes a view's JSON of what the origin answered.
pub trait Render {
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
#[derive(Clone)]
pub struct Ask {
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
    pub render: Rc<dyn Render>,
}

impl Ask {
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
    /// The patient whose head it was read at, where it was read at one.
    pub patient: Option<String>,
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
    /// It does not answer, which costs time and nothing else.
    Silent,
}

struct Reading<'a, P> {
    ports: &'a P,
    rules: &'a Rc<Rules>,
    ask: &'a Ask,
    timing: Timing,
    asked: UnixMillis,
    position: Option<Snapshot>,
    patient: Option<String>,
}

/// Reads what `ask` says, if `allowed` says who asks and that they may. The parts of the first wave begin together.
pub async fn read<P: Ports>(
    ports: &P,
    rules: &Rc<Rules>,
    ask: &Ask,
    allowed: impl Future<Output = Result<Allowed>>,
) -> Result<Read> {
    let asked = ports.now();
    let mut reading = Reading { ports, rules, ask, timing: Timing::default(), asked, position: None, patient: None };
    let mut named = match &ask.whose {
        Whose::Patient(patient) => Some(names::name(&rules.names, patient, &ask.view)?),
        Whose::Record(..) => None,
    };
    // The tag of what the reader has is known from the head alone.
    let conditional = !ask.known.is_empty();
    let first = wave(ports, &ask.whose, conditional && ask.versioned, named.as_ref().filter(|_| !conditional));
    let ((allowed, session), mut brought) = join!(timed(ports, allowed), first);
    let (allowed, mut looked) = (allowed?, brought.looked?);
    if let Some(patient) = looked.next.take() {
        // The second wave of what is known by its id alone, where heads are apart from records.
        let name = names::name(&rules.names, &patient, &ask.view)?;
        brought = wave(ports, &Whose::Patient(patient), false, Some(&name)).await;
        looked = brought.looked?;
        named = Some(name);
    }
    let Wave { head, entry, cache, .. } = brought;
    reading.timing = Timing { session: Some(session), head, cache, ..Timing::default() };

    // Whoever reaches none of the patients, and what belongs to none, is the origin's to answer.
    let Some(head) = looked.heads.iter().find(|head| allowed.scope.reaches(&head.owner)) else {
        return reading.direct(allowed.scope, Status::bypass(&*ask.key)).await;
    };
    if looked.writing {
        return reading
            .direct(allowed.scope, Status { forward: Some(Forward::Writing), ..Status::new(&*ask.key) })
            .await;
    }
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

/// What one wave brought, and how long each part took; `None` where it was not asked for.
struct Wave {
    looked: Result<Looked>,
    head: Option<Ttl>,
    entry: Option<Entry>,
    cache: Option<Ttl>,
}

/// Asks for the heads of `whose`, unless this isolate was just told, and beside it for the entry called `name`, unless it is in
/// memory.
async fn wave(ports: &impl Ports, whose: &Whose, version: bool, name: Option<&Name>) -> Wave {
    let fetched = async {
        match name.filter(|name| !ports.tier().borrow().has(&name.key)) {
            Some(name) => Some(timed(ports, fetch(ports, name)).await),
            None => None,
        }
    };
    let ((looked, head), fetched) = join!(look(ports, whose, version), fetched);
    let (entry, cache) = fetched.map_or((None, None), |(entry, took)| (Some(entry), Some(took)));
    Wave { looked, head, entry, cache }
}

async fn look(ports: &impl Ports, whose: &Whose, version: bool) -> (Result<Looked>, Option<Ttl>) {
    let (asked, question) = (ports.now(), whose.question());
    if let Some(told) = ports.window().borrow_mut().get(asked, &question) {
        return (Ok(told), None);
    }
    let looked = ports.source().look(whose, version).await;
    let now = ports.now();
    if let Ok(looked) = &looked
        && !looked.writing
    {
        ports.window().borrow_mut().put(asked, now, &question, looked.clone());
    }
    (looked, Some(asked.until(now)))
}

/// What was found under a name; an error where the cache does not answer.
type Entry = Result<Option<Vec<u8>>>;

async fn fetch(ports: &impl Ports, name: &Name) -> Entry {
    let found = ports.cache().read(std::slice::from_ref(name)).await?;
    Ok(found.into_iter().next().flatten().map(|cached| cached.value))
}

impl<P: Ports> Reading<'_, P> {
    async fn direct(&mut self, scope: Scope, status: Status) -> Result<Read> {
        let source = self.ports.source();
        let asked = source.direct(scope, self.ask.query.clone());
        let (answer, took) = timed(self.ports, asked).await;
        self.timing.origin = Some(took);
        (self.position, self.patient) = (None, None);
        Ok(self.read(Got::Plain(answer?), status))
    }

    /// What is read from here on is read at this head.
    fn at(&mut self, head: &Head) {
        self.patient = Some(head.owner.patient.clone());
        self.position = matches!(self.ask.whose, Whose::Patient(_)).then(|| head.position(self.asked));
    }

    fn read(&self, got: Got, status: Status) -> Read {
        Read { got, status, timing: self.timing, position: self.position.clone(), patient: self.patient.clone() }
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
    async fn look(&mut self, name: &Name, tag: &str, salt: &str, entry: Option<Entry>) -> Look {
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
        let entry = match entry {
            Ok(Some(entry)) => entry,
            Ok(None) => return Look::Absent,
            Err(_) => return Look::Silent,
        };
        let Kept::Current(sealed) = seal::judge(&entry, tag) else { return Look::Changed };
        let (opened, took) = timed(self.ports, sealed.open(self.ports, &self.rules.masters, salt, name)).await;
        self.timing.seal = Some(took);
        let Some(view) = opened.map(Rc::new) else { return Look::Absent };
        self.ports.tier().borrow_mut().put(&name.key, Rc::clone(&view));
        Look::View(view)
    }

    async fn through(&mut self, name: &Name, head: &Head, mut allowed: Allowed, entry: Option<Entry>) -> Result<Read> {
        let mut status = Status::new(&*self.ask.key);
        let mut expired = None;
        let forward = if allowed.fresh {
            Forward::Request
        } else {
            match self.look(name, &self.ask.tag(head), &head.salt, entry).await {
                Look::Absent => Forward::UriMiss,
                Look::Silent => {
                    // Whoever fills it could not tell the others.
                    allowed.fresh = true;
                    Forward::UriMiss
                }
                Look::Changed => Forward::Changed,
                Look::View(view) => {
                    let now = self.ports.now();
                    if view.life.is_fresh(now) {
                        self.refresh_early(&view.life, now, name, head, allowed);
                        status.ttl = Some(now.until(view.life.fresh_until));
                        return self.view(name, view, status);
                    }
                    expired = Some(view);
                    Forward::Stale
                }
            }
        };
        let filled = self.fill(name, head, allowed, Status { forward: Some(forward), ..status.clone() }).await;
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
}
