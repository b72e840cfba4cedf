//! The formulas of the decision, one concern per file: no IO, no clock, no randomness.
//!
//! Normative text: `statistics/README.md`; expected values: `tests/vectors/vectors.json`.
//!
//! | file | what | used for |
//! |---|---|---|
//! | [`num`] | logarithms in the log domain, portable to the last bit | everything below |
//! | [`bets`] | six constant bets, payoffs, the e-process | the first decision |
//! | [`detector`] | the e-Shiryaev-Roberts detector | every later decision |
//! | [`intervals`] | anytime-valid and fixed-sample intervals | display |
//! | [`mod@clustered`] | standard errors of repeats, effective-n Wilson | display |
//! | [`paired`], [`mantel_haenszel`], [`mcnemar`] | two endpoints compared | display |
//! | [`repeats`] | pass^k: all of k tries of a task pass | display |
//! | [`eb_beta`] | shrinkage of many rates | display |
//! | [`e_bh`] | a statement about a whole list | display |
//! | [`cusum`] | the classical detector | simulator |
//! | [`permutation`], [`mmd`] | two sides compared within groups: numbers, sequences | change alarms |
//!
//! Conventions: a score lies in \[0, 1\], 1 is a pass. `D` is the paired difference on one case, the mean score of the
//! anchors minus the endpoint's; positive means worse than the anchors. Margins are on that scale (0.02 is two
//! points). `log_e` is the natural logarithm of an e-value, `log_r` that of a detector score; neither is a probability.

pub mod bets;
pub mod clustered;
pub mod cusum;
pub mod detector;
pub mod e_bh;
pub mod eb_beta;
pub mod intervals;
pub mod mantel_haenszel;
pub mod mcnemar;
pub mod mmd;
pub mod num;
pub mod paired;
pub mod permutation;
pub mod repeats;
pub mod trigger;

#[cfg(test)]
mod tests;

pub use bets::{Bets, EProcess, K, Logs, Side, log_e_counts, log_e_hist, log_e_weighted};
pub use clustered::{Clustered, clustered, wilson_clustered};
pub use detector::{Detector, close_batch};
pub use intervals::{Bounds, Z95, clopper_pearson, diff_cs, rate_cs, wilson};
pub use trigger::{TriggerCounts, split_half};
