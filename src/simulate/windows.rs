//! Rules of others that watch a fleet: trailing windows of 7 days, a detector with fixed budgets, the median of the peers
//! (statistics, 14.9 and 14.11).

use std::collections::VecDeque;

use crate::domain::Standing;
use crate::stats::num::ln;
use crate::stats::{Detector, Side};

use super::dice::Dice;
use super::fleet::{Change, SweepEnd};
use super::rules::{Call, Pairs};
use super::story::{Rule, Scene};

/// Sweeps of the trailing window: 7 days.
pub const WINDOW: usize = 28;

/// How a gap becomes a standing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Criterion {
    /// Out above the first, in below the second.
    Point {
        /// Gap above which an endpoint is out.
        out: f64,
        /// Gap below which it is in.
        within: f64,
    },
    /// Out when the rate itself, compared with nobody's, is below a number; else in.
    Rate {
        /// The least share of passes.
        least: f64,
    },
    /// Out or in when the normal interval of the window's mean gap lies beyond the margin.
    Interval {
        /// Half width in standard errors.
        z: f64,
        /// The margin.
        delta: f64,
    },
    /// The e-SR detectors, reset at each transition.
    Detector {
        /// Threshold of exclusion.
        exclude: f64,
        /// Threshold of re-admission.
        admit: f64,
        /// Margin of exclusion.
        delta: f64,
        /// Margin of admission.
        delta_in: f64,
    },
}

struct Watched {
    standing: Standing,
    /// By sweep: the gaps to the anchors, or the scores themselves where the criterion is about these.
    window: VecDeque<Pairs>,
    detectors: Option<(Detector, Detector)>,
    /// Decayed sum and number of scores, for the choice of anchors.
    estimate: (f64, f64),
}

/// Compares every endpoint with the best others on the same random cases, sweep by sweep.
pub struct Windowed {
    criterion: Criterion,
    cases: usize,
    anchors: usize,
    endpoints: Vec<Watched>,
}

impl Windowed {
    /// `cases` per sweep and endpoint, compared with the best `anchors` others; all Admitted at the start or Unknown.
    #[must_use]
    pub fn new(criterion: Criterion, endpoints: usize, settled: bool, cases: usize, anchors: usize) -> Self {
        let standing = if settled { Standing::Admitted } else { Standing::Unknown };
        let detectors = match criterion {
            Criterion::Detector { delta, delta_in, .. } => {
                Some((Detector::new(Side::Exclude, delta), Detector::new(Side::Admit, delta_in)))
            }
            Criterion::Point { .. } | Criterion::Rate { .. } | Criterion::Interval { .. } => None,
        };
        let watched = || Watched { standing, window: VecDeque::new(), detectors, estimate: (0.0, 0.0) };
        Windowed { criterion, cases, anchors, endpoints: (0..endpoints).map(|_| watched()).collect() }
    }

    fn best(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.endpoints.len()).collect();
        let estimate = |e: usize| (self.endpoints[e].estimate.0 + 4.85) / (self.endpoints[e].estimate.1 + 5.0);
        order.sort_by(|a, b| estimate(*b).total_cmp(&estimate(*a)));
        order
    }
}

impl Watched {
    fn decide(&mut self, criterion: Criterion) -> Standing {
        let call = match criterion {
            Criterion::Detector { exclude, admit, .. } => {
                let Some((out, within)) = &self.detectors else { return self.standing };
                match self.standing {
                    Standing::Excluded if within.log_r() >= ln(admit) => Call::In,
                    Standing::Excluded => Call::Open,
                    _ if out.log_r() >= ln(exclude) => Call::Out,
                    _ => Call::Open,
                }
            }
            Criterion::Point { .. } | Criterion::Rate { .. } | Criterion::Interval { .. }
                if self.window.len() < WINDOW =>
            {
                Call::Open
            }
            Criterion::Rate { least } if Pairs::mean_of(&self.window) < least => Call::Out,
            Criterion::Rate { .. } => Call::In,
            Criterion::Point { out, within } => {
                let gap = Pairs::mean_of(&self.window);
                if gap > out {
                    Call::Out
                } else if gap < within {
                    Call::In
                } else {
                    Call::Open
                }
            }
            Criterion::Interval { z, delta } => Pairs::sum_of(&self.window).call(z, delta, 0.0),
        };
        match call {
            Call::In => Standing::Admitted,
            Call::Out => Standing::Excluded,
            Call::Open => self.standing,
        }
    }
}

