//! Scorecards: an endpoint's rates, intervals, faults, latency and cost over a window. Display only.

use std::collections::BTreeMap;

use serde::Serialize;

use super::suite::{Denominator, MetricName};
use super::{EndpointId, Micros, ModelId, Standing, SuiteDigest, SuiteName};

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

/// A rate under one version of a suite.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct VersionRate {
    /// Scored attempts.
    pub scored: u64,
    /// Share of them that passed.
    pub rate: Option<f64>,
    /// Effective-n Wilson interval at 95 %.
    pub interval: Option<Interval>,
}

/// The cases that are the same in both versions, asked under both.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Overlap {
    /// Mean of their rates under the old version.
    pub before: f64,
    /// Under the new one.
    pub after: f64,
    /// New minus old, paired by case; an interval at 95 %.
    pub difference: Gap,
}

/// What the overlap says of a step in the rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reading {
    /// The rates differ, and those of the common cases do not: the suite got easier or harder.
    Suite,
    /// The rates of the common cases differ: the endpoint changed, whatever the suite did.
    Endpoint,
    /// Neither differs.
    NoStep,
    /// There are too few common cases to tell by.
    Unknown,
}

impl Reading {
    /// In words.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Reading::Suite => "the suite changed, not the endpoint",
            Reading::Endpoint => "the endpoint changed as well",
            Reading::NoStep => "no step",
            Reading::Unknown => "too few common cases to tell by",
        }
    }
}

/// A change of a suite's version, as one endpoint shows it. Rates of different versions are never pooled.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VersionChange {
    /// Its first attempt under the new version.
    pub at_us: Micros,
    /// The old version.
    pub from: SuiteDigest,
    /// The new version.
    pub to: SuiteDigest,
    /// Cases with the same id and hash in both; `None` where a version is not on record.
    pub same_cases: Option<u64>,
    /// In the window, under the old version.
    pub before: VersionRate,
    /// Under the new one.
    pub after: VersionRate,
    /// The cases that are the same; `None` with fewer than two asked under both.
    pub overlap: Option<Overlap>,
    /// What follows.
    pub reading: Reading,
}

/// pass^k: the chance that all of k tries of a case pass, the mean over the cases.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PassK {
    /// Tries.
    pub k: u32,
    /// C(c,k) / C(n,k) of each case with n scored repeats in a sweep, of which c passed; the mean.
    pub value: f64,
    /// Cases (of sweeps) with at least k scored repeats.
    pub cases: u64,
}

/// Repeats of cases folded as the suite's `[epochs]` says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reduced {
    /// The reducer, as the suite writes it.
    pub reducer: String,
    /// Mean over the cases; `None` where none has enough scored repeats.
    pub value: Option<f64>,
    /// Cases (of sweeps) with enough scored repeats.
    pub cases: u64,
    /// Those with too few: they are neither 0 nor 1.
    pub unscored: u64,
}

/// A figure that the suite's `[[metrics]]` ask for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MetricValue {
    /// Which.
    pub name: MetricName,
    /// Of which answers a share is told; absent for figures that are no such shares.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<Denominator>,
    /// The category; absent where the figure is of all cases.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// In \[0,1\]; `None` without anything to count.
    pub value: Option<f64>,
    /// Cases, answers or attempts that were counted.
    pub count: u64,
}

/// Both numbers of a suite with BFCL cases in which no call is due (suites, 4.4): officially a malformed call abstains.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct AbstentionCard {
    /// Scored answers to cases in which no call is due.
    pub cases: u64,
    /// Those with a malformed call.
    pub malformed: u64,
    /// Pass rate of the suite as the official checker counts.
    pub official: f64,
    /// Pass rate of the suite when malformed calls fail.
    pub strict: f64,
}

/// The cases whose draw stays held against those that are drawn anew for every sweep (suites, 1.4). A finding about the
/// endpoint, and no verdict: who does better on what stays may know it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct HoldOut {
    /// The templates that are drawn once.
    pub fixed: VersionRate,
    /// The templates that are drawn for every sweep.
    pub fresh: VersionRate,
    /// The rate of the fixed minus that of the fresh ones; `None` unless both were asked.
    pub gap: Option<f64>,
    /// Newcombe's interval of the gap at 95 %, from those of the rates.
    pub interval: Option<Interval>,
    /// The interval lies above zero: what stays is answered better.
    pub finding: bool,
}

/// What came of the cases that the suite excludes as broken: they are in no other figure of the card.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct BrokenCard {
    /// Passed.
    pub pass: u64,
    /// Failed.
    pub fail: u64,
    /// Without a score.
    pub unscored: u64,
    /// Pass rate of the suite with them, as a public leaderboard counts; `None` without scored attempts.
    pub rate_with: Option<f64>,
}

/// How far two agree on where a tool is called (suites, section 6).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct TriggerFigures {
    /// Answers compared.
    pub samples: u64,
    /// `tool_call_f1`; `None` where neither ever calls.
    pub f1: Option<f64>,
    /// Share of answers on which they differ.
    pub disagreement: Option<f64>,
    /// Wilson interval of that share at 95 %.
    pub interval: Option<Interval>,
}

/// Where an endpoint calls a tool and where it does not.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct TriggerCard {
    /// Held against what the cases expect.
    pub expectation: TriggerFigures,
    /// Held against the reference endpoint's answers to the same instances of the same sweeps.
    pub reference: Option<TriggerFigures>,
    /// The reference against itself: what sampling alone gives.
    pub noise: Option<TriggerFigures>,
}

/// Instances that were asked as a stream and plain: `StreamMismatch` where both were answered, and not in the same form.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PairCard {
    /// Pairs compared.
    pub pairs: u64,
    /// Pairs that differ.
    pub differing: u64,
    /// Wilson interval of their share at 95 %.
    pub interval: Interval,
    /// How they differ: `calls`, `arguments`, `finish_reason`, `reasoning`, `usage`, `content`; a pair may differ in several
    /// ways.
    pub kinds: BTreeMap<String, u64>,
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
    /// What the shares below are of: attempts that count in rates of delivery, which those that failed on our side or were
    /// answered by somebody else do not.
    pub asked: u64,
    /// Share of `asked` whose first try delivered; `None` without any.
    pub first_try: Option<f64>,
    /// Share of `asked` that delivered in the end; `None` without any.
    pub delivery: Option<f64>,
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
    /// How reliable repeated cases are; empty where no case was asked more than once in a sweep.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pass_k: Vec<PassK>,
    /// Repeats folded as the suite says, for suites whose cases are asked more than once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reduced: Option<Reduced>,
    /// What the suite's `[[metrics]]` ask for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<MetricValue>,
    /// Both numbers, for suites with BFCL cases in which no call is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub abstention: Option<AbstentionCard>,
    /// What stays held against what is fresh, for suites with a fixed share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold_out: Option<HoldOut>,
    /// What came of broken cases, where somebody asked for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broken: Option<BrokenCard>,
    /// Where it calls a tool, for suites that judge it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trigger: Option<TriggerCard>,
    /// Streams held against plain answers, for suites with pairs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pairs: Option<PairCard>,
    /// The last change of the suite's version in the window: all else counts the attempts after it alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<VersionChange>,
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
