//! The catalogue of defects: one table row and one small function each.
//!
//! # Adding a defect
//! 1. Write a function in the file of its family. It gets the healthy answer (or its frames, or nothing yet,
//!    when it replaces the whole HTTP response), damages it and returns the [`Effect`]; it returns `None`
//!    when there is nothing to damage, and then the defect counts as not fired.
//! 2. Add a row to the family's `ROWS`: id, what it needs, the function, and the Faults that it may lead to.
//! 3. The table tests ask nothing else: they look for a request on which the defect fires and compare.

mod arguments;
mod calls;
pub(in crate::sim) mod choice;
mod finish;
mod http;
mod leaks;
mod limits;
mod quality;
mod reasoning;
mod streaming;

pub(in crate::sim) use http::RETRY_AFTER_MS;

use super::answer::Answer;
use super::draws::Draw;
use super::frames::Frame;
use super::library::Known;
use super::prompt::Prompt;
use super::spec::{Choice, Format};
use crate::domain::Fault;

/// How an answer will be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// It passes (the defect is at most a secondary Fault).
    Pass,
    /// It fails, or is unscored, with this primary Fault.
    Fault(Fault),
    /// It does not pass; which Fault is primary depends on the text.
    NoPass,
    /// It depends on how the case is judged.
    Unknown,
}

impl Expected {
    /// Two damages in one answer: the Fault declared first is primary.
    #[must_use]
    pub fn and(self, other: Expected) -> Expected {
        use Expected::{Fault as F, NoPass, Pass, Unknown};
        match (self, other) {
            (Pass, x) | (x, Pass) => x,
            (F(a), F(b)) => F(a.min(b)),
            (Unknown, Unknown) => Unknown,
            _ => NoPass,
        }
    }

    /// Whether a verdict agrees: `None` is a pass.
    #[must_use]
    pub fn agrees(self, primary: Option<Fault>) -> bool {
        match self {
            Expected::Pass => primary.is_none(),
            Expected::Fault(fault) => primary == Some(fault),
            Expected::NoPass => primary.is_some(),
            Expected::Unknown => true,
        }
    }
}

/// What a defect did to an answer, as the two kinds of suites must see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effect {
    /// In a quality suite.
    pub quality: Expected,
    /// In the wire-contract suite.
    pub wire: Expected,
    /// The answer was replaced: what earlier defects did to it no longer shows.
    pub instead: bool,
}

impl Effect {
    /// Both kinds of suites see the Fault.
    fn both(fault: Fault) -> Effect {
        Effect { quality: Expected::Fault(fault), wire: Expected::Fault(fault), instead: false }
    }

    /// Quality suites go on; the wire suite sees the Fault.
    fn wire(fault: Fault) -> Effect {
        Effect { quality: Expected::Pass, wire: Expected::Fault(fault), instead: false }
    }

    /// Quality suites see the Fault; the wire is sound.
    fn quality(fault: Fault) -> Effect {
        Effect { quality: Expected::Fault(fault), wire: Expected::Pass, instead: false }
    }

    /// Nobody minds.
    fn none() -> Effect {
        Effect { quality: Expected::Pass, wire: Expected::Pass, instead: false }
    }

    fn instead(self) -> Effect {
        Effect { instead: true, ..self }
    }
}

/// What a defect may look at.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    /// The request.
    pub prompt: &'a Prompt,
    /// A call is due.
    pub call_due: bool,
    /// How many requests the endpoint received before this one.
    pub ordinal: u64,
    /// Microseconds since the endpoint's last request; `None` for the first.
    pub idle_us: Option<i64>,
}

impl Scene<'_> {
    fn judged_by(&self, kind: &str) -> bool {
        self.prompt.known.as_ref().is_some_and(|known: &Known| known.judges(kind))
    }

    /// What a text in place of a call that was due is.
    fn text_for_call(&self) -> Fault {
        if self.prompt.is_forced() { Fault::ToolChoiceIgnored } else { Fault::MissingCall }
    }

    /// A text in place of the call that was due, as an effect.
    fn call_missing(&self) -> Effect {
        let fault = self.text_for_call();
        let wire = if fault == Fault::ToolChoiceIgnored { Expected::Fault(fault) } else { Expected::Pass };
        Effect { quality: Expected::Fault(fault), wire, instead: true }
    }

    /// A wrong text or call, as an effect; nothing is known about a request that matched no case.
    fn wrong(&self, fault: Option<Fault>) -> Effect {
        let quality = fault.map_or(Expected::Unknown, Expected::Fault);
        Effect { quality, wire: Expected::Pass, instead: true }
    }
}

/// What a defect needs of a request and its answer: the condition that its name implies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// A stream is asked for.
    Stream,
    /// Tools are offered.
    Tools,
    /// The answer has at least one call.
    Calls,
    /// The answer has at least two calls.
    TwoCalls,
    /// The answer is a text without calls.
    Text,
    /// Reasoning is sent with the answer.
    Reasoning,
    /// A call is required or named.
    Forced,
    /// A tool is named.
    Named,
    /// Calls are forbidden, and tools offered.
    Forbidden,
    /// Earlier assistant turns stand in the history.
    History,
    /// A JSON schema is asked for.
    JsonSchema,
    /// Stop sequences are sent.
    Stop,
    /// A seed is sent.
    Seed,
}

