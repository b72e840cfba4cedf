//! Suites, cases and their instances.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{CaseId, Fault, Json, SuiteDigest, SuiteName};

/// What a suite measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SuiteKind {
    /// Tool calls.
    ToolUse,
    /// Answers.
    OutputQuality,
}

/// How the repeats of a case fold into one value (suites, section 9).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Epochs {
    /// Repeats per case in sweeps by hand.
    pub count: u32,
    /// `mean`, `median`, `mode`, `max`, `at_least(k)`, `pass_at(k)`, `pass_k(k)`.
    pub reducer: String,
}

impl Default for Epochs {
    fn default() -> Self {
        Epochs { count: 1, reducer: "mean".to_owned() }
    }
}

/// Which share of a suite a sweep by hand takes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sampling {
    /// At most this many cases.
    pub limit: Option<u32>,
    /// `random` or `stratified`.
    pub strategy: Option<String>,
    /// The case key to stratify by: `category`.
    pub by: Option<String>,
    /// Seed of the choice.
    pub seed: Option<u64>,
}

/// One scorer of a case: a tagged table, `type = "..."`, with the keys of its kind.
///
/// The keys stay as JSON here; `scoring` checks and compiles them.
#[derive(Debug, Clone, PartialEq)]
pub struct ScorerSpec {
    /// The kind (`type`).
    pub kind: String,
    /// Its other keys; templates may stand in strings.
    pub options: Map<String, Value>,
}

/// A message that must fail, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct CounterExample {
    /// The completion message, as for `reference`.
    pub message: Json,
    /// The Fault it must be judged with.
    pub fault: Fault,
}

/// Sources of a suite by their names in its folder.
pub type SuiteFiles = BTreeMap<String, Arc<str>>;

/// What a case has in common with the one that it is paired with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The other case: the same is drawn for both.
    pub with: CaseId,
    /// Content and arguments must be equal as well, not only the form of the answers.
    pub content: bool,
}

/// One case, possibly a template. JSON texts hold `{{name}}` placeholders where it is one.
#[derive(Debug, Clone)]
pub struct Case {
    /// Unique in the suite.
    pub id: CaseId,
    /// For grouping and stratification.
    pub category: Option<String>,
    /// For selection and capability lists.
    pub tags: Vec<String>,
    /// List of chat messages (`input` has become one user message).
    pub messages: Json,
    /// OpenAI tools array.
    pub tools: Option<Json>,
    /// As in chat completions.
    pub response_format: Option<Json>,
    /// Request keys, the suite's defaults already merged under the case's own.
    pub request: Arc<Map<String, Value>>,
    /// Shape depends on the scorer.
    pub expected: Option<Json>,
    /// The scorers that judge it (the suite's, unless the case has its own).
    pub scorers: Arc<[ScorerSpec]>,
    /// Stored, never judged.
    pub metadata: Option<Json>,
    /// Drawn parameters by name, in file order; empty for a case that is no template.
    pub params: Arc<[(String, Param)]>,
    /// Derived values by name, in file order: Starlark expressions over params and earlier derived values.
    pub derive: Arc<[(String, String)]>,
    /// Belongs to the stable hold-out part: drawn from a constant seed.
    pub fixed: bool,
    /// A conversation over a state: which world, its beginning, what the user says next, what counts. `None`: one answer.
    pub world: Option<Json>,
    /// The Starlark files of the suite's folder, by name.
    pub files: Arc<SuiteFiles>,
    /// The completion message that must pass.
    pub reference: Option<Json>,
    /// One that must fail, and how.
    pub counterexample: Option<CounterExample>,
    /// Further answers that must pass or fail, as messages or as the bytes of the wire: see `runner::prove`.
    pub answers: Option<Json>,
    /// Asks the very instance of another case, the other way: streamed where that is plain, plain where it is streamed.
    pub pair: Option<Pair>,
    /// SHA-256 over the canonical JSON of the whole case (request, expected, scorers with versions, params, derive).
    pub hash: String,
}

impl Case {
    /// Whether values are drawn for it.
    #[must_use]
    pub fn is_template(&self) -> bool {
        !self.params.is_empty()
    }
}

/// How one parameter of a template is drawn.
#[derive(Debug, Clone, PartialEq)]
pub enum Param {
    /// One of a list of JSON values, uniformly.
    OneOf(Vec<Value>),
    /// An integer between two bounds, both included.
    Int {
        /// Smallest value.
        min: i64,
        /// Largest value.
        max: i64,
    },
    /// A fixed-point number between two bounds, both included, with a number of digits after the point.
    Decimal {
        /// Smallest value, in units of the last digit.
        min_units: i64,
        /// Largest value, in units of the last digit.
        max_units: i64,
        /// Digits after the point, 1 to 9.
        digits: u32,
    },
    /// Several different values of a list, in drawn order: a JSON array of `count` values.
    Sample {
        /// The values.
        of: Vec<Value>,
        /// How many.
        count: u32,
    },
}

