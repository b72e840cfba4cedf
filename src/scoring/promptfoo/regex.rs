//! Regular expressions of JavaScript (without flags) in the syntax of the scorers' linear-time engine.
//!
//! `\d`, `\w` and `\b` are ASCII in JavaScript, `.` stops at four kinds of line end, and a bracket inside a class is a
//! bracket. What the engine cannot do (look-around, back references) is refused.

use regex::Regex;

/// Translates a pattern.
///
/// # Errors
/// The engine cannot do it.
pub(super) fn translate(pattern: &str) -> Result<String, String> {
    let out = rewrite(pattern)?;
    Regex::new(&out).map(|_| out).map_err(|_| {
        "a pattern that the linear-time engine cannot do (look-around, back reference, or not a pattern)".to_owned()
    })
}

/// As [`translate`], of a pattern with placeholders: whether the engine can do it is known when they are filled.
///
/// # Errors
/// As [`translate`].
pub(super) fn rewrite(pattern: &str) -> Result<String, String> {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut chars = pattern.chars();
    let mut in_class = false;
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('d') => out.push_str(if in_class { "0-9" } else { "[0-9]" }),
                Some('w') => out.push_str(if in_class { "0-9A-Za-z_" } else { "[0-9A-Za-z_]" }),
                Some('D') => out.push_str("[^0-9]"),
                Some('W') => out.push_str("[^0-9A-Za-z_]"),
                Some('b') if in_class => out.push_str(r"\x08"),
                Some('b') => out.push_str(r"(?-u:\b)"),
                // The engine's is that of Unicode, and has none of ASCII that texts could be searched with.
                Some('B') => {
                    return Err("`\\B`, which the linear-time engine has not as JavaScript means it".to_owned());
                }
                Some('0') => out.push_str(r"\x00"),
                Some('p' | 'P') => return Err("a class `\\p`, which means nothing without a flag".to_owned()),
                Some(escaped) => out.extend(['\\', escaped]),
                None => return Err("a pattern that ends in a backslash".to_owned()),
            },
            '[' if in_class => out.push_str(r"\["),
            '&' | '~' if in_class => out.extend(['\\', c]),
            '[' => {
                in_class = true;
                out.push('[');
            }
            ']' => {
                in_class = false;
                out.push(']');
            }
            '.' if !in_class => out.push_str(r"[^\n\r\u{2028}\u{2029}]"),
            other => out.push(other),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_and_boundaries_mean_what_they_mean_in_javascript() {
        let matches = |pattern: &str, text: &str| Regex::new(&translate(pattern).unwrap()).unwrap().is_match(text);
        assert!(matches(r"^\d{2}$", "42") && !matches(r"^\d+$", "٤٢"));
        assert!(matches(r"\bcat\b", "a cat.") && !matches(r"^\w+$", "straße"));
        assert!(matches(r"^[\d.&&[-]+$", "1.&[-"));
        assert!(matches("^a.c$", "abc") && !matches("^a.c$", "a\rc"));
        assert!(matches(r"^[^\]]+$", "ab") && matches(r"\/x\-", "/x-"));
        for pattern in ["(?=a)", r"(a)\1", "(", r"a\", r"\p{L}", r"\Ba"] {
            assert!(translate(pattern).is_err(), "{pattern}");
        }
    }
}
