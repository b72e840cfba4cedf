//! The daemon: one tick = plan -> attempts -> verdicts -> evidence -> decisions -> published list; supervision,
//! reload, graceful shutdown.

mod budget;
mod conclude;
mod fingerprints;
mod follow;
mod gauges;
pub mod live;
mod mark;
mod onboarding;
mod operate;
mod outlook;
mod owner;
mod pairs;
mod plan;
mod push;
mod quarantine;
mod relay;
mod reload;
mod replay;
mod rescore;
mod runtime;
pub mod schedule;
mod scheduler;
mod service;
mod sinks;
mod speed;
mod steps;
mod supervise;
mod sweeper;
mod taking_part;
mod ticks_ahead;
mod upkeep;
mod views;
mod waits;
mod webhooks;
mod workers;

pub use conclude::{standings, stored_standings};
pub use follow::FOLLOW_EVERY;
pub use onboarding::{FRUITLESS_SWEEPS_MAX, fruitless};
pub use operate::operate;
pub use outlook::{Explained, ExplainedEndpoint, explained};
pub use owner::this_process;
pub use pairs::{PairCards, add_to as add_pairs, pair_cards};
pub use plan::{AtPace, BudgetRow, CapabilityPlan, Limit, Load, ModelPlan, Plan, Routing, UntilDecided, plan};
pub use push::{PushError, Pusher, push_client};
pub use replay::{
    Brief, Counterfactual, Difference, ListChange, ReplayError, ReplayOptions, Replayed, StandingChange, replay,
};
pub use rescore::{CHANGED_LISTED_MAX, Changed, Overlap, RescoreError, RescoreReport, rescore};
pub use runtime::{ModelRuntime, Runtime, RuntimeError, programs, read_config};
pub use service::{Service, ServiceError, ServiceOptions, manual_request, register_suites};
pub use speed::SpeedCache;
pub use sweeper::{LEASE_SECONDS, Signals, SweepError, SweepOutcome, SweepRequest, Sweeper};
pub use upkeep::{PRUNE_EVERY_LOOKS, Upkeep, cutoffs};
