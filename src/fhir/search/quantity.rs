//! Decimals as keys, and the prefixes of a search by quantity (R4 section 3.1.1.4.6 and 3.1.1.4.12).

use super::{Key, MISSING};

/// A decimal as text whose order is that of the numbers: the bits of a double, negative ones turned over. Two decimals that
/// differ only after the 15th digit can be alike.
pub(super) fn key(text: &str) -> Option<String> {
    let number: f64 = text.parse().ok()?;
    number.is_finite().then(|| ordered(number))
}

fn ordered(number: f64) -> String {
    let bits = if number == 0.0 { 0 } else { number.to_bits() };
    let ordered = if bits >> 63 == 1 { !bits } else { bits | (1 << 63) };
    format!("{ordered:016x}")
}

/// A decimal of a query.
pub(super) struct Decimal {
    number: f64,
    /// Half a unit of the last digit to either side: what its precision stands for.
    around: (f64, f64),
}

impl Decimal {
    pub(super) fn parse(text: &str) -> Option<Decimal> {
        let shape = text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+' | b'e' | b'E'));
        let number: f64 = text.parse().ok().filter(|number: &f64| shape && number.is_finite())?;
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let exponent: i32 = exponent.parse().ok()?;
        let last = exponent.checked_sub(i32::try_from(fraction.len()).ok()?)?;
        let units: i128 = [whole, fraction].concat().parse().ok()?;
        // Written out and read again, so that it is the nearest double and not a sum of two.
        let edge = |half: i128| {
            let tenths = units.checked_mul(10)?.checked_add(half)?;
            format!("{tenths}e{}", last.checked_sub(1)?).parse::<f64>().ok()
        };
        Some(Decimal { number, around: (edge(-5)?, edge(5)?) })
    }

    /// The ranges of keys that `prefix` stands for; `None` where there is no such prefix here.
    pub(super) fn ranges(&self, prefix: &str) -> Option<Vec<(Key, Key)>> {
        let at = |number: f64| Key::Text(ordered(number));
        let (bottom, top) = (Key::Text(String::new()), Key::Text(MISSING.to_owned()));
        let (low, high) = (at(self.around.0), at(self.around.1));
        let own = at(self.number);
        Some(match prefix {
            "eq" => vec![(low, high)],
            "ne" => vec![(bottom, low), (high, top)],
            "gt" => vec![(own.next(), top)],
            "ge" => vec![(own, top)],
            "lt" => vec![(bottom, own)],
            "le" => vec![(bottom, own.next())],
            "ap" => {
                let tenth = self.number.abs() / 10.0;
                vec![(at(self.number - tenth), at(self.number + tenth).next())]
            }
            _ => return None,
        })
    }
}
