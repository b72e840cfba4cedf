//! The one place where suites ask `scoring` about scorers: are the options right, and which version judges.

use crate::domain::ScorerSpec;

use super::source::{At, Findings, Path};

/// What is wrong with a scorer's table.
struct SpecProblem {
    /// The option at fault; `None` for the whole table.
    key: Option<String>,
    message: String,
    hint: Option<String>,
}

/// Reports what is wrong with a scorer's table.
pub(super) fn check(spec: &ScorerSpec, path: &Path<'_>, f: &mut Findings<'_>) {
    for problem in check_spec(spec) {
        match &problem.key {
            Some(key) => f.at(&path.key(key), At::Key, problem.message, problem.hint),
            None => f.at(&path.key("type"), At::Value, problem.message, problem.hint),
        }
    }
}

/// The version of a scorer, which is part of the case hash: a scorer that judges otherwise is another case.
pub(super) fn version(kind: &str) -> u32 {
    scorer_version(kind).unwrap_or(0)
}

// SEAM: replace these two functions and `SpecProblem` by
// `use crate::scoring::{SpecProblem, check_spec, scorer_version};`

/// The kinds of this version.
const KINDS: &[&str] = &[
    "tool-calls",
    "finish-reason",
    "parallel-calls",
    "json",
    "json-schema",
    "equals",
    "contains",
    "icontains",
    "regex",
    "starts-with",
    "number",
    "choice",
    "length",
    "count",
    "answer-in-text",
    "levenshtein",
    "stop",
    "needle",
    "script",
    "group",
    "leak",
    "tool-schema",
    "tool-choice",
];

fn check_spec(spec: &ScorerSpec) -> Vec<SpecProblem> {
    let mut problems = Vec::new();
    let kind = spec.kind.strip_prefix("not-").unwrap_or(&spec.kind);
    if !KINDS.contains(&kind) {
        let hint = crate::diagnostics::nearest(kind, KINDS.iter().copied());
        problems.push(SpecProblem {
            key: None,
            message: format!("unknown scorer `{}`", spec.kind),
            hint: hint.map(|near| format!("did you mean `{near}`?")),
        });
    }
    for key in ["weight", "threshold"] {
        if spec.options.get(key).is_some_and(|v| !v.is_number()) {
            let message = format!("`{key}` must be a number");
            problems.push(SpecProblem { key: Some(key.to_owned()), message, hint: None });
        }
    }
    problems
}

fn scorer_version(kind: &str) -> Option<u32> {
    KINDS.contains(&kind.strip_prefix("not-").unwrap_or(kind)).then_some(1)
}
