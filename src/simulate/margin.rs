//! Error at the margin: an endpoint whose true gap is exactly the margin, looked at a hundred times (statistics, 14.3).

use serde_json::json;

use crate::domain::{IdError, Outcome, Policy, Standing};

use super::dice::Dice;
use super::fleet::{Fleet, Pace};
use super::population::{Cases, SPREAD};
use super::report::{Figures, PolicyReport, share};
use super::rules::{Call, PEEKING_SLACK, Pairs, newcombe, of_gap, z_of};
use super::{Run, SimulateError};

/// Cases of the suite, all asked in every sweep.
const CASES: usize = 100;

/// Pass rate of the reference.
const BASE: f64 = 0.96;

/// Looks, at the end of every sweep.
const LOOKS: usize = 100;

/// Easiest cases that a broken endpoint fails.
const BROKEN: usize = 4;

/// Its pass rate on them.
const BROKEN_RATE: f64 = 0.15;

/// Policies that can be compared, the shipped one first.
pub const POLICIES: [&str; 3] = ["exactod", "peeking-wilson", "peeking-paired-z"];

/// How the cases of a sweep are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// Drawn with replacement.
    Random,
    /// All, in random order.
    Shuffled,
    /// All, hardest first.
    Fixed,
}

const DESIGNS: [(&str, Order, bool); 6] = [
    ("random cases, uniform shift", Order::Random, false),
    ("full sweep in random order, uniform shift", Order::Shuffled, false),
    ("full sweep in fixed order, uniform shift", Order::Fixed, false),
    ("random cases, broken", Order::Random, true),
    ("full sweep in random order, broken", Order::Shuffled, true),
    ("full sweep in fixed order, broken", Order::Fixed, true),
];

/// Runs one policy in all designs.
///
/// # Errors
/// When the run is stopped, or the policy is unknown.
pub fn run(run: &Run<'_>, policy: &str) -> Result<PolicyReport, SimulateError> {
    let (mut all_out, mut all_in, mut worst) = (0u64, 0u64, 0u64);
    let mut cells = Vec::new();
    for (design, order, broken) in DESIGNS {
        let calls = run.repeat(&format!("{design}/{policy}"), |_, dice| -> Result<(bool, bool), SimulateError> {
            Ok((
                wrong(run, policy, order, broken, Call::Out, dice)?,
                wrong(run, policy, order, broken, Call::In, dice)?,
            ))
        })?;
        let calls = calls.into_iter().collect::<Result<Vec<_>, _>>()?;
        let out = calls.iter().filter(|(out, _)| *out).count() as u64;
        let within = calls.iter().filter(|(_, within)| *within).count() as u64;
        (all_out, all_in, worst) = (all_out + out, all_in + within, worst.max(out).max(within));
        let mut cell = Figures::new();
        cell.insert("design".to_owned(), json!(design));
        cell.insert("false_exclude".to_owned(), share(out, run.reps));
        cell.insert("false_include".to_owned(), share(within, run.reps));
        cells.push(cell);
    }
    let mut report = PolicyReport::new(policy)
        .with("requests_mean", (2 * CASES * LOOKS) as u64)
        .with("false_exclude", share(all_out, run.reps * DESIGNS.len() as u64))
        .with("false_include", share(all_in, run.reps * DESIGNS.len() as u64))
        .with("worst_design", share(worst, run.reps));
    report.cells = cells;
    Ok(report)
}

