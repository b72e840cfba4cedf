//! exactod measures every provider endpoint that serves a model and publishes error-controlled allowlists.
//!
//! Providers that serve the same model differ: parsers drop tool calls, templates are wrong, context is cut. On a
//! schedule exactod sends the same fresh cases to every endpoint of a model, judges each answer, and lists the endpoints
//! that are measurably not worse than the best by more than a margin, each decision with its evidence.
//!
//! # The flow in one line
//!
//! `cron tick -> plan -> attempts -> verdicts -> append -> evidence at the sweep's end -> curate -> allowlist revision
//! (one transaction) -> board -> GET /v1/models/{model}/allowlist`
//!
//! # Modules
//!
//! | | |
//! |---|---|
//! | core, pure | [`domain`] the nouns (glossary), [`scoring`] judges one answer, [`worlds`] conversations over a state, [`sandbox`] Starlark within limits, [`stats`] the formulas, [`curation`] decides, [`signing`] keys and signatures, [`live`] counts live traffic |
//! | edges, IO | [`suites`] files to cases, [`import`] other tools' files to suites, [`provider`] one request, [`store`] SQLite or PostgreSQL, [`publish`] current lists, signed, and exports of them, [`client`] a verifying consumer, [`report`] scorecards, [`api`] HTTP, [`config`] `exactod.toml`, [`metrics`], [`progress`] |
//! | joiners | [`runner`] plans and executes sweeps, [`daemon`] from the tick to the published list |
//! | front, beside | [`cli`]; [`sim`] plays good and bad providers with known truth, [`simulate`] measures the rules of the decision |
//! | for everybody | [`clock`] the only "now", [`diagnostics`] errors in files |
//!
//! The core imports only the core; an edge imports the core; only joiners join. `tests/it/architecture.rs` fails on any
//! other arrow. Walk of one outcome, tasks, limits, tables: `ARCHITECTURE.md`.
//!
//! # Invariants by absence
//!
//! * Curation never sees HTTP or SQL: a pure function of stored outcomes and policy, the same to the last bit.
//! * Provider never judges; it repairs nothing.
//! * Store never computes a rate; ids and times come from its callers.
//! * Api never writes a verdict.
//! * Nobody asks the system for the time of day or for random bytes but [`clock`] and [`runner::Ids`].
//! * An attempt is unique by (sweep, endpoint, suite, case, epoch): whatever is killed is finished by the next start, and
//!   nothing is counted twice.
//! * A list is never empty.

pub mod api;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
pub mod curation;
pub mod daemon;
pub mod diagnostics;
pub mod domain;
pub mod import;
pub mod live;
pub mod metrics;
pub mod progress;
pub mod provider;
pub mod publish;
pub mod report;
pub mod runner;
pub mod sandbox;
pub mod scoring;
pub mod signing;
pub mod sim;
pub mod simulate;
pub mod stats;
pub mod store;
pub mod suites;
pub mod worlds;
