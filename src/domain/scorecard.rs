//! Scorecards: an endpoint's rates, intervals, faults, latency and cost over a window. Display only.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{EndpointId, Micros, ModelId, Standing, SuiteName};

/// A closed interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    /// Lower end.
    pub lo: f64,
    /// Upper end.
    pub hi: f64,
}

/// Quantiles of a duration, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Quantiles {
    /// Median.
    pub p50_us: i64,
    /// 90th percentile.
    pub p90_us: i64,
    /// 99th percentile.
    pub p99_us: i64,
}

/// The gap to the anchors on the same cases: anchors minus endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Gap {
    /// Mean paired difference; positive means worse than the anchors.
    pub mean: f64,
    /// Student-t interval at 95 % over cases.
    pub interval: Interval,
    /// Cases compared.
    pub cases: u64,
}

/// One endpoint on one suite.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SuiteCard {
    /// The suite.
    pub suite: SuiteName,
    /// Attempts in the window.
    pub attempts: u64,
    /// Passed.
    pub pass: u64,
    /// Failed.
    pub fail: u64,
    /// Without a score.
    pub unscored: u64,
    /// pass / (pass + fail); `None` without scored attempts.
    pub rate: Option<f64>,
    /// Effective-n Wilson interval of the rate at 95 % (statistics, 2.2).
    pub interval: Option<Interval>,
    /// Bounds of the rate if all provider-unscored attempts had failed / passed.
    pub worst_case: Option<Interval>,
    /// Paired gap to the anchors of each sweep.
    pub gap: Option<Gap>,
    /// Primary Faults by name, those of Unscored attempts included.
    pub faults: BTreeMap<String, u64>,
    /// Secondary Faults by name.
    pub secondary_faults: BTreeMap<String, u64>,
    /// Attempts whose first try delivered.
    pub first_try_ok: u64,
    /// Attempts that delivered in the end.
    pub delivered: u64,
    /// Duration of the answering try.
    pub latency: Option<Quantiles>,
    /// Time to first token.
    pub ttft: Option<Quantiles>,
    /// Prompt tokens.
    pub tokens_in: u64,
    /// Answer tokens.
    pub tokens_out: u64,
    /// US dollars.
    pub cost_usd: f64,
}

/// One endpoint over a window.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Scorecard {
    /// The model.
    pub model: ModelId,
    /// The endpoint.
    pub endpoint: EndpointId,
    /// Its standing now.
    pub standing: Standing,
    /// Start of the window.
    pub from_us: Micros,
    /// End of the window.
    pub to_us: Micros,
    /// Per suite.
    pub suites: Vec<SuiteCard>,
}
