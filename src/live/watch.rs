//! The test on live traffic: whether an endpoint fails more often than it used to and than its peers do.
//!
//! Per endpoint and kind of request (with or without tools). *Null hypothesis*: the endpoint fails at most at the rate
//! `q = max(own, peers) + MARGIN`, where `own` is its own rate of the past (half-life a day, up to the last full minute)
//! and `peers` that of the model's other endpoints on the same kind of request (half-life a quarter of an hour). Both are
//! known before the answer that is bet on.
//!
//! *Test*: bets of `f / q` on `failed - q` with the fractions of statistics, 3.1; a detector as in 5.2 that begins anew
//! with every minute that has answers. Within a minute it may be looked at any time: `R - (minutes begun)` is a
//! supermartingale answer by answer. So under the null at least `A` minutes with answers pass on average until `R >= A`,
//! whenever anybody looks. `A` is a year of minutes for a quarantine and a week for a burst, each times the three kinds
//! of requests.
//!
//! The length of the prompt is no part of the kind: failures seldom tell it, and a stratum that only failures fall into
//! has no peers.
//!
//! *Sources*: one source is believed as long as it is the only one. Where several report on the same endpoint and kind,
//! two of them must see it, each by a detector of its own ([`SOURCE_LEAST`]); and beyond [`WEIGHT_PER_MINUTE_MAX`] answers
//! a minute a source adds no weight.

use std::collections::BTreeMap;

use super::cell::Tools;
use super::directory::PlaceId;
use super::observation::Outcome;
use crate::domain::Micros;
use crate::domain::live::{LiveEvidence, SourceEvidence};
use crate::stats::bets::{FRACS, K};
use crate::stats::detector::FRESH;
use crate::stats::num::{exp, ln, ln_1p, log_add_exp, log_mean_exp};

/// How much more often than before and than its peers an endpoint may fail: 10 points.
pub const MARGIN: f64 = 0.10;
/// Answers of a source about one endpoint and kind that weigh in a minute.
pub const WEIGHT_PER_MINUTE_MAX: u32 = 600;
/// Answers that must have been seen since suspicion began.
pub const ANSWERS_MIN: u64 = 10;
/// Answers of peers that must have been seen lately.
pub const PEER_ANSWERS_MIN: f64 = 10.0;
/// What a detector of a source must have reached where several report: 100.
pub const SOURCE_LEAST: f64 = 100.0;
/// A source that was silent for so long reports no more, in microseconds: a quarter of an hour.
pub const SOURCE_SILENT_US: i64 = 15 * MINUTE_US;
/// Reports of answers older than this are counted and not weighed, in microseconds: two minutes.
pub const EVIDENCE_AGE_MAX_US: i64 = 2 * MINUTE_US;
/// Minutes of a week and of a year.
const WEEK_MINUTES: f64 = 10_080.0;
const YEAR_MINUTES: f64 = 525_960.0;
const MINUTE_US: i64 = 60_000_000;
/// Half-lives of the rates, in minutes.
const OWN_HALF_LIFE: f64 = 1_440.0;
const PEER_HALF_LIFE: f64 = 15.0;
/// What a rate is taken to be before anything is known: 1 of 20.
const PRIOR: (f64, f64) = (1.0, 20.0);
/// Rates above this leave nothing to bet on.
const NULL_MAX: f64 = 0.95;

/// How sure the test is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Enough to evaluate at once: once a week by chance at most.
    Burst,
    /// Enough to take the endpoint off the list while that is done: once a year by chance at most.
    Quarantine,
}

impl Level {
    /// Logarithm of the detector's threshold.
    #[must_use]
    pub fn log_threshold(self) -> f64 {
        let minutes = match self {
            Level::Burst => WEEK_MINUTES,
            Level::Quarantine => YEAR_MINUTES,
        };
        ln(minutes * Tools::ALL.len() as f64)
    }
}

/// An endpoint that fails more often than it may.
#[derive(Debug, Clone, PartialEq)]
pub struct Alarm {
    /// The endpoint.
    pub place: PlaceId,
    /// How sure that is.
    pub level: Level,
    /// Why.
    pub evidence: LiveEvidence,
}

