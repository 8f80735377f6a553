//! A checker of histories: whether what the concurrent clients of one lease were told could have come from a lease that does
//! one thing at a time.
//!
//! To order operations between their calls and returns is NP-complete in general, and a search gives up where many outcomes
//! are unknown. It is not needed here. Gibbons and Korach (Testing Shared Memories, SIAM Journal on Computing 26, 1997) show
//! that linearizability is decided in polynomial time where it is known which write each read saw and in which order the
//! writes came. A lease is such a memory: every grant writes a value of its own, the fence; every answer names the fence that
//! it saw; and fences grow, so that their order is the order of the grants. The operations that saw one fence are a cluster:
//! first its grant, then what found it live, then its end. There is an order of all operations exactly where no operation was
//! called after another had returned that has to come later, which is asked of each pair. On top of it come the laws of the
//! lease itself: what ends has a cause (its time, a revocation, a break, a wipe), which is looked for among everything that
//! was possible. The time is quadratic in the operations.
//!
//! An operation whose outcome its client does not know may have taken effect at any time after its call, or never: it orders
//! nothing, and is a cause of whatever it could have caused.

/// What a client asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    Grant {
        user: String,
        request: String,
    },
    Renew {
        user: String,
        fence: u64,
        ttl: u64,
    },
    Revoke {
        user: String,
        fence: u64,
    },
    Break {
        fence: u64,
    },
    Look,
    /// A write to what the lease guards.
    Commit {
        fence: u64,
    },
}

/// A live lease, as an answer tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    pub fence: u64,
    pub user: String,
    pub request: String,
    pub expires: u64,
}

/// What the answer says of the lease at one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Saw {
    /// It was free and is the asker's now.
    New(Life),
    /// It is the asker's: granted before, or renewed.
    Own(Life),
    /// It is live.
    Live(Life),
    /// The asker ended it.
    Ended,
    /// It is not the asker's by this fence, or no longer.
    Lost,
    /// It is free.
    Free,
    /// The write was made.
    Committed,
    /// The write was refused.
    Refused,
}

/// One operation.
#[derive(Clone, Debug)]
pub struct Operation {
    pub asked: Asked,
    /// `None` where its client does not know.
    pub saw: Option<Saw>,
    /// The instant that the answer names, by the backend's clock.
    pub at: Option<u64>,
    /// Its place among all calls and returns of the history.
    pub called: u64,
    /// The same; the last one where it never returned.
    pub returned: u64,
}

/// What was recorded of one lease.
#[derive(Clone, Debug, Default)]
pub struct History {
    pub operations: Vec<Operation>,
    /// Readings of the backend's clock, each in force from its place on.
    pub clock: Vec<(u64, u64)>,
    /// The places at which the backend lost its data.
    pub wipes: Vec<u64>,
}

/// The law that a history breaks, and the operations over which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub law: &'static str,
    pub operations: Vec<usize>,
}

impl Operation {
    fn life(&self) -> Option<&Life> {
        match &self.saw {
            Some(Saw::New(life) | Saw::Own(life) | Saw::Live(life)) => Some(life),
            _ => None,
        }
    }

    /// The fence that it saw, and which part of that fence's life: its beginning, its course, its end.
    fn level(&self) -> Option<(u64, u8)> {
        match (&self.saw, &self.asked) {
            (Some(Saw::New(life)), _) => Some((life.fence, 0)),
            (Some(Saw::Own(life) | Saw::Live(life)), _) => Some((life.fence, 1)),
            (Some(Saw::Ended), Asked::Revoke { fence, .. } | Asked::Break { fence }) => Some((*fence, 2)),
            _ => None,
        }
    }

    /// The fence of a commit that was made.
    fn committed(&self) -> Option<u64> {
        match (&self.asked, &self.saw) {
            (Asked::Commit { fence }, Some(Saw::Committed)) => Some(*fence),
            _ => None,
        }
    }

    /// The fence that it was told is not live, or not the account's where one is named.
    fn lost(&self) -> Option<(Option<&str>, u64)> {
        match (&self.asked, &self.saw) {
            (Asked::Renew { user, fence, .. } | Asked::Revoke { user, fence }, Some(Saw::Lost)) => {
                Some((Some(user), *fence))
            }
            (Asked::Break { fence }, Some(Saw::Lost)) => Some((None, *fence)),
            _ => None,
        }
    }

    /// Whether it has to come before `later` because it had returned.
    fn precedes(&self, later: &Operation) -> bool {
        self.returned < later.called
    }
}

