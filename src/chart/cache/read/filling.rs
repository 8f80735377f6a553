//! Filling a view: one asks the origin and keeps what it answers, the others wait for that.
//!
//! Invariant: what is kept is sealed with the head that held before the origin was asked. Everybody waits a bounded time: for
//! another's fill at most [`PATIENCE`], after which the origin is asked directly.

use std::rc::Rc;

use super::{Allowed, Ask, Got, Look, Ports, Read, Reading, Rendered, timed};
use crate::chart::cache::life::{self, Life};
use crate::chart::cache::seal::{self, View};
use crate::chart::cache::status::Status;
use crate::chart::cache::{Fill, Filling, Source};
use crate::chart::head::Head;
use crate::chart::records::Answer;
use crate::config::cache::{Cache as Rules, Class};
use crate::error::Result;
use crate::store::bytes::{Bytes, Cached, Name};
use crate::time::{Entropy, Ttl, UnixMillis};

/// A fill that takes longer is taken for dead, and another may try; after one that did not, nobody else asks for so long.
const HOLD: Ttl = Ttl::from_secs(3);
/// So long does a reader wait for another's fill, all in all.
const PATIENCE: Ttl = Ttl::from_secs(4);
/// The first pause of a reader who waits; each further one is twice as long, up to [`LONGEST`].
const FIRST: Ttl = Ttl(16);
/// After a pause of about this length the reader asks for the token itself.
const LONGEST: Ttl = Ttl(256);

/// What one attempt to fill came to.
enum Attempt {
    Filled(Rc<View>, bool, Head),
    Plain(Answer),
    Busy(Head),
}

impl<P: Ports> Reading<'_, P> {
    /// Fills the view, or waits for whoever does.
    pub(super) async fn fill(
        &mut self,
        name: &Name,
        head: &Head,
        mut allowed: Allowed,
        mut status: Status,
    ) -> Result<Read> {
        let patient = &head.owner.patient;
        let mut waited = Ttl(0);
        while waited < PATIENCE {
            let attempt = attempt(self.ports, self.rules, self.ask, name, patient, allowed.clone());
            let (attempt, took) = timed(self.ports, attempt).await;
            let head = match attempt? {
                Attempt::Busy(head) => head,
                Attempt::Plain(answer) => {
                    self.timing.origin = Some(took);
                    (self.position, self.patient) = (None, None);
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
                match self.look(name, &tag, &head.salt, None).await {
                    Look::View(view) if view.life.is_fresh(self.ports.now()) => {
                        return self.view(name, view, Status { collapsed: true, ..status });
                    }
                    Look::Silent => {
                        allowed.fresh = true;
                        break;
                    }
                    Look::View(_) | Look::Changed | Look::Absent => {}
                }
            }
        }
        status.collapsed = false;
        self.direct(allowed.scope, status).await
    }

    /// Has the view filled again in the background if this reader is the one who draws it.
    pub(super) fn refresh_early(&self, life: &Life, now: UnixMillis, name: &Name, head: &Head, allowed: Allowed) {
        if !life.may_be_due(now) || !life.is_due(now, random(self.ports)) {
            return;
        }
        let (rules, ask) = (Rc::clone(self.rules), self.ask.clone());
        let (name, patient) = (name.clone(), head.owner.patient.clone());
        self.ports.background(move |ports| async move {
            // Whoever reads next does what could not be done here.
            let _ = attempt(&ports, &rules, &ask, &name, &patient, allowed).await;
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
async fn attempt<P: Ports>(
    ports: &P,
    rules: &Rules,
    ask: &Ask,
    name: &Name,
    patient: &str,
    Allowed { scope, fresh }: Allowed,
) -> Result<Attempt> {
    let from = ports.now();
    let fill = Fill {
        patient: patient.to_owned(),
        whose: ask.whose.clone(),
        view: name.key.clone(),
        shared: ask.shared,
        hold: HOLD.min(rules.ttl),
        fresh,
        scope,
        query: ask.query.clone(),
    };
    let (token, head, answer) = match ports.source().fill(fill).await? {
        Filling::Busy { head } => return Ok(Attempt::Busy(head)),
        Filling::Granted { token, head, answer } => (token, head, answer),
        Filling::Unkept { answer } => return Ok(Attempt::Plain(answer)),
    };
    let took = from.until(ports.now());
    let (kept, stored) = match ask.render.render(&answer) {
        None => (Attempt::Plain(answer), false),
        Some(Rendered { version, body }) => {
            let life = Life { filled: from, took, fresh_until: from.plus(rules.ttl) };
            let view = Rc::new(View { tag: ask.tag(&head), life, version, body });
            let stored = keep(ports, rules, ask.class, &head.salt, name, &view).await.is_ok();
            ports.tier().borrow_mut().put(&name.key, Rc::clone(&view));
            (Attempt::Filled(view, stored, head), stored)
        }
    };
    if !stored {
        let view = name.key.clone();
        ports.background(move |ports| async move {
            // A token that is not given back ends at its deadline.
            let _ = ports.source().give_back(&view, token).await;
        });
    }
    Ok(kept)
}

async fn keep(ports: &impl Ports, rules: &Rules, class: Class, salt: &str, name: &Name, view: &View) -> Result<()> {
    let value = seal::seal(ports, &rules.masters, salt, name, view).await?;
    let expires = view.life.fresh_until.plus(life::stale(&rules.stale, class));
    ports.cache().write(vec![(name.clone(), Cached { value, expires })]).await
}
