//! The sentence and the numbers of a decision, made from stored state alone (statistics, 10).
//!
//! E is an e-value, R a detector score; neither is a probability.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::clock::rfc3339;
use crate::domain::canonical::{canonical_json, sha256_hex};
use crate::domain::{EndpointId, Micros, Policy, Standing, SuiteName};
use crate::stats::clustered::from_clusters;
use crate::stats::num::exp;
use crate::stats::{Bounds, Clustered, Z95, diff_cs, wilson_clustered};

use super::guarantees::guarantees;
use super::reading::{Reading, read, share};
use super::state::{EndpointState, ModelState, SuiteEvidence, histogram_values};
use super::transitions::{Move, Rule};

/// Error level of the gap interval in a sentence.
pub const GAP_ALPHA: f64 = 0.05;

/// Hexadecimal digits of the policy's label.
const LABEL_DIGITS: usize = 8;

/// From here a value is written with an exponent.
const EXPONENT_FROM: f64 = 10_000.0;

/// What a sentence needs beside the endpoint.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The model.
    pub state: &'a ModelState,
    /// The rules in force.
    pub policy: &'a Policy,
    /// The anchors that the endpoint was compared with in the sweep.
    pub anchors: &'a [EndpointId],
    /// Its place among the model's sweeps.
    pub ordinal: u64,
    /// Sweeps a year, when a schedule says so.
    pub sweeps_per_year: Option<f64>,
}

/// Label of a policy: the start of the hash of its canonical JSON.
#[must_use]
pub fn policy_label(policy: &Policy) -> String {
    let text = serde_json::to_value(policy).map(|v| canonical_json(&v)).unwrap_or_default();
    sha256_hex(text.as_bytes()).chars().take(LABEL_DIGITS).collect()
}

// -------------------------------------------------------------------------------------------------------- sentences

/// The sentence of a transition, before the evidence is reset.
pub(super) fn decision_sentence(context: &Context<'_>, endpoint: &EndpointState, step: &Move) -> String {
    let mut out = format!("{}: ", headline(step, endpoint.standing));
    if step.rule == Rule::Changed {
        let what = endpoint.watch.prints.text().unwrap_or_default();
        let _ = write!(
            out,
            "fingerprint changed; more sampling for {} cases, still listed, routed last: {what}; {}",
            endpoint.watch.prints.cases_left,
            guarantee_phrase(context, step),
        );
        out.push_str(&provenance_phrase(context, step));
        return out;
    }
    if step.rule.is_usable() {
        out.push_str(&usable_phrase(endpoint));
    } else if step.rule.is_floor() {
        out.push_str(&floor_phrase(endpoint, step.suite.as_ref()));
    } else if step.rule == Rule::Inconclusive && !has_peer(context.state) {
        out.push_str("no peer to compare with");
    } else {
        let against = step.to == Standing::Excluded || step.to == Standing::Suspect;
        out.push_str(&quality_phrase(endpoint, step.suite.as_ref(), against || step.rule == Rule::Cleared));
    }
    let name = if step.rule.by_e_value() || step.rule == Rule::Inconclusive { 'E' } else { 'R' };
    let _ = write!(
        out,
        ", evidence {name}={} (threshold {}), n={} since {}; {}",
        e_number(step.log_value),
        trimmed(step.threshold),
        attempts_behind(endpoint, step),
        day(endpoint.evidence_since_us),
        guarantee_phrase(context, step),
    );
    out.push_str(&provenance_phrase(context, step));
    out
}

/// The UTC day of a time: `2026-01-31`.
pub(super) fn day(at_us: Micros) -> String {
    rfc3339(at_us).split('T').next().unwrap_or_default().to_owned()
}

fn headline(step: &Move, from: Standing) -> &'static str {
    match (step.rule, from) {
        (Rule::ExcludedFirst | Rule::ExcludedByDetector, _) => "excluded",
        (Rule::TimesOut | Rule::TimesOutFirst, _) => "excluded (times out)",
        (Rule::BelowFloor | Rule::BelowFloorFirst, _) => "excluded (below the floor)",
        (Rule::AdmittedFirst, _) => "admitted",
        (Rule::Readmitted, _) => "re-admitted",
        (Rule::Inconclusive, _) => "inconclusive",
        (Rule::Suspected | Rule::Changed, _) => "suspect",
        (Rule::Cleared, _) => "cleared",
    }
}

pub(super) fn has_peer(state: &ModelState) -> bool {
    state.endpoints.values().filter(|e| e.is_in_service()).count() > 1
}

