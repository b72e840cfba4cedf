//! Text scorers, on the visible content.
//!
//! | kind | passes when |
//! |---|---|
//! | `equals` | the text is `value`, trimmed unless `trim = false`, without regard to case with `ignore_case` |
//! | `contains`, `icontains` | it contains `value`; every one of `all` (value: the share found); one of `any` |
//! | `regex` | `pattern` is found (anchor with `^` and `$`; flags as `(?i)`) |
//! | `starts-with` | it starts with `value`, leading white space apart unless `trim = false` |
//! | `number` | its last number ([`numbers`](super::numbers)) lies within `tolerance` of `number` |
//! | `choice` | the chosen letter ([`letter`](super::letter)) is `choice` |
//! | `length` | words (by white space), characters (trimmed) and lines (with something on them) lie within the limits |
//! | `count` | `pattern` is found at least `min` and at most `max` times, without overlap |
//! | `answer-in-text` | one of `answers` occurs between word boundaries, both sides lower-cased and without `, . / - _ * ^ ( )` |
//! | `levenshtein` | the trimmed text is at most `max` edits away from `value` |
//!
//! `not-<kind>` passes exactly when the kind does not.

use regex::{Regex, RegexBuilder};

use super::asserts::{fuzzy_match, fuzzy_normal, is_refusal};
use super::budget::{self, NotCompiled, PatternBudget};
use super::error::ScorerError;
use super::finding::{Finding, excerpt, shorten};
use super::ifeval::is_word;
use super::letter::chosen_letter;
use super::matchers::near;
use super::numbers::last_number;
use super::options::Options;
use super::spec::LEVENSHTEIN_CHARS_MAX;
use crate::diagnostics::distance;
use crate::domain::Fault;

/// Longest pattern, in bytes.
pub const PATTERN_TEXT_BYTES_MAX: usize = 4_096;

/// Most bytes that the searches for all matches in one text may look at.
const COUNT_STEPS_MAX: usize = 1 << 28;

/// Compiles a pattern under size limits; finding it is linear in the text.
///
/// # Errors
/// Why it does not compile.
pub(super) fn compile_pattern(pattern: &str, budget: &PatternBudget) -> Result<Regex, String> {
    if pattern.len() > PATTERN_TEXT_BYTES_MAX {
        return Err(format!("the regular expression has more than {PATTERN_TEXT_BYTES_MAX} bytes"));
    }
    budget.compile(&mut RegexBuilder::new(pattern), super::schema::PATTERN_BYTES_MAX).map_err(|e| match e {
        NotCompiled::TooLarge => "the regular expression is too large when compiled".to_owned(),
        NotCompiled::Spent => budget::spent(),
        NotCompiled::Syntax(other) => {
            // The last line of a syntax error says what is wrong; the others draw where.
            let text = other.to_string();
            let why = text.lines().last().unwrap_or("").trim().trim_start_matches("error: ").to_owned();
            format!("the regular expression {} does not compile: {why}", excerpt(pattern))
        }
    })
}

/// What a text is compared with.
#[derive(Debug, Clone)]
enum Test {
    Equals {
        value: String,
        ignore_case: bool,
        trim: bool,
    },
    Contains {
        values: Vec<String>,
        all: bool,
        ignore_case: bool,
    },
    Regex(Regex),
    StartsWith {
        value: String,
        trim: bool,
    },
    Number {
        number: f64,
        tolerance: f64,
    },
    Choice(char),
    Length(Vec<LengthLimit>),
    Count {
        pattern: Regex,
        min: Option<u64>,
        max: Option<u64>,
    },
    AnswerInText(Answers),
    Levenshtein {
        value: String,
        max: u64,
        trim: bool,
    },
    /// Normalised answers.
    Fuzzy(Vec<String>),
    Refusal,
}

#[derive(Debug, Clone, Copy)]
struct LengthLimit {
    unit: &'static str,
    min: Option<u64>,
    max: Option<u64>,
}

/// A compiled text scorer.
#[derive(Debug, Clone)]
pub(super) struct TextScorer {
    test: Test,
    negated: bool,
}

