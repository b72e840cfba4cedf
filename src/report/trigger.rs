//! Trigger similarity of the suites that judge it: where an endpoint calls a tool and where it does not, held against the
//! suite's expectation and against the reference, whose own noise is told beside (suites, section 6).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::ReportError;
use crate::domain::scorecard::{TriggerCard, TriggerFigures};
use crate::domain::{Case, CaseId, EndpointId, Interval, Micros, ModelId, Suite, SuiteName, SweepId};
use crate::stats::intervals::Z95;
use crate::stats::trigger::{TriggerCounts, split_half};
use crate::store::{CalledRow, Store};

/// When a case asks the very same again: only then two answers of the reference differ by its noise alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Again {
    /// Always: it draws nothing.
    Always,
    /// In every sweep, for the same repeat: it is drawn once and stays.
    SameRepeat,
    /// Never: every repeat in every sweep is drawn anew.
    Never,
}

/// What is known of a case that judges the trigger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Expectation {
    /// A call is expected.
    call: bool,
    /// When it asks the very same again.
    again: Again,
    /// How often the run that the expectation comes from called, and how often not.
    reference: (u32, u32),
}

/// The cases that judge the trigger, by suite, and the reference endpoint of the model, if it has one.
#[derive(Debug, Clone, Default)]
pub struct Triggers {
    suites: BTreeMap<SuiteName, HashMap<CaseId, Expectation>>,
    reference: Option<EndpointId>,
}

impl Triggers {
    /// Those of loaded suites.
    pub fn of<'a>(suites: impl Iterator<Item = &'a Arc<Suite>>, reference: Option<EndpointId>) -> Triggers {
        let of = |suite: &Arc<Suite>| {
            let cases: HashMap<CaseId, Expectation> =
                suite.cases.iter().filter_map(|case| Some((case.id.clone(), expectation(case)?))).collect();
            (!cases.is_empty()).then(|| (suite.name.clone(), cases))
        };
        Triggers { suites: suites.filter_map(of).collect(), reference }
    }
}

/// What a case expects, when a scorer `tool-trigger` judges it by a plain truth value.
fn expectation(case: &Case) -> Option<Expectation> {
    let scorer = case.scorers.iter().find(|scorer| scorer.kind == "tool-trigger")?;
    let expected = case.expected.as_ref().map(|expected| expected.value());
    let call = scorer.options.get("call").or_else(|| expected.as_ref()?.get("call"))?.as_bool()?;
    let metadata = case.metadata.as_ref().map(|metadata| metadata.value());
    let count = |key: &str| {
        let count = metadata.as_ref()?.get("reference")?.get(key)?.as_u64()?;
        u32::try_from(count).ok()
    };
    let reference = (count("calls").unwrap_or(0), count("others").unwrap_or(0));
    let again = match (case.is_template(), case.fixed) {
        (false, _) => Again::Always,
        (true, true) => Again::SameRepeat,
        (true, false) => Again::Never,
    };
    Some(Expectation { call, again, reference })
}

type Key = (EndpointId, SuiteName);

/// The figures of every endpoint and suite. `sweeps`: those whose attempts count, by suite.
pub(super) async fn trigger_cards(
    store: &Store,
    model: &ModelId,
    triggers: &Triggers,
    sweeps: &HashMap<SuiteName, HashSet<SweepId>>,
    (from_us, to_us): (Micros, Micros),
) -> Result<BTreeMap<Key, TriggerCard>, ReportError> {
    let mut out = BTreeMap::new();
    for (suite, cases) in &triggers.suites {
        let Some(counted) = sweeps.get(suite) else { continue };
        let mut rows = store.called(model, suite, (from_us, to_us)).await?;
        rows.retain(|row| counted.contains(&row.sweep) && cases.contains_key(&row.case));
        let reference = triggers.reference.as_ref();
        for (endpoint, card) in cards_of(&rows, cases, reference) {
            out.insert((endpoint, suite.clone()), card);
        }
    }
    Ok(out)
}

fn cards_of(
    rows: &[CalledRow],
    cases: &HashMap<CaseId, Expectation>,
    reference: Option<&EndpointId>,
) -> BTreeMap<EndpointId, TriggerCard> {
    let own: HashMap<(SweepId, &CaseId, u32), bool> = rows
        .iter()
        .filter(|row| Some(&row.endpoint) == reference)
        .map(|row| ((row.sweep, &row.case, row.epoch), row.called))
        .collect();
    let noise = noise(rows, cases, reference);
    let mut counts: BTreeMap<EndpointId, (TriggerCounts, TriggerCounts)> = BTreeMap::new();
    for row in rows {
        let (expected, against) = counts.entry(row.endpoint.clone()).or_default();
        if let Some(expectation) = cases.get(&row.case) {
            expected.add(row.called, expectation.call);
        }
        if let Some(reference) = own.get(&(row.sweep, &row.case, row.epoch)) {
            against.add(row.called, *reference);
        }
    }
    let card = |(endpoint, (expected, against)): (EndpointId, (TriggerCounts, TriggerCounts))| {
        let is_reference = Some(&endpoint) == reference;
        let against = (!is_reference && against.samples() > 0.0).then(|| figures(&against));
        (endpoint, TriggerCard { expectation: figures(&expected), reference: against, noise })
    };
    counts.into_iter().map(card).collect()
}

