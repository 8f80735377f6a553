//! Heads apart from the records: on a store of their own, such as Redis, with which no commit of records is one transaction.
//!
//! Invariant: from before a write commits until its generation has changed, the head carries the write's mark: nothing is
//! filled then, and reads go to the origin. A mark that outlives its deadline counts as a change, for whoever sees it; and a
//! commit is refused from [`MARGIN`] before the deadline of its mark on. So a writer that dies anywhere leaves no view
//! behind that is older than what it committed.
//!
//! It is assumed that the clocks of Workers, objects and store are less than [`MARGIN`] apart. A head that the store has
//! lost is made anew at a generation that nothing was ever kept at.

use std::future::Future;

use serde::{Deserialize, Serialize};

use super::names;
use crate::access::Owner;
use crate::chart::head::{self, Head};
use crate::error::{Error, Result};
use crate::outgoing::join_all;
use crate::store::{Applied, Condition, Entry, Op, Shard, Store};
use crate::time::{Entropy, Ttl, UnixMillis};

/// A mark lives this long.
pub const MARK: Ttl = Ttl::from_secs(10);
/// What clocks may differ by.
pub const MARGIN: Ttl = Ttl::from_secs(2);
/// How often a race for a head is run again.
const TRIES: usize = 8;

/// A write that is under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Its own, never used twice.
    pub id: String,
    /// When it counts as a change.
    pub until: UnixMillis,
}

impl Mark {
    /// A mark of a write that begins at `now`.
    pub fn new(entropy: &impl Entropy, now: UnixMillis) -> Mark {
        Mark { id: head::random(entropy), until: now.plus(MARK) }
    }

    /// Whether the write may still commit at `now`.
    pub fn allows(&self, now: UnixMillis) -> bool {
        now.plus(MARGIN) < self.until
    }
}

/// A head as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stored {
    generation: String,
    salt: String,
    wards: Vec<String>,
    told: u64,
    log: Option<String>,
    moved: u64,
    /// As of which state of the records the salt, the wards, and what was told, are.
    order: u64,
    marks: Vec<Mark>,
    /// The restore since which it is.
    restored: UnixMillis,
}

impl Stored {
    /// Takes over what the records say, unless it has that of a later state of them.
    fn take(&mut self, head: Option<&Head>, order: u64) {
        if let Some(head) = head.filter(|_| order >= self.order) {
            (self.wards, self.moved) = (head.owner.wards.clone(), head.moved);
            (self.told, self.log, self.order) = (head.told, head.log.clone(), order);
            // That of a patient who is not there yet is made here.
            if !head.salt.is_empty() {
                self.salt.clone_from(&head.salt);
            }
        }
    }
}

/// What is known of a head on the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The head; nobody writes.
    Head(Head),
    /// The head while somebody writes: the origin is to be asked, and nothing kept.
    Writing(Head),
    /// A write left its mark, and nobody knows what it did: [`Heads::settle`] it.
    Overdue,
    /// There is none on the store: [`Heads::settle`] it.
    Missing,
}

/// Heads as the records have them, wards and all but for what is the store's own, as of one state of the records.
#[derive(Clone, Copy, Debug)]
pub struct Heading<'a> {
    /// The heads.
    pub heads: &'a [Head],
    /// Whether what patients share is meant as well.
    pub shared: bool,
    /// The number of the state; a later one is higher.
    pub order: u64,
}

impl Heading<'_> {
    /// Where they are, with what the records say of each.
    fn places(&self) -> impl Iterator<Item = (&str, Option<&Head>)> {
        let own = self.heads.iter().map(|head| (head.owner.patient.as_str(), Some(head)));
        own.chain(self.shared.then_some((SHARED, None)))
    }
}

/// Heads on a store.
#[derive(Clone, Debug)]
pub struct Heads<S> {
    store: S,
    names: [u8; 32],
    restored: UnixMillis,
}

/// Whose views the shared generation is of: no patient's id is empty.
const SHARED: &str = "";

impl<S: Store> Heads<S> {
    /// Heads on `store`, named under this key, since the restore of `restored`.
    pub fn new(store: S, names: [u8; 32], restored: UnixMillis) -> Heads<S> {
        Heads { store, names, restored }
    }

