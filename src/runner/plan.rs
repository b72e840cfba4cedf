//! Plans a sweep: pure. Everything that a sweep does is fixed here, before its first call.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::domain::{
    BudgetedEndpoint, CaseId, EndpointId, Micros, ModelId, StableCases, Suite, SuiteDigest, SuitePlan, SweepId,
    SweepKind, SweepPlan, canonical,
};

/// One suite with its budgets.
#[derive(Debug, Clone)]
pub struct SuiteBudget {
    /// The suite.
    pub suite: Arc<Suite>,
    /// Cases per endpoint; zero leaves an endpoint out.
    pub cases: Vec<BudgetedEndpoint>,
    /// Take only these cases; `None`: all.
    pub only: Option<Vec<CaseId>>,
    /// Repeats.
    pub epochs: u32,
}

/// What a plan is made from.
#[derive(Debug, Clone)]
pub struct PlanInput {
    /// The sweep's id.
    pub id: SweepId,
    /// The model.
    pub model: ModelId,
    /// Who asked.
    pub kind: SweepKind,
    /// Place among the model's sweeps.
    pub ordinal: u64,
    /// 32 hexadecimal digits.
    pub seed: String,
    /// Now.
    pub planned_at_us: Micros,
    /// Frozen anchors.
    pub anchors: Vec<EndpointId>,
    /// Suites and budgets.
    pub suites: Vec<SuiteBudget>,
    /// Suites that are asked as well and judge nobody.
    pub aside: Vec<SuiteBudget>,
    /// Whether the outcomes become evidence.
    pub gives_evidence: bool,
    /// Prompts for fingerprints.
    pub probes: Vec<SuiteBudget>,
}

/// Makes the plan: one permutation per suite, prefixes per endpoint.
#[must_use]
pub fn build_plan(input: PlanInput) -> SweepPlan {
    let planned = |s: SuiteBudget| suite_plan(&input.seed, s);
    let probes = input.probes.into_iter().filter_map(planned).collect();
    let suites = input.suites.into_iter().filter_map(planned).collect();
    let aside = input.aside.into_iter().filter_map(planned).collect();
    SweepPlan {
        id: input.id,
        model: input.model,
        kind: input.kind,
        ordinal: input.ordinal,
        seed: input.seed,
        planned_at_us: input.planned_at_us,
        anchors: input.anchors,
        suites,
        reserved_nanousd: 0,
        gives_evidence: input.gives_evidence,
        capabilities: Default::default(),
        upstreams: Default::default(),
        aside,
        probes,
        goes_on: None,
        samples: None,
    }
}

fn suite_plan(seed: &str, budget: SuiteBudget) -> Option<SuitePlan> {
    let epochs = budget.epochs.max(1);
    let all: Vec<CaseId> = match budget.only {
        Some(only) => only,
        None => budget.suite.cases.iter().map(|c| c.id.clone()).collect(),
    };
    let count = u32::try_from(all.len()).unwrap_or(u32::MAX);
    let endpoints: Vec<BudgetedEndpoint> = budget
        .cases
        .into_iter()
        .map(|b| BudgetedEndpoint { cases: b.cases.min(count), id: b.id })
        .filter(|b| b.cases > 0)
        .collect();
    let largest = endpoints.iter().map(|e| e.cases).max()?;
    let cases = permutation(seed, &budget.suite.digest, &all, largest as usize);
    let stable = Some(stable_cases(&budget.suite, &cases));
    let (suite, digest) = (budget.suite.name.clone(), budget.suite.digest.clone());
    Some(SuitePlan { suite, digest, cases, epochs, endpoints, stable })
}

/// Which of the planned cases ask the same in every sweep. Told in the plan, so that what follows from it can be made
/// again without the suite's files.
fn stable_cases(suite: &Suite, cases: &[CaseId]) -> StableCases {
    let stable: HashSet<&CaseId> =
        suite.cases.iter().filter(|case| case.fixed || !case.is_template()).map(|case| &case.id).collect();
    StableCases {
        places: (0..).zip(cases).filter(|(_, case)| stable.contains(case)).map(|(place, _)| place).collect(),
        of: u32::try_from(stable.len()).unwrap_or(u32::MAX),
    }
}

