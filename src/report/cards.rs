//! From a frame of attempts to Scorecards: sums and quantiles by polars, intervals by `stats`.

use std::collections::{BTreeMap, HashMap, HashSet};

use polars::prelude::*;

use super::ReportError;
use super::figures::{CountedAs, figures};
use super::frame::{attempt_frame, read_window};
use super::notes::SuiteNotes;
use super::trigger::trigger_cards;
use super::versions::{Course, Versions};
use crate::domain::scorecard::{BrokenCard, Gap, PassK, Quantiles, VersionChange};
use crate::domain::{
    CaseId, EndpointId, Interval, Micros, ModelId, Scorecard, Standing, SuiteCard, SuiteName, SweepId, SweepPlan,
    Verdict,
};
use crate::stats::clustered::{clustered, wilson_clustered};
use crate::stats::intervals::{Z95, student_t, wilson};
use crate::stats::paired::paired_diff;
use crate::stats::repeats::pass_k;
use crate::store::{AttemptColumns, Store};

/// Level of the displayed intervals: 95 %.
const ALPHA: f64 = 0.05;
/// Largest k of pass^k.
const PASS_K_MAX: usize = 8;

type Key = (EndpointId, SuiteName);
/// Scores of one endpoint on one suite by sweep and case.
type ByCase = BTreeMap<(SweepId, CaseId), Vec<f64>>;

/// The scorecards of a model over `[from_us, to_us)`, one per endpoint of `standings`, in its order of ids.
/// `notes`: what is known of the suites.
///
/// # Errors
/// [`ReportError`].
pub async fn scorecards(
    store: &Store,
    model: &ModelId,
    standings: &BTreeMap<EndpointId, Standing>,
    notes: &SuiteNotes,
    (from_us, to_us): (Micros, Micros),
) -> Result<Vec<Scorecard>, ReportError> {
    let pages = read_window(store, model, from_us, to_us).await?;
    let (mut pages, mut changes) = newest_versions(store, pages).await?;
    let mut broken = without_broken(&mut pages, notes);
    let (anchors, counted_as) = plans_of(store, &pages).await?;
    let mut trigger = trigger_cards(store, model, &notes.triggers, &sweeps_of(&pages), (from_us, to_us)).await?;
    let mut figures = figures(store, model, (notes, &counted_as), &pages, (from_us, to_us)).await?;
    let mut cards = suite_cards(&pages, &anchors, &counted_as)?;
    for (endpoint, cards) in &mut cards {
        for card in cards {
            let key = (endpoint.clone(), card.suite.clone());
            card.change = changes.remove(&key).and_then(|mut all| all.pop());
            card.trigger = trigger.remove(&key);
            if let Some(found) = figures.remove(&key) {
                (card.reduced, card.metrics) = (found.reduced, found.metrics);
                (card.abstention, card.hold_out) = (found.abstention, found.hold_out);
            }
            card.broken = broken.remove(&key).map(|broken| BrokenCard {
                rate_with: ratio(card.pass + broken.pass, card.pass + card.fail + broken.pass + broken.fail),
                ..broken
            });
        }
    }
    let card = |(endpoint, standing): (&EndpointId, &Standing)| Scorecard {
        model: model.clone(),
        endpoint: endpoint.clone(),
        standing: *standing,
        from_us,
        to_us,
        suites: cards.remove(endpoint).unwrap_or_default(),
    };
    Ok(standings.iter().map(card).collect())
}

