//! Standard errors when a case is asked several times, and the interval that is published (statistics, 2.2).

use std::collections::BTreeMap;

use super::intervals::{Bounds, wilson};

/// Mean of clustered scores with its standard errors.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Clustered {
    /// Mean over all attempts.
    pub mean: f64,
    /// Clustered standard error.
    pub se: f64,
    /// The same, times `sqrt(G / (G - 1))`; infinite with one cluster.
    pub se_small_sample: f64,
    /// Attempts.
    pub attempts: f64,
    /// Clusters (cases), G.
    pub groups: usize,
}

/// From clusters given as (sum of scores, attempts); clusters without attempts are left out. `None` without attempts.
#[must_use]
pub fn from_clusters(clusters: impl IntoIterator<Item = (f64, f64)> + Clone) -> Option<Clustered> {
    let (mut sum, mut attempts, mut groups) = (0.0, 0.0, 0usize);
    for (s, n) in clusters.clone().into_iter().filter(|(_, n)| *n > 0.0) {
        sum += s;
        attempts += n;
        groups += 1;
    }
    if groups == 0 {
        return None;
    }
    let mean = sum / attempts;
    let squares: f64 = clusters.into_iter().map(|(s, n)| (s - n * mean) * (s - n * mean)).sum();
    let se = squares.sqrt() / attempts;
    let g = groups as f64;
    let se_small_sample = if groups > 1 { se * (g / (g - 1.0)).sqrt() } else { f64::INFINITY };
    Some(Clustered { mean, se, se_small_sample, attempts, groups })
}

/// From (case, score) rows. `None` without rows.
#[must_use]
pub fn clustered<C: Ord>(rows: impl IntoIterator<Item = (C, f64)>) -> Option<Clustered> {
    let mut cases: BTreeMap<C, (f64, f64)> = BTreeMap::new();
    for (case, score) in rows {
        let cell = cases.entry(case).or_default();
        cell.0 += score;
        cell.1 += 1.0;
    }
    from_clusters(cases.values().copied())
}

impl Clustered {
    /// How many times less the attempts tell than independent ones would; at least 1.
    #[must_use]
    pub fn design_effect(&self) -> f64 {
        let independent = self.mean * (1.0 - self.mean) / self.attempts;
        if independent > 0.0 && self.groups > 1 {
            (self.se_small_sample * self.se_small_sample / independent).max(1.0)
        } else {
            (self.attempts / self.groups as f64).max(1.0)
        }
    }
}

/// Wilson interval at the effective sample size `attempts / design effect`, and the design effect: the published
/// interval of a rate.
#[must_use]
pub fn wilson_clustered(clusters: &Clustered, z: f64) -> (Bounds, f64) {
    let effect = clusters.design_effect();
    let n_eff = clusters.attempts / effect;
    (wilson(clusters.mean * n_eff, n_eff, z), effect)
}
