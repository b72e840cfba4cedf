//! Everything that `exactod explain` tells of an endpoint, and that API and page tell in the same words: the reason, the
//! counts behind it, what would change it, and what is promised.

use std::fmt::Write as _;

use serde::Serialize;

use crate::domain::{EndpointId, Override, Policy, Standing, SuiteName};
use crate::stats::Bounds;

use super::anchors::anchors;
use super::budgets::participants;
use super::explain::{Figures, day, e_number, explain_now, has_peer, percent, rounded, trimmed};
use super::floor::FloorEvidence;
use super::guarantees::{ASSUMPTIONS, BUNCHED_EXCLUSIONS_PER_YEAR, Guarantees, exclusion_tests, guarantees};
use super::levels;
use super::outlook::{Further, Goal, Outlook, Scene, outlooks};
use super::reading::{read, share};
use super::state::{EndpointState, SuiteEvidence};
use super::watch::Finding;

/// Why an endpoint stands where it stands. Numbers are given as logarithms where they may be huge; `null` stands for
/// minus infinity.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// Where it stands by its evidence.
    pub standing: Standing,
    /// What an operator has set over it.
    #[serde(rename = "override")]
    pub override_: Option<Override>,
    /// The UTC day since which it stands so.
    pub since: String,
    /// The reason, in a sentence that can be checked.
    pub reason: String,
    /// What would change it, in a sentence.
    pub change: String,
    /// The guarantee in force, in a sentence.
    pub guarantee: String,
    /// The UTC day since which the counts are taken.
    pub counted_since: String,
    /// The counts, by suite.
    pub suites: Vec<SuiteCounts>,
    /// The test whether it answers at all.
    pub usable: UsableCounts,
    /// What was found about it beside its quality, or about all endpoints together: alarmed, never a verdict.
    pub findings: Vec<Finding>,
    /// The anchors of the next sweep, by what is known now.
    pub anchors: Vec<EndpointId>,
    /// The changes behind `change`, as numbers.
    pub outlooks: Vec<Outlook>,
    /// The guarantees, as numbers; `null` without a schedule.
    pub guarantees: Option<Guarantees>,
    /// Under which they hold.
    pub assumptions: [&'static str; 4],
}

/// The counts of one suite since the last reset.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SuiteCounts {
    /// The suite.
    pub suite: SuiteName,
    /// Its share in the weighted mean.
    pub weight: f64,
    /// Margin of exclusion.
    pub margin: f64,
    /// Margin of admission.
    pub admission_margin: f64,
    /// Attempts asked.
    pub attempts: u64,
    /// Attempts that got no answer.
    pub missing: u64,
    /// n+: compared attempts on which the anchors did better.
    pub worse: u64,
    /// n0: those on which both did the same.
    pub equal: u64,
    /// n-: those on which it did better.
    pub better: u64,
    /// Success rate with its 95 % interval.
    pub rate: Option<Estimate>,
    /// The anchors' success rate on the compared cases.
    pub anchors_rate: Option<f64>,
    /// Paired gap to the anchors with its 95 % interval; positive is worse.
    pub gap: Option<Estimate>,
    /// What the tests say.
    pub tests: Tests,
    /// The floor under the suite, where the policy sets one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub floor: Option<FloorCounts>,
}

/// A floor and what the tests against it say, as natural logarithms.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct FloorCounts {
    /// The least mean score.
    pub floor: f64,
    /// e-value that it is below.
    pub log_e_below: f64,
    /// Detector score that it is below.
    pub log_r_below: f64,
    /// e-value that it is above.
    pub log_e_above: f64,
    /// Detector score that it is above.
    pub log_r_above: f64,
}

impl FloorCounts {
    fn of(evidence: &FloorEvidence) -> FloorCounts {
        FloorCounts {
            floor: evidence.floor,
            log_e_below: evidence.log_e_below(),
            log_r_below: evidence.log_r_below(),
            log_e_above: evidence.log_e_above(),
            log_r_above: evidence.log_r_above(),
        }
    }
}

/// An estimate and its interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// The estimate.
    pub mean: f64,
    /// Lower end.
    pub lo: f64,
    /// Upper end.
    pub hi: f64,
}

/// Natural logarithms of e-values and detector scores.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Tests {
    /// e-value against it.
    pub log_e_exclude: f64,
    /// e-value for it.
    pub log_e_admit: f64,
    /// Detector score against it.
    pub log_r_exclude: f64,
    /// Detector score for it.
    pub log_r_admit: f64,
}