/// Takes the attempts at cases that their suites exclude out of the pages, and counts them.
fn without_broken(pages: &mut [AttemptColumns], notes: &SuiteNotes) -> BTreeMap<Key, BrokenCard> {
    let mut out: BTreeMap<Key, BrokenCard> = BTreeMap::new();
    for page in pages {
        let is_broken =
            |i: usize| notes.suites.get(&page.suite[i]).is_some_and(|note| note.broken.contains(&page.case[i]));
        let keep: Vec<bool> = (0..page.len()).map(|i| !is_broken(i)).collect();
        for i in (0..page.len()).filter(|i| !keep[*i]) {
            let card = out.entry((page.endpoint[i].clone(), page.suite[i].clone())).or_default();
            match page.verdict[i] {
                Verdict::Pass => card.pass += 1,
                Verdict::Fail(_) => card.fail += 1,
                Verdict::Unscored(_) => card.unscored += 1,
            }
        }
        if keep.contains(&false) {
            page.keep(&keep);
        }
    }
    out
}

/// The sweeps whose attempts are counted, by suite.
fn sweeps_of(pages: &[AttemptColumns]) -> HashMap<SuiteName, HashSet<SweepId>> {
    let mut out: HashMap<SuiteName, HashSet<SweepId>> = HashMap::new();
    for page in pages {
        for (suite, sweep) in page.suite.iter().zip(&page.sweep) {
            match out.get_mut(suite) {
                Some(sweeps) => _ = sweeps.insert(*sweep),
                None => _ = out.insert(suite.clone(), HashSet::from([*sweep])),
            }
        }
    }
    out
}

/// The attempts under the newest version of each suite, and what changed in the window.
async fn newest_versions(
    store: &Store,
    mut pages: Vec<AttemptColumns>,
) -> Result<(Vec<AttemptColumns>, BTreeMap<Key, Vec<VersionChange>>), ReportError> {
    let (mut versions, mut course) = (Versions::default(), Course::default());
    for page in &pages {
        versions.learn(store, page).await?;
        course.add(&versions, page, None);
    }
    if course.has_changes() {
        for page in &mut pages {
            let newest = |i| course.is_newest(&versions, page.sweep[i], &page.suite[i]);
            let keep: Vec<bool> = (0..page.len()).map(newest).collect();
            page.keep(&keep);
        }
    }
    Ok((pages, course.changes(store).await?))
}

type Anchors = HashMap<SweepId, Vec<EndpointId>>;

/// The frozen anchors of every sweep in the window, and of those that went on with another one the other; a sweep whose plan
/// was pruned has neither.
async fn plans_of(store: &Store, pages: &[AttemptColumns]) -> Result<(Anchors, CountedAs), ReportError> {
    let (mut anchors, mut counted_as) = (Anchors::new(), CountedAs::new());
    for sweep in pages.iter().flat_map(|p| &p.sweep) {
        if !anchors.contains_key(sweep) {
            let plan = store.sweep(*sweep).await?.and_then(|s| s.plan);
            if let Some(other) = plan.as_ref().map(SweepPlan::counted_as).filter(|other| other != sweep) {
                counted_as.insert(*sweep, other);
            }
            anchors.insert(*sweep, plan.map(|p| p.anchors).unwrap_or_default());
        }
    }
    Ok((anchors, counted_as))
}

