//! What a simulated fleet is: the TOML spec of `exactod sim`, and the ground truth of each endpoint.
//!
//! ```toml
//! model = "lab/m"
//! seed = 7
//!
//! [[endpoints]]
//! name = "aster"
//! base = 0.98                                   # right answers, when nothing is injected
//! rates = { "tool-use" = 0.97, "tool-use/parallel" = 0.6 }
//! latency = { base_ms = 20, jitter_ms = 10 }
//!
//! [[endpoints.injections]]
//! defect = "args_python_literal"
//! prevalence = 0.3
//! condition = { tools = true, stream = true }
//! correlation = { bursts = { mean_length = 20, gap = 200 } }
//! time_profile = { step = { at = 1000 } }
//! ```

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::{EndpointId, ModelId};

/// Most endpoints in one spec.
pub const ENDPOINTS_MAX: usize = 256;
/// Most injections of one endpoint.
pub const INJECTIONS_MAX: usize = 64;
/// Longest latency, in milliseconds.
pub const LATENCY_MS_MAX: f64 = 600_000.0;

/// A simulated fleet: one model, several endpoints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SimSpec {
    /// The model that every endpoint serves; requests for another one get 404.
    pub model: ModelId,
    /// Seed of everything drawn; `start` takes its own and usually gets this one.
    #[serde(default)]
    pub seed: u64,
    /// The endpoints, each with a listener of its own.
    pub endpoints: Vec<EndpointSpec>,
}

/// One simulated endpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndpointSpec {
    /// Its id within the model.
    pub name: EndpointId,
    /// TCP port; 0 (the default): a free one.
    #[serde(default)]
    pub port: u16,
    /// Probability of a right answer, 0 to 1, before any injection.
    #[serde(default = "one")]
    pub base: f64,
    /// Other probabilities of a right answer, by `suite`, `category` or `suite/category`; the most specific counts.
    #[serde(default)]
    pub rates: BTreeMap<String, f64>,
    /// How readily it calls tools.
    #[serde(default)]
    pub calling: Calling,
    /// Time to answer.
    #[serde(default)]
    pub latency: Latency,
    /// Share of requests answered with 500, 502 or 503.
    #[serde(default)]
    pub error_rate: f64,
    /// Requests in flight at once; further ones get 429 with `Retry-After` and `retry-after-ms`.
    #[serde(default)]
    pub concurrency: Option<u32>,
    /// When it reasons.
    #[serde(default)]
    pub reasoning: Reasoning,
    /// What is wrong with it.
    #[serde(default)]
    pub injections: Vec<Injection>,
    /// In which harmless ways it differs from others.
    #[serde(default)]
    pub benign: Benign,
    /// How it speaks where it knows no case: the model's own way, which a changed model does not quite keep.
    #[serde(default)]
    pub language: Option<Language>,
    /// Ground truth, when it is not the plain one (bad if and only if something is injected).
    #[serde(default)]
    pub truth: Option<Truth>,
}

/// A model's way of speaking: at temperature 0 the same words at every endpoint of the model, above it words drawn from the
/// same distribution.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Language {
    /// Share of the prompts to which this endpoint answers otherwise than the model, always: other weights.
    pub drift: f64,
    /// Share of the answers that leave the model's words somewhere: what batching and hardware do anyway.
    pub fork: f64,
    /// Noise of log-probabilities from request to request; a drifted endpoint is off by ten times as much, always.
    pub jitter: f64,
    /// Heat of the words drawn at a temperature above 0, by which this endpoint multiplies it: 1 as the model, more is more
    /// random, less is less. At least 0.01.
    pub heat: f64,
}

impl Default for Language {
    fn default() -> Self {
        Language { drift: 0.0, fork: 0.02, jitter: 0.03, heat: 1.0 }
    }
}

/// Whether an endpoint ought to be listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Truth {
    /// It ought to be admitted.
    Good,
    /// It ought to be excluded.
    Bad,
}

/// How readily tools are called, before any injection.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Calling {
    /// Probability that a call that is due is made.
    pub when_due: f64,
    /// Probability of a call where none is due (tools offered, choice not `none`).
    pub when_not_due: f64,
}

impl Default for Calling {
    fn default() -> Self {
        Calling { when_due: 1.0, when_not_due: 0.0 }
    }
}

/// Time to answer.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Latency {
    /// Until the first byte, in milliseconds.
    pub base_ms: f64,
    /// Random part on top, in milliseconds.
    pub jitter_ms: f64,
    /// How the random part is drawn.
    pub distribution: Distribution,
    /// Time over which a stream's frames are spread after the first byte, in milliseconds.
    /// 0: the whole stream is written at once, which costs the least.
    pub stream_ms: f64,
}

/// Distribution of the random part of the latency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Distribution {
    /// Uniform in \[0, jitter\].
    #[default]
    Uniform,
    /// Exponential with mean `jitter`, cut at ten times that.
    Exponential,
}

