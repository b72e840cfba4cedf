//! Money of a day that belongs to its ticks: onboarding, of whichever model, leaves it to them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::budget::next_day;
use super::runtime::{ModelRuntime, Runtime};
use crate::domain::{Micros, ModelId, SweepKind, SweepState};
use crate::store::{Store, StoreError};

/// Newest sweeps of a model from which the cost of its next is expected.
const SWEEPS_LOOKED_AT: usize = 20;
/// Ticks of a schedule that are counted up to the end of the day.
const TICKS_COUNTED_MAX: usize = 10_000;

/// What a model's scheduled sweeps have cost lately, on average, in billionths of a dollar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cost {
    pub(super) spent: i64,
    pub(super) reserved: i64,
}

/// What the models' scheduled sweeps have cost lately; of models that the schedule has swept.
pub(super) type Costs = BTreeMap<ModelId, Cost>;

/// What is to be left, in billionths of a dollar, for the ticks of all models from now to the end of the UTC day: what
/// their sweeps cost as a rule, and room for one reservation of each model, so that also the last ticks, which may come at
/// the same time, begin whole.
///
/// # Errors
/// [`StoreError`] of the database.
pub(super) async fn held_back(store: &Store, runtime: &Runtime, now_us: Micros) -> Result<i64, StoreError> {
    Ok(held_back_by(&costs(store, runtime).await?, runtime, now_us))
}

/// As [`held_back`], at any time, by costs that are known.
pub(super) fn held_back_by(costs: &Costs, runtime: &Runtime, now_us: Micros) -> i64 {
    let ticks = |model: &ModelRuntime| ticks_between(runtime, model, now_us, next_day(now_us));
    let of = |(id, model): (&ModelId, &Arc<ModelRuntime>)| (ticks(model), costs.get(id).copied());
    sum(&runtime.models.iter().map(of).filter(|(ticks, _)| *ticks > 0).collect::<Vec<_>>())
}

/// What the schedule's sweeps of all models have cost lately.
///
/// # Errors
/// [`StoreError`] of the database.
pub(super) async fn costs(store: &Store, runtime: &Runtime) -> Result<Costs, StoreError> {
    let mut out = Costs::new();
    for (id, model) in &runtime.models {
        if let Some(cost) = cost(store, model).await? {
            out.insert(id.clone(), cost);
        }
    }
    Ok(out)
}

/// A model that the schedule has not swept yet costs as much as the dearest of the others.
fn sum(ahead: &[(i64, Option<Cost>)]) -> i64 {
    let known = || ahead.iter().filter_map(|(_, cost)| *cost);
    let dearest = known().max_by_key(|cost| cost.spent).unwrap_or(Cost { spent: 0, reserved: 0 });
    let of = |(ticks, cost): &(i64, Option<Cost>)| {
        let Cost { spent, reserved } = cost.unwrap_or(dearest);
        ticks.saturating_mul(spent).saturating_add((reserved - spent).max(0))
    };
    ahead.iter().map(of).fold(0, i64::saturating_add)
}

/// Ticks of a model's schedules strictly between two times.
pub(super) fn ticks_between(runtime: &Runtime, model: &ModelRuntime, from_us: Micros, to_us: Micros) -> i64 {
    let covering = runtime.schedules.iter().filter(|s| s.config.covers_model(&model.config));
    let ticks = covering.map(|s| s.timetable.between(from_us, to_us, TICKS_COUNTED_MAX));
    i64::try_from(ticks.sum::<usize>()).unwrap_or(i64::MAX)
}

async fn cost(store: &Store, model: &ModelRuntime) -> Result<Option<Cost>, StoreError> {
    let newest = store.newest_sweeps(&model.config.id, SWEEPS_LOOKED_AT).await?;
    let swept = || newest.iter().filter(|s| s.kind == SweepKind::Scheduled && s.state == SweepState::Done);
    let n = i64::try_from(swept().count()).unwrap_or(i64::MAX);
    let mean = |of: fn(&crate::store::SweepRecord) -> i64| swept().map(of).fold(0, i64::saturating_add) / n.max(1);
    Ok((n > 0).then(|| Cost { spent: mean(|s| s.spent_nanousd), reserved: mean(|s| s.reserved_nanousd) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ticks_of_all_models_count_and_each_model_has_room_for_a_reservation() {
        let cost = |spent, reserved| Some(Cost { spent, reserved });
        assert_eq!(sum(&[]), 0);
        assert_eq!(sum(&[(2, cost(10, 100))]), 2 * 10 + 90);
        assert_eq!(sum(&[(2, cost(10, 100)), (3, cost(20, 50))]), 2 * 10 + 90 + 3 * 20 + 30);
        assert_eq!(sum(&[(2, cost(10, 100)), (1, None)]), 3 * 10 + 2 * 90, "not swept yet: as the dearest");
        assert_eq!(sum(&[(4, None)]), 0, "nothing is known");
    }
}
