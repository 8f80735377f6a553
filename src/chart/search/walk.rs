//! Rows of the index one after the other, in the order of the search.

use super::plan::{Driver, Plan};
use super::statement::{OWNERS, Statement, from_terms, key_of};
use super::{Judge, Page};
use crate::error::Result;
use crate::fhir::search::{Key, Piece, Place};
use crate::store::sql::Sql;

/// Rows of the index one after the other, in the order of the search.
pub struct Walk {
    pub driver: Driver,
    /// The ranges to go through, in the order in which they come.
    pub segments: Vec<Piece>,
    /// Whether the keys are those of the order; if not, there is one key.
    pub sorts: bool,
    pub down: bool,
    /// The parameter of which a record can have several terms: only the one that sorts it counts.
    pub check: Option<u32>,
}

impl Walk {
    pub fn run<S: Sql>(
        &self,
        plan: &Plan<'_>,
        judge: &mut Judge<'_, S>,
        after: Option<&Place>,
        page: &mut Page,
    ) -> Result<()> {
        let mut looked = 0_u64;
        let all = u64::try_from(page.count).unwrap_or(u64::MAX).saturating_add(1);
        let mut chunk = plan.limits.chunks.0.max(all);
        for segment in &self.segments {
            let Some(mut at) = self.start(segment, after) else { continue };
            loop {
                for mut row in self.rows(plan, segment, &at, chunk).run(judge.sql)? {
                    let (record, owners, key) = (row.number()?, row.text()?, key_of(row.value())?);
                    if judge.reaches(owners)? && page.take(self.place(key, record)) {
                        return Ok(());
                    }
                }
                looked = looked.saturating_add(chunk);
                let mut last = Statement::default();
                last.push("SELECT t.record, t.key FROM ");
                self.looked(plan, segment, &at, &mut last);
                last.push(&format!(" LIMIT 1 OFFSET {}", chunk.saturating_sub(1)));
                let Some(mut row) = last.run(judge.sql)?.into_iter().next() else { break };
                let record = row.number()?;
                at = (key_of(row.value())?, Some(record));
                if looked >= plan.limits.look {
                    page.next = Some(self.place(at.0, record));
                    return Ok(());
                }
                chunk = chunk.saturating_mul(4).min(plan.limits.chunks.1);
            }
        }
        Ok(())
    }

    /// Where to begin in `segment`: before everything, or after `after`; `None` where that is past it.
    fn start(&self, segment: &Piece, after: Option<&Place>) -> Option<(Key, Option<u64>)> {
        let edge = (if self.down { segment.to.clone() } else { segment.from.clone() }, None);
        let Some(place) = after else { return Some(edge) };
        let key = match place.keys.first() {
            None => segment.from.clone(),
            // Downwards, what has no value is at the bottom of the order and at the top of the index.
            Some(Key::Number(0)) if self.down => Key::missing(),
            Some(key) => key.clone(),
        };
        let missing = segment.from == Key::missing();
        if self.down && (key == Key::missing()) != missing {
            return missing.then_some(edge);
        }
        let (before, within) = (key < segment.from, key < segment.to);
        match (self.down, before, within) {
            (_, false, true) => Some((key, Some(place.record))),
            (false, true, _) | (true, _, false) => Some(edge),
            (false, _, false) | (true, true, _) => None,
        }
    }

    fn place(&self, key: Key, record: u64) -> Place {
        let key = if self.down && key == Key::missing() { Key::Number(0) } else { key };
        Place { keys: if self.sorts { vec![key] } else { Vec::new() }, record }
    }

    /// `terms … ORDER BY …`: the rows of `segment` after `at`.
    fn looked(&self, plan: &Plan<'_>, segment: &Piece, at: &(Key, Option<u64>), statement: &mut Statement) {
        statement.push(&from_terms("t", plan.own));
        statement.push(&format!("t.parameter = {} AND ", segment.parameter));
        let (beyond, within, way) = if self.down { ("<", ">=", " DESC") } else { (">", "<", "") };
        if segment.is_point() {
            let key = statement.key(&segment.from);
            statement.push(&format!("t.key = {key}"));
            if let Some(record) = at.1 {
                let record = statement.bind(record);
                statement.push(&format!(" AND t.record {beyond} {record}"));
            }
        } else {
            let (key, edge) =
                (statement.key(&at.0), statement.key(if self.down { &segment.from } else { &segment.to }));
            // There is no record 0: that is before the first of a key, and after the last of the key before.
            let record = statement.bind(at.1.unwrap_or(0));
            statement.push(&format!("(t.key, t.record) {beyond} ({key}, {record}) AND t.key {within} {edge}"));
        }
        statement.tests("t", &segment.tests);
        let order = if segment.is_point() { format!("t.record{way}") } else { format!("t.key{way}, t.record{way}") };
        statement.push(&format!(" ORDER BY {order}"));
    }

    fn rows(&self, plan: &Plan<'_>, segment: &Piece, at: &(Key, Option<u64>), chunk: u64) -> Statement {
        let mut statement = Statement::default();
        statement
            .push(&format!("SELECT p.record, {OWNERS}, p.key FROM (SELECT t.record AS record, t.key AS key FROM "));
        self.looked(plan, segment, at, &mut statement);
        statement.push(&format!(" LIMIT {chunk}) p WHERE true"));
        plan.filters(&mut statement, "p", self.driver);
        if let Some(parameter) = self.check {
            let nearer = if self.down { ">" } else { "<" };
            statement.push(&format!(
                " AND NOT EXISTS (SELECT 1 FROM terms m INDEXED BY terms_of_record WHERE m.record = p.record \
                 AND m.parameter = {parameter} AND m.key {nearer} p.key)"
            ));
        }
        let way = if self.down { " DESC" } else { "" };
        statement.push(&format!(" ORDER BY p.key{way}, p.record{way}"));
        statement
    }
}