/// A loaded suite: whole and valid.
#[derive(Debug, Clone)]
pub struct Suite {
    /// Equals the folder's name.
    pub name: SuiteName,
    /// What it measures.
    pub kind: Vec<SuiteKind>,
    /// Label of the content; the digest is the identity.
    pub revision: String,
    /// SPDX expression.
    pub license: Option<String>,
    /// Over all case hashes.
    pub digest: SuiteDigest,
    /// Repeats in sweeps by hand.
    pub epochs: Epochs,
    /// Share in sweeps by hand.
    pub sampling: Sampling,
    /// Share of cases (0 to 1) that stays fixed.
    pub fixed_share: f64,
    /// Asked wherever no suites are named; without it, only where a schedule or a command names it.
    pub by_default: bool,
    /// The cases in file order, `exclude`d ones left out.
    pub cases: Vec<Arc<Case>>,
    /// Known-broken cases by id.
    pub excluded: Vec<CaseId>,
    /// The same as cases, never run unless asked for; no part of the digest.
    pub broken: Vec<Arc<Case>>,
    /// What a scorecard tells of the suite.
    pub metrics: Vec<Metric>,
}

/// One figure that a scorecard tells of a suite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metric {
    /// Which.
    pub name: MetricName,
    /// One figure for each category, instead of one for all cases.
    pub by_category: bool,
    /// Of which answers shares are told.
    pub of: Denominator,
}

/// The figures that suites can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MetricName {
    /// Mean over the cases of whether they passed, repeats folded by the suite's reducer.
    Accuracy,
    /// Mean over the cases of their scores, repeats folded by the suite's reducer.
    Score,
    /// Share of IFEval's instructions that were followed, each counted by itself.
    InstructionAccuracy,
    /// Share of attempts that were answered in the end.
    Delivery,
    /// Share of attempts that were answered at the first try.
    FirstTry,
    /// Share of answers whose calls are all valid.
    SchemaAccuracy,
    /// Share of answers with a call of a tool that was not offered.
    UnknownTool,
    /// Share of answers with arguments that do not parse.
    BadJson,
    /// Share of answers with arguments that break the tool's schema.
    SchemaViolation,
}

impl MetricName {
    /// All of them, by the names that suites write.
    pub const ALL: &[(&str, MetricName)] = &[
        ("accuracy", MetricName::Accuracy),
        ("score", MetricName::Score),
        ("instruction_accuracy", MetricName::InstructionAccuracy),
        ("delivery", MetricName::Delivery),
        ("first_try", MetricName::FirstTry),
        ("schema_accuracy", MetricName::SchemaAccuracy),
        ("unknown_tool", MetricName::UnknownTool),
        ("bad_json", MetricName::BadJson),
        ("schema_violation", MetricName::SchemaViolation),
    ];

    /// The name that suites write.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, metric)| *metric == self).map_or("", |(name, _)| name)
    }
}

/// Of which answers a share is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Denominator {
    /// All scored answers.
    #[default]
    All,
    /// Those with finish reason `tool_calls` (as the Kimi K2 Vendor Verifier counts).
    Calls,
}

impl Suite {
    /// Finds a case.
    #[must_use]
    pub fn case(&self, id: &CaseId) -> Option<&Arc<Case>> {
        self.cases.iter().find(|c| c.id == *id)
    }
}

/// A case with its values drawn: what is sent and judged.
#[derive(Debug, Clone)]
pub struct CaseInstance {
    /// The case.
    pub case: Arc<Case>,
    /// Drawn and derived values by name; `None` for a case that is no template.
    pub draw: Option<Value>,
    /// List of messages to send.
    pub messages: Json,
    /// List of tools to offer.
    pub tools: Option<Json>,
    /// Response format to ask for.
    pub response_format: Option<Json>,
    /// What the scorers compare with.
    pub expected: Option<Json>,
    /// The scorers, placeholders substituted.
    pub scorers: Arc<[ScorerSpec]>,
    /// The conversation, placeholders filled; `None`: one answer.
    pub world: Option<Json>,
    /// The message that must pass.
    pub reference: Option<Json>,
    /// The message that must fail.
    pub counterexample: Option<CounterExample>,
    /// Further answers that must pass or fail.
    pub answers: Option<Json>,
}

impl CaseInstance {
    /// The case asks for a stream.
    #[must_use]
    pub fn stream(&self) -> bool {
        self.case.request.get("stream").and_then(Value::as_bool).unwrap_or(false)
    }

    /// The effective `tool_choice`, when one is sent.
    #[must_use]
    pub fn tool_choice(&self) -> Option<&Value> {
        self.case.request.get("tool_choice")
    }
}