/// Whether one direction errs in one repetition, at the gap where its null hypothesis just holds.
fn wrong(
    run: &Run<'_>,
    policy: &str,
    order: Order,
    broken: bool,
    side: Call,
    dice: &mut Dice,
) -> Result<bool, SimulateError> {
    let delta = run.policy.margin;
    let shipped = policy == "exactod";
    let ratio = run.policy.admission_share();
    let gap = if shipped && side == Call::In { ratio * delta } else { delta };
    let cases = Cases::draw(CASES, BASE, SPREAD, dice);
    let reference = cases.rates(0.0, 0.0, dice);
    let endpoint = if broken { cases.rates_broken(gap, BROKEN, BROKEN_RATE) } else { cases.rates(gap, 0.0, dice) };
    let mut chooser = Chooser { order, fixed: cases.hardest_first(), chosen: Vec::new() };
    let z = z_of(run.policy.alpha);
    Ok(match policy {
        "exactod" => ships(&run.policy, [&reference, &endpoint], &mut chooser, side, dice)?,
        "peeking-wilson" => peeks(
            LOOKS,
            side,
            || {
                // Each endpoint has cases of its own.
                let mut passes = [0.0; 2];
                for (passes, rates) in passes.iter_mut().zip([&reference, &endpoint]) {
                    chooser.choose(dice);
                    *passes = chooser.chosen.iter().filter(|c| dice.chance(rates[**c])).count() as f64;
                }
                passes
            },
            {
                let mut sums = ([0.0; 2], 0.0);
                move |passes: [f64; 2]| {
                    sums = ([sums.0[0] + passes[0], sums.0[1] + passes[1]], sums.1 + CASES as f64);
                    let (low, high) = newcombe((sums.0[0], sums.1), (sums.0[1], sums.1), z);
                    of_gap(low, high, delta)
                }
            },
        ),
        "peeking-paired-z" => peeks(
            LOOKS,
            side,
            || {
                chooser.choose(dice);
                let mut sum = Pairs::default();
                for &case in &chooser.chosen {
                    let (a, b) = (dice.chance(reference[case]), dice.chance(endpoint[case]));
                    sum.add(f64::from(u8::from(a)) - f64::from(u8::from(b)));
                }
                sum
            },
            {
                let mut all = Pairs::default();
                move |sum: Pairs| {
                    all = Pairs::sum_of([&all, &sum]);
                    all.call(z, delta, PEEKING_SLACK)
                }
            },
        ),
        _ => return Err(SimulateError::UnknownPolicy(policy.to_owned())),
    })
}

/// Whether any of the looks says `side`.
fn peeks<T>(looks: usize, side: Call, mut sweep: impl FnMut() -> T, mut look: impl FnMut(T) -> Call) -> bool {
    (0..looks).any(|_| look(sweep()) == side)
}

struct Chooser {
    order: Order,
    fixed: Vec<usize>,
    chosen: Vec<usize>,
}

impl Chooser {
    /// The cases of the next sweep.
    fn choose(&mut self, dice: &mut Dice) {
        self.chosen.clear();
        match self.order {
            Order::Random => self.chosen.extend((0..self.fixed.len()).map(|_| dice.below(self.fixed.len()))),
            Order::Fixed | Order::Shuffled => self.chosen.extend_from_slice(&self.fixed),
        }
        if self.order == Order::Shuffled {
            dice.shuffle_front(&mut self.chosen, self.fixed.len());
        }
    }
}

/// The shipped rule against a designated reference. Only the side under test can decide, so that the other does not end
/// the run before it.
fn ships(
    policy: &Policy,
    rates: [&[f64]; 2],
    chooser: &mut Chooser,
    side: Call,
    dice: &mut Dice,
) -> Result<bool, IdError> {
    let mut policy = policy.clone();
    policy.cases.unknown = CASES as u32;
    policy.cases.burst = CASES as u32;
    policy.cases.cap = u32::MAX;
    if side == Call::Out {
        policy.admission_margin = Some(policy.margin * 1e-3);
    } else {
        policy.admission_margin = Some(policy.margin * policy.admission_share());
    }
    let mut fleet = Fleet::new(policy, 2, &[("suite", CASES)], Some(0), Pace::BackToBack)?;
    let wanted = if side == Call::Out { Standing::Excluded } else { Standing::Admitted };
    // The first sweep of a model gives no evidence for admission.
    for _ in 0..=LOOKS {
        chooser.choose(dice);
        let end = fleet.sweep(dice, |ask, dice| {
            let case = chooser.chosen[ask.case];
            Outcome::Scored(if dice.chance(rates[ask.endpoint][case]) { 1.0 } else { 0.0 })
        });
        if let Some(change) = end.changes.iter().find(|c| c.endpoint == 1 && !c.held) {
            return Ok(change.to == wanted);
        }
    }
    Ok(false)
}
