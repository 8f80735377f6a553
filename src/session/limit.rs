//! How often a sign-in may be tried: a budget of wrong passwords for each account, each address, and each place from which
//! the account was signed in to before.
//!
//! Invariant: a try is paid for before its password is looked at, so that many at once get no more than one after the
//! other; the right password gives back what it paid. An account that does not exist is counted like one that does.
//! Whoever signs in from a place that is known for the account (a browser by its device cookie, else an address) pays from
//! that place's budget alone, so that strangers who try passwords lock out strangers and not their colleague at her usual
//! workstation; and a lock has an end. After the device cookies of the OWASP cheat sheet on authentication.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::account::is_username;
use crate::error::Result;
use crate::store::sql::{Row, Sql};
use crate::time::{Ttl, UnixMillis};

/// Where a sign-in comes from, as far as that can be told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Places {
    /// A browser, by a keyed hash of its device cookie.
    pub device: Option<String>,
    /// A network address, see [`address`].
    pub address: Option<String>,
}

/// How many wrong passwords are free of charge.
#[derive(Clone, Copy)]
struct Budget {
    free: u64,
}

/// For one account, or one account from one known place.
const OF_ACCOUNT: Budget = Budget { free: 10 };
/// For one address, whatever the account: a hospital is one address, and its people mistype.
const OF_ADDRESS: Budget = Budget { free: 100 };
/// The first lock; each further wrong password doubles it.
const FIRST_LOCK: Ttl = Ttl::from_secs(30);
/// The longest lock.
const LONGEST_LOCK: Ttl = Ttl::from_mins(15);
/// Wrong passwords are forgotten when there was none for so long.
const FORGOTTEN: Ttl = Ttl::from_mins(6 * 60);
/// A place is known for so long after the last sign-in there.
const KNOWN: Ttl = Ttl::from_mins(90 * 24 * 60);
/// So many places are known for an account at most, the newest.
const PLACES: u64 = 50;
/// At most this many old rows are cleared away by one try, so that none pays for many.
const SWEEP: u64 = 16;

impl Budget {
    /// Until when it is locked after `failures` wrong passwords, the last of them at `now`.
    fn locked_until(self, failures: u64, now: UnixMillis) -> Option<UnixMillis> {
        let over = failures.checked_sub(self.free)?;
        let doubled =
            FIRST_LOCK.0.saturating_mul(1_u64.checked_shl(u32::try_from(over).unwrap_or(u32::MAX)).unwrap_or(u64::MAX));
        Some(now.plus(Ttl(doubled.min(LONGEST_LOCK.0))))
    }
}

/// Makes the tables where they are not there yet.
pub fn prepare(sql: &impl Sql) -> Result<()> {
    for statement in [
        "CREATE TABLE IF NOT EXISTS tries (username TEXT NOT NULL, place TEXT NOT NULL, failures INTEGER NOT NULL, \
         last INTEGER NOT NULL, locked_until INTEGER, PRIMARY KEY (username, place)) WITHOUT ROWID",
        "CREATE INDEX IF NOT EXISTS tries_last ON tries (last)",
        "CREATE TABLE IF NOT EXISTS known_places (username TEXT NOT NULL, place TEXT NOT NULL, last INTEGER NOT NULL, \
         PRIMARY KEY (username, place)) WITHOUT ROWID",
    ] {
        sql.exec(statement, &[])?;
    }
    Ok(())
}

/// What pays for a try: rows of `tries`, by user name and place. Either is empty where it makes no difference.
struct Payer {
    username: String,
    place: String,
    budget: Budget,
}

fn is_known(sql: &impl Sql, now: UnixMillis, username: &str, place: &str) -> Result<bool> {
    let row = sql.first(
        "SELECT 1 FROM known_places WHERE username = ?1 AND place = ?2 AND last > ?3",
        &[username.into(), place.into(), now.0.saturating_sub(KNOWN.0).into()],
    )?;
    Ok(row.is_some())
}

fn payers(sql: &impl Sql, now: UnixMillis, username: &str, places: &Places) -> Result<Vec<Payer>> {
    // What cannot be a user name is nobody's: all of it pays from one budget.
    let username = if is_username(username) { username } else { "?" };
    let of_account = |place: &str| Payer { username: username.into(), place: place.into(), budget: OF_ACCOUNT };
    if let Some(device) = &places.device
        && is_known(sql, now, username, device)?
    {
        return Ok(vec![of_account(device)]);
    }
    let Some(address) = &places.address else { return Ok(vec![of_account("")]) };
    let known = is_known(sql, now, username, address)?;
    let of_address = Payer { username: String::new(), place: address.clone(), budget: OF_ADDRESS };
    Ok(vec![of_account(if known { address } else { "" }), of_address])
}

