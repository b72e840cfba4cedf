//! Fingerprints: is an endpoint still the same thing (statistics, 9)? A change makes it Suspect for a while and asks it
//! more (T11); whether it is worse only its quality says.
//!
//! Two tests on prompts of our own ([`super::samples`] is the third), each against at most [`ANCHORS_MAX`] anchors:
//!
//! * *First token*: the log-probability of the first token, five times per prompt. By prompt the squared difference of
//!   means is divided by its variance; the sum is compared with those after shuffling who said what within a prompt. An
//!   endpoint differs when it differs from **every** anchor, and two of these agree with one another where there are two:
//!   anchors on other hardware than each other say nothing about anybody else.
//! * *Greedy start*: how often the first thirty tokens at temperature 0 are the anchors' own. The difference between the
//!   anchors' agreement with each other and the endpoint's with them goes into a detector with a margin of
//!   [`GREEDY_MARGIN`]; the anchors' agreement is the measure, for it holds what hardware and batching change anyway.
//!
//! Both count only from when the difference begins: while it stands nothing new is said, and the suspicion is not renewed.

use std::collections::BTreeMap;

use crate::domain::canonical::sha256_parts;
use crate::domain::probes::{GREEDY, SAMPLES, TOKENS};
use crate::domain::{CaseId, EndpointId, Micros, Outcome, OutcomeRow, Policy, SuiteName, SweepPlan};
use crate::stats::bets::{Bets, Logs, Side};
use crate::stats::detector::{FRESH, close_batch};
use crate::stats::num::{ln, log_mean_exp};
use crate::stats::permutation::{Pair, permutation_p};

use super::samples::{self, SampleTest};
use super::state::ModelState;
use super::watch::Found;

/// Anchors that an endpoint's fingerprint is compared with, at most: the best first.
pub const ANCHORS_MAX: usize = 3;

/// Level of the test on first tokens.
pub const TOKENS_LEVEL: f64 = 0.001;

/// Shufflings of the test on first tokens: enough for its level.
pub const SHUFFLES: u32 = 1999;

/// Less agreement with the anchors than they have among themselves, up to this, is no change.
pub const GREEDY_MARGIN: f64 = 0.10;

/// Detector score at which the greedy starts have changed.
pub const GREEDY_AT: f64 = 100.0;

/// Runs without finding it again after which a difference of greedy starts has ended.
pub const QUIET_RUNS: u32 = 10;

/// Cases, over all suites, after a change during which an endpoint stays Suspect and is asked more (T11).
pub const CASES_AFTER_CHANGE: u64 = 2000;

/// What is remembered of an endpoint's fingerprint.
#[derive(Debug, Clone, PartialEq)]
pub struct Prints {
    /// When it was last asked for; 0: never.
    pub asked_at_us: Micros,
    /// It gave no log-probabilities when it was asked: it is not asked for them again.
    pub no_tokens: bool,
    /// p-value of the last test on first tokens, the largest over the anchors; `None` without a test.
    pub tokens_p: Option<f64>,
    /// The first tokens differ.
    pub tokens_differ: bool,
    /// Detector of the greedy starts.
    pub greedy: Logs,
    /// Prompts compared, agreements with the anchors and of the anchors among themselves in the last run.
    pub agreed: [f64; 3],
    /// The greedy starts differ.
    pub greedy_found: Option<Found>,
    /// Cases for which a change still keeps it Suspect.
    pub cases_left: u64,
    /// What its sampled answers said last.
    pub samples: Option<SampleTest>,
}

impl Default for Prints {
    fn default() -> Self {
        Prints {
            asked_at_us: 0,
            no_tokens: false,
            tokens_p: None,
            tokens_differ: false,
            greedy: FRESH,
            agreed: [0.0; 3],
            greedy_found: None,
            cases_left: 0,
            samples: None,
        }
    }
}

