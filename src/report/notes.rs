//! What is known of the suites themselves, beside the attempts that asked them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use serde_json::Value;

use super::trigger::Triggers;
use crate::domain::suite::Metric;
use crate::domain::{Case, CaseId, EndpointId, Suite, SuiteName};
use crate::stats::repeats::Reducer;

/// What scorecards need to know of loaded suites.
#[derive(Debug, Clone, Default)]
pub struct SuiteNotes {
    /// Where tools are to be called.
    pub(super) triggers: Triggers,
    /// By suite.
    pub(super) suites: BTreeMap<SuiteName, SuiteNote>,
}

/// What scorecards need to know of one suite.
#[derive(Debug, Clone)]
pub(super) struct SuiteNote {
    /// How repeats fold, and as it is written.
    pub(super) reducer: (Reducer, String),
    /// The suite asks every case once, and takes the mean: there is nothing to fold.
    pub(super) is_plain: bool,
    /// The figures that it asks for.
    pub(super) metrics: Vec<Metric>,
    /// The category of each case that has one.
    pub(super) categories: HashMap<CaseId, String>,
    /// The cases of `bfcl` in which no call is due.
    pub(super) no_call_due: HashSet<CaseId>,
    /// The cases that it excludes as broken.
    pub(super) broken: HashSet<CaseId>,
    /// The number of instructions of each case that `ifeval` alone judges.
    pub(super) instructions: HashMap<CaseId, u64>,
    /// The templates, and whether their draw stays.
    pub(super) templates: HashMap<CaseId, bool>,
}

impl SuiteNotes {
    /// Those of loaded suites. `reference`: the model's reference endpoint.
    pub fn of<'a>(suites: impl Iterator<Item = &'a Arc<Suite>> + Clone, reference: Option<EndpointId>) -> SuiteNotes {
        let notes = suites.clone().map(|suite| (suite.name.clone(), SuiteNote::of(suite))).collect();
        SuiteNotes { triggers: Triggers::of(suites, reference), suites: notes }
    }
}

impl SuiteNote {
    fn of(suite: &Suite) -> SuiteNote {
        let written = suite.epochs.reducer.clone();
        let reducer = Reducer::parse(&written).unwrap_or(Reducer::Mean);
        let category = |case: &Arc<Case>| Some((case.id.clone(), case.category.clone()?));
        SuiteNote {
            is_plain: suite.epochs.count <= 1 && reducer == Reducer::Mean,
            reducer: (reducer, written),
            metrics: suite.metrics.clone(),
            categories: suite.cases.iter().filter_map(category).collect(),
            no_call_due: suite.cases.iter().filter(|case| is_abstention(case)).map(|case| case.id.clone()).collect(),
            broken: suite.excluded.iter().cloned().collect(),
            instructions: suite.cases.iter().filter_map(|case| Some((case.id.clone(), instructions(case)?))).collect(),
            templates: suite.cases.iter().filter(|c| c.is_template()).map(|c| (c.id.clone(), c.fixed)).collect(),
        }
    }
}

/// A case of BFCL that asks for no call.
fn is_abstention(case: &Case) -> bool {
    let Some(scorer) = case.scorers.iter().find(|scorer| scorer.kind == "bfcl") else { return false };
    let own = scorer.options.get("category").and_then(Value::as_str).map(str::to_owned);
    let expected = || {
        let expected = case.expected.as_ref()?.value();
        Some(expected.get("category")?.as_str()?.to_owned())
    };
    own.or_else(expected).is_some_and(|category| category.ends_with("irrelevance"))
}

/// How many instructions a case of IFEval has.
fn instructions(case: &Case) -> Option<u64> {
    let [scorer] = &*case.scorers else { return None };
    if scorer.kind != "ifeval" {
        return None;
    }
    let expected = case.expected.as_ref().map(|expected| expected.value());
    let list = scorer.options.get("instructions").or_else(|| expected.as_ref()?.get("instructions"))?;
    list.as_array().map(|list| list.len() as u64)
}