/// Counts a try of `username` at `now`, before its password is looked at. Gives how long to wait where it must not be.
pub fn attempt(sql: &impl Sql, now: UnixMillis, username: &str, places: &Places) -> Result<Option<Ttl>> {
    sql.exec(
        "DELETE FROM tries WHERE (username, place) IN (SELECT username, place FROM tries WHERE last <= ?1 LIMIT ?2)",
        &[now.0.saturating_sub(FORGOTTEN.0).into(), SWEEP.into()],
    )?;
    let payers = payers(sql, now, username, places)?;
    let mut counted = Vec::new();
    let mut wait: Option<Ttl> = None;
    for payer in payers {
        let row = sql.first(
            "SELECT failures, locked_until FROM tries WHERE username = ?1 AND place = ?2 AND last > ?3",
            &[payer.username.as_str().into(), payer.place.as_str().into(), now.0.saturating_sub(FORGOTTEN.0).into()],
        )?;
        let read = |mut row: Row| Ok((row.number()?, row.maybe_number()?.map(UnixMillis)));
        let (failures, locked) = row.map(read).transpose()?.unwrap_or((0, None));
        if let Some(until) = locked.filter(|until| *until > now) {
            wait = wait.max(Some(now.until(until)));
        }
        counted.push((payer, failures.saturating_add(1)));
    }
    if wait.is_some() {
        return Ok(wait);
    }
    for (payer, failures) in counted {
        sql.exec(
            "INSERT INTO tries (username, place, failures, last, locked_until) VALUES (?1, ?2, ?3, ?4, ?5) \
             ON CONFLICT (username, place) DO UPDATE SET failures = excluded.failures, last = excluded.last, \
             locked_until = excluded.locked_until",
            &[
                payer.username.into(),
                payer.place.into(),
                failures.into(),
                now.into(),
                payer.budget.locked_until(failures, now).into(),
            ],
        )?;
    }
    Ok(None)
}

/// The try of `username` from `places` had the right password: gives back what it paid. From now on the account is known
/// at `now_known`, where the browser may have been given its device cookie only now.
pub fn succeeded(sql: &impl Sql, now: UnixMillis, username: &str, places: &Places, now_known: &Places) -> Result<()> {
    for payer in payers(sql, now, username, places)? {
        let key = [payer.username.as_str().into(), payer.place.as_str().into()];
        if payer.username.is_empty() {
            // Others pay from it as well: only this try's own is given back, so that an attacker with an account of their
            // own cannot clear it.
            sql.exec(
                "UPDATE tries SET failures = max(failures - 1, 0), locked_until = NULL WHERE username = ?1 AND place = ?2",
                &key,
            )?;
        } else {
            sql.exec("DELETE FROM tries WHERE username = ?1 AND place = ?2", &key)?;
        }
    }
    for place in [&now_known.device, &now_known.address].into_iter().flatten() {
        sql.exec(
            "INSERT INTO known_places (username, place, last) VALUES (?1, ?2, ?3) \
             ON CONFLICT (username, place) DO UPDATE SET last = excluded.last",
            &[username.into(), place.as_str().into(), now.into()],
        )?;
    }
    sql.exec(
        "DELETE FROM known_places WHERE username = ?1 AND place NOT IN \
         (SELECT place FROM known_places WHERE username = ?1 ORDER BY last DESC, place LIMIT ?2)",
        &[username.into(), PLACES.into()],
    )?;
    Ok(())
}

/// Forgets the wrong passwords of an account, wherever they came from: it has a new one.
pub fn forget(sql: &impl Sql, username: &str) -> Result<()> {
    sql.exec("DELETE FROM tries WHERE username = ?1", &[username.into()])?;
    Ok(())
}

