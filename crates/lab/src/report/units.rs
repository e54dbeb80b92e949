//! Numbers for people.

/// A time in the unit that leaves one to three digits before the point, with three significant digits or more.
pub(crate) fn time(nanoseconds: u64) -> String {
    let (scale, unit) = match nanoseconds {
        0..1_000 => return format!("{nanoseconds} ns"),
        1_000..1_000_000 => (1e3, "µs"),
        1_000_000..1_000_000_000 => (1e6, "ms"),
        _ => (1e9, "s"),
    };
    let value = nanoseconds as f64 / scale;
    let digits = if value < 10.0 { 3 } else { 2 };
    format!("{value:.digits$} {unit}")
}

/// A time, or a dash for none.
pub(crate) fn time_or_dash(nanoseconds: Option<u64>) -> String {
    nanoseconds.map_or_else(|| "-".to_owned(), time)
}

/// An amount of money, rounded to cents (half a cent up).
pub(crate) fn dollars(amount: f64) -> String {
    format!("${:.2}", (amount * 100.0).round() / 100.0)
}

/// A quantity with at most two digits behind the point.
pub(crate) fn quantity(amount: f64) -> String {
    let text = format!("{amount:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// `1 route`, `2 routes`.
pub(crate) fn count(number: usize, singular: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {singular}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_fitting_unit() {
        let shown: Vec<String> =
            [0, 999, 1_000, 12_345, 1_000_000, 20_315_000, 350_000_000_000].into_iter().map(time).collect();
        assert_eq!(shown, ["0 ns", "999 ns", "1.000 µs", "12.35 µs", "1.000 ms", "20.32 ms", "350.00 s"]);
        assert_eq!(time_or_dash(None), "-");
    }

    #[test]
    fn quantities_are_short() {
        assert_eq!([dollars(49.275), dollars(0.0)], ["$49.28", "$0.00"]);
        assert_eq!([quantity(2190.0), quantity(0.126), quantity(8.1)], ["2190", "0.13", "8.1"]);
        assert_eq!([count(1, "route"), count(0, "finding")], ["1 route", "0 findings"]);
    }
}
