//! What the sentence splitter knows of English: abbreviations, and how words are written.
//!
//! The knowledge stands in `english.txt`, one list a paragraph. It was found by measurement: the words are the common
//! ones of this project's own texts and general lists of abbreviations, and `scripts/oracle/english.py` asked the
//! official splitter about each.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use regex::Regex;

/// How a word is written in running text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Orthography {
    /// It occurs with a small first letter.
    pub lower: bool,
    /// It occurs with a capital in the middle of sentences.
    pub upper_inside: bool,
}

/// The lists of `english.txt`.
#[derive(Debug, Default)]
struct Knowledge {
    abbreviations: HashSet<&'static str>,
    starters: HashSet<&'static str>,
    after_numbers: HashSet<&'static str>,
    words: HashMap<&'static str, Orthography>,
}

static KNOWLEDGE: LazyLock<Knowledge> = LazyLock::new(|| {
    let mut known = Knowledge::default();
    for list in include_str!("english.txt").split("\n\n") {
        let mut words = list.split_whitespace();
        match words.next() {
            Some("abbreviations:") => known.abbreviations = words.collect(),
            Some("starters:") => known.starters = words.collect(),
            Some("after-numbers:") => known.after_numbers = words.collect(),
            Some("small:") => {
                known.words.extend(words.map(|w| (w, Orthography { lower: true, upper_inside: false })));
            }
            Some("both:") => {
                known.words.extend(words.map(|w| (w, Orthography { lower: true, upper_inside: true })));
            }
            _ => {}
        }
    }
    known
});

/// Whether a word in lower case, without its final full stop, is an abbreviation.
pub(super) fn is_abbreviation(word: &str) -> bool {
    KNOWLEDGE.abbreviations.contains(word)
}

/// Whether a word is known for starting sentences.
pub(super) fn often_starts(word: &str) -> bool {
    KNOWLEDGE.starters.contains(word)
}

/// Whether a word follows numbers with a full stop so often that the two belong together.
pub(super) fn follows_number(word: &str) -> bool {
    KNOWLEDGE.after_numbers.contains(word)
}

/// How a word in lower case is written.
pub(super) fn orthography(word: &str) -> Orthography {
    KNOWLEDGE.words.get(word).copied().unwrap_or_default()
}

static DECIMAL: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^\d$").ok());

/// General category Nd.
pub(super) fn is_decimal(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_digit();
    }
    c.is_numeric() && DECIMAL.as_ref().is_some_and(|r| r.is_match(c.encode_utf8(&mut [0; 4])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_list_is_there() {
        assert!(is_abbreviation("dr") && is_abbreviation("u.s") && !is_abbreviation("cat"));
        assert!(often_starts("i") && !often_starts("cat"));
        assert!(orthography("the").lower && orthography("zyzzyva") == Orthography::default());
        assert!(is_decimal('7') && is_decimal('٣') && !is_decimal('²') && !is_decimal('a'));
        assert!(KNOWLEDGE.words.len() > 1_000);
    }
}