impl History {
    /// The lowest and highest reading of the clock between two places.
    fn clock(&self, from: u64, to: u64) -> (u64, u64) {
        let first = self.clock.partition_point(|(place, _)| *place <= from).saturating_sub(1);
        let within = self.clock[first..].iter().take_while(|(place, _)| *place <= to).map(|(_, reading)| *reading);
        within.fold((u64::MAX, 0), |(low, high), reading| (low.min(reading), high.max(reading)))
    }

    /// Whether anything could have ended the lease of `fence` before the operation `by` took effect. Everything that found it
    /// live comes before that.
    fn could_have_ended(&self, fence: u64, by: &Operation) -> bool {
        let seen: Vec<&Operation> =
            self.operations.iter().filter(|one| one.life().is_some_and(|life| life.fence == fence)).collect();
        let Some(since) = seen.iter().map(|one| one.called).min() else { return true };
        if self.wipes.iter().any(|place| (since..=by.returned).contains(place)) {
            return true;
        }
        let freed = |one: &&Operation| match &one.asked {
            Asked::Revoke { fence: of, .. } | Asked::Break { fence: of } => *of == fence && one.saw != Some(Saw::Lost),
            _ => false,
        };
        if self.operations.iter().filter(freed).any(|one| one.called <= by.returned) {
            return true;
        }
        // When it was to end: what was told last; by a renewal of which nobody knows, whatever that could have made it.
        let told = seen.iter().filter(|one| !seen.iter().any(|after| one.precedes(after)));
        let told = told.filter_map(|one| one.life()).map(|life| life.expires);
        let unknown = self.operations.iter().filter(|one| one.saw.is_none() && one.called <= by.returned);
        let unknown = unknown.filter_map(|one| match one.asked {
            Asked::Renew { fence: of, ttl, .. } if of == fence => Some(self.clock(one.called, by.returned).0 + ttl),
            _ => None,
        });
        let live_at = seen.iter().map(|one| one.called).max().unwrap_or(since);
        told.chain(unknown).min().is_none_or(|ends| self.clock(live_at, by.returned).1 >= ends)
    }

    /// Whether the lease that `by` renewed or ended had ended before that: whatever anybody can have made of it, its time was
    /// over.
    fn was_over(&self, by_at: usize, by: &Operation) -> bool {
        let fence = match (&by.asked, &by.saw) {
            (Asked::Renew { fence, .. }, Some(Saw::Own(_))) => *fence,
            (Asked::Revoke { fence, .. } | Asked::Break { fence }, Some(Saw::Ended)) => *fence,
            _ => return false,
        };
        let others = self.operations.iter().enumerate().filter(|(at, one)| *at != by_at && one.called <= by.returned);
        let others: Vec<&Operation> = others.map(|(_, one)| one).collect();
        let seen = || others.iter().filter(|one| one.life().is_some_and(|life| life.fence == fence));
        if !seen().any(|one| one.precedes(by)) {
            return false;
        }
        // What was told before another was told before it counts no more.
        let told = seen().filter(|one| !seen().any(|after| one.precedes(after) && after.precedes(by)));
        let told = told.filter_map(|one| one.life()).map(|life| life.expires);
        let unknown = others.iter().filter_map(|one| match one.asked {
            Asked::Renew { fence: of, ttl, .. } if of == fence && one.saw.is_none() => {
                Some(self.clock(one.called, by.returned).1 + ttl)
            }
            _ => None,
        });
        told.chain(unknown).max().is_some_and(|ends| ends <= self.clock(by.called, by.returned).0)
    }

    /// The fences that were certainly granted before `operation` was called, or that it says came before it.
    fn over_by(&self, operation: &Operation) -> Vec<u64> {
        let before = |one: &&Operation| match (operation.level(), one.level()) {
            (Some((later, _)), Some((fence, _))) => fence < later,
            (None, Some(_)) => one.precedes(operation),
            _ => false,
        };
        let mut fences: Vec<u64> =
            self.operations.iter().filter(before).filter_map(|one| one.life()).map(|life| life.fence).collect();
        fences.sort_unstable();
        fences.dedup();
        fences
    }
}

fn broken(law: &'static str, operations: &[usize]) -> Result<(), Violation> {
    Err(Violation { law, operations: operations.to_vec() })
}

/// Whether `history` is one of a lease: decided, always.
pub fn check(history: &History) -> Result<(), Violation> {
    for (at, one) in history.operations.iter().enumerate() {
        alone(history, at, one)?;
        for (other_at, other) in history.operations.iter().enumerate() {
            pair((at, one), (other_at, other))?;
        }
    }
    for (at, one) in history.operations.iter().enumerate() {
        ends_have_causes(history, at, one)?;
    }
    Ok(())
}

