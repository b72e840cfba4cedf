//! Scenarios A, B and C: how many requests until every endpoint of a new model is classified (statistics, 14.2).

use std::collections::BTreeMap;

use serde_json::Value;

use crate::domain::policy::Pool;
use crate::domain::{IdError, Outcome, Policy, Standing};

use super::bound;
use super::dice::Dice;
use super::fleet::{Fleet, Pace};
use super::population::{Cases, NOISE, SPREAD, variance_within_case};
use super::report::{Figures, PolicyReport, Sample, number, share};
use super::rules::{self, Call, Classified, Task, z_of};
use super::{Run, SimulateError};

/// Cases of the suite.
const CASES: usize = 200;

/// Sweeps after which the shipped rule counts as undecided.
const SWEEPS_MAX: u64 = 2000;

/// Variance within a case at a base of 0.97 as measured in statistics 14.11; other bases are computed.
const VARIANCE_AT_97: f64 = 0.023_24;

/// A fleet to classify.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shape {
    /// Name of the scenario.
    pub name: &'static str,
    /// Pass rate of a good endpoint.
    pub base: f64,
    /// The scenario's margin, as a share of the policy's.
    pub margin_share: f64,
    /// Drops by endpoint; the first is the reference of the rules that have one.
    pub drops: [f64; 10],
    /// Batches of 50 after which the comparison rules give up.
    pub horizon: usize,
}

/// A: four clear offenders.
pub const A: Shape = Shape {
    name: "A",
    base: 0.97,
    margin_share: 1.0,
    drops: [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.05, 0.05, 0.1, 0.2],
    horizon: 240,
};

/// B: a weaker model, and an endpoint one point below the others.
pub const B: Shape = Shape {
    name: "B",
    base: 0.95,
    margin_share: 1.0,
    drops: [0.0, 0.0, 0.0, 0.0, 0.0, 0.01, 0.05, 0.05, 0.1, 0.2],
    horizon: 500,
};

/// C: half the margin, and an endpoint one such margin beyond it.
pub const C: Shape = Shape {
    name: "C",
    base: 0.97,
    margin_share: 0.5,
    drops: [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.02, 0.05, 0.1, 0.2],
    horizon: 500,
};

/// Policies that can be compared, the shipped one first.
pub const POLICIES: [&str; 11] = [
    "exactod",
    "exactod-equal-margins",
    "three-anchors",
    "exactod-pool",
    "exactod-one-reference",
    "fixed-n-paired",
    "fixed-n-wilson",
    "fixed-n-paired-each",
    "fixed-n-wilson-each",
    "peeking-wilson",
    "peeking-paired-z",
];

/// Runs one policy.
///
/// # Errors
/// When the run is stopped, or the policy's name is unknown.
pub fn run(shape: &Shape, run: &Run<'_>, policy: &str) -> Result<PolicyReport, SimulateError> {
    let delta = run.policy.margin * shape.margin_share;
    let rules = Policy {
        margin: delta,
        admission_margin: run.policy.admission_margin.map(|d| d * shape.margin_share),
        ..run.policy.clone()
    };
    let sizes = Sizes::of(shape, delta, run.policy.alpha);
    let results = run.repeat(policy, |repetition, dice| {
        let mut suite = run.dice("suite", repetition);
        let cases = Cases::draw(CASES, shape.base, SPREAD, &mut suite);
        let rates: Vec<Vec<f64>> = (shape.drops.iter().enumerate())
            .map(|(i, drop)| cases.rates(*drop, if i == 0 { 0.0 } else { NOISE }, &mut suite))
            .collect();
        let task = Task { rates: &rates, delta, alpha: run.policy.alpha, horizon: shape.horizon };
        one(&task, &sizes, &rules, policy, dice)
    })?;
    let results = results.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(summary(shape, &sizes, policy, &results, &rules))
}

