//! Errors in files that people write: file, line, caret, reason, hint; all of them at once.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// One problem in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file.
    pub file: PathBuf,
    /// Line and column from 1, with the line's text; `None` when it concerns the whole file.
    pub place: Option<Place>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

/// Where in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Number of characters underlined, at least 1.
    pub width: usize,
    /// The line's text. Of a line longer than [`LINE_CHARS_MAX`] a part around the column, `…` where it is cut.
    pub text: String,
    /// Column of the first character of `text`, from 1; a leading `…` counts as one.
    pub text_column: usize,
}

/// Longest line shown in full.
pub const LINE_CHARS_MAX: usize = 160;

/// How much of a longer line is shown before the column.
const LINE_CHARS_BEFORE: usize = 60;

impl Place {
    /// The place of a byte range in a text.
    #[must_use]
    pub fn of(source: &str, span: Range<usize>) -> Self {
        let start = floor_char(source, span.start);
        let line_start = source[..start].rfind('\n').map_or(0, |i| i + 1);
        let line_end = source[start..].find('\n').map_or(source.len(), |i| start + i);
        let end = floor_char(source, span.end.clamp(start, line_end));
        let column = source[line_start..start].chars().count() + 1;
        let (text, text_column) = excerpt(source[line_start..line_end].trim_end_matches('\r'), column);
        Place {
            line: source[..start].matches('\n').count() + 1,
            column,
            width: source[start..end].chars().count().max(1),
            text,
            text_column,
        }
    }
}

/// The part of a line that is shown, and the column at which it begins.
fn excerpt(line: &str, column: usize) -> (String, usize) {
    if line.chars().nth(LINE_CHARS_MAX).is_none() {
        return (line.to_owned(), 1);
    }
    let skipped = column.saturating_sub(LINE_CHARS_BEFORE + 1);
    let rest = line.char_indices().nth(skipped).map_or("", |(i, _)| &line[i..]);
    let shown = rest.char_indices().nth(LINE_CHARS_MAX).map_or(rest, |(i, _)| &rest[..i]);
    let tail = if shown.len() < rest.len() { "…" } else { "" };
    match skipped {
        0 => (format!("{shown}{tail}"), 1),
        _ => (format!("…{shown}{tail}"), skipped),
    }
}

fn floor_char(source: &str, at: usize) -> usize {
    let mut at = at.min(source.len());
    while !source.is_char_boundary(at) {
        at -= 1;
    }
    at
}

impl Diagnostic {
    /// A problem at a byte range of a file's text.
    #[must_use]
    pub fn at(file: &Path, source: &str, span: Range<usize>, message: impl Into<String>) -> Self {
        Diagnostic { file: file.to_owned(), place: Some(Place::of(source, span)), message: message.into(), hint: None }
    }

    /// A problem with the whole file.
    #[must_use]
    pub fn file(file: &Path, message: impl Into<String>) -> Self {
        Diagnostic { file: file.to_owned(), place: None, message: message.into(), hint: None }
    }

    /// Adds what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "error: {}", self.message)?;
        match &self.place {
            None => write!(f, "  --> {}", self.file.display())?,
            Some(p) => {
                let gutter = p.line.to_string();
                let pad = " ".repeat(gutter.len());
                writeln!(f, "{pad} --> {}:{}:{}", self.file.display(), p.line, p.column)?;
                writeln!(f, "{pad} |")?;
                writeln!(f, "{gutter} | {}", p.text)?;
                let before = p.column.saturating_sub(p.text_column);
                let lead: String = p.text.chars().take(before).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
                let visible = p.text.chars().count().saturating_sub(before).max(1);
                write!(f, "{pad} | {lead}{}", "^".repeat(p.width.min(visible)))?;
            }
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

/// All problems found, never empty as an error.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl Diagnostics {
    /// Adds one.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.0.push(diagnostic);
    }

    /// `Ok(value)` when there are none.
    ///
    /// # Errors
    /// All problems, ordered by file and line.
    pub fn into_result<T>(mut self, value: T) -> Result<T, Diagnostics> {
        if self.0.is_empty() {
            return Ok(value);
        }
        self.0.sort_by(|a, b| {
            let line = |d: &Diagnostic| d.place.as_ref().map_or((0, 0), |p| (p.line, p.column));
            (&a.file, line(a)).cmp(&(&b.file, line(b)))
        });
        Err(self)
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for d in &self.0 {
            writeln!(f, "{d}\n")?;
        }
        match self.0.len() {
            1 => write!(f, "1 error"),
            n => write!(f, "{n} errors"),
        }
    }
}

impl std::error::Error for Diagnostics {}

/// The nearest of the known words, when one is near enough to be meant.
#[must_use]
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).max(1) + 1;
    known
        .into_iter()
        .map(|k| (distance(word, k), k))
        .filter(|(d, _)| *d <= limit)
        .min_by_key(|(d, _)| *d)
        .map(|(_, k)| k)
}

/// Levenshtein distance in characters.
#[must_use]
pub fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_at_the_word_under_the_caret() {
        let source = "a = 1\nmargn = 0.02\n";
        let d =
            Diagnostic::at(Path::new("x.toml"), source, 6..11, "unknown key `margn`").hint("did you mean `margin`?");
        assert_eq!(
            d.to_string(),
            "error: unknown key `margn`\n  --> x.toml:2:1\n  |\n2 | margn = 0.02\n  | ^^^^^\n  hint: did you mean `margin`?"
        );
    }

    #[test]
    fn of_a_long_line_the_part_around_the_caret_is_shown() {
        let source = format!("{}here{}", "é".repeat(500), "x".repeat(500));
        let d = Diagnostic::at(Path::new("x"), &source, 1000..1004, "wrong");
        let shown = d.to_string();
        let lines: Vec<&str> = shown.lines().collect();
        assert!(lines[1].ends_with("x:1:501"), "{shown}");
        let at = lines[4].find('^').unwrap();
        let under: String = lines[3].chars().skip(at).take(4).collect();
        assert_eq!((under.as_str(), lines[4].matches('^').count()), ("here", 4), "{shown}");
        assert!(lines[3].chars().count() < 180);
    }

    #[test]
    fn a_near_word_is_found_and_a_far_one_is_not() {
        assert_eq!(nearest("margn", ["margin", "alpha"]), Some("margin"));
        assert_eq!(nearest("zebra", ["margin", "alpha"]), None);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
