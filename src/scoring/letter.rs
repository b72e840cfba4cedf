//! The chosen letter in the answer to a multiple-choice question.
//!
//! The first of these that finds one: the whole text is one letter (in any wrapping); the last `\boxed{X}`; the last
//! "answer" or "option" that is followed by a capital letter ("The answer is **(B)**"); a capital letter and `)`, `.`
//! or `:` at the start; the last capital letter that stands alone, where A and I count only in brackets or asterisks.

/// Letters that can be chosen.
const LAST_LETTER: char = 'Z';

/// The chosen letter as a capital, by the rules of the module.
pub(super) fn chosen_letter(text: &str) -> Option<char> {
    whole(text).or_else(|| boxed(text)).or_else(|| announced(text)).or_else(|| leading(text)).or_else(|| alone(text))
}

fn letter(c: char) -> Option<char> {
    ('A'..=LAST_LETTER).contains(&c).then_some(c)
}

fn whole(text: &str) -> Option<char> {
    let core = text.trim_matches(|c: char| !c.is_alphanumeric());
    let mut chars = core.chars();
    match (chars.next(), chars.next()) {
        (Some(c), None) => letter(c.to_ascii_uppercase()),
        _ => None,
    }
}

fn boxed(text: &str) -> Option<char> {
    let inner = &text[text.rfind(r"\boxed{")? + r"\boxed{".len()..];
    let inner = inner.strip_prefix(r"\text{").unwrap_or(inner);
    starts_with_letter(inner)
}

/// A capital letter at the start that is not the start of a word.
fn starts_with_letter(text: &str) -> Option<char> {
    let mut chars = text.chars();
    let found = letter(chars.next()?)?;
    chars.next().is_none_or(|c| !c.is_alphanumeric() && c != '\'').then_some(found)
}

fn announced(text: &str) -> Option<char> {
    // ASCII lower-casing keeps byte offsets.
    let lower = text.to_ascii_lowercase();
    let mut found = None;
    for word in ["answer", "option", "choice"] {
        for (at, _) in lower.match_indices(word) {
            let mut rest = &text[at + word.len()..];
            loop {
                let trimmed = rest.trim_start_matches(|c: char| c.is_whitespace() || "*:(_`\"'[$=".contains(c));
                let next = ["is", "option", "choice", "letter"]
                    .iter()
                    .find_map(|w| trimmed.strip_prefix(w).filter(|r| !r.starts_with(char::is_alphanumeric)));
                match next {
                    Some(after) => rest = after,
                    None => {
                        rest = trimmed;
                        break;
                    }
                }
            }
            // "The answer is A good one": a lone capital before a lower-case word is an article.
            let article = rest.starts_with("A ") && rest[2..].starts_with(char::is_lowercase);
            if let Some(c) = starts_with_letter(rest).filter(|_| !article)
                && found.is_none_or(|(before, _)| at > before)
            {
                found = Some((at, c));
            }
        }
    }
    found.map(|(_, c)| c)
}

fn leading(text: &str) -> Option<char> {
    let core = text.trim_start().trim_start_matches(['(', '*', '[', '"']);
    let mut chars = core.chars();
    let found = letter(chars.next()?)?;
    matches!(chars.next()?, ')' | '.' | ':' | ']' | '*' | '\n').then_some(found)
}

fn alone(text: &str) -> Option<char> {
    let chars: Vec<char> = text.chars().collect();
    let at = |i: Option<usize>| i.and_then(|i| chars.get(i)).copied();
    (0..chars.len()).rev().find_map(|i| {
        let found = letter(chars[i])?;
        let (before, after) = (at(i.checked_sub(1)), at(Some(i + 1)));
        let word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || matches!(c, '\'' | '’' | '_'));
        let wrapped = matches!(before, Some('(' | '*' | '[')) && matches!(after, Some(')' | '*' | ']'));
        let counts = !word(before) && !word(after) && (wrapped || !matches!(found, 'A' | 'I'));
        counts.then_some(found)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_letter_is_found_as_people_write_it() {
        for (text, expected) in [
            ("B", Some('B')),
            ("b", Some('B')),
            ("**(C).**", Some('C')),
            ("The answer is B.", Some('B')),
            ("The correct answer is: **(D)** because A is wrong", Some('D')),
            (r"so \boxed{A}", Some('A')),
            (r"so \boxed{\text{C}}", Some('C')),
            ("B) Oslo", Some('B')),
            ("A. Oslo", Some('A')),
            ("I think it is C", Some('C')),
            ("I would go for (A)", Some('A')),
            ("A cat sat there.", None),
            ("I'm not sure", None),
            ("The answer is A good one", None),
            ("Answer: option B", Some('B')),
            ("OSLO", None),
            ("", None),
        ] {
            assert_eq!(chosen_letter(text), expected, "{text}");
        }
    }
}