/// The counts of the test whether it answers at all.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct UsableCounts {
    /// Attempts asked.
    pub asked: u64,
    /// Those that were answered.
    pub answered: u64,
    /// Margin of the test.
    pub margin: f64,
    /// Logarithm of the e-value that it answers too rarely.
    pub log_e: f64,
    /// Logarithm of the detector score.
    pub log_r: f64,
}

/// Explains an endpoint of the scene; `None` when it is not of it.
#[must_use]
pub fn explain(scene: &Scene<'_>, id: &EndpointId) -> Option<Explanation> {
    let endpoint = scene.state.endpoints.get(id)?;
    let reading = read(scene.state, scene.policy, endpoint);
    let ahead = outlooks(scene, id);
    let asked = participants(scene.state, scene.policy, scene.order, scene.occasion(0));
    let suites = scene.state.suites.keys().filter_map(|suite| {
        let evidence = endpoint.suites.get(suite)?;
        Some(SuiteCounts::of(suite, evidence, share(scene.state, scene.policy, suite), scene.policy))
    });
    let usable = &endpoint.usable;
    Some(Explanation {
        endpoint: id.clone(),
        standing: endpoint.standing,
        override_: endpoint.override_,
        since: day(endpoint.since_us),
        reason: reason(scene, id)?,
        change: change(scene, endpoint, &ahead),
        guarantee: guarantee(scene, endpoint.standing),
        counted_since: day(endpoint.evidence_since_us),
        suites: suites.collect(),
        usable: UsableCounts {
            asked: usable.asked,
            answered: usable.answered,
            margin: scene.policy.usable_margin,
            log_e: reading.usable_log_e,
            log_r: reading.usable_log_r,
        },
        findings: endpoint.watch.findings().into_iter().chain(levels::findings(scene.state)).collect(),
        anchors: anchors(scene.state, scene.policy, scene.order, &asked),
        outlooks: ahead,
        guarantees: scene.sweeps_per_year.map(|per_year| guarantees(scene.policy, per_year)),
        assumptions: ASSUMPTIONS,
    })
}

/// The sentence of the decision that gave the standing with what has gathered since, or how far an undecided one is.
fn reason(scene: &Scene<'_>, id: &EndpointId) -> Option<String> {
    let text = explain_now(scene.state, scene.policy, id)?;
    // Designated, or set by hand in an older store: there is no sentence before the first semicolon.
    Some(text.strip_prefix("; ").map_or_else(|| text.clone(), str::to_owned))
}

impl SuiteCounts {
    fn of(suite: &SuiteName, evidence: &SuiteEvidence, weight: f64, policy: &Policy) -> SuiteCounts {
        let figures = Figures::of(evidence);
        let estimate = |(mean, (lo, hi)): (f64, Bounds)| Estimate { mean, lo, hi };
        let count = |of: fn(i32) -> bool| evidence.histogram.iter().filter(|(d, _)| of(**d)).map(|(_, n)| n).sum();
        SuiteCounts {
            suite: suite.clone(),
            weight,
            margin: evidence.delta,
            admission_margin: evidence.delta_in,
            attempts: evidence.cases,
            missing: evidence.missing,
            worse: count(|d| d > 0),
            equal: count(|d| d == 0),
            better: count(|d| d < 0),
            rate: figures.rate.map(estimate),
            anchors_rate: figures.anchors,
            gap: figures.gap.map(estimate),
            tests: Tests {
                log_e_exclude: evidence.log_e_ex(policy),
                log_e_admit: evidence.log_e_ad(policy),
                log_r_exclude: evidence.log_r_ex(),
                log_r_admit: evidence.log_r_ad(),
            },
            floor: evidence.floor.as_ref().map(FloorCounts::of),
        }
    }
}

// ------------------------------------------------------------------------------------------------------------ change

fn change(scene: &Scene<'_>, endpoint: &EndpointState, ahead: &[Outlook]) -> String {
    match endpoint.override_ {
        Some(Override::Banned) => {
            return "banned by an operator: it is not asked, `exactod unban` lets it be".to_owned();
        }
        Some(Override::Pinned) => {
            return "pinned by an operator: listed whatever the tests say; `exactod unpin` ends it".to_owned();
        }
        None => {}
    }
    if scene.state.suites.is_empty() {
        return "no suite to compare on yet".to_owned();
    }
    if !has_peer(scene.state) {
        let floors = if scene.policy.has_floors() { "; without one, floors alone can exclude it" } else { "" };
        return format!("no peer to compare with: a second endpoint is needed{floors}");
    }
    let many = scene.state.suites.len() > 1;
    let mut parts: Vec<String> = Vec::new();
    for outlook in ahead {
        if let Some(text) = phrase(outlook, many) {
            parts.push(text);
        } else if outlook.further == Further::Clean {
            parts.push(format!(
                "no number of clean cases up to {} {}",
                super::outlook::CASES_AHEAD_MAX,
                verb(outlook.goal)
            ));
        }
    }
    if scene.state.frozen.is_some() {
        parts.push("all transitions are held by a common alarm (`exactod ack`)".to_owned());
    }
    if parts.is_empty() { "nothing is near".to_owned() } else { parts.join("; ") }
}

