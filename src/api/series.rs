//! `GET /v1/models/{model}/endpoints/{endpoint}/series`: success rates over time, for charts.

use std::collections::BTreeMap;

use axum::response::Response;
use serde_json::{Value, json};

use super::guard::App;
use super::limits::{SERIES_BUCKETS_DEFAULT, SERIES_BUCKETS_MAX};
use super::models::ModelRef;
use super::params::{Param, Params, SINCE, STEP, SUITE, bad};
use super::problem::{Problem, names};
use super::state::ApiSetup;
use crate::clock::rfc3339;
use crate::domain::scorecard::VersionChange;
use crate::domain::{CaseId, EndpointId, Micros, SuiteDigest, SuiteName, Verdict};
use crate::report::{Course, Versions};
use crate::stats::Z95;
use crate::stats::clustered::{from_clusters, wilson_clustered};
use crate::store::{AttemptColumns, RescoredRow};

/// Its parameters.
pub const PARAMS: &[Param] = &[SUITE, SINCE, STEP];
/// Bucket widths are whole seconds.
const SECOND_US: i64 = 1_000_000;

/// Counts of one bucket.
#[derive(Debug, Default, PartialEq)]
struct Bucket {
    pass: u64,
    fail: u64,
    unscored: u64,
    /// (passes, scored attempts) per case: the clusters of the interval.
    cases: BTreeMap<CaseId, (f64, f64)>,
    /// Answers that passed by their first verdict, in a bucket of verdicts given anew.
    passed_before: u64,
    /// Answers that had a score by their first verdict: other ones than have one now.
    scored_before: u64,
}

impl Bucket {
    fn add(&mut self, case: &CaseId, verdict: Verdict) {
        let passed = match verdict {
            Verdict::Unscored(_) => {
                self.unscored += 1;
                return;
            }
            Verdict::Pass => {
                self.pass += 1;
                1.0
            }
            Verdict::Fail(_) => {
                self.fail += 1;
                0.0
            }
        };
        let cluster = self.cases.entry(case.clone()).or_default();
        cluster.0 += passed;
        cluster.1 += 1.0;
    }
}

/// What to count, and how wide the buckets are.
#[derive(Debug, Clone)]
struct Spec {
    endpoint: EndpointId,
    suite: Option<SuiteName>,
    step_us: i64,
}

/// By suite and its version: rates of different versions are never pooled. `None`: the version is not known any more.
type Buckets = BTreeMap<(SuiteName, Option<SuiteDigest>), BTreeMap<Micros, Bucket>>;

/// Counts one page of attempts into the buckets, which begin at multiples of the step since the epoch.
fn count(buckets: &mut Buckets, spec: &Spec, versions: &Versions, page: &AttemptColumns) {
    for i in 0..page.len() {
        let other_suite = spec.suite.as_ref().is_some_and(|suite| *suite != page.suite[i]);
        if page.endpoint[i] != spec.endpoint || other_suite {
            continue;
        }
        let begin = page.started_at_us[i].div_euclid(spec.step_us) * spec.step_us;
        let version = versions.of(page.sweep[i], &page.suite[i]).cloned();
        let bucket = buckets.entry((page.suite[i].clone(), version)).or_default().entry(begin).or_default();
        bucket.add(&page.case[i], page.verdict[i]);
    }
}

/// Counts verdicts that `exactod rescore` gave to answers of the window: series of their own, by the digest that judged.
async fn count_rescored(
    app: &App,
    model: &ModelRef,
    spec: &Spec,
    window: (Micros, Micros),
) -> Result<Buckets, Problem> {
    let mut buckets = Buckets::new();
    let mut last: Option<RescoredRow> = None;
    loop {
        let mut page = app.state.store.rescored(&model.id, window, last.as_ref()).await?;
        let wanted = |suite: &SuiteName| spec.suite.as_ref().is_none_or(|only| only == suite);
        for row in page.iter().filter(|row| row.endpoint == spec.endpoint && wanted(&row.suite)) {
            let begin = row.started_at_us.div_euclid(spec.step_us) * spec.step_us;
            let key = (row.suite.clone(), Some(row.digest.clone()));
            let bucket = buckets.entry(key).or_default().entry(begin).or_default();
            bucket.add(&row.case, row.verdict);
            bucket.passed_before += u64::from(row.first == Verdict::Pass);
            bucket.scored_before += u64::from(row.first.is_scored());
        }
        match page.pop() {
            Some(row) => last = Some(row),
            None => return Ok(buckets),
        }
    }
}

