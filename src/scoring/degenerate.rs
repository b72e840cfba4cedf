//! Loops: the same words, or the same characters, over and over.
//!
//! A text is a loop when a unit of up to [`UNIT_WORDS_MAX`] words with a letter in it follows itself without anything
//! between, so often that no ordinary answer does it:
//!
//! | words in the unit | repeats |
//! |--:|--:|
//! | 1 | 20 |
//! | 2 | 14 |
//! | 3 | 10 |
//! | 4 to 9 | 8 |
//! | 10 to 40 | 6 |
//!
//! Three times as many are needed where the repeated part looks like a list or a table: it spans several lines, or the
//! unit holds `| { } [ ] " : ,`. Units without a letter (numbers, rulers) never count. A word of at least
//! [`RUN_CHARS_MIN`] characters is a loop when a unit of up to [`UNIT_CHARS_MAX`] characters fills so many of them at
//! least eight times over, unless the unit is made of digits, spaces and ruler characters.

/// Longest unit, in words.
pub const UNIT_WORDS_MAX: usize = 40;
/// Longest unit inside a word, in characters.
pub const UNIT_CHARS_MAX: usize = 32;
/// Fewest characters of a loop inside a word.
pub const RUN_CHARS_MIN: usize = 128;
/// Fewest words of a text that is looked at.
const WORDS_MIN: usize = 20;
/// Words of a text that are looked at: a loop runs to the end, so the end is taken.
const WORDS_MAX: usize = 8_192;

/// How often a unit of so many words must follow itself.
fn repeats_needed(words: usize) -> usize {
    match words {
        0 | 1 => 20,
        2 => 14,
        3 => 10,
        4..=9 => 8,
        _ => 6,
    }
}

/// The unit that a text repeats and how often, when it is a loop.
pub(super) fn find_loop(text: &str) -> Option<(String, usize)> {
    find_word_loop(text).or_else(|| text.split_whitespace().find_map(find_char_loop))
}

fn find_word_loop(text: &str) -> Option<(String, usize)> {
    let mut words: Vec<&str> = text.split_whitespace().collect();
    if words.len() < WORDS_MIN {
        return None;
    }
    let words = words.split_off(words.len().saturating_sub(WORDS_MAX));
    let hashes: Vec<u64> = words.iter().map(|w| fnv(w)).collect();
    if !may_loop(&hashes) {
        return None;
    }
    for period in 1..=UNIT_WORDS_MAX.min(words.len() / 2) {
        let needed = repeats_needed(period);
        let mut run = 0;
        for (at, (word, before)) in (period..).zip(hashes[period..].iter().zip(&hashes)) {
            if word != before {
                run = 0;
                continue;
            }
            run += 1;
            let repeats = run / period + 1;
            if repeats < needed || run % period != 0 {
                continue;
            }
            let looped = &words[at + 1 - run - period..=at];
            if is_loop(text, looped, period, repeats) {
                return Some((looped[..period].join(" "), repeats));
            }
        }
    }
    None
}

/// Whether a loop is possible at all, in one pass: inside a loop every word after the first unit was there at most one
/// unit ago, so at least 19 words in a row were seen within the longest unit. Words that share a bucket look equal,
/// which can only let more texts through.
fn may_loop(hashes: &[u64]) -> bool {
    const BUCKETS: usize = 1_024;
    const RUN_MIN: usize = 19;
    let mut last_seen = [0_u32; BUCKETS];
    let mut run = 0;
    for (place, hash) in (1_u32..).zip(hashes) {
        let bucket = &mut last_seen[*hash as usize % BUCKETS];
        let recent = *bucket != 0 && place - *bucket <= UNIT_WORDS_MAX as u32;
        *bucket = place;
        run = if recent { run + 1 } else { 0 };
        if run >= RUN_MIN {
            return true;
        }
    }
    false
}

/// Whether enough repeats of a unit are a loop, given what the unit looks like.
fn is_loop(text: &str, looped: &[&str], period: usize, repeats: usize) -> bool {
    let unit = &looped[..period];
    if !unit.iter().any(|w| w.chars().any(char::is_alphabetic)) {
        return false;
    }
    if repeats >= 3 * repeats_needed(period) {
        return true;
    }
    let structured = unit.iter().any(|w| w.contains(['|', '{', '}', '[', ']', '"', ':', ',']));
    let offset = |w: &str| w.as_ptr() as usize - text.as_ptr() as usize;
    let (first, last) = (offset(looped[0]), offset(looped[looped.len() - 1]));
    !structured && !text[first..last].contains('\n')
}

/// A loop inside one long word: scripts without blanks, and garbage such as `!!!!`.
fn find_char_loop(word: &str) -> Option<(String, usize)> {
    const REPEATS_MIN: usize = 8;
    if word.len() < RUN_CHARS_MIN {
        return None;
    }
    let chars: Vec<char> = word.chars().take(WORDS_MAX).collect();
    for period in 1..=UNIT_CHARS_MAX {
        let mut run = 0;
        for at in period..chars.len() {
            run = if chars[at] == chars[at - period] { run + 1 } else { 0 };
            let length = run + period;
            if length >= RUN_CHARS_MIN && length / period >= REPEATS_MIN {
                let unit = &chars[at + 1 - period..=at];
                if unit.iter().any(|c| !is_ruler(*c)) {
                    return Some((unit.iter().collect(), length / period));
                }
                break;
            }
        }
    }
    None
}

/// Characters that people repeat on purpose.
fn is_ruler(c: char) -> bool {
    c.is_numeric() || (!c.is_alphanumeric() && !"!?,;@$%&".contains(c))
}

/// FNV-1a: equal words have equal hashes; a false equality among the words of one answer is out of the question.
fn fnv(word: &str) -> u64 {
    word.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loops_are_found() {
        for text in [
            "the ".repeat(20),
            format!("The answer is clear. {}", "I am sure ".repeat(12)),
            "and so we go on to the next step of the plan ".repeat(7),
            "line one\nline two\n".repeat(40),
            "你好世界".repeat(40),
            "!".repeat(200),
            "ab".repeat(100),
        ] {
            assert!(find_loop(&text).is_some(), "{text}");
        }
        assert_eq!(find_loop(&"na na hey ".repeat(10)), Some(("na na hey".to_owned(), 10)));
    }

    #[test]
    fn every_least_loop_of_the_table_is_found() {
        for period in 1..=UNIT_WORDS_MAX {
            let unit: String = (0..period).map(|n| format!("w{n} ")).collect();
            let needed = repeats_needed(period);
            let ends = |times: usize| format!("It begins. {}", unit.repeat(times));
            assert!(find_loop(&ends(needed)).is_some(), "{period}");
            assert_eq!(find_loop(&ends(needed - 1)), None, "{period}");
        }
    }

    #[test]
    fn ordinary_answers_are_not() {
        let table: String = (0..30).map(|n| format!("| {n} | yes | no |\n")).collect();
        let same_rows = "| 0 | 0 | none |\n".repeat(20);
        let numbers = "0, ".repeat(300);
        let json = r#"{"ok": true}, "#.repeat(20);
        let list = "- yes\n".repeat(30);
        let prose = "We go to town. They go to town. You go to town. He goes home. ".repeat(4);
        for text in [
            table,
            same_rows,
            numbers,
            json,
            list,
            prose,
            "-".repeat(500),
            "=+".repeat(200),
            "0".repeat(500),
            "1 2 3 4 ".repeat(100),
            "ha ha ha ha ha".to_owned(),
            String::new(),
        ] {
            assert_eq!(find_loop(&text), None, "{text}");
        }
    }
}
