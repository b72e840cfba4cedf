//! Sentences as the Punkt tokenizer finds them (Kiss and Strunk 2006, as in NLTK 3.10), with language data of our own.
//!
//! The decisions are Punkt's, step by step: which full stop may end a sentence, the words around it, abbreviations,
//! ellipses, initials and ordinals. Only the knowledge about English words is smaller: see [`super::english`].

use std::borrow::Cow;

use super::english::{self, Orthography};
use super::python;

/// How many sentences a text has.
pub(super) fn count(text: &str) -> usize {
    let chars: Vec<char> = text.chars().collect();
    realign(&chars, &slices(&chars)).len()
}

/// The sentences of a text.
pub(super) fn split(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let slices = realign(&chars, &slices(&chars));
    slices.into_iter().map(|s| chars[s.start..s.end].iter().collect()).collect()
}

/// A piece of the text, in characters; empty when the end is not after the start.
#[derive(Debug, Clone, Copy)]
struct Slice {
    start: usize,
    end: usize,
}

/// A mark that may end a sentence.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    /// Where the mark stands.
    mark: usize,
    /// Where what follows it ends: one closing mark, or white space and a word.
    after_end: usize,
    /// Where the word after the white space starts.
    next_start: Option<usize>,
}

fn is_sentence_end(c: char) -> bool {
    matches!(c, '.' | '?' | '!')
}

/// Characters that cannot stand within words.
fn is_outside_words(c: char) -> bool {
    matches!(c, ')' | '"' | ';' | '}' | ']' | '*' | ':' | '@' | '\'' | '(' | '{' | '[' | '?' | '!') || is_curly(c)
}

fn is_curly(c: char) -> bool {
    matches!(c, '‘' | '’' | '“' | '”' | '«' | '»')
}

fn candidate(chars: &[char], mark: usize) -> Option<Candidate> {
    if !is_sentence_end(chars[mark]) {
        return None;
    }
    let next = *chars.get(mark + 1)?;
    if is_outside_words(next) {
        return Some(Candidate { mark, after_end: mark + 2, next_start: None });
    }
    let start = mark + 1 + chars[mark + 1..].iter().take_while(|c| python::is_space(**c)).count();
    if start == mark + 1 || start == chars.len() {
        return None;
    }
    let end = start + chars[start..].iter().take_while(|c| !python::is_space(**c)).count();
    Some(Candidate { mark, after_end: end, next_start: Some(start) })
}

/// The place of the last ASCII white space, 0 when there is none.
fn last_space(chars: &[char]) -> usize {
    chars.iter().rposition(|c| matches!(c, ' ' | '\t'..='\r')).unwrap_or(0)
}

/// The candidates with the text around each: the word before, the mark, what follows. Of marks in one word the last
/// stands for all.
fn contexts(chars: &[char]) -> Vec<(Candidate, Vec<char>)> {
    let mut found = Vec::new();
    let mut word = Slice { start: 0, end: 0 };
    let mut previous: Option<Candidate> = None;
    let context = |c: Candidate, word: Slice| {
        let before = &chars[word.start.min(word.end)..word.end];
        (c, before.iter().chain(&chars[c.mark..c.after_end]).copied().collect())
    };
    for mark in 0..chars.len() {
        let Some(candidate) = candidate(chars, mark) else { continue };
        let space = last_space(&chars[word.end.min(mark)..mark]);
        let start = if space > 0 { space + word.end + 1 } else { word.start };
        if let Some(previous) = previous
            && word.end <= start
        {
            found.push(context(previous, word));
        }
        previous = Some(candidate);
        word = Slice { start, end: mark };
    }
    if let Some(previous) = previous {
        found.push(context(previous, word));
    }
    found
}

fn slices(chars: &[char]) -> Vec<Slice> {
    let mut slices = Vec::new();
    let mut start = 0;
    for (candidate, context) in contexts(chars) {
        if has_break(&context) {
            slices.push(Slice { start, end: candidate.mark + 1 });
            start = candidate.next_start.unwrap_or(candidate.mark + 1);
        }
    }
    let blank = chars.iter().rev().take_while(|c| python::is_space(**c)).count();
    slices.push(Slice { start, end: chars.len() - blank });
    slices
}