    /// The store that they are on.
    pub fn store(&self) -> &S {
        &self.store
    }

    fn place(&self, patient: &str) -> Result<(Shard, String)> {
        let name = names::name(&self.names, patient, "head")?;
        Ok((name.shard, name.key.replacen("chart/", "head/", 1)))
    }

    /// What is stored for `patient`, and the condition under which it may be replaced. What cannot be read was written by
    /// another version of the program, or is of before a restore: as good as lost.
    async fn stored(&self, patient: &str) -> Result<(Option<Stored>, Condition)> {
        let (shard, key) = self.place(patient)?;
        let entry = self.store.apply(shard, vec![Op::get(key)]).await?.entries().next().flatten();
        let Some(Entry { version, value, .. }) = entry else { return Ok((None, Condition::Absent)) };
        let stored: Option<Stored> = postcard::from_bytes(&value).ok();
        if stored.as_ref().is_some_and(|stored| stored.restored > self.restored) {
            return Err(Error::unavailable("records are being brought back; try again"));
        }
        Ok((stored.filter(|stored| stored.restored == self.restored), Condition::Version(version)))
    }

    /// The head of `patient` at `now`.
    pub async fn look(&self, patient: &str, now: UnixMillis) -> Result<Seen> {
        let (own, shared) = futures_util::join!(self.stored(patient), self.stored(SHARED));
        let ((Some(own), _), (Some(shared), _)) = (own?, shared?) else { return Ok(Seen::Missing) };
        let marks = || own.marks.iter().chain(&shared.marks);
        if marks().any(|mark| now >= mark.until) {
            return Ok(Seen::Overdue);
        }
        let writing = marks().next().is_some();
        let head = Head {
            generation: own.generation,
            shared: shared.generation,
            salt: own.salt,
            owner: Owner { patient: patient.to_owned(), wards: own.wards },
            told: own.told,
            log: own.log,
            moved: own.moved,
        };
        Ok(if writing { Seen::Writing(head) } else { Seen::Head(head) })
    }

    /// Changes what is stored for `patient` by `change`, which is given what there is, or else a head that is new.
    async fn update(
        &self,
        entropy: &impl Entropy,
        patient: &str,
        change: impl Fn(Stored, bool) -> Option<Stored>,
    ) -> Result<()> {
        let (shard, key) = self.place(patient)?;
        for _ in 0..TRIES {
            let (stored, condition) = self.stored(patient).await?;
            let is_new = stored.is_none();
            let stored = stored.unwrap_or_else(|| Stored {
                generation: head::random(entropy),
                salt: head::random(entropy),
                wards: Vec::new(),
                told: 0,
                log: None,
                moved: 0,
                order: 0,
                marks: Vec::new(),
                restored: self.restored,
            });
            let Some(stored) = change(stored, is_new) else { return Ok(()) };
            let value = postcard::to_allocvec(&stored).map_err(|_| Error::internal("a head could not be written"))?;
            let put = Op::Put { key: key.clone(), value, condition, expires: None };
            if let Applied::Done(_) = self.store.apply(shard, vec![put]).await? {
                return Ok(());
            }
        }
        Err(Error::unavailable("too many write to this patient at once; try again"))
    }

    /// Makes heads that the store has lost, and changes those on which writes left their marks.
    pub async fn settle(&self, entropy: &impl Entropy, now: UnixMillis, now_are: &Heading<'_>) -> Result<()> {
        let each = now_are.places().map(|(patient, head)| async move {
            let settled = |stored: Stored, is_new: bool| {
                let overdue = stored.marks.iter().any(|mark| now >= mark.until);
                (is_new || overdue).then(|| changed(entropy, stored, head, now_are.order, |mark| now < mark.until))
            };
            self.update(entropy, patient, settled).await
        });
        all(each).await
    }

    /// Marks the heads of those whose views the write may change, before it commits. What fails leaves marks, which pass.
    pub async fn mark(&self, entropy: &impl Entropy, before: &Heading<'_>, mark: &Mark) -> Result<()> {
        let each = before.places().map(|(patient, head)| async move {
            let marked = |mut stored: Stored, is_new: bool| {
                if is_new {
                    stored.take(head, before.order);
                }
                if !stored.marks.contains(mark) {
                    stored.marks.push(mark.clone());
                }
                Some(stored)
            };
            self.update(entropy, patient, marked).await
        });
        all(each).await
    }

