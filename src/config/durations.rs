//! Durations as people write them: `500ms`, `10s`, `5m`, `2h`, `30d`, `1h30m`.

use std::time::Duration;

/// Longest duration accepted: a hundred years of 365 days.
pub const DURATION_MAX: Duration = Duration::from_secs(100 * 365 * DAY_S);

const DAY_S: u64 = 24 * 60 * 60;

/// The units, longest first, in milliseconds.
const UNITS: [(&str, u64); 5] = [("d", DAY_S * 1000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Nothing there.
    #[error("a duration must not be empty")]
    Empty,
    /// It does not begin with digits where digits are due.
    #[error("a number is due before `{0}`")]
    NumberDue(String),
    /// A number without a unit.
    #[error("{0} has no unit")]
    NoUnit(String),
    /// A unit that does not exist.
    #[error("unknown unit `{0}`")]
    UnknownUnit(String),
    /// Units out of order or twice.
    #[error("units go from long to short, each once")]
    Order,
    /// More than [`DURATION_MAX`].
    #[error("longer than a hundred years")]
    TooLong,
}

/// What to write instead.
pub const DURATION_HINT: &str =
    "write an integer with a unit, such as \"500ms\", \"10s\", \"5m\", \"2h\", \"30d\" or \"1h30m\"";

/// Reads a duration: integers with units from long to short, without spaces.
///
/// # Errors
/// [`DurationError`]; show it with [`DURATION_HINT`].
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(DurationError::Empty);
    }
    let mut total_ms: u64 = 0;
    let mut next_unit = 0;
    while !rest.is_empty() {
        let (number, after) = split_while(rest, |c| c.is_ascii_digit());
        let (unit, after) = split_while(after, |c| !c.is_ascii_digit());
        if number.is_empty() {
            return Err(DurationError::NumberDue(rest.to_owned()));
        }
        if unit.is_empty() {
            return Err(DurationError::NoUnit(number.to_owned()));
        }
        let at = UNITS
            .iter()
            .position(|(name, _)| *name == unit)
            .ok_or_else(|| DurationError::UnknownUnit(unit.trim().to_owned()))?;
        if at < next_unit {
            return Err(DurationError::Order);
        }
        next_unit = at + 1;
        let ms = number.parse::<u64>().ok().and_then(|n| n.checked_mul(UNITS[at].1));
        total_ms = ms.and_then(|ms| total_ms.checked_add(ms)).ok_or(DurationError::TooLong)?;
        rest = after;
    }
    let total = Duration::from_millis(total_ms);
    if total > DURATION_MAX { Err(DurationError::TooLong) } else { Ok(total) }
}

fn split_while(text: &str, keep: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !keep(c)).unwrap_or(text.len()))
}

/// Writes a duration so that [`parse`] reads it back, to the millisecond.
#[must_use]
pub fn show(duration: Duration) -> String {
    let mut rest_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut out = String::new();
    for (unit, ms) in UNITS {
        if rest_ms >= ms {
            out.push_str(&format!("{}{unit}", rest_ms / ms));
            rest_ms %= ms;
        }
    }
    if out.is_empty() { "0s".to_owned() } else { out }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_people_write() {
        let ms = |text| parse(text).map(|d| d.as_millis());
        assert_eq!(ms("500ms"), Ok(500));
        assert_eq!(ms("10s"), Ok(10_000));
        assert_eq!(ms("5m"), Ok(300_000));
        assert_eq!(ms("2h"), Ok(7_200_000));
        assert_eq!(ms("30d"), Ok(30 * 86_400_000));
        assert_eq!(ms("1h30m"), Ok(5_400_000));
        assert_eq!(ms("0s"), Ok(0));
    }

    #[test]
    fn says_what_is_wrong_with_the_rest() {
        assert_eq!(parse(""), Err(DurationError::Empty));
        assert_eq!(parse("10"), Err(DurationError::NoUnit("10".into())));
        assert_eq!(parse("ten"), Err(DurationError::NumberDue("ten".into())));
        assert_eq!(parse("-5s"), Err(DurationError::NumberDue("-5s".into())));
        assert_eq!(parse("5 min"), Err(DurationError::UnknownUnit("min".into())));
        assert_eq!(parse("1.5h"), Err(DurationError::UnknownUnit(".".into())));
        assert_eq!(parse("5m1h"), Err(DurationError::Order));
        assert_eq!(parse("1h1h"), Err(DurationError::Order));
        assert_eq!(parse("99999999999999999999d"), Err(DurationError::TooLong));
        assert_eq!(parse("36501d"), Err(DurationError::TooLong));
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(ms in 0_u64..3_000_000_000_000) {
            let duration = Duration::from_millis(ms);
            prop_assert_eq!(parse(&show(duration)), Ok(duration));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC*|[0-9a-z ]{0,12}") {
            let _ = parse(&text);
        }
    }
}
