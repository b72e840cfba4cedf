//! Scorers of request parameters and of the context: `stop`, `needle`, `finish-reason`; and what usage tells.

use serde_json::Value;

use super::error::ScorerError;
use super::finding::{Finding, excerpt};
use super::options::Options;
use super::text::Answers;
use crate::domain::{Completion, Fault, Usage};

/// `stop`: the text contains no stop sequence.
#[derive(Debug, Clone)]
pub(super) struct Stop(Vec<String>);

impl Stop {
    /// Compiles the options; the request's own `stop` is the default.
    ///
    /// # Errors
    /// There is no stop sequence.
    pub fn new(options: &Options<'_>, request_stop: Option<&Value>) -> Result<Self, ScorerError> {
        let asked = || match request_stop {
            Some(Value::String(one)) => vec![one.clone()],
            Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            _ => Vec::new(),
        };
        let mut sequences = options.texts("sequences").unwrap_or_else(asked);
        sequences.retain(|s| !s.is_empty());
        if sequences.is_empty() {
            return Err(options.error("there is no stop sequence: give `sequences`, or set `stop` in the request"));
        }
        Ok(Stop(sequences))
    }

    /// Judges the content.
    pub fn judge(&self, text: &str) -> (f64, Option<Finding>) {
        match self.0.iter().find(|s| text.contains(s.as_str())) {
            None => (1.0, None),
            Some(found) => {
                let what = format!("the text goes on past the stop sequence {}", excerpt(found));
                (0.0, Some(Finding::fails(Fault::ParameterIgnored, "stop:overrun", what)))
            }
        }
    }
}

/// `needle`: a fact from a long prompt is known.
#[derive(Debug, Clone)]
pub(super) struct Needle {
    answers: Answers,
    min_prompt_tokens: Option<u64>,
}

impl Needle {
    /// Compiles the options.
    ///
    /// # Errors
    /// There are no answers.
    pub fn new(options: &Options<'_>) -> Result<Self, ScorerError> {
        Ok(Needle { answers: Answers::new(options)?, min_prompt_tokens: options.count("min_prompt_tokens") })
    }

    /// Judges the content. An absent answer means that the context was cut, unless the second witness, the reported
    /// `prompt_tokens`, says that all of the prompt was read: then it is a wrong answer.
    pub fn judge(&self, text: &str, usage: Usage) -> (f64, Option<Finding>) {
        let witness = self.min_prompt_tokens.zip(usage.tokens_in);
        let known = self.answers.occur_in(text);
        let wanted = self.answers.describe();
        let found = || excerpt(text.trim());
        match (known, witness) {
            (true, Some((least, read))) if read < least => {
                let what = format!("{read} prompt tokens were counted where at least {least} were sent");
                (1.0, Some(Finding::noted(Fault::ContextTruncated, "needle:prompt_tokens", what)))
            }
            (true, _) => (1.0, None),
            (false, Some((least, read))) if read >= least => {
                let what = format!("expected {wanted} from the prompt ({read} tokens, read whole), found {}", found());
                (0.0, Some(Finding::fails(Fault::WrongAnswer, "needle:absent", what)))
            }
            (false, witness) => {
                let told = witness.map(|(least, read)| format!(", and {read} prompt tokens were counted, not {least}"));
                let what = format!("expected {wanted} from the prompt, found {}{}", found(), told.unwrap_or_default());
                (0.0, Some(Finding::fails(Fault::ContextTruncated, "needle:absent", what)))
            }
        }
    }
}

/// `finish-reason`: it is the expected one.
pub(super) fn judge_finish_reason(expected: &str, found: Option<&str>) -> (f64, Option<Finding>) {
    if found == Some(expected) {
        return (1.0, None);
    }
    let found = found.map_or_else(|| "none".to_owned(), excerpt);
    let what = format!("expected the finish reason {}, found {found}", excerpt(expected));
    (0.0, Some(Finding::fails(Fault::WrongFinishReason, "finish_reason:unexpected", what)))
}

/// Fewest words before an implausible token count is recorded.
const WORDS_JUDGED_MIN: usize = 16;
/// A token stands for fewer words than this.
const WORDS_PER_TOKEN_MAX: usize = 4;
/// Words counted at most.
const WORDS_COUNTED_MAX: usize = 4_096;

/// What the reported usage tells: counts that cannot be true are recorded (`wire` judges them), and an output that was
/// cut below the asked limit explains a wrong answer.
pub(super) fn check_usage(completion: &Completion, asked_tokens: Option<u64>, out: &mut Vec<Finding>) {
    let usage = completion.usage;
    let Some(tokens_out) = usage.tokens_out else {
        return;
    };
    let text = completion.content.as_deref().unwrap_or("");
    let reasoning = completion.reasoning.as_deref().unwrap_or("");
    let something = !text.is_empty() || !reasoning.is_empty() || !completion.tool_calls.is_empty();
    // Every word is at least one token in practice; the factor leaves room for odd counting.
    let words = text.split_whitespace().take(WORDS_COUNTED_MAX).count();
    if something && tokens_out == 0 {
        out.push(Finding::noted(Fault::BadUsage, "usage:zero", "an answer came and 0 tokens were counted"));
    } else if words >= WORDS_JUDGED_MIN && words as u64 > tokens_out.saturating_mul(WORDS_PER_TOKEN_MAX as u64) {
        let what = format!("{tokens_out} tokens were counted for an answer of at least {words} words");
        out.push(Finding::noted(Fault::BadUsage, "usage:too_few", what));
    }
    if !reasoning.trim().is_empty() && usage.tokens_reasoning.unwrap_or(0) == 0 {
        let what = "reasoning came and its tokens were not counted";
        out.push(Finding::noted(Fault::BadUsage, "usage:reasoning_uncounted", what));
    }
    if let Some(asked) =
        asked_tokens.filter(|asked| completion.finish_reason.as_deref() == Some("length") && tokens_out < *asked)
    {
        let what = format!("the output was cut at {tokens_out} tokens where {asked} were asked for");
        out.push(Finding::explains(Fault::LimitLowered, "limit:lowered", what));
    }
}
