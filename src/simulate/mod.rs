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

pub mod bound;
pub mod classify;
pub mod dice;
pub mod fleet;
pub mod parallel;
pub mod population;
pub mod report;
pub mod rules;

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
    pub fn names() -> Vec<&'static str> {
        Scenario::all().iter().map(Scenario::name).collect()
    }

    fn all() -> [Scenario; 3] {
        [Scenario::Classify(classify::A), Scenario::Classify(classify::B), Scenario::Classify(classify::C)]
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
    pub fn name(&self) -> &'static str {
        match self {
            Scenario::Classify(shape) => shape.name,
        }
    }

    /// What it plays, in a sentence.
    #[must_use]
    pub fn about(&self) -> &'static str {
        match self {
            Scenario::Classify(_) => "requests until every one of ten new endpoints is classified",
        }
    }

    /// Policies that it can compare, the shipped one first.
    #[must_use]
    pub fn policies(&self) -> &'static [&'static str] {
        match self {
            Scenario::Classify(_) => &classify::POLICIES,
        }
    }

    /// Repetitions when nobody says how many: some ten seconds on two processors.
    #[must_use]
    pub fn reps(&self) -> u64 {
        match self {
            Scenario::Classify(_) => 300,
        }
    }

    fn run(&self, run: &Run<'_>, policy: &str) -> Result<PolicyReport, SimulateError> {
        match self {
            Scenario::Classify(shape) => classify::run(shape, run, policy),
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
    control.planned.store(reps * chosen.len() as u64, Ordering::Relaxed);
    let run = Run { policy: policy.clone(), reps, seed: *seed, scenario: scenario.name(), threads: *threads, control };
    let policies = chosen.iter().map(|name| scenario.run(&run, name)).collect::<Result<Vec<_>, _>>()?;
    Ok(Report {
        scenario: scenario.name().to_owned(),
        about: scenario.about().to_owned(),
        reps,
        seed: *seed,
        alpha: policy.alpha,
        margin: policy.margin,
        policies,
    })
}