fn suite_cards(
    pages: &[AttemptColumns],
    anchors: &Anchors,
    counted_as: &CountedAs,
) -> Result<BTreeMap<EndpointId, Vec<SuiteCard>>, ReportError> {
    let frame = attempt_frame(pages)?;
    let scores = scores_by_case(pages, counted_as);
    let (mut faults, mut secondary) = fault_counts(pages);
    let deliveries = deliveries(pages);
    let mut out: BTreeMap<EndpointId, Vec<SuiteCard>> = BTreeMap::new();
    for (key, sums) in sums(&frame)? {
        let card = SuiteCard {
            suite: key.1.clone(),
            attempts: sums.attempts,
            pass: sums.pass,
            fail: sums.fail,
            unscored: sums.unscored,
            rate: ratio(sums.pass, sums.pass + sums.fail),
            interval: scores.get(&key).and_then(rate_interval),
            worst_case: worst_case(&sums),
            gap: gap(&scores, &key, anchors),
            faults: faults.remove(&key).unwrap_or_default(),
            secondary_faults: secondary.remove(&key).unwrap_or_default(),
            first_try_ok: sums.first_try_ok,
            delivered: sums.delivered,
            asked: deliveries.get(&key).map_or(0, |of| of.asked),
            first_try: deliveries.get(&key).and_then(|of| ratio(of.first_try, of.asked)),
            delivery: deliveries.get(&key).and_then(|of| ratio(of.in_the_end, of.asked)),
            latency: sums.latency,
            ttft: sums.ttft,
            tokens_in: sums.tokens_in,
            tokens_out: sums.tokens_out,
            cost_usd: sums.cost_nanousd as f64 / 1e9,
            pass_k: scores.get(&key).map(pass_k_of).unwrap_or_default(),
            reduced: None,
            metrics: Vec::new(),
            abstention: None,
            hold_out: None,
            broken: None,
            trigger: None,
            pairs: None,
            change: None,
        };
        out.entry(key.0).or_default().push(card);
    }
    for cards in out.values_mut() {
        cards.sort_by(|a, b| a.suite.cmp(&b.suite));
    }
    Ok(out)
}

/// What polars sums up for one endpoint and suite.
#[derive(Debug, Default)]
struct Sums {
    attempts: u64,
    pass: u64,
    fail: u64,
    unscored: u64,
    undelivered: u64,
    first_try_ok: u64,
    delivered: u64,
    tokens_in: u64,
    tokens_out: u64,
    cost_nanousd: i64,
    latency: Option<Quantiles>,
    ttft: Option<Quantiles>,
}

const KEYS: [&str; 2] = ["endpoint", "suite"];
const SUMMED: [&str; 9] =
    ["pass", "fail", "unscored", "undelivered", "first_try_ok", "delivered", "tokens_in", "tokens_out", "cost_nanousd"];

fn sums(frame: &DataFrame) -> Result<BTreeMap<Key, Sums>, ReportError> {
    let mut out: BTreeMap<Key, Sums> = BTreeMap::new();
    if frame.height() == 0 {
        return Ok(out);
    }
    for group in frame.partition_by_stable(KEYS, true)? {
        if let Some(key) = key_of(&group, 0) {
            out.insert(key, sums_of(&group)?);
        }
    }
    Ok(out)
}

fn sums_of(group: &DataFrame) -> Result<Sums, ReportError> {
    let mut totals = [0i64; SUMMED.len()];
    for (total, name) in totals.iter_mut().zip(SUMMED) {
        *total = whole(&group.column(name)?.as_materialized_series().sum_reduce()?).unwrap_or(0);
    }
    let count = |column: usize| u64::try_from(totals[column]).unwrap_or(0);
    Ok(Sums {
        attempts: count(0) + count(1) + count(2),
        pass: count(0),
        fail: count(1),
        unscored: count(2),
        undelivered: count(3),
        first_try_ok: count(4),
        delivered: count(5),
        tokens_in: count(6),
        tokens_out: count(7),
        cost_nanousd: totals[8],
        latency: quantiles(group, "latency_us")?,
        ttft: quantiles(group, "ttft_us")?,
    })
}

/// Nearest-rank quantiles of a duration; `None` when nothing was delivered.
fn quantiles(group: &DataFrame, column: &str) -> Result<Option<Quantiles>, ReportError> {
    let series = group.column(column)?.as_materialized_series();
    let at = |q: f64| series.quantile_reduce(q, QuantileMethod::Nearest).map(|s| whole(&s));
    Ok(match (at(0.5)?, at(0.9)?, at(0.99)?) {
        (Some(p50_us), Some(p90_us), Some(p99_us)) => Some(Quantiles { p50_us, p90_us, p99_us }),
        _ => None,
    })
}

/// A number of any numeric type, rounded to a whole one.
fn whole(value: &Scalar) -> Option<i64> {
    value.value().extract::<f64>().filter(|v| v.is_finite()).map(|v| v.round() as i64)
}

