//! exactod measures every provider endpoint that serves a model and publishes error-controlled allowlists.

pub mod api;
pub mod cli;
pub mod clock;
pub mod config;
pub mod curation;
pub mod daemon;
pub mod diagnostics;
pub mod domain;
pub mod metrics;
pub mod progress;
pub mod provider;
pub mod publish;
pub mod report;
pub mod runner;
pub mod scoring;
pub mod sim;
pub mod stats;
pub mod store;
pub mod suites;
