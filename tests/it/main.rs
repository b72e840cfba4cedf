//! Behaviour through the front doors: the command line, the HTTP API, real servers on loopback.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

#[path = "../support/daemon.rs"]
mod daemon;
#[path = "../support/days.rs"]
mod days;
#[path = "../support/gate.rs"]
mod gate;
#[path = "../support/odd_server.rs"]
mod odd_server;
#[path = "../support/postgres.rs"]
mod postgres;
#[path = "../support/suites.rs"]
mod suites;
#[path = "../support/world.rs"]
mod world;

mod alarms;
mod architecture;
mod bad_input;
mod budget;
mod capabilities;
mod card_figures;
mod contract;
mod decisions;
mod demo;
mod eval_suites;
mod explain;
mod fingerprints;
mod gateways;
mod history;
mod imports;
mod interrupted;
mod judges;
mod kinds;
mod lateness;
mod levels;
mod live;
mod odd_answers;
mod on_request;
mod onboarding;
mod orders;
mod printed;
mod provenance;
mod pushes;
mod reload;
mod reload_in_flight;
mod rescore;
mod restart;
mod schedule;
mod score;
mod score_ifeval;
mod scorecards;
mod secrets;
mod serve;
mod sim_command;
mod simulate;
mod simulator;
mod suite_commands;
mod sweep;
mod ticks;
mod time_limits;
mod triggers;
mod upkeep;
mod versions;
mod wire_contract;
mod worlds;
mod year;
