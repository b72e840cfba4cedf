//! How fast endpoints answered lately: for the time-out of a case and for `rank_by`. Decides no standing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::domain::{EndpointId, Micros, ModelId, SuiteName};
use crate::store::{Store, StoreError};

/// Trailing attempts that count.
const WINDOW_US: i64 = 7 * 86_400_000_000;
/// Factor on the anchors' 99th percentile (interfaces 6.6).
const TIMEOUT_FACTOR: i64 = 3;
/// Fewer attempts than this say nothing about a 99th percentile.
const ATTEMPTS_MIN: usize = 100;
/// The figures are read anew after this much time of the machine, or after a sweep of this process.
const KEPT_FOR: Duration = Duration::from_secs(3600);

/// One endpoint's figures.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Speed {
    /// Median time to the first token (or to the answer, without streams), in microseconds.
    pub latency_us: Option<i64>,
    /// Answer tokens per second over all answered attempts.
    pub tokens_per_second: Option<f64>,
}

/// A model's figures.
#[derive(Debug, Clone, Default)]
pub struct Speeds {
    /// By endpoint.
    pub endpoints: BTreeMap<EndpointId, Speed>,
    durations: BTreeMap<(SuiteName, EndpointId), Vec<i64>>,
}

impl Speeds {
    /// Per suite three times the 99th percentile of the anchors' durations: the least first-byte limit of a case.
    #[must_use]
    pub fn first_byte_minima(&self, anchors: &[EndpointId]) -> BTreeMap<SuiteName, Duration> {
        let mut by_suite: BTreeMap<SuiteName, Vec<i64>> = BTreeMap::new();
        for ((suite, endpoint), durations) in &self.durations {
            if anchors.contains(endpoint) {
                by_suite.entry(suite.clone()).or_default().extend(durations);
            }
        }
        by_suite.into_iter().filter_map(|(suite, of)| Some((suite, timeout(of)?))).collect()
    }
}

fn timeout(mut durations: Vec<i64>) -> Option<Duration> {
    if durations.len() < ATTEMPTS_MIN {
        return None;
    }
    let at = (durations.len() * 99).div_ceil(100) - 1;
    let (_, p99, _) = durations.select_nth_unstable(at);
    Some(Duration::from_micros(u64::try_from(*p99 * TIMEOUT_FACTOR).unwrap_or(0)))
}

/// Keeps the figures of each model for a while: they are read from many rows.
#[derive(Debug, Default)]
pub struct SpeedCache {
    kept: Mutex<BTreeMap<ModelId, (Instant, Arc<Speeds>)>>,
}

impl SpeedCache {
    /// The figures of a model, at most an hour old.
    ///
    /// # Errors
    /// [`StoreError`] when they must be read and cannot.
    pub async fn of(&self, store: &Store, model: &ModelId, now_us: Micros) -> Result<Arc<Speeds>, StoreError> {
        if let Some((at, speeds)) = self.lock().get(model)
            && at.elapsed() < KEPT_FOR
        {
            return Ok(Arc::clone(speeds));
        }
        let speeds = Arc::new(read(store, model, now_us).await?);
        self.lock().insert(model.clone(), (Instant::now(), Arc::clone(&speeds)));
        Ok(speeds)
    }

    /// Reads a model's figures anew when they are asked for again: a sweep has ended.
    pub fn forget(&self, model: &ModelId) {
        self.lock().remove(model);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<ModelId, (Instant, Arc<Speeds>)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn read(store: &Store, model: &ModelId, now_us: Micros) -> Result<Speeds, StoreError> {
    let mut window = store.window(model, now_us - WINDOW_US, now_us);
    let mut speeds = Speeds::default();
    let mut latencies: BTreeMap<EndpointId, Vec<i64>> = BTreeMap::new();
    let mut output: BTreeMap<EndpointId, (u64, i64)> = BTreeMap::new();
    while let Some(page) = window.next().await? {
        for i in (0..page.len()).filter(|i| page.is_its_own_answer(*i)) {
            let endpoint = &page.endpoint[i];
            let key = (page.suite[i].clone(), endpoint.clone());
            speeds.durations.entry(key).or_default().push(page.total_us[i]);
            latencies.entry(endpoint.clone()).or_default().push(page.ttft_us[i].unwrap_or(page.total_us[i]));
            if let Some(tokens) = page.tokens_out[i] {
                let (sum, us) = output.entry(endpoint.clone()).or_default();
                *sum += tokens;
                *us += page.total_us[i];
            }
        }
    }
    for (endpoint, mut of) in latencies {
        let middle = of.len() / 2;
        let (_, median, _) = of.select_nth_unstable(middle);
        let tokens_per_second =
            output.get(&endpoint).filter(|(_, us)| *us > 0).map(|(sum, us)| *sum as f64 * 1e6 / *us as f64);
        speeds.endpoints.insert(endpoint, Speed { latency_us: Some(*median), tokens_per_second });
    }
    Ok(speeds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(id: &str) -> EndpointId {
        EndpointId::new(id).unwrap()
    }

    fn suite(name: &str) -> SuiteName {
        SuiteName::new(name).unwrap()
    }

    /// Durations in milliseconds of endpoints on suites.
    fn speeds(of: &[(&str, &str, std::ops::RangeInclusive<i64>)]) -> Speeds {
        let durations = of.iter().map(|(name, id, ms)| {
            // Not in order.
            ((suite(name), endpoint(id)), ms.clone().rev().map(|ms| ms * 1000).collect())
        });
        Speeds { durations: durations.collect(), ..Speeds::default() }
    }

    #[test]
    fn three_times_the_99th_percentile_of_all_anchors_together() {
        let speeds = speeds(&[
            ("a", "alder", 1..=60),
            ("a", "birch", 61..=100),
            // Neither the slow one that is no anchor nor another suite has a part in it.
            ("a", "cedar", 5_000..=6_000),
            ("b", "alder", 201..=400),
        ]);
        let minima = speeds.first_byte_minima(&[endpoint("alder"), endpoint("birch")]);
        let expected = [(suite("a"), Duration::from_millis(3 * 99)), (suite("b"), Duration::from_millis(3 * 398))];
        assert_eq!(minima, BTreeMap::from(expected));
        assert_eq!(speeds.first_byte_minima(&[]), BTreeMap::new());
    }

    #[test]
    fn fewer_than_a_hundred_answers_raise_nothing() {
        let few = speeds(&[("a", "alder", 1..=50), ("a", "birch", 1..=49)]);
        assert_eq!(few.first_byte_minima(&[endpoint("alder"), endpoint("birch")]), BTreeMap::new());
        let enough = speeds(&[("a", "alder", 1..=50), ("a", "birch", 1..=50)]);
        assert_eq!(enough.first_byte_minima(&[endpoint("alder"), endpoint("birch")]).len(), 1);
    }
}
