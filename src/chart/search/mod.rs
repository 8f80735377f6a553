//! Searches over the index in the clinic's SQLite.
//!
//! Invariant: the order of a search follows from the query alone, so that a page can begin where another ended; what differs is
//! only how it is come by. Few records are gathered through the criterion that has fewest and sorted; many are walked through in
//! an index that has the order already, a bounded number of rows a page (one that is cut says where to go on, however little
//! it holds). A search that would have to sort many is refused. So no search costs more the more patients there are.

pub(super) mod index;
mod plan;
mod statement;
mod walk;

use self::plan::Plan;
use super::records::{Answer, Record};
use super::records_sql::{owners, record};
use crate::access::Scope;
use crate::error::{Error, Result};
use crate::fhir::search::{Place, Search, owner_number};
use crate::sorted::BTreeMap;
use crate::store::sql::Sql;

/// How much one page may cost.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// The most records that are gathered where the order is in an index.
    few: u64,
    /// The most records that are sorted.
    most: u64,
    /// The most rows of an index that are looked at in a walk.
    look: u64,
    /// Rows looked at in one statement, at first and later.
    chunks: (u64, u64),
}

const LIMITS: Limits = Limits { few: 300, most: 5_000, look: 20_000, chunks: (50, 2_000) };

/// The most that the records of a page weigh together, give or take one statement's.
const WEIGHT: usize = 4 << 20;
/// Records read in one statement.
const READ: usize = 25;

/// What is wanted of a search.
pub struct Wanted<'a> {
    /// The search.
    pub search: &'a Search,
    /// Only what comes after this.
    pub after: Option<&'a Place>,
    /// At most this many.
    pub count: u64,
    /// Whether all are to be counted.
    pub total: bool,
}

/// Answers a search within `scope`.
pub fn search(sql: &impl Sql, scope: &Scope, wanted: &Wanted<'_>) -> Result<Answer> {
    index::complete(sql)?;
    answer(sql, scope, wanted, LIMITS)
}

fn answer(sql: &impl Sql, scope: &Scope, wanted: &Wanted<'_>, limits: Limits) -> Result<Answer> {
    // Who reaches one patient is not made to look through everybody's.
    let own = match scope.patients().as_deref() {
        Some([patient]) => Some(owner_number(patient)),
        _ => wanted.search.confined.as_deref().map(owner_number),
    };
    let plan = Plan::of(sql, wanted.search, own, limits)?;
    let mut judge = Judge { sql, scope, known: BTreeMap::new() };
    let total = if wanted.total { Some(plan.count(&mut judge)?) } else { None };
    if wanted.count == 0 {
        return Ok(Answer::Search(Vec::new(), None, total));
    }
    let mut page = Page { count: usize::try_from(wanted.count).unwrap_or(usize::MAX), found: Vec::new(), next: None };
    match plan.walk()? {
        Some(walk) => walk.run(&plan, &mut judge, wanted.after, &mut page)?,
        None => plan.gather(&mut judge, wanted.after, &mut page)?,
    }
    let records = page.read(sql)?;
    Ok(Answer::Search(records, page.next, total))
}

/// Whether records are reached, by the list of the patients in whose compartments they are.
struct Judge<'a, S> {
    sql: &'a S,
    scope: &'a Scope,
    known: BTreeMap<String, bool>,
}

impl<S: Sql> Judge<'_, S> {
    fn reaches(&mut self, patients: String) -> Result<bool> {
        if let Some(known) = self.known.get(&patients) {
            return Ok(*known);
        }
        let unreadable = |_| Error::internal("a list of patients is no list");
        let list: Vec<String> = serde_json::from_str(&patients).map_err(unreadable)?;
        let reached = self.scope.may_read(&owners(self.sql, list)?);
        self.known.insert(patients, reached);
        Ok(reached)
    }
}
struct Page {
    count: usize,
    found: Vec<Place>,
    /// Where to go on.
    next: Option<Place>,
}

impl Page {
    /// Takes the next record that is found and reached; says whether the page is full and this one belongs to the next.
    fn take(&mut self, place: Place) -> bool {
        if self.found.last().is_some_and(|last| last.record == place.record) {
            return false;
        }
        if self.found.len() >= self.count {
            self.next = self.found.last().cloned();
            return true;
        }
        self.found.push(place);
        false
    }

    /// The records, in their order. The page ends early where they weigh too much.
    fn read(&mut self, sql: &impl Sql) -> Result<Vec<Record>> {
        let mut records = Vec::new();
        let mut weight = 0_usize;
        for places in self.found.chunks(READ) {
            if weight >= WEIGHT {
                self.next = self.found.get(records.len().saturating_sub(1)).cloned();
                break;
            }
            let numbers: Vec<u64> = places.iter().map(|place| place.record).collect();
            let numbers =
                serde_json::to_string(&numbers).map_err(|_| Error::internal("numbers could not be written"))?;
            let rows = sql.exec(
                "SELECT r.id, r.version, r.updated, r.created, r.body FROM json_each(?1) n \
                 CROSS JOIN versions v ON v.seq = n.value CROSS JOIN resources r ON r.kind = v.kind AND r.id = v.id \
                 ORDER BY n.key",
                &[numbers.into()],
            )?;
            for row in rows {
                let record = record(row)?;
                weight = weight.saturating_add(record.body.as_ref().map_or(0, String::len));
                records.push(record);
            }
        }
        Ok(records)
    }
}

#[cfg(test)]
mod tests;
