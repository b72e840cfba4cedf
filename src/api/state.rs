//! What the API is given: handles to read from and a channel for commands.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::{ModelConfig, Server};
use crate::domain::{
    Allowlist, Capability, Decision, EndpointId, Micros, ModelId, Order, Override, Scorecard, Standing, SuiteDigest,
    SuiteName, Verb,
};
use crate::live::{Directory, Intake};
use crate::metrics::Metrics;
use crate::progress::Progress;
use crate::publish::Board;
use crate::store::{BatchWriter, Store};

/// Everything the API reads, and where it sends commands.
#[derive(Clone)]
pub struct ApiState {
    /// Sweeps, attempts, decisions, alarms.
    pub store: Store,
    /// The store's writer: how much waits for it, and how often it failed.
    pub writer: BatchWriter,
    /// Current allowlists, ready to be sent.
    pub board: Arc<Board>,
    /// Metrics of the process.
    pub metrics: Arc<Metrics>,
    /// Sweeps in flight.
    pub progress: Arc<Progress>,
    /// Live traffic that was counted and is not stored yet.
    pub intake: Arc<Intake>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Whether the listener is reached from this machine only. Where it is not, nothing is served without tokens.
    pub loopback_only: bool,
    /// What the configuration says; swapped on reload.
    pub setup: Arc<ArcSwap<ApiSetup>>,
    /// Where the endpoints stand.
    pub standings: Arc<dyn StandingsView>,
    /// Scorecards over windows.
    pub scorecards: Arc<dyn ScorecardSource>,
    /// Takes operators' orders.
    pub operators: Arc<dyn Operators>,
    /// Sweeps asked for by hand.
    pub sweeps: mpsc::Sender<SweepCommand>,
    /// Whether the daemon has started up, all its parts are alive and outcomes can be stored.
    pub ready: watch::Receiver<bool>,
    /// Cancelled when the process begins to stop: whoever waits for a list is answered then.
    pub stopping: CancellationToken,
}

/// The part of the configuration that the API shows or obeys.
#[derive(Debug, Clone)]
pub struct ApiSetup {
    /// Models, in file order.
    pub models: Vec<ModelConfig>,
    /// Tokens and `public_read`.
    pub server: Server,
    /// Models whose lists are taken over from another daemon, with its address.
    pub relayed: BTreeMap<ModelId, String>,
    /// The names by which live traffic tells its endpoints.
    pub directory: Arc<Directory>,
    /// Loaded suites.
    pub suites: Vec<SuiteInfo>,
}

impl ApiSetup {
    /// Finds a model by id or alias.
    #[must_use]
    pub fn model(&self, name: &str) -> Option<&ModelConfig> {
        self.models.iter().find(|m| m.is_called(name))
    }
}

/// A loaded suite, in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuiteInfo {
    /// Its name.
    pub name: SuiteName,
    /// Its label.
    pub revision: String,
    /// Its identity.
    pub digest: SuiteDigest,
    /// Number of cases.
    pub cases: usize,
}

/// Where one endpoint stands, for display.
#[derive(Debug, Clone, PartialEq)]
pub struct EndpointView {
    /// The endpoint.
    pub id: EndpointId,
    /// Its standing by evidence.
    pub standing: Standing,
    /// What an operator has set over it.
    pub override_: Option<Override>,
    /// Since when it has the standing.
    pub since_us: Micros,
    /// The sentence of its last decision, or why there is none yet.
    pub reason: String,
    /// Estimates, intervals, gaps, e-values and thresholds.
    pub evidence: Value,
}

/// Gives the standings of a model's endpoints, in configuration order. The daemon implements it.
pub trait StandingsView: Send + Sync {
    /// The endpoints of a model, as they stand on its own list or on that of a capability.
    ///
    /// # Errors
    /// A sentence about what cannot be read.
    fn of(&self, model: ModelId, capability: Option<Capability>) -> BoxFuture<'_, Result<Vec<EndpointView>, String>>;
}

/// Gives scorecards over a window. The daemon implements it.
pub trait ScorecardSource: Send + Sync {
    /// The scorecards of a model's endpoints over `[from_us, to_us)`.
    ///
    /// # Errors
    /// A sentence about what cannot be computed.
    fn of(&self, model: ModelId, from_us: Micros, to_us: Micros) -> BoxFuture<'_, Result<Vec<Scorecard>, String>>;
}

/// Carries out operators' orders. The daemon implements it.
pub trait Operators: Send + Sync {
    /// Carries out an order on a model.
    ///
    /// # Errors
    /// [`Refusal`]; nothing was changed then.
    fn act(&self, model: ModelId, order: Order) -> BoxFuture<'_, Result<Ruling, Refusal>>;
}

/// What came of an order.
#[derive(Debug, Clone, PartialEq)]
pub struct Ruling {
    /// The model.
    pub model: ModelId,
    /// The act.
    pub verb: Verb,
    /// Something changed, the decision log at least; else it was so already.
    pub changed: bool,
    /// What was done, or why nothing had to be, in a sentence.
    pub message: String,
    /// The decisions that were made.
    pub decisions: Vec<Decision>,
    /// A new revision was published.
    pub published: bool,
    /// The allowlist in force, once there is one.
    pub list: Option<Allowlist>,
}

/// Why an order was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The model is not configured (any more).
    #[error("the model is not configured")]
    UnknownModel,
    /// The endpoint is not configured.
    #[error("the endpoint is not configured for this model")]
    UnknownEndpoint,
    /// An acknowledgement without a common alarm.
    #[error("{0}")]
    NothingHeld(String),
    /// The store does not answer, or is kept busy by others: a later try may succeed.
    #[error("{0}")]
    NotNow(String),
    /// It failed.
    #[error("{0}")]
    Failed(String),
}

/// A sweep asked for by hand.
#[derive(Debug)]
pub struct SweepCommand {
    /// The model.
    pub model: ModelId,
    /// Only these suites; empty: those of the model's schedules.
    pub suites: Vec<SuiteName>,
    /// Only these endpoints; empty: all.
    pub endpoints: Vec<EndpointId>,
    /// At most this many cases per suite.
    pub limit: Option<u32>,
    /// Every case.
    pub full: bool,
    /// Repeats per case, with `full`.
    pub epochs: Option<u32>,
    /// What became of it.
    pub reply: oneshot::Sender<SweepReply>,
}

/// What became of a [`SweepCommand`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SweepReply {
    /// It begins at once.
    Started,
    /// It begins when the sweep in flight has ended.
    Queued,
    /// A sweep of the model is in flight, and another waits.
    Overlaps,
    /// The model is not configured (any more).
    UnknownModel,
}
