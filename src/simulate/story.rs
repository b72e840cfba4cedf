//! A story: suites, endpoints that change while time goes on, and what can befall a sweep. Named scenarios and those of
//! users are told in it.

use crate::domain::{IdError, Outcome, Policy, Standing, SuiteName};

use super::dice::Dice;
use super::fleet::{Change, Fleet, Pace, SWEEPS_PER_DAY, SweepEnd};
use super::population::{Cases, rates_at};

/// Slack in comparisons of gaps with margins.
const EPSILON: f64 = 1e-9;

/// What happens.
#[derive(Debug, Clone, PartialEq)]
pub struct Story {
    /// The suites, ordered by name.
    pub suites: Vec<SuiteSpec>,
    /// The endpoints.
    pub endpoints: Vec<Cast>,
    /// Sweeps at most.
    pub sweeps: u64,
    /// How sweeps follow each other.
    pub pace: Pace,
    /// Everybody stands Admitted at the start; else Unknown.
    pub settled: bool,
    /// The order of configuration is random in every repetition.
    pub shuffled: bool,
    /// End when every endpoint had its first decision.
    pub until_decided: bool,
    /// Place of the designated reference.
    pub reference: Option<usize>,
    /// New versions of suites (T13).
    pub versions: Vec<Version>,
    /// An operator ends the hold of a common alarm after so many sweeps.
    pub acknowledge_after: u64,
}

/// A suite.
#[derive(Debug, Clone, PartialEq)]
pub struct SuiteSpec {
    /// Its name.
    pub name: String,
    /// Number of cases.
    pub cases: usize,
    /// Pass rate of an endpoint without fault.
    pub base: f64,
    /// Spread of the cases' logits.
    pub spread: f64,
    /// Parts of a case that are passed or failed each for itself; the score is the share passed. 1: pass or fail.
    pub parts: u32,
}

/// An endpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct Cast {
    /// What it is called in the report; endpoints of the same label are summed up together.
    pub label: String,
    /// Noise on the logits of its pass rates.
    pub noise: f64,
    /// How it is, from when on; the first from sweep 0.
    pub eras: Vec<Era>,
    /// What befalls it now and then.
    pub bursts: Vec<Burst>,
}

/// A time in which an endpoint stays the same.
#[derive(Debug, Clone, PartialEq)]
pub struct Era {
    /// The first sweep of it, from 0.
    pub from: u64,
    /// How far its mean pass rate lies below the base, by suite.
    pub drops: Vec<f64>,
    /// Share of attempts that get no answer after all retries.
    pub missing: f64,
}

/// Failures that come together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Burst {
    /// Chance per sweep.
    pub chance: f64,
    /// Share of the sweep's duration.
    pub length: f64,
    /// Share of the attempts in it that fail.
    pub fails: f64,
    /// They get no answer; else a wrong one.
    pub missing: bool,
    /// It comes to all endpoints that have one at the same time, as when our own network fails.
    pub common: bool,
    /// First and last sweep in which it may come.
    pub between: (u64, u64),
}

/// A new version of a suite.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Version {
    /// The sweep before which it comes.
    pub at: u64,
    /// Place of the suite.
    pub suite: usize,
    /// The new base.
    pub base: f64,
}

impl Burst {
    /// Share of all attempts that it makes fail.
    #[must_use]
    pub fn share(&self) -> f64 {
        self.chance * self.length * self.fails
    }
}

impl Cast {
    /// An endpoint that stays the same: `drop` in every one of `suites` suites.
    #[must_use]
    pub fn steady(label: &str, drop: f64, suites: usize, noise: f64) -> Cast {
        Cast::changing(label, &[(0, drop)], suites, noise)
    }

    /// An endpoint with drops from given sweeps on.
    #[must_use]
    pub fn changing(label: &str, drops: &[(u64, f64)], suites: usize, noise: f64) -> Cast {
        let eras = drops.iter().map(|(from, drop)| Era { from: *from, drops: vec![*drop; suites], missing: 0.0 });
        Cast { label: label.to_owned(), noise, eras: eras.collect(), bursts: Vec::new() }
    }

