//! Runs sweeps: plans them (pure), executes them with bounded concurrency, judges each answer and stores it.
//!
//! A plan fixes everything before the first call; an Attempt is unique by (sweep, endpoint, suite, case, epoch). So a
//! sweep may be killed at any moment: the next start executes what is not stored yet, and nothing else.

mod converse;
mod execute;
mod ids;
mod jury;
mod offline;
mod plan;
mod prepared;
mod programs;
mod proof;
mod provenance;
mod worst_case;

pub use execute::{Execution, Lane, RunError, execute};
pub use ids::{Ids, NoEntropy};
pub use jury::{JudgeLane, is_endpoint, votes_of};
pub use offline::{Known, Offline, OfflineCase, OfflineError};
pub use plan::{PlanInput, SuiteBudget, build_plan, permutation, sample, shrink_to};
pub use programs::{JudgingProgram, Programs};
pub use proof::{Proof, prove, prove_with, wire_bytes};
pub use worst_case::{Tariff, WorstCase};