/// When an endpoint sends reasoning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reasoning {
    /// When the request asks for it (`reasoning_effort`, `reasoning`, `thinking`, `enable_thinking`).
    #[default]
    WhenAsked,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// One defect of an endpoint: when it strikes, how often, and how it hides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Injection {
    /// Id in the catalogue ([`catalogue`](super::catalogue)).
    pub defect: String,
    /// Probability per matching request, above 0 and up to 1.
    #[serde(default = "one")]
    pub prevalence: f64,
    /// Which requests can be struck, on top of what the defect itself needs.
    #[serde(default)]
    pub condition: Condition,
    /// How strikes hang together.
    #[serde(default)]
    pub correlation: Correlation,
    /// How the prevalence changes.
    #[serde(default)]
    pub time_profile: TimeProfile,
    /// What the profile's numbers count.
    #[serde(default)]
    pub time_unit: TimeUnit,
    /// Probability that a repeat of a struck request is served clean; absent: repeats are drawn like any request.
    #[serde(default)]
    pub masking: Option<f64>,
    /// How it behaves towards requests that look like tests.
    #[serde(default)]
    pub audit_awareness: Option<AuditAwareness>,
}

impl Injection {
    /// A defect that strikes independently with a probability, at all times.
    #[must_use]
    pub fn new(defect: &str, prevalence: f64) -> Self {
        Injection {
            defect: defect.to_owned(),
            prevalence,
            condition: Condition::default(),
            correlation: Correlation::default(),
            time_profile: TimeProfile::default(),
            time_unit: TimeUnit::default(),
            masking: None,
            audit_awareness: None,
        }
    }
}

/// A conjunction: an injection strikes only where all that is set holds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Condition {
    /// Tools are offered, or are not.
    pub tools: Option<bool>,
    /// Reasoning is sent with the answer, or is not.
    pub reasoning: Option<bool>,
    /// A stream is asked for, or is not.
    pub stream: Option<bool>,
    /// The right answer has at least so many calls.
    pub calls_min: Option<u32>,
    /// The prompt has more than so many tokens (estimated as a quarter of its bytes).
    pub context_tokens_over: Option<u64>,
    /// A tool's parameters or the response schema hold objects or arrays inside, or do not.
    pub nested_schema: Option<bool>,
    /// The prompt or the right answer has characters outside ASCII, or has not.
    pub non_ascii: Option<bool>,
    /// The effective tool choice.
    pub tool_choice: Option<Choice>,
    /// The response format asked for.
    pub response_format: Option<Format>,
    /// More than so many assistant messages in the history.
    pub history_turns_over: Option<u32>,
}

/// A tool choice, as conditions name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// `auto`, or none sent.
    Auto,
    /// `none`.
    None,
    /// `required`.
    Required,
    /// A tool is named.
    Named,
}

/// A response format, as conditions name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// `text`, or none sent.
    Text,
    /// `json_object`.
    JsonObject,
    /// `json_schema`.
    JsonSchema,
}

/// How strikes hang together.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Correlation {
    /// Each request by itself.
    #[default]
    Iid,
    /// All requests of a user (field `user`, else the `Authorization` header) share one fate: `prevalence`
    /// is the share of users that are struck.
    Sticky,
    /// A prompt always reaches the same one of several replicas (as with prefix-cache routing);
    /// only bad replicas strike, with `prevalence`.
    ReplicaMixture {
        /// Number of replicas, at least 1.
        replicas: u32,
        /// How many of them are bad, at most `replicas`.
        bad: u32,
    },
    /// Strikes come in runs of requests (in order of arrival); within a run with `prevalence`, outside never.
    /// Lengths of runs and gaps are geometric.
    Bursts {
        /// Mean length of a run, in requests, at least 1.
        mean_length: f64,
        /// Mean length of the gap between runs, in requests, at least 1.
        gap: f64,
    },
}

/// What the numbers of a time profile count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeUnit {
    /// Requests that the endpoint has received since the start, in order of arrival.
    #[default]
    Requests,
    /// Seconds of the simulator's clock since the start.
    Seconds,
}

/// How the prevalence changes: a factor in \[0, 1\] by which it is multiplied.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum TimeProfile {
    /// Always 1.
    #[default]
    Constant,
    /// 0 before, 1 from `at` on.
    Step {
        /// When it begins.
        at: f64,
    },
    /// From one factor to another in a straight line between two times; constant outside.
    Ramp {
        /// The factor until `start`.
        from: f64,
        /// The factor from `end` on.
        to: f64,
        /// Start of the change.
        start: f64,
        /// End of the change, after `start`.
        end: f64,
    },
    /// 1 between two times, 0 outside.
    Transient {
        /// When it begins.
        start: f64,
        /// When it ends, after `start`.
        end: f64,
    },
    /// 1 before, 0 from `at` on.
    Recovered {
        /// When it is healed.
        at: f64,
    },
    /// 1 in the first part of each period, 0 in the rest.
    Flapping {
        /// Length of a period, above 0.
        period: f64,
        /// Share of the period that is bad, 0 to 1.
        duty: f64,
    },
    /// A raised cosine: 1 at `peak` of each period, 0 half a period away.
    Diurnal {
        /// Length of a period, above 0; 86400 for a day of seconds.
        period: f64,
        /// When in the period the load is highest.
        peak: f64,
    },
}