    /// Changes the generations of those whose views the write changed and takes its mark away.
    pub async fn raise(&self, entropy: &impl Entropy, after: &Heading<'_>, mark: &Mark) -> Result<()> {
        let each = after.places().map(|(patient, head)| async move {
            let raised = |stored, _| Some(changed(entropy, stored, head, after.order, |other| other.id != mark.id));
            self.update(entropy, patient, raised).await
        });
        all(each).await
    }

    /// Takes the mark of a write that changed nothing away.
    pub async fn unmark(&self, entropy: &impl Entropy, before: &Heading<'_>, mark: &Mark) -> Result<()> {
        let each = before.places().map(|(patient, _)| async move {
            let unmarked = |mut stored: Stored, is_new: bool| {
                stored.marks.retain(|other| other.id != mark.id);
                (!is_new).then_some(stored)
            };
            self.update(entropy, patient, unmarked).await
        });
        all(each).await
    }
}

/// Does all of these beside each other, and gives the first error once all are done.
async fn all(each: impl Iterator<Item = impl Future<Output = Result<()>>>) -> Result<()> {
    join_all(each).await.into_iter().collect()
}

/// `stored` at a new generation, with the marks that `keep` keeps.
fn changed(
    entropy: &impl Entropy,
    mut stored: Stored,
    head: Option<&Head>,
    order: u64,
    keep: impl Fn(&Mark) -> bool,
) -> Stored {
    stored.generation = head::random(entropy);
    stored.marks.retain(keep);
    stored.take(head, order);
    stored
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;
    use crate::store::memory::Memory;
    use crate::testing::{DrivenClock, Seeded, block_on};

    #[test]
    fn a_head_that_cannot_be_read_is_as_good_as_lost() {
        let heads = Heads::new(Memory::new(Rc::new(DrivenClock(Cell::new(1_000)))), [7; 32], UnixMillis(0));
        let (entropy, now) = (Seeded::new(1), UnixMillis(1_000));
        let none = [Head::none("p")];
        let of = Heading { heads: &none, shared: true, order: 1 };
        let look = || block_on(heads.look("p", now)).unwrap();
        block_on(heads.settle(&entropy, now, &of)).unwrap();
        let Seen::Head(before) = look() else { panic!("{:?}", look()) };
        for patient in ["p", SHARED] {
            let (shard, key) = heads.place(patient).unwrap();
            let put = Op::Put { key, value: b"?".to_vec(), condition: Condition::Always, expires: None };
            block_on(heads.store.apply(shard, vec![put])).unwrap();
        }
        assert_eq!(look(), Seen::Missing);
        block_on(heads.settle(&entropy, now, &of)).unwrap();
        let Seen::Head(after) = look() else { panic!("{:?}", look()) };
        assert!(after.generation != before.generation && after.shared != before.shared && after.salt != before.salt);
    }

    /// Heads on a store that was not brought back tell of records that are no more.
    #[test]
    fn a_head_of_before_a_restore_is_as_good_as_lost() {
        let mut heads = Heads::new(Memory::new(Rc::new(DrivenClock(Cell::new(1_000)))), [7; 32], UnixMillis(0));
        let (entropy, now) = (Seeded::new(1), UnixMillis(1_000));
        let none = [Head::none("p")];
        let of = |order| Heading { heads: &none, shared: true, order };
        block_on(heads.settle(&entropy, now, &of(9))).unwrap();
        let Ok(Seen::Head(before)) = block_on(heads.look("p", now)) else { panic!() };
        heads.restored = UnixMillis(500);
        assert_eq!(block_on(heads.look("p", now)), Ok(Seen::Missing));
        block_on(heads.settle(&entropy, now, &of(1))).unwrap();
        let Ok(Seen::Head(after)) = block_on(heads.look("p", now)) else { panic!() };
        assert!(before.generation != after.generation && before.shared != after.shared);
        heads.restored = UnixMillis(0);
        let told = block_on(heads.look("p", now)).unwrap_err();
        assert_eq!(told.kind, crate::error::Kind::Unavailable, "a Worker that has not heard of the restore");
    }
}
