//! Python's regular expressions on a linear-time engine.
//!
//! A pattern is rewritten for the `regex` crate: `\w`, `\s`, `$` and the letters i without and with a dot mean other
//! things there. Where Rust's word boundary would disagree with Python's, the text is searched with the characters
//! concerned replaced by stand-ins. What cannot be matched in linear time (look-around, backreferences, atomic groups)
//! and what Python itself rejects is an error, never a guess.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{Regex, RegexBuilder};

use super::python;
use crate::scoring::budget::{self, NotCompiled, PatternBudget};

/// Longest pattern, in bytes.
pub(crate) const PATTERN_BYTES_MAX: usize = 4_096;
/// Most memory of a compiled pattern, in bytes.
const COMPILED_BYTES_MAX: usize = 2 << 20;
/// Most bytes that the searches for all matches in one text may look at.
pub(crate) const COUNT_STEPS_MAX: usize = 1 << 28;
/// Deepest nesting of groups and classes.
const NESTING_MAX: u32 = 64;

/// `\w`, `\s` and their complements, inside or outside brackets.
const WORD: &str = r"\p{L}\p{N}_";
const SPACE: &str = r"\s\x1c-\x1f";

/// Flags of Python's `re` that the checkers use.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Flags {
    /// `re.IGNORECASE`.
    pub ignore_case: bool,
    /// `re.MULTILINE`.
    pub multiline: bool,
}

/// A compiled pattern.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    regex: Regex,
    has_boundary: bool,
    /// `$` stands at its end, and there also means the place before a final line end.
    ends: bool,
    /// It repeats something without limit, so that one search may go through all of the text.
    is_unbounded: bool,
}

impl Pattern {
    /// Compiles a pattern in Python's syntax.
    ///
    /// # Errors
    /// What is wrong with the pattern, as a fragment of a sentence.
    pub(in crate::scoring) fn compile(pattern: &str, flags: Flags, budget: &PatternBudget) -> Result<Self, String> {
        if pattern.len() > PATTERN_BYTES_MAX {
            return Err(format!("it is longer than {PATTERN_BYTES_MAX} bytes"));
        }
        let mut translator = Translator::new(pattern, flags);
        let rust = translator.translate()?;
        let mut builder = RegexBuilder::new(&rust);
        builder.case_insensitive(flags.ignore_case).multi_line(flags.multiline).nest_limit(NESTING_MAX);
        match budget.compile(&mut builder, COMPILED_BYTES_MAX) {
            Ok(regex) => Ok(Pattern {
                regex,
                has_boundary: translator.has_boundary,
                ends: translator.ends,
                is_unbounded: translator.is_unbounded,
            }),
            Err(NotCompiled::TooLarge) => Err("it is too large once compiled".to_owned()),
            Err(NotCompiled::Spent) => Err(budget::spent()),
            Err(NotCompiled::Syntax(_)) => Err(BAD.to_owned()),
        }
    }

    /// Compiles a pattern whose matches are to be counted.
    ///
    /// # Errors
    /// As [`Self::compile`]; matches that cannot be counted as Python counts them: `$` that means two places, and empty
    /// matches where the text would also give one that is not empty.
    pub(in crate::scoring) fn compile_counted(
        pattern: &str,
        flags: Flags,
        budget: &PatternBudget,
    ) -> Result<Self, String> {
        let compiled = Self::compile(pattern, flags, budget)?;
        if compiled.ends {
            return Err("`$` cannot be counted as Python counts it".to_owned());
        }
        let mut translator = Translator::new(pattern, flags);
        let rust = translator.translate()?;
        if translator.prefers_less && matches_empty(&rust, &translator.assertions) {
            return Err("it prefers an empty match, which cannot be counted as Python counts it".to_owned());
        }
        Ok(compiled)
    }

    /// `re.search(..) is not None`. Linear in the text.
    pub(crate) fn is_match(&self, text: &str) -> bool {
        let text = self.prepared(text);
        let before_end = || text.strip_suffix('\n').filter(|_| self.ends);
        self.regex.is_match(&text) || before_end().is_some_and(|text| self.regex.is_match(text))
    }

