//! What was found in one answer, and how findings become one Judgement (defects, sections 1 and 1.1).

use crate::domain::{Fault, Judgement, Verdict};

/// Longest piece of an answer or expectation shown in an explanation, in characters.
pub(super) const EXCERPT_CHARS_MAX: usize = 120;
/// Longest explanation, in characters.
pub(super) const EXPLANATION_CHARS_MAX: usize = 400;

/// How a finding enters the verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The answer fails by it.
    Fails,
    /// The answer does not fail by it, but once it fails by something else, this may be the primary Fault.
    Explains,
    /// Always secondary: a breach that quality suites record and do not judge.
    Noted,
}

/// One thing that is wrong with an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    /// Which Fault it is.
    pub fault: Fault,
    /// How it enters the verdict.
    pub role: Role,
    /// Stable name, listed in the module documentation.
    pub error_type: &'static str,
    /// One sentence: what was expected, what came.
    pub explanation: String,
    /// The name that a custom scorer gives instead.
    pub own_type: Option<String>,
}

impl Finding {
    /// A finding by which the answer fails.
    pub fn fails(fault: Fault, error_type: &'static str, explanation: impl Into<String>) -> Self {
        Finding { fault, role: Role::Fails, error_type, explanation: explanation.into(), own_type: None }
    }

    /// A finding that is only recorded.
    pub fn noted(fault: Fault, error_type: &'static str, explanation: impl Into<String>) -> Self {
        Finding { fault, role: Role::Noted, error_type, explanation: explanation.into(), own_type: None }
    }

    /// A finding that explains another failure.
    pub fn explains(fault: Fault, error_type: &'static str, explanation: impl Into<String>) -> Self {
        Finding { fault, role: Role::Explains, error_type, explanation: explanation.into(), own_type: None }
    }
}

/// Where a row of the catalogue or a ruling changes the general order of precedence.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rulings {
    /// Ruling 5: ambiguous indexes come first, whatever the merged arguments look like.
    pub ambiguous_index: bool,
    /// Ruling 3: where a call was due, an empty or reasoning-only answer comes before the missing call.
    pub empty_first: bool,
}

/// Place in the order of precedence, smaller first.
fn rank(fault: Fault, rulings: Rulings) -> (Fault, u8) {
    match fault {
        Fault::BadCallIndex if rulings.ambiguous_index => (Fault::InvalidJson, 0),
        Fault::EmptyAnswer | Fault::ReasoningOnly if rulings.empty_first => (Fault::ToolChoiceIgnored, 0),
        other => (other, 1),
    }
}

/// Folds all findings of one answer into its Judgement.
///
/// `score` is the weighted mean of the scorers; `implicit_failed` sets it to 0 for a failed answer, because a
/// provider fault outside the scorers leaves no partial credit. `WrongAnswer` means well formed and wrong, so it
/// stands only where no other Fault failed the answer.
pub(super) fn conclude(findings: Vec<Finding>, score: f64, implicit_failed: bool, rulings: Rulings) -> Judgement {
    let failed = findings.iter().any(|f| f.role == Role::Fails);
    let primary = findings
        .iter()
        .filter(|f| failed && f.role != Role::Noted)
        .min_by_key(|f| rank(f.fault, rulings))
        .map(|f| (f.fault, f.own_type.as_deref().unwrap_or(f.error_type).to_owned(), f.explanation.clone()));
    let mut secondary: Vec<Fault> = findings
        .iter()
        .map(|f| f.fault)
        .filter(|f| *f != Fault::WrongAnswer && primary.as_ref().is_none_or(|(p, _, _)| p != f))
        .collect();
    secondary.sort_unstable();
    secondary.dedup();
    match primary {
        Some((fault, error_type, explanation)) => {
            let score = if implicit_failed { 0.0 } else { score.clamp(0.0, 1.0) };
            let mut judgement =
                Judgement::fail(fault, score, &error_type, shorten(&explanation, EXPLANATION_CHARS_MAX));
            judgement.secondary = secondary;
            judgement
        }
        None => {
            let mut judgement = Judgement::pass(score.clamp(0.0, 1.0));
            debug_assert_eq!(judgement.verdict, Verdict::Pass);
            judgement.secondary = secondary;
            if let Some(first) = findings.iter().min_by_key(|f| f.fault) {
                judgement.explanation = shorten(&format!("Passed, but {}", first.explanation), EXPLANATION_CHARS_MAX);
            }
            judgement
        }
    }
}

/// Cuts a text at a number of characters and says so with an ellipsis.
pub(super) fn shorten(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        None => text.to_owned(),
        Some((at, _)) => format!("{}…", &text[..at]),
    }
}

/// A quoted, escaped and shortened piece of an answer.
pub(super) fn excerpt(text: &str) -> String {
    format!("{:?}", shorten(text, EXCERPT_CHARS_MAX))
}

/// JSON text, shortened.
pub(super) fn json_excerpt(value: &serde_json::Value) -> String {
    shorten(&value.to_string(), EXCERPT_CHARS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_answer_stands_only_alone() {
        let wrong = || Finding::fails(Fault::WrongAnswer, "equals:mismatch", "w");
        let alone = conclude(vec![wrong()], 0.5, false, Rulings::default());
        assert_eq!((alone.fault, alone.score), (Some(Fault::WrongAnswer), Some(0.5)));
        let leak = Finding::fails(Fault::MarkupLeak, "leak:tool_markup", "l");
        let both = conclude(vec![wrong(), leak], 0.5, true, Rulings::default());
        assert_eq!((both.fault, both.score), (Some(Fault::MarkupLeak), Some(0.0)));
        assert!(both.secondary.is_empty());
    }

    #[test]
    fn a_limit_explains_a_failure_and_makes_none() {
        let cut = || Finding::explains(Fault::LimitLowered, "limit:lowered", "cut");
        let passed = conclude(vec![cut()], 1.0, false, Rulings::default());
        assert_eq!((passed.verdict, passed.secondary), (Verdict::Pass, vec![Fault::LimitLowered]));
        let wrong = Finding::fails(Fault::WrongAnswer, "number:mismatch", "w");
        let failed = conclude(vec![wrong, cut()], 0.0, false, Rulings::default());
        assert_eq!(failed.verdict, Verdict::Fail(Fault::LimitLowered));
    }

    #[test]
    fn shortening_counts_characters() {
        assert_eq!(shorten("äöü", 3), "äöü");
        assert_eq!(shorten("äöüß", 3), "äöü…");
    }
}
