//! A reader of the terms that does without an index: what a search is to find.

use std::collections::BTreeMap;

use super::*;

/// A record as the reader without an index knows it.
pub struct Doc {
    pub kind: ResourceType,
    pub place: u64,
    pub terms: Vec<Term>,
    pub patients: Vec<String>,
}

pub struct World {
    pub local: Local,
    pub docs: BTreeMap<String, Doc>,
    pub places: u64,
    pub ward_of: BTreeMap<String, &'static str>,
}

impl World {
    pub fn new() -> World {
        let mut world = World { local: Local::new(), docs: BTreeMap::new(), places: 0, ward_of: BTreeMap::new() };
        for ward in ["w1", "w2"] {
            let json =
                format!(r#"{{"resourceType":"Location","id":"{ward}","physicalType":{{"coding":[{{"code":"wa"}}]}}}}"#);
            world.put(&json);
        }
        world
    }

    pub fn write(&self, change: Change) {
        let action = Action::WriteRecords { kind: "Observation", shared: false, create: true };
        let scope = decide(&who(Role::Admin, &[]), action).unwrap();
        let batch = Batch::new(scope, Actor { user: "u".into(), request: "r".into() }, vec![change]);
        let now = self.local.clock.now();
        let committed = self
            .local
            .sql
            .transaction(|| commit(&self.local.sql, &self.local.entropy, now, &batch, &mut Touched::default()));
        assert!(matches!(committed.unwrap(), Committed::All(_)));
    }

    pub fn put(&mut self, json: &str) {
        let mut resource = Resource::parse(json.as_bytes()).unwrap_or_else(|why| panic!("{why:?} {json}"));
        let (kind, id) = (resource.kind(), resource.id().unwrap().to_owned());
        let write = Write::put(&mut resource, self.local.clock.now()).unwrap();
        self.write(Change { kind, id: id.clone(), guard: Guard::Any, write });
        self.places += 1;
        let place = self.docs.get(&id).map_or(self.places, |doc| doc.place);
        let terms = listed(&terms(&resource).stamped(self.local.clock.now()));
        self.docs.insert(id, Doc { kind, place, terms, patients: patients(&resource) });
    }

    pub fn delete(&mut self, id: &str) {
        let Some(kind) = self.docs.get(id).filter(|doc| !doc.terms.is_empty()).map(|doc| doc.kind) else { return };
        self.write(Change { kind, id: id.to_owned(), guard: Guard::Any, write: Write::Delete });
        self.places += 1;
        self.docs.get_mut(id).unwrap().terms.clear();
    }

    pub fn ask(
        &self,
        scope: &Scope,
        wanted: &Wanted<'_>,
        limits: Limits,
    ) -> Result<(Vec<String>, Option<Place>, Option<u64>)> {
        match answer(&self.local.sql, scope, wanted, limits)? {
            Answer::Search(records, next, total) => {
                Ok((records.into_iter().map(|record| record.id).collect(), next, total))
            }
            other => panic!("{other:?}"),
        }
    }

    /// What the search finds, in order, by reading all terms of all records.
    pub fn expected(&self, search: &Search, reaches: &impl Fn(&Doc) -> bool) -> Vec<String> {
        let finds = |doc: &Doc, piece: &Piece| doc.terms.iter().any(|term| matches(term, piece));
        let holds = |doc: &Doc, criterion: &Criterion| match criterion {
            Criterion::Any(pieces) => pieces.iter().any(|piece| finds(doc, piece)),
            Criterion::None(pieces) => !pieces.iter().any(|piece| finds(doc, piece)),
        };
        let mut found: Vec<(&String, &Doc)> = self
            .docs
            .iter()
            .filter(|(id, doc)| {
                doc.kind == search.kind
                    && !doc.terms.is_empty()
                    && search.ids.as_ref().is_none_or(|ids| ids.contains(id))
                    && search.criteria.iter().all(|criterion| holds(doc, criterion))
                    && reaches(doc)
            })
            .collect();
        found.sort_by(|(a_id, a), (b_id, b)| {
            let down = search.sort.first().is_some_and(|rule| rule.down);
            let by = search.sort.iter().map(|rule| {
                let (x, y) = (sort_key(rule, a_id, a), sort_key(rule, b_id, b));
                if rule.down { y.cmp(&x) } else { x.cmp(&y) }
            });
            let last = if down { b.place.cmp(&a.place) } else { a.place.cmp(&b.place) };
            by.fold(std::cmp::Ordering::Equal, std::cmp::Ordering::then).then(last)
        });
        found.into_iter().map(|(id, _)| id.clone()).collect()
    }
}

fn listed(lists: &[String]) -> Vec<Term> {
    let key = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => Key::Text(text.clone()),
        value => Key::Number(value.as_u64().unwrap()),
    };
    let rows = |list: &String| serde_json::from_str::<Vec<[serde_json::Value; 3]>>(list).unwrap();
    let term = |[parameter, first, more]: [serde_json::Value; 3]| Term {
        parameter: u32::try_from(parameter.as_u64().unwrap()).unwrap(),
        key: key(&first),
        more: key(&more),
    };
    lists.iter().flat_map(rows).map(term).collect()
}

fn matches(term: &Term, piece: &Piece) -> bool {
    let more = |text: &str| matches!(&term.more, Key::Text(more) if more.contains(text));
    term.parameter == piece.parameter
        && piece.from <= term.key
        && term.key < piece.to
        && piece.tests.iter().all(|test| match test {
            Test::Is(text) => term.more == Key::Text(text.clone()),
            Test::Between(low, high) => matches!(term.more, Key::Number(more) if (*low..=*high).contains(&more)),
            Test::Holds(text) => more(text),
            Test::KeyHolds(text) => matches!(&term.key, Key::Text(key) if key.contains(text)),
        })
}

/// With what has none last, either way.
fn sort_key(rule: &Sort, id: &str, doc: &Doc) -> (bool, Option<Key>) {
    let SortBy::Parameters { numbers, .. } = &rule.by else { return (rule.down, Some(Key::Text(id.to_owned()))) };
    let keys = doc.terms.iter().filter(|term| numbers.contains(&term.parameter) && term.key != Key::missing());
    let keys = keys.map(|term| &term.key);
    let key = if rule.down { keys.max() } else { keys.min() }.cloned();
    (key.is_none() != rule.down, key)
}
