//! Whether a text follows an instruction. The texts are never blank.

use std::sync::LazyLock;

use super::instruction::Rule;
use super::pattern::{Flags, Pattern};
use super::{language, python, sentences, tokens};
use crate::scoring::budget::PatternBudget;
use crate::scoring::python_json;

/// The three answers of `constrained_response`.
const CONSTRAINED: [&str; 3] = ["My answer is yes.", "My answer is no.", "My answer is maybe."];
/// Divides the two answers of `two_responses`.
const ANSWERS_DIVIDER: &str = "******";
/// Cuts the first word of a paragraph.
const WORD_ENDS: [char; 6] = ['.', ',', '?', '!', '\'', '"'];

/// A pattern of the rules themselves; `None` never occurs, as the tests show.
type Fixed = LazyLock<Option<Pattern>>;

const fn fixed(compile: fn() -> Option<Pattern>) -> Fixed {
    LazyLock::new(compile)
}

fn compiled(pattern: &str) -> Option<Pattern> {
    Pattern::compile(pattern, Flags { ignore_case: false, multiline: true }, &PatternBudget::default()).ok()
}

static WORD: Fixed = fixed(|| compiled(r"\w+"));
static PARAGRAPH: Fixed = fixed(|| compiled(r"\s?\*\*\*\s?"));
static PLACEHOLDER: Fixed = fixed(|| compiled(r"\[.*?\]"));
static STAR_BULLET: Fixed = fixed(|| compiled(r"^\s*\*[^\*].*$"));
static DASH_BULLET: Fixed = fixed(|| compiled(r"^\s*-.*$"));
static HIGHLIGHT: Fixed = fixed(|| compiled(r"\*[^\n\*]*\*"));
static DOUBLE_HIGHLIGHT: Fixed = fixed(|| compiled(r"\*\*[^\n\*]*\*\*"));
static TITLE: Fixed = fixed(|| compiled(r"<<[^\n]+>>"));

#[cfg(test)]
pub(super) fn fixed_patterns_compile() -> bool {
    [&WORD, &PARAGRAPH, &PLACEHOLDER, &STAR_BULLET, &DASH_BULLET, &HIGHLIGHT, &DOUBLE_HIGHLIGHT, &TITLE]
        .iter()
        .all(|p| p.is_some())
}

fn count(pattern: &Fixed, text: &str) -> usize {
    // None of these looks further than it reads.
    pattern.as_ref().map_or(0, |p| p.find_iter(text).count())
}

fn matches<'t>(pattern: &'static Fixed, text: &'t str) -> impl Iterator<Item = &'t str> {
    pattern.as_ref().into_iter().flat_map(move |p| p.find_iter(text))
}