fn verb(goal: Goal) -> &'static str {
    match goal {
        Goal::Admit => "admit it",
        Goal::ExcludeFirst | Goal::Exclude => "exclude it",
        Goal::Clear => "clear it",
        Goal::Readmit => "re-admit it",
    }
}

/// `about 180 more clean cases per suite (2 sweeps, 0.5 days) admit it`.
fn phrase(outlook: &Outlook, many: bool) -> Option<String> {
    let cases = outlook.cases?;
    let kind = match outlook.further {
        Further::Clean => " clean",
        Further::AsSoFar | Further::Lost | Further::Typical { .. } => "",
    };
    let like = match outlook.further {
        Further::AsSoFar => " at the gap seen so far",
        Further::Lost => " that it fails and the anchors pass, and none that it passes,",
        Further::Clean | Further::Typical { .. } => "",
    };
    let mut text = format!("about {} more{kind} case{}", about(cases), if cases == 1 { "" } else { "s" });
    if many {
        text.push_str(" per suite");
    }
    text.push_str(like);
    // How long failures in a row take is up to the endpoint.
    if outlook.further != Further::Lost {
        match (outlook.sweeps, outlook.days) {
            (Some(n), Some(days)) => {
                let _ = write!(text, " ({}, {})", sweeps(n), days_text(days));
            }
            (Some(n), None) => {
                let _ = write!(text, " ({} back to back)", sweeps(n));
            }
            (None, _) => {
                let _ = write!(text, " (more than {} sweeps)", super::outlook::SWEEPS_AHEAD_MAX);
            }
        }
    }
    let _ = write!(text, " {}", verb(outlook.goal));
    Some(text)
}

fn sweeps(n: u64) -> String {
    format!("{n} sweep{}", if n == 1 { "" } else { "s" })
}

/// `6 hours`, `2.5 days`, `40 days`: rounded up, but for what a schedule's rate is off by itself.
#[must_use]
pub fn days_text(days: f64) -> String {
    const SLACK: f64 = 0.1;
    let up = |x: f64| (x - SLACK).ceil();
    if days < 1.9 {
        let hours = up(days * 24.0).max(1.0);
        return format!("{hours:.0} hour{}", if hours > 1.0 { "s" } else { "" });
    }
    if days < 10.0 { format!("{} days", trimmed(up(days * 2.0) / 2.0)) } else { format!("{:.0} days", up(days)) }
}

/// A count with two significant digits, rounded up: so many do suffice.
fn about(n: u64) -> u64 {
    let mut unit = 1;
    while n / unit >= 100 {
        unit *= 10;
    }
    n.div_ceil(unit) * unit
}

// --------------------------------------------------------------------------------------------------------- guarantee

fn guarantee(scene: &Scene<'_>, standing: Standing) -> String {
    let policy = scene.policy;
    let alpha = trimmed(policy.alpha);
    match standing {
        Standing::Unknown | Standing::Provisional => {
            let floors = match policy.has_floors() {
                true => format!(", and one above the floors with at most {alpha}"),
                false => String::new(),
            };
            // The tests of later decisions run as well: all of them once it is Provisional, before that `usable` alone.
            let (tests, which) = match standing {
                Standing::Unknown => (1.0, " by answering too rarely"),
                _ => (exclusion_tests(policy), which_exclusions(policy)),
            };
            format!(
                "the first decision admits an endpoint worse than the anchors by the admission margin with a chance of at \
                 most {alpha}, and excludes one within the margin of the best with at most {alpha} by quality and {alpha} \
                 by answering too rarely{floors}; as long as that is open, in addition, {}; all that if failures do not \
                 come bunched inside a sweep",
                yearly(
                    scene.sweeps_per_year.map(|n| tests * n / policy.exclude_after_sweeps),
                    policy.exclude_after_sweeps / tests,
                    "false exclusions",
                    which,
                ),
            )
        }
        Standing::Admitted | Standing::Suspect => {
            let bound = yearly(
                scene.sweeps_per_year.map(|n| exclusion_tests(policy) * n / policy.exclude_after_sweeps),
                policy.exclude_after_sweeps / exclusion_tests(policy),
                "false exclusions",
                which_exclusions(policy),
            );
            format!(
                "{bound}, and its failures do not come bunched inside a sweep (an outage of minutes; under the default \
                 policy up to {BUNCHED_EXCLUSIONS_PER_YEAR} a year were simulated then)"
            )
        }
        Standing::Excluded => yearly(
            scene.sweeps_per_year.map(|n| n / policy.readmit_after_sweeps),
            policy.readmit_after_sweeps,
            "false re-admissions",
            "",
        ),
    }
}

