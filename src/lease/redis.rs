//! Leases on Redis over HTTP: the same rules, over a state that is swapped only if it is still the one that was read.
//!
//! Invariant: a swap is one script call, judged by Redis's clock, and compares all of the state, so that nothing comes between
//! what [`super::rules`] decided and what is written. A grant of what is free, a place at the end of the queue, a renewal and a
//! revocation, with the turn of whoever is next, are one call each. A fence is never given twice, whatever the Redis forgets: each life of it (its data, in one process) counts in
//! an epoch of its own, which comes out of an object's store when that life begins.

use std::future::Future;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::rules::{self, State, Waiter};
use super::{Answer, Ask, LONGEST_CALL, Lease, LeaseName, Leases, Loss, Ticket, Told, Turn};
use crate::error::{Error, Kind, Result};
use crate::outgoing::{Http, backoff};
use crate::store::redis::Redis;
use crate::store::redis::script::Script;
use crate::store::restored;
use crate::store::{Applied, Condition, Entry, Op, Shard, Store};
use crate::time::{Ttl, UnixMillis};

pub(crate) const SCRIPT: &str = include_str!("lease.lua");
const SHA1: &str = "3bc39a5f71c1cb6a41df8b0c65a96579452b9696";
pub(crate) const SWEEP: &str = include_str!("sweep.lua");
const SWEEP_SHA1: &str = "71ba511eec96bc2bab5fe9b99d0be528636cdd28";
const MARK: &str = "L1 ";
/// All leases are on one node of a cluster: several are asked for together, and one hash has all their fences.
const TAG: &str = "bedside:{leases}";
/// How often a swap that came too late is tried again.
const TRIES: u32 = 12;
/// The pause before the second try is up to this, and twice as long each time, up to the other.
const PAUSE: Ttl = Ttl(4);
const MOST_PAUSE: Ttl = Ttl(64);
/// The longest sleep of whoever is next: should a wake-up be lost, it looks again after this.
const NAP: Ttl = Ttl::from_secs(1);
/// So many are next.
const NEXT: u64 = 2;
/// Where the epoch is kept, in an object.
const EPOCH: &str = "lease-epoch";
/// Fences of one epoch.
const EPOCH_FENCES: u64 = 1 << 32;

/// Where calls wait for their turn: a [`super::hub::Hub`] in an object.
pub trait Room {
    /// Waits until `ticket` is woken, at most `ttl`; gives the lease that passed to it, if it was woken.
    fn sleep(&self, name: &LeaseName, ticket: &Ticket, ttl: Ttl) -> impl Future<Output = Result<Option<Lease>>>;
    /// Wakes whoever waited, or tells it on its channel.
    fn wake(&self, name: &LeaseName, turn: Turn) -> impl Future<Output = Result<()>>;
    /// Sees to it that leases which end by themselves are noticed.
    fn watch(&self) -> impl Future<Output = Result<()>>;
}

/// The leases of one Redis.
#[derive(Clone)]
pub struct RedisLeases<H, S, R> {
    redis: Redis<H>,
    objects: S,
    room: R,
    restored: UnixMillis,
}

/// What the script found.
enum Found {
    /// Whether somebody looks after those that end by themselves.
    Granted(Lease, bool),
    Freed,
    Passed(Turn, bool),
    Renewed(Lease, UnixMillis),
    /// The same.
    Written(bool),
    State {
        now: UnixMillis,
        highest: u64,
        raw: String,
    },
    NoEpoch,
}

fn unfit() -> Error {
    Error::internal("the leases in Redis are not of the shape this version writes")
}

/// JSON in ASCII: other characters as `\u` escapes, so that no server or proxy has a byte to misunderstand.
fn ascii(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for character in json.chars() {
        if character.is_ascii() {
            out.push(character);
        } else {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    out
}

pub(crate) fn json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value).map(|text| ascii(&text)).map_err(|_| unfit())
}