    /// `len(re.findall(..))`, empty matches as Python counts them; for patterns of [`Self::compile_counted`], and those of
    /// the rules themselves.
    ///
    /// Each search is linear in the text, all of them together need not be (`a[^b]*b|a`): `None` when they may take more
    /// than [`COUNT_STEPS_MAX`].
    pub(crate) fn count(&self, text: &str) -> Option<usize> {
        let text = self.prepared(text);
        let (mut count, mut at, mut steps) = (0, 0, 0);
        while let Some(found) = self.regex.find_at(&text, at) {
            count += 1;
            steps += if self.is_unbounded { text.len() - at } else { found.end() - at };
            if steps > COUNT_STEPS_MAX {
                return None;
            }
            at = if found.is_empty() {
                match text[found.end()..].chars().next() {
                    Some(c) => found.end() + c.len_utf8(),
                    None => break,
                }
            } else {
                found.end()
            };
        }
        Some(count)
    }

    /// The matches in order; only for patterns that match no empty text and hold no word boundary.
    pub(crate) fn find_iter<'t>(&self, text: &'t str) -> impl Iterator<Item = &'t str> {
        self.regex.find_iter(text).map(|m| m.as_str())
    }

    /// `re.split`, for patterns as in [`Self::find_iter`] and without groups.
    pub(crate) fn split<'t>(&self, text: &'t str) -> impl Iterator<Item = &'t str> {
        self.regex.split(text)
    }

    /// How many groups the pattern captures.
    pub(crate) fn groups(&self) -> usize {
        self.regex.captures_len() - 1
    }

    /// The text with stand-ins for the characters on which the two ideas of a word differ.
    fn prepared<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if !self.has_boundary || text.is_ascii() || text.chars().all(|c| stand_in(c).is_none()) {
            return Cow::Borrowed(text);
        }
        Cow::Owned(text.chars().map(|c| stand_in(c).unwrap_or(c)).collect())
    }
}

/// Whether a translated pattern, its assertions taken out, matches the empty text.
fn matches_empty(rust: &str, assertions: &[std::ops::Range<usize>]) -> bool {
    let mut bare = String::with_capacity(rust.len() + 8);
    let mut from = 0;
    for range in assertions {
        bare.push_str(&rust[from..range.start]);
        from = range.end;
    }
    bare.push_str(&rust[from..]);
    // What does not compile without them (a quantifier is then left alone) is taken for one that does match it.
    RegexBuilder::new(&format!(r"\A(?:{bare})\z"))
        .size_limit(COMPILED_BYTES_MAX)
        .build()
        .map_or(true, |r| r.is_match(""))
}

/// A character that stands for itself in a pattern, and is no line end.
fn is_plain(c: char) -> bool {
    !matches!(c, '\n' | '.' | '[' | '(' | ')' | '\\' | '^' | '$' | '*' | '+' | '?' | '{' | '|')
}

static RUST_WORD: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^\w$").ok());
static MARK: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^\p{M}$").ok());

fn is_in(class: &LazyLock<Option<Regex>>, c: char) -> bool {
    class.as_ref().is_some_and(|r| r.is_match(c.encode_utf8(&mut [0; 4])))
}

/// General category M.
pub(crate) fn is_mark(c: char) -> bool {
    c >= '\u{300}' && is_in(&MARK, c)
}

/// The stand-in of a character of whose nature as part of a word Rust thinks differently than Python: its own image in a
/// private plane where both agree (not a word), or among Han extension characters (a word).
fn stand_in(c: char) -> Option<char> {
    if c.is_ascii() {
        return None;
    }
    match (python::is_word(c), is_in(&RUST_WORD, c)) {
        (false, true) => char::from_u32(0x10_0000 + (u32::from(c) & 0xffff)),
        // The few hundred characters of category No; extension B has room for an image of each block.
        (true, false) => char::from_u32(0x2_0000 + (u32::from(c) % 0xa000)),
        _ => None,
    }
}