/// Value, error type and sentence of a test that is not fully met; `None` when it is.
type Shortfall = Option<(f64, &'static str, String)>;

impl TextScorer {
    /// Compiles the options of a text kind.
    ///
    /// # Errors
    /// An option that has no meaning for the kind, or the kind is no text scorer.
    pub fn new(options: &Options<'_>) -> Result<Self, ScorerError> {
        Ok(TextScorer { test: Test::new(options)?, negated: options.negated })
    }

    /// Judges a text.
    pub fn judge(&self, text: &str) -> (f64, Option<Finding>) {
        let wrong = |error_type, what| Some(Finding::fails(Fault::WrongAnswer, error_type, what));
        match (self.test.judge(text), self.negated) {
            (None, false) | (Some(_), true) => (1.0, None),
            (Some((value, error_type, what)), false) => (value, wrong(error_type, what)),
            (None, true) => {
                let what = format!("the text {} and must not: {}", self.test.describe(), excerpt(text.trim()));
                (0.0, wrong("text:forbidden", what))
            }
        }
    }
}

impl Test {
    fn new(options: &Options<'_>) -> Result<Self, ScorerError> {
        let pattern =
            |key: &str| compile_pattern(&options.required_text(key)?, options.patterns).map_err(|e| options.error(e));
        Ok(match options.kind.name {
            "equals" => Test::Equals {
                value: options.required_text("value")?,
                ignore_case: options.flag("ignore_case", false),
                trim: options.flag("trim", true),
            },
            "contains" => contains(options, false)?,
            "icontains" => contains(options, true)?,
            "regex" => Test::Regex(pattern("pattern")?),
            "starts-with" => {
                let (value, trim) = (options.required_text("value")?, options.flag("trim", true));
                let value = if trim { value.trim_start().to_owned() } else { value };
                Test::StartsWith { value, trim }
            }
            "number" => Test::Number {
                number: options.number("number").ok_or_else(|| options.error("`number` is missing"))?,
                tolerance: non_negative(options, "tolerance")?,
            },
            "choice" => Test::Choice(choice(options)?),
            "length" => Test::Length(length_limits(options)?),
            "count" => {
                let (min, max) = (options.count("min"), options.count("max"));
                if min.is_none() && max.is_none() {
                    return Err(options.error("it needs `min`, `max` or both"));
                }
                Test::Count { pattern: pattern("pattern")?, min, max }
            }
            "answer-in-text" => Test::AnswerInText(Answers::new(options)?),
            "fuzzy" => {
                let normal = options.required_texts("answers")?.iter().map(|a| fuzzy_normal(a)).collect();
                Test::Fuzzy(normal)
            }
            "is-refusal" => Test::Refusal,
            "levenshtein" => {
                let trim = options.flag("trim", true);
                let value = options.required_text("value")?;
                let value = if trim { value.trim().to_owned() } else { value };
                if value.chars().count() > LEVENSHTEIN_CHARS_MAX {
                    return Err(options.error(format!("`value` has more than {LEVENSHTEIN_CHARS_MAX} characters")));
                }
                let max = options.count("max").ok_or_else(|| options.error("`max` is missing"))?;
                Test::Levenshtein { value, max: max.min(LEVENSHTEIN_CHARS_MAX as u64), trim }
            }
            _ => return Err(options.error("it is not a text scorer")),
        })
    }

    fn judge(&self, text: &str) -> Shortfall {
        let fail = |error_type, what: String| Some((0.0, error_type, what));
        let found = || excerpt(text.trim());
        match self {
            Test::Equals { value, ignore_case, trim } => {
                let (a, b) = if *trim { (value.trim(), text.trim()) } else { (value.as_str(), text) };
                let equal = a == b || (*ignore_case && a.to_lowercase() == b.to_lowercase());
                if equal {
                    None
                } else {
                    fail("equals:mismatch", format!("expected {}, found {}", excerpt(a), found()))
                }
            }
            Test::Contains { values, all, ignore_case } => judge_contains(values, *all, *ignore_case, text),
            Test::Regex(pattern) if pattern.is_match(text) => None,
            Test::Regex(_) => {
                fail("regex:no_match", format!("expected text that {}, found {}", self.describe(), found()))
            }
            Test::StartsWith { value, trim } if (if *trim { text.trim_start() } else { text }).starts_with(value) => {
                None
            }
            Test::StartsWith { value, .. } => fail(
                "starts_with:mismatch",
                format!("expected a text that starts with {}, found {}", excerpt(value), found()),
            ),
            Test::Number { number, tolerance } => match last_number(text) {
                Some(value) if value.is_finite() && near(value, *number, *tolerance) => None,
                Some(value) if value.is_infinite() => fail(
                    "number:mismatch",
                    format!("expected {number} (± {tolerance}), the last number is too large for a 64-bit number"),
                ),
                Some(value) => {
                    fail("number:mismatch", format!("expected {number} (± {tolerance}), the last number is {value}"))
                }
                None => fail("number:none", format!("expected {number}, found no number in {}", found())),
            },
            Test::Choice(letter) => match chosen_letter(text) {
                Some(chosen) if chosen == *letter => None,
                Some(chosen) => fail("choice:mismatch", format!("expected {letter}, the chosen letter is {chosen}")),
                None => fail("choice:none", format!("expected {letter}, found no chosen letter in {}", found())),
            },
            Test::Length(limits) => limits.iter().find_map(|l| l.judge(text)),
            Test::Count { pattern, min, max } => {
                let Some(count) = count_within(pattern, text, *min, *max) else {
                    let what = format!("{} cannot be counted in so long a text", excerpt(pattern.as_str()));
                    return fail("count:not_counted", what);
                };
                let what = || {
                    let often = if max.is_some_and(|m| count > m) { "more than" } else { "only" };
                    let count = max.filter(|m| count > *m).unwrap_or(count);
                    format!(
                        "{} is found {often} {count} times, expected {}",
                        excerpt(pattern.as_str()),
                        range(*min, *max)
                    )
                };
                if min.is_some_and(|m| count < m) {
                    fail("count:too_few", what())
                } else if max.is_some_and(|m| count > m) {
                    fail("count:too_many", what())
                } else {
                    None
                }
            }
            Test::AnswerInText(answers) if answers.occur_in(text) => None,
            Test::AnswerInText(answers) => {
                fail("answer_in_text:absent", format!("expected {} in the text, found {}", answers.describe(), found()))
            }
            Test::Levenshtein { value, max, trim } => {
                judge_levenshtein(value, *max, if *trim { text.trim() } else { text })
            }
            Test::Fuzzy(answers) => {
                let normal = fuzzy_normal(text);
                if answers.iter().any(|answer| fuzzy_match(answer, &normal)) {
                    return None;
                }
                fail("fuzzy:mismatch", format!("expected {}, found {}", self.describe(), found()))
            }
            Test::Refusal if is_refusal(text) => None,
            Test::Refusal => fail("is_refusal:answered", format!("expected a refusal, found {}", found())),
        }
    }

    /// What the test asks for, as a verb phrase.
    fn describe(&self) -> String {
        let list = |values: &[String]| values.iter().take(3).map(|v| excerpt(v)).collect::<Vec<_>>().join(", ");
        match self {
            Test::Equals { value, .. } => format!("is {}", excerpt(value)),
            Test::Contains { values, .. } => format!("contains {}", list(values)),
            Test::Regex(pattern) => format!("matches {}", excerpt(pattern.as_str())),
            Test::StartsWith { value, .. } => format!("starts with {}", excerpt(value)),
            Test::Number { number, .. } => format!("ends in the number {number}"),
            Test::Choice(letter) => format!("chooses {letter}"),
            Test::Length(_) => "keeps the length".to_owned(),
            Test::Count { pattern, .. } => format!("holds {} so often", excerpt(pattern.as_str())),
            Test::AnswerInText(answers) => format!("holds {}", answers.describe()),
            Test::Levenshtein { value, .. } => format!("is close to {}", excerpt(value)),
            Test::Fuzzy(answers) => format!("is, or is part of, or holds {}", list(answers)),
            Test::Refusal => "declines".to_owned(),
        }
    }
}

/// How often a pattern is found, counted no further than the limits ask. Every search is linear in the text, all of them
/// together need not be (`a[^b]*b|a`): `None` when they may look at more than [`COUNT_STEPS_MAX`] bytes.
fn count_within(pattern: &Regex, text: &str, min: Option<u64>, max: Option<u64>) -> Option<u64> {
    let enough = max.map_or(min.unwrap_or(0), |max| max.saturating_add(1));
    // A pattern of a limited length looks no further than that.
    let looks_on = pattern.as_str().contains(['*', '+', ',']);
    let (mut count, mut steps) = (0, 0);
    for found in pattern.find_iter(text) {
        count += 1;
        if count >= enough {
            break;
        }
        steps += if looks_on { text.len() - found.start() } else { found.len() };
        if steps > COUNT_STEPS_MAX {
            return None;
        }
    }
    Some(count)
}

fn non_negative(options: &Options<'_>, key: &str) -> Result<f64, ScorerError> {
    let value = options.number(key).unwrap_or(0.0);
    if value >= 0.0 { Ok(value) } else { Err(options.error(format!("`{key}` is a number from 0"))) }
}

fn choice(options: &Options<'_>) -> Result<char, ScorerError> {
    let text = options.required_text("choice")?;
    let mut chars = text.trim().chars();
    match (chars.next(), chars.next()) {
        (Some(c), None) if c.is_ascii_alphabetic() => Ok(c.to_ascii_uppercase()),
        _ => Err(options.error("`choice` is one letter from A to Z")),
    }
}

fn contains(options: &Options<'_>, ignore_case: bool) -> Result<Test, ScorerError> {
    let fold =
        |values: Vec<String>| values.iter().map(|v| if ignore_case { v.to_lowercase() } else { v.clone() }).collect();
    if let Some(all) = options.texts("all") {
        return Ok(Test::Contains { values: fold(all), all: true, ignore_case });
    }
    let any = options.texts("any").or_else(|| options.text("value").map(|v| vec![v]));
    let any = any.ok_or_else(|| options.error("`value`, `all` or `any` is missing"))?;
    Ok(Test::Contains { values: fold(any), all: false, ignore_case })
}

fn judge_contains(values: &[String], all: bool, ignore_case: bool, text: &str) -> Shortfall {
    let lower = if ignore_case { text.to_lowercase() } else { String::new() };
    let inside = if ignore_case { lower.as_str() } else { text };
    let missing: Vec<&String> = values.iter().filter(|v| !inside.contains(v.as_str())).collect();
    let found = excerpt(text.trim());
    match (missing.first(), all) {
        (None, _) => None,
        (Some(_), false) if missing.len() < values.len() => None,
        (Some(_), false) => {
            let wanted = values.iter().take(3).map(|v| excerpt(v)).collect::<Vec<_>>().join(" or ");
            Some((0.0, "contains:missing", format!("expected {wanted} in the text, found {found}")))
        }
        (Some(first), true) => {
            let value = (values.len() - missing.len()) as f64 / values.len() as f64;
            Some((value, "contains:missing", format!("expected {} in the text, found {found}", excerpt(first))))
        }
    }
}

fn length_limits(options: &Options<'_>) -> Result<Vec<LengthLimit>, ScorerError> {
    let units = [
        ("words", "min_words", "max_words"),
        ("characters", "min_chars", "max_chars"),
        ("lines", "min_lines", "max_lines"),
    ];
    let limits = units.map(|(unit, min, max)| LengthLimit { unit, min: options.count(min), max: options.count(max) });
    if let Some(l) = limits.iter().find(|l| l.min.zip(l.max).is_some_and(|(min, max)| min > max)) {
        return Err(options.error(format!("no text has at least {:?} and at most {:?} {}", l.min, l.max, l.unit)));
    }
    Ok(limits.into_iter().filter(|l| l.min.is_some() || l.max.is_some()).collect())
}

impl LengthLimit {
    fn judge(self, text: &str) -> Shortfall {
        let count = match self.unit {
            "words" => text.split_whitespace().count(),
            "characters" => text.trim().chars().count(),
            _ => text.lines().filter(|l| !l.trim().is_empty()).count(),
        } as u64;
        let what = format!("the text has {count} {}, expected {}", self.unit, range(self.min, self.max));
        if self.min.is_some_and(|m| count < m) {
            return Some((0.0, "length:too_short", what));
        }
        self.max.is_some_and(|m| count > m).then_some((0.0, "length:too_long", what))
    }
}

fn range(min: Option<u64>, max: Option<u64>) -> String {
    match (min, max) {
        (Some(min), Some(max)) if min == max => format!("exactly {min}"),
        (Some(min), Some(max)) => format!("{min} to {max}"),
        (Some(min), None) => format!("at least {min}"),
        (None, Some(max)) => format!("at most {max}"),
        (None, None) => "any number".to_owned(),
    }
}

fn judge_levenshtein(value: &str, max: u64, text: &str) -> Shortfall {
    let fail = |what: String| Some((0.0, "levenshtein:too_far", what));
    let (expected, found) = (value.chars().count(), text.chars().take(2 * LEVENSHTEIN_CHARS_MAX + 1).count());
    // Lengths differ by more than the limit: no need to count edits, however long the text is.
    if expected.abs_diff(found) as u64 > max {
        return fail(format!("expected at most {max} edits from {}, the lengths alone differ by more", excerpt(value)));
    }
    let edits = distance(value, text) as u64;
    if edits <= max {
        return None;
    }
    fail(format!("expected at most {max} edits from {}, {edits} are needed for {}", excerpt(value), excerpt(text)))
}

/// Answers of which one must occur between word boundaries.
#[derive(Debug, Clone)]
pub(super) struct Answers {
    shown: Vec<String>,
    normal: Vec<String>,
}

impl Answers {
    /// Normalises the possible answers.
    ///
    /// # Errors
    /// An answer of which nothing remains.
    pub fn new(options: &Options<'_>) -> Result<Self, ScorerError> {
        let shown = options.required_texts("answers")?;
        let normal: Vec<String> = shown.iter().map(|a| normalise(a)).collect();
        match normal.iter().position(|a| a.trim().is_empty()) {
            Some(at) => Err(options.error(format!("nothing remains of the answer {:?} to be looked for", shown[at]))),
            None => Ok(Answers { shown, normal }),
        }
    }

    /// Whether one of them occurs.
    pub fn occur_in(&self, text: &str) -> bool {
        let text = normalise(text);
        self.normal.iter().any(|answer| occurs(answer, &text))
    }

    /// The answers as written.
    pub fn describe(&self) -> String {
        shorten(&self.shown.iter().take(3).map(|a| excerpt(a)).collect::<Vec<_>>().join(" or "), 200)
    }
}

fn normalise(text: &str) -> String {
    // Lower-cased as a whole: a sigma at the end of a word has a form of its own.
    let kept = |c: &char| !matches!(c, ',' | '.' | '/' | '-' | '_' | '*' | '^' | '(' | ')');
    text.chars().filter(kept).collect::<String>().to_lowercase()
}

/// Whether an answer stands in a text with a word boundary on each side, as `\b` of Python's `re` has it: between a
/// letter or number and anything else.
fn occurs(answer: &str, text: &str) -> bool {
    let answer = answer.trim();
    let word = |c: Option<char>| c.is_some_and(is_word);
    let (Some(first), Some(last)) = (answer.chars().next(), answer.chars().next_back()) else {
        return false;
    };
    let mut from = 0;
    while let Some(at) = text[from..].find(answer).map(|n| from + n) {
        let end = at + answer.len();
        let before = word(text[..at].chars().next_back());
        let after = word(text[end..].chars().next());
        if before != word(Some(first)) && after != word(Some(last)) {
            return true;
        }
        from = at + first.len_utf8();
    }
    false
}
