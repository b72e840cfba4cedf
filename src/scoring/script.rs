//! Writing systems: which script a letter belongs to, and the scripts of a text.

use crate::domain::Fault;

use super::error::ScorerError;
use super::finding::Finding;
use super::options::Options;

/// A script that the scorers tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Script {
    Latin,
    Cyrillic,
    Greek,
    Han,
    Hangul,
    Kana,
    Arabic,
    Hebrew,
    Devanagari,
    Thai,
}

/// All scripts, in the order of their discriminants.
pub(super) const ALL: [Script; 10] = [
    Script::Latin,
    Script::Cyrillic,
    Script::Greek,
    Script::Han,
    Script::Hangul,
    Script::Kana,
    Script::Arabic,
    Script::Hebrew,
    Script::Devanagari,
    Script::Thai,
];

/// Ranges of letters and the marks that belong to one script alone, ordered. Digits and common signs are left out.
const RANGES: &[(char, char, Script)] = &[
    ('A', 'Z', Script::Latin),
    ('a', 'z', Script::Latin),
    ('\u{aa}', '\u{aa}', Script::Latin),
    ('\u{ba}', '\u{ba}', Script::Latin),
    ('\u{c0}', '\u{d6}', Script::Latin),
    ('\u{d8}', '\u{f6}', Script::Latin),
    ('\u{f8}', '\u{2b8}', Script::Latin),
    ('\u{370}', '\u{373}', Script::Greek),
    ('\u{376}', '\u{377}', Script::Greek),
    ('\u{37b}', '\u{37d}', Script::Greek),
    ('\u{386}', '\u{386}', Script::Greek),
    ('\u{388}', '\u{3e1}', Script::Greek),
    ('\u{400}', '\u{484}', Script::Cyrillic),
    ('\u{487}', '\u{52f}', Script::Cyrillic),
    ('\u{5d0}', '\u{5ea}', Script::Hebrew),
    ('\u{620}', '\u{63f}', Script::Arabic),
    ('\u{641}', '\u{64a}', Script::Arabic),
    ('\u{671}', '\u{6d3}', Script::Arabic),
    ('\u{6fa}', '\u{6fc}', Script::Arabic),
    ('\u{750}', '\u{77f}', Script::Arabic),
    ('\u{900}', '\u{950}', Script::Devanagari),
    ('\u{955}', '\u{963}', Script::Devanagari),
    ('\u{971}', '\u{97f}', Script::Devanagari),
    ('\u{e01}', '\u{e3a}', Script::Thai),
    ('\u{e40}', '\u{e4e}', Script::Thai),
    ('\u{1100}', '\u{11ff}', Script::Hangul),
    ('\u{1e00}', '\u{1eff}', Script::Latin),
    ('\u{1f00}', '\u{1ffe}', Script::Greek),
    ('\u{2c60}', '\u{2c7f}', Script::Latin),
    ('\u{3005}', '\u{3005}', Script::Han),
    ('\u{3041}', '\u{3096}', Script::Kana),
    ('\u{309d}', '\u{309f}', Script::Kana),
    ('\u{30a1}', '\u{30fa}', Script::Kana),
    ('\u{30fd}', '\u{30ff}', Script::Kana),
    ('\u{3131}', '\u{318e}', Script::Hangul),
    ('\u{31f0}', '\u{31ff}', Script::Kana),
    ('\u{3400}', '\u{4dbf}', Script::Han),
    ('\u{4e00}', '\u{9fff}', Script::Han),
    ('\u{ac00}', '\u{d7a3}', Script::Hangul),
    ('\u{f900}', '\u{fad9}', Script::Han),
    ('\u{fb00}', '\u{fb06}', Script::Latin),
    ('\u{fb50}', '\u{fbb1}', Script::Arabic),
    ('\u{fe70}', '\u{fefc}', Script::Arabic),
    ('\u{ff21}', '\u{ff3a}', Script::Latin),
    ('\u{ff41}', '\u{ff5a}', Script::Latin),
    ('\u{ff66}', '\u{ff6f}', Script::Kana),
    ('\u{ff71}', '\u{ff9d}', Script::Kana),
    ('\u{20000}', '\u{323af}', Script::Han),
];

