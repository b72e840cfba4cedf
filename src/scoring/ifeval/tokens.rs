//! Words as the Treebank tokenizer of NLTK 3.10 splits them, as far as it matters for counting those in capitals.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;

use super::{python, sentences};

/// How many tokens of a text are in capitals.
pub(super) fn count_capital(text: &str) -> usize {
    sentences::split(text).iter().map(|s| count_in(s)).sum()
}

/// How many tokens of a sentence are in capitals.
///
/// The steps below put spaces into words and take none away, and none looks past the white space around a word that is
/// letters and digits with one common mark after it. Such words are tokens as they stand and are counted without the
/// steps, which are run, with a letter in their places, where another word may hold a token in capitals.
fn count_in(sentence: &str) -> usize {
    if !has_capital(sentence) {
        return 0;
    }
    let (mut in_capitals, mut rest) = (0, String::with_capacity(sentence.len()));
    let mut is_left = false;
    for word in sentence.split_inclusive(python::is_space) {
        let text = word.trim_end_matches(python::is_space);
        match plain_word(text) {
            Some(letters) => {
                in_capitals += usize::from(python::is_upper(letters));
                rest.push('x');
                rest.push_str(&word[text.len()..]);
            }
            None => {
                is_left |= may_hold_capitals(text);
                rest.push_str(word);
            }
        }
    }
    match is_left {
        true => in_capitals + count_by_steps(&rest),
        false => in_capitals,
    }
}

fn count_by_steps(sentence: &str) -> usize {
    tokens(sentence).filter(|t| python::is_upper(t)).count()
}

fn has_capital(text: &str) -> bool {
    text.chars().any(char::is_uppercase)
}

/// Whether a token in capitals may come of a word: without an apostrophe, only contractions are split between letters.
fn may_hold_capitals(word: &str) -> bool {
    if !word.is_ascii() || word.contains('\'') {
        return has_capital(word);
    }
    let is_contraction = |letters: &str| CONTRACTIONS.iter().any(|c| letters.eq_ignore_ascii_case(c));
    let in_capitals = |letters: &str| has_capital(letters) && (python::is_upper(letters) || is_contraction(letters));
    word.split(|c: char| !c.is_ascii_alphanumeric()).any(in_capitals)
}

/// Words that are two tokens.
const CONTRACTIONS: [&str; 6] = ["cannot", "gimme", "gonna", "gotta", "lemme", "wanna"];

/// The letters and digits of a word that has nothing else in it but one mark at its end.
fn plain_word(word: &str) -> Option<&str> {
    let letters = word.strip_suffix(['.', ',', ';', ':', '?', '!']).unwrap_or(word);
    let is_plain = !letters.is_empty() && letters.bytes().all(|b| b.is_ascii_alphanumeric());
    (is_plain && !CONTRACTIONS.iter().any(|c| letters.eq_ignore_ascii_case(c))).then_some(letters)
}

/// Python's white space, as a class.
const SPACE: &str = r"[\s\x1c-\x1f]";