fn key_of(frame: &DataFrame, row: usize) -> Option<Key> {
    let text = |column: &str| match frame.column(column).ok()?.get(row).ok()? {
        AnyValue::String(text) => Some(text.to_owned()),
        AnyValue::StringOwned(text) => Some(text.to_string()),
        _ => None,
    };
    let [endpoint, suite] = KEYS;
    Some((EndpointId::new(&text(endpoint)?).ok()?, SuiteName::new(&text(suite)?).ok()?))
}

fn ratio(of: u64, all: u64) -> Option<f64> {
    (all > 0).then(|| of as f64 / all as f64)
}

/// Wilson's interval of a share at 95 %, of independent counts.
#[must_use]
pub fn share_interval(of: u64, all: u64) -> Interval {
    let (lo, hi) = wilson(of as f64, all as f64, Z95);
    Interval { lo, hi }
}

/// Bounds of the rate if every undelivered attempt had failed / passed (suites, 2.2).
fn worst_case(sums: &Sums) -> Option<Interval> {
    let all = sums.pass + sums.fail + sums.undelivered;
    Some(Interval { lo: ratio(sums.pass, all)?, hi: ratio(sums.pass + sums.undelivered, all)? })
}

fn scores_by_case(pages: &[AttemptColumns], counted_as: &CountedAs) -> BTreeMap<Key, ByCase> {
    let mut out: BTreeMap<Key, ByCase> = BTreeMap::new();
    for page in pages {
        for i in 0..page.len() {
            let score = match page.verdict[i] {
                Verdict::Pass => 1.0,
                Verdict::Fail(_) => 0.0,
                Verdict::Unscored(_) => continue,
            };
            let key = (page.endpoint[i].clone(), page.suite[i].clone());
            let sweep = counted_as.get(&page.sweep[i]).copied().unwrap_or(page.sweep[i]);
            out.entry(key).or_default().entry((sweep, page.case[i].clone())).or_default().push(score);
        }
    }
    out
}

/// Effective-n Wilson interval, clustered by case (statistics, 2.2): the draws of a case count as one cluster.
fn rate_interval(scores: &ByCase) -> Option<Interval> {
    let rows = scores.iter().flat_map(|((_, case), s)| s.iter().map(move |score| (case, *score)));
    let ((lo, hi), _) = wilson_clustered(&clustered(rows)?, Z95);
    Some(Interval { lo, hi })
}

/// pass^k for every k from 2 that some case was repeated as often as.
fn pass_k_of(scores: &ByCase) -> Vec<PassK> {
    let tries = |scores: &Vec<f64>| (scores.iter().filter(|score| **score > 0.5).count() as u64, scores.len() as u64);
    let most = scores.values().map(Vec::len).max().unwrap_or(0).min(PASS_K_MAX);
    let at = |k: u32| {
        let values: Vec<f64> = scores.values().map(tries).filter_map(|(c, n)| pass_k(c, n, k)).collect();
        let cases = values.len() as u64;
        PassK { k, value: values.iter().sum::<f64>() / cases as f64, cases }
    };
    (2..=most as u32).map(at).collect()
}

/// Anchors minus endpoint on the same cases of the same sweeps, with a Student-t interval.
fn gap(scores: &BTreeMap<Key, ByCase>, key: &Key, anchors: &Anchors) -> Option<Gap> {
    let own = scores.get(key)?;
    let mut others: ByCase = BTreeMap::new();
    for place in own.keys() {
        for anchor in anchors.get(&place.0).into_iter().flatten().filter(|a| **a != key.0) {
            if let Some(s) = scores.get(&(anchor.clone(), key.1.clone())).and_then(|by_case| by_case.get(place)) {
                others.entry(place.clone()).or_default().extend(s);
            }
        }
    }
    let diff = paired_diff(&others, own)?;
    let half = student_t(ALPHA, diff.groups as f64 - 1.0) * diff.se;
    let half = if half.is_finite() { half } else { 2.0 };
    let interval = Interval { lo: (diff.mean - half).max(-1.0), hi: (diff.mean + half).min(1.0) };
    Some(Gap { mean: diff.mean, interval, cases: diff.groups as u64 })
}