/// One pass over a pattern.
struct Translator {
    chars: Vec<char>,
    at: usize,
    flags: Flags,
    out: String,
    has_boundary: bool,
    depth: u32,
    /// `$` stands at the end.
    ends: bool,
    /// Something is repeated without limit.
    is_unbounded: bool,
    /// Alternatives, or a quantifier that prefers less.
    prefers_less: bool,
    /// Where assertions stand in the translation.
    assertions: Vec<std::ops::Range<usize>>,
}

/// What stands before a quantifier.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    /// Nothing that can be repeated: the start of a pattern or group, or an assertion.
    Nothing,
    /// One literal character.
    Literal,
    /// A class or a group.
    Item,
    /// A quantifier.
    Quantifier,
}

const NOT_LINEAR: &str = "look-around, backreferences and atomic groups cannot be matched in linear time";
const BAD: &str = "it is not a regular expression that Python accepts";

impl Translator {
    fn new(pattern: &str, flags: Flags) -> Self {
        let chars = pattern.chars().collect();
        Translator {
            chars,
            at: 0,
            flags,
            out: String::new(),
            has_boundary: [r"\b", r"\B"].iter().any(|b| pattern.contains(b)),
            depth: 0,
            ends: false,
            is_unbounded: false,
            prefers_less: false,
            assertions: Vec::new(),
        }
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn looking_at(&self, text: &str) -> bool {
        text.chars().enumerate().all(|(i, c)| self.chars.get(self.at + i) == Some(&c))
    }

    fn translate(&mut self) -> Result<String, String> {
        let mut before = Before::Nothing;
        while let Some(c) = self.peek() {
            before = match c {
                '*' | '+' | '?' => self.quantifier(before, 1)?,
                '{' => match self.braces() {
                    Some(length) => self.quantifier(before, length)?,
                    None => self.literal(c),
                },
                '(' => self.open()?,
                ')' => {
                    self.depth = self.depth.checked_sub(1).ok_or(BAD)?;
                    self.copy(1);
                    Before::Item
                }
                '|' => {
                    self.prefers_less = true;
                    self.copy(1);
                    Before::Nothing
                }
                '[' => self.class()?,
                '^' => {
                    self.at += 1;
                    self.assert_with("^");
                    Before::Nothing
                }
                '$' => self.dollar()?,
                '.' => {
                    self.copy(1);
                    Before::Item
                }
                '\\' => self.escape()?,
                other => self.literal(other),
            };
        }
        if self.depth > 0 { Err(BAD.to_owned()) } else { Ok(std::mem::take(&mut self.out)) }
    }

    /// Without the multiline flag Python's `$` also means the place before a final line end, which the text is then
    /// searched without: so nothing but word boundaries may follow.
    fn dollar(&mut self) -> Result<Before, String> {
        self.at += 1;
        if self.flags.multiline {
            self.assert_with("$");
            return Ok(Before::Nothing);
        }
        let mut rest = &self.chars[self.at..];
        while let ['\\', 'b', after @ ..] | [')', after @ ..] = rest {
            rest = after;
        }
        let is_last = rest.is_empty() || (self.depth == 0 && rest.first() == Some(&'|'));
        let ends_otherwise = self.chars.windows(2).any(|pair| pair == ['\\', 'Z']);
        // A character that is no line end never follows such a place: then there is no match in either reading.
        let never = matches!(rest, [c, after @ ..] if is_plain(*c) && !matches!(after, ['*' | '?' | '{', ..]));
        if never {
            self.assert_with(r"\z");
            return Ok(Before::Nothing);
        }
        if !is_last || ends_otherwise {
            return Err("`$` before further text cannot be searched for".to_owned());
        }
        self.ends = true;
        self.assert_with(r"\z");
        Ok(Before::Nothing)
    }

    /// Writes an assertion.
    fn assert_with(&mut self, text: &str) {
        let start = self.out.len();
        self.out.push_str(text);
        self.assertions.push(start..self.out.len());
    }

    fn copy(&mut self, count: usize) {
        self.out.extend(&self.chars[self.at..self.at + count]);
        self.at += count;
    }

    fn literal(&mut self, c: char) -> Before {
        self.at += 1;
        self.push_literal(c);
        Before::Literal
    }

    fn push_literal(&mut self, c: char) {
        let c = if self.has_boundary { stand_in(c).unwrap_or(c) } else { c };
        if self.flags.ignore_case && matches!(c, 'i' | 'I' | 'İ' | 'ı') {
            self.out.push_str("[iİı]");
        } else {
            self.out.push_str(&regex::escape(c.encode_utf8(&mut [0; 4])));
        }
    }

    /// The length of a quantifier in braces; braces of another shape are literals in Python.
    fn braces(&self) -> Option<usize> {
        let end = self.chars[self.at..].iter().position(|c| *c == '}')?;
        let inside: String = self.chars[self.at + 1..self.at + end].iter().collect();
        let digits = |s: &str| s.chars().all(|c| c.is_ascii_digit());
        let fits = match inside.split_once(',') {
            Some((low, high)) => digits(low) && digits(high),
            None => !inside.is_empty() && digits(&inside),
        };
        fits.then_some(end + 1)
    }

    fn quantifier(&mut self, before: Before, length: usize) -> Result<Before, String> {
        if matches!(before, Before::Nothing | Before::Quantifier) {
            return Err(BAD.to_owned());
        }
        let quantifier = &self.chars[self.at..self.at + length];
        self.is_unbounded |= matches!(quantifier, ['*' | '+'] | ['{', .., ',', '}']);
        if self.looking_at("{,") {
            self.out.push_str("{0,");
            self.at += 2;
            self.copy(length - 2);
        } else {
            self.copy(length);
        }
        match self.peek() {
            Some('?') => {
                self.prefers_less = true;
                self.copy(1);
            }
            Some('+') => {
                // Possessive. At the very end, after one literal, it takes just what a greedy one takes.
                if before != Before::Literal || !self.rest_is_boundary(1) {
                    return Err(NOT_LINEAR.to_owned());
                }
                self.at += 1;
            }
            _ => {}
        }
        Ok(Before::Quantifier)
    }

    /// Whether nothing but `\b` follows after `skip` characters.
    fn rest_is_boundary(&self, skip: usize) -> bool {
        matches!(&self.chars[self.at + skip..], [] | ['\\', 'b'])
    }

    fn open(&mut self) -> Result<Before, String> {
        self.depth += 1;
        if self.depth > NESTING_MAX {
            return Err("its groups nest too deeply".to_owned());
        }
        if !self.looking_at("(?") {
            self.copy(1);
        } else if self.looking_at("(?:") {
            self.copy(3);
        } else if self.looking_at("(?P<") {
            let end = self.chars[self.at..].iter().position(|c| *c == '>').ok_or(BAD)?;
            self.copy(end + 1);
        } else if ["(?=", "(?!", "(?<", "(?>", "(?P=", "(?("].iter().any(|p| self.looking_at(p)) {
            return Err(NOT_LINEAR.to_owned());
        } else {
            return Err("inline flags and comments are not supported".to_owned());
        }
        Ok(Before::Nothing)
    }

    fn escape(&mut self) -> Result<Before, String> {
        let c = *self.chars.get(self.at + 1).ok_or(BAD)?;
        let simple = match c {
            'w' => Some(format!("[{WORD}]")),
            'W' => Some(format!("[^{WORD}]")),
            's' => Some(format!("[{SPACE}]")),
            'S' => Some(format!("[^{SPACE}]")),
            'd' => Some(r"\d".to_owned()),
            'D' => Some(r"\D".to_owned()),
            'A' | 'Z' | 'b' | 'B' => return Ok(self.assertion(c)),
            '1'..='9' => return Err(NOT_LINEAR.to_owned()),
            _ => None,
        };
        if let Some(text) = simple {
            self.at += 2;
            self.out.push_str(&text);
            return Ok(Before::Item);
        }
        let literal = self.escaped_literal()?;
        self.push_literal(literal);
        Ok(Before::Literal)
    }

    /// An escape that asserts a place; nothing that Python lets repeat.
    fn assertion(&mut self, c: char) -> Before {
        self.at += 2;
        self.assert_with(&format!("\\{}", if c == 'Z' { 'z' } else { c }));
        Before::Nothing
    }

    /// An escape that stands for one character, in or out of brackets.
    fn escaped_literal(&mut self) -> Result<char, String> {
        let c = *self.chars.get(self.at + 1).ok_or(BAD)?;
        self.at += 2;
        let hex = |me: &mut Self, digits: usize| {
            let text: String = me.chars.iter().skip(me.at).take(digits).collect();
            me.at += digits;
            let all = text.len() == digits && text.chars().all(|c| c.is_ascii_hexdigit());
            let code = u32::from_str_radix(&text, 16).ok().filter(|_| all);
            code.and_then(char::from_u32).ok_or_else(|| BAD.to_owned())
        };
        match c {
            'n' => Ok('\n'),
            't' => Ok('\t'),
            'r' => Ok('\r'),
            'f' => Ok('\u{c}'),
            'v' => Ok('\u{b}'),
            'a' => Ok('\u{7}'),
            'x' => hex(self, 2),
            'u' => hex(self, 4),
            'U' => hex(self, 8),
            '0' => {
                let digits = self.chars[self.at..].iter().take(2).take_while(|c| ('0'..='7').contains(*c)).count();
                let text: String = self.chars[self.at..self.at + digits].iter().collect();
                self.at += digits;
                Ok(u32::from_str_radix(&text, 8).ok().and_then(char::from_u32).unwrap_or('\0'))
            }
            c if c.is_ascii_alphanumeric() => Err(BAD.to_owned()),
            c => Ok(c),
        }
    }

    /// A class in brackets.
    fn class(&mut self) -> Result<Before, String> {
        self.copy(1);
        if self.peek() == Some('^') {
            self.copy(1);
        }
        let mut first = true;
        loop {
            let c = self.peek().ok_or(BAD)?;
            if c == ']' && !first {
                self.copy(1);
                return Ok(Before::Item);
            }
            first = false;
            let low = self.class_item()?;
            // `a-z`; a hyphen before the closing bracket is itself.
            if self.peek() == Some('-') && self.chars.get(self.at + 1).is_some_and(|c| *c != ']') {
                self.at += 1;
                match (low, self.class_item_value()?) {
                    (Some(low), Some(high)) if low <= high => self.push_range(low, high),
                    _ => return Err(BAD.to_owned()),
                }
            } else if let Some(low) = low {
                self.push_range(low, low);
            }
        }
    }

    /// One member of a class: a character, still to be written, or a class, written.
    fn class_item(&mut self) -> Result<Option<char>, String> {
        let set = match (self.peek(), self.chars.get(self.at + 1)) {
            (Some('\\'), Some('w')) => WORD,
            (Some('\\'), Some('s')) => SPACE,
            (Some('\\'), Some('d')) => r"\d",
            (Some('\\'), Some('D')) => r"\D",
            (Some('\\'), Some('W')) => r"[^\p{L}\p{N}_]",
            (Some('\\'), Some('S')) => r"[^\s\x1c-\x1f]",
            _ => return self.class_item_value(),
        };
        self.at += 2;
        self.out.push_str(set);
        Ok(None)
    }

    /// A member of a class that is one character; `None` at the end of the pattern.
    fn class_item_value(&mut self) -> Result<Option<char>, String> {
        match self.peek() {
            Some('\\') if self.chars.get(self.at + 1) == Some(&'b') => {
                self.at += 2;
                Ok(Some('\u{8}'))
            }
            Some('\\') => self.escaped_literal().map(Some),
            Some(c) => {
                self.at += 1;
                Ok(Some(c))
            }
            None => Err(BAD.to_owned()),
        }
    }

    fn push_range(&mut self, low: char, high: char) {
        use std::fmt::Write as _;
        let image = |c: char, me: &Self| if me.has_boundary && low == high { stand_in(c).unwrap_or(c) } else { c };
        let (a, b) = (u32::from(image(low, self)), u32::from(image(high, self)));
        // Writing to a String cannot fail.
        let _ = write!(self.out, r"\x{{{a:x}}}-\x{{{b:x}}}");
        if self.flags.ignore_case && ['i', 'I', 'İ', 'ı'].iter().any(|c| (low..=high).contains(c)) {
            self.out.push_str("iİı");
        }
    }
}

#[cfg(test)]
mod tests;
