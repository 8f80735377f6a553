//! Bars: who may listen to a topic no more, or must ask again whether they may.
//!
//! Invariant: a topic keeps a bar for as long as a listener that it is about could still be on the way there. So it makes no
//! difference whether the listener or the bar arrives first.

use serde::{Deserialize, Serialize};

use super::signed_out;
use crate::error::{Error, Result};
use crate::store::sql::Sql;
use crate::time::UnixMillis;

/// What a topic must be told about its listeners.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bar {
    /// Whom it is about.
    pub who: Barred,
    /// For how long it must be kept.
    pub until: UnixMillis,
}

/// Whom a topic turns away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Barred {
    /// A session that has ended, by its public id.
    Session(String),
    /// An account as it was before this version: what it may follow has to be asked again.
    Before(String, u64),
    /// Everybody who was let in before what the topic is about had changed so often: it has to be asked again.
    Moved(u64),
}

/// Who listens, or wants to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// The account's id.
    pub user: String,
    /// The version of the account by which it was allowed to listen.
    pub version: u64,
    /// The session's public id.
    pub session: String,
    /// How often what its topic is about had changed when it was allowed: a patient had moved, a subscription had been written.
    /// 0 for other topics.
    pub moved: u64,
    /// Whether they are told no more than a display that everybody sees.
    #[serde(default)]
    pub reduced: bool,
}

/// The version below which a session is barred: no version lets it in.
const FOR_GOOD: u64 = 0;
/// In place of an id.
pub const EVERYBODY: &str = "";

impl Barred {
    /// Whether it is about `listener`.
    pub fn is_about(&self, listener: &Listener) -> bool {
        match self {
            Barred::Session(id) => *id == listener.session,
            Barred::Before(user, version) => *user == listener.user && listener.version < *version,
            Barred::Moved(moved) => listener.moved < *moved,
        }
    }

    /// As two columns: an id, empty for everybody, and the version below which it is barred.
    pub fn to_columns(&self) -> (&str, u64) {
        match self {
            Barred::Moved(moved) => (EVERYBODY, *moved),
            Barred::Session(id) => (id, FOR_GOOD),
            Barred::Before(user, version) => (user, *version),
        }
    }

    /// Out of the two columns.
    pub fn from_columns(who: String, below: u64) -> Barred {
        if who == EVERYBODY {
            Barred::Moved(below)
        } else if below == FOR_GOOD {
            Barred::Session(who)
        } else {
            Barred::Before(who, below)
        }
    }
}

/// The refusal of a listener whose permission is out of date: 503, and to be asked for again.
pub fn ask_again() -> Error {
    Error::unavailable("what this account may follow is being changed; try again")
}

/// Makes the table of a topic where it is not there yet.
pub fn prepare(sql: &impl Sql) -> Result<()> {
    sql.exec(
        "CREATE TABLE IF NOT EXISTS bars (who TEXT PRIMARY KEY, below INTEGER NOT NULL, until INTEGER NOT NULL) \
         WITHOUT ROWID",
        &[],
    )?;
    Ok(())
}

/// Takes `bars` at `now`, and lets go of those that have served.
pub fn put(sql: &impl Sql, now: UnixMillis, bars: &[Bar]) -> Result<()> {
    sql.exec("DELETE FROM bars WHERE until <= ?1", &[now.into()])?;
    for Bar { who, until } in bars {
        let (who, below) = who.to_columns();
        sql.exec(
            "INSERT INTO bars (who, below, until) VALUES (?1, ?2, ?3) ON CONFLICT (who) DO UPDATE \
             SET below = max(below, excluded.below), until = max(until, excluded.until)",
            &[who.into(), below.into(), (*until).into()],
        )?;
    }
    Ok(())
}

/// Refuses `listener` if there is a bar about it: 401 where its session has ended, 503 where it has to ask again.
pub fn admit(sql: &impl Sql, listener: &Listener) -> Result<()> {
    let rows = sql.exec(
        "SELECT who, below FROM bars WHERE who IN (?1, ?2, '')",
        &[listener.session.as_str().into(), listener.user.as_str().into()],
    )?;
    for mut row in rows {
        let barred = Barred::from_columns(row.text()?, row.number()?);
        if barred.is_about(listener) {
            return Err(match barred {
                Barred::Session(_) => signed_out(),
                Barred::Before(..) | Barred::Moved(_) => ask_again(),
            });
        }
    }
    Ok(())
}
