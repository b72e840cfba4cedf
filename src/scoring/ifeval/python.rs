//! Python's string methods and character classes, where Rust's differ or have no counterpart.
//!
//! The reference is CPython 3.11. Its Unicode tables are older than Rust's: characters assigned since then are the only
//! difference, and no rule turns on them.

/// `str.isspace` of one character: Unicode white space and the four separators U+001C to U+001F.
pub(crate) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// `str.strip()`.
pub(crate) fn strip(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// Whether `str.strip()` leaves nothing.
pub(crate) fn is_blank(text: &str) -> bool {
    text.chars().all(is_space)
}

/// `str.split()`: the words between runs of white space.
pub(crate) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_space).filter(|w| !w.is_empty())
}

/// `\w` of Python's `re`: letters and numbers of every script, and the underscore. Combining marks are not part of it.
pub(crate) fn is_word(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_alphanumeric() || c == '_';
    }
    // Rust's `is_alphanumeric` is Alphabetic or N; Alphabetic adds marks and the circled letters to L.
    c.is_numeric() || (c.is_alphabetic() && !is_alphabetic_only(c))
}

/// Whether a character is Alphabetic without being a letter or a number: some marks, the circled letters and the
/// letters of regional flags.
fn is_alphabetic_only(c: char) -> bool {
    matches!(c, '\u{24b6}'..='\u{24e9}' | '\u{1f130}'..='\u{1f149}' | '\u{1f150}'..='\u{1f169}' | '\u{1f170}'..='\u{1f189}')
        || super::pattern::is_mark(c)
}

/// Python's `str.isupper`: at least one cased character, and none of lower or title case.
pub(crate) fn is_upper(text: &str) -> bool {
    let mut cased = false;
    for c in text.chars() {
        if c.is_lowercase() || is_title(c) {
            return false;
        }
        cased |= c.is_uppercase();
    }
    cased
}

/// Python's `str.islower`: at least one cased character, and none of upper or title case.
pub(crate) fn is_lower(text: &str) -> bool {
    let mut cased = false;
    for c in text.chars() {
        if c.is_uppercase() || is_title(c) {
            return false;
        }
        cased |= c.is_lowercase();
    }
    cased
}

/// General category Lt.
fn is_title(c: char) -> bool {
    matches!(
        c,
        '\u{1c5}' | '\u{1c8}' | '\u{1cb}' | '\u{1f2}' | '\u{1f88}'..='\u{1f8f}' | '\u{1f98}'..='\u{1f9f}'
            | '\u{1fa8}'..='\u{1faf}' | '\u{1fbc}' | '\u{1fcc}' | '\u{1ffc}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_is_pythons() {
        assert_eq!(strip("\u{1c}\u{1f} \u{a0}a b\u{2003}\r\n\u{85}"), "a b");
        assert_eq!(strip("\u{200b}x"), "\u{200b}x");
        assert!(is_blank("\u{1d}\t") && !is_blank("\u{feff}"));
        assert_eq!(words(" a\u{1e}b  c\u{a0}").collect::<Vec<_>>(), ["a", "b", "c"]);
    }

    #[test]
    fn words_hold_letters_and_numbers_but_no_marks() {
        for c in ['a', 'Z', '_', '0', 'é', 'ß', '中', 'あ', 'ก', '²', '½', 'Ⅷ', '٣', 'ª', 'ʰ'] {
            assert!(is_word(c), "{c:?}");
        }
        for c in [' ', '-', '\'', 'ा', 'ं', '\u{301}', '\u{200d}', '‿', 'Ⓐ', '🄰', '。', '€', '\u{345}'] {
            assert!(!is_word(c), "{c:?}");
        }
    }

    #[test]
    fn case_needs_a_cased_character() {
        assert!(is_upper("A1 É!") && !is_upper("12") && !is_upper("Aa") && !is_upper("ǅ"));
        assert!(is_lower("a1 é!") && !is_lower("12") && !is_lower("aA") && !is_lower("ǅ"));
        assert!(is_upper("ÀΩЖ") && is_lower("ß ª") && is_upper("Ⓐ"));
    }
}
