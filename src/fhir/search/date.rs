//! Dates as ranges of time, and the prefixes of a search by date (R4 section 3.1.1.4.7).
//!
//! Invariant: a range that is wider than a day is kept twice, under the parameter's number and under that of its wide ones.
//! So whatever ends after an instant either begins less than a day before it, or is among the wide ones: a criterion is a few
//! ranges of begins, in their order, and never "everything from the beginning on".

use jiff::civil;

use super::super::json::Json;
use super::{Key, Piece, Test};
use crate::time::{MAX_SAFE, UnixMillis};

/// A day in milliseconds.
pub(super) const DAY: u64 = 24 * 60 * 60 * 1_000;
/// From 0001-01-01 to 1970-01-01 in milliseconds: 719,162 days.
const ERA: u64 = 719_162 * 24 * 60 * 60 * 1_000;

/// The first and the last millisecond of a time, since 0001-01-01T00:00:00Z; from 1, so that 0 is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) low: u64,
    pub(super) high: u64,
}

/// The instant at which it is `at` in a zone that is `ahead` milliseconds ahead of UTC.
fn since_era(at: civil::DateTime, ahead: i128) -> u64 {
    let era = civil::Date::constant(1, 1, 1).at(0, 0, 0, 0);
    u64::try_from(at.duration_since(era).as_millis().saturating_sub(ahead)).unwrap_or(0).max(1)
}

/// An instant of now as the index counts it.
pub(super) fn instant(at: UnixMillis) -> u64 {
    at.0.saturating_add(ERA).min(MAX_SAFE)
}

fn digits(text: &str, count: usize) -> Option<(i16, &str)> {
    let (digits, rest) = text.split_at_checked(count)?;
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    if plain { Some((digits.parse().ok()?, rest)) } else { None }
}

fn small(number: i16) -> Option<i8> {
    i8::try_from(number).ok()
}

impl Span {
    /// Reads a `date`, `dateTime` or `instant`; also minutes without seconds and times without a zone (taken for UTC), as a
    /// query may have them.
    pub(super) fn parse(text: &str) -> Option<Span> {
        let (year, rest) = digits(text, 4)?;
        let start = |year, month, day| civil::Date::new(year, month, day).ok().map(|date| date.at(0, 0, 0, 0));
        let within = |from: Option<civil::DateTime>, next: Option<civil::DateTime>| {
            let last = since_era(civil::DateTime::MAX, 0);
            let high = next.map_or(last, |next| since_era(next, 0).saturating_sub(1));
            Some(Span { low: since_era(from?, 0), high })
        };
        if rest.is_empty() {
            return within(start(year, 1, 1), start(year.saturating_add(1), 1, 1));
        }
        let (month, rest) = digits(rest.strip_prefix('-')?, 2)?;
        let month = small(month)?;
        if rest.is_empty() {
            let next = if month == 12 { (year.saturating_add(1), 1) } else { (year, month.saturating_add(1)) };
            return within(start(year, month, 1), start(next.0, next.1, 1));
        }
        let (day, rest) = digits(rest.strip_prefix('-')?, 2)?;
        let date = civil::Date::new(year, month, small(day)?).ok()?;
        if rest.is_empty() {
            return within(Some(date.at(0, 0, 0, 0)), date.tomorrow().ok().map(|next| next.at(0, 0, 0, 0)));
        }
        Span::of_time(date, rest.strip_prefix('T')?)
    }

    fn of_time(date: civil::Date, text: &str) -> Option<Span> {
        let (hour, rest) = digits(text, 2)?;
        let (minute, rest) = digits(rest.strip_prefix(':')?, 2)?;
        let (second, width, millis, rest) = match rest.strip_prefix(':') {
            None => (0, 59_999, 0, rest),
            Some(rest) => {
                let (second, rest) = digits(rest, 2)?;
                match rest.strip_prefix('.') {
                    None => (second, 999, 0, rest),
                    Some(fraction) => {
                        let rest = fraction.trim_start_matches(|each: char| each.is_ascii_digit());
                        let count = fraction.len().saturating_sub(rest.len());
                        let three: String = fraction.chars().take(count).chain("000".chars()).take(3).collect();
                        if count == 0 {
                            return None;
                        }
                        (second, 0, three.parse::<u64>().ok()?, rest)
                    }
                }
            }
        };
        let ahead = match rest {
            "" | "Z" => 0,
            _ => {
                // A query's `+` may have come as a space.
                let sign = if rest.starts_with('-') { -1 } else { 1 };
                let (hours, rest) = digits(rest.strip_prefix(['+', '-', ' '])?, 2)?;
                let (minutes, rest) = digits(rest.strip_prefix(':')?, 2)?;
                if !rest.is_empty() || hours > 14 || minutes > 59 {
                    return None;
                }
                let minutes = i128::from(hours).saturating_mul(60).saturating_add(i128::from(minutes));
                minutes.saturating_mul(60_000).saturating_mul(sign)
            }
        };
        // A leap second is the one before it.
        let time = civil::Time::new(small(hour)?, small(minute)?, small(second.min(59))?, 0).ok()?;
        if second > 60 {
            return None;
        }
        let low = since_era(date.to_datetime(time), ahead).saturating_add(millis);
        Some(Span { low, high: low.saturating_add(width) })
    }