/// `tool-use success 91.2% [89.3, 92.8] vs anchors 97.8%, paired gap 6.6 pts [3.6, 9.9] > 2`.
fn quality_phrase(endpoint: &EndpointState, suite: Option<&SuiteName>, against: bool) -> String {
    let Some((name, evidence)) = suite.and_then(|s| Some((s, endpoint.suites.get(s)?))) else {
        return "no suite to compare on".to_owned();
    };
    let figures = Figures::of(evidence);
    let margin = if against { evidence.delta } else { evidence.delta_in };
    let Some((rate, (lo, hi))) = figures.rate else { return format!("{name}: no scored attempt") };
    let mut out = format!("{name} success {}% [{}, {}]", percent(rate), percent(lo), percent(hi));
    if let (Some(anchors), Some((gap, (lo, hi)))) = (figures.anchors, figures.gap) {
        let relation = if gap > margin { '>' } else { '<' };
        let _ = write!(
            out,
            " vs anchors {}%, paired gap {} pts [{}, {}] {relation} {}",
            percent(anchors),
            percent(gap),
            percent(lo),
            percent(hi),
            trimmed(margin * 100.0),
        );
    }
    out
}

/// `tool-use success 71.2% [68.0, 74.2] is below the floor 80%`.
fn floor_phrase(endpoint: &EndpointState, suite: Option<&SuiteName>) -> String {
    let of = |suite| Some((suite, endpoint.suites.get(suite)?));
    let Some((name, evidence)) = suite.and_then(of) else { return "no suite with a floor".to_owned() };
    let floor = evidence.floor.as_ref().map_or(0.0, |floor| floor.floor);
    let (rate, (lo, hi)) = Figures::of(evidence).rate.unwrap_or_default();
    format!(
        "{name} success {}% [{}, {}] is below the floor {}%",
        percent(rate),
        percent(lo),
        percent(hi),
        trimmed(100.0 * floor)
    )
}

fn usable_phrase(endpoint: &EndpointState) -> String {
    let usable = &endpoint.usable;
    let asked = usable.asked.max(1) as f64;
    let compared = usable.histogram.values().sum::<u64>().max(1) as f64;
    format!(
        "answered {}% of {} attempts vs anchors {}%, margin {} pts",
        percent(usable.answered as f64 / asked),
        usable.asked,
        percent(usable.anchor_sum / compared),
        trimmed(usable.margin * 100.0),
    )
}

fn attempts_behind(endpoint: &EndpointState, step: &Move) -> u64 {
    match (step.rule.is_usable(), step.suite.as_ref().and_then(|s| endpoint.suites.get(s))) {
        (true, _) => endpoint.usable.asked,
        (false, Some(evidence)) if step.rule == Rule::Inconclusive => evidence.cases,
        (false, Some(evidence)) if step.rule.is_floor() => evidence.clusters.attempts(),
        (false, Some(evidence)) => evidence.compared(),
        (false, None) => 0,
    }
}

fn guarantee_phrase(context: &Context<'_>, step: &Move) -> String {
    let policy = context.policy;
    let yearly = |a: f64, what: &str| match context.sweeps_per_year {
        Some(sweeps) => format!("{what} guarantee <= {} per provider-year", rounded(sweeps / a)),
        None => format!("{what} guarantee <= 1 in {} sweeps", trimmed(a)),
    };
    match step.rule {
        Rule::ExcludedFirst | Rule::TimesOutFirst | Rule::BelowFloorFirst => {
            format!("wrong-exclusion guarantee <= {} at the first decision", trimmed(policy.alpha))
        }
        Rule::AdmittedFirst => {
            format!("wrong-admission guarantee <= {} at the first decision", trimmed(policy.alpha))
        }
        Rule::ExcludedByDetector | Rule::TimesOut | Rule::BelowFloor => {
            yearly(policy.exclude_after_sweeps, "false-exclusion")
        }
        Rule::Readmitted => yearly(policy.readmit_after_sweeps, "false-re-admission"),
        Rule::Inconclusive => format!("the tests go on with {} cases a sweep", policy.cases.standard),
        Rule::Changed => "no verdict, its quality decides".to_owned(),
        Rule::Suspected => "still listed, routed last, asked more".to_owned(),
        Rule::Cleared => "may be an anchor again".to_owned(),
    }
}

fn provenance_phrase(context: &Context<'_>, step: &Move) -> String {
    let anchors: Vec<&str> = context.anchors.iter().map(EndpointId::as_str).collect();
    let suite = step.suite.as_ref().map(|s| format!("suite {s}, ")).unwrap_or_default();
    format!(
        "; {suite}anchors {} of sweep {}, policy {}",
        if anchors.is_empty() { "none".to_owned() } else { anchors.join(" ") },
        context.ordinal,
        policy_label(context.policy),
    )
}

