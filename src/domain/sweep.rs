//! Sweeps: one pass of a model's suites over all its endpoints, the statistical batch.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Capability, CaseId, Endpoint, EndpointId, Micros, ModelId, ProviderId, SuiteDigest, SuiteName, SweepId};

/// Who asked for the sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SweepKind {
    /// A schedule's tick.
    Scheduled,
    /// An endpoint that waits for its first standing: between the ticks, by the same budgets.
    Onboarding,
    /// An operator's `sweep` command or API call, by the same budgets.
    Manual,
    /// `--full`: every case, `--epochs` repeats.
    Full,
}

/// Where a sweep is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SweepState {
    /// Planned or being executed; a restart finishes it.
    Running,
    /// All attempts stored, evidence folded, decisions and list published.
    Done,
    /// Closed without evidence (too old, suite gone, cancelled); its attempts remain.
    Closed,
}

impl SweepKind {
    /// All of them.
    pub const ALL: [SweepKind; 4] = [SweepKind::Scheduled, SweepKind::Onboarding, SweepKind::Manual, SweepKind::Full];

    /// As written in the store, the API and the metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            SweepKind::Scheduled => "scheduled",
            SweepKind::Onboarding => "onboarding",
            SweepKind::Manual => "manual",
            SweepKind::Full => "full",
        }
    }
}

impl SweepState {
    /// As written in the store and the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            SweepState::Running => "running",
            SweepState::Done => "done",
            SweepState::Closed => "closed",
        }
    }
}

/// One endpoint's share of a suite in a sweep.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetedEndpoint {
    /// The endpoint.
    pub id: EndpointId,
    /// It gets the first `cases` of the permutation.
    pub cases: u32,
}

/// One suite's part of a sweep.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuitePlan {
    /// The suite.
    pub suite: SuiteName,
    /// Its identity when the plan was made; another digest at resume closes the sweep.
    pub digest: SuiteDigest,
    /// One random permutation of the cases (as far as the largest budget needs).
    pub cases: Vec<CaseId>,
    /// Repeats; more than one only for a full sweep.
    pub epochs: u32,
    /// The endpoints and their prefixes.
    pub endpoints: Vec<BudgetedEndpoint>,
    /// Which of the cases ask the same in every sweep. `None` in plans of earlier versions: they give no change alarms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable: Option<StableCases>,
}

/// The part of a suite that asks the same in every sweep: cases drawn once, and cases that are no templates.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StableCases {
    /// Their places in [`SuitePlan::cases`], ascending.
    pub places: Vec<u32>,
    /// How many of them the whole suite has.
    pub of: u32,
}

/// What answers under an endpoint's id, as far as the configuration tells: see [`Endpoint::upstream`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upstream {
    /// The model's name at the provider.
    pub model: String,
    /// The provider.
    pub provider: ProviderId,
}

impl Upstream {
    /// That of a configured endpoint.
    #[must_use]
    pub fn of(endpoint: &Endpoint) -> Upstream {
        let (model, provider) = endpoint.upstream();
        Upstream { model: model.to_owned(), provider: provider.clone() }
    }
}

/// Everything fixed before the first call of a sweep. Stored, so that a restart goes on with the same plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SweepPlan {
    /// The sweep.
    pub id: SweepId,
    /// The model.
    pub model: ModelId,
    /// Who asked.
    pub kind: SweepKind,
    /// Place among the model's sweeps, from 1.
    pub ordinal: u64,
    /// Seed of permutations and draws, lower-case hexadecimal (32 digits).
    pub seed: String,
    /// When the plan was made.
    pub planned_at_us: Micros,
    /// Anchors, best first; frozen.
    pub anchors: Vec<EndpointId>,
    /// The suites.
    pub suites: Vec<SuitePlan>,
    /// Worst-case cost reserved before the first call, in billionths of a US dollar.
    pub reserved_nanousd: i64,
    /// Whether its outcomes become evidence (the conditions of statistics 3.2 are kept).
    pub gives_evidence: bool,
    /// The anchors of each capability that its outcomes are evidence for as well; frozen.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub capabilities: BTreeMap<Capability, Vec<EndpointId>>,
    /// What answers under the id of everybody who is asked: another by the end closes the sweep. Empty in plans of earlier
    /// versions.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub upstreams: BTreeMap<EndpointId, Upstream>,
    /// Suites that do not judge the model and are asked because a command names them: answered, scored and shown, no
    /// evidence.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aside: Vec<SuitePlan>,
    /// The program's own prompts for fingerprints, where they are due.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub probes: Vec<SuitePlan>,
    /// Which part of a round of sampled answers its probes ask; only where they ask one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<SampleShare>,
    /// Asks further repeats of what another sweep has asked; such a sweep gives no evidence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goes_on: Option<GoesOn>,
}

/// The sweep whose cases are asked again, and how often each has been asked before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoesOn {
    /// The sweep that asked them first: its seed and its cases are this one's.
    pub sweep: SweepId,
    /// The first repeat of each suite that is asked now.
    pub first_epochs: BTreeMap<SuiteName, u32>,
}

/// A sweep's share of a round of sampled answers (statistics, 9): the prompts are asked over several sweeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SampleShare {
    /// Place among the model's sweeps of the one that began the round; its own in the first.
    pub from: u64,
    /// The last share: the answers of all sweeps since `from` are compared.
    pub closes: bool,
}

impl SweepPlan {
    /// All that is asked: the suites, those aside, then the prompts for fingerprints.
    pub fn parts(&self) -> impl Iterator<Item = &SuitePlan> {
        self.suites.iter().chain(&self.aside).chain(&self.probes)
    }

    /// The first repeat of a suite that is asked.
    #[must_use]
    pub fn first_epoch(&self, suite: &SuiteName) -> u32 {
        self.goes_on.as_ref().and_then(|on| on.first_epochs.get(suite)).copied().unwrap_or(0)
    }

    /// The sweep by which its cases are counted: its own, or the one that it goes on with.
    #[must_use]
    pub fn counted_as(&self) -> SweepId {
        self.goes_on.as_ref().map_or(self.id, |on| on.sweep)
    }

    /// Number of attempts planned.
    #[must_use]
    pub fn attempts(&self) -> u64 {
        self.parts().map(|s| u64::from(s.epochs) * s.endpoints.iter().map(|e| u64::from(e.cases)).sum::<u64>()).sum()
    }
}

/// What an Attempt means for evidence (interfaces, section 5).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Outcome {
    /// Answered and scored, in \[0,1\].
    Scored(f64),
    /// The provider's delivery failed after all retries.
    Missing,
    /// What a prompt for fingerprints shows of the endpoint: no score.
    Observed(f64),
    /// Unscored through no fault of the delivery (ours, provenance, grader): skipped everywhere
    /// except that `usable` does not count it.
    Skipped {
        /// `Unscored(provenance)`: counted towards the provenance alarm.
        provenance: bool,
    },
}

/// One outcome of a sweep, as curation reads it.
#[derive(Debug, Clone, PartialEq)]
pub struct OutcomeRow {
    /// The suite.
    pub suite: SuiteName,
    /// The case.
    pub case: CaseId,
    /// The endpoint.
    pub endpoint: EndpointId,
    /// The repeat.
    pub epoch: u32,
    /// What it means.
    pub outcome: Outcome,
    /// The start of the answer to a prompt of sampled answers; `None` for all others.
    pub sampled: Option<Arc<str>>,
}