/// How an endpoint treats requests that look like tests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditAwareness {
    /// Probability that a request that looks like a test is served clean.
    pub probability: f64,
    /// A prompt that this endpoint has seen before looks like a test.
    #[serde(default)]
    pub repeated_prompt: bool,
    /// A request that bears this header looks like a test.
    #[serde(default)]
    pub header: Option<String>,
}

/// Harmless differences between endpoints: each of them must pass.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Benign {
    /// Format of the ids of calls.
    pub call_ids: CallIds,
    /// White space and order of keys inside `arguments`.
    pub arguments: ArgumentStyle,
    /// How a stream is cut into deltas.
    pub deltas: Deltas,
    /// What stands for `content` beside calls.
    pub content_with_calls: ContentWithCalls,
    /// Unknown fields in bodies, choices and messages.
    pub extra_fields: bool,
    /// SSE comment lines between frames.
    pub comments: bool,
    /// SSE comment lines before the first frame.
    pub keep_alives: bool,
    /// Name of the reasoning field.
    pub reasoning_field: ReasoningField,
    /// Usage comes with details even where no reasoning is present.
    pub usage_details: bool,
    /// `system_fingerprint`.
    pub fingerprint: Fingerprint,
    /// The role is repeated in every delta.
    pub role_in_every_delta: bool,
    /// Lines of a stream end with CR LF.
    pub crlf: bool,
}

/// Format of the ids of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallIds {
    /// `call_` and 24 hexadecimal digits.
    #[default]
    CallHex,
    /// A bare UUID.
    Uuid,
    /// `functions.name:0`.
    FunctionsNameIndex,
    /// Nine letters and digits.
    Short,
    /// `chatcmpl-tool-` and 32 hexadecimal digits.
    ToolHex,
}

/// White space and order of keys inside `arguments`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArgumentStyle {
    /// As in the reference answer.
    #[default]
    AsGiven,
    /// A space after commas and colons.
    Spaced,
    /// Top-level keys in reverse order.
    Reversed,
}

/// How a stream is cut into deltas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deltas {
    /// About four characters each, at most 24 deltas per text.
    #[default]
    Many,
    /// All of a text in one delta.
    One,
    /// A few large ones.
    Few,
}

/// What stands for `content` beside calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContentWithCalls {
    /// `null`.
    #[default]
    Null,
    /// The key is absent.
    Absent,
    /// `""`.
    Empty,
}

/// Name of the reasoning field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReasoningField {
    /// `reasoning_content`.
    #[default]
    ReasoningContent,
    /// `reasoning`.
    Reasoning,
}

impl ReasoningField {
    /// The key.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            ReasoningField::ReasoningContent => "reasoning_content",
            ReasoningField::Reasoning => "reasoning",
        }
    }
}

/// `system_fingerprint`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fingerprint {
    /// Not sent.
    #[default]
    None,
    /// The same in every answer.
    Constant,
    /// Changes from answer to answer.
    Changing,
}

fn one() -> f64 {
    1.0
}

impl EndpointSpec {
    /// A healthy endpoint that is always right.
    #[must_use]
    pub fn healthy(name: EndpointId) -> Self {
        EndpointSpec {
            name,
            port: 0,
            base: 1.0,
            rates: BTreeMap::new(),
            calling: Calling::default(),
            latency: Latency::default(),
            error_rate: 0.0,
            concurrency: None,
            reasoning: Reasoning::default(),
            injections: Vec::new(),
            benign: Benign::default(),
            language: None,
            truth: None,
        }
    }

    /// Whether it ought to be listed.
    #[must_use]
    pub fn truth(&self) -> Truth {
        self.truth.unwrap_or(if self.injections.is_empty() { Truth::Good } else { Truth::Bad })
    }

    /// Probability of a right answer to a case.
    #[must_use]
    pub fn rate(&self, suite: &str, category: Option<&str>) -> f64 {
        if self.rates.is_empty() {
            return self.base;
        }
        let exact = category.and_then(|c| self.rates.get(&format!("{suite}/{c}")));
        let rate = exact.or_else(|| category.and_then(|c| self.rates.get(c))).or_else(|| self.rates.get(suite));
        rate.copied().unwrap_or(self.base)
    }
}
