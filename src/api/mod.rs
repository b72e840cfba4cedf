//! The HTTP edge: allowlists, what stands behind them, sweeps by hand, health, metrics and a page for people.
//!
//! It reads the store, the board and what the daemon shows of its state; *it never writes a verdict*.
//!
//! * One route table (`routes`): the router and the OpenAPI document are both made from it.
//! * One handler file per resource.
//! * One error type, [`Problem`]: what a client did wrong is a 4xx that says what to do; what went wrong here is logged
//!   once with its cause and becomes a 500 or 503 that does not show it.
//! * The allowlist route is free of layers: a lookup, a comparison, pre-rendered bytes.

mod access;
mod acks;
mod agent;
mod alarms;
mod allowlist;
mod attempts;
mod body;
mod curl;
mod decisions;
mod descriptors;
mod discovery;
mod endpoints;
mod exports;
mod guard;
mod health;
mod impatient;
mod ingest;
mod limits;
mod live;
mod model_path;
mod models;
mod observations;
mod openapi;
mod orders;
mod page;
mod params;
mod parking;
mod problem;
mod reports;
mod routes;
mod scorecards;
mod series;
mod serve;
mod state;
mod sweeps;
#[cfg(test)]
mod tests;
mod traces;
pub mod views;
mod watch;

pub use agent::serve_agent;
pub use exports::scene;
pub use problem::Problem;
pub use routes::router;
pub use serve::{ApiError, listen, serve};
pub use state::{
    ApiSetup, ApiState, EndpointView, Operators, Refusal, Ruling, ScorecardSource, StandingsView, SuiteInfo,
    SweepCommand, SweepReply,
};