/// The parts of a fresh grant's state: what comes before the fence, and what comes after the times.
fn template(ask: &Ask) -> Result<Option<(String, String, Ttl)>> {
    let (Ask::Grant { asker, request_id, ttl, .. } | Ask::Queue { asker, request_id, ttl, .. }) = ask else {
        return Ok(None);
    };
    let head = format!(
        r#"{{"lease":{{"user":{},"holder":{},"request_id":{},"fence":"#,
        json(&asker.user)?,
        json(&asker.name)?,
        json(request_id)?
    );
    Ok(Some((head, format!(r#","ttl":{},"sure":true,"group":null}}}}"#, ttl.0), *ttl)))
}

/// What puts a request into the queue: who it is, how many may be there, its text around the instant up to which it is kept,
/// and for how long that is.
fn place(ask: &Ask) -> Result<Vec<String>> {
    let (asker, request_id, ttl, wait, pushed) = match ask {
        Ask::Grant { asker, request_id, ttl, wait: Some(wait) } => (asker, request_id, *ttl, *wait, false),
        Ask::Queue { asker, request_id, ttl, wait } => (asker, request_id, *ttl, *wait, true),
        _ => return Ok(Vec::new()),
    };
    // The script compares what it is given with what it reads out of JSON.
    if !asker.user.is_ascii() {
        return Ok(Vec::new());
    }
    let waiter = json(&Waiter::new(asker, request_id, ttl, UnixMillis(0), pushed))?;
    // No string in JSON has a bare quote in it.
    let (head, tail) = waiter.split_once(r#""until":0"#).ok_or_else(unfit)?;
    let most = rules::MOST_WAITING.to_string();
    let kept = wait.0.saturating_add(rules::GRACE.0).to_string();
    let head = format!(r#"{head}"until":"#);
    Ok(vec![asker.user.clone(), request_id.as_str().to_owned(), most, head, tail.to_owned(), kept])
}

/// The first call: what may be done by it alone, or a look.
pub(crate) fn opening(ask: &Ask) -> Result<(&'static str, Vec<String>)> {
    Ok(match (template(ask)?, ask) {
        (Some((head, tail, ttl)), _) => ("o", [vec![head, tail, ttl.0.to_string()], place(ask)?].concat()),
        (None, Ask::Revoke { user, fence }) => ("c", vec![ascii(user), fence.to_string(), rules::CLAIM.0.to_string()]),
        (None, Ask::Renew { user, fence, ttl }) => {
            ("n", vec![ascii(user), fence.to_string(), ttl.map(|ttl| ttl.0.to_string()).unwrap_or_default()])
        }
        (None, _) => ("r", Vec::new()),
    })
}

pub(crate) fn state(raw: &str) -> Result<State> {
    if raw.is_empty() { Ok(State::default()) } else { serde_json::from_str(raw).map_err(|_| unfit()) }
}

fn read(answer: &str) -> Result<Found> {
    let (what, rest) = answer.split_once(' ').unwrap_or((answer, ""));
    match what {
        "g" | "g!" => {
            let lease = state(rest)?.lease.ok_or_else(unfit)?;
            Ok(Found::Granted(lease, what == "g"))
        }
        "f" => Ok(Found::Freed),
        "h" | "h!" => {
            let (pushed, raw) = rest.split_once(' ').ok_or_else(unfit)?;
            let lease = state(raw)?.lease.ok_or_else(unfit)?;
            let ticket = Ticket { user: lease.user.clone(), request_id: lease.request_id.clone() };
            Ok(Found::Passed(Turn { ticket, lease, pushed: pushed == "1" }, what == "h"))
        }
        "p" => {
            let (now, raw) = rest.split_once(' ').ok_or_else(unfit)?;
            let lease = state(raw)?.lease.ok_or_else(unfit)?;
            Ok(Found::Renewed(lease, UnixMillis(now.parse().map_err(|_| unfit())?)))
        }
        "w" | "w!" => Ok(Found::Written(what == "w")),
        "e" => Ok(Found::NoEpoch),
        "s" => {
            let mut words = rest.splitn(3, ' ');
            let mut number = || words.next().and_then(|word| word.parse().ok()).ok_or_else(unfit);
            let (now, highest) = (UnixMillis(number()?), number()?);
            Ok(Found::State { now, highest, raw: words.next().unwrap_or_default().to_owned() })
        }
        _ => Err(unfit()),
    }
}

impl<H: Http + 'static, S: Store, R: Room> RedisLeases<H, S, R> {
    /// The leases of `redis` since the restore of `restored`, with the epochs in `objects` and those who wait in `room`.
    pub fn new(redis: Redis<H>, objects: S, room: R, restored: UnixMillis) -> Self {
        RedisLeases { redis, objects, room, restored }
    }

    /// A key. After a restore they are others than before, so that all leases are over.
    fn key(&self, key: &str) -> String {
        if self.restored.0 == 0 { format!("{TAG}/{key}") } else { format!("{TAG}/{}/{key}", self.restored.0) }
    }

    async fn run(&self, name: &LeaseName, what: &str, more: Vec<String>, is_change: bool) -> Result<String> {
        let keys = [format!("lease/{name}").as_str(), "fences", "due", "losses"].map(|key| self.key(key)).to_vec();
        let arguments = [vec![what.to_owned(), name.to_string()], more].concat();
        let script = Script { text: SCRIPT, sha1: SHA1, mark: MARK, keys, arguments, in_full: false };
        self.redis.call(script, is_change).await
    }

    /// Gives this life of the Redis an epoch above those of all before.
    async fn begin(&self, name: &LeaseName) -> Result<()> {
        let mut random = [0_u8; 12];
        self.redis.http().fill(&mut random);
        let nonce = STANDARD.encode(random);
        let nonce = self.run(name, "b", vec![nonce], true).await?;
        let nonce = nonce.strip_prefix("n ").ok_or_else(unfit)?.to_owned();
        let epoch = self.next_epoch().await?;
        self.run(name, "e", vec![nonce, epoch.to_string()], true).await.map(drop)
    }

    /// Has somebody look after the leases that end by themselves. Where that fails, the next grant tries again.
    async fn see_to(&self, is_watched: bool) {
        if !is_watched {
            let _ = self.room.watch().await;
        }
    }

    /// A number that was never given before, kept in an object. The first is 0, or after a restore, which may have brought that
    /// object back, one that is high enough: it is assumed that between two restores no more than one Redis an hour began.
    async fn next_epoch(&self) -> Result<u64> {
        let floor = restored::fence(self.restored).div_ceil(EPOCH_FENCES);
        for _ in 0..TRIES {
            let found = self.objects.apply(Shard::of(EPOCH), vec![Op::get(EPOCH)]).await?.entries().next().flatten();
            let (next, condition) = match found {
                None => (floor, Condition::Absent),
                Some(Entry { value, version, .. }) => {
                    let last: u64 = serde_json::from_slice(&value).map_err(|_| unfit())?;
                    (last.saturating_add(1).max(floor), Condition::Version(version))
                }
            };
            let value = next.to_string().into_bytes();
            let put = Op::Put { key: EPOCH.to_owned(), value, condition, expires: None };
            if let Applied::Done(_) = self.objects.apply(Shard::of(EPOCH), vec![put]).await? {
                return Ok(next);
            }
        }
        Err(contended())
    }

    async fn first(&self, name: &LeaseName, ask: &Ask) -> Result<Found> {
        let (what, more) = opening(ask)?;
        read(&self.run(name, what, more, what != "r").await?)
    }

    /// One transition.
    async fn step(&self, name: &LeaseName, ask: &Ask) -> Result<Answer> {
        let mut found = self.first(name, ask).await?;
        for tries in 1..=TRIES {
            let (now, highest, raw) = match found {
                Found::Granted(lease, is_watched) => {
                    self.see_to(is_watched).await;
                    let at = lease.granted;
                    return Ok(Answer { told: Told::Granted { lease, again: false }, at });
                }
                // When exactly does not matter to anybody.
                Found::Freed => return Ok(Answer { told: Told::Freed, at: self.redis.http().now() }),
                Found::Passed(turn, is_watched) => {
                    let at = turn.lease.granted;
                    // A wake-up that is lost costs its sleeper a nap.
                    let _ = self.room.wake(name, turn).await;
                    self.see_to(is_watched).await;
                    return Ok(Answer { told: Told::Freed, at });
                }
                Found::Renewed(lease, at) => return Ok(Answer { told: Told::Renewed(lease), at }),
                Found::NoEpoch => {
                    self.begin(name).await?;
                    found = self.first(name, ask).await?;
                    continue;
                }
                Found::Written(_) => return Err(unfit()),
                Found::State { now, highest, raw } => (now, highest, raw),
            };
            let before = state(&raw)?;
            let (mut after, mut fence) = (before.clone(), highest);
            let done = rules::step(name, &mut after, &mut fence, now, ask)?;
            let answer = Answer { told: done.told, at: now };
            if after == before {
                return Ok(answer);
            }
            // What was live when it was judged has to be live when it is written, and what was over has to be over: the clock
            // may have been set back.
            let (mut since, mut until) = (String::new(), String::new());
            if let Some(lease) = &before.lease {
                let bound = if lease.expires > now { &mut until } else { &mut since };
                *bound = lease.expires.0.to_string();
            }
            let written = if after.is_empty() { String::new() } else { json(&after)? };
            let due = after.lease.as_ref().map(|lease| lease.expires.0.to_string());
            let mut more =
                vec![raw, written, highest.to_string(), fence.to_string(), since, until, due.unwrap_or_default()];
            for loss in &done.losses {
                more.push(STANDARD.encode(json(loss)?));
            }
            // Sent twice it is written once, since then the state is another.
            found = read(&self.run(name, "s", more, ask.is_change()).await?)?;
            if let Found::Written(is_watched) = found {
                self.see_to(is_watched).await;
                for turn in done.turns {
                    // A wake-up that is lost costs its sleeper a nap.
                    let _ = self.room.wake(name, turn).await;
                }
                return Ok(answer);
            }
            // Somebody was faster: not all at once again.
            self.redis.http().pause(backoff(self.redis.http(), tries, PAUSE, MOST_PAUSE)).await;
        }
        Err(contended())
    }

    /// What has to be done about leases that nobody asks for, once `told` can go: ends what is over, and gives what holders
    /// have to be told, with the text by which it can go, and how long until the next lease ends. `is_last` says that nobody
    /// looks again where there is neither.
    pub async fn sweep(
        &self,
        limit: u64,
        told: Vec<String>,
        is_last: bool,
    ) -> Result<(Vec<(String, Loss)>, Option<Ttl>)> {
        let is_change = !told.is_empty();
        let keys = ["due", "losses", "fences"].map(|key| self.key(key)).to_vec();
        let arguments = [vec![limit.to_string(), u8::from(is_last).to_string()], told].concat();
        let script = Script { text: SWEEP, sha1: SWEEP_SHA1, mark: MARK, keys, arguments, in_full: false };
        let answer = self.redis.call(script, is_change).await?;
        let mut words = answer.strip_prefix("d ").ok_or_else(unfit)?.split(' ');
        let next = words.next().filter(|word| *word != "-").map(|word| word.parse().map(Ttl).map_err(|_| unfit()));
        let over = words.next().filter(|word| *word != "-").unwrap_or_default();
        let losses = words
            .map(|text| {
                let loss = STANDARD.decode(text).ok().and_then(|json| serde_json::from_slice(&json).ok());
                loss.map(|loss| (text.to_owned(), loss)).ok_or_else(unfit)
            })
            .collect::<Result<Vec<_>>>()?;
        for name in over.split(',').filter_map(LeaseName::parse) {
            self.step(&name, &Ask::LookUp).await?;
        }
        Ok((losses, next.transpose()?))
    }
}

fn contended() -> Error {
    Error::new(Kind::Unavailable, "the lease is being changed; try again").retry_after(Ttl::from_secs(1))
}

impl<H: Http + 'static, S: Store, R: Room> Leases for RedisLeases<H, S, R> {
    async fn ask(&self, name: &LeaseName, mut ask: Ask) -> Result<Answer> {
        let mut answer = self.step(name, &ask).await?;
        let Ask::Grant { asker, request_id, wait: Some(wait), .. } = &ask else { return Ok(answer) };
        let ticket = Ticket { user: asker.user.clone(), request_id: request_id.clone() };
        let mut left = (*wait).min(LONGEST_CALL);
        while let Told::Held { lease, position } = &answer.told
            && left.0 > 0
        {
            // Those who are next look when the lease ends; for the others that would be a crowd.
            let ends = Ttl(answer.at.until(lease.expires).0.saturating_add(1));
            let nap = if *position <= NEXT { left.min(NAP).min(ends) } else { left };
            let passed = self.room.sleep(name, &ticket, nap).await?;
            // What has passed to it since it last looked is what another look would find. (A wake-up may be an old one.)
            if let Some(passed) = passed.filter(|passed| passed.fence > lease.fence && passed.granted >= answer.at) {
                let at = passed.granted;
                return Ok(Answer { told: Told::Granted { lease: passed, again: true }, at });
            }
            left = Ttl(left.0.saturating_sub(nap.0));
            ask.waited(nap);
            answer = self.step(name, &ask).await?;
        }
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use sha1::{Digest, Sha1};

    use super::*;
    use crate::lease::{Asker, RequestId, USUAL};

    /// Servers keep scripts under these names.
    #[test]
    fn the_names_of_the_scripts_are_their_sha1() {
        for (text, name) in [(SCRIPT, SHA1), (SWEEP, SWEEP_SHA1)] {
            let digest: String = Sha1::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(digest, name);
        }
    }

    /// Epochs after a restore are above it, whichever of the two kept the leases before, and there is room for more.
    #[test]
    fn epochs_go_on_above_a_restore() {
        for at in [1_764_000_000_000, 7_258_118_400_000] {
            let epoch = restored::fence(UnixMillis(at)).div_ceil(EPOCH_FENCES);
            assert!(epoch * EPOCH_FENCES >= restored::fence(UnixMillis(at)));
            assert!((epoch + 100_000) * EPOCH_FENCES < crate::time::MAX_SAFE, "{at}");
        }
    }

    /// What the script puts together is what the rules would have written.
    #[test]
    fn a_fresh_grant_has_the_state_of_the_rules() {
        let asker = Asker { user: "u-1".into(), name: "Zoë \"Z\" 🦊 Ö".into() };
        let request_id = RequestId::parse("r").unwrap();
        let ask = Ask::Grant { asker, request_id, ttl: USUAL, wait: None };
        let (head, tail, ttl) = template(&ask).unwrap().unwrap();
        let now = UnixMillis(1_764_000_000_000);
        let made = format!(r#"{head}7,"granted":{},"expires":{}{tail}"#, now.0, now.plus(ttl).0);
        assert!(made.is_ascii());
        let (mut expected, mut highest) = (State::default(), 6);
        rules::step(&LeaseName::parse("n").unwrap(), &mut expected, &mut highest, now, &ask).unwrap();
        assert_eq!((state(&made).unwrap(), made), (expected.clone(), json(&expected).unwrap()));
    }

    /// What the script puts into the queue is what the rules would have.
    #[test]
    fn a_place_in_the_queue_has_the_text_of_the_rules() {
        let asker = Asker { user: "u-2".into(), name: "\"until\":0 Ö".into() };
        let request_id = RequestId::parse("r").unwrap();
        let wait = Ttl::from_secs(30);
        for pushed in [false, true] {
            let (asker, request_id) = (asker.clone(), request_id.clone());
            let ask = match pushed {
                false => Ask::Grant { asker, request_id, ttl: USUAL, wait: Some(wait) },
                true => Ask::Queue { asker, request_id, ttl: USUAL, wait },
            };
            let more = place(&ask).unwrap();
            let [_, _, _, head, tail, kept] = &more[..] else { panic!() };
            let now = UnixMillis(1_764_000_000_000);
            let holder = Asker { user: "u-1".into(), name: "N".into() };
            let held = Ask::Grant { asker: holder, request_id: RequestId::parse("h").unwrap(), ttl: USUAL, wait: None };
            let (name, mut expected, mut highest) = (LeaseName::parse("n").unwrap(), State::default(), 6);
            rules::step(&name, &mut expected, &mut highest, now, &held).unwrap();
            let before = json(&expected).unwrap();
            rules::step(&name, &mut expected, &mut highest, now, &ask).unwrap();
            let until = now.0 + kept.parse::<u64>().unwrap();
            let made = format!(r#"{},"queue":[{head}{until}{tail}]}}"#, before.strip_suffix('}').unwrap());
            assert_eq!((state(&made).unwrap(), made), (expected.clone(), json(&expected).unwrap()));
        }
    }
}
