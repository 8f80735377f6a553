//! The lines of a published file, a page at a time.
//!
//! Invariant: a page reads at most [`PAGE`] records. What is kept between pages is where to go on, the ids of the Schedules
//! that are published and those of their Locations. A Schedule without a Location is not published, nor are its Slots.

use serde_json::{Value, json};

use super::{File, OVERLAP, TYPES, shown};
use crate::access::published;
use crate::chart::records::{Answer, Query, Record};
use crate::clinic::{Clinic, unexpected};
use crate::error::Result;
use crate::fhir::ResourceType::{Location, Schedule, Slot};
use crate::fhir::search::Place;
use crate::fhir::{ResourceType, at};
use crate::http::search;
use crate::sorted::{BTreeMap, BTreeSet};
use crate::time::UnixMillis;

/// Records of a page.
const PAGE: u64 = 200;
/// Locations that are read at once.
const AT_ONCE: usize = 50;

/// What is known of a Schedule that is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Offered {
    is_open: bool,
    is_new: bool,
}

/// A file that is being sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lines {
    file: File,
    since: Option<UnixMillis>,
    today: UnixMillis,
    base: String,
    schedules: BTreeMap<String, Offered>,
    locations: BTreeSet<String>,
    /// Whether the Schedules have been looked through.
    ready: bool,
    place: Option<Place>,
    /// Of the deletions: the type that is looked through, and how far.
    log: (usize, Option<u64>),
    done: bool,
}

fn read(record: &Record) -> Option<Value> {
    serde_json::from_str(record.body.as_deref()?).ok()
}

fn line(text: &mut String, value: &Value) {
    text.push_str(&value.to_string());
    text.push('\n');
}

impl Lines {
    /// `file`, of what was written since an instant where that is given, and of Slots that begin from `today` on.
    pub fn new(file: File, since: Option<UnixMillis>, today: UnixMillis, base: String) -> Lines {
        let since = since.map(|since| UnixMillis(since.0.saturating_sub(OVERLAP.0)));
        let (schedules, locations) = (BTreeMap::new(), BTreeSet::new());
        let (ready, done) = (false, false);
        Lines { file, since, today, base, schedules, locations, ready, place: None, log: (0, None), done }
    }

    /// The next lines; `None` at the end.
    pub async fn next(&mut self, clinic: &impl Clinic) -> Result<Option<String>> {
        while !self.done {
            let text = match self.file {
                File::Of(Schedule) => self.schedules(clinic).await?,
                File::Deleted => self.deletions(clinic).await?,
                _ if !self.ready => {
                    self.schedules(clinic).await?;
                    self.ready = std::mem::take(&mut self.done);
                    String::new()
                }
                File::Of(Location) => self.locations(clinic).await?,
                _ => self.slots(clinic).await?,
            };
            if !text.is_empty() {
                return Ok(Some(text));
            }
        }
        Ok(None)
    }

    async fn page(
        &mut self,
        clinic: &impl Clinic,
        kind: ResourceType,
        query: &[(&str, String)],
    ) -> Result<Vec<(Record, Value)>> {
        let query: Vec<_> = query.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let after = self.place.take();
        // The present matters to approximate dates alone, and there are none.
        let asked = search::Own { kind, query: &query, base: &self.base, now: self.today, after, count: PAGE };
        let (records, next) = search::own(clinic, published(), asked).await?;
        self.place = next;
        self.done = self.place.is_none();
        Ok(records.into_iter().filter_map(|record| read(&record).map(|value| (record, value))).collect())
    }

    async fn schedules(&mut self, clinic: &impl Clinic) -> Result<String> {
        let mut text = String::new();
        for (record, schedule) in self.page(clinic, Schedule, &[]).await? {
            let places = shown::locations(&schedule);
            if places.is_empty() {
                continue;
            }
            if self.file == File::Of(Schedule) {
                line(&mut text, &shown::schedule(&schedule));
                continue;
            }
            let is_open = at(&schedule, "/active") != false;
            let is_new = self.since.is_some_and(|since| record.updated >= since);
            self.schedules.insert(record.id, Offered { is_open, is_new });
            self.locations.extend(places);
        }
        Ok(text)
    }

    async fn locations(&mut self, clinic: &impl Clinic) -> Result<String> {
        let ids: Vec<String> = self.locations.iter().take(AT_ONCE).cloned().collect();
        if ids.is_empty() {
            self.done = true;
            return Ok(String::new());
        }
        self.locations.retain(|id| !ids.contains(id));
        let mut text = String::new();
        for (_, location) in self.page(clinic, Location, &[("_id", ids.join(","))]).await? {
            line(&mut text, &shown::location(&location));
        }
        self.place = None;
        self.done = self.locations.is_empty();
        Ok(text)
    }

    async fn slots(&mut self, clinic: &impl Clinic) -> Result<String> {
        let mut query = vec![("start", format!("ge{}", self.today.to_rfc3339())), ("_sort", "start".to_owned())];
        // A Schedule that has changed may have closed, so that all of its Slots have.
        let narrowed = self.since.filter(|_| !self.schedules.values().any(|schedule| schedule.is_new));
        query.extend(narrowed.map(|since| ("_lastUpdated", format!("ge{}", since.to_rfc3339()))));
        let mut text = String::new();
        for (record, slot) in self.page(clinic, Slot, &query).await? {
            let Some(schedule) = shown::schedule_of(&slot) else { continue };
            let Some(offered) = self.schedules.get(&schedule) else { continue };
            let is_wanted = match self.since {
                Some(since) => offered.is_new || record.updated >= since,
                None => at(&slot, "/status") != "entered-in-error",
            };
            if is_wanted {
                line(&mut text, &shown::slot(&slot, &schedule, offered.is_open));
            }
        }
        Ok(text)
    }

    /// What was deleted since and is not there again, as Bundles (FHIR Bulk Data, "deleted").
    async fn deletions(&mut self, clinic: &impl Clinic) -> Result<String> {
        let (position, below) = self.log;
        let Some(kind) = TYPES.get(position).copied() else {
            self.done = true;
            return Ok(String::new());
        };
        let since = self.since.unwrap_or(UnixMillis(0));
        let query = Query::Log { kind: Some(kind), since, below, count: PAGE };
        let Answer::Log(items, next) = clinic.query(published(), query).await? else { return Err(unexpected()) };
        self.log = match next {
            Some(place) => (position, Some(place)),
            None => (position.saturating_add(1), None),
        };
        let mut text = String::new();
        for item in items.into_iter().filter(|item| item.record.body.is_none()) {
            let query = Query::Read { kind, id: item.record.id.clone(), version: None };
            let is_gone = match clinic.query(published(), query).await? {
                Answer::Found(found) => found.record.version == item.record.version,
                _ => false,
            };
            if is_gone {
                let request = json!({ "method": "DELETE", "url": format!("{kind}/{}", item.record.id) });
                let entry = json!([{ "request": request }]);
                line(&mut text, &json!({ "resourceType": "Bundle", "type": "transaction", "entry": entry }));
            }
        }
        Ok(text)
    }
}