    fn era(&self, sweep: u64) -> usize {
        self.eras.iter().rposition(|e| e.from <= sweep).unwrap_or(0)
    }

    /// Mean drop in a suite at a time, bursts of wrong answers included.
    fn drop(&self, sweep: u64, suite: usize, base: f64) -> f64 {
        let drop = self.eras[self.era(sweep)].drops[suite];
        let wrong: f64 = self
            .bursts
            .iter()
            .filter(|b| !b.missing && (b.between.0..=b.between.1).contains(&sweep))
            .map(|b| b.share() * (base - drop))
            .sum();
        drop + wrong
    }
}

/// Whether an endpoint deserves its place at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truth {
    /// Within the margin of the best in every suite.
    Good,
    /// Beyond the margin in at least one suite.
    Bad,
}

impl Story {
    /// The truth about an endpoint in a sweep.
    #[must_use]
    pub fn truth(&self, policy: &Policy, endpoint: usize, sweep: u64) -> Truth {
        let beyond = |(suite, spec): (usize, &SuiteSpec)| {
            let drop = |e: &Cast| e.drop(sweep, suite, spec.base);
            let best = self.endpoints.iter().map(drop).fold(f64::INFINITY, f64::min);
            let margin = SuiteName::new(&spec.name).map_or(policy.margin, |name| policy.delta(&name));
            drop(&self.endpoints[endpoint]) - best > margin + EPSILON
        };
        if self.suites.iter().enumerate().any(beyond) { Truth::Bad } else { Truth::Good }
    }

    /// Sweeps a day; those without pause are counted as the standard schedule's.
    #[must_use]
    pub fn sweeps_per_day(&self) -> f64 {
        match self.pace {
            Pace::PerDay(n) => f64::from(n),
            Pace::BackToBack => f64::from(SWEEPS_PER_DAY),
        }
    }

    /// Plays it once under the shipped rule.
    ///
    /// # Errors
    /// When a suite's name is no name.
    pub fn play(&self, policy: &Policy, dice: &mut Dice) -> Result<Played, IdError> {
        let mut order: Vec<usize> = (0..self.endpoints.len()).collect();
        if self.shuffled {
            dice.shuffle_front(&mut order, self.endpoints.len());
        }
        self.play_rule(&mut Shipped::new(self, policy, order)?, dice)
    }

    /// Plays it once under any rule.
    ///
    /// # Errors
    /// As the rule's own.
    pub fn play_rule(&self, rule: &mut impl Rule, dice: &mut Dice) -> Result<Played, IdError> {
        let mut scene = Scene::new(self, dice);
        let mut played = Played::new(self.endpoints.len());
        for sweep in 0..self.sweeps {
            for version in self.versions.iter().filter(|v| v.at == sweep) {
                scene.new_base(version.suite, version.base);
                rule.new_version(version.suite, sweep)?;
            }
            if self.endpoints.iter().any(|e| e.eras.iter().any(|era| era.from == sweep)) {
                played.mark(sweep);
            }
            scene.begin(sweep, dice);
            played.note(sweep, &rule.sweep(&scene, dice));
            if self.until_decided && played.all_decided() {
                break;
            }
        }
        Ok(played)
    }
}

/// A rule that leads a fleet from sweep to sweep.
pub trait Rule {
    /// One sweep; the result is told by the story's places.
    fn sweep(&mut self, scene: &Scene<'_>, dice: &mut Dice) -> SweepEnd;

    /// A suite changes before the next sweep.
    ///
    /// # Errors
    /// When the change cannot be named.
    fn new_version(&mut self, _suite: usize, _sweep: u64) -> Result<(), IdError> {
        Ok(())
    }
}

/// The endpoints of one repetition as they are in the sweep being played.
pub struct Scene<'a> {
    story: &'a Story,
    cases: Vec<Cases>,
    /// Logits by endpoint and suite.
    seen: Vec<Vec<Vec<f64>>>,
    eras: Vec<Option<usize>>,
    /// Pass rates by endpoint and suite.
    rates: Vec<Vec<Vec<f64>>>,
    missing: Vec<f64>,
    /// Bursts of this sweep by endpoint, as (first, last, burst).
    bursts: Vec<Vec<(f64, f64, Burst)>>,
}