fn which_exclusions(policy: &Policy) -> &'static str {
    match policy.has_floors() {
        true => " by quality, by answering too rarely and by floors together",
        false => " by quality and by answering too rarely together",
    }
}

fn yearly(per_year: Option<f64>, per: f64, what: &str, which: &str) -> String {
    match per_year {
        Some(per_year) => {
            format!("at most {} {what} a year{which}, if it always stood exactly at the margin", rounded(per_year))
        }
        None => format!(
            "at most 1 of the {what} in {} sweeps{which}, if it always stood exactly at the margin",
            trimmed(per)
        ),
    }
}

// -------------------------------------------------------------------------------------------------------------- text

impl Explanation {
    /// All of it in one line, as the API gives it.
    #[must_use]
    pub fn sentence(&self) -> String {
        let mut out = format!("{}. What would change it: {}. Guarantee: {}.", self.reason, self.change, self.guarantee);
        for finding in &self.findings {
            let _ = write!(out, " Alarm, no verdict: {}.", finding.text);
        }
        out
    }

    /// What people read on a terminal.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = format!("{}: {} since {}", self.endpoint, self.standing, self.since);
        match self.override_ {
            Some(Override::Pinned) => out.push_str(", pinned"),
            Some(Override::Banned) => out.push_str(", banned"),
            None => {}
        }
        let _ = write!(out, "\n  why        {}", self.reason);
        let _ = write!(out, "\n  change     {}", self.change);
        let _ = write!(out, "\n  guarantee  {}", self.guarantee);
        for suite in &self.suites {
            let _ = write!(out, "\n  {}", suite.text(&self.counted_since, self.standing));
        }
        let usable = &self.usable;
        let _ = write!(
            out,
            "\n  answers    {} of {} attempts; e-value E={}, detector score R={} (margin {} pts)",
            usable.answered,
            usable.asked,
            e_number(usable.log_e),
            e_number(usable.log_r),
            trimmed(usable.margin * 100.0)
        );
        for finding in &self.findings {
            let _ = write!(out, "\n  alarm      {} (no verdict)", finding.text);
        }
        let anchors: Vec<&str> = self.anchors.iter().map(EndpointId::as_str).collect();
        let _ =
            write!(out, "\n  anchors    {}", if anchors.is_empty() { "none".to_owned() } else { anchors.join(" ") });
        out
    }
}

impl SuiteCounts {
    fn text(&self, since: &str, standing: Standing) -> String {
        let mut out = format!(
            "{}: {} attempts since {since}, {} missing; n+ {}, n0 {}, n- {}",
            self.suite, self.attempts, self.missing, self.worse, self.equal, self.better
        );
        if let Some(Estimate { mean, lo, hi }) = self.rate {
            let _ = write!(out, "; success {}% [{}, {}]", percent(mean), percent(lo), percent(hi));
        }
        if let Some(anchors) = self.anchors_rate {
            let _ = write!(out, " vs anchors {}%", percent(anchors));
        }
        if let Some(Estimate { mean, lo, hi }) = self.gap {
            let _ = write!(out, ", gap {} pts [{}, {}]", percent(mean), percent(lo), percent(hi));
        }
        let _ = write!(
            out,
            " (margins {} to exclude, {} to admit)",
            trimmed(self.margin * 100.0),
            trimmed(self.admission_margin * 100.0)
        );
        let tests = self.tests;
        let (name, against, favour) = if matches!(standing, Standing::Unknown | Standing::Provisional) {
            ("e-values E", tests.log_e_exclude, tests.log_e_admit)
        } else {
            ("detector scores R", tests.log_r_exclude, tests.log_r_admit)
        };
        let _ = write!(out, "; {name} against it {}, for it {}", e_number(against), e_number(favour));
        if let Some(floor) = self.floor {
            let (below, above) = match name.ends_with('E') {
                true => (floor.log_e_below, floor.log_e_above),
                false => (floor.log_r_below, floor.log_r_above),
            };
            let (at, below, above) = (trimmed(100.0 * floor.floor), e_number(below), e_number(above));
            let _ = write!(out, "; floor {at}%: below it {below}, above it {above}");
        }
        out
    }
}
