use super::*;
use crate::config::alerts::Rules;

fn sample(second: u64, value: i64) -> Sample {
    let reading = Reading { parameter: Parameter::HeartRate, value: Milli::whole(value) };
    Sample { patient: "p".into(), at: UnixMillis(second * 1_000), readings: vec![reading] }
}

fn medians(minute: &Minute) -> Vec<i64> {
    minute.medians.get(&Parameter::HeartRate).unwrap().iter().map(|value| value.rounded()).collect()
}

#[test]
fn ten_seconds_are_one_median_and_a_minute_is_kept() {
    let watch = Watch::new(Rules::default());
    let mut minutes = Vec::new();
    for second in 100..=200_u64 {
        let now = UnixMillis(second * 1_000);
        // One outlier in each ten seconds.
        let value = if second % 10 == 5 { 250 } else { second as i64 };
        watch.take(now, &sample(second, value));
        minutes.extend(watch.close(now, "p").map(|minute| (second, minute)));
    }
    assert_eq!(
        minutes.iter().map(|(second, _)| *second).collect::<Vec<_>>(),
        (110..=200).step_by(10).collect::<Vec<_>>()
    );
    let (_, first) = &minutes[0];
    assert_eq!((first.at, medians(first)), (UnixMillis(110_000), vec![106]));
    let (_, last) = &minutes[9];
    assert_eq!(medians(last), [146, 156, 166, 176, 186, 196]);
}

#[test]
fn what_was_measured_long_ago_says_nothing_of_now() {
    let watch = Watch::new(Rules::default());
    watch.take(UnixMillis(100_000), &sample(60, 180));
    assert_eq!((watch.seen("p"), watch.newest("p")), (None, Vec::new()));
    watch.take(UnixMillis(100_000), &sample(75, 80));
    watch.take(UnixMillis(100_000), &sample(74, 90));
    assert_eq!(watch.newest("p")[0].reading.value.rounded(), 80, "the newer one, whatever the order");
    // A clock that goes before ours is ours.
    watch.take(UnixMillis(101_000), &sample(500, 85));
    assert_eq!(watch.newest("p")[0].at, UnixMillis(101_000));
}
