//! The keys that the files of a suite may hold: the loader and the published JSON Schemas both read them here.

/// `suite.toml`.
pub(super) const HEADER: &[&str] = &[
    "version", "name", "kind", "revision", "license", "default", "exclude", "source", "request", "epochs", "sampling",
    "fresh", "vars", "scorers", "metrics",
];
/// `[source]`.
pub(super) const SOURCE: &[&str] = &["url", "sha256"];
/// `[epochs]`.
pub(super) const EPOCHS: &[&str] = &["count", "reducer"];
/// `[sampling]`.
pub(super) const SAMPLING: &[&str] = &["limit", "strategy", "by", "seed"];
/// `[fresh]`.
pub(super) const FRESH: &[&str] = &["fixed_share"];
/// `[[metrics]]`.
pub(super) const METRIC: &[&str] = &["name", "group_by", "of"];
/// `metrics.of`.
pub(super) const DENOMINATORS: &[&str] = &["all", "calls"];
/// `kind`.
pub(super) const KINDS: &[&str] = &["tool_use", "output_quality"];
/// `sampling.strategy`.
pub(super) const STRATEGIES: &[&str] = &["random", "stratified"];
/// `epochs.reducer` without an argument.
pub(super) const REDUCERS: &[&str] = &["mean", "median", "mode", "max"];
/// `epochs.reducer` with one: `pass_at(3)`.
pub(super) const REDUCERS_OF_K: &[&str] = &["at_least", "pass_at", "pass_k"];

/// One line of `cases.jsonl`.
pub(super) const CASE: &[&str] = &[
    "id",
    "category",
    "tags",
    "messages",
    "input",
    "tools",
    "response_format",
    "request",
    "expected",
    "scorers",
    "assert",
    "metadata",
    "params",
    "derive",
    "world",
    "reference",
    "counterexample",
    "answers",
    "pair",
];
/// `world`.
pub(super) const WORLD: &[&str] = &["file", "setup", "turns", "max_steps", "goal", "required", "outputs"];
/// One of `assert`.
pub(super) const ASSERT: &[&str] = &["type", "value", "threshold", "weight", "metric", "assert"];
/// Types of asserts that are judged, without `not-`.
pub(super) const ASSERT_TYPES: &[&str] = &[
    "equals",
    "contains",
    "contains-any",
    "contains-all",
    "icontains",
    "icontains-any",
    "icontains-all",
    "starts-with",
    "regex",
    "levenshtein",
    "word-count",
    "is-json",
    "contains-json",
    "is-refusal",
    "finish-reason",
    "latency",
    "cost",
    "is-valid-openai-tools-call",
    "is-valid-openai-function-call",
    "is-valid-function-call",
    "tool-call-f1",
    "assert-set",
];
/// `counterexample`.
pub(super) const COUNTEREXAMPLE: &[&str] = &["message", "fault"];
/// One of `answers`.
pub(super) const ANSWER: &[&str] = &["message", "stream", "body", "fault", "note"];
/// The forms of one of `answers`, of which it has one.
pub(super) const ANSWER_FORMS: &[&str] = &["message", "stream", "body"];
/// `pair`.
pub(super) const PAIR: &[&str] = &["with", "content"];
/// What a case may have that is paired with another: the rest is the other's.
pub(super) const PAIRED: &[&str] = &["id", "pair", "category", "tags", "metadata", "answers"];
/// Keys of a case in which variables and placeholders are filled.
pub(super) const TEMPLATED: &[&str] = &[
    "messages",
    "input",
    "tools",
    "response_format",
    "expected",
    "scorers",
    "assert",
    "params",
    "world",
    "reference",
    "counterexample",
    "answers",
];
/// Those of them that hold messages.
pub(super) const MESSAGES: &[&str] = &["messages", "input", "reference", "counterexample", "answers"];
/// Request keys that have a place of their own in a case, or in the configuration.
pub(super) const NOT_IN_REQUEST: &[(&str, &str)] = &[
    ("messages", "give `messages` in the case itself"),
    ("tools", "give `tools` in the case itself"),
    ("response_format", "give `response_format` in the case itself"),
    ("model", "the model is the endpoint's `upstream_model` in the configuration"),
];
/// Roles of chat messages.
pub(super) const ROLES: &[&str] = &["system", "developer", "user", "assistant", "tool"];
/// A tool.
pub(super) const TOOL: &[&str] = &["type", "function"];
/// Its function.
pub(super) const FUNCTION: &[&str] = &["name", "description", "parameters", "strict"];
/// `response_format`.
pub(super) const RESPONSE_FORMAT: &[&str] = &["type", "json_schema"];
/// `response_format.type`.
pub(super) const RESPONSE_FORMATS: &[&str] = &["text", "json_object", "json_schema"];
/// `response_format.json_schema`.
pub(super) const JSON_SCHEMA: &[&str] = &["name", "description", "schema", "strict"];
/// `tool_choice` as a word.
pub(super) const TOOL_CHOICES: &[&str] = &["none", "auto", "required"];
