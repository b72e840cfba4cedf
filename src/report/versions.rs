//! Versions of a suite apart: which version an attempt was asked under, and what a change of version did to a rate.
//!
//! Rates under two versions are never pooled. Where they differ, the cases that both versions have (the same id and the same
//! hash, so the same request, expectation and scorers) tell why: asked before and after, they are a natural overlap.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use crate::domain::scorecard::{Gap, Overlap, Reading, VersionChange, VersionRate};
use crate::domain::{CaseId, EndpointId, Interval, Micros, SuiteDigest, SuiteName, SweepId, Verdict};
use crate::stats::Z95;
use crate::stats::clustered::{from_clusters, wilson_clustered};
use crate::stats::intervals::student_t;
use crate::stats::paired::paired_diff;
use crate::store::{AttemptColumns, Store, StoreError};

/// Level of the displayed intervals: 95 %.
const ALPHA: f64 = 0.05;

/// Which version of its suites each sweep asked.
#[derive(Debug, Default)]
pub struct Versions(HashMap<SweepId, BTreeMap<SuiteName, SuiteDigest>>);

impl Versions {
    /// Learns about the sweeps of a page that are not known yet. One whose plan was pruned asked nobody knows what.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn learn(&mut self, store: &Store, page: &AttemptColumns) -> Result<(), StoreError> {
        for sweep in &page.sweep {
            if !self.0.contains_key(sweep) {
                let plan = store.sweep(*sweep).await?.and_then(|s| s.plan);
                let parts = plan.into_iter().flat_map(|plan| plan.suites.into_iter().chain(plan.aside));
                self.0.insert(*sweep, parts.map(|part| (part.suite, part.digest)).collect());
            }
        }
        Ok(())
    }

    /// The version of a suite that a sweep asked.
    #[must_use]
    pub fn of(&self, sweep: SweepId, suite: &SuiteName) -> Option<&SuiteDigest> {
        self.0.get(&sweep)?.get(suite)
    }
}

type Key = (EndpointId, SuiteName);

/// What an endpoint answered under one version, until the next.
#[derive(Debug)]
struct Part {
    digest: SuiteDigest,
    since_us: Micros,
    /// (sum of 1 and 0, scored attempts) by case.
    cases: BTreeMap<CaseId, (f64, f64)>,
}

/// The versions that the attempts of a window went through, oldest first.
#[derive(Debug, Default)]
pub struct Course {
    parts: BTreeMap<Key, Vec<Part>>,
    newest: BTreeMap<SuiteName, SuiteDigest>,
}

impl Course {
    /// Adds a page of attempts, those of `only` or of all endpoints; pages come oldest first.
    pub fn add(&mut self, versions: &Versions, page: &AttemptColumns, only: Option<&EndpointId>) {
        for i in 0..page.len() {
            let Some(digest) = versions.of(page.sweep[i], &page.suite[i]) else { continue };
            if self.newest.get(&page.suite[i]) != Some(digest) {
                self.newest.insert(page.suite[i].clone(), digest.clone());
            }
            if only.is_some_and(|only| *only != page.endpoint[i]) {
                continue;
            }
            let parts = self.parts.entry((page.endpoint[i].clone(), page.suite[i].clone())).or_default();
            if parts.last().is_none_or(|part| part.digest != *digest) {
                let since_us = page.started_at_us[i];
                parts.push(Part { digest: digest.clone(), since_us, cases: BTreeMap::new() });
            }
            let passed = match page.verdict[i] {
                Verdict::Pass => 1.0,
                Verdict::Fail(_) => 0.0,
                Verdict::Unscored(_) => continue,
            };
            if let Some(part) = parts.last_mut() {
                let (sum, count) = part.cases.entry(page.case[i].clone()).or_default();
                *sum += passed;
                *count += 1.0;
            }
        }
    }

    /// Whether any suite had more than one version.
    #[must_use]
    pub fn has_changes(&self) -> bool {
        self.parts.values().any(|parts| parts.len() > 1)
    }

    /// Whether an attempt was asked under the newest version of its suite, as far as is known.
    #[must_use]
    pub fn is_newest(&self, versions: &Versions, sweep: SweepId, suite: &SuiteName) -> bool {
        versions.of(sweep, suite).is_none_or(|digest| self.newest.get(suite) == Some(digest))
    }

    /// The changes of version, by endpoint and suite, oldest first.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn changes(&self, store: &Store) -> Result<BTreeMap<Key, Vec<VersionChange>>, StoreError> {
        let mut same: HashMap<(&SuiteName, &SuiteDigest, &SuiteDigest), Option<Vec<CaseId>>> = HashMap::new();
        let mut out = BTreeMap::new();
        for (key, parts) in self.parts.iter().filter(|(_, parts)| parts.len() > 1) {
            let mut changes = Vec::new();
            for pair in parts.windows(2) {
                let [old, new] = pair else { continue };
                let place = (&key.1, &old.digest, &new.digest);
                let common = match same.entry(place) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(free) => free.insert(same_cases(store, place).await?),
                };
                changes.push(change(old, new, common.as_deref()));
            }
            out.insert(key.clone(), changes);
        }
        Ok(out)
    }
}

/// The cases that two versions have in common; `None` when one of them is not on record.
async fn same_cases(
    store: &Store,
    (suite, old, new): (&SuiteName, &SuiteDigest, &SuiteDigest),
) -> Result<Option<Vec<CaseId>>, StoreError> {
    let (Some(old), Some(new)) = (store.case_hashes(suite, old).await?, store.case_hashes(suite, new).await?) else {
        return Ok(None);
    };
    let same = old.iter().filter(|(id, hash)| new.get(*id) == Some(*hash));
    Ok(Some(same.filter_map(|(id, _)| CaseId::new(id).ok()).collect()))
}