/// `, that it is below the floor 80% of tool-use E=0.3`; nothing without floors.
fn floor_now(policy: &Policy, reading: &Reading, standing: Standing) -> String {
    let (name, value, suite) = match standing {
        Standing::Unknown | Standing::Provisional => ('E', reading.floor_log_e, &reading.floor_by_e),
        _ => ('R', reading.floor_log_r, &reading.floor_by_r),
    };
    let floor = |suite: &SuiteName| Some((suite.clone(), policy.floor(suite)?));
    suite.as_ref().and_then(floor).map_or_else(String::new, |(suite, floor)| {
        format!("; that it is below the floor {}% of {suite}: {name}={}", trimmed(100.0 * floor), e_number(value))
    })
}

/// Where an endpoint stands now and what would change it, in a sentence.
#[must_use]
pub fn explain_now(state: &ModelState, policy: &Policy, id: &EndpointId) -> Option<String> {
    let endpoint = state.endpoints.get(id)?;
    let reading = read(state, policy, endpoint);
    let first = trimmed(1.0 / policy.alpha);
    let (e_ex, e_ad) = (e_number(reading.log_e_ex), e_number(reading.log_e_ad));
    let (r_ex, r_ad) = (e_number(reading.log_r_ex), e_number(reading.log_r_ad));
    let weakest = |suite: &Option<SuiteName>| suite.as_ref().map_or("no suite".to_owned(), ToString::to_string);
    let floor = floor_now(policy, &reading, endpoint.standing);
    Some(match endpoint.standing {
        Standing::Unknown | Standing::Provisional => format!(
            "{}: {}; e-value for admission E={e_ad} (weakest suite {}), for exclusion E={e_ex}, either decides at \
             {first}{floor}; {} of {} cases asked per suite",
            endpoint.standing.tier(),
            quality_phrase(endpoint, reading.weakest_by_e.as_ref(), false),
            weakest(&reading.weakest_by_e),
            reading.effort,
            policy.cases.cap,
        ),
        Standing::Admitted | Standing::Suspect => format!(
            "{}; now: detector score R={r_ex}, suspect at {}, excluded at {}{floor}",
            endpoint.last_reason,
            trimmed(policy.suspect_at),
            trimmed(policy.exclude_after_sweeps),
        ),
        Standing::Excluded => format!(
            "{}; now: detector score for re-admission R={r_ad} (weakest suite {}), re-admitted at {}",
            endpoint.last_reason,
            weakest(&reading.weakest_by_r),
            trimmed(policy.readmit_after_sweeps),
        ),
    })
}

// ---------------------------------------------------------------------------------------------------------- figures

/// What people read of one suite's evidence.
pub(super) struct Figures {
    pub(super) rate: Option<(f64, Bounds)>,
    pub(super) anchors: Option<f64>,
    pub(super) gap: Option<(f64, Bounds)>,
}

impl Figures {
    pub(super) fn of(evidence: &SuiteEvidence) -> Figures {
        let summary: Option<Clustered> = from_clusters(evidence.clusters.iter());
        let histogram = histogram_values(&evidence.histogram);
        let compared: f64 = histogram.iter().map(|(_, n)| n).sum();
        let mean = |sum: f64| (compared > 0.0).then(|| sum / compared);
        Figures {
            rate: summary.map(|c| (c.mean, wilson_clustered(&c, Z95).0)),
            anchors: mean(evidence.anchor_sum),
            gap: mean(histogram.iter().map(|(d, n)| d * n).sum()).map(|m| (m, diff_cs(&histogram, GAP_ALPHA))),
        }
    }
}

/// All numbers behind an endpoint's standing. `null` stands for minus infinity.
#[must_use]
pub fn evidence(state: &ModelState, policy: &Policy, endpoint: &EndpointState) -> Value {
    let reading = read(state, policy, endpoint);
    let suites: Map<String, Value> = endpoint
        .suites
        .iter()
        .filter(|(name, _)| state.suites.contains_key(*name))
        .map(|(name, evidence)| (name.to_string(), suite_evidence(evidence, policy, share(state, policy, name))))
        .collect();
    let usable = &endpoint.usable;
    let mut out = json!({
        "combined": {
            "log_e_exclude": reading.log_e_ex, "log_r_exclude": reading.log_r_ex,
            "log_e_admit": reading.log_e_ad, "log_r_admit": reading.log_r_ad,
        },
        "suites": suites,
        "usable": {
            "margin": usable.margin, "log_e": reading.usable_log_e, "log_r": reading.usable_log_r,
            "asked": usable.asked, "answered": usable.answered,
        },
        "since": rfc3339(endpoint.evidence_since_us),
        "policy": {
            "label": policy_label(policy), "alpha": policy.alpha,
            "exclude_after_sweeps": policy.exclude_after_sweeps, "readmit_after_sweeps": policy.readmit_after_sweeps,
            "suspect_at": policy.suspect_at, "cap": policy.cases.cap,
        },
    });
    // Absent without alarms' evidence: decisions of earlier versions are made again as they were.
    if let (Some(numbers), Value::Object(map)) = (endpoint.watch.numbers(), &mut out) {
        map.insert("change_alarms".to_owned(), numbers);
    }
    out
}