impl<'a> Scene<'a> {
    /// Draws the suites and how each endpoint finds them.
    #[must_use]
    pub fn new(story: &'a Story, dice: &mut Dice) -> Self {
        let cases: Vec<Cases> = story.suites.iter().map(|s| Cases::draw(s.cases, s.base, s.spread, dice)).collect();
        let seen = story
            .endpoints
            .iter()
            .map(|e| cases.iter().map(|c| c.seen_with(e.noise, dice)).collect::<Vec<_>>())
            .collect();
        let n = story.endpoints.len();
        Scene {
            story,
            cases,
            seen,
            eras: vec![None; n],
            rates: vec![vec![Vec::new(); story.suites.len()]; n],
            missing: vec![0.0; n],
            bursts: vec![Vec::new(); n],
        }
    }

    fn new_base(&mut self, suite: usize, base: f64) {
        self.cases[suite].base = base;
        self.eras.fill(None);
    }

    /// Brings every endpoint to the sweep and draws what befalls it.
    pub fn begin(&mut self, sweep: u64, dice: &mut Dice) {
        let common = dice.unit();
        let common_start = dice.unit();
        for (e, cast) in self.story.endpoints.iter().enumerate() {
            let era = cast.era(sweep);
            if self.eras[e] != Some(era) {
                self.eras[e] = Some(era);
                self.missing[e] = cast.eras[era].missing;
                for (suite, cases) in self.cases.iter().enumerate() {
                    self.rates[e][suite] = rates_at(&self.seen[e][suite], cases.base - cast.eras[era].drops[suite]);
                }
            }
            self.bursts[e].clear();
            for burst in cast.bursts.iter().filter(|b| (b.between.0..=b.between.1).contains(&sweep)) {
                let (luck, start) = if burst.common { (common, common_start) } else { (dice.unit(), dice.unit()) };
                if luck < burst.chance {
                    let start = start * (1.0 - burst.length);
                    self.bursts[e].push((start, start + burst.length, *burst));
                }
            }
        }
    }

    /// The outcome of one attempt; `when` from 0 to 1 is its time in the sweep.
    pub fn outcome(&self, endpoint: usize, suite: usize, case: usize, when: f64, dice: &mut Dice) -> Outcome {
        for (first, last, burst) in &self.bursts[endpoint] {
            if (*first..*last).contains(&when) && dice.chance(burst.fails) {
                return if burst.missing { Outcome::Missing } else { Outcome::Scored(0.0) };
            }
        }
        if self.missing[endpoint] > 0.0 && dice.chance(self.missing[endpoint]) {
            return Outcome::Missing;
        }
        let rate = self.rates[endpoint][suite][case];
        match self.story.suites[suite].parts {
            1 => Outcome::Scored(if dice.chance(rate) { 1.0 } else { 0.0 }),
            parts => Outcome::Scored(f64::from(dice.binomial(parts, rate)) / f64::from(parts)),
        }
    }

    /// As a plain score, for rules that know nothing of missing answers.
    pub fn score(&self, endpoint: usize, suite: usize, case: usize, when: f64, dice: &mut Dice) -> f64 {
        match self.outcome(endpoint, suite, case, when, dice) {
            Outcome::Scored(y) => y,
            Outcome::Missing | Outcome::Observed(_) | Outcome::Skipped { .. } => 0.0,
        }
    }

    /// Cases of a suite.
    #[must_use]
    pub fn cases(&self, suite: usize) -> usize {
        self.cases[suite].len()
    }
}

/// The shipped rule in a story.
struct Shipped {
    fleet: Fleet,
    /// Endpoint of the story by place in the fleet.
    order: Vec<usize>,
    frozen: u64,
    acknowledge_after: u64,
}

