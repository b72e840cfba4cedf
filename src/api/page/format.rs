//! Numbers and times as people read them.

use crate::domain::{Interval, Micros};

const MINUTE_US: i64 = 60_000_000;

/// A time: `2026-01-31 12:00 UTC`.
pub fn time(at_us: Micros) -> String {
    chrono::DateTime::from_timestamp_micros(at_us)
        .map_or_else(|| "unknown time".to_owned(), |t| t.format("%Y-%m-%d %H:%M UTC").to_string())
}

/// How far a time lies back or ahead, in its largest unit.
pub fn distance(at_us: Micros, now_us: Micros) -> String {
    let minutes = (now_us - at_us).abs() / MINUTE_US;
    let size = match minutes {
        0 => return "now".to_owned(),
        1..60 => format!("{minutes} min"),
        60..2_880 => format!("{} h", minutes / 60),
        _ => format!("{} d", minutes / 1_440),
    };
    if at_us <= now_us { format!("{size} ago") } else { format!("in {size}") }
}

/// A share of 1 in per cent; all of it and nothing of it only when that is so.
pub fn percent(share: f64) -> String {
    let tenths = (share * 1000.0).round() / 10.0;
    let tenths = if share < 1.0 { tenths.min(99.9) } else { tenths };
    let tenths = if share > 0.0 { tenths.max(0.1) } else { tenths };
    format!("{tenths:.1}\u{202f}%")
}

/// `95.1 to 98.6`
pub fn range(interval: Interval) -> String {
    let Interval { lo, hi } = interval;
    format!("{:.1} to {:.1}", lo * 100.0, hi * 100.0)
}

/// A difference in percentage points, with its sign.
pub fn points(difference: f64) -> String {
    let tenths = (difference * 1000.0).round() / 10.0;
    let sign = match tenths {
        t if t > 0.0 => "+",
        t if t < 0.0 => "\u{2212}",
        _ => "",
    };
    format!("{sign}{:.1}", tenths.abs())
}

/// `12,345`
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [1.0, 0.99999, 0.0, 0.00001, 0.5].map(percent),
            ["100.0\u{202f}%", "99.9\u{202f}%", "0.0\u{202f}%", "0.1\u{202f}%", "50.0\u{202f}%"]
        );
        assert_eq!([0.031, -0.004, 0.0001, -0.0001].map(points), ["+3.1", "\u{2212}0.4", "0.0", "0.0"]);
    }

    #[test]
    fn times_are_told_with_their_distance() {
        let now = 10 * 86_400 * 1_000_000;
        assert_eq!(distance(now - 30_000_000, now), "now");
        assert_eq!(distance(now - 5 * MINUTE_US, now), "5 min ago");
        assert_eq!(distance(now + 90 * MINUTE_US, now), "in 1 h");
        assert_eq!(distance(now - 49 * 60 * MINUTE_US, now), "2 d ago");
        assert_eq!(time(0), "1970-01-01 00:00 UTC");
    }
}
