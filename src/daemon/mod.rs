//! The daemon: one tick = plan -> attempts -> verdicts -> evidence -> decisions -> published list; supervision,
//! reload, graceful shutdown.

mod budget;
mod conclude;
mod gauges;
mod owner;
mod reload;
mod runtime;
pub mod schedule;
mod scheduler;
mod service;
mod speed;
mod sweeper;
mod upkeep;
mod views;
mod waits;
mod workers;

pub use conclude::{standings, stored_standings};
pub use owner::this_process;
pub use runtime::{ModelRuntime, Runtime, RuntimeError};
pub use service::{Service, ServiceError, ServiceOptions, manual_request};
pub use speed::SpeedCache;
pub use sweeper::{LEASE_SECONDS, Signals, SweepError, SweepOutcome, SweepRequest, Sweeper};
pub use upkeep::cutoffs;