/// Failures and answers, the older the lighter.
#[derive(Debug, Clone, Copy, Default)]
struct Rate {
    bad: f64,
    all: f64,
}

impl Rate {
    fn add(&mut self, bad: bool) {
        self.bad += f64::from(u8::from(bad));
        self.all += 1.0;
    }

    fn age(&mut self, minutes: i64, half_life: f64) {
        if minutes <= 0 {
            return;
        }
        let factor = exp(-std::f64::consts::LN_2 * minutes as f64 / half_life);
        self.bad *= factor;
        self.all *= factor;
    }

    fn value(self) -> f64 {
        (self.bad + PRIOR.0) / (self.all + PRIOR.1)
    }
}

/// A detector, and what it has seen since it last saw nothing wrong.
#[derive(Debug, Clone)]
struct Lane {
    r: [f64; K],
    minute: i64,
    weighed: u32,
    bad: u64,
    answers: u64,
    since_us: Micros,
    last_us: Micros,
}

impl Lane {
    fn new(now_us: Micros) -> Lane {
        Lane { r: FRESH, minute: i64::MIN, weighed: 0, bad: 0, answers: 0, since_us: now_us, last_us: now_us }
    }

    fn bet(&mut self, bad: bool, increments: &[f64; K], now_us: Micros) {
        let minute = now_us.div_euclid(MINUTE_US);
        if minute != self.minute {
            (self.minute, self.weighed) = (minute, 0);
            self.r.iter_mut().for_each(|r| *r = log_add_exp(*r, 0.0));
        }
        if self.log_r() < 0.0 {
            (self.bad, self.answers, self.since_us) = (0, 0, now_us);
        }
        self.weighed += 1;
        self.answers += 1;
        self.bad += u64::from(bad);
        self.last_us = now_us;
        self.r.iter_mut().zip(increments).for_each(|(r, inc)| *r += inc);
    }

    fn log_r(&self) -> f64 {
        log_mean_exp(&self.r)
    }

    fn evidence(&self) -> SourceEvidence {
        SourceEvidence { answers: self.answers, bad: self.bad, log_r: self.log_r() }
    }
}

/// One endpoint on one kind of request.
#[derive(Debug, Clone)]
struct Watch {
    /// Up to the last full minute, and in this one.
    own: Rate,
    this_minute: Rate,
    recent: Rate,
    minute: i64,
    all: Lane,
    by_source: BTreeMap<u32, Lane>,
    /// The null rate in force, and what a good and a bad answer add.
    null: f64,
    increments: [[f64; K]; 2],
}

impl Watch {
    fn new(now_us: Micros) -> Watch {
        let rates = Rate::default();
        Watch {
            own: rates,
            this_minute: rates,
            recent: rates,
            minute: now_us.div_euclid(MINUTE_US),
            all: Lane::new(now_us),
            by_source: BTreeMap::new(),
            null: 1.0,
            increments: [[0.0; K]; 2],
        }
    }

    fn age(&mut self, now_us: Micros) {
        let minute = now_us.div_euclid(MINUTE_US);
        let passed = minute - self.minute;
        if passed <= 0 {
            return;
        }
        let this = std::mem::take(&mut self.this_minute);
        self.own.bad += this.bad;
        self.own.all += this.all;
        self.own.age(passed, OWN_HALF_LIFE);
        self.recent.age(passed, PEER_HALF_LIFE);
        self.minute = minute;
        self.by_source.retain(|_, lane| now_us - lane.last_us < SOURCE_SILENT_US);
    }

    fn set_null(&mut self, peers: Rate) {
        let null = self.own.value().max(peers.value()) + MARGIN;
        if null.to_bits() == self.null.to_bits() {
            return;
        }
        self.null = null;
        self.increments = [0.0, 1.0].map(|failed| {
            let payoff = (failed - null) / null;
            FRACS.map(|f| if null < NULL_MAX { ln_1p(f * payoff) } else { 0.0 })
        });
    }

    /// Whether further answers of a source weigh no more in this minute.
    fn has_enough_of(&mut self, source: u32, now_us: Micros) -> bool {
        let Some(lane) = self.by_source.get_mut(&source) else { return false };
        let enough = lane.minute == now_us.div_euclid(MINUTE_US) && lane.weighed >= WEIGHT_PER_MINUTE_MAX;
        if enough {
            lane.last_us = now_us;
        }
        enough
    }

