//! Stores with one thing wrong each: every one breaks a law, or the laws would be worth nothing.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    ExpiresLate,
    ExpiresEarly,
    NeverExpires,
    CreatesAgain,
    IgnoresVersions,
    RunsStepByStep,
    RunsBackwards,
    LosesAByte,
    FoldsKeys,
    NumbersBeginAgain,
    SharesShards,
    ForgetsMany,
}

struct Mutant {
    memory: Memory<DrivenClock>,
    wrong: Wrong,
    /// The numbers of before the last deletion.
    gone: Cell<u64>,
    highest: Cell<u64>,
    puts: Cell<u32>,
}

impl Mutant {
    fn spoil(&self, op: &mut Op) {
        let Op::Put { key, value, condition, expires } = op else {
            if let Op::Get { key } | Op::Check { key, .. } | Op::Delete { key, .. } = op
                && self.wrong == Wrong::FoldsKeys
            {
                *key = key.trim().to_owned();
            }
            if let Op::Check { condition, .. } | Op::Delete { condition, .. } = op {
                self.spoil_condition(condition);
            }
            return;
        };
        self.spoil_condition(condition);
        self.puts.set(self.puts.get() + 1);
        match self.wrong {
            Wrong::ExpiresLate => *expires = expires.map(|at| UnixMillis(at.0 + 1)),
            Wrong::ExpiresEarly => *expires = expires.map(|at| UnixMillis(at.0 - 1)),
            Wrong::NeverExpires => *expires = None,
            Wrong::LosesAByte if value.len() > 300 => drop(value.pop()),
            Wrong::FoldsKeys => *key = key.trim().to_owned(),
            Wrong::ForgetsMany if self.puts.get() == 5_000 => *key = "elsewhere".to_owned(),
            _ => {}
        }
    }

    fn spoil_condition(&self, condition: &mut Condition) {
        match (self.wrong, *condition) {
            (Wrong::CreatesAgain, Condition::Absent) | (Wrong::IgnoresVersions, Condition::Version(_)) => {
                *condition = Condition::Always;
            }
            (Wrong::NumbersBeginAgain, Condition::Version(version)) => {
                *condition = Condition::Version(version + self.gone.get());
            }
            _ => {}
        }
    }
}

impl Store for Mutant {
    async fn apply(&self, shard: Shard, mut batch: Vec<Op>) -> Result<Applied> {
        let deletes = batch.iter().any(|op| matches!(op, Op::Delete { .. }));
        batch.iter_mut().for_each(|op| self.spoil(op));
        if self.wrong == Wrong::RunsBackwards {
            batch.reverse();
        }
        let shard = if self.wrong == Wrong::SharesShards { SHARD() } else { shard };
        let mut applied = if self.wrong == Wrong::RunsStepByStep {
            let mut replies = Vec::new();
            for (step, op) in batch.into_iter().enumerate() {
                match self.memory.apply(shard, vec![op]).await? {
                    Applied::Done(reply) => replies.extend(reply),
                    Applied::Refused { .. } => return Ok(Applied::Refused { step }),
                }
            }
            Applied::Done(replies)
        } else {
            self.memory.apply(shard, batch).await?
        };
        if let Applied::Done(replies) = &mut applied {
            for reply in replies.iter_mut() {
                if let OpReply::Wrote(version) | OpReply::Got(Some(Entry { version, .. })) = reply {
                    self.highest.set(self.highest.get().max(*version));
                    if self.wrong == Wrong::NumbersBeginAgain {
                        *version -= self.gone.get().min(*version);
                    }
                }
            }
            if self.wrong == Wrong::RunsBackwards {
                replies.reverse();
            }
            if deletes {
                self.gone.set(self.highest.get());
            }
        }
        Ok(applied)
    }
}

#[test]
fn whatever_is_wrong_breaks_a_law() {
    use Wrong::*;
    let all = [
        ExpiresLate,
        ExpiresEarly,
        NeverExpires,
        CreatesAgain,
        IgnoresVersions,
        RunsStepByStep,
        RunsBackwards,
        LosesAByte,
        FoldsKeys,
        NumbersBeginAgain,
        SharesShards,
        ForgetsMany,
    ];
    for wrong in all {
        let clock = Rc::new(DrivenClock(Cell::new(1_000_000)));
        let memory = Memory::new(Rc::clone(&clock));
        let mutant = Mutant { memory, wrong, gone: Cell::new(0), highest: Cell::new(0), puts: Cell::new(0) };
        let held = |future| catch_unwind(AssertUnwindSafe(|| block_on(future))).is_ok();
        let broken: Vec<&str> =
            laws(&mutant, &clock).into_iter().filter_map(|(law, future)| (!held(future)).then_some(law)).collect();
        println!("{wrong:?} breaks {broken:?}");
        assert!(!broken.is_empty(), "{wrong:?} breaks no law");
        assert!(broken.len() < 12, "{wrong:?} is no single fault");
    }
}
