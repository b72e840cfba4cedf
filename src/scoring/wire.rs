//! `wire`: the strict scorer. What quality suites record and do not judge fails here (defects, section 14).

use super::finding::{Finding, Role};
use crate::domain::Fault;

/// Faults of the wire, wherever a check noted them.
const FAULTS: &[Fault] =
    &[Fault::WrongFinishReason, Fault::BadCallId, Fault::BadCallIndex, Fault::BadUsage, Fault::WireShape];

/// The first breach in the order of Faults, as a failure; every other one stays secondary.
pub(super) fn judge(implicit: &[Finding]) -> (f64, Option<Finding>) {
    let of_the_wire = |f: &&Finding| f.error_type == "wire:breach" || FAULTS.contains(&f.fault);
    match implicit.iter().filter(of_the_wire).min_by_key(|f| f.fault) {
        Some(breach) => (0.0, Some(Finding { role: Role::Fails, ..breach.clone() })),
        None => (1.0, None),
    }
}
