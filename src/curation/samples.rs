//! Sampled answers: the third fingerprint (statistics, 9), for what shows at a temperature above 0 alone.
//!
//! A round asks [`SAMPLE_PROMPTS`] prompts, [`SAMPLE_REPEATS`](crate::domain::probes::SAMPLE_REPEATS) times each, a few prompts in each of several sweeps, of the
//! endpoints that are Admitted or Suspect. At its end the answers of an endpoint are compared with those of each of at most
//! [`ANCHORS_MAX`] anchors: the squared maximum mean discrepancy by prompt, averaged over the prompts, with the share of
//! equal positions in the first [`SAMPLE_LENGTH`] characters as kernel, against what shuffling the answers to each prompt
//! gives. All answers to a prompt are from one sweep: what changes with the hour changes both sides alike.
//!
//! An endpoint differs when it differs from **every** anchor, and two of these agree where there are two: legitimate
//! hardware differs as well, and anchors that do not agree say nothing about anybody else. It is not compared with its own
//! past: a model that its lab renews would differ at every endpoint on one day, and nobody would have done wrong.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::domain::canonical::sha256_parts;
use crate::domain::probes::{ROUND_MAX_US, SAMPLE_LENGTH, SAMPLE_PROMPTS, SAMPLE_PROMPTS_PER_SWEEP, SAMPLES};
use crate::domain::{CaseId, EndpointId, Micros, OutcomeRow, SampleShare, Standing, SweepPlan};
use crate::stats::mmd::{Discrepancy, Sides, permuted_mmd2};

use super::prints::ANCHORS_MAX;
use super::state::ModelState;

/// Level of the test.
pub const SAMPLES_LEVEL: f64 = 0.001;

/// Shufflings of the test: enough for its level, and no more.
pub const SAMPLES_SHUFFLES: u32 = 1000;

/// Fewest answers on each side: with fewer there is no test.
pub const ANSWERS_MIN: u64 = 500;

/// A model's rounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sampling {
    /// When the first sweep of the last round was planned; 0: there was none.
    pub began_at_us: Micros,
    /// That sweep's place among the model's.
    pub from: u64,
    /// Prompts of the round that were asked; all of them once it has ended.
    pub asked: u32,
}

/// What the last round said of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SampleTest {
    /// Squared discrepancy from the anchor that is nearest.
    pub mmd2: f64,
    /// Largest p-value over the anchors.
    pub p: f64,
    /// Answers on the side that had fewer.
    pub answers: u64,
    /// It differs from every anchor, and the anchors do not all differ from each other.
    pub differs: bool,
}

impl SampleTest {
    /// What differs, in words; `None` while nothing does.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        self.differs.then(|| {
            format!(
                "its sampled answers differ from those of every anchor (MMD^2 = {:.4} over {} answers, p = {:.4})",
                self.mmd2, self.answers, self.p
            )
        })
    }
}

/// The prompts that the next sweep asks, and what its plan says of them; `None`: no round is due, or there are not two
/// endpoints to compare. `ordinal`: the sweep's place among the model's.
#[must_use]
pub fn share(
    state: &ModelState,
    every_us: Micros,
    (ordinal, now_us): (u64, Micros),
) -> Option<(Range<u32>, SampleShare)> {
    let Sampling { began_at_us, from, asked } = state.sampling;
    let (prompts, step) = (SAMPLE_PROMPTS as u32, SAMPLE_PROMPTS_PER_SWEEP as u32);
    let is_open = began_at_us > 0 && asked < prompts && now_us < began_at_us.saturating_add(ROUND_MAX_US);
    let (first, from) = if is_open {
        (asked, from)
    } else if began_at_us == 0 || now_us >= began_at_us.saturating_add(every_us) {
        (0, ordinal)
    } else {
        return None;
    };
    let end = prompts.min(first + step);
    Some((first..end, SampleShare { from, closes: end == prompts }))
}

/// Whether an endpoint is asked for samples: only what is listed and decided can be made Suspect by them.
#[must_use]
pub fn is_asked(state: &ModelState, id: &EndpointId) -> bool {
    state.endpoints.get(id).is_some_and(|e| matches!(e.standing, Standing::Admitted | Standing::Suspect))
}

/// The answers of the endpoints, by prompt.
type Answers<'a> = BTreeMap<&'a EndpointId, BTreeMap<&'a CaseId, Vec<Vec<char>>>>;

