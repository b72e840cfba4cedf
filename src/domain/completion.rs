//! A provider's answer in one shape, whatever its protocol.

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::Fault;

/// What the model said it used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Tokens of the prompt, when the answer says so.
    pub tokens_in: Option<u64>,
    /// Tokens of the answer, when the answer says so.
    pub tokens_out: Option<u64>,
    /// Tokens of reasoning inside `tokens_out`, when the answer says so.
    pub tokens_reasoning: Option<u64>,
}

/// What it took to get the answer: facts of the run and not of the answer. What is not known is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Took {
    /// Duration of the try that was answered, in microseconds; of a conversation, of all its answers together.
    pub total_us: Option<i64>,
    /// Time to the first token, in microseconds.
    pub ttft_us: Option<i64>,
    /// Billionths of a US dollar; `None` also where no price is known.
    pub cost_nanousd: Option<i64>,
}

impl Took {
    /// At once and for nothing: what reference answers are judged with.
    pub const NOTHING: Took = Took { total_us: Some(0), ttft_us: Some(0), cost_nanousd: Some(0) };
}

/// One tool call as it was sent. Nothing is repaired.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolCall {
    /// The call's id, when present.
    pub id: Option<String>,
    /// The called name; empty when absent.
    pub name: String,
    /// The wire string of the arguments. `None`: the field was absent or null.
    pub arguments: Option<String>,
    /// The arguments came as a JSON value instead of a string (then `arguments` is its JSON text).
    pub arguments_as_value: bool,
}

/// A breach of the wire contract that did not stop decoding: a secondary Fault in quality suites.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    /// The Fault that the wire suite would give.
    pub fault: Fault,
    /// What was seen, in a few words.
    pub what: String,
}

/// The breach of a name that a later delta sends again: appended, it makes a wrong name.
pub const NAME_SENT_AGAIN: &str = "the name of a call is sent again or late";
/// The breach of an id that a later delta sends again: appended, it makes a wrong id.
pub const ID_SENT_AGAIN: &str = "the id of a call is sent again or late";

/// A provider's answer. Lenient: every part may be absent; what was wrong is in `breaches`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Completion {
    /// Visible text; `None` when absent or null.
    pub content: Option<String>,
    /// Refusal text, when sent.
    pub refusal: Option<String>,
    /// Reasoning text (`reasoning` or `reasoning_content`), when sent.
    pub reasoning: Option<String>,
    /// The calls, in the order of their index.
    pub tool_calls: Vec<ToolCall>,
    /// `tool_calls` was present (even if empty).
    pub tool_calls_present: bool,
    /// The finish reason as sent.
    pub finish_reason: Option<String>,
    /// Token usage.
    pub usage: Usage,
    /// The model name in the answer.
    pub model: Option<String>,
    /// The provider that the answer names (aggregators), when it does.
    pub served_by: Option<String>,
    /// `system_fingerprint`, when sent.
    pub fingerprint: Option<String>,
    /// Number of choices in the answer; 0 where that is not known, as of a reference.
    pub choices: u32,
    /// The answer came as a stream.
    pub streamed: bool,
    /// Breaches of the wire contract, in the order seen.
    pub breaches: Vec<Breach>,
    /// Tool-call indexes were ambiguous (shared or missing with several calls): `BadCallIndex` in every suite.
    pub ambiguous_calls: bool,
    /// The answer ended without a finish reason.
    pub truncated: bool,
    /// `logprobs` of the choice, as sent.
    pub logprobs: Option<Box<RawJson>>,
    /// What it took to get it, as far as the one who asked says.
    pub took: Took,
}

/// JSON text kept as sent (comparable, cloneable wrapper of [`RawValue`]).
#[derive(Debug, Clone)]
pub struct RawJson(pub Box<RawValue>);

impl PartialEq for RawJson {
    fn eq(&self, other: &Self) -> bool {
        self.0.get() == other.0.get()
    }
}

/// The JSON object of a request body, in key order.
pub type JsonObject = Map<String, Value>;
