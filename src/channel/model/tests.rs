//! The model at work: what must occur, and the mutants that it must catch.

use super::*;

fn run(seed: u64, mutant: Mutant, steps: u64) -> Result<BTreeMap<&'static str, u64>, String> {
    let mut model = Model::new(seed, mutant);
    for step in 0..steps {
        model.step().map_err(|why| format!("seed {seed} step {step}: {why}"))?;
    }
    model.settle().map_err(|why| format!("seed {seed} at the end: {why}"))?;
    Ok(model.counts)
}

#[test]
fn every_event_once_in_order_or_an_announced_gap_on_every_way_to_listen() {
    let mut total: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in 1..=50 {
        for (what, number) in run(seed, Mutant::None, 2_000).unwrap() {
            *total.entry(what).or_default() += number;
        }
    }
    println!("channel model, seeds 1 to 50, 100,000 steps: {total:?}");
    for what in [
        "commits",
        "publications",
        "publications repeated",
        "deliveries swapped",
        "deliveries doubled",
        "deliveries lost",
        "acknowledgements lost",
        "connections",
        "connections cut",
        "polls that wait",
        "windows used up",
        "goodbyes",
        "restarts",
        "disks lost",
        "epochs broken",
        "trims",
        "brief events trimmed before others",
        "clock steps",
        "snapshots",
        "snapshots of an unheard epoch",
        "snapshots ahead of the log",
        "events on sockets",
        "events on streams",
        "events on polls",
        "events on pages",
        "gaps on sockets",
        "gaps on streams",
        "gaps on polls",
        "gaps on pages",
    ] {
        assert!(total.get(what).is_some_and(|number| *number > 0), "{what} never occurred");
    }
}

#[test]
fn the_model_catches_seeded_mutants() {
    for mutant in [
        Mutant::AcknowledgesWhenSent,
        Mutant::SkipsTheOldestRow,
        Mutant::SwapsWithinADelivery,
        Mutant::IgnoresTheEpoch,
        Mutant::IgnoresTheTrim,
        Mutant::TrimsBriefKindsInSilence,
        Mutant::DropsFramesForSlowReaders,
        Mutant::StreamPassesOverGaps,
        Mutant::TakesThePositionTooLate,
        Mutant::TakesThePositionTooEarly,
        Mutant::ForgetsWhatTheSnapshotHas,
        Mutant::RepeatsAPublication,
    ] {
        let caught = (1..=20).find_map(|seed| run(seed, mutant, 2_000).err());
        println!("{mutant:?}: {caught:?}");
        assert!(caught.is_some(), "{mutant:?} was not caught");
    }
}