impl Need {
    /// Whether a request (and the answer so far) gives it.
    #[must_use]
    pub fn holds(self, prompt: &Prompt, answer: &Answer) -> bool {
        match self {
            Need::Stream => prompt.stream,
            Need::Tools => !prompt.tools.is_empty(),
            Need::Calls => !answer.calls.is_empty(),
            Need::TwoCalls => answer.calls.len() >= 2,
            Need::Text => answer.calls.is_empty() && answer.content.as_deref().is_some_and(|text| !text.is_empty()),
            Need::Reasoning => answer.reasoning.is_some(),
            Need::Forced => prompt.is_forced() && !prompt.tools.is_empty(),
            Need::Named => prompt.choice == Choice::Named && !prompt.tools.is_empty(),
            Need::Forbidden => prompt.choice == Choice::None && !prompt.tools.is_empty(),
            Need::History => prompt.history_turns > 0,
            Need::JsonSchema => prompt.format == Format::JsonSchema,
            Need::Stop => !prompt.stop.is_empty(),
            Need::Seed => prompt.seeded,
        }
    }
}

/// A whole HTTP response in place of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instead {
    /// Status code.
    pub status: u16,
    /// Body, JSON or empty.
    pub body: String,
    /// `Retry-After` in seconds, and `retry-after-ms`.
    pub retry_after_ms: Option<u64>,
}

/// How a defect acts.
#[derive(Debug, Clone, Copy)]
pub enum Act {
    /// Replaces the whole response.
    Http(fn(&Scene<'_>, &mut Draw) -> Option<(Instead, Effect)>),
    /// Gives other content, before the answer gets its call ids.
    Content(fn(&mut Answer, &Scene<'_>, &mut Draw) -> Option<Effect>),
    /// Damages the answer before it is written.
    Answer(fn(&mut Answer, &Scene<'_>, &mut Draw) -> Option<Effect>),
    /// Damages the frames of a stream.
    Frames(fn(&mut Vec<Frame>, &Answer, &Scene<'_>, &mut Draw) -> Option<Effect>),
}

/// One defect of the catalogue.
#[derive(Debug, Clone, Copy)]
pub struct Defect {
    /// Its id.
    pub id: &'static str,
    /// What it needs.
    pub needs: &'static [Need],
    /// What it does.
    pub act: Act,
    /// Primary Faults that it may lead to in a quality suite; empty: always a pass.
    pub quality: &'static [Fault],
    /// Primary Faults that it may lead to in the wire suite; empty: always a pass.
    pub wire: &'static [Fault],
    /// What the wire shows, in a few words.
    pub shows: &'static str,
}

/// Every defect, family by family.
pub static DEFECTS: &[Defect] = &ALL;

static ALL: [Defect; COUNT] = concat();

const FAMILIES: &[&[Defect]] = &[
    arguments::ROWS,
    calls::ROWS,
    finish::ROWS,
    leaks::ROWS,
    choice::ROWS,
    reasoning::ROWS,
    streaming::ROWS,
    http::ROWS,
    limits::ROWS,
    quality::ROWS,
];

const COUNT: usize = {
    let (mut total, mut family) = (0, 0);
    while family < FAMILIES.len() {
        total += FAMILIES[family].len();
        family += 1;
    }
    total
};

const fn concat() -> [Defect; COUNT] {
    let mut all = [FAMILIES[0][0]; COUNT];
    let (mut at, mut family) = (0, 0);
    while family < FAMILIES.len() {
        let mut row = 0;
        while row < FAMILIES[family].len() {
            all[at] = FAMILIES[family][row];
            at += 1;
            row += 1;
        }
        family += 1;
    }
    all
}

/// The defect of an id.
#[must_use]
pub fn find(id: &str) -> Option<&'static Defect> {
    DEFECTS.iter().find(|defect| defect.id == id)
}

/// All defects, in the order of the catalogue.
#[must_use]
pub fn catalogue() -> &'static [Defect] {
    DEFECTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_and_faults_are_named_once() {
        let ids: std::collections::HashSet<&str> = DEFECTS.iter().map(|d| d.id).collect();
        assert_eq!(ids.len(), DEFECTS.len());
        assert!(DEFECTS.len() >= 60, "{}", DEFECTS.len());
        for defect in DEFECTS {
            for list in [defect.quality, defect.wire] {
                let unique: std::collections::HashSet<&Fault> = list.iter().collect();
                assert_eq!(unique.len(), list.len(), "{}", defect.id);
            }
            assert!(!defect.shows.is_empty());
        }
        assert!(find("args_duplicated").is_some() && find("nothing").is_none());
    }

    #[test]
    fn expectations_add_up_by_precedence() {
        use Expected::{Fault as F, NoPass, Pass, Unknown};
        assert_eq!(F(Fault::WrongAnswer).and(F(Fault::InvalidJson)), F(Fault::InvalidJson));
        assert_eq!(Pass.and(F(Fault::BadUsage)), F(Fault::BadUsage));
        assert_eq!(Unknown.and(F(Fault::BadUsage)), NoPass);
        assert!(NoPass.agrees(Some(Fault::Degenerate)) && !NoPass.agrees(None) && Unknown.agrees(None));
    }
}