/// Sample sizes of the fixed designs.
struct Sizes {
    /// Tail per endpoint at which any error is at most alpha.
    family: f64,
    each: f64,
    paired: f64,
    unpaired: f64,
    delta: f64,
}

impl Sizes {
    fn of(shape: &Shape, delta: f64, alpha: f64) -> Sizes {
        let within = if shape.base == 0.97 { VARIANCE_AT_97 } else { variance_within_case(shape.base, SPREAD) };
        let family = alpha / (shape.drops.len() - 1) as f64;
        let unpaired = 2.0 * shape.base * (1.0 - shape.base);
        Sizes { family, each: alpha, paired: 2.0 * within, unpaired, delta }
    }

    fn size(&self, tail: f64, variance: f64) -> usize {
        rules::fixed_size(tail, variance, self.delta)
    }
}

fn one(
    task: &Task<'_>,
    sizes: &Sizes,
    rules: &Policy,
    policy: &str,
    dice: &mut Dice,
) -> Result<Classified, SimulateError> {
    let z = z_of(task.alpha);
    let (family_z, each_z) = (z_of(sizes.family), z_of(sizes.each));
    Ok(match policy {
        "exactod" => shipped(task, rules, dice)?,
        "exactod-equal-margins" => {
            shipped(task, &Policy { admission_margin: Some(rules.margin), ..rules.clone() }, dice)?
        }
        "three-anchors" => shipped(task, &three_anchors(rules), dice)?,
        "exactod-pool" => rules::wide_pool(task, dice),
        "exactod-one-reference" => rules::one_reference(task, dice),
        "fixed-n-paired" => rules::fixed_paired(task, sizes.size(sizes.family, sizes.paired), family_z, dice),
        "fixed-n-wilson" => rules::fixed_wilson(task, sizes.size(sizes.family, sizes.unpaired), family_z, dice),
        "fixed-n-paired-each" => rules::fixed_paired(task, sizes.size(sizes.each, sizes.paired), each_z, dice),
        "fixed-n-wilson-each" => rules::fixed_wilson(task, sizes.size(sizes.each, sizes.unpaired), each_z, dice),
        "peeking-wilson" => rules::peeking_wilson(task, z, dice),
        "peeking-paired-z" => rules::peeking_paired(task, z, dice),
        _ => return Err(SimulateError::UnknownPolicy(policy.to_owned())),
    })
}

/// The default of earlier versions.
pub fn three_anchors(policy: &Policy) -> Policy {
    /// Its admission margin, in margins.
    const ADMISSION_SHARE: f64 = 0.75;
    Policy {
        pool: Pool::Anchors,
        anchors: 3,
        admission_margin: Some(ADMISSION_SHARE * policy.margin),
        ..policy.clone()
    }
}

/// The shipped rule by the code that ships: everybody Unknown, in random order of configuration, sweeps back to back
/// until each endpoint had its first decision.
fn shipped(task: &Task<'_>, rules: &Policy, dice: &mut Dice) -> Result<Classified, IdError> {
    let n = task.rates.len();
    let mut order: Vec<usize> = (0..n).collect();
    dice.shuffle_front(&mut order, n);
    // The comparison rules have no cap either; who would have met it is told by `beyond_cap`.
    let mut rules = rules.clone();
    rules.cases.cap = u32::MAX;
    let mut fleet = Fleet::new(rules, n, &[("suite", task.rates[0].len())], None, Pace::BackToBack)?;
    let mut out = Classified { requests: 0, needed: 0, cases: vec![0; n], calls: vec![Call::Open; n] };
    while out.calls.contains(&Call::Open) && fleet.sweeps < SWEEPS_MAX {
        let end = fleet.sweep(dice, |ask, dice| {
            Outcome::Scored(if dice.chance(task.rates[order[ask.endpoint]][ask.case]) { 1.0 } else { 0.0 })
        });
        // Whom an open endpoint is compared with: anchors that are asked as much as it.
        let open_at = |place: usize| out.calls[order[place]] == Call::Open;
        let least = (0..n).filter(|place| open_at(*place)).map(|place| end.asked[place]).min().unwrap_or(0);
        let compared: Vec<bool> =
            (0..n).map(|place| end.anchors.contains(&place) && end.asked[place] >= least).collect();
        for (place, asked) in end.asked.iter().enumerate() {
            out.requests += u64::from(*asked);
            let open = out.calls[order[place]] == Call::Open;
            if open || compared[place] {
                out.needed += u64::from(*asked);
            }
            if open {
                out.cases[order[place]] += u64::from(*asked);
            }
        }
        for change in end.changes.iter().filter(|c| !c.held) {
            let call = &mut out.calls[order[change.endpoint]];
            match (*call, change.to) {
                (Call::Open, Standing::Admitted | Standing::Suspect) => *call = Call::In,
                (Call::Open, Standing::Excluded) => *call = Call::Out,
                _ => {}
            }
        }
    }
    Ok(out)
}