    /// Of a date, a Period or a Timing, whose outer limits count.
    pub(super) fn of(json: &Json) -> Option<Span> {
        if let Some(text) = json.as_str() {
            return Span::parse(text);
        }
        let at = |json: &Json, name: &str| json.get(name).and_then(Json::as_str).and_then(Span::parse);
        let bounds = json.get("repeat").and_then(|repeat| repeat.get("boundsPeriod"));
        let period = bounds.unwrap_or(json);
        let (start, end) = (at(period, "start"), at(period, "end"));
        let ranged = (start.is_some() || end.is_some())
            .then(|| Span { low: start.map_or(1, |start| start.low), high: end.map_or(MAX_SAFE, |end| end.high) });
        let events = json.get("event").map(Json::items).unwrap_or_default();
        let events = events.iter().filter_map(Json::as_str).filter_map(Span::parse);
        events.chain(ranged).reduce(|a, b| Span { low: a.low.min(b.low), high: a.high.max(b.high) })
    }

    pub(super) fn is_wide(self) -> bool {
        self.high.saturating_sub(self.low) > DAY
    }
}

/// The numbers of a date parameter: of all ranges, and of the wide ones.
#[derive(Clone, Copy)]
pub(super) struct Numbers {
    pub(super) all: u32,
    pub(super) wide: u32,
}

/// The pieces that `prefix` and the range of its value make; `None` where there is no such prefix.
pub(super) fn pieces(numbers: Numbers, prefix: &str, value: Span, now: UnixMillis) -> Option<Vec<Piece>> {
    let Span { low, high } = value;
    let after = high.saturating_add(1);
    let top = Key::missing();
    let piece = |parameter, from, to| Piece { parameter, from: Key::Number(from), to, tests: Vec::new() };
    let begins = |from: u64, to: u64| piece(numbers.all, from, Key::Number(to));
    let ends = |piece: Piece, from: u64, to: u64| piece.test(Test::Between(from, to));
    // Whatever begins before `to` and ends at `end` or later, where `end` is not before `to`.
    let over = |to: u64, end: u64| {
        let near = end.saturating_sub(DAY).min(to);
        [ends(piece(numbers.wide, 0, Key::Number(near)), end, MAX_SAFE), ends(begins(near, to), end, MAX_SAFE)]
    };
    Some(match prefix {
        "eq" => vec![ends(begins(low, after), 0, high)],
        "ne" => vec![begins(0, low), ends(piece(numbers.all, low, top), after, MAX_SAFE)],
        "gt" => over(after, after).into_iter().chain([piece(numbers.all, after, top)]).collect(),
        "ge" => over(low, after).into_iter().chain([piece(numbers.all, low, top)]).collect(),
        "lt" => vec![begins(0, low)],
        "le" => vec![begins(0, low), ends(begins(low, after), 0, high)],
        "sa" => vec![piece(numbers.all, after, top)],
        "eb" => vec![ends(begins(0, low), 0, low.saturating_sub(1))],
        // A tenth of the distance from now to either side (section 3.1.1.4.6).
        "ap" => {
            let now = instant(now);
            let tenth = now.abs_diff(low).checked_div(10).unwrap_or_default();
            let (low, after) = (low.saturating_sub(tenth).max(1), after.saturating_add(tenth));
            over(low, low).into_iter().chain([begins(low, after)]).collect()
        }
        _ => return None,
    })
}

/// The pieces of what both `some` and `others` find, of a parameter of which a record has one value at most.
pub(super) fn both(numbers: Numbers, some: &[Piece], others: &[Piece]) -> Vec<Piece> {
    let mut found = Vec::new();
    for one in some {
        for other in others {
            let (from, to) = ((&one.from).max(&other.from).clone(), (&one.to).min(&other.to).clone());
            if from < to {
                let parameter = if one.parameter == other.parameter { one.parameter } else { numbers.wide };
                let tests = one.tests.iter().chain(&other.tests).cloned().collect();
                found.push(Piece { parameter, from, to, tests });
            }
        }
    }
    found
}
