//! Kubernetes quantities (`500m`, `2.5Gi`, `1e3`) as integers.
//!
//! Source: the Kubernetes page "Quantity".

/// A quantity in thousandths, rounded up; none if it is not one or is beyond 2^63 whole units.
pub fn parse_milli(text: &str) -> Option<i128> {
    let text = text.trim();
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty())
        || fraction.contains('.')
        || whole.len() > 19
        || fraction.len() > 9
    {
        return None;
    }
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let fraction: i128 = format!("{fraction:0<9}").parse().ok()?;
    let nano = whole * 1_000_000_000 + fraction;
    let (multiplier, divisor) = scale(suffix)?;
    let nano = nano.checked_mul(multiplier)?;
    let milli = nano.checked_add(divisor * 1_000_000 - 1)? / (divisor * 1_000_000);
    (milli <= i128::from(i64::MAX) * 1_000).then_some(if negative { -milli } else { milli })
}

/// A quantity in whole units, rounded up.
pub fn parse_whole(text: &str) -> Option<i128> {
    let milli = parse_milli(text)?;
    Some(milli.div_euclid(1_000) + i128::from(milli.rem_euclid(1_000) != 0))
}

/// A suffix as multiplier and divisor.
fn scale(suffix: &str) -> Option<(i128, i128)> {
    const KIBI: i128 = 1024;
    Some(match suffix {
        "" => (1, 1),
        "n" => (1, 1_000_000_000),
        "u" => (1, 1_000_000),
        "m" => (1, 1_000),
        "k" => (1_000, 1),
        "M" => (1_000_000, 1),
        "G" => (1_000_000_000, 1),
        "T" => (1_000_000_000_000, 1),
        "P" => (1_000_000_000_000_000, 1),
        "E" => (1_000_000_000_000_000_000, 1),
        "Ki" => (KIBI, 1),
        "Mi" => (KIBI.pow(2), 1),
        "Gi" => (KIBI.pow(3), 1),
        "Ti" => (KIBI.pow(4), 1),
        "Pi" => (KIBI.pow(5), 1),
        "Ei" => (KIBI.pow(6), 1),
        _ => {
            let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            let power = 10i128.checked_pow(exponent.unsigned_abs()).filter(|_| exponent.abs() <= 18)?;
            if exponent < 0 { (1, power) } else { (power, 1) }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_with_their_suffixes() {
        for (text, milli) in [
            ("1", Some(1_000)),
            ("500m", Some(500)),
            ("0.1", Some(100)),
            (".5", Some(500)),
            ("1.5Gi", Some(1_610_612_736_000)),
            ("2k", Some(2_000_000)),
            ("1e3", Some(1_000_000)),
            ("5E-1", Some(500)),
            ("1n", Some(1)),
            ("-1", Some(-1_000)),
            ("", None),
            (".", None),
            ("1.2.3", None),
            ("one", None),
            ("1x", None),
            ("1e99", None),
            ("99999999999999999999", None),
            ("9999999999999999999E", None),
        ] {
            assert_eq!(parse_milli(text), milli, "{text:?}");
        }
        assert_eq!(parse_whole("1500m"), Some(2));
    }
}