fn summary(shape: &Shape, sizes: &Sizes, policy: &str, results: &[Classified], rules: &Policy) -> PolicyReport {
    let fixed = policy.starts_with("fixed-n");
    let (alpha, cap) = (rules.alpha, rules.cases.cap);
    let (mut any, mut out_wrong, mut in_wrong, mut open, mut good, mut bad) = (0u64, 0u64, 0u64, 0u64, 0u64, 0u64);
    let mut cases: BTreeMap<u32, Sample> = BTreeMap::new();
    for result in results {
        let mut wrong = false;
        for ((drop, call), n) in shape.drops.iter().zip(&result.calls).zip(&result.cases) {
            let (is_good, is_bad) = (*drop < sizes.delta, *drop > sizes.delta);
            good += u64::from(is_good);
            bad += u64::from(is_bad);
            open += u64::from(*call == Call::Open);
            out_wrong += u64::from(is_good && *call == Call::Out);
            in_wrong += u64::from(is_bad && *call == Call::In);
            // A fixed design must decide: what it leaves open is an error too.
            wrong |= (is_good && *call == Call::Out) || (is_bad && *call == Call::In) || (fixed && *call == Call::Open);
            cases.entry((drop * 1000.0).round() as u32).or_default().add(*n as f64);
        }
        any += u64::from(wrong);
    }
    let requests: Sample = results.iter().map(|r| (if r.needed > 0 { r.needed } else { r.requests }) as f64).collect();
    let all: Sample = results.iter().map(|r| r.requests as f64).collect();
    let beyond = results.iter().flat_map(|r| &r.cases).filter(|n| **n > u64::from(cap)).count() as u64;
    let runs = results.len() as u64;
    let bound = bound::requests(shape.base, SPREAD, sizes.delta, &shape.drops[1..], alpha);
    let fixed_n = (sizes.size(sizes.family, sizes.paired) * shape.drops.len()) as f64;
    let by_drop: Figures =
        cases.iter().map(|(drop, n)| (format!("{}", f64::from(*drop) / 10.0), number(n.mean().round()))).collect();
    PolicyReport::new(policy)
        .with("requests_mean", number(requests.mean()))
        .with("requests_error", number(requests.error()))
        .with("requests_all_mean", number(all.mean()))
        .with("any_error", share(any, runs))
        .with("false_exclude", share(out_wrong, good))
        .with("false_include", share(in_wrong, bad))
        .with("undecided", share(open, runs * shape.drops.len() as u64))
        .with("beyond_cap", share(beyond, runs * shape.drops.len() as u64))
        .with("ratio_to_bound", number(requests.mean() / bound))
        .with("ratio_to_fixed_n", number(requests.mean() / fixed_n))
        .with("bound", number(bound.round()))
        .with("fixed_n", number(fixed_n))
        .with("cases_by_drop", Value::Object(by_drop))
}