/// Rate and effective-n Wilson interval at 95 % (statistics, 2.2) of a bucket.
fn render(begin_us: Micros, step_us: i64, bucket: &Bucket) -> Value {
    let clusters = from_clusters(bucket.cases.values().copied());
    let interval = clusters.as_ref().map(|clusters| {
        let ((lo, hi), _) = wilson_clustered(clusters, Z95);
        json!({"lo": lo, "hi": hi})
    });
    json!({"from": rfc3339(begin_us), "from_us": begin_us, "to_us": begin_us + step_us, "pass": bucket.pass,
           "fail": bucket.fail, "unscored": bucket.unscored, "rate": clusters.map(|c| c.mean), "interval": interval})
}

/// The width of the buckets: as asked, or so that there are [`SERIES_BUCKETS_DEFAULT`] of them.
fn step(asked_us: Option<i64>, window_us: i64) -> Result<i64, Problem> {
    let Some(step_us) = asked_us else {
        let step_us = window_us / SERIES_BUCKETS_DEFAULT as i64;
        return Ok((step_us / SECOND_US).max(1) * SECOND_US);
    };
    if step_us < SECOND_US || (window_us / step_us) as u64 > SERIES_BUCKETS_MAX {
        return Err(bad(STEP.name, "the window would have too many buckets")
            .hint(format!("at most {SERIES_BUCKETS_MAX} buckets of at least 1s: a longer step or a shorter window")));
    }
    Ok(step_us)
}

/// The series of an endpoint, one per suite and version of it, oldest bucket first; buckets without attempts are left out.
pub async fn get(
    app: &App,
    setup: &ApiSetup,
    model: &ModelRef,
    endpoint: &str,
    query: Option<&str>,
) -> Result<Response, Problem> {
    let params = Params::read(query, PARAMS)?;
    let now_us = app.state.clock.now_us();
    let from_us = params.since_us(now_us)?;
    let step_us = step(params.step_us()?, now_us - from_us)?;
    let spec = Spec { endpoint: known_endpoint(setup, model, endpoint)?, suite: params.value(SUITE)?, step_us };
    let question = format!("series {} {} {}", model.id, spec.endpoint, query.unwrap_or_default());
    app.reports.answer(question, make(app, model, &spec, (from_us, now_us))).await
}

async fn make(app: &App, model: &ModelRef, spec: &Spec, (from_us, now_us): (Micros, Micros)) -> Result<Value, Problem> {
    let (mut buckets, mut versions, mut course) = (Buckets::new(), Versions::default(), Course::default());
    let mut window = app.state.store.window(&model.id, from_us, now_us);
    while let Some(page) = window.next().await? {
        versions.learn(&app.state.store, &page).await?;
        count(&mut buckets, spec, &versions, &page);
        course.add(&versions, &page, Some(&spec.endpoint));
    }
    let rescored = count_rescored(app, model, spec, (from_us, now_us)).await?;
    let first = |begin: &Micros, bucket: &Bucket| render(*begin, spec.step_us, bucket);
    let anew = |begin: &Micros, bucket: &Bucket| {
        let mut out = first(begin, bucket);
        out["passed_before"] = json!(bucket.passed_before);
        out["scored_before"] = json!(bucket.scored_before);
        out
    };
    Ok(json!({"model": model.id, "endpoint": spec.endpoint, "from": rfc3339(from_us), "from_us": from_us,
              "to": rfc3339(now_us), "to_us": now_us, "step_us": spec.step_us, "suites": by_age(&buckets, first),
              "rescored": by_age(&rescored, anew), "changes": changes(&course, app, spec).await?}))
}

/// The series of each suite by the age of its versions.
fn by_age(buckets: &Buckets, render: impl Fn(&Micros, &Bucket) -> Value) -> Vec<Value> {
    let mut by_age: Vec<_> = buckets.iter().collect();
    by_age.sort_by_key(|((suite, _), buckets)| (suite, buckets.keys().next()));
    let series = by_age.into_iter().map(|((suite, digest), buckets)| {
        let buckets: Vec<Value> = buckets.iter().map(|(begin, bucket)| render(begin, bucket)).collect();
        json!({"suite": suite, "digest": digest, "buckets": buckets})
    });
    series.collect()
}

/// The changes of version in the window, with what the cases that both versions have say of them.
async fn changes(course: &Course, app: &App, spec: &Spec) -> Result<Vec<Value>, Problem> {
    let all = course.changes(&app.state.store).await?;
    let wanted = all.into_iter().filter(|((_, suite), _)| spec.suite.as_ref().is_none_or(|only| only == suite));
    let told = |(suite, change): (SuiteName, VersionChange)| {
        let mut out = json!(change);
        out["suite"] = json!(suite);
        out["at"] = json!(rfc3339(change.at_us));
        out
    };
    Ok(wanted.flat_map(|((_, suite), all)| all.into_iter().map(move |one| (suite.clone(), one))).map(told).collect())
}