    fn observe(&mut self, source: u32, bad: bool, now_us: Micros) {
        let lane = self.by_source.entry(source).or_insert_with(|| Lane::new(now_us));
        let increments = &self.increments[usize::from(bad)];
        lane.bet(bad, increments, now_us);
        self.all.bet(bad, increments, now_us);
        self.this_minute.add(bad);
        self.recent.add(bad);
    }

    /// Two sources must see it, where two report.
    fn is_told_by_enough(&self, now_us: Micros) -> bool {
        let reporting = || self.by_source.values().filter(|lane| now_us - lane.last_us < SOURCE_SILENT_US);
        let seeing = reporting().filter(|lane| lane.log_r() >= ln(SOURCE_LEAST)).count();
        seeing >= reporting().count().min(2)
    }

    fn level(&self, peers: Rate, now_us: Micros) -> Option<Level> {
        let enough = self.all.answers >= ANSWERS_MIN && peers.all >= PEER_ANSWERS_MIN && self.is_told_by_enough(now_us);
        let log_r = self.all.log_r();
        [Level::Quarantine, Level::Burst].into_iter().find(|level| enough && log_r >= level.log_threshold())
    }
}

/// All endpoints of all models, by kind of request.
#[derive(Debug, Default)]
pub(super) struct Watches {
    /// Model (by the number of its unattributed place) and kind.
    groups: BTreeMap<(u32, Tools), BTreeMap<PlaceId, Watch>>,
}

impl Watches {
    /// Weighs one answer. `model` is any number that tells models apart.
    pub fn observe(&mut self, model: u32, (place, tools): (PlaceId, Tools), source: u32, outcome: Outcome, now_us: Micros) {
        let Some(bad) = outcome.is_bad() else { return };
        let group = self.groups.entry((model, tools)).or_default();
        if group.get_mut(&place).is_some_and(|watch| watch.has_enough_of(source, now_us)) {
            return;
        }
        let peers = peers_of(group, place, now_us);
        let watch = group.entry(place).or_insert_with(|| Watch::new(now_us));
        watch.age(now_us);
        watch.set_null(peers);
        watch.observe(source, bad, now_us);
    }

    /// Everybody who fails too often by now.
    pub fn alarms(&self, now_us: Micros, source_name: impl Fn(u32) -> String) -> Vec<Alarm> {
        let mut alarms = Vec::new();
        for ((_, tools), group) in &self.groups {
            for (&place, watch) in group {
                let peers = peers_of(group, place, now_us);
                let Some(level) = watch.level(peers, now_us) else { continue };
                let sources = watch.by_source.iter().map(|(id, lane)| (source_name(*id), lane.evidence())).collect();
                let evidence = LiveEvidence {
                    requests: tools.name().to_owned(),
                    answers: watch.all.answers,
                    bad: watch.all.bad,
                    since_us: watch.all.since_us,
                    own_rate: watch.own.value(),
                    peer_rate: peers.value(),
                    margin: MARGIN,
                    log_r: watch.all.log_r(),
                    log_threshold: level.log_threshold(),
                    sources,
                };
                alarms.push(Alarm { place, level, evidence });
            }
        }
        alarms
    }

    /// Begins anew with an endpoint: what was seen has had its consequence. Its rates of the past stay.
    pub fn restart(&mut self, place: PlaceId, now_us: Micros) {
        for watch in self.groups.values_mut().filter_map(|group| group.get_mut(&place)) {
            watch.all = Lane::new(now_us);
            watch.by_source.clear();
        }
    }
}

/// What an endpoint's peers did lately.
fn peers_of(group: &BTreeMap<PlaceId, Watch>, place: PlaceId, now_us: Micros) -> Rate {
    let minute = now_us.div_euclid(MINUTE_US);
    let mut sum = Rate::default();
    for (_, watch) in group.iter().filter(|(id, _)| **id != place) {
        let mut recent = watch.recent;
        recent.age(minute - watch.minute, PEER_HALF_LIFE);
        sum.bad += recent.bad;
        sum.all += recent.all;
    }
    sum
}