/// The script of a letter; `None` for digits, signs, emoji and scripts that are not told apart.
pub(super) fn script_of(c: char) -> Option<Script> {
    if c.is_ascii() {
        return c.is_ascii_alphabetic().then_some(Script::Latin);
    }
    let at = RANGES.partition_point(|(_, last, _)| *last < c);
    RANGES.get(at).filter(|(first, _, _)| *first <= c).map(|(_, _, script)| *script)
}

impl Script {
    /// The name as written in suites.
    pub fn name(self) -> &'static str {
        match self {
            Script::Latin => "Latin",
            Script::Cyrillic => "Cyrillic",
            Script::Greek => "Greek",
            Script::Han => "Han",
            Script::Hangul => "Hangul",
            Script::Kana => "Kana",
            Script::Arabic => "Arabic",
            Script::Hebrew => "Hebrew",
            Script::Devanagari => "Devanagari",
            Script::Thai => "Thai",
        }
    }

    /// English names of languages that are written in it: a prompt that names one may be answered in it.
    pub fn languages(self) -> &'static [&'static str] {
        match self {
            Script::Latin | Script::Greek => &[],
            Script::Cyrillic => &["cyrillic", "russian", "ukrainian", "bulgarian", "serbian", "slavic", "macedonian"],
            Script::Han => &["chinese", "mandarin", "cantonese", "japanese", "kanji", "hanzi", "hanja"],
            Script::Hangul => &["hangul", "korean"],
            Script::Kana => &["japanese", "kana", "hiragana", "katakana"],
            Script::Arabic => &["arabic", "persian", "farsi", "urdu"],
            Script::Hebrew => &["hebrew", "yiddish"],
            Script::Devanagari => &["devanagari", "hindi", "sanskrit", "marathi", "nepali"],
            Script::Thai => &["thai"],
        }
    }
}

/// A set of scripts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ScriptSet(u16);

impl ScriptSet {
    /// Adds one.
    pub fn insert(&mut self, script: Script) {
        self.0 |= 1 << script as u16;
    }

    /// Adds those of another set.
    pub fn insert_all(&mut self, others: ScriptSet) {
        self.0 |= others.0;
    }

    /// Whether it is in.
    pub fn contains(self, script: Script) -> bool {
        self.0 & (1 << script as u16) != 0
    }

    /// Adds all scripts of a text.
    pub fn insert_text(&mut self, text: &str) {
        if !text.is_ascii() {
            text.chars().filter(|c| !c.is_ascii()).filter_map(script_of).for_each(|s| self.insert(s));
        }
    }
}

/// Letters of each script in a text.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts([u32; ALL.len()]);

impl Counts {
    /// Counts a text.
    pub fn of(text: &str) -> Self {
        let mut counts = Counts::default();
        for script in text.chars().filter_map(script_of) {
            counts.0[script as usize] = counts.0[script as usize].saturating_add(1);
        }
        counts
    }

    /// Letters of one script.
    pub fn get(&self, script: Script) -> u32 {
        self.0[script as usize]
    }

    /// The script with the most letters, when there is a letter.
    pub fn dominant(&self) -> Option<Script> {
        ALL.into_iter().filter(|s| self.get(*s) > 0).max_by_key(|s| self.get(*s))
    }

    fn total(&self) -> u32 {
        self.0.iter().fold(0, |sum, n| sum.saturating_add(*n))
    }
}

/// The `script` scorer: the answer is written in the script that was asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct AskedScript {
    script: Script,
    min_share: f64,
}

impl AskedScript {
    /// Smallest share of letters by default.
    pub const MIN_SHARE: f64 = 0.8;

    /// Compiles the options.
    ///
    /// # Errors
    /// The script is unknown.
    pub fn new(options: &Options<'_>) -> Result<Self, ScorerError> {
        let name = options.required_text("script")?;
        let script = ALL.into_iter().find(|s| s.name() == name);
        let script = script.ok_or_else(|| options.error(format!("there is no script {name:?}")))?;
        Ok(AskedScript { script, min_share: options.number("min_share").unwrap_or(Self::MIN_SHARE) })
    }

    /// The script asked for.
    pub fn script(self) -> Script {
        self.script
    }

