//! The table of scorer kinds: their options, forms and versions.

use super::ifeval;
use super::run_facts::LATENCIES;
use super::schema::DRAFTS;

/// The form of an option's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Text; a number or truth value stands for its JSON text (a typed placeholder).
    Text,
    /// `true` or `false`.
    Flag,
    /// `true`, or not there at all.
    Yes,
    /// A whole number from 0.
    Count,
    /// A number, or a string that holds one.
    Number,
    /// A number from 0 to 1.
    Share,
    /// A list of texts, at least one.
    Texts,
    /// A regular expression.
    Pattern,
    /// A list of expected calls.
    Calls,
    /// Any JSON with matchers.
    Json,
    /// A JSON Schema.
    Schema,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A list of scorers, at least one.
    Scorers,
    /// A list of IFEval instructions, at least one.
    Instructions,
    /// An odd number of votes.
    Votes,
    /// A list of foreign objects, read when the case is compiled.
    Foreign,
}

/// Which options a kind cannot do without (its own or those of `expected`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    /// None.
    Nothing,
    /// Every one of these.
    All(&'static [&'static str]),
    /// Exactly one of these.
    OneOf(&'static [&'static str]),
    /// At least one of these.
    AnyOf(&'static [&'static str]),
}

/// One scorer kind.
#[derive(Debug)]
pub(super) struct Kind {
    /// Its `type`.
    pub name: &'static str,
    /// Raised whenever a verdict may change; part of every case hash.
    pub version: u32,
    /// `not-<name>` exists.
    pub negatable: bool,
    /// Its options.
    pub keys: &'static [(&'static str, Form)],
    /// What must be given.
    pub needs: Needs,
}

/// Options that every scorer has.
pub(super) const COMMON: &[(&str, Form)] = &[("weight", Form::Number), ("threshold", Form::Share)];
/// Modes of `tool-calls`.
pub(super) const MODES: &[&str] = &["unordered", "exact", "ordered", "subset"];
/// Values of `strip_fences`.
pub(super) const FENCES: &[&str] = &["plain", "none", "lm-eval"];
/// Values of `script`.
pub(super) const SCRIPTS: &[&str] =
    &["Latin", "Cyrillic", "Greek", "Han", "Hangul", "Kana", "Arabic", "Hebrew", "Devanagari", "Thai"];

