//! Open sessions in the clinic's SQLite: who is signed in from where, which topics each session listens to, and who has yet
//! to be told that it has ended.
//!
//! Invariant: a session ends here first, in one transaction with a note for the store of sessions and for every topic that
//! was registered for it; a note leaves when whom it is for has taken it. No topic is registered for a session that has
//! ended. So whoever registers before the end is told of it, and whoever comes later is refused. The row of an ended
//! session stays, as its tombstone, until the session would have ended by itself.

use serde::{Deserialize, Serialize};

use super::account::Account;
use crate::access::bar::{Bar, Barred, EVERYBODY};
use crate::error::{Error, Result};
use crate::store::agenda;
use crate::store::sql::{Row, Sql};
use crate::time::{Ttl, UnixMillis};

/// On the agenda: somebody has yet to be told of an end.
pub const TELL: &str = "tell";
/// On the agenda: a session is near its end.
pub const WATCH: &str = "watch";

/// A session that is being opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// Its public id, a UUID: neither the token nor anything that opens the session.
    pub id: String,
    /// The key of its row in the store of sessions.
    pub key: String,
    /// What it was opened on, to show to its owner.
    pub device: String,
    /// When it ends whatever happens.
    pub ends: UnixMillis,
    /// When to look whether it is about to end.
    pub look: UnixMillis,
}

/// An open session as its owner is shown it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Its public id.
    pub id: String,
    /// The key of its row in the store of sessions.
    pub key: String,
    /// What it was opened on.
    pub device: String,
    /// When it was opened.
    pub opened: UnixMillis,
}

/// A session that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Its public id.
    pub id: String,
    /// Whose it was.
    pub user: String,
    /// The key of its row in the store of sessions.
    pub key: String,
    /// When it would have ended whatever happens.
    pub ends: UnixMillis,
}

/// Which sessions of an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Which {
    /// The one with this id.
    One(String),
    /// All but the one with this id.
    AllBut(Option<String>),
}

/// Makes the tables where they are not there yet.
pub fn prepare(sql: &impl Sql) -> Result<()> {
    for statement in [
        "CREATE TABLE IF NOT EXISTS sessions (id TEXT PRIMARY KEY, user TEXT NOT NULL, key TEXT NOT NULL, \
         device TEXT NOT NULL, opened INTEGER NOT NULL, ends INTEGER NOT NULL, look INTEGER, warned INTEGER, \
         ended INTEGER) WITHOUT ROWID",
        "CREATE INDEX IF NOT EXISTS sessions_user ON sessions (user)",
        "CREATE INDEX IF NOT EXISTS sessions_ends ON sessions (ends)",
        "CREATE INDEX IF NOT EXISTS sessions_look ON sessions (look) WHERE look IS NOT NULL",
        "CREATE TABLE IF NOT EXISTS followed (session TEXT NOT NULL, topic TEXT NOT NULL, \
         PRIMARY KEY (session, topic)) WITHOUT ROWID",
        "CREATE TABLE IF NOT EXISTS ends_due (session TEXT PRIMARY KEY) WITHOUT ROWID",
        "CREATE TABLE IF NOT EXISTS bars_due (topic TEXT NOT NULL, who TEXT NOT NULL, below INTEGER NOT NULL, \
         until INTEGER NOT NULL, PRIMARY KEY (topic, who)) WITHOUT ROWID",
    ] {
        sql.exec(statement, &[])?;
    }
    Ok(())
}

/// What is not heard is told again after this long: a topic that could not be reached hears of an end well within a second
/// of its return.
pub const TELL_AGAIN: Ttl = Ttl(400);
/// At most this many old rows are cleared away by one sign-in, so that none pays for many.
const SWEEP: u64 = 16;