impl Rule for Windowed {
    fn sweep(&mut self, scene: &Scene<'_>, dice: &mut Dice) -> SweepEnd {
        let n = self.endpoints.len();
        let order = self.best();
        let mut end = SweepEnd { asked: vec![self.cases as u32; n], ..SweepEnd::default() };
        let mut sums = vec![Pairs::default(); n];
        for place in 0..self.cases {
            let case = dice.below(scene.cases(0));
            let when = place as f64 / self.cases as f64;
            let scores: Vec<f64> = (0..n).map(|e| scene.score(e, 0, case, when, dice)).collect();
            for e in 0..n {
                let anchors = order.iter().filter(|a| **a != e).take(self.anchors);
                let (sum, count) = anchors.fold((0.0, 0.0), |(s, c), a| (s + scores[*a], c + 1.0));
                let d = if count > 0.0 { sum / count - scores[e] } else { 0.0 };
                sums[e].add(if matches!(self.criterion, Criterion::Rate { .. }) { scores[e] } else { d });
                if let Some((out, within)) = &mut self.endpoints[e].detectors {
                    out.add(d);
                    within.add(d);
                }
                let estimate = &mut self.endpoints[e].estimate;
                estimate.0 += scores[e];
                estimate.1 += 1.0;
            }
        }
        for (e, watched) in self.endpoints.iter_mut().enumerate() {
            watched.estimate = (watched.estimate.0 * 0.995, watched.estimate.1 * 0.995);
            watched.window.push_back(sums[e]);
            if watched.window.len() > WINDOW {
                watched.window.pop_front();
            }
            if let Some((out, within)) = &mut watched.detectors {
                out.end_batch();
                within.end_batch();
            }
            let to = watched.decide(self.criterion);
            if to != watched.standing {
                end.changes.push(Change { endpoint: e, from: watched.standing, to, held: false });
                watched.standing = to;
                if let Some((out, within)) = &mut watched.detectors {
                    out.reset();
                    within.reset();
                }
            }
        }
        end
    }
}

/// Evaluations of the median rule in one sweep's time of 6 hours: one every 5 minutes.
const EVALUATIONS: usize = 72;

/// Evaluations that the trailing 2 hours hold.
const TRAILING: usize = 24;

/// Live requests of an endpoint in the trailing 2 hours: as many as the rule asks for.
pub const REQUESTS_MIN: u32 = 200;

/// Fewest peers of the median rule.
pub const PEERS_MIN: usize = 4;

/// Scale of the median absolute deviation to a standard deviation of normal values.
pub const MAD_SCALE: f64 = 1.4826;

/// The documented rule of a public router on live traffic (statistics, 14.11.3): flagged when the success rate of the
/// trailing 2 hours is below the median of the peers by more than 2 scaled median absolute deviations. It asks nothing of
/// its own; a flag counts as an exclusion.
pub struct MedianMad {
    standing: Vec<Standing>,
    trailing: Vec<VecDeque<(u32, u32)>>,
}

impl MedianMad {
    /// For so many endpoints.
    #[must_use]
    pub fn new(endpoints: usize) -> Self {
        MedianMad { standing: vec![Standing::Admitted; endpoints], trailing: vec![VecDeque::new(); endpoints] }
    }
}

/// Places below `median - k * 1.4826 * MAD`, both over all values.
#[must_use]
pub fn below_median(values: &[f64], k: f64) -> Vec<usize> {
    if values.len() < PEERS_MIN {
        return Vec::new();
    }
    let centre = median(values.to_vec());
    let spread = median(values.iter().map(|v| (v - centre).abs()).collect());
    (0..values.len()).filter(|i| values[*i] < centre - k * MAD_SCALE * spread).collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let n = values.len();
    if n.is_multiple_of(2) { (values[n / 2 - 1] + values[n / 2]) / 2.0 } else { values[n / 2] }
}

impl Rule for MedianMad {
    fn sweep(&mut self, scene: &Scene<'_>, dice: &mut Dice) -> SweepEnd {
        let n = self.standing.len();
        let mut end = SweepEnd { asked: vec![0; n], ..SweepEnd::default() };
        for evaluation in 0..EVALUATIONS {
            let requests = REQUESTS_MIN / TRAILING as u32 + u32::from(evaluation % 3 == 0);
            for e in 0..n {
                let when = evaluation as f64 / EVALUATIONS as f64;
                let passes: f64 = (0..requests)
                    .map(|_| {
                        let case = dice.below(scene.cases(0));
                        scene.score(e, 0, case, when, dice)
                    })
                    .sum();
                self.trailing[e].push_back((passes.round() as u32, requests));
                if self.trailing[e].len() > TRAILING {
                    self.trailing[e].pop_front();
                }
            }
            let totals: Vec<(u32, u32)> =
                self.trailing.iter().map(|t| t.iter().fold((0, 0), |(a, b), (p, n)| (a + p, b + n))).collect();
            if totals.iter().any(|(_, n)| *n < REQUESTS_MIN) {
                continue;
            }
            let rates: Vec<f64> = totals.iter().map(|(p, n)| f64::from(*p) / f64::from(*n)).collect();
            let flagged = below_median(&rates, 2.0);
            for e in 0..n {
                let to = if flagged.contains(&e) { Standing::Excluded } else { Standing::Admitted };
                if to != self.standing[e] {
                    end.changes.push(Change { endpoint: e, from: self.standing[e], to, held: false });
                    self.standing[e] = to;
                }
            }
        }
        end
    }
}
