//! The nouns of exactod and their invariants: no IO, no async, no clock; only parsing can fail.
//!
//! # Glossary
//!
//! | word | meaning |
//! |---|---|
//! | Model | canonical id of a model, `moonshotai/kimi-k2-0905` ([`ModelId`]) |
//! | Provider | who serves it: base URL, protocol, credentials, limits ([`ProviderId`]) |
//! | Endpoint | one provider's deployment of one model; *the thing that is judged* ([`Endpoint`], id `provider/tag` within its model) |
//! | Suite | a versioned, content-addressed folder of cases with scorers ([`Suite`], [`SuiteDigest`]) |
//! | Case / Epoch | one request with what a right answer must satisfy ([`Case`], drawn: [`CaseInstance`]) / which repeat of it |
//! | Sweep | one scheduled pass of a model's suites over all its endpoints: the statistical batch ([`SweepPlan`]) |
//! | Attempt | one request for case x endpoint x epoch, its transport retries inside ([`Attempt`], [`Try`]) |
//! | Completion, ToolCall | a provider's answer in one shape, whatever its protocol ([`Completion`], [`ToolCall`]) |
//! | Fault | what is wrong with an answer or its transport ([`Fault`]) |
//! | Verdict | `Pass`, `Fail(fault)`, `Unscored(why)`, with a score in \[0,1\] and an explanation ([`Verdict`], [`Judgement`]) |
//! | Exchange, Part | one request of an attempt that takes several ([`Exchange`]) / a step of a conversation, an answer under examination, or a vote ([`Part`]) |
//! | Judge, Vote | a pinned model that is asked whether an answer meets a rubric ([`jury::JudgeId`]) / one answer of it |
//! | Anchor | an endpoint that the others are compared with in a sweep |
//! | Evidence | the sequential test state of an endpoint on a suite |
//! | Standing | `Unknown`, `Admitted`, `Suspect`, `Excluded`, `Provisional` ([`Standing`]); operators may set `Pinned`, `Banned` ([`Override`]) |
//! | Decision | a change (or confirmation) of standing, with its reason ([`Decision`]) |
//! | Allowlist, Revision | the published document of a model, and its number ([`Allowlist`], [`Revision`]) |
//! | Capability | a tag of cases for which a model has a list of its own ([`Capability`]) |
//! | Observation | one live-traffic outcome reported by a gateway; what such outcomes say against an endpoint: [`live::LiveEvidence`] |
//! | Quarantine | an endpoint taken off the list by live traffic for a limited time ([`live::Quarantined`]) |
//! | Scorecard | an endpoint's rates, intervals, faults, latency, cost over a window ([`Scorecard`]) |
//! | Order | what an operator does by hand: pin, ban, reset, note, acknowledge ([`Order`], [`Verb`]) |
//! | Policy | margins, thresholds, budgets: the rules of the decision ([`Policy`]) |

pub mod allowlist;
pub mod attempt;
pub mod base64;
pub mod canonical;
pub mod completion;
pub mod endpoint;
pub mod exchange;
pub mod fault;
pub mod ids;
pub mod json;
pub mod jury;
pub mod live;
pub mod operator;
pub mod policy;
pub mod probes;
pub mod provider;
pub mod scorecard;
pub mod standing;
pub mod suite;
pub mod sweep;
pub mod testimony;
pub mod verdict;

pub use allowlist::{Allowlist, AllowlistMode, ExcludedEntry, ListedEntry, Revision};
pub use attempt::{Attempt, AttemptKey, Transcript, Try};
pub use completion::{Breach, Completion, Took, ToolCall, Usage};
pub use endpoint::{Endpoint, Price};
pub use exchange::{Exchange, Exchanges, Part};
pub use fault::{Fault, FaultClass};
pub use ids::{
    AttemptId, Capability, CaseId, EndpointId, IdError, Micros, ModelId, ProviderId, SuiteDigest, SuiteName, SweepId,
};
pub use json::Json;
pub use operator::{Order, OrderError, Verb};
pub use policy::Policy;
pub use provider::{Limits, Protocol, Provider, Retry, Timeouts};
pub use scorecard::{Interval, Scorecard, SuiteCard};
pub use standing::{Decision, DecisionKind, Override, Standing};
pub use suite::{Case, CaseInstance, CounterExample, ScorerSpec, Suite, SuiteKind};
pub use sweep::{
    BudgetedEndpoint, GoesOn, Outcome, OutcomeRow, SampleShare, StableCases, SuitePlan, SweepKind, SweepPlan,
    SweepState, Upstream,
};
pub use testimony::{ProgramOutputs, ProgramRun, Testimony};
pub use verdict::{Judgement, ScorerResult, UnscoredWhy, Verdict};