/// A sample of a suite by its `[sampling]`: `take` cases, so that the same seed gives the same cases for every endpoint. With
/// strategy `stratified` every category keeps its share, to within one case.
#[must_use]
pub fn sample(seed: &str, suite: &Suite, take: usize) -> Vec<CaseId> {
    let all: Vec<CaseId> = suite.cases.iter().map(|case| case.id.clone()).collect();
    let order = permutation(seed, &suite.digest, &all, all.len());
    if suite.sampling.strategy.as_deref() != Some("stratified") {
        return order.into_iter().take(take).collect();
    }
    let category: HashMap<&CaseId, &str> =
        suite.cases.iter().map(|case| (&case.id, case.category.as_deref().unwrap_or(""))).collect();
    let category = |id: &CaseId| category.get(id).copied().unwrap_or("");
    let mut sizes: BTreeMap<&str, u32> = BTreeMap::new();
    for id in &order {
        *sizes.entry(category(id)).or_default() += 1;
    }
    // Each category is laid out evenly over \[0,1\), from a random offset: a beginning of the whole has its share of each.
    let key = canonical::sha256_parts(&[b"exactod-strata-v1", seed.as_bytes(), suite.digest.as_str().as_bytes()]);
    let mut rng = ChaCha8Rng::from_seed(key);
    let offsets: BTreeMap<&str, f64> = sizes.keys().map(|name| (*name, unit(&mut rng))).collect();
    let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
    let mut placed: Vec<(f64, CaseId)> = Vec::with_capacity(order.len());
    for id in &order {
        let name = category(id);
        let nth = seen.entry(name).or_default();
        let place = (f64::from(*nth) + offsets.get(name).copied().unwrap_or(0.0)) / f64::from(sizes[name]);
        *nth += 1;
        placed.push((place, id.clone()));
    }
    placed.sort_by(|a, b| a.0.total_cmp(&b.0));
    placed.into_iter().take(take).map(|(_, id)| id).collect()
}

/// A uniform number in \[0,1).
fn unit(rng: &mut ChaCha8Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// The first `take` of a random permutation (Fisher-Yates, ChaCha8 seeded by seed and digest; version 1).
#[must_use]
pub fn permutation(seed: &str, digest: &SuiteDigest, cases: &[CaseId], take: usize) -> Vec<CaseId> {
    let key = canonical::sha256_parts(&[b"exactod-permutation-v1", seed.as_bytes(), digest.as_str().as_bytes()]);
    let mut rng = ChaCha8Rng::from_seed(key);
    let mut order: Vec<&CaseId> = cases.iter().collect();
    let take = take.min(order.len());
    for i in 0..take {
        let j = i + below(&mut rng, (order.len() - i) as u64) as usize;
        order.swap(i, j);
    }
    order.into_iter().take(take).cloned().collect()
}

/// A uniform number below `n` by rejection, so that every permutation is equally likely.
fn below(rng: &mut ChaCha8Rng, n: u64) -> u64 {
    let zone = u64::MAX - u64::MAX % n;
    loop {
        let x = rng.next_u64();
        if x < zone {
            return x % n;
        }
    }
}

/// Shrinks every budget of a plan to the same share (`parts` of `whole`), so that a sweep fits its money; `None` when
/// an endpoint would be left with nothing. Fingerprints are left out first.
#[must_use]
pub fn shrink_to(plan: &SweepPlan, parts: u32, whole: u32) -> Option<SweepPlan> {
    let mut plan = plan.clone();
    plan.probes.clear();
    plan.samples = None;
    for part in plan.suites.iter_mut().chain(&mut plan.aside) {
        for endpoint in &mut part.endpoints {
            let cases = u64::from(endpoint.cases) * u64::from(parts) / u64::from(whole.max(1));
            endpoint.cases = u32::try_from(cases).unwrap_or(u32::MAX);
            if endpoint.cases == 0 {
                return None;
            }
        }
        let largest = part.endpoints.iter().map(|e| e.cases).max().unwrap_or(0);
        part.cases.truncate(largest as usize);
        if let Some(stable) = &mut part.stable {
            stable.places.retain(|place| *place < largest);
        }
    }
    Some(plan)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn ids(n: usize) -> Vec<CaseId> {
        (0..n).map(|i| CaseId::new(&format!("c{i}")).unwrap()).collect()
    }

    fn digest() -> SuiteDigest {
        SuiteDigest::new("ab").unwrap()
    }

    #[test]
    fn a_permutation_is_a_prefix_of_the_longer_one_and_repeats_nothing() {
        let cases = ids(50);
        let long = permutation("00", &digest(), &cases, 50);
        let short = permutation("00", &digest(), &cases, 20);
        assert_eq!(long[..20], short[..]);
        assert_eq!(long.iter().collect::<BTreeSet<_>>().len(), 50);
        assert_ne!(long, permutation("01", &digest(), &cases, 50));
        assert!(permutation("00", &digest(), &[], 3).is_empty());
    }

    #[test]
    fn every_case_comes_first_equally_often() {
        let cases = ids(5);
        let mut first = BTreeMap::new();
        for seed in 0..5000 {
            let order = permutation(&format!("{seed:032x}"), &digest(), &cases, 1);
            *first.entry(order[0].clone()).or_insert(0u32) += 1;
        }
        // Binomial(5000, 0.2): standard deviation 28; five of them leave a wrong alarm at 1e-6.
        for count in first.values() {
            assert!((1000 - 141..=1000 + 141).contains(count), "{first:?}");
        }
    }
}
