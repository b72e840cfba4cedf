//! The instruction types and their arguments.

use serde_json::{Map, Value};

use super::arguments::{Arguments, Bound, Unscorable};
use super::pattern::{Flags, Pattern};
use super::response::Response;
use super::{python, rules};
use crate::scoring::budget::PatternBudget;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $id:literal, $exact:literal;)*) => {
        /// An instruction type.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum InstructionKind { $($(#[$doc])* $name),* }

        impl InstructionKind {
            /// Every type.
            pub const ALL: &'static [InstructionKind] = &[$(InstructionKind::$name),*];

            /// Its id, such as `keywords:existence`.
            #[must_use]
            pub fn id(self) -> &'static str {
                match self { $(InstructionKind::$name => $id),* }
            }

            /// Whether it gives the official verdict on every input; the others rest on statistical models.
            #[must_use]
            pub fn is_exact(self) -> bool {
                match self { $(InstructionKind::$name => $exact),* }
            }
        }
    };
}

kinds! {
    /// Every keyword occurs.
    Existence = "keywords:existence", true;
    /// A keyword occurs so often.
    Frequency = "keywords:frequency", true;
    /// No forbidden word occurs.
    ForbiddenWords = "keywords:forbidden_words", true;
    /// A letter occurs so often.
    LetterFrequency = "keywords:letter_frequency", true;
    /// The whole answer is in one language.
    ResponseLanguage = "language:response_language", false;
    /// So many sentences.
    NumberSentences = "length_constraints:number_sentences", false;
    /// So many paragraphs, divided by `***`.
    NumberParagraphs = "length_constraints:number_paragraphs", true;
    /// So many words.
    NumberWords = "length_constraints:number_words", true;
    /// So many paragraphs, one of which starts with a given word.
    NthParagraphFirstWord = "length_constraints:nth_paragraph_first_word", true;
    /// At least so many placeholders in square brackets.
    NumberPlaceholders = "detectable_content:number_placeholders", true;
    /// A postscript.
    Postscript = "detectable_content:postscript", true;
    /// Exactly so many bullet points.
    NumberBulletLists = "detectable_format:number_bullet_lists", true;
    /// One of three fixed answers.
    ConstrainedResponse = "detectable_format:constrained_response", true;
    /// At least so many highlighted passages.
    NumberHighlightedSections = "detectable_format:number_highlighted_sections", true;
    /// At least so many numbered sections.
    MultipleSections = "detectable_format:multiple_sections", true;
    /// The whole answer is JSON.
    JsonFormat = "detectable_format:json_format", true;
    /// A title in double angular brackets.
    Title = "detectable_format:title", true;
    /// Two different answers, divided by `******`.
    TwoResponses = "combination:two_responses", true;
    /// The request is repeated first.
    RepeatPrompt = "combination:repeat_prompt", true;
    /// The answer ends with a phrase.
    EndChecker = "startend:end_checker", true;
    /// The answer stands in double quotation marks.
    Quotation = "startend:quotation", true;
    /// So many words in capitals.
    CapitalWordFrequency = "change_case:capital_word_frequency", false;
    /// English in capitals.
    EnglishCapital = "change_case:english_capital", false;
    /// English without capitals.
    EnglishLowercase = "change_case:english_lowercase", false;
    /// No comma.
    NoComma = "punctuation:no_comma", true;
}

impl InstructionKind {
    /// The type of an id; `None` when it is not implemented.
    #[must_use]
    pub fn find(id: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|k| k.id() == id)
    }
}

/// What an instruction asks, its arguments read.
#[derive(Debug, Clone)]
pub(super) enum Rule {
    Existence(Vec<Pattern>),
    Frequency(Pattern, Bound),
    Forbidden(Vec<Pattern>),
    Letter(char, Bound),
    Language(String),
    Sentences(Bound),
    Paragraphs(f64),
    Words(Bound),
    NthParagraph { count: f64, nth: usize, first_word: String },
    Placeholders(f64),
    Postscript(Pattern),
    Bullets(f64),
    Constrained,
    Highlights(f64),
    Sections(Pattern, f64),
    Json,
    Title,
    TwoResponses,
    RepeatPrompt(String),
    End(String),
    Quotation,
    CapitalWords(Bound),
    AllCapital,
    AllLowercase,
    NoComma,
}

