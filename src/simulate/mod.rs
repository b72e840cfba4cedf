//! `simulate`: what the rules of the decision cost and how often they err, on fleets whose truth is known.
//!
//! Pure: no IO, no clock; randomness is seeded, one ChaCha8 stream per repetition and purpose, so that a report depends
//! on scenario, policy, seed and repetitions alone, not on threads. The policy called `exactod` is the code that ships:
//! [`fleet`] leads it from sweep to sweep as the daemon does. The others are rules to compare with.
//!
//! | file | what |
//! |---|---|
//! | [`dice`], [`population`], [`parallel`], [`report`] | randomness, cases and endpoints, threads, figures |
//! | [`fleet`] | sweeps through [`crate::curation`] |
//! | [`classify`], [`rules`], [`mod@bound`] | scenarios A, B, C; comparison rules; the information lower bound |
//! | [`margin`], [`drift`], [`flap`], [`peers`] | error at the margin, delay, transitions, statements about a list |
//! | [`alarms`], [`common`] | change alarms and falls of all at once: false ones, and how soon true ones come |
//! | [`story`], [`summary`], [`tale`], [`windows`] | stories, what is counted in them, the named ones, rules that watch them |
//! | [`mod@file`] | stories of users, from TOML |

pub mod alarms;
pub mod bound;
pub mod classify;
pub mod common;
pub mod dice;
pub mod drift;
pub mod file;
pub mod flap;
pub mod fleet;
pub mod margin;
pub mod parallel;
pub mod peers;
pub mod population;
pub mod report;
pub mod rules;
pub mod story;
pub mod summary;
pub mod tale;
pub mod windows;

#[cfg(test)]
mod tests;

use std::num::NonZeroUsize;
use std::sync::atomic::Ordering;

use crate::domain::{IdError, Policy};

use dice::Dice;
pub use parallel::{Control, Stopped, threads_here};
pub use report::{PolicyReport, Report};

/// Why there is no report.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SimulateError {
    /// No such scenario.
    #[error("there is no scenario {0:?}: name one of {known}, or a TOML file", known = Scenario::names().join(", "))]
    UnknownScenario(String),
    /// No such policy in the scenario.
    #[error("there is no policy {0:?} in this scenario")]
    UnknownPolicy(String),
    /// An impossible policy.
    #[error("impossible policy: {0}")]
    Policy(String),
    /// Stopped from outside.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// A name in the scenario is no name.
    #[error("the scenario holds an impossible name: {0}")]
    Id(#[from] IdError),
}

/// What is played.
#[derive(Debug, Clone, PartialEq)]
pub enum Scenario {
    /// A, B or C.
    Classify(classify::Shape),
    /// Error at the margin.
    Margin,
    /// Delay after a fall.
    Drift,
    /// Transitions of an endpoint that never changes.
    Flap,
    /// The median of identical peers.
    Peers,
    /// A false discovery rate over a list.
    List,
    /// Live traffic in pairs.
    Live,
    /// Change alarms.
    Alarms,
    /// Falls of all endpoints at once.
    Common,
    /// Stories.
    Tale(Tale),
}

/// A scenario told as stories.
#[derive(Debug, Clone, PartialEq)]
pub struct Tale {
    /// Its name.
    pub name: String,
    /// What it plays, in a sentence.
    pub about: String,
    /// Repetitions when nobody says how many.
    pub reps: u64,
    /// Rules that watch a trailing window can be compared.
    pub compares: bool,
    /// Its variants.
    pub variants: Vec<tale::Variant>,
}

/// What to run.
#[derive(Debug, Clone)]
pub struct Request {
    /// What is played.
    pub scenario: Scenario,
    /// The rules of `exactod`.
    pub policy: Policy,
    /// Repetitions; `None`: the scenario's own number.
    pub reps: Option<u64>,
    /// The seed.
    pub seed: u64,
    /// Only these policies; all of the scenario when empty.
    pub only: Vec<String>,
    /// Threads.
    pub threads: NonZeroUsize,
}