/// The steps before quotation marks of clitics are split off: opening quotes.
const OPENING: &[(&str, &str)] =
    &[("([«“‘„]|`+)", " $1 "), ("^\"", "``"), ("(``)", " $1 "), (r#"([ (\[{<])("|'{2})"#, "$1 `` ")];

/// The steps after it: punctuation, brackets, dashes.
const PUNCTUATION: &[(&str, &str)] = &[
    (r#"([^.])(\.)([\])}>"'»”’ ]*)SPACE*\z"#, "$1 $2 $3 "),
    (r"([:,])([^\d])", " $1 $2"),
    (r"([:,])(\n?)\z", " $1 $2"),
    (r"(\.{2,})", " $1 "),
    ("([;@#$%&])", " $1 "),
    (r"([\x{2012}-\x{2015}])", " $1 "),
    (r#"([^.])(\.)([\])}>"']*)SPACE*\z"#, "$1 $2$3 "),
    ("([?!])", " $1 "),
    ("([^'])' ", "$1 ' "),
    (r"([*])", " $1 "),
    (r"([\]\[(){}<>])", " $1 "),
    ("--", " -- "),
];

/// The steps over the text with a space at each end: closing quotes, clitics, contractions.
const CLOSING: &[(&str, &str)] = &[
    ("([»”’])", " $1 "),
    ("''", " '' "),
    ("\"", " '' "),
    (r"SPACE+", " "),
    ("([^' ])('[sS]|'[mM]|'[dD]|') ", "$1 $2 "),
    ("([^' ])('ll|'LL|'re|'RE|'ve|'VE|n't|N'T) ", "$1 $2 "),
    (r"(?i)\b(can)(not)\b", " $1 $2 "),
    (r"(?i)\b(d)('ye)\b", " $1 $2 "),
    (r"(?i)\b(gim)(me)\b", " $1 $2 "),
    (r"(?i)\b(gon)(na)\b", " $1 $2 "),
    (r"(?i)\b(got)(ta)\b", " $1 $2 "),
    (r"(?i)\b(lem)(me)\b", " $1 $2 "),
    (r"(?i)\b(more)('n)\b", " $1 $2 "),
    (r"(?i)\b(wan)(na) ", " $1 $2  "),
    (r"(?i) ('t)(is)\b", " $1 $2 "),
    (r"(?i) ('t)(was)\b", " $1 $2 "),
];

type Steps = Vec<(Regex, &'static str)>;

fn compile(steps: &'static [(&'static str, &'static str)]) -> Steps {
    let compile =
        |(pattern, to): &(&str, &'static str)| Regex::new(&pattern.replace("SPACE", SPACE)).ok().zip(Some(*to));
    steps.iter().filter_map(compile).collect()
}

static STEPS: LazyLock<[Steps; 3]> = LazyLock::new(|| [compile(OPENING), compile(PUNCTUATION), compile(CLOSING)]);

#[cfg(test)]
pub(super) fn steps_compile() -> bool {
    STEPS.iter().map(Vec::len).eq([OPENING.len(), PUNCTUATION.len(), CLOSING.len()])
}

fn apply<'t>(steps: &Steps, text: Cow<'t, str>) -> Cow<'t, str> {
    steps.iter().fold(text, |text, (pattern, to)| {
        let replaced = match pattern.replace_all(&text, *to) {
            Cow::Owned(new) => Some(new),
            Cow::Borrowed(_) => None,
        };
        replaced.map_or(text, Cow::Owned)
    })
}

/// The tokens of a sentence.
fn tokens(sentence: &str) -> impl Iterator<Item = String> {
    let [opening, punctuation, closing] = &*STEPS;
    let text = apply(opening, Cow::Borrowed(sentence));
    let text = apply(punctuation, Cow::Owned(split_opening_apostrophes(&text)));
    let text = apply(closing, Cow::Owned(format!(" {text} ")));
    python::words(&text).map(str::to_owned).collect::<Vec<_>>().into_iter()
}

/// Endings that an apostrophe stays with.
const CLITICS: [&str; 8] = ["re", "ve", "ll", "m", "t", "s", "d", "n"];
/// Characters of the longest of them.
const CLITIC_CHARS_MAX: usize = 2;

/// A space after each apostrophe that opens a word, unless the word is a clitic. The word is looked at only where such
/// an apostrophe stands, and only as far as a clitic is long: the work is linear in the text.
fn split_opening_apostrophes(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    let mut previous = None;
    for (at, c) in text.char_indices() {
        out.push(c);
        if c == '\'' && !previous.is_some_and(python::is_word) && opens_word(&text[at + 1..]) {
            out.push(' ');
        }
        previous = Some(c);
    }
    out
}

/// Whether a text begins with a word that is no clitic.
fn opens_word(rest: &str) -> bool {
    // One character more than the longest clitic tells a clitic from a longer word.
    let head: String = rest.chars().take(CLITIC_CHARS_MAX + 1).take_while(|c| python::is_word(*c)).collect();
    !head.is_empty() && !CLITICS.iter().any(|clitic| head.eq_ignore_ascii_case(clitic))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3_000))]
        #[test]
        fn plain_words_are_counted_as_the_steps_count_them(
            sentence in r#"((A|Bc|D1|7|e|CANNOT|Gonna|WANNA|MORE|D|CAN|NOT|'T|'N|'YE|IS|n'T|É|ǅ|ß|["'`.,;:?!()\[\]{}<>*&$%#@~“”’«-]{1,3}|--|\.\.|canNOT|CANnot|U\.S\.|Ab_C)[ \n\t\x{1c}\x{a0}]{0,2}){0,12}"#,
        ) {
            prop_assert_eq!(count_in(&sentence), count_by_steps(&sentence), "{:?}", sentence);
        }
    }

    #[test]
    fn apostrophes_that_open_words_are_split_off() {
        for (text, expected) in [
            ("'hello'", "' hello'"),
            ("'ll 'LL 'llama", "'ll 'LL ' llama"),
            ("don't 's 'so", "don't 's ' so"),
            ("' x", "' x"),
            ("''a", "'' a"),
            ("'éa", "' éa"),
        ] {
            assert_eq!(split_opening_apostrophes(text), expected, "{text}");
        }
    }

    #[test]
    fn a_megabyte_without_a_space_takes_one_pass() {
        // Looked at to its end from every character this would be 10^12 steps.
        for text in ["a".repeat(2 << 20), "'a".repeat(1 << 20), "'".repeat(2 << 20) + &"a".repeat(1 << 20)] {
            assert!(split_opening_apostrophes(&text).len() >= text.len());
        }
    }
}