/// Moves closing marks that follow a full stop into the sentence before.
fn realign(chars: &[char], slices: &[Slice]) -> Vec<Slice> {
    let mut sentences = Vec::new();
    let mut moved = 0;
    for (i, slice) in slices.iter().enumerate() {
        let sentence = Slice { start: slice.start + moved, end: slice.end };
        let next = slices.get(i + 1).map(|n| (n.start, closing(&chars[n.start..n.end.max(n.start)])));
        match next {
            Some((next_start, Some(length))) => {
                let closing = &chars[next_start..next_start + length];
                let blank = closing.iter().rev().take_while(|c| python::is_space(**c)).count();
                sentences.push(Slice { start: sentence.start, end: next_start + length - blank });
                moved = length;
            }
            _ => {
                moved = 0;
                if sentence.start < sentence.end {
                    sentences.push(sentence);
                }
            }
        }
    }
    sentences.into_iter().map(|s| Slice { start: s.start.min(s.end), end: s.end }).collect()
}

/// The length of closing marks at the start of a sentence, with the white space after them: they belong to the sentence
/// before when white space, two hyphens or the end of the line follow.
fn closing(sentence: &[char]) -> Option<usize> {
    let is_closing = |c: &char| matches!(c, '"' | '\'' | ')' | ']' | '}') || is_curly(*c);
    let mut length = 0;
    while sentence.get(length).is_some_and(is_closing) {
        length += 1;
        let rest = &sentence[length..];
        let blank = rest.iter().take_while(|c| python::is_space(**c)).count();
        if blank > 0 || rest.is_empty() || rest.starts_with(&['-', '-']) {
            return Some(length + blank);
        }
    }
    None
}

/// A word of a context with what is known of it.
#[derive(Debug)]
struct Token<'t> {
    text: &'t [char],
    /// Lower case; numbers as [`NUMBER`].
    kind: Cow<'static, str>,
    ends_sentence: bool,
    abbreviation: bool,
    ellipsis: bool,
}

/// A text in lower case.
fn lower(text: &[char]) -> String {
    match text.iter().all(char::is_ascii) {
        true => text.iter().map(char::to_ascii_lowercase).collect(),
        // As a whole: what a final sigma becomes depends on the letters before it.
        false => text.iter().collect::<String>().to_lowercase(),
    }
}

/// The kind of every number.
const NUMBER: &str = "##number##";

impl<'t> Token<'t> {
    fn new(text: &'t [char]) -> Self {
        let lower = lower(text);
        let kind = if is_number(&lower) { Cow::Borrowed(NUMBER) } else { Cow::Owned(lower) };
        let mut token = Token { text, kind, ends_sentence: false, abbreviation: false, ellipsis: false };
        token.annotate();
        token
    }

    /// The first pass: what the word alone tells.
    fn annotate(&mut self) {
        if let [c] = self.text[..]
            && is_sentence_end(c)
        {
            self.ends_sentence = true;
        } else if self.text.len() > 1 && self.text.iter().all(|c| *c == '.') {
            self.ellipsis = true;
        } else if let [before @ .., '.'] = self.text
            && before.last() != Some(&'.')
        {
            let word = lower(before);
            let last = word.rsplit('-').next().unwrap_or_default();
            if english::is_abbreviation(&word) || english::is_abbreviation(last) {
                self.abbreviation = true;
            } else {
                self.ends_sentence = true;
            }
        }
    }

    fn kind_without_period(&self) -> &str {
        match self.kind.strip_suffix('.') {
            Some(rest) if !rest.is_empty() => rest,
            _ => &self.kind,
        }
    }

    fn kind_inside_sentence(&self) -> &str {
        if self.ends_sentence { self.kind_without_period() } else { &self.kind }
    }

    fn is_initial(&self) -> bool {
        matches!(self.text[..], [c, '.'] if python::is_word(c) && !english::is_decimal(c))
    }

    fn starts_upper(&self) -> bool {
        self.text.first().is_some_and(|c| c.is_uppercase())
    }

    fn starts_lower(&self) -> bool {
        self.text.first().is_some_and(|c| c.is_lowercase())
    }

    fn orthography(&self) -> Orthography {
        english::orthography(self.kind_inside_sentence())
    }
}

/// `-?[.,]?\d[\d,.-]*\.?`, the whole text.
fn is_number(text: &str) -> bool {
    let text = text.strip_prefix('-').unwrap_or(text);
    let text = text.strip_prefix(['.', ',']).unwrap_or(text);
    text.starts_with(english::is_decimal)
        && text.chars().all(|c| english::is_decimal(c) || matches!(c, ',' | '.' | '-'))
}