/// Whether a text follows a rule; `None` when that is not to be found out in bounded time.
pub(super) fn follows(rule: &Rule, text: &str) -> Option<bool> {
    Some(match rule {
        Rule::Existence(keywords) => keywords.iter().all(|k| k.is_match(text)),
        Rule::Frequency(keyword, bound) => bound.holds(keyword.count(text)?),
        Rule::Forbidden(words) => !words.iter().any(|w| w.is_match(text)),
        Rule::Letter(letter, bound) => bound.holds(text.to_lowercase().chars().filter(|c| c == letter).count()),
        Rule::Language(code) => language::is(text, code),
        Rule::Sentences(bound) => bound.holds(sentences::count(text)),
        Rule::Paragraphs(wanted) => paragraphs(text).is_some_and(|found| equal(found, *wanted)),
        Rule::Words(bound) => bound.holds(count(&WORD, text)),
        Rule::NthParagraph { count, nth, first_word } => nth_paragraph(text, *count, *nth, first_word),
        Rule::Placeholders(wanted) => count(&PLACEHOLDER, text) as f64 >= *wanted,
        Rule::Postscript(marker) => marker.is_match(&text.to_lowercase()),
        Rule::Bullets(wanted) => equal(count(&STAR_BULLET, text) + count(&DASH_BULLET, text), *wanted),
        Rule::Constrained => CONSTRAINED.iter().any(|answer| text.contains(answer)),
        Rule::Highlights(wanted) => highlights(text) as f64 >= *wanted,
        // `re.split` puts what groups capture among the parts.
        Rule::Sections(splitter, wanted) => (splitter.count(text)? * (1 + splitter.groups())) as f64 >= *wanted,
        Rule::Json => is_json(text),
        Rule::Title => {
            matches(&TITLE, text).any(|t| !python::is_blank(t.trim_start_matches('<').trim_end_matches('>')))
        }
        Rule::TwoResponses => two_responses(text),
        Rule::RepeatPrompt(prompt) => python::strip(text).to_lowercase().starts_with(prompt.as_str()),
        Rule::End(phrase) => python::strip(text).trim_matches('"').to_lowercase().ends_with(phrase.as_str()),
        Rule::Quotation => {
            let text = python::strip(text);
            text.len() > 1 && text.starts_with('"') && text.ends_with('"')
        }
        Rule::CapitalWords(bound) => bound.holds(tokens::count_capital(text)),
        Rule::AllCapital => python::is_upper(text) && language::is(text, "en"),
        Rule::AllLowercase => python::is_lower(text) && language::is(text, "en"),
        Rule::NoComma => !text.contains(','),
    })
}

fn equal(count: usize, wanted: f64) -> bool {
    count as f64 == wanted
}

/// The parts that are not blank; `None` when a part in the middle is.
fn filled<'t>(parts: impl Iterator<Item = &'t str>) -> Option<Vec<&'t str>> {
    let parts: Vec<&str> = parts.collect();
    let last = parts.len().saturating_sub(1);
    let blank_inside = parts.iter().enumerate().any(|(i, p)| i != 0 && i != last && python::is_blank(p));
    (!blank_inside).then(|| parts.into_iter().filter(|p| !python::is_blank(p)).collect())
}

fn paragraphs(text: &str) -> Option<usize> {
    filled(PARAGRAPH.as_ref()?.split(text)).map(|parts| parts.len())
}

fn two_responses(text: &str) -> bool {
    matches!(filled(text.split(ANSWERS_DIVIDER)).as_deref(), Some([a, b]) if python::strip(a) != python::strip(b))
}

fn nth_paragraph(text: &str, wanted: f64, nth: usize, first_word: &str) -> bool {
    let parts: Vec<&str> = text.split("\n\n").collect();
    let found = parts.iter().filter(|p| !python::is_blank(p)).count();
    // The place counts blank parts, the number does not.
    let paragraph = if nth <= found { parts.get(nth - 1) } else { None };
    let Some(word) = paragraph.and_then(|p| python::words(p).next()) else {
        return false;
    };
    let word = word.trim_start_matches('\'').trim_start_matches('"');
    let word = word.split(WORD_ENDS).next().unwrap_or_default();
    // Letter by letter, as a final sigma shows.
    let word: String = word.chars().flat_map(char::to_lowercase).collect();
    equal(found, wanted) && word == first_word
}

fn highlights(text: &str) -> usize {
    let single = matches(&HIGHLIGHT, text).filter(|h| !python::is_blank(h.trim_matches('*'))).count();
    let double = matches(&DOUBLE_HIGHLIGHT, text).filter(|h| {
        let inner = h.strip_prefix("**").unwrap_or(h);
        !python::is_blank(inner.strip_suffix("**").unwrap_or(inner))
    });
    single + double.count()
}

fn is_json(text: &str) -> bool {
    let mut text = python::strip(text);
    for prefix in ["```json", "```Json", "```JSON", "```"] {
        text = text.strip_prefix(prefix).unwrap_or(text);
    }
    python_json::is_valid(python::strip(text.strip_suffix("```").unwrap_or(text)))
}
