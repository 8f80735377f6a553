//! Leases in an object, behind the network: the SQL that the object runs, on SQLite, with calls that wait for their turn as
//! the object keeps them. An eviction loses whatever is under way or waits, and no row.

use std::cell::RefCell;
use std::pin::pin;
use std::rc::Rc;

use futures_util::future::select;

use super::net::{Fate, Leg, Net};
use super::{Backend, Mutant};
use crate::error::{Error, Result};
use crate::lease::hub::Hub;
use crate::lease::{Answer, Ask, LONGEST_CALL, LeaseName, Leases, Ticket, Told, sql};
use crate::store::sql::Sql;
use crate::store::sqlite::Sqlite;
use crate::time::{Ttl, UnixMillis};

/// One object.
#[derive(Clone)]
pub struct Object(Rc<Inside>);

struct Inside {
    net: Rc<Net>,
    sql: Sqlite,
    /// What an eviction loses.
    hub: RefCell<Rc<Hub>>,
    mutant: Option<Mutant>,
}

impl Object {
    pub fn new(net: &Rc<Net>, mutant: Option<Mutant>) -> Object {
        let sql = Sqlite::open();
        sql::prepare(&sql).unwrap();
        Object(Rc::new(Inside { net: Rc::clone(net), sql, hub: RefCell::default(), mutant }))
    }

    fn live(&self, name: &LeaseName) -> Option<(String, u64)> {
        let row = self.0.sql.first("SELECT state FROM leases WHERE name = ?1", &[name.as_str().into()]).unwrap();
        let state: serde_json::Value = serde_json::from_str(&row?.text().unwrap()).unwrap();
        Some((state["lease"]["user"].as_str()?.to_owned(), state["lease"]["fence"].as_u64()?))
    }

    /// One transition.
    fn step(&self, name: &LeaseName, ask: &Ask) -> Result<Answer> {
        let Inside { net, sql, mutant, .. } = &*self.0;
        let mut now = net.now();
        let mut ask = ask.clone();
        match (mutant, &mut ask) {
            (Some(Mutant::GrantIgnoresLease), Ask::Grant { .. }) => {
                sql.exec("DELETE FROM leases", &[]).unwrap();
            }
            (Some(Mutant::RevokeIgnoresFence), Ask::Revoke { user, fence }) => {
                if let Some((holder, live)) = self.live(name)
                    && holder == *user
                {
                    *fence = live;
                }
            }
            (Some(Mutant::RenewsTooLate), Ask::Renew { .. }) => now = UnixMillis(now.0 - 5_000),
            _ => {}
        }
        let asked = sql::ask(sql, now, name, &ask)?;
        for turn in asked.turns {
            self.0.hub.borrow().wake(name, turn);
        }
        if *mutant == Some(Mutant::FenceForgotten) && self.live(name).is_none() {
            sql.exec("DELETE FROM lease_fences", &[]).unwrap();
        }
        Ok(Answer { at: net.now(), ..asked.answer })
    }

    /// As the object keeps a call open; `None` where it is evicted meanwhile.
    async fn keep(&self, name: &LeaseName, ask: &Ask) -> Option<Result<Answer>> {
        let mut answer = self.step(name, ask);
        let Ask::Grant { asker, request_id, wait: Some(wait), .. } = ask else { return Some(answer) };
        let ticket = Ticket { user: asker.user.clone(), request_id: request_id.clone() };
        let mut left = (*wait).min(LONGEST_CALL);
        while let Ok(Answer { told: Told::Held { lease, .. }, at }) = &answer
            && left.0 > 0
        {
            let nap = left.min(Ttl(at.until(lease.expires).0.saturating_add(1)));
            let hub = Rc::clone(&self.0.hub.borrow());
            let asleep = pin!(hub.sleep(name, &ticket));
            match select(asleep, pin!(self.0.net.sleep(nap))).await {
                futures_util::future::Either::Right((false, _)) => return None,
                futures_util::future::Either::Right((true, _)) => left = Ttl(left.0.saturating_sub(nap.0)),
                futures_util::future::Either::Left(_) => {}
            }
            answer = self.step(name, ask);
        }
        Some(answer)
    }
}

impl Leases for Object {
    async fn ask(&self, name: &LeaseName, ask: Ask) -> Result<Answer> {
        let lost = || if ask.is_change() { Error::outcome_unknown() } else { Error::unavailable("no answer") };
        match self.0.net.cross(Leg::Request).await {
            Fate::IsLost => return Err(lost()),
            Fate::Arrives => {}
            Fate::Doubles => {
                let (object, name, ask) = (self.clone(), name.clone(), ask.clone());
                self.0.net.stray(move || drop(object.step(&name, &ask)));
            }
        }
        let Some(answer) = self.keep(name, &ask).await else { return Err(lost()) };
        if self.0.net.cross(Leg::Reply).await == Fate::IsLost { Err(lost()) } else { answer }
    }
}

impl Backend for Object {
    const FAULTS: &'static [&'static str] = &["evicted"];

    fn fail(&self) -> bool {
        self.0.net.meet("evicted");
        self.0.hub.replace(Rc::default());
        self.0.net.die();
        false
    }

    async fn sweep(&self) {
        for (name, turn) in sql::sweep(&self.0.sql, self.0.net.now(), 10).unwrap() {
            self.0.hub.borrow().wake(&name, turn);
        }
    }
}