type FaultCounts = BTreeMap<Key, BTreeMap<String, u64>>;

/// What came of the attempts that count in rates of delivery.
#[derive(Debug, Default)]
struct Deliveries {
    asked: u64,
    first_try: u64,
    in_the_end: u64,
}

fn deliveries(pages: &[AttemptColumns]) -> BTreeMap<Key, Deliveries> {
    let mut out: BTreeMap<Key, Deliveries> = BTreeMap::new();
    for page in pages {
        for i in (0..page.len()).filter(|i| page.verdict[*i].is_of_delivery()) {
            let of = out.entry((page.endpoint[i].clone(), page.suite[i].clone())).or_default();
            of.asked += 1;
            of.first_try += u64::from(page.first_try_ok[i]);
            of.in_the_end += u64::from(page.delivered[i]);
        }
    }
    out
}

fn fault_counts(pages: &[AttemptColumns]) -> (FaultCounts, FaultCounts) {
    let (mut primary, mut secondary) = (FaultCounts::new(), FaultCounts::new());
    for page in pages {
        for i in 0..page.len() {
            let key = || (page.endpoint[i].clone(), page.suite[i].clone());
            if let Some(fault) = page.fault[i] {
                *primary.entry(key()).or_default().entry(fault.name().to_owned()).or_default() += 1;
            }
            for fault in &page.secondary[i] {
                *secondary.entry(key()).or_default().entry(fault.name().to_owned()).or_default() += 1;
            }
        }
    }
    (primary, secondary)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::{AttemptId, AttemptKey, CaseId, Fault, UnscoredWhy};
    use crate::store::MeasuredRow;

    fn row(verdict: Verdict, first_try_ok: bool, delivered: bool) -> MeasuredRow {
        MeasuredRow {
            id: AttemptId(Uuid::nil()),
            key: AttemptKey {
                sweep: SweepId(Uuid::nil()),
                endpoint: EndpointId::new("a").unwrap(),
                suite: SuiteName::new("s").unwrap(),
                case: CaseId::new("1").unwrap(),
                epoch: 0,
            },
            verdict,
            score: None,
            fault: None,
            secondary: vec![],
            first_try_ok,
            delivered,
            started_at_us: 0,
            ttft_us: None,
            total_us: 1,
            tokens_in: None,
            tokens_out: None,
            cost_nanousd: 0,
            observed: None,
            sampled: None,
        }
    }

    #[test]
    fn what_failed_on_our_side_is_not_held_against_the_delivery() {
        let mut page = AttemptColumns::default();
        for (verdict, first_try_ok, delivered) in [
            (Verdict::Pass, true, true),
            (Verdict::Fail(Fault::WrongAnswer), false, true),
            (Verdict::Unscored(UnscoredWhy::Provider), false, false),
            // Nobody was asked; nobody could judge; somebody else answered.
            (Verdict::Unscored(UnscoredWhy::Ours), false, false),
            (Verdict::Unscored(UnscoredWhy::Ours), true, true),
            (Verdict::Unscored(UnscoredWhy::Provenance), true, true),
        ] {
            page.push(row(verdict, first_try_ok, delivered));
        }
        let cards = suite_cards(&[page], &Anchors::new(), &CountedAs::new()).unwrap();
        let card = &cards[&EndpointId::new("a").unwrap()][0];
        assert_eq!((card.attempts, card.first_try_ok, card.delivered), (6, 3, 4), "counts are of all attempts");
        assert_eq!(card.asked, 3);
        assert_eq!((card.first_try, card.delivery), (Some(1.0 / 3.0), Some(2.0 / 3.0)));
    }
}
