//! The test on live traffic: whether an endpoint fails more often than it used to and than its peers do.
//!
//! Per endpoint and kind of request (with or without tools). *Null hypothesis*: the endpoint fails at most at the rate
//! `q = max(own, peers) + MARGIN`. `own` is its own rate of the past: the mean of the rates of its minutes (half-life a
//! day of minutes with answers), up to the last full one. `peers` is that of the model's other endpoints on the same kind
//! of request: the larger of their rate of late (half-life a quarter of an hour) and that of their last few answers, so
//! that what they all suffer at once is nobody's fault. All of it is known before the answer that is bet on.
//!
//! *Test*: bets of `f / q` on `failed - q` with the fractions of statistics, 3.1; a detector as in 5.2 that begins anew
//! with every answer. `R - (answers)` is a supermartingale under the null: on average at least `A` answers that weigh pass
//! until `R >= A`, whenever anybody looks. `A` is a year of answers at one a second for a quarantine and a week of them
//! for a burst, each times the three kinds of requests.
//!
//! The length of the prompt is no part of the kind: failures seldom tell it, and a stratum that only failures fall into
//! has no peers.
//!
//! *Sources*: one source is believed as long as it is the only one. Where several report on the same endpoint and kind,
//! two of them must see it, each by a detector of its own ([`SOURCE_LEAST`]); and beyond [`WEIGHT_PER_SECOND_MAX`] answers
//! a second a source adds no weight.

use std::collections::BTreeMap;

use super::cell::Tools;
use super::directory::PlaceId;
use super::observation::Observation;
use crate::domain::Micros;
use crate::domain::live::{LiveEvidence, SourceEvidence};
use crate::stats::bets::{FRACS, K};
use crate::stats::detector::FRESH;
use crate::stats::num::{exp, ln, ln_1p, log_add_exp, log_mean_exp};

/// How much more often than before and than its peers an endpoint may fail: 10 points.
pub const MARGIN: f64 = 0.10;
/// Answers of a source about one endpoint and kind that weigh in a second.
pub const WEIGHT_PER_SECOND_MAX: u32 = 10;
/// Answers that must have been seen since suspicion began.
pub const ANSWERS_MIN: u64 = 10;
/// Answers of peers that must have been seen lately.
pub const PEER_ANSWERS_MIN: f64 = 10.0;
/// Below this a detector sees nothing wrong: an endpoint that never fails hovers about 4. For the counts that are told.
pub const SUSPICION: f64 = 5.0;
/// What a detector of a source must have reached where several report: 100.
pub const SOURCE_LEAST: f64 = 100.0;
/// A source that was silent for so long reports no more, in microseconds: a quarter of an hour.
pub const SOURCE_SILENT_US: i64 = 15 * MINUTE_US;
/// Reports of answers older than this are counted and not weighed, in microseconds: two minutes.
pub const EVIDENCE_AGE_MAX_US: i64 = 2 * MINUTE_US;
/// Answers of a week and of a year, at one a second.
const WEEK_ANSWERS: f64 = 604_800.0;
const YEAR_ANSWERS: f64 = 31_557_600.0;
const SECOND_US: i64 = 1_000_000;
const MINUTE_US: i64 = 60_000_000;
/// Half-lives of the rates: of the own one in minutes with answers, of the peers' in minutes.
const OWN_HALF_LIFE: f64 = 1_440.0;
const PEER_HALF_LIFE: f64 = 15.0;
/// What a rate is taken to be before anything is known: 1 of 50 (minutes, or answers).
const PRIOR: (f64, f64) = (1.0, 50.0);
/// Weight of the newest answer in the rate of the last few.
const LAST_WEIGHT: f64 = 0.2;
/// Least logarithm that is told.
const LOG_R_LEAST: f64 = -1e6;
/// Rates above this leave nothing to bet on.
const NULL_MAX: f64 = 0.95;

/// How sure the test is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Enough to evaluate at once: by chance once a week at most, at one answer a second.
    Burst,
    /// Enough to take the endpoint off the list while that is done: by chance once a year at most, at one answer a second.
    Quarantine,
}

impl Level {
    /// Logarithm of the detector's threshold.
    #[must_use]
    pub fn log_threshold(self) -> f64 {
        let answers = match self {
            Level::Burst => WEEK_ANSWERS,
            Level::Quarantine => YEAR_ANSWERS,
        };
        ln(answers * Tools::ALL.len() as f64)
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
    second: i64,
    weighed: u32,
    bad: u64,
    answers: u64,
    since_us: Micros,
    last_us: Micros,
}

impl Lane {
    fn new(now_us: Micros) -> Lane {
        Lane { r: FRESH, second: i64::MIN, weighed: 0, bad: 0, answers: 0, since_us: now_us, last_us: now_us }
    }

    fn bet(&mut self, bad: bool, increments: &[f64; K], (second, now_us): (i64, Micros)) {
        // Batches bring the answers of several seconds at once; nobody gets a second twice.
        if second > self.second {
            (self.second, self.weighed) = (second, 0);
        }
        if self.log_r() < ln(SUSPICION) {
            (self.bad, self.answers, self.since_us) = (0, 0, now_us);
        }
        self.weighed += 1;
        self.answers += 1;
        self.bad += u64::from(bad);
        self.last_us = now_us;
        self.r.iter_mut().zip(increments).for_each(|(r, inc)| *r = log_add_exp(*r, 0.0) + inc);
    }

    fn log_r(&self) -> f64 {
        log_mean_exp(&self.r)
    }