fn suite_evidence(evidence: &SuiteEvidence, policy: &Policy, weight: f64) -> Value {
    let figures = Figures::of(evidence);
    let histogram: Vec<Value> =
        histogram_values(&evidence.histogram).into_iter().map(|(d, n)| json!([d, n as u64])).collect();
    let interval = |(lo, hi): Bounds| json!({"lo": lo, "hi": hi});
    let mut out = json!({
        "weight": weight, "margin": evidence.delta, "admission_margin": evidence.delta_in,
        "log_e_exclude": evidence.log_e_ex(policy), "log_e_admit": evidence.log_e_ad(policy),
        "log_r_exclude": evidence.log_r_ex(), "log_r_admit": evidence.log_r_ad(),
        "cases": evidence.cases, "batches": evidence.batches, "missing": evidence.missing,
        "scored": evidence.clusters.attempts(),
        "score_sum": evidence.clusters.score_sum(),
        "compared": evidence.compared(), "anchor_sum": evidence.anchor_sum,
        "rate": figures.rate.map(|(mean, bounds)| json!({"mean": mean, "interval": interval(bounds)})),
        "gap": figures.gap.map(|(mean, bounds)| json!({"mean": mean, "interval": interval(bounds)})),
        "histogram": histogram,
        "ranking": evidence.ranking.estimate(),
    });
    // Absent without a floor: decisions of earlier versions are made again as they were.
    if let Some(floor) = &evidence.floor {
        out["floor"] = floor.numbers();
    }
    out
}

/// The numbers behind a transition.
pub(super) fn decision_evidence(context: &Context<'_>, endpoint: &EndpointState, step: &Move) -> Value {
    let mut out = evidence(context.state, context.policy, endpoint);
    if let Value::Object(map) = &mut out {
        let anchors: Vec<&str> = context.anchors.iter().map(EndpointId::as_str).collect();
        let b = context.sweeps_per_year.map(|b| json!(guarantees(context.policy, b)));
        map.insert("rule".to_owned(), json!(step.rule.number(endpoint.standing)));
        map.insert("statistic".to_owned(), json!(if step.rule.by_e_value() { "e_value" } else { "detector_score" }));
        map.insert("log_value".to_owned(), json!(step.log_value));
        map.insert("threshold".to_owned(), json!(step.threshold));
        map.insert("anchors".to_owned(), json!(anchors));
        map.insert("sweep_ordinal".to_owned(), json!(context.ordinal));
        map.insert("guarantees".to_owned(), b.unwrap_or(Value::Null));
    }
    out
}

// ---------------------------------------------------------------------------------------------------------- numbers

/// A share as a percentage with one decimal, without a negative zero.
pub(super) fn percent(x: f64) -> String {
    let text = format!("{:.1}", x * 100.0);
    if text == "-0.0" { "0.0".to_owned() } else { text }
}

/// A number without needless digits: `2`, `1.5`, `0.01`.
pub(super) fn trimmed(x: f64) -> String {
    let text = format!("{x:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A bound with two significant digits, rounded up so that it still holds.
pub(super) fn rounded(x: f64) -> String {
    if x <= 0.0 || !x.is_finite() {
        return trimmed(x);
    }
    let unit = 10f64.powi(x.log10().floor() as i32 - 1);
    // The small subtraction keeps 0.2 from becoming 0.21 by the last bit.
    trimmed((x / unit - 1e-9).ceil() * unit)
}

/// `exp(log)` for people: `0.03`, `138`, `1.4e4`; never overflows.
pub(super) fn e_number(log: f64) -> String {
    if log == f64::NEG_INFINITY {
        return "0".to_owned();
    }
    let value = exp(log);
    if value < 10.0 {
        trimmed((value * 100.0).round() / 100.0)
    } else if value < EXPONENT_FROM {
        format!("{value:.0}")
    } else {
        let log10 = log / std::f64::consts::LN_10;
        let (mut power, mut mantissa) = (log10.floor(), 10f64.powf(log10.fract()));
        if mantissa >= 9.95 {
            (power, mantissa) = (power + 1.0, 1.0);
        }
        format!("{mantissa:.1}e{power:.0}")
    }
}
