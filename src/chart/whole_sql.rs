//! Records whole, page by page: everything of a patient, and every version of a type or of all types.
//!
//! Invariant: `shares` holds, for each patient, what the current records of their compartment refer to among the types that
//! patients share; `versions` every version of every record in the order in which they were written, and `at` in it never
//! falls, whatever the clock does. Both are kept in the transaction of the write. A page looks at a bounded number of rows:
//! one that is cut there says where to go on, however little it holds.

use super::records::{Answer, Item, Mark, Record};
use super::records_sql::{COLUMNS, compartments, newest, owner, owners, record};
use crate::access::Scope;
use crate::error::{Error, Result};
use crate::fhir::ResourceType;
use crate::sorted::BTreeSet;
use crate::store::sql::{Row, Sql};
use crate::time::{MAX_SAFE, UnixMillis};

/// The most rows that one page looks at.
const LOOK: u64 = 2_000;
/// Rows looked at in one statement.
const CHUNK: u64 = 200;
/// The fewest rows asked for in one statement, so that a small page over much that is passed over takes few statements.
const LEAST: u64 = 50;

/// Makes the tables where they are not there yet.
pub fn prepare(sql: &impl Sql) -> Result<()> {
    for statement in [
        "CREATE TABLE IF NOT EXISTS shares (patient TEXT NOT NULL, to_kind TEXT NOT NULL, to_id TEXT NOT NULL, \
         kind TEXT NOT NULL, id TEXT NOT NULL, PRIMARY KEY (patient, to_kind, to_id, kind, id)) WITHOUT ROWID",
        "CREATE INDEX IF NOT EXISTS shares_by_record ON shares (kind, id)",
        "CREATE TABLE IF NOT EXISTS versions (seq INTEGER PRIMARY KEY, kind TEXT NOT NULL, id TEXT NOT NULL, \
         version INTEGER NOT NULL, at INTEGER NOT NULL)",
        "CREATE INDEX IF NOT EXISTS versions_by_kind ON versions (kind)",
        "CREATE INDEX IF NOT EXISTS versions_by_record ON versions (kind, id)",
    ] {
        sql.exec(statement, &[])?;
    }
    Ok(())
}

/// Keeps what version `version` of a record means here: `patients` are those in whose compartments it is, `shares` what it
/// refers to among the shared types; both empty for a deletion.
pub fn written(
    sql: &impl Sql,
    now: UnixMillis,
    (kind, id, version): (&str, &str, u64),
    patients: &[String],
    shares: &[(ResourceType, String)],
) -> Result<()> {
    // No row is ever deleted, so that SQLite's choice of the key, one above the highest, is a counter.
    sql.exec(
        "INSERT INTO versions (kind, id, version, at) \
         SELECT ?1, ?2, ?3, max(?4, coalesce((SELECT at FROM versions ORDER BY seq DESC LIMIT 1), 0))",
        &[kind.into(), id.into(), version.into(), now.into()],
    )?;
    if version > 1 {
        sql.exec("DELETE FROM shares WHERE kind = ?1 AND id = ?2", &[kind.into(), id.into()])?;
    }
    for patient in patients {
        for (to_kind, to_id) in shares {
            sql.exec(
                "INSERT INTO shares (patient, to_kind, to_id, kind, id) VALUES (?1, ?2, ?3, ?4, ?5)",
                &[patient.as_str().into(), to_kind.as_str().into(), to_id.as_str().into(), kind.into(), id.into()],
            )?;
        }
    }
    Ok(())
}

fn kind_of(row: &mut Row) -> Result<ResourceType> {
    ResourceType::parse(&row.text()?).ok_or_else(|| Error::internal("a stored type is none of R4"))
}

/// A page as it fills.
struct Page {
    count: usize,
    items: Vec<Item>,
    /// What was looked at last.
    mark: Option<Mark>,
    looked: u64,
}

impl Page {
    /// Takes a record that was looked at, one without a body only as looked at; says whether the page ends before what comes
    /// next.
    fn take(&mut self, shared: bool, kind: ResourceType, record: Record) -> bool {
        if record.body.is_some() && self.items.len() >= self.count {
            return true;
        }
        self.mark = Some(Mark { shared, kind, id: record.id.clone() });
        if record.body.is_some() {
            self.items.push(Item { kind, record, shared });
        }
        self.looked = self.looked.saturating_add(1);
        self.looked >= LOOK
    }

    fn cut(self) -> Answer {
        Answer::Everything(self.items, self.mark)
    }
}