/// A policy's run.
pub struct Run<'a> {
    /// The rules of `exactod`.
    pub policy: Policy,
    /// Repetitions.
    pub reps: u64,
    seed: u64,
    scenario: &'a str,
    threads: NonZeroUsize,
    control: &'a Control,
}

impl Run<'_> {
    /// The stream of a repetition for a purpose.
    #[must_use]
    pub fn dice(&self, purpose: &str, repetition: u64) -> Dice {
        Dice::new(self.seed, &format!("{}/{purpose}", self.scenario), repetition)
    }

    /// Runs every repetition with a stream of its own.
    ///
    /// # Errors
    /// [`Stopped`] when the control says so.
    pub fn repeat<T: Send>(&self, purpose: &str, work: impl Fn(u64, &mut Dice) -> T + Sync) -> Result<Vec<T>, Stopped> {
        parallel::repeat(self.reps, self.threads, self.control, |repetition| {
            work(repetition, &mut self.dice(purpose, repetition))
        })
    }
}

impl Scenario {
    /// The scenarios that have a name.
    #[must_use]
    pub fn names() -> Vec<String> {
        Scenario::all().iter().map(|s| s.name().to_owned()).collect()
    }

    fn all() -> Vec<Scenario> {
        let told = |name: &str, about: &str, reps: u64, compares: bool, variants: Vec<tale::Variant>| {
            Scenario::Tale(Tale { name: name.to_owned(), about: about.to_owned(), reps, compares, variants })
        };
        vec![
            Scenario::Classify(classify::A),
            Scenario::Classify(classify::B),
            Scenario::Classify(classify::C),
            Scenario::Margin,
            Scenario::Drift,
            Scenario::Flap,
            told("year", "one year of ten endpoints, of which three fall for 120 days", 100, true, tale::year()),
            told("cold-start", "ten new endpoints in random order, four of them bad", 200, false, tale::cold_start()),
            told("outage", "a year in which failures come bunched inside a sweep", 40, false, tale::outage()),
            told("graded", "the year, with scores in quarters", 50, false, tale::graded()),
            told("suites", "a year under three suites at once", 40, false, tale::suites()),
            Scenario::Peers,
            Scenario::List,
            Scenario::Live,
            Scenario::Alarms,
            Scenario::Common,
            told("version", "a year with a new version of the suite in its middle", 50, false, tale::version()),
        ]
    }

