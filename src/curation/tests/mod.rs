//! The decision as sentences, and its laws.

mod capabilities;
mod cold_start;
mod effort;
mod explanations;
mod guards;
mod laws;
mod lists;
mod orders;
mod outlooks;
mod prints;
mod replays;
mod samples;
mod state_machine;
mod watch;
mod world;
