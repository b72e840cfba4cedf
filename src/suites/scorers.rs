//! The one place where suites ask `scoring` about scorers: are the options right, and which version judges.

use crate::domain::{CaseInstance, ScorerSpec};

use super::header::has_placeholder;
use super::plain;
use super::source::{At, Findings, Path};

use crate::scoring::{SpecProblem, check_case, check_spec, foreign_keys, must_be_compiled, scorer_version};

/// Reports what is wrong with a scorer's own table.
pub(super) fn check(spec: &ScorerSpec, path: &Path<'_>, f: &mut Findings<'_>) {
    for problem in check_spec(spec) {
        report(problem, path, f);
    }
}

/// Reports what is wrong with the scorers of a drawn case, also together with its `expected`; whether only compiling them
/// tells the rest.
pub(super) fn check_instance(instance: &CaseInstance, own_key: Option<&str>, f: &mut Findings<'_>) -> bool {
    let path = Path::ROOT.key(own_key.unwrap_or("scorers"));
    let unread = foreign_keys(&instance.scorers);
    let expected = instance.expected.as_ref().map(|json| plain::outlined(json, &unread));
    let expected = expected.as_ref();
    // All that can be wrong with a scorer alone is among these.
    let problems = check_case(expected, &instance.scorers);
    if problems.is_empty() {
        return instance.world.is_none() && must_be_compiled(expected, &instance.scorers);
    }
    let mut alone = Vec::new();
    for (i, (spec, raw)) in instance.scorers.iter().zip(instance.case.scorers.iter()).enumerate() {
        let problems = check_spec(spec);
        // A suite's own scorers have been reported with the header, unless they hold placeholders.
        if own_key.is_some() || raw.options.values().any(has_placeholder) {
            problems.iter().for_each(|problem| report(problem.clone(), &path.index(i), f));
        }
        alone.extend(problems);
    }
    for problem in problems.into_iter().filter(|p| !alone.contains(p)) {
        let at_expected = problem.key.as_deref().filter(|key| expected.is_some_and(|e| e.get(key).is_some()));
        match at_expected {
            Some(_) => report(problem, &Path::ROOT.key("expected"), f),
            None if own_key.is_some() => f.at(&path, At::Key, problem.message, problem.hint),
            None => f.at(&Path::ROOT.key("id"), At::Value, problem.message, problem.hint),
        }
    }
    false
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
