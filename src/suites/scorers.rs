//! The one place where suites ask `scoring` about scorers: are the options right, and which version judges.

use crate::domain::{CaseInstance, ScorerSpec};

use super::header::has_placeholder;
use super::source::{At, Findings, Path};

use seam::{SpecProblem, check_case, check_spec, scorer_version};

/// Reports what is wrong with a scorer's own table.
pub(super) fn check(spec: &ScorerSpec, path: &Path<'_>, f: &mut Findings<'_>) {
    for problem in check_spec(spec) {
        report(problem, path, f);
    }
}

/// Reports what is wrong with the scorers of a drawn case, also together with its `expected`.
pub(super) fn check_instance(instance: &CaseInstance, own_scorers: bool, f: &mut Findings<'_>) {
    let path = Path::ROOT.key("scorers");
    let mut alone = Vec::new();
    for (i, (spec, raw)) in instance.scorers.iter().zip(&instance.case.scorers).enumerate() {
        let problems = check_spec(spec);
        // A suite's own scorers have been reported with the header, unless they hold placeholders.
        if own_scorers || raw.options.values().any(has_placeholder) {
            problems.iter().for_each(|problem| report(problem.clone(), &path.index(i), f));
        }
        alone.extend(problems);
    }
    let expected = instance.expected.as_ref();
    for problem in check_case(expected, &instance.scorers).into_iter().filter(|p| !alone.contains(p)) {
        let at_expected = problem.key.as_deref().filter(|key| expected.is_some_and(|e| e.get(key).is_some()));
        match at_expected {
            Some(_) => report(problem, &Path::ROOT.key("expected"), f),
            None if own_scorers => f.at(&path, At::Key, problem.message, problem.hint),
            None => f.at(&Path::ROOT.key("id"), At::Value, problem.message, problem.hint),
        }
    }
}

fn report(problem: SpecProblem, path: &Path<'_>, f: &mut Findings<'_>) {
    match problem.key.as_deref() {
        Some("type") | None => f.at(&path.key("type"), At::Value, problem.message, problem.hint),
        Some(key) => f.at(&path.key(key), At::Key, problem.message, problem.hint),
    }
}

/// The version of a scorer, which is part of the case hash: a scorer that judges otherwise is another case.
pub(super) fn version(kind: &str) -> u32 {
    scorer_version(kind).unwrap_or(0)
}

/// SEAM until `scoring` stands beside this module. To connect: delete this module and write above
/// `use crate::scoring::{SpecProblem, check_case, check_spec, scorer_version};`
mod seam {
    use serde_json::{Map, Value};

    use crate::domain::ScorerSpec;

    #[derive(Debug, Clone, PartialEq)]
    pub(super) struct SpecProblem {
        pub(super) key: Option<String>,
        pub(super) message: String,
        pub(super) hint: Option<String>,
    }

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

    pub(super) fn check_spec(spec: &ScorerSpec) -> Vec<SpecProblem> {
        let mut problems = Vec::new();
        if scorer_version(&spec.kind).is_none() {
            let near = crate::diagnostics::nearest(&spec.kind, KINDS.iter().copied());
            problems.push(SpecProblem {
                key: None,
                message: format!("unknown scorer `{}`", spec.kind),
                hint: near.map(|near| format!("did you mean `{near}`?")),
            });
        }
        patterns(&spec.options, &mut problems);
        problems
    }

    pub(super) fn check_case(expected: Option<&Value>, scorers: &[ScorerSpec]) -> Vec<SpecProblem> {
        let mut problems: Vec<SpecProblem> = scorers.iter().flat_map(check_spec).collect();
        if let Some(Value::Object(map)) = expected {
            patterns(map, &mut problems);
        }
        problems
    }

    pub(super) fn scorer_version(kind: &str) -> Option<u32> {
        KINDS.contains(&kind.strip_prefix("not-").unwrap_or(kind)).then_some(1)
    }

    fn patterns(map: &Map<String, Value>, problems: &mut Vec<SpecProblem>) {
        for (key, value) in map {
            if wrong_pattern(key, value) {
                let message = "the regular expression does not compile".to_owned();
                problems.push(SpecProblem { key: Some(key.clone()), message, hint: None });
            }
        }
    }

    fn wrong_pattern(key: &str, value: &Value) -> bool {
        match value {
            Value::String(text) => matches!(key, "pattern" | "$regex") && regex::Regex::new(text).is_err(),
            Value::Array(items) => items.iter().any(|v| wrong_pattern("", v)),
            Value::Object(map) => map.iter().any(|(k, v)| wrong_pattern(k, v)),
            _ => false,
        }
    }
}