impl Prints {
    /// What differs, in words; `None` while nothing does.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        let tokens = self.tokens_differ.then(|| {
            format!(
                "the log-probabilities of its first tokens differ from those of every anchor (p = {})",
                self.tokens_p.map_or_else(|| "?".to_owned(), |p| format!("{p:.4}"))
            )
        });
        let greedy = self.greedy_found.map(|found| {
            let [prompts, with, among] = self.agreed;
            format!(
                "its answers at temperature 0 begin as the anchors' do for {:.0} % of {prompts:.0} prompts, theirs \
                 agree for {:.0} %, detector score R={} (alarm at {GREEDY_AT})",
                100.0 * with / prompts.max(1.0),
                100.0 * among / prompts.max(1.0),
                super::explain::e_number(found.log_r),
            )
        });
        let texts: Vec<String> =
            tokens.into_iter().chain(greedy).chain(self.samples.and_then(|test| test.text())).collect();
        (!texts.is_empty()).then(|| texts.join("; "))
    }

    fn take_tokens(&mut self, p: Option<f64>) -> bool {
        let Some(p) = p else { return false };
        let was = std::mem::replace(&mut self.tokens_differ, p <= TOKENS_LEVEL);
        self.tokens_p = Some(p);
        self.tokens_differ && !was
    }

    fn take_greedy(&mut self, starts: Starts) -> bool {
        let Starts { mut differences, agreed } = starts;
        if differences.is_empty() {
            return false;
        }
        close_batch(&mut self.greedy, &Bets::new(Side::Exclude, GREEDY_MARGIN).batch_increments(&mut differences));
        self.agreed = agreed;
        let log_r = log_mean_exp(&self.greedy);
        let was = self.greedy_found.is_some();
        if log_r >= ln(GREEDY_AT) {
            self.greedy_found = Some(Found { log_r, quiet: 0 });
            self.greedy = FRESH;
            return !was;
        }
        let one_more = |f: Found| Found { quiet: f.quiet + 1, ..f };
        self.greedy_found = self.greedy_found.map(one_more).filter(|f| f.quiet < QUIET_RUNS);
        false
    }
}

/// Whether the endpoints are due to be asked, some endpoint not having been for `every_us`.
#[must_use]
pub fn are_due(state: &ModelState, asked: &[EndpointId], every_us: Micros, now_us: Micros) -> bool {
    let last = asked.iter().filter_map(|id| state.endpoints.get(id)).map(|e| e.watch.prints.asked_at_us).min();
    last.is_some_and(|last| last == 0 || now_us >= last.saturating_add(every_us))
}

/// What was observed of one suite of prompts: by endpoint and prompt, in ascending order.
type Observed<'a> = BTreeMap<&'a EndpointId, BTreeMap<&'a CaseId, Vec<f64>>>;

/// Takes the fingerprints of a sweep. Gives the endpoints that have changed with it.
pub(super) fn take(state: &mut ModelState, plan: &SweepPlan, rows: &[OutcomeRow], now_us: Micros) -> Vec<EndpointId> {
    let tokens = observed(plan, rows, TOKENS);
    let greedy = observed(plan, rows, GREEDY);
    let mut changed = Vec::new();
    for part in plan.probes.iter().filter(|part| part.suite.as_str() != SAMPLES) {
        for share in &part.endpoints {
            let Some(endpoint) = state.endpoints.get_mut(&share.id) else { continue };
            let prints = &mut endpoint.watch.prints;
            prints.asked_at_us = now_us;
            let has_changed = if part.suite.as_str() == TOKENS {
                if tokens.contains_key(&share.id) {
                    prints.no_tokens = false;
                } else {
                    // It answers, and shows none: without an answer at all, or with somebody else's, it may show them
                    // another time.
                    let own = |row: &&OutcomeRow| row.endpoint == share.id && row.suite == part.suite;
                    let skipped = |for_provenance: bool| {
                        let wanted = Outcome::Skipped { provenance: for_provenance };
                        rows.iter().filter(own).any(|row| row.outcome == wanted)
                    };
                    prints.no_tokens |= !skipped(true) && (greedy.contains_key(&share.id) || skipped(false));
                }
                prints.take_tokens(first_tokens(plan, &tokens, &share.id))
            } else {
                prints.take_greedy(greedy_starts(plan, &greedy, &share.id))
            };
            if has_changed && !changed.contains(&share.id) {
                changed.push(share.id.clone());
                endpoint.watch.prints.cases_left = CASES_AFTER_CHANGE;
            }
        }
    }
    for id in samples::take(state, plan, rows) {
        if let Some(endpoint) = state.endpoints.get_mut(&id)
            && !changed.contains(&id)
        {
            endpoint.watch.prints.cases_left = CASES_AFTER_CHANGE;
            changed.push(id);
        }
    }
    changed
}