/// What of everything of a patient is wanted.
pub struct Wanted<'a> {
    /// The Patient's id.
    pub patient: &'a str,
    /// Only what was written at or after this instant.
    pub since: UnixMillis,
    /// Only these types; empty for all.
    pub kinds: &'a [ResourceType],
    /// Only what comes after this.
    pub after: Option<&'a Mark>,
    /// At most this many.
    pub count: u64,
}

/// The Patient, the current records of their compartment by type and id, then what those refer to among the shared types.
pub fn everything(sql: &impl Sql, scope: &Scope, wanted: &Wanted<'_>) -> Result<Answer> {
    let Wanted { patient, since, kinds, after, count } = *wanted;
    if !scope.reaches(&owner(sql, patient.to_owned())?) {
        return Ok(Answer::OutOfReach);
    }
    let Some(mut own) = newest(sql, ResourceType::Patient, patient)? else { return Ok(Answer::Missing) };
    if own.body.is_none() {
        return Ok(Answer::Gone);
    }
    let wants = |kind| kinds.is_empty() || kinds.contains(&kind);
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let mut page = Page { count, items: Vec::new(), mark: None, looked: 0 };
    if after.is_none() {
        own.body = own.body.filter(|_| wants(ResourceType::Patient) && own.updated >= since);
        page.take(false, ResourceType::Patient, own);
    }
    if after.is_none_or(|mark| !mark.shared) && compartment(sql, wanted, &mut page)? {
        return Ok(page.cut());
    }
    let (mut to_kind, mut to_id) = after
        .filter(|mark| mark.shared)
        .map_or_else(Default::default, |mark| (mark.kind.as_str().to_owned(), mark.id.clone()));
    loop {
        // One step of the index for each that is referred to, however often it is: `~` comes after the name of every type.
        let next = sql.first(
            "SELECT to_kind, to_id FROM shares WHERE patient = ?1 AND (to_kind, to_id, kind) > (?2, ?3, '~') \
             ORDER BY to_kind, to_id LIMIT 1",
            &[patient.into(), to_kind.as_str().into(), to_id.as_str().into()],
        )?;
        let Some(mut row) = next else { return Ok(Answer::Everything(page.items, None)) };
        let kind = kind_of(&mut row)?;
        (to_kind, to_id) = (kind.as_str().to_owned(), row.text()?);
        if !wants(kind) {
            continue;
        }
        let Some(mut shared) = newest(sql, kind, &to_id)? else { continue };
        // A Schedule can be in a compartment: in this one it was given already, in another's it is not shared.
        let is_open = compartments(sql, kind, &to_id)?.is_empty();
        shared.body = shared.body.filter(|_| is_open && shared.updated >= since);
        if page.take(true, kind, shared) {
            return Ok(page.cut());
        }
    }
}

