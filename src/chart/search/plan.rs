//! By which way a search is answered.

use super::statement::{OWNERS, Statement, key_of};
use super::walk::Walk;
use super::{Judge, Limits, Page};
use crate::error::{Error, Kind, Result};
use crate::fhir::search::{Criterion, Key, MISSING, Piece, Place, Search, Sort, SortBy, member};
use crate::store::sql::Sql;

/// Rows that are counted at first.
const FIRST: u64 = 64;

/// Through what the records are come by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// Their ids.
    Ids,
    /// A criterion, by its position.
    Criterion(usize),
    /// All of the type.
    Member,
}

pub struct Plan<'a> {
    search: &'a Search,
    pub own: Option<u64>,
    pub limits: Limits,
    /// The driver with the fewest rows, and how many it has, up to the most that are sorted.
    least: (Driver, u64),
}

impl<'a> Plan<'a> {
    pub fn of(sql: &impl Sql, search: &'a Search, own: Option<u64>, limits: Limits) -> Result<Plan<'a>> {
        let mut plan = Plan { search, own, limits, least: (Driver::Member, limits.most) };
        if search.ids.is_some() {
            plan.least = (Driver::Ids, 0);
            return Ok(plan);
        }
        let any = |(index, criterion): (usize, &Criterion)| matches!(criterion, Criterion::Any(_)).then_some(index);
        let mut drivers: Vec<Driver> =
            search.criteria.iter().enumerate().filter_map(any).map(Driver::Criterion).collect();
        if drivers.is_empty() {
            drivers.push(Driver::Member);
        }
        // Nothing that would be passed over in the order of an index: nothing to weigh.
        if let [only] = drivers.as_slice() {
            plan.least.0 = *only;
            if plan.walk().ok().flatten().is_some_and(|walk| plan.is_plain(&walk)) {
                return Ok(plan);
            }
        }
        // First whether one has next to nothing, so that the others are not counted in vain.
        for most in [limits.few.min(FIRST), limits.most] {
            plan.least.1 = most;
            plan.weigh(sql, &drivers, most)?;
            if plan.least.1 < most {
                break;
            }
        }
        Ok(plan)
    }

    /// Counts the rows of `drivers`, each up to `most`, for the one with the fewest.
    fn weigh(&mut self, sql: &impl Sql, drivers: &[Driver], most: u64) -> Result<()> {
        let mut statement = Statement::default();
        statement.push("SELECT 0");
        for piece in drivers.iter().flat_map(|driver| self.pieces(*driver)) {
            statement.push(", (SELECT count(*) FROM (SELECT 1 FROM ");
            statement.range(self.own, &piece);
            statement.push(&format!(" LIMIT {most}))"));
        }
        let counts = statement.run(sql)?.into_iter().next();
        let mut counts = counts.ok_or_else(|| Error::internal("a count gave nothing"))?;
        counts.number()?;
        for driver in drivers {
            let mut sum = 0_u64;
            for _ in self.pieces(*driver) {
                sum = sum.saturating_add(counts.number()?);
            }
            if sum < self.least.1 {
                self.least = (*driver, sum);
            }
        }
        Ok(())
    }

    fn pieces(&self, driver: Driver) -> Vec<Piece> {
        match driver {
            Driver::Ids => Vec::new(),
            Driver::Member => vec![Piece::of(member(self.search.kind), Key::Text(String::new()))],
            Driver::Criterion(index) => match self.search.criteria.get(index) {
                Some(Criterion::Any(pieces)) => pieces.clone(),
                _ => Vec::new(),
            },
        }
    }

    /// The one key of a driver that is about one: the index has its records in the order in which they were made.
    fn point(&self, driver: Driver) -> Option<Piece> {
        match self.pieces(driver).as_slice() {
            [piece] if piece.is_point() => Some(piece.clone()),
            _ => None,
        }
    }

    pub fn filters(&self, statement: &mut Statement, of: &str, driver: Driver) {
        for (index, criterion) in self.search.criteria.iter().enumerate() {
            if driver != Driver::Criterion(index) {
                statement.filter(of, criterion);
            }
        }
        if driver == Driver::Ids {
            // What was deleted has an id, and terms no more.
            let there = Piece::of(member(self.search.kind), Key::Text(String::new()));
            statement.filter(of, &Criterion::Any(vec![there]));
        }
    }

    /// `(records) x WHERE filters`
    fn found(&self, statement: &mut Statement) {
        let driver = self.least.0;
        statement.push("(");
        match (&self.search.ids, driver) {
            (Some(ids), Driver::Ids) => {
                let kind = statement.bind(self.search.kind.as_str());
                let ids = statement.bind(serde_json::to_string(ids).unwrap_or_default());
                statement.push(&format!(
                    "SELECT min(seq) AS record FROM versions INDEXED BY versions_by_record \
                     WHERE kind = {kind} AND id IN (SELECT value FROM json_each({ids})) GROUP BY id"
                ));
            }
            _ => statement.hits(self.own, &self.pieces(driver)),
        }
        statement.push(") x WHERE true");
        self.filters(statement, "x", driver);
    }

    pub fn count<S: Sql>(&self, judge: &mut Judge<'_, S>) -> Result<u64> {
        let mut statement = Statement::default();
        // Whoever reaches everything is not asked whose it is.
        let owners = if judge.scope.is_everything() { "'[]'" } else { OWNERS };
        statement.push(&format!("SELECT {owners} AS owners, count(*) FROM (SELECT x.record AS record FROM "));
        self.found(&mut statement);
        statement.push(") p GROUP BY owners");
        let mut total = 0_u64;
        for mut row in statement.run(judge.sql)? {
            let (owners, count) = (row.text()?, row.number()?);
            if judge.reaches(owners)? {
                total = total.saturating_add(count);
            }
        }
        Ok(total)
    }

    /// Gathers all that is found and sorts it.
    pub fn gather<S: Sql>(&self, judge: &mut Judge<'_, S>, after: Option<&Place>, page: &mut Page) -> Result<()> {
        let most = self.limits.most;
        let mut chunk = u64::try_from(page.count).unwrap_or(most).saturating_add(1).min(most);
        let mut after = after.cloned();
        loop {
            let rows = self.sorted_rows(after.as_ref(), chunk).run(judge.sql)?;
            let last = u64::try_from(rows.len()).unwrap_or(most) < chunk;
            for mut row in rows {
                let (record, owners) = (row.number()?, row.text()?);
                let keys = self.search.sort.iter().map(|_| key_of(row.value())).collect::<Result<_>>()?;
                let place = Place { keys, record };
                after = Some(place.clone());
                if judge.reaches(owners)? && page.take(place) {
                    return Ok(());
                }
            }
            if last {
                return Ok(());
            }
            // Some of them were out of reach.
            chunk = most;
        }
    }

    fn sorted_rows(&self, after: Option<&Place>, chunk: u64) -> Statement {
        let sort = &self.search.sort;
        let names: Vec<String> = (0..sort.len()).map(|index| format!("k{index}")).collect();
        let columns: String = names.iter().map(|name| format!(", p.{name}")).collect();
        let mut statement = Statement::default();
        statement.push(&format!("SELECT p.record, {OWNERS}{columns} FROM (SELECT * FROM (SELECT x.record AS record"));
        for (rule, name) in sort.iter().zip(&names) {
            statement.push(&format!(", {} AS {name}", key_column(rule)));
        }
        statement.push(" FROM ");
        self.found(&mut statement);
        statement.push(")");
        if let Some(place) = after {
            statement.push(" WHERE ");
            beyond(&mut statement, sort, &names, place);
        }
        let order = order(sort, &names);
        statement.push(&format!(" ORDER BY {order} LIMIT {chunk}) p ORDER BY {order}"));
        statement
    }

    /// The walk by which the search is answered, where it is not by gathering.
    pub fn walk(&self) -> Result<Option<Walk>> {
        let (driver, least) = self.least;
        if driver == Driver::Ids {
            return Ok(None);
        }
        let walk = match self.search.sort.as_slice() {
            [] => {
                let driver = if self.point(driver).is_some() { driver } else { Driver::Member };
                let segments = self.point(driver).into_iter().collect();
                Some(Walk { driver, segments, sorts: false, down: false, check: None })
            }
            [Sort { by: SortBy::Parameters { numbers, whole: true, single }, down }] => {
                numbers.first().map(|number| self.sorted(*number, *single, *down))
            }
            _ => None,
        };
        match walk {
            // Gathering leaves the order of the index unused, which it may where there is little.
            Some(walk) if least >= self.limits.few || self.is_plain(&walk) => Ok(Some(walk)),
            _ if least < self.limits.most => Ok(None),
            _ => Err(too_costly()),
        }
    }

    /// Whether all that the walk looks at is found.
    fn is_plain(&self, walk: &Walk) -> bool {
        match self.search.criteria.len() {
            0 => true,
            1 => walk.driver == self.least.0,
            _ => false,
        }
    }

    /// The walk through the index of parameter `number`, which every record has.
    fn sorted(&self, number: u32, single: bool, down: bool) -> Walk {
        // Of a parameter that a record has once, only what a criterion asks for needs to be walked through.
        let is_of = |pieces: &[Piece]| pieces.iter().any(|piece| piece.parameter == number);
        let narrow = self.search.criteria.iter().enumerate().find_map(|(index, criterion)| match criterion {
            Criterion::Any(pieces) if single && is_of(pieces) && ordered(pieces) => Some((index, pieces.clone())),
            _ => None,
        });
        let (driver, mut segments) = match narrow {
            Some((index, pieces)) => (Driver::Criterion(index), pieces),
            None => (Driver::Member, vec![Piece::all(number), Piece::of(number, Key::missing())]),
        };
        if down {
            // Those without a value come last either way.
            let has_value = |piece: &Piece| piece.from != Key::missing();
            let (some, none): (Vec<_>, Vec<_>) = segments.into_iter().partition(has_value);
            segments = some.into_iter().rev().chain(none).collect();
        }
        Walk { driver, segments, sorts: true, down, check: (!single).then_some(number) }
    }
}

fn too_costly() -> Error {
    Error::new(Kind::TooCostly, "too many records would have to be sorted: narrow the search, or sort by a date")
        .at("_sort")
}

/// Whether no key of a piece is before one of the piece before.
fn ordered(pieces: &[Piece]) -> bool {
    pieces.is_sorted_by(|a, b| a.to <= b.from)
}

/// The key of record `x.record` by a rule of the order.
fn key_column(rule: &Sort) -> String {
    let numbers = match &rule.by {
        SortBy::Id => return "(SELECT v.id FROM versions v WHERE v.seq = x.record)".to_owned(),
        SortBy::Parameters { numbers, .. } => numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(", "),
    };
    let of = |end: &str| {
        format!(
            "(SELECT {end}(s.key) FROM terms s INDEXED BY terms_of_record \
             WHERE s.record = x.record AND s.parameter IN ({numbers}))"
        )
    };
    // A record without one comes last: after all texts, or before all numbers.
    if rule.down {
        format!("coalesce(nullif({}, '{MISSING}'), 0)", of("max"))
    } else {
        format!("coalesce({}, '{MISSING}')", of("min"))
    }
}

fn is_down(sort: &[Sort]) -> bool {
    sort.first().is_some_and(|rule| rule.down)
}

fn order(sort: &[Sort], names: &[String]) -> String {
    let way = |down| if down { " DESC" } else { "" };
    let rules = sort.iter().zip(names).map(|(rule, name)| format!("{name}{}, ", way(rule.down)));
    rules.chain([format!("record{}", way(is_down(sort)))]).collect()
}

/// That a row comes after `place`.
fn beyond(statement: &mut Statement, sort: &[Sort], names: &[String], place: &Place) {
    let mut alike = String::new();
    statement.push("(");
    for ((rule, name), key) in sort.iter().zip(names).zip(&place.keys) {
        let key = statement.key(key);
        statement.push(&format!("({alike}{name} {} {key}) OR ", if rule.down { "<" } else { ">" }));
        alike.push_str(&format!("{name} = {key} AND "));
    }
    let number = statement.bind(place.record);
    statement.push(&format!("({alike}record {} {number}))", if is_down(sort) { "<" } else { ">" }));
}