impl Shipped {
    fn new(story: &Story, policy: &Policy, order: Vec<usize>) -> Result<Shipped, IdError> {
        let shapes: Vec<(&str, usize)> = story.suites.iter().map(|s| (s.name.as_str(), s.cases)).collect();
        let policy = Policy { graded: policy.graded || story.suites.iter().any(|s| s.parts > 1), ..policy.clone() };
        let reference = story.reference.and_then(|r| order.iter().position(|o| *o == r));
        let mut fleet = Fleet::new(policy, order.len(), &shapes, reference, story.pace)?;
        if story.settled {
            fleet.settle(Standing::Admitted, 0..order.len());
        }
        Ok(Shipped { fleet, order, frozen: 0, acknowledge_after: story.acknowledge_after })
    }
}

impl Rule for Shipped {
    fn sweep(&mut self, scene: &Scene<'_>, dice: &mut Dice) -> SweepEnd {
        self.frozen = if self.fleet.is_frozen() { self.frozen + 1 } else { 0 };
        if self.frozen > self.acknowledge_after {
            self.fleet.acknowledge();
        }
        let order = &self.order;
        let mut end =
            self.fleet.sweep(dice, |ask, dice| scene.outcome(order[ask.endpoint], ask.suite, ask.case, ask.when, dice));
        let mut asked = vec![0; order.len()];
        for (place, n) in end.asked.iter().enumerate() {
            asked[order[place]] = *n;
        }
        end.asked = asked;
        end.anchors.iter_mut().for_each(|a| *a = order[*a]);
        end.changes.iter_mut().for_each(|c| c.endpoint = order[c.endpoint]);
        end
    }

    fn new_version(&mut self, suite: usize, sweep: u64) -> Result<(), IdError> {
        self.fleet.new_version(suite, sweep + 1)
    }
}

/// An event of a repetition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// The sweep at whose end it came.
    pub sweep: u64,
    /// Requests to the endpoint until then.
    pub asked: u64,
    /// What changed.
    pub change: Change,
}

/// What happened in one repetition.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Played {
    /// Sweeps played.
    pub sweeps: u64,
    /// Requests by endpoint.
    pub asked: Vec<u64>,
    /// Changes of standing in order.
    pub events: Vec<Event>,
    /// Sweeps that ended with the list held by the common alarm.
    pub held: u64,
    /// Lists published with a change.
    pub published: u64,
    /// Requests by endpoint before the sweeps in which somebody changes.
    marks: Vec<(u64, Vec<u64>)>,
    decided: Vec<bool>,
}

impl Played {
    /// Nothing yet.
    #[must_use]
    pub fn new(endpoints: usize) -> Self {
        Played { asked: vec![0; endpoints], decided: vec![false; endpoints], ..Played::default() }
    }

    /// Takes the end of a sweep.
    pub fn note(&mut self, sweep: u64, end: &SweepEnd) {
        self.sweeps = sweep + 1;
        for (sum, n) in self.asked.iter_mut().zip(&end.asked) {
            *sum += u64::from(*n);
        }
        self.held += u64::from(end.common_alarm);
        self.published += u64::from(end.published);
        for change in &end.changes {
            self.events.push(Event { sweep, asked: self.asked[change.endpoint], change: *change });
            self.decided[change.endpoint] |= !change.held && change.to.is_decided();
        }
    }

    /// Remembers the requests so far, at a sweep in which somebody changes.
    pub fn mark(&mut self, sweep: u64) {
        self.marks.push((sweep, self.asked.clone()));
    }

    /// Requests to an endpoint before a sweep that was marked; 0 for others.
    #[must_use]
    pub fn asked_before(&self, endpoint: usize, sweep: u64) -> u64 {
        self.marks.iter().find(|(at, _)| *at == sweep).map_or(0, |(_, asked)| asked[endpoint])
    }

    fn all_decided(&self) -> bool {
        self.decided.iter().all(|d| *d)
    }

    /// Requests to all endpoints.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.asked.iter().sum()
    }

    /// Events of an endpoint that changed its standing.
    pub fn of(&self, endpoint: usize) -> impl Iterator<Item = &Event> {
        self.events.iter().filter(move |e| e.change.endpoint == endpoint && !e.change.held)
    }

    /// Its first decision.
    #[must_use]
    pub fn first_decision(&self, endpoint: usize) -> Option<&Event> {
        self.of(endpoint).find(|e| e.change.to.is_decided())
    }
}
