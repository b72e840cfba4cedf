//! The helpers of `derive` expressions, as plain functions.

use super::limits::FLOAT_DIGITS;

/// Largest number of digits that [`fixed`] writes.
const FIXED_DIGITS_MAX: i32 = 9;

/// A number with a fixed count of digits after the point, halves away from zero: `fixed(0.125, 2)` is `0.13`.
///
/// The float is first taken to nine digits, so that the noise of binary fractions does not decide a half:
/// `fixed(1.005, 2)` is `1.01`.
///
/// # Errors
/// When `digits` is not within 0 to 9, or the number is not finite or has more than 28 digits.
pub(super) fn fixed(x: f64, digits: i32) -> Result<String, String> {
    let wanted = usize::try_from(digits).ok().filter(|_| digits <= FIXED_DIGITS_MAX);
    let wanted =
        wanted.ok_or_else(|| format!("fixed: digits must be between 0 and {FIXED_DIGITS_MAX}, not {digits}"))?;
    let plain = format!("{:.FLOAT_DIGITS$}", x.abs());
    let units: i128 = plain.replace('.', "").parse().map_err(|_| format!("fixed: {x} has too many digits"))?;
    let cut = 10_i128.pow((FLOAT_DIGITS - wanted) as u32);
    let rounded = (units + cut / 2) / cut;
    let scale = 10_i128.pow(wanted as u32);
    let sign = if x < 0.0 && rounded != 0 { "-" } else { "" };
    Ok(match wanted {
        0 => format!("{sign}{rounded}"),
        _ => format!("{sign}{}.{:0wanted$}", rounded / scale, rounded % scale),
    })
}

/// Every word with a capital first letter; the other letters stay.
pub(super) fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut inside = false;
    for c in text.chars() {
        match (c.is_alphanumeric(), inside) {
            (true, false) => out.extend(c.to_uppercase()),
            _ => out.push(c),
        }
        inside = c.is_alphanumeric() || (inside && c == '\'');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_writes_the_digits_asked_for() {
        let check = |x: f64, digits: i32, text: &str| assert_eq!(fixed(x, digits).as_deref(), Ok(text), "{x} {digits}");
        check(12.5, 2, "12.50");
        check(1.005, 2, "1.01");
        check(0.125, 2, "0.13");
        check(-0.125, 2, "-0.13");
        check(-0.001, 2, "0.00");
        check(2.5, 0, "3");
        check(7.0, 3, "7.000");
        check(3.0 * 1.15, 2, "3.45");
        check(0.05, 1, "0.1");
        assert!(fixed(1.0, 10).is_err());
        assert!(fixed(1.0, -1).is_err());
        assert!(fixed(f64::NAN, 2).is_err());
        assert!(fixed(1e300, 2).is_err());
    }

    #[test]
    fn title_lifts_first_letters_only() {
        assert_eq!(title("new york's élan-vital"), "New York's Élan-Vital");
        assert_eq!(title("ISO norm"), "ISO Norm");
    }
}
