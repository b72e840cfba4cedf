//! The decision: Policy + Evidence + current Standings -> Decisions and the next Allowlist. Pure: no IO, no clock, no
//! randomness; curation never sees HTTP or SQL.
//!
//! The walk of one sweep:
//!
//! 1. [`sync_endpoints`] and [`sync_suites`] bring the state in line with the configuration;
//! 2. [`participants`], [`anchors()`] and [`budgets()`] fix, before the first call, who is asked, who is compared with, and
//!    how much;
//! 3. the sweep runs elsewhere and yields [`OutcomeRow`](crate::domain::OutcomeRow)s;
//! 4. [`fold_sweep`] turns them, at the sweep's end and at once, into evidence and at most one transition per endpoint;
//! 5. [`allowlist()`] drafts the next document, or nothing when nothing changed.
//!
//! [`step()`] is the door to all of it: whatever moves a model (its configuration, a sweep's end, an operator's order, a
//! document issued anew) is one step, a pure function of the state before it and of what its [`Record`] holds. The daemon
//! makes steps and stores both; a replay makes them again and compares.
//!
//! # The decision in prose
//!
//! On each case the score of an endpoint is taken from the mean of the anchors' scores: D. Two tests bet on D. One bets
//! that the endpoint is worse than the margin, the other that it is not. With the default margin of 2 points, 20 cases of
//! 300 that the anchors pass and the endpoint fails make the first test's e-value exp(5.74) = 310, above the 100 of the
//! first decision: Excluded. A good endpoint is Admitted after about 1500 cases per suite. After that a detector, started
//! afresh at each sweep, watches for change: an endpoint that never changes and stays within the margin is excluded by
//! mistake at most once in 7300 sweeps.
//!
//! Every suite must speak for an admission; the weighted mean of the suites speaks for an exclusion. A missing answer
//! counts as a failure for admission and is no evidence for exclusion; a test of its own watches who answers at all.
//!
//! Laws, tested: equal input gives equal output to the last bit; the order of rows does not matter; folding a sweep twice
//! is folding it once; a further failure never helps the endpoint that made it; a list is never empty.

pub mod allowlist;
pub mod anchors;
pub mod budgets;
pub mod capabilities;
pub mod clusters;
pub mod codec;
pub mod decision;
pub mod explain;
pub mod explanation;
pub mod floor;
pub mod fold;
pub mod forecast;
pub mod form;
pub mod guarantees;
pub mod history;
pub mod levels;
mod notes;
pub mod operator;
pub mod outcomes;
pub mod outlook;
pub mod prints;
pub mod quarantine;
mod ranking;
pub mod reading;
pub mod samples;
pub mod state;
pub mod step;
pub mod sync;
pub mod transitions;
pub mod watch;

#[cfg(test)]
mod tests;

pub use allowlist::{Draft, allowlist, frozen_alarm, render};
pub use anchors::anchors;
pub use budgets::{Occasion, budgets, participants};
pub use capabilities::{Part, Tagged, capability_anchors, capability_state};
pub use codec::{DecodeError, decode, encode};
pub use decision::{AlarmKind, AlarmNote, NewDecision};
pub use explain::{evidence, explain_now};
pub use explanation::{Explanation, days_text, explain};
pub use fold::{Folded, SweepRecord, fold_sweep};
pub use form::Form;
pub use guarantees::{Guarantees, guarantees};
pub use history::{Act, HistoryError, RULES, Record, Setting};
pub use operator::{Refused, operate};
pub use outlook::{Further, Goal, Outlook, Scene, cases_until, outlook, outlooks, reading_after};
pub use quarantine::overlay_after;
pub use ranking::Figures;
pub use reading::{Reading, read};
pub use state::{EndpointState, ModelState, SuiteEvidence};
pub use step::{Base, Input, Stepped, step};
pub use sync::{align_margins, sync_endpoints, sync_suites};