/// Notes a session of `account` opened at `now`. Call it inside the transaction that counts the sign-in.
pub fn open(sql: &impl Sql, now: UnixMillis, account: &Account, opening: &Opening) -> Result<()> {
    sql.exec(
        "INSERT INTO sessions (id, user, key, device, opened, ends, look) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        &[
            opening.id.as_str().into(),
            account.principal.user.as_str().into(),
            opening.key.as_str().into(),
            opening.device.as_str().into(),
            now.into(),
            opening.ends.into(),
            opening.look.into(),
        ],
    )?;
    agenda::by(sql, WATCH, opening.look)?;
    sweep(sql, now)
}

fn sweep(sql: &impl Sql, now: UnixMillis) -> Result<()> {
    let old = sql.exec(
        "SELECT id FROM sessions WHERE ends <= ?1 AND look IS NULL \
         AND id NOT IN (SELECT session FROM ends_due) LIMIT ?2",
        &[now.into(), SWEEP.into()],
    )?;
    for mut row in old {
        let id = row.text()?;
        sql.exec("DELETE FROM sessions WHERE id = ?1", &[id.into()])?;
    }
    Ok(())
}

/// The open sessions of an account at `now`, newest first, at most `limit`.
pub fn list(sql: &impl Sql, now: UnixMillis, user: &str, limit: u64) -> Result<Vec<Listed>> {
    let rows = sql.exec(
        "SELECT id, key, device, opened FROM sessions WHERE user = ?1 AND ended IS NULL AND ends > ?2 \
         ORDER BY opened DESC, id LIMIT ?3",
        &[user.into(), now.into(), limit.into()],
    )?;
    let listed =
        |mut row: Row| Ok(Listed { id: row.text()?, key: row.text()?, device: row.text()?, opened: row.instant()? });
    rows.into_iter().map(listed).collect()
}

/// Registers that `session` is about to listen to `topic`. `false` where it has ended: then it must not.
pub fn follow(sql: &impl Sql, now: UnixMillis, session: &str, topic: &str) -> Result<bool> {
    let open = sql
        .first("SELECT 1 FROM sessions WHERE id = ?1 AND ended IS NULL AND ends > ?2", &[session.into(), now.into()])?;
    if open.is_none() {
        return Ok(false);
    }
    sql.exec(
        "INSERT INTO followed (session, topic) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
        &[session.into(), topic.into()],
    )?;
    Ok(true)
}

/// Whether session `id` is open at `now`, as far as the clinic's object knows. Where it has ended, the store of sessions, which
/// did not know, is to be told once more. Call it inside a transaction.
pub fn confirm(sql: &impl Sql, now: UnixMillis, id: &str) -> Result<bool> {
    let row = sql.first("SELECT ended FROM sessions WHERE id = ?1 AND ends > ?2", &[id.into(), now.into()])?;
    let Some(mut row) = row else { return Ok(false) };
    let open = row.maybe_number()?.is_none();
    if !open {
        sql.exec("INSERT INTO ends_due (session) VALUES (?1) ON CONFLICT DO NOTHING", &[id.into()])?;
        agenda::by(sql, TELL, now.plus(TELL_AGAIN))?;
    }
    Ok(open)
}

/// Ends sessions of `user` at `now`, and notes who must hear of it. Gives those that were meant and are not past their
/// time, also where they had ended before, so that a repetition does all of it again. Call it inside a transaction.
pub fn end(sql: &impl Sql, now: UnixMillis, user: &str, which: &Which) -> Result<Vec<Ended>> {
    let (one, but) = match which {
        Which::One(id) => (Some(id.as_str()), None),
        Which::AllBut(id) => (None, id.as_deref()),
    };
    let rows = sql.exec(
        "SELECT id, user, key, ends, ended FROM sessions WHERE user = ?1 AND ends > ?2 \
         AND (?3 IS NULL OR id = ?3) AND (?4 IS NULL OR id != ?4)",
        &[user.into(), now.into(), one.into(), but.into()],
    )?;
    let mut all = Vec::new();
    for mut row in rows {
        let ended = Ended { id: row.text()?, user: row.text()?, key: row.text()?, ends: row.instant()? };
        if row.maybe_number()?.is_none() {
            note(sql, now, &ended)?;
        }
        all.push(ended);
    }
    Ok(all)
}