    fn evidence(&self) -> SourceEvidence {
        // A number, also of a detector that was never begun: JSON has no infinities.
        SourceEvidence { answers: self.answers, bad: self.bad, log_r: self.log_r().max(LOG_R_LEAST) }
    }
}

/// One endpoint on one kind of request.
#[derive(Debug, Clone)]
struct Watch {
    /// Sum of the rates of the minutes up to the last full one, and what this one brought.
    own: Rate,
    this_minute: Rate,
    /// Of late, and of the last few answers.
    recent: Rate,
    last_few: f64,
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
            last_few: 0.0,
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
        if this.all > 0.0 {
            self.own.age(1, OWN_HALF_LIFE);
            self.own.bad += this.bad / this.all;
            self.own.all += 1.0;
        }
        self.recent.age(passed, PEER_HALF_LIFE);
        self.minute = minute;
        self.by_source.retain(|_, lane| now_us - lane.last_us < SOURCE_SILENT_US);
    }

    fn set_null(&mut self, peers: &Peers) {
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

    /// Whether further answers of a source weigh no more in this second.
    fn has_enough_of(&mut self, source: u32, (second, now_us): (i64, Micros)) -> bool {
        let Some(lane) = self.by_source.get_mut(&source) else { return false };
        let enough = second <= lane.second && lane.weighed >= WEIGHT_PER_SECOND_MAX;
        if enough {
            lane.last_us = now_us;
        }
        enough
    }

    fn observe(&mut self, source: u32, bad: bool, times: (i64, Micros)) {
        let lane = self.by_source.entry(source).or_insert_with(|| Lane::new(times.1));
        let increments = &self.increments[usize::from(bad)];
        lane.bet(bad, increments, times);
        self.all.bet(bad, increments, times);
        self.this_minute.add(bad);
        self.recent.add(bad);
        self.last_few += LAST_WEIGHT * (f64::from(u8::from(bad)) - self.last_few);
    }

    /// Two sources must see it, where two report.
    fn is_told_by_enough(&self, now_us: Micros) -> bool {
        let reporting = || self.by_source.values().filter(|lane| now_us - lane.last_us < SOURCE_SILENT_US);
        let seeing = reporting().filter(|lane| lane.log_r() >= ln(SOURCE_LEAST)).count();
        seeing >= reporting().count().min(2)
    }

    fn level(&self, peers: &Peers, now_us: Micros) -> Option<Level> {
        let reports = now_us - self.all.last_us < SOURCE_SILENT_US;
        let enough = reports
            && self.all.answers >= ANSWERS_MIN
            && peers.of_late.all >= PEER_ANSWERS_MIN
            && self.is_told_by_enough(now_us);
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
    /// Weighs one answer of a source. `model` is any number that tells models apart.
    pub fn observe(&mut self, (model, source): (u32, u32), seen: &Observation, now_us: Micros) {
        let Some(bad) = seen.outcome.is_bad() else { return };
        let (place, tools) = (seen.place, seen.stratum.tools);
        let times = (seen.at_us.min(now_us).div_euclid(SECOND_US), now_us);
        let group = self.groups.entry((model, tools)).or_default();
        if group.get_mut(&place).is_some_and(|watch| watch.has_enough_of(source, times)) {
            return;
        }
        let peers = peers_of(group, place, now_us);
        let watch = group.entry(place).or_insert_with(|| Watch::new(now_us));
        watch.age(now_us);
        watch.set_null(&peers);
        watch.observe(source, bad, times);
    }

    /// Everybody who fails too often by now.
    pub fn alarms(&self, now_us: Micros, source_name: impl Fn(u32) -> String) -> Vec<Alarm> {
        let mut alarms = Vec::new();
        for ((_, tools), group) in &self.groups {
            for (&place, watch) in group {
                let peers = peers_of(group, place, now_us);
                let Some(level) = watch.level(&peers, now_us) else { continue };
                let sources = watch.by_source.iter().map(|(id, lane)| (source_name(*id), lane.evidence())).collect();
                let evidence = LiveEvidence {
                    requests: tools.name().to_owned(),
                    answers: watch.all.answers,
                    bad: watch.all.bad,
                    since_us: watch.all.since_us,
                    own_rate: watch.own.value(),
                    peer_rate: peers.value(),
                    margin: MARGIN,
                    log_r: watch.all.log_r().max(LOG_R_LEAST),
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

/// What an endpoint's peers did.
struct Peers {
    of_late: Rate,
    /// The mean of their rates of the last few answers.
    last_few: f64,
}

impl Peers {
    fn value(&self) -> f64 {
        self.of_late.value().max(self.last_few)
    }
}

fn peers_of(group: &BTreeMap<PlaceId, Watch>, place: PlaceId, now_us: Micros) -> Peers {
    let minute = now_us.div_euclid(MINUTE_US);
    let (mut of_late, mut last_few, mut reporting) = (Rate::default(), 0.0, 0.0);
    for (_, watch) in group.iter().filter(|(id, _)| **id != place) {
        let mut recent = watch.recent;
        recent.age(minute - watch.minute, PEER_HALF_LIFE);
        of_late.bad += recent.bad;
        of_late.all += recent.all;
        if now_us - watch.all.last_us < SOURCE_SILENT_US {
            last_few += watch.last_few;
            reporting += 1.0;
        }
    }
    Peers { of_late, last_few: if reporting > 0.0 { last_few / reporting } else { 0.0 } }
}