fn rate(cases: &BTreeMap<CaseId, (f64, f64)>) -> VersionRate {
    let clusters = from_clusters(cases.values().copied());
    let interval = clusters.as_ref().map(|clusters| wilson_clustered(clusters, Z95).0);
    VersionRate {
        scored: cases.values().map(|(_, count)| count).sum::<f64>() as u64,
        rate: clusters.map(|c| c.mean),
        interval: interval.map(|(lo, hi)| Interval { lo, hi }),
    }
}

fn change(old: &Part, new: &Part, same: Option<&[CaseId]>) -> VersionChange {
    let (before, after) = (rate(&old.cases), rate(&new.cases));
    let overlap = same.and_then(|same| overlap(old, new, same));
    let apart = match (before.interval, after.interval) {
        (Some(a), Some(b)) => a.hi < b.lo || b.hi < a.lo,
        _ => false,
    };
    let reading = match overlap {
        None => Reading::Unknown,
        Some(Overlap { difference: Gap { cases, .. }, .. }) if cases < READING_CASES_MIN => Reading::Unknown,
        Some(Overlap { difference: Gap { interval, .. }, .. }) if interval.lo > 0.0 || interval.hi < 0.0 => {
            Reading::Endpoint
        }
        Some(_) if apart => Reading::Suite,
        Some(_) => Reading::NoStep,
    };
    VersionChange {
        at_us: new.since_us,
        from: old.digest.clone(),
        to: new.digest.clone(),
        same_cases: same.map(|same| same.len() as u64),
        before,
        after,
        overlap,
        reading,
    }
}

/// Common cases from which an interval of their differences means something: a few that all went one way have no spread.
const READING_CASES_MIN: u64 = 10;

/// The cases that are the same, as far as both versions asked them of the endpoint. `None` with fewer than two.
fn overlap(old: &Part, new: &Part, same: &[CaseId]) -> Option<Overlap> {
    let means = |part: &Part| -> BTreeMap<CaseId, Vec<f64>> {
        let asked = same.iter().filter_map(|case| Some((case.clone(), part.cases.get(case)?)));
        asked.map(|(case, (sum, count))| (case, vec![sum / count])).collect()
    };
    let (before, after) = (means(old), means(new));
    let diff = paired_diff(&after, &before).filter(|diff| diff.groups > 1)?;
    let half = student_t(ALPHA, diff.groups as f64 - 1.0) * diff.se;
    let interval = Interval { lo: (diff.mean - half).max(-1.0), hi: (diff.mean + half).min(1.0) };
    let common = |of: &BTreeMap<CaseId, Vec<f64>>, other: &BTreeMap<CaseId, Vec<f64>>| {
        let kept = of.iter().filter(|(case, _)| other.contains_key(*case));
        kept.map(|(_, mean)| mean.iter().sum::<f64>()).sum::<f64>() / diff.groups as f64
    };
    Some(Overlap {
        before: common(&before, &after),
        after: common(&after, &before),
        difference: Gap { mean: diff.mean, interval, cases: diff.groups as u64 },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cases `from..to`, each asked ten times, with so many passes.
    fn part(digest: &str, cases: std::ops::Range<usize>, passes: impl Fn(usize) -> f64) -> Part {
        let cases = cases.map(|c| (CaseId::new(&format!("c{c}")).unwrap(), (passes(c), 10.0)));
        Part { digest: SuiteDigest::new(digest).unwrap(), since_us: 5, cases: cases.collect() }
    }

    fn same(cases: std::ops::Range<usize>) -> Vec<CaseId> {
        cases.map(|c| CaseId::new(&format!("c{c}")).unwrap()).collect()
    }

    #[test]
    fn a_step_that_the_common_cases_do_not_make_is_the_suites() {
        let old = part("aa", 0..60, |_| 10.0);
        let new = part("bb", 30..90, |c| if c < 60 { 10.0 } else { 5.0 });
        let found = change(&old, &new, Some(&same(30..60)));
        assert_eq!((found.reading, found.same_cases, found.at_us), (Reading::Suite, Some(30), 5));
        assert_eq!((found.before.rate, found.after.rate, found.after.scored), (Some(1.0), Some(0.75), 600));
        let overlap = found.overlap.unwrap();
        assert_eq!((overlap.before, overlap.after, overlap.difference.cases), (1.0, 1.0, 30));
    }

    #[test]
    fn a_step_on_the_common_cases_is_the_endpoints_and_none_is_none() {
        let old = part("aa", 0..60, |_| 9.0);
        let worse = part("bb", 0..60, |c| if c % 3 == 0 { 4.0 } else { 8.0 });
        assert_eq!(change(&old, &worse, Some(&same(0..60))).reading, Reading::Endpoint);
        let equal = part("bb", 0..60, |c| 8.0 + (c % 3) as f64);
        assert_eq!(change(&old, &equal, Some(&same(0..60))).reading, Reading::NoStep);
    }

    #[test]
    fn without_common_cases_nothing_is_said() {
        let (old, new) = (part("aa", 0..60, |_| 10.0), part("bb", 60..90, |_| 1.0));
        assert_eq!(change(&old, &new, Some(&same(0..1))).reading, Reading::Unknown);
        // All of a few went one way: no spread, and no interval that means something.
        let (few, flipped) = (part("aa", 0..4, |_| 10.0), part("bb", 0..4, |_| 0.0));
        let told = change(&few, &flipped, Some(&same(0..4)));
        assert!(told.overlap.is_some());
        assert_eq!(told.reading, Reading::Unknown);
        let unknown = change(&old, &new, None);
        assert_eq!((unknown.reading, unknown.same_cases, unknown.overlap), (Reading::Unknown, None, None));
    }
}