/// What one answer says by itself.
fn alone(history: &History, at: usize, one: &Operation) -> Result<(), Violation> {
    if history.was_over(at, one) {
        return broken("a lease lives no longer than it was granted and renewed for", &[at]);
    }
    if let Some(instant) = one.at {
        let (low, high) = history.clock(one.called, one.returned);
        if !(low..=high).contains(&instant) {
            return broken("an answer is of an instant between call and return", &[at]);
        }
        if one.life().is_some_and(|life| life.expires <= instant) {
            return broken("a lease that is over is not told of as live", &[at]);
        }
    }
    let is_theirs = match (&one.asked, &one.saw) {
        (Asked::Grant { user, request }, Some(Saw::New(life) | Saw::Own(life))) => {
            life.user == *user && life.request == *request
        }
        (Asked::Renew { user, fence, .. }, Some(Saw::Own(life))) => life.user == *user && life.fence == *fence,
        _ => true,
    };
    if !is_theirs {
        return broken("what is told to be the asker's is the asker's", &[at]);
    }
    if let (Asked::Grant { user, request }, Some(Saw::Live(life))) = (&one.asked, &one.saw)
        && (&life.user, &life.request) == (user, request)
    {
        return broken("a retry gets the grant of its request", &[at]);
    }
    if let (Asked::Commit { fence }, Some(Saw::Refused)) = (&one.asked, &one.saw) {
        let shown = |other: &&Operation| match other.asked {
            Asked::Commit { fence: higher } => higher > *fence && other.saw != Some(Saw::Refused),
            _ => false,
        };
        if !history.operations.iter().filter(shown).any(|other| other.called <= one.returned) {
            return broken("a write is refused only after one by a higher fence", &[at]);
        }
    }
    Ok(())
}

/// What two answers say of each other.
fn pair((at, one): (usize, &Operation), (other_at, other): (usize, &Operation)) -> Result<(), Violation> {
    let both = [at, other_at];
    if let (Some(level), Some(later)) = (one.level(), other.level())
        && level < later
        && other.precedes(one)
    {
        return broken(
            if level.0 < later.0 {
                "fences grow in the order of the grants"
            } else {
                "what has ended is not live again"
            },
            &both,
        );
    }
    if let (Some(fence), Some(higher)) = (one.committed(), other.committed())
        && fence < higher
        && other.precedes(one)
    {
        return broken("a write by a lower fence than one before it is refused", &both);
    }
    if let (Some(life), Some(same)) = (one.life(), other.life())
        && life.fence == same.fence
        && (&life.user, &life.request) != (&same.user, &same.request)
    {
        return broken("a fence is given to one request", &both);
    }
    if at < other_at && one.level().is_some_and(|(_, part)| part != 1) && one.level() == other.level() {
        return broken("a lease begins once and ends once", &both);
    }
    // Who held it is known by its fence; a revocation that took effect was the holder's.
    if let (Asked::Revoke { user, fence }, Some(Saw::Ended), Some(life)) = (&one.asked, &one.saw, other.life())
        && life.fence == *fence
        && life.user != *user
    {
        return broken("only the holder revokes", &both);
    }
    if let (Some((user, fence)), Some((of, _))) = (one.lost(), other.level())
        && of == fence
        && user.is_none_or(|user| other.life().is_none_or(|life| life.user == user))
        && one.precedes(other)
    {
        return broken("what was lost is not live again", &both);
    }
    Ok(())
}

/// A free lease, a lost one and one with a higher fence all say that the one before has ended.
fn ends_have_causes(history: &History, at: usize, one: &Operation) -> Result<(), Violation> {
    if let Some(Saw::Free) = one.saw {
        for fence in history.over_by(one) {
            let again = |other: &Operation| other.level().is_some_and(|(of, _)| of == fence) && one.precedes(other);
            if let Some(other_at) = history.operations.iter().position(again) {
                return broken("what was free is not live again by the same fence", &[at, other_at]);
            }
            if !history.could_have_ended(fence, one) {
                return broken("a lease is free only when it has ended", &[at]);
            }
        }
    }
    if let Some(Saw::New(_) | Saw::Own(_) | Saw::Live(_) | Saw::Ended) = one.saw {
        for fence in history.over_by(one) {
            if !history.could_have_ended(fence, one) {
                return broken("a lease is granted only when the one before has ended", &[at]);
            }
        }
    }
    if let Some((user, fence)) = one.lost() {
        let live = |other: &Operation| {
            other.life().is_some_and(|life| life.fence == fence && user.is_none_or(|user| life.user == user))
        };
        let before = history.operations.iter().any(|other| live(other) && other.precedes(one));
        if before && !history.could_have_ended(fence, one) {
            return broken("a lease is lost only when it has ended", &[at]);
        }
    }
    Ok(())
}