/// Takes the records of the compartment but for the Patient; says whether the page ended.
fn compartment(sql: &impl Sql, wanted: &Wanted<'_>, page: &mut Page) -> Result<bool> {
    // The Patient comes first, not among the types; a mark there is one before all others.
    let begun = wanted.after.filter(|mark| mark.kind != ResourceType::Patient);
    let (mut kind, mut id) = begun.map_or(("", ""), |mark| (mark.kind.as_str(), mark.id.as_str()));
    let asked: BTreeSet<&str> =
        wanted.kinds.iter().filter(|kind| **kind != ResourceType::Patient).map(|kind| kind.as_str()).collect();
    if wanted.kinds.is_empty() {
        return span(sql, wanted, page, "(c.kind, c.id) > (?3, ?4) AND c.kind <> 'Patient'", (kind, id));
    }
    for each in asked {
        if each < kind {
            continue;
        }
        if each > kind {
            (kind, id) = (each, "");
        }
        if span(sql, wanted, page, "c.kind = ?3 AND c.id > ?4", (kind, id))? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn span(sql: &impl Sql, wanted: &Wanted<'_>, page: &mut Page, which: &str, from: (&str, &str)) -> Result<bool> {
    let chunk = wanted.count.saturating_add(1).clamp(LEAST, CHUNK);
    // The order of the tables is the one of the page; what is too old is looked at and its body left where it is.
    let statement = format!(
        "SELECT c.kind, r.id, r.version, r.updated, r.created, CASE WHEN r.updated >= ?2 THEN r.body END \
         FROM compartments c CROSS JOIN resources r ON r.kind = c.kind AND r.id = c.id \
         WHERE c.patient = ?1 AND {which} ORDER BY c.kind, c.id LIMIT ?5"
    );
    let (mut kind, mut id) = (from.0.to_owned(), from.1.to_owned());
    loop {
        let rows = sql.exec(
            &statement,
            &[wanted.patient.into(), wanted.since.into(), kind.as_str().into(), id.as_str().into(), chunk.into()],
        )?;
        let last = u64::try_from(rows.len()).unwrap_or(u64::MAX) < chunk;
        for mut row in rows {
            let of = kind_of(&mut row)?;
            let record = record(row)?;
            (kind, id) = (of.as_str().to_owned(), record.id.clone());
            if page.take(false, of, record) {
                return Ok(true);
            }
        }
        if last {
            return Ok(false);
        }
    }
}

/// What of all versions is wanted.
pub struct Log {
    /// Only those of this type.
    pub kind: Option<ResourceType>,
    /// Only those written at or after this instant.
    pub since: UnixMillis,
    /// Only those written before the one at this place.
    pub below: Option<u64>,
    /// At most this many.
    pub count: u64,
}

/// Versions as they were written, newest first, of the records that are reached now.
pub fn log(sql: &impl Sql, scope: &Scope, wanted: &Log) -> Result<Answer> {
    let Log { kind, since, count, .. } = *wanted;
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let mut below = wanted.below.unwrap_or(MAX_SAFE);
    let mut items = Vec::new();
    let mut looked: u64 = 0;
    loop {
        let rows = log_rows(sql, scope, kind, below)?;
        let got = u64::try_from(rows.len()).unwrap_or(u64::MAX);
        for mut row in rows {
            let (seq, at, kind, id, version) =
                (row.number()?, row.instant()?, kind_of(&mut row)?, row.text()?, row.number()?);
            // `at` never falls, and is never below the time of its version: nothing further down is recent enough.
            if at < since {
                return Ok(Answer::Log(items, None));
            }
            if scope.may_read(&owners(sql, compartments(sql, kind, &id)?)?) {
                let record = version_of(sql, kind, &id, version)?;
                if record.updated >= since {
                    if items.len() >= count {
                        return Ok(Answer::Log(items, Some(below)));
                    }
                    items.push(Item { kind, record, shared: false });
                }
            }
            below = seq;
        }
        if got < CHUNK {
            return Ok(Answer::Log(items, None));
        }
        looked = looked.saturating_add(got);
        if looked >= LOOK {
            return Ok(Answer::Log(items, Some(below)));
        }
    }
}

fn log_rows(sql: &impl Sql, scope: &Scope, kind: Option<ResourceType>, below: u64) -> Result<Vec<Row>> {
    const OF: &str = "v.seq, v.at, v.kind, v.id, v.version";
    let Some(kind) = kind.map(ResourceType::as_str) else {
        return sql.exec(
            &format!("SELECT {OF} FROM versions v WHERE v.seq < ?1 ORDER BY v.seq DESC LIMIT ?2"),
            &[below.into(), CHUNK.into()],
        );
    };
    match scope.patients().as_deref() {
        // Who reaches one patient is not made to look through everybody's: the compartment leads to its versions.
        Some([patient]) => sql.exec(
            &format!(
                "SELECT {OF} FROM compartments c CROSS JOIN versions v INDEXED BY versions_by_record \
                 ON v.kind = c.kind AND v.id = c.id WHERE c.patient = ?1 AND c.kind = ?2 AND v.seq < ?3 \
                 ORDER BY v.seq DESC LIMIT ?4"
            ),
            &[(*patient).into(), kind.into(), below.into(), CHUNK.into()],
        ),
        _ => sql.exec(
            &format!(
                "SELECT {OF} FROM versions v INDEXED BY versions_by_kind WHERE v.kind = ?1 AND v.seq < ?2 \
                 ORDER BY v.seq DESC LIMIT ?3"
            ),
            &[kind.into(), below.into(), CHUNK.into()],
        ),
    }
}

fn version_of(sql: &impl Sql, kind: ResourceType, id: &str, version: u64) -> Result<Record> {
    let row = sql.first(
        &format!(
            "SELECT {COLUMNS} FROM resources WHERE kind = ?1 AND id = ?2 AND version = ?3 UNION ALL \
             SELECT {COLUMNS} FROM history WHERE kind = ?1 AND id = ?2 AND version = ?3"
        ),
        &[kind.as_str().into(), id.into(), version.into()],
    )?;
    row.map(record).transpose()?.ok_or_else(|| Error::internal("a version that was written is not there"))
}
