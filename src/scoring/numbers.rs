//! The last number in a text.
//!
//! * Digits `0` to `9`; a point and digits after it are the fraction; `.5` and exponents (`1.2e-3`) count.
//! * Thousands: a comma, apostrophe, no-break, narrow no-break or thin space between groups of exactly three digits,
//!   after a first group of one to three digits that does not start with 0 (`1,234,567.5`). So `1,2,3` are three
//!   numbers, and a decimal comma is not one.
//! * A minus (`-` or `−`, before an optional currency sign) belongs to the number unless a letter, digit or closing
//!   bracket stands before it: `5-3` ends in 3, `= -3` in -3.
//! * A percent sign changes nothing: `12.5 %` is 12.5.
//! * Digits glued to a preceding Latin letter or `_` (`H2O`, `x1`, `v1.5`) are part of a name.

use super::script::{Script, script_of};

/// The last number, by the rules of the module; infinite where it is larger than any that can be compared.
pub(super) fn last_number(text: &str) -> Option<f64> {
    let bytes = text.as_bytes();
    let mut last = None;
    let mut at = 0;
    while at < bytes.len() {
        let digit = bytes[at].is_ascii_digit();
        let after_digit = at > 0 && bytes[at - 1].is_ascii_digit();
        let point = bytes[at] == b'.' && !after_digit && bytes.get(at + 1).is_some_and(u8::is_ascii_digit);
        if !digit && !point {
            at += 1;
            continue;
        }
        let (end, cleaned) = lex(text, at);
        let before = text[..at].chars().next_back();
        let glued = before.is_some_and(|c| c == '_' || script_of(c) == Some(Script::Latin));
        if !glued {
            last = Some((at, cleaned));
        }
        at = end;
    }
    let (start, cleaned) = last?;
    let value: f64 = cleaned.parse().ok()?;
    Some(if is_negative(&text[..start]) { -value } else { value })
}

/// Reads one number from its first digit or point: its end and its text without separators.
fn lex(text: &str, start: usize) -> (usize, String) {
    let bytes = text.as_bytes();
    let digits_from = |mut at: usize| {
        while bytes.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        at
    };
    let mut end = digits_from(start);
    let mut cleaned = text[start..end].to_owned();
    if (1..=3).contains(&cleaned.len()) && !cleaned.starts_with('0') {
        let separator =
            text[end..].chars().next().filter(|c| matches!(c, ',' | '\'' | '’' | '\u{a0}' | '\u{202f}' | '\u{2009}'));
        while let Some(separator) = separator.filter(|s| text[end..].starts_with(*s)) {
            let group = end + separator.len_utf8();
            let group_end = digits_from(group);
            if group_end - group != 3 {
                break;
            }
            cleaned.push_str(&text[group..group_end]);
            end = group_end;
        }
    }
    if bytes.get(end) == Some(&b'.') && bytes.get(end + 1).is_some_and(u8::is_ascii_digit) {
        let fraction = digits_from(end + 1);
        cleaned.push_str(&text[end..fraction]);
        end = fraction;
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        let exponent = digits_from(end + 1 + sign);
        let letter_after = text[exponent..].chars().next().is_some_and(char::is_alphabetic);
        if exponent > end + 1 + sign && !letter_after {
            cleaned.push_str(&text[end..exponent]);
            end = exponent;
        }
    }
    (end, cleaned)
}

/// Whether the text before a number ends in its minus.
fn is_negative(before: &str) -> bool {
    let before = before.strip_suffix(['$', '€', '£', '¥', '₹']).unwrap_or(before);
    let Some(rest) = before.strip_suffix(['-', '−']) else {
        return false;
    };
    !rest.chars().next_back().is_some_and(|c| c.is_alphanumeric() || matches!(c, ')' | ']' | '}' | '-' | '_' | '%'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_number_is_read_as_people_write_it() {
        for (text, expected) in [
            ("The total is 1,234,567.50 dollars.", Some(1_234_567.5)),
            ("= -3", Some(-3.0)),
            ("5-3", Some(3.0)),
            ("it is −12.5 %", Some(-12.5)),
            ("-$1,200", Some(-1200.0)),
            ("1,2,3", Some(3.0)),
            ("12,345 and 6", Some(6.0)),
            ("1\u{202f}234", Some(1234.0)),
            ("12'345.", Some(12345.0)),
            ("1,2345", Some(2345.0)),
            ("0,123", Some(123.0)),
            ("about .5", Some(0.5)),
            ("1.2e-3", Some(0.0012)),
            ("3em", Some(3.0)),
            ("**42**.", Some(42.0)),
            (r"\boxed{42}", Some(42.0)),
            ("x=7", Some(7.0)),
            ("答案是42", Some(42.0)),
            ("H2O has 3 atoms of GPT4 and v1.5", Some(3.0)),
            ("2024-05-03", Some(3.0)),
            ("1.2.3", Some(3.0)),
            ("42km", Some(42.0)),
            ("no number", None),
            ("", None),
            ("-", None),
            ("9".repeat(400).as_str(), Some(f64::INFINITY)),
            ("-1e999", Some(f64::NEG_INFINITY)),
        ] {
            assert_eq!(last_number(text), expected, "{text}");
        }
    }
}
