//! Change alarms: what is found about an endpoint beside its quality. Shown, alarmed and followed by a larger sweep, never a
//! verdict: these two move no endpoint.
//!
//! | finding | contrast | null hypothesis |
//! |---|---|---|
//! | `hold_out_gap` | D on fresh cases minus D on cases that ask the same in every sweep, by suite | at most [`GAP_MARGIN`]: it does no better on cases that it may have seen than the anchors do |
//! | `content_linked_errors` | answers missing on hard cases minus on easy ones (statistics, 8) | at most [`LINK_MARGIN`]: what goes missing has nothing to do with what is asked |
//!
//! Fingerprints, the third kind, have a file of their own ([`super::prints`]). These two are tested alike. A sweep's outcomes of either kind are dealt in the plan's order, like cards, into as many
//! groups as the smaller kind has cases; each group gives one difference of means. The cases of a sweep are the start of
//! a random permutation, so that the groups are drawn without replacement: negatively associated, and the product of
//! `1 + l (X - margin)` has under the null a mean of at most 1 (as statistics, 3.2). The detector begins anew with every
//! sweep, so that the false alarms of an endpoint exactly at the margin come at most once in [`ALARM_AT`] sweeps on
//! average. It is reset after an alarm; the finding stands until [`QUIET_SWEEPS`] have passed in which the detector did not
//! reach [`FOUND_AGAIN_AT`] once more.
//!
//! Cases that ask the same in every sweep are answered the same again and again: their number, not that of the attempts,
//! says how far luck with them reaches. A gap is therefore alarmed only where it is also larger than [`LUCK_Z`] standard
//! errors of the mean of so many fresh cases.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Value, json};

use crate::domain::{EndpointId, SuiteName};
use crate::stats::bets::{Bets, Logs, Side};
use crate::stats::detector::{FRESH, close_batch};
use crate::stats::num::{ln, log_mean_exp};

use super::decision::{AlarmKind, AlarmNote};
use super::explain::{e_number, percent, trimmed};
use super::prints::Prints;
use super::samples::SampleTest;
use super::state::ModelState;

/// A gap between fresh and repeated cases up to this is of no interest.
pub const GAP_MARGIN: f64 = 0.05;

/// More missing answers on hard cases than on easy ones, up to this, are of no interest.
pub const LINK_MARGIN: f64 = 0.01;

/// Detector score from which a finding is alarmed: five years of sweeps at four a day.
pub const ALARM_AT: f64 = 7300.0;

/// Detector score at which a finding that stands is found again.
pub const FOUND_AGAIN_AT: f64 = 100.0;

/// Sweeps with a comparison after which a finding that was not found again ends: fifteen days at four a day.
pub const QUIET_SWEEPS: u32 = 60;

/// Standard errors of luck with the repeated cases that a gap must exceed: one in a thousand exceeds them by chance.
pub const LUCK_Z: f64 = 3.09;

/// Decay of the shown rates per sweep: they tell of about the last fifty.
pub const SHOWN_DECAY: f64 = 0.98;

/// Sums over the outcomes of one kind of case.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Sums {
    /// Outcomes.
    pub count: f64,
    /// Sum of what was compared: scores, or 1 for a missing answer.
    pub own: f64,
    /// The same of the anchors on the same cases.
    pub anchors: f64,
    /// Sum of the squares of what is contrasted.
    pub squares: f64,
}

/// What one sweep says about the difference of two kinds of cases.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Contrast {
    /// One difference of means per group, first kind minus second.
    pub differences: Vec<f64>,
    /// Fresh or hard cases.
    pub first: Sums,
    /// Repeated or easy cases.
    pub second: Sums,
}

/// One planned outcome of a contrast: which kind of case, and what came of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Dealt {
    pub(super) is_first: bool,
    pub(super) seen: Option<Seen>,
}

/// What came of a planned outcome.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Seen {
    /// What is contrasted.
    pub(super) value: f64,
    pub(super) own: f64,
    pub(super) anchors: f64,
}

impl Sums {
    fn add(&mut self, seen: Seen) {
        self.count += 1.0;
        self.own += seen.own;
        self.anchors += seen.anchors;
        self.squares += seen.value * seen.value;
    }

