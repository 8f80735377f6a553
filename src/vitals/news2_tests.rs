use super::*;
use crate::time::UnixMillis;
use crate::vitals::Reading;

/// The published chart, row by row as it is printed: the columns 3 2 1 0 1 2 3. `-` where a row has no such column; two
/// ranges in one cell are joined by `,`. What stands after the name says on what the row is asked.
const CHART: &str = "
    respiratory_rate         | <=8    | -      | 9-11      | 12-20         | -         | 21-24     | >=25
    oxygen_saturation 1 air  | <=91   | 92-93  | 94-95     | >=96          | -         | -         | -
    oxygen_saturation 1 o2   | <=91   | 92-93  | 94-95     | >=96          | -         | -         | -
    oxygen_saturation 2 air  | <=83   | 84-85  | 86-87     | 88-92,>=93    | -         | -         | -
    oxygen_saturation 2 o2   | <=83   | 84-85  | 86-87     | 88-92         | 93-94     | 95-96     | >=97
    systolic_pressure        | <=90   | 91-100 | 101-110   | 111-219       | -         | -         | >=220
    heart_rate               | <=40   | -      | 41-50     | 51-90         | 91-110    | 111-130   | >=131
    temperature              | <=35.0 | -      | 35.1-36.0 | 36.1-38.0     | 38.1-39.0 | >=39.1    | -
";
const COLUMNS: [u8; 7] = [3, 2, 1, 0, 1, 2, 3];

fn milli(text: &str) -> i64 {
    let (whole, tenth) = text.split_once('.').unwrap_or((text, "0"));
    whole.parse::<i64>().unwrap() * 1_000 + tenth.parse::<i64>().unwrap() * 100
}

/// The ranges of a cell, in thousandths, ends included.
fn ranges(cell: &str, most: i64) -> Vec<(i64, i64)> {
    let one = |text: &str| match (text.strip_prefix("<="), text.strip_prefix(">="), text.split_once('-')) {
        (Some(high), ..) => (0, milli(high)),
        (_, Some(low), _) => (milli(low), most),
        (.., Some((low, high))) => (milli(low), milli(high)),
        _ => panic!("{text}"),
    };
    if cell == "-" { Vec::new() } else { cell.split(',').map(one).collect() }
}

#[test]
fn every_value_scores_as_the_published_chart_says() {
    let mut asked = 0;
    for row in CHART.lines().map(str::trim).filter(|row| !row.is_empty()) {
        let mut cells = row.split('|').map(str::trim);
        let mut name = cells.next().unwrap().split_whitespace();
        let parameter = Parameter::parse(name.next().unwrap()).unwrap();
        let scale = if name.next() == Some("2") { Scale::Two } else { Scale::One };
        let on_oxygen = name.next() == Some("o2");
        let step = if parameter == Parameter::Temperature { 100 } else { 1_000 };
        let most = parameter.possible().end().0;
        let mut expected: Vec<Option<u8>> = vec![None; usize::try_from(most / step + 1).unwrap()];
        for (cell, column) in cells.zip(COLUMNS) {
            for (low, high) in ranges(cell, most) {
                for at in low / step..=high / step {
                    let slot = &mut expected[usize::try_from(at).unwrap()];
                    assert_eq!(*slot, None, "{row}: two cells for one value");
                    *slot = Some(column);
                }
            }
        }
        for (at, expected) in (0_i64..).zip(expected) {
            let value = Milli(at * step);
            let expected = expected.unwrap_or_else(|| panic!("{row}: no cell for {value:?}"));
            assert_eq!(points(parameter, value, scale, on_oxygen), expected, "{row} at {value:?}");
            asked += 1;
        }
    }
    println!("{asked} values held against the chart");
    assert_eq!(asked, 151 + 4 * 101 + 2 * 401 + 501);
}

#[test]
fn air_oxygen_and_consciousness() {
    use crate::vitals::Consciousness::{Alert, Confused, Pain, Unresponsive, Voice};
    for scale in [Scale::One, Scale::Two] {
        assert_eq!(points(Parameter::SupplementalOxygen, Milli(0), scale, false), 0);
        assert_eq!(points(Parameter::SupplementalOxygen, Milli::whole(1), scale, true), 2);
        for (level, expected) in [(Alert, 0), (Confused, 3), (Voice, 3), (Pain, 3), (Unresponsive, 3)] {
            assert_eq!(points(Parameter::Consciousness, level.value(), scale, false), expected);
        }
    }
}

#[test]
fn values_between_two_of_the_chart_are_rounded_halves_upwards() {
    let table = [
        (Parameter::RespiratoryRate, 20_499, 0),
        (Parameter::RespiratoryRate, 20_500, 2),
        (Parameter::OxygenSaturation, 95_400, 1),
        (Parameter::OxygenSaturation, 95_500, 0),
        (Parameter::Temperature, 35_049, 3),
        (Parameter::Temperature, 35_050, 1),
        (Parameter::Temperature, 39_049, 1),
        (Parameter::Temperature, 39_050, 2),
    ];
    for (parameter, value, expected) in table {
        assert_eq!(points(parameter, Milli(value), Scale::One, false), expected, "{parameter:?} {value}");
    }
}

#[test]
fn every_threshold_of_the_aggregate() {
    for total in 0..=20_u8 {
        for worst in 0..=total.min(3) {
            let expected = match total {
                0 => Risk::None,
                1..=4 if worst == 3 => Risk::LowMedium,
                1..=4 => Risk::Low,
                5 | 6 => Risk::Medium,
                _ => Risk::High,
            };
            assert_eq!(Risk::of(total, worst), expected, "{total} with {worst}");
        }
    }
}

fn latest(parameter: Parameter, value: i64) -> Latest {
    Latest { reading: Reading { parameter, value: Milli::whole(value) }, at: UnixMillis(1), source: "o".into() }
}

#[test]
fn a_whole_set_is_summed_and_a_partial_one_says_what_it_lacks() {
    let set = [
        latest(Parameter::RespiratoryRate, 22),
        latest(Parameter::OxygenSaturation, 93),
        latest(Parameter::SupplementalOxygen, 1),
        latest(Parameter::SystolicPressure, 105),
        latest(Parameter::DiastolicPressure, 20),
        latest(Parameter::HeartRate, 112),
        latest(Parameter::Consciousness, 1),
        latest(Parameter::Temperature, 38),
    ];
    let whole = score(&set, Scale::One).unwrap();
    let points: Vec<u8> = whole.parts.iter().map(|part| part.points).collect();
    assert_eq!((whole.total, whole.risk, points), (12, Risk::High, vec![2, 2, 2, 1, 2, 3, 0]));
    assert!(whole.missing.is_empty());
    // 93 % on oxygen is one point on scale 2 and two on scale 1.
    assert_eq!(score(&set, Scale::Two).unwrap().total, 11);

    let part = score(&set[..2], Scale::One).unwrap();
    assert_eq!((part.total, part.risk), (4, Risk::Low));
    assert_eq!(part.missing, SCORED[2..].to_vec());
    // Scale 2 without knowing of oxygen: as on air, the lower of the two.
    assert_eq!(score(&set[1..2], Scale::Two).unwrap().total, 0);
    assert_eq!(score(&set[4..5], Scale::One), None);
    assert_eq!(score(&[], Scale::One), None);
}
