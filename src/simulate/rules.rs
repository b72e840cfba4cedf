//! Rules to compare with (statistics, 14.2 and 14.11): fixed samples, peeking, and betting against other anchors.

use crate::stats::intervals::wilson;
use crate::stats::num::ln;
use crate::stats::{EProcess, Side};

use super::dice::Dice;

/// Outcomes between two looks.
pub const LOOK: usize = 50;

/// What a rule said about an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Not worse than the margin.
    In,
    /// Worse than the margin.
    Out,
    /// No decision.
    Open,
}

/// What a rule needed and said.
#[derive(Debug, Clone, PartialEq)]
pub struct Classified {
    /// Requests to all endpoints.
    pub requests: u64,
    /// Those of them to endpoints that were open yet, and to the anchors and references that they were compared with.
    pub needed: u64,
    /// Requests to each endpoint until its decision.
    pub cases: Vec<u64>,
    /// What was said.
    pub calls: Vec<Call>,
}

/// Endpoints to classify: pass rates by endpoint and case; the reference, where there is one, stands at place 0.
#[derive(Debug, Clone, Copy)]
pub struct Task<'a> {
    /// Pass rates by endpoint and case.
    pub rates: &'a [Vec<f64>],
    /// Margin, of both directions.
    pub delta: f64,
    /// Error level per direction.
    pub alpha: f64,
    /// Batches of [`LOOK`] after which a rule gives up.
    pub horizon: usize,
}

impl Task<'_> {
    fn play(&self, endpoint: usize, case: usize, dice: &mut Dice) -> f64 {
        if dice.chance(self.rates[endpoint][case]) { 1.0 } else { 0.0 }
    }

    fn any_case(&self, dice: &mut Dice) -> usize {
        dice.below(self.rates[0].len())
    }

    fn open(&self) -> Classified {
        let n = self.rates.len();
        let mut calls = vec![Call::Open; n];
        // The reference is what the others are measured by.
        if let Some(reference) = calls.first_mut() {
            *reference = Call::In;
        }
        Classified { requests: 0, needed: 0, cases: vec![0; n], calls }
    }
}

/// Quantile of the standard normal distribution: the z that is exceeded with probability `tail`, in (0, 0.5).
#[must_use]
pub fn z_of(tail: f64) -> f64 {
    let (mut low, mut high) = (0.0, 40.0);
    for _ in 0..80 {
        let middle = (low + high) / 2.0;
        if 0.5 * libm::erfc(middle / std::f64::consts::SQRT_2) > tail { low = middle } else { high = middle }
    }
    (low + high) / 2.0
}

/// Sample size per endpoint at which errors in both directions are at most `tail`: `N = (2 z)^2 V / delta^2`, where
/// `variance` is that of the difference of two outcomes.
#[must_use]
pub fn fixed_size(tail: f64, variance: f64, delta: f64) -> usize {
    let z = z_of(tail);
    (4.0 * z * z * variance / (delta * delta)).round() as usize
}

/// Newcombe's interval of a difference of rates `a - b` from two Wilson intervals.
#[must_use]
pub fn newcombe((ka, na): (f64, f64), (kb, nb): (f64, f64), z: f64) -> (f64, f64) {
    let (a, b) = (ka / na, kb / nb);
    let ((la, ua), (lb, ub)) = (wilson(ka, na, z), wilson(kb, nb, z));
    (a - b - (a - la).hypot(ub - b), a - b + (ua - a).hypot(b - lb))
}

/// Sums of a paired comparison.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pairs {
    n: f64,
    sum: f64,
    squares: f64,
}

impl Pairs {
    /// Takes a paired difference.
    pub fn add(&mut self, d: f64) {
        self.n += 1.0;
        self.sum += d;
        self.squares += d * d;
    }

    /// All of several sums.
    #[must_use]
    pub fn sum_of<'a>(sums: impl IntoIterator<Item = &'a Pairs>) -> Pairs {
        sums.into_iter().fold(Pairs::default(), |a, b| Pairs {
            n: a.n + b.n,
            sum: a.sum + b.sum,
            squares: a.squares + b.squares,
        })
    }

    /// Mean over several sums; NaN of nothing.
    #[must_use]
    pub fn mean_of<'a>(sums: impl IntoIterator<Item = &'a Pairs>) -> f64 {
        let all = Pairs::sum_of(sums);
        all.sum / all.n
    }

    /// What the normal interval of the mean says; `slack / n` is added to the variance.
    #[must_use]
    pub fn call(&self, z: f64, delta: f64, slack: f64) -> Call {
        let mean = self.sum / self.n;
        let half = z * ((self.squares / self.n - mean * mean + slack / self.n).max(0.0) / self.n).sqrt();
        of_gap(mean - half, mean + half, delta)
    }
}