/// Ends one session that was found to be over.
pub fn note(sql: &impl Sql, now: UnixMillis, ended: &Ended) -> Result<()> {
    let id = || ended.id.as_str().into();
    sql.exec("UPDATE sessions SET ended = ?2, look = NULL WHERE id = ?1", &[id(), now.into()])?;
    sql.exec("INSERT INTO ends_due (session) VALUES (?1) ON CONFLICT DO NOTHING", &[id()])?;
    let barred = Barred::Session(ended.id.clone());
    let (who, below) = barred.to_columns();
    sql.exec(
        "INSERT INTO bars_due (topic, who, below, until) SELECT topic, session, ?2, ?3 FROM followed WHERE session = ?1 \
         ON CONFLICT DO NOTHING",
        &[who.into(), below.into(), ended.ends.into()],
    )?;
    sql.exec("DELETE FROM followed WHERE session = ?1", &[id()])?;
    agenda::by(sql, TELL, now.plus(TELL_AGAIN))
}

/// Notes that what `account` may follow has changed at `now`: every topic that one of its open sessions listens to must
/// have it ask again. Call it inside the transaction of the change.
pub fn ask_again(sql: &impl Sql, now: UnixMillis, account: &Account) -> Result<()> {
    sql.exec(
        "INSERT INTO bars_due (topic, who, below, until) \
         SELECT followed.topic, sessions.user, ?2, max(sessions.ends) FROM sessions \
         JOIN followed ON followed.session = sessions.id WHERE sessions.user = ?1 GROUP BY followed.topic \
         ON CONFLICT (topic, who) DO UPDATE SET below = excluded.below, until = excluded.until",
        &[account.principal.user.as_str().into(), account.version.into()],
    )?;
    agenda::by(sql, TELL, now.plus(TELL_AGAIN))
}

/// Notes that who may listen to `topic` has changed at `now`, for the `moved`th time: every session that listens to it must
/// ask again. Call it inside the transaction of the change.
pub fn all_ask_again(sql: &impl Sql, now: UnixMillis, topic: &str, moved: u64) -> Result<()> {
    let noted = sql.first(
        "INSERT INTO bars_due (topic, who, below, until) SELECT ?1, ?2, ?3, max(sessions.ends) FROM sessions \
         JOIN followed ON followed.session = sessions.id WHERE followed.topic = ?1 HAVING count(*) > 0 \
         ON CONFLICT (topic, who) DO UPDATE SET below = excluded.below, until = excluded.until RETURNING 1",
        &[topic.into(), EVERYBODY.into(), moved.into()],
    )?;
    if noted.is_some() { agenda::by(sql, TELL, now.plus(TELL_AGAIN)) } else { Ok(()) }
}

/// Forgets all sessions and who has to hear of their ends: nobody takes one of before a restore for open, and no socket has
/// outlived it. Call it inside the transaction of the restore.
pub fn forget_all(sql: &impl Sql) -> Result<()> {
    for statement in ["DELETE FROM sessions", "DELETE FROM followed", "DELETE FROM ends_due", "DELETE FROM bars_due"] {
        sql.exec(statement, &[])?;
    }
    Ok(())
}

/// At most `limit` ended sessions whose end the store of sessions has not acknowledged.
pub fn ends_due(sql: &impl Sql, limit: u64) -> Result<Vec<Ended>> {
    let rows = sql.exec(
        "SELECT id, user, key, ends FROM ends_due JOIN sessions ON sessions.id = ends_due.session LIMIT ?1",
        &[limit.into()],
    )?;
    let ended = |mut row: Row| Ok(Ended { id: row.text()?, user: row.text()?, key: row.text()?, ends: row.instant()? });
    rows.into_iter().map(ended).collect()
}

