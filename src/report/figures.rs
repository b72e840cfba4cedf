//! The figures that a suite itself asks for: repeats folded by its reducer, its metrics, and both numbers of BFCL.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::ReportError;
use super::notes::{SuiteNote, SuiteNotes};
use crate::domain::scorecard::{AbstentionCard, HoldOut, Interval, MetricValue, Reduced, VersionRate};
use crate::domain::suite::{Denominator, Metric, MetricName};
use crate::domain::{CaseId, EndpointId, Fault, Micros, ModelId, SuiteName, SweepId, Verdict};
use crate::stats::clustered::{clustered, wilson_clustered};
use crate::stats::intervals::Z95;
use crate::store::{AttemptColumns, Store};

type Key = (EndpointId, SuiteName);
/// The sweeps that went on with another one, and that other one: their repeats are repeats of its cases.
pub(super) type CountedAs = HashMap<SweepId, SweepId>;
/// Which answer: sweep, case, repeat.
type Place<'a> = (SweepId, &'a CaseId, u32);

/// What one endpoint's answers to one suite come to.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) reduced: Option<Reduced>,
    pub(super) metrics: Vec<MetricValue>,
    pub(super) abstention: Option<AbstentionCard>,
    pub(super) hold_out: Option<HoldOut>,
}

/// One attempt.
#[derive(Clone, Copy)]
struct Row<'a> {
    page: &'a AttemptColumns,
    at: usize,
    /// The sweep that its repeat counts for.
    sweep: SweepId,
}

impl<'a> Row<'a> {
    fn verdict(self) -> Verdict {
        self.page.verdict[self.at]
    }

    fn case(self) -> &'a CaseId {
        &self.page.case[self.at]
    }

    fn place(self) -> Place<'a> {
        (self.page.sweep[self.at], self.case(), self.page.epoch[self.at])
    }

    fn is_scored(self) -> bool {
        self.verdict().is_scored()
    }

    fn passed(self) -> bool {
        self.verdict() == Verdict::Pass
    }

    /// The answer has this Fault, be it the primary one or another.
    fn shows(self, fault: Fault) -> bool {
        self.page.fault[self.at] == Some(fault) || self.page.secondary[self.at].contains(&fault)
    }
}

/// The figures of every endpoint and suite of which something is known.
pub(super) async fn figures(
    store: &Store,
    model: &ModelId,
    (notes, counted_as): (&SuiteNotes, &CountedAs),
    pages: &[AttemptColumns],
    window: (Micros, Micros),
) -> Result<BTreeMap<Key, Figures>, ReportError> {
    let mut rows: BTreeMap<Key, Vec<Row<'_>>> = BTreeMap::new();
    for page in pages {
        for at in (0..page.len()).filter(|at| notes.suites.contains_key(&page.suite[*at])) {
            let sweep = counted_as.get(&page.sweep[at]).copied().unwrap_or(page.sweep[at]);
            rows.entry((page.endpoint[at].clone(), page.suite[at].clone())).or_default().push(Row { page, at, sweep });
        }
    }
    let called = answers_with_calls(store, model, notes, &rows, window).await?;
    let mut out = BTreeMap::new();
    for (key, rows) in rows {
        let Some(note) = notes.suites.get(&key.1) else { continue };
        let none = HashSet::new();
        let called = called.get(&key).unwrap_or(&none);
        out.insert(
            key,
            figures_of(&rows, note, &|row: Row<'_>| {
                let (sweep, case, epoch) = row.place();
                called.contains(&(sweep, case.clone(), epoch))
            }),
        );
    }
    Ok(out)
}

type Called = BTreeMap<Key, HashSet<(SweepId, CaseId, u32)>>;

/// The answers with finish reason `tool_calls`, of the suites that count them.
async fn answers_with_calls(
    store: &Store,
    model: &ModelId,
    notes: &SuiteNotes,
    rows: &BTreeMap<Key, Vec<Row<'_>>>,
    window: (Micros, Micros),
) -> Result<Called, ReportError> {
    let mut called = Called::new();
    let asked: HashSet<&SuiteName> = rows.keys().map(|(_, suite)| suite).collect();
    for (suite, note) in notes.suites.iter().filter(|(suite, _)| asked.contains(suite)) {
        if note.metrics.iter().all(|metric| metric.of != Denominator::Calls) {
            continue;
        }
        for row in store.called(model, suite, window).await?.into_iter().filter(|row| row.called) {
            called.entry((row.endpoint, suite.clone())).or_default().insert((row.sweep, row.case, row.epoch));
        }
    }
    Ok(called)
}