/// The endpoint that a client named.
///
/// # Errors
/// `unknown-endpoint`, with the known ones.
pub(super) fn known_endpoint(setup: &ApiSetup, model: &ModelRef, endpoint: &str) -> Result<EndpointId, Problem> {
    let unknown = |known: String| {
        Problem::not_found("unknown-endpoint", "unknown endpoint", format!("{} has no endpoint {endpoint:?}", model.id))
            .hint(format!("its endpoints: {known}"))
    };
    match setup.model(model.id.as_str()) {
        Some(config) => config
            .endpoints
            .iter()
            .find(|e| e.id.as_str() == endpoint)
            .map(|e| e.id.clone())
            .ok_or_else(|| unknown(names(config.endpoints.iter().map(|e| e.id.as_str())))),
        // A model that is not configured any more keeps its history.
        None => EndpointId::new(endpoint).map_err(|_| unknown("none is configured any more".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::{AttemptId, AttemptKey, Fault, SweepId, UnscoredWhy};
    use crate::store::MeasuredRow;

    fn row(endpoint: &str, suite: &str, case: &str, at_us: Micros, verdict: Verdict) -> MeasuredRow {
        MeasuredRow {
            id: AttemptId(Uuid::nil()),
            key: AttemptKey {
                sweep: SweepId(Uuid::nil()),
                endpoint: EndpointId::new(endpoint).unwrap(),
                suite: SuiteName::new(suite).unwrap(),
                case: CaseId::new(case).unwrap(),
                epoch: 0,
            },
            verdict,
            score: None,
            fault: None,
            secondary: vec![],
            first_try_ok: true,
            delivered: true,
            started_at_us: at_us,
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
    fn attempts_fall_into_the_bucket_of_their_time_endpoint_and_suite() {
        let mut page = AttemptColumns::default();
        let fail = Verdict::Fail(Fault::WrongAnswer);
        for (endpoint, suite, case, at_us, verdict) in [
            ("a", "s", "1", 0, Verdict::Pass),
            ("a", "s", "2", 9_999_999, fail),
            ("a", "s", "1", 10_000_000, Verdict::Pass),
            ("a", "s", "1", 10_000_001, Verdict::Unscored(UnscoredWhy::Provider)),
            ("a", "t", "1", 5, fail),
            ("b", "s", "1", 5, fail),
        ] {
            page.push(row(endpoint, suite, case, at_us, verdict));
        }
        let spec = Spec { endpoint: EndpointId::new("a").unwrap(), suite: None, step_us: 10_000_000 };
        let mut buckets = Buckets::new();
        count(&mut buckets, &spec, &Versions::default(), &page);
        let counts: Vec<(String, i64, u64, u64, u64)> = buckets
            .iter()
            .flat_map(|((s, _), b)| b.iter().map(move |(at, b)| (s.to_string(), *at, b.pass, b.fail, b.unscored)))
            .collect();
        assert_eq!(counts, [("s".into(), 0, 1, 1, 0), ("s".into(), 10_000_000, 1, 0, 1), ("t".into(), 0, 0, 1, 0)]);
        let mut one = Buckets::new();
        let only = Spec { suite: Some(SuiteName::new("t").unwrap()), ..spec };
        count(&mut one, &only, &Versions::default(), &page);
        assert_eq!(one.len(), 1);
    }

    #[test]
    fn a_case_asked_again_tells_less_than_another_case() {
        let width = |cases: usize, each: f64| {
            let cases = (0..cases).map(|c| (CaseId::new(&c.to_string()).unwrap(), (each * (c % 2) as f64, each)));
            let value = render(0, 1, &Bucket { cases: cases.collect(), ..Bucket::default() });
            value["interval"]["hi"].as_f64().unwrap() - value["interval"]["lo"].as_f64().unwrap()
        };
        assert!(width(40, 1.0) < width(10, 4.0));
        assert_eq!(render(0, 1, &Bucket { unscored: 3, ..Bucket::default() })["interval"], Value::Null);
    }

    #[test]
    fn the_number_of_buckets_is_bounded() {
        assert_eq!(step(None, 28 * 3_600 * SECOND_US).unwrap(), 3_600 * SECOND_US);
        assert_eq!(step(None, SECOND_US).unwrap(), SECOND_US);
        assert_eq!(step(Some(SECOND_US), 1000 * SECOND_US).unwrap(), SECOND_US);
        assert!(step(Some(SECOND_US), 1002 * SECOND_US).is_err());
        assert!(step(Some(1), SECOND_US).is_err());
    }
}
