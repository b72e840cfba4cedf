//! Order and weights of the listed endpoints: by tier, then by the operator's choice; steady against noise.
//!
//! Weight = 100 x s for Admitted and Pinned, 50 x s for Suspect, 25 for Provisional and Unknown (100 when nothing else is
//! listed), where s compares the endpoint with the best of its tier by `rank_by`:
//!
//! | `rank_by` | s |
//! |---|---|
//! | quality | ranking estimate / best estimate |
//! | price | lowest price / price, of (3 x input + output) / 4 per million tokens |
//! | latency | lowest median latency / median latency |
//! | throughput | tokens per second / highest |
//!
//! s lies in \[0.1, 1\]; without the figure it is 0.5. Weights are multiples of 5. So that a document does not change with
//! every sweep, an endpoint keeps its weight while the new one lies within 5 of it, and two neighbours keep their order
//! unless one is better by half the margin and two standard errors (quality), by 10 % (latency, throughput), or at all
//! (price).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::policy::RankBy;
use crate::domain::{Allowlist, Endpoint, EndpointId, ListedEntry, Policy};

use super::state::ModelState;

/// Weight step, and how far a weight may drift before it is written anew.
const WEIGHT_STEP: f64 = 5.0;

/// Smallest share of the best.
const SCALE_MIN: f64 = 0.1;

/// Share of an endpoint without the figure.
const SCALE_UNKNOWN: f64 = 0.5;

/// Relative difference of latency or throughput that changes an order.
const RELATIVE_STEP: f64 = 0.1;

/// Standard errors of a difference in quality beyond half the margin that change an order.
const QUALITY_ERRORS: f64 = 2.0;

/// What ranking knows of an endpoint beside its quality: trailing figures from stored attempts.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Figures {
    /// Median time to first token or byte, in microseconds.
    pub latency_us: Option<f64>,
    /// Median tokens per second of an answer.
    pub tokens_per_second: Option<f64>,
}

/// Place of an endpoint among the listed ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// Admitted, or pinned by an operator.
    First,
    /// Suspect.
    Suspect,
    /// Provisional.
    Provisional,
    /// Unknown (mode bootstrap).
    Unknown,
    /// Excluded, and held on the list by a guard.
    Held,
}

/// An endpoint to be listed.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed<'a> {
    /// The endpoint.
    pub endpoint: &'a Endpoint,
    /// Its place.
    pub tier: Tier,
    /// The tier as written in the document.
    pub label: String,
}

/// Everything that orders.
#[derive(Debug, Clone, Copy)]
pub struct Ranker<'a> {
    /// The model.
    pub state: &'a ModelState,
    /// The rules.
    pub policy: &'a Policy,
    /// Trailing figures by endpoint.
    pub figures: &'a BTreeMap<EndpointId, Figures>,
    /// The document in force.
    pub prev: Option<&'a Allowlist>,
}

