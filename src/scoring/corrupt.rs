//! Corrupt text: U+FFFD, and single characters of a foreign script in a text of one script.
//!
//! A foreign character counts only when all of these hold:
//!
//! * its script stands nowhere in the case (messages, tools, expected values, reference answer), nor does the English
//!   name of a language written in it;
//! * its script occurs in the text only in runs of at most [`RUN_CHARS_MAX`] characters, and has at most a quarter of
//!   the letters of the text's own script;
//! * it touches a letter of the text's own script, or stands between two words of it with a blank on each side (not in
//!   quotes or brackets), the latter only in texts of at least [`SENTENCE_LETTERS_MIN`] letters.
//!
//! Latin (units, names) and Greek (formulae) are never foreign, Han and Kana are not foreign to each other, and
//! Han in Korean counts only between two Hangul letters.

use super::script::{Counts, Script, ScriptSet, script_of};

/// Longest run that counts as single characters; longer ones are words that the author of the answer meant.
pub const RUN_CHARS_MAX: usize = 2;
/// Fewest letters of the text's own script for a foreign character that stands by itself.
pub const SENTENCE_LETTERS_MIN: u32 = 8;
/// The replacement character.
pub(super) const REPLACEMENT: char = '\u{fffd}';

/// A foreign character in a text, when there is one. The scripts of the case are asked for only when the text has one
/// that could be foreign.
pub(super) fn foreign_char(text: &str, allowed: impl FnOnce() -> ScriptSet) -> Option<(char, Script)> {
    let mut scripts = ScriptSet::default();
    scripts.insert_text(text);
    // Most texts end here: nothing but Latin and signs.
    if !super::script::ALL.into_iter().any(|s| scripts.contains(s) && is_ever_foreign(s)) {
        return None;
    }
    let allowed = allowed();
    if !super::script::ALL.into_iter().any(|s| scripts.contains(s) && is_ever_foreign(s) && !allowed.contains(s)) {
        return None;
    }
    let counts = Counts::of(text);
    let own = counts.dominant()?;
    let suspects = super::script::ALL.into_iter().filter(|s| {
        let letters = counts.get(*s);
        letters > 0 && *s != own && can_be_foreign(*s, own) && !allowed.contains(*s) && letters * 4 <= counts.get(own)
    });
    for script in suspects {
        if let Some(c) = lone_char(text, script, own, counts.get(own)) {
            return Some((c, script));
        }
    }
    None
}

fn can_be_foreign(script: Script, own: Script) -> bool {
    let east_asian = |s| matches!(s, Script::Han | Script::Kana);
    let akin = east_asian(script) && east_asian(own);
    is_ever_foreign(script) && !akin
}

fn is_ever_foreign(script: Script) -> bool {
    !matches!(script, Script::Latin | Script::Greek)
}

/// The first run of a script that counts as lone, unless a longer run shows that the script is meant.
fn lone_char(text: &str, script: Script, own: Script, own_letters: u32) -> Option<char> {
    let chars: Vec<char> = text.chars().collect();
    let mut found = None;
    let mut at = 0;
    while at < chars.len() {
        if script_of(chars[at]) != Some(script) {
            at += 1;
            continue;
        }
        let end = chars[at..].iter().position(|c| script_of(*c) != Some(script)).map_or(chars.len(), |n| at + n);
        if end - at > RUN_CHARS_MAX {
            return None;
        }
        if found.is_none() && is_lone(&chars, at, end, script, own, own_letters) {
            found = Some(chars[at]);
        }
        at = end;
    }
    found
}

fn is_lone(chars: &[char], start: usize, end: usize, script: Script, own: Script, own_letters: u32) -> bool {
    let is_own = |at: Option<usize>| at.and_then(|a| chars.get(a)).is_some_and(|c| script_of(*c) == Some(own));
    let (before, after) = (is_own(start.checked_sub(1)), is_own(Some(end)));
    if script == Script::Han && own == Script::Hangul {
        return before && after;
    }
    let blank = |at: Option<usize>| at.and_then(|a| chars.get(a)).is_some_and(|c| *c == ' ');
    let between_words = own_letters >= SENTENCE_LETTERS_MIN
        && blank(start.checked_sub(1))
        && is_own(start.checked_sub(2))
        && blank(Some(end))
        && is_own(Some(end + 1));
    before || after || between_words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Option<char> {
        foreign_char(text, ScriptSet::default).map(|(c, _)| c)
    }

    #[test]
    fn single_foreign_characters_are_found() {
        assert_eq!(found("The capital of Nor中way is Oslo."), Some('中'));
        assert_eq!(found("The capital is ส Oslo."), Some('ส'));
        assert_eq!(found("Osлo is the capital"), Some('л'));
        assert_eq!(found("Столица Норвегии的 Осло"), Some('的'));
        assert_eq!(found("수도는 오슬中로입니다"), Some('中'));
    }

    #[test]
    fn benign_mixtures_are_left_alone() {
        for text in [
            "Oslo",
            "Zürich, Łódź and São Paulo",
            "The area is πr² and the angle is sinθcosφ, 5 kΩ",
            "Tokyo (東京) is a city",
            "The word is \"中\" indeed, a single one",
            "Moscow is written Москва in its own letters",
            "Столица — Oslo, код NO, iPhone и т. д.",
            "東京は大きな町です。中国の都市ではない。",
            "新제품 소식과 제품(新) 안내",
            "Price: 300 ฿, 😀 done",
            "",
        ] {
            assert_eq!(found(text), None, "{text}");
        }
        let mut allowed = ScriptSet::default();
        allowed.insert(Script::Han);
        assert_eq!(foreign_char("The capital of Nor中way", || allowed), None);
    }
}