fn figures_of(rows: &[Row<'_>], note: &SuiteNote, called: &dyn Fn(Row<'_>) -> bool) -> Figures {
    let metrics = note.metrics.iter().flat_map(|metric| {
        groups(rows, metric, note).into_iter().map(|(category, rows)| {
            let (value, count) = value_of(&rows, metric, note, called);
            MetricValue { name: metric.name, of: shares_of(metric), category, value, count }
        })
    });
    Figures {
        reduced: (!note.is_plain).then(|| reduced(rows, note)),
        metrics: metrics.collect(),
        abstention: abstention(rows, note),
        hold_out: hold_out(rows, note),
    }
}

/// The denominator of a share of answers; others have none to choose.
fn shares_of(metric: &Metric) -> Option<Denominator> {
    use MetricName::{BadJson, SchemaAccuracy, SchemaViolation, UnknownTool};
    matches!(metric.name, SchemaAccuracy | UnknownTool | BadJson | SchemaViolation).then_some(metric.of)
}

/// All rows, or those of each category.
fn groups<'a>(rows: &[Row<'a>], metric: &Metric, note: &SuiteNote) -> BTreeMap<Option<String>, Vec<Row<'a>>> {
    let mut groups: BTreeMap<Option<String>, Vec<Row<'a>>> = BTreeMap::new();
    for row in rows {
        let category = || note.categories.get(row.case()).cloned().unwrap_or_default();
        groups.entry(metric.by_category.then(category)).or_default().push(*row);
    }
    groups
}