impl Ranker<'_> {
    /// The figure that ranks, larger is better; `None` when it is not known.
    fn merit(&self, endpoint: &Endpoint) -> Option<f64> {
        let figures = self.figures.get(&endpoint.id).copied().unwrap_or_default();
        match self.policy.rank_by {
            RankBy::Quality => Some(self.state.ranking(self.policy, &endpoint.id)),
            RankBy::Price => endpoint.price.map(|p| -(3.0 * p.input_per_mtok + p.output_per_mtok) / 4.0),
            RankBy::Latency => figures.latency_us.map(|l| -l),
            RankBy::Throughput => figures.tokens_per_second,
        }
        .filter(|m| m.is_finite())
    }

    /// `b` is so much better than `a` that it goes before it.
    fn overtakes(&self, (a, x): (&EndpointId, Option<f64>), (b, y): (&EndpointId, Option<f64>)) -> bool {
        let error = |id: &EndpointId| self.state.ranking_error(self.policy, id);
        match (x, y) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(x), Some(y)) => {
                let step = match self.policy.rank_by {
                    RankBy::Quality => self.policy.margin / 2.0 + QUALITY_ERRORS * error(a).hypot(error(b)),
                    RankBy::Price => 0.0,
                    RankBy::Latency | RankBy::Throughput => RELATIVE_STEP * x.abs(),
                };
                y - x > step
            }
        }
    }

    /// Entries in routing order, with ranks and weights.
    #[must_use]
    pub fn rank(&self, listed: Vec<Listed<'_>>) -> Vec<ListedEntry> {
        let previous: BTreeMap<&EndpointId, &ListedEntry> =
            self.prev.map(|p| p.providers.iter().map(|e| (&e.id, e)).collect()).unwrap_or_default();
        let mut order: Vec<(Listed<'_>, Option<f64>)> =
            listed.into_iter().map(|l| (self.merit(l.endpoint), l)).map(|(m, l)| (l, m)).collect();
        // First by tier; within it those of the document in force in their order, then the new ones, best first.
        order.sort_by(|(a, x), (b, y)| {
            let place = |l: &Listed<'_>| previous.get(&l.endpoint.id).map_or(u32::MAX, |e| e.rank);
            let merit = |m: &Option<f64>| m.unwrap_or(f64::NEG_INFINITY);
            a.tier.cmp(&b.tier).then(place(a).cmp(&place(b))).then(merit(y).total_cmp(&merit(x)))
        });
        self.settle(&mut order);
        let only_unknown = order.iter().all(|(l, _)| l.tier == Tier::Unknown);
        let best = |tier: Tier| {
            order.iter().filter(|(l, _)| l.tier == tier).filter_map(|(_, m)| *m).fold(f64::NEG_INFINITY, f64::max)
        };
        let weights: Vec<u32> = order
            .iter()
            .map(|(l, merit)| {
                let raw = base(l.tier, only_unknown) * self.scale(l.tier, *merit, best(l.tier));
                let was = previous.get(&l.endpoint.id).filter(|e| e.tier == l.label).map(|e| e.weight);
                steady(raw, was, base(l.tier, only_unknown))
            })
            .collect();
        order
            .into_iter()
            .zip(weights)
            .zip(1u32..)
            .map(|(((l, _), weight), rank)| ListedEntry {
                id: l.endpoint.id.clone(),
                rank,
                weight,
                tier: l.label,
                slugs: l.endpoint.slugs.clone(),
            })
            .collect()
    }

    /// Lets neighbours of one tier change places where the later is clearly better. As many passes as entries bound it.
    fn settle(&self, order: &mut [(Listed<'_>, Option<f64>)]) {
        for _ in 0..order.len() {
            let mut changed = false;
            for i in 1..order.len() {
                let ((a, x), (b, y)) = (&order[i - 1], &order[i]);
                if a.tier == b.tier && self.overtakes((&a.endpoint.id, *x), (&b.endpoint.id, *y)) {
                    order.swap(i - 1, i);
                    changed = true;
                }
            }
            if !changed {
                return;
            }
        }
    }

    fn scale(&self, tier: Tier, merit: Option<f64>, best: f64) -> f64 {
        if !matches!(tier, Tier::First | Tier::Suspect) {
            return 1.0;
        }
        let Some(merit) = merit else { return SCALE_UNKNOWN };
        let ratio = match self.policy.rank_by {
            RankBy::Quality | RankBy::Throughput => merit / best,
            RankBy::Price | RankBy::Latency => best / merit,
        };
        // 0 / 0: free as the best, or nobody has any throughput.
        if ratio.is_nan() { 1.0 } else { ratio.clamp(SCALE_MIN, 1.0) }
    }
}

fn base(tier: Tier, only_unknown: bool) -> f64 {
    match tier {
        Tier::First => 100.0,
        Tier::Unknown if only_unknown => 100.0,
        Tier::Suspect => 50.0,
        Tier::Provisional | Tier::Unknown => 25.0,
        Tier::Held => 1.0,
    }
}

fn steady(raw: f64, was: Option<u32>, most: f64) -> u32 {
    match was {
        Some(was) if (raw - f64::from(was)).abs() <= WEIGHT_STEP && f64::from(was) <= most => was,
        _ => ((raw / WEIGHT_STEP).round() * WEIGHT_STEP).clamp(1.0, most) as u32,
    }
}