/// Forgets that the store of sessions must hear of these ends.
pub fn ends_heard(sql: &impl Sql, ended: &[Ended]) -> Result<()> {
    for ended in ended {
        sql.exec("DELETE FROM ends_due WHERE session = ?1", &[ended.id.as_str().into()])?;
    }
    Ok(())
}

/// At most `limit` topics that must be told something.
pub fn topics_due(sql: &impl Sql, limit: u64) -> Result<Vec<String>> {
    let rows = sql.exec("SELECT DISTINCT topic FROM bars_due LIMIT ?1", &[limit.into()])?;
    rows.into_iter().map(|mut row| row.text()).collect()
}

/// What `topic` must be told, at most `limit` of it.
pub fn bars_due(sql: &impl Sql, topic: &str, limit: u64) -> Result<Vec<Bar>> {
    let rows =
        sql.exec("SELECT who, below, until FROM bars_due WHERE topic = ?1 LIMIT ?2", &[topic.into(), limit.into()])?;
    rows.into_iter().map(bar).collect()
}

fn bar(mut row: Row) -> Result<Bar> {
    Ok(Bar { who: Barred::from_columns(row.text()?, row.number()?), until: row.instant()? })
}

/// Forgets that `topic` must be told `bars`.
pub fn bars_heard(sql: &impl Sql, topic: &str, bars: &[Bar]) -> Result<()> {
    for bar in bars {
        let (who, below) = bar.who.to_columns();
        sql.exec(
            "DELETE FROM bars_due WHERE topic = ?1 AND who = ?2 AND below = ?3",
            &[topic.into(), who.into(), below.into()],
        )?;
    }
    Ok(())
}

/// Whether anybody has yet to be told of an end.
pub fn owes(sql: &impl Sql) -> Result<bool> {
    let row = sql.first("SELECT EXISTS (SELECT 1 FROM ends_due) OR EXISTS (SELECT 1 FROM bars_due)", &[])?;
    row.ok_or_else(|| Error::internal("the database gave no answer"))?.truth()
}

/// A session to look after: it may be about to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// The session.
    pub session: Ended,
    /// The end that its owner has been warned of.
    pub warned: Option<UnixMillis>,
}

/// The sessions to be looked after at `now`, at most `limit`.
pub fn watched(sql: &impl Sql, now: UnixMillis, limit: u64) -> Result<Vec<Watched>> {
    let rows = sql.exec(
        "SELECT id, user, key, ends, warned FROM sessions WHERE look <= ?1 ORDER BY look LIMIT ?2",
        &[now.into(), limit.into()],
    )?;
    let watched = |mut row: Row| {
        let session = Ended { id: row.text()?, user: row.text()?, key: row.text()?, ends: row.instant()? };
        Ok(Watched { session, warned: row.maybe_number()?.map(UnixMillis) })
    };
    rows.into_iter().map(watched).collect()
}

/// Looks after session `id` again at `look`. `false` where it has ended meanwhile.
pub fn look_again(sql: &impl Sql, id: &str, look: UnixMillis) -> Result<bool> {
    let row = sql.first(
        "UPDATE sessions SET look = ?2 WHERE id = ?1 AND ended IS NULL RETURNING id",
        &[id.into(), look.into()],
    )?;
    Ok(row.is_some())
}

/// Notes that the owner of session `id` is warned of its end at `at`. `false` where that was noted before.
pub fn warn(sql: &impl Sql, id: &str, at: UnixMillis) -> Result<bool> {
    let row = sql.first(
        "UPDATE sessions SET warned = ?2 WHERE id = ?1 AND (warned IS NULL OR warned != ?2) RETURNING id",
        &[id.into(), at.into()],
    )?;
    Ok(row.is_some())
}

/// When the next session is to be looked after.
pub fn next_look(sql: &impl Sql) -> Result<Option<UnixMillis>> {
    let row = sql.first("SELECT min(look) FROM sessions WHERE look IS NOT NULL", &[])?;
    Ok(row.map(|mut row| row.maybe_number()).transpose()?.flatten().map(UnixMillis))
}