    fn take(&mut self, new: &Sums) {
        let Sums { count, own, anchors, squares } = new;
        // Kept in single precision: they are stored for every endpoint and suite, and seven digits do.
        let add = |old: f64, new: &f64| f64::from((SHOWN_DECAY * old + new) as f32);
        self.count = add(self.count, count);
        self.own = add(self.own, own);
        self.anchors = add(self.anchors, anchors);
        self.squares = add(self.squares, squares);
    }

    /// Rate of the endpoint; 0 without outcomes.
    #[must_use]
    pub fn rate(&self) -> f64 {
        if self.count > 0.0 { self.own / self.count } else { 0.0 }
    }

    /// Rate of the anchors; 0 without outcomes.
    #[must_use]
    pub fn anchors_rate(&self) -> f64 {
        if self.count > 0.0 { self.anchors / self.count } else { 0.0 }
    }
}

impl Contrast {
    /// Deals the outcomes, in the plan's order, into as many groups as the smaller kind was planned for. What was planned
    /// and did not come leaves its place empty, so that nothing that was answered decides what it is compared with.
    pub(super) fn of(dealt: &[Dealt]) -> Contrast {
        let firsts = dealt.iter().filter(|d| d.is_first).count();
        let groups = firsts.min(dealt.len() - firsts);
        let mut out = Contrast::default();
        if groups == 0 {
            return out;
        }
        let mut means = vec![[(0.0, 0u32); 2]; groups];
        let mut places = [0usize; 2];
        for Dealt { is_first, seen } in dealt {
            let kind = usize::from(!is_first);
            let group = places[kind] % groups;
            places[kind] += 1;
            let Some(seen) = seen else { continue };
            means[group][kind].0 += seen.value;
            means[group][kind].1 += 1;
            if *is_first { &mut out.first } else { &mut out.second }.add(*seen);
        }
        let whole = means.iter().filter(|[first, second]| first.1 > 0 && second.1 > 0);
        let mean = |(sum, count): (f64, u32)| sum / f64::from(count);
        out.differences = whole.map(|[first, second]| mean(*first) - mean(*second)).collect();
        out
    }

    /// Takes what another suite of the same sweep says.
    fn join(&mut self, other: &Contrast) {
        self.differences.extend(&other.differences);
        for (into, from) in [(&mut self.first, &other.first), (&mut self.second, &other.second)] {
            into.count += from.count;
            into.own += from.own;
            into.anchors += from.anchors;
            into.squares += from.squares;
        }
    }
}

/// The sequential test of one contrast.
#[derive(Debug, Clone, PartialEq)]
pub struct ContrastEvidence {
    /// e-SR detector.
    pub r: Logs,
    /// The finding that stands.
    pub found: Option<Found>,
    /// Repeated cases of the whole suite; 0 where luck with them is no matter.
    pub repeated: u32,
    /// Fresh or hard cases, decayed (display, and luck).
    pub first: Sums,
    /// Repeated or easy cases, decayed.
    pub second: Sums,
}

impl Default for ContrastEvidence {
    fn default() -> Self {
        ContrastEvidence { r: FRESH, found: None, repeated: 0, first: Sums::default(), second: Sums::default() }
    }
}

/// A finding that stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Found {
    /// Logarithm of the detector score that last told of it.
    pub log_r: f64,
    /// Sweeps since then.
    pub quiet: u32,
}

/// Change alarms of an endpoint: the evidence behind them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Watch {
    /// Fresh against repeated cases, by suite.
    pub hold_out: BTreeMap<SuiteName, ContrastEvidence>,
    /// Missing answers on hard against easy cases, over all suites.
    pub linked: ContrastEvidence,
    /// Fingerprints.
    pub prints: Prints,
}

/// What a contrast is tested for.
#[derive(Debug, Clone, Copy)]
struct Claim {
    margin: f64,
    /// Differences lie between minus this and this.
    range: f64,
}

const HOLD_OUT: Claim = Claim { margin: GAP_MARGIN, range: 2.0 };
const LINKED: Claim = Claim { margin: LINK_MARGIN, range: 1.0 };

impl ContrastEvidence {
    /// Logarithm of the detector score; -inf before the first sweep.
    #[must_use]
    pub fn log_r(&self) -> f64 {
        log_mean_exp(&self.r)
    }

    /// A sweep that could not compare was the one that a new finding asks for all the same.
    fn was_asked(&mut self) {
        if let Some(found) = &mut self.found {
            found.quiet = found.quiet.max(1);
        }
    }

