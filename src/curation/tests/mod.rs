//! The decision as sentences, and its laws.

mod capabilities;
mod cold_start;
mod effort;
mod explanations;
mod floors;
mod guards;
mod laws;
mod levels;
mod lists;
mod orders;
mod outlooks;
mod prints;
mod quarantine;
mod replays;
mod samples;
mod sizes;
mod state_machine;
mod watch;
mod world;