/// Slack of the variance that keeps a peeking rule from deciding on a handful of equal outcomes (14.11.2).
pub const PEEKING_SLACK: f64 = 0.25;

/// What an interval of the gap (positive is worse) says.
#[must_use]
pub fn of_gap(low: f64, high: f64, delta: f64) -> Call {
    if low > delta {
        Call::Out
    } else if high < delta {
        Call::In
    } else {
        Call::Open
    }
}

/// Asks every endpoint `size` times its own random cases and decides once.
#[must_use]
pub fn fixed_wilson(task: &Task<'_>, size: usize, z: f64, dice: &mut Dice) -> Classified {
    let passes: Vec<f64> = (0..task.rates.len())
        .map(|e| {
            (0..size)
                .map(|_| {
                    let case = task.any_case(dice);
                    task.play(e, case, dice)
                })
                .sum()
        })
        .collect();
    let n = size as f64;
    decide_once(task, size, |e| {
        let (low, high) = newcombe((passes[0], n), (passes[e], n), z);
        of_gap(low, high, task.delta)
    })
}

/// Asks every endpoint the same `size` random cases and decides once.
#[must_use]
pub fn fixed_paired(task: &Task<'_>, size: usize, z: f64, dice: &mut Dice) -> Classified {
    let mut pairs = vec![Pairs::default(); task.rates.len()];
    for _ in 0..size {
        let case = task.any_case(dice);
        let reference = task.play(0, case, dice);
        for (e, pair) in pairs.iter_mut().enumerate().skip(1) {
            pair.add(reference - task.play(e, case, dice));
        }
    }
    decide_once(task, size, |e| pairs[e].call(z, task.delta, 0.0))
}

fn decide_once(task: &Task<'_>, size: usize, call: impl Fn(usize) -> Call) -> Classified {
    let mut out = task.open();
    for e in 0..task.rates.len() {
        out.cases[e] = size as u64;
        out.requests += size as u64;
        if e > 0 {
            out.calls[e] = call(e);
        }
    }
    out
}

/// Looks at Newcombe's interval after every batch and stops at the first decision.
#[must_use]
pub fn peeking_wilson(task: &Task<'_>, z: f64, dice: &mut Dice) -> Classified {
    let mut passes = vec![(0.0, 0.0); task.rates.len()];
    until_decided(task, |open, out| {
        for e in std::iter::once(0).chain(open.iter().copied()) {
            for _ in 0..LOOK {
                let case = task.any_case(dice);
                passes[e].0 += task.play(e, case, dice);
                passes[e].1 += 1.0;
            }
            out.ask(e);
        }
        for &e in open {
            let (low, high) = newcombe(passes[0], passes[e], z);
            out.calls[e] = of_gap(low, high, task.delta);
        }
    })
}

/// Looks at the normal interval of the paired differences after every batch and stops at the first decision.
#[must_use]
pub fn peeking_paired(task: &Task<'_>, z: f64, dice: &mut Dice) -> Classified {
    let mut pairs = vec![Pairs::default(); task.rates.len()];
    until_decided(task, |open, out| {
        for _ in 0..LOOK {
            let case = task.any_case(dice);
            let reference = task.play(0, case, dice);
            for &e in open {
                pairs[e].add(reference - task.play(e, case, dice));
            }
        }
        out.ask(0);
        for &e in open {
            out.ask(e);
            out.calls[e] = pairs[e].call(z, task.delta, PEEKING_SLACK);
        }
    })
}

/// The shipped bets against one reference that is asked as often as the others, both margins equal.
#[must_use]
pub fn one_reference(task: &Task<'_>, dice: &mut Dice) -> Classified {
    let mut tests = vec![Tests::new(task.delta); task.rates.len()];
    until_decided(task, |open, out| {
        for _ in 0..LOOK {
            let case = task.any_case(dice);
            let reference = task.play(0, case, dice);
            for &e in open {
                tests[e].add(reference - task.play(e, case, dice));
            }
        }
        out.ask(0);
        for &e in open {
            out.ask(e);
            out.calls[e] = tests[e].call(task.alpha);
        }
    })
}