    /// Takes a sweep with differences.
    fn take(&mut self, claim: Claim, batch: &Contrast) {
        let mut scaled: Vec<f64> = batch.differences.iter().map(|x| x / claim.range).collect();
        let bets = Bets::new(Side::Exclude, claim.margin / claim.range);
        close_batch(&mut self.r, &bets.batch_increments(&mut scaled));
        self.first.take(&batch.first);
        self.second.take(&batch.second);
        let log_r = self.log_r();
        let enough = if self.found.is_some() { FOUND_AGAIN_AT } else { ALARM_AT };
        if log_r >= ln(enough) && !self.may_be_luck() {
            self.found = Some(Found { log_r, quiet: 0 });
            self.r = FRESH;
        } else {
            let one_more = |f: Found| Found { quiet: f.quiet + 1, ..f };
            self.found = self.found.map(one_more).filter(|f| f.quiet < QUIET_SWEEPS);
        }
    }

    /// The gap: how much better it does on repeated cases than on fresh ones, beyond what the anchors do.
    #[must_use]
    pub fn gap(&self) -> f64 {
        let lag = |sums: &Sums| sums.anchors_rate() - sums.rate();
        lag(&self.first) - lag(&self.second)
    }

    /// Luck with as many cases as are repeated could explain the gap.
    fn may_be_luck(&self) -> bool {
        if self.repeated == 0 {
            return false;
        }
        let mean = self.first.anchors_rate() - self.first.rate();
        let variance = (self.first.squares / self.first.count.max(1.0) - mean * mean).max(0.0);
        let cases = f64::from(self.repeated).min(self.second.count).max(1.0);
        self.gap() < LUCK_Z * (variance / cases).sqrt()
    }
}

impl Watch {
    /// Takes the contrasts of one sweep, by suite: fresh against repeated with the number of repeated cases, and hard
    /// against easy.
    pub(super) fn take<'a>(&mut self, suites: impl Iterator<Item = (&'a SuiteName, &'a Contrast, u32, &'a Contrast)>) {
        let mut linked = Contrast::default();
        let mut untouched: BTreeSet<SuiteName> = self.hold_out.keys().cloned().collect();
        for (name, hold_out, repeated, by_difficulty) in suites {
            if !hold_out.differences.is_empty() {
                let evidence = self.hold_out.entry(name.clone()).or_default();
                evidence.repeated = repeated;
                evidence.take(HOLD_OUT, hold_out);
                untouched.remove(name);
            }
            linked.join(by_difficulty);
        }
        let of_others = self.hold_out.iter_mut().filter(|(name, _)| untouched.contains(*name));
        of_others.for_each(|(_, evidence)| evidence.was_asked());
        match linked.differences.is_empty() {
            true => self.linked.was_asked(),
            false => self.linked.take(LINKED, &linked),
        }
    }

    /// As if nothing had been found: what is expected in the long run.
    pub(super) fn settle(&mut self) {
        self.hold_out.values_mut().chain([&mut self.linked]).for_each(|evidence| evidence.found = None);
        self.prints.cases_left = 0;
    }

    /// The detectors.
    pub(super) fn logs(&mut self) -> impl Iterator<Item = &mut Logs> {
        let hold_out = self.hold_out.values_mut().map(|evidence| &mut evidence.r);
        hold_out.chain([&mut self.linked.r, &mut self.prints.greedy])
    }

    /// Whether more cases are wanted: after a changed fingerprint for as many cases as that lasts, after another finding in the
    /// next sweep, and again each time that it is found again.
    #[must_use]
    pub fn asks_for_more(&self) -> bool {
        let is_new = |evidence: &ContrastEvidence| evidence.found.is_some_and(|found| found.quiet == 0);
        self.prints.cases_left > 0 || self.hold_out.values().any(is_new) || is_new(&self.linked)
    }

    /// What stands, in words.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        let mut out = Vec::new();
        for (name, evidence) in &self.hold_out {
            let Some(found) = evidence.found else { continue };
            let (fresh, repeated) = (&evidence.first, &evidence.second);
            let mut text = format!("does better on {name} cases that it may have seen: success ");
            let _ = write!(
                text,
                "{}% on repeated cases (anchors {}%), {}% on fresh ones (anchors {}%), gap {} pts, {}",
                percent(repeated.rate()),
                percent(repeated.anchors_rate()),
                percent(fresh.rate()),
                percent(fresh.anchors_rate()),
                trimmed((evidence.gap() * 1000.0).round() / 10.0),
                score(found),
            );
            out.push(Finding { kind: AlarmKind::HoldOutGap.name(), suite: Some(name.clone()), text });
        }
        if let Some(found) = self.linked.found {
            let (hard, easy) = (&self.linked.first, &self.linked.second);
            let text = format!(
                "content-linked errors: {}% of the answers to hard cases are missing (anchors {}%), {}% of those to easy \
                 ones (anchors {}%), {}",
                percent(hard.rate()),
                percent(hard.anchors_rate()),
                percent(easy.rate()),
                percent(easy.anchors_rate()),
                score(found),
            );
            out.push(Finding { kind: AlarmKind::ContentLinkedErrors.name(), suite: None, text });
        }
        if let Some(text) = self.prints.text() {
            out.push(Finding { kind: AlarmKind::FingerprintChanged.name(), suite: None, text });
        }
        out
    }

    /// The numbers behind it; `null` before there are any.
    pub(super) fn numbers(&self) -> Option<Value> {
        if *self == Watch::default() {
            return None;
        }
        let sums = |s: &Sums| json!({"count": s.count, "rate": s.rate(), "anchors_rate": s.anchors_rate()});
        let found = |e: &ContrastEvidence| e.found.map(|f| json!({"log_r": f.log_r, "sweeps_since": f.quiet}));
        let hold_out = |e: &ContrastEvidence| {
            json!({
                "found": found(e), "log_r": e.log_r(), "gap": e.gap(), "repeated_cases": e.repeated,
                "fresh": sums(&e.first), "repeated": sums(&e.second),
            })
        };
        let by_suite: serde_json::Map<String, Value> =
            self.hold_out.iter().map(|(name, e)| (name.to_string(), hold_out(e))).collect();
        let linked = &self.linked;
        let mut told = json!({
            "hold_out": by_suite,
            "content_linked": {
                "found": found(linked), "log_r": linked.log_r(),
                "hard": sums(&linked.first), "easy": sums(&linked.second),
            },
            "fingerprint": {
                "tokens_p": self.prints.tokens_p, "tokens_differ": self.prints.tokens_differ,
                "greedy_log_r": log_mean_exp(&self.prints.greedy), "greedy_found": self.prints.greedy_found.is_some(),
                "cases_left": self.prints.cases_left,
            },
            "alarm_at": ALARM_AT,
        });
        // Only where there is one: what was told before there were sampled answers is told again to the last byte.
        if let Some(SampleTest { mmd2, p, answers, differs }) = self.prints.samples {
            told["fingerprint"]["samples"] = json!({"mmd2": mmd2, "p": p, "answers": answers, "differ": differs});
        }
        Some(told)
    }
}