/// One instruction of a prompt, ready to judge answers.
#[derive(Debug, Clone)]
pub struct Instruction {
    kind: InstructionKind,
    rule: Rule,
}

impl Instruction {
    /// Reads an instruction id and its arguments. Arguments that are null, zero or empty count as not given, and
    /// arguments that the type does not know are passed over, since published files pad with them.
    ///
    /// # Errors
    /// [`Unscorable`] where the official checker has no verdict of its own.
    pub fn parse(id: &str, arguments: &Map<String, Value>) -> Result<Self, Unscorable> {
        Self::parse_within(id, arguments, &PatternBudget::default())
    }

    /// As [`Instruction::parse`], its keywords taking from what the instructions of one case may take together.
    pub(in crate::scoring) fn parse_within(
        id: &str,
        arguments: &Map<String, Value>,
        budget: &PatternBudget,
    ) -> Result<Self, Unscorable> {
        let kind = InstructionKind::find(id).ok_or_else(|| Unscorable::UnknownType { id: id.to_owned() })?;
        let rule = rule(kind, Arguments { map: arguments, budget })?;
        Ok(Instruction { kind, rule })
    }

    /// Its type.
    #[must_use]
    pub fn kind(&self) -> InstructionKind {
        self.kind
    }

    /// Whether the answer as it is follows the instruction.
    ///
    /// # Errors
    /// [`Unscorable::TooLong`]: not to be found out in bounded time.
    pub fn strict(&self, response: &Response) -> Result<bool, Unscorable> {
        response.text().map_or(Ok(false), |text| rules::follows(&self.rule, text).ok_or(Unscorable::TooLong))
    }

    /// [`Instruction::strict`] and [`Instruction::loose`]: the answer as it is, which is the first variant, is looked at once.
    ///
    /// # Errors
    /// As [`Instruction::strict`].
    pub fn both(&self, response: &Response) -> Result<(bool, bool), Unscorable> {
        if self.strict(response)? {
            return Ok((true, true));
        }
        for text in response.variants().skip(usize::from(response.text().is_some())) {
            if rules::follows(&self.rule, text).ok_or(Unscorable::TooLong)? {
                return Ok((false, true));
            }
        }
        Ok((false, false))
    }