/// The address that a header's value names: the last one in it, which the nearest proxy has written. An IPv6 address
/// counts by its first 64 bits, which is what one subscriber is given.
pub fn address(value: &str) -> Option<String> {
    let last = value.rsplit(',').next().unwrap_or_default().trim();
    let last = last.strip_prefix('[').and_then(|rest| rest.split(']').next()).unwrap_or(last);
    match last.parse::<IpAddr>().ok()?.to_canonical() {
        IpAddr::V4(address) => Some(address.to_string()),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Some(format!("{a:x}:{b:x}:{c:x}:{d:x}::/64"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::Sqlite;

    struct World {
        sql: Sqlite,
        now: u64,
    }

    fn place(device: Option<&str>, address: &str) -> Places {
        Places { device: device.map(Into::into), address: Some(address.into()) }
    }

    impl World {
        fn new() -> World {
            let sql = Sqlite::open();
            prepare(&sql).unwrap();
            World { sql, now: 1_000_000_000 }
        }

        fn try_it(&self, username: &str, places: &Places) -> Option<Ttl> {
            attempt(&self.sql, UnixMillis(self.now), username, places).unwrap()
        }

        fn sign_in(&self, username: &str, places: &Places) -> bool {
            let free = self.try_it(username, places).is_none();
            if free {
                succeeded(&self.sql, UnixMillis(self.now), username, places, places).unwrap();
            }
            free
        }

        /// How many wrong passwords are let through before one has to wait, at most `most`.
        fn wrong(&self, username: &str, places: &Places, most: u64) -> u64 {
            (0..most).take_while(|_| self.try_it(username, places).is_none()).count() as u64
        }
    }

    #[test]
    fn a_lock_grows_and_has_an_end() {
        let mut world = World::new();
        let from = place(None, "a");
        assert_eq!(world.wrong("nora", &from, 99), 10);
        assert_eq!(world.try_it("nora", &from), Some(Ttl::from_secs(30)), "the right password would have to wait, too");
        let mut locks = Vec::new();
        for _ in 0..8 {
            let wait = world.try_it("nora", &from).unwrap();
            locks.push(wait.as_secs_up());
            world.now += wait.0;
            assert_eq!(world.try_it("nora", &from), None, "one more try once it is over");
        }
        assert_eq!(locks, [30, 60, 120, 240, 480, 900, 900, 900]);
        world.now += LONGEST_LOCK.0;
        assert!(world.sign_in("nora", &from));
        assert_eq!(world.wrong("nora", &from, 99), 10, "the right password starts it anew");
    }

    #[test]
    fn strangers_lock_out_strangers_and_not_the_colleague_at_her_workstation() {
        let world = World::new();
        let workstation = place(Some("d1"), "ward");
        assert!(world.sign_in("nora", &workstation));
        // From elsewhere, and from the same ward without her browser's cookie.
        assert_eq!(world.wrong("nora", &place(None, "elsewhere"), 99), 10);
        assert_eq!(world.wrong("nora", &place(Some("d2"), "elsewhere 2"), 99), 0, "one budget for all strangers");
        assert_eq!(world.wrong("nora", &place(None, "ward"), 99), 10);
        assert!(world.sign_in("nora", &workstation));
        // Her cookie is good for her account, not for another's.
        assert_eq!(world.wrong("olga", &workstation, 99), 10);
        // Whoever tries passwords at her workstation pays from its budget.
        assert_eq!(world.wrong("nora", &workstation, 99), 10);
        assert!(!world.sign_in("nora", &workstation));
    }

    #[test]
    fn one_address_tries_many_accounts_only_so_often() {
        let mut world = World::new();
        let from = place(None, "botnet");
        assert!(world.sign_in("nora", &place(Some("d"), "botnet")));
        let tried = (0..500).take_while(|n| world.try_it(&format!("u{n}"), &from).is_none()).count();
        assert_eq!(tried, 100);
        assert!(world.sign_in("nora", &place(Some("d"), "botnet")), "a known browser is not held up by its neighbours");
        assert_eq!(world.wrong("v", &place(None, "another"), 1), 1);
        world.now += LONGEST_LOCK.0;
        assert_eq!(world.try_it("w", &from), None);
    }

    #[test]
    fn an_own_account_does_not_clear_an_address() {
        let world = World::new();
        let from = place(None, "a");
        let mut tried = 0;
        for n in 0..300 {
            if n % 9 == 8 {
                world.sign_in("mallory", &from);
            } else {
                tried += u64::from(world.try_it(&format!("u{n}"), &from).is_none());
            }
        }
        assert_eq!(tried, 100);
    }

    #[test]
    fn many_at_once_get_no_more_than_one_after_the_other_and_nobody_is_told_who_exists() {
        let world = World::new();
        for username in ["nora", "nobody", "Not A Name"] {
            assert_eq!(world.wrong(username, &Places::default(), 99), 10, "{username}");
        }
    }

    #[test]
    fn addresses() {
        for (value, expected) in [
            ("192.0.2.7", Some("192.0.2.7")),
            ("10.0.0.1, 192.0.2.7", Some("192.0.2.7")),
            ("::ffff:192.0.2.7", Some("192.0.2.7")),
            ("2001:db8:1:2:3:4:5:6", Some("2001:db8:1:2::/64")),
            ("[2001:db8:1:2::9]:443", Some("2001:db8:1:2::/64")),
            ("unknown", None),
            ("", None),
        ] {
            assert_eq!(address(value).as_deref(), expected, "{value}");
        }
    }
}