    /// The scenario of a name.
    ///
    /// # Errors
    /// When there is none.
    pub fn named(name: &str) -> Result<Scenario, SimulateError> {
        let found = Scenario::all().into_iter().find(|s| s.name() == name);
        found.ok_or_else(|| SimulateError::UnknownScenario(name.to_owned()))
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Scenario::Classify(shape) => shape.name,
            Scenario::Margin => "type1",
            Scenario::Drift => "drift",
            Scenario::Flap => "flap",
            Scenario::Peers => "peers",
            Scenario::List => "e-bh",
            Scenario::Live => "live",
            Scenario::Alarms => "alarms",
            Scenario::Common => "common",
            Scenario::Tale(tale) => &tale.name,
        }
    }

    /// What it plays, in a sentence.
    #[must_use]
    pub fn about(&self) -> &str {
        match self {
            Scenario::Classify(_) => "requests until every one of ten new endpoints is classified",
            Scenario::Margin => "share of wrong decisions about an endpoint exactly at the margin, in a hundred looks",
            Scenario::Drift => "delay after a fall that follows a long good time (the figures above: 5 points)",
            Scenario::Flap => "transitions a year of an endpoint that never changes (the figures above: at the margin)",
            Scenario::Peers => {
                "flags on identical endpoints in one evaluation (the figures above: four, normal scores)"
            }
            Scenario::List => "share of false ones among the endpoints that a list calls worse than the margin",
            Scenario::Live => "live traffic instead of cases (the figures above: random routing within strata)",
            Scenario::Common => "a year in whose middle all endpoints fall at once, or something else happens",
            Scenario::Alarms => "half a year of change alarms, on endpoints that give cause and that give none",
            Scenario::Tale(tale) => &tale.about,
        }
    }

    /// Policies that it can compare, the shipped one first.
    #[must_use]
    pub fn policies(&self) -> &'static [&'static str] {
        match self {
            Scenario::Classify(_) => &classify::POLICIES,
            Scenario::Margin => &margin::POLICIES,
            Scenario::Drift => &drift::POLICIES,
            Scenario::Flap => &flap::POLICIES,
            Scenario::Peers => &peers::PEERS_POLICIES,
            Scenario::List => &peers::LIST_POLICIES,
            Scenario::Live => &peers::LIVE_POLICIES,
            Scenario::Alarms => &alarms::POLICIES,
            Scenario::Common => &common::POLICIES,
            Scenario::Tale(tale) if tale.compares => &tale::POLICIES,
            Scenario::Tale(_) => &tale::OWN_POLICIES,
        }
    }

    /// Repetitions when nobody says how many.
    #[must_use]
    pub fn reps(&self) -> u64 {
        match self {
            Scenario::Classify(_) => 300,
            Scenario::Margin => 400,
            Scenario::Drift => 150,
            Scenario::Flap => 100,
            Scenario::Peers => 1000,
            Scenario::List | Scenario::Live => 400,
            Scenario::Alarms => 200,
            Scenario::Common => 50,
            Scenario::Tale(tale) => tale.reps,
        }
    }

    /// The exclusion margin that it is played with.
    #[must_use]
    pub fn margin(&self, policy: &Policy) -> f64 {
        match self {
            Scenario::Classify(shape) => policy.margin * shape.margin_share,
            _ => policy.margin,
        }
    }

    /// Times that a policy plays every repetition.
    fn parts(&self) -> u64 {
        match self {
            Scenario::Classify(_) | Scenario::List => 1,
            Scenario::Live => 3,
            Scenario::Alarms => alarms::parts(),
            Scenario::Common => common::parts(),
            Scenario::Peers => 9,
            Scenario::Margin => 6,
            Scenario::Drift => 4,
            Scenario::Flap => 7,
            Scenario::Tale(tale) => tale.variants.len() as u64,
        }
    }

    fn run(&self, run: &Run<'_>, policy: &str) -> Result<PolicyReport, SimulateError> {
        match self {
            Scenario::Classify(shape) => classify::run(shape, run, policy),
            Scenario::Margin => margin::run(run, policy),
            Scenario::Drift => drift::run(run, policy),
            Scenario::Flap => flap::run(run, policy),
            Scenario::Peers => peers::peers(run, policy),
            Scenario::List => peers::list(run, policy),
            Scenario::Live => peers::live(run, policy),
            Scenario::Alarms => alarms::run(run, policy),
            Scenario::Common => common::run(run, policy),
            Scenario::Tale(tale) => tale::run(&tale.variants, run, policy),
        }
    }
}

/// Runs a scenario.
///
/// # Errors
/// [`SimulateError`] when the policy is impossible or unknown, or the run was stopped.
pub fn simulate(request: &Request, control: &Control) -> Result<Report, SimulateError> {
    let Request { scenario, policy, reps, seed, only, threads } = request;
    if let Some((key, reason)) = policy.problems().first() {
        return Err(SimulateError::Policy(format!("{key}: {reason}")));
    }
    let known = scenario.policies();
    if let Some(unknown) = only.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(SimulateError::UnknownPolicy(format!("{unknown} (known: {})", known.join(", "))));
    }
    let chosen: Vec<&str> =
        known.iter().copied().filter(|name| only.is_empty() || only.iter().any(|o| o == name)).collect();
    let reps = reps.unwrap_or_else(|| scenario.reps());
    control.planned.store(reps * scenario.parts() * chosen.len() as u64, Ordering::Relaxed);
    let run = Run { policy: policy.clone(), reps, seed: *seed, scenario: scenario.name(), threads: *threads, control };
    let policies = chosen.iter().map(|name| scenario.run(&run, name)).collect::<Result<Vec<_>, _>>()?;
    Ok(Report {
        scenario: scenario.name().to_owned(),
        about: scenario.about().to_owned(),
        reps,
        seed: *seed,
        alpha: policy.alpha,
        margin: scenario.margin(policy),
        policies,
    })
}
