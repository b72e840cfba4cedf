//! Behaviour through the front doors: the command line, the HTTP API, real servers on loopback.

mod architecture;
mod eval_suites;
mod schedule;
mod simulator;
