//! Accounts in the clinic's SQLite: who they are, their passwords' hashes, and which changes are on their way to the
//! accounts' sessions.
//!
//! Invariant: a change of an account and the note that its sessions must hear of it commit together; the note leaves only
//! when the store of sessions has acknowledged that version.

use serde::{Deserialize, Serialize};

use super::account::{Account, Change, Standing};
use super::limit;
use crate::error::{Error, Kind, Result};
use crate::store::sql::{Row, Sql};

/// What a sign-in is judged by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// The account.
    pub account: Account,
    /// The hash of its password.
    pub hash: String,
}

/// Makes the tables where they are not there yet.
pub fn prepare(sql: &impl Sql) -> Result<()> {
    for statement in [
        "CREATE TABLE IF NOT EXISTS accounts (id TEXT PRIMARY KEY, username TEXT NOT NULL UNIQUE, \
         account TEXT NOT NULL, hash TEXT NOT NULL) WITHOUT ROWID",
        "CREATE TABLE IF NOT EXISTS standings_due (id TEXT PRIMARY KEY, version INTEGER NOT NULL) WITHOUT ROWID",
    ] {
        sql.exec(statement, &[])?;
    }
    Ok(())
}

fn account(row: &mut Row) -> Result<Account> {
    serde_json::from_str(&row.text()?)
        .map_err(|_| Error::internal("an account is not of the shape this version writes"))
}

fn text(account: &Account) -> Result<String> {
    serde_json::to_string(account).map_err(|_| Error::internal("an account could not be written"))
}

/// Adds an account. 409 where the user name is taken; with `only_first`, 409 where there is any account at all.
pub fn create(sql: &impl Sql, account: &Account, hash: &str, only_first: bool) -> Result<()> {
    if only_first && sql.first("SELECT 1 FROM accounts LIMIT 1", &[])?.is_some() {
        return Err(Error::new(Kind::Conflict, "there are accounts already: sign in as an administrator"));
    }
    let inserted = sql.first(
        "INSERT INTO accounts (id, username, account, hash) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT (username) DO NOTHING RETURNING id",
        &[account.principal.user.as_str().into(), account.username.as_str().into(), text(account)?.into(), hash.into()],
    )?;
    match inserted {
        Some(_) => Ok(()),
        None => Err(Error::new(Kind::Conflict, "this user name is taken").at("username")),
    }
}

/// What the sign-in of `username` is judged by; `None` where there is no such account.
pub fn credential(sql: &impl Sql, username: &str) -> Result<Option<Credential>> {
    sql.first("SELECT account, hash FROM accounts WHERE username = ?1", &[username.into()])?
        .map(|mut row| Ok(Credential { account: account(&mut row)?, hash: row.text()? }))
        .transpose()
}

/// Whether the account is still as `seen`, which a password was judged by.
pub fn is_current(sql: &impl Sql, seen: &Account) -> Result<bool> {
    let current = get(sql, &seen.principal.user)?;
    Ok(current.is_some_and(|current| current.version == seen.version && !current.disabled))
}

/// The account with this id.
pub fn get(sql: &impl Sql, id: &str) -> Result<Option<Account>> {
    sql.first("SELECT account FROM accounts WHERE id = ?1", &[id.into()])?.map(|mut row| account(&mut row)).transpose()
}

/// The accounts by user name, after `after`, at most `count`.
pub fn list(sql: &impl Sql, after: &str, count: u64) -> Result<Vec<Account>> {
    let rows = sql.exec(
        "SELECT account FROM accounts WHERE username > ?1 ORDER BY username LIMIT ?2",
        &[after.into(), count.into()],
    )?;
    rows.into_iter().map(|mut row| account(&mut row)).collect()
}

/// The accounts that are open and of which `holds` is true.
pub fn with(sql: &impl Sql, holds: impl Fn(&Account) -> bool) -> Result<Vec<Account>> {
    let all = sql.exec("SELECT account FROM accounts", &[])?.into_iter().map(|mut row| account(&mut row));
    all.filter(|account| account.as_ref().map_or(true, |account| !account.disabled && holds(account))).collect()
}

/// Changes the account `id` and notes that its sessions must hear of it. Gives it as it was and as it is; 404 where there is
/// none.
pub fn change(sql: &impl Sql, id: &str, change: &Change) -> Result<(Account, Account)> {
    let before = get(sql, id)?.ok_or_else(|| Error::new(Kind::NotFound, "there is no such account"))?;
    let after = before.after(change);
    super::account::check_bindings(&after.principal)?;
    super::account::check_practitioner(after.principal.role, after.practitioner.as_deref())?;
    sql.exec("UPDATE accounts SET account = ?2 WHERE id = ?1", &[id.into(), text(&after)?.into()])?;
    if let Some(hash) = &change.password {
        sql.exec("UPDATE accounts SET hash = ?2 WHERE id = ?1", &[id.into(), hash.as_str().into()])?;
        limit::forget(sql, &after.username)?;
    }
    owe(sql, &after)?;
    Ok((before, after))
}

/// Notes that the sessions of `account` must hear how it is.
pub fn owe(sql: &impl Sql, account: &Account) -> Result<()> {
    sql.exec(
        "INSERT INTO standings_due (id, version) VALUES (?1, ?2) \
         ON CONFLICT (id) DO UPDATE SET version = excluded.version",
        &[account.principal.user.as_str().into(), account.version.into()],
    )?;
    Ok(())
}

/// Puts every account at version `version` or above, so that it is newer than what any store of sessions has heard of it. Call
/// it inside the transaction of a restore.
pub fn raise(sql: &impl Sql, version: u64) -> Result<()> {
    for mut row in sql.exec("SELECT account FROM accounts", &[])? {
        let mut account = account(&mut row)?;
        account.version = account.version.saturating_add(1).max(version);
        let id = account.principal.user.as_str().into();
        sql.exec("UPDATE accounts SET account = ?2 WHERE id = ?1", &[id, text(&account)?.into()])?;
    }
    Ok(())
}

/// At most `limit` standings that their sessions have not acknowledged.
pub fn due(sql: &impl Sql, limit: u64) -> Result<Vec<Standing>> {
    let rows = sql.exec(
        "SELECT account FROM accounts JOIN standings_due ON accounts.id = standings_due.id LIMIT ?1",
        &[limit.into()],
    )?;
    rows.into_iter().map(|mut row| account(&mut row).map(|account| Standing::from(&account))).collect()
}

/// Forgets that the sessions of `standing` must hear of it, unless it has changed again.
pub fn heard(sql: &impl Sql, standing: &Standing) -> Result<()> {
    sql.exec(
        "DELETE FROM standings_due WHERE id = ?1 AND version <= ?2",
        &[standing.principal.user.as_str().into(), standing.version.into()],
    )?;
    Ok(())
}