fn until_decided(task: &Task<'_>, mut batch: impl FnMut(&[usize], &mut Classified)) -> Classified {
    let mut out = task.open();
    for _ in 0..task.horizon {
        let open: Vec<usize> = (0..task.rates.len()).filter(|e| out.calls[*e] == Call::Open).collect();
        if open.is_empty() {
            break;
        }
        batch(&open, &mut out);
    }
    out
}

impl Classified {
    fn ask(&mut self, endpoint: usize) {
        self.cases[endpoint] += LOOK as u64;
        self.requests += LOOK as u64;
    }
}

/// The two tests of the first decision.
#[derive(Debug, Clone)]
pub struct Tests {
    exclude: EProcess,
    admit: EProcess,
}

impl Tests {
    /// Both at one margin.
    #[must_use]
    pub fn new(delta: f64) -> Self {
        Tests { exclude: EProcess::new(Side::Exclude, delta), admit: EProcess::new(Side::Admit, delta) }
    }

    /// Takes a paired difference.
    pub fn add(&mut self, d: f64) {
        self.exclude.add(d);
        self.admit.add(d);
    }

    /// What the e-values say; exclusion goes first.
    #[must_use]
    pub fn call(&self, alpha: f64) -> Call {
        let threshold = ln(1.0 / alpha);
        if self.exclude.log_e() >= threshold {
            Call::Out
        } else if self.admit.log_e() >= threshold {
            Call::In
        } else {
            Call::Open
        }
    }
}

/// The wide adaptive pool of statistics 14.2: everybody within half a margin of the best is an anchor, nobody is a
/// reference, a decided endpoint is asked only while the pool needs it.
#[must_use]
pub fn wide_pool(task: &Task<'_>, dice: &mut Dice) -> Classified {
    let n = task.rates.len();
    let mut tests = vec![Tests::new(task.delta); n];
    let mut estimates = vec![(0.0, 0.0); n];
    let mut out = Classified { requests: 0, needed: 0, cases: vec![0; n], calls: vec![Call::Open; n] };
    for _ in 0..task.horizon {
        let open: Vec<usize> = (0..n).filter(|e| out.calls[*e] == Call::Open).collect();
        if open.is_empty() {
            break;
        }
        let estimate = |e: usize| (estimates[e].0 + 1.0) / (estimates[e].1 + 1.05);
        let sampled = pool_sample(&open, &out.calls, estimate, task.delta);
        let best = sampled.iter().map(|e| estimate(*e)).fold(f64::NEG_INFINITY, f64::max);
        let pool: Vec<usize> = sampled.iter().copied().filter(|e| best - estimate(*e) <= task.delta / 2.0).collect();
        let mut scores = vec![0.0; n];
        for _ in 0..LOOK {
            let case = task.any_case(dice);
            for &e in &sampled {
                scores[e] = task.play(e, case, dice);
                estimates[e].0 += scores[e];
                estimates[e].1 += 1.0;
            }
            for &e in &open {
                tests[e].add(compare(e, &pool, &sampled, &scores));
            }
        }
        for &e in &sampled {
            out.requests += LOOK as u64;
            if out.calls[e] == Call::Open {
                out.cases[e] += LOOK as u64;
                out.calls[e] = tests[e].call(task.alpha);
            }
        }
    }
    out
}

fn compare(e: usize, pool: &[usize], sampled: &[usize], scores: &[f64]) -> f64 {
    let mean = |of: &[usize]| {
        let others: Vec<f64> = of.iter().filter(|o| **o != e).map(|o| scores[*o]).collect();
        (!others.is_empty()).then(|| others.iter().sum::<f64>() / others.len() as f64)
    };
    mean(pool).or_else(|| mean(sampled)).map_or(0.0, |m| m - scores[e])
}

/// All undecided, and the best admitted ones as far as they are needed near the leading estimate.
fn pool_sample(open: &[usize], calls: &[Call], estimate: impl Fn(usize) -> f64, delta: f64) -> Vec<usize> {
    let needed = ((open.len() as f64).sqrt().round() as usize).max(1);
    let mut admitted: Vec<usize> = (0..calls.len()).filter(|e| calls[*e] == Call::In).collect();
    admitted.sort_by(|a, b| estimate(*b).total_cmp(&estimate(*a)));
    let leading = open.iter().chain(&admitted).map(|e| estimate(*e)).fold(f64::NEG_INFINITY, f64::max);
    let near = |e: usize| leading - estimate(e) <= delta / 2.0;
    let mut sampled = open.to_vec();
    let mut there = open.iter().filter(|e| near(**e)).count();
    for e in admitted {
        if there >= needed {
            break;
        }
        there += usize::from(near(e));
        sampled.push(e);
    }
    sampled
}