fn value_of(
    rows: &[Row<'_>],
    metric: &Metric,
    note: &SuiteNote,
    called: &dyn Fn(Row<'_>) -> bool,
) -> (Option<f64>, u64) {
    let share = |rows: &[Row<'_>], holds: &dyn Fn(Row<'_>) -> bool| {
        let count = rows.len() as u64;
        let value = (count > 0).then(|| rows.iter().filter(|row| holds(**row)).count() as f64 / count as f64);
        (value, count)
    };
    let answers = || -> Vec<Row<'_>> {
        let scored = rows.iter().copied().filter(|row| row.is_scored());
        scored.filter(|row| metric.of == Denominator::All || called(*row)).collect()
    };
    // An attempt of which nothing is to be said was not asked as planned, or by nobody's fault but ours.
    let asked = || -> Vec<Row<'_>> { rows.iter().copied().filter(|row| row.verdict().is_of_delivery()).collect() };
    const BROKEN: [Fault; 3] = [Fault::InvalidJson, Fault::UnknownName, Fault::SchemaMismatch];
    match metric.name {
        MetricName::Accuracy => {
            let Reduced { value, cases, .. } = reduced(rows, note);
            (value, cases)
        }
        MetricName::Score => {
            let (value, cases, _) = fold(rows, note, &|row: Row<'_>| row.page.score[row.at].unwrap_or(0.0));
            (value, cases)
        }
        MetricName::InstructionAccuracy => {
            let (mut followed, mut all) = (0.0, 0);
            for row in rows.iter().filter(|row| row.is_scored()) {
                let count = note.instructions.get(row.case()).copied().unwrap_or(0);
                // The score is the share of the case's instructions.
                followed += row.page.score[row.at].unwrap_or(0.0) * count as f64;
                all += count;
            }
            ((all > 0).then(|| followed / all as f64), all)
        }
        MetricName::Delivery => share(&asked(), &|row: Row<'_>| row.page.delivered[row.at]),
        MetricName::FirstTry => share(&asked(), &|row: Row<'_>| row.page.first_try_ok[row.at]),
        MetricName::SchemaAccuracy => share(&answers(), &|row: Row<'_>| BROKEN.iter().all(|fault| !row.shows(*fault))),
        MetricName::UnknownTool => share(&answers(), &|row: Row<'_>| row.shows(Fault::UnknownName)),
        MetricName::BadJson => share(&answers(), &|row: Row<'_>| row.shows(Fault::InvalidJson)),
        MetricName::SchemaViolation => share(&answers(), &|row: Row<'_>| row.shows(Fault::SchemaMismatch)),
    }
}

fn reduced(rows: &[Row<'_>], note: &SuiteNote) -> Reduced {
    let (value, cases, unscored) = fold(rows, note, &|row: Row<'_>| f64::from(u8::from(row.passed())));
    Reduced { reducer: note.reducer.1.clone(), value, cases, unscored }
}

/// Mean over the cases (of sweeps) of their repeats folded by the suite's reducer; how many these are, and how many have too
/// few scored repeats.
fn fold(rows: &[Row<'_>], note: &SuiteNote, value: &dyn Fn(Row<'_>) -> f64) -> (Option<f64>, u64, u64) {
    let mut cases: HashMap<(SweepId, &CaseId), Vec<(f64, bool)>> = HashMap::new();
    for row in rows {
        let repeats = cases.entry((row.sweep, row.case())).or_default();
        if row.is_scored() {
            repeats.push((value(*row), row.passed()));
        }
    }
    let mut folded: Vec<f64> = cases.values().filter_map(|repeats| note.reducer.0.value(repeats)).collect();
    // In one order whatever the map's: sums of floats depend on it.
    folded.sort_unstable_by(f64::total_cmp);
    let count = folded.len() as u64;
    let mean = (count > 0).then(|| folded.iter().sum::<f64>() / count as f64);
    (mean, count, cases.len() as u64 - count)
}

/// Both numbers of a suite with BFCL cases in which no call is due: see the scorer `bfcl`, which marks a malformed call with
/// InvalidJson, whichever of the two it gives.
fn abstention(rows: &[Row<'_>], note: &SuiteNote) -> Option<AbstentionCard> {
    let (mut scored, mut passed, mut card) = (0u64, 0u64, AbstentionCard::default());
    let (mut lost, mut gained) = (0u64, 0u64);
    for row in rows.iter().filter(|row| row.is_scored()) {
        scored += 1;
        passed += u64::from(row.passed());
        if !note.no_call_due.contains(row.case()) {
            continue;
        }
        card.cases += 1;
        match row.verdict() {
            Verdict::Pass if row.shows(Fault::InvalidJson) => lost += 1,
            Verdict::Fail(Fault::InvalidJson) => gained += 1,
            _ => {}
        }
    }
    if card.cases == 0 {
        return None;
    }
    card.malformed = lost + gained;
    card.official = (passed + gained) as f64 / scored as f64;
    card.strict = (passed - lost) as f64 / scored as f64;
    Some(card)
}

/// What stays held against what is fresh; `None` where the suite has not both.
fn hold_out(rows: &[Row<'_>], note: &SuiteNote) -> Option<HoldOut> {
    if note.templates.values().all(|fixed| *fixed) || !note.templates.values().any(|fixed| *fixed) {
        return None;
    }
    let rate = |stays: bool| {
        let of = |row: &&Row<'_>| row.is_scored() && note.templates.get(row.case()) == Some(&stays);
        let scored: Vec<(&CaseId, f64)> =
            rows.iter().filter(of).map(|row| (row.case(), f64::from(u8::from(row.passed())))).collect();
        let clusters = clustered(scored.iter().copied());
        let interval = clusters.as_ref().map(|clusters| {
            let ((lo, hi), _) = wilson_clustered(clusters, Z95);
            Interval { lo, hi }
        });
        VersionRate { scored: scored.len() as u64, rate: clusters.map(|clusters| clusters.mean), interval }
    };
    let (fixed, fresh) = (rate(true), rate(false));
    let both = fixed.rate.zip(fixed.interval).zip(fresh.rate.zip(fresh.interval));
    let gap = both.map(|((a, _), (b, _))| a - b);
    let interval = both.map(|((a, of_a), (b, of_b))| newcombe((a, of_a), (b, of_b)));
    Some(HoldOut { fixed, fresh, gap, interval, finding: interval.is_some_and(|interval| interval.lo > 0.0) })
}

/// The interval of a difference of two independent rates from the intervals of both (Newcombe 1998, method 10).
fn newcombe((a, of_a): (f64, Interval), (b, of_b): (f64, Interval)) -> Interval {
    let gap = a - b;
    Interval { lo: gap - (a - of_a.lo).hypot(of_b.hi - b), hi: gap + (of_a.hi - a).hypot(b - of_b.lo) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_of_a_difference_is_newcombes() {
        // 56 of 70 against 48 of 80: his example (a), 0.0524 to 0.3339.
        let of = |x: f64, n: f64| {
            let (lo, hi) = crate::stats::intervals::wilson(x, n, Z95);
            (x / n, Interval { lo, hi })
        };
        let found = newcombe(of(56.0, 70.0), of(48.0, 80.0));
        assert!((found.lo - 0.0524).abs() < 5e-5 && (found.hi - 0.3339).abs() < 5e-5, "{found:?}");
    }
}