const fn fault_kind(name: &'static str, keys: &'static [(&'static str, Form)], needs: Needs) -> Kind {
    Kind { name, version: 1, negatable: false, keys, needs }
}

const fn text_kind(name: &'static str, keys: &'static [(&'static str, Form)], needs: Needs) -> Kind {
    Kind { name, version: 1, negatable: true, keys, needs }
}

const CONTAINS: &[(&str, Form)] = &[("value", Form::Text), ("all", Form::Texts), ("any", Form::Texts)];
const LENGTH: &[(&str, Form)] = &[
    ("min_words", Form::Count),
    ("max_words", Form::Count),
    ("min_chars", Form::Count),
    ("max_chars", Form::Count),
    ("min_lines", Form::Count),
    ("max_lines", Form::Count),
];

/// Every kind, in the order of the documentation.
pub(super) const KINDS: &[Kind] = &[
    // Version 2: `none`, and a missing call among further ones costs as much as it does alone.
    Kind {
        version: 2,
        ..fault_kind(
            "tool-calls",
            &[("calls", Form::Calls), ("none", Form::Yes), ("mode", Form::Word(MODES))],
            Needs::OneOf(&["calls", "none"]),
        )
    },
    fault_kind("finish-reason", &[("finish_reason", Form::Text)], Needs::All(&["finish_reason"])),
    fault_kind("parallel-calls", &[("min_calls", Form::Count)], Needs::All(&["min_calls"])),
    fault_kind("tool-trigger", &[("call", Form::Flag)], Needs::All(&["call"])),
    text_kind("tool-names-f1", &[("names", Form::Texts)], Needs::All(&["names"])),
    text_kind("json", &[("json", Form::Json), ("strip_fences", Form::Word(FENCES))], Needs::Nothing),
    text_kind(
        "json-schema",
        &[
            ("schema", Form::Schema),
            ("json", Form::Json),
            ("strip_fences", Form::Word(FENCES)),
            ("draft", Form::Word(DRAFTS)),
        ],
        Needs::Nothing,
    ),
    text_kind(
        "equals",
        &[("value", Form::Text), ("ignore_case", Form::Flag), ("trim", Form::Flag)],
        Needs::All(&["value"]),
    ),
    text_kind("contains", CONTAINS, Needs::OneOf(&["value", "all", "any"])),
    text_kind("icontains", CONTAINS, Needs::OneOf(&["value", "all", "any"])),
    text_kind("regex", &[("pattern", Form::Pattern)], Needs::All(&["pattern"])),
    text_kind("starts-with", &[("value", Form::Text), ("trim", Form::Flag)], Needs::All(&["value"])),
    text_kind("number", &[("number", Form::Number), ("tolerance", Form::Number)], Needs::All(&["number"])),
    text_kind("choice", &[("choice", Form::Text)], Needs::All(&["choice"])),
    text_kind(
        "length",
        LENGTH,
        Needs::AnyOf(&["min_words", "max_words", "min_chars", "max_chars", "min_lines", "max_lines"]),
    ),
    text_kind(
        "count",
        &[("pattern", Form::Pattern), ("min", Form::Count), ("max", Form::Count)],
        Needs::All(&["pattern"]),
    ),
    text_kind("answer-in-text", &[("answers", Form::Texts)], Needs::All(&["answers"])),
    text_kind(
        "levenshtein",
        &[("value", Form::Text), ("max", Form::Count), ("trim", Form::Flag)],
        Needs::All(&["value", "max"]),
    ),
    text_kind("fuzzy", &[("answers", Form::Texts)], Needs::All(&["answers"])),
    text_kind("is-refusal", &[], Needs::Nothing),
    text_kind("contains-json", &[("schema", Form::Schema), ("draft", Form::Word(DRAFTS))], Needs::Nothing),
    fault_kind("latency", &[("max_ms", Form::Number), ("of", Form::Word(LATENCIES))], Needs::All(&["max_ms"])),
    fault_kind("cost", &[("max_usd", Form::Number)], Needs::All(&["max_usd"])),
    fault_kind("stop", &[("sequences", Form::Texts)], Needs::Nothing),
    fault_kind("needle", &[("answers", Form::Texts), ("min_prompt_tokens", Form::Count)], Needs::All(&["answers"])),
    fault_kind("script", &[("script", Form::Word(SCRIPTS)), ("min_share", Form::Share)], Needs::All(&["script"])),
    fault_kind(
        "ifeval",
        &[("instructions", Form::Instructions), ("mode", Form::Word(ifeval::MODES))],
        Needs::All(&["instructions"]),
    ),
    fault_kind("group", &[("scorers", Form::Scorers)], Needs::All(&["scorers"])),
    // Version 2: a malformed call where none is due is InvalidJson, also where it passes.
    Kind {
        version: 2,
        ..fault_kind(
            "bfcl",
            &[
                ("category", Form::Text),
                ("function", Form::Foreign),
                ("ground_truth", Form::Foreign),
                ("strict_abstention", Form::Flag),
            ],
            Needs::All(&["category"]),
        )
    },
    fault_kind("starlark", &[("file", Form::Text), ("function", Form::Text)], Needs::All(&["file"])),
    fault_kind("exec", &[("program", Form::Text), ("version", Form::Text)], Needs::All(&["program", "version"])),
    fault_kind(
        "judge",
        &[
            ("rubric", Form::Text),
            ("provider", Form::Text),
            ("model", Form::Text),
            ("tag", Form::Text),
            ("votes", Form::Votes),
            ("max_tokens", Form::Count),
        ],
        Needs::All(&["rubric", "provider", "model"]),
    ),
    fault_kind("leak", &[], Needs::Nothing),
    fault_kind("tool-schema", &[("draft", Form::Word(DRAFTS))], Needs::Nothing),
    fault_kind("tool-choice", &[], Needs::Nothing),
    Kind { version: 3, ..fault_kind("wire", &[("prompt_tokens", Form::Count)], Needs::Nothing) },
];

/// A kind by its `type`, and whether it is negated.
pub(super) fn find(name: &str) -> Option<(&'static Kind, bool)> {
    if let Some(kind) = KINDS.iter().find(|k| k.name == name) {
        return Some((kind, false));
    }
    let positive = name.strip_prefix("not-")?;
    KINDS.iter().find(|k| k.negatable && k.name == positive).map(|k| (k, true))
}

impl Kind {
    /// The form of an option, common ones included.
    pub fn form(&self, key: &str) -> Option<Form> {
        self.keys.iter().chain(COMMON).find(|(k, _)| *k == key).map(|(_, f)| *f)
    }

    /// All option names.
    pub fn key_names(&self) -> impl Iterator<Item = &'static str> {
        self.keys.iter().chain(COMMON).map(|(k, _)| *k)
    }
}

/// The version of a kind's rules, `None` for an unknown kind. It is part of every case hash: raising it starts a
/// new series for the cases that use the kind.
#[must_use]
pub fn scorer_version(kind: &str) -> Option<u32> {
    find(kind).map(|(k, _)| k.version)
}