    /// Whether any variant of the answer follows the instruction.
    ///
    /// # Errors
    /// As [`Instruction::strict`].
    pub fn loose(&self, response: &Response) -> Result<bool, Unscorable> {
        for text in response.variants() {
            if rules::follows(&self.rule, text).ok_or(Unscorable::TooLong)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn rule(kind: InstructionKind, given: Arguments<'_>) -> Result<Rule, Unscorable> {
    use InstructionKind as K;
    Ok(match kind {
        K::Existence => Rule::Existence(given.patterns("keywords", str::to_owned)?),
        K::Frequency => {
            let keyword = given.counted("keyword", python::strip(given.text("keyword")?), true)?;
            Rule::Frequency(keyword, given.bound(given.amount("frequency")?, "relation")?)
        }
        K::ForbiddenWords => Rule::Forbidden(given.patterns("forbidden_words", |word| format!(r"\b{word}\b"))?),
        K::LetterFrequency => {
            Rule::Letter(letter(given)?, given.bound(given.amount("let_frequency")?, "let_relation")?)
        }
        K::ResponseLanguage => Rule::Language(language(given)?),
        K::NumberSentences => Rule::Sentences(given.bound(given.amount("num_sentences")?, "relation")?),
        K::NumberParagraphs => Rule::Paragraphs(given.amount("num_paragraphs")?),
        K::NumberWords => Rule::Words(given.bound(given.amount("num_words")?, "relation")?),
        K::NthParagraphFirstWord => nth_paragraph(given)?,
        K::NumberPlaceholders => Rule::Placeholders(given.amount("num_placeholders")?),
        K::Postscript => Rule::Postscript(postscript(python::strip(given.text("postscript_marker")?), given.budget)?),
        K::NumberBulletLists => Rule::Bullets(given.amount("num_bullets")?),
        K::ConstrainedResponse => Rule::Constrained,
        K::NumberHighlightedSections => Rule::Highlights(given.amount("num_highlights")?),
        K::MultipleSections => {
            let splitter = python::strip(given.text("section_spliter")?);
            let splitter = given.counted("section_spliter", &format!(r"\s?{splitter}\s?\d+\s?"), false)?;
            Rule::Sections(splitter, given.amount("num_sections")?)
        }
        K::JsonFormat => Rule::Json,
        K::Title => Rule::Title,
        K::TwoResponses => Rule::TwoResponses,
        K::RepeatPrompt => Rule::RepeatPrompt(python::strip(given.text("prompt_to_repeat")?).to_lowercase()),
        K::EndChecker => Rule::End(python::strip(given.text("end_phrase")?).to_lowercase()),
        K::Quotation => Rule::Quotation,
        // The one count for which the official checker takes a negative number.
        K::CapitalWordFrequency => {
            Rule::CapitalWords(given.bound(given.number("capital_frequency")?, "capital_relation")?)
        }
        K::EnglishCapital => Rule::AllCapital,
        K::EnglishLowercase => Rule::AllLowercase,
        K::NoComma => Rule::NoComma,
    })
}

/// The languages that the official checker knows by name; it fails on any other code.
const LANGUAGES: [&str; 30] = [
    "ar", "bg", "bn", "de", "en", "es", "fa", "fi", "fr", "gu", "he", "hi", "it", "ja", "kn", "ko", "ml", "mr", "ne",
    "pa", "pl", "pt", "ru", "sw", "ta", "te", "th", "uk", "ur", "vi",
];

fn language(given: Arguments<'_>) -> Result<String, Unscorable> {
    let code = given.text("language")?;
    let wanted = "one of the 30 language codes of IFEval, such as `en`";
    LANGUAGES.contains(&code).then(|| code.to_owned()).ok_or(Unscorable::Invalid { key: "language", wanted })
}

/// The letter to count; for any other character the official checker counts a random letter.
fn letter(given: Arguments<'_>) -> Result<char, Unscorable> {
    let text = given.text("letter")?;
    let lower = text.to_lowercase();
    let mut chars = lower.chars();
    match (chars.next(), chars.next()) {
        (Some(c @ 'a'..='z'), None) if text.chars().count() == 1 => Ok(c),
        _ => Err(Unscorable::Invalid { key: "letter", wanted: "one letter from a to z (it counts a random one else)" }),
    }
}

fn nth_paragraph(given: Arguments<'_>) -> Result<Rule, Unscorable> {
    let count = given.amount("num_paragraphs")?;
    let nth = given.amount("nth_paragraph")?;
    if nth > count || nth.fract() != 0.0 {
        return Err(Unscorable::Invalid { key: "nth_paragraph", wanted: "a whole number from 1 to `num_paragraphs`" });
    }
    Ok(Rule::NthParagraph { count, nth: nth as usize, first_word: given.text("first_word")?.to_lowercase() })
}

/// The pattern of a postscript, searched for in the lower-cased text.
fn postscript(marker: &str, budget: &PatternBudget) -> Result<Pattern, Unscorable> {
    let text = match marker {
        "P.P.S" => r"\s*p\.\s?p\.\s?s.*$".to_owned(),
        "P.S." => r"\s*p\.\s?s\..*$".to_owned(),
        other => format!(r"\s*{}.*$", other.to_lowercase()),
    };
    Pattern::compile(&text, Flags { ignore_case: false, multiline: true }, budget)
        .map_err(|why| Unscorable::Pattern { key: "postscript_marker", why })
}