/// Forgets what differed of prompts that the policy does not ask any more: nothing could ever end it.
pub(super) fn forget_unasked(state: &mut ModelState, policy: &Policy) {
    for endpoint in state.endpoints.values_mut() {
        let prints = &mut endpoint.watch.prints;
        if policy.fingerprint_us.is_none() {
            *prints = Prints { cases_left: prints.cases_left, samples: prints.samples, ..Prints::default() };
        }
        if policy.fingerprint_samples_us.is_none() {
            prints.samples = None;
        }
    }
}

fn observed<'a>(plan: &SweepPlan, rows: &'a [OutcomeRow], suite: &str) -> Observed<'a> {
    let mut out = Observed::new();
    let planned: Option<&SuiteName> = plan.probes.iter().map(|part| &part.suite).find(|name| name.as_str() == suite);
    let of_suite = rows.iter().filter(|row| Some(&row.suite) == planned);
    for row in of_suite {
        if let Outcome::Observed(value) = row.outcome
            && value.is_finite()
        {
            out.entry(&row.endpoint).or_default().entry(&row.case).or_default().push(value);
        }
    }
    out.values_mut().flat_map(BTreeMap::values_mut).for_each(|values| values.sort_unstable_by(f64::total_cmp));
    out
}

/// The anchors of an endpoint that were observed, the best first.
fn anchors<'a>(plan: &'a SweepPlan, observed: &Observed<'_>, id: &EndpointId) -> Vec<&'a EndpointId> {
    plan.anchors.iter().filter(|a| *a != id && observed.contains_key(a)).take(ANCHORS_MAX).collect()
}

/// The largest p-value against an anchor; `None` where there is nothing to compare with.
fn first_tokens(plan: &SweepPlan, observed: &Observed<'_>, id: &EndpointId) -> Option<f64> {
    let own = observed.get(id)?;
    let anchors = anchors(plan, observed, id);
    let p = |a: &EndpointId, b: &EndpointId| {
        let (x, y) = (observed.get(a)?, observed.get(b)?);
        let pairs: Vec<Pair<'_>> = x.iter().filter_map(|(case, x)| Some(Pair { x, y: y.get(case)? })).collect();
        let seed = sha256_parts(&[
            b"exactod-fingerprint-v1",
            plan.seed.as_bytes(),
            a.as_str().as_bytes(),
            b.as_str().as_bytes(),
        ]);
        permutation_p(&pairs, SHUFFLES, u64::from_le_bytes(*seed.first_chunk::<8>()?))
    };
    debug_assert!(!own.is_empty(), "an observed endpoint has observations");
    let largest = anchors.iter().filter_map(|anchor| p(id, anchor)).max_by(f64::total_cmp)?;
    if largest > TOKENS_LEVEL || anchors.len() < 2 {
        return Some(largest);
    }
    let agree = anchors.iter().enumerate().flat_map(|(i, a)| anchors[..i].iter().map(move |b| (a, b)));
    agree.filter_map(|(a, b)| p(a, b)).any(|p| p > TOKENS_LEVEL).then_some(largest)
}

/// What a run says about an endpoint's greedy starts.
#[derive(Default)]
struct Starts {
    differences: Vec<f64>,
    /// Prompts, agreement with the anchors, agreement among them.
    agreed: [f64; 3],
}

fn greedy_starts(plan: &SweepPlan, observed: &Observed<'_>, id: &EndpointId) -> Starts {
    let mut out = Starts::default();
    let Some(own) = observed.get(id) else { return out };
    let anchors = anchors(plan, observed, id);
    for (case, values) in own {
        let Some(mine) = values.first() else { continue };
        let theirs: Vec<f64> = anchors.iter().filter_map(|a| observed.get(a)?.get(case)?.first()).copied().collect();
        // One anchor alone agrees with nobody: there is no measure then.
        if theirs.len() < 2 {
            continue;
        }
        let with = theirs.iter().filter(|t| t.to_bits() == mine.to_bits()).count() as f64 / theirs.len() as f64;
        let pairs =
            theirs.iter().enumerate().flat_map(|(i, a)| theirs[..i].iter().map(move |b| a.to_bits() == b.to_bits()));
        let (mut equal, mut all) = (0.0, 0.0);
        for is_equal in pairs {
            equal += f64::from(u8::from(is_equal));
            all += 1.0;
        }
        let among = equal / all;
        out.differences.push(among - with);
        let [prompts, sum_with, sum_among] = &mut out.agreed;
        *prompts += 1.0;
        *sum_with += with;
        *sum_among += among;
    }
    out
}