/// Whether a word of the context ends a sentence with another word after it.
fn has_break(context: &[char]) -> bool {
    let mut tokens: Vec<Token<'_>> = context
        .split(|c| *c == '\n')
        .filter(|line| !line.iter().all(|c| python::is_space(*c)))
        .flat_map(words)
        .map(Token::new)
        .collect();
    for i in 1..tokens.len() {
        let (before, after) = tokens.split_at_mut(i);
        if let (Some(token), Some(next)) = (before.last_mut(), after.first()) {
            reconsider(token, next);
        }
    }
    tokens.iter().rev().skip(1).any(|t| t.ends_sentence)
}

/// The second pass: what a word and the next tell together.
fn reconsider(token: &mut Token<'_>, next: &Token<'_>) {
    if token.text.last() != Some(&'.') {
        return;
    }
    let next_kind = next.kind_inside_sentence();
    let orthography = next.orthography();
    let is_number = token.kind_without_period() == NUMBER;
    if is_number && english::follows_number(next_kind) {
        token.ends_sentence = false;
        token.abbreviation = true;
        return;
    }
    let initial = token.is_initial();
    let starts = starts_sentence(next, orthography);
    let starts_anew = starts == Some(true) || (next.starts_upper() && english::often_starts(next_kind));
    if (token.abbreviation || token.ellipsis) && !initial && starts_anew {
        token.ends_sentence = true;
        return;
    }
    let always_capital = starts.is_none() && initial && next.starts_upper() && !orthography.lower;
    if (initial || is_number) && (starts == Some(false) || always_capital) {
        token.ends_sentence = false;
        token.abbreviation = true;
    }
}

/// Whether a word starts a sentence, by how it is written elsewhere; `None` when that does not tell.
fn starts_sentence(token: &Token<'_>, orthography: Orthography) -> Option<bool> {
    if let [c] = token.text[..]
        && matches!(c, ';' | ':' | ',' | '.' | '!' | '?')
    {
        return Some(false);
    }
    if token.starts_upper() && orthography.lower && !orthography.upper_inside {
        return Some(true);
    }
    // Hardly a word starts sentences in lower case, so a small letter always speaks against it.
    token.starts_lower().then_some(false)
}

/// The words of a line, with punctuation split off, full stops kept.
fn words(line: &[char]) -> Vec<&[char]> {
    let mut words = Vec::new();
    let mut at = 0;
    while at < line.len() {
        if python::is_space(line[at]) {
            at += 1;
            continue;
        }
        let length = repeated_mark(&line[at..]).or_else(|| word(&line[at..])).unwrap_or(1);
        words.push(&line[at..at + length]);
        at += length;
    }
    words
}

/// Two or more hyphens or full stops, or three or more full stops with white space between.
fn repeated_mark(rest: &[char]) -> Option<usize> {
    let run = |mark: char| rest.iter().take_while(|c| **c == mark).count();
    match rest.first()? {
        '-' => Some(run('-')).filter(|n| *n > 1),
        '.' if run('.') > 1 => Some(run('.')),
        '.' => {
            let pairs = rest.chunks_exact(2).take_while(|p| p[0] == '.' && python::is_space(p[1])).count();
            match rest.get(2 * pairs) {
                Some('.') if pairs >= 2 => Some(2 * pairs + 1),
                _ if pairs >= 3 => Some(2 * pairs - 1),
                _ => None,
            }
        }
        _ => None,
    }
}

/// The shortest word that something ends.
fn word(rest: &[char]) -> Option<usize> {
    let starts_no_word = |c: char| {
        matches!(c, '(' | '"' | '`' | '{' | '[' | ':' | ';' | '&' | '#' | '*' | '@' | ')' | '}' | ']' | '-' | ',')
    };
    if starts_no_word(*rest.first()?) {
        return None;
    }
    let ends = |at: usize| match rest.get(at) {
        None => true,
        Some(c) => python::is_space(*c) || is_outside_words(*c) || repeated_mark(&rest[at..]).is_some(),
    };
    (1..=rest.len()).find(|at| ends(*at) || (rest.get(*at) == Some(&',') && ends(at + 1)))
}