/// The reference against itself: by its answers to the same instance, or, where it is no endpoint, by the answers of the
/// imported run.
fn noise(
    rows: &[CalledRow],
    cases: &HashMap<CaseId, Expectation>,
    reference: Option<&EndpointId>,
) -> Option<TriggerFigures> {
    let mut answers: BTreeMap<(&CaseId, u32), Vec<bool>> = BTreeMap::new();
    for row in rows.iter().filter(|row| Some(&row.endpoint) == reference) {
        let repeat = match cases.get(&row.case).map_or(Again::Never, |case| case.again) {
            Again::Always => 0,
            Again::SameRepeat => row.epoch,
            Again::Never => continue,
        };
        answers.entry((&row.case, repeat)).or_default().push(row.called);
    }
    let own = split_half(&answers.into_values().collect::<Vec<_>>());
    let imported = || {
        let mut runs: Vec<(&CaseId, Vec<bool>)> = cases
            .iter()
            .map(|(id, case)| {
                let (calls, others) = case.reference;
                (id, [vec![true; calls as usize], vec![false; others as usize]].concat())
            })
            .collect();
        runs.sort_unstable_by_key(|(id, _)| *id);
        split_half(&runs.into_iter().map(|(_, answers)| answers).collect::<Vec<_>>())
    };
    own.or_else(imported).map(|counts| figures(&counts))
}

fn figures(counts: &TriggerCounts) -> TriggerFigures {
    TriggerFigures {
        samples: counts.samples().round() as u64,
        f1: counts.f1(),
        disagreement: counts.disagreement(),
        interval: counts.disagreement_bounds(Z95).map(|(lo, hi)| Interval { lo, hi }),
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn row(endpoint: &str, sweep: u128, case: &str, epoch: u32, called: bool) -> CalledRow {
        CalledRow {
            sweep: SweepId(Uuid::from_u128(sweep)),
            endpoint: EndpointId::new(endpoint).unwrap(),
            case: CaseId::new(case).unwrap(),
            epoch,
            called,
        }
    }

    fn cases(list: &[(&str, bool, Again, (u32, u32))]) -> HashMap<CaseId, Expectation> {
        let one = |(id, call, again, reference): &(&str, bool, Again, (u32, u32))| {
            (CaseId::new(id).unwrap(), Expectation { call: *call, again: *again, reference: *reference })
        };
        list.iter().map(one).collect()
    }

    #[test]
    fn figures_against_the_expectation_the_reference_and_itself() {
        let cases = cases(&[
            ("a", true, Again::Always, (0, 0)),
            ("b", false, Again::Always, (0, 0)),
            ("c", true, Again::Always, (0, 0)),
        ]);
        let rows = [
            row("ref", 1, "a", 0, true),
            row("ref", 1, "b", 0, true),
            row("ref", 1, "c", 0, true),
            row("ref", 2, "a", 0, true),
            row("ref", 2, "b", 0, false),
            row("e", 1, "a", 0, true),
            row("e", 1, "b", 0, false),
            row("e", 1, "c", 0, false),
            // The reference did not answer this one.
            row("e", 2, "c", 0, true),
        ];
        let reference = EndpointId::new("ref").unwrap();
        let cards = cards_of(&rows, &cases, Some(&reference));
        let card = &cards[&EndpointId::new("e").unwrap()];
        // Expected: a yes (called), b no (not), c yes (not, then called): 2 both, 1 only expected, 1 neither.
        assert_eq!((card.expectation.samples, card.expectation.f1), (4, Some(0.8)));
        assert_eq!(card.expectation.disagreement, Some(0.25));
        let interval = card.expectation.interval.unwrap();
        assert!(interval.lo < 0.25 && interval.hi > 0.25);
        // Against the reference in sweep 1: a both, b and c the reference alone.
        let against = card.reference.unwrap();
        assert_eq!((against.samples, against.f1, against.disagreement), (3, Some(0.5), Some(2.0 / 3.0)));
        // The reference against itself: a twice the same, b differs, c has one answer only.
        let noise = card.noise.unwrap();
        assert_eq!((noise.samples, noise.disagreement), (2, Some(0.5)));
        assert!(cards[&reference].reference.is_none(), "nobody is held against himself");
    }

    #[test]
    fn noise_of_a_run_that_is_no_endpoint_is_that_of_its_results() {
        let imported = cases(&[
            ("a", true, Again::Always, (3, 1)),
            ("b", false, Again::Always, (0, 2)),
            ("c", true, Again::Always, (1, 0)),
        ]);
        let rows = [row("e", 1, "a", 0, true)];
        let noise = cards_of(&rows, &imported, None)[&EndpointId::new("e").unwrap()].noise.unwrap();
        // a: half of its six pairs differ; b: none; c: no pair.
        assert_eq!((noise.samples, noise.disagreement), (2, Some(0.25)));
        let drawn = cases(&[("a", true, Again::Never, (0, 0)), ("b", true, Again::SameRepeat, (0, 0))]);
        let reference = EndpointId::new("ref").unwrap();
        let mut rows = vec![row("ref", 1, "a", 0, true), row("ref", 2, "a", 0, false), row("ref", 1, "b", 0, true)];
        rows.push(row("ref", 1, "b", 1, false));
        let noise = |rows: &[CalledRow]| cards_of(rows, &drawn, Some(&reference))[&reference].noise;
        assert!(noise(&rows).is_none(), "other draws are other questions");
        rows.push(row("ref", 2, "b", 1, true));
        assert_eq!(noise(&rows).map(|noise| (noise.samples, noise.disagreement)), Some((1, Some(1.0))));
    }
}