fn score(found: Found) -> String {
    format!("detector score R={} (alarm at {})", e_number(found.log_r), trimmed(ALARM_AT))
}

/// A finding that stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The alarm's kind.
    pub kind: &'static str,
    /// The suite, where it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suite: Option<SuiteName>,
    /// In words.
    pub text: String,
}

/// The alarms of the findings that stand: one per endpoint and kind.
pub(super) fn alarms(state: &ModelState) -> Vec<AlarmNote> {
    let mut out = Vec::new();
    for (id, endpoint) in state.endpoints.iter().filter(|(_, e)| e.is_in_service()) {
        let findings = endpoint.watch.findings();
        for (kind, what_to_do) in ADVICE {
            let texts: Vec<&str> = findings.iter().filter(|f| f.kind == kind.name()).map(|f| f.text.as_str()).collect();
            if !texts.is_empty() {
                out.push(note(*kind, id, &texts.join("; "), what_to_do));
            }
        }
    }
    out
}

const ADVICE: &[(AlarmKind, &str)] = &[
    (
        AlarmKind::HoldOutGap,
        "no verdict: compare its answers to cases of both kinds, and rely on fresh ones (fixed_share in suite.toml)",
    ),
    (
        AlarmKind::ContentLinkedErrors,
        "no verdict: look at its failed attempts; errors that follow the content may hide wrong answers or a length limit",
    ),
    (
        AlarmKind::FingerprintChanged,
        "no verdict: it is asked more, and its quality decides; ask its provider what changed",
    ),
];

fn note(kind: AlarmKind, id: &EndpointId, text: &str, what_to_do: &str) -> AlarmNote {
    AlarmNote { kind, endpoint: Some(id.clone()), message: format!("{id}: {text}; {what_to_do}") }
}
