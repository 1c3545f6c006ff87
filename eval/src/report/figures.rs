//! Numbers as people read them.

use crate::score::Unit;

/// Bytes in binary units, three significant digits or more.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{count} B")
    } else {
        format!("{value:.2} {}", UNITS[unit])
    }
}

/// A count with thin groups of three: `1,430,000`.
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A time: `0.8 s`, `3 min 5 s`, `2 h 10 min`.
pub fn seconds(value: f64) -> String {
    if value < 10.0 {
        return format!("{value:.1} s");
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a wall time in whole seconds"
    )]
    let whole = value.round() as u64;
    match whole {
        0..60 => format!("{whole} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

/// `digits` significant digits, with an exponent only beyond four leading zeros.
pub fn significant(value: f64, digits: usize) -> String {
    let magnitude = value.abs();
    if magnitude <= 0.0 || !magnitude.is_finite() {
        return format!("{value}");
    }
    if !(1e-5..1e9).contains(&magnitude) {
        return format!("{value:.*e}", digits.saturating_sub(1));
    }
    #[expect(clippy::cast_possible_truncation, reason = "between -5 and 9")]
    let leading = magnitude.log10().floor() as i64;
    let decimals = i64::try_from(digits).unwrap_or(6) - 1 - leading;
    format!("{value:.*}", usize::try_from(decimals).unwrap_or(0))
}

/// A figure in the unit of its metric.
pub fn figure(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Plain(decimals) => format!("{value:.decimals$}"),
        Unit::Significant(digits) => significant(value, digits),
        Unit::Share => format!("{:.2} %", value * 100.0),
    }
}

/// A difference in the unit of its metric, always with a sign.
pub fn difference(value: f64, unit: Unit) -> String {
    let text = match unit {
        Unit::Share => format!("{:.2} pt", value * 100.0),
        _ => figure(value, unit),
    };
    let is_zero = !text
        .bytes()
        .any(|byte| byte.is_ascii_digit() && byte != b'0');
    match text.strip_prefix('-') {
        Some(rest) if is_zero => rest.to_owned(),
        Some(rest) => format!("\u{2212}{rest}"),
        None if is_zero => text,
        None => format!("+{text}"),
    }
}

/// What stands where there is no number.
pub(super) const ABSENT: &str = "\u{2013}";

/// The last three parts of a long path; anything else as it is.
pub fn short_path(text: &str) -> String {
    const PARTS: usize = 3;
    let starts = text.rmatch_indices('/').nth(PARTS - 1);
    match starts {
        Some((at, _)) if at > 0 && !text.contains("://") => format!("\u{2026}{}", &text[at..]),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_counts_and_times() {
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(7_077_888), "6.75 MiB");
        assert_eq!(count(1_430_000), "1,430,000");
        assert_eq!(count(12), "12");
        assert_eq!(seconds(0.84), "0.8 s");
        assert_eq!(seconds(185.2), "3 min 5 s");
        assert_eq!(seconds(7800.0), "2 h 10 min");
    }

    #[test]
    fn figures_keep_their_digits() {
        assert_eq!(significant(0.012_345_6, 4), "0.01235");
        assert_eq!(significant(123_456.0, 3), "123456");
        assert_eq!(significant(1.2341e-7, 4), "1.234e-7");
        assert_eq!(significant(0.0, 4), "0");
        assert_eq!(figure(0.830_275, Unit::Share), "83.03 %");
        assert_eq!(difference(-0.0046, Unit::Share), "\u{2212}0.46 pt");
        assert_eq!(difference(0.5, Unit::Plain(4)), "+0.5000");
        assert_eq!(difference(-0.000_01, Unit::Plain(3)), "0.000");
    }

    #[test]
    fn long_paths_are_shortened_to_their_last_parts() {
        assert_eq!(
            short_path("/data/sets/wikitext2/raw/test.txt"),
            "\u{2026}/wikitext2/raw/test.txt"
        );
        for whole in [
            "org/name",
            "a/b/c",
            "/a/b/c",
            "hub:a/b",
            "https://a/b/c/d/e",
        ] {
            assert_eq!(short_path(whole), whole);
        }
    }
}