    /// Judges a text. Kana means Japanese: Han letters count with it, provided there is Kana at all. Another script
    /// that has more letters makes the answer `Degenerate`; a mixture, or no letter at all, a `WrongAnswer`.
    pub fn judge(self, text: &str) -> (f64, Option<Finding>) {
        let counts = Counts::of(text);
        let mut wanted = counts.get(self.script);
        if self.script == Script::Kana && wanted > 0 {
            wanted = wanted.saturating_add(counts.get(Script::Han));
        }
        let total = counts.total();
        let name = self.script.name();
        if total == 0 {
            let text = format!("the answer should be written in {name} and has no letter");
            return (0.0, Some(Finding::fails(Fault::WrongAnswer, "script:no_letters", text)));
        }
        let share = f64::from(wanted) / f64::from(total);
        if share >= self.min_share {
            return (1.0, None);
        }
        let (percent, least) = ((share * 100.0).floor(), self.min_share * 100.0);
        let what = format!("{percent} % of the letters are {name}, at least {least:.0} % were expected");
        Some(match counts.dominant() {
            Some(other) if counts.get(other) > wanted => Finding::fails(
                Fault::Degenerate,
                "script:other_dominates",
                format!("the answer is written in {}: {what}", other.name()),
            ),
            _ => Finding::fails(Fault::WrongAnswer, "script:mixed", format!("the answer mixes scripts: {what}")),
        })
        .map_or((1.0, None), |finding| (0.0, Some(finding)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(script: Script) -> regex::Regex {
        let class = match script {
            Script::Kana => r"[\p{Hiragana}\p{Katakana}]".to_owned(),
            other => format!(r"\p{{{}}}", other.name()),
        };
        regex::Regex::new(&class).unwrap()
    }

    #[test]
    fn the_table_is_ordered_and_agrees_with_unicode() {
        assert!(RANGES.windows(2).all(|w| w[0].1 < w[1].0));
        for script in ALL {
            let unicode = pattern(script);
            for (first, last, _) in RANGES.iter().filter(|(_, _, s)| *s == script) {
                for c in (*first..=*last).filter(|c| *c < '\u{10000}' && c.is_alphabetic()) {
                    assert!(unicode.is_match(c.encode_utf8(&mut [0; 4])), "{c:?} is not {script:?}");
                    assert_eq!(script_of(c), Some(script));
                }
            }
        }
    }

    #[test]
    fn every_common_letter_is_in_the_table() {
        for script in ALL {
            let unicode = pattern(script);
            let missed = ('\u{80}'..='\u{9fff}')
                .filter(|c| c.is_alphabetic() && unicode.is_match(c.encode_utf8(&mut [0; 4])))
                .filter(|c| script_of(*c).is_none())
                .count();
            // Phonetic extensions and historic letters are left out on purpose.
            assert!(missed < 250, "{script:?}: {missed}");
        }
        for (c, script) in [('я', Script::Cyrillic), ('中', Script::Han), ('ก', Script::Thai), ('한', Script::Hangul)]
        {
            assert_eq!(script_of(c), Some(script));
        }
        assert!(['5', '٣', '–', '😀', ' ', '฿', '।', '、'].iter().all(|c| script_of(*c).is_none()));
    }

    #[test]
    fn the_asked_script_must_dominate() {
        let judge = |script, text: &str| {
            AskedScript { script, min_share: AskedScript::MIN_SHARE }.judge(text).1.map(|f| (f.fault, f.error_type))
        };
        assert_eq!(judge(Script::Thai, "สวัสดีครับ 123"), None);
        assert_eq!(judge(Script::Thai, "Good morning"), Some((Fault::Degenerate, "script:other_dominates")));
        assert_eq!(judge(Script::Kana, "東京は大きい町です"), None);
        assert_eq!(judge(Script::Kana, "东京是一座大城市"), Some((Fault::Degenerate, "script:other_dominates")));
        assert_eq!(judge(Script::Cyrillic, "Привет abc"), Some((Fault::WrongAnswer, "script:mixed")));
        assert_eq!(judge(Script::Latin, "123"), Some((Fault::WrongAnswer, "script:no_letters")));
    }
}