/// Takes a sweep's share; at the end of a round, gives the endpoints that have begun to differ. `rows`: those of the
/// round's earlier sweeps as well.
pub(super) fn take(state: &mut ModelState, plan: &SweepPlan, rows: &[OutcomeRow]) -> Vec<EndpointId> {
    let part = plan.probes.iter().find(|part| part.suite.as_str() == SAMPLES);
    let (Some(part), Some(share)) = (part, plan.samples) else { return Vec::new() };
    let asked = u32::try_from(part.cases.len()).unwrap_or(u32::MAX);
    let round = &mut state.sampling;
    if share.from == plan.ordinal {
        *round = Sampling { began_at_us: plan.planned_at_us, from: share.from, asked };
    } else if share.from == round.from {
        round.asked = round.asked.saturating_add(asked);
    }
    if !share.closes {
        return Vec::new();
    }
    let answers = answers(rows);
    let mut compared = Compared { plan, answers: &answers, known: BTreeMap::new() };
    let mut changed = Vec::new();
    for id in part.endpoints.iter().map(|e| &e.id) {
        let (Some(test), Some(endpoint)) = (compared.test(id), state.endpoints.get_mut(id)) else { continue };
        let before = endpoint.watch.prints.samples.replace(test);
        if test.differs && !before.is_some_and(|before| before.differs) {
            changed.push(id.clone());
        }
    }
    changed
}

fn answers(rows: &[OutcomeRow]) -> Answers<'_> {
    let mut out = Answers::new();
    for row in rows.iter().filter(|row| row.suite.as_str() == SAMPLES) {
        if let Some(text) = &row.sampled {
            out.entry(&row.endpoint).or_default().entry(&row.case).or_default().push(text.chars().collect());
        }
    }
    // Rows come in any order, and the shuffles begin from this one.
    out.values_mut().flat_map(BTreeMap::values_mut).for_each(|texts| texts.sort_unstable());
    out
}

/// The comparisons of a round, each pair made once.
struct Compared<'a> {
    plan: &'a SweepPlan,
    answers: &'a Answers<'a>,
    known: BTreeMap<(&'a EndpointId, &'a EndpointId), Option<Discrepancy>>,
}

impl<'a> Compared<'a> {
    fn of(&mut self, a: &'a EndpointId, b: &'a EndpointId) -> Option<Discrepancy> {
        let pair = if a <= b { (a, b) } else { (b, a) };
        if let Some(known) = self.known.get(&pair) {
            return *known;
        }
        let made = self.make(pair);
        self.known.insert(pair, made);
        made
    }

    fn make(&self, (a, b): (&EndpointId, &EndpointId)) -> Option<Discrepancy> {
        let (x, y) = (self.answers.get(a)?, self.answers.get(b)?);
        let sides: Vec<Sides<'_, char>> = x.iter().filter_map(|(case, x)| Some(Sides { x, y: y.get(case)? })).collect();
        let enough: u64 = sides.iter().map(|s| s.x.len().min(s.y.len()) as u64).sum();
        if enough < ANSWERS_MIN {
            return None;
        }
        let texts = [self.plan.seed.as_str(), a.as_str(), b.as_str()].map(str::as_bytes);
        let seed = sha256_parts(&[&[b"exactod-samples-v1".as_slice()], texts.as_slice()].concat());
        permuted_mmd2(&sides, SAMPLE_LENGTH, SAMPLES_SHUFFLES, u64::from_le_bytes(*seed.first_chunk::<8>()?))
    }

    fn test(&mut self, id: &'a EndpointId) -> Option<SampleTest> {
        let answers = self.answers;
        let others = self.plan.anchors.iter().filter(|a| *a != id && answers.contains_key(a));
        let anchors: Vec<&'a EndpointId> = others.take(ANCHORS_MAX).collect();
        let each: Vec<Discrepancy> = anchors.iter().filter_map(|anchor| self.of(id, anchor)).collect();
        let nearest = each.into_iter().max_by(|a, b| a.p.total_cmp(&b.p).then(b.mmd2.total_cmp(&a.mmd2)))?;
        let mut differs = nearest.p <= SAMPLES_LEVEL;
        if differs && anchors.len() > 1 {
            let pairs = anchors.iter().enumerate().flat_map(|(i, a)| anchors[..i].iter().map(move |b| (*a, *b)));
            let pairs: Vec<_> = pairs.collect();
            differs = pairs.into_iter().any(|(a, b)| self.of(a, b).is_some_and(|between| between.p > SAMPLES_LEVEL));
        }
        Some(SampleTest { mmd2: nearest.mmd2, p: nearest.p, answers: nearest.count, differs })
    }
}
