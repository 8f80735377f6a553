//! Sessions near their end: their owners are warned, and those that are over are ended everywhere.
//!
//! Invariant: the store of sessions alone knows when a person last did something; the clinic's object asks it when a session
//! could be about to end, and not before. An end is warned of once: the note that it was and the event commit together.

use serde_json::json;

use super::courier::Outside;
use super::sessions::ENDED;
use crate::access::audit::{self, Actor, Did, Outcome};
use crate::channel::outbox::{self, Event};
use crate::channel::{EventKind, Topic};
use crate::error::Result;
use crate::outgoing::join_all;
use crate::session::registry::{self, Watched};
use crate::session::{self, Lifetimes, State};
use crate::sorted::BTreeMap;
use crate::store::agenda;
use crate::store::sql::Sql;
use crate::time::{Ttl, UnixMillis};

/// Sessions that are looked after in one run.
const AT_ONCE: u64 = 64;
/// Where the store does not answer, it is asked again after this long.
const AGAIN: Ttl = Ttl(400);

/// Looks after the sessions that are due. Call it when [`registry::WATCH`] is due; it puts the next time on the agenda.
pub async fn run(sql: &impl Sql, outside: &impl Outside, lifetimes: Lifetimes) -> Result<()> {
    let mut by_user: BTreeMap<String, Vec<Watched>> = BTreeMap::new();
    for watched in registry::watched(sql, outside.now(), AT_ONCE)? {
        by_user.entry(watched.session.user.clone()).or_default().push(watched);
    }
    join_all(by_user.iter().map(|(user, all)| async {
        let keys = all.iter().map(|watched| watched.session.key.clone()).collect();
        let states = session::states(outside.sessions(), lifetimes, outside.now(), user, keys).await;
        let now = outside.now();
        sql.transaction(|| match states {
            Ok(states) => all.iter().zip(states).try_for_each(|(one, state)| judge(sql, now, lifetimes, one, state)),
            Err(_) => {
                all.iter().try_for_each(|one| registry::look_again(sql, &one.session.id, now.plus(AGAIN)).map(|_| ()))
            }
        })
    }))
    .await
    .into_iter()
    .collect::<Result<Vec<()>>>()?;
    agenda::set(sql, registry::WATCH, registry::next_look(sql)?)
}

fn judge(sql: &impl Sql, now: UnixMillis, lifetimes: Lifetimes, watched: &Watched, state: Option<State>) -> Result<()> {
    let Watched { session, warned } = watched;
    let Some(state) = state else {
        // Not where it has been ended meanwhile, by whoever is told so.
        if registry::look_again(sql, &session.id, now)? {
            registry::note(sql, now, session)?;
            let actor = Actor { user: session.user.clone(), request: String::new() };
            let event = audit::Event { actor: &actor, did: Did::Execute, entity: ENDED, outcome: Outcome::Success };
            audit::record(sql, now, &event)?;
        }
        return Ok(());
    };
    let warning = lifetimes.warning(state.ends);
    if now < warning {
        return registry::look_again(sql, &session.id, warning).map(|_| ());
    }
    let open = registry::look_again(sql, &session.id, state.ends)?;
    if open && *warned != Some(state.ends) && registry::warn(sql, &session.id, state.ends)? {
        outbox::add(sql, &Topic::User(session.user.clone()), &event(now, &session.id, state))?;
    }
    Ok(())
}

/// The warning: whoever has done something since then knows that it is void by a later end.
fn event(now: UnixMillis, session: &str, state: State) -> Event {
    let data = json!({
        "session": session,
        "ends_at": state.ends.to_rfc3339(),
        "reason": if state.idle { "idle" } else { "absolute" },
    });
    Event {
        id: format!("session/{session}/ends/{}", state.ends.0),
        kind: EventKind::Session.as_str().to_owned(),
        at: now,
        data: data.to_string(),
    }
}
